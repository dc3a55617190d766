//! The operators. The actor loop owns the protocol: it aligns, calls, seals, forwards the barrier, acks.
//!
//! An operator sees its inputs by port, writes to [`Output`], and keeps state in `StateWriter`s. It is synchronous and
//! never waits on anything but a state read.

mod absent;
mod asof_join;
pub mod build;
mod changelog;
mod event_time;
mod filter;
mod grouping_sets;
mod hash_agg;
mod hash_join;
mod letter;
mod materialize;
mod net_changes;
mod numbers;
mod over_window;
mod project;
mod recursive;
mod row_id;
mod row_order;
mod session_window;
pub mod sink;
mod temporal_filter;
mod temporal_join;
mod time_windows;
mod top_n;
mod union;
mod unnest;
mod watermark;
#[cfg(test)]
mod changelog_tests;
#[cfg(test)]
mod check;
#[cfg(test)]
mod inflow_tests;
#[cfg(test)]
mod tests;

pub use self::watermark::SourceWatermarks;
pub use build::build;
pub use letter::{Letter, fnv1a};

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::message::{Barrier, Watermark};
use crate::common::Result;
use crate::common::clock::Clock;
use crate::types::{Epoch, StreamChunk};

/// One running instance of a plan node.
pub trait StreamOperator: Send {
    fn on_chunk(&mut self, port: usize, chunk: StreamChunk, out: &mut Output) -> Result<()>;

    /// Port watermarks only rise. Forwarded by default when the operator keeps columns in place.
    fn on_watermark(&mut self, port: usize, watermark: Watermark, out: &mut Output) -> Result<()>;

    /// All inputs have delivered the barrier: emit what the epoch leaves to emit. The loop forwards the barrier.
    fn on_barrier(&mut self, barrier: &Barrier, out: &mut Output) -> Result<()>;

    /// Seal every state table at `epoch`; called right after `on_barrier`, of every operator, data or not.
    fn seal(&mut self, _epoch: Epoch) -> Result<()> {
        Ok(())
    }

    /// Bytes held in memory by the open epoch and caches.
    fn memory_bytes(&self) -> usize {
        0
    }
}

/// What an operator sends on, in order.
#[derive(Default)]
pub struct Output {
    pub emitted: Vec<Emitted>,
    /// Rows that could not be evaluated.
    pub dead_letters: Vec<Letter>,
    /// Rows that came after their window had closed.
    pub late_rows: Vec<LateRows>,
    /// Peers learn of this epoch only at the next barrier: one is wanted, even if no data comes.
    pub unsettled: bool,
    /// Rows for the leaf of the operator's loop: when they have gone round, it meets the barrier again.
    pub feedback: Option<StreamChunk>,
    /// When time alone will change something, in microseconds. Told at every barrier anew.
    pub due: Option<i64>,
}

pub enum Emitted {
    Chunk(StreamChunk),
    Watermark(Watermark),
}

/// Late rows of one batch, as they entered the operator.
pub struct LateRows {
    pub rows: StreamChunk,
    /// The watermark that had passed, microseconds.
    pub watermark: i64,
}

impl Output {
    /// Sends a chunk on; an empty one is dropped.
    pub fn chunk(&mut self, chunk: StreamChunk) {
        if !chunk.is_empty() {
            self.emitted.push(Emitted::Chunk(chunk));
        }
    }

    pub fn watermark(&mut self, watermark: Watermark) {
        self.emitted.push(Emitted::Watermark(watermark));
    }
}

/// How operators find their state tables: the job layer passes the store, tests pass a memory store.
pub struct BuildContext<'a> {
    pub store: &'a Arc<crate::state::StateStore>,
    /// The schema of the operator's (first) input.
    pub input: SchemaRef,
    /// The virtual nodes that this actor owns.
    pub vnodes: std::ops::Range<usize>,
    /// This actor's number within its fragment, from 0, and how many there are.
    pub actor: usize,
    pub actors: usize,
    pub clock: &'a Clock,
    /// The watermarks of the job's sources.
    pub sources: &'a Arc<SourceWatermarks>,
}
