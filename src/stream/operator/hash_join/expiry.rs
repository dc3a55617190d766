//! Time in a join: watermarks that go on, rows that can have no further pair and are removed, rows that come too late
//! for those.
//!
//! ```text
//! l.ts >= r.ts - 5 s   and both sides at a watermark of 12 s:
//! left rows below 7 s meet nothing any more; a right row below 12 s would have to meet rows that are gone
//! ```
//! Rows are removed at a barrier, when as many have come as were left the last time: each is looked at a bounded number
//! of times, and no more than twice what is needed is kept.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{filter, not};
use arrow::datatypes::Int64Type;

use super::HashJoin;
use super::groups::Groups;
use super::side::Side;
use crate::common::{Error, Result};
use crate::plan::{self, JoinWatermark};
use crate::state::{KeyRange, StateWriter};
use crate::stream::message::Watermark;
use crate::stream::operator::{BuildContext, LateRows, Output, event_time};
use crate::types::time::END_OF_TIME;
use crate::types::{Epoch, StreamChunk, key};

/// So many rows are looked at whenever a watermark has risen.
const FEW_ROWS: usize = 1 << 12;
/// Rows that are read at once.
const SCAN_ROWS: usize = 1 << 16;

pub(super) struct Times {
    expiries: [Option<plan::Expiry>; 2],
    watermarks: Vec<JoinWatermark>,
    /// The last watermark sent of each.
    sent: Vec<Option<i64>>,
    /// By port and column.
    heard: [BTreeMap<usize, i64>; 2],
    /// The rows of each side with a time below it are removed.
    bounds: [Option<i64>; 2],
    /// Rows that came since rows were last removed, and that were left then.
    arrived: usize,
    left: usize,
    state: Option<StateWriter>,
    actor: usize,
}

impl Times {
    pub(super) fn new(join: &plan::HashJoin, context: &BuildContext<'_>) -> Result<Self> {
        let state = match join.bounds {
            Some(table) => Some(context.store.table(table, plan::HashJoin::bounds_schema())?.writer()),
            None => None,
        };
        let mut times = Self {
            expiries: [join.left.expiry, join.right.expiry],
            watermarks: join.watermarks.clone(),
            sent: vec![None; join.watermarks.len()],
            heard: Default::default(),
            bounds: [None; 2],
            arrived: 0,
            left: 0,
            state,
            actor: context.actor,
        };
        times.restore()?;
        Ok(times)
    }

    /// Another actor may have removed rows that are this one's now.
    fn restore(&mut self) -> Result<()> {
        let Some(state) = &self.state else { return Ok(()) };
        for (_, rows) in state.scan(&KeyRange::all(), None)? {
            for (bound, column) in self.bounds.iter_mut().zip(rows.columns()) {
                let column = column.as_primitive_opt::<Int64Type>();
                let column = column.ok_or_else(|| Error::corrupted("the bounds of a join"))?;
                *bound = (*bound).max(arrow::compute::max(column));
            }
        }
        Ok(())
    }

    /// Takes a watermark; sends on what follows from it.
    pub(super) fn hear(&mut self, port: usize, watermark: Watermark, out: &mut Output) {
        let heard = self.heard[port].entry(watermark.column).or_insert(watermark.micros);
        *heard = watermark.micros.max(*heard);
        for (rule, sent) in self.watermarks.iter().zip(&mut self.sent) {
            let at = |port: usize, (column, offset): (usize, i64)| {
                self.heard[port].get(&column).map(|micros| shifted(*micros, offset))
            };
            let (Some(left), Some(right)) = (at(0, rule.left), at(1, rule.right)) else { continue };
            let micros = left.min(right);
            if sent.is_none_or(|sent| sent < micros) {
                *sent = Some(micros);
                out.watermark(Watermark { column: rule.output, micros });
            }
        }
    }

    /// Up to where the rows of a side have no further pair.
    fn bound(&self, side: usize) -> Option<i64> {
        let expiry = self.expiries[side]?;
        let own = self.heard[side].get(&expiry.column)?;
        let other = self.heard[1 - side].get(&expiry.watermark)?;
        match shifted(*other, expiry.offset_micros).min(*own) {
            END_OF_TIME => Some(END_OF_TIME),
            bound => Some(bound.saturating_sub(expiry.lateness_micros)),
        }
    }

    /// The rows of a chunk that are not too late; the others are recorded. A row is too late when it is below its side's
    /// bound, or when rows that it could meet are below theirs.
    pub(super) fn in_time(&mut self, own: usize, chunk: StreamChunk, out: &mut Output) -> Result<StreamChunk> {
        self.arrived += chunk.num_rows();
        let other = self.expiries[1 - own].zip(self.bounds[1 - own]);
        let by_other = other.map(|(e, bound)| (e.watermark, shifted(bound, e.offset_micros.saturating_neg())));
        let by_own = self.expiries[own].zip(self.bounds[own]).map(|(e, bound)| (e.column, bound));
        let Some((column, bound)) = by_other.into_iter().chain(by_own).max_by_key(|(_, bound)| *bound) else {
            return Ok(chunk);
        };
        let times = event_time::micros(chunk.column(column))?;
        let late: BooleanArray = times.iter().map(|t| Some(t.is_some_and(|t| t < bound))).collect();
        if !late.has_true() {
            return Ok(chunk);
        }
        out.late_rows.push(LateRows { rows: chunk.filter(&late)?, watermark: bound });
        chunk.filter(&not(&late)?)
    }

    fn write(&mut self) -> Result<()> {
        let Some(state) = &mut self.state else { return Ok(()) };
        let actor: ArrayRef = Arc::new(Int64Array::from(vec![self.actor as i64]));
        let columns = self.bounds.iter().map(|bound| Arc::new(Int64Array::from(vec![*bound])) as ArrayRef).collect();
        let row = RecordBatch::try_new(plan::HashJoin::bounds_schema(), columns)?;
        state.write(key::encode(&[actor], 1)?, row, None)
    }

    pub(super) fn seal(&mut self, epoch: Epoch) {
        if let Some(state) = &mut self.state {
            state.seal(epoch);
        }
    }
}

impl HashJoin {
    /// At a barrier: removes the rows that have no further pair, if it is time to look for them.
    pub(super) fn expire(&mut self) -> Result<()> {
        let bounds = [self.times.bound(0), self.times.bound(1)];
        let rises = |side: usize| bounds[side] > self.times.bounds[side];
        if !rises(0) && !rises(1) || self.times.arrived < self.times.left && self.times.left > FEW_ROWS {
            return Ok(());
        }
        let mut left = 0;
        for (side, bound) in bounds.iter().enumerate() {
            if rises(side)
                && let (Some(expiry), Some(bound)) = (self.times.expiries[side], *bound)
            {
                let all = self.groups.whole[side];
                left += self.sides[side].expire(expiry.column, bound, &mut self.groups)?;
                if !all {
                    left += self.sides[side].expire_stored(expiry.column, bound, &self.vnodes)?;
                }
            }
        }
        for (kept, bound) in self.times.bounds.iter_mut().zip(bounds) {
            *kept = (*kept).max(bound);
        }
        (self.times.arrived, self.times.left) = (0, left);
        self.times.write()
    }
}

impl Side {
    /// Removes the rows in memory with a time below `bound`; returns how many are left.
    fn expire(&mut self, column: usize, bound: i64, groups: &mut Groups) -> Result<usize> {
        let mut expired = Vec::new();
        self.rows.each_block(|start, rows| {
            let times = event_time::micros(rows.column(column))?;
            let below = (start..).zip(times.iter()).filter(|(_, t)| t.is_some_and(|t| t < bound));
            expired.extend(below.map(|(id, _)| id));
            Ok(())
        })?;
        expired.retain(|id| self.rows.is_live(*id));
        self.remove(&expired, groups)?;
        Ok(self.rows.counts().0)
    }

    /// The same for rows that are in the table only; returns how many there are left.
    fn expire_stored(&mut self, column: usize, bound: i64, vnodes: &std::ops::Range<usize>) -> Result<usize> {
        let mut range = super::side::of_vnodes(vnodes);
        let mut left = 0;
        loop {
            let batches = self.state.scan(&range, Some(SCAN_ROWS))?;
            let scanned: usize = batches.iter().map(|(keys, _)| keys.len()).sum();
            let last = batches.iter().rev().find(|(keys, _)| !keys.is_empty());
            let Some(last) = last.map(|(keys, _)| keys.value(keys.len() - 1)) else { break };
            range.start = Bound::Excluded(last.to_vec());
            for (keys, rows) in batches {
                let times = event_time::micros(rows.column(column))?;
                let below: BooleanArray = times.iter().map(|t| Some(t.is_some_and(|t| t < bound))).collect();
                left += below.false_count();
                self.state.remove(filter(&keys, &below)?.as_binary::<i32>().clone());
            }
            if scanned < SCAN_ROWS {
                break;
            }
        }
        Ok(left)
    }
}

/// The end of time stays where it is.
fn shifted(micros: i64, by: i64) -> i64 {
    if micros == END_OF_TIME { micros } else { micros.saturating_add(by) }
}
