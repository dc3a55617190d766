//! The durable stream log: append-only segments of records with CRCs, fsync in groups, offsets, retention.
//!
//! What cannot be replayed (INSERT, TCP, HTTP) goes through a log: acknowledged when fsynced, then read by offset.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::common::Result;

/// How one log is kept.
#[derive(Debug, Clone)]
pub struct LogConfig {
    pub dir: PathBuf,
    /// A segment is closed at about this size.
    pub segment_bytes: u64,
    /// Closed segments that every reader has passed are deleted once the log is larger or they are older than this.
    pub retention_bytes: u64,
    pub retention: Duration,
}

impl LogConfig {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), segment_bytes: 64 << 20, retention_bytes: 0, retention: Duration::ZERO }
    }
}

/// One entry as read back.
#[derive(Debug, Clone)]
pub struct Record {
    /// Entries are numbered from 0 without gaps.
    pub offset: u64,
    /// Row numbers `first_row .. first_row + rows` belong to the entry: they rise over the log without overlap.
    pub first_row: u64,
    pub rows: u32,
    pub payload: Bytes,
}

/// A log: many appenders, many readers.
pub struct Log {}

impl Log {
    /// Opens or creates the log. A torn tail is cut; a corrupt middle is an error that names segment and offset.
    pub fn open(_config: LogConfig) -> Result<Arc<Self>> {
        todo!()
    }

    /// Appends an entry and returns its offset once it is fsynced; concurrent appends share an fsync. After an error
    /// (disk full, I/O) the entry is not in the log, and the log goes on once the disk does.
    pub async fn append(self: &Arc<Self>, _payload: Bytes, _rows: u32) -> Result<u64> {
        todo!()
    }

    /// The offset after the last durable entry.
    pub fn end(&self) -> u64 {
        todo!()
    }

    /// The first offset that is still there.
    pub fn start(&self) -> u64 {
        todo!()
    }

    /// Wakes whoever waits for entries.
    pub fn appended(&self) -> Arc<tokio::sync::Notify> {
        todo!()
    }

    /// A reader from `offset` on.
    pub fn reader(self: &Arc<Self>, _offset: u64) -> Result<LogReader> {
        todo!()
    }

    /// Deletes closed segments all of whose entries are below `offset`, as retention allows.
    pub fn truncate(&self, _offset: u64) -> Result<()> {
        todo!()
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        todo!()
    }
}

/// A position in a log.
pub struct LogReader {}

impl LogReader {
    /// The next durable entry, or `None` at the end for now. Blocking file reads.
    pub fn next(&mut self) -> Result<Option<Record>> {
        todo!()
    }

    /// The offset of the entry that `next` returns next.
    pub fn offset(&self) -> u64 {
        todo!()
    }
}
