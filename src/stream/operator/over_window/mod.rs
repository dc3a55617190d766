//! OverWindow: window functions over ordered partitions, an epoch at a time.
//!
//! ```text
//! rows of the epoch --net, by partition--+
//!                                        +--> the partition now --DataFusion's WindowExpr--> results now
//! state: partition | order | key -> row, results                                                  |
//!          |                                                                                      |
//!          +------------------------------> results before -----------------compare--> -old, +new
//! ```
//! What an epoch can change of a partition is computed anew, by the functions that compute it in a batch: the rows around
//! its changes where every function looks only so many rows back and ahead, else the whole partition. What came out
//! before stands in the state beside each row, so only rows whose results differ go on.
//!
//! **Watermarks** go on for partition columns only, behind the epoch's rows: of another column a row may change its
//! results, and so be retracted, at any time.

mod group;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::SchemaRef;
use datafusion::physical_plan::windows::WindowExpr;

use self::group::{Context, Group, Source};
use super::row_order::{HeldWatermarks, RowKeys, RowOrder};
use super::{BuildContext, Output, StreamOperator};
use crate::common::Result;
use crate::plan::{self, Node};
use crate::state::{KeyRange, StateWriter, UncommittedShare};
use crate::stream::message::{Barrier, Watermark};
use crate::types::{Epoch, Keys, StreamChunk};

/// Partitions are computed together up to so many rows.
const GROUP_ROWS: usize = 32 << 10;

pub struct OverWindow {
    name: String,
    rows: RowOrder,
    calls: Vec<Arc<dyn WindowExpr>>,
    /// How many rows before and after its own a result may depend on, where that is bounded.
    reach: Option<(usize, usize)>,
    state: StateWriter,
    input: SchemaRef,
    /// Input columns, then results.
    output: SchemaRef,
    /// The open epoch's chunks.
    open: Vec<(StreamChunk, RowKeys)>,
    open_bytes: usize,
    /// They are worked off before the barrier when they hold more.
    open_share: UncommittedShare,
    /// Output columns and values that wait for the barrier.
    held: HeldWatermarks,
}

impl OverWindow {
    pub(super) fn new(name: String, plan: &plan::OverWindow, node: &Node, context: &BuildContext<'_>) -> Result<Self> {
        let output = plan.output(&context.input);
        Ok(Self {
            name,
            rows: RowOrder::new(&plan.rows, node, context),
            calls: plan.expressions(&context.input)?,
            reach: plan.reach(),
            state: context.store.table(plan.state, Arc::clone(&output))?.writer(),
            input: Arc::clone(&context.input),
            output,
            open: Vec::new(),
            open_bytes: 0,
            open_share: context.store.uncommitted().share(),
            held: HeldWatermarks::new(&plan.rows.partition),
        })
    }

    /// Computes the touched partitions and sends on what changed.
    fn flush(&mut self, out: &mut Output) -> Result<()> {
        let open = std::mem::take(&mut self.open);
        self.open_bytes = 0;
        self.open_share.set(0);
        // In key order, changes of one key in order of arrival.
        let mut changes: Vec<(u32, u32)> = Vec::new();
        for (number, (chunk, _)) in open.iter().enumerate() {
            changes.extend((0..chunk.num_rows()).map(|row| (number as u32, row as u32)));
        }
        changes.sort_by(|a, b| key_of(&open, a).cmp(key_of(&open, b)));
        let partition = |at: &(u32, u32)| open[at.0 as usize].1.partition(at.1 as usize);
        let context =
            Context { open: &open, input: &self.input, output: &self.output, calls: &self.calls, reach: self.reach };
        let mut group = Group::new(context);
        for changes in changes.chunk_by(|a, b| partition(a) == partition(b)) {
            let Some(first) = changes.first() else { continue };
            let mut changed =
                changes.chunk_by(|a, b| key_of(&open, a) == key_of(&open, b)).filter_map(|same| same.last()).peekable();
            for (stored, rows) in self.state.scan(&KeyRange::prefix(partition(first)), None)? {
                let count = stored.len();
                let batch = group.stored(stored.clone(), rows);
                let last = stored.value(count - 1);
                let mut row = 0;
                while let Some(at) = changed.next_if(|at| key_of(&open, at) <= last) {
                    let key = key_of(&open, at);
                    let place = position(&stored, row, key);
                    group.unchanged(batch, row..place);
                    let replaces = stored.value(place) == key;
                    group.change(key, replaces.then_some((batch, place)), new(&open, at));
                    row = place + usize::from(replaces);
                }
                group.unchanged(batch, row..count);
            }
            for at in changed {
                group.change(key_of(&open, at), None, new(&open, at));
            }
            group.end();
            if group.rows() > GROUP_ROWS {
                std::mem::replace(&mut group, Group::new(context)).compute(&mut self.state, out)?;
            }
        }
        group.compute(&mut self.state, out)
    }
}

/// The first row from `from` on whose key is not below `key`.
fn position(keys: &Keys, from: usize, key: &[u8]) -> usize {
    let (mut low, mut high) = (from, keys.len());
    while low < high {
        let middle = low + (high - low) / 2;
        match keys.value(middle) < key {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    low
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
        self.open_share.set(self.open_bytes);
        self.open.push((chunk, keys));
        if self.open_share.is_over() {
            self.flush(out).map_err(|e| e.context(self.name.clone()))?;
        }
        Ok(())
    }

    fn on_watermark(&mut self, _port: usize, watermark: Watermark, _out: &mut Output) -> Result<()> {
        self.held.hear(watermark);
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, out: &mut Output) -> Result<()> {
        self.flush(out).map_err(|e| e.context(self.name.clone()))?;
        self.rows.free(&mut self.state, &self.held)?;
        self.held.send(out);
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
