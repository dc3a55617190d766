//! Recursive: the least result that holds the rows of port 0 and all that port 1 makes of its own rows.
//!
//! ```text
//! port 0, port 1 --> how often each row is made --barrier--> which rows are there --> feedback --> … --> port 1
//!                                                                  |      (round by round, until nothing changes)
//!                                                                  +--> out, state: what the epoch changed
//! ```
//! UNION ALL: a row is there as often as it is made, so each change of that number goes round, up or down.
//!
//! UNION: rows of a cycle make each other, so that a count says little when one is lost. Whatever lost one of
//! the ways in which it is made is taken out first, with all that follows from it; then what is still made comes back
//! (delete and rederive: Gupta, Mumick and Subrahmanian 1993). A new row costs what follows from it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, SchemaRef};

use super::{BuildContext, Output, StreamOperator};
use crate::common::{Error, ErrorKind, Result};
use crate::plan::{self, Node};
use crate::state::StateWriter;
use crate::stream::message::{Barrier, Watermark};
use crate::types::{Epoch, Keys, StreamChunk, key};

/// A query that goes round more often than that in one epoch has no end.
const MAX_ROUNDS: usize = 100_000;
/// What a row of the open epoch takes beside its columns.
const TOUCHED_BYTES: usize = 160;

pub struct Recursive {
    name: String,
    distinct: bool,
    visible: usize,
    rows: SchemaRef,
    output: SchemaRef,
    state: StateWriter,
    epoch: Open,
    /// Bytes that the rows of one epoch may take.
    limit: usize,
}

/// What the open epoch has changed.
#[derive(Default)]
struct Open {
    batches: Vec<RecordBatch>,
    bytes: usize,
    touched: Vec<Touched>,
    /// By the row's key: where it is among the touched.
    known: HashMap<Box<[u8]>, usize>,
    /// Rows whose count has changed since they were last looked at.
    pending: Vec<usize>,
    /// What lost a way to be made is out: now rows come back.
    deriving: bool,
    rounds: usize,
}

struct Touched {
    /// Batch and row.
    at: (usize, usize),
    /// How often it was made before the epoch, and now.
    before: i64,
    count: i64,
    /// Copies that are in the work table.
    there: i64,
    /// A way in which it was made has gone.
    lost: bool,
    pending: bool,
}

/// A row, its copy's number, and a weight.
type Change = (usize, i64, i64);

impl Recursive {
    pub(super) fn new(name: String, op: &plan::Recursive, node: &Node, context: &BuildContext<'_>) -> Result<Self> {
        let rows: Fields = node.schema.fields().iter().take(op.visible).cloned().collect();
        let stored = rows.iter().cloned().chain([Arc::new(Field::new("_count", DataType::Int64, false))]);
        let stored = Arc::new(Schema::new(stored.collect::<Fields>()));
        Ok(Self {
            name,
            distinct: op.distinct,
            visible: op.visible,
            rows: Arc::new(Schema::new(rows)),
            output: Arc::clone(&node.schema),
            state: context.store.table(op.state, stored)?.writer(),
            epoch: Open::default(),
            limit: context.store.hot_bytes().limit(),
        })
    }

    fn copies(&self, count: i64) -> i64 {
        if self.distinct { i64::from(count > 0) } else { count.max(0) }
    }

    /// The rows' numbers among the touched; new ones are looked up.
    fn touch(&mut self, batch: RecordBatch, keys: &Keys) -> Result<Vec<usize>> {
        let number = self.epoch.batches.len();
        let mut new = Vec::new();
        let mut numbers = Vec::with_capacity(batch.num_rows());
        for (row, key) in keys.iter().flatten().enumerate() {
            let at = match self.epoch.known.get(key) {
                Some(at) => *at,
                None => {
                    let at = self.epoch.touched.len();
                    self.epoch.known.insert(key.into(), at);
                    let at_row = (number, row);
                    let touched = Touched { at: at_row, before: 0, count: 0, there: 0, lost: false, pending: false };
                    self.epoch.touched.push(touched);
                    new.push(key);
                    at
                }
            };
            numbers.push(at);
        }
        let first = self.epoch.touched.len() - new.len();
        let found = self.state.get(&stored_keys(&Keys::from_iter_values(new)))?;
        for (i, hit) in found.index.iter().enumerate() {
            let Some(hit) = hit else { continue };
            let count = found.rows.column(self.visible).as_primitive::<Int64Type>().value(*hit as usize);
            let there = self.copies(count);
            let touched = &mut self.epoch.touched[first + i];
            (touched.before, touched.count, touched.there) = (count, count, there);
        }
        self.epoch.bytes += batch.get_array_memory_size() + found.index.len() * TOUCHED_BYTES + keys.value_data().len();
        self.epoch.batches.push(batch);
        if self.epoch.bytes > self.limit {
            return Err(self.endless("its rows of one epoch take more than the memory limit"));
        }
        Ok(numbers)
    }

    fn endless(&self, why: &str) -> Error {
        Error::new(
            ErrorKind::ProgramLimitExceeded,
            format!("{}: a recursive query seems to have no end: {why}", self.name),
        )
        .with_hint("bound it: count the steps in a column and stop at a number, or write UNION for UNION ALL")
        .lasting()
    }

    /// Takes out what lost a way to be made, of what is pending.
    fn retract(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for at in std::mem::take(&mut self.epoch.pending) {
            let touched = &mut self.epoch.touched[at];
            touched.pending = false;
            if std::mem::take(&mut touched.lost) && touched.there > 0 {
                touched.there = 0;
                changes.push((at, 0, -1));
            }
        }
        changes
    }

    /// Brings what is there to what is made, of what is pending.
    fn derive(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for at in std::mem::take(&mut self.epoch.pending) {
            let wanted = self.copies(self.epoch.touched[at].count);
            let touched = &mut self.epoch.touched[at];
            (touched.pending, touched.lost) = (false, false);
            changes.extend((touched.there..wanted).map(|copy| (at, copy, 1)));
            changes.extend((wanted..touched.there).rev().map(|copy| (at, copy, -1)));
            touched.there = wanted;
        }
        changes
    }

    /// What goes round next; empty when nothing does.
    fn round(&mut self) -> Vec<Change> {
        if self.distinct && !self.epoch.deriving {
            let gone = self.retract();
            if !gone.is_empty() {
                return gone;
            }
            self.epoch.deriving = true;
            self.epoch.pending = (0..self.epoch.touched.len()).collect();
        }
        self.derive()
    }

    fn chunk(&self, changes: &[Change]) -> Result<StreamChunk> {
        // Of the batches, only those that are needed: there may be one a round.
        let mut needed: Vec<usize> = changes.iter().map(|(at, ..)| self.epoch.touched[*at].at.0).collect();
        needed.sort_unstable();
        needed.dedup();
        let place = |at: usize| {
            let (batch, row) = self.epoch.touched[at].at;
            (needed.binary_search(&batch).unwrap_or_default(), row)
        };
        let batches: Vec<&RecordBatch> = needed.iter().map(|batch| &self.epoch.batches[*batch]).collect();
        let places: Vec<(usize, usize)> = changes.iter().map(|(at, ..)| place(*at)).collect();
        let rows = interleave_record_batch(&batches, &places)?;
        let mut columns = rows.columns().to_vec();
        if !self.distinct {
            columns.push(Arc::new(changes.iter().map(|(_, copy, _)| *copy).collect::<Int64Array>()) as ArrayRef);
        }
        let weights = changes.iter().map(|(.., weight)| *weight).collect::<Int64Array>();
        let options = RecordBatchOptions::new().with_row_count(Some(changes.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &options)?;
        Ok(StreamChunk::new(batch, Some(weights)))
    }

    /// Sends what the epoch has changed, and writes it.
    fn finish(&mut self, out: &mut Output) -> Result<()> {
        let mut changes: Vec<Change> = Vec::new();
        let mut counted: Vec<Change> = Vec::new();
        for (at, touched) in self.epoch.touched.iter().enumerate() {
            let before = self.copies(touched.before);
            changes.extend((touched.there..before).rev().map(|copy| (at, copy, -1)));
            changes.extend((before..touched.there).map(|copy| (at, copy, 1)));
            if touched.count != touched.before {
                counted.push((at, touched.count, 1));
            }
        }
        // A row goes before another comes in its place.
        changes.sort_by_key(|(.., weight)| *weight);
        if !changes.is_empty() {
            out.chunk(self.chunk(&changes)?);
        }
        if !counted.is_empty() {
            let rows = self.chunk(&counted)?.into_parts().0;
            let mut columns = rows.columns().get(..self.visible).unwrap_or_default().to_vec();
            let keys = stored_keys(&key::encode(&columns, rows.num_rows())?);
            columns.push(Arc::new(counted.iter().map(|(_, count, _)| *count).collect::<Int64Array>()));
            let puts = counted.iter().map(|(_, count, _)| Some(*count != 0)).collect::<BooleanArray>();
            let options = RecordBatchOptions::new().with_row_count(Some(counted.len()));
            let schema = self.state.table().schema();
            self.state.write(keys, RecordBatch::try_new_with_options(schema, columns, &options)?, Some(puts))?;
        }
        self.epoch = Open::default();
        Ok(())
    }
}

/// All in one place: one actor has it.
fn stored_keys(keys: &Keys) -> Keys {
    let none = Keys::from_iter_values(keys.iter().map(|_| [0u8; 0]));
    key::placed(&none, keys, keys)
}

impl StreamOperator for Recursive {
    fn on_chunk(&mut self, _port: usize, chunk: StreamChunk, _out: &mut Output) -> Result<()> {
        let columns = chunk.batch().columns().get(..self.visible).unwrap_or_default().to_vec();
        let keys = key::encode(&columns, chunk.num_rows())?;
        let options = RecordBatchOptions::new().with_row_count(Some(chunk.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.rows), columns, &options)?;
        let numbers = self.touch(batch, &keys)?;
        for (row, at) in numbers.into_iter().enumerate() {
            let touched = &mut self.epoch.touched[at];
            touched.count += chunk.weight(row);
            touched.lost |= chunk.weight(row) < 0;
            if !std::mem::replace(&mut touched.pending, true) {
                self.epoch.pending.push(at);
            }
        }
        Ok(())
    }

    fn on_watermark(&mut self, _port: usize, _watermark: Watermark, _out: &mut Output) -> Result<()> {
        // What follows from a row may have any time.
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, out: &mut Output) -> Result<()> {
        let changes = self.round();
        if changes.is_empty() {
            return self.finish(out);
        }
        self.epoch.rounds += 1;
        if self.epoch.rounds > MAX_ROUNDS {
            return Err(self.endless(&format!("it went round {MAX_ROUNDS} times")));
        }
        out.feedback = Some(self.chunk(&changes)?);
        Ok(())
    }

    fn seal(&mut self, epoch: Epoch) -> Result<()> {
        self.state.seal(epoch);
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.epoch.bytes + self.state.open_bytes()
    }
}
