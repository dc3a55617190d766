//! Changelog: every change of the input as a row that stays, with what it was and an id.
//!
//! ```text
//! + 1 a        --> 1 a  1  id      insert
//! - 1 a, + 1 b --> 1 a  4  id      the old row of an update
//!                  1 b  3  id      and the new one
//! - 1 b        --> 1 b  2  id      delete
//! ```
//! A retraction waits for a row of the same key until the barrier: an update is one however its halves are cut into
//! chunks, and whatever stands between them. What waits alone is a deletion. The
//! ids of a key's changes rise.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int16Array, Int64Array, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;

use super::numbers::{NODE_BITS, Numbers};
use super::{BuildContext, Output, StreamOperator};
use crate::common::{Error, ErrorKind, Result};
use crate::plan;
use crate::stream::message::{Barrier, Watermark};
use crate::types::{Epoch, StreamChunk, key};

const INSERT: i16 = 1;
const DELETE: i16 = 2;
const UPDATE_INSERT: i16 = 3;
const UPDATE_DELETE: i16 = 4;

/// A row of a batch: which of the held ones, and where.
type Place = (usize, usize);

pub struct Changelog {
    visible: usize,
    key: Vec<usize>,
    append_only: bool,
    numbers: Numbers,
    output: SchemaRef,
    /// The batches of the epoch that retractions wait in.
    held: Vec<RecordBatch>,
    /// By key: the retraction that came last.
    waiting: HashMap<Box<[u8]>, Place>,
}

impl Changelog {
    pub(super) fn new(op: &plan::Changelog, output: &SchemaRef, context: &BuildContext<'_>) -> Result<Self> {
        Ok(Self {
            visible: op.visible,
            key: op.key.clone(),
            append_only: op.append_only,
            numbers: Numbers::new(op.state, context)?,
            output: Arc::clone(output),
            held: Vec::new(),
            waiting: HashMap::new(),
        })
    }

    /// Pairs the changes with what waits; the last batch held is theirs.
    fn paired(&mut self, chunk: &StreamChunk) -> Result<Vec<(Place, i16)>> {
        let columns: Vec<ArrayRef> = self.key.iter().map(|c| Arc::clone(chunk.column(*c))).collect();
        let keys = key::encode(&columns, chunk.num_rows())?;
        let batch = self.held.len() - 1;
        let mut changes = Vec::with_capacity(chunk.num_rows());
        for row in 0..chunk.num_rows() {
            let key = keys.value(row);
            let (at, weight) = ((batch, row), chunk.weight(row));
            if weight == -1 {
                let before = match self.waiting.get_mut(key) {
                    Some(place) => Some(std::mem::replace(place, at)),
                    None => self.waiting.insert(key.into(), at),
                };
                changes.extend(before.map(|place| (place, DELETE)));
                continue;
            }
            let mut inserts = weight;
            if weight > 0
                && let Some(old) = self.waiting.remove(key)
            {
                changes.extend([(old, UPDATE_DELETE), (at, UPDATE_INSERT)]);
                inserts -= 1;
            }
            let op = if weight > 0 { INSERT } else { DELETE };
            changes.extend((0..inserts.unsigned_abs()).map(|_| (at, op)));
        }
        Ok(changes)
    }

    fn send(&mut self, rows: RecordBatch, ops: Int16Array, out: &mut Output) -> Result<()> {
        let ids = (0..rows.num_rows()).map(|_| self.id()).collect::<Result<Vec<_>>>()?;
        let mut columns = rows.columns().get(..self.visible).unwrap_or_default().to_vec();
        columns.extend([Arc::new(ops) as ArrayRef, Arc::new(Int64Array::from(ids))]);
        out.chunk(StreamChunk::inserts(RecordBatch::try_new(Arc::clone(&self.output), columns)?));
        Ok(())
    }

    fn send_places(&mut self, changes: &[(Place, i16)], out: &mut Output) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let places: Vec<Place> = changes.iter().map(|(place, _)| *place).collect();
        let rows = interleave_record_batch(&self.held.iter().collect::<Vec<_>>(), &places)?;
        self.send(rows, changes.iter().map(|(_, op)| *op).collect(), out)
    }

    fn id(&mut self) -> Result<i64> {
        if self.numbers.peek() >> (i64::BITS - 1 - NODE_BITS) != 0 {
            return Err(Error::new(ErrorKind::NumericValueOutOfRange, "a changelog has no more ids").lasting());
        }
        Ok((self.numbers.take() << NODE_BITS) | self.numbers.node())
    }
}

impl StreamOperator for Changelog {
    fn on_chunk(&mut self, _port: usize, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        if chunk.weights().is_none() && self.waiting.is_empty() {
            let ops = Int16Array::from(vec![INSERT; chunk.num_rows()]);
            return self.send(chunk.into_parts().0, ops, out);
        }
        self.held.push(chunk.batch().clone());
        let changes = self.paired(&chunk)?;
        self.send_places(&changes, out)?;
        if self.waiting.is_empty() {
            self.held.clear();
        }
        Ok(())
    }

    fn on_watermark(&mut self, _port: usize, watermark: Watermark, out: &mut Output) -> Result<()> {
        // Of rows that change an old one may come again, below any watermark.
        if self.append_only && watermark.column < self.visible {
            out.watermark(watermark);
        }
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, out: &mut Output) -> Result<()> {
        let mut left: Vec<Place> = self.waiting.drain().map(|(_, place)| place).collect();
        left.sort_unstable();
        let left: Vec<(Place, i16)> = left.into_iter().map(|place| (place, DELETE)).collect();
        self.send_places(&left, out)?;
        self.held.clear();
        self.numbers.on_barrier()
    }

    fn seal(&mut self, epoch: Epoch) -> Result<()> {
        self.numbers.seal(epoch);
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        let held: usize = self.held.iter().map(RecordBatch::get_array_memory_size).sum();
        held + self.waiting.len() * 64 + self.numbers.memory_bytes()
    }
}
