//! RowId: numbers the rows that a sink brings into a table without a key.
//!
//! ```text
//! id = -1 - (sink 15 bits | number 40 bits | virtual node 8 bits)
//! ```
//! The log of the table gives its rows ids from 0. An actor numbers its rows under the first virtual node that it owns, and
//! keeps the next number there: whoever owns that node after a restart goes on from it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::materialize::not_null;
use super::{BuildContext, Output, StreamOperator};
use crate::common::{Error, ErrorKind, Result};
use crate::plan;
use crate::state::{KeyRange, StateWriter};
use crate::stream::message::{Barrier, Watermark};
use crate::types::{Epoch, StreamChunk, key};

const NODE_BITS: u32 = 8;
const NUMBER_BITS: u32 = 40;

/// One row a virtual node: `vnode`, `next` (the first number that is free).
fn schema() -> SchemaRef {
    let column = |name| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![column("vnode"), column("next")]))
}

pub struct RowId {
    name: String,
    at: usize,
    sink: i64,
    node: i64,
    next: i64,
    /// As state has it.
    stored: i64,
    state: StateWriter,
    output: SchemaRef,
}

impl RowId {
    pub(super) fn new(name: String, op: &plan::RowId, output: &SchemaRef, context: &BuildContext<'_>) -> Result<Self> {
        let state = context.store.table(op.state, schema())?.writer();
        let node = context.vnodes.start as i64;
        let mut next = 0;
        for (_, rows) in state.scan(&KeyRange::all(), None)? {
            let [nodes, numbers] = rows.columns() else { return Err(Error::corrupted("the numbers of a sink's rows")) };
            let nodes = nodes.as_primitive::<Int64Type>().values().iter();
            let found = nodes.zip(numbers.as_primitive::<Int64Type>().values()).find(|(n, _)| **n == node);
            next = found.map_or(next, |(_, number)| *number);
        }
        let (at, sink, output) = (op.at, i64::from(op.sink), Arc::clone(output));
        Ok(Self { name, at, sink, node, next, stored: next, state, output })
    }

    fn id(&mut self) -> Result<i64> {
        let number = self.next;
        if number >> NUMBER_BITS != 0 {
            return Err(Error::new(ErrorKind::NumericValueOutOfRange, "a sink has no more numbers for its rows")
                .with_hint("drop the sink and create it again")
                .lasting());
        }
        self.next += 1;
        Ok(-1 - ((((self.sink << NUMBER_BITS) | number) << NODE_BITS) | self.node))
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
        if self.next != self.stored {
            let columns: Vec<ArrayRef> =
                vec![Arc::new(Int64Array::from(vec![self.node])), Arc::new(Int64Array::from(vec![self.next]))];
            let keys = key::encode(&columns[..1], 1)?;
            self.state.write(keys, RecordBatch::try_new(schema(), columns)?, None)?;
            self.stored = self.next;
        }
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
