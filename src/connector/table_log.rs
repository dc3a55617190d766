//! The log of a table that takes DML: what INSERT, UPDATE and DELETE append, and the source that the table's job reads.
//!
//! An entry is one Arrow IPC stream: the table's columns, perhaps `_row_id`, and last `_weight` where rows are retracted.
//! A row without an id of its own gets the number that the log gave it. Lines that a COPY left out are streams of their
//! own, and become dead letters.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::{concat, concat_batches};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::MetadataVersion;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use bytes::Bytes;

use super::format::copy::BadRecord;
use super::log_split::{LogSplit, SPLIT};
use super::{DeadLetter, Decoded, Decoder, Payload, Source, SplitReader, Unit};
use crate::common::{Error, Result};
use crate::log::Log;
use crate::types::{ROW_ID, StreamChunk, missing};

const WEIGHT: &str = "_weight";
/// Marks in the metadata of an entry's schema that its last column is the weight: a user's column may have any name.
const WEIGHTED: &str = "weir.weighted";
/// Marks a schema whose rows are no rows of the table but lines that were left out: `raw`, `error`.
const LETTERS: &str = "weir.letters";
/// Rows of a chunk, at most.
const CHUNK_ROWS: usize = 8192;

/// The entry for `batch`: the table's columns, in any order, and where rows have one already `_row_id` (null elsewhere).
/// `weights` has one value a row; without it every row is inserted. Append it with the batch's number of rows.
pub fn encode(batch: &RecordBatch, weights: Option<&Int64Array>) -> Result<Bytes> {
    let weighted = match weights {
        Some(weights) => Some(with_weights(batch, weights)?),
        None => None,
    };
    stream(weighted.as_ref().unwrap_or(batch))
}

/// The entry for lines that a COPY left out. Append it with their number.
pub fn encode_letters(letters: &[BadRecord]) -> Result<Bytes> {
    let schema = Schema::new_with_metadata(
        vec![Field::new("raw", DataType::Binary, false), Field::new("error", DataType::Utf8, false)],
        [(LETTERS.to_string(), "true".to_string())].into(),
    );
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BinaryArray::from_iter_values(letters.iter().map(|l| &l.raw))),
        Arc::new(StringArray::from_iter_values(letters.iter().map(|l| &l.error))),
    ];
    stream(&RecordBatch::try_new(Arc::new(schema), columns)?)
}

fn stream(batch: &RecordBatch) -> Result<Bytes> {
    let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)?;
    let buffer = Vec::with_capacity(1024 + batch.get_array_memory_size());
    let mut writer = StreamWriter::try_new_with_options(buffer, &batch.schema(), options)?;
    writer.write(batch)?;
    Ok(writer.into_inner()?.into())
}

fn with_weights(batch: &RecordBatch, weights: &Int64Array) -> Result<RecordBatch> {
    let schema = batch.schema();
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(Field::new(WEIGHT, DataType::Int64, false)));
    let mut metadata = schema.metadata().clone();
    metadata.insert(WEIGHTED.into(), "true".into());
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(weights.clone()));
    Ok(RecordBatch::try_new(Arc::new(Schema::new_with_metadata(fields, metadata)), columns)?)
}

/// The source over a table's log: one split, `log`; units are entries, joined where they are small.
pub fn source(log: Arc<Log>) -> Arc<dyn Source> {
    Arc::new(TableLog(log))
}

struct TableLog(Arc<Log>);

impl Source for TableLog {
    fn default_schema(&self) -> Result<Option<SchemaRef>> {
        Ok(None)
    }

    fn reader(&self, position: Option<&str>) -> Result<Box<dyn SplitReader>> {
        Ok(Box::new(LogSplit::open(Arc::clone(&self.0), position, 0)?))
    }

    /// `schema` is the table's, without `_row_id`.
    fn decoder(&self, schema: SchemaRef, projection: Vec<usize>) -> Result<Box<dyn Decoder>> {
        let mut fields = schema.project(&projection)?.fields().to_vec();
        fields.push(Arc::new(Field::new(ROW_ID, DataType::Int64, false)));
        Ok(Box::new(TableDecoder { output: Arc::new(Schema::new(fields)) }))
    }
}

struct TableDecoder {
    /// The projected columns, then `_row_id`.
    output: SchemaRef,
}

impl Decoder for TableDecoder {
    fn decode(&mut self, unit: Unit) -> Result<Decoded> {
        let Payload::Bytes(payload) = unit.payload else {
            return Err(Error::internal("a table's log has no numbered records"));
        };
        let context = |e: Error| e.context(format!("entry {} of a table's log", unit.offset));
        let mut chunks = Chunks { schema: Arc::clone(&self.output), parts: Vec::new(), rows: 0, done: Vec::new() };
        let mut dead_letters = Vec::new();
        let mut next_row = unit.first_row_id;
        let mut rest: &[u8] = &payload;
        while !rest.is_empty() {
            let reader = StreamReader::try_new(&mut rest, None).map_err(|e| context(unreadable(e)))?;
            for batch in reader {
                let batch = batch.map_err(|e| context(unreadable(e)))?;
                let rows = batch.num_rows();
                if batch.schema_ref().metadata().contains_key(LETTERS) {
                    dead_letters.extend(letters(&batch, next_row).map_err(context)?);
                } else {
                    chunks.push(self.chunk(batch, next_row).map_err(context)?)?;
                }
                next_row += rows as i64;
            }
        }
        Ok(Decoded { chunks: chunks.finish()?, dead_letters })
    }
}

/// The entry's checksum was right, so its writer was not.
fn unreadable(e: ArrowError) -> Error {
    Error::corrupted(format!("not the rows of a table: {e}"))
}

impl TableDecoder {
    /// The batch as the table's job wants it; its rows are numbered from `first_row`.
    fn chunk(&self, mut batch: RecordBatch, first_row: i64) -> Result<StreamChunk> {
        let rows = batch.num_rows();
        let mut weights = None;
        if batch.schema_ref().metadata().contains_key(WEIGHTED) && batch.num_columns() > 0 {
            let column = batch.remove_column(batch.num_columns() - 1);
            weights = Some(int64(&column, WEIGHT)?.clone());
        }
        let mut columns = Vec::with_capacity(self.output.fields().len());
        for field in self.output.fields() {
            let found = batch.column_by_name(field.name());
            columns.push(match found {
                _ if field.name() == ROW_ID => row_ids(found, first_row, rows)?,
                Some(column) if column.data_type() == field.data_type() => Arc::clone(column),
                Some(column) => {
                    return Err(Error::internal(format!(
                        "column {} is {} in the log and {} in the table",
                        field.name(),
                        column.data_type(),
                        field.data_type()
                    )));
                }
                // Written before the column was added.
                None => missing::column(field, rows)?
                    .ok_or_else(|| Error::internal(format!("column {} is not in the log", field.name())))?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &options)?;
        Ok(StreamChunk::new(batch, weights))
    }
}

/// Lines that were left out, by the row number that each got.
fn letters(batch: &RecordBatch, first_row: i64) -> Result<Vec<DeadLetter>> {
    let (raw, error) = (batch.columns().first(), batch.columns().get(1));
    let raw = raw.and_then(|c| c.as_binary_opt::<i32>());
    let error = error.and_then(|c| c.as_string_opt::<i32>());
    let (Some(raw), Some(error)) = (raw, error) else { return Err(Error::corrupted("not the lines of a COPY")) };
    let letter = |((offset, raw), error): ((i64, Option<&[u8]>), Option<&str>)| DeadLetter {
        split: Arc::from(SPLIT),
        offset: offset as u64,
        raw: raw.unwrap_or_default().to_vec(),
        error: error.unwrap_or_default().to_string(),
    };
    Ok((first_row..).zip(raw).zip(error).map(letter).collect())
}

/// The ids that rows have, the log's numbers for those that have none.
fn row_ids(own: Option<&ArrayRef>, first_row: i64, rows: usize) -> Result<ArrayRef> {
    let numbers = first_row..first_row + rows as i64;
    let ids: Int64Array = match own {
        None => Int64Array::from_iter_values(numbers),
        Some(own) => {
            let own = int64(own, ROW_ID)?;
            if own.null_count() == 0 {
                return Ok(Arc::new(own.clone()));
            }
            Int64Array::from_iter_values(own.iter().zip(numbers).map(|(own, number)| own.unwrap_or(number)))
        }
    };
    Ok(Arc::new(ids))
}

fn int64<'a>(column: &'a ArrayRef, name: &str) -> Result<&'a Int64Array> {
    column
        .as_primitive_opt::<Int64Type>()
        .ok_or_else(|| Error::internal(format!("{name} is {} in the log, not a BIGINT", column.data_type())))
}

/// Puts small batches together and cuts large ones.
struct Chunks {
    schema: SchemaRef,
    parts: Vec<StreamChunk>,
    /// Of `parts`, at most [`CHUNK_ROWS`].
    rows: usize,
    done: Vec<StreamChunk>,
}

impl Chunks {
    fn push(&mut self, chunk: StreamChunk) -> Result<()> {
        let mut from = 0;
        while from < chunk.num_rows() {
            if self.rows == CHUNK_ROWS {
                self.flush()?;
            }
            let count = (chunk.num_rows() - from).min(CHUNK_ROWS - self.rows);
            self.parts.push(chunk.slice(from, count));
            self.rows += count;
            from += count;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let parts = std::mem::take(&mut self.parts);
        self.rows = 0;
        if parts.len() < 2 {
            self.done.extend(parts);
            return Ok(());
        }
        let batch = concat_batches(&self.schema, parts.iter().map(StreamChunk::batch))?;
        let weights = if parts.iter().all(|part| part.weights().is_none()) {
            None
        } else {
            let weights: Vec<Int64Array> = parts
                .iter()
                .map(|part| part.weights().cloned().unwrap_or_else(|| Int64Array::from_value(1, part.num_rows())))
                .collect();
            let all = concat(&weights.iter().map(|w| w as &dyn Array).collect::<Vec<_>>())?;
            Some(int64(&all, WEIGHT)?.clone())
        };
        self.done.push(StreamChunk::new(batch, weights));
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<StreamChunk>> {
        self.flush()?;
        Ok(self.done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::ErrorKind;
    use crate::connector::Fetch;
    use crate::log::LogConfig;

    fn table() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("k", DataType::Int64, false),
            Field::new("v", DataType::Utf8, true),
            Field::new("_weight", DataType::Int64, true),
        ]))
    }

    /// `ids` is the batch's own `_row_id` column.
    fn batch(k: &[i64], ids: Option<&[Option<i64>]>) -> RecordBatch {
        let mut fields = table().fields().to_vec();
        let texts: StringArray = k.iter().map(|k| (k % 2 == 0).then(|| format!("v{k}"))).collect();
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(k.to_vec())), Arc::new(texts), Arc::new(Int64Array::from_value(7, k.len()))];
        if let Some(ids) = ids {
            fields.push(Arc::new(Field::new(ROW_ID, DataType::Int64, true)));
            columns.push(Arc::new(Int64Array::from(ids.to_vec())));
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    fn unit(payload: Vec<Bytes>, first_row_id: i64) -> Unit {
        Unit { split: "log".into(), offset: 4, first_row_id, payload: Payload::Bytes(payload.concat().into()) }
    }

    fn decoder(projection: Vec<usize>) -> Box<dyn Decoder> {
        let output = table();
        let mut fields = output.project(&projection).unwrap().fields().to_vec();
        fields.push(Arc::new(Field::new(ROW_ID, DataType::Int64, false)));
        Box::new(TableDecoder { output: Arc::new(Schema::new(fields)) })
    }

    fn rows(decoded: &Decoded) -> Vec<String> {
        let mut rows = Vec::new();
        for chunk in &decoded.chunks {
            for row in 0..chunk.num_rows() {
                let values: Vec<_> = chunk
                    .batch()
                    .columns()
                    .iter()
                    .map(|c| arrow::util::display::array_value_to_string(c, row).unwrap())
                    .collect();
                rows.push(format!("{:+} {}", chunk.weight(row), values.join(" ")));
            }
        }
        rows
    }

    #[test]
    fn rows_come_back_with_weights_and_ids() {
        let plain = encode(&batch(&[1, 2], None), None).unwrap();
        let weighted = encode(&batch(&[3, 4], Some(&[Some(55), None])), Some(&Int64Array::from(vec![-1, 2]))).unwrap();
        let own = encode(&batch(&[5], Some(&[Some(56)])), None).unwrap();
        let empty = encode(&batch(&[], None), None).unwrap();
        let table: [(Vec<usize>, Vec<&Bytes>, &[&str]); 7] = [
            (vec![0, 1], vec![&plain], &["+1 1  10", "+1 2 v2 11"]),
            (vec![1, 0], vec![&weighted], &["-1  3 55", "+2 v4 4 11"]),
            (vec![2], vec![&plain], &["+1 7 10", "+1 7 11"]),
            (vec![2], vec![&weighted], &["-1 7 55", "+2 7 11"]),
            (vec![], vec![&own], &["+1 56"]),
            (vec![0], vec![&empty], &[]),
            (
                vec![0],
                vec![&plain, &empty, &weighted, &own, &plain],
                &["+1 1 10", "+1 2 11", "-1 3 55", "+2 4 13", "+1 5 56", "+1 1 15", "+1 2 16"],
            ),
        ];
        for (projection, entries, expected) in table {
            let decoded = decoder(projection).decode(unit(entries.into_iter().cloned().collect(), 10)).unwrap();
            assert_eq!(rows(&decoded), expected);
            assert!(decoded.chunks.len() <= 1, "small entries make one chunk");
        }
        let appended = decoder(vec![0]).decode(unit(vec![plain.clone(), plain], 0)).unwrap();
        assert!(appended.chunks[0].weights().is_none(), "append-only stays so");
    }

    #[test]
    fn large_entries_are_cut_into_chunks() {
        let k: Vec<i64> = (0..20_000).collect();
        let entry = encode(&batch(&k, None), None).unwrap();
        let decoded = decoder(vec![0]).decode(unit(vec![entry.clone(), entry], 0)).unwrap();
        let sizes: Vec<_> = decoded.chunks.iter().map(StreamChunk::num_rows).collect();
        assert_eq!(sizes, [8192, 8192, 8192, 8192, 7232]);
        let ids: Vec<i64> =
            decoded.chunks.iter().flat_map(|c| int64(c.column(1), ROW_ID).unwrap().values().to_vec()).collect();
        assert_eq!(ids, (0..40_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_column_that_came_later_is_null() {
        let early = batch(&[1], None).project(&[0]).unwrap();
        let decoded = decoder(vec![0, 1]).decode(unit(vec![encode(&early, None).unwrap()], 0)).unwrap();
        assert_eq!(rows(&decoded), ["+1 1  0"]);
    }

    #[test]
    fn what_does_not_fit_the_table_is_an_error() {
        let entry = encode(&batch(&[1], None), None).unwrap();
        let other = RecordBatch::try_from_iter([("k", Arc::new(StringArray::from(vec!["x"])) as ArrayRef)]).unwrap();
        let without = batch(&[1], None).project(&[1]).unwrap();
        for (payload, kind) in [
            (entry.slice(..entry.len() / 2), ErrorKind::DataCorrupted),
            (Bytes::from_static(b"not arrow"), ErrorKind::DataCorrupted),
            (encode(&other, None).unwrap(), ErrorKind::Internal),
            (encode(&without, None).unwrap(), ErrorKind::Internal),
        ] {
            let error = decoder(vec![0]).decode(unit(vec![payload], 0)).err().unwrap();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains("entry 4"), "{error}");
        }
        assert!(encode(&batch(&[1], None), Some(&Int64Array::from(vec![1, 1]))).is_err(), "a weight too many");
    }

    #[tokio::test]
    async fn a_table_is_read_from_its_log() {
        let dir = tempfile::TempDir::new().unwrap();
        let log = Log::open(LogConfig::new(dir.path())).unwrap();
        for k in 0..3 {
            let batch = batch(&[k, k + 10], None);
            log.append(encode(&batch, None).unwrap(), batch.num_rows() as u32).await.unwrap();
        }
        let source = source(log);
        assert!(source.default_schema().unwrap().is_none() && source.ingest().is_none());
        let mut decoder = source.decoder(table(), vec![0]).unwrap();
        for (position, expected) in [
            (None, vec!["+1 0 0", "+1 10 1", "+1 1 2", "+1 11 3", "+1 2 4", "+1 12 5"]),
            (Some("2"), vec!["+1 2 4", "+1 12 5"]),
        ] {
            let mut reader = source.reader(position).unwrap();
            let Fetch::Unit(unit) = reader.fetch().unwrap() else { panic!("a unit") };
            assert_eq!(rows(&decoder.decode(unit).unwrap()), expected);
            assert!(matches!(reader.fetch().unwrap(), Fetch::Wait { .. }));
            assert_eq!(reader.position(), "3");
        }
    }
}
