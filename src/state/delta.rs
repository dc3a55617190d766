//! Deltas: few changes over many pages, made durable by themselves. They stay in memory as a run until there are enough
//! of them that rewriting the pages under them costs little for each.
//!
//! Rewriting every page for a few changes in each is what makes random updates dear: a row that changes would cost as
//! much as all the rows beside it. A delta costs what its own rows cost, twice: now, and when it is folded.

use std::sync::Arc;

use arrow::datatypes::Schema;

use super::changes::{ChangeBatch, Position};
use super::directory::{DeltaRef, Directory, PageRef};
use super::merge::{Overlay, Sources};
use super::page::{EncodedPage, PageCodec, PageEncoder, TARGET_BYTES};
use super::run::Run;
use super::table::Table;
use crate::common::Result;
use crate::types::Epoch;

/// Pages are rewritten when they have fewer rows than this for each change, or are fewer than [`LEAST_PAGES`].
const SPARSE: u64 = 3;
const LEAST_PAGES: usize = 4;
/// Deltas are folded when they hold more than one change for this many rows of the table.
const ROWS_PER_CHANGE: u64 = 1;
/// Commits that may leave a delta before they are put together: a read looks into each.
pub(super) const MOST_DELTAS: usize = 12;

/// Pages of a new delta.
pub(super) struct NewDelta {
    pub(super) puts: Vec<EncodedPage>,
    pub(super) removals: Vec<EncodedPage>,
    pub(super) run: Arc<Run>,
}

/// Whether `fresh` changes should become a delta, over `held` changes that are in deltas already.
pub(super) fn is_worth_it(directory: &Directory, fresh: &Overlay<'_>, held: usize) -> bool {
    let changes = fresh.sorted().len() as u64;
    if (changes + held as u64) * ROWS_PER_CHANGE > directory.rows() {
        return false;
    }
    let (pages, rows) = touched(directory, fresh);
    pages >= LEAST_PAGES && rows > changes * SPARSE
}

/// Pages that the changes fall into, and the rows in them.
fn touched(directory: &Directory, overlay: &Overlay<'_>) -> (usize, u64) {
    let mut rest = overlay.sorted();
    let (mut pages, mut rows) = (0, 0);
    while let Some(change) = rest.first() {
        let page = directory.find(overlay.key(*change));
        pages += 1;
        rows += directory.pages().get(page).map_or(0, |p| u64::from(p.rows));
        let here = directory.first(page + 1).map_or(rest.len(), |next| overlay.count_below(rest, next));
        rest = rest.get(here.max(1)..).unwrap_or_default();
    }
    (pages, rows)
}

/// Not compressed: it is read once, soon.
pub(super) fn build(codec: &PageCodec, epoch: Epoch, overlay: &Overlay<'_>) -> Result<NewDelta> {
    let mut encoder = PageEncoder::new(false)?;
    let (puts, removed): (Vec<Position>, Vec<Position>) = overlay.sorted().iter().partition(|p| overlay.is_put(**p));
    let sources = Sources::new(codec.schema().clone(), &[], overlay);
    let rows = (TARGET_BYTES / overlay.bytes_per_change()).max(1);
    let mut encode = |codec: &PageCodec, sources: &Sources<'_>, some: &[Position]| {
        let picks: Vec<_> = some.iter().map(|p| (p.batch as usize, p.row as usize)).collect();
        let (keys, rows) = sources.gather(&picks)?;
        encoder.encode(codec, keys, rows)
    };
    let puts = puts.chunks(rows).map(|some| encode(codec, &sources, some)).collect::<Result<Vec<_>>>()?;
    let (codec_of_keys, sources) = (bare_codec()?, Sources::bare(overlay));
    let removals = removed.chunks(rows).map(|some| encode(&codec_of_keys, &sources, some));
    let removals = removals.collect::<Result<Vec<_>>>()?;

    let mut batches: Vec<ChangeBatch> = Vec::with_capacity(puts.len() + removals.len());
    for page in puts.iter().map(|p| &p.page) {
        let (keys, rows) = (page.keys().clone(), page.rows().clone());
        batches.push(ChangeBatch { keys, rows, puts: None, bytes: page.bytes() });
    }
    for page in removals.iter().map(|p| &p.page) {
        batches.push(ChangeBatch::removals(page.keys().clone(), codec.schema().clone()));
    }
    let (mut next_put, mut next_removal) = (0, puts.len() * rows);
    let sorted = overlay.sorted().iter().map(|p| {
        let next = if overlay.is_put(*p) { &mut next_put } else { &mut next_removal };
        let at = *next;
        *next += 1;
        Position { batch: (at / rows) as u32, row: (at % rows) as u32 }
    });
    let run = Run::durable(epoch, batches, Some(sorted.collect()));
    Ok(NewDelta { puts, removals, run })
}

/// The runs that the deltas of `directory` hold, from the oldest to the newest.
pub(super) fn load(table: &Table, directory: &Directory) -> Result<Vec<Arc<Run>>> {
    let bare = bare_codec()?;
    directory
        .deltas()
        .chunk_by(|a, b| a.sequence == b.sequence)
        .map(|pages| {
            let batches = pages.iter().map(|delta| {
                Ok(if delta.removes {
                    let page = table.read(delta.page, &bare)?;
                    ChangeBatch::removals(page.keys().clone(), table.schema())
                } else {
                    let page = table.read(delta.page, table.codec())?;
                    let (keys, rows) = (page.keys().clone(), page.rows().clone());
                    ChangeBatch { keys, rows, puts: None, bytes: page.bytes() }
                })
            });
            Ok(Run::durable(Epoch(0), batches.collect::<Result<_>>()?, None))
        })
        .collect()
}

impl NewDelta {
    /// The entries of its pages, numbered from `take`, after the deltas `before` it.
    pub(super) fn number(&self, before: &[DeltaRef], mut take: impl FnMut() -> Result<u32>) -> Result<Vec<DeltaRef>> {
        let sequence = before.last().map_or(1, |last| last.sequence + 1);
        let kinds = self.puts.iter().map(|p| (p, false)).chain(self.removals.iter().map(|p| (p, true)));
        kinds
            .map(|(encoded, removes)| {
                let page = &encoded.page;
                let page = PageRef { number: take()?, rows: page.len() as u32, bytes: page.bytes() as u32 };
                Ok(DeltaRef { sequence, removes, page })
            })
            .collect()
    }
}

/// For pages of keys alone.
fn bare_codec() -> Result<PageCodec> {
    PageCodec::new(Arc::new(Schema::empty()))
}
