//! Bytes of rows that operators keep decoded beside the page cache, within one limit for all of them. Knows no operator:
//! each says what it holds, and is told what it should.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The limit and what is used of it.
#[derive(Debug)]
pub struct HotBytes {
    limit: usize,
    used: AtomicUsize,
}

/// What one operator holds; given back when it is dropped.
#[derive(Debug)]
pub struct HotShare {
    all: Arc<HotBytes>,
    held: usize,
}

impl HotBytes {
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), used: AtomicUsize::new(0) })
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    pub fn share(self: &Arc<Self>) -> HotShare {
        HotShare { all: Arc::clone(self), held: 0 }
    }
}

impl HotShare {
    /// The operator holds `bytes` now. Returns to how many it should come down, if all together hold too much: each by
    /// the same part, and somewhat below the limit, so that the next row does not exceed it again.
    pub fn hold(&mut self, bytes: usize) -> Option<usize> {
        let used = self.all.used.fetch_add(bytes, Ordering::Relaxed).wrapping_add(bytes);
        self.all.used.fetch_sub(self.held, Ordering::Relaxed);
        let used = used.wrapping_sub(self.held);
        self.held = bytes;
        if used <= self.all.limit {
            return None;
        }
        let part = self.all.limit as f64 / used as f64;
        Some((bytes as f64 * part * 0.7) as usize)
    }
}

impl Drop for HotShare {
    fn drop(&mut self) {
        self.all.used.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_come_down_by_the_same_part() {
        let all = HotBytes::new(100);
        let (mut a, mut b) = (all.share(), all.share());
        assert_eq!(a.hold(60), None);
        assert_eq!(b.hold(40), None);
        assert_eq!(b.hold(140), Some(49));
        assert_eq!(a.hold(60), Some(21));
        drop(b);
        assert_eq!(a.hold(100), None);
    }
}
