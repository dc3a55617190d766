//! The unit of data on a stream: rows with weights, a Z-set (DBSP, differential dataflow).

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::{filter, filter_record_batch, take, take_record_batch};
use arrow::datatypes::SchemaRef;

use crate::common::Result;

/// The hidden key column of a stream or table that has no key of its own: `BIGINT`, unique within its source.
pub const ROW_ID: &str = "_row_id";

/// A batch of changes. `weights[i]` says how often row *i* is added (above 0) or retracted (below 0), never 0.
///
/// Within a chunk and between the chunks of an edge, order matters: an update is the retraction of the old row
/// followed by the insertion of the new one.
#[derive(Debug, Clone)]
pub struct StreamChunk {
    batch: RecordBatch,
    /// `None` means +1 for every row: append-only chunks pay nothing.
    weights: Option<Int64Array>,
}

impl StreamChunk {
    /// Rows that are all inserted once.
    pub fn inserts(batch: RecordBatch) -> Self {
        Self { batch, weights: None }
    }

    /// `weights` has one value a row, no nulls and no zeros.
    pub fn new(batch: RecordBatch, weights: Option<Int64Array>) -> Self {
        debug_assert!(weights.as_ref().is_none_or(|w| w.len() == batch.num_rows()));
        Self { batch, weights }
    }

    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    pub fn schema(&self) -> SchemaRef {
        self.batch.schema()
    }

    pub fn column(&self, index: usize) -> &ArrayRef {
        self.batch.column(index)
    }

    /// `None` when every row has weight +1.
    pub fn weights(&self) -> Option<&Int64Array> {
        self.weights.as_ref()
    }

    pub fn weight(&self, row: usize) -> i64 {
        self.weights.as_ref().map_or(1, |w| w.value(row))
    }

    pub fn num_rows(&self) -> usize {
        self.batch.num_rows()
    }

    pub fn is_empty(&self) -> bool {
        self.num_rows() == 0
    }

    pub fn into_parts(self) -> (RecordBatch, Option<Int64Array>) {
        (self.batch, self.weights)
    }

    /// The same weights over other columns, row for row.
    pub fn with_batch(&self, batch: RecordBatch) -> Self {
        Self::new(batch, self.weights.clone())
    }

    /// Keeps the rows where `mask` is true (null drops, as in WHERE).
    pub fn filter(&self, mask: &BooleanArray) -> Result<Self> {
        let batch = filter_record_batch(&self.batch, mask)?;
        let weights = match &self.weights {
            Some(w) => Some(downcast(&filter(w, mask)?)),
            None => None,
        };
        Ok(Self { batch, weights })
    }

    /// The rows at `indices`, in that order.
    pub fn take(&self, indices: &UInt64Array) -> Result<Self> {
        let batch = take_record_batch(&self.batch, indices)?;
        let weights = match &self.weights {
            Some(w) => Some(downcast(&take(w, indices, None)?)),
            None => None,
        };
        Ok(Self { batch, weights })
    }

    pub fn slice(&self, offset: usize, length: usize) -> Self {
        Self {
            batch: self.batch.slice(offset, length),
            weights: self.weights.as_ref().map(|w| w.slice(offset, length)),
        }
    }

    /// Bytes held, as the memory limit counts them.
    pub fn memory_size(&self) -> usize {
        self.batch.get_array_memory_size() + self.weights.as_ref().map_or(0, |w| w.len() * 8)
    }
}

fn downcast(array: &ArrayRef) -> Int64Array {
    use arrow::array::AsArray;
    array.as_primitive::<arrow::datatypes::Int64Type>().clone()
}
