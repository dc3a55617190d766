//! Materialize: keeps the rows of a table or view by key and passes on what changed.
//!
//! A view's key identifies the rows of its stream, so its chunks are written and passed on as they are. A table's rows
//! come from outside: each is checked against the row that the key has now (one read a chunk), and exact changes go
//! on: the retraction of the stored row, then the new one. A row with a null where none may be is a dead letter.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::{SortOptions, interleave, take};
use arrow::datatypes::SchemaRef;

use super::{BuildContext, Output, StreamOperator};
use crate::common::{Error, ErrorKind, Result};
use crate::plan;
use crate::state::StateWriter;
use crate::stream::message::{Barrier, Watermark};
use crate::types::{Conflict, Epoch, StreamChunk, key};

pub struct Materialize {
    name: String,
    key: Vec<usize>,
    directions: Vec<plan::SortColumn>,
    conflict: Conflict,
    state: StateWriter,
    /// Of the stored rows and of the output.
    schema: SchemaRef,
}

impl Materialize {
    pub(super) fn new(
        name: String,
        op: &plan::Materialize,
        schema: &SchemaRef,
        context: &BuildContext<'_>,
    ) -> Result<Self> {
        let state = context.store.table(op.table, Arc::clone(schema))?.writer();
        let (key, directions) = (op.key.clone(), op.directions.clone());
        Ok(Self { name, key, directions, conflict: op.conflict, state, schema: Arc::clone(schema) })
    }

    fn keys(&self, batch: &RecordBatch) -> Result<key::Keys> {
        let columns = self.key.iter().map(|i| Arc::clone(batch.column(*i)));
        if self.directions.is_empty() {
            return key::encode(&columns.collect::<Vec<ArrayRef>>(), batch.num_rows());
        }
        let direction = |column: &usize| self.directions.iter().find(|d| d.column == *column);
        let ascending = SortOptions { descending: false, nulls_first: false };
        let options = self.key.iter().map(|column| direction(column).map_or(ascending, |d| d.options()));
        key::encode_ordered(&columns.zip(options).collect::<Vec<_>>(), batch.num_rows())
    }

    fn unchecked(&mut self, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), chunk.batch().columns().to_vec())?;
        let keys = self.keys(&batch)?;
        let puts = chunk.weights().map(|w| w.values().iter().map(|w| Some(*w > 0)).collect());
        self.state.write(keys, batch.clone(), puts)?;
        out.chunk(chunk.with_batch(batch));
        Ok(())
    }

    fn checked(&mut self, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        let chunk = self.without_null_keys(chunk, out)?;
        if chunk.is_empty() {
            return Ok(());
        }
        let missing = self.missing(chunk.batch());
        let keys = self.keys(chunk.batch())?;
        let stored = self.state.get(&keys)?;
        let mut merged = (self.conflict == Conflict::UpdateIfNotNull).then(|| Merged::new(chunk.batch()));
        let mut current: HashMap<&[u8], Option<Place>> = HashMap::with_capacity(chunk.num_rows());
        let mut changes = Vec::with_capacity(chunk.num_rows());
        let mut weights = Vec::with_capacity(chunk.num_rows());
        let mut writes = Writes::default();
        for row in 0..chunk.num_rows() {
            let found = stored.index.get(row).copied().flatten().map(|at| (STORED, at as usize));
            let now = current.entry(keys.value(row)).or_insert(found);
            if chunk.weight(row) < 0 {
                if let Some(old) = now.take() {
                    changes.push(old);
                    weights.push(-1);
                    writes.push(row, old, false);
                }
                continue;
            }
            if self.conflict == Conflict::DoNothing && now.is_some() {
                continue;
            }
            let fills_in = merged.is_some() && now.is_some();
            if !fills_in && let Some(column) = missing.iter().find(|c| chunk.column(**c).is_null(row)) {
                out.letter(&self.name, &chunk, row, &not_null(&self.schema, *column))?;
                continue;
            }
            if let Some(merged) = &mut merged {
                merged.fill_in(row, *now, chunk.batch());
            }
            if let Some(old) = *now {
                changes.push(old);
                weights.push(-1);
            }
            changes.push((CHUNK, row));
            weights.push(1);
            *now = Some((CHUNK, row));
            writes.push(row, (CHUNK, row), true);
        }
        if writes.rows.is_empty() {
            return Ok(());
        }
        let rows = match merged {
            Some(merged) => merged.columns(chunk.batch(), &stored.rows)?,
            None => chunk.batch().columns().to_vec(),
        };
        let sources = Sources { stored: stored.rows.columns(), rows: &rows, schema: &self.schema };
        let changed = sources.gather(&changes)?;
        let written = take(&keys, &UInt64Array::from(writes.rows), None)?;
        self.state.write(written.as_binary().clone(), sources.gather(&writes.places)?, Some(writes.puts.into()))?;
        let weights = weights.iter().any(|w| *w != 1).then(|| Int64Array::from(weights));
        out.chunk(StreamChunk::new(changed, weights));
        Ok(())
    }

    /// A row without a key can neither be stored nor removed.
    fn without_null_keys(&self, chunk: StreamChunk, out: &mut Output) -> Result<StreamChunk> {
        let nulls: Vec<usize> =
            self.key.iter().copied().filter(|c| chunk.column(*c).logical_null_count() > 0).collect();
        if nulls.is_empty() {
            return Ok(chunk);
        }
        let mut mask = Vec::with_capacity(chunk.num_rows());
        for row in 0..chunk.num_rows() {
            let column = nulls.iter().find(|c| chunk.column(**c).is_null(row));
            if let Some(column) = column {
                out.letter(&self.name, &chunk, row, &not_null(&self.schema, *column))?;
            }
            mask.push(column.is_none());
        }
        chunk.filter(&BooleanArray::from(mask))
    }

    /// NOT NULL columns in which the batch has nulls.
    fn missing(&self, batch: &RecordBatch) -> Vec<usize> {
        let fields = self.schema.fields().iter().zip(batch.columns()).enumerate();
        fields.filter(|(_, (f, c))| !f.is_nullable() && c.logical_null_count() > 0).map(|(i, _)| i).collect()
    }
}

pub(super) fn not_null(schema: &SchemaRef, column: usize) -> Error {
    let name = schema.fields().get(column).map_or("?", |f| f.name().as_str());
    Error::new(ErrorKind::NotNullViolation, format!("null value in column {name} violates its not-null constraint"))
}

/// Where a row is to be found: [`STORED`] or [`CHUNK`], and its number there.
type Place = (usize, usize);
/// In the state as read for this chunk.
const STORED: usize = 0;
/// Made by this row of the chunk.
const CHUNK: usize = 1;

/// What the chunk does to the state, in order.
#[derive(Default)]
struct Writes {
    /// Rows of the chunk, whose keys are written.
    rows: Vec<u64>,
    places: Vec<Place>,
    puts: Vec<bool>,
}

impl Writes {
    fn push(&mut self, row: usize, place: Place, put: bool) {
        self.rows.push(row as u64);
        self.places.push(place);
        self.puts.push(put);
    }
}

struct Sources<'a> {
    stored: &'a [ArrayRef],
    rows: &'a [ArrayRef],
    schema: &'a SchemaRef,
}

impl Sources<'_> {
    fn gather(&self, places: &[Place]) -> Result<RecordBatch> {
        let columns = self.stored.iter().zip(self.rows);
        let columns: Vec<ArrayRef> =
            columns.map(|(stored, rows)| Ok(interleave(&[stored, rows], places)?)).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(self.schema), columns, &options)?)
    }
}

/// UPDATE IF NOT NULL: each value of a new row comes from the chunk, or where that is null from the row before.
struct Merged {
    /// By column and row of the chunk.
    places: Vec<Vec<Place>>,
}

impl Merged {
    fn new(batch: &RecordBatch) -> Self {
        let own: Vec<Place> = (0..batch.num_rows()).map(|row| (CHUNK, row)).collect();
        Self { places: vec![own; batch.num_columns()] }
    }

    fn fill_in(&mut self, row: usize, now: Option<Place>, batch: &RecordBatch) {
        let Some((source, at)) = now else { return };
        for (places, column) in self.places.iter_mut().zip(batch.columns()) {
            if column.is_null(row) {
                places[row] = if source == CHUNK { places[at] } else { (source, at) };
            }
        }
    }

    fn columns(&self, batch: &RecordBatch, stored: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let columns = self.places.iter().zip(batch.columns()).zip(stored.columns());
        columns.map(|((places, new), old)| Ok(interleave(&[old, new], places)?)).collect()
    }
}

impl StreamOperator for Materialize {
    fn on_chunk(&mut self, _port: usize, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        match self.conflict {
            Conflict::Unchecked => self.unchecked(chunk, out),
            Conflict::Overwrite | Conflict::DoNothing | Conflict::UpdateIfNotNull => self.checked(chunk, out),
        }
    }

    fn on_watermark(&mut self, _port: usize, watermark: Watermark, out: &mut Output) -> Result<()> {
        out.watermark(watermark);
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, _out: &mut Output) -> Result<()> {
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
