//! Point reads: many keys at once, from the newest change down to the pages, each page read once.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};

use super::Lookup;
use super::changes::{ChangeBatch, Index, Position};
use super::merge::{Sources, partition};
use super::page::Page;
use super::run::Run;
use super::table::{Table, View};
use crate::common::Result;
use crate::types::Keys;

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
    let mut pages: Vec<Arc<Page>> = Vec::new();
    for group in below.chunk_by(|a, b| a.0 == b.0) {
        let Some(page) = group.first().and_then(|(page, _)| view.directory.pages().get(*page)) else { continue };
        let page = table.page(*page)?;
        let mut hit = false;
        for (_, at) in group {
            let key = keys.value(*at);
            let row = partition(page.keys(), |k| k < key);
            if row < page.len() && page.keys().value(row) == key {
                found.set(*at, used.batches.len() + pages.len(), row);
                hit = true;
            }
        }
        if hit {
            pages.push(page);
        }
    }
    let sources = used.batches.iter().copied().chain(pages.iter().map(|p| (p.keys(), p.rows())));
    let rows = Sources::of(table.schema(), sources).gather_rows(&found.picks)?;
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
