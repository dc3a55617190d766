//! The kept state of a final aggregation: one row a group. Merges an epoch's delta into it, and closes windows.

use std::ops::Bound;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array, new_null_array};
use arrow::compute::{cast, filter, filter_record_batch, max, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt64Type};

use super::calls::{Call, Calls, columns};
use super::change::{Before, Target};
use super::delta::Touched;
use super::keys::{self, Layout};
use super::values::Values;
use crate::common::{Error, Result};
use crate::expr::aggregate::Results;
use crate::plan::HashAgg;
use crate::state::{Batches, KeyRange, Lookup, StateWriter};
use crate::stream::operator::{BuildContext, event_time};
use crate::types::time::END_OF_TIME;
use crate::types::{Epoch, Keys, TableId, key};

/// Groups that are sent at once.
const SEND_ROWS: usize = 65_536;

pub(super) struct Kept {
    state: StateWriter,
    /// Group columns, then the states of the calls; all nullable.
    schema: SchemaRef,
    layout: Layout,
    groups: usize,
    /// A group is there as long as it has rows: the first call counts them.
    counts_rows: bool,
    /// Numbers of empty grouping sets, whose group is always there.
    totals: Vec<u64>,
    /// Emit a group's row once, when its window closes.
    on_close: bool,
    /// How long closed windows are kept.
    lateness: i64,
    actor: usize,
    /// Windows below it take no more rows, here or in an actor that ran before.
    closed: Option<i64>,
    /// Windows below it were sent by this actor.
    sent: Option<i64>,
    /// Windows below it are gone.
    freed: Option<i64>,
}

impl Kept {
    pub(super) fn new(agg: &HashAgg, table: TableId, layout: Layout, context: &BuildContext<'_>) -> Result<Self> {
        let fields: Vec<Field> =
            agg.state_schema()?.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let state = context.store.table(table, Arc::clone(&schema))?.writer();
        let mut kept = Self {
            state,
            schema,
            layout,
            groups: agg.group.len(),
            counts_rows: !agg.append_only,
            totals: agg.totals.clone(),
            on_close: agg.emit_on_close,
            lateness: agg.lateness_micros,
            actor: context.actor,
            closed: None,
            sent: None,
            freed: None,
        };
        kept.restore()?;
        Ok(kept)
    }

    /// What is closed stays closed. What of it had not been sent is still in the state.
    fn restore(&mut self) -> Result<()> {
        let Some((window, _)) = self.layout.window.as_ref().filter(|_| self.on_close) else { return Ok(()) };
        for (_, rows) in self.state.scan(&keys::closed_keys(), None)? {
            for micros in event_time::micros(rows.column(*window))?.iter().flatten() {
                self.closed = self.closed.max(Some(micros));
            }
        }
        for (_, rows) in self.state.scan(&keys::sent_keys(), None)? {
            for micros in event_time::micros(rows.column(*window))?.iter().flatten() {
                self.sent = self.sent.max(Some(micros));
            }
        }
        Ok(())
    }

    /// Rows of windows below it came too late.
    pub(super) fn closed(&self) -> Option<i64> {
        self.closed
    }

    pub(super) fn seal(&mut self, epoch: Epoch) {
        self.state.seal(epoch);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.state.open_bytes()
    }

    /// Merges the touched groups into the state and, unless rows wait for their window's end, sends what changed.
    pub(super) fn merge(&mut self, touched: Touched, calls: &mut Calls, target: &mut Target<'_>) -> Result<()> {
        let Touched { groups, mut accumulators, total } = touched;
        let keys = self.layout.encode(&groups, total)?;
        let (found, before_rows) = found(self.state.get(&keys)?)?;
        let mut states = groups.clone();
        let settled = calls.sets.iter_mut().map(|values| values.settle(&keys)).collect::<Result<Vec<_>>>()?;
        for (call, accumulator) in calls.calls.iter().zip(&mut accumulators) {
            match accumulator {
                Some(accumulator) => {
                    if let Some(new) = call.values.and_then(|v| settled.get(v.set)?.get(v.place)) {
                        accumulator.update(&new.columns, Some(&new.weights), &new.groups, None, total)?;
                    }
                    if !found.is_empty() {
                        let kept = columns(before_rows.columns(), &call.states)?;
                        accumulator.merge(&kept, &found, total)?;
                    }
                    states.extend(accumulator.state()?);
                }
                None => states.push(self.values_state(call, &calls.sets, &keys)?),
            }
        }
        let present = self.present(&states, total)?;
        let after_rows = RecordBatch::try_new(Arc::clone(&self.schema), states)?;
        let shown = self.shown(&groups, total)?;
        if shown.contains(&true) {
            let before = self.rows(&calls.calls, &before_rows)?;
            let after = self.rows(&calls.calls, &after_rows)?;
            for (group, error) in &after.failed {
                // Told once, when it comes to be.
                let row = found.binary_search(group).ok();
                if shown[*group]
                    && present[*group]
                    && !row.is_some_and(|row| before.failed.iter().any(|(r, _)| *r == row))
                {
                    target.failed(&after.columns, *group, error)?;
                }
            }
            let mut exists: Vec<bool> = present.iter().zip(&shown).map(|(present, shown)| *present && *shown).collect();
            for (group, _) in &after.failed {
                exists[*group] = false;
            }
            let before = sent_before(before, found, &shown)?;
            target.changes(&before, &after.columns, &exists)?;
        }
        let puts = present.contains(&false).then(|| BooleanArray::from(present));
        self.state.write(keys, after_rows, puts)
    }

    /// Which of the touched groups readers have seen, or see at once.
    fn shown(&self, groups: &[ArrayRef], total: usize) -> Result<Vec<bool>> {
        let Some((window, _)) = self.layout.window.as_ref().filter(|_| self.on_close) else {
            return Ok(vec![true; total]);
        };
        let Some(sent) = self.sent.filter(|_| self.lateness > 0) else { return Ok(vec![false; total]) };
        let windows = groups.get(*window).ok_or_else(|| Error::internal("a group without its window"))?;
        let windows = event_time::micros(windows)?;
        Ok(windows.iter().map(|window| sent == END_OF_TIME || window.is_some_and(|w| w < sent)).collect())
    }

    /// Which of the touched groups are there after the epoch.
    fn present(&self, states: &[ArrayRef], total: usize) -> Result<Vec<bool>> {
        if !self.counts_rows || self.groups == 0 {
            return Ok(vec![true; total]);
        }
        let counts = states
            .get(self.groups)
            .and_then(|c| c.as_primitive_opt::<Int64Type>())
            .ok_or_else(|| Error::internal("a group without a count of rows"))?;
        match counts.values().iter().find(|c| **c < 0) {
            Some(count) => Err(Error::internal(format!("a group has {count} rows: more retracted than inserted"))),
            None => {
                let mut present: Vec<bool> = counts.values().iter().map(|c| *c > 0).collect();
                if let Some(ids) = states.get(self.groups.saturating_sub(1)).filter(|_| !self.totals.is_empty()) {
                    let ids = cast(ids, &DataType::UInt64)?;
                    for (present, id) in present.iter_mut().zip(ids.as_primitive::<UInt64Type>().values()) {
                        *present |= self.totals.contains(id);
                    }
                }
                Ok(present)
            }
        }
    }

    /// The groups of the empty grouping sets that are this actor's, and how many.
    pub(super) fn totals(&self, totals: &[u64]) -> Result<(Vec<ArrayRef>, usize)> {
        let ids: ArrayRef = Arc::new(UInt64Array::from(totals.to_vec()));
        let columns =
            self.schema.fields().iter().take(self.groups).enumerate().map(|(i, field)| match i + 1 == self.groups {
                true => Ok(cast(&ids, field.data_type())?),
                false => Ok(new_null_array(field.data_type(), totals.len())),
            });
        let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        let keys = self.layout.encode(&columns, totals.len())?;
        let mine: BooleanArray = keys.iter().map(|key| Some(self.layout.owns(key.unwrap_or_default(), 0))).collect();
        let columns = columns.iter().map(|c| Ok(filter(c, &mine)?)).collect::<Result<_>>()?;
        Ok((columns, mine.true_count()))
    }

    /// The last result of a call that keeps its values; only at the close when it is shown only then.
    fn values_state(&self, call: &Call, sets: &[Values], keys: &Keys) -> Result<ArrayRef> {
        match self.on_close && self.lateness == 0 {
            true => Ok(new_null_array(&call.aggregate.result_type(), keys.len())),
            false => values_of(call, sets)?.results(&call.aggregate, keys),
        }
    }

    /// Group columns and results of state rows.
    fn rows(&self, calls: &[Call], states: &RecordBatch) -> Result<ResultRows> {
        let hidden = usize::from(self.counts_rows);
        let mut all = columns(states.columns(), &(0..self.groups))?;
        let mut failed = Vec::new();
        for call in calls.iter().skip(hidden) {
            let state = columns(states.columns(), &call.states)?;
            if call.aggregate.keeps_values() {
                all.extend(state);
                continue;
            }
            let Results { values, failed: rows } = call.aggregate.results(&state, states.num_rows())?;
            all.push(values);
            failed.extend(rows.into_iter().map(|(row, e)| (row, e.context(call.aggregate.name()))));
        }
        failed.sort_by_key(|(row, _)| *row);
        failed.dedup_by_key(|(row, _)| *row);
        Ok(ResultRows { columns: all, failed })
    }

    /// Windows below `watermark` take no more rows; whether there are more of these than before.
    pub(super) fn close(&mut self, watermark: i64) -> Result<bool> {
        if self.closed >= Some(watermark) {
            return Ok(false);
        }
        self.closed = Some(watermark);
        self.write_mark(keys::closed_key(self.actor), watermark)?;
        Ok(true)
    }

    /// The last window of this actor that is open.
    pub(super) fn last_window(&self) -> Result<Option<i64>> {
        let Some((window, _)) = &self.layout.window else { return Ok(None) };
        let mut last = None;
        let mut range = self.layout.up_to(self.closed, END_OF_TIME)?;
        while let Some(found) = self.next(&mut range, END_OF_TIME)? {
            for (_, rows) in found {
                last = last.max(max(&event_time::micros(rows.column(*window))?));
            }
        }
        Ok(last)
    }

    /// Sends the rows of windows below `watermark`, which are closed, in window order, and frees the state of those that
    /// take no late rows any more.
    pub(super) fn send(&mut self, watermark: i64, calls: &mut Calls, target: &mut Target<'_>) -> Result<()> {
        if self.layout.window.is_none() {
            return Ok(());
        }
        let mut range = self.layout.up_to(self.sent, watermark)?;
        while let Some(found) = self.next(&mut range, watermark)? {
            for (keys, rows) in found {
                self.send_rows(&keys, &rows, calls, target)?;
                if self.lateness == 0 {
                    self.free(keys, rows, calls)?;
                }
            }
        }
        self.sent = Some(watermark);
        if self.lateness == 0 {
            return Ok(());
        }
        self.write_mark(keys::sent_key(self.actor), watermark)?;
        let past = if watermark == END_OF_TIME { watermark } else { watermark.saturating_sub(self.lateness) };
        self.free_below(past, calls)
    }

    /// Frees the state of windows below `watermark`, which change no more.
    pub(super) fn free_below(&mut self, watermark: i64, calls: &mut Calls) -> Result<()> {
        if self.freed >= Some(watermark) {
            return Ok(());
        }
        let mut range = self.layout.up_to(self.freed, watermark)?;
        while let Some(found) = self.next(&mut range, watermark)? {
            for (keys, rows) in found {
                self.free(keys, rows, calls)?;
            }
        }
        self.freed = Some(watermark);
        Ok(())
    }

    /// The next rows in `range` of this actor's windows below `watermark`, and the range behind them; `None` when there
    /// are no more.
    fn next(&self, range: &mut KeyRange, watermark: i64) -> Result<Option<Batches>> {
        let Some((window, _)) = &self.layout.window else { return Ok(None) };
        let mut batches = self.state.scan(range, Some(SEND_ROWS))?;
        let Some((last, _)) = batches.iter().rev().find(|(keys, _)| !keys.is_empty()) else { return Ok(None) };
        range.start = Bound::Excluded(last.value(last.len() - 1).to_vec());
        for (keys, rows) in &mut batches {
            let starts = event_time::micros(rows.column(*window))?;
            let windows = key::encode(&[Arc::clone(rows.column(*window))], rows.num_rows())?;
            let mine: BooleanArray = (0..keys.len())
                .map(|row| {
                    let below = watermark == END_OF_TIME || starts.is_valid(row) && starts.value(row) < watermark;
                    Some(below && self.layout.owns(keys.value(row), windows.value(row).len()))
                })
                .collect();
            *rows = filter_record_batch(rows, &mine)?;
            *keys = filter(keys, &mine)?.as_binary::<i32>().clone();
        }
        Ok(Some(batches))
    }

    fn send_rows(&self, keys: &Keys, rows: &RecordBatch, calls: &Calls, target: &mut Target<'_>) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut states = rows.columns().to_vec();
        for call in calls.calls.iter().filter(|call| call.aggregate.keeps_values()) {
            states[call.states.start] = values_of(call, &calls.sets)?.results(&call.aggregate, keys)?;
        }
        let done = self.rows(&calls.calls, &RecordBatch::try_new(Arc::clone(&self.schema), states)?)?;
        let mut exists = vec![true; keys.len()];
        for (row, error) in &done.failed {
            exists[*row] = false;
            target.failed(&done.columns, *row, error)?;
        }
        target.rows(&done.columns, &exists)
    }

    fn free(&mut self, keys: Keys, rows: RecordBatch, calls: &mut Calls) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        for values in &mut calls.sets {
            values.remove(&keys)?;
        }
        let puts = BooleanArray::from(vec![false; keys.len()]);
        self.state.write(keys, rows, Some(puts))
    }

    /// Remembers a watermark under a key of its own.
    fn write_mark(&mut self, key: Vec<u8>, watermark: i64) -> Result<()> {
        let Some((window, data_type)) = &self.layout.window else { return Ok(()) };
        let columns = self
            .schema
            .fields()
            .iter()
            .enumerate()
            .map(|(i, field)| match i == *window {
                true => event_time::instant(watermark, data_type),
                false => Ok(new_null_array(field.data_type(), 1)),
            })
            .collect::<Result<_>>()?;
        let row = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        self.state.write(Keys::from(vec![key.as_slice()]), row, None)
    }
}

fn values_of<'a>(call: &Call, sets: &'a [Values]) -> Result<&'a Values> {
    call.values.and_then(|v| sets.get(v.set)).ok_or_else(|| Error::internal("a call without values"))
}

struct ResultRows {
    columns: Vec<ArrayRef>,
    /// Rows without a result, rising.
    failed: Vec<(usize, Error)>,
}

/// The touched groups that were found, rising, and their rows in that order.
fn found(lookup: Lookup) -> Result<(Vec<usize>, RecordBatch)> {
    let hits = lookup.index.iter().enumerate().filter_map(|(group, at)| at.map(|at| (group, u64::from(at))));
    let (groups, at): (Vec<usize>, Vec<u64>) = hits.unzip();
    let in_order = at.len() == lookup.rows.num_rows() && at.iter().enumerate().all(|(i, at)| i as u64 == *at);
    let rows = match in_order {
        true => lookup.rows,
        false => take_record_batch(&lookup.rows, &UInt64Array::from(at))?,
    };
    Ok((groups, rows))
}

/// What had been sent before, of the touched groups that are shown: rows that had no result were not.
fn sent_before(rows: ResultRows, mut groups: Vec<usize>, shown: &[bool]) -> Result<Before> {
    let mut keep: Vec<bool> = groups.iter().map(|group| shown[*group]).collect();
    if rows.failed.is_empty() && !keep.contains(&false) {
        return Ok(Before { columns: rows.columns, groups });
    }
    for (row, _) in &rows.failed {
        keep[*row] = false;
    }
    let mut kept = keep.iter();
    groups.retain(|_| *kept.next().unwrap_or(&false));
    let mask = BooleanArray::from(keep);
    let columns = rows.columns.iter().map(|c| Ok(filter(c, &mask)?)).collect::<Result<_>>()?;
    Ok(Before { columns, groups })
}
