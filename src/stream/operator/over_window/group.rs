//! Partitions that are computed together: their rows before and now, gathered by position, then column by column.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryBuilder, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, new_empty_array,
};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{and, concat, interleave};
use arrow::datatypes::SchemaRef;
use datafusion::physical_plan::windows::WindowExpr;

use crate::common::Result;
use crate::state::StateWriter;
use crate::stream::operator::Output;
use crate::types::StreamChunk;

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

pub(super) struct Group<'a> {
    open: &'a [RecordBatch],
    input: &'a SchemaRef,
    output: &'a SchemaRef,
    /// Batches of the state: input columns, then results.
    stored: Vec<RecordBatch>,
    /// Rows of all partitions as they are now.
    now: Vec<Source>,
    /// The partitions' rows in `now`.
    partitions: Vec<Range<usize>>,
    /// Rows that were there before and are not, or not as they were.
    gone: Vec<Place>,
    /// Keys of those that are not there any more.
    removed: BinaryBuilder,
    /// Keys of `now`.
    keys: BinaryBuilder,
    begin: usize,
}

impl<'a> Group<'a> {
    /// `open` are the batches of the open epoch.
    pub(super) fn new(open: &'a [RecordBatch], input: &'a SchemaRef, output: &'a SchemaRef) -> Self {
        Self {
            open,
            input,
            output,
            stored: Vec::new(),
            now: Vec::new(),
            partitions: Vec::new(),
            gone: Vec::new(),
            removed: BinaryBuilder::new(),
            keys: BinaryBuilder::new(),
            begin: 0,
        }
    }

    /// How many rows it has.
    pub(super) fn rows(&self) -> usize {
        self.now.len() + self.gone.len()
    }

    /// A batch of stored rows, for [`Source::Stored`].
    pub(super) fn stored(&mut self, rows: RecordBatch) -> usize {
        self.stored.push(rows);
        self.stored.len() - 1
    }

    /// Starts a partition; its rows come in their order.
    pub(super) fn begin(&mut self) {
        self.begin = self.now.len();
    }

    pub(super) fn end(&mut self) {
        // A partition without rows has no results.
        if self.begin < self.now.len() {
            self.partitions.push(self.begin..self.now.len());
        }
    }

    /// A row that stays.
    pub(super) fn unchanged(&mut self, key: &[u8], (batch, row): Place) {
        self.keys.append_value(key);
        self.now.push(Source::Stored(batch, row));
    }

    /// A row that comes, goes or is replaced.
    pub(super) fn change(&mut self, key: &[u8], before: Option<Place>, now: Option<Source>) {
        self.gone.extend(before);
        match now {
            Some(now) => {
                self.keys.append_value(key);
                self.now.push(now);
            }
            None if before.is_some() => self.removed.append_value(key),
            None => {}
        }
    }

    /// Sends on what changed, retractions first, and writes it to the state.
    pub(super) fn compute(mut self, calls: &[Arc<dyn WindowExpr>], state: &mut StateWriter, out: &mut Output) -> Result<()> {
        let rows = self.input_rows()?;
        let results = self.results(calls, &rows)?;
        let same = self.same(&results)?;
        let base = self.stored.len();
        let mut places: Vec<Place> = self.gone.clone();
        let mut added: Vec<Place> = Vec::new();
        for (at, source) in self.now.iter().enumerate() {
            match source {
                Source::Stored(..) if same.value(at) => {}
                Source::Stored(batch, row) => {
                    places.push((*batch, *row));
                    added.push((base, at));
                }
                Source::Open(..) => added.push((base, at)),
            }
        }
        let removed = self.removed.finish();
        if !removed.is_empty() {
            state.remove(removed);
        }
        let now = RecordBatch::try_new(
            Arc::clone(self.output),
            rows.columns().iter().cloned().chain(results).collect(),
        )?;
        if !added.is_empty() {
            let keys = self.keys.finish();
            let at: Vec<usize> = added.iter().map(|(_, at)| *at).collect();
            let keys = arrow::array::BinaryArray::from_iter_values(at.iter().map(|at| keys.value(*at)));
            let written = gather(std::slice::from_ref(&now), &at.iter().map(|at| (0, *at)).collect::<Vec<_>>(), self.output)?;
            state.write(keys, written, None)?;
        }
        let retracted = places.len();
        places.extend(added);
        let mut sources = self.stored;
        sources.push(now);
        let changed = gather(&sources, &places, self.output)?;
        let weights = (retracted > 0)
            .then(|| Int64Array::from_iter_values((0..places.len()).map(|at| if at < retracted { -1 } else { 1 })));
        let chunk = StreamChunk::new(changed, weights);
        for start in (0..chunk.num_rows()).step_by(CHUNK_ROWS) {
            out.chunk(chunk.slice(start, CHUNK_ROWS.min(chunk.num_rows() - start)));
        }
        Ok(())
    }

    /// The input's columns of the rows as they are now.
    fn input_rows(&self) -> Result<RecordBatch> {
        let base = self.stored.len();
        let places: Vec<Place> = self
            .now
            .iter()
            .map(|source| match source {
                Source::Stored(batch, row) => (*batch, *row),
                Source::Open(batch, row) => (base + batch, *row),
            })
            .collect();
        let columns: Vec<usize> = (0..self.input.fields().len()).collect();
        let mut sources = Vec::with_capacity(base + self.open.len());
        for batch in &self.stored {
            sources.push(batch.project(&columns)?);
        }
        sources.extend(self.open.iter().cloned());
        gather(&sources, &places, self.input)
    }

    fn results(&self, calls: &[Arc<dyn WindowExpr>], rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let of = |call: &Arc<dyn WindowExpr>| -> Result<ArrayRef> {
            let parts = self
                .partitions
                .iter()
                .map(|p| Ok(call.evaluate(&rows.slice(p.start, p.len()))?))
                .collect::<Result<Vec<ArrayRef>>>()?;
            match parts.as_slice() {
                [] => Ok(new_empty_array(call.field()?.data_type())),
                [only] => Ok(Arc::clone(only)),
                parts => Ok(concat(&parts.iter().map(|p| p.as_ref()).collect::<Vec<_>>())?),
            }
        };
        calls.iter().map(of).collect()
    }

    /// Which of the rows as they are now have the results that the state has; only told of stored ones.
    fn same(&self, results: &[ArrayRef]) -> Result<BooleanArray> {
        let mut same = BooleanArray::from(vec![true; self.now.len()]);
        if self.stored.is_empty() {
            return Ok(same);
        }
        let inputs = self.input.fields().len();
        let places: Vec<Place> = self
            .now
            .iter()
            .enumerate()
            .map(|(at, source)| match source {
                Source::Stored(batch, row) => (batch + 1, *row),
                Source::Open(..) => (0, at),
            })
            .collect();
        for (i, new) in results.iter().enumerate() {
            let sources: Vec<&dyn Array> = std::iter::once(new.as_ref())
                .chain(self.stored.iter().map(|b| b.column(inputs + i).as_ref()))
                .collect();
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

fn gather(sources: &[RecordBatch], places: &[Place], schema: &SchemaRef) -> Result<RecordBatch> {
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
