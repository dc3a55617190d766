//! Reads text files in units of whole records: the sequential half, under a lock that the decoding actors share.
//!
//! ```text
//! file:  |rec|rec|rec|re c|rec|...
//! read:  |<-- about 1 MiB -->|
//! unit:  |rec|rec|rec|          the rest begins the next read
//! ```

use std::sync::Arc;

use bytes::Bytes;
use memchr::{memchr, memrchr};

use super::input::{Compression, Input};
use super::walk::{Walk, cannot};
use crate::common::{Error, Result};
use crate::connector::format::csv::Complete;
use crate::connector::format::{Boundary, LineFormat};
use crate::connector::{Fetch, Payload, SplitReader, SplitStatus, Unit};

/// Bytes of a unit: small enough to spread a file over actors and stay in the cache, large enough for whole chunks.
pub(super) const UNIT_BYTES: usize = 1 << 20;

pub(super) struct TextReader {
    walk: Walk,
    compression: Compression,
    boundary: Boundary,
    max_record_bytes: usize,
    unit_bytes: usize,
    open: Option<Open>,
}

/// The current file, open.
struct Open {
    split: Arc<str>,
    input: Input,
    /// Read but not yet handed out.
    rest: Vec<u8>,
    at_end: bool,
}

/// Where a unit ends in the bytes at hand.
#[derive(Debug, PartialEq, Eq)]
enum Cut {
    Unit(usize),
    /// A record that is too long and not even ended: hand out what there is, then skip to the next line.
    TooLong,
    More,
}

impl TextReader {
    pub fn new(walk: Walk, compression: Compression, format: &LineFormat, unit_bytes: usize) -> Self {
        let (boundary, max_record_bytes) = (format.boundary(), format.max_record_bytes);
        Self { walk, compression, boundary, max_record_bytes, unit_bytes, open: None }
    }

    /// Opens the current file if it is not; false if there is none to read.
    fn ensure_open(&mut self) -> Result<bool> {
        while self.open.is_none() {
            if self.walk.current().is_none()
                && !self.walk.rescan(|path| self.compression.of(path) == Compression::None)?
            {
                return Ok(false);
            }
            let file = self.walk.open()?;
            let (Some(file), Some(known)) = (file, self.walk.current()) else {
                self.walk.finish();
                continue;
            };
            let compression = self.compression.of(&known.path);
            if compression == Compression::None {
                known.end = file.metadata().ok().map(|meta| meta.len());
            }
            let input = Input::open(file, compression, known.offset).map_err(|e| cannot("read", &known.path, e))?;
            let split = Arc::from(known.path.as_str());
            self.open = Some(Open { split, input, rest: Vec::new(), at_end: false });
        }
        Ok(true)
    }

    /// The next unit of the open file; `None` at its end.
    fn next_unit(&mut self, open: &mut Open) -> Result<Option<Unit>> {
        let mut want = self.unit_bytes;
        loop {
            if open.rest.len() < want && !open.at_end {
                let read = want - open.rest.len();
                let got = open.input.append(&mut open.rest, read).map_err(|e| cannot("read", &open.split, e))?;
                open.at_end = got < read;
            }
            let Some(known) = self.walk.current() else { return Err(Error::internal("no file is current")) };
            if known.skipping {
                let line = memchr(b'\n', &open.rest);
                let skipped = line.map_or(open.rest.len(), |at| at + 1);
                open.rest.drain(..skipped);
                known.offset += skipped as u64;
                known.skipping = line.is_none();
                if line.is_none() && open.at_end {
                    return Ok(None);
                }
                continue;
            }
            let wait_for_rest = self.walk.follows() && matches!(open.input, Input::Plain(_));
            let seen = want.min(open.rest.len());
            let at_end = open.at_end && seen == open.rest.len();
            let end = match self.cut(&open.rest[..seen], at_end, wait_for_rest) {
                Cut::Unit(0) => return Ok(None),
                Cut::Unit(end) => end,
                Cut::TooLong => seen,
                Cut::More => {
                    want = want.saturating_mul(2);
                    continue;
                }
            };
            return Ok(self.take(open, end));
        }
    }

    /// Hands out the first `end` bytes at hand.
    fn take(&mut self, open: &mut Open, end: usize) -> Option<Unit> {
        let too_long = end > self.max_record_bytes && memchr(b'\n', &open.rest[..end]).is_none();
        let rest = open.rest.split_off(end);
        let bytes = Bytes::from(std::mem::replace(&mut open.rest, rest));
        let first_row_id = self.walk.take_rows(end as u64);
        let known = self.walk.current()?;
        let offset = known.offset;
        known.offset += end as u64;
        known.skipping = too_long;
        Some(Unit { split: open.split.clone(), offset, first_row_id, payload: Payload::Bytes(bytes) })
    }

    /// Where to end a unit in `data`, which begins with a record.
    fn cut(&self, data: &[u8], at_end: bool, wait_for_rest: bool) -> Cut {
        let complete = match &self.boundary {
            Boundary::Csv(csv) => csv.complete(data),
            Boundary::Line => Complete { end: memrchr(b'\n', data).map_or(0, |at| at + 1), open: false },
        };
        let Complete { end, open } = complete;
        if at_end && !wait_for_rest && !open {
            return Cut::Unit(data.len()); // the last record needs no newline
        }
        if end > 0 {
            return Cut::Unit(end);
        }
        let too_long = data.len() > self.max_record_bytes;
        match at_end {
            _ if too_long => {}
            false => return Cut::More,
            true if wait_for_rest => return Cut::Unit(0),
            true => {}
        }
        // A quoted field that never ends costs its first line only.
        if open && let Some(newline) = memchr(b'\n', data) {
            return Cut::Unit(newline + 1);
        }
        if at_end && !wait_for_rest { Cut::Unit(data.len()) } else { Cut::TooLong }
    }
}

impl SplitReader for TextReader {
    fn fetch(&mut self) -> Result<Fetch> {
        loop {
            if !self.ensure_open()? {
                return Ok(self.walk.nothing());
            }
            let Some(mut open) = self.open.take() else { continue };
            if let Some(unit) = self.next_unit(&mut open)? {
                self.open = Some(open);
                return Ok(Fetch::Unit(unit));
            }
            self.walk.finish();
        }
    }

    fn position(&self) -> String {
        self.walk.position()
    }

    fn splits(&self) -> Vec<SplitStatus> {
        self.walk.splits()
    }
}
