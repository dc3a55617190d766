//! Range scans: pages as they are where nothing changed, merged with the changes over them elsewhere.

use std::ops::Bound;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::KeyRange;
use super::changes::{ChangeBatch, Position};
use super::directory::{Directory, PageRef};
use super::merge::{Overlay, Part, Sources, pick};
use super::run::Run;
use super::table::{Table, View};
use crate::common::Result;
use crate::types::Keys;

/// Keys and their rows, in key order.
pub type Batches = Vec<(Keys, RecordBatch)>;

/// Rows of a batch that is made from changes.
const BATCH_ROWS: usize = 8192;

/// What a writer's open epoch adds: its batches, and its changes within the range in key order.
pub(super) type OpenChanges<'a> = Option<(&'a [ChangeBatch], &'a [Position])>;

pub(super) fn scan(
    table: &Table,
    view: &View,
    runs: &[Arc<Run>],
    open: OpenChanges<'_>,
    range: &KeyRange,
    limit: Option<usize>,
) -> Result<Batches> {
    let overlay = Overlay::new(runs, open, range);
    let mut out = Output { batches: Vec::new(), left: limit.unwrap_or(usize::MAX) };
    let mut changes = overlay.sorted();
    for (at, page) in pages(view, range) {
        if out.left == 0 {
            return Ok(out.batches);
        }
        let next = view.directory.first(at + 1);
        let count = next.map_or(changes.len(), |next| overlay.count_below(changes, next));
        let (here, later) = changes.split_at(count);
        changes = later;
        let part = Part::within(table.page(page)?, range);
        if here.is_empty() {
            out.push(part.batch());
        } else {
            merged(table, &[part], &overlay, here, &mut out)?;
        }
    }
    // What is left where the table has no pages.
    if !changes.is_empty() {
        merged(table, &[], &overlay, changes, &mut out)?;
    }
    Ok(out.batches)
}

/// The pages that may have keys in `range`, with their positions.
fn pages<'v>(view: &'v View, range: &KeyRange) -> impl Iterator<Item = (usize, PageRef)> + use<'v> {
    let places = places(&view.directory, range);
    view.directory.pages().iter().copied().enumerate().take(places.end).skip(places.start)
}

/// The positions of the pages that may have keys in `range`.
pub(super) fn places(directory: &Directory, range: &KeyRange) -> std::ops::Range<usize> {
    let from = match &range.start {
        Bound::Unbounded => 0,
        Bound::Included(key) | Bound::Excluded(key) => directory.find(key),
    };
    let to = match &range.end {
        Bound::Unbounded => directory.len(),
        Bound::Included(key) | Bound::Excluded(key) => (directory.find(key) + 1).min(directory.len()),
    };
    from..to
}

fn merged(table: &Table, parts: &[Part], overlay: &Overlay<'_>, changes: &[Position], out: &mut Output) -> Result<()> {
    let picks = pick(parts, overlay, changes);
    let sources = Sources::new(table.schema(), parts, overlay);
    for picks in picks.chunks(BATCH_ROWS) {
        let wanted = picks.get(..out.left).unwrap_or(picks);
        out.push(sources.gather(wanted)?);
    }
    Ok(())
}

struct Output {
    batches: Batches,
    left: usize,
}

impl Output {
    fn push(&mut self, (keys, rows): (Keys, RecordBatch)) {
        let n = rows.num_rows().min(self.left);
        if n > 0 {
            self.left -= n;
            self.batches.push((keys.slice(0, n), rows.slice(0, n)));
        }
    }
}
