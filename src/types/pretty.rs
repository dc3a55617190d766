//! Text to chunk and back, so that a test is a table.
//!
//! ```text
//! a:bigint name:varchar
//! + 1 x
//! - 2 .          -- `.` is null; a weight other than one is written `+3` or `-2`
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{StreamChunk, time};
use crate::common::{Error, ErrorKind, Result};

/// Reads a chunk: a line of `name:type`, then one line a row.
pub fn chunk(text: &str) -> Result<StreamChunk> {
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    let header = lines.next().unwrap_or_default();
    let schema = schema(header)?;
    let mut weights = Vec::new();
    let mut cells: Vec<Vec<Option<String>>> = vec![Vec::new(); schema.fields().len()];
    for line in lines {
        let mut words = line.split_whitespace();
        let weight = match words.next().unwrap_or_default() {
            "+" => 1,
            "-" => -1,
            w => w.parse().map_err(|_| bad(format!("weight {w:?} in {line:?}")))?,
        };
        weights.push(weight);
        for column in &mut cells {
            let word = words.next().ok_or_else(|| bad(format!("too few values in {line:?}")))?;
            column.push((word != ".").then(|| word.replace('_', " ")));
        }
    }
    let columns = cells
        .into_iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            let text: ArrayRef = Arc::new(StringArray::from(column));
            let options = CastOptions { safe: false, ..Default::default() };
            Ok(cast_with_options(&text, field.data_type(), &options)?)
        })
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(weights.len()));
    let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
    let weights = weights.iter().any(|w| *w != 1).then(|| Int64Array::from(weights));
    Ok(StreamChunk::new(batch, weights))
}

/// A schema from `name:type` words; all columns are nullable.
pub fn schema(header: &str) -> Result<SchemaRef> {
    let fields = header
        .split_whitespace()
        .map(|word| {
            let (name, ty) = word.split_once(':').ok_or_else(|| bad(format!("{word:?} is not name:type")))?;
            let ty = match ty {
                "bigint" => DataType::Int64,
                "int" => DataType::Int32,
                "double" => DataType::Float64,
                "boolean" => DataType::Boolean,
                "varchar" => DataType::Utf8,
                "decimal" => DataType::Decimal128(38, 10),
                "timestamp" => time::timestamp(),
                "timestamptz" => time::timestamptz(),
                "date" => DataType::Date32,
                other => return Err(bad(format!("type {other:?}"))),
            };
            Ok(Field::new(name, ty, true))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

/// The rows of a chunk as text, one line each, in their order and without the header.
pub fn rows(chunk: &StreamChunk) -> Result<Vec<String>> {
    let options = FormatOptions::default().with_null(".");
    let formatters =
        chunk.batch().columns().iter().map(|c| ArrayFormatter::try_new(c, &options)).collect::<Result<Vec<_>, _>>()?;
    Ok((0..chunk.num_rows())
        .map(|row| {
            let mut line = match chunk.weight(row) {
                1 => "+".to_string(),
                -1 => "-".to_string(),
                w => format!("{w:+}"),
            };
            for formatter in &formatters {
                line.push(' ');
                line.push_str(&formatter.value(row).to_string().replace(' ', "_"));
            }
            line
        })
        .collect())
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, format!("pretty text: {message}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_to_chunk_and_back() {
        let c = super::chunk("a:bigint t:timestamp\n+ 1 1970-01-01T00:00:10\n-2 . .").unwrap();
        assert_eq!(super::rows(&c).unwrap(), ["+ 1 1970-01-01T00:00:10", "-2 . ."]);
    }
}
