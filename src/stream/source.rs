//! A source inside its fragment: one sequential reader shared by all actors, decoding in parallel, one position an epoch.
//!
//! ```text
//!            lock                     no lock
//! actor 0 --fetch--+             +--> decode --> pipeline
//!                  | SplitReader |
//! actor 1 --fetch--+             +--> decode --> pipeline
//! ```
//!
//! The first actor that meets barrier *n* cuts the reader: its position then is the source's position at *n*. Actors
//! that have not met *n* yet get nothing until they do, so everything before the cut is processed before barrier *n* and
//! everything after it after. Units go to whoever asks first, in the order of the split.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::common::Result;
use crate::connector::{Fetch, SplitReader, SplitStatus, Unit};
use crate::types::Epoch;

/// Cuts that are remembered: more than epochs can be in flight.
const CUTS: usize = 64;

/// The reader of one source operator of one job, shared by its actors and by whoever asks how far it is.
pub struct SharedSource {
    reader: Mutex<Reader>,
    /// Wakes who waits for the reader to move on.
    moved: Notify,
}

struct Reader {
    reader: Box<dyn SplitReader>,
    /// Epoch and position, ascending.
    cuts: VecDeque<(Epoch, String)>,
    ended: bool,
    rows: u64,
    dead_letters: u64,
}

/// What an actor gets when it asks.
pub enum Next {
    Unit(Unit),
    /// Ask again after this long, or when notified.
    Wait(Duration, Option<Arc<Notify>>),
    /// A peer has cut the epoch: meet the barrier first.
    Barrier,
    End,
}

/// For `weir.sources`.
#[derive(Debug, Clone, Default)]
pub struct SourceStatus {
    pub splits: Vec<SplitStatus>,
    pub rows: u64,
    pub dead_letters: u64,
    pub finished: bool,
}

impl SharedSource {
    pub fn new(reader: Box<dyn SplitReader>) -> Arc<Self> {
        let reader = Reader { reader, cuts: VecDeque::new(), ended: false, rows: 0, dead_letters: 0 };
        Arc::new(Self { reader: Mutex::new(reader), moved: Notify::new() })
    }

    /// The next unit for an actor whose last barrier was `epoch`. Blocking file reads.
    pub fn next(&self, epoch: Epoch) -> Result<Next> {
        let mut reader = self.reader.lock();
        if reader.cuts.back().is_some_and(|(cut, _)| *cut > epoch) {
            return Ok(Next::Barrier);
        }
        let next = match reader.reader.fetch()? {
            Fetch::Unit(unit) => Next::Unit(unit),
            Fetch::Wait { after, notify } => Next::Wait(after, notify),
            Fetch::End => {
                reader.ended = true;
                Next::End
            }
        };
        drop(reader);
        if matches!(next, Next::Unit(_)) {
            self.moved.notify_waiters();
        }
        Ok(next)
    }

    /// The source's position at the barrier of `epoch`, which the caller has just met.
    pub fn cut(&self, epoch: Epoch) -> String {
        let mut reader = self.reader.lock();
        if let Some((_, position)) = reader.cuts.iter().find(|(cut, _)| *cut == epoch) {
            return position.clone();
        }
        let position = reader.reader.position();
        reader.cuts.push_back((epoch, position.clone()));
        if reader.cuts.len() > CUTS {
            reader.cuts.pop_front();
        }
        position
    }

    /// The position at the barrier of `epoch`, or of the last one before it that is remembered.
    pub fn position_at(&self, epoch: Epoch) -> Option<String> {
        let reader = self.reader.lock();
        reader.cuts.iter().rev().find(|(cut, _)| *cut <= epoch).map(|(_, position)| position.clone())
    }

    /// Counts what a decoder made of a unit.
    pub fn count(&self, rows: u64, dead_letters: u64) {
        let mut reader = self.reader.lock();
        reader.rows += rows;
        reader.dead_letters += dead_letters;
    }

    pub fn status(&self) -> SourceStatus {
        let reader = self.reader.lock();
        SourceStatus {
            splits: reader.reader.splits(),
            rows: reader.rows,
            dead_letters: reader.dead_letters,
            finished: reader.ended,
        }
    }

    /// Waits until `reached` holds of the position from which the next unit will be fetched.
    pub async fn wait_position(&self, reached: impl Fn(&str) -> bool) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if reached(&self.reader.lock().reader.position()) {
                return;
            }
            moved.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::Payload;

    struct Numbers(u64, u64);

    impl SplitReader for Numbers {
        fn fetch(&mut self) -> Result<Fetch> {
            if self.0 == self.1 {
                return Ok(Fetch::End);
            }
            self.0 += 1;
            Ok(Fetch::Unit(Unit {
                split: Arc::from("numbers"),
                offset: self.0 - 1,
                first_row_id: self.0 as i64 - 1,
                payload: Payload::Range(self.0 - 1, self.0),
            }))
        }

        fn position(&self) -> String {
            self.0.to_string()
        }

        fn splits(&self) -> Vec<SplitStatus> {
            Vec::new()
        }
    }

    fn offset(next: Next) -> Option<u64> {
        match next {
            Next::Unit(unit) => Some(unit.offset),
            _ => None,
        }
    }

    #[test]
    fn a_cut_parts_the_units_of_two_epochs() {
        let source = SharedSource::new(Box::new(Numbers(0, 4)));
        // Both actors are in epoch 1.
        assert_eq!(offset(source.next(Epoch(0)).unwrap()), Some(0));
        assert_eq!(offset(source.next(Epoch(0)).unwrap()), Some(1));
        assert_eq!(source.cut(Epoch(1)), "2");
        // The peer has not met barrier 1 and gets nothing; the actor that has goes on.
        assert!(matches!(source.next(Epoch(0)).unwrap(), Next::Barrier));
        assert_eq!(offset(source.next(Epoch(1)).unwrap()), Some(2));
        // The peer's cut is the same cut.
        assert_eq!(source.cut(Epoch(1)), "2");
        assert_eq!(offset(source.next(Epoch(1)).unwrap()), Some(3));
        assert!(matches!(source.next(Epoch(1)).unwrap(), Next::End));
        assert!(source.status().finished);
    }

    #[tokio::test]
    async fn a_waiter_sees_the_reader_move() {
        let source = SharedSource::new(Box::new(Numbers(0, 4)));
        let waiter = tokio::spawn({
            let source = source.clone();
            async move { source.wait_position(|p| p == "1").await }
        });
        tokio::task::yield_now().await;
        source.next(Epoch(0)).unwrap();
        waiter.await.unwrap();
    }
}
