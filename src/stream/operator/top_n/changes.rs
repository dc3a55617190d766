//! What changes among the first rows of partitions: gathered by key, then made into chunks column by column.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryBuilder, Int64Array, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;

use super::leading::{Fresh, Ranks};
use crate::common::{Error, Result};
use crate::plan::Rank;
use crate::state::StateWriter;
use crate::stream::operator::Output;
use crate::types::{Keys, StreamChunk};

/// Rows that an operator sends at once.
const CHUNK_ROWS: usize = 8192;

/// Rows and their weights, in the order in which they go on.
#[derive(Default)]
pub(super) struct Changes {
    rows: Vec<Place>,
    weights: Vec<i64>,
    ranks: Vec<Ranks>,
    /// Keys of the rows that are in the state.
    kept: BinaryBuilder,
}

enum Place {
    Fresh(Fresh),
    /// The number of its key in `kept`.
    Kept(usize),
}

impl Changes {
    /// A row of the open epoch, or one that the state has.
    pub(super) fn push(&mut self, key: &[u8], fresh: Option<Fresh>, ranks: Ranks, weight: i64) {
        self.rows.push(match fresh {
            Some(fresh) => Place::Fresh(fresh),
            None => {
                self.kept.append_value(key);
                Place::Kept(arrow::array::ArrayBuilder::len(&self.kept) - 1)
            }
        });
        self.ranks.push(ranks);
        self.weights.push(weight);
    }

    /// Sends all on; `batches` are those of the open epoch.
    pub(super) fn send(
        mut self,
        state: Option<&StateWriter>,
        batches: &[RecordBatch],
        shown: &[Rank],
        schema: &SchemaRef,
        out: &mut Output,
    ) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let keys: Keys = self.kept.finish();
        let lookup = match state.filter(|_| !keys.is_empty()) {
            Some(state) => Some(state.get(&keys)?),
            None => None,
        };
        let missing = || Error::internal("one of the first rows is not in the state");
        let places = self
            .rows
            .iter()
            .map(|place| match place {
                Place::Fresh((batch, row)) => Ok((*batch as usize + 1, *row as usize)),
                Place::Kept(number) => {
                    let at = lookup.as_ref().and_then(|l| l.index.get(*number).copied().flatten());
                    Ok((0, at.ok_or_else(missing)? as usize))
                }
            })
            .collect::<Result<Vec<_>>>()?;
        let inputs = schema.fields().len() - shown.len();
        let kept = match &lookup {
            Some(lookup) => lookup.rows.columns().to_vec(),
            None => schema.fields().iter().take(inputs).map(|f| arrow::array::new_empty_array(f.data_type())).collect(),
        };
        let mut columns = gather(&kept, batches, &places)?;
        for rank in shown {
            columns.push(Arc::new(UInt64Array::from_iter_values(self.ranks.iter().map(|r| r.of(*rank)))));
        }
        let weights = self.weights.iter().any(|w| *w != 1).then(|| Int64Array::from(self.weights));
        send(columns, places.len(), weights, schema, out)
    }
}

/// Columns of the rows at `places`: source 0 is `kept`, the others are `batches`.
pub(super) fn gather(kept: &[ArrayRef], batches: &[RecordBatch], places: &[(usize, usize)]) -> Result<Vec<ArrayRef>> {
    let column = |i: usize, kept: &ArrayRef| -> Result<ArrayRef> {
        let sources: Vec<&dyn Array> =
            std::iter::once(kept.as_ref()).chain(batches.iter().map(|b| b.column(i).as_ref())).collect();
        Ok(interleave(&sources, places)?)
    };
    kept.iter().enumerate().map(|(i, kept)| column(i, kept)).collect()
}

pub(super) fn send(
    columns: Vec<ArrayRef>,
    rows: usize,
    weights: Option<Int64Array>,
    schema: &SchemaRef,
    out: &mut Output,
) -> Result<()> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let chunk = StreamChunk::new(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?, weights);
    for start in (0..rows).step_by(CHUNK_ROWS) {
        out.chunk(chunk.slice(start, CHUNK_ROWS.min(rows - start)));
    }
    Ok(())
}
