//! The memory backend: all entries in a map; a flush writes all of them aside as one snapshot file.
//!
//! ```text
//! snapshot-<n>: magic | version u32 | entries u64 | (name length u32, value length u32, name, value)* | crc32
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::backend::{Backend, Change};
use crate::common::{Error, Result, failpoint};

const MAGIC: &[u8; 8] = b"weirsnap";
const VERSION: u32 = 1;
const PREFIX: &str = "snapshot-";
const UNFINISHED: &str = "snapshot.tmp";

type Entries = BTreeMap<Vec<u8>, Bytes>;

pub(super) struct MemoryBackend {
    dir: PathBuf,
    entries: RwLock<Entries>,
    /// The number of the newest snapshot on disk; the lock is held while one is written.
    newest: Mutex<u64>,
}

impl MemoryBackend {
    /// Reads the newest whole snapshot in `dir`; none is an empty store.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).map_err(|e| at(dir, e))?;
        let numbers = snapshots(dir).map_err(|e| at(dir, e))?;
        let mut torn = None;
        for number in numbers.iter().rev() {
            let path = path(dir, *number);
            let bytes = fs::read(&path).map_err(|e| at(&path, e))?;
            match parse(Bytes::from(bytes)) {
                Some(entries) => {
                    if let Some(torn) = torn {
                        tracing::warn!("{torn:?} is torn; using {path:?}");
                    }
                    let newest = numbers.last().copied().unwrap_or_default();
                    return Ok(Self { dir: dir.into(), entries: RwLock::new(entries), newest: Mutex::new(newest) });
                }
                None => torn = torn.or(Some(path)),
            }
        }
        match torn {
            Some(torn) => Err(Error::corrupted(format!("no snapshot is whole; the newest is {}", torn.display()))
                .with_hint("restore the folder from a backup, or start with an empty --data-dir")),
            None => Ok(Self { dir: dir.into(), entries: RwLock::default(), newest: Mutex::new(0) }),
        }
    }
}

impl Backend for MemoryBackend {
    fn get(&self, name: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.entries.read().get(name).cloned())
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Bytes)>> {
        let entries = self.entries.read();
        let from = entries.range(prefix.to_vec()..);
        Ok(from.take_while(|(name, _)| name.starts_with(prefix)).map(|(n, v)| (n.clone(), v.clone())).collect())
    }

    fn apply(&self, changes: Vec<Change>) -> Result<()> {
        let mut entries = self.entries.write();
        for (name, value) in changes {
            match value {
                Some(value) => entries.insert(name, value),
                None => entries.remove(&name),
            };
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        let mut newest = self.newest.lock();
        // Values are shared, so this copies names only and readers go on.
        let entries = self.entries.read().clone();
        let number = *newest + 1;
        write(&self.dir, number, &entries).map_err(|e| at(&self.dir, e))?;
        *newest = number;
        for old in snapshots(&self.dir).unwrap_or_default().into_iter().filter(|n| *n < number) {
            // An older snapshot that stays is only space; the next flush tries again.
            if let Err(e) = fs::remove_file(path(&self.dir, old)) {
                tracing::warn!("cannot remove snapshot {old}: {e}");
            }
        }
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        let numbers = snapshots(&self.dir).unwrap_or_default();
        numbers.into_iter().filter_map(|n| fs::metadata(path(&self.dir, n)).ok()).map(|m| m.len()).sum()
    }

    fn wants_compressed(&self) -> bool {
        false
    }
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{PREFIX}{number}"))
}

/// Numbers of the finished snapshots in `dir`, ascending.
fn snapshots(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if let Some(number) = name.to_str().and_then(|n| n.strip_prefix(PREFIX)).and_then(|n| n.parse().ok()) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn write(dir: &Path, number: u64, entries: &Entries) -> io::Result<()> {
    let unfinished = dir.join(UNFINISHED);
    let mut out = Summed { crc: crc32fast::Hasher::new(), inner: BufWriter::new(File::create(&unfinished)?) };
    out.write_all(MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    out.write_all(&(entries.len() as u64).to_le_bytes())?;
    for (name, value) in entries {
        out.write_all(&length(name)?)?;
        out.write_all(&length(value)?)?;
        out.write_all(name)?;
        out.write_all(value)?;
    }
    let crc = out.crc.finalize();
    out.inner.write_all(&crc.to_le_bytes())?;
    out.inner.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    failpoint::hit("state.snapshot.rename")?;
    fs::rename(&unfinished, path(dir, number))?;
    File::open(dir)?.sync_all()
}

fn length(bytes: &[u8]) -> io::Result<[u8; 4]> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::other("a state entry exceeds 4 GiB"))?;
    Ok(length.to_le_bytes())
}

/// Sums what passes through.
struct Summed<W> {
    crc: crc32fast::Hasher,
    inner: W,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.crc.update(bytes.get(..n).unwrap_or_default());
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The entries of a snapshot file; `None` if it is not whole.
fn parse(file: Bytes) -> Option<Entries> {
    let body = file.len().checked_sub(4)?;
    let crc = u32::from_le_bytes(file.get(body..)?.try_into().ok()?);
    if crc32fast::hash(file.get(..body)?) != crc {
        return None;
    }
    let mut at = 0;
    let mut next = |n: usize| {
        let end = at + n;
        let part = (end <= body).then(|| file.slice(at..end));
        at = end;
        part
    };
    if next(8)?.as_ref() != MAGIC || next(4)?.as_ref() != VERSION.to_le_bytes() {
        return None;
    }
    let count = u64::from_le_bytes(next(8)?.as_ref().try_into().ok()?);
    let mut entries = Entries::new();
    for _ in 0..count {
        let name = u32::from_le_bytes(next(4)?.as_ref().try_into().ok()?);
        let value = u32::from_le_bytes(next(4)?.as_ref().try_into().ok()?);
        let name = next(name as usize)?.to_vec();
        // Copied, so that the file's memory goes as soon as it is read.
        entries.insert(name, Bytes::copy_from_slice(&next(value as usize)?));
    }
    Some(entries)
}

fn at(path: &Path, e: io::Error) -> Error {
    Error::from(e).context(path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(name: &str, value: &str) -> Change {
        (name.into(), Some(Bytes::copy_from_slice(value.as_bytes())))
    }

    fn value(backend: &MemoryBackend, name: &str) -> Option<Bytes> {
        backend.get(name.as_bytes()).unwrap()
    }

    #[test]
    fn only_the_newest_snapshot_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let backend = MemoryBackend::open(dir.path()).unwrap();
        for i in 0..3 {
            backend.apply(vec![put("a", &i.to_string()), put("b", "x"), (b"b".to_vec(), None)]).unwrap();
            backend.flush().unwrap();
        }
        backend.apply(vec![put("a", "unflushed")]).unwrap();
        assert_eq!(snapshots(dir.path()).unwrap(), [3]);
        let again = MemoryBackend::open(dir.path()).unwrap();
        assert_eq!(value(&again, "a").unwrap(), "2");
        assert_eq!(value(&again, "b"), None);
    }

    #[test]
    fn a_torn_snapshot_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let backend = MemoryBackend::open(dir.path()).unwrap();
        backend.apply(vec![put("a", "good")]).unwrap();
        backend.flush().unwrap();
        let whole = fs::read(path(dir.path(), 1)).unwrap();
        let mut flipped = whole.clone();
        flipped[20] ^= 1;
        for torn in [&whole[..whole.len() - 1], &whole[..7], &[], &flipped] {
            fs::write(path(dir.path(), 9), torn).unwrap();
            fs::write(dir.path().join(UNFINISHED), torn).unwrap();
            let again = MemoryBackend::open(dir.path()).unwrap();
            assert_eq!(value(&again, "a").unwrap(), "good");
            again.flush().unwrap();
            assert_eq!(snapshots(dir.path()).unwrap(), [10]);
            fs::rename(path(dir.path(), 10), path(dir.path(), 1)).unwrap();
        }
        fs::write(path(dir.path(), 1), b"torn").unwrap();
        let e = MemoryBackend::open(dir.path()).err().unwrap();
        assert_eq!(e.kind(), crate::common::ErrorKind::DataCorrupted);
    }
}
