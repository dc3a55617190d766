//! SessionWindow: appends the bounds of the session that each row is in.
//!
//! ```text
//! rows -> changes of the epoch --barrier--> settle <--> rows, sessions (state tables)
//!                                             |
//!                                             +-> rows whose bounds changed: -old, +new
//!                                             +-> open sessions by end --watermark--> rows of closed sessions
//! ```
//! A row alone makes the session `[time, time + gap)`; sessions of one partition that overlap are one. A change touches
//! one session, or the two that it joins or parts: their rows are read, sessions found anew, and what differs is sent.
//! Rows without a time are in no session and pass.
//!
//! **EMIT ON WINDOW CLOSE.** Rows are sent when the watermark has passed their session's end, and freed. A row below the
//! watermark is late, whatever session it would be in: so no session that has closed can ever grow. As everywhere a
//! closing is on disk before its rows are sent, see `hash_agg`.
//!
//! **Allowed lateness** keeps the rows of sessions that were sent for so long. A late row that extends a sent session, or
//! joins two, takes back the rows of the old ones; those of the new one are sent with it where it has closed too, else
//! when it closes.
//!
//! **Watermarks.** Only the end of a session says when no more rows come: its start, and the times of its rows, may be far
//! behind.

mod settle;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{concat_batches, not};
use arrow::datatypes::SchemaRef;

use self::settle::{Emitter, Partition};
use self::tables::{Changes, Tables};
use super::{BuildContext, LateRows, Output, StreamOperator, event_time};
use crate::common::Result;
use crate::plan;
use crate::stream::message::{Barrier, Watermark};
use crate::types::time::END_OF_TIME;
use crate::types::{Epoch, StreamChunk};

/// Changes are settled before the barrier when there are so many.
const PENDING_ROWS: usize = 1 << 18;

pub struct SessionWindow {
    time: usize,
    gap: i64,
    on_close: bool,
    /// How long a session takes rows after its close.
    lateness: i64,
    /// The column of the session's end.
    end: usize,
    output: SchemaRef,
    tables: Tables,
    /// Changes of the open epoch.
    pending: Vec<StreamChunk>,
    pending_rows: usize,
    watermark: Option<i64>,
    /// Sessions up to here are closed: they take no more rows.
    closed: Option<i64>,
    /// The rows of sessions up to here were sent.
    sent: Option<i64>,
    /// Closings that wait to be on disk, oldest first.
    closing: VecDeque<(Epoch, i64)>,
    emitted: Option<i64>,
}

impl SessionWindow {
    pub(super) fn new(op: &plan::SessionWindow, output: &SchemaRef, context: &BuildContext<'_>) -> Result<Self> {
        let tables = Tables::new(op, context)?;
        let closed = tables.closed()?;
        let sent = if op.emit_on_close { tables.sent()? } else { Some(END_OF_TIME) };
        Ok(Self {
            time: op.time,
            gap: op.gap_micros,
            on_close: op.emit_on_close,
            lateness: op.lateness_micros,
            end: output.fields().len().saturating_sub(1),
            output: Arc::clone(output),
            tables,
            pending: Vec::new(),
            pending_rows: 0,
            watermark: None,
            closed,
            sent,
            // Closed before a restart: that is on disk, and may not have been sent.
            closing: closed.map(|closed| (Epoch(0), closed)).into_iter().collect(),
            emitted: None,
        })
    }

    /// The rows that their sessions take. Late ones are recorded, those too that still count.
    fn in_time(&self, chunk: StreamChunk, out: &mut Output) -> Result<StreamChunk> {
        let Some(watermark) = self.watermark.max(self.closed).filter(|_| self.on_close) else { return Ok(chunk) };
        let times = event_time::micros(chunk.column(self.time))?;
        let below = |by: i64| -> BooleanArray {
            let is_below = |time: i64| time.saturating_add(by) < watermark;
            times.iter().map(|time| Some(watermark == END_OF_TIME || time.is_some_and(is_below))).collect()
        };
        let late = below(0);
        if !late.has_true() {
            return Ok(chunk);
        }
        out.late_rows.push(LateRows { rows: chunk.filter(&late)?, watermark });
        let lost = if self.lateness == 0 { late } else { below(self.lateness) };
        chunk.filter(&not(&lost)?)
    }

    /// Brings the sessions up to date with the changes so far.
    fn settle(&mut self, out: &mut Output) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.pending_rows = 0;
        let Some(first) = pending.first() else { return Ok(()) };
        let batch = concat_batches(&first.schema(), pending.iter().map(StreamChunk::batch))?;
        let weights: Vec<i64> = pending.iter().flat_map(|c| (0..c.num_rows()).map(|row| c.weight(row))).collect();
        let times = event_time::micros(batch.column(self.time))?;
        let Changes { timed: changes, untimed } = self.tables.changes(&batch, &weights, &times)?;
        let mut emitter = Emitter::new(batch.clone());
        // Of a row that gets a time or loses it the old comes first.
        untimed.iter().filter_map(|c| c.gone).for_each(|row| emitter.untimed(row, -1));
        for changes in changes.chunk_by(|a, b| a.partition() == b.partition()) {
            let partition = Partition { tables: &mut self.tables, changes, gap: self.gap, time: self.time };
            partition.settle(&mut emitter, self.sent)?;
            if emitter.is_full() {
                self.emit(&mut emitter, out)?;
            }
        }
        untimed.iter().filter_map(|c| c.come).for_each(|row| emitter.untimed(row, 1));
        self.emit(&mut emitter, out)?;
        self.tables.write_rows(&changes, &batch)
    }

    fn emit(&self, emitter: &mut Emitter, out: &mut Output) -> Result<()> {
        let Some((rows, bounds)) = emitter.take()? else { return Ok(()) };
        let batch = with_bounds(&self.output, rows.batch(), bounds.starts, bounds.ends)?;
        out.chunk(rows.with_batch(batch));
        Ok(())
    }

    /// Closes the sessions that end at or before the watermark, and sends those whose closing is on disk.
    fn close(&mut self, barrier: &Barrier, out: &mut Output) -> Result<()> {
        // Readers in other jobs attach behind an actor's first barrier: what went out with it would pass them by.
        self.closing.iter_mut().filter(|(epoch, _)| *epoch == Epoch(0)).for_each(|(epoch, _)| *epoch = barrier.epoch);
        if let Some(watermark) = self.watermark.filter(|_| self.watermark > self.closed) {
            self.closed = Some(watermark);
            self.tables.write_closed(watermark)?;
            self.closing.push_back((barrier.epoch, watermark));
        }
        let mut send = None;
        while let Some((_, watermark)) = self.closing.pop_front_if(|(epoch, _)| *epoch <= barrier.committed) {
            send = Some(watermark);
        }
        if let Some(watermark) = send {
            let keeps = self.lateness > 0;
            let from = self.sent.filter(|_| keeps);
            self.tables.each_closed(from, watermark, !keeps, |rows, start, end| {
                let bounds = |at: i64| vec![Some(at); rows.num_rows()];
                let batch = with_bounds(&self.output, &rows, bounds(start), bounds(end))?;
                out.chunk(StreamChunk::inserts(batch));
                Ok(())
            })?;
            if keeps {
                self.tables.each_closed(None, self.past(watermark), true, |_, _, _| Ok(()))?;
                self.tables.write_sent(watermark)?;
                self.sent = Some(watermark);
            }
            self.pass(self.past(watermark), out);
        }
        // Else they would wait for the next rows.
        out.unsettled = !self.closing.is_empty();
        Ok(())
    }

    /// Sessions up to here take no rows any more when `watermark` has been sent.
    fn past(&self, watermark: i64) -> i64 {
        if watermark == END_OF_TIME { watermark } else { watermark.saturating_sub(self.lateness) }
    }

    /// Every session that may still change ends above the watermark.
    fn pass(&mut self, watermark: i64, out: &mut Output) {
        let micros = watermark.saturating_add(1);
        if self.emitted < Some(micros) {
            self.emitted = Some(micros);
            out.watermark(Watermark { column: self.end, micros });
        }
    }
}

fn with_bounds(
    output: &SchemaRef,
    rows: &RecordBatch,
    starts: Vec<Option<i64>>,
    ends: Vec<Option<i64>>,
) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    for (bounds, field) in [starts, ends].into_iter().zip(output.fields().iter().skip(columns.len())) {
        columns.push(event_time::column(Int64Array::from(bounds), field.data_type())?);
    }
    Ok(RecordBatch::try_new(Arc::clone(output), columns)?)
}

impl StreamOperator for SessionWindow {
    fn on_chunk(&mut self, _port: usize, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        let chunk = self.in_time(chunk, out)?;
        if !chunk.is_empty() {
            self.pending_rows += chunk.num_rows();
            self.pending.push(chunk);
        }
        if self.pending_rows > PENDING_ROWS {
            self.settle(out)?;
        }
        Ok(())
    }

    fn on_watermark(&mut self, _port: usize, watermark: Watermark, _out: &mut Output) -> Result<()> {
        if watermark.column == self.time {
            self.watermark = self.watermark.max(Some(watermark.micros));
        }
        Ok(())
    }

    fn on_barrier(&mut self, barrier: &Barrier, out: &mut Output) -> Result<()> {
        self.settle(out)?;
        match self.on_close {
            true => self.close(barrier, out)?,
            false => {
                if let Some(watermark) = self.watermark {
                    self.pass(watermark, out);
                }
            }
        }
        Ok(())
    }

    fn seal(&mut self, epoch: Epoch) -> Result<()> {
        self.tables.seal(epoch);
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.pending.iter().map(StreamChunk::memory_size).sum::<usize>() + self.tables.memory_bytes()
    }
}
