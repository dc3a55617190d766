//! Opening: finds the end of the log, cuts a torn tail, refuses a corrupt middle. Reads the last segment only.

use std::fs::{self, OpenOptions};
use std::path::Path;

use super::format::{EntryHeader, SEGMENT_HEADER, SegmentHeader, find_magic};
use super::index::Segment;
use super::segment::{self, Cursor, Next};
use super::writer::Tail;
use crate::common::Result;

/// The segments of the log in `dir`, and its tail to write on; a log that is new gets its first segment.
///
/// # Errors
/// `DataCorrupted` when an entry that once was durable is no longer whole.
pub fn recover(dir: &Path) -> Result<(Vec<Segment>, Tail)> {
    let mut segments = Vec::new();
    for first_offset in segment::list(dir)? {
        let length = fs::metadata(segment::path(dir, first_offset))?.len();
        segments.push(Segment { first_offset, length });
    }
    let Some(last) = segments.last_mut() else {
        let tail = Tail::begin(dir, 0, 0)?;
        return Ok((vec![Segment { first_offset: 0, length: SEGMENT_HEADER as u64 }], tail));
    };
    let mut cursor = Cursor::open(dir, last.first_offset)?;
    let SegmentHeader { first_offset, first_row, salt } = cursor.header();
    let (mut end, mut next_row) = (first_offset, first_row);
    loop {
        match cursor.next(end, last.length)? {
            Next::Entry(record) => {
                end += 1;
                next_row = record.first_row.saturating_add(u64::from(record.rows));
            }
            Next::End => break,
            Next::Bad(why) => {
                if was_durable(&mut cursor, end, last.length)? {
                    return Err(cursor.corrupted(end, why));
                }
                break;
            }
        }
    }
    let file = OpenOptions::new().read(true).write(true).open(segment::path(dir, first_offset))?;
    if cursor.position() < last.length {
        tracing::warn!(
            segment = first_offset,
            bytes = last.length - cursor.position(),
            "cut the torn tail of a log: its entries were never acknowledged"
        );
        file.set_len(cursor.position())?;
        last.length = cursor.position();
    }
    // What a killed process wrote may still be in memory only; from here on it is read as durable.
    file.sync_all()?;
    segment::sync_dir(dir)?;
    let tail = Tail { file, salt, first_offset, length: last.length, next_offset: end, next_row };
    Ok((segments, tail))
}

/// Whether the bad bytes at the cursor were once durable: a whole entry of a later group stands after them.
fn was_durable(cursor: &mut Cursor, expected: u64, length: u64) -> Result<bool> {
    let rest = cursor.rest(length)?;
    let salt = cursor.header().salt;
    let mut at = 1;
    while let Some(found) = rest.get(at..).and_then(find_magic) {
        at += found;
        let Some(candidate) = rest.get(at..) else { break };
        let entry = EntryHeader::decode(candidate).filter(|header| {
            header.offset >= expected
                && candidate.get(..header.total()).is_some_and(|entry| header.matches(salt, entry))
        });
        match entry {
            // Pages of one unsynced write may reach the disk in any order: an entry of the same group proves nothing.
            Some(header) if (header.back as usize) < at => return Ok(true),
            Some(header) => at += header.total(),
            None => at += 1,
        }
    }
    Ok(false)
}
