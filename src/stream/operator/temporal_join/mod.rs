//! TemporalJoin: each left row with what a table of another job has for it at the end of the epoch in which it comes.
//!
//! ```text
//! port 0 --> rows of the open epoch --barrier n--> look up in the table as of n --> out
//! port 1 --> barriers of the table's job only: behind barrier n the table's epoch n is sealed
//!                                                        |
//!                     state, where the left side retracts: the rows that came out, by left key
//! ```
//! Nothing of the table is kept here, and its changes change nothing that has come out. An answer is committed with the
//! epoch that gave it: no crash takes it back afterwards.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat_batches, take, take_record_batch};
use arrow::datatypes::SchemaRef;

use super::row_order::{HeldWatermarks, RowOrder};
use super::{BuildContext, Output, StreamOperator};
use crate::common::{Error, Result};
use crate::plan::{self, Node};
use crate::state::{KeyRange, StateWriter, Table, UncommittedShare};
use crate::stream::message::{Barrier, Watermark};
use crate::types::{Epoch, Keys, StreamChunk, key};

pub struct TemporalJoin {
    name: String,
    plan: plan::TemporalJoin,
    table: Arc<Table>,
    input: SchemaRef,
    output: SchemaRef,
    /// Rows of the open epoch.
    open: Vec<StreamChunk>,
    open_bytes: usize,
    /// Rows that take more are looked up in the last epoch that is known.
    open_share: UncommittedShare,
    last: Option<Epoch>,
    held: HeldWatermarks,
    sent: Option<Sent>,
}

/// What has come out, to be retracted.
struct Sent {
    left_key: Vec<usize>,
    rows: RowOrder,
    state: StateWriter,
}

/// Pairs of a left row and a row of the table, or none.
#[derive(Default)]
struct Pairs {
    left: Vec<u32>,
    right: Vec<Option<u32>>,
}

impl TemporalJoin {
    pub(super) fn new(
        name: String,
        plan: &plan::TemporalJoin,
        node: &Node,
        context: &BuildContext<'_>,
    ) -> Result<Self> {
        let sent = match &plan.sent {
            Some(sent) => Some(Sent {
                left_key: sent.left_key.clone(),
                rows: RowOrder::placed_by(&sent.rows, sent.rows.partition.clone(), context),
                state: context.store.table(sent.state, Arc::clone(&node.schema))?.writer(),
            }),
            None => None,
        };
        Ok(Self {
            name,
            table: context.store.table(plan.table, Arc::clone(&plan.full_schema))?,
            input: Arc::clone(&context.input),
            output: Arc::clone(&node.schema),
            open: Vec::new(),
            open_bytes: 0,
            open_share: context.store.uncommitted().share(),
            last: None,
            held: HeldWatermarks::new(&node.properties.watermark_columns),
            sent,
            plan: plan.clone(),
        })
    }

    /// Answers the rows of the open epoch from the table as of `epoch`.
    fn flush(&mut self, epoch: Epoch, out: &mut Output) -> Result<()> {
        let open = std::mem::take(&mut self.open);
        self.open_bytes = 0;
        self.open_share.set(0);
        if open.is_empty() {
            return Ok(());
        }
        if self.sent.is_none() {
            for chunk in open {
                out.chunk(StreamChunk::inserts(self.look_up(epoch, chunk.batch())?));
            }
            return Ok(());
        }
        let rows = concat_batches(&self.input, open.iter().map(StreamChunk::batch))?;
        let weights: Vec<i64> = open.iter().flat_map(|c| (0..c.num_rows()).map(|row| c.weight(row))).collect();
        self.change(epoch, &rows, &weights, out)
    }

    /// Retracts what came out for the left rows that went, and answers those that came.
    fn change(&mut self, epoch: Epoch, rows: &RecordBatch, weights: &[i64], out: &mut Output) -> Result<()> {
        let Some(sent) = &self.sent else { return Ok(()) };
        let left_keys = key::encode(&pick(rows, &sent.left_key), rows.num_rows())?;
        // By key: the row was there before, and the last that is there now.
        let mut keys: HashMap<&[u8], (bool, Option<u32>)> = HashMap::new();
        for (row, left_key) in left_keys.iter().flatten().enumerate() {
            let came = weights[row] > 0;
            let entry = keys.entry(left_key).or_insert((!came, None));
            entry.1 = came.then_some(row as u32);
        }
        let mut gone: Vec<&[u8]> = keys.iter().filter(|(_, (was, _))| *was).map(|(key, _)| *key).collect();
        gone.sort_unstable();
        let mut come: Vec<u32> = keys.values().filter_map(|(_, row)| *row).collect();
        come.sort_unstable();
        let (keys, retracted) = self.sent_for(sent, &Keys::from_iter_values(gone))?;
        let come = take_record_batch(rows, &UInt32Array::from(come))?;
        let answered = self.look_up(epoch, &come)?;
        let weights = Int64Array::from(vec![-1; retracted.num_rows()]);
        out.chunk(StreamChunk::new(retracted, Some(weights)));
        if let Some(sent) = &mut self.sent {
            sent.state.remove(keys);
            sent.state.write(sent.rows.keys(&answered)?.keys, answered.clone(), None)?;
        }
        out.chunk(StreamChunk::inserts(answered));
        Ok(())
    }

    /// The rows that came out for these left keys, with their stored keys.
    fn sent_for(&self, sent: &Sent, left_keys: &Keys) -> Result<(Keys, RecordBatch)> {
        let none = Keys::from_iter_values(left_keys.iter().flatten().map(|_| [0u8; 0]));
        let stored = key::placed(&none, left_keys, left_keys);
        if self.plan.one_row {
            let found = sent.state.get(&stored)?;
            let hits: Vec<u32> = found.index.iter().flatten().copied().collect();
            let keys = stored.iter().flatten().zip(&found.index).filter(|(_, hit)| hit.is_some());
            let keys = Keys::from_iter_values(keys.map(|(key, _)| key));
            return Ok((keys, take_record_batch(&found.rows, &UInt32Array::from(hits))?));
        }
        let mut found = Vec::new();
        for left_key in stored.iter().flatten() {
            found.extend(sent.state.scan(&KeyRange::prefix(left_key), None)?);
        }
        let keys: Vec<&[u8]> = found.iter().flat_map(|(keys, _)| keys.iter().flatten()).collect();
        Ok((Keys::from_iter_values(keys), concat_batches(&self.output, found.iter().map(|(_, rows)| rows))?))
    }

    /// The rows with what the table has for them as of `epoch`.
    fn look_up(&self, epoch: Epoch, rows: &RecordBatch) -> Result<RecordBatch> {
        let on = pick(rows, &self.plan.on);
        let keys = key::encode(&on, rows.num_rows())?;
        let nulls: Vec<_> = on.iter().filter_map(|c| c.logical_nulls()).collect();
        let is_null = |row: usize| nulls.iter().any(|nulls| nulls.is_null(row));
        let (pairs, found) = match self.plan.one_row {
            true => self.get(epoch, &keys, is_null)?,
            false => self.scan(epoch, &keys, is_null)?,
        };
        let (left_at, right_at) = (UInt32Array::from(pairs.left), UInt32Array::from(pairs.right));
        let width = rows.num_columns();
        let columns = self.plan.output.iter().map(|column| match column.checked_sub(width) {
            None => Ok(take(rows.column(*column), &left_at, None)?),
            Some(column) => {
                let column =
                    self.plan.right.get(column).ok_or_else(|| Error::internal("a column that is not there"))?;
                Ok(take(found.column(*column), &right_at, None)?)
            }
        });
        let options = RecordBatchOptions::new().with_row_count(Some(left_at.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.output), columns.collect::<Result<_>>()?, &options)?)
    }

    /// By the table's whole key: a row, or none.
    fn get(&self, epoch: Epoch, keys: &Keys, is_null: impl Fn(usize) -> bool) -> Result<(Pairs, RecordBatch)> {
        let found = self.table.get(epoch, keys)?;
        let mut pairs = Pairs::default();
        for (row, hit) in found.index.iter().enumerate() {
            pairs.push(row as u32, hit.filter(|_| !is_null(row)), self.plan.outer);
        }
        Ok((pairs, found.rows))
    }

    /// By the first columns of the table's key: any number of rows.
    fn scan(&self, epoch: Epoch, keys: &Keys, is_null: impl Fn(usize) -> bool) -> Result<(Pairs, RecordBatch)> {
        let mut pairs = Pairs::default();
        let mut found: Vec<RecordBatch> = Vec::new();
        let mut rows = 0u32;
        let mut known: HashMap<&[u8], std::ops::Range<u32>> = HashMap::new();
        for (row, key) in keys.iter().flatten().enumerate() {
            let hits = match known.get(key) {
                _ if is_null(row) => 0..0,
                Some(hits) => hits.clone(),
                None => {
                    let start = rows;
                    for (keys, batch) in self.table.scan(epoch, &KeyRange::prefix(key), None)? {
                        rows += keys.len() as u32;
                        found.push(batch);
                    }
                    known.insert(key, start..rows);
                    start..rows
                }
            };
            if hits.is_empty() {
                pairs.push(row as u32, None, self.plan.outer);
            }
            hits.for_each(|hit| pairs.push(row as u32, Some(hit), self.plan.outer));
        }
        Ok((pairs, concat_batches(&self.table.schema(), found.iter())?))
    }
}

impl Pairs {
    fn push(&mut self, left: u32, right: Option<u32>, outer: bool) {
        if outer || right.is_some() {
            self.left.push(left);
            self.right.push(right);
        }
    }
}

fn pick(batch: &RecordBatch, columns: &[usize]) -> Vec<ArrayRef> {
    columns.iter().map(|c| Arc::clone(batch.column(*c))).collect()
}

impl StreamOperator for TemporalJoin {
    fn on_chunk(&mut self, port: usize, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        if port > 0 {
            return Ok(());
        }
        self.open_bytes += chunk.memory_size();
        self.open_share.set(self.open_bytes);
        self.open.push(chunk);
        match self.last.filter(|_| self.open_share.is_over()) {
            Some(epoch) => self.flush(epoch, out),
            None => Ok(()),
        }
    }

    fn on_watermark(&mut self, port: usize, watermark: Watermark, _out: &mut Output) -> Result<()> {
        if port == 0 {
            self.held.hear(watermark);
        }
        Ok(())
    }

    fn on_barrier(&mut self, barrier: &Barrier, out: &mut Output) -> Result<()> {
        self.flush(barrier.epoch, out).map_err(|e| e.context(self.name.clone()))?;
        self.last = Some(barrier.epoch);
        self.held.send(out);
        Ok(())
    }

    fn seal(&mut self, epoch: Epoch) -> Result<()> {
        if let Some(sent) = &mut self.sent {
            sent.state.seal(epoch);
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.open_bytes + self.sent.as_ref().map_or(0, |sent| sent.state.open_bytes())
    }
}
