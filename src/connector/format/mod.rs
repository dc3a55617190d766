//! Line formats: from units of whole records, CSV or JSON lines, to chunks of the projected columns.
//!
//! ```text
//! unit of bytes --csv, json (where do values stand?)--> Records --column (a type at a time)--> arrays, faults
//! ```
//!
//! The tokenisers only find where the values of the wanted columns begin and end; the columns are then read from those
//! places, one type at a time. A record that cannot be read is masked out of the arrays and becomes a dead letter: its
//! neighbours are read once, with it. What a view does not read is not decoded and hence not checked beyond the
//! record's shape.

mod column;
pub mod copy;
pub(super) mod csv;
mod json;
mod records;
pub(super) mod scalar;
#[cfg(test)]
mod tests;

use arrow::datatypes::{FieldRef, SchemaRef};

use self::csv::{Csv, Header};
use self::json::Json;
use self::records::{Faults, Records};
use self::scalar::UnixUnit;
use super::options::Given;
use super::output::{CHUNK_ROWS, Output, row_ids};
use super::{DeadLetter, Decoded, Decoder, Options, Payload, Unit};
use crate::common::{Error, Result};
use crate::types::pg_type::PgType;

/// Bytes of a dead letter's record that are kept.
const RAW_BYTES: usize = 64 << 10;

/// The split name of units that come from a log, where an offset counts entries and not bytes.
const LOG_SPLIT: &str = "log";

pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";

/// Where records may be cut into units.
#[derive(Debug, Clone)]
pub(super) enum Boundary {
    Line,
    Csv(Csv),
}

/// The options of the line formats, checked.
#[derive(Debug, Clone)]
pub(super) struct LineFormat {
    csv: Option<Csv>,
    unix: Option<UnixUnit>,
    /// A longer record is a dead letter.
    pub max_record_bytes: usize,
}

impl LineFormat {
    /// The names of the options for `encode`.
    pub fn options(encode: &str) -> Vec<&'static str> {
        let both = ["timestamp_unit", "max_record_bytes"];
        let csv: &[&str] = if encode == "csv" { csv::OPTIONS } else { &[] };
        both.iter().chain(csv).copied().collect()
    }

    /// Reads the format's options; the caller checks that there are no unknown ones.
    ///
    /// # Errors
    /// `InvalidParameterValue` for an encoding other than csv and json, and for wrong values.
    pub fn new(given: Given<'_>) -> Result<Self> {
        if let Some(format) = given.text("format").filter(|format| !format.eq_ignore_ascii_case("plain")) {
            return Err(given.bad_value("format", format).with_hint("write FORMAT PLAIN ENCODE CSV or ENCODE JSON"));
        }
        let csv = match given.text("encode").map(str::to_ascii_lowercase).as_deref() {
            Some("csv") => Some(Csv::new(given)?),
            Some("json") => None,
            other => {
                return Err(given
                    .wrong(format!("lines cannot be read as {}", other.unwrap_or("an unnamed format")))
                    .with_hint("write FORMAT PLAIN ENCODE CSV or FORMAT PLAIN ENCODE JSON"));
            }
        };
        let unix = given.choice("timestamp_unit", &["s", "ms", "us", "ns"])?.map(|unit| UnixUnit {
            per_second: match unit {
                "s" => 1,
                "ms" => 1_000,
                "us" => 1_000_000,
                _ => 1_000_000_000,
            },
        });
        let max_record_bytes = given.number("max_record_bytes", 1, 1usize << 30)?.unwrap_or(64 << 20);
        Ok(Self { csv, unix, max_record_bytes })
    }

    pub fn boundary(&self) -> Boundary {
        self.csv.clone().map_or(Boundary::Line, Boundary::Csv)
    }
}

/// A decoder of lines: `options` name the format (`encode` = csv or json) and its settings.
///
/// Units hold whole records; one at offset 0 begins a split and may begin with a CSV header. A dead letter's offset is
/// the unit's plus the byte in the unit; where the split is `log` it is the row's number in the log.
///
/// # Errors
/// `InvalidParameterValue` for wrong options, `NotSupported` for a column type that has no text form.
pub fn line_decoder(options: &Options, schema: SchemaRef, projection: Vec<usize>) -> Result<Box<dyn Decoder>> {
    let format = LineFormat::new(Given { object: "lines", options })?;
    Ok(Box::new(LineDecoder::new(format, schema, projection)?))
}

enum Tokenizer {
    /// With the place of each column of the source among the projected ones.
    Csv(Csv, Vec<Option<usize>>),
    Json(Json),
}

struct LineDecoder {
    tokenizer: Tokenizer,
    unix: Option<UnixUnit>,
    max_record_bytes: usize,
    source: SchemaRef,
    output: Output,
    records: Records,
    faults: Faults,
}

/// Whether the column keeps JSON as it stands.
fn is_json(field: &FieldRef) -> bool {
    !field.data_type().is_nested() && PgType::of(field).is_some_and(PgType::is_json)
}

impl LineDecoder {
    fn new(format: LineFormat, source: SchemaRef, projection: Vec<usize>) -> Result<Self> {
        let output = Output::new(&source, &projection)?;
        output.fields.iter().try_for_each(column::check)?;
        let tokenizer = match format.csv {
            Some(csv) => {
                let mut slots = vec![None; source.fields().len()];
                for (slot, column) in projection.iter().enumerate() {
                    slots[*column] = Some(slot);
                }
                Tokenizer::Csv(csv, slots)
            }
            None => Tokenizer::Json(Json::new(
                output.fields.iter().map(|field| field.name().clone()).collect(),
                output.fields.iter().map(is_json).collect(),
            )),
        };
        Ok(Self {
            tokenizer,
            unix: format.unix,
            max_record_bytes: format.max_record_bytes,
            source,
            output,
            records: Records::default(),
            faults: Faults::default(),
        })
    }

    /// Where the records of a unit begin: behind a byte order mark and a header, which only a split's first unit has.
    fn start(&self, unit: &Unit, data: &[u8]) -> usize {
        if unit.offset != 0 {
            return 0;
        }
        let start = if data.starts_with(BOM) { BOM.len() } else { 0 };
        let Tokenizer::Csv(csv, _) = &self.tokenizer else { return start };
        if csv.header == Header::No {
            return start;
        }
        let (names, end) = csv.first_record(&data[start..]);
        let columns = self.source.fields();
        let equal = || {
            names.len() == columns.len()
                && names
                    .iter()
                    .zip(columns)
                    .all(|(name, column)| name.trim_ascii().eq_ignore_ascii_case(column.name().as_bytes()))
        };
        if csv.header == Header::Yes || equal() { start + end } else { start }
    }

    fn dead_letters(&self, unit: &Unit, data: &[u8]) -> Vec<DeadLetter> {
        let letter = |(record, message): (usize, &str)| {
            let (start, end) = self.records.bounds(record);
            let raw = &data[start..end];
            DeadLetter {
                split: unit.split.clone(),
                offset: match &*unit.split {
                    LOG_SPLIT => unit.first_row_id as u64 + record as u64,
                    _ => unit.offset + start as u64,
                },
                raw: raw.get(..RAW_BYTES).unwrap_or(raw).to_vec(),
                error: match raw.len().checked_sub(RAW_BYTES) {
                    None | Some(0) => message.to_string(),
                    Some(cut) => format!("{message} (the last {cut} bytes of the record are not kept)"),
                },
            }
        };
        self.faults.iter().map(letter).collect()
    }
}

impl Decoder for LineDecoder {
    fn decode(&mut self, unit: Unit) -> Result<Decoded> {
        let Payload::Bytes(data) = &unit.payload else {
            return Err(Error::internal("a line decoder got a unit without bytes"));
        };
        if data.len() > u32::MAX as usize / 2 {
            return Err(Error::internal(format!("a unit of {} bytes", data.len())));
        }
        let start = self.start(&unit, data);
        self.records.clear(self.output.fields.len());
        self.faults.clear();
        match &mut self.tokenizer {
            Tokenizer::Csv(csv, slots) => csv.tokenize(data, start, slots, &mut self.records, &mut self.faults),
            Tokenizer::Json(json) => json.tokenize(data, start, &mut self.records, &mut self.faults),
        }
        if data.len() > self.max_record_bytes {
            for record in 0..self.records.len() {
                let (start, end) = self.records.bounds(record);
                if end - start > self.max_record_bytes {
                    let max = self.max_record_bytes;
                    self.faults.add(record, || format!("the record is longer than max_record_bytes = {max}"));
                }
            }
        }
        let mut chunks = Vec::with_capacity(self.records.len().div_ceil(CHUNK_ROWS));
        for first in (0..self.records.len()).step_by(CHUNK_ROWS) {
            let rows = CHUNK_ROWS.min(self.records.len() - first);
            let mut columns = Vec::with_capacity(self.output.fields.len() + 1);
            for (slot, field) in self.output.fields.iter().enumerate() {
                let texts = self.records.column(data, slot, first..first + rows);
                columns.push(column::read(field, &texts, self.unix, &mut self.faults)?);
            }
            let good = self.faults.good(first..first + rows);
            let chunk = self.output.chunk(columns, row_ids(unit.first_row_id + first as i64, rows), good.as_ref())?;
            if !chunk.is_empty() {
                chunks.push(chunk);
            }
        }
        let dead_letters = if self.faults.is_empty() { Vec::new() } else { self.dead_letters(&unit, data) };
        Ok(Decoded { chunks, dead_letters })
    }
}
