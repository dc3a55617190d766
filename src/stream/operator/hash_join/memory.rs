//! Which keys are in memory: all of them, as long as they fit; then those used last. One that is not there is read from
//! the tables when it is met.

use hashbrown::HashSet;

use super::HashJoin;
use super::groups::Groups;
use super::side::of_vnodes;
use crate::common::Result;
use crate::state::{HotBytes, HotShare};
use crate::stream::operator::BuildContext;

/// So many hashes of absent keys are remembered.
const ABSENT_KEYS: usize = 1 << 22;
/// Rows that are gone are swept out when there are more of them than this, and than rows.
const GONE_ROWS: usize = 1 << 14;

pub(super) struct Memory {
    known: Known,
    share: HotShare,
    limit: usize,
}

/// What is known of the keys that have rows.
enum Known {
    /// All are in memory.
    All,
    /// The others have these hashes; some of those may be back, or gone.
    Absent(HashSet<u64>),
    Nothing,
}

impl Memory {
    pub(super) fn new(context: &BuildContext<'_>) -> Self {
        let hot = context.store.hot_bytes();
        Self { known: Known::Nothing, share: hot.share(), limit: HotBytes::limit(hot) }
    }

    pub(super) fn has_all(&self) -> bool {
        matches!(self.known, Known::All)
    }

    /// The groups among `fresh` that may have rows in the tables.
    fn absent(&self, fresh: Vec<u32>, groups: &Groups) -> Vec<u32> {
        match &self.known {
            Known::All => Vec::new(),
            Known::Absent(hashes) => fresh.into_iter().filter(|id| hashes.contains(&groups.hash(*id))).collect(),
            Known::Nothing => fresh,
        }
    }

    fn forget(&mut self, hash: u64) {
        if let Known::All = self.known {
            self.known = Known::Absent(HashSet::new());
        }
        if let Known::Absent(hashes) = &mut self.known {
            hashes.insert(hash);
            if hashes.len() > ABSENT_KEYS {
                self.known = Known::Nothing;
            }
        }
    }

    fn bytes(&self) -> usize {
        match &self.known {
            Known::Absent(hashes) => hashes.capacity() * 9,
            Known::All | Known::Nothing => 0,
        }
    }
}

impl HashJoin {
    /// At the start: reads all rows if those of all actors fit.
    pub(super) fn restore(&mut self) -> Result<()> {
        let bytes: usize = self.sides.iter().map(|s| s.table_bytes()).sum();
        if bytes > self.memory.limit {
            return Ok(());
        }
        for side in &mut self.sides {
            side.load_all(&self.vnodes, &mut self.groups)?;
        }
        self.memory.known = Known::All;
        Ok(())
    }

    /// Brings the rows of new groups in.
    pub(super) fn load(&mut self, fresh: Vec<u32>) -> Result<()> {
        let absent = self.memory.absent(fresh, &self.groups);
        for side in self.sides.iter_mut().filter(|_| !absent.is_empty()) {
            side.load(&absent, &mut self.groups)?;
        }
        Ok(())
    }

    /// Brings in all groups that have left rows.
    pub(super) fn load_left(&mut self) -> Result<()> {
        if self.memory.has_all() {
            return Ok(());
        }
        let left = &self.sides[0];
        let mut fresh = Vec::new();
        for (_, rows) in left.state.scan(&of_vnodes(&self.vnodes), None)? {
            let keys = left.join_keys(&rows)?;
            self.groups.resolve(&keys, |_| false, self.now, &mut fresh);
        }
        for side in &mut self.sides {
            side.load(&fresh, &mut self.groups)?;
        }
        Ok(())
    }

    /// At a barrier, when all changes are written: lets go of what is gone, and of the keys used longest ago when memory
    /// is short.
    pub(super) fn trim(&mut self) -> Result<()> {
        let bytes = self.row_bytes() + self.memory.bytes();
        let wanted = self.memory.share.hold(bytes);
        let (live, gone) = self.sides.iter().map(|s| s.rows.counts()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        let empty = self.groups.len().saturating_sub(live);
        if let Some(wanted) = wanted {
            let rows = (live as f64 * (wanted as f64 / bytes.max(1) as f64)) as usize;
            self.pack(rows)?;
        } else if gone + empty > live.max(GONE_ROWS) {
            self.pack(usize::MAX)?;
        } else {
            return Ok(());
        }
        self.memory.share.hold(self.row_bytes() + self.memory.bytes());
        Ok(())
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
        for id in forgotten {
            self.memory.forget(self.groups.hash(*id));
        }
        let mut groups = self.groups.emptied();
        for old in kept {
            let new = groups.get_or_insert(self.groups.key(*old));
            groups.groups[new as usize].used = self.groups.groups[*old as usize].used;
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
