//! TimeWindows: each row once for every window of HOP or CUMULATE that holds its time, which becomes the window's end.
//! Keeps weights and no state.
//!
//! The time may also be the start of a pane, and the row the partial state of an aggregation over the pane: what a
//! window holds it holds by whole panes.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{Int64Type, SchemaRef};

use super::{Output, StreamOperator, event_time};
use crate::common::{Error, ErrorKind, Result};
use crate::stream::message::{Barrier, Watermark};
use crate::types;
use crate::types::StreamChunk;
use crate::types::time::END_OF_TIME;

pub struct TimeWindows {
    pub(super) name: String,
    pub(super) column: usize,
    pub(super) windows: types::TimeWindows,
    pub(super) output: SchemaRef,
}

/// Rows that are sent at once, about.
const CHUNK_ROWS: usize = 65_536;

/// The rows of a chunk as often as they have windows.
#[derive(Default)]
struct Expanded {
    rows: Vec<u64>,
    ends: Vec<Option<i64>>,
}

impl TimeWindows {
    fn send(&self, chunk: &StreamChunk, expanded: &mut Expanded, out: &mut Output) -> Result<()> {
        let Expanded { rows, ends } = std::mem::take(expanded);
        let rows = UInt64Array::from(rows);
        let ends = event_time::column(Int64Array::from(ends), self.output.field(self.column).data_type())?;
        let columns = chunk.batch().columns().iter().enumerate().map(|(i, column)| match i == self.column {
            true => Ok(Arc::clone(&ends)),
            false => Ok(take(column, &rows, None)?),
        });
        let batch = RecordBatch::try_new(Arc::clone(&self.output), columns.collect::<Result<_>>()?)?;
        let weights = chunk.weights().map(|w| take(w, &rows, None)).transpose()?;
        out.chunk(StreamChunk::new(batch, weights.map(|w| w.as_primitive::<Int64Type>().clone())));
        Ok(())
    }
}

impl StreamOperator for TimeWindows {
    fn on_chunk(&mut self, _port: usize, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        let times = event_time::micros(chunk.column(self.column))?;
        let mut expanded = Expanded::default();
        for (row, time) in times.iter().enumerate() {
            match time.map(|time| self.windows.ends(time)) {
                None => expanded.ends.push(None),
                Some(Some(ends)) => expanded.ends.extend(ends.map(Some)),
                Some(None) => {
                    let error = Error::new(ErrorKind::DatetimeOverflow, "the window is out of the range of timestamps");
                    out.letter(&self.name, &chunk, row, &error)?;
                }
            }
            expanded.rows.resize(expanded.ends.len(), row as u64);
            if expanded.rows.len() >= CHUNK_ROWS {
                self.send(&chunk, &mut expanded, out)?;
            }
        }
        self.send(&chunk, &mut expanded, out)
    }

    fn on_watermark(&mut self, _port: usize, watermark: Watermark, out: &mut Output) -> Result<()> {
        let Watermark { column, micros } = watermark;
        if column != self.column || micros == END_OF_TIME {
            out.watermark(watermark);
        } else if let Some(micros) = self.windows.first_end(micros) {
            out.watermark(Watermark { column, micros });
        }
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}
