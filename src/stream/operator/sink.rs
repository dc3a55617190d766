//! Writes the stream to an outside system; what an epoch wrote is sealed aside and published after its commit.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{Output, StreamOperator};
use crate::common::Result;
use crate::connector::SinkWriter;
use crate::stream::message::{Barrier, Watermark};
use crate::types::{Epoch, StreamChunk};

pub struct SinkOperator {
    writer: Box<dyn SinkWriter>,
    schema: SchemaRef,
    columns: Vec<usize>,
}

impl SinkOperator {
    /// `schema` is that of the written `columns`.
    pub fn new(writer: Box<dyn SinkWriter>, schema: SchemaRef, columns: Vec<usize>) -> Self {
        Self { writer, schema, columns }
    }
}

impl StreamOperator for SinkOperator {
    fn on_chunk(&mut self, _port: usize, chunk: StreamChunk, _out: &mut Output) -> Result<()> {
        let columns = self.columns.iter().map(|c| chunk.column(*c).clone()).collect();
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        self.writer.write(&chunk.with_batch(batch))
    }

    fn on_watermark(&mut self, _port: usize, _watermark: Watermark, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    fn seal(&mut self, epoch: Epoch) -> Result<()> {
        self.writer.seal(epoch)
    }
}
