//! The entries of a TCP source's log back to records: the lines through their format, what was cut to dead letters.

use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use super::Settings;
use super::lines::{BROKEN, KEPT_BYTES, LINES, TAG_BYTES, TOO_LONG, content};
use crate::common::{Error, Result};
use crate::connector::format::{Boundary, LineFormat, line_decoder};
use crate::connector::options::Given;
use crate::connector::{DeadLetter, Decoded, Decoder, Options, Payload, Unit};

/// Each line is one record. Its number in the log is its row id, or the offset of its dead letter.
pub struct LinesDecoder {
    inner: Box<dyn Decoder>,
    /// Whether a CSV line leaves a quote open.
    boundary: Boundary,
    max_line_bytes: usize,
}

impl LinesDecoder {
    /// `options` are those of the source, checked.
    pub fn new(settings: &Settings, options: &Options, schema: SchemaRef, projection: Vec<usize>) -> Result<Self> {
        let mut options = options.clone();
        if settings.header {
            // It was skipped when the lines came in.
            options.remove("header");
            options.insert("without_header".into(), "true".into());
        }
        let boundary = LineFormat::new(Given { object: "lines", options: &options })?.boundary();
        let inner = line_decoder(&options, schema, projection)?;
        Ok(Self { inner, boundary, max_line_bytes: settings.max_line_bytes })
    }

    /// Whole lines; those that leave a quote open would swallow their neighbours and are dead letters by themselves.
    fn decode_lines(&mut self, unit: &Unit, bytes: Bytes, decoded: &mut Decoded) -> Result<()> {
        let (mut first, mut from) = (0, 0);
        for (line, start, end) in open_lines(&self.boundary, &bytes) {
            self.decode_run(unit, first, bytes.slice(from..start), decoded)?;
            let raw = bytes.get(start..end).unwrap_or_default();
            decoded.dead_letters.push(letter(unit, line, raw, "a quoted value does not end on its line".into()));
            (first, from) = (line + 1, end);
        }
        self.decode_run(unit, first, bytes.slice(from..), decoded)
    }

    /// Some lines of the unit, from line `first` on.
    fn decode_run(&mut self, unit: &Unit, first: usize, bytes: Bytes, decoded: &mut Decoded) -> Result<()> {
        if !bytes.is_empty() {
            let run = self.inner.decode(Unit {
                split: unit.split.clone(),
                // Not 0: there a file may have a header.
                offset: unit.offset + 1,
                first_row_id: unit.first_row_id + first as i64,
                payload: Payload::Bytes(bytes),
            })?;
            decoded.chunks.extend(run.chunks);
            decoded.dead_letters.extend(run.dead_letters);
        }
        Ok(())
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
                self.decode_lines(&unit, bytes, &mut decoded)?;
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

fn letter(unit: &Unit, line: usize, raw: &[u8], error: String) -> DeadLetter {
    let offset = unit.first_row_id as u64 + line as u64;
    DeadLetter { split: unit.split.clone(), offset, raw: content(raw).to_vec(), error }
}

/// Index, begin and end of each line that ends within quotes.
fn open_lines(boundary: &Boundary, bytes: &[u8]) -> Vec<(usize, usize, usize)> {
    let mut open = Vec::new();
    let Boundary::Csv(csv) = boundary else { return open };
    let mut start = 0;
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let end = start + line.len();
        if csv.complete(line).open {
            open.push((index, start, end));
        }
        start = end;
    }
    open
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;
    use crate::common::ErrorKind;
    use crate::connector::tcp::settings;

    /// Rows as `id k v`, dead letters as `dead number raw: error`.
    fn decode(payload: &'static str, options: &[(&str, &str)]) -> Result<Vec<String>> {
        let mut options: Options = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        options.insert("listen".into(), "127.0.0.1:0".into());
        options.insert("max_line_bytes".into(), "9".into());
        let schema = Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("v", DataType::Utf8, true)]);
        let settings = settings("s", &options)?;
        let mut decoder = LinesDecoder::new(&settings, &options, schema.into(), vec![0, 1])?;
        let payload = Payload::Bytes(Bytes::from_static(payload.as_bytes()));
        let decoded = decoder.decode(Unit { split: "log".into(), offset: 0, first_row_id: 10, payload })?;
        let mut found = Vec::new();
        for chunk in decoded.chunks {
            let (k, v) = (chunk.column(0).as_primitive::<Int64Type>(), chunk.column(1).as_string::<i32>());
            let ids = chunk.column(2).as_primitive::<Int64Type>();
            found.extend(
                (0..chunk.num_rows()).map(|row| format!("{} {} {}", ids.value(row), k.value(row), v.value(row))),
            );
        }
        for letter in decoded.dead_letters {
            let error = letter.error.split([';', ',', ':']).next().unwrap_or_default();
            found.push(format!("dead {} {}: {error}", letter.offset, String::from_utf8_lossy(&letter.raw)));
        }
        Ok(found)
    }

    #[test]
    fn lines_get_the_numbers_of_the_log_and_bad_ones_become_dead_letters() {
        const CSV: (&str, &str) = ("encode", "csv");
        const JSON: (&str, &str) = ("encode", "json");
        /// Payload, options, what is found.
        type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);
        let table: [Case; 9] = [
            ("\0", &[JSON], &[]),
            ("\0{\"k\":1,\"v\":\"a\"}\n{\"v\":\"b\",\"k\":2}\r\n", &[JSON], &["10 1 a", "11 2 b"]),
            (
                "\0{\"k\":1,\"v\":\"a\"}\n[]\n{\"k\":3,\"v\":\"c\"}\n",
                &[JSON],
                &["10 1 a", "12 3 c", "dead 11 []: not a JSON object"],
            ),
            ("\0k,v\n1,a\n", &[CSV, ("header", "true")], &["11 1 a", "dead 10 k,v: column \"k\""]),
            ("\u{0}1;a\n2;\"b;\"\"\"\n", &[CSV, ("delimiter", ";")], &["10 1 a", "11 2 b;\""]),
            (
                "\u{0}1,\"a\n2,b\n3,c\"\n4,\"d\"\n",
                &[CSV],
                &["11 2 b", "12 3 c\"", "13 4 d", "dead 10 1,\"a: a quoted value does not end on its line"],
            ),
            ("\u{0}1,\"a\n2,b\n", &[CSV, ("quote", "")], &["10 1 \"a", "11 2 b"]),
            (
                "\u{1}abc\nde\n",
                &[JSON],
                &[
                    "dead 10 abc: the line is longer than max_line_bytes = 9",
                    "dead 11 de: the line is longer than max_line_bytes = 9",
                ],
            ),
            ("\u{2}abc\n", &[CSV], &["dead 10 abc: the connection broke within this line"]),
        ];
        for (payload, options, expected) in table {
            assert_eq!(decode(payload, options).unwrap(), expected, "{payload:?}");
        }
    }

    #[test]
    fn an_unknown_tag_is_corruption() {
        for payload in ["", "\u{9}abc\n"] {
            assert_eq!(decode(payload, &[("encode", "json")]).unwrap_err().kind(), ErrorKind::DataCorrupted);
        }
    }
}
