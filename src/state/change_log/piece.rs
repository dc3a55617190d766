//! A piece as it is stored: the epochs it leads from and to, then the weights and rows as an Arrow stream.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;

use super::Changes;
use crate::common::{Error, Result};
use crate::types::Epoch;

const HEADER: usize = 16;

pub(super) fn encode(base: Epoch, epoch: Epoch, rows: &RecordBatch, weights: &Int64Array) -> Result<Bytes> {
    let mut fields = vec![Arc::new(Field::new("weight", DataType::Int64, false))];
    fields.extend(rows.schema().fields().iter().cloned());
    let mut columns = vec![Arc::new(weights.clone()) as _];
    columns.extend(rows.columns().iter().cloned());
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let mut out = Vec::with_capacity(HEADER + batch.get_array_memory_size());
    out.extend_from_slice(&base.0.to_be_bytes());
    out.extend_from_slice(&epoch.0.to_be_bytes());
    let mut writer = StreamWriter::try_new(&mut out, &batch.schema())?;
    writer.write(&batch)?;
    writer.finish()?;
    drop(writer);
    Ok(out.into())
}

pub(in crate::state) fn decode(stored: &[u8]) -> Result<Changes> {
    let damaged = |what: &str| Error::corrupted(format!("a piece of a change log is damaged: {what}"));
    let (_, rest) = stored.split_first_chunk::<8>().ok_or_else(|| damaged("no header"))?;
    let (epoch, rest) = rest.split_first_chunk::<8>().ok_or_else(|| damaged("no header"))?;
    let mut reader = StreamReader::try_new(Cursor::new(rest), None).map_err(|e| damaged(&e.to_string()))?;
    let batch = reader.next().ok_or_else(|| damaged("no rows"))?.map_err(|e| damaged(&e.to_string()))?;
    let weights = batch.columns().first().and_then(|c| c.as_primitive_opt::<Int64Type>());
    let weights = weights.ok_or_else(|| damaged("no weights"))?.clone();
    let rows = batch.project(&(1..batch.num_columns()).collect::<Vec<_>>())?;
    Ok(Changes { epoch: Epoch(u64::from_be_bytes(*epoch)), rows, weights })
}
