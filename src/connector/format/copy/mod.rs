//! The bytes of a COPY FROM STDIN to batches of a table's columns, piece by piece: what is held is one piece and the line
//! that its end cut.
//!
//! ```text
//! bytes --tokens (records and fields)--> Records --column (a type at a time)--> batch
//!                                                       \--> the first bad line: an error, or each: a dead letter
//! ```
//! Errors are in PostgreSQL's words, with the line and the column.

mod temporal;
mod tokens;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use memchr::memchr_iter;

use self::temporal::Reading;
use self::tokens::{BadLine, Tokenizer};
use super::RAW_BYTES;
use super::column;
use super::records::{Faults, Records};
use crate::common::{Error, ErrorKind, Result};
use crate::expr::modifier;
use crate::types::copy::{CopyHeader, CopyOptions};
use crate::types::pg_type::PgType;
use crate::types::sql_name;
use crate::types::styles::Styles;
use crate::types::timetz::timetz;

/// A piece is read once it has this much.
const PIECE: usize = 1 << 20;
/// A longer line is an error.
const MAX_LINE: usize = 1 << 29;
/// Bytes of a line or value that an error shows, as in PostgreSQL.
const SHOWN: usize = 100;

/// A line that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRecord {
    pub raw: Vec<u8>,
    pub error: String,
}

/// What a piece held.
pub struct Piece {
    pub rows: RecordBatch,
    /// Only with ON_ERROR ignore.
    pub bad: Vec<BadRecord>,
}

/// Reads one COPY.
pub struct CopyReader {
    table: String,
    /// The columns of the lines. Not null where the table says so.
    fields: Vec<FieldRef>,
    /// The same, nullable.
    schema: SchemaRef,
    reading: Reading,
    tokenizer: Tokenizer,
    header: CopyHeader,
    ignore_errors: bool,
    records: Records,
    buffer: Vec<u8>,
    /// Bytes that must be there before it is worth to look again.
    wanted: usize,
    /// Lines before the buffer.
    lines: u64,
    ended: bool,
}

impl CopyReader {
    /// `fields` are the columns of the lines, in their order; `zone` and `styles` are the session's.
    ///
    /// # Errors
    /// `NotSupported` for a column that has no text form; `UndefinedColumn` for one in a FORCE option that is not there.
    pub fn new(table: &str, fields: Vec<FieldRef>, options: &CopyOptions, zone: &str, styles: Styles) -> Result<Self> {
        fields.iter().try_for_each(column::check)?;
        let names: Vec<String> = fields.iter().map(|f| f.name().clone()).collect();
        let schema = Schema::new(fields.iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>());
        Ok(Self {
            table: table.to_string(),
            schema: Arc::new(schema),
            reading: Reading { zone: (zone != "UTC").then(|| zone.parse()).transpose()?, styles },
            tokenizer: Tokenizer::new(options, &names),
            header: options.header,
            ignore_errors: options.ignore_errors,
            records: Records::default(),
            buffer: Vec::new(),
            wanted: PIECE,
            lines: 0,
            ended: false,
            fields,
        })
    }

    /// Takes bytes; gives a piece when there is enough for one.
    ///
    /// # Errors
    /// Of the first line that is bad, unless those are ignored.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Piece>> {
        if self.ended {
            return Ok(None);
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() < self.wanted {
            return Ok(None);
        }
        let piece = self.read(false)?;
        // A line that is longer than a piece is not looked at anew with each byte.
        self.wanted = PIECE.max(2 * self.buffer.len());
        if self.buffer.len() > MAX_LINE {
            return Err(Error::new(ErrorKind::DataException, format!("a line of more than {MAX_LINE} bytes"))
                .with_origin(format!("COPY {}, line {}", self.table, self.lines + 1)));
        }
        Ok(Some(piece))
    }

    /// The rest.
    pub fn finish(&mut self) -> Result<Piece> {
        self.read(true)
    }

    fn read(&mut self, last: bool) -> Result<Piece> {
        let data = std::mem::take(&mut self.buffer);
        self.records.clear(self.fields.len());
        let tokens = self.tokenizer.tokenize(&data, last, &mut self.records);
        self.ended |= tokens.ended;
        let mut first = 0;
        if self.header != CopyHeader::No && self.records.len() > 0 {
            if self.header == CopyHeader::Match {
                self.check_header(&data, tokens.bad.first().filter(|(record, _)| *record == 0).map(|(_, why)| *why))?;
            }
            self.header = CopyHeader::No;
            first = 1;
        }
        let rows = first..self.records.len();
        let mut bad: BTreeMap<usize, Error> = BTreeMap::new();
        for (record, why) in tokens.bad.iter().filter(|(record, _)| *record >= first) {
            bad.insert(*record, self.bad_line(*why, self.line(&data, *record)));
        }
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.fields.len());
        for slot in 0..self.fields.len() {
            let (array, faults) = self.column(&data, slot, rows.clone())?;
            for (record, _) in faults.iter() {
                // Of one line the leftmost fault counts.
                bad.entry(record).or_insert_with(|| self.bad_value(&data, slot, record));
            }
            columns.push(array);
        }
        if !self.ignore_errors
            && let Some((_, error)) = bad.pop_first()
        {
            return Err(error);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let mut batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        if !bad.is_empty() {
            let good = BooleanArray::from_iter(rows.map(|record| Some(!bad.contains_key(&record))));
            batch = filter_record_batch(&batch, &good)?;
        }
        let bad = bad.into_iter().map(|(record, error)| {
            let raw = self.raw(&data, record);
            let origin = error.origin().unwrap_or_default().to_string();
            BadRecord {
                raw: raw.get(..RAW_BYTES).unwrap_or(raw).to_vec(),
                error: format!("{}: {}", origin, error.message()),
            }
        });
        let bad = bad.collect();
        let consumed = data.get(..tokens.consumed).unwrap_or_default();
        self.lines += memchr_iter(b'\n', consumed).count() as u64;
        if !self.ended {
            self.buffer.extend_from_slice(data.get(tokens.consumed..).unwrap_or_default());
        }
        Ok(Piece { rows: batch, bad })
    }

    /// The values of one column, null where the text is none of its type.
    fn column(&self, data: &[u8], slot: usize, rows: Range<usize>) -> Result<(ArrayRef, Faults)> {
        let field = &self.fields[slot];
        let mut faults = Faults::default();
        let texts = self.records.column(data, slot, rows.clone());
        let array = match temporal::read(field, &texts, &self.reading, &mut faults) {
            Some(array) => array?,
            None => column::read(field, &texts, None, &mut faults)?,
        };
        Ok((array, faults))
    }

    fn raw<'a>(&self, data: &'a [u8], record: usize) -> &'a [u8] {
        let (start, end) = self.records.bounds(record);
        data.get(start..end).unwrap_or_default()
    }

    /// `COPY t, line 3`: the line on which the record ends.
    fn place(&self, data: &[u8], record: usize) -> String {
        let (_, end) = self.records.bounds(record);
        let before = memchr_iter(b'\n', data.get(..end).unwrap_or_default()).count() as u64;
        format!("COPY {}, line {}", self.table, self.lines + before + 1)
    }

    fn line(&self, data: &[u8], record: usize) -> String {
        format!("{}: \"{}\"", self.place(data, record), shown(self.raw(data, record)))
    }

    fn bad_line(&self, why: BadLine, origin: String) -> Error {
        let message = match why {
            BadLine::Extra => "extra data after last expected column".to_string(),
            BadLine::Missing(field) => {
                let name = self.fields.get(field).map_or("", |f| f.name().as_str());
                format!("missing data for column \"{name}\"")
            }
            BadLine::Unterminated => "unterminated CSV quoted field".to_string(),
        };
        Error::new(ErrorKind::BadCopyFormat, message).with_origin(origin)
    }

    fn bad_value(&self, data: &[u8], slot: usize, record: usize) -> Error {
        let field = &self.fields[slot];
        let name = field.name();
        let text = self.records.column(data, slot, record..record + 1).iter().next().flatten();
        let Some(text) = text else {
            let message =
                format!("null value in column \"{name}\" of relation \"{}\" violates not-null constraint", self.table);
            return Error::new(ErrorKind::NotNullViolation, message).with_origin(self.line(data, record));
        };
        if let (Some(mark @ (PgType::Varchar(_) | PgType::Char(_))), Ok(text)) =
            (PgType::of(field), std::str::from_utf8(text))
        {
            let origin = format!("{}, column {name}: \"{}\"", self.place(data, record), shown(text.as_bytes()));
            return modifier::too_long(mark, text).with_origin(origin);
        }
        let (kind, message) = refusal(field.data_type(), text);
        let origin = format!("{}, column {name}: \"{}\"", self.place(data, record), shown(text));
        Error::new(kind, message).with_origin(origin)
    }

    fn check_header(&self, data: &[u8], bad: Option<BadLine>) -> Result<()> {
        let wrong =
            |message: String| Err(Error::new(ErrorKind::BadCopyFormat, message).with_origin(self.line(data, 0)));
        if let Some(why) = bad {
            let expected = self.fields.len();
            return wrong(match why {
                BadLine::Missing(n) => format!("wrong number of fields in header line: got {n}, expected {expected}"),
                BadLine::Extra => format!("wrong number of fields in header line: expected {expected}"),
                BadLine::Unterminated => "unterminated CSV quoted field".to_string(),
            });
        }
        for (slot, field) in self.fields.iter().enumerate() {
            let got = self.records.column(data, slot, 0..1).iter().next().flatten();
            let number = slot + 1;
            let name = field.name();
            match got {
                Some(got) if got == name.as_bytes() => {}
                Some(got) => {
                    let got = shown(got);
                    return wrong(format!(
                        "column name mismatch in header line field {number}: got \"{got}\", expected \"{name}\""
                    ));
                }
                None => {
                    return wrong(format!(
                        "column name mismatch in header line field {number}: got null value, expected \"{name}\""
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Why a text is no value of its type, as PostgreSQL says it.
fn refusal(data_type: &DataType, text: &[u8]) -> (ErrorKind, String) {
    if std::str::from_utf8(text).is_err() {
        return (ErrorKind::CharacterNotInRepertoire, "invalid byte sequence for encoding \"UTF8\"".to_string());
    }
    let name = match data_type {
        DataType::Boolean => "boolean",
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Decimal128(..) => "numeric",
        DataType::Binary => "bytea",
        DataType::Date32 => "date",
        DataType::Time64(_) => "time",
        own if *own == timetz() => "time with time zone",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Interval(_) => "interval",
        other => {
            return (
                ErrorKind::InvalidTextRepresentation,
                format!("invalid input syntax for type {}: \"{}\"", sql_name(other), shown(text)),
            );
        }
    };
    let value = shown(text);
    let number = text.trim_ascii();
    let is_number = std::str::from_utf8(number).is_ok_and(|n| n.parse::<f64>().is_ok());
    let whole = number.strip_prefix(b"-").unwrap_or(number).iter().all(u8::is_ascii_digit);
    match data_type {
        DataType::Int16 | DataType::Int32 | DataType::Int64 if is_number && whole => {
            (ErrorKind::NumericValueOutOfRange, format!("value \"{value}\" is out of range for type {name}"))
        }
        DataType::Float32 | DataType::Float64 if is_number => {
            (ErrorKind::NumericValueOutOfRange, format!("\"{value}\" is out of range for type {name}"))
        }
        DataType::Decimal128(..) if is_number => {
            (ErrorKind::NumericValueOutOfRange, "numeric field overflow".to_string())
        }
        _ if data_type.is_temporal() => {
            (ErrorKind::InvalidDatetimeFormat, format!("invalid input syntax for type {name}: \"{value}\""))
        }
        _ => (ErrorKind::InvalidTextRepresentation, format!("invalid input syntax for type {name}: \"{value}\"")),
    }
}

fn shown(text: &[u8]) -> String {
    match text.get(..SHOWN) {
        Some(start) if text.len() > SHOWN => format!("{}...", String::from_utf8_lossy(start)),
        _ => String::from_utf8_lossy(text).into_owned(),
    }
}
