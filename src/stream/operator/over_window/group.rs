//! Partitions that are computed together: their rows before and now, gathered by position, then column by column.
//!
//! ```text
//! now:     s s s s s s s o s s s s s s s s s      s stored, o of the open epoch
//! wanted:          [     .     ]                  rows whose results the change can reach
//! rows:      [                         ]          rows that those are computed from
//! ```
//! Where a function may look at any row of its partition, both are the partition.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryBuilder, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions,
    new_empty_array,
};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{and, concat, interleave};
use arrow::datatypes::SchemaRef;
use datafusion::physical_plan::windows::WindowExpr;

use crate::common::Result;
use crate::state::StateWriter;
use crate::stream::operator::Output;
use crate::stream::operator::row_order::RowKeys;
use crate::types::{Keys, StreamChunk};

/// Rows that an operator sends at once.
const CHUNK_ROWS: usize = 8192;

/// Batch and row.
type Place = (usize, usize);

/// Where a row of a partition comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// The state, with the results that it has there.
    Stored(usize, usize),
    /// The open epoch.
    Open(usize, usize),
}

/// What does not change from group to group.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// The chunks of the open epoch.
    pub open: &'a [(StreamChunk, RowKeys)],
    pub input: &'a SchemaRef,
    /// Input columns, then results.
    pub output: &'a SchemaRef,
    pub calls: &'a [Arc<dyn WindowExpr>],
    /// How many rows before and after its own a result may depend on, where that is bounded.
    pub reach: Option<(usize, usize)>,
}

pub(super) struct Group<'a> {
    context: Context<'a>,
    /// Rows of the state: input columns, then results.
    stored: Vec<(Keys, RecordBatch)>,
    /// Rows of all partitions as they are now.
    now: Vec<Source>,
    pieces: Vec<Piece>,
    /// Rows that were there before and are not, or not as they were.
    gone: Vec<Place>,
    /// Keys of those that are not there any more.
    removed: BinaryBuilder,
    /// Where in `now` the open partition begins, and where it has changed.
    begin: usize,
    changed: Vec<usize>,
}

/// Rows of `now`: those to compute, and those that it takes.
struct Piece {
    wanted: Range<usize>,
    rows: Range<usize>,
}

impl<'a> Group<'a> {
    pub(super) fn new(context: Context<'a>) -> Self {
        Self {
            context,
            stored: Vec::new(),
            now: Vec::new(),
            pieces: Vec::new(),
            gone: Vec::new(),
            removed: BinaryBuilder::new(),
            begin: 0,
            changed: Vec::new(),
        }
    }

    /// How many rows it has.
    pub(super) fn rows(&self) -> usize {
        self.now.len() + self.gone.len()
    }

    /// A batch of stored rows, for [`Source::Stored`].
    pub(super) fn stored(&mut self, keys: Keys, rows: RecordBatch) -> usize {
        self.stored.push((keys, rows));
        self.stored.len() - 1
    }

    /// Stored rows that stay, the next in order.
    pub(super) fn unchanged(&mut self, batch: usize, rows: Range<usize>) {
        self.now.extend(rows.map(|row| Source::Stored(batch, row)));
    }

    /// A row that comes, goes or is replaced, the next in order.
    pub(super) fn change(&mut self, key: &[u8], before: Option<Place>, now: Option<Source>) {
        if before.is_none() && now.is_none() {
            return;
        }
        self.changed.push(self.now.len());
        self.gone.extend(before);
        match now {
            Some(now) => self.now.push(now),
            None => self.removed.append_value(key),
        }
    }

    /// The partition has no more rows; the next begins.
    pub(super) fn end(&mut self) {
        let (begin, end) = (self.begin, self.now.len());
        self.begin = end;
        let changed = std::mem::take(&mut self.changed);
        let Some((before, after)) = self.context.reach else {
            // A partition without rows has no results.
            if begin < end && !changed.is_empty() {
                self.pieces.push(Piece { wanted: begin..end, rows: begin..end });
            }
            return;
        };
        let mut wanted: Option<Range<usize>> = None;
        let mut done = Vec::new();
        for at in changed {
            let reached = at.saturating_sub(after).max(begin)..at.saturating_add(before).saturating_add(1).min(end);
            match &mut wanted {
                Some(wanted) if reached.start <= wanted.end => wanted.end = wanted.end.max(reached.end),
                _ => done.extend(wanted.replace(reached)),
            }
        }
        done.extend(wanted);
        self.pieces.extend(done.into_iter().filter(|wanted| !wanted.is_empty()).map(|wanted| {
            let rows = wanted.start.saturating_sub(before).max(begin)..wanted.end.saturating_add(after).min(end);
            Piece { wanted, rows }
        }));
    }

    /// Sends on what changed, retractions first, and writes it to the state.
    pub(super) fn compute(mut self, state: &mut StateWriter, out: &mut Output) -> Result<()> {
        let wanted: Vec<usize> = self.pieces.iter().flat_map(|p| p.wanted.clone()).collect();
        let now = self.results(&wanted)?;
        let same = self.same(&now, &wanted)?;
        let base = self.stored.len();
        let mut places: Vec<Place> = std::mem::take(&mut self.gone);
        let mut added: Vec<Place> = Vec::new();
        for (number, at) in wanted.iter().enumerate() {
            match self.now[*at] {
                Source::Stored(..) if same.value(number) => continue,
                Source::Stored(batch, row) => places.push((batch, row)),
                Source::Open(..) => {}
            }
            added.push((base, number));
        }
        let removed = self.removed.finish();
        if !removed.is_empty() {
            state.remove(removed);
        }
        if !added.is_empty() {
            let keys = BinaryArray::from_iter_values(added.iter().map(|(_, number)| self.key(wanted[*number])));
            let numbers: Vec<Place> = added.iter().map(|(_, number)| (0, *number)).collect();
            state.write(keys, gather(&[&now], &numbers, self.context.output)?, None)?;
        }
        let retracted = places.len();
        places.extend(added);
        let sources: Vec<&RecordBatch> = self.stored.iter().map(|(_, rows)| rows).chain([&now]).collect();
        let changed = gather(&sources, &places, self.context.output)?;
        let weights = (retracted > 0)
            .then(|| Int64Array::from_iter_values((0..places.len()).map(|at| if at < retracted { -1 } else { 1 })));
        let chunk = StreamChunk::new(changed, weights);
        for start in (0..chunk.num_rows()).step_by(CHUNK_ROWS) {
            out.chunk(chunk.slice(start, CHUNK_ROWS.min(chunk.num_rows() - start)));
        }
        Ok(())
    }

    fn key(&self, at: usize) -> &[u8] {
        match self.now[at] {
            Source::Stored(batch, row) => self.stored[batch].0.value(row),
            Source::Open(batch, row) => self.context.open[batch].1.key(row),
        }
    }

    /// The wanted rows with their results.
    fn results(&self, wanted: &[usize]) -> Result<RecordBatch> {
        let taken: Vec<usize> = self.pieces.iter().flat_map(|p| p.rows.clone()).collect();
        let rows = self.input_rows(&taken)?;
        let mut columns = match taken.len() == wanted.len() {
            true => rows.columns().to_vec(),
            false => self.input_rows(wanted)?.columns().to_vec(),
        };
        for call in self.context.calls {
            let mut parts: Vec<ArrayRef> = Vec::with_capacity(self.pieces.len());
            let mut start = 0;
            for piece in &self.pieces {
                let values = call.evaluate(&rows.slice(start, piece.rows.len()))?;
                parts.push(values.slice(piece.wanted.start - piece.rows.start, piece.wanted.len()));
                start += piece.rows.len();
            }
            columns.push(match parts.as_slice() {
                [] => new_empty_array(call.field()?.data_type()),
                [only] => Arc::clone(only),
                parts => concat(&parts.iter().map(|p| p.as_ref()).collect::<Vec<_>>())?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(wanted.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(self.context.output), columns, &options)?)
    }

    /// The input's columns of rows of `now`.
    fn input_rows(&self, at: &[usize]) -> Result<RecordBatch> {
        let base = self.stored.len();
        let places: Vec<Place> = at
            .iter()
            .map(|at| match self.now[*at] {
                Source::Stored(batch, row) => (batch, row),
                Source::Open(batch, row) => (base + batch, row),
            })
            .collect();
        let open = self.context.open.iter().map(|(chunk, _)| chunk.batch());
        let sources: Vec<&RecordBatch> = self.stored.iter().map(|(_, rows)| rows).chain(open).collect();
        gather(&sources, &places, self.context.input)
    }

    /// Which of the wanted rows have the results that the state has; only told of stored ones.
    fn same(&self, now: &RecordBatch, wanted: &[usize]) -> Result<BooleanArray> {
        let mut same = BooleanArray::from(vec![true; wanted.len()]);
        if self.stored.is_empty() || wanted.is_empty() {
            return Ok(same);
        }
        let places: Vec<Place> = wanted
            .iter()
            .enumerate()
            .map(|(number, at)| match self.now[*at] {
                Source::Stored(batch, row) => (batch + 1, row),
                Source::Open(..) => (0, number),
            })
            .collect();
        for i in self.context.input.fields().len()..self.context.output.fields().len() {
            let new = now.column(i);
            let sources: Vec<&dyn Array> =
                std::iter::once(new.as_ref()).chain(self.stored.iter().map(|(_, b)| b.column(i).as_ref())).collect();
            let old = interleave(&sources, &places)?;
            let equal = match old.data_type().is_nested() {
                true => (0..old.len()).map(|row| Some(old.slice(row, 1) == new.slice(row, 1))).collect(),
                false => not_distinct(&old, new)?,
            };
            same = and(&same, &equal)?;
        }
        Ok(same)
    }
}

/// The first columns of `sources`, as many as `schema` has, at `places`.
fn gather(sources: &[&RecordBatch], places: &[Place], schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = (0..schema.fields().len()).map(|i| -> Result<ArrayRef> {
        if places.is_empty() {
            return Ok(new_empty_array(schema.field(i).data_type()));
        }
        let columns: Vec<&dyn Array> = sources.iter().map(|b| b.column(i).as_ref()).collect();
        Ok(interleave(&columns, places)?)
    });
    let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_>>()?, &options)?)
}
