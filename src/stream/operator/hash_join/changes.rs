//! What a chunk makes the join send on: pairs of rows by number, gathered into columns some thousand at a time.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int16Array, Int64Array, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

use super::groups::NONE;
use super::rows::Rows;
use super::side::with_schema;
use crate::common::Result;
use crate::plan::{HashJoin, JoinKind};
use crate::stream::operator::Output;
use crate::types::StreamChunk;

/// Rows that are sent at once.
const CHUNK_ROWS: usize = 8192;

/// How a change becomes a row of the output.
pub(super) struct Shape {
    /// Side and column of each output column.
    columns: Vec<(usize, usize)>,
    /// Where the column stands that the join adds.
    added: usize,
    kind: JoinKind,
    schema: SchemaRef,
}

impl Shape {
    pub(super) fn new(join: &HashJoin, left_width: usize, schema: SchemaRef) -> Self {
        let column = |c: &usize| if *c < left_width { (0, *c) } else { (1, *c - left_width) };
        Self { columns: join.output.iter().map(column).collect(), added: join.visible, kind: join.kind, schema }
    }
}

/// Changes in their order. A side without a row is padded with nulls.
#[derive(Default)]
pub(super) struct Changes {
    /// Rows of the chunk.
    own: Vec<u32>,
    /// Rows of the other side, by number.
    other: Vec<u32>,
    weights: Vec<i64>,
    /// [`JoinKind::Mark`] only.
    marks: Vec<bool>,
}

/// What the numbers of changes mean.
pub(super) struct Sources<'a> {
    /// The chunk's side.
    pub own: usize,
    pub chunk: &'a RecordBatch,
    pub other: &'a Rows,
}

impl Changes {
    pub(super) fn push(&mut self, own: u32, other: u32, weight: i64) {
        self.own.push(own);
        self.other.push(other);
        self.weights.push(weight);
    }

    pub(super) fn push_marked(&mut self, own: u32, other: u32, weight: i64, mark: bool) {
        self.push(own, other, weight);
        self.marks.push(mark);
    }

    /// Whether there is enough to be sent.
    pub(super) fn is_full(&self) -> bool {
        self.own.len() >= CHUNK_ROWS
    }

    /// Sends everything on.
    pub(super) fn send(&mut self, sources: &Sources<'_>, shape: &Shape, out: &mut Output) -> Result<()> {
        for from in (0..self.own.len()).step_by(CHUNK_ROWS) {
            let to = (from + CHUNK_ROWS).min(self.own.len());
            self.send_some(from..to, sources, shape, out)?;
        }
        self.own.clear();
        self.other.clear();
        self.weights.clear();
        self.marks.clear();
        Ok(())
    }

    fn send_some(
        &self,
        range: std::ops::Range<usize>,
        sources: &Sources<'_>,
        shape: &Shape,
        out: &mut Output,
    ) -> Result<()> {
        let (own, other) = (&self.own[range.clone()], &self.other[range.clone()]);
        let weights = &self.weights[range.clone()];
        let at: UInt32Array = match own.contains(&NONE) {
            true => own.iter().map(|row| (*row != NONE).then_some(*row)).collect(),
            false => UInt32Array::from(own.to_vec()),
        };
        let places = sources.other.places(other);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(shape.columns.len() + 1);
        for (side, column) in &shape.columns {
            columns.push(match *side == sources.own {
                true if at.null_count() == at.len() => {
                    new_null_array(sources.chunk.column(*column).data_type(), at.len())
                }
                true => take(sources.chunk.column(*column), &at, None)?,
                false => sources.other.gather(*column, &places)?,
            });
        }
        match shape.kind {
            JoinKind::Mark => {
                columns.insert(shape.added, Arc::new(BooleanArray::from(self.marks[range].to_vec())));
            }
            JoinKind::Full => columns.insert(shape.added, Arc::new(sides(own, other, sources.own))),
            _ => {}
        }
        let batch = with_schema(&shape.schema, columns, weights.len())?;
        let weights = weights.iter().any(|w| *w != 1).then(|| Int64Array::from(weights.to_vec()));
        out.chunk(StreamChunk::new(batch, weights));
        Ok(())
    }
}

/// 0 for a pair, 1 for a left row alone, 2 for a right one: rows whose keys are all null are told apart by it.
fn sides(own: &[u32], other: &[u32], own_side: usize) -> Int16Array {
    let side = |(own_row, other_row): (&u32, &u32)| match (*own_row == NONE, *other_row == NONE) {
        (false, true) => 1 + own_side as i16,
        (true, false) => 2 - own_side as i16,
        _ => 0,
    };
    Int16Array::from_iter_values(own.iter().zip(other).map(side))
}
