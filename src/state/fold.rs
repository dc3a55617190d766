//! Folding: laying a table's sealed runs over its pages and making new pages of what comes out. Reads tables; the
//! store applies and swaps the result, and its stage takes the pages for which there is no room.
//!
//! ```text
//! runs up to the epoch --one order--> changes      pages:  [ p0 ][ p1 ][ p2 ][ p3 ] ...
//! group: a stretch of pages with changes                    \___________/
//! each group, in any thread: pick, gather, encode -> new pages of about one size (splits, merges, removals)
//! ```
//! Where few rows of many pages change, the changes become a delta instead (see `delta`), and the pages stay.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::changes::{Position, concat_keys};
use super::delta::{self, NewDelta};
use super::directory::{Directory, PageRef};
use super::merge::{Overlay, Part, Sources, pick};
use super::page::{EncodedPage, Page, PageEncoder, TARGET_BYTES};
use super::run::Run;
use super::stage::{NewPage, Stage, StagedPage};
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

/// What is to be made of a table's changes.
struct Plan<'a> {
    overlay: Overlay<'a>,
    /// Runs on disk that stay as they are.
    kept: &'a [Arc<Run>],
    works: Vec<Work>,
}

enum Work {
    Pages(Group),
    Delta,
}

enum Built {
    Pages(Range<usize>, Vec<NewPage>),
    Delta(NewDelta),
}

/// New pages of one table; those that are held have no numbers yet.
pub(super) struct Folded {
    pub(super) table: Arc<Table>,
    pub(super) old: Arc<Directory>,
    built: Vec<Built>,
    kept: Vec<Arc<Run>>,
    /// Changes that went in.
    pub(super) rows: u64,
}

/// What [`Folded::number`] makes.
pub(super) struct Numbered {
    pub(super) directory: Directory,
    /// The runs that the directory's deltas hold.
    pub(super) deltas: Vec<Arc<Run>>,
    /// New entries by number.
    pub(super) stored: Vec<(u32, Bytes)>,
    /// Those of them that readers will ask for.
    pub(super) pages: Vec<(u32, Arc<Page>)>,
    /// Entries that were written ahead.
    pub(super) staged: Vec<StagedPage>,
    /// Numbers of the pages that are replaced.
    pub(super) retired: Vec<u32>,
    pub(super) stats: TableStats,
}

/// How to fold.
pub(super) struct Options {
    pub(super) epoch: Epoch,
    pub(super) compress: bool,
    /// Bytes that the deltas of all tables may hold in memory.
    pub(super) delta_bytes: usize,
}

/// Folds the runs up to the epoch of all `tables`; those without any are left out. Pages go to `stage` as they are made.
pub(super) fn fold(tables: &[Arc<Table>], options: &Options, stage: &Stage<'_>) -> Result<Vec<Folded>> {
    let mut jobs = Vec::new();
    for table in tables.iter().filter(|t| t.has_runs(options.epoch)) {
        jobs.push(Job { table: table.clone(), view: table.view()?, epoch: options.epoch });
    }
    let room = options.delta_bytes.saturating_sub(tables.iter().map(|t| t.delta_bytes()).sum());
    let rows = jobs.iter().flat_map(|job| job.runs().1).map(|r| r.len()).sum::<usize>();
    let threads = if rows < PARALLEL_ROWS { 1 } else { THREADS };

    let plans = parallel(threads, &jobs, || Ok(()), |(), job| Ok(plan(job, room)))?;
    let works: Vec<(usize, &Work)> =
        plans.iter().enumerate().flat_map(|(at, plan)| plan.works.iter().map(move |work| (at, work))).collect();
    let tool = || PageEncoder::new(options.compress);
    let built = parallel(threads, &works, tool, |encoder, (at, work)| {
        let (job, plan) = jobs.get(*at).zip(plans.get(*at)).ok_or_else(|| Error::internal("a lost plan"))?;
        match work {
            Work::Pages(group) => {
                let pages = build(job, &plan.overlay, group, encoder)?;
                Ok(Built::Pages(group.pages.clone(), stage.place(&job.table, &job.view.directory, pages)?))
            }
            Work::Delta => Ok(Built::Delta(delta::build(job.table.codec(), options.epoch, &plan.overlay)?)),
        }
    })?;

    let mut folded: Vec<Folded> = jobs
        .iter()
        .zip(&plans)
        .map(|(job, plan)| Folded {
            table: job.table.clone(),
            old: job.view.directory.clone(),
            built: Vec::new(),
            kept: plan.kept.to_vec(),
            rows: plan.overlay.sorted().len() as u64,
        })
        .collect();
    for ((at, _), built) in works.into_iter().zip(built) {
        if let Some(folded) = folded.get_mut(at) {
            folded.built.push(built);
        }
    }
    Ok(folded)
}

impl Job {
    /// The runs that are on disk as deltas, and those that are not.
    fn runs(&self) -> (&[Arc<Run>], &[Arc<Run>]) {
        let runs = self.view.runs(self.epoch);
        runs.split_at(runs.partition_point(|r| r.is_durable()))
    }
}

fn plan(job: &Job, room: usize) -> Plan<'_> {
    let (durable, sealed) = job.runs();
    let all = job.view.runs(job.epoch);
    let fresh = Overlay::new(sealed, None, &KeyRange::all());
    let bytes: usize = sealed.iter().map(|r| r.bytes()).sum();
    let held = durable.iter().map(|r| r.len()).sum();
    if bytes <= room && delta::is_worth_it(&job.view.directory, &fresh, held) {
        if durable.len() < delta::MOST_DELTAS {
            return Plan { overlay: fresh, kept: durable, works: vec![Work::Delta] };
        }
        return Plan { overlay: Overlay::new(all, None, &KeyRange::all()), kept: &[], works: vec![Work::Delta] };
    }
    let overlay = if durable.is_empty() { fresh } else { Overlay::new(all, None, &KeyRange::all()) };
    let works = groups(&job.view.directory, &overlay).into_iter().map(Work::Pages).collect();
    Plan { overlay, kept: &[], works }
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
        // Either all deltas stay, or all have gone into what is new.
        let (mut deltas, gone) = match self.kept.is_empty() {
            true => (Vec::new(), old.deltas()),
            false => (old.deltas().to_vec(), &[][..]),
        };
        let mut new = Numbered {
            directory: Directory::empty(),
            deltas: self.kept,
            stored: Vec::new(),
            pages: Vec::new(),
            staged: Vec::new(),
            retired: gone.iter().map(|d| d.page.number).collect(),
            stats: TableStats::default(),
        };
        let mut firsts: Vec<Keys> = Vec::new();
        let mut refs: Vec<PageRef> = Vec::new();
        let mut at = 0;
        for built in self.built {
            match built {
                Built::Pages(range, built) => {
                    let kept = at..range.start;
                    at = range.end;
                    firsts.push(old.firsts(kept.clone()));
                    refs.extend(old.pages().get(kept).unwrap_or_default());
                    new.retired.extend(old.pages().get(range).unwrap_or_default().iter().map(|p| p.number));
                    for built in built {
                        match built {
                            NewPage::Held(EncodedPage { page, stored }) => {
                                let number = take()?;
                                firsts.push(page.keys().slice(0, 1));
                                refs.push(PageRef { number, rows: page.len() as u32, bytes: page.bytes() as u32 });
                                new.stored.push((number, stored));
                                new.pages.push((number, page));
                            }
                            NewPage::Staged(staged) => {
                                firsts.push(staged.first.clone());
                                refs.push(staged.page);
                                new.staged.push(staged);
                            }
                        }
                    }
                }
                Built::Delta(delta) => {
                    let added = delta.number(&deltas, &mut take)?;
                    let pages = delta.puts.into_iter().chain(delta.removals);
                    new.stored.extend(added.iter().map(|d| d.page.number).zip(pages.map(|p| p.stored)));
                    new.deltas.push(delta.run);
                    deltas.extend(added);
                }
            }
        }
        firsts.push(old.firsts(at..old.len()));
        refs.extend(old.pages().get(at..).unwrap_or_default());
        new.stats = refs.iter().fold(TableStats::default(), |sum, page| TableStats {
            rows: sum.rows + u64::from(page.rows),
            bytes: sum.bytes + u64::from(page.bytes),
        });
        new.directory = Directory::new(concat_keys(firsts.iter())?, refs, deltas);
        Ok(new)
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
