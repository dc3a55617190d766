//! The history of checkpoints, for `weir.checkpoints`.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::types::Epoch;

/// Checkpoints that are remembered.
const KEPT: usize = 1000;

/// One commit, or the attempt at one. Times in microseconds since 1970, durations in microseconds.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    pub epoch: Epoch,
    /// `interval` or `request`.
    pub trigger: &'static str,
    pub started_at: i64,
    /// From the injection of the epoch's barrier to its last ack.
    pub alignment_micros: i64,
    /// Fold, apply and flush.
    pub commit_micros: i64,
    pub rows: u64,
    pub pages: u64,
    pub bytes: u64,
    pub error: Option<String>,
}

/// The last checkpoints and the counts of all since the start.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    recent: VecDeque<Checkpoint>,
    succeeded: u64,
    failed: u64,
}

impl History {
    pub fn push(&self, checkpoint: Checkpoint) {
        let mut inner = self.0.lock();
        match checkpoint.error {
            None => inner.succeeded += 1,
            Some(_) => inner.failed += 1,
        }
        inner.recent.push_back(checkpoint);
        if inner.recent.len() > KEPT {
            inner.recent.pop_front();
        }
    }

    /// Oldest first.
    pub fn recent(&self) -> Vec<Checkpoint> {
        self.0.lock().recent.iter().cloned().collect()
    }

    /// Succeeded and failed since the start.
    pub fn counts(&self) -> (u64, u64) {
        let inner = self.0.lock();
        (inner.succeeded, inner.failed)
    }
}
