//! Unnest: each row once for every element of its lists, with the element's number in the last column. Several lists
//! go side by side; the shorter ones end with nulls. Keeps weights and no state.
//!
//! A row and its later retraction hold the same lists, so what comes out for one is retracted by the other.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, RecordBatch, StructArray, UInt64Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};

use super::{Output, StreamOperator};
use crate::common::{Error, Result};
use crate::plan::UnnestColumn;
use crate::stream::message::{Barrier, Watermark};
use crate::types::StreamChunk;

/// Rows that are sent at once, about.
const CHUNK_ROWS: usize = 16_384;

pub struct Unnest {
    columns: Vec<UnnestColumn>,
    keep_empty: bool,
    output: SchemaRef,
}

/// Which rows come out next: the input row and the number of the element, from 0.
#[derive(Default)]
struct Expanded {
    rows: Vec<u64>,
    numbers: Vec<i64>,
}

impl Unnest {
    pub(super) fn new(columns: &[UnnestColumn], keep_empty: bool, output: &SchemaRef) -> Self {
        Self { columns: columns.to_vec(), keep_empty, output: Arc::clone(output) }
    }

    /// The lists in the order of the columns that are made of them.
    fn lists(&self, chunk: &StreamChunk) -> Result<Vec<ListArray>> {
        let elements = self.columns.iter().filter_map(|c| match c {
            UnnestColumn::Element(at) => Some(*at),
            _ => None,
        });
        elements.map(|at| list(chunk.column(at))).collect()
    }

    fn send(&self, chunk: &StreamChunk, lists: &[ListArray], expanded: &mut Expanded, out: &mut Output) -> Result<()> {
        let Expanded { rows, numbers } = std::mem::take(expanded);
        if rows.is_empty() {
            return Ok(());
        }
        let taken = UInt64Array::from(rows);
        let mut lists = lists.iter();
        let mut columns = Vec::with_capacity(self.output.fields().len());
        for column in &self.columns {
            columns.push(match column {
                UnnestColumn::Same(at) => take(chunk.column(*at), &taken, None)?,
                UnnestColumn::Element(_) => {
                    let list = lists.next().ok_or_else(|| Error::internal("a list without its column"))?;
                    elements(list, taken.values(), &numbers)?
                }
                UnnestColumn::Field(at, field) => take(&of_struct(chunk.column(*at), *field)?, &taken, None)?,
            });
        }
        columns.push(Arc::new(Int64Array::from_iter_values(numbers.iter().map(|n| n + 1))));
        let batch = RecordBatch::try_new(Arc::clone(&self.output), columns)?;
        let weights = chunk.weights().map(|w| take(w, &taken, None)).transpose()?;
        out.chunk(StreamChunk::new(batch, weights.map(|w| w.as_primitive::<Int64Type>().clone())));
        Ok(())
    }
}

/// How many elements the list of a row has.
fn length(list: &ListArray, row: usize) -> i64 {
    if list.is_null(row) { 0 } else { i64::from(list.value_length(row)) }
}

fn list(column: &ArrayRef) -> Result<ListArray> {
    let element = match column.data_type() {
        DataType::List(_) => return Ok(column.as_list::<i32>().clone()),
        DataType::LargeList(element) | DataType::FixedSizeList(element, _) => element,
        other => return Err(Error::internal(format!("unnest of {other}"))),
    };
    Ok(cast(column, &DataType::List(Arc::clone(element)))?.as_list::<i32>().clone())
}

/// Element `numbers[i]` of the list of row `rows[i]`, null where the list is shorter.
fn elements(list: &ListArray, rows: &[u64], numbers: &[i64]) -> Result<ArrayRef> {
    let indices = rows.iter().zip(numbers).map(|(row, number)| {
        let row = *row as usize;
        (*number < length(list, row)).then(|| (i64::from(list.value_offsets()[row]) + number) as u64)
    });
    Ok(take(list.values(), &indices.collect::<UInt64Array>(), None)?)
}

/// A field of a struct, null where the struct is.
fn of_struct(column: &ArrayRef, field: usize) -> Result<ArrayRef> {
    let structs: &StructArray =
        column.as_struct_opt().ok_or_else(|| Error::internal(format!("unnest of {}", column.data_type())))?;
    let nulls = structs.nulls().cloned();
    let values = structs.columns().get(field).ok_or_else(|| Error::internal("unnest of a field that is not there"))?;
    match nulls {
        None => Ok(Arc::clone(values)),
        Some(nulls) => {
            let valid = arrow::array::BooleanArray::new(nulls.into_inner(), None);
            Ok(arrow::compute::nullif(values, &arrow::compute::not(&valid)?)?)
        }
    }
}

impl StreamOperator for Unnest {
    fn on_chunk(&mut self, _port: usize, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        let lists = self.lists(&chunk)?;
        let mut expanded = Expanded::default();
        for row in 0..chunk.num_rows() {
            let longest = lists.iter().map(|l| length(l, row)).max().unwrap_or(1);
            let longest = if self.keep_empty { longest.max(1) } else { longest };
            for number in 0..longest {
                expanded.rows.push(row as u64);
                expanded.numbers.push(number);
                if expanded.rows.len() >= CHUNK_ROWS {
                    self.send(&chunk, &lists, &mut expanded, out)?;
                }
            }
        }
        self.send(&chunk, &lists, &mut expanded, out)
    }

    fn on_watermark(&mut self, _port: usize, watermark: Watermark, out: &mut Output) -> Result<()> {
        for (at, column) in self.columns.iter().enumerate() {
            if *column == UnnestColumn::Same(watermark.column) {
                out.watermark(Watermark { column: at, micros: watermark.micros });
            }
        }
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}
