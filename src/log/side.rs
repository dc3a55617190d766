//! Side files: what is too large for one entry. It is written piece by piece beside the segments, made durable, and then
//! put into the log as a whole by one entry that names it. A file that no entry names was never acknowledged.
//!
//! ```text
//! file:  piece | piece | ...      piece: length u32 | rows u32 | crc u32 of the payload | payload
//! entry: magic | token u64        the file is named by its token
//! ```
//! Numbers are little-endian.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::format::MAX_PAYLOAD;
use super::index::Segment;
use super::segment::{self, Cursor, Next};
use crate::common::{Error, Result, failpoint};

const MAGIC: &[u8; 8] = b"WEIRSIDE";
const SUFFIX: &str = ".side";
const HEADER: usize = 12;

/// A side file being written. Dropped unfinished, it is deleted.
pub struct SideWriter {
    path: PathBuf,
    /// `None` once it is finished.
    file: Option<BufWriter<File>>,
    token: u64,
    rows: u32,
}

/// A durable side file that is in no log yet.
pub struct Side {
    pub(super) token: u64,
    pub rows: u32,
}

impl SideWriter {
    pub(super) fn create(dir: &Path) -> Result<Self> {
        let token = rand::random();
        let path = path(dir, token);
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Self { path, file: Some(BufWriter::with_capacity(1 << 20, file)), token, rows: 0 })
    }

    /// Adds a piece of `rows` rows. Blocking.
    pub fn push(&mut self, rows: u32, payload: &[u8]) -> Result<()> {
        let (Some(file), true) = (&mut self.file, payload.len() <= MAX_PAYLOAD) else {
            return Err(Error::internal("a piece that a side file cannot take"));
        };
        self.rows = self.rows.checked_add(rows).ok_or_else(|| {
            Error::not_supported("more than four billion rows in one statement").with_hint("write them in several")
        })?;
        file.write_all(&(payload.len() as u32).to_le_bytes())?;
        file.write_all(&rows.to_le_bytes())?;
        file.write_all(&crc32fast::hash(payload).to_le_bytes())?;
        file.write_all(payload)?;
        Ok(())
    }

    /// Makes it durable. Blocking.
    pub fn finish(mut self) -> Result<Side> {
        let Some(file) = &mut self.file else { return Err(Error::internal("a side file is finished twice")) };
        file.flush()?;
        failpoint::hit("log.side.sync")?;
        file.get_ref().sync_all()?;
        if let Some(dir) = self.path.parent() {
            segment::sync_dir(dir)?;
        }
        self.file = None;
        Ok(Side { token: self.token, rows: self.rows })
    }
}

impl Drop for SideWriter {
    fn drop(&mut self) {
        if self.file.is_some()
            && let Err(e) = fs::remove_file(&self.path)
        {
            tracing::warn!(file = %self.path.display(), error = %e, "a side file was left; the next start deletes it");
        }
    }
}

impl Side {
    pub(super) fn payload(&self) -> Bytes {
        let mut payload = MAGIC.to_vec();
        payload.extend_from_slice(&self.token.to_le_bytes());
        payload.into()
    }
}

/// The token in an entry that stands for a side file.
pub(super) fn token(payload: &[u8]) -> Option<u64> {
    let token = payload.strip_prefix(MAGIC)?;
    Some(u64::from_le_bytes(token.try_into().ok()?))
}

pub(super) fn path(dir: &Path, token: u64) -> PathBuf {
    dir.join(format!("{token:016x}{SUFFIX}"))
}

/// The pieces of a side file, from a byte on.
pub struct SideReader {
    path: PathBuf,
    file: File,
    /// Of the next piece.
    pub at: u64,
}

impl SideReader {
    pub(super) fn open(dir: &Path, token: u64, at: u64) -> Result<Self> {
        let path = path(dir, token);
        let open = || {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(at))?;
            Ok::<_, std::io::Error>(file)
        };
        match open() {
            Ok(file) => Ok(Self { path, file, at }),
            Err(e) => Err(Error::corrupted(format!("the side file {} cannot be read: {e}", path.display()))
                .with_hint("restore the data folder as a whole")),
        }
    }

    /// The next piece and its rows; `None` at the end. Blocking.
    pub fn piece(&mut self) -> Result<Option<(Bytes, u32)>> {
        let bad = |what: &str| Error::corrupted(format!("{}, byte {}: {what}", self.path.display(), self.at));
        let mut header = Vec::with_capacity(HEADER);
        (&mut self.file).take(HEADER as u64).read_to_end(&mut header)?;
        if header.is_empty() {
            return Ok(None);
        }
        let number = |from: usize| header.get(from..from + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
        let (Some(length), Some(rows), Some(crc)) = (number(0), number(4), number(8)) else {
            return Err(bad("the file is cut short"));
        };
        if length as usize > MAX_PAYLOAD {
            return Err(bad("a piece is longer than any"));
        }
        let mut payload = Vec::with_capacity(length as usize);
        (&mut self.file).take(u64::from(length)).read_to_end(&mut payload)?;
        if payload.len() < length as usize {
            return Err(bad("the file is cut short"));
        }
        if crc32fast::hash(&payload) != crc {
            return Err(bad("a piece has a wrong checksum"));
        }
        self.at += (HEADER + payload.len()) as u64;
        Ok(Some((payload.into(), rows)))
    }
}

/// The side files of a log that is opened, by the offset of their entries; deletes those that no entry names. Reads the
/// log's entries only where there are side files.
pub(super) fn recover(dir: &Path, segments: &[Segment]) -> Result<BTreeMap<u64, u64>> {
    let mut unnamed = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let token = name.to_str().and_then(|n| n.strip_suffix(SUFFIX)).map(|n| u64::from_str_radix(n, 16));
        if let Some(Ok(token)) = token {
            unnamed.insert(token, entry.path());
        }
    }
    let mut named = BTreeMap::new();
    if unnamed.is_empty() {
        return Ok(named);
    }
    for (i, segment) in segments.iter().enumerate() {
        let mut cursor = Cursor::open(dir, segment.first_offset)?;
        let until = segments.get(i + 1).map_or(u64::MAX, |next| next.first_offset);
        let mut offset = segment.first_offset;
        while offset < until
            && let Next::Entry(record) = cursor.next(offset, segment.length)?
        {
            // An entry that only looks like one names no file.
            if let Some(token) = token(&record.payload)
                && unnamed.remove(&token).is_some()
            {
                named.insert(offset, token);
            }
            offset += 1;
        }
    }
    for path in unnamed.values() {
        fs::remove_file(path)?;
    }
    Ok(named)
}
