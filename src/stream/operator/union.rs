//! Union: passes every input's chunks on; the watermark of a column is the least of the inputs'.

use std::collections::BTreeMap;

use super::{Output, StreamOperator};
use crate::common::{Error, Result};
use crate::stream::message::{Barrier, Watermark};
use crate::types::StreamChunk;

pub struct Union {
    ports: usize,
    /// By column: the latest of each port.
    watermarks: BTreeMap<usize, Vec<Option<i64>>>,
}

impl Union {
    pub(super) fn new(ports: usize) -> Self {
        Self { ports, watermarks: BTreeMap::new() }
    }
}

impl StreamOperator for Union {
    fn on_chunk(&mut self, _port: usize, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        out.chunk(chunk);
        Ok(())
    }

    fn on_watermark(&mut self, port: usize, watermark: Watermark, out: &mut Output) -> Result<()> {
        let Watermark { column, micros } = watermark;
        let ports = self.watermarks.entry(column).or_insert_with(|| vec![None; self.ports]);
        // `None` is below every time: a port that has said nothing holds the others back.
        let before = ports.iter().min().copied().flatten();
        let of_port = ports.get_mut(port).ok_or_else(|| Error::internal(format!("a union has no port {port}")))?;
        *of_port = (*of_port).max(Some(micros));
        let after = ports.iter().min().copied().flatten();
        if let Some(micros) = after.filter(|_| after > before) {
            out.watermark(Watermark { column, micros });
        }
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}
