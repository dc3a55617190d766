//! Watermark: turns the largest event time seen, less the delay, into the stream's watermark.
//!
//! A row without a time becomes a dead letter. Each actor keeps its watermark as one row; after a restart every actor
//! starts from the least of all rows, so that none is ever ahead of what its rows had shown before the crash, and says
//! so before its first rows.
//!
//! At each barrier an actor catches up with what its peers have sealed: else one that gets no rows for a while, of a
//! slow stream, would hold all windows open. Rows of a later epoch lie behind all that its peers' watermarks come from,
//! so this makes no row late that came in order.
//!
//! **Idle.** A source that brings nothing for its `idle_timeout` is left out of the minimum: it goes along with the least
//! of the job's other sources that do bring rows, until it brings some itself. **Future.** A time too far ahead of the
//! wall clock is passed on, but moves nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{is_not_null, max};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use parking_lot::Mutex;

use super::{BuildContext, Output, StreamOperator, event_time};
use crate::common::clock::Clock;
use crate::common::{Error, ErrorKind, Result};
use crate::state::{KeyRange, StateWriter};
use crate::stream::message::{self, Barrier};
use crate::types::time::END_OF_TIME;
use crate::types::{Epoch, OperatorId, StreamChunk, TableId, WatermarkLimits, key};

/// What the watermarks of one job know of each other.
#[derive(Debug, Default)]
pub struct SourceWatermarks(Mutex<BTreeMap<OperatorId, Seen>>);

/// What the actors of one source have seen.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    watermark: Option<i64>,
    /// The last now() at which there were rows, or that there was at all.
    active: i64,
}

impl SourceWatermarks {
    /// Tells of a source at a barrier, and gives the last now() at which it was active.
    fn tell(&self, source: OperatorId, watermark: Option<i64>, now: i64, active: bool) -> i64 {
        let mut all = self.0.lock();
        let seen = all.entry(source).or_insert(Seen { watermark: None, active: now });
        seen.watermark = seen.watermark.max(watermark);
        if active {
            seen.active = seen.active.max(now);
        }
        seen.active
    }

    /// The least watermark of the sources besides `source` that were active after `since`; `None` when one of them has
    /// none yet, or none was.
    fn least_active(&self, source: OperatorId, since: i64) -> Option<i64> {
        let all = self.0.lock();
        let active = all.iter().filter(|(id, seen)| **id != source && seen.active > since);
        active.map(|(_, seen)| seen.watermark).min().flatten()
    }
}

pub struct Watermark {
    name: String,
    id: OperatorId,
    column: usize,
    delay: i64,
    limits: WatermarkLimits,
    clock: Clock,
    sources: Arc<SourceWatermarks>,
    /// Rows came since the last barrier.
    stirred: bool,
    actor: i64,
    has_peers: bool,
    state: StateWriter,
    /// The watermark so far; `None` before the first row.
    current: Option<i64>,
    emitted: Option<i64>,
    /// Differs from `current` when there is something to write; `None` before the first write.
    stored: Option<Option<i64>>,
    /// Rows of actors that no longer run.
    gone: Vec<i64>,
}

/// One row an actor.
pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("actor", DataType::Int64, false),
        Field::new("watermark", DataType::Int64, true),
    ]))
}

impl Watermark {
    pub(super) fn new(
        name: String,
        (column, delay, limits): (usize, i64, WatermarkLimits),
        (id, table): (OperatorId, TableId),
        context: &BuildContext<'_>,
    ) -> Result<Self> {
        let state = context.store.table(table, schema())?.writer();
        let mut current: Option<Option<i64>> = None;
        let mut gone = Vec::new();
        for (_, rows) in state.scan(&KeyRange::all(), None)? {
            let [actors, watermarks] = rows.columns() else { return Err(Error::corrupted("a watermark's state")) };
            let watermarks = watermarks.as_primitive::<Int64Type>();
            for (actor, watermark) in actors.as_primitive::<Int64Type>().values().iter().zip(watermarks) {
                current = Some(current.map_or(watermark, |c| c.min(watermark)));
                // The first actor tidies up.
                if context.actor == 0 && *actor >= context.actors as i64 {
                    gone.push(*actor);
                }
            }
        }
        Ok(Self {
            name,
            id,
            column,
            delay,
            limits,
            clock: context.clock.clone(),
            sources: Arc::clone(context.sources),
            stirred: false,
            actor: context.actor as i64,
            has_peers: context.actors > 1,
            state,
            current: current.flatten(),
            emitted: None,
            stored: None,
            gone,
        })
    }

    /// Rises to the highest watermark that a peer has sealed.
    fn catch_up(&mut self) -> Result<()> {
        if self.has_peers {
            for (_, rows) in self.state.scan(&KeyRange::all(), None)? {
                let [_, watermarks] = rows.columns() else { return Err(Error::corrupted("a watermark's state")) };
                self.current = self.current.max(max(watermarks.as_primitive::<Int64Type>()));
            }
        }
        Ok(())
    }

    /// Goes along with the others when idle. Returns when it will be.
    fn follow(&mut self, now: i64) -> Option<i64> {
        let active = self.sources.tell(self.id, self.current, now, std::mem::take(&mut self.stirred));
        let timeout = self.limits.idle_timeout?;
        let due = active.saturating_add(timeout);
        if now < due {
            return Some(due);
        }
        self.current = self.current.max(self.sources.least_active(self.id, now.saturating_sub(timeout)));
        None
    }

    /// The latest time that counts.
    fn latest(&self, times: &Int64Array) -> Option<i64> {
        match self.limits.max_future_skew {
            None => max(times),
            Some(skew) => {
                let last = self.clock.now_micros().saturating_add(skew);
                times.iter().flatten().filter(|time| *time <= last).max()
            }
        }
    }

    fn emit(&mut self, out: &mut Output) {
        if let Some(micros) = self.current.filter(|_| self.current > self.emitted) {
            out.watermark(message::Watermark { column: self.column, micros });
            self.emitted = self.current;
        }
    }

    /// The rows that have a time; the others become dead letters.
    fn timed(&self, chunk: StreamChunk, out: &mut Output) -> Result<StreamChunk> {
        let times = chunk.column(self.column);
        if times.null_count() == 0 {
            return Ok(chunk);
        }
        let error = Error::new(ErrorKind::NotNullViolation, "the event time is null");
        for row in (0..chunk.num_rows()).filter(|row| times.is_null(*row)) {
            out.letter(&self.name, &chunk, row, &error)?;
        }
        let mask = is_not_null(times)?;
        chunk.filter(&mask)
    }
}

impl StreamOperator for Watermark {
    fn on_chunk(&mut self, _port: usize, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        self.emit(out);
        let chunk = self.timed(chunk, out)?;
        let latest = self.latest(&event_time::micros(chunk.column(self.column))?);
        self.stirred |= !chunk.is_empty();
        out.chunk(chunk);
        self.current = self.current.max(latest.map(|t| t.saturating_sub(self.delay)));
        self.emit(out);
        Ok(())
    }

    fn on_watermark(&mut self, _port: usize, watermark: message::Watermark, out: &mut Output) -> Result<()> {
        // On its own column only the source's end counts; it is not kept, for a followed source may grow again.
        if watermark.column != self.column || watermark.micros == END_OF_TIME {
            out.watermark(watermark);
        }
        Ok(())
    }

    fn on_barrier(&mut self, barrier: &Barrier, out: &mut Output) -> Result<()> {
        self.catch_up()?;
        out.due = self.follow(barrier.now);
        self.emit(out);
        if self.stored == Some(self.current) {
            return Ok(());
        }
        let gone = std::mem::take(&mut self.gone);
        let actors = Int64Array::from_iter_values(gone.iter().copied().chain([self.actor]));
        let watermarks: Int64Array = gone.iter().map(|_| None).chain([self.current]).collect();
        let puts: BooleanArray = gone.iter().map(|_| Some(false)).chain([Some(true)]).collect();
        let actors: ArrayRef = Arc::new(actors);
        let keys = key::encode(std::slice::from_ref(&actors), actors.len())?;
        let rows = RecordBatch::try_new(schema(), vec![actors, Arc::new(watermarks)])?;
        self.state.write(keys, rows, Some(puts))?;
        out.unsettled = self.has_peers && self.stored.flatten() != self.current;
        self.stored = Some(self.current);
        Ok(())
    }

    fn seal(&mut self, epoch: Epoch) -> Result<()> {
        self.state.seal(epoch);
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.state.open_bytes()
    }
}
