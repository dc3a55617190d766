//! What every decoder gives out: the projected columns, then `_row_id`.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{can_cast_types, filter_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::common::{Error, Result};
use crate::types::{ROW_ID, StreamChunk};

/// Rows of a chunk at most.
pub(super) const CHUNK_ROWS: usize = 8192;

#[derive(Debug, Clone)]
pub(super) struct Output {
    /// The projected columns.
    pub fields: Vec<FieldRef>,
    /// With `_row_id`.
    schema: SchemaRef,
    /// The same while rows that break NOT NULL are still in.
    nullable: SchemaRef,
}

impl Output {
    /// # Errors
    /// `Internal` if `projection` names a column twice or one that `schema` has not.
    pub fn new(schema: &SchemaRef, projection: &[usize]) -> Result<Self> {
        let mut fields: Vec<FieldRef> = Vec::with_capacity(projection.len());
        for (i, column) in projection.iter().enumerate() {
            match schema.fields().get(*column) {
                Some(field) if !projection[..i].contains(column) => fields.push(field.clone()),
                _ => return Err(Error::internal(format!("a source's projection {projection:?} is not one"))),
            }
        }
        let row_id = Arc::new(Field::new(ROW_ID, DataType::Int64, false));
        let all = || fields.iter().cloned().chain([row_id.clone()]);
        let nullable = all().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>();
        let schema = Arc::new(Schema::new(all().collect::<Vec<_>>()));
        Ok(Self { schema, nullable: Arc::new(Schema::new(nullable)), fields })
    }

    /// A chunk of `columns`; of the rows where `good` is true, if it is given.
    pub fn chunk(
        &self,
        mut columns: Vec<ArrayRef>,
        row_ids: Int64Array,
        good: Option<&BooleanArray>,
    ) -> Result<StreamChunk> {
        columns.push(Arc::new(row_ids));
        if let Some(good) = good {
            let all = RecordBatch::try_new(self.nullable.clone(), columns)?;
            columns = filter_record_batch(&all, good)?.columns().to_vec();
        }
        Ok(StreamChunk::inserts(RecordBatch::try_new(self.schema.clone(), columns)?))
    }
}

/// Whether values of one type can be read as another without guessing: a bare number has no unit of time.
pub(super) fn is_convertible(from: &DataType, to: &DataType) -> bool {
    let guess = from.is_integer() && to.is_temporal();
    from == to || !guess && can_cast_types(from, to)
}

/// `rows` ids from `first` on.
pub(super) fn row_ids(first: i64, rows: usize) -> Int64Array {
    Int64Array::from_iter_values(first..first + rows as i64)
}
