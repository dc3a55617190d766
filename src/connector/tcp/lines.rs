//! Cuts the bytes of a connection into log entries of whole lines. Pure: knows no socket and no log.
//!
//! An entry is a tag of one byte, then lines that each end with a newline; the tag says what its lines are.

use bytes::{BufMut, Bytes, BytesMut};

pub const TAG_BYTES: usize = 1;
/// Whole lines, to be decoded.
pub const LINES: u8 = 0;
/// The beginnings of lines that were too long.
pub const TOO_LONG: u8 = 1;
/// Beginnings of lines that a broken connection cut.
pub const BROKEN: u8 = 2;

/// Of a line that is too long, at most this much is kept.
pub const KEPT_BYTES: usize = 64 << 10;
/// Bytes that one read may ask for.
const MIN_READ: usize = 8 << 10;
const MAX_READ: usize = 256 << 10;

/// What goes into the log at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub payload: Bytes,
    /// Its lines.
    pub rows: u32,
}

/// Lines that are no record, which do not get into the log: there, each line is one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blank {
    /// Empty lines.
    Empty,
    /// Empty ones, and those of spaces and tabs.
    Space,
}

impl Blank {
    fn is(self, line: &[u8]) -> bool {
        match self {
            Self::Empty => line.is_empty(),
            Self::Space => line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')),
        }
    }
}

/// The lines of one connection.
pub struct Cutter {
    /// Begins with the tag of the entry to come.
    buffer: BytesMut,
    /// Up to here there is no newline but at the end of what was cut.
    scanned: usize,
    max_line: usize,
    /// The rest of the line is dropped: its beginning was too long, or it is the header.
    skipping: bool,
    blank: Blank,
}

impl Cutter {
    /// Lines of at most `max_line` bytes, without their newline; `header` skips the first.
    pub fn new(max_line: usize, header: bool, blank: Blank) -> Self {
        let mut buffer = BytesMut::with_capacity(TAG_BYTES + MIN_READ);
        buffer.put_u8(LINES);
        Self { buffer, scanned: TAG_BYTES, max_line, skipping: header, blank }
    }

    /// Where to read the next bytes to, with room for as many as are likely to come.
    pub fn buffer(&mut self, last_read: usize) -> &mut BytesMut {
        self.buffer.reserve((2 * last_read).clamp(MIN_READ, MAX_READ));
        &mut self.buffer
    }

    /// The entries of the lines that are whole by now.
    pub fn cut(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        if self.skipping && !self.skip() {
            return entries;
        }
        let fresh = self.buffer.get(self.scanned..).unwrap_or_default();
        if let Some(last) = fresh.iter().rposition(|byte| *byte == b'\n') {
            let rest = self.buffer.split_off(self.scanned + last + 1);
            let lines = std::mem::take(&mut self.buffer);
            self.restart(rest);
            self.push_lines(lines.freeze(), &mut entries);
        }
        self.scanned = self.buffer.len();
        // The newline of a line of exactly `max_line` bytes may still come, with a carriage return before it.
        if self.buffer.len() - TAG_BYTES > self.max_line + 1 {
            let mut too_long = Lines::new(TOO_LONG);
            too_long.push(self.kept(self.buffer.get(TAG_BYTES..).unwrap_or_default()));
            entries.extend(too_long.entry());
            self.buffer.truncate(TAG_BYTES);
            self.scanned = TAG_BYTES;
            self.skipping = true;
        }
        entries
    }

    /// The last line, which no newline ended; `broken` if it is not known to be whole.
    pub fn finish(self, broken: bool) -> Option<Entry> {
        let line = content(self.buffer.get(TAG_BYTES..).unwrap_or_default());
        if self.skipping || self.blank.is(line) {
            return None;
        }
        let too_long = line.len() > self.max_line;
        let mut lines = Lines::new(match broken {
            _ if too_long => TOO_LONG,
            true => BROKEN,
            false => LINES,
        });
        lines.push(if too_long || broken { self.kept(line) } else { line });
        lines.entry()
    }

    /// Drops up to the next newline; false if it has not come.
    fn skip(&mut self) -> bool {
        let line = self.buffer.get(TAG_BYTES..).unwrap_or_default();
        let end = line.iter().position(|byte| *byte == b'\n');
        self.skipping = end.is_none();
        let rest = match end {
            Some(end) => self.buffer.split_off(TAG_BYTES + end + 1),
            None => BytesMut::new(),
        };
        self.buffer.truncate(TAG_BYTES);
        self.buffer.extend_from_slice(&rest);
        self.scanned = TAG_BYTES;
        !self.skipping
    }

    /// Goes on with `rest`, the beginning of a line.
    fn restart(&mut self, rest: BytesMut) {
        self.buffer = BytesMut::with_capacity(TAG_BYTES + rest.len() + MIN_READ);
        self.buffer.put_u8(LINES);
        self.buffer.extend_from_slice(&rest);
    }

    /// Adds the lines of `tagged`, which are whole and stand under their tag.
    fn push_lines(&self, tagged: Bytes, entries: &mut Vec<Entry>) {
        let lines = || tagged.get(TAG_BYTES..).unwrap_or_default().split_inclusive(|byte| *byte == b'\n').map(content);
        let mut rows = 0;
        if lines().all(|line| {
            rows += 1;
            line.len() <= self.max_line && !self.blank.is(line)
        }) {
            entries.push(Entry { payload: tagged, rows });
            return;
        }
        let (mut whole, mut too_long) = (Lines::new(LINES), Lines::new(TOO_LONG));
        for line in lines() {
            if line.len() > self.max_line {
                too_long.push(self.kept(line));
            } else if !self.blank.is(line) {
                whole.push(line);
            }
        }
        entries.extend(whole.entry().into_iter().chain(too_long.entry()));
    }

    fn kept<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        line.get(..self.max_line.min(KEPT_BYTES)).unwrap_or(line)
    }
}

/// An entry that is put together line by line.
struct Lines {
    payload: BytesMut,
    rows: u32,
}

impl Lines {
    fn new(tag: u8) -> Self {
        Self { payload: BytesMut::from([tag].as_slice()), rows: 0 }
    }

    fn push(&mut self, line: &[u8]) {
        self.payload.extend_from_slice(line);
        self.payload.put_u8(b'\n');
        self.rows += 1;
    }

    fn entry(self) -> Option<Entry> {
        (self.rows > 0).then(|| Entry { payload: self.payload.freeze(), rows: self.rows })
    }
}

/// A line without what ends it.
pub fn content(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All entries of `input` read in pieces of `piece` bytes, as `tag:content` with `|` for newlines, lines joined.
    fn lines(input: &[u8], piece: usize, max_line: usize, header: bool, broken: bool) -> Vec<String> {
        let mut cutter = Cutter::new(max_line, header, Blank::Empty);
        let mut entries = Vec::new();
        for piece in input.chunks(piece) {
            cutter.buffer(0).extend_from_slice(piece);
            entries.extend(cutter.cut());
        }
        entries.extend(cutter.finish(broken));
        let mut lines = Vec::new();
        for Entry { payload, rows } in entries {
            let (tag, body) = payload.split_first().unwrap();
            assert!(body.ends_with(b"\n"));
            let each: Vec<_> = body.split_inclusive(|b| *b == b'\n').collect();
            assert_eq!(each.len(), rows as usize);
            for line in each.into_iter().map(content) {
                lines.push(format!("{tag}:{}", String::from_utf8_lossy(line)));
            }
        }
        // What is cut at once is ordered by kind only.
        lines.sort_by_key(|line| line.as_bytes()[0]);
        lines
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_arrive() {
        let long = "y".repeat(50);
        let after_long = format!("1\n{long}\n2\n");
        let long_last = format!("1\n{long}");
        let kept = format!("1:{}", &long[..6]);
        let table: [(&str, bool, bool, &[&str]); 13] = [
            ("", false, false, &[]),
            ("\n\r\n\n", false, false, &[]),
            ("a\nb\n", false, false, &["0:a", "0:b"]),
            ("\na\r\n\r\n b\n\n", false, false, &["0:a", "0: b"]),
            ("a\nb", false, true, &["0:a", "2:b"]),
            ("a\nb\r", false, true, &["0:a", "2:b"]),
            ("h\na\n", true, false, &["0:a"]),
            ("header longer than a line\na", true, false, &["0:a"]),
            ("h", true, false, &[]),
            ("123456\n123456\r\n123456", false, false, &["0:123456", "0:123456", "0:123456"]),
            ("1234567\n1234567\r\n1234567", false, false, &["1:123456", "1:123456", "1:123456"]),
            (&after_long, false, false, &["0:1", "0:2", &kept]),
            (&long_last, false, true, &["0:1", &kept]),
        ];
        for (input, header, broken, expected) in table {
            for piece in 1..=input.len().max(1) {
                let actual = lines(input.as_bytes(), piece, 6, header, broken);
                assert_eq!(actual, expected, "{input:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn what_is_blank_is_up_to_the_format() {
        for (blank, rows) in [(Blank::Empty, 4), (Blank::Space, 2)] {
            let mut cutter = Cutter::new(100, false, blank);
            cutter.buffer(0).extend_from_slice(b"\n1\n \n\t\r\n\r\n2\n");
            assert_eq!(cutter.cut().iter().map(|e| e.rows).sum::<u32>(), rows);
        }
    }

    #[test]
    fn what_arrives_at_once_is_one_entry() {
        let mut cutter = Cutter::new(100, false, Blank::Empty);
        cutter.buffer(0).extend_from_slice(b"a\nb\nc\nd");
        assert_eq!(cutter.cut(), [Entry { payload: Bytes::from_static(b"\0a\nb\nc\n"), rows: 3 }]);
        assert_eq!(cutter.finish(false), Some(Entry { payload: Bytes::from_static(b"\0d\n"), rows: 1 }));
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory() {
        let mut cutter = Cutter::new(1 << 20, false, Blank::Space);
        let mut entries = Vec::new();
        for _ in 0..400 {
            cutter.buffer(0).extend_from_slice(&[b'x'; 10_000]);
            entries.extend(cutter.cut());
            assert!(cutter.buffer.len() < (1 << 20) + 20_000);
        }
        entries.extend(cutter.finish(false));
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].payload.len(), 1 + KEPT_BYTES + 1);
    }
}
