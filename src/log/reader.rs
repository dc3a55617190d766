//! Reading by offset: durable entries only, over the borders of segments. Each reader has its own file.

use std::path::PathBuf;
use std::sync::Arc;

use super::Record;
use super::index::{Index, Place};
use super::segment::{Cursor, Next};
use crate::common::{Error, ErrorKind, Result};

const ENDS: &str = "the segment ends before it";

/// A position in a log. It sees what was appended while the log is open, and does not keep it open.
pub struct LogReader {
    dir: PathBuf,
    index: Arc<Index>,
    offset: u64,
    at: Option<At>,
}

/// An open segment, its cursor before the entry `LogReader::offset`.
struct At {
    cursor: Cursor,
    place: Place,
}

impl LogReader {
    pub(super) fn new(dir: PathBuf, index: Arc<Index>, offset: u64) -> Result<Self> {
        let reader = Self { dir, index, offset, at: None };
        if offset < reader.index.start() {
            return Err(reader.gone());
        }
        let end = reader.index.end();
        if offset > end {
            return Err(Error::corrupted(format!(
                "the log {} ends at entry {end}, its reader stands at {offset}",
                reader.dir.display()
            ))
            .with_hint("the log was cut or replaced; restore the data folder as a whole"));
        }
        Ok(reader)
    }

    /// The next durable entry, or `None` at the end for now. Blocking file reads.
    ///
    /// # Errors
    /// `DataCorrupted` naming segment, byte and entry; `ObjectNotReady` when retention deleted the entry.
    #[allow(clippy::should_implement_trait)] // an iterator that ends stays at its end, a log goes on
    pub fn next(&mut self) -> Result<Option<Record>> {
        let offset = self.offset;
        let Some(at) = self.locate()? else { return Ok(None) };
        match at.cursor.next(offset, at.place.segment.length)? {
            Next::Entry(record) => {
                self.offset += 1;
                Ok(Some(record))
            }
            Next::End => Err(at.cursor.corrupted(offset, ENDS)),
            Next::Bad(why) => Err(at.cursor.corrupted(offset, why)),
        }
    }

    /// The offset of the entry that `next` returns next.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The segment of the next entry; `None` at the end for now.
    fn locate(&mut self) -> Result<Option<&mut At>> {
        let known = self.at.as_ref().is_some_and(|at| self.offset < at.place.until);
        if !known {
            let Some(place) = self.index.find(self.offset) else {
                return if self.offset < self.index.start() { Err(self.gone()) } else { Ok(None) };
            };
            let first_offset = place.segment.first_offset;
            match &mut self.at {
                Some(at) if at.place.segment.first_offset == first_offset => at.place = place,
                _ => self.at = Some(self.open(place)?),
            }
        }
        Ok(self.at.as_mut())
    }

    /// Opens a segment and goes to the next entry in it.
    fn open(&self, place: Place) -> Result<At> {
        let first_offset = place.segment.first_offset;
        let mut cursor = match Cursor::open(&self.dir, first_offset) {
            Ok(cursor) => cursor,
            // Retention was faster.
            Err(_) if self.offset < self.index.start() => return Err(self.gone()),
            Err(e) => return Err(e),
        };
        for offset in first_offset..self.offset {
            match cursor.next(offset, place.segment.length)? {
                Next::Entry(_) => {}
                Next::End => return Err(cursor.corrupted(offset, ENDS)),
                Next::Bad(why) => return Err(cursor.corrupted(offset, why)),
            }
        }
        Ok(At { cursor, place })
    }

    fn gone(&self) -> Error {
        let start = self.index.start();
        Error::new(
            ErrorKind::ObjectNotReady,
            format!("entry {} of the log {} is deleted: it begins at {start}", self.offset, self.dir.display()),
        )
        .with_hint("retention deleted it; create the reading job again to begin at what is left")
    }
}
