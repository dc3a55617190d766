//! What rows hold in a column that came after them.
//!
//! The value travels with the column's stored field, as metadata, so that pages and logs from before need not be written
//! again: whoever decodes them fills the column in.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{Field, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::common::{Error, Result};

const KEY: &str = "weir.missing";

/// One value as text, to be kept in the catalog.
///
/// # Errors
/// `Internal` where Arrow cannot write it.
pub fn encode(value: &ArrayRef) -> Result<String> {
    let schema = Arc::new(Schema::new(vec![Field::new("", value.data_type().clone(), true)]));
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &schema)?;
    writer.write(&RecordBatch::try_new(schema, vec![value.slice(0, 1)])?)?;
    writer.finish()?;
    drop(writer);
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// The field with a value that [`encode`] has written.
pub fn mark(mut field: Field, value: &str) -> Field {
    field.metadata_mut().insert(KEY.into(), value.into());
    field
}

/// The column for `rows` rows that know nothing of it; `None` where such rows cannot be.
///
/// # Errors
/// `DataCorrupted` for a value that [`encode`] has not written.
pub fn column(field: &Field, rows: usize) -> Result<Option<ArrayRef>> {
    let Some(text) = field.metadata().get(KEY) else {
        return Ok(field.is_nullable().then(|| new_null_array(field.data_type(), rows)));
    };
    let damaged = || Error::corrupted(format!("the value that column \"{}\" came with is damaged", field.name()));
    let bytes = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok());
    let bytes = bytes.collect::<Option<Vec<u8>>>().ok_or_else(damaged)?;
    let batch = StreamReader::try_new(Cursor::new(bytes), None)?.next().ok_or_else(damaged)??;
    let value = batch.columns().first().filter(|c| c.len() == 1 && c.data_type() == field.data_type());
    let all = UInt32Array::from_value(0, rows);
    Ok(Some(take(value.ok_or_else(damaged)?, &all, None)?))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn values_come_back() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["a 'ü'"]));
        let field = mark(Field::new("c", DataType::Utf8, true), &encode(&text).unwrap());
        let expected: ArrayRef = Arc::new(StringArray::from(vec!["a 'ü'"; 3]));
        assert_eq!(column(&field, 3).unwrap().unwrap().as_ref(), expected.as_ref());
        assert_eq!(column(&field, 0).unwrap().unwrap().len(), 0);
        let wrong = mark(Field::new("c", DataType::Int64, true), &encode(&text).unwrap());
        assert!(column(&wrong, 1).is_err());
        assert!(column(&mark(Field::new("c", DataType::Utf8, true), "00é"), 1).is_err());
        assert_eq!(column(&Field::new("c", DataType::Int64, false), 1).unwrap(), None);
        let null: ArrayRef = Arc::new(Int64Array::new_null(2));
        assert_eq!(column(&Field::new("c", DataType::Int64, true), 2).unwrap().unwrap().as_ref(), null.as_ref());
    }
}
