//! Constant rows: they enter the job once, after its first barrier, and never again. That they have is state.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::backfill::BackfillStats;
use crate::common::Result;
use crate::plan::Values;
use crate::state::{KeyRange, StateWriter};
use crate::types::{Epoch, StreamChunk, key};

/// One row once they have been sent.
pub fn sent_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("sent", DataType::Boolean, false)]))
}

/// The rows as the one actor of their fragment has them.
pub struct ValuesLeaf {
    rows: StreamChunk,
    phase: Phase,
    sent: StateWriter,
    /// Who creates the job waits for the rows as for a backfill.
    stats: Arc<BackfillStats>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Readers of the job attach at its first barrier: what is sent before would pass them by.
    BeforeBarrier {
        sent: bool,
    },
    Due {
        sent: bool,
    },
    /// No barrier has come since.
    Out,
    Done,
}

impl ValuesLeaf {
    pub fn new(values: &Values, schema: SchemaRef, sent: StateWriter, stats: Arc<BackfillStats>) -> Result<Self> {
        let before = sent.scan(&KeyRange::all(), Some(1))?.iter().any(|(keys, _)| keys.len() > 0);
        if !before {
            stats.running.fetch_add(1, Ordering::SeqCst);
        }
        let rows = StreamChunk::inserts(evaluate(values, schema)?);
        Ok(Self { rows, phase: Phase::BeforeBarrier { sent: before }, sent, stats })
    }

    /// Whether [`ValuesLeaf::send`] should be called before the next barrier.
    pub fn is_due(&self) -> bool {
        matches!(self.phase, Phase::Due { .. })
    }

    /// The rows, if they were not sent before a restart. No further ones follow.
    pub fn send(&mut self) -> Option<StreamChunk> {
        let sent = matches!(self.phase, Phase::Due { sent: true });
        self.phase = if sent { Phase::Done } else { Phase::Out };
        (!sent && !self.rows.is_empty()).then(|| self.rows.clone())
    }

    pub fn barrier(&mut self, epoch: Epoch) -> Result<()> {
        match self.phase {
            Phase::BeforeBarrier { sent } => self.phase = Phase::Due { sent },
            Phase::Out => {
                let column: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
                let number: ArrayRef = Arc::new(Int64Array::from(vec![0]));
                let row = RecordBatch::try_new(sent_schema(), vec![column])?;
                self.sent.write(key::encode(&[number], 1)?, row, None)?;
                self.leave();
                self.phase = Phase::Done;
            }
            Phase::Due { .. } | Phase::Done => {}
        }
        self.sent.seal(epoch);
        Ok(())
    }

    fn leave(&self) {
        self.stats.running.fetch_sub(1, Ordering::SeqCst);
        self.stats.ended.notify_waiters();
    }
}

impl Drop for ValuesLeaf {
    fn drop(&mut self) {
        if !matches!(self.phase, Phase::BeforeBarrier { sent: true } | Phase::Due { sent: true } | Phase::Done) {
            self.leave();
        }
    }
}

/// The rows, each with its number in a last column.
fn evaluate(values: &Values, schema: SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let nothing = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
    let columns = schema.fields().len().saturating_sub(1);
    let mut cells: Vec<Vec<ArrayRef>> = vec![Vec::new(); columns];
    for row in &values.rows {
        for (cells, expr) in cells.iter_mut().zip(row) {
            cells.push(expr.physical().evaluate(&nothing)?.into_array(1)?);
        }
    }
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(columns + 1);
    for (cells, field) in cells.iter().zip(schema.fields()) {
        columns.push(match cells.is_empty() {
            true => arrow::array::new_empty_array(field.data_type()),
            false => concat(&cells.iter().map(|c| c.as_ref()).collect::<Vec<_>>())?,
        });
    }
    columns.push(Arc::new(Int64Array::from_iter_values(0..values.rows.len() as i64)));
    Ok(RecordBatch::try_new(schema, columns)?)
}
