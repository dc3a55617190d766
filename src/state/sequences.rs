//! How far sequences are: a small file each, written ahead of the values that are handed out, so that no value comes
//! twice. After a crash those that were written ahead are left out, as in PostgreSQL.
//!
//! ```text
//! take --(fewer in reserve than asked)--> next ones on disk --> values
//! ```
//!
//! Apart from epochs: a value once taken is never taken back. Knows no names.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::common::{Error, Result};
use crate::types::sequence::SequenceRange;

/// Values that are written ahead of those that are asked for, as in PostgreSQL.
const AHEAD: usize = 32;

/// The sequences of a data folder, by id.
pub struct Sequences {
    dir: PathBuf,
    counters: Mutex<HashMap<u32, Counter>>,
}

/// Where a sequence is, as `SELECT * FROM sequence` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// The value that was taken last; the next one while none was.
    pub last: i64,
    pub called: bool,
    /// How many may be taken before more is written.
    pub reserve: usize,
    /// What the reserve was counted with: ALTER SEQUENCE changes it.
    range: Option<SequenceRange>,
}

impl Counter {
    fn at(last: i64, called: bool) -> Self {
        Self { last, called, reserve: 0, range: None }
    }

    fn next(&self, range: &SequenceRange) -> Option<i64> {
        if self.called { range.after(self.last) } else { Some(self.last) }
    }
}

impl Sequences {
    /// Reads nothing yet.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, counters: Mutex::default() }
    }

    /// The next values, up to `count`: fewer at the sequence's end. Blocks for a write now and then.
    ///
    /// # Errors
    /// `Io`; `DataCorrupted` for a file that cannot be read. No value is taken then.
    pub fn take(&self, id: u32, range: &SequenceRange, count: usize) -> Result<Vec<i64>> {
        let mut counters = self.counters.lock();
        let mut counter = self.counter(&counters, id, range)?;
        if counter.reserve < count || counter.range != Some(*range) {
            let ahead = count + AHEAD;
            let mut written = counter;
            for _ in 0..ahead {
                let Some(next) = written.next(range) else { break };
                written = Counter::at(next, true);
            }
            self.write(id, written)?;
            (counter.reserve, counter.range) = (ahead, Some(*range));
        }
        let mut taken = Vec::with_capacity(count);
        while let Some(value) = counter.next(range).filter(|_| taken.len() < count) {
            taken.push(value);
            (counter.last, counter.called) = (value, true);
        }
        counter.reserve -= taken.len();
        counters.insert(id, counter);
        Ok(taken)
    }

    /// As `setval`: the value was taken last, or with `called` false comes next.
    ///
    /// # Errors
    /// As [`Sequences::take`].
    pub fn set(&self, id: u32, last: i64, called: bool) -> Result<()> {
        let mut counters = self.counters.lock();
        let counter = Counter::at(last, called);
        self.write(id, counter)?;
        counters.insert(id, counter);
        Ok(())
    }

    /// How far it is.
    ///
    /// # Errors
    /// As [`Sequences::take`].
    pub fn get(&self, id: u32, range: &SequenceRange) -> Result<Counter> {
        self.counter(&self.counters.lock(), id, range)
    }

    /// Removes what is left of sequences that were dropped.
    pub fn sweep(&self, is_there: impl Fn(u32) -> bool) {
        let Ok(files) = fs::read_dir(&self.dir) else { return };
        for file in files.flatten().map(|entry| entry.path()) {
            let id = file.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            if !id.is_some_and(&is_there)
                && let Err(e) = fs::remove_file(&file)
            {
                tracing::warn!(file = %file.display(), error = %e, "what is left of a sequence cannot be removed");
            }
        }
    }

    /// Writes that nothing is in reserve: the server stops, and no value is left out.
    ///
    /// # Errors
    /// `Io`.
    pub fn close(&self) -> Result<()> {
        for (id, counter) in self.counters.lock().iter_mut().filter(|(_, c)| c.reserve > 0) {
            self.write(*id, *counter)?;
            counter.reserve = 0;
        }
        Ok(())
    }

    fn counter(&self, counters: &HashMap<u32, Counter>, id: u32, range: &SequenceRange) -> Result<Counter> {
        if let Some(counter) = counters.get(&id) {
            return Ok(*counter);
        }
        let file = self.file(id);
        match fs::read(&file) {
            Ok(bytes) => {
                let (last, called) = serde_json::from_slice(&bytes)
                    .map_err(|e| Error::corrupted(format!("the sequence in {}: {e}", file.display())))?;
                Ok(Counter::at(last, called))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Counter::at(range.start, false)),
            Err(e) => Err(failed(&file, e)),
        }
    }

    /// On disk when it returns.
    fn write(&self, id: u32, counter: Counter) -> Result<()> {
        let file = self.file(id);
        let new = file.with_extension("new");
        let text = serde_json::to_vec(&(counter.last, counter.called)).map_err(|e| Error::internal(e.to_string()))?;
        let write = || {
            fs::create_dir_all(&self.dir)?;
            let mut written = File::create(&new)?;
            written.write_all(&text)?;
            written.sync_all()?;
            fs::rename(&new, &file)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|e| failed(&file, e))
    }

    fn file(&self, id: u32) -> PathBuf {
        self.dir.join(id.to_string())
    }
}

fn failed(file: &Path, e: std::io::Error) -> Error {
    Error::from(e).context(format!("the sequence in {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::sequence::Given;

    /// No value comes twice after a crash; after a stop none is left out.
    #[test]
    fn values_come_once() {
        let dir = tempfile::tempdir().unwrap();
        let range = SequenceRange::new(Given::default(), i64::MAX).unwrap();
        let sequences = || Sequences::new(dir.path().join("sequences"));
        let first = sequences();
        assert_eq!(first.take(7, &range, 2).unwrap(), [1, 2]);
        assert_eq!(first.take(7, &range, 1).unwrap(), [3]);
        drop(first);
        let crashed = sequences();
        let next = crashed.take(7, &range, 1).unwrap();
        assert_eq!(next, [2 + AHEAD as i64 + 1]);
        crashed.close().unwrap();
        let stopped = sequences();
        assert_eq!(stopped.take(7, &range, 1).unwrap(), [next[0] + 1]);
        stopped.set(7, 5, false).unwrap();
        assert_eq!(stopped.get(7, &range).unwrap(), Counter::at(5, false));
        assert_eq!(stopped.take(7, &range, 100).unwrap(), (5..105).collect::<Vec<_>>());
        sequences().sweep(|id| id == 7);
        assert_eq!(sequences().take(7, &range, 1).unwrap(), [105 + AHEAD as i64]);
        sequences().sweep(|_| false);
        assert_eq!(sequences().take(7, &range, 1).unwrap(), [1]);
    }

    #[test]
    fn the_end_is_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let sequences = Sequences::new(dir.path().into());
        let given = Given { max: Some(3), ..Given::default() };
        let range = SequenceRange::new(given, i64::MAX).unwrap();
        assert_eq!(sequences.take(1, &range, 5).unwrap(), [1, 2, 3]);
        assert!(sequences.take(1, &range, 1).unwrap().is_empty());
        assert_eq!(sequences.get(1, &range).unwrap().last, 3);
        let cycle = SequenceRange { cycle: true, ..range };
        assert_eq!(sequences.take(2, &cycle, 5).unwrap(), [1, 2, 3, 1, 2]);
    }
}
