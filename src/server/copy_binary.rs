//! COPY in binary format: rows of the client as lines of the text format, which the session reads, and the other way
//! without a detour.
//!
//! ```text
//! "PGCOPY\n\377\r\n\0" flags length extension | columns (length value)* | … | -1
//! ```

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use bytes::{Buf, Bytes, BytesMut};
use datafusion::scalar::ScalarValue;

use super::encode::{Format, RowEncoder, pg_type};
use super::params;
use crate::common::{Error, ErrorKind, Result};
use crate::types::styles::Styles;

/// What the data begin with: a signature, no flags, no extension.
pub const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const SIGNATURE: usize = 11;
/// Bits of the flags that a reader must know; Weir knows none.
const CRITICAL: u32 = 0xffff_0000;

/// Data on their way in, in pieces of any size.
pub struct BinaryIn {
    columns: Vec<(FieldRef, u32)>,
    schema: SchemaRef,
    encoder: RowEncoder,
    /// What is not a whole row yet.
    rest: BytesMut,
    begun: bool,
    ended: bool,
}

impl BinaryIn {
    pub fn new(columns: &[FieldRef]) -> Result<Self> {
        let schema: SchemaRef =
            Arc::new(Schema::new(columns.iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>()));
        let encoder = RowEncoder::new(&schema, &[])?;
        let columns = columns.iter().map(|f| Ok((f.clone(), pg_type(f)?.oid))).collect::<Result<_>>()?;
        Ok(Self { columns, schema, encoder, rest: BytesMut::new(), begun: false, ended: false })
    }

    /// The whole rows that there are with `bytes`, as a batch; `None` for none.
    ///
    /// # Errors
    /// `BadCopyFormat`, and those of the values.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<RecordBatch>> {
        self.rest.extend_from_slice(bytes);
        if !self.begun {
            if !self.header()? {
                return Ok(None);
            }
            self.begun = true;
        }
        let mut columns: Vec<Vec<ScalarValue>> = self.columns.iter().map(|_| Vec::new()).collect();
        let mut rows = 0;
        while let Some(row) = self.row()? {
            for (value, column) in row.into_iter().zip(&mut columns) {
                column.push(value);
            }
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        let arrays = columns.into_iter().map(ScalarValue::iter_to_array).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(RecordBatch::try_new(self.schema.clone(), arrays)?))
    }

    pub fn encoder(&self) -> &RowEncoder {
        &self.encoder
    }

    /// # Errors
    /// `BadCopyFormat` when the last row is not whole.
    pub fn finish(&self) -> Result<()> {
        match self.begun && self.rest.is_empty() {
            true => Ok(()),
            false => Err(bad("unexpected EOF in COPY data")),
        }
    }

    /// False when it is not there as a whole.
    fn header(&mut self) -> Result<bool> {
        let there = self.rest.len().min(SIGNATURE);
        if self.rest[..there] != HEADER[..there] {
            return Err(bad("COPY file signature not recognized"));
        }
        if self.rest.len() < HEADER.len() {
            return Ok(false);
        }
        let mut head = &self.rest[SIGNATURE..];
        let (flags, extension) = (head.get_u32(), head.get_u32() as usize);
        if flags & CRITICAL != 0 {
            return Err(bad("unrecognized critical flags in COPY file header"));
        }
        if self.rest.len() - HEADER.len() < extension {
            return Ok(false);
        }
        self.rest.advance(HEADER.len() + extension);
        Ok(true)
    }

    /// The next row; `None` when it is not there as a whole, or the data have ended.
    fn row(&mut self) -> Result<Option<Vec<ScalarValue>>> {
        let mut ahead = &self.rest[..];
        let Ok(count) = ahead.try_get_i16() else { return Ok(None) };
        if self.ended {
            return Err(bad("received copy data after EOF marker"));
        }
        if count == -1 {
            self.rest.advance(2);
            self.ended = true;
            return if self.rest.is_empty() { Ok(None) } else { Err(bad("received copy data after EOF marker")) };
        }
        if usize::try_from(count) != Ok(self.columns.len()) {
            return Err(bad(format!("row field count is {count}, expected {}", self.columns.len())));
        }
        // First whether all is there, so that values are read once.
        for _ in 0..count {
            let Ok(length) = ahead.try_get_i32() else { return Ok(None) };
            match usize::try_from(length) {
                Ok(length) if length > ahead.len() => return Ok(None),
                Ok(length) => ahead.advance(length),
                Err(_) if length == -1 => {}
                Err(_) => return Err(bad("invalid field size")),
            }
        }
        let size = self.rest.len() - ahead.len();
        let mut row: Bytes = self.rest.split_to(size).freeze();
        row.advance(2);
        let mut values = Vec::with_capacity(self.columns.len());
        for (field, oid) in &self.columns {
            let bytes = usize::try_from(row.get_i32()).ok().map(|length| row.split_to(length));
            let value = params::value(bytes.as_ref(), *oid, Format::Binary, field.data_type(), &Styles::default());
            values.push(value.map_err(|e| e.context(format!("column \"{}\"", field.name())))?);
        }
        Ok(Some(values))
    }
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadCopyFormat, message)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use bytes::BufMut;

    use super::*;

    fn fields() -> Vec<FieldRef> {
        let field = |name: &str, data_type| Arc::new(Field::new(name, data_type, true));
        vec![field("k", DataType::Int32), field("v", DataType::Utf8)]
    }

    fn data(rows: &[(i32, Option<&str>)]) -> Vec<u8> {
        let mut out = HEADER.to_vec();
        for (k, v) in rows {
            out.put_i16(2);
            out.put_i32(4);
            out.put_i32(*k);
            match v {
                None => out.put_i32(-1),
                Some(v) => {
                    out.put_i32(v.len() as i32);
                    out.put_slice(v.as_bytes());
                }
            }
        }
        out.put_i16(-1);
        out
    }

    #[test]
    fn rows_cut_anywhere_are_the_same() {
        let data = data(&[(1, Some("a\tb")), (-2, None), (3, Some(""))]);
        for size in 1..data.len() {
            let mut reader = BinaryIn::new(&fields()).unwrap();
            let mut rows = 0;
            for piece in data.chunks(size) {
                rows += reader.push(piece).unwrap().map_or(0, |batch| batch.num_rows());
            }
            assert_eq!(rows, 3, "{size}");
            reader.finish().unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let good = data(&[(1, Some("a"))]);
        let with = |at: usize, byte: u8| {
            let mut data = good.clone();
            data[at] = byte;
            data
        };
        for (data, expected) in [
            (with(0, b'x'), "COPY file signature not recognized"),
            (with(11, 1), "unrecognized critical flags"),
            (with(20, 3), "row field count is 3, expected 2"),
            ([&good[..21], &[0, 0, 0, 3, 0, 0, 1, 255, 255, 255, 255]].concat(), "column \"k\""),
            (with(21, 0x80), "invalid field size"),
            ([good.clone(), vec![0, 2]].concat(), "after EOF marker"),
        ] {
            let mut reader = BinaryIn::new(&fields()).unwrap();
            let message = reader.push(&data).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        let mut reader = BinaryIn::new(&fields()).unwrap();
        reader.push(&good[..25]).unwrap();
        assert!(reader.finish().is_err());
    }
}
