//! From the results before and after an epoch to the changes that go on: `-old, +new` of a group side by side.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{and, interleave, take};
use arrow::datatypes::{Field, Schema, SchemaRef};

use crate::common::{Error, Result};
use crate::stream::operator::Output;
use crate::types::StreamChunk;

/// Rows that an operator sends at once.
const CHUNK_ROWS: usize = 8192;

/// The rows of the touched groups that had a result before.
pub(super) struct Before {
    /// Group columns, then results.
    pub columns: Vec<ArrayRef>,
    /// The touched group of each row, rising.
    pub groups: Vec<usize>,
}

/// Where results go.
pub(super) struct Target<'a> {
    pub operator: &'a str,
    /// Group columns, then results.
    pub schema: &'a SchemaRef,
    pub out: &'a mut Output,
}

impl Target<'_> {
    /// Sends the changes on. `after` has one row a touched group; `exists[i]`: group *i* has a result now.
    pub(super) fn changes(&mut self, before: &Before, after: &[ArrayRef], exists: &[bool]) -> Result<()> {
        if before.groups.is_empty() && exists.iter().all(|e| *e) {
            return self.send(after.to_vec(), exists.len(), None);
        }
        let same = unchanged(before, after)?;
        const BEFORE: usize = 0;
        const AFTER: usize = 1;
        let mut places = Vec::with_capacity(exists.len() + before.groups.len());
        let mut weights = Vec::with_capacity(places.capacity());
        let mut old = before.groups.iter().enumerate().peekable();
        for (group, exists) in exists.iter().enumerate() {
            let old_row = old.next_if(|(_, g)| **g == group).map(|(row, _)| row);
            if *exists && old_row.is_some_and(|row| same.value(row)) {
                continue;
            }
            if let Some(row) = old_row {
                places.push((BEFORE, row));
                weights.push(-1);
            }
            if *exists {
                places.push((AFTER, group));
                weights.push(1);
            }
        }
        let columns = before.columns.iter().zip(after);
        let columns: Vec<ArrayRef> =
            columns.map(|(old, new)| Ok(interleave(&[old, new], &places)?)).collect::<Result<_>>()?;
        let weights = weights.iter().any(|w| *w != 1).then(|| Int64Array::from(weights));
        self.send(columns, places.len(), weights)
    }

    /// Sends new rows on, those that exist.
    pub(super) fn rows(&mut self, columns: &[ArrayRef], exists: &[bool]) -> Result<()> {
        let none = Before { columns: columns.iter().map(|c| c.slice(0, 0)).collect(), groups: Vec::new() };
        self.changes(&none, columns, exists)
    }

    /// Records that row `row` of the results is missing one.
    pub(super) fn failed(&mut self, columns: &[ArrayRef], row: usize, error: &Error) -> Result<()> {
        let fields: Vec<Field> = self.schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
        let columns = columns.iter().map(|c| c.slice(row, 1)).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        self.out.letter(self.operator, &StreamChunk::inserts(batch), 0, error)
    }

    /// Sends rows on in chunks of bounded size.
    pub(super) fn send(&mut self, columns: Vec<ArrayRef>, rows: usize, weights: Option<Int64Array>) -> Result<()> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(self.schema), columns, &options)?;
        let chunk = StreamChunk::new(batch, weights);
        for start in (0..rows).step_by(CHUNK_ROWS) {
            self.out.chunk(chunk.slice(start, CHUNK_ROWS.min(rows - start)));
        }
        Ok(())
    }
}

/// For each row of `before`: its group's row in `after` is equal to it.
fn unchanged(before: &Before, after: &[ArrayRef]) -> Result<BooleanArray> {
    let groups = UInt64Array::from_iter_values(before.groups.iter().map(|g| *g as u64));
    let mut same = BooleanArray::from(vec![true; before.groups.len()]);
    for (old, new) in before.columns.iter().zip(after) {
        let new = take(new, &groups, None)?;
        let equal = match old.data_type().is_nested() {
            true => (0..old.len()).map(|row| Some(old.slice(row, 1) == new.slice(row, 1))).collect(),
            false => not_distinct(old, &new)?,
        };
        same = and(&same, &equal)?;
    }
    Ok(same)
}
