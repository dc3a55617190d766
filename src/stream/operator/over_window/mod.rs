//! OverWindow: window functions over ordered partitions, an epoch at a time.
//!
//! ```text
//! rows of the epoch --net, by partition--+
//!                                        +--> the partition now --DataFusion's WindowExpr--> results now
//! state: partition | order | key -> row, results                                                  |
//!          |                                                                                      |
//!          +------------------------------> results before -----------------compare--> -old, +new
//! ```
//! A partition that an epoch touches is computed anew, by the functions that compute it in a batch; what came out before
//! stands in the state beside each row, so only rows whose results differ go on.
//!
//! **Watermarks** go on for partition columns only, behind the epoch's rows: of another column a row may change its
//! results, and so be retracted, at any time.

mod group;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::physical_plan::windows::WindowExpr;

use self::group::{Group, Source};
use super::row_order::{RowKeys, RowOrder};
use super::{BuildContext, Output, StreamOperator};
use crate::common::Result;
use crate::plan::{self, Node};
use crate::state::{KeyRange, StateWriter};
use crate::stream::message::{Barrier, Watermark};
use crate::types::{Epoch, StreamChunk};

/// An epoch's rows are worked off before the barrier when they hold this many bytes.
const OPEN_BYTES: usize = 64 << 20;
/// Partitions are computed together up to so many rows.
const GROUP_ROWS: usize = 32 << 10;

pub struct OverWindow {
    name: String,
    rows: RowOrder,
    partition_columns: Vec<usize>,
    calls: Vec<Arc<dyn WindowExpr>>,
    state: StateWriter,
    input: SchemaRef,
    /// Input columns, then results.
    output: SchemaRef,
    /// The open epoch's chunks.
    open: Vec<(StreamChunk, RowKeys)>,
    open_bytes: usize,
    /// Output columns and values that wait for the barrier.
    held: BTreeMap<usize, i64>,
}

impl OverWindow {
    pub(super) fn new(
        name: String,
        plan: &plan::OverWindow,
        node: &Node,
        context: &BuildContext<'_>,
    ) -> Result<Self> {
        let output = plan.output(&context.input);
        Ok(Self {
            name,
            rows: RowOrder::new(&plan.rows, node),
            partition_columns: plan.rows.partition.clone(),
            calls: plan.expressions(&context.input)?,
            state: context.store.table(plan.state, Arc::clone(&output))?.writer(),
            input: Arc::clone(&context.input),
            output,
            open: Vec::new(),
            open_bytes: 0,
            held: BTreeMap::new(),
        })
    }

    /// Computes the touched partitions and sends on what changed.
    fn flush(&mut self, out: &mut Output) -> Result<()> {
        let open = std::mem::take(&mut self.open);
        self.open_bytes = 0;
        // In key order, changes of one key in order of arrival.
        let mut changes: Vec<(u32, u32)> = Vec::new();
        for (number, (chunk, _)) in open.iter().enumerate() {
            changes.extend((0..chunk.num_rows()).map(|row| (number as u32, row as u32)));
        }
        let keys = |at: &(u32, u32)| (&open[at.0 as usize].1, at.1 as usize);
        changes.sort_by(|a, b| {
            let ((a, i), (b, j)) = (keys(a), keys(b));
            a.key(i).cmp(b.key(j))
        });
        let partition = |at: &(u32, u32)| {
            let (keys, row) = keys(at);
            keys.partition(row)
        };
        let batches: Vec<RecordBatch> = open.iter().map(|(chunk, _)| chunk.batch().clone()).collect();
        let mut group = Group::new(&batches, &self.input, &self.output);
        for changes in changes.chunk_by(|a, b| partition(a) == partition(b)) {
            let Some(first) = changes.first() else { continue };
            let mut changed = changes
                .chunk_by(|a, b| {
                    let ((a, i), (b, j)) = (keys(a), keys(b));
                    a.key(i) == b.key(j)
                })
                .filter_map(|same| same.last())
                .peekable();
            group.begin();
            for (stored, rows) in self.state.scan(&KeyRange::prefix(partition(first)), None)? {
                let batch = group.stored(rows);
                for (row, key) in stored.iter().flatten().enumerate() {
                    while let Some(at) = changed.next_if(|at| key_of(&open, at) < key) {
                        group.change(key_of(&open, at), None, new(&open, at));
                    }
                    match changed.next_if(|at| key_of(&open, at) == key) {
                        Some(at) => group.change(key, Some((batch, row)), new(&open, at)),
                        None => group.unchanged(key, (batch, row)),
                    }
                }
            }
            for at in changed {
                group.change(key_of(&open, at), None, new(&open, at));
            }
            group.end();
            if group.rows() > GROUP_ROWS {
                let done = std::mem::replace(&mut group, Group::new(&batches, &self.input, &self.output));
                done.compute(&self.calls, &mut self.state, out)?;
            }
        }
        group.compute(&self.calls, &mut self.state, out)
    }
}

fn key_of<'o>(open: &'o [(StreamChunk, RowKeys)], at: &(u32, u32)) -> &'o [u8] {
    open[at.0 as usize].1.key(at.1 as usize)
}

/// The row that the change leaves, if it does not remove it.
fn new(open: &[(StreamChunk, RowKeys)], at: &(u32, u32)) -> Option<Source> {
    let (batch, row) = (at.0 as usize, at.1 as usize);
    (open[batch].0.weight(row) > 0).then_some(Source::Open(batch, row))
}

impl StreamOperator for OverWindow {
    fn on_chunk(&mut self, _port: usize, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        let keys = self.rows.keys(chunk.batch())?;
        self.open_bytes += chunk.memory_size() + keys.keys.get_buffer_memory_size();
        self.open.push((chunk, keys));
        if self.open_bytes > OPEN_BYTES {
            self.flush(out).map_err(|e| e.context(self.name.clone()))?;
        }
        Ok(())
    }

    fn on_watermark(&mut self, _port: usize, watermark: Watermark, _out: &mut Output) -> Result<()> {
        if self.partition_columns.contains(&watermark.column) {
            self.held.insert(watermark.column, watermark.micros);
        }
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, out: &mut Output) -> Result<()> {
        self.flush(out).map_err(|e| e.context(self.name.clone()))?;
        for (column, micros) in std::mem::take(&mut self.held) {
            out.watermark(Watermark { column, micros });
        }
        Ok(())
    }

    fn seal(&mut self, epoch: Epoch) -> Result<()> {
        self.state.seal(epoch);
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.open_bytes + self.state.open_bytes()
    }
}
