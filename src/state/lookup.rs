//! Point reads: many keys at once, from the newest change down to the pages, each page read once and few held at a time.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::Lookup;
use super::changes::{self, ChangeBatch, Index, Position};
use super::merge::{Sources, partition};
use super::run::Run;
use super::table::{Table, View};
use crate::common::Result;
use crate::types::Keys;

/// Bytes of pages that are held before the rows found in them are copied out.
const HELD_BYTES: usize = 8 << 20;

/// A writer's open epoch, indexed.
pub(super) type OpenIndex<'a> = Option<(&'a [ChangeBatch], &'a Index)>;

/// How changes in sealed runs are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Find {
    /// By an index, made for it: for who looks up many keys.
    Indexed,
    /// By what is there.
    Searched,
}

pub(super) fn lookup(
    table: &Table,
    view: &View,
    runs: &[Arc<Run>],
    open: OpenIndex<'_>,
    keys: &Keys,
    find: Find,
) -> Result<Lookup> {
    let mut found = Found { index: vec![None; keys.len()], picks: Vec::new() };
    let mut used = Used::default();
    // (page, key) of the keys that no change decides.
    let mut below: Vec<(usize, usize)> = Vec::new();
    for (at, key) in keys.iter().map(Option::unwrap_or_default).enumerate() {
        match newest(runs, open, key, find) {
            Some((_, change, batch)) if !batch.is_put(change.row) => {}
            Some((layer, change, batch)) => {
                let source = used.batch((layer, change.batch), batch);
                found.set(at, source, change.row as usize);
            }
            None if view.directory.len() > 0 => below.push((view.directory.find(key), at)),
            None => {}
        }
    }
    below.sort_unstable();
    let mut blocks = Blocks::new(table.schema(), used.batches.len(), found.picks.len());
    for group in below.chunk_by(|a, b| a.0 == b.0) {
        let Some(page) = group.first().and_then(|(page, _)| view.directory.pages().get(*page)) else { continue };
        let page = table.page(*page)?;
        let mut hit = false;
        for (_, at) in group {
            let key = keys.value(*at);
            let row = partition(page.keys(), |k| k < key);
            if row < page.len() && page.keys().value(row) == key {
                found.set(*at, blocks.next(), row);
                hit = true;
            }
        }
        if hit {
            blocks.push(page.keys().clone(), page.rows().clone(), page.bytes(), &mut found.picks)?;
        }
    }
    let mut sources = used.batches.iter().copied().chain(blocks.blocks.iter().map(|(keys, rows)| (keys, rows)));
    let rows = match (found.picks.as_slice(), find) {
        // A reader lets the page go soon.
        ([(source, row)], Find::Searched) if let Some((_, rows)) = sources.nth(*source) => rows.slice(*row, 1),
        (picks, _) => Sources::of(table.schema(), sources).gather_rows(picks)?,
    };
    Ok(Lookup { rows, index: found.index })
}

/// The newest change of `key`, and the layer that has it: 0 is the open epoch, then the runs.
fn newest<'a>(
    runs: &'a [Arc<Run>],
    open: OpenIndex<'a>,
    key: &[u8],
    find: Find,
) -> Option<(usize, Position, &'a ChangeBatch)> {
    if let Some((batches, index)) = open
        && let Some(at) = index.find(batches, key)
    {
        return Some((0, at, batches.get(at.batch as usize)?));
    }
    runs.iter().enumerate().rev().find_map(|(layer, run)| {
        let at = match find {
            Find::Indexed => run.find(key),
            Find::Searched => run.search(key),
        }?;
        Some((layer + 1, at, run.batches().get(at.batch as usize)?))
    })
}

struct Found {
    index: Vec<Option<u32>>,
    picks: Vec<(usize, usize)>,
}

impl Found {
    fn set(&mut self, at: usize, source: usize, row: usize) {
        if let Some(index) = self.index.get_mut(at) {
            *index = Some(self.picks.len() as u32);
            self.picks.push((source, row));
        }
    }
}

/// Pages that rows were found in, and rows that were copied out of such: sources after the `first` ones.
struct Blocks {
    schema: SchemaRef,
    first: usize,
    blocks: Vec<(Keys, RecordBatch)>,
    held: Held,
}

/// The pages among the blocks.
struct Held {
    /// The first of them.
    block: usize,
    /// The first pick of a row of theirs.
    pick: usize,
    bytes: usize,
}

impl Blocks {
    /// `picks` are there already.
    fn new(schema: SchemaRef, first: usize, picks: usize) -> Self {
        Self { schema, first, blocks: Vec::new(), held: Held { block: 0, pick: picks, bytes: 0 } }
    }

    /// The source that the next page will be.
    fn next(&self) -> usize {
        self.first + self.blocks.len()
    }

    /// Adds a page that the last of `picks` are of.
    fn push(&mut self, keys: Keys, rows: RecordBatch, bytes: usize, picks: &mut [(usize, usize)]) -> Result<()> {
        self.blocks.push((keys, rows));
        self.held.bytes += bytes;
        let Held { block, pick, bytes } = self.held;
        let Some(picks) = picks.get_mut(pick..).filter(|_| bytes > HELD_BYTES) else { return Ok(()) };
        let first = self.first + block;
        let local: Vec<(usize, usize)> = picks.iter().map(|(source, row)| (source - first, *row)).collect();
        let pages = self.blocks.drain(block..).collect::<Vec<_>>();
        let rows =
            Sources::of(self.schema.clone(), pages.iter().map(|(keys, rows)| (keys, rows))).gather_rows(&local)?;
        self.blocks.push((changes::no_keys(), rows));
        for (row, pick) in picks.iter_mut().enumerate() {
            *pick = (first, row);
        }
        self.held = Held { block: self.blocks.len(), pick: pick + picks.len(), bytes: 0 };
        Ok(())
    }
}

/// The batches that rows were found in, numbered as they are met.
#[derive(Default)]
struct Used<'a> {
    numbers: HashMap<(usize, u32), usize>,
    batches: Vec<(&'a Keys, &'a RecordBatch)>,
}

impl<'a> Used<'a> {
    fn batch(&mut self, name: (usize, u32), batch: &'a ChangeBatch) -> usize {
        *self.numbers.entry(name).or_insert_with(|| {
            self.batches.push((&batch.keys, &batch.rows));
            self.batches.len() - 1
        })
    }
}
