//! Filter: linear in the weights, keeps no state. A row whose predicate fails becomes a dead letter.

use std::sync::Arc;

use datafusion::physical_expr::PhysicalExpr;

use super::{Output, StreamOperator};
use crate::common::Result;
use crate::expr::eval;
use crate::stream::message::{Barrier, Watermark};
use crate::types::StreamChunk;

pub struct Filter {
    name: String,
    predicate: Arc<dyn PhysicalExpr>,
}

impl Filter {
    pub(super) fn new(name: String, predicate: Arc<dyn PhysicalExpr>) -> Self {
        Self { name, predicate }
    }
}

impl StreamOperator for Filter {
    fn on_chunk(&mut self, _port: usize, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        let (kept, failed) = eval::filter(&self.predicate, chunk)?;
        out.failed(&self.name, failed)?;
        out.chunk(kept);
        Ok(())
    }

    fn on_watermark(&mut self, _port: usize, watermark: Watermark, out: &mut Output) -> Result<()> {
        out.watermark(watermark);
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}
