//! Record batches to DataRow messages, in text or binary, as PostgreSQL would send the same values.
//!
//! Types are named by arrow-pg, so that they agree with the catalogue tables. The values are written here: arrow-pg
//! holds a NUMERIC in 96 bits, and builds a value of its own per cell.

mod binary;
mod column;
mod types;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, SchemaRef};
use bytes::{BufMut, BytesMut};

use self::column::Column;
use super::wire::Writer;
use crate::common::{Error, Result};
use crate::types::styles::Styles;

pub use self::types::{PgType, pg_type};

/// How a value travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Binary,
}

impl Format {
    /// Spreads the codes of a Bind over `count` values: none means text, one is for all.
    ///
    /// # Errors
    /// `ProtocolViolation` for another number of codes, or an unknown code.
    pub fn spread(codes: &[i16], count: usize) -> Result<Vec<Self>> {
        let all = codes.iter().map(|code| Self::from_code(*code)).collect::<Result<Vec<_>>>()?;
        match all.as_slice() {
            [] => Ok(vec![Self::Text; count]),
            [one] => Ok(vec![*one; count]),
            many if many.len() == count => Ok(all),
            many => Err(super::error::violation(format!("{} format codes for {count} values", many.len()))),
        }
    }

    fn from_code(code: i16) -> Result<Self> {
        match code {
            0 => Ok(Self::Text),
            1 => Ok(Self::Binary),
            other => Err(super::error::violation(format!("unknown format code {other}"))),
        }
    }
}

/// The columns of a result: their types and formats. Cheap to clone.
#[derive(Clone)]
pub struct RowEncoder {
    schema: SchemaRef,
    types: Arc<[PgType]>,
    formats: Arc<[Format]>,
    styles: Styles,
}

impl RowEncoder {
    /// # Errors
    /// `NotSupported` for a type without a PostgreSQL counterpart; `ProtocolViolation` for wrong format codes.
    pub fn new(schema: &SchemaRef, format_codes: &[i16]) -> Result<Self> {
        let formats = Format::spread(format_codes, schema.fields().len())?.into();
        let types = schema.fields().iter().map(pg_type).collect::<Result<_>>()?;
        Ok(Self { schema: schema.clone(), types, formats, styles: Styles::default() })
    }

    /// The same columns in the text forms of a session.
    pub fn in_styles(self, styles: Styles) -> Self {
        Self { styles, ..self }
    }

    /// The same columns in other formats.
    ///
    /// # Errors
    /// `ProtocolViolation` for wrong format codes.
    pub fn in_formats(&self, format_codes: &[i16]) -> Result<Self> {
        Ok(Self { formats: Format::spread(format_codes, self.types.len())?.into(), ..self.clone() })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.schema.fields().iter().map(|field| field.name().as_str())
    }

    /// Queues the RowDescription.
    ///
    /// # Errors
    /// As [`Writer::row_description`].
    pub fn describe(&self, writer: &mut Writer) -> Result<()> {
        writer.row_description(count(self.types.len())?, |out| {
            for ((name, ty), format) in self.names().zip(self.types.iter()).zip(self.formats.iter()) {
                // A zero would end it.
                name.split('\0').for_each(|part| out.put_slice(part.as_bytes()));
                out.put_u8(0);
                // Neither a table's number nor a column's.
                out.put_i32(0);
                out.put_i16(0);
                out.put_u32(ty.oid);
                out.put_i16(ty.size);
                out.put_i32(ty.modifier);
                out.put_i16(i16::from(*format == Format::Binary));
            }
        })
    }

    /// Whether rows of the schema are what it has described.
    ///
    /// # Errors
    /// As [`RowEncoder::new`].
    pub fn has_described(&self, schema: &SchemaRef) -> Result<bool> {
        let (ours, theirs) = (self.schema.fields(), schema.fields());
        let equal = |(a, b): (&FieldRef, &FieldRef)| a.data_type() == b.data_type() && a.metadata() == b.metadata();
        if ours.len() != theirs.len() || ours.iter().zip(theirs).all(equal) {
            return Ok(ours.len() == theirs.len());
        }
        let theirs = Self::new(schema, &[])?;
        Ok(self.types.iter().zip(theirs.types.iter()).all(|(a, b)| a.oid == b.oid))
    }

    /// Prepares a batch for being written row by row.
    pub fn batch(&self, batch: &RecordBatch) -> Result<Rows> {
        if batch.num_columns() != self.types.len() {
            return Err(Error::internal(format!(
                "a batch of {} columns in a result of {}",
                batch.num_columns(),
                self.types.len()
            )));
        }
        let columns = batch
            .columns()
            .iter()
            .zip(self.types.iter().zip(self.formats.iter()))
            .map(|(array, (ty, format))| Ok((Column::of_type(array, *ty)?, *format)))
            .collect::<Result<_>>()?;
        Ok(Rows { columns, styles: self.styles, next: 0, len: batch.num_rows(), text: BytesMut::new() })
    }
}

/// A batch that is partly written.
pub struct Rows {
    columns: Vec<(Column, Format)>,
    styles: Styles,
    next: usize,
    len: usize,
    /// Of one value.
    text: BytesMut,
}

impl Rows {
    pub fn is_done(&self) -> bool {
        self.next >= self.len
    }

    /// The next row's values as text, `None` for null, each to `each` with its column's number.
    pub fn texts(&mut self, mut each: impl FnMut(usize, Option<&[u8]>)) -> Result<()> {
        let row = self.next;
        for (number, (column, _)) in self.columns.iter().enumerate() {
            self.text.clear();
            let there = column.write_item(row, &self.styles, &mut self.text)?;
            each(number, there.then_some(&self.text[..]));
        }
        self.next += 1;
        Ok(())
    }

    /// The next row's values, each behind its length.
    ///
    /// # Errors
    /// As [`Rows::write_next`].
    pub fn values(&mut self, out: &mut BytesMut) -> Result<()> {
        for (column, format) in &self.columns {
            column.write(self.next, *format, &self.styles, out)?;
        }
        self.next += 1;
        Ok(())
    }

    /// Queues the next row.
    ///
    /// # Errors
    /// A value that the format cannot hold; the row is then not sent.
    pub fn write_next(&mut self, writer: &mut Writer) -> Result<()> {
        let row = self.next;
        let (columns, styles) = (&self.columns, &self.styles);
        writer.row(count(columns.len())?, |out| {
            for (column, format) in columns {
                column.write(row, *format, styles, out)?;
            }
            Ok(())
        })?;
        self.next += 1;
        Ok(())
    }
}

fn count(columns: usize) -> Result<u16> {
    u16::try_from(columns)
        .map_err(|_| Error::not_supported("a result has at most 65535 columns").with_hint("select fewer columns"))
}

#[cfg(test)]
mod tests;
