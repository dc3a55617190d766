//! TemporalFilter: rows that enter or leave the result as now() passes a time of theirs.
//!
//! ```text
//! ts <= now()               in:  not yet -> waits            its turn -> +row
//! ts > now() - '1 hour'     in:  not yet -> +row, waits      its turn -> -row
//! ```
//! now() is what the last barrier carried, so it is one value for an epoch's rows, and commits with the epoch. A row's
//! turn comes once. Before it the row waits in state, at `value | virtual node | stream key`; after it the value alone
//! tells that the row is in, or out: no state is needed to let its retraction pass, or to drop it. A barrier reads the
//! rows whose turn has come, and nothing when none has.
//!
//! **Watermarks** of the compared column are held back to the first value that waits: that row is yet to come, or to be
//! retracted. Others are not passed on.
//!
//! **After a restart** the first barrier changes nothing: readers of other jobs attach behind it.

#[cfg(test)]
mod tests;

use std::ops::{Bound, Range};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::{max, take, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;

use super::{BuildContext, Output, StreamOperator, event_time};
use crate::common::{Error, Result};
use crate::expr::eval;
use crate::plan::{self, Distribution, Node};
use crate::state::{KeyRange, StateWriter};
use crate::stream::message::{self, Barrier};
use crate::types::{Epoch, Keys, StreamChunk, key, time};

/// Rows that are read and sent at once.
const SEND_ROWS: usize = 8192;
/// How long a stored value is, in front of the virtual node.
const VALUE_BYTES: usize = 9;

pub struct TemporalFilter {
    name: String,
    value: Arc<dyn PhysicalExpr>,
    now: Threshold,
    leaves: bool,
    reached: bool,
    key: Vec<usize>,
    /// What the exchange before hashes; a part of the key.
    placed: Vec<usize>,
    vnodes: Range<usize>,
    actor: usize,
    watermark: Option<usize>,
    state: StateWriter,
    clock: StateWriter,
    /// The last barrier's, and what it makes of the plan's `now`; `None` before the first barrier ever.
    at: Option<(i64, i64)>,
    restored: bool,
    /// No value that waits is below it.
    first: Option<i64>,
    heard: Option<i64>,
    sent: Option<i64>,
}

/// The side of the comparison that rises with now().
struct Threshold {
    expr: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
}

impl Threshold {
    fn at(&self, now: i64) -> Result<i64> {
        let column = event_time::instant(now, &time::timestamptz())?;
        let row = RecordBatch::try_new(Arc::clone(&self.schema), vec![column])?;
        let value = event_time::micros(&self.expr.evaluate(&row)?.into_array(1)?)?;
        value.iter().next().flatten().ok_or_else(|| Error::internal("a limit by now() is null"))
    }

    /// The first instant after `now` at which the turn of `value` comes; `None` when it is too far away to tell.
    fn reaches(&self, value: i64, reached: bool, now: i64) -> Option<i64> {
        let comes = |now: i64| Some(has_come(value, self.at(now).ok()?, reached));
        // As a rule the limit is some fixed time behind now().
        let (mut before, mut after) = (now, now.checked_add(value.checked_sub(self.at(now).ok()?)?)?.max(now + 1));
        let mut step = 1;
        while !comes(after)? {
            before = after;
            after = after.checked_add(step)?;
            step = step.checked_mul(2)?;
        }
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if comes(middle)? { after = middle } else { before = middle }
        }
        Some(after)
    }
}

fn has_come(value: i64, limit: i64, reached: bool) -> bool {
    if reached { limit >= value } else { limit > value }
}

/// One row an actor.
fn clock_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("now", DataType::Int64, false)]))
}

/// Values of rows that wait, the input's columns behind them.
fn state_schema(input: &SchemaRef) -> SchemaRef {
    let columns = input.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(columns.collect::<Vec<_>>()))
}

impl TemporalFilter {
    pub(super) fn new(
        name: String,
        plan: &plan::TemporalFilter,
        node: &Node,
        context: &BuildContext<'_>,
    ) -> Result<Self> {
        let placed = match node.inputs.first().map(|i| &i.properties.distribution) {
            Some(Distribution::Hash(placed)) => placed.clone(),
            _ => plan.key.clone(),
        };
        let clock = context.store.table(plan.clock, clock_schema())?.writer();
        let mut now = None;
        for (_, rows) in clock.scan(&KeyRange::all(), None)? {
            // All actors of one epoch have the same; one that no longer runs has an earlier one.
            now = now.max(max(rows.column(0).as_primitive::<Int64Type>()));
        }
        let threshold = Threshold { expr: Arc::clone(plan.now.physical()), schema: Arc::clone(plan.now.input()) };
        let at = now.map(|now| Ok::<_, Error>((now, threshold.at(now)?))).transpose()?;
        let mut filter = Self {
            name,
            value: Arc::clone(plan.value.physical()),
            now: threshold,
            leaves: plan.leaves,
            reached: plan.reached,
            key: plan.key.clone(),
            placed,
            vnodes: context.vnodes.clone(),
            actor: context.actor,
            watermark: plan.watermark,
            state: context.store.table(plan.state, state_schema(&context.input))?.writer(),
            clock,
            at,
            restored: at.is_some(),
            first: None,
            heard: None,
            sent: None,
        };
        filter.first = filter.find_first()?;
        Ok(filter)
    }

    /// The least value that waits, of any actor.
    fn find_first(&self) -> Result<Option<i64>> {
        let rows = self.state.scan(&KeyRange::all(), Some(1))?;
        Ok(rows.first().filter(|(keys, _)| !keys.is_empty()).and_then(|(keys, _)| stored_value(keys.value(0))))
    }

    fn waits(&self, value: i64) -> bool {
        self.at.is_none_or(|(_, limit)| !has_come(value, limit, self.reached))
    }

    fn keys(&self, values: Int64Array, rows: &RecordBatch) -> Result<Keys> {
        let columns =
            |indices: &[usize]| -> Vec<ArrayRef> { indices.iter().map(|i| Arc::clone(rows.column(*i))).collect() };
        let n = rows.num_rows();
        let values = key::encode(&[Arc::new(values)], n)?;
        Ok(key::placed(&values, &key::encode(&columns(&self.placed), n)?, &key::encode(&columns(&self.key), n)?))
    }

    /// Puts rows that wait into state, and takes retracted ones out.
    fn keep(&mut self, values: &Int64Array, rows: &StreamChunk, waiting: &UInt64Array) -> Result<()> {
        let rows = rows.take(waiting)?;
        let values = take(values, waiting, None)?.as_primitive::<Int64Type>().clone();
        self.first = self.first.into_iter().chain(arrow::compute::min(&values)).min();
        let keys = self.keys(values, rows.batch())?;
        let puts: BooleanArray = (0..rows.num_rows()).map(|row| Some(rows.weight(row) > 0)).collect();
        let batch = rows.batch().clone().with_schema(self.state.table().schema())?;
        self.state.write(keys, batch, Some(puts))
    }

    /// Sends the rows whose turn has come, as insertions or retractions, and frees them.
    fn turn(&mut self, limit: i64, out: &mut Output) -> Result<()> {
        if self.first.is_none_or(|first| !has_come(first, limit, self.reached)) {
            return Ok(());
        }
        let last: ArrayRef = Arc::new(Int64Array::from(vec![limit]));
        let prefix = key::encode(&[last], 1)?.value(0).to_vec();
        let end = match self.reached {
            true => key::prefix_end(&prefix).map_or(Bound::Unbounded, Bound::Excluded),
            false => Bound::Excluded(prefix),
        };
        let mut start = Bound::Unbounded;
        loop {
            let batches = self.state.scan(&KeyRange { start, end: end.clone() }, Some(SEND_ROWS))?;
            let Some(last) = batches.iter().rev().find(|(keys, _)| !keys.is_empty()) else { break };
            start = Bound::Excluded(last.0.value(last.0.len() - 1).to_vec());
            for (keys, rows) in batches {
                self.send(&keys, &rows, out)?;
            }
        }
        self.first = self.find_first()?;
        Ok(())
    }

    fn send(&mut self, keys: &Keys, rows: &RecordBatch, out: &mut Output) -> Result<()> {
        let owned = |key: &[u8]| key.get(VALUE_BYTES).is_some_and(|vnode| self.vnodes.contains(&usize::from(*vnode)));
        let own = UInt64Array::from_iter_values((0..keys.len()).filter(|i| owned(keys.value(*i))).map(|i| i as u64));
        if own.is_empty() {
            return Ok(());
        }
        let rows = take_record_batch(rows, &own)?;
        let weights = self.leaves.then(|| Int64Array::from(vec![-1; rows.num_rows()]));
        out.chunk(StreamChunk::new(rows, weights));
        self.state.remove(take(keys, &own, None)?.as_binary::<i32>().clone());
        Ok(())
    }

    fn send_watermark(&mut self, out: &mut Output) {
        let (Some(column), Some(heard)) = (self.watermark, self.heard) else { return };
        let micros = self.first.map_or(heard, |first| first.min(heard));
        if self.sent.is_none_or(|sent| sent < micros) {
            out.watermark(message::Watermark { column, micros });
            self.sent = Some(micros);
        }
    }

    fn store(&mut self, now: i64) -> Result<()> {
        let actor: ArrayRef = Arc::new(Int64Array::from(vec![self.actor as i64]));
        let row = RecordBatch::try_new(clock_schema(), vec![Arc::new(Int64Array::from(vec![now]))])?;
        self.clock.write(key::encode(&[actor], 1)?, row, None)
    }
}

/// The value at the start of a stored key.
fn stored_value(key: &[u8]) -> Option<i64> {
    let bytes: [u8; 8] = key.get(1..VALUE_BYTES)?.try_into().ok()?;
    Some((u64::from_be_bytes(bytes) ^ (1 << 63)) as i64)
}

impl StreamOperator for TemporalFilter {
    fn on_chunk(&mut self, _port: usize, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        let evaluated = eval::evaluate(std::slice::from_ref(&self.value), chunk)?;
        out.failed(&self.name, evaluated.failed)?;
        let rows = evaluated.rows;
        let [values] = evaluated.columns.as_slice() else { return Err(Error::internal("a limit's value")) };
        let values = event_time::micros(values)?;
        let waiting: UInt64Array = values
            .iter()
            .enumerate()
            .filter(|(_, v)| v.is_some_and(|v| self.waits(v)))
            .map(|(i, _)| i as u64)
            .collect();
        let passed = values.iter().map(|v| Some(v.is_some_and(|v| self.waits(v) == self.leaves)));
        out.chunk(rows.filter(&passed.collect())?);
        match waiting.is_empty() {
            true => Ok(()),
            false => self.keep(&values, &rows, &waiting),
        }
    }

    fn on_watermark(&mut self, _port: usize, watermark: message::Watermark, _out: &mut Output) -> Result<()> {
        if self.watermark == Some(watermark.column) {
            self.heard = self.heard.max(Some(watermark.micros));
        }
        Ok(())
    }

    fn on_barrier(&mut self, barrier: &Barrier, out: &mut Output) -> Result<()> {
        if std::mem::take(&mut self.restored) {
            out.unsettled = true;
            return Ok(());
        }
        let (now, limit) = match self.at {
            Some((now, limit)) if now >= barrier.now => (now, limit),
            _ => (barrier.now, self.now.at(barrier.now)?),
        };
        self.turn(limit, out)?;
        if self.at != Some((now, limit)) {
            self.at = Some((now, limit));
            self.store(now)?;
        }
        self.send_watermark(out);
        out.due = self.first.and_then(|first| self.now.reaches(first, self.reached, now));
        Ok(())
    }

    fn seal(&mut self, epoch: Epoch) -> Result<()> {
        self.state.seal(epoch);
        self.clock.seal(epoch);
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.state.open_bytes()
    }
}
