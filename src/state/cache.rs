//! Decoded pages of all tables, within a limit of bytes. Clock eviction: a page that was used since the hand last
//! passed stays. Knows no backend; a miss is the caller's to load.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::page::Page;
use crate::types::TableId;

pub(super) type PageName = (TableId, u32);

/// Shared by all readers and the commit.
pub(super) struct PageCache {
    limit: usize,
    ring: Mutex<Ring>,
}

#[derive(Default)]
struct Ring {
    slots: Vec<Slot>,
    by_name: HashMap<PageName, usize>,
    hand: usize,
    bytes: usize,
}

struct Slot {
    name: PageName,
    page: Arc<Page>,
    used: bool,
}

impl PageCache {
    /// Holds pages of at most `limit` bytes together; one page may exceed it.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), ring: Mutex::default() }
    }

    pub(super) fn get(&self, name: PageName) -> Option<Arc<Page>> {
        let mut ring = self.ring.lock();
        let at = *ring.by_name.get(&name)?;
        let slot = ring.slots.get_mut(at)?;
        slot.used = true;
        Some(slot.page.clone())
    }

    pub(super) fn insert(&self, name: PageName, page: Arc<Page>) {
        let mut ring = self.ring.lock();
        ring.remove(name);
        let at = ring.slots.len();
        ring.bytes += page.bytes();
        ring.slots.push(Slot { name, page, used: false });
        ring.by_name.insert(name, at);
        while ring.bytes > self.limit && ring.slots.len() > 1 {
            ring.evict();
        }
    }

    pub(super) fn remove(&self, name: PageName) {
        self.ring.lock().remove(name);
    }
}

impl Ring {
    fn remove(&mut self, name: PageName) {
        if let Some(at) = self.by_name.remove(&name) {
            self.take(at);
        }
    }

    fn take(&mut self, at: usize) {
        let slot = self.slots.swap_remove(at);
        self.bytes -= slot.page.bytes();
        if let Some(moved) = self.slots.get(at) {
            self.by_name.insert(moved.name, at);
        }
    }

    fn evict(&mut self) {
        loop {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            let Some(slot) = self.slots.get_mut(self.hand) else { return };
            if slot.used {
                slot.used = false;
                self.hand += 1;
            } else {
                let name = slot.name;
                return self.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::page::tests::page_of;

    #[test]
    fn used_pages_outlive_unused_ones() {
        let one = Arc::new(page_of(&["a"]));
        let cache = PageCache::new(one.bytes() as u64 * 3);
        let name = |n| (TableId(1), n);
        for n in 0..3 {
            cache.insert(name(n), one.clone());
        }
        cache.get(name(0)).unwrap();
        cache.insert(name(3), one.clone());
        cache.insert(name(4), one.clone());
        assert!(cache.get(name(0)).is_some());
        let left = (0..5).filter(|n| cache.get(name(*n)).is_some()).count();
        assert_eq!(left, 3);
        for n in 0..5 {
            cache.remove(name(n));
        }
        assert_eq!(cache.ring.lock().bytes, 0);
        assert!(cache.get(name(0)).is_none());
    }

    #[test]
    fn a_page_above_the_limit_is_still_held() {
        let cache = PageCache::new(0);
        cache.insert((TableId(1), 1), Arc::new(page_of(&["a"])));
        cache.insert((TableId(1), 2), Arc::new(page_of(&["b"])));
        assert!(cache.get((TableId(1), 2)).is_some());
        assert!(cache.get((TableId(1), 1)).is_none());
    }
}
