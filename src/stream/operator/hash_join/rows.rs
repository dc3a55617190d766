//! The rows of one side in memory: columnar blocks, and for each row its place in the list of its key.
//!
//! ```text
//! number:   0 ........ 4095 | 4096 ....... | ...      blocks: batches as they came, put together at barriers
//! links:    next, prev of the rows with the same join key
//! by key:   stored key -> number, where rows are retracted
//! ```
//! A row's number is its position over all blocks. It stays until the side is packed anew.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::{concat, concat_batches, interleave, take};
use arrow::datatypes::SchemaRef;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::groups::{Groups, NONE};
use crate::common::{Error, Result};
use crate::types::Keys;

/// Rows of a block that barriers put together.
const BLOCK_ROWS: usize = 1 << 16;
/// Blocks above this are left as they are.
const LARGE_ROWS: usize = BLOCK_ROWS / 2;
/// So many small blocks are put together at a barrier.
const SMALL_BLOCKS: usize = 8;

struct Block {
    start: u32,
    rows: RecordBatch,
    /// Stored keys, where they are needed.
    keys: Option<Keys>,
}

#[derive(Clone, Copy)]
struct Link {
    next: u32,
    prev: u32,
}

pub(super) struct Rows {
    schema: SchemaRef,
    blocks: Vec<Block>,
    links: Vec<Link>,
    /// The group of each row; [`NONE`] for one that is not there (any more).
    groups: Vec<u32>,
    /// How many pairs each row has; empty where that is not kept.
    matches: Option<Vec<i64>>,
    by_key: Option<HashTable<(u64, u32)>>,
    /// Blocks hold the stored keys.
    keyed: bool,
    hasher: DefaultHashBuilder,
    live: usize,
    bytes: usize,
}

/// What is asked of the rows of a side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    /// Rows are retracted: they must be found by their stored key.
    pub find: bool,
    /// Rows are written again or removed: their stored keys must be at hand.
    pub keys: bool,
    /// Pairs are counted.
    pub matches: bool,
}

impl Rows {
    pub(super) fn new(schema: SchemaRef, needs: Needs) -> Self {
        Self {
            schema,
            blocks: Vec::new(),
            links: Vec::new(),
            groups: Vec::new(),
            matches: needs.matches.then(Vec::new),
            by_key: needs.find.then(HashTable::new),
            keyed: needs.find || needs.keys,
            hasher: DefaultHashBuilder::default(),
            live: 0,
            bytes: 0,
        }
    }

    /// None of them, made as these are.
    pub(super) fn emptied(&self) -> Self {
        let needs = Needs { find: self.by_key.is_some(), keys: self.keyed, matches: self.matches.is_some() };
        Self::new(Arc::clone(&self.schema), needs)
    }

    /// Adds a block; its rows belong to no group yet. Returns the number of the first.
    ///
    /// # Errors
    /// `Internal` beyond four billion rows.
    pub(super) fn push(&mut self, rows: RecordBatch, keys: &Keys) -> Result<u32> {
        let start = self.links.len();
        let end = start + rows.num_rows();
        if end >= NONE as usize {
            return Err(Error::internal("a side of a join has too many rows in memory"));
        }
        self.links.resize(end, Link { next: NONE, prev: NONE });
        self.groups.resize(end, NONE);
        if let Some(matches) = &mut self.matches {
            matches.resize(end, 0);
        }
        let keys = self.keyed.then(|| keys.clone());
        self.bytes += bytes(&rows) + keys.as_ref().map_or(0, |k| k.value_data().len() + 4 * k.len());
        if rows.num_rows() > 0 {
            self.blocks.push(Block { start: start as u32, rows, keys });
        }
        Ok(start as u32)
    }

    /// Puts row `id` into the list of `group`.
    pub(super) fn link(&mut self, id: u32, group: u32, groups: &mut Groups, side: usize) {
        let list = groups.list_mut(group, side);
        self.links[id as usize] = Link { next: list.first, prev: NONE };
        if list.first != NONE {
            self.links[list.first as usize].prev = id;
        }
        list.first = id;
        list.len += 1;
        self.groups[id as usize] = group;
        self.live += 1;
        if self.by_key.is_some() {
            let hash = self.hasher.hash_one(self.key(id));
            if let Some(by_key) = &mut self.by_key {
                by_key.insert_unique(hash, (hash, id), |(hash, _)| *hash);
            }
        }
    }

    /// Takes row `id` out.
    pub(super) fn unlink(&mut self, id: u32, groups: &mut Groups, side: usize) {
        let Link { next, prev } = self.links[id as usize];
        let list = groups.list_mut(self.groups[id as usize], side);
        list.len -= 1;
        if prev == NONE {
            list.first = next;
        } else {
            self.links[prev as usize].next = next;
        }
        if next != NONE {
            self.links[next as usize].prev = prev;
        }
        self.groups[id as usize] = NONE;
        self.live -= 1;
        if self.by_key.is_some() {
            let hash = self.hasher.hash_one(self.key(id));
            if let Some(by_key) = &mut self.by_key
                && let Ok(entry) = by_key.find_entry(hash, |(_, other)| *other == id)
            {
                entry.remove();
            }
        }
    }

    /// The row that is stored under `key`.
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let by_key = self.by_key.as_ref()?;
        by_key.find(hash, |(h, id)| *h == hash && self.key(*id) == key).map(|(_, id)| *id)
    }

    pub(super) fn next(&self, id: u32) -> u32 {
        self.links[id as usize].next
    }

    /// Rows that are there, and those that were.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.live, self.links.len() - self.live)
    }

    pub(super) fn is_live(&self, id: u32) -> bool {
        self.groups[id as usize] != NONE
    }

    pub(super) fn group(&self, id: u32) -> u32 {
        self.groups[id as usize]
    }

    pub(super) fn matches(&self, id: u32) -> i64 {
        self.matches.as_ref().map_or(0, |m| m[id as usize])
    }

    pub(super) fn set_matches(&mut self, id: u32, to: i64) {
        if let Some(matches) = &mut self.matches {
            matches[id as usize] = to;
        }
    }

    /// Numbers of all rows that are there.
    pub(super) fn all(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.groups.len() as u32).filter(|id| self.is_live(*id))
    }

    /// Calls `f` with each block and the number of its first row.
    pub(super) fn each_block(&self, mut f: impl FnMut(u32, &RecordBatch) -> Result<()>) -> Result<()> {
        self.blocks.iter().try_for_each(|block| f(block.start, &block.rows))
    }

    fn key(&self, id: u32) -> &[u8] {
        let block = &self.blocks[self.block_of(id)];
        block.keys.as_ref().map_or(&[], |keys| keys.value((id - block.start) as usize))
    }

    fn block_of(&self, id: u32) -> usize {
        self.blocks.partition_point(|b| b.start <= id) - 1
    }

    /// Where the rows `ids` are; [`NONE`] stands for a row of nulls.
    pub(super) fn places(&self, ids: &[u32]) -> Places {
        const UNUSED: usize = usize::MAX;
        let mut places = Places { blocks: Vec::new(), at: Vec::with_capacity(ids.len()), nulls: false };
        let mut numbers = vec![UNUSED; self.blocks.len()];
        let mut nulls = Vec::new();
        // The block that the last row was in, as a range of numbers.
        let (mut from, mut to, mut source) = (0, 0, 0);
        for id in ids {
            if *id == NONE {
                nulls.push(places.at.len());
                places.at.push((UNUSED, 0));
                continue;
            }
            if !(from..to).contains(id) {
                let block = self.block_of(*id);
                from = self.blocks[block].start;
                to = from + self.blocks[block].rows.num_rows() as u32;
                if numbers[block] == UNUSED {
                    numbers[block] = places.blocks.len();
                    places.blocks.push(block);
                }
                source = numbers[block];
            }
            places.at.push((source, (id - from) as usize));
        }
        places.nulls = !nulls.is_empty();
        for at in nulls {
            places.at[at].0 = places.blocks.len();
        }
        places
    }

    /// Column `column` of the rows at `places`.
    pub(super) fn gather(&self, column: usize, places: &Places) -> Result<ArrayRef> {
        let sources = places.blocks.iter().map(|block| self.blocks[*block].rows.column(column));
        let nulls = places.nulls.then(|| new_null_array(self.schema.field(column).data_type(), 1));
        gather(sources.chain(&nulls), places, || self.schema.field(column).data_type().clone())
    }

    /// The stored keys of the rows at `places`; none where they are not kept.
    pub(super) fn gather_keys(&self, places: &Places) -> Result<Keys> {
        let sources: Vec<ArrayRef> = places
            .blocks
            .iter()
            .filter_map(|block| self.blocks[*block].keys.as_ref().map(|keys| Arc::new(keys.clone()) as ArrayRef))
            .collect();
        let keys = gather(sources.iter(), places, || arrow::datatypes::DataType::Binary)?;
        Ok(keys.as_binary::<i32>().clone())
    }

    /// All columns of the rows at `places`.
    pub(super) fn gather_rows(&self, places: &Places) -> Result<RecordBatch> {
        let columns = (0..self.schema.fields().len()).map(|c| self.gather(c, places)).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(places.at.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }

    /// Takes over the rows `ids` of `from`, of which `groups[i]` is the group now.
    pub(super) fn take_over(
        &mut self,
        from: &Self,
        ids: &[u32],
        of: &[u32],
        groups: &mut Groups,
        side: usize,
    ) -> Result<()> {
        for (ids, of) in ids.chunks(BLOCK_ROWS).zip(of.chunks(BLOCK_ROWS)) {
            let places = from.places(ids);
            let start = self.push(from.gather_rows(&places)?, &from.gather_keys(&places)?)?;
            for ((new, old), group) in (start..).zip(ids).zip(of) {
                self.link(new, *group, groups, side);
                self.set_matches(new, from.matches(*old));
            }
        }
        Ok(())
    }

    /// Puts small blocks together, so that rows are found in few places. Numbers stay.
    pub(super) fn settle(&mut self) -> Result<()> {
        let large = self.blocks.iter().rposition(|b| b.rows.num_rows() >= LARGE_ROWS).map_or(0, |at| at + 1);
        if self.blocks.len() - large < SMALL_BLOCKS {
            return Ok(());
        }
        let small: Vec<Block> = self.blocks.drain(large..).collect();
        let mut group: Vec<Block> = Vec::new();
        let mut rows = 0;
        for block in small {
            if rows > 0 && rows + block.rows.num_rows() > BLOCK_ROWS {
                self.blocks.push(together(std::mem::take(&mut group), &self.schema)?);
                rows = 0;
            }
            rows += block.rows.num_rows();
            group.push(block);
        }
        self.blocks.push(together(group, &self.schema)?);
        Ok(())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes
            + self.links.capacity() * (size_of::<Link>() + 4)
            + self.matches.as_ref().map_or(0, |m| m.capacity() * 8)
            + self.by_key.as_ref().map_or(0, |t| t.capacity() * 17)
    }
}

/// Rows by block and position.
pub(super) struct Places {
    blocks: Vec<usize>,
    at: Vec<(usize, usize)>,
    /// The source after all blocks is a null.
    nulls: bool,
}

fn gather<'a>(
    sources: impl Iterator<Item = &'a ArrayRef>,
    places: &Places,
    data_type: impl Fn() -> arrow::datatypes::DataType,
) -> Result<ArrayRef> {
    let sources: Vec<&dyn Array> = sources.map(|a| a.as_ref()).collect();
    match sources.as_slice() {
        [] => Ok(arrow::array::new_empty_array(&data_type())),
        [only] => {
            let at = UInt32Array::from_iter_values(places.at.iter().map(|(_, row)| *row as u32));
            Ok(take(*only, &at, None)?)
        }
        many => Ok(interleave(many, &places.at)?),
    }
}

fn together(mut blocks: Vec<Block>, schema: &SchemaRef) -> Result<Block> {
    if blocks.len() == 1
        && let Some(only) = blocks.pop()
    {
        return Ok(only);
    }
    let start = blocks.first().map_or(0, |b| b.start);
    let rows = concat_batches(schema, blocks.iter().map(|b| &b.rows))?;
    let keys: Vec<&dyn Array> = blocks.iter().filter_map(|b| b.keys.as_ref()).map(|k| k as &dyn Array).collect();
    let keys = match keys.is_empty() {
        true => None,
        false => Some(concat(&keys)?.as_binary::<i32>().clone()),
    };
    Ok(Block { start, rows, keys })
}

fn bytes(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|c| c.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}
