//! The one thread that writes a log: takes all appends that wait, writes them at once, syncs once, then answers them.
//!
//! ```text
//! append --+
//! append --+--> group --> write --> sync --> publish to readers --> answer all
//! append --+                 \________\____> cut back, new segment --> answer all with the error
//! ```
//! The law: an entry that was acknowledged is in the log for ever, one whose append failed never is. After a failed
//! write or sync the file is cut to its last durable length, and a new segment begins there: readers and recovery stop
//! where the next segment begins, so even bytes that come back from a lying disk are fenced off.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::format::{ENTRY_HEADER, SEGMENT_HEADER, SegmentHeader, push_entry};
use super::index::{Index, Segment};
use super::segment;
use crate::common::{Error, Result, failpoint};

/// A group is written when it holds this much.
const GROUP_BYTES: usize = 8 << 20;
/// Capacity that the group's buffer keeps between groups.
const KEEP_BYTES: usize = 1 << 20;

/// An entry that waits to be written. Dropping the receiver withdraws it, unless its group has begun.
pub struct Append {
    pub payload: Bytes,
    pub rows: u32,
    /// Gets the entry's offset.
    pub done: oneshot::Sender<Result<u64>>,
}

/// The end of a log: the segment that is written to, and what comes next.
pub struct Tail {
    pub file: File,
    pub salt: u32,
    /// Of the segment.
    pub first_offset: u64,
    /// Durable bytes of the segment.
    pub length: u64,
    pub next_offset: u64,
    pub next_row: u64,
}

impl Tail {
    /// Begins a segment.
    pub fn begin(dir: &Path, first_offset: u64, first_row: u64) -> Result<Self> {
        let header = SegmentHeader { first_offset, first_row, salt: rand::random() };
        let file = segment::create(dir, &header)?;
        let length = SEGMENT_HEADER as u64;
        Ok(Self { file, salt: header.salt, first_offset, length, next_offset: first_offset, next_row: first_row })
    }

    fn is_empty(&self) -> bool {
        self.next_offset == self.first_offset
    }
}

/// What must happen before the next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repair {
    None,
    /// Bytes beyond the durable length may be in the file.
    Cut,
    /// The file is cut; its pages in memory are not to be trusted.
    Roll,
}

pub struct Writer {
    dir: PathBuf,
    segment_bytes: u64,
    index: Arc<Index>,
    tail: Tail,
    repair: Repair,
    group: Vec<u8>,
}

impl Writer {
    pub fn new(dir: PathBuf, segment_bytes: u64, index: Arc<Index>, tail: Tail) -> Self {
        Self { dir, segment_bytes, index, tail, repair: Repair::None, group: Vec::new() }
    }

    /// Writes until all senders are gone.
    pub fn run(mut self, mut queue: mpsc::Receiver<Append>) {
        while let Some(first) = queue.blocking_recv() {
            let appends = self.gather(first, &mut queue);
            let offset = self.tail.next_offset;
            match self.write_group(&appends) {
                Ok(()) => {
                    for (append, offset) in appends.into_iter().zip(offset..) {
                        // Whoever no longer waits needs no answer.
                        let _ = append.done.send(Ok(offset));
                    }
                }
                Err(e) => {
                    for append in appends {
                        let _ = append.done.send(Err(e.clone()));
                    }
                }
            }
        }
    }

    /// The appends of the next group: what waits, up to the group's and the segment's size.
    fn gather(&self, first: Append, queue: &mut mpsc::Receiver<Append>) -> Vec<Append> {
        let left = self.segment_bytes.saturating_sub(self.tail.length);
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(GROUP_BYTES);
        let mut bytes = ENTRY_HEADER + first.payload.len();
        let mut appends = vec![first];
        while bytes < limit
            && let Ok(append) = queue.try_recv()
        {
            bytes += ENTRY_HEADER + append.payload.len();
            appends.push(append);
        }
        appends.retain(|append| !append.done.is_closed());
        appends
    }

    fn write_group(&mut self, appends: &[Append]) -> Result<()> {
        if appends.is_empty() {
            return Ok(());
        }
        self.mend()?;
        if self.tail.length >= self.segment_bytes && !self.tail.is_empty() {
            self.roll()?;
        }
        self.group.clear();
        let (mut offset, mut row) = (self.tail.next_offset, self.tail.next_row);
        for append in appends {
            push_entry(&mut self.group, self.tail.salt, offset, row, append.rows, &append.payload);
            offset += 1;
            row += u64::from(append.rows);
        }
        let written = self.write_durably();
        let bytes = self.group.len() as u64;
        self.group.clear();
        self.group.shrink_to(KEEP_BYTES);
        if let Err(e) = written {
            self.repair = Repair::Cut;
            return Err(self.take_back(e));
        }
        self.tail.length += bytes;
        self.tail.next_offset = offset;
        self.tail.next_row = row;
        self.index.publish(self.tail.length, offset);
        Ok(())
    }

    fn write_durably(&self) -> Result<()> {
        self.tail.file.write_all_at(&self.group, self.tail.length)?;
        failpoint::hit("log.append.write")?;
        self.tail.file.sync_data()?;
        failpoint::hit("log.append.sync")?;
        Ok(())
    }

    /// Takes the failed group's bytes back; says so in its error where that failed too.
    fn take_back(&mut self, failure: Error) -> Error {
        let failure = failure.context("cannot append to the log");
        match self.mend() {
            Err(e) if self.repair == Repair::Cut => failure.with_detail(format!(
                "what was written could not be taken back either: {e}. Should the server stop before the disk works \
                 again, these rows may be there after its restart"
            )),
            // The file is cut, or ends for all where a new segment begins: the next append does the rest.
            _ => failure,
        }
    }

    /// Brings the log into a state that can be written to.
    fn mend(&mut self) -> Result<()> {
        if self.repair == Repair::Cut {
            // An empty segment is used again: it has no entries whose pages in memory could be stale, and its
            // successor would have its name.
            match self.cut() {
                Ok(()) if self.tail.is_empty() => self.repair = Repair::None,
                Ok(()) => self.repair = Repair::Roll,
                Err(e) if self.tail.is_empty() => return Err(e),
                Err(e) => tracing::warn!(error = %e, "cannot cut a log segment; fencing it with a new one"),
            }
        }
        if self.repair != Repair::None {
            self.roll()?;
            self.repair = Repair::None;
        }
        Ok(())
    }

    fn cut(&self) -> Result<()> {
        self.tail.file.set_len(self.tail.length)?;
        Ok(self.tail.file.sync_all()?)
    }

    fn roll(&mut self) -> Result<()> {
        let (offset, row) = (self.tail.next_offset, self.tail.next_row);
        self.tail = Tail::begin(&self.dir, offset, row).map_err(|e| {
            e.context(format!("cannot begin log segment {}", segment::path(&self.dir, offset).display()))
        })?;
        self.index.begin_segment(Segment { first_offset: offset, length: self.tail.length });
        Ok(())
    }
}
