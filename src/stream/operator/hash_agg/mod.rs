//! HashAgg: groups rows and keeps each group's aggregates, an epoch at a time.
//!
//! ```text
//!            Partial                                Final
//! rows -> Delta -> partial states ==exchange==> Delta --+            Single
//!                                                       +-- merge <--> Kept, Values (state tables)
//! rows -> Delta ----------------------------------------+     |
//!                                                             +-> -old, +new   or rows of closed windows
//! ```
//! Within an epoch a [`Delta`] gathers what each touched group gained. At the barrier (earlier when it grows large) a
//! partial phase ships it, one row a group; a final one merges it into the kept state, read and written once a group.
//!
//! **Watermarks** do not overtake rows: they are held until the barrier has sent the epoch's.
//!
//! **EMIT ON WINDOW CLOSE** takes two steps. At a barrier the windows below the watermark are closed: they take no more
//! rows. Once that epoch is on disk, the next barrier sends them and frees their state. So a window that somebody has
//! seen is what it will be, whatever a crash takes back: which rows came too late depends on how far the watermark was
//! when they were read, and rows that are read again meet another watermark.
//!
//! **Allowed lateness** keeps the state of a window that was sent for so long; what a late row changes in it is sent as an
//! update. Watermarks go on that much later, so that nothing behind them changes. **A timeout** closes every window when
//! neither rows nor a higher watermark have come for so long.
//!
//! **Late rows** exist only with EMIT ON WINDOW CLOSE, and are told apart where rows enter the aggregation (Partial or
//! Single): a row is late when its window is below the watermark that came before it on this input. A partial phase
//! forwards a watermark only behind the rows it accepted, so the final phase sees no late ones, except after a restart
//! while the partial phase has not heard its watermark again: what then arrives for a window that is already closed is
//! recorded as late in the form it has there, a partial state.

mod calls;
mod change;
mod delta;
mod kept;
mod keys;
mod values;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::not;
use arrow::datatypes::SchemaRef;

use self::calls::Calls;
use self::change::Target;
use self::delta::Delta;
use self::kept::Kept;
use self::keys::Layout;
use super::{BuildContext, LateRows, Output, StreamOperator, event_time};
use crate::common::{Error, Result};
use crate::expr::eval;
use crate::plan::{self, AggPhase, Distribution, Node};
use crate::state::UncommittedShare;
use crate::stream::message::{Barrier, Watermark};
use crate::types::time::END_OF_TIME;
use crate::types::{Epoch, StreamChunk};

/// A delta is sent or merged before the barrier when it has this many groups.
const DELTA_GROUPS: usize = 1 << 20;
/// Measuring a delta is not free: once in so many chunks.
const MEASURE_CHUNKS: usize = 16;

pub struct HashAgg {
    name: String,
    phase: AggPhase,
    /// The columns of the input that hold the group.
    group: Vec<usize>,
    /// The input's column that holds the window.
    window: Option<usize>,
    on_close: bool,
    /// How far below the watermark a row's window may be.
    lag: i64,
    /// How long a window takes rows after its close.
    lateness: i64,
    /// Windows below the watermark change no more, and are freed, without waiting for their close.
    frees: bool,
    quiet: Option<Quiet>,
    calls: Calls,
    delta: Delta,
    /// Not for the partial phase.
    kept: Option<Kept>,
    output: SchemaRef,
    /// By input column.
    watermarks: BTreeMap<usize, i64>,
    /// Output columns and values that wait for the barrier.
    held: BTreeMap<usize, i64>,
    /// Closed windows that wait for their epoch to be on disk, oldest first.
    closing: VecDeque<Closing>,
    /// Numbers of empty grouping sets.
    totals: Vec<u64>,
    /// An aggregation without groups has a row before its first input, and so has an empty grouping set.
    begun: bool,
    chunks: usize,
    /// What the delta held when it was measured.
    measured: UncommittedShare,
}

/// How long nothing has come, with a timeout.
struct Quiet {
    timeout: i64,
    /// The now() of the last barrier before which something came.
    since: Option<i64>,
    /// Something came since the last barrier.
    stirred: bool,
    /// There may be windows to close.
    open: bool,
}

impl Quiet {
    /// Whether it has been quiet for long enough at a barrier, or else when it will be.
    fn at_barrier(&mut self, now: i64) -> (bool, Option<i64>) {
        let since = match self.since.filter(|_| !std::mem::take(&mut self.stirred)) {
            Some(since) => since,
            None => *self.since.insert(now),
        };
        let due = since.saturating_add(self.timeout);
        let over = self.open && due <= now;
        self.open &= !over;
        (over, self.open.then_some(due))
    }
}

/// What a barrier has closed.
struct Closing {
    epoch: Epoch,
    /// Windows below it; `None` before the first watermark.
    watermark: Option<i64>,
    /// Watermarks that follow their rows, by output column.
    held: BTreeMap<usize, i64>,
}

impl HashAgg {
    pub(super) fn new(name: String, agg: &plan::HashAgg, node: &Node, context: &BuildContext<'_>) -> Result<Self> {
        let calls = Calls::new(agg, context)?;
        let delta = Delta::new(agg.group_fields(), &calls)?;
        let group: Vec<usize> = match agg.phase {
            AggPhase::Final => (0..agg.group.len()).collect(),
            AggPhase::Partial | AggPhase::Single => agg.group.clone(),
        };
        let output = match agg.phase {
            AggPhase::Partial => agg.partial_schema()?,
            AggPhase::Final | AggPhase::Single => Arc::clone(&node.schema),
        };
        let kept = match (agg.phase, agg.state) {
            (AggPhase::Partial, _) => None,
            (_, None) => return Err(Error::internal(format!("{name} has no state table"))),
            (_, Some(table)) => {
                let layout = Layout {
                    window: agg.window.zip(agg.window_type()),
                    distribution: distribution(node, &group),
                    vnodes: context.vnodes.clone(),
                };
                Some(Kept::new(agg, table, layout, context)?)
            }
        };
        if agg.emit_on_close && agg.window.is_none() {
            return Err(Error::internal(format!("{name} closes windows but has none")));
        }
        // Closed before a restart: that is on disk, and may not have been sent.
        let closed = kept.as_ref().and_then(Kept::closed);
        let closing = closed.map(|_| Closing { epoch: Epoch(0), watermark: closed, held: BTreeMap::new() });
        Ok(Self {
            name,
            phase: agg.phase,
            window: agg.window.and_then(|w| group.get(w)).copied(),
            group,
            on_close: agg.emit_on_close,
            lag: agg.lag_micros,
            lateness: agg.lateness_micros,
            frees: agg.frees,
            quiet: agg.close_timeout.filter(|_| agg.phase != AggPhase::Partial).map(|timeout| Quiet {
                timeout,
                since: None,
                stirred: false,
                open: true,
            }),
            calls,
            delta,
            kept,
            output,
            watermarks: BTreeMap::new(),
            held: BTreeMap::new(),
            closing: closing.into_iter().collect(),
            begun: agg.phase == AggPhase::Partial || !agg.group.is_empty() && agg.totals.is_empty(),
            totals: agg.totals.clone(),
            chunks: 0,
            measured: context.store.uncommitted().share(),
        })
    }

    fn add(&mut self, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        if self.phase == AggPhase::Final {
            return self.delta.add_states(&self.calls, chunk.batch().columns(), chunk.num_rows());
        }
        let evaluated = eval::evaluate(&self.calls.exprs, chunk)?;
        out.failed(&self.name, evaluated.failed)?;
        let rows = evaluated.rows;
        let group: Vec<ArrayRef> = self.group.iter().map(|i| Arc::clone(rows.column(*i))).collect();
        self.delta.add_rows(&mut self.calls, &group, &evaluated.columns, rows.weights(), rows.num_rows())
    }

    /// The rows whose window takes them. Late ones are recorded, those too that still count.
    fn in_time(&self, chunk: StreamChunk, out: &mut Output) -> Result<StreamChunk> {
        let Some(window) = self.window.filter(|_| self.on_close) else { return Ok(chunk) };
        let closed = self.kept.as_ref().and_then(Kept::closed);
        let heard = self.watermarks.get(&window).copied().filter(|_| self.phase != AggPhase::Final);
        let Some(watermark) = closed.max(heard) else { return Ok(chunk) };
        let times = event_time::micros(chunk.column(window))?;
        let ended = watermark == END_OF_TIME;
        let below = |by: i64| -> BooleanArray {
            times.iter().map(|t| Some(ended || t.is_some_and(|t| t.saturating_add(by) < watermark))).collect()
        };
        // What a partial phase has let through was recorded there.
        let recorded = if self.phase == AggPhase::Final { self.lateness } else { 0 };
        let late = below(self.lag.saturating_add(recorded));
        if !late.has_true() {
            return Ok(chunk);
        }
        out.late_rows.push(LateRows { rows: chunk.filter(&late)?, watermark });
        let lost = if recorded == self.lateness { late } else { below(self.lag.saturating_add(self.lateness)) };
        chunk.filter(&not(&lost)?)
    }

    /// Closes the windows that the watermark has passed, and sends those whose closing is on disk.
    fn close(&mut self, barrier: &Barrier, out: &mut Output) -> Result<()> {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        // Readers in other jobs attach behind an actor's first barrier: what went out with it would pass them by.
        self.closing.iter_mut().filter(|c| c.epoch == Epoch(0)).for_each(|c| c.epoch = barrier.epoch);
        let mut heard = self.window.and_then(|w| self.watermarks.get(&w)).copied();
        if let Some(quiet) = &mut self.quiet {
            let (over, due) = quiet.at_barrier(barrier.now);
            out.due = due;
            if let Some(last) = if over { kept.last_window()? } else { None } {
                let all = last.saturating_add(1);
                heard = heard.max(Some(all));
                let output = self.window.and_then(|w| self.group.iter().position(|g| *g == w));
                if let Some(held) = output.map(|output| self.held.entry(output).or_insert(all)) {
                    *held = all.max(*held);
                }
            }
        }
        let risen = heard.map(|watermark| kept.close(watermark)).transpose()?.unwrap_or(false);
        if risen || !self.held.is_empty() {
            let (watermark, held) = (kept.closed(), std::mem::take(&mut self.held));
            self.closing.push_back(Closing { epoch: barrier.epoch, watermark, held });
        }
        let mut last = None;
        while let Some(closing) = self.closing.pop_front_if(|c| c.epoch <= barrier.committed) {
            last = closing.watermark;
            self.held.extend(closing.held);
        }
        if let Some(watermark) = last {
            let mut target = Target { operator: &self.name, schema: &self.output, out };
            kept.send(watermark, &mut self.calls, &mut target)?;
        }
        // Else they would wait for the next rows.
        out.unsettled = !self.closing.is_empty();
        Ok(())
    }

    /// Sends or merges what the delta holds.
    fn flush(&mut self, out: &mut Output) -> Result<()> {
        self.measured.set(0);
        let Some(mut touched) = self.delta.take(&self.calls)? else { return Ok(()) };
        let mut target = Target { operator: &self.name, schema: &self.output, out };
        match &mut self.kept {
            Some(kept) => kept.merge(touched, &mut self.calls, &mut target),
            None => {
                let mut partial = std::mem::take(&mut touched.groups);
                for accumulator in touched.accumulators.iter_mut().flatten() {
                    partial.extend(accumulator.state()?);
                }
                target.send(partial, touched.total, None)
            }
        }
    }
}

/// Positions among the group columns by which the input is placed; all when that is not known.
fn distribution(node: &Node, group: &[usize]) -> Vec<usize> {
    let all = || (0..group.len()).collect();
    let Some(Distribution::Hash(placed)) = node.inputs.first().map(|i| &i.properties.distribution) else {
        return all();
    };
    let positions: Option<Vec<usize>> = placed.iter().map(|c| group.iter().position(|g| g == c)).collect();
    positions.unwrap_or_else(all)
}

impl StreamOperator for HashAgg {
    fn on_chunk(&mut self, _port: usize, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        let chunk = self.in_time(chunk, out)?;
        if chunk.is_empty() {
            return Ok(());
        }
        if let Some(quiet) = &mut self.quiet {
            quiet.stirred = true;
            quiet.open = true;
        }
        self.add(chunk, out)?;
        self.chunks += 1;
        if self.chunks.is_multiple_of(MEASURE_CHUNKS) {
            self.measured.set(self.delta.memory_bytes() + self.calls.pending_bytes());
        }
        if self.delta.len() > DELTA_GROUPS || self.measured.is_over() {
            self.flush(out)?;
        }
        Ok(())
    }

    fn on_watermark(&mut self, _port: usize, watermark: Watermark, _out: &mut Output) -> Result<()> {
        let Watermark { column, micros } = watermark;
        if let Some(quiet) = &mut self.quiet {
            quiet.stirred = true;
        }
        let heard = self.watermarks.entry(column).or_insert(micros);
        *heard = micros.max(*heard);
        if let Some(output) = self.group.iter().position(|g| *g == column) {
            self.held.insert(output, *heard);
        }
        Ok(())
    }

    fn on_barrier(&mut self, barrier: &Barrier, out: &mut Output) -> Result<()> {
        if !self.begun {
            self.begun = true;
            match &self.kept {
                Some(kept) if !self.totals.is_empty() => {
                    let (totals, rows) = kept.totals(&self.totals)?;
                    self.delta.begin(&self.calls, &totals, rows)?;
                }
                _ => self.delta.begin(&self.calls, &[], 1)?,
            }
        }
        self.flush(out)?;
        if self.on_close {
            self.close(barrier, out)?;
        }
        let past = self.window.filter(|_| self.frees).and_then(|window| self.watermarks.get(&window));
        if let (Some(kept), Some(watermark)) = (&mut self.kept, past) {
            kept.free_below(*watermark, &mut self.calls)?;
        }
        for (column, micros) in std::mem::take(&mut self.held) {
            let late = if micros == END_OF_TIME || self.phase == AggPhase::Partial { 0 } else { self.lateness };
            out.watermark(Watermark { column, micros: micros.saturating_sub(late) });
        }
        Ok(())
    }

    fn seal(&mut self, epoch: Epoch) -> Result<()> {
        if let Some(kept) = &mut self.kept {
            kept.seal(epoch);
        }
        for writer in self.calls.writers() {
            writer.seal(epoch);
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.measured.bytes() + self.kept.as_ref().map_or(0, Kept::memory_bytes) + self.calls.memory_bytes()
    }
}
