//! GroupingSets: each row once for every grouping set, with nulls in the columns that are not of the set and the set's
//! number behind. Copies nothing, keeps weights and no state.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;
use datafusion::scalar::ScalarValue;

use super::{Output, StreamOperator};
use crate::common::{Error, Result};
use crate::plan::GroupingSet;
use crate::stream::message::{Barrier, Watermark};
use crate::types::StreamChunk;

pub struct GroupingSets {
    /// The columns that are null, and the number.
    sets: Vec<(Vec<usize>, ScalarValue)>,
    output: SchemaRef,
}

impl GroupingSets {
    pub(super) fn new(sets: &[GroupingSet], output: &SchemaRef) -> Result<Self> {
        let id = output.fields().last().ok_or_else(|| Error::internal("grouping sets without columns"))?;
        let sets = sets
            .iter()
            .map(|set| Ok((set.nulls.clone(), ScalarValue::UInt64(Some(set.id)).cast_to(id.data_type())?)))
            .collect::<Result<_>>()?;
        Ok(Self { sets, output: Arc::clone(output) })
    }
}

impl StreamOperator for GroupingSets {
    fn on_chunk(&mut self, _port: usize, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        let rows = chunk.num_rows();
        for (nulls, id) in &self.sets {
            let mut columns: Vec<ArrayRef> = chunk.batch().columns().to_vec();
            for column in nulls {
                if let Some(column) = columns.get_mut(*column) {
                    *column = new_null_array(column.data_type(), rows);
                }
            }
            columns.push(id.to_array_of_size(rows)?);
            out.chunk(chunk.with_batch(RecordBatch::try_new(Arc::clone(&self.output), columns)?));
        }
        Ok(())
    }

    fn on_watermark(&mut self, _port: usize, watermark: Watermark, out: &mut Output) -> Result<()> {
        out.watermark(watermark);
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}
