//! What is durable: the segments, where the log begins and ends, and who waits for more. The writer publishes here,
//! readers look here; it does no I/O.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A segment as far as it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub first_offset: u64,
    /// Bytes of the file that count.
    pub length: u64,
}

/// Where an entry is, and how far its segment may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub segment: Segment,
    /// The offset after the segment's last durable entry. What the file holds beyond was never acknowledged.
    pub until: u64,
}

pub struct Index {
    /// Rising, without gaps, never empty: the last one is written to.
    segments: Mutex<VecDeque<Segment>>,
    end: AtomicU64,
    waiting: Mutex<Vec<Weak<Notify>>>,
}

impl Index {
    /// `segments` is not empty and rises; `end` is the offset after the last durable entry.
    pub fn new(segments: impl IntoIterator<Item = Segment>, end: u64) -> Self {
        Self {
            segments: Mutex::new(segments.into_iter().collect()),
            end: AtomicU64::new(end),
            waiting: Mutex::new(Vec::new()),
        }
    }

    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub fn start(&self) -> u64 {
        self.segments.lock().front().map_or(0, |s| s.first_offset)
    }

    pub fn bytes(&self) -> u64 {
        self.segments.lock().iter().map(|s| s.length).sum()
    }

    /// Where the durable entry `offset` is; `None` below the start or from the end on.
    pub fn find(&self, offset: u64) -> Option<Place> {
        let segments = self.segments.lock();
        let end = self.end();
        let after = segments.partition_point(|s| s.first_offset <= offset);
        let segment = *segments.get(after.checked_sub(1)?)?;
        let until = segments.get(after).map_or(end, |next| next.first_offset);
        (offset < until).then_some(Place { segment, until })
    }

    /// The last segment is durable up to `length`, its entries up to `end`.
    pub fn publish(&self, length: u64, end: u64) {
        let mut segments = self.segments.lock();
        if let Some(last) = segments.back_mut() {
            last.length = length;
        }
        self.end.store(end, Ordering::Release);
        drop(segments);
        self.waiting.lock().retain(|waiting| match waiting.upgrade() {
            Some(notify) => {
                notify.notify_waiters();
                // A permit for one that looked before the entry came and waits after.
                notify.notify_one();
                true
            }
            None => false,
        });
    }

    pub fn begin_segment(&self, segment: Segment) {
        self.segments.lock().push_back(segment);
    }

    /// The first segment, if it is closed and all its entries are below `offset`, and the log's bytes.
    pub fn oldest_below(&self, offset: u64) -> Option<(Segment, u64)> {
        let segments = self.segments.lock();
        let oldest = *segments.front()?;
        let next = segments.get(1)?;
        (next.first_offset <= offset).then(|| (oldest, segments.iter().map(|s| s.length).sum()))
    }

    /// Takes away the first segment, which is `segment`.
    pub fn remove_oldest(&self, segment: Segment) {
        let mut segments = self.segments.lock();
        if segments.front() == Some(&segment) {
            segments.pop_front();
        }
    }

    pub fn restore_oldest(&self, segment: Segment) {
        self.segments.lock().push_front(segment);
    }

    pub fn watch(&self) -> Arc<Notify> {
        let notify = Arc::new(Notify::new());
        let mut waiting = self.waiting.lock();
        waiting.retain(|w| w.strong_count() > 0);
        waiting.push(Arc::downgrade(&notify));
        notify
    }
}
