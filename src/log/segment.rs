//! The files of a log: their names, how one is begun, and reading entries from one in order. Knows no other segment.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Record;
use super::format::{ENTRY_HEADER, EntryHeader, SEGMENT_HEADER, SegmentHeader};
use crate::common::{Error, Result, failpoint};

const SUFFIX: &str = ".log";
const UNFINISHED: &str = ".tmp";
/// Bytes that a cursor reads at once.
const READ_BYTES: usize = 256 << 10;

/// The file of the segment whose first entry has `first_offset`: names sort as offsets do.
pub fn path(dir: &Path, first_offset: u64) -> PathBuf {
    dir.join(format!("{first_offset:020}{SUFFIX}"))
}

/// First offsets of the segments in `dir`, rising. Removes segments that a crash left half begun.
pub fn list(dir: &Path) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.ends_with(UNFINISHED) {
            fs::remove_file(dir.join(name))?;
        } else if let Some(offset) = name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 20) {
            found.extend(offset.parse::<u64>().ok());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Begins a segment, durably: once it has its name its header is whole.
pub fn create(dir: &Path, header: &SegmentHeader) -> Result<File> {
    let target = path(dir, header.first_offset);
    let unfinished = target.with_extension(&UNFINISHED[1..]);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&unfinished)?;
    file.write_all(&header.encode())?;
    file.sync_all()?;
    fs::rename(&unfinished, &target)?;
    failpoint::hit("log.roll")?;
    sync_dir(dir)?;
    Ok(file)
}

/// Makes names that came or went in `dir` durable.
pub fn sync_dir(dir: &Path) -> Result<()> {
    Ok(File::open(dir)?.sync_all()?)
}

/// What stands at a cursor.
#[derive(Debug)]
pub enum Next {
    Entry(Record),
    End,
    /// No valid entry begins at the cursor; the reason.
    Bad(&'static str),
}

/// Reads a segment's entries in order, each checked.
pub struct Cursor {
    path: PathBuf,
    file: File,
    header: SegmentHeader,
    /// Bytes of the file from `position` on.
    buffer: Bytes,
    position: u64,
}

impl Cursor {
    /// Stands before the segment's first entry.
    ///
    /// # Errors
    /// `DataCorrupted` if the file is not the segment that its name says.
    pub fn open(dir: &Path, first_offset: u64) -> Result<Self> {
        let path = path(dir, first_offset);
        let context = |e: Error| e.context(format!("log segment {}", path.display()));
        let mut file = File::open(&path).map_err(|e| context(e.into()))?;
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER);
        (&mut file).take(SEGMENT_HEADER as u64).read_to_end(&mut bytes).map_err(|e| context(e.into()))?;
        let header = SegmentHeader::decode(&bytes).map_err(context)?;
        if header.first_offset != first_offset {
            return Err(context(Error::corrupted(format!(
                "it is named {first_offset} and begins at {}",
                header.first_offset
            ))));
        }
        Ok(Self { path, file, header, buffer: Bytes::new(), position: SEGMENT_HEADER as u64 })
    }

    pub fn header(&self) -> SegmentHeader {
        self.header
    }

    /// Bytes of the file before the next entry.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The entry at the cursor, which must have this offset; `limit` is the file's length as far as it counts.
    pub fn next(&mut self, offset: u64, limit: u64) -> Result<Next> {
        if self.position >= limit {
            return Ok(Next::End);
        }
        self.fill(ENTRY_HEADER, limit)?;
        let Some(header) = EntryHeader::decode(&self.buffer) else {
            let short = limit - self.position < ENTRY_HEADER as u64;
            return Ok(Next::Bad(if short { "the entry is cut short" } else { "no entry begins there" }));
        };
        let total = header.total();
        if total as u64 > limit - self.position {
            return Ok(Next::Bad("the entry is cut short"));
        }
        self.fill(total, limit)?;
        if !self.buffer.get(..total).is_some_and(|entry| header.matches(self.header.salt, entry)) {
            return Ok(Next::Bad("the entry's checksum does not match"));
        }
        if header.offset != offset {
            return Ok(Next::Bad("the entry has another number"));
        }
        let payload = self.buffer.split_to(total).slice(ENTRY_HEADER..);
        self.position += total as u64;
        let EntryHeader { first_row, rows, .. } = header;
        Ok(Next::Entry(Record { offset, first_row, rows, payload }))
    }

    /// All bytes from the cursor to `limit`.
    pub fn rest(&mut self, limit: u64) -> Result<Bytes> {
        self.fill((limit - self.position.min(limit)) as usize, limit)?;
        Ok(self.buffer.clone())
    }

    /// `DataCorrupted` with the segment, the byte and the entry.
    pub fn corrupted(&self, offset: u64, why: &str) -> Error {
        Error::corrupted(format!(
            "log segment {} is corrupt at byte {}, entry {offset}: {why}",
            self.path.display(),
            self.position
        ))
        .with_hint("restore the data folder from a backup; the entries before this one are whole")
    }

    /// Has at least `wanted` bytes in the buffer, unless `limit` or the file's end comes first.
    fn fill(&mut self, wanted: usize, limit: u64) -> Result<()> {
        if self.buffer.len() >= wanted {
            return Ok(());
        }
        let from = self.position + self.buffer.len() as u64;
        let left = usize::try_from(limit.saturating_sub(from)).unwrap_or(usize::MAX);
        let missing = wanted - self.buffer.len();
        let count = missing.max(READ_BYTES).min(left);
        let mut bytes = Vec::with_capacity(self.buffer.len() + count);
        bytes.extend_from_slice(&self.buffer);
        self.file.seek(SeekFrom::Start(from))?;
        (&mut self.file)
            .take(count as u64)
            .read_to_end(&mut bytes)
            .map_err(|e| Error::from(e).context(format!("log segment {}", self.path.display())))?;
        self.buffer = bytes.into();
        Ok(())
    }
}
