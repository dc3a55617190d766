//! A sink that counts its rows and drops them, to measure what comes before it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::options::Given;
use super::{Sink, SinkWriter};
use crate::common::Result;
use crate::types::{Epoch, StreamChunk};

struct Blackhole {
    object: String,
}

/// Opens a blackhole sink; it takes no options.
pub(super) fn sink(given: Given<'_>) -> Result<Arc<dyn Sink>> {
    given.only(&[&["type"]])?;
    given.choice("type", &["append-only", "changes"])?;
    Ok(Arc::new(Blackhole { object: given.object.to_string() }))
}

impl Sink for Blackhole {
    fn writer(&self, actor: usize, _schema: SchemaRef) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(Counter { object: self.object.clone(), actor, rows: 0 }))
    }

    fn recover(&self, _committed: Epoch) -> Result<()> {
        Ok(())
    }

    fn commit(&self, _epoch: Epoch) -> Result<()> {
        Ok(())
    }
}

struct Counter {
    object: String,
    actor: usize,
    rows: u64,
}

impl SinkWriter for Counter {
    fn write(&mut self, chunk: &StreamChunk) -> Result<()> {
        self.rows += chunk.num_rows() as u64;
        Ok(())
    }

    fn seal(&mut self, epoch: Epoch) -> Result<()> {
        tracing::debug!(sink = self.object, actor = self.actor, %epoch, rows = self.rows, "dropped so far");
        Ok(())
    }
}
