//! The sequential half of a generator: numbered records, at a rate or as fast as they are asked for. The number of the next
//! one is the whole position.

use std::sync::Arc;

use super::pace::Pace;
use super::{Fetch, Payload, SplitReader, SplitStatus, Unit};
use crate::common::clock::Clock;
use crate::common::{Error, Result};

/// What a generator makes.
pub(super) struct Numbered {
    pub split: &'static str,
    /// `None` is endless.
    pub end: Option<u64>,
    /// Records of a unit. Units end at its multiples, so they are the same after a restart.
    pub unit: u64,
    /// Records a second; `None` is as fast as possible.
    pub rate: Option<u64>,
}

impl Numbered {
    /// A reader at a stored position, or at the first record; `object` is for its errors.
    pub fn reader(self, object: &str, position: Option<&str>, clock: &Clock) -> Result<Box<dyn SplitReader>> {
        let next = match position {
            None => 0,
            Some(text) => text
                .parse()
                .map_err(|_| Error::corrupted(format!("{object}: the stored position {text:?} is no number")))?,
        };
        let pace = Pace::new(clock.clone(), self.rate, next);
        Ok(Box::new(Reader { split: Arc::from(self.split), next, end: self.end, unit: self.unit.max(1), pace }))
    }
}

struct Reader {
    split: Arc<str>,
    next: u64,
    end: Option<u64>,
    unit: u64,
    pace: Pace,
}

impl SplitReader for Reader {
    fn fetch(&mut self) -> Result<Fetch> {
        let left = self.end.map_or(u64::MAX, |end| end.saturating_sub(self.next));
        if left == 0 {
            return Ok(Fetch::End);
        }
        let want = (self.unit - self.next % self.unit).min(left);
        Ok(match self.pace.grant(self.next, want) {
            Err(after) => Fetch::Wait { after, notify: None },
            Ok(granted) => {
                let first = self.next;
                self.next += granted;
                Fetch::Unit(Unit {
                    split: Arc::clone(&self.split),
                    offset: first,
                    first_row_id: first as i64,
                    payload: Payload::Range(first, self.next),
                })
            }
        })
    }

    fn position(&self) -> String {
        self.next.to_string()
    }

    fn splits(&self) -> Vec<SplitStatus> {
        let finished = self.end.is_some_and(|end| self.next >= end);
        vec![SplitStatus { split: self.split.to_string(), offset: self.next, end: self.end, finished }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_end_at_multiples_wherever_reading_begins() {
        for (position, expected) in [(None, vec!["0..4", "4..8", "8..10"]), (Some("3"), vec!["3..4", "4..8", "8..10"])]
        {
            let numbered = Numbered { split: "n", end: Some(10), unit: 4, rate: None };
            let mut reader = numbered.reader("source \"s\"", position, &Clock::manual(0)).unwrap();
            let mut units = Vec::new();
            while let Fetch::Unit(unit) = reader.fetch().unwrap() {
                let Payload::Range(first, end) = unit.payload else { panic!("a range") };
                assert_eq!((unit.offset, unit.first_row_id), (first, first as i64));
                units.push(format!("{first}..{end}"));
            }
            assert_eq!(units, expected);
            assert_eq!(reader.position(), "10");
            assert!(reader.splits()[0].finished);
        }
    }

    #[test]
    fn a_position_that_is_no_number_is_told() {
        let numbered = Numbered { split: "n", end: None, unit: 4, rate: None };
        let error = numbered.reader("source \"s\"", Some("x"), &Clock::manual(0)).err().unwrap();
        assert!(error.message().contains("source \"s\""), "{error}");
    }
}
