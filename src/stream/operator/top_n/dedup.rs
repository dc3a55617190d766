//! Deduplication: the first row of each partition, over input that never retracts. A partition's state is its row, found
//! by key; an epoch's rows are gathered without a copy.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::changes::{gather, send};
use crate::common::{Error, Result};
use crate::plan::{self, Node};
use crate::state::{StateWriter, UncommittedShare};
use crate::stream::message::{Barrier, Watermark};
use crate::stream::operator::row_order::{HeldWatermarks, RowOrder};
use crate::stream::operator::{BuildContext, Output, StreamOperator};
use crate::types::{Epoch, Keys, StreamChunk};

pub(super) struct Dedup {
    rows: RowOrder,
    /// Partition to its first row.
    state: StateWriter,
    /// A column of ones comes out behind the input's for each rank that is shown.
    shown: usize,
    output: SchemaRef,
    open: Open,
    /// It is worked off before the barrier when it holds more bytes.
    open_share: UncommittedShare,
    /// Output columns and values that wait for the barrier.
    held: HeldWatermarks,
}

/// The open epoch's rows and of each partition the first of them.
#[derive(Default)]
struct Open {
    batches: Vec<RecordBatch>,
    partitions: Vec<Keys>,
    /// Which row of a partition comes first.
    within: Vec<Keys>,
    /// By partition: batch and row of its first.
    first: Vec<(usize, usize)>,
    /// Numbers of `first`, by partition.
    table: HashTable<usize>,
    hasher: DefaultHashBuilder,
    bytes: usize,
}

impl Open {
    fn add(&mut self, batch: RecordBatch, partitions: Keys, within: Keys) {
        self.bytes +=
            batch.get_array_memory_size() + partitions.get_buffer_memory_size() + within.get_buffer_memory_size();
        let number = self.batches.len();
        self.batches.push(batch);
        self.partitions.push(partitions);
        self.within.push(within);
        let Self { partitions, within, first, table, hasher, .. } = self;
        let name = |first: &[(usize, usize)], at: usize| -> &[u8] {
            let (batch, row) = first[at];
            partitions[batch].value(row)
        };
        let rows = partitions[number].len();
        for row in 0..rows {
            let partition = partitions[number].value(row);
            let hash = hasher.hash_one(partition);
            match table.find(hash, |at| name(first, *at) == partition) {
                Some(at) => {
                    let best = &mut first[*at];
                    if within[number].value(row) < within[best.0].value(best.1) {
                        *best = (number, row);
                    }
                }
                None => {
                    first.push((number, row));
                    table.insert_unique(hash, first.len() - 1, |at| hasher.hash_one(name(first, *at)));
                }
            }
        }
    }
}

impl Dedup {
    pub(super) fn new(plan: &plan::TopN, node: &Node, context: &BuildContext<'_>) -> Result<Self> {
        let table = plan.state.ok_or_else(|| Error::internal("a deduplication without state"))?;
        Ok(Self {
            rows: RowOrder::new(&plan.rows, node, context),
            state: context.store.table(table, Arc::clone(&context.input))?.writer(),
            shown: plan.shown.len(),
            output: Arc::clone(&node.schema),
            open: Open::default(),
            open_share: context.store.uncommitted().share(),
            held: HeldWatermarks::new(&plan.rows.partition),
        })
    }

    /// Compares the epoch's first rows with those kept.
    fn flush(&mut self, out: &mut Output) -> Result<()> {
        let open = std::mem::take(&mut self.open);
        self.open_share.set(0);
        if open.first.is_empty() {
            return Ok(());
        }
        let keys = pick(&open.partitions, &open.first)?;
        let kept = self.state.get(&keys)?;
        let kept_within = self.rows.within(&kept.rows)?;
        let mut places = Vec::with_capacity(open.first.len());
        let mut weights = Vec::with_capacity(open.first.len());
        let mut new: Vec<u64> = Vec::with_capacity(open.first.len());
        for (number, (batch, row)) in open.first.iter().enumerate() {
            if let Some(at) = kept.index.get(number).copied().flatten() {
                if open.within[*batch].value(*row) >= kept_within.value(at as usize) {
                    continue;
                }
                places.push((0, at as usize));
                weights.push(-1);
            }
            places.push((batch + 1, *row));
            weights.push(1);
            new.push(number as u64);
        }
        if new.is_empty() {
            return Ok(());
        }
        let mut columns = gather(kept.rows.columns(), &open.batches, &places)?;
        let schema = self.state.table().schema();
        if new.len() == places.len() && new.len() == open.first.len() {
            self.state.write(keys, RecordBatch::try_new(schema, columns.clone())?, None)?;
        } else {
            let written: Vec<(usize, usize)> = places.iter().copied().filter(|(source, _)| *source > 0).collect();
            let rows = gather(kept.rows.columns(), &open.batches, &written)?;
            let keys = arrow::compute::take(&keys, &UInt64Array::from(new), None)?.as_binary::<i32>().clone();
            self.state.write(keys, RecordBatch::try_new(schema, rows)?, None)?;
        }
        let ones: ArrayRef = Arc::new(UInt64Array::from(vec![1; places.len()]));
        columns.extend(std::iter::repeat_n(ones, self.shown));
        let weights = weights.iter().any(|w| *w != 1).then(|| Int64Array::from(weights));
        send(columns, places.len(), weights, &self.output, out)
    }
}

fn pick(keys: &[Keys], places: &[(usize, usize)]) -> Result<Keys> {
    let sources: Vec<&dyn Array> = keys.iter().map(|k| k as &dyn Array).collect();
    Ok(interleave(&sources, places)?.as_binary::<i32>().clone())
}

impl StreamOperator for Dedup {
    fn on_chunk(&mut self, _port: usize, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        let (batch, _) = chunk.into_parts();
        let (partitions, within) = (self.rows.partitions(&batch)?, self.rows.within(&batch)?);
        self.open.add(batch, partitions, within);
        self.open_share.set(self.open.bytes);
        if self.open_share.is_over() {
            self.flush(out)?;
        }
        Ok(())
    }

    fn on_watermark(&mut self, _port: usize, watermark: Watermark, _out: &mut Output) -> Result<()> {
        self.held.hear(watermark);
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, out: &mut Output) -> Result<()> {
        self.flush(out)?;
        self.rows.free(&mut self.state, &self.held)?;
        self.held.send(out);
        Ok(())
    }

    fn seal(&mut self, epoch: Epoch) -> Result<()> {
        self.state.seal(epoch);
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.open.bytes + self.state.open_bytes()
    }
}
