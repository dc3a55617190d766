//! Parquet files: a unit is a range of rows of one row group, read by the decoder itself with only the columns that are
//! wanted. Offsets count rows.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use arrow::util::display::array_value_to_string;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::PageIndexPolicy;

use super::listing::Listing;
use super::walk::{Walk, cannot};
use crate::common::{Error, ErrorKind, Result};
use crate::connector::output::{CHUNK_ROWS, Output, is_convertible, row_ids};
use crate::connector::{DeadLetter, Decoded, Decoder, Fetch, Payload, SplitReader, SplitStatus, Unit};
use crate::types::{sql_name, sql_type};

/// Rows of a unit where pages can be skipped.
const UNIT_ROWS: u64 = 1 << 16;
/// Rows of a unit where a range is reached only by unpacking what is before it: mostly the whole row group.
const UNIT_ROWS_UNINDEXED: u64 = 1 << 20;

pub(super) struct ParquetReader {
    walk: Walk,
    open: Option<Open>,
}

/// The current file.
struct Open {
    split: Arc<str>,
    /// First rows of the row groups, and the end of the last.
    groups: Vec<u64>,
    unit_rows: u64,
}

impl ParquetReader {
    pub fn new(walk: Walk) -> Self {
        Self { walk, open: None }
    }

    fn ensure_open(&mut self) -> Result<bool> {
        while self.open.is_none() {
            if self.walk.current().is_none() && !self.walk.rescan(|_| false)? {
                return Ok(false);
            }
            let file = self.walk.open()?;
            let (Some(file), Some(known)) = (file, self.walk.current()) else {
                self.walk.finish();
                continue;
            };
            let metadata = load(&file, &known.path)?;
            let groups = group_starts(&metadata);
            known.end = groups.last().copied();
            let indexed = metadata.metadata().offset_index().is_some();
            let unit_rows = if indexed { UNIT_ROWS } else { UNIT_ROWS_UNINDEXED };
            self.open = Some(Open { split: known.path.as_str().into(), groups, unit_rows });
        }
        Ok(true)
    }
}

impl SplitReader for ParquetReader {
    fn fetch(&mut self) -> Result<Fetch> {
        loop {
            if !self.ensure_open()? {
                return Ok(self.walk.nothing());
            }
            let (Some(open), Some(known)) = (&self.open, self.walk.current()) else { continue };
            let offset = known.offset;
            if let Some(group_end) = open.groups.iter().find(|start| **start > offset) {
                let end = offset.saturating_add(open.unit_rows).min(*group_end);
                known.offset = end;
                let split = open.split.clone();
                let first_row_id = self.walk.take_rows(end - offset);
                return Ok(Fetch::Unit(Unit { split, offset, first_row_id, payload: Payload::Range(offset, end) }));
            }
            self.open = None;
            self.walk.finish();
        }
    }

    fn position(&self) -> String {
        self.walk.position()
    }

    fn splits(&self) -> Vec<SplitStatus> {
        self.walk.splits()
    }
}

pub(super) struct ParquetDecoder {
    listing: Listing,
    output: Output,
    /// The file read last.
    open: Option<(Arc<str>, File, ArrowReaderMetadata)>,
}

impl ParquetDecoder {
    pub fn new(listing: Listing, schema: &SchemaRef, projection: &[usize]) -> Result<Self> {
        Ok(Self { listing, output: Output::new(schema, projection)?, open: None })
    }

    /// The batches of rows `first..end` of the unit's file.
    fn read(&mut self, split: &Arc<str>, first: u64, end: u64) -> Result<Vec<RecordBatch>> {
        if self.open.as_ref().is_none_or(|(open, ..)| open != split) {
            let file = File::open(self.listing.resolve(split)).map_err(|e| cannot("open", split, e))?;
            let metadata = load(&file, split)?;
            self.open = Some((split.clone(), file, metadata));
        }
        let Some((_, file, metadata)) = &self.open else { return Ok(Vec::new()) };
        let groups = group_starts(metadata);
        let group = groups.partition_point(|start| *start <= first).saturating_sub(1);
        let start = groups.get(group).copied().unwrap_or_default();
        let schema = metadata.schema();
        let wanted = self.output.fields.iter().filter_map(|field| find(schema, field.name()));
        let mask = ProjectionMask::roots(metadata.parquet_schema(), wanted);
        let selection = vec![RowSelector::skip((first - start) as usize), RowSelector::select((end - first) as usize)];
        let file = file.try_clone().map_err(|e| cannot("read", split, e))?;
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
            .with_row_groups(vec![group])
            .with_projection(mask)
            .with_batch_size(CHUNK_ROWS);
        if groups.get(group + 1) != Some(&end) || start != first {
            builder = builder.with_row_selection(RowSelection::from(selection));
        }
        let reader = builder.build().map_err(|e| broken(split, e))?;
        reader.map(|batch| batch.map_err(|e| Error::from(e).context(format!("cannot read \"{split}\"")))).collect()
    }

    /// The columns of a batch in the declared types; what has no value there goes to `faults` by row.
    fn convert(&self, split: &str, batch: &RecordBatch, faults: &mut Faults) -> Result<Vec<ArrayRef>> {
        let schema = batch.schema();
        let mut columns = Vec::with_capacity(self.output.fields.len());
        for field in &self.output.fields {
            let column = match find(&schema, field.name()) {
                Some(index) => cast(split, batch.column(index), field, faults)?,
                None => new_null_array(field.data_type(), batch.num_rows()),
            };
            if !field.is_nullable()
                && let Some(nulls) = column.nulls()
            {
                let message = format!("column \"{}\" is NOT NULL, the row has no value", field.name());
                for row in (0..nulls.len()).filter(|row| nulls.is_null(*row)) {
                    faults.entry(row).or_insert_with(|| (Vec::new(), message.clone()));
                }
            }
            columns.push(column);
        }
        Ok(columns)
    }
}

/// What is wrong with a row: the value and why.
type Faults = BTreeMap<usize, (Vec<u8>, String)>;

impl Decoder for ParquetDecoder {
    fn decode(&mut self, unit: Unit) -> Result<Decoded> {
        let Payload::Range(first, end) = unit.payload else {
            return Err(Error::internal("a Parquet decoder got a unit of bytes"));
        };
        let mut decoded = Decoded::default();
        let mut at = 0;
        for batch in self.read(&unit.split, first, end)? {
            let mut faults = Faults::new();
            let rows = batch.num_rows();
            let columns = self.convert(&unit.split, &batch, &mut faults)?;
            let good = (!faults.is_empty())
                .then(|| (0..rows).map(|row| Some(!faults.contains_key(&row))).collect::<BooleanArray>());
            let chunk = self.output.chunk(columns, row_ids(unit.first_row_id + at as i64, rows), good.as_ref())?;
            if !chunk.is_empty() {
                decoded.chunks.push(chunk);
            }
            decoded.dead_letters.extend(faults.into_iter().map(|(row, (raw, error))| DeadLetter {
                split: unit.split.clone(),
                offset: first + (at + row) as u64,
                raw,
                error,
            }));
            at += rows;
        }
        if at as u64 != end - first {
            return Err(Error::corrupted(format!("\"{}\": {at} of rows {first}..{end} could be read", unit.split)));
        }
        Ok(decoded)
    }
}

fn cast(split: &str, column: &ArrayRef, field: &FieldRef, faults: &mut Faults) -> Result<ArrayRef> {
    let (from, to) = (column.data_type(), field.data_type());
    if from == to {
        return Ok(column.clone());
    }
    if !is_convertible(from, to) {
        let (name, to) = (field.name(), sql_name(to));
        let message = format!("column \"{name}\" of \"{split}\" is {from}, which cannot be read as {to}");
        return Err(Error::new(ErrorKind::DatatypeMismatch, message)
            .with_hint(format!("declare it as {} and cast it in the query", sql_name(&sql_type(from)))));
    }
    let array = cast_with_options(column, to, &CastOptions { safe: true, ..Default::default() })?;
    if array.null_count() > column.null_count() {
        for row in (0..array.len()).filter(|row| array.is_null(*row) && !column.is_null(*row)) {
            let value = array_value_to_string(column, row)?;
            let message = format!("column \"{}\": \"{value}\" is not a value of type {}", field.name(), sql_name(to));
            faults.entry(row).or_insert_with(|| (value.into_bytes(), message));
        }
    }
    Ok(array)
}

/// The columns of the file `path` in Weir's types.
pub(super) fn schema(listing: &Listing, path: &str) -> Result<SchemaRef> {
    let file = File::open(listing.resolve(path)).map_err(|e| cannot("open", path, e))?;
    let metadata = load(&file, path)?;
    let field = |field: &FieldRef| Field::new(field.name(), sql_type(field.data_type()), field.is_nullable());
    Ok(Arc::new(Schema::new(metadata.schema().fields().iter().map(field).collect::<Vec<_>>())))
}

fn load(file: &File, path: &str) -> Result<ArrowReaderMetadata> {
    let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
    ArrowReaderMetadata::load(file, options).map_err(|e| broken(path, e))
}

fn broken(path: &str, e: ParquetError) -> Error {
    Error::new(ErrorKind::DataException, format!("cannot read \"{path}\" as Parquet: {e}"))
}

fn group_starts(metadata: &ArrowReaderMetadata) -> Vec<u64> {
    let mut starts = vec![0];
    let mut end = 0;
    for group in metadata.metadata().row_groups() {
        end += group.num_rows().max(0) as u64;
        starts.push(end);
    }
    starts
}

/// A column by name: the exact one, or the first in another case.
fn find(schema: &Schema, name: &str) -> Option<usize> {
    let fields = schema.fields();
    fields
        .iter()
        .position(|field| field.name() == name)
        .or_else(|| fields.iter().position(|field| field.name().eq_ignore_ascii_case(name)))
}
