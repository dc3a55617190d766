//! RowId: numbers the rows that a sink brings into a table without a key.
//!
//! ```text
//! id = -1 - (sink 15 bits | number 40 bits | virtual node 8 bits)
//! ```
//! The log of the table gives its rows ids from 0.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::SchemaRef;

use super::materialize::not_null;
use super::numbers::{NODE_BITS, Numbers};
use super::{BuildContext, Output, StreamOperator};
use crate::common::{Error, ErrorKind, Result};
use crate::plan;
use crate::stream::message::{Barrier, Watermark};
use crate::types::{Epoch, StreamChunk};

const NUMBER_BITS: u32 = 40;

pub struct RowId {
    name: String,
    at: usize,
    sink: i64,
    numbers: Numbers,
    output: SchemaRef,
}

impl RowId {
    pub(super) fn new(name: String, op: &plan::RowId, output: &SchemaRef, context: &BuildContext<'_>) -> Result<Self> {
        let numbers = Numbers::new(op.state, context)?;
        let (at, sink, output) = (op.at, i64::from(op.sink), Arc::clone(output));
        Ok(Self { name, at, sink, numbers, output })
    }

    fn id(&mut self) -> Result<i64> {
        if self.numbers.peek() >> NUMBER_BITS != 0 {
            return Err(Error::new(ErrorKind::NumericValueOutOfRange, "a sink has no more numbers for its rows")
                .with_hint("drop the sink and create it again")
                .lasting());
        }
        let number = self.numbers.take();
        Ok(-1 - ((((self.sink << NUMBER_BITS) | number) << NODE_BITS) | self.numbers.node()))
    }

    /// The first column of the row that may not be null and is.
    fn null_in(&self, chunk: &StreamChunk, row: usize) -> Option<usize> {
        let columns = chunk.batch().columns().iter().enumerate().map(|(i, c)| (i + usize::from(i >= self.at), c));
        let mut columns = columns.filter(|(i, _)| !self.output.field(*i).is_nullable());
        columns.find(|(_, c)| c.is_null(row)).map(|(i, _)| i)
    }
}

impl StreamOperator for RowId {
    fn on_chunk(&mut self, _port: usize, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        let mut mask = Vec::with_capacity(chunk.num_rows());
        for row in 0..chunk.num_rows() {
            let null = self.null_in(&chunk, row);
            if let Some(column) = null {
                out.letter(&self.name, &chunk, row, &not_null(&self.output, column))?;
            }
            mask.push(null.is_none());
        }
        let mut rows = chunk.filter(&BooleanArray::from(mask))?;
        if rows.weights().is_some() {
            let copies = |row: usize| std::iter::repeat_n(row as u64, rows.weight(row).max(0) as usize);
            let indices = UInt64Array::from_iter_values((0..rows.num_rows()).flat_map(copies));
            rows = StreamChunk::inserts(rows.take(&indices)?.into_parts().0);
        }
        let ids = (0..rows.num_rows()).map(|_| self.id()).collect::<Result<Vec<_>>>()?;
        let mut columns = rows.batch().columns().to_vec();
        columns.insert(self.at, Arc::new(Int64Array::from(ids)));
        out.chunk(StreamChunk::inserts(RecordBatch::try_new(Arc::clone(&self.output), columns)?));
        Ok(())
    }

    fn on_watermark(&mut self, _port: usize, _watermark: Watermark, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, _out: &mut Output) -> Result<()> {
        self.numbers.on_barrier()
    }

    fn seal(&mut self, epoch: Epoch) -> Result<()> {
        self.numbers.seal(epoch);
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.numbers.memory_bytes()
    }
}
