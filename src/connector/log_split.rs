//! Reads a log as a source's one split: what tables and the sources that cannot replay have in common.
//! Hands out entries as they are; what they hold is their decoder's matter.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::Notify;

use super::{Fetch, Payload, SplitReader, SplitStatus, Unit};
use crate::common::{Error, Result};
use crate::log::{Log, LogReader, Record, SideReader};

/// The split's name.
pub const SPLIT: &str = "log";
/// Entries are joined up to this size.
const UNIT_BYTES: usize = 1 << 20;
/// The log wakes its readers; this is only for the case that it is closed.
const WAIT: Duration = Duration::from_secs(10);

/// One log, read by offset. Its position is the offset of the next entry, in decimal; inside of a side file it is
/// `offset:byte:rows`, where its next piece begins and how many rows are before it.
pub struct LogSplit {
    log: Arc<Log>,
    reader: LogReader,
    appended: Arc<Notify>,
    /// Bytes at the front of each entry that say how it is encoded.
    tag: usize,
    name: Arc<str>,
    /// Read, and not part of a unit yet.
    pending: Option<Record>,
    /// The side file that is being handed out.
    side: Option<Pieces>,
}

/// A side file on its way.
struct Pieces {
    record: Record,
    reader: SideReader,
    /// Rows of the pieces before.
    rows: u64,
}

impl LogSplit {
    /// A reader at `position`, or at the log's start. Small entries with contiguous rows are joined into one unit: the
    /// `tag` bytes at the front of each, which must be equal, then the rest of all.
    ///
    /// # Errors
    /// `DataCorrupted` for a position that is none or beyond the end, `ObjectNotReady` for one that retention passed.
    pub fn open(log: Arc<Log>, position: Option<&str>, tag: usize) -> Result<Self> {
        let (offset, inside) = match position {
            None => (log.start(), None),
            Some(text) => parse(text).ok_or_else(|| {
                Error::corrupted(format!("'{text}' is no position in a log, which is a whole number from 0"))
            })?,
        };
        let appended = log.appended();
        let mut reader = log.reader(offset)?;
        let mut side = None;
        if let Some((byte, rows)) = inside {
            let lost = || Error::corrupted(format!("entry {offset} of the log has no side file"));
            let record = reader.next()?.ok_or_else(lost)?;
            let reader = log.side_of(&record, byte)?.ok_or_else(lost)?;
            side = Some(Pieces { record, reader, rows });
        }
        Ok(Self { log, reader, appended, tag, name: Arc::from(SPLIT), pending: None, side })
    }

    fn offset(&self) -> u64 {
        let read = self.side.as_ref().map(|pieces| &pieces.record).or(self.pending.as_ref());
        read.map_or_else(|| self.reader.offset(), |record| record.offset)
    }

    fn next(&mut self) -> Result<Option<Record>> {
        match self.pending.take() {
            Some(record) => Ok(Some(record)),
            None => self.reader.next(),
        }
    }

    /// Whether `next` may follow `first` in one unit whose rows go up to `row` and whose bytes are `bytes` so far.
    fn joins(&self, first: &Record, next: &Record, row: u64, bytes: usize) -> bool {
        next.first_row == row
            && !self.log.is_side(next)
            && next.payload.len() >= self.tag
            && next.payload.get(..self.tag) == first.payload.get(..self.tag)
            && bytes + next.payload.len() <= UNIT_BYTES
    }
}

impl LogSplit {
    /// The next piece of the side file, if one is being handed out and has more.
    fn piece(&mut self) -> Result<Option<Unit>> {
        let Some(pieces) = &mut self.side else { return Ok(None) };
        let Some((payload, rows)) = pieces.reader.piece()? else {
            self.side = None;
            return Ok(None);
        };
        let first_row = pieces.record.first_row.saturating_add(pieces.rows);
        pieces.rows += u64::from(rows);
        let offset = pieces.record.offset;
        let last = pieces.rows >= u64::from(pieces.record.rows);
        let unit = Unit {
            split: Arc::clone(&self.name),
            offset,
            first_row_id: i64::try_from(first_row)
                .map_err(|_| Error::corrupted(format!("row number {first_row} of a log is out of range")))?,
            payload: Payload::Bytes(payload),
        };
        // After the last piece the position is the next entry: who waits for it need not wait for another fetch.
        if last {
            self.side = None;
        }
        Ok(Some(unit))
    }
}

/// `offset` or `offset:byte:rows`.
fn parse(position: &str) -> Option<(u64, Option<(u64, u64)>)> {
    let mut parts = position.split(':').map(|part| part.parse::<u64>().ok());
    let offset = parts.next()??;
    match (parts.next(), parts.next(), parts.next()) {
        (None, None, None) => Some((offset, None)),
        (Some(byte), Some(rows), None) => Some((offset, Some((byte?, rows?)))),
        _ => None,
    }
}

impl SplitReader for LogSplit {
    fn fetch(&mut self) -> Result<Fetch> {
        if let Some(unit) = self.piece()? {
            return Ok(Fetch::Unit(unit));
        }
        let Some(first) = self.next()? else {
            return Ok(Fetch::Wait { after: WAIT, notify: Some(Arc::clone(&self.appended)) });
        };
        if self.tag == 0
            && let Some(reader) = self.log.side_of(&first, 0)?
        {
            self.side = Some(Pieces { record: first, reader, rows: 0 });
            return self.fetch();
        }
        let first_row_id = i64::try_from(first.first_row)
            .map_err(|_| Error::corrupted(format!("row number {} of a log is out of range", first.first_row)))?;
        let mut joined = BytesMut::new();
        let mut row = first.first_row.saturating_add(u64::from(first.rows));
        // A record that cannot be read now is the next fetch's error: the unit before it is whole.
        while let Ok(Some(next)) = self.reader.next() {
            let bytes = joined.len().max(first.payload.len());
            if !self.joins(&first, &next, row, bytes) {
                self.pending = Some(next);
                break;
            }
            if joined.is_empty() {
                joined.reserve(2 * (first.payload.len() + next.payload.len()));
                joined.extend_from_slice(&first.payload);
            }
            joined.extend_from_slice(next.payload.get(self.tag..).unwrap_or_default());
            row = row.saturating_add(u64::from(next.rows));
        }
        let payload = if joined.is_empty() { first.payload } else { joined.freeze() };
        Ok(Fetch::Unit(Unit {
            split: Arc::clone(&self.name),
            offset: first.offset,
            first_row_id,
            payload: Payload::Bytes(payload),
        }))
    }

    fn position(&self) -> String {
        if let Some(Pieces { record, reader, rows }) = &self.side {
            return format!("{}:{}:{rows}", record.offset, reader.at);
        }
        self.offset().to_string()
    }

    fn splits(&self) -> Vec<SplitStatus> {
        vec![SplitStatus { split: SPLIT.into(), offset: self.offset(), end: Some(self.log.end()), finished: false }]
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::common::ErrorKind;
    use crate::log::LogConfig;

    async fn log(dir: &tempfile::TempDir, entries: &[(&str, u32)]) -> Arc<Log> {
        let log = Log::open(LogConfig::new(dir.path())).unwrap();
        for (payload, rows) in entries {
            log.append(Bytes::from(payload.to_string()), *rows).await.unwrap();
        }
        log
    }

    /// `offset/first row/payload` of each unit up to the end.
    fn units(split: &mut LogSplit) -> Vec<String> {
        let mut units = Vec::new();
        while let Fetch::Unit(unit) = split.fetch().unwrap() {
            let Payload::Bytes(payload) = unit.payload else { panic!("bytes") };
            assert_eq!(&*unit.split, SPLIT);
            units.push(format!("{}/{}/{}", unit.offset, unit.first_row_id, String::from_utf8_lossy(&payload)));
        }
        units
    }

    #[tokio::test]
    async fn small_entries_with_one_tag_are_joined_under_it() {
        let dir = tempfile::TempDir::new().unwrap();
        let log = log(&dir, &[("aone", 1), ("atwo", 2), ("bthree", 3), ("", 0), ("afour", 1)]).await;
        for (tag, expected) in
            [(0, vec!["0/0/aoneatwobthreeafour"]), (1, vec!["0/0/aonetwo", "2/3/bthree", "3/6/", "4/6/afour"])]
        {
            let mut split = LogSplit::open(Arc::clone(&log), None, tag).unwrap();
            assert_eq!(units(&mut split), expected, "tag of {tag} bytes");
            assert_eq!(split.position(), "5");
        }
    }

    #[tokio::test]
    async fn a_unit_is_bounded_and_each_position_goes_on_there() {
        let dir = tempfile::TempDir::new().unwrap();
        let large = "x".repeat(UNIT_BYTES / 2 - 10);
        let huge = "y".repeat(UNIT_BYTES + 10);
        let log = log(&dir, &[(&large, 1), (&large, 1), (&large, 1), (&huge, 1), ("z", 1)]).await;
        let mut split = LogSplit::open(Arc::clone(&log), None, 0).unwrap();
        let mut offsets = Vec::new();
        loop {
            let position = split.position();
            let Fetch::Unit(unit) = split.fetch().unwrap() else { break };
            offsets.push(unit.offset);
            let mut again = LogSplit::open(Arc::clone(&log), Some(&position), 0).unwrap();
            let Fetch::Unit(same) = again.fetch().unwrap() else { panic!("the same unit") };
            assert_eq!((unit.offset, unit.first_row_id), (same.offset, same.first_row_id));
            assert_eq!(split.splits()[0].end, Some(5));
        }
        assert_eq!(offsets, [0, 2, 3, 4]);
    }

    #[tokio::test]
    async fn waits_for_what_is_appended() {
        let dir = tempfile::TempDir::new().unwrap();
        let log = log(&dir, &[]).await;
        let mut split = LogSplit::open(Arc::clone(&log), None, 0).unwrap();
        for n in 0..3 {
            let Fetch::Wait { notify: Some(notify), .. } = split.fetch().unwrap() else { panic!("wait") };
            // Between the look and the wait: the wake-up is kept.
            log.append(Bytes::from_static(b"row"), 1).await.unwrap();
            notify.notified().await;
            assert_eq!(units(&mut split), [format!("{n}/{n}/row")]);
        }
    }

    #[tokio::test]
    async fn a_wrong_position_is_an_error() {
        let dir = tempfile::TempDir::new().unwrap();
        let log = log(&dir, &[("one", 1)]).await;
        for position in ["", "-1", "x", "2", "99999999999999999999"] {
            let error = LogSplit::open(Arc::clone(&log), Some(position), 0).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::DataCorrupted, "{position}");
        }
    }
}
