//! Folding: laying a table's sealed runs over its pages and making new pages of what comes out. Reads tables, changes
//! nothing: the store applies and swaps the result.
//!
//! ```text
//! runs up to the epoch --one order--> changes      pages:  [ p0 ][ p1 ][ p2 ][ p3 ] ...
//! group: a stretch of pages with changes                    \___________/
//! each group, in any thread: pick, gather, encode -> new pages of about one size (splits, merges, removals)
//! ```

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::changes::{Position, concat_keys};
use super::directory::{Directory, PageRef};
use super::merge::{Overlay, Part, Sources, pick};
use super::page::{EncodedPage, PageEncoder, TARGET_BYTES};
use super::run::Run;
use super::table::{Table, View};
use super::{KeyRange, TableStats};
use crate::common::{Error, Result};
use crate::types::{Epoch, Keys};

const THREADS: usize = 2;
/// Below this a second thread costs more than it brings.
const PARALLEL_ROWS: usize = 16 << 10;
/// A group is closed when it has one of these.
const GROUP_PAGES: usize = 8;
const GROUP_CHANGES: usize = 16 << 10;
/// Groups that come out below this take in a neighbour.
const SMALL_BYTES: usize = TARGET_BYTES / 4;

/// A table with changes to fold.
struct Job {
    table: Arc<Table>,
    view: View,
    epoch: Epoch,
}

/// New pages of one table, not yet numbered.
pub(super) struct Folded {
    pub(super) table: Arc<Table>,
    pub(super) old: Arc<Directory>,
    groups: Vec<(Range<usize>, Vec<EncodedPage>)>,
    /// Changes that went in.
    pub(super) rows: u64,
}

/// What [`Folded::number`] makes.
pub(super) struct Numbered {
    pub(super) directory: Directory,
    pub(super) pages: Vec<(u32, EncodedPage)>,
    /// Numbers of the pages that are replaced.
    pub(super) retired: Vec<u32>,
    pub(super) stats: TableStats,
}

/// Folds the runs up to `epoch` of all `tables`; those without any are left out.
pub(super) fn fold(tables: &[Arc<Table>], epoch: Epoch, compress: bool) -> Result<Vec<Folded>> {
    let mut jobs = Vec::new();
    for table in tables {
        if table.has_runs(epoch) {
            jobs.push(Job { table: table.clone(), view: table.view()?, epoch });
        }
    }
    let changes = jobs.iter().flat_map(Job::runs).map(|r| r.len()).sum::<usize>();
    let threads = if changes < PARALLEL_ROWS { 1 } else { THREADS };

    let overlays = parallel(threads, &jobs, || Ok(()), |(), job| Ok(Overlay::new(job.runs(), None, &KeyRange::all())))?;
    let groups: Vec<(usize, Group)> = overlays
        .iter()
        .zip(&jobs)
        .enumerate()
        .flat_map(|(at, (overlay, job))| groups(&job.view.directory, overlay).into_iter().map(move |g| (at, g)))
        .collect();
    let built = parallel(
        threads,
        &groups,
        || PageEncoder::new(compress),
        |encoder, (at, group)| {
            let (job, overlay) = jobs.get(*at).zip(overlays.get(*at)).ok_or_else(|| Error::internal("a lost group"))?;
            build(job, overlay, group, encoder)
        },
    )?;

    let mut folded: Vec<Folded> = jobs
        .iter()
        .zip(&overlays)
        .map(|(job, overlay)| Folded {
            table: job.table.clone(),
            old: job.view.directory.clone(),
            groups: Vec::new(),
            rows: overlay.sorted().len() as u64,
        })
        .collect();
    for ((at, group), pages) in groups.into_iter().zip(built) {
        if let Some(folded) = folded.get_mut(at) {
            folded.groups.push((group.pages, pages));
        }
    }
    Ok(folded)
}

impl Job {
    fn runs(&self) -> &[Arc<Run>] {
        self.view.runs(self.epoch)
    }
}

/// Some pages that follow each other, and the changes that fall into them.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    pages: Range<usize>,
    changes: Range<usize>,
}

/// Divides the changes by the pages they fall into.
fn groups(directory: &Directory, overlay: &Overlay<'_>) -> Vec<Group> {
    let sorted = overlay.sorted();
    if directory.len() == 0 {
        let starts = (0..sorted.len()).step_by(GROUP_CHANGES);
        return starts.map(|at| Group { pages: 0..0, changes: at..(at + GROUP_CHANGES).min(sorted.len()) }).collect();
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut at = 0;
    while let Some(change) = sorted.get(at) {
        let first = directory.find(overlay.key(*change));
        let (from, mut page) = (at, first);
        loop {
            let rest = sorted.get(at..).unwrap_or_default();
            at += directory.first(page + 1).map_or(rest.len(), |next| overlay.count_below(rest, next));
            page += 1;
            let full = page - first >= GROUP_PAGES || at - from >= GROUP_CHANGES;
            let next = sorted.get(at).map(|change| directory.find(overlay.key(*change)));
            if full || next != Some(page) {
                break;
            }
        }
        let before = groups.last().map_or(0, |g| g.pages.end);
        let after = sorted.get(at).map_or(directory.len(), |change| directory.find(overlay.key(*change)));
        let mut group = Group { pages: first..page, changes: from..at };
        if expected_bytes(directory, overlay, &group) < SMALL_BYTES {
            if page < after {
                group.pages.end += 1;
            } else if before < first {
                group.pages.start -= 1;
            }
        }
        groups.push(group);
    }
    groups
}

/// Bytes that a group will come to, if every put is new and every removal hits: never too low by much.
fn expected_bytes(directory: &Directory, overlay: &Overlay<'_>, group: &Group) -> usize {
    let pages = directory.pages().get(group.pages.clone()).unwrap_or_default();
    let (rows, bytes) = pages.iter().fold((0, 0), |(r, b), page| (r + page.rows as usize, b + page.bytes as usize));
    let changes = overlay.sorted().get(group.changes.clone()).unwrap_or_default();
    let puts = changes.iter().filter(|c| overlay.is_put(**c)).count();
    let left = rows.saturating_sub(changes.len() - puts);
    bytes * left / rows.max(1) + puts * overlay.bytes_per_change()
}

fn build(job: &Job, overlay: &Overlay<'_>, group: &Group, encoder: &mut PageEncoder) -> Result<Vec<EncodedPage>> {
    let pages = job.view.directory.pages().get(group.pages.clone()).unwrap_or_default();
    let parts = pages.iter().map(|p| Ok(Part::whole(job.table.page(*p)?))).collect::<Result<Vec<_>>>()?;
    let changes: &[Position] = overlay.sorted().get(group.changes.clone()).unwrap_or_default();
    let picks = pick(&parts, overlay, changes);
    if picks.is_empty() {
        return Ok(Vec::new());
    }
    let codec = job.table.codec();
    let sources = Sources::new(codec.schema().clone(), &parts, overlay);
    let source_bytes: usize = pages.iter().map(|p| p.bytes as usize).sum();
    let source_rows: usize = pages.iter().map(|p| p.rows as usize).sum::<usize>() + changes.len();
    let per_row = (source_bytes + changes.len() * overlay.bytes_per_change()) / source_rows.max(1);
    let count = (picks.len() * per_row + TARGET_BYTES / 2) / TARGET_BYTES;
    let rows = picks.len().div_ceil(count.max(1));
    picks
        .chunks(rows)
        .map(|picks| {
            let (keys, rows) = sources.gather(picks)?;
            encoder.encode(codec, keys, rows)
        })
        .collect()
}

impl Folded {
    /// Gives each new page a number from `take` and puts them in the places of the old ones.
    pub(super) fn number(self, mut take: impl FnMut() -> Result<u32>) -> Result<Numbered> {
        let old = self.old;
        let mut firsts: Vec<Keys> = Vec::new();
        let mut refs = Vec::new();
        let mut pages = Vec::new();
        let mut retired = Vec::new();
        let mut at = 0;
        let kept = |range: Range<usize>, firsts: &mut Vec<Keys>, refs: &mut Vec<PageRef>| {
            if !range.is_empty() {
                firsts.push(old.firsts(range.clone()));
                refs.extend(old.pages().get(range).unwrap_or_default());
            }
        };
        for (range, built) in self.groups {
            kept(at..range.start, &mut firsts, &mut refs);
            at = range.end;
            retired.extend(old.pages().get(range).unwrap_or_default().iter().map(|p| p.number));
            for encoded in built {
                let page = &encoded.page;
                let number = take()?;
                firsts.push(page.keys().slice(0, 1));
                refs.push(PageRef { number, rows: page.len() as u32, bytes: page.bytes() as u32 });
                pages.push((number, encoded));
            }
        }
        kept(at..old.len(), &mut firsts, &mut refs);
        let stats = refs.iter().fold(TableStats::default(), |sum, page| TableStats {
            rows: sum.rows + u64::from(page.rows),
            bytes: sum.bytes + u64::from(page.bytes),
        });
        let firsts = concat_keys(firsts.iter())?;
        Ok(Numbered { directory: Directory::new(firsts, refs), pages, retired, stats })
    }
}

/// Calls `work` for each item, in up to `threads` threads, each with its own tool; results are in the items' order.
fn parallel<'a, T: Sync, Tool, R: Send>(
    threads: usize,
    items: &'a [T],
    tool: impl Fn() -> Result<Tool> + Sync,
    work: impl Fn(&mut Tool, &'a T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    if threads < 2 || items.len() < 2 {
        let mut tool = tool()?;
        return items.iter().map(|item| work(&mut tool, item)).collect();
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<R>>> = Mutex::new(items.iter().map(|_| None).collect());
    let one = || -> Result<()> {
        let mut tool = tool()?;
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return Ok(()) };
            match work(&mut tool, item) {
                Ok(result) => {
                    if let Some(slot) = done.lock().get_mut(at) {
                        *slot = Some(result);
                    }
                }
                Err(e) => {
                    next.store(items.len(), Ordering::Relaxed);
                    return Err(e);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(one)).collect();
        let mine = one();
        others.into_iter().fold(mine, |result, other| {
            let other = other.join().unwrap_or_else(|_| Err(Error::internal("a fold thread panicked")));
            result.and(other)
        })
    })?;
    done.into_inner().into_iter().map(|r| r.ok_or_else(|| Error::internal("a fold was left out"))).collect()
}
