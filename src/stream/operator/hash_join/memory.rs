//! Which rows are in memory: all of them, as long as they fit.
//!
//! When they do not, the larger side goes first whose arriving rows need none of their own side ([`HashJoin::lean`]):
//! its rows are only written, and read again for the keys that the other side asks for. What is left is kept by key,
//! those used last. A key that is not there is read from the tables when it is met, if it can have rows there at all.

use super::HashJoin;
use super::side::of_vnodes;
use crate::common::Result;
use crate::state::{HotBytes, HotShare};
use crate::stream::operator::BuildContext;
use crate::stream::operator::absent::AbsentKeys;

/// Rows that are gone are swept out when there are more of them than this, and than rows.
const GONE_ROWS: usize = 1 << 14;

pub(super) struct Memory {
    /// Of either side: the keys that may have rows that are not in memory; `None` where that is not known.
    absent: [Option<AbsentKeys>; 2],
    share: HotShare,
    limit: usize,
}

impl Memory {
    pub(super) fn new(context: &BuildContext<'_>) -> Self {
        let hot = context.store.hot_bytes();
        Self { absent: [None, None], share: hot.share(), limit: HotBytes::limit(hot) }
    }

    fn may_have(&self, side: usize, hash: u64) -> bool {
        self.absent[side].as_ref().is_none_or(|absent| absent.may_have(hash))
    }

    fn forget(&mut self, side: usize, hash: u64) {
        if let Some(absent) = &mut self.absent[side] {
            absent.insert(hash);
            if absent.bytes() > self.limit / 4 {
                self.absent[side] = None;
            }
        }
    }

    fn bytes(&self) -> usize {
        self.absent.iter().flatten().map(AbsentKeys::bytes).sum()
    }
}

impl HashJoin {
    /// At the start: reads the rows of the sides that fit, the smaller one first.
    pub(super) fn restore(&mut self) -> Result<()> {
        let bytes = [self.sides[0].table_bytes(), self.sides[1].table_bytes()];
        let mut room = self.memory.limit;
        for side in if bytes[0] <= bytes[1] { [0, 1] } else { [1, 0] } {
            if bytes[side] > room {
                break;
            }
            room -= bytes[side];
            self.groups.whole[side] = true;
            self.memory.absent[side] = Some(AbsentKeys::default());
        }
        let whole = self.groups.whole;
        for side in self.sides.iter_mut().filter(|side| whole[side.index]) {
            side.load_all(&self.vnodes, &mut self.groups)?;
        }
        Ok(())
    }

    /// Brings in what these groups have on a side.
    pub(super) fn need(&mut self, side: usize, groups: &[u32]) -> Result<()> {
        if self.groups.whole[side] {
            return Ok(());
        }
        let mut missing = Vec::new();
        for id in groups.iter().filter(|id| **id != super::NONE) {
            let group = &mut self.groups.groups[*id as usize];
            if !std::mem::replace(&mut group.held[side], true) && self.memory.may_have(side, group.hash) {
                missing.push(*id);
            }
        }
        match missing.is_empty() {
            true => Ok(()),
            false => self.sides[side].load(&missing, &mut self.groups),
        }
    }

    /// Brings in all groups that have left rows.
    pub(super) fn load_left(&mut self) -> Result<()> {
        if self.groups.whole == [true, true] {
            return Ok(());
        }
        let left = &self.sides[0];
        let mut groups = Vec::new();
        for (_, rows) in left.state.scan(&of_vnodes(&self.vnodes), None)? {
            groups.extend(self.groups.resolve(&left.join_keys(&rows)?, |_| false, self.now));
        }
        self.need(0, &groups)?;
        self.need(1, &groups)
    }

    /// At a barrier, when all changes are written: lets go of what is gone, and of what memory is short for.
    pub(super) fn trim(&mut self) -> Result<()> {
        for side in [0, 1] {
            if std::mem::take(&mut self.loose[side]) {
                self.let_go(side)?;
            }
        }
        let mut wanted = self.hold();
        if wanted.is_some() {
            let may_go = |side: &usize| self.lean(*side) && self.groups.whole[*side];
            let size = |side: &usize| self.sides[*side].rows.memory_bytes();
            if let Some(side) = [0, 1].into_iter().filter(may_go).max_by_key(size) {
                self.groups.whole[side] = false;
                self.groups.groups.iter_mut().for_each(|group| group.held[side] = false);
                self.let_go(side)?;
                wanted = self.hold();
            }
        }
        let (live, gone) = self.sides.iter().map(|s| s.rows.counts()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        let empty = self.groups.len().saturating_sub(live);
        if let Some(wanted) = wanted {
            let bytes = self.row_bytes() + self.memory.bytes();
            let rows = (live as f64 * (wanted as f64 / bytes.max(1) as f64)) as usize;
            self.pack(rows)?;
        } else if gone + empty > live.max(GONE_ROWS) {
            self.pack(usize::MAX)?;
        } else {
            return Ok(());
        }
        self.hold();
        Ok(())
    }

    /// Tells what is held; returns to how many bytes it should come down, if it should.
    fn hold(&mut self) -> Option<usize> {
        self.memory.share.hold(self.row_bytes() + self.memory.bytes())
    }

    /// Lets the rows of a side go, but for those of groups that have all of theirs in memory.
    fn let_go(&mut self, side: usize) -> Result<()> {
        let none = self.sides[side].rows.emptied();
        let rows = std::mem::replace(&mut self.sides[side].rows, none);
        let (mut ids, mut of) = (Vec::new(), Vec::new());
        for id in 0..self.groups.len() as u32 {
            if self.groups.list(id, side).len == 0 {
                continue;
            }
            if self.groups.groups[id as usize].held[side] {
                super::list(&self.groups, &rows, id, side, &mut ids);
                of.resize(ids.len(), id);
            } else {
                self.memory.forget(side, self.groups.hash(id));
            }
            *self.groups.list_mut(id, side) = super::groups::EMPTY;
        }
        self.sides[side].rows.take_over(&rows, &ids, &of, &mut self.groups, side)
    }

    /// Copies about `rows` rows, of the keys used last, and forgets all others.
    fn pack(&mut self, rows: usize) -> Result<()> {
        let mut order: Vec<u32> = self.groups.with_rows().collect();
        let len = |id: u32| (self.groups.list(id, 0).len + self.groups.list(id, 1).len) as usize;
        if rows < usize::MAX {
            order.sort_by_key(|id| std::cmp::Reverse(self.groups.groups[*id as usize].used));
        }
        let mut taken = 0;
        let exceeds = |id: &u32| {
            taken += len(*id);
            taken > rows
        };
        let kept = order.iter().position(exceeds).unwrap_or(order.len());
        let (kept, forgotten) = order.split_at(kept);
        for (id, side) in forgotten.iter().flat_map(|id| [(*id, 0), (*id, 1)]) {
            if self.groups.list(id, side).len > 0 {
                self.groups.whole[side] = false;
                self.memory.forget(side, self.groups.hash(id));
            }
        }
        let mut groups = self.groups.emptied();
        for old in kept {
            let new = groups.get_or_insert(self.groups.key(*old));
            let (new, old) = (&mut groups.groups[new as usize], &self.groups.groups[*old as usize]);
            (new.used, new.held) = (old.used, old.held);
        }
        for (index, side) in self.sides.iter_mut().enumerate() {
            let (mut ids, mut of) = (Vec::new(), Vec::new());
            for (new, old) in (0..).zip(kept) {
                super::list(&self.groups, &side.rows, *old, index, &mut ids);
                of.resize(ids.len(), new);
            }
            let mut rows = side.rows.emptied();
            rows.take_over(&side.rows, &ids, &of, &mut groups, index)?;
            side.rows = rows;
        }
        self.groups = groups;
        Ok(())
    }

    pub(super) fn row_bytes(&self) -> usize {
        self.groups.memory_bytes() + self.sides.iter().map(|s| s.rows.memory_bytes()).sum::<usize>()
    }
}
