//! The durable stream log: append-only segments of records with CRCs, fsync in groups, offsets, retention.
//!
//! What cannot be replayed (INSERT, TCP, HTTP) goes through a log: acknowledged when fsynced, then read by offset.
//!
//! ```text
//! append --queue--> writer thread --> segment files <-- readers (own files, CRC checked)
//!                        |                                 ^
//!                        +----------> index: what is durable
//! ```
//! It knows bytes and row counts, not what they mean.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::common::clock::Clock;
use crate::common::{Error, ErrorKind, Result};
use index::Index;
use writer::{Append, Writer};

mod format;
mod index;
mod reader;
mod recover;
pub mod logs;
mod segment;
mod side;
mod writer;
#[cfg(test)]
mod tests;

pub use reader::LogReader;
pub use side::{Side, SideReader, SideWriter};

/// Appends that may wait in the queue; more wait for room in it.
const QUEUE: usize = 1024;
const SEGMENT_BYTES: u64 = 64 << 20;
const LEAST_SEGMENT_BYTES: u64 = 64 << 10;
/// How many segments a log of limited size has.
const SEGMENTS: u64 = 8;

/// What a log keeps although all its readers have passed it: closed segments are deleted once the log is larger than
/// `bytes` or they are older than `time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub bytes: u64,
    pub time: Duration,
}

impl Retention {
    /// Nothing: there is one reader, and it keeps the rows.
    pub const NONE: Self = Self { bytes: 0, time: Duration::ZERO };
    /// Everything: there may be readers to come.
    pub const ALL: Self = Self { bytes: u64::MAX, time: Duration::MAX };
}

/// How one log is kept.
#[derive(Debug, Clone)]
pub struct LogConfig {
    pub dir: PathBuf,
    /// A segment is closed at about this size.
    pub segment_bytes: u64,
    pub retention: Retention,
}

impl LogConfig {
    /// Keeps what readers still need, and no more.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), segment_bytes: SEGMENT_BYTES, retention: Retention::NONE }
    }

    /// Segments are deleted as a whole: a small log has small ones.
    pub fn with_retention(mut self, retention: Retention) -> Self {
        if retention.bytes > 0 {
            self.segment_bytes = (retention.bytes / SEGMENTS).clamp(LEAST_SEGMENT_BYTES, SEGMENT_BYTES);
        }
        self.retention = retention;
        self
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

/// A log: many appenders, many readers. Dropping it waits for the write under way.
pub struct Log {
    config: LogConfig,
    index: Arc<Index>,
    /// `None` only while the log is dropped.
    queue: Option<mpsc::Sender<Append>>,
    writer: Option<JoinHandle<()>>,
    /// Side files, by the offset of the entry that names each: token.
    sides: Mutex<BTreeMap<u64, u64>>,
    /// Tokens of side files that an entry names, or is about to. An entry with another one is what a sender sent.
    tokens: Mutex<HashSet<u64>>,
    /// One truncation at a time.
    truncating: Mutex<()>,
    /// Locked for as long as the log is open.
    _lock: fs::File,
}

impl Log {
    /// Opens or creates the log. A torn tail is cut; a corrupt middle is an error that names segment and offset.
    /// Blocking file reads, of the last segment at most.
    ///
    /// # Errors
    /// `DataCorrupted`; `ObjectInUse` when the log is open already.
    pub fn open(config: LogConfig) -> Result<Arc<Self>> {
        let context = |e: Error| e.context(format!("cannot open the log {}", config.dir.display()));
        fs::create_dir_all(&config.dir).map_err(|e| context(e.into()))?;
        let lock = lock(&config).map_err(context)?;
        let (segments, tail) = recover::recover(&config.dir).map_err(context)?;
        let sides = side::recover(&config.dir, &segments).map_err(context)?;
        let index = Arc::new(Index::new(segments, tail.next_offset));
        let (queue, appends) = mpsc::channel(QUEUE);
        let writer = Writer::new(config.dir.clone(), config.segment_bytes, Arc::clone(&index), tail);
        let writer = std::thread::Builder::new()
            .name("weir-log".into())
            .spawn(move || writer.run(appends))
            .map_err(|e| context(e.into()))?;
        Ok(Arc::new(Self {
            config,
            index,
            queue: Some(queue),
            writer: Some(writer),
            tokens: Mutex::new(sides.values().copied().collect()),
            sides: Mutex::new(sides),
            truncating: Mutex::new(()),
            _lock: lock,
        }))
    }

    /// Appends an entry and returns its offset once it is fsynced; concurrent appends share an fsync. After an error
    /// (disk full, I/O) the entry is not in the log, and the log goes on once the disk does. Whether the entry of a
    /// future that is dropped while it waits gets into the log is open.
    pub async fn append(self: &Arc<Self>, payload: Bytes, rows: u32) -> Result<u64> {
        if payload.len() > format::MAX_PAYLOAD {
            return Err(Error::new(
                ErrorKind::InvalidParameterValue,
                format!(
                    "an entry of {} bytes is too large for the log, at most {}",
                    payload.len(),
                    format::MAX_PAYLOAD
                ),
            )
            .with_hint("write fewer rows at once"));
        }
        let ended = || Error::internal(format!("the writer of the log {} has ended", self.config.dir.display()));
        let queue = self.queue.as_ref().ok_or_else(ended)?;
        let (done, result) = oneshot::channel();
        queue.send(Append { payload, rows, done }).await.map_err(|_| ended())?;
        result.await.map_err(|_| ended())?
    }

    /// A new side file, for what is too large for one entry. Blocking.
    pub fn side(&self) -> Result<SideWriter> {
        SideWriter::create(&self.config.dir)
    }

    /// Appends an entry that stands for the whole of a side file. To be run to its end: a caller that may be dropped
    /// spawns it. After an error the file stays until the log is opened again, which looks whether an entry names it.
    pub async fn append_side(self: &Arc<Self>, side: Side) -> Result<u64> {
        // Before the entry: a reader may meet it at once.
        self.tokens.lock().insert(side.token);
        let offset = self.append(side.payload(), side.rows).await?;
        self.sides.lock().insert(offset, side.token);
        Ok(offset)
    }

    /// Whether the entry stands for a side file.
    pub fn is_side(&self, record: &Record) -> bool {
        self.token(record).is_some()
    }

    fn token(&self, record: &Record) -> Option<u64> {
        side::token(&record.payload).filter(|token| self.tokens.lock().contains(token))
    }

    /// The pieces of the side file that `record` stands for, from byte `at` on; `None` for an entry that is itself.
    pub fn side_of(&self, record: &Record, at: u64) -> Result<Option<SideReader>> {
        self.token(record).map(|token| SideReader::open(&self.config.dir, token, at)).transpose()
    }

    /// The offset after the last durable entry.
    pub fn end(&self) -> u64 {
        self.index.end()
    }

    /// The first offset that is still there.
    pub fn start(&self) -> u64 {
        self.index.start()
    }

    /// Wakes whoever waits for entries. Each call gives a `Notify` of its own, which keeps a permit: take it once, before
    /// the first look for entries, and no entry is missed.
    pub fn appended(&self) -> Arc<Notify> {
        self.index.watch()
    }

    /// A reader from `offset` on.
    ///
    /// # Errors
    /// `ObjectNotReady` below [`Log::start`], `DataCorrupted` above [`Log::end`].
    pub fn reader(self: &Arc<Self>, offset: u64) -> Result<LogReader> {
        LogReader::new(self.config.dir.clone(), Arc::clone(&self.index), offset)
    }

    /// Deletes closed segments all of whose entries are below `offset`, as retention allows. Blocking.
    pub fn truncate(&self, offset: u64) -> Result<()> {
        let _one = self.truncating.lock();
        while let Some((oldest, bytes)) = self.index.oldest_below(offset) {
            let path = segment::path(&self.config.dir, oldest.first_offset);
            let keep = &self.config.retention;
            if bytes <= keep.bytes && (keep.time == Duration::MAX || self.age(&path)? < keep.time) {
                break;
            }
            // Readers must not find it while it goes.
            self.index.remove_oldest(oldest);
            match fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    self.index.restore_oldest(oldest);
                    return Err(Error::from(e).context(format!("cannot delete log segment {}", path.display())));
                }
                // One by one, so that a crash cannot leave a gap.
                _ => segment::sync_dir(&self.config.dir)?,
            }
        }
        // A side file goes as soon as its entry is passed, where nothing is kept: it is large.
        let keep_all = self.config.retention != Retention::NONE;
        let until = if keep_all { self.index.start() } else { offset.min(self.index.end()) };
        let kept = {
            let mut sides = self.sides.lock();
            let kept = sides.split_off(&until);
            std::mem::replace(&mut *sides, kept)
        };
        for token in kept.into_values() {
            self.tokens.lock().remove(&token);
            match fs::remove_file(side::path(&self.config.dir, token)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.index.bytes()
    }

    /// Time since the segment was written to.
    fn age(&self, segment: &std::path::Path) -> Result<Duration> {
        let modified = fs::metadata(segment)?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Duration::from_micros(u64::try_from(Clock::system().now_micros()).unwrap_or(0));
        Ok(now.saturating_sub(modified))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!(log = %self.config.dir.display(), "the writer of the log panicked");
        }
    }
}

/// Two writers on one folder would tear each other's entries.
fn lock(config: &LogConfig) -> Result<fs::File> {
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(config.dir.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Error::new(ErrorKind::ObjectInUse, "it is already open")
            .with_hint("stop the other Weir on this data folder")),
        Err(fs::TryLockError::Error(e)) => Err(e.into()),
    }
}
