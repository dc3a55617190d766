//! The sled backend: all entries in one tree. The only file that names sled (1.0.0-alpha.124).
//!
//! What reading its code taught, and what is done about it here:
//! - A handle is not `Sync` and its drop flushes when no flush interval is set, so that dropping an iterator would wait
//!   for a running flush. So the interval is set to years, and handles are kept in a pool.
//! - A leaf that was written is not evicted again until the database is reopened. So values come compressed, the bytes
//!   written since the last opening are counted, and above a limit the database is reopened between two commits.
//! - After a failed flush every further flush waits for ever and a drop ends the process. So space is checked before
//!   each batch; if a flush fails all the same, the database is left alone until a restart, which finds the last
//!   flushed batch.
//! - A forward scan does not stop at its end but reads all leaves after it. So scans go backwards, which does stop.
//! - Batches leave empty leaves behind. So names are used again (see `layout`).
//! - A leaf that takes 65529 bytes on disk is written wrong: the length at the end of its 65536 takes one byte more than
//!   was reckoned, and overwrites the last of the content. So leaves are kept smaller: values come in chunks.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::backend::{Backend, Change};
use crate::common::clock::instant;
use crate::common::{Error, ErrorKind, Result};

/// Entries of a leaf, less one: a leaf is rewritten whole, and entries are pages.
const LEAF_FANOUT: usize = 3;
/// Pages come compressed: sled is to spend little on trying again.
const ZSTD_LEVEL: i32 = -50;
/// Only the commit flushes.
const NEVER_MS: usize = 10 * 365 * 24 * 3600 * 1000;
/// Free space that must be left beside twice the batch.
const SPARE_BYTES: u64 = 16 << 20;
/// How long a lock on sled's file is waited for, and how often it is tried.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK_RETRY: Duration = Duration::from_millis(2);
const LEAST_CACHE_BYTES: u64 = 4 << 20;
const LEAST_WRITTEN_BYTES: u64 = 16 << 20;

type Db = sled::Db<LEAF_FANOUT>;

pub(super) struct SledBackend {
    dir: PathBuf,
    cache_bytes: usize,
    /// Reopen when the entries written since the last opening hold more than this.
    written_limit: u64,
    state: RwLock<State>,
    written: Mutex<Written>,
}

enum State {
    /// Handles that no thread uses; never empty, the first stays.
    Open(Mutex<Vec<Db>>),
    Closed,
    /// A flush failed with this.
    Failed(Error),
}

/// Sizes of the entries written since the last opening.
#[derive(Default)]
struct Written {
    sizes: HashMap<Vec<u8>, u64>,
    bytes: u64,
}

impl SledBackend {
    /// The longest value that [`Chunked`](super::chunked::Chunked) may leave whole: as many of them as a leaf holds,
    /// which is split as soon as it is full, take less than 65529 bytes with their names.
    pub(super) const CHUNK_BYTES: usize = 31 << 10;

    /// `cache_bytes` is what it may hold of entries that were read, `written_bytes` of those that were written; neither
    /// is taken below a least that it needs to be quick.
    pub(super) fn open(dir: &Path, cache_bytes: u64, written_bytes: u64) -> Result<Self> {
        let cache_bytes = cache_bytes.max(LEAST_CACHE_BYTES);
        let backend = Self {
            dir: dir.into(),
            cache_bytes: usize::try_from(cache_bytes).unwrap_or(usize::MAX),
            written_limit: written_bytes.max(LEAST_WRITTEN_BYTES),
            state: RwLock::new(State::Closed),
            written: Mutex::default(),
        };
        backend.ensure_open()?;
        Ok(backend)
    }

    fn ensure_open(&self) -> Result<()> {
        let mut state = self.state.write();
        if matches!(*state, State::Closed) {
            *state = State::Open(Mutex::new(vec![self.open_when_free().map_err(|e| self.error("open", e))?]));
        }
        Ok(())
    }

    /// The data folder is this process's alone, so a lock on sled's file is about to go: of a handle that is just being
    /// dropped, or of a child process that is not yet a program of its own.
    fn open_when_free(&self) -> io::Result<sled::Db<LEAF_FANOUT>> {
        let begun = instant();
        loop {
            let opened = sled::Config::new()
                .path(&self.dir)
                .cache_capacity_bytes(self.cache_bytes)
                .flush_every_ms(Some(NEVER_MS))
                .zstd_compression_level(ZSTD_LEVEL)
                .open::<LEAF_FANOUT>();
            match opened {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && begun.elapsed() < LOCK_PATIENCE => {
                    std::thread::sleep(LOCK_RETRY);
                }
                opened => return opened,
            }
        }
    }

    /// Drops all handles, with what they hold in memory, and opens again.
    fn reopen(&self) -> Result<()> {
        *self.state.write() = State::Closed;
        *self.written.lock() = Written::default();
        self.ensure_open()
    }

    /// Runs `f` with a handle of its own.
    fn with<R>(&self, what: &str, f: impl Fn(&Db) -> io::Result<R>) -> Result<R> {
        loop {
            match &*self.state.read() {
                State::Open(pool) => {
                    let db = {
                        let mut pool = pool.lock();
                        if pool.len() > 1 { pool.pop() } else { pool.first().cloned() }
                    };
                    let db = db.ok_or_else(|| Error::internal("no handle of the state backend"))?;
                    let result = f(&db).map_err(|e| self.error(what, e));
                    pool.lock().push(db);
                    return result;
                }
                State::Failed(e) => return Err(e.clone()),
                State::Closed => {}
            }
            self.ensure_open()?;
        }
    }

    fn error(&self, what: &str, e: io::Error) -> Error {
        if e.kind() == io::ErrorKind::InvalidData {
            return Error::corrupted(format!("{} {what}: {e}", self.dir.display()))
                .with_hint("the disk returned other bytes than were written: restore the folder from a backup");
        }
        Error::from(e).context(format!("{} {what}", self.dir.display()))
    }

    fn check_space(&self, batch_bytes: u64) -> Result<()> {
        let free = fs2::available_space(&self.dir).map_err(|e| self.error("free space", e))?;
        let needed = batch_bytes.saturating_mul(2).saturating_add(SPARE_BYTES);
        if free < needed {
            return Err(Error::new(
                ErrorKind::DiskFull,
                format!("{}: {free} bytes are free, a checkpoint needs {needed}", self.dir.display()),
            )
            .with_hint("free space on the data folder's disk; Weir resumes by itself"));
        }
        Ok(())
    }
}

impl Backend for SledBackend {
    fn get(&self, name: &[u8]) -> Result<Option<Bytes>> {
        let value = self.with("read", |db| db.get(name))?;
        Ok(value.map(Bytes::from_owner))
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Bytes)>> {
        self.with("scan", |db| {
            let backwards = db.scan_prefix(prefix).rev();
            let entries = backwards.map(|e| e.map(|(name, value)| (name.to_vec(), Bytes::from_owner(value))));
            let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
            entries.reverse();
            Ok(entries)
        })
    }

    fn apply(&self, changes: Vec<Change>) -> Result<()> {
        self.check_space(changes.iter().map(|(name, v)| (name.len() + v.as_ref().map_or(0, Bytes::len)) as u64).sum())?;
        let mut batch = sled::Batch::default();
        for (name, value) in &changes {
            match value {
                Some(value) => batch.insert(name.as_slice(), value.as_ref()),
                None => batch.remove(name.as_slice()),
            }
        }
        let result = self.with("apply", |db| db.apply_batch(batch.clone()));
        if result.is_err() {
            // It failed reading leaves, before it changed any. The error stays with the handles: take new ones.
            self.reopen()?;
        }
        let mut written = self.written.lock();
        for (name, value) in changes {
            written.set(name, value.map_or(0, |v| v.len() as u64));
        }
        result
    }

    fn flush(&self) -> Result<()> {
        if let Err(e) = self.with("flush", |db| db.flush()) {
            let e = e.with_hint("restart Weir: it goes on from the last checkpoint");
            let mut state = self.state.write();
            if let State::Open(pool) = std::mem::replace(&mut *state, State::Failed(e.clone())) {
                // Dropping the last handle would flush again, and never return.
                std::mem::forget(pool);
            }
            return Err(e);
        }
        if self.written.lock().bytes > self.written_limit {
            // The commit is safe already; if opening fails the next use tries again and reports it.
            if let Err(e) = self.reopen() {
                tracing::warn!("{e}");
            }
        }
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        self.with("size", |db| db.size_on_disk()).unwrap_or(0)
    }

    fn wants_compressed(&self) -> bool {
        true
    }
}

impl Written {
    fn set(&mut self, name: Vec<u8>, bytes: u64) {
        let before = self.sizes.insert(name, bytes).unwrap_or(0);
        self.bytes = self.bytes + bytes - before;
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunked::Chunked;
    use super::*;

    const CHUNK_BYTES: usize = SledBackend::CHUNK_BYTES;

    fn put(name: &str, value: &str) -> Change {
        (name.into(), Some(Bytes::copy_from_slice(value.as_bytes())))
    }

    #[test]
    fn entries_survive_reopening_and_its_memory_is_freed() {
        let dir = tempfile::tempdir().unwrap();
        let mut backend = SledBackend::open(dir.path(), 0, 0).unwrap();
        backend.written_limit = 100;
        let long = "x".repeat(60);
        for round in 0..5 {
            let changes = (0..10).map(|i| put(&format!("k{i}"), &format!("{round}{long}")));
            backend.apply(changes.chain([(b"gone".to_vec(), None)]).collect()).unwrap();
            backend.flush().unwrap();
            assert_eq!(backend.written.lock().bytes, 0, "reopened");
            assert!(backend.get(b"k3").unwrap().unwrap().starts_with(round.to_string().as_bytes()));
        }
        assert_eq!(backend.scan(b"k").unwrap().len(), 10);
        assert_eq!(backend.scan(b"l").unwrap().len(), 0);
        assert!(backend.disk_bytes() > 0);
        drop(backend);
        let backend = SledBackend::open(dir.path(), 0, 0).unwrap();
        assert_eq!(backend.scan(b"").unwrap().len(), 10);
    }

    #[test]
    fn a_scan_reads_what_it_returns_and_little_else() {
        let dir = tempfile::tempdir().unwrap();
        let entries = || (0..300).map(|i| put(&format!("{:03}", i), &"x".repeat(100)));
        SledBackend::open(dir.path(), 0, 0).unwrap().apply(entries().collect()).unwrap();
        for (prefix, count) in [("00", 10), ("15", 10), ("29", 10), ("3", 0), ("", 300)] {
            let backend = SledBackend::open(dir.path(), 0, 0).unwrap();
            let names: Vec<_> = backend.scan(prefix.as_bytes()).unwrap().into_iter().map(|(name, _)| name).collect();
            assert!(names.len() == count && names.is_sorted(), "{prefix}: {names:?}");
            let reads = backend.with("count", |db| Ok(db.stats().cache.cache_misses)).unwrap();
            assert!(reads <= count as u64 + 3, "{prefix}: {reads} leaves read");
        }
    }

    /// Bytes that do not compress, so that the size of a leaf is known.
    fn noise(seed: usize, length: usize) -> Vec<u8> {
        let mut x = seed as u64;
        let mut next = || {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (x >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn a_value_of_any_length_comes_back() {
        // A part that comes twice: so the leaf ends in what zstd cannot do without. It has 65529 bytes for some of these
        // if the value is left whole.
        let value = |length: usize, seed: usize| {
            let noise = noise(seed, length);
            Bytes::from([&noise[..], &noise[..length / (2 + seed)], &noise[..64 * seed]].concat())
        };
        let dir = tempfile::tempdir().unwrap();
        for (length, seed) in (65_455..65_462).flat_map(|length| (0..10).map(move |seed| (length, seed))) {
            let open = || Chunked::new(SledBackend::open(dir.path(), 0, 0).unwrap(), CHUNK_BYTES);
            let backend = open();
            backend.apply(vec![(b"name".to_vec(), Some(value(length, seed)))]).unwrap();
            backend.flush().unwrap();
            drop(backend);
            assert!(open().get(b"name").unwrap().unwrap() == value(length, seed), "{length} {seed}");
        }
    }

    #[test]
    fn no_leaf_has_the_size_that_is_written_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let backend = Chunked::new(SledBackend::open(dir.path(), 0, 0).unwrap(), CHUNK_BYTES);
        for round in 0..10_u32 {
            let value = |i: u32| {
                Bytes::from(noise(i as usize, CHUNK_BYTES * (1 + (i * 7 + round * 3) as usize % 8) - round as usize))
            };
            let changes = (0..60_u32).map(|i| (i.wrapping_mul(0x9E37_79B9).to_be_bytes().to_vec(), Some(value(i))));
            backend.apply(changes.collect()).unwrap();
            backend.flush().unwrap();
        }
        let slot = 65_536;
        let slabs = dir.path().join("slabs");
        let slots = std::fs::read(slabs.join(slot.to_string())).unwrap();
        let sizes = slots.chunks_exact(slot).filter_map(|s| s[slot - 8..].first_chunk::<4>().copied());
        let largest = sizes.map(u32::from_le_bytes).max().unwrap();
        assert!((2 * CHUNK_BYTES as u32..65_529).contains(&largest), "{largest}");
        for slab in std::fs::read_dir(slabs).unwrap().map(|slab| slab.unwrap()) {
            let larger = slab.file_name().to_str().unwrap().parse::<usize>().unwrap() > slot;
            assert!(!larger || slab.metadata().unwrap().len() == 0, "{slab:?}");
        }
    }

    #[test]
    fn readers_go_on_during_writes() {
        let dir = tempfile::tempdir().unwrap();
        let backend = SledBackend::open(dir.path(), 0, 0).unwrap();
        backend.apply(vec![put("a", "0"), put("b", "0")]).unwrap();
        std::thread::scope(|s| {
            for _ in 0..2 {
                s.spawn(|| {
                    for _ in 0..200 {
                        assert!(backend.get(b"a").unwrap().is_some());
                        assert_eq!(backend.scan(b"").unwrap().len(), 2);
                    }
                });
            }
            for i in 0..20 {
                backend.apply(vec![put("a", &i.to_string()), put("b", &i.to_string())]).unwrap();
                backend.flush().unwrap();
            }
        });
        assert_eq!(backend.get(b"a").unwrap(), backend.get(b"b").unwrap());
    }

    #[test]
    fn too_little_space_is_found_before_anything_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let backend = SledBackend::open(dir.path(), 0, 0).unwrap();
        assert_eq!(backend.check_space(u64::MAX / 4).unwrap_err().kind(), ErrorKind::DiskFull);
    }
}
