//! One side of a join: its rows in memory, and all of them in its state table, under
//! `virtual node | join key | what is left of the stream key`.

use std::ops::{Bound, Range};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{concat_batches, take, take_record_batch};
use arrow::datatypes::{Int64Type, SchemaRef};

use super::groups::{Groups, NONE};
use super::rows::{Needs, Rows};
use crate::common::{Error, Result};
use crate::plan::{HashJoin, JoinKind};
use crate::state::{Batches, KeyRange, StateWriter};
use crate::stream::operator::BuildContext;
use crate::types::{Epoch, Keys, StreamChunk, key, vnode};

pub(super) struct Side {
    /// 0 is the left one.
    pub index: usize,
    on: Vec<usize>,
    /// The columns of the stream key that are not in `on`.
    rest: Vec<usize>,
    /// The columns that come in.
    pub input: SchemaRef,
    pub rows: Rows,
    needs: Needs,
    pub state: StateWriter,
    stored: SchemaRef,
    /// Rows whose number of pairs has changed since it was written.
    changed: Vec<u32>,
}

/// A chunk as its own side has it.
pub(super) struct Arrival {
    pub batch: RecordBatch,
    /// The group of each row; [`NONE`] for one that can have no pair.
    pub groups: Vec<u32>,
    /// Stored keys.
    pub keys: Keys,
    /// The number of each row that came to stay, not linked yet; else [`NONE`].
    pub numbers: Vec<u32>,
}

impl Side {
    pub(super) fn new(join: &HashJoin, index: usize, input: SchemaRef, context: &BuildContext<'_>) -> Result<Self> {
        let left = index == 0;
        let side = join.side(left);
        let matches = join.keeps_matches(left);
        let needs =
            Needs { find: !side.append_only, keys: !side.append_only || matches || side.expiry.is_some(), matches };
        let stored = join.state_schema(left, &input);
        Ok(Self {
            index,
            on: side.on.clone(),
            rest: side.key.iter().copied().filter(|c| !side.on.contains(c)).collect(),
            rows: Rows::new(Arc::clone(&input), needs),
            needs,
            state: context.store.table(side.state, Arc::clone(&stored))?.writer(),
            input,
            stored,
            changed: Vec::new(),
        })
    }

    /// The rows of a chunk under the side's own schema.
    pub(super) fn conform(&self, chunk: &StreamChunk) -> Result<RecordBatch> {
        with_schema(&self.input, chunk.batch().columns().to_vec(), chunk.num_rows())
    }

    pub(super) fn join_keys(&self, batch: &RecordBatch) -> Result<Keys> {
        key::encode(&pick(batch, &self.on), batch.num_rows())
    }

    /// Which rows have a null in their join key; `None` when no row has.
    pub(super) fn null_keys(&self, batch: &RecordBatch) -> Option<NullBuffer> {
        let nulls = self.on.iter().filter_map(|c| batch.column(*c).logical_nulls());
        nulls.fold(None, |all: Option<NullBuffer>, nulls| NullBuffer::union(all.as_ref(), Some(&nulls)))
    }

    pub(super) fn stored_keys(&self, join_keys: &Keys, batch: &RecordBatch) -> Result<Keys> {
        let rest = key::encode(&pick(batch, &self.rest), batch.num_rows())?;
        let bytes = join_keys.value_data().len() + rest.value_data().len() + rest.len();
        let mut keys = BinaryBuilder::with_capacity(rest.len(), bytes);
        let mut key = Vec::with_capacity(64);
        for (join_key, rest) in join_keys.iter().flatten().zip(rest.iter().flatten()) {
            key.clear();
            append_prefix(join_key, &mut key);
            key.extend_from_slice(rest);
            keys.append_value(&key);
        }
        Ok(keys.finish())
    }

    /// Takes the rows of a chunk that have a group in, to be linked one by one.
    pub(super) fn arrive(
        &mut self,
        chunk: &StreamChunk,
        batch: RecordBatch,
        groups: Vec<u32>,
        keys: Keys,
    ) -> Result<Arrival> {
        let rows = batch.num_rows();
        let stays = |row: &u32| groups[*row as usize] != NONE && chunk.weight(*row as usize) > 0;
        let staying: Vec<u32> = (0..rows as u32).filter(stays).collect();
        let mut numbers = vec![NONE; rows];
        if staying.len() == rows {
            let start = self.rows.push(batch.clone(), &keys)?;
            numbers.iter_mut().zip(start..).for_each(|(number, id)| *number = id);
        } else if !staying.is_empty() {
            let at = UInt32Array::from(staying.clone());
            let kept = match self.needs.keys {
                true => take_keys(&keys, &at)?,
                false => keys.slice(0, 0),
            };
            let start = self.rows.push(take_record_batch(&batch, &at)?, &kept)?;
            for (row, id) in staying.iter().zip(start..) {
                numbers[*row as usize] = id;
            }
        }
        Ok(Arrival { batch, groups, keys, numbers })
    }

    /// Writes the rows of a chunk that have a group. Row *i* has `matches[i]` pairs, where that is kept.
    pub(super) fn write(&mut self, arrival: Arrival, chunk: &StreamChunk, matches: Vec<i64>) -> Result<()> {
        let Arrival { batch, groups, keys, .. } = arrival;
        let mut columns = batch.columns().to_vec();
        if self.needs.matches {
            columns.push(Arc::new(Int64Array::from(matches)));
        }
        let mut rows = with_schema(&self.stored, columns, batch.num_rows())?;
        let mut keys = keys;
        let mut weights = chunk.weights().cloned();
        if groups.contains(&NONE) {
            let at: UInt32Array =
                (0..groups.len() as u32).filter(|row| groups[*row as usize] != NONE).map(Some).collect();
            rows = take_record_batch(&rows, &at)?;
            keys = take_keys(&keys, &at)?;
            weights = weights
                .map(|w| Ok::<_, Error>(take(&w, &at, None)?.as_primitive::<Int64Type>().clone()))
                .transpose()?;
        }
        let puts = weights.map(|w| w.values().iter().map(|w| Some(*w > 0)).collect::<BooleanArray>());
        self.state.write(keys, rows, puts)
    }

    /// Row `id` has `by` more pairs; how many it had before.
    pub(super) fn count(&mut self, id: u32, by: i64) -> i64 {
        let before = self.rows.matches(id);
        self.rows.set_matches(id, before + by);
        self.changed.push(id);
        before
    }

    /// Writes the rows whose number of pairs has changed.
    pub(super) fn write_changed(&mut self) -> Result<()> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        changed.retain(|id| self.rows.is_live(*id));
        for ids in changed.chunks(WRITE_ROWS) {
            let (keys, rows) = self.stored_rows(ids)?;
            self.state.write(keys, rows, None)?;
        }
        Ok(())
    }

    /// Removes rows from memory and from the table.
    pub(super) fn remove(&mut self, ids: &[u32], groups: &mut Groups) -> Result<()> {
        for ids in ids.chunks(WRITE_ROWS) {
            let keys = self.rows.gather_keys(&self.rows.places(ids))?;
            self.state.remove(keys);
            for id in ids {
                self.rows.unlink(*id, groups, self.index);
            }
        }
        Ok(())
    }

    fn stored_rows(&self, ids: &[u32]) -> Result<(Keys, RecordBatch)> {
        let places = self.rows.places(ids);
        let mut columns = self.rows.gather_rows(&places)?.columns().to_vec();
        if self.needs.matches {
            columns.push(Arc::new(Int64Array::from_iter_values(ids.iter().map(|id| self.rows.matches(*id)))));
        }
        Ok((self.rows.gather_keys(&places)?, with_schema(&self.stored, columns, ids.len())?))
    }

    /// Uncompressed bytes in the table, as far as it is committed.
    pub(super) fn table_bytes(&self) -> usize {
        self.state.table().stats().bytes as usize
    }

    /// Reads everything of `vnodes` into memory.
    pub(super) fn load_all(&mut self, vnodes: &Range<usize>, groups: &mut Groups) -> Result<()> {
        for (keys, rows) in self.state.scan(&of_vnodes(vnodes), None)? {
            let (batch, matches) = self.split(&rows)?;
            let join_keys = self.join_keys(&batch)?;
            let start = self.rows.push(batch, &keys)?;
            for (row, join_key) in join_keys.iter().flatten().enumerate() {
                let group = groups.get_or_insert(join_key);
                self.restore(start + row as u32, group, groups, matches.as_ref().map(|m| m.value(row)));
            }
        }
        Ok(())
    }

    /// Rows only come.
    pub(super) fn grows(&self) -> bool {
        !self.needs.find
    }

    /// Reads the rows of these groups into memory; none is there but for those of the open epoch.
    pub(super) fn load(&mut self, fresh: &[u32], groups: &mut Groups) -> Result<()> {
        let mut found: Batches = Vec::new();
        let mut of: Vec<u32> = Vec::new();
        let mut prefix = Vec::new();
        for group in fresh {
            prefix.clear();
            append_prefix(groups.key(*group), &mut prefix);
            for (keys, rows) in self.state.table().scan(Epoch(u64::MAX), &KeyRange::prefix(&prefix), None)? {
                of.resize(of.len() + keys.len(), *group);
                found.push((keys, rows));
            }
        }
        if of.is_empty() {
            return Ok(());
        }
        let rows = concat_batches(&self.stored, found.iter().map(|(_, rows)| rows))?;
        let keys: Vec<&dyn Array> = found.iter().map(|(keys, _)| keys as &dyn Array).collect();
        let keys = arrow::compute::concat(&keys)?.as_binary::<i32>().clone();
        let (batch, matches) = self.split(&rows)?;
        let start = self.rows.push(batch, &keys)?;
        for (row, group) in of.iter().enumerate() {
            self.restore(start + row as u32, *group, groups, matches.as_ref().map(|m| m.value(row)));
        }
        Ok(())
    }

    fn restore(&mut self, id: u32, group: u32, groups: &mut Groups, matches: Option<i64>) {
        self.rows.link(id, group, groups, self.index);
        if let Some(matches) = matches {
            self.rows.set_matches(id, matches);
        }
    }

    /// The columns that came in, and the numbers of pairs.
    fn split(&self, rows: &RecordBatch) -> Result<(RecordBatch, Option<Int64Array>)> {
        let width = self.input.fields().len();
        let columns = rows.columns().get(..width).map(<[ArrayRef]>::to_vec);
        let columns = columns.ok_or_else(|| Error::corrupted("a row of a join's state"))?;
        let matches = self.needs.matches.then(|| rows.columns().last().and_then(|c| c.as_primitive_opt::<Int64Type>()));
        let matches =
            matches.map(|m| m.cloned().ok_or_else(|| Error::corrupted("a row of a join's state"))).transpose()?;
        Ok((with_schema(&self.input, columns, rows.num_rows())?, matches))
    }

    pub(super) fn seal(&mut self, epoch: Epoch) {
        self.state.seal(epoch);
    }

    pub(super) fn open_bytes(&self) -> usize {
        self.state.open_bytes()
    }
}

/// Rows that are written at once.
const WRITE_ROWS: usize = 8192;

/// What the stored keys of one join key begin with.
fn append_prefix(join_key: &[u8], to: &mut Vec<u8>) {
    to.push(vnode(join_key));
    to.extend_from_slice(join_key);
}

/// All stored keys of these virtual nodes.
pub(super) fn of_vnodes(vnodes: &Range<usize>) -> KeyRange {
    let end = u8::try_from(vnodes.end).map_or(Bound::Unbounded, |end| Bound::Excluded(vec![end]));
    KeyRange { start: Bound::Included(vec![vnodes.start as u8]), end }
}

/// Whether the rule of the join keeps rows with null keys.
pub(super) fn keeps_nulls(join: &HashJoin) -> bool {
    join.null_equal || join.kind == JoinKind::NotIn
}

fn pick(batch: &RecordBatch, columns: &[usize]) -> Vec<ArrayRef> {
    columns.iter().map(|c| Arc::clone(batch.column(*c))).collect()
}

pub(super) fn take_keys(keys: &Keys, at: &UInt32Array) -> Result<Keys> {
    Ok(take(keys, at, None)?.as_binary::<i32>().clone())
}

pub(super) fn with_schema(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
