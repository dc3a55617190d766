//! The values of a sequence: where they begin, how far apart they are, and where they end. As in PostgreSQL.

use serde::{Deserialize, Serialize};

use crate::common::{Error, ErrorKind, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceRange {
    pub start: i64,
    /// Never 0.
    pub increment: i64,
    pub min: i64,
    pub max: i64,
    /// After its end it begins again at the other one.
    pub cycle: bool,
    /// The largest value of its type.
    #[serde(default = "largest")]
    pub largest: i64,
}

fn largest() -> i64 {
    i64::MAX
}

impl SequenceRange {
    /// What is not said: upwards from 1 to `largest`, the largest value of its type, or downwards from -1.
    ///
    /// # Errors
    /// `InvalidParameterValue` for a range that PostgreSQL refuses.
    pub fn new(given: Given, largest: i64) -> Result<Self> {
        let increment = given.increment.unwrap_or(1);
        let (least, most) = if increment > 0 { (1, largest) } else { (-largest - 1, -1) };
        let (min, max) = (given.min.unwrap_or(least), given.max.unwrap_or(most));
        let start = given.start.unwrap_or(if increment > 0 { min } else { max });
        let bad = |message: String| Err(Error::new(ErrorKind::InvalidParameterValue, message));
        if increment == 0 {
            return bad("INCREMENT must not be zero".into());
        }
        if min < -largest - 1 || max > largest {
            return bad(format!("the sequence's type holds {} to {largest}", -largest - 1));
        }
        if min >= max {
            return bad(format!("MINVALUE ({min}) must be less than MAXVALUE ({max})"));
        }
        if start < min || start > max {
            return bad(format!("START value ({start}) is not between {min} and {max}"));
        }
        Ok(Self { start, increment, min, max, cycle: given.cycle.unwrap_or(false), largest })
    }

    /// With what ALTER SEQUENCE says; the rest stays.
    ///
    /// # Errors
    /// As [`SequenceRange::new`].
    pub fn changed(&self, given: Given) -> Result<Self> {
        let all = Given {
            start: given.start.or(Some(self.start)),
            increment: given.increment.or(Some(self.increment)),
            min: given.min.or(Some(self.min)),
            max: given.max.or(Some(self.max)),
            cycle: given.cycle.or(Some(self.cycle)),
        };
        Self::new(all, self.largest)
    }

    /// The value after `value`; `None` behind the last one.
    pub fn after(&self, value: i64) -> Option<i64> {
        let next = value.checked_add(self.increment).filter(|next| (self.min..=self.max).contains(next));
        let again = if self.increment > 0 { self.min } else { self.max };
        next.or(self.cycle.then_some(again))
    }
}

/// What CREATE SEQUENCE says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Given {
    pub start: Option<i64>,
    pub increment: Option<i64>,
    pub min: Option<i64>,
    pub max: Option<i64>,
    pub cycle: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_postgres() {
        let up = SequenceRange::new(Given::default(), i32::MAX.into()).unwrap();
        assert_eq!((up.start, up.min, up.max), (1, 1, i32::MAX.into()));
        assert_eq!((up.after(1), up.after(i32::MAX.into())), (Some(2), None));
        let given = Given { increment: Some(-3), min: Some(-4), cycle: Some(true), ..Given::default() };
        let down = SequenceRange::new(given, i64::MAX).unwrap();
        assert_eq!((down.start, down.after(-1), down.after(-4)), (-1, Some(-4), Some(-1)));
        for (given, message) in [
            (Given { increment: Some(0), ..Given::default() }, "INCREMENT must not be zero"),
            (Given { min: Some(5), max: Some(5), ..Given::default() }, "must be less than MAXVALUE"),
            (Given { start: Some(0), ..Given::default() }, "is not between 1 and"),
            (Given { max: Some(40_000), ..Given::default() }, "holds -32768 to 32767"),
        ] {
            assert!(SequenceRange::new(given, i16::MAX.into()).unwrap_err().message().contains(message), "{given:?}");
        }
    }
}
