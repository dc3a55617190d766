//! What flows between actors, and what an actor tells the coordinator.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::dispatch::Outlet;
use crate::common::Error;
use crate::types::{ActorId, Epoch, JobId, StreamChunk};

/// The end of an epoch; flows in-band behind the epoch's data.
#[derive(Debug, Clone)]
pub struct Barrier {
    /// The epoch that ends here.
    pub epoch: Epoch,
    /// The last epoch that was on disk when the barrier was sent: no crash goes back behind it.
    pub committed: Epoch,
    /// What now() is in the epoch that ends here and, but for time that passes, in the next; microseconds. Never falls
    /// while the process lives.
    pub now: i64,
    /// The epoch is to be made durable.
    pub checkpoint: bool,
    /// Changes of the running graph that take effect here, at the same point of every stream.
    pub mutation: Option<Arc<Mutation>>,
}

/// What changes between two epochs.
#[derive(Debug, Default)]
pub struct Mutation {
    /// Jobs whose actors leave after this barrier.
    pub stop: HashSet<JobId>,
    /// New readers of a job's table, by the job and the number of its materializing actor. They get this barrier as their first
    /// message.
    pub attach: HashMap<(JobId, usize), Vec<Outlet>>,
}

impl Barrier {
    pub fn new(epoch: Epoch, committed: Epoch, now: i64) -> Self {
        Self { epoch, committed, now, checkpoint: true, mutation: None }
    }

    pub fn stops(&self, job: JobId) -> bool {
        self.mutation.as_ref().is_some_and(|m| m.stop.contains(&job))
    }
}

/// No later row of the stream has a value below `micros` in `column`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    pub column: usize,
    pub micros: i64,
}

/// Everything that an edge carries.
#[derive(Debug, Clone)]
pub enum Message {
    Chunk(StreamChunk),
    Watermark(Watermark),
    Barrier(Barrier),
}

/// What an actor tells the coordinator.
#[derive(Debug)]
pub enum ActorEvent {
    /// Everything of the epoch is sealed and passed on.
    Acked { actor: ActorId, epoch: Epoch },
    /// The actor has ended with an error.
    Failed { actor: ActorId, job: JobId, error: Error },
}
