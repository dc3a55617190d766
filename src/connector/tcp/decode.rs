//! The entries of a TCP source's log back to records: the lines through their format, what was cut to dead letters.

use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use super::Settings;
use super::lines::{BROKEN, KEPT_BYTES, LINES, TAG_BYTES, TOO_LONG, content};
use crate::common::{Error, Result};
use crate::connector::format::line_decoder;
use crate::connector::{DeadLetter, Decoded, Decoder, Options, Payload, Unit};

/// Offset of the units for the format: not 0, where a file has its header.
const INNER_OFFSET: u64 = 1;

/// The offset of a dead letter is the number that the log gave to its line; row ids are taken from the same numbers.
pub struct LinesDecoder {
    inner: Box<dyn Decoder>,
    /// `None` for JSON.
    csv: Option<Quotes>,
    max_line_bytes: usize,
}

/// A part of a unit: some lines, the first with this index in the unit.
struct Lines {
    first: usize,
    bytes: Bytes,
}

impl LinesDecoder {
    pub fn new(settings: &Settings, options: &Options, schema: SchemaRef, projection: Vec<usize>) -> Result<Self> {
        let mut options = options.clone();
        // The header was skipped when the lines came in.
        options.remove("header");
        options.remove("without_header");
        let csv = options.get("encode").is_some_and(|encode| encode.eq_ignore_ascii_case("csv"));
        let csv = csv.then(|| Quotes::new(&options));
        Ok(Self { inner: line_decoder(&options, schema, projection)?, csv, max_line_bytes: settings.max_line_bytes })
    }

    fn decode_lines(&mut self, unit: &Unit, lines: Lines, decoded: &mut Decoded) -> Result<()> {
        if lines.bytes.is_empty() {
            return Ok(());
        }
        let inner = self.inner.decode(Unit {
            split: unit.split.clone(),
            offset: INNER_OFFSET,
            first_row_id: unit.first_row_id + lines.first as i64,
            payload: Payload::Bytes(lines.bytes.clone()),
        })?;
        decoded.chunks.extend(inner.chunks);
        for mut letter in inner.dead_letters {
            let at = letter.offset.saturating_sub(INNER_OFFSET) as usize;
            let before = lines.bytes.get(..at).unwrap_or(&lines.bytes);
            let line = lines.first + before.iter().filter(|byte| **byte == b'\n').count();
            letter.offset = number(unit, line);
            decoded.dead_letters.push(letter);
        }
        Ok(())
    }

    /// Whole lines; those that leave a quote open would swallow their neighbours and are dead letters by themselves.
    fn decode_all(&mut self, unit: &Unit, bytes: Bytes, decoded: &mut Decoded) -> Result<()> {
        let open = self.csv.as_ref().map(|quotes| quotes.open_lines(&bytes)).unwrap_or_default();
        let (mut first, mut from) = (0, 0);
        for (line, start, end) in open {
            self.decode_lines(unit, Lines { first, bytes: bytes.slice(from..start) }, decoded)?;
            let raw = bytes.get(start..end).unwrap_or_default();
            decoded.dead_letters.push(letter(unit, line, raw, "a quoted value does not end on its line".into()));
            (first, from) = (line + 1, end);
        }
        self.decode_lines(unit, Lines { first, bytes: bytes.slice(from..) }, decoded)
    }
}

impl Decoder for LinesDecoder {
    fn decode(&mut self, mut unit: Unit) -> Result<Decoded> {
        let Payload::Bytes(mut bytes) = std::mem::replace(&mut unit.payload, Payload::Range(0, 0)) else {
            return Err(Error::internal("a TCP source has no numbered records"));
        };
        let mut decoded = Decoded::default();
        let tag = bytes.first().copied();
        let bytes = bytes.split_off(TAG_BYTES.min(bytes.len()));
        let error = match tag {
            Some(LINES) => {
                self.decode_all(&unit, bytes, &mut decoded)?;
                return Ok(decoded);
            }
            Some(TOO_LONG) => format!(
                "the line is longer than max_line_bytes = {}; its first {} bytes are kept",
                self.max_line_bytes,
                self.max_line_bytes.min(KEPT_BYTES)
            ),
            Some(BROKEN) => "the connection broke within this line".into(),
            _ => return Err(Error::corrupted(format!("entry {} of a TCP source's log has no known tag", unit.offset))),
        };
        for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            decoded.dead_letters.push(letter(&unit, index, line, error.clone()));
        }
        Ok(decoded)
    }
}

/// The log's number of a line of the unit.
fn number(unit: &Unit, line: usize) -> u64 {
    unit.first_row_id as u64 + line as u64
}

fn letter(unit: &Unit, line: usize, raw: &[u8], error: String) -> DeadLetter {
    DeadLetter { split: unit.split.clone(), offset: number(unit, line), raw: content(raw).to_vec(), error }
}

/// How CSV values are quoted, to find lines that leave a quote open.
struct Quotes {
    delimiter: u8,
    quote: u8,
    escape: Option<u8>,
}

impl Quotes {
    /// The format checks the options themselves.
    fn new(options: &Options) -> Self {
        let byte = |key: &str| match options.get(key).map(String::as_bytes) {
            Some(b"\\t") => Some(b'\t'),
            Some([byte]) => Some(*byte),
            _ => None,
        };
        Self {
            delimiter: byte("delimiter").unwrap_or(b','),
            quote: byte("quote").unwrap_or(b'"'),
            escape: byte("escape"),
        }
    }

    /// Index, begin and end of each line that ends within quotes.
    fn open_lines(&self, bytes: &[u8]) -> Vec<(usize, usize, usize)> {
        let mut open = Vec::new();
        if !bytes.contains(&self.quote) {
            return open;
        }
        let mut start = 0;
        for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            if line.contains(&self.quote) && self.leaves_open(line) {
                open.push((index, start, start + line.len()));
            }
            start += line.len();
        }
        open
    }

    fn leaves_open(&self, line: &[u8]) -> bool {
        let mut quoted = false;
        let mut field_begins = true;
        let mut bytes = content(line).iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            if quoted && Some(byte) == self.escape {
                bytes.next();
            } else if byte == self.quote && quoted {
                // Two quotes are one in the value.
                quoted = bytes.next_if_eq(&self.quote).is_some();
            } else if byte == self.quote && field_begins {
                quoted = true;
            }
            field_begins = !quoted && byte == self.delimiter;
        }
        quoted
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::common::ErrorKind;
    use crate::types::{ROW_ID, StreamChunk};

    /// A format of one text column whose lines that begin with `!` are bad and whose empty lines are none.
    struct Plain;

    impl Decoder for Plain {
        fn decode(&mut self, unit: Unit) -> Result<Decoded> {
            let Payload::Bytes(bytes) = unit.payload else { panic!("bytes") };
            assert_ne!(unit.offset, 0, "no header is looked for");
            let (mut decoded, mut rows, mut at) = (Decoded::default(), Vec::new(), 0);
            for line in bytes.split_inclusive(|b| *b == b'\n') {
                let text = String::from_utf8(content(line).to_vec()).unwrap();
                if text.starts_with('!') {
                    let (offset, raw, error) = (unit.offset + at as u64, text.into_bytes(), "bad".into());
                    decoded.dead_letters.push(DeadLetter { split: unit.split.clone(), offset, raw, error });
                } else if !text.is_empty() {
                    rows.push(text);
                }
                at += line.len();
            }
            let ids: Int64Array = (0..rows.len() as i64).map(|n| unit.first_row_id + n).collect();
            let batch = RecordBatch::try_from_iter([
                ("line", Arc::new(StringArray::from(rows)) as ArrayRef),
                (ROW_ID, Arc::new(ids)),
            ]);
            decoded.chunks.push(StreamChunk::inserts(batch.unwrap()));
            Ok(decoded)
        }
    }

    fn decode(payload: &'static [u8], csv: bool) -> Result<Vec<String>> {
        let csv = csv.then(|| Quotes::new(&Options::from([("escape".into(), "\\".into())])));
        let mut decoder = LinesDecoder { inner: Box::new(Plain), csv, max_line_bytes: 9 };
        let payload = Payload::Bytes(Bytes::from_static(payload));
        let decoded = decoder.decode(Unit { split: "log".into(), offset: 3, first_row_id: 10, payload })?;
        let mut found = Vec::new();
        for chunk in decoded.chunks {
            let lines = chunk.column(0).as_string::<i32>();
            let ids = chunk.column(1).as_primitive::<Int64Type>();
            found.extend((0..chunk.num_rows()).map(|row| format!("{} {}", ids.value(row), lines.value(row))));
        }
        for letter in decoded.dead_letters {
            found.push(format!("dead {} {}: {}", letter.offset, String::from_utf8_lossy(&letter.raw), letter.error));
        }
        Ok(found)
    }

    #[test]
    fn lines_get_the_numbers_of_the_log_and_bad_ones_become_dead_letters() {
        const OPEN: &str = "a quoted value does not end on its line";
        let open = |n: u64, raw: &str| format!("dead {n} {raw}: {OPEN}");
        let table: [(&'static [u8], bool, Vec<String>); 9] = [
            (b"\0", false, vec![]),
            (b"\0a\nb\n", false, vec!["10 a".into(), "11 b".into()]),
            (b"\0!x\na\n\n!y\r\n", false, vec!["10 a".into(), "dead 10 !x: bad".into(), "dead 13 !y: bad".into()]),
            (b"\0\"a\nb\n", false, vec!["10 \"a".into(), "11 b".into()]),
            (b"\0\"a\nb\n", true, vec!["11 b".into(), open(10, "\"a")]),
            (
                b"\0a\n1,\"x\n!y\nb\n\"q\"\"\r\n",
                true,
                vec!["10 a".into(), "12 b".into(), open(11, "1,\"x"), "dead 12 !y: bad".into(), open(14, "\"q\"\"")],
            ),
            (b"\0\"a\"\"\",5\" x,\"\\\"\"\n", true, vec!["10 \"a\"\"\",5\" x,\"\\\"\"".into()]),
            (
                b"\x01abc\nde\n",
                false,
                ["10 abc", "11 de"]
                    .map(|l| {
                        format!("dead {l}: the line is longer than max_line_bytes = 9; its first 9 bytes are kept")
                    })
                    .into(),
            ),
            (b"\x02abc\n", true, vec!["dead 10 abc: the connection broke within this line".into()]),
        ];
        for (payload, csv, expected) in table {
            assert_eq!(decode(payload, csv).unwrap(), expected, "{:?}", String::from_utf8_lossy(payload));
        }
    }

    #[test]
    fn an_unknown_tag_is_corruption() {
        for payload in [b"".as_slice(), b"\x09abc\n"] {
            assert_eq!(decode(payload, false).unwrap_err().kind(), ErrorKind::DataCorrupted);
        }
    }
}
