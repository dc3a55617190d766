//! Bytes that the streams have taken in or written and no commit has put on disk yet, within one limit for the whole store. Knows
//! neither tables nor actors: who holds bytes says so; sources wait while there is no room; the checkpoint driver is told
//! when a commit would make some.
//!
//! ```text
//! used  0 ........ half ........ limit ......
//!         nothing        commit        and sources wait
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// More than this makes no batch faster.
const MOST_OPEN_BYTES: usize = 64 << 20;

/// The limit and what is used of it.
#[derive(Debug)]
pub struct Uncommitted {
    limit: usize,
    used: AtomicUsize,
    /// Wakes the checkpoint driver when half is used.
    pressed: Notify,
    /// Wakes sources when there is room again.
    room: Notify,
}

/// What one holder has; given back when it is dropped.
#[derive(Debug)]
pub struct UncommittedShare {
    all: Arc<Uncommitted>,
    held: usize,
}

impl Uncommitted {
    pub(super) fn new(limit: u64) -> Arc<Self> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Arc::new(Self { limit, used: AtomicUsize::new(0), pressed: Notify::new(), room: Notify::new() })
    }

    /// Bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }

    /// So much is used that a commit should make room, though no interval is over.
    pub fn is_pressed(&self) -> bool {
        self.used() >= self.limit / 2
    }

    /// Sources should wait.
    pub fn is_full(&self) -> bool {
        self.used() >= self.limit
    }

    /// Waits until it has become pressed; a wake-up that nobody waited for is kept.
    pub async fn pressed(&self) {
        self.pressed.notified().await;
    }

    /// Waits until it is not full.
    pub async fn room(self: Arc<Self>) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if !self.is_full() {
                return;
            }
            room.await;
        }
    }

    pub fn share(self: &Arc<Self>) -> UncommittedShare {
        UncommittedShare { all: Arc::clone(self), held: 0 }
    }

    fn add(&self, bytes: usize) {
        let before = self.used.fetch_add(bytes, Ordering::SeqCst);
        let half = self.limit / 2;
        if before < half && before.saturating_add(bytes) >= half {
            self.pressed.notify_one();
        }
    }

    fn sub(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::SeqCst);
        if before >= self.limit && before.saturating_sub(bytes) < self.limit {
            self.room.notify_waiters();
        }
    }
}

impl UncommittedShare {
    /// The holder has `bytes` now.
    pub fn set(&mut self, bytes: usize) {
        match bytes >= self.held {
            true => self.all.add(bytes - self.held),
            false => self.all.sub(self.held - bytes),
        }
        self.held = bytes;
    }

    pub fn bytes(&self) -> usize {
        self.held
    }

    /// More than one operator may hold back of the open epoch: it should be worked off.
    pub fn is_over(&self) -> bool {
        self.held > MOST_OPEN_BYTES.min(self.all.limit)
    }

    /// The share with all that it holds; an empty one stays.
    pub fn take(&mut self) -> Self {
        let empty = self.all.share();
        std::mem::replace(self, empty)
    }
}

impl Drop for UncommittedShare {
    fn drop(&mut self) {
        self.all.sub(self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_asks_for_a_commit_and_all_holds_sources() {
        let all = Uncommitted::new(100);
        let (mut open, mut other) = (all.share(), all.share());
        for (bytes, pressed, full) in [(0, false, false), (49, false, false), (50, true, false), (100, true, true)] {
            open.set(bytes);
            assert_eq!((all.is_pressed(), all.is_full()), (pressed, full), "{bytes} bytes");
        }
        let sealed = open.take();
        other.set(7);
        assert_eq!(all.used(), 107);
        drop(open);
        assert_eq!(all.used(), 107);
        drop(sealed);
        assert_eq!(all.used(), 7);
    }

    #[test]
    fn one_operator_has_a_limit_of_its_own() {
        let mut share = Uncommitted::new(100).share();
        for (bytes, over) in [(100, false), (101, true), (0, false)] {
            share.set(bytes);
            assert_eq!((share.bytes(), share.is_over()), (bytes, over));
        }
        let mut share = Uncommitted::new(1 << 40).share();
        share.set(MOST_OPEN_BYTES + 1);
        assert!(share.is_over());
    }

    #[tokio::test]
    async fn waiters_wake() {
        let all = Uncommitted::new(100);
        let mut share = all.share();
        share.set(100);
        all.pressed().await;
        let waiter = tokio::spawn(all.clone().room());
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        share.set(99);
        waiter.await.unwrap();
        all.room().await;
    }
}
