//! How the streams tell the coordinator that there is something to put a barrier behind: no barrier is sent when nothing
//! changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tokio::sync::Notify;

/// Shared by all sources and the barrier timer.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dirty: AtomicBool,
    urgent: AtomicBool,
    unsettled: AtomicBool,
    /// When time alone changes something; `NEVER` when it does not.
    due: AtomicI64,
    notify: Notify,
}

const NEVER: i64 = i64::MAX;

impl Default for Inner {
    fn default() -> Self {
        Self {
            dirty: AtomicBool::default(),
            urgent: AtomicBool::default(),
            unsettled: AtomicBool::default(),
            due: AtomicI64::new(NEVER),
            notify: Notify::default(),
        }
    }
}

impl Pulse {
    /// Data has entered: the next timed barrier is wanted.
    pub fn mark(&self) {
        if !self.0.dirty.swap(true, Ordering::SeqCst) {
            self.0.notify.notify_one();
        }
    }

    /// A barrier has left something to do at the next one.
    pub fn unsettle(&self) {
        self.0.unsettled.store(true, Ordering::SeqCst);
        self.mark();
    }

    /// A barrier is wanted now: a bounded source has ended.
    pub fn urge(&self) {
        self.0.dirty.store(true, Ordering::SeqCst);
        if !self.0.urgent.swap(true, Ordering::SeqCst) {
            self.0.notify.notify_one();
        }
    }

    /// A barrier is wanted once now() is `micros`, even if no data comes. Holds until the next barrier, at which whoever
    /// still wants one says so again, before it acknowledges.
    pub fn call_at(&self, micros: i64) {
        self.0.due.fetch_min(micros, Ordering::SeqCst);
    }

    /// The first instant, in microseconds, at which time alone changes something.
    pub fn due(&self) -> Option<i64> {
        Some(self.0.due.load(Ordering::SeqCst)).filter(|due| *due != NEVER)
    }

    /// Whether data has entered since the last [`Pulse::clear`].
    pub fn is_dirty(&self) -> bool {
        self.0.dirty.load(Ordering::SeqCst)
    }

    pub fn is_urgent(&self) -> bool {
        self.0.urgent.load(Ordering::SeqCst)
    }

    /// Whether the last barrier has left something to do.
    pub fn is_unsettled(&self) -> bool {
        self.0.unsettled.load(Ordering::SeqCst)
    }

    /// A barrier is about to be sent: what enters from now on is behind it.
    pub fn clear(&self) {
        self.0.dirty.store(false, Ordering::SeqCst);
        self.0.urgent.store(false, Ordering::SeqCst);
        self.0.unsettled.store(false, Ordering::SeqCst);
        self.0.due.store(NEVER, Ordering::SeqCst);
    }

    /// Waits for the next mark or urge.
    pub async fn changed(&self) {
        self.0.notify.notified().await;
    }
}
