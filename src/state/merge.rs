//! Laying changes over pages, vectorised: first which row of which source comes when, then one `interleave` a column.
//! Knows no tables.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Schema, SchemaRef};

use super::KeyRange;
use super::changes::{self, ChangeBatch, Position, key};
use super::page::Page;
use super::run::Run;
use crate::common::Result;
use crate::types::Keys;

/// The newest change of each key of some runs, in key order.
pub(super) struct Overlay<'a> {
    batches: Vec<&'a ChangeBatch>,
    sorted: Vec<Position>,
}

impl<'a> Overlay<'a> {
    /// `runs` go from the oldest to the newest; `open` is the still open epoch's batches and their order within
    /// `range`, newer than all.
    pub(super) fn new(runs: &'a [Arc<Run>], open: Option<(&'a [ChangeBatch], &[Position])>, range: &KeyRange) -> Self {
        let mut batches: Vec<&ChangeBatch> = Vec::new();
        let mut lists: Vec<Vec<Position>> = Vec::new();
        let sources = runs.iter().map(|run| (run.batches(), within(run.sorted(), run.batches(), range)));
        for (from, sorted) in sources.chain(open) {
            let base = batches.len() as u32;
            batches.extend(from);
            if !sorted.is_empty() {
                lists.push(sorted.iter().map(|p| Position { batch: p.batch + base, row: p.row }).collect());
            }
        }
        let sorted = match lists.len() {
            1 => lists.pop().unwrap_or_default(),
            _ => {
                let lists: Vec<&[Position]> = lists.iter().map(Vec::as_slice).collect();
                changes::merge(&lists, |p| key_of(&batches, p))
            }
        };
        Self { batches, sorted }
    }

    pub(super) fn sorted(&self) -> &[Position] {
        &self.sorted
    }

    pub(super) fn key(&self, at: Position) -> &[u8] {
        key_of(&self.batches, at)
    }

    pub(super) fn is_put(&self, at: Position) -> bool {
        self.batches.get(at.batch as usize).is_some_and(|b| b.is_put(at.row))
    }

    /// How many of `positions` (in key order) lie below `end`.
    pub(super) fn count_below(&self, positions: &[Position], end: &[u8]) -> usize {
        positions.partition_point(|p| self.key(*p) < end)
    }

    /// Bytes of an average change.
    pub(super) fn bytes_per_change(&self) -> usize {
        let (bytes, rows) = self.batches.iter().fold((0, 0), |(b, r), batch| (b + batch.bytes, r + batch.len()));
        bytes.checked_div(rows).unwrap_or(0).max(1)
    }
}

fn key_of<'b>(batches: &[&'b ChangeBatch], at: Position) -> &'b [u8] {
    match batches.get(at.batch as usize) {
        Some(batch) => batch.keys.value(at.row as usize),
        None => &[],
    }
}

fn within<'a>(sorted: &'a [Position], batches: &[ChangeBatch], range: &KeyRange) -> &'a [Position] {
    let (from, to) = bounds(range, |below| sorted.partition_point(|p| below(key(batches, *p))));
    sorted.get(from..to).unwrap_or_default()
}

/// The first and the end position of `range` in something sorted, given how to count what lies below.
pub(super) fn bounds(range: &KeyRange, count: impl Fn(&dyn Fn(&[u8]) -> bool) -> usize) -> (usize, usize) {
    let from = match &range.start {
        Bound::Unbounded => 0,
        Bound::Included(start) => count(&|k| k < start.as_slice()),
        Bound::Excluded(start) => count(&|k| k <= start.as_slice()),
    };
    let to = match &range.end {
        Bound::Unbounded => count(&|_| true),
        Bound::Included(end) => count(&|k| k <= end.as_slice()),
        Bound::Excluded(end) => count(&|k| k < end.as_slice()),
    };
    (from, to.max(from))
}

/// The rows of a page from `from` to `to`.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) page: Arc<Page>,
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Part {
    pub(super) fn whole(page: Arc<Page>) -> Self {
        Self { from: 0, to: page.len(), page }
    }

    pub(super) fn within(page: Arc<Page>, range: &KeyRange) -> Self {
        let keys = page.keys();
        let (from, to) = bounds(range, |below| partition(keys, below));
        Self { page, from, to }
    }

    pub(super) fn batch(&self) -> (Keys, RecordBatch) {
        let n = self.to - self.from;
        (self.page.keys().slice(self.from, n), self.page.rows().slice(self.from, n))
    }
}

/// How many of the ascending `keys` come before the first for which `below` is false.
pub(super) fn partition(keys: &Keys, below: impl Fn(&[u8]) -> bool) -> usize {
    let (mut low, mut high) = (0, keys.len());
    while low < high {
        let middle = (low + high) / 2;
        if below(keys.value(middle)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Rows in key order, each as a source and a row of it: sources are the parts, then the overlay's batches.
pub(super) type Picks = Vec<(usize, usize)>;

/// Picks what is there after `changes` (a stretch of the overlay's order) came over `parts`, which follow each other.
pub(super) fn pick(parts: &[Part], overlay: &Overlay<'_>, changes: &[Position]) -> Picks {
    let mut picks = Vec::with_capacity(parts.iter().map(|p| p.to - p.from).sum::<usize>() + changes.len());
    let put = |picks: &mut Picks, at: Position| {
        if overlay.is_put(at) {
            picks.push((parts.len() + at.batch as usize, at.row as usize));
        }
    };
    let mut changes = changes.iter().copied().peekable();
    for (source, part) in parts.iter().enumerate() {
        let keys = part.page.keys();
        let mut row = part.from;
        while row < part.to {
            let Some(change) = changes.peek().copied() else {
                picks.extend((row..part.to).map(|row| (source, row)));
                break;
            };
            match overlay.key(change).cmp(keys.value(row)) {
                Ordering::Less => {
                    put(&mut picks, change);
                    changes.next();
                }
                Ordering::Equal => {
                    put(&mut picks, change);
                    changes.next();
                    row += 1;
                }
                Ordering::Greater => {
                    picks.push((source, row));
                    row += 1;
                }
            }
        }
    }
    changes.for_each(|change| put(&mut picks, change));
    picks
}

/// The sources of some picks, to gather from several times.
pub(super) struct Sources<'a> {
    keys: Vec<&'a dyn Array>,
    columns: Vec<Vec<&'a dyn Array>>,
    schema: SchemaRef,
}

impl<'a> Sources<'a> {
    pub(super) fn new(schema: SchemaRef, parts: &'a [Part], overlay: &'a Overlay<'_>) -> Self {
        let each = parts.iter().map(|p| (p.page.keys(), p.page.rows()));
        Self::of(schema, each.chain(overlay.batches.iter().map(|b| (&b.keys, &b.rows))))
    }

    pub(super) fn of(schema: SchemaRef, sources: impl Iterator<Item = (&'a Keys, &'a RecordBatch)>) -> Self {
        let mut keys: Vec<&dyn Array> = Vec::new();
        let mut columns: Vec<Vec<&dyn Array>> = vec![Vec::new(); schema.fields().len()];
        for (key, rows) in sources {
            keys.push(key);
            for (column, array) in columns.iter_mut().zip(rows.columns()) {
                column.push(array.as_ref());
            }
        }
        Self { keys, columns, schema }
    }

    /// The keys of an overlay, without their rows.
    pub(super) fn bare(overlay: &'a Overlay<'_>) -> Self {
        Self::of(Arc::new(Schema::empty()), overlay.batches.iter().map(|b| (&b.keys, &b.rows)))
    }

    /// The picked rows with their keys.
    pub(super) fn gather(&self, picks: &[(usize, usize)]) -> Result<(Keys, RecordBatch)> {
        if picks.is_empty() {
            return Ok((changes::no_keys(), RecordBatch::new_empty(self.schema.clone())));
        }
        let keys = interleave(&self.keys, picks)?.as_binary::<i32>().clone();
        Ok((keys, self.gather_rows(picks)?))
    }

    pub(super) fn gather_rows(&self, picks: &[(usize, usize)]) -> Result<RecordBatch> {
        if picks.is_empty() {
            return Ok(RecordBatch::new_empty(self.schema.clone()));
        }
        let columns = self.columns.iter().map(|c| compact(interleave(c, picks)?)).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(picks.len()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

/// Views would keep all buffers of all sources alive, and write them all into a page.
fn compact(column: ArrayRef) -> Result<ArrayRef> {
    Ok(match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => column,
    })
}
