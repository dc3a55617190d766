//! HashJoin: joins two streams of changes, each row of a chunk with what the other side holds at that moment.
//!
//! ```text
//! chunk at port 0 --keys--> Groups --pairs--> Condition --> Changes --> out
//!                              |  ^                            ^
//!                       own row |  | other rows                 | columns of both
//!                              v  |                            |
//!                     Side 0: Rows, state        Side 1: Rows, state
//! ```
//! A join is bilinear: the change of the product is the change of one side times the other side as it is, with the
//! product of the weights. A chunk is joined at once and in the order of its rows; while it is, the other side stands
//! still. Where it matters to a row whether it has a pair (outer, semi, anti, mark), a row that gains its first or loses
//! its last one is sent again. Without a condition that is when the first row of its key comes or the last one goes;
//! with one, each row is kept with the number of its pairs.
//!
//! Rows live in their side's state table, and in memory too, by [`Groups`], as far as it reaches (see [`Memory`]).

mod changes;
mod condition;
mod expiry;
mod groups;
mod memory;
mod not_in;
mod rows;
mod side;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use self::changes::{Changes, Shape, Sources};
use self::condition::{Condition, Search};
use self::expiry::Times;
use self::groups::{Groups, NONE};
use self::memory::Memory;
use self::not_in::NotIn;
use self::side::{Arrival, Side, keeps_nulls};
use super::{BuildContext, Output, StreamOperator};
use crate::common::{Error, Result};
use crate::plan::{self, JoinKind, Node};
use crate::stream::message::{Barrier, Watermark};
use crate::types::{Epoch, StreamChunk};

pub struct HashJoin {
    name: String,
    kind: JoinKind,
    sides: [Side; 2],
    /// Whether it matters to a side's rows if they have a pair.
    follows: [bool; 2],
    keeps_nulls: bool,
    /// It matters only if a key has any right row, and none ever goes: the first is enough.
    one_right_row: bool,
    groups: Groups,
    memory: Memory,
    /// Of either side: the open epoch has rows of groups whose other rows are not in memory.
    loose: [bool; 2],
    condition: Option<Condition>,
    not_in: Option<NotIn>,
    times: Times,
    shape: Shape,
    vnodes: Range<usize>,
    /// Barriers met.
    now: u32,
}

impl HashJoin {
    pub(super) fn new(name: String, join: &plan::HashJoin, node: &Node, context: &BuildContext<'_>) -> Result<Self> {
        let [left, right] = node.inputs.as_slice() else {
            return Err(Error::internal(format!("{name} has {} inputs", node.inputs.len())));
        };
        let width = left.schema.fields().len();
        let sides = [
            Side::new(join, 0, Arc::clone(&left.schema), context)?,
            Side::new(join, 1, Arc::clone(&right.schema), context)?,
        ];
        let mut operator = Self {
            name,
            kind: join.kind,
            sides,
            follows: [join.kind.follows_matches(true), join.kind.follows_matches(false)],
            keeps_nulls: keeps_nulls(join),
            one_right_row: matches!(join.kind, JoinKind::Semi | JoinKind::Anti | JoinKind::Mark)
                && join.right.append_only
                && join.condition.is_none(),
            groups: Groups::default(),
            memory: Memory::new(context),
            loose: [false; 2],
            condition: join.condition.as_ref().map(|c| Condition::new(c, width)).transpose()?,
            not_in: join.counts.map(|table| NotIn::new(table, context)).transpose()?,
            times: Times::new(join, context)?,
            shape: Shape::new(join, width, Arc::clone(&node.schema)),
            vnodes: context.vnodes.clone(),
            now: 0,
        };
        operator.restore()?;
        Ok(operator)
    }

    fn join(&mut self, own: usize, chunk: &StreamChunk, out: &mut Output) -> Result<()> {
        let batch = self.sides[own].conform(chunk)?;
        let join_keys = self.sides[own].join_keys(&batch)?;
        let nulls = if self.keeps_nulls { None } else { self.sides[own].null_keys(&batch) };
        let is_null = |row| nulls.as_ref().is_some_and(|n| n.is_null(row));
        let groups = self.groups.resolve(&join_keys, is_null, self.now);
        self.need(1 - own, &groups)?;
        if !self.lean(own) {
            self.need(own, &groups)?;
        }
        let keys = self.sides[own].stored_keys(&join_keys, &batch)?;
        let mut arrival = self.sides[own].arrive(chunk, batch, groups, keys)?;
        let matches = self.walk(own, chunk, &mut arrival, out)?;
        self.sides[own].write(arrival, chunk, matches)
    }

    /// Joins the rows of a chunk one by one. Returns how many pairs each has, where that is kept.
    fn walk(&mut self, own: usize, chunk: &StreamChunk, arrival: &mut Arrival, out: &mut Output) -> Result<Vec<i64>> {
        let pairs = match &self.condition {
            Some(condition) => {
                let others = &self.sides[1 - own].rows;
                let search = Search { operator: &self.name, own, batch: &arrival.batch, chunk, others };
                let groups = &self.groups;
                let candidates =
                    |row: usize, ids: &mut Vec<u32>| list(groups, others, arrival.groups[row], 1 - own, ids);
                Some(condition.pairs(&search, candidates, out)?)
            }
            None => None,
        };
        let counts = self.condition.is_some() && self.follows[own];
        let mut matches = Vec::with_capacity(if counts { chunk.num_rows() } else { 0 });
        let mut changes = Changes::default();
        let mut found = Vec::new();
        for row in 0..chunk.num_rows() {
            let group = arrival.groups[row];
            let sign = chunk.weight(row).signum();
            let (hits, count): (&[u32], usize) = match &pairs {
                Some(pairs) => (pairs.of(row), pairs.of(row).len()),
                None => {
                    found.clear();
                    if self.needs_hits(own, group, sign) {
                        list(&self.groups, &self.sides[1 - own].rows, group, 1 - own, &mut found);
                    }
                    (&found, self.len(group, 1 - own))
                }
            };
            if counts {
                matches.push(count as i64);
            }
            match self.kind {
                JoinKind::NotIn => self.not_in(own, group, row as u32, sign, &mut changes)?,
                _ => self.change(own, group, (row as u32, sign), (hits, count > 0), &mut changes),
            }
            self.apply(own, row, sign, arrival, count)?;
            if changes.is_full() {
                let sources = Sources { own, chunk: &arrival.batch, other: &self.sides[1 - own].rows };
                changes.send(&sources, &self.shape, out)?;
            }
        }
        let sources = Sources { own, chunk: &arrival.batch, other: &self.sides[1 - own].rows };
        changes.send(&sources, &self.shape, out)?;
        Ok(matches)
    }

    /// Whether a row that comes on this side needs none of its own side's: to be found again, to be the first or the
    /// last of its key.
    fn lean(&self, own: usize) -> bool {
        let first_only = self.one_right_row && own == 1;
        self.sides[own].grows() && !self.follows[1 - own] && self.kind != JoinKind::NotIn && !first_only
    }

    /// How many rows a group has on a side.
    fn len(&self, group: u32, side: usize) -> usize {
        if group == NONE { 0 } else { self.groups.list(group, side).len as usize }
    }

    /// Whether it matters which rows of the other side have the row's key, and not only if any have: for the pairs, or
    /// because this is the first row of its key, or the last to go.
    fn needs_hits(&self, own: usize, group: u32, sign: i64) -> bool {
        let turns = self.len(group, own) == usize::from(sign < 0);
        self.kind.emits_pairs() || self.follows[1 - own] && turns && self.kind != JoinKind::NotIn
    }

    /// What row `row` of the chunk changes, which has `hits` as pairs, where they matter.
    fn change(
        &mut self,
        own: usize,
        group: u32,
        (row, sign): (u32, i64),
        (hits, paired): (&[u32], bool),
        changes: &mut Changes,
    ) {
        let emits_pairs = self.kind.emits_pairs();
        if self.follows[1 - own] {
            // Without a condition all rows of the key gain their first pair together, and lose their last.
            let before = self.len(group, own) as i64;
            for id in hits {
                let before = match self.condition {
                    Some(_) => self.sides[1 - own].count(*id, sign),
                    None => before,
                };
                let gains = sign > 0 && before == 0;
                let loses = sign < 0 && before == 1;
                if gains {
                    self.turn(*id, true, changes);
                }
                if emits_pairs {
                    changes.push(row, *id, sign);
                }
                if loses {
                    self.turn(*id, false, changes);
                }
            }
        } else if emits_pairs {
            for id in hits {
                changes.push(row, *id, sign);
            }
        }
        if self.follows[own] {
            match self.kind {
                JoinKind::Mark => changes.push_marked(row, NONE, sign, paired),
                JoinKind::Semi if paired => changes.push(row, NONE, sign),
                JoinKind::Semi => {}
                _ if paired => {}
                _ => changes.push(row, NONE, sign),
            }
        }
    }

    /// A row of the other side now has a pair, or has none any more.
    fn turn(&self, id: u32, paired: bool, changes: &mut Changes) {
        match self.kind {
            JoinKind::Mark => {
                changes.push_marked(NONE, id, -1, !paired);
                changes.push_marked(NONE, id, 1, paired);
            }
            JoinKind::Semi => changes.push(NONE, id, if paired { 1 } else { -1 }),
            _ => changes.push(NONE, id, if paired { -1 } else { 1 }),
        }
    }

    /// Puts row `row` of the chunk into its side, or takes it out.
    fn apply(&mut self, own: usize, row: usize, sign: i64, arrival: &mut Arrival, matches: usize) -> Result<()> {
        let group = arrival.groups[row];
        if group == NONE {
            return Ok(());
        }
        if self.one_right_row && own == 1 && self.len(group, own) > 0 {
            // Neither kept nor written.
            arrival.groups[row] = NONE;
            return Ok(());
        }
        self.loose[own] |= !self.groups.groups[group as usize].held[own];
        let rows = &mut self.sides[own].rows;
        if sign > 0 {
            rows.link(arrival.numbers[row], group, &mut self.groups, own);
            rows.set_matches(arrival.numbers[row], matches as i64);
            return Ok(());
        }
        match rows.find(arrival.keys.value(row)) {
            Some(id) => rows.unlink(id, &mut self.groups, own),
            None => {
                return Err(Error::internal(format!("{}: a row was retracted that had not been inserted", self.name)));
            }
        }
        Ok(())
    }
}

/// Adds the rows of a group on one side to `ids`.
fn list(groups: &Groups, rows: &rows::Rows, group: u32, side: usize, ids: &mut Vec<u32>) {
    if group == NONE {
        return;
    }
    let mut at = groups.list(group, side).first;
    while at != NONE {
        ids.push(at);
        at = rows.next(at);
    }
}

impl StreamOperator for HashJoin {
    fn on_chunk(&mut self, port: usize, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        let chunk = self.times.in_time(port, chunk, out)?;
        match chunk.is_empty() {
            true => Ok(()),
            false => self.join(port, &chunk, out),
        }
    }

    fn on_watermark(&mut self, port: usize, watermark: Watermark, out: &mut Output) -> Result<()> {
        self.times.hear(port, watermark, out);
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, _out: &mut Output) -> Result<()> {
        self.now += 1;
        for side in &mut self.sides {
            side.write_changed()?;
            side.rows.settle()?;
        }
        self.expire()?;
        if let Some(not_in) = &mut self.not_in {
            not_in.write()?;
        }
        self.trim()
    }

    fn seal(&mut self, epoch: Epoch) -> Result<()> {
        for side in &mut self.sides {
            side.seal(epoch);
        }
        self.times.seal(epoch);
        if let Some(not_in) = &mut self.not_in {
            not_in.seal(epoch);
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.row_bytes() + self.sides.iter().map(Side::open_bytes).sum::<usize>()
    }
}
