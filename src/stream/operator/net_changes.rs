//! NetChanges: holds the changes of an epoch back and sends what is left of them at its barrier. Keeps no state.
//!
//! Rows that move from key to key come from several actors, in any order. Netted by row, what is left of a key is the
//! row that it has now, which replaces the one before it, or that it has none any more. Of several new rows of one key
//! the one that came last goes on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use arrow::array::{Int64Array, RecordBatch, UInt64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, Rows, SortField};

use super::{Output, StreamOperator};
use crate::common::Result;
use crate::stream::message::{Barrier, Watermark};
use crate::types::StreamChunk;

pub struct NetChanges {
    key: Vec<usize>,
    schema: SchemaRef,
    /// Of the open epoch.
    held: Vec<StreamChunk>,
}

impl NetChanges {
    pub(super) fn new(key: Vec<usize>, schema: SchemaRef) -> Self {
        Self { key, schema, held: Vec::new() }
    }

    fn converted(&self, batch: &RecordBatch, columns: impl Iterator<Item = usize> + Clone) -> Result<Rows> {
        let fields = columns.clone().map(|c| SortField::new(self.schema.field(c).data_type().clone()));
        let columns: Vec<_> = columns.map(|c| batch.column(c).clone()).collect();
        Ok(RowConverter::new(fields.collect())?.convert_columns(&columns)?)
    }
}

impl StreamOperator for NetChanges {
    fn on_chunk(&mut self, _port: usize, chunk: StreamChunk, _out: &mut Output) -> Result<()> {
        self.held.push(chunk);
        Ok(())
    }

    /// Nothing behind a table's key waits for a watermark.
    fn on_watermark(&mut self, _port: usize, _watermark: Watermark, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, out: &mut Output) -> Result<()> {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return Ok(());
        }
        let batch = concat_batches(&self.schema, held.iter().map(StreamChunk::batch))?;
        let weights = held.iter().flat_map(|chunk| (0..chunk.num_rows()).map(|row| chunk.weight(row)));
        let rows = self.converted(&batch, 0..self.schema.fields().len())?;
        // The net weight of each row, and where it came last.
        let mut net: HashMap<&[u8], (i64, usize)> = HashMap::new();
        for (at, (row, weight)) in rows.iter().zip(weights).enumerate() {
            let entry = net.entry(row.data()).or_default();
            *entry = (entry.0 + weight, if weight > 0 { at } else { entry.1.max(at) });
        }
        let keys = self.converted(&batch, self.key.iter().copied())?;
        // What is left of each key: a row, and whether it is new.
        let mut left: HashMap<&[u8], (bool, usize)> = HashMap::new();
        for (weight, at) in net.into_values().filter(|(weight, _)| *weight != 0) {
            let found = (weight > 0, at);
            match left.entry(keys.row(at).data()) {
                Entry::Vacant(entry) => {
                    entry.insert(found);
                }
                Entry::Occupied(mut entry) => {
                    let best = (*entry.get()).max(found);
                    entry.insert(best);
                }
            }
        }
        let mut left: Vec<(bool, usize)> = left.into_values().collect();
        left.sort_unstable_by_key(|(_, at)| *at);
        let weights: Vec<i64> = left.iter().map(|(new, _)| if *new { 1 } else { -1 }).collect();
        let indices = UInt64Array::from_iter_values(left.iter().map(|(_, at)| *at as u64));
        let gone = weights.iter().any(|w| *w < 0);
        let rows = StreamChunk::inserts(batch).take(&indices)?;
        let (rows, _) = rows.into_parts();
        out.chunk(StreamChunk::new(rows, gone.then(|| Int64Array::from(weights))));
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.held.iter().map(StreamChunk::memory_size).sum()
    }
}
