//! Values in chunks: a backend over a backend that must not be given long values.
//!
//! ```text
//! 0 | name            chunks that follow (u32) | crc32 of the value, if any follow (u32) | first chunk
//! 1 | name | index    a chunk; index (u32) from 1
//! ```
//! Numbers are big-endian. An entry is read as it was written: the inner backend's reads are of one entry each, so a
//! reader whom a writer overtakes finds another checksum, and reads again.

use bytes::{BufMut, Bytes, BytesMut};

use super::backend::{Backend, Change};
use crate::common::{Error, Result};

const HEAD: u8 = 0;
const CHUNK: u8 = 1;
/// Of a head before its chunk: how many follow, and the checksum.
const HEADER_BYTES: usize = 8;
/// How often a value may change while it is read.
const TRIES: usize = 100;

pub(super) struct Chunked<B> {
    inner: B,
    chunk_bytes: usize,
}

impl<B: Backend> Chunked<B> {
    /// No value of `inner` is longer than `chunk_bytes` and a short header.
    pub(super) fn new(inner: B, chunk_bytes: usize) -> Self {
        Self { inner, chunk_bytes }
    }

    /// The whole value of a head; none if a writer has changed the chunks since it was read.
    fn assemble(&self, name: &[u8], head: &Bytes) -> Result<Option<Bytes>> {
        let (count, checksum, first) = parse(name, head)?;
        if count == 0 {
            return Ok(Some(first));
        }
        let mut value = BytesMut::with_capacity(self.chunk_bytes * (count as usize + 1));
        value.put_slice(&first);
        for index in 1..=count {
            match self.inner.get(&chunk(name, index))? {
                Some(chunk) => value.put_slice(&chunk),
                None => return Ok(None),
            }
        }
        Ok((crc32fast::hash(&value) == checksum).then(|| value.freeze()))
    }

    /// The entries of a change, and those of the value before that nothing replaces.
    fn split(&self, (name, value): Change, entries: &mut Vec<Change>) -> Result<()> {
        let before = match self.inner.get(&head(&name))? {
            Some(head) => parse(&name, &head)?.0,
            None => 0,
        };
        let mut count = 0;
        match value {
            Some(value) => {
                let mut chunks = value.chunks(self.chunk_bytes.max(1));
                let first = chunks.next().unwrap_or_default();
                count = chunks.len() as u32;
                let mut entry = BytesMut::with_capacity(HEADER_BYTES + first.len());
                entry.put_u32(count);
                entry.put_u32(if count > 0 { crc32fast::hash(&value) } else { 0 });
                entry.put_slice(first);
                entries.push((head(&name), Some(entry.freeze())));
                for (index, piece) in (1..).zip(chunks) {
                    entries.push((chunk(&name, index), Some(value.slice_ref(piece))));
                }
            }
            None => entries.push((head(&name), None)),
        }
        entries.extend((count + 1..=before).map(|index| (chunk(&name, index), None)));
        Ok(())
    }
}

impl<B: Backend> Backend for Chunked<B> {
    fn get(&self, name: &[u8]) -> Result<Option<Bytes>> {
        let key = head(name);
        for _ in 0..TRIES {
            let Some(head) = self.inner.get(&key)? else { return Ok(None) };
            if let Some(value) = self.assemble(name, &head)? {
                return Ok(Some(value));
            }
        }
        Err(corrupted(name, "its chunks do not fit together"))
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Bytes)>> {
        let mut entries = Vec::new();
        for (mut name, head) in self.inner.scan(&head(prefix))? {
            name.remove(0);
            let value = match self.assemble(&name, &head)? {
                None => self.get(&name)?,
                whole => whole,
            };
            entries.extend(value.map(|value| (name, value)));
        }
        Ok(entries)
    }

    fn apply(&self, changes: Vec<Change>) -> Result<()> {
        let mut entries = Vec::with_capacity(changes.len());
        for change in changes {
            self.split(change, &mut entries)?;
        }
        self.inner.apply(entries)
    }

    fn flush(&self) -> Result<()> {
        self.inner.flush()
    }

    fn disk_bytes(&self) -> u64 {
        self.inner.disk_bytes()
    }

    fn wants_compressed(&self) -> bool {
        self.inner.wants_compressed()
    }
}

fn head(name: &[u8]) -> Vec<u8> {
    [&[HEAD], name].concat()
}

/// Names differ, so do the chunks' names: those of one length end in as long an index.
fn chunk(name: &[u8], index: u32) -> Vec<u8> {
    [&[CHUNK], name, &index.to_be_bytes()].concat()
}

/// How many chunks follow, the checksum of the value, and its first chunk.
fn parse(name: &[u8], head: &Bytes) -> Result<(u32, u32, Bytes)> {
    let header = head.split_first_chunk::<4>().and_then(|(count, rest)| Some((count, rest.first_chunk::<4>()?)));
    let (count, checksum) = header.ok_or_else(|| corrupted(name, "it is cut short"))?;
    Ok((u32::from_be_bytes(*count), u32::from_be_bytes(*checksum), head.slice(HEADER_BYTES..)))
}

fn corrupted(name: &[u8], what: &str) -> Error {
    Error::corrupted(format!("state entry {name:02x?}: {what}"))
        .with_hint("the disk returned other bytes than were written: restore the folder from a backup")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use parking_lot::Mutex;

    use super::*;

    /// A map; between two reads a writer may come.
    #[derive(Default)]
    struct Map {
        entries: Mutex<BTreeMap<Vec<u8>, Bytes>>,
        /// Applied after as many reads.
        later: Mutex<Vec<(usize, Vec<Change>)>>,
    }

    impl Backend for Map {
        fn get(&self, name: &[u8]) -> Result<Option<Bytes>> {
            let value = self.entries.lock().get(name).cloned();
            let mut later = self.later.lock();
            later.iter_mut().for_each(|(reads, _)| *reads -= 1);
            if let Some((_, changes)) = later.pop_if(|(reads, _)| *reads == 0) {
                self.apply(changes)?;
            }
            Ok(value)
        }

        fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Bytes)>> {
            let entries = self.entries.lock();
            let of = entries.iter().filter(|(name, _)| name.starts_with(prefix));
            Ok(of.map(|(name, value)| (name.clone(), value.clone())).collect())
        }

        fn apply(&self, changes: Vec<Change>) -> Result<()> {
            let mut entries = self.entries.lock();
            for (name, value) in changes {
                match value {
                    Some(value) => entries.insert(name, value),
                    None => entries.remove(&name),
                };
            }
            Ok(())
        }

        fn flush(&self) -> Result<()> {
            Ok(())
        }

        fn disk_bytes(&self) -> u64 {
            0
        }

        fn wants_compressed(&self) -> bool {
            false
        }
    }

    fn change(name: &str, value: Option<&str>) -> Change {
        (name.into(), value.map(|v| Bytes::copy_from_slice(v.as_bytes())))
    }

    #[test]
    fn values_grow_and_shrink_and_leave_nothing_behind() {
        let backend = Chunked::new(Map::default(), 3);
        for value in ["", "a", "abc", "abcd", "abcdefg", "abcdef", "xy", "abcdefghijk"] {
            backend.apply(vec![change("n", Some(value)), change("n1", Some("neighbour"))]).unwrap();
            assert_eq!(backend.get(b"n").unwrap().unwrap(), value);
            let scanned = backend.scan(b"n").unwrap();
            assert_eq!(scanned, [(b"n".to_vec(), value.into()), (b"n1".to_vec(), "neighbour".into())]);
            let longest = backend.inner.entries.lock().values().map(Bytes::len).max();
            assert!(longest.unwrap() <= HEADER_BYTES + 3);
        }
        backend.apply(vec![change("n", None), change("n1", None)]).unwrap();
        assert_eq!(backend.get(b"n").unwrap(), None);
        assert!(backend.inner.entries.lock().is_empty());
    }

    #[test]
    fn a_reader_whom_a_writer_overtakes_reads_again() {
        for reads in 1..=4 {
            for later in [Some("zzzzzzzzzz"), Some("z"), None] {
                let backend = Chunked::new(Map::default(), 3);
                backend.apply(vec![change("n", Some("aaaaaaaaaa"))]).unwrap();
                let mut entries = Vec::new();
                backend.split(change("n", later), &mut entries).unwrap();
                backend.inner.later.lock().push((reads, entries));
                let read = backend.get(b"n").unwrap();
                let read = read.as_ref().map(|value| std::str::from_utf8(value).unwrap());
                assert!(read == Some("aaaaaaaaaa") || read == later, "{reads}: {read:?}");
            }
        }
    }

    #[test]
    fn what_is_torn_is_an_error() {
        let backend = Chunked::new(Map::default(), 3);
        backend.apply(vec![change("n", Some("abcdef"))]).unwrap();
        backend.inner.apply(vec![(chunk(b"n", 1), Some("xyz".into()))]).unwrap();
        assert!(backend.get(b"n").unwrap_err().to_string().contains("do not fit"));
        backend.inner.apply(vec![(head(b"n"), Some("abc".into()))]).unwrap();
        assert!(backend.get(b"n").unwrap_err().to_string().contains("cut short"));
    }
}
