//! The bytes of a log: how a segment begins and how an entry is framed. Knows no files and no offsets but those it is told.
//!
//! ```text
//! segment:  "WEIRLOG" version | first offset u64 | first row u64 | salt u32 | crc u32 | entry | entry | ...
//! entry:    magic u32 | crc u32 | length u32 | rows u32 | offset u64 | first row u64 | back u32 | payload
//! ```
//! All numbers are little-endian. An entry's crc covers all that follows it, and starts from the segment's salt, so that
//! bytes of another segment, or bytes that a user made to look like an entry, never pass. `back` counts the bytes from
//! the begin of the group (one write, one fsync) to the entry: a group is written only after the one before it is
//! durable, so an entry proves that everything before its own group was once whole.

use crate::common::{Error, Result};

pub const SEGMENT_HEADER: usize = 32;
pub const ENTRY_HEADER: usize = 36;
/// Larger entries are refused.
pub const MAX_PAYLOAD: usize = 1 << 30;

const SEGMENT_MAGIC: &[u8; 7] = b"WEIRLOG";
const VERSION: u8 = 1;
const ENTRY_MAGIC: [u8; 4] = *b"\xf1Wr\x0a";

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    pub first_offset: u64,
    pub first_row: u64,
    pub salt: u32,
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[..7].copy_from_slice(SEGMENT_MAGIC);
        bytes[7] = VERSION;
        bytes[8..16].copy_from_slice(&self.first_offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_row.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// # Errors
    /// `NotSupported` for another version, `DataCorrupted` for anything that is no segment.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields(bytes);
        let magic = fields.take::<7>();
        let version = fields.take::<1>();
        if magic.as_ref() != Some(SEGMENT_MAGIC) {
            return Err(Error::corrupted("not a log segment"));
        }
        match version {
            Some([VERSION]) => {}
            Some([other]) => {
                return Err(Error::not_supported(format!("log format {other}, this build reads format {VERSION}"))
                    .with_hint("use the release of Weir that wrote the data folder"));
            }
            None => return Err(Error::corrupted("the segment's header is cut short")),
        }
        let header = (|| Some((fields.u64()?, fields.u64()?, fields.u32()?, fields.u32()?)))();
        match header {
            Some((first_offset, first_row, salt, crc))
                if bytes.get(..28).map(crc32fast::hash).is_some_and(|actual| actual == crc) =>
            {
                Ok(Self { first_offset, first_row, salt })
            }
            Some(_) => Err(Error::corrupted("the checksum of the segment's header does not match")),
            None => Err(Error::corrupted("the segment's header is cut short")),
        }
    }
}

/// What an entry says of itself, before its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryHeader {
    pub offset: u64,
    pub first_row: u64,
    pub rows: u32,
    /// Bytes of the payload.
    pub length: u32,
    /// Bytes from the begin of the entry's group to the entry.
    pub back: u32,
    crc: u32,
}

/// Adds the entry to `group`, which holds what is written together from its begin on.
///
/// The caller keeps the payload within [`MAX_PAYLOAD`] and the group within `u32`.
pub fn push_entry(group: &mut Vec<u8>, salt: u32, offset: u64, first_row: u64, rows: u32, payload: &[u8]) {
    let at = group.len();
    group.reserve(ENTRY_HEADER + payload.len());
    group.extend_from_slice(&ENTRY_MAGIC);
    group.extend_from_slice(&[0; 4]);
    group.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    group.extend_from_slice(&rows.to_le_bytes());
    group.extend_from_slice(&offset.to_le_bytes());
    group.extend_from_slice(&first_row.to_le_bytes());
    group.extend_from_slice(&(at as u32).to_le_bytes());
    group.extend_from_slice(payload);
    let crc = checksum(salt, &group[at + 8..]);
    group[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
}

impl EntryHeader {
    /// The header in the first [`ENTRY_HEADER`] bytes; `None` if they are none. Not checked against the crc yet.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.take::<4>()? != ENTRY_MAGIC {
            return None;
        }
        let (crc, length, rows) = (fields.u32()?, fields.u32()?, fields.u32()?);
        Some(Self { crc, length, rows, offset: fields.u64()?, first_row: fields.u64()?, back: fields.u32()? })
    }

    /// Header and payload, in bytes.
    pub fn total(&self) -> usize {
        ENTRY_HEADER + self.length as usize
    }

    /// Whether `entry`, [`EntryHeader::total`] bytes from the header's first on, is as it was written.
    pub fn matches(&self, salt: u32, entry: &[u8]) -> bool {
        entry.len() == self.total() && entry.get(8..).is_some_and(|covered| checksum(salt, covered) == self.crc)
    }
}

/// Where the next bytes that could be an entry begin.
pub fn find_magic(bytes: &[u8]) -> Option<usize> {
    bytes.windows(ENTRY_MAGIC.len()).position(|window| window == ENTRY_MAGIC)
}

fn checksum(salt: u32, covered: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(covered);
    hasher.finalize()
}

/// Numbers from the front of a slice; `None` past its end.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::ErrorKind;

    #[test]
    fn a_segment_header_comes_back_and_no_flipped_bit_does() {
        let header = SegmentHeader { first_offset: u64::MAX, first_row: 7, salt: 9 };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes).unwrap(), header);
        for bit in 0..SEGMENT_HEADER * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit / 8 == 7 { ErrorKind::NotSupported } else { ErrorKind::DataCorrupted };
            assert_eq!(SegmentHeader::decode(&bad).unwrap_err().kind(), expected, "bit {bit}");
        }
        for length in 0..SEGMENT_HEADER {
            assert!(SegmentHeader::decode(&bytes[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn an_entry_matches_only_as_it_was_written() {
        let mut group = Vec::new();
        push_entry(&mut group, 3, 0, 0, 1, b"first");
        let second = group.len();
        push_entry(&mut group, 3, 1, 1, 2, b"payload");
        let entry = &group[second..];
        let header = EntryHeader::decode(entry).unwrap();
        assert_eq!((header.offset, header.first_row, header.rows, header.length), (1, 1, 2, 7));
        assert_eq!(header.back as usize, second);
        assert!(header.matches(3, entry));
        assert!(!header.matches(4, entry), "another segment's salt");
        for bit in 0..entry.len() * 8 {
            let mut bad = entry.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!EntryHeader::decode(&bad).is_some_and(|h| h.matches(3, &bad)), "bit {bit}");
        }
        for length in 0..entry.len() {
            let cut = &entry[..length];
            assert!(!EntryHeader::decode(cut).is_some_and(|h| h.matches(3, cut)), "length {length}");
        }
    }

    #[test]
    fn magic_is_found_where_it_is() {
        let mut group = vec![0xf1, b'W', 0];
        push_entry(&mut group, 0, 0, 0, 0, b"");
        assert_eq!(find_magic(&group), Some(3));
        assert_eq!(find_magic(&[0; 64]), None);
        assert_eq!(find_magic(b"\xf1W"), None);
    }
}
