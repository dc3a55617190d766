//! Project: evaluates the output columns row for row, keeps weights and no state. The watermark of a column goes
//! through the (monotone) expression that made the output column from it.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use super::{Output, StreamOperator, event_time};
use crate::common::Result;
use crate::expr::eval;
use crate::plan::WatermarkStep;
use crate::stream::message::{Barrier, Watermark};
use crate::types::StreamChunk;
use crate::types::time::END_OF_TIME;

pub struct Project {
    pub(super) name: String,
    pub(super) exprs: Vec<Arc<dyn PhysicalExpr>>,
    pub(super) watermarks: Vec<WatermarkStep>,
    pub(super) input: SchemaRef,
    pub(super) output: SchemaRef,
}

impl Project {
    /// What `step.output` is worth when the input column stands at the watermark; `None` when that is nothing.
    fn map(&self, step: &WatermarkStep, micros: i64) -> Result<Option<i64>> {
        if micros == END_OF_TIME {
            return Ok(Some(END_OF_TIME));
        }
        let Some(expr) = self.exprs.get(step.output) else { return Ok(None) };
        let columns: Vec<ArrayRef> = self
            .input
            .fields()
            .iter()
            .enumerate()
            .map(|(i, field)| match i == step.input {
                true => event_time::instant(micros, field.data_type()),
                false => Ok(new_null_array(field.data_type(), 1)),
            })
            .collect::<Result<_>>()?;
        let fields: Vec<_> = self.input.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
        let row = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns)?;
        // Out of range near the ends of time: no watermark rather than a wrong one.
        let Ok(value) = expr.evaluate(&row) else { return Ok(None) };
        let value = event_time::micros(&value.into_array(1)?)?;
        Ok(value.iter().next().flatten())
    }
}

impl StreamOperator for Project {
    fn on_chunk(&mut self, _port: usize, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        let evaluated = eval::evaluate(&self.exprs, chunk)?;
        out.failed(&self.name, evaluated.failed)?;
        let options = RecordBatchOptions::new().with_row_count(Some(evaluated.rows.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.output), evaluated.columns, &options)?;
        out.chunk(evaluated.rows.with_batch(batch));
        Ok(())
    }

    fn on_watermark(&mut self, _port: usize, watermark: Watermark, out: &mut Output) -> Result<()> {
        for step in self.watermarks.iter().filter(|s| s.input == watermark.column) {
            if let Some(micros) = self.map(step, watermark.micros)? {
                out.watermark(Watermark { column: step.output, micros });
            }
        }
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}
