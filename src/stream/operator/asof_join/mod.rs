//! AsofJoin: each left row with the nearest right row of its key, kept up as both sides change.
//!
//! ```text
//! port 0 --> left state   [key | order, away from the right rows | stream key] -> row, the right row that it has met
//! port 1 --> right state  [key | order, the nearest first        | stream key] -> row
//!                |
//!            barrier: which left rows does a changed right row concern? --Met--> what each meets now --> changes out
//! ```
//! Both orders run so that what is wanted comes next in a scan: of a left row, the right rows that it may meet, the
//! nearest first; of a right row, the left rows that may meet it. The nearest rows rise with the left rows, so those that
//! a new right row concerns end where a left row has met a nearer one, and those of one that went are the ones that have
//! met it. A change costs the rows whose answer changes.
//!
//! Before the barrier rows are only written. What was before is read from what is sealed.

mod concerned;
mod nearest;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::SchemaRef;

pub(super) use self::nearest::{Nearest, Place};
use super::row_order::RowOrder;
use super::{BuildContext, Output, StreamOperator};
use crate::common::{Error, Result};
use crate::plan::{self, Node};
use crate::state::{Lookup, StateWriter};
use crate::stream::message::{Barrier, Watermark};
use crate::types::{Epoch, Keys, StreamChunk, key};

pub struct AsofJoin {
    name: String,
    outer: bool,
    strict: bool,
    left: Side,
    right: Side,
    /// Output columns, of the left side's followed by the right's.
    columns: Vec<usize>,
    output: SchemaRef,
}

/// One input, and the keys of its rows that the open epoch has touched.
struct Side {
    rows: RowOrder,
    /// The key's columns and the one that orders.
    matched: Vec<usize>,
    order: (usize, SortOptions),
    input: SchemaRef,
    state: StateWriter,
    touched: Vec<Keys>,
}

/// Sealed rows of some keys and what they are now.
struct Change {
    keys: Keys,
    before: Lookup,
    after: Lookup,
}

impl AsofJoin {
    pub(super) fn new(name: String, join: &plan::AsofJoin, node: &Node, context: &BuildContext<'_>) -> Result<Self> {
        let [left, right] = node.inputs.as_slice() else {
            return Err(Error::internal(format!("{name} has {} inputs", node.inputs.len())));
        };
        let left_state = context.store.table(join.left_state, plan::AsofJoin::left_schema(&left.schema))?.writer();
        let right_state = context.store.table(join.right_state, Arc::clone(&right.schema))?.writer();
        Ok(Self {
            name,
            outer: join.outer,
            strict: join.strict,
            left: Side::new(&join.left, &left.schema, left_state, context)?,
            right: Side::new(&join.right, &right.schema, right_state, context)?,
            columns: join.output.clone(),
            output: Arc::clone(&node.schema),
        })
    }

    fn left_chunk(&mut self, chunk: &StreamChunk) -> Result<()> {
        // A left row without a key meets nothing: an inner join has no use for it.
        let chunk = if self.outer { chunk.clone() } else { self.left.with_keys(chunk)? };
        let keys = self.left.rows.keys(chunk.batch())?.keys;
        let met: ArrayRef = Arc::new(BinaryArray::new_null(chunk.num_rows()));
        let columns = chunk.batch().columns().iter().cloned().chain([met]).collect();
        let rows = batch(&self.left.state.table().schema(), columns, chunk.num_rows())?;
        self.left.write(keys, rows, &chunk)
    }

    fn right_chunk(&mut self, chunk: &StreamChunk) -> Result<()> {
        let chunk = self.right.with_keys(chunk)?;
        let keys = self.right.rows.keys(chunk.batch())?.keys;
        let rows = batch(&self.right.input, chunk.batch().columns().to_vec(), chunk.num_rows())?;
        self.right.write(keys, rows, &chunk)
    }

    fn flush(&mut self, out: &mut Output) -> Result<()> {
        let (left, right) = (self.left.take_touched(), self.right.take_touched());
        if left.is_empty() && right.is_empty() {
            return Ok(());
        }
        let right = Change::read(&self.right.state, right)?;
        let concerned = self.concerned(&right, left)?;
        let left = Change::read(&self.left.state, concerned)?;
        let met = self.met(&left)?;
        self.emit(&left, &met, &right, out)
    }

    /// The right row that each left row meets now, as a part of its stored key; `None` too for one that is gone.
    fn met(&self, left: &Change) -> Result<Vec<Option<Box<[u8]>>>> {
        let queries = self.queries(&left.after.rows)?;
        let mut met = vec![None; left.keys.len()];
        let mut nearest = Nearest::new(&self.right.state);
        // Backwards, so that in each key what is looked for comes later and later.
        for (at, met) in met.iter_mut().enumerate().rev() {
            if let Some(Some(place)) = left.after.index[at].map(|row| &queries[row as usize]) {
                *met = nearest.find(place)?.map(Box::from);
            }
        }
        Ok(met)
    }

    /// From where on the right rows stand that each left row may meet; none for one with a null in its key.
    fn queries(&self, rows: &RecordBatch) -> Result<Vec<Option<Place>>> {
        self.left.places(rows, (self.left.order.0, self.right.order.1), self.strict)
    }

    /// Sends on what each left row gives now instead of what it gave, and keeps what it has met.
    fn emit(&mut self, left: &Change, met: &[Option<Box<[u8]>>], right: &Change, out: &mut Output) -> Result<()> {
        let renewed = right.renewed();
        let prefixes = self.left.rows.partitions(&left.after.rows)?;
        let old_met = left.before.rows.columns().last().and_then(|c| c.as_binary_opt::<i32>());
        let old_met = old_met.ok_or_else(|| Error::corrupted("the left rows of an ASOF join"))?;
        let old_prefixes = self.left.rows.partitions(&left.before.rows)?;
        let (mut gone, mut come) = (Pairs::default(), Pairs::default());
        let mut kept: Vec<(u32, Option<&[u8]>)> = Vec::new();
        for at in 0..left.keys.len() {
            let old = left.before.index[at].map(|row| {
                let met = old_met.is_valid(row as usize).then(|| old_met.value(row as usize));
                (row, met, met.map(|met| [old_prefixes.value(row as usize), met].concat()))
            });
            let new = left.after.index[at].map(|row| {
                let met = met[at].as_deref();
                (row, met, met.map(|met| [prefixes.value(row as usize), met].concat()))
            });
            let same_row = match (&old, &new) {
                (Some((old, ..)), Some((new, ..))) => equal(left, *old, *new, self.left.input.fields().len()),
                _ => false,
            };
            let same = same_row
                && match (&old, &new) {
                    (Some((_, _, old)), Some((_, _, new))) => {
                        old == new && old.as_ref().is_none_or(|met| renewed.binary_search(&met.as_slice()).is_err())
                    }
                    _ => false,
                };
            // A row that was written in this epoch has forgotten what it has met.
            if let Some((row, met, _)) = &new
                && (!same || met.is_some())
            {
                kept.push((*row, *met));
            }
            if same {
                continue;
            }
            if let Some((row, _, met)) = old.filter(|(_, met, _)| self.outer || met.is_some()) {
                gone.push(row, met);
            }
            if let Some((row, _, met)) = new.filter(|(_, met, _)| self.outer || met.is_some()) {
                come.push(row, met);
            }
        }
        let sealed = |keys: &Keys| self.right.state.table().get(Epoch(u64::MAX), keys);
        let gone = gone.rows(self, &left.before.rows, sealed)?;
        let come = come.rows(self, &left.after.rows, |keys| self.right.state.get(keys))?;
        let rows = gone.num_rows();
        out.chunk(StreamChunk::new(gone, Some(Int64Array::from(vec![-1; rows]))));
        out.chunk(StreamChunk::inserts(come));
        self.keep(&left.after.rows, &kept)
    }

    /// Writes left rows with what they have met.
    fn keep(&mut self, rows: &RecordBatch, kept: &[(u32, Option<&[u8]>)]) -> Result<()> {
        if kept.is_empty() {
            return Ok(());
        }
        let at = UInt32Array::from_iter_values(kept.iter().map(|(row, _)| *row));
        let met: ArrayRef = Arc::new(BinaryArray::from_iter(kept.iter().map(|(_, met)| *met)));
        let width = self.left.input.fields().len();
        let mut columns =
            rows.columns().iter().take(width).map(|c| Ok(take(c, &at, None)?)).collect::<Result<Vec<_>>>()?;
        columns.push(met);
        let rows = batch(&self.left.state.table().schema(), columns, kept.len())?;
        let keys = self.left.rows.keys(&rows)?.keys;
        self.left.state.write(keys, rows, None)
    }
}

impl Side {
    fn new(rows: &plan::RowOrder, input: &SchemaRef, state: StateWriter, context: &BuildContext<'_>) -> Result<Self> {
        let order = rows.order.first().ok_or_else(|| Error::internal("an ASOF join without an order"))?;
        Ok(Self {
            matched: rows.partition.iter().copied().chain([order.column]).collect(),
            order: (order.column, order.options()),
            rows: RowOrder::placed_by(rows, rows.partition.clone(), context),
            input: Arc::clone(input),
            state,
            touched: Vec::new(),
        })
    }

    /// The rows of a chunk that have a key and an order.
    fn with_keys(&self, chunk: &StreamChunk) -> Result<StreamChunk> {
        match valid(chunk.batch(), &self.matched) {
            Some(valid) => chunk.filter(&valid),
            None => Ok(chunk.clone()),
        }
    }

    fn write(&mut self, keys: Keys, rows: RecordBatch, chunk: &StreamChunk) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        self.touched.push(keys.clone());
        let puts = chunk.weights().map(|w| w.values().iter().map(|w| Some(*w > 0)).collect::<BooleanArray>());
        self.state.write(keys, rows, puts)
    }

    /// The keys that the epoch has touched, each once, in order.
    fn take_touched(&mut self) -> Keys {
        let touched = std::mem::take(&mut self.touched);
        let mut keys: Vec<&[u8]> = touched.iter().flat_map(|keys| keys.iter().flatten()).collect();
        keys.sort_unstable();
        keys.dedup();
        Keys::from_iter_values(keys)
    }

    /// Where each row stands in the other side's order: its column, in the other's direction.
    fn places(&self, rows: &RecordBatch, order: (usize, SortOptions), strict: bool) -> Result<Vec<Option<Place>>> {
        let prefixes = self.rows.partitions(rows)?;
        let orders = key::encode_ordered(&[(Arc::clone(rows.column(order.0)), order.1)], rows.num_rows())?;
        let valid = valid(rows, &self.matched);
        let is_valid = |row: usize| valid.as_ref().is_none_or(|v| v.value(row));
        let place = |row: usize| is_valid(row).then(|| Place::new(prefixes.value(row), orders.value(row), strict));
        Ok((0..rows.num_rows()).map(place).collect())
    }
}

impl Change {
    fn read(state: &StateWriter, keys: Keys) -> Result<Self> {
        let before = state.table().get(Epoch(u64::MAX), &keys)?;
        let after = state.get(&keys)?;
        Ok(Self { keys, before, after })
    }

    /// The keys whose rows are there before and after, but not the same; in order.
    fn renewed(&self) -> Vec<&[u8]> {
        let width = self.after.rows.num_columns();
        let keys = (0..self.keys.len()).filter(|at| match (self.before.index[*at], self.after.index[*at]) {
            (Some(old), Some(new)) => !equal(self, old, new, width),
            _ => false,
        });
        keys.map(|at| self.keys.value(at)).collect()
    }
}

/// Left rows, and the stored keys of the right rows beside them.
#[derive(Default)]
struct Pairs {
    left: Vec<u32>,
    right: Vec<Option<Vec<u8>>>,
}

impl Pairs {
    fn push(&mut self, left: u32, right: Option<Vec<u8>>) {
        self.left.push(left);
        self.right.push(right);
    }

    /// The output's columns of these pairs.
    fn rows(self, join: &AsofJoin, left: &RecordBatch, get: impl Fn(&Keys) -> Result<Lookup>) -> Result<RecordBatch> {
        let found = get(&Keys::from_iter_values(self.right.iter().flatten()))?;
        let mut index = found.index.iter();
        let mut right_at = Vec::with_capacity(self.right.len());
        for key in &self.right {
            right_at.push(match key {
                Some(_) => {
                    let row = index.next().copied().flatten();
                    Some(
                        row.ok_or_else(|| {
                            Error::internal("the right row that a left row has met is not in the state")
                        })?,
                    )
                }
                None => None,
            });
        }
        let (left_at, right_at) = (UInt32Array::from(self.left), UInt32Array::from(right_at));
        let width = join.left.input.fields().len();
        let columns = join.columns.iter().map(|column| match column.checked_sub(width) {
            None => Ok(take(left.column(*column), &left_at, None)?),
            Some(column) => Ok(take(found.rows.column(column), &right_at, None)?),
        });
        batch(&join.output, columns.collect::<Result<_>>()?, left_at.len())
    }
}

/// Whether two rows of a change have the same first `width` columns.
fn equal(change: &Change, old: u32, new: u32, width: usize) -> bool {
    let columns = change.before.rows.columns().iter().zip(change.after.rows.columns()).take(width);
    columns.into_iter().all(|(a, b)| a.slice(old as usize, 1) == b.slice(new as usize, 1))
}

/// Which rows have no null in these columns; `None` when none has.
fn valid(rows: &RecordBatch, columns: &[usize]) -> Option<BooleanArray> {
    let nulls = columns.iter().filter_map(|c| rows.column(*c).logical_nulls());
    let nulls = nulls.reduce(|a, b| arrow::buffer::NullBuffer::new(a.inner() & b.inner()))?;
    (nulls.null_count() > 0).then(|| BooleanArray::new(nulls.into_inner(), None))
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

impl StreamOperator for AsofJoin {
    fn on_chunk(&mut self, port: usize, chunk: StreamChunk, _out: &mut Output) -> Result<()> {
        match port {
            0 => self.left_chunk(&chunk),
            _ => self.right_chunk(&chunk),
        }
    }

    fn on_watermark(&mut self, _port: usize, _watermark: Watermark, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, out: &mut Output) -> Result<()> {
        self.flush(out).map_err(|e| e.context(self.name.clone()))
    }

    fn seal(&mut self, epoch: Epoch) -> Result<()> {
        self.left.state.seal(epoch);
        self.right.state.seal(epoch);
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        let touched = |side: &Side| side.touched.iter().map(|keys| keys.get_array_memory_size()).sum::<usize>();
        let of = |side: &Side| touched(side) + side.state.open_bytes();
        of(&self.left) + of(&self.right)
    }
}
