//! The fused operators of one actor: a tree in which every operator calls the one above it, chunk by chunk.
//!
//! ```text
//! leaf 0 (exchange) --> Filter --> Project --+
//!                                            +--> Union --> HashAgg --> root output --> dispatcher
//! leaf 1 (source) ------------> Project -----+
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::letters::Letters;
use super::message::{Barrier, Watermark};
use super::operator::{Emitted, Output, StreamOperator};
use crate::common::clock::instant;
use crate::common::{Error, Result};
use crate::types::{OperatorId, StreamChunk};

/// One operator with its place in the tree.
pub struct Stage {
    pub id: OperatorId,
    pub operator: Box<dyn StreamOperator>,
    /// Where its output goes: a stage and its port; `None` for the root.
    pub parent: Option<(usize, usize)>,
    pub stats: Arc<OperatorStats>,
}

/// Counters of one operator over all its actors, for `weir.operators`.
#[derive(Debug, Default)]
pub struct OperatorStats {
    pub rows_in: AtomicU64,
    pub rows_out: AtomicU64,
    pub busy_nanos: AtomicU64,
    pub memory_bytes: AtomicU64,
    /// The last watermark sent on, by output column and actor.
    pub watermarks: Mutex<BTreeMap<(usize, usize), i64>>,
}

/// Where data enters: a stage and its port, or straight to the root output when the fragment is a bare leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry(pub Option<(usize, usize)>);

/// A way back: what the stage feeds back enters at `entry`, and reaches it again through the stages of `body`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loop {
    pub stage: usize,
    pub body: Range<usize>,
    pub entry: Entry,
}

/// The operators, inputs before parents.
pub struct Pipeline {
    actor: usize,
    stages: Vec<Stage>,
    loops: Vec<Loop>,
    feedback: Option<StreamChunk>,
    /// What has left the root since it was last taken.
    pub output: Vec<Emitted>,
    /// Whether an operator wants another barrier, even if no data comes.
    pub unsettled: bool,
    /// When time alone will change something.
    pub due: Option<i64>,
    pub letters: Letters,
}

impl Pipeline {
    /// `actor` is the actor's number within its fragment.
    pub fn new(actor: usize, stages: Vec<Stage>, loops: Vec<Loop>, letters: Letters) -> Self {
        Self { actor, stages, loops, feedback: None, output: Vec::new(), unsettled: false, due: None, letters }
    }

    pub fn chunk(&mut self, entry: Entry, chunk: StreamChunk) -> Result<()> {
        self.deliver(entry.0, Emitted::Chunk(chunk))
    }

    pub fn watermark(&mut self, entry: Entry, watermark: Watermark) -> Result<()> {
        self.deliver(entry.0, Emitted::Watermark(watermark))
    }

    /// Ends the epoch: each operator emits what it has left, inputs before parents, round by round where there is a way
    /// back; then all seal.
    pub fn barrier(&mut self, barrier: &Barrier) -> Result<()> {
        for index in 0..self.stages.len() {
            self.call(index, |operator, out| operator.on_barrier(barrier, out))?;
            while let Some(chunk) = self.feedback.take() {
                self.go_round(index, chunk, barrier)?;
            }
        }
        for stage in &mut self.stages {
            stage.operator.seal(barrier.epoch)?;
            stage.stats.memory_bytes.store(stage.operator.memory_bytes() as u64, Ordering::Relaxed);
        }
        self.letters.seal(barrier.epoch)
    }

    fn go_round(&mut self, index: usize, chunk: StreamChunk, barrier: &Barrier) -> Result<()> {
        let way_back = self.loops.iter().find(|l| l.stage == index).cloned();
        let Loop { body, entry, .. } =
            way_back.ok_or_else(|| Error::internal("an operator feeds back without a way"))?;
        self.chunk(entry, chunk)?;
        for stage in body.chain([index]) {
            self.call(stage, |operator, out| operator.on_barrier(barrier, out))?;
        }
        Ok(())
    }

    fn deliver(&mut self, to: Option<(usize, usize)>, emitted: Emitted) -> Result<()> {
        let Some((index, port)) = to else {
            self.output.push(emitted);
            return Ok(());
        };
        if let Emitted::Chunk(chunk) = &emitted {
            self.stages[index].stats.rows_in.fetch_add(chunk.num_rows() as u64, Ordering::Relaxed);
        }
        self.call(index, |operator, out| match emitted {
            Emitted::Chunk(chunk) => operator.on_chunk(port, chunk, out),
            Emitted::Watermark(watermark) => operator.on_watermark(port, watermark, out),
        })
    }

    fn call(&mut self, index: usize, f: impl FnOnce(&mut dyn StreamOperator, &mut Output) -> Result<()>) -> Result<()> {
        let mut out = Output::default();
        let stage = &mut self.stages[index];
        let started = instant();
        f(stage.operator.as_mut(), &mut out)?;
        stage.stats.busy_nanos.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
        let (parent, id) = (stage.parent, stage.id);
        self.letters.take(id, &mut out)?;
        self.unsettled |= out.unsettled;
        self.feedback = self.feedback.take().or(out.feedback);
        self.due = self.due.into_iter().chain(out.due).min();
        for emitted in out.emitted {
            let stats = &self.stages[index].stats;
            match &emitted {
                Emitted::Chunk(chunk) => {
                    stats.rows_out.fetch_add(chunk.num_rows() as u64, Ordering::Relaxed);
                }
                Emitted::Watermark(w) => {
                    stats.watermarks.lock().insert((w.column, self.actor), w.micros);
                }
            }
            self.deliver(parent, emitted)?;
        }
        Ok(())
    }
}
