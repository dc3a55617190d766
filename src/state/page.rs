//! A page: some rows of a table in key order, and its stored form. Knows one page, never its neighbours.
//!
//! ```text
//! stored:  raw | kind=0 | crc32          zstd(raw) | raw length u32 | kind=1 | crc32
//! raw:     message length u32 | body offset u32 | Arrow IPC record batch message | body
//! ```
//! The schema is not repeated in each page. The body starts at a multiple of 64, so columns are used where they lie.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::root_as_message;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use bytes::Bytes;

use crate::common::{Error, Result};
use crate::types::{Keys, missing};

/// Raw bytes that a page aims at. Larger pages compress better, smaller ones cost less when few of their rows change.
pub(super) const TARGET_BYTES: usize = 64 << 10;

const RAW: u8 = 0;
const ZSTD: u8 = 1;
/// One of the fast levels: at level 1 compression was two fifths of a checkpoint's CPU.
const ZSTD_LEVEL: i32 = -3;
const HEADER: usize = 8;
const ALIGNMENT: usize = 64;
/// Above any page that is written; a larger length is damage, and not worth an allocation.
const MAX_RAW_BYTES: usize = 1 << 31;

/// Rows with unique, ascending keys.
#[derive(Debug, Clone)]
pub(super) struct Page {
    keys: Keys,
    rows: RecordBatch,
    bytes: usize,
}

impl Page {
    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Bytes of its raw form.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Turns pages of one table into bytes and back.
#[derive(Debug)]
pub(super) struct PageCodec {
    /// Of the rows alone.
    rows: SchemaRef,
    /// With the key as first column.
    stored: SchemaRef,
}

/// A page with its stored form.
pub(super) struct EncodedPage {
    pub(super) page: Arc<Page>,
    pub(super) stored: Bytes,
}

impl PageCodec {
    /// # Errors
    /// `NotSupported` for a column type whose values do not stand by themselves in a page.
    pub(super) fn new(rows: SchemaRef) -> Result<Self> {
        for field in rows.flattened_fields() {
            if matches!(field.data_type(), DataType::Dictionary(..) | DataType::RunEndEncoded(..)) {
                return Err(Error::not_supported(format!(
                    "column {:?} of type {} cannot be kept as state",
                    field.name(),
                    field.data_type()
                ))
                .with_hint("cast it to its value type first"));
            }
        }
        let key: FieldRef = Arc::new(Field::new("", DataType::Binary, false));
        let fields: Vec<FieldRef> = std::iter::once(key).chain(rows.fields().iter().cloned()).collect();
        Ok(Self { rows, stored: Arc::new(Schema::new(fields)) })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.rows
    }

    /// # Errors
    /// `DataCorrupted` for bytes that are not a page of this table.
    pub(super) fn decode(&self, stored: Bytes) -> Result<Page> {
        let raw = unpack(stored)?;
        let word = |at: usize| {
            let bytes = raw.get(at..at + 4)?.try_into().ok()?;
            usize::try_from(u32::from_le_bytes(bytes)).ok()
        };
        let damaged = || Error::corrupted("a page's header is damaged");
        let columns = |count: usize| self.stored.fields().iter().take(count).cloned().collect::<Vec<FieldRef>>();
        let (message, body) = word(0).zip(word(4)).ok_or_else(damaged)?;
        let message = raw.get(HEADER..HEADER.saturating_add(message)).ok_or_else(damaged)?;
        let message = root_as_message(message).map_err(|e| Error::corrupted(format!("a page is damaged: {e}")))?;
        let batch = message.header_as_record_batch().ok_or_else(damaged)?;
        if body > raw.len() {
            return Err(damaged());
        }
        let body = raw.slice(body);
        let known = self.known(batch.nodes().map_or(0, |nodes| nodes.len()));
        let schema = match known == self.stored.fields().len() {
            true => self.stored.clone(),
            false => Arc::new(Schema::new(columns(known))),
        };
        let batch = read_record_batch(&body, batch, schema, &HashMap::new(), None, &message.version())
            .map_err(|e| Error::corrupted(format!("a page is damaged: {e}")))?;
        let (key, columns) = batch.columns().split_first().ok_or_else(damaged)?;
        let keys = key.as_binary_opt::<i32>().ok_or_else(damaged)?.clone();
        Ok(Page { rows: self.widened(columns.to_vec(), keys.len())?, keys, bytes: raw.len() })
    }

    /// How many of the columns a page has that was written with so many Arrow nodes: all, or those that there were then.
    fn known(&self, nodes: usize) -> usize {
        let mut seen = 0;
        let fields = self.stored.fields().iter();
        fields
            .take_while(|field| {
                seen += nodes_of(field.data_type());
                seen <= nodes
            })
            .count()
    }

    /// A page whose rows may be older than some columns, with these filled in.
    pub(super) fn filled(&self, page: Arc<Page>) -> Result<Arc<Page>> {
        if page.rows.num_columns() >= self.rows.fields().len() {
            return Ok(page);
        }
        let rows = self.widened(page.rows.columns().to_vec(), page.len())?;
        Ok(Arc::new(Page { keys: page.keys.clone(), rows, bytes: page.bytes }))
    }

    fn widened(&self, mut columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        for field in self.rows.fields().iter().skip(columns.len()) {
            let column = missing::column(field, rows)?;
            columns.push(column.ok_or_else(|| Error::corrupted(format!("a page has no column \"{}\"", field.name())))?);
        }
        self.batch(columns, rows)
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.rows.clone(), columns, &options)?)
    }
}

thread_local! {
    /// A new one for each page would cost as much as a small page.
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Arrow nodes of a column of this type in a record batch.
fn nodes_of(data_type: &DataType) -> usize {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => 1 + nodes_of(item.data_type()),
        DataType::Struct(fields) => 1 + fields.iter().map(|f| nodes_of(f.data_type())).sum::<usize>(),
        _ => 1,
    }
}

/// Encodes pages in one thread; it keeps its working memory between them.
pub(super) struct PageEncoder {
    compressor: Option<zstd::bulk::Compressor<'static>>,
    context: IpcWriteContext,
}

impl PageEncoder {
    pub(super) fn new(compress: bool) -> Result<Self> {
        let compressor = if compress { Some(zstd::bulk::Compressor::new(ZSTD_LEVEL)?) } else { None };
        Ok(Self { compressor, context: IpcWriteContext::default() })
    }

    /// `keys` are unique and ascending, one for each row.
    pub(super) fn encode(&mut self, codec: &PageCodec, keys: Keys, rows: RecordBatch) -> Result<EncodedPage> {
        let raw = self.raw_form(codec, &keys, &rows)?;
        let bytes = raw.len();
        let mut stored = match &mut self.compressor {
            Some(compressor) => {
                let mut stored = compressor.compress(&raw)?;
                stored.extend_from_slice(&(bytes as u32).to_le_bytes());
                stored.push(ZSTD);
                stored
            }
            None => {
                let mut stored = raw;
                stored.push(RAW);
                stored
            }
        };
        let crc = crc32fast::hash(&stored);
        stored.extend_from_slice(&crc.to_le_bytes());
        Ok(EncodedPage { page: Arc::new(Page { keys, rows, bytes }), stored: Bytes::from(stored) })
    }

    fn raw_form(&mut self, codec: &PageCodec, keys: &Keys, rows: &RecordBatch) -> Result<Vec<u8>> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(rows.num_columns() + 1);
        columns.push(Arc::new(keys.clone()));
        columns.extend(rows.columns().iter().cloned());
        let batch = RecordBatch::try_new(codec.stored.clone(), columns)?;
        let mut dictionaries = DictionaryTracker::new(true);
        let options = IpcWriteOptions::default();
        let (_, data) = IpcDataGenerator::default().encode(&batch, &mut dictionaries, &options, &mut self.context)?;
        let body = (HEADER + data.ipc_message.len()).next_multiple_of(ALIGNMENT);
        let length = body + data.arrow_data.len();
        if length > MAX_RAW_BYTES {
            return Err(Error::not_supported(format!("{} rows of {length} bytes in one state page", keys.len()))
                .with_hint("rows this large do not fit; store a reference instead"));
        }
        let mut raw = Vec::with_capacity(length + 5);
        raw.extend_from_slice(&(data.ipc_message.len() as u32).to_le_bytes());
        raw.extend_from_slice(&(body as u32).to_le_bytes());
        raw.extend_from_slice(&data.ipc_message);
        raw.resize(body, 0);
        raw.extend_from_slice(&data.arrow_data);
        Ok(raw)
    }
}

/// The raw form of a stored page, without a copy where it is not compressed.
fn unpack(stored: Bytes) -> Result<Buffer> {
    let damaged = || Error::corrupted("a page is not as it was written");
    let (content, crc) = stored.split_last_chunk::<4>().ok_or_else(damaged)?;
    // Checked here because the Arrow reader trusts the lengths that it finds.
    if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
        return Err(damaged());
    }
    let (kind, packed) = content.split_last().ok_or_else(damaged)?;
    match *kind {
        RAW => Ok(Buffer::from(stored.slice(..packed.len()))),
        ZSTD => {
            let (packed, length) = packed.split_last_chunk::<4>().ok_or_else(damaged)?;
            let length = u32::from_le_bytes(*length) as usize;
            if length > MAX_RAW_BYTES {
                return Err(damaged());
            }
            let raw = DECOMPRESSOR
                .with_borrow_mut(|kept| {
                    let decompressor = match kept {
                        Some(decompressor) => decompressor,
                        None => kept.insert(zstd::bulk::Decompressor::new()?),
                    };
                    decompressor.decompress(packed, length)
                })
                .map_err(|e| Error::corrupted(format!("a page does not decompress: {e}")))?;
            Ok(Buffer::from_vec(raw))
        }
        kind => Err(Error::corrupted(format!("a page is of unknown kind {kind}"))),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use arrow::array::{Int64Array, ListArray, StringArray, StructArray, new_null_array};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::common::ErrorKind;

    /// A page of rows without columns.
    pub(in crate::state) fn page_of(keys: &[&str]) -> Page {
        let keys = Keys::from_iter_values(keys);
        let rows = PageCodec::new(Arc::new(Schema::empty())).unwrap().batch(vec![], keys.len()).unwrap();
        Page { bytes: 100, keys, rows }
    }

    fn nested() -> RecordBatch {
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some(""), None, Some("ä€ long enough to matter")]));
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
            Some(vec![Some(1), None]),
            None,
            Some(vec![]),
        ]));
        let inner: ArrayRef = Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)]));
        let field = Arc::new(Field::new("v", DataType::Int64, true));
        let record: ArrayRef = Arc::new(StructArray::from(vec![(field, inner)]));
        let decimal = new_null_array(&DataType::Decimal128(38, 10), 3);
        RecordBatch::try_from_iter_with_nullable([
            ("t", text, true),
            ("l", list, true),
            ("s", record, true),
            ("d", decimal, true),
        ])
        .unwrap()
    }

    #[test]
    fn every_type_survives_the_way_to_bytes_and_back() {
        let empty = RecordBatch::try_new_with_options(
            Arc::new(Schema::empty()),
            vec![],
            &RecordBatchOptions::new().with_row_count(Some(3)),
        );
        for rows in [nested(), empty.unwrap(), nested().slice(0, 0)] {
            for compress in [true, false] {
                let codec = PageCodec::new(rows.schema()).unwrap();
                let keys = Keys::from_iter_values(["", "a", "b"].into_iter().take(rows.num_rows()));
                let encoded = PageEncoder::new(compress).unwrap().encode(&codec, keys.clone(), rows.clone()).unwrap();
                let page = codec.decode(encoded.stored).unwrap();
                assert_eq!((page.keys(), page.rows()), (&keys, &rows));
                assert_eq!(page.bytes(), encoded.page.bytes());
            }
        }
    }

    #[test]
    fn a_column_that_came_later_is_filled_in() {
        let rows = nested();
        let codec = PageCodec::new(rows.schema()).unwrap();
        let keys = Keys::from_iter_values(["", "a", "b"]);
        let encoded = PageEncoder::new(true).unwrap().encode(&codec, keys, rows.clone()).unwrap();
        let value: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        let later = missing::mark(Field::new("n", DataType::Int64, true), &missing::encode(&value).unwrap());
        let list = Field::new("m", rows.column(1).data_type().clone(), true);
        let fields: Vec<FieldRef> =
            rows.schema().fields().iter().cloned().chain([Arc::new(later), Arc::new(list)]).collect();
        let wide = PageCodec::new(Arc::new(Schema::new(fields))).unwrap();
        for page in [Arc::new(wide.decode(encoded.stored).unwrap()), wide.filled(encoded.page).unwrap()] {
            assert_eq!(page.rows().project(&[0, 1, 2, 3]).unwrap().columns(), rows.columns());
            let expected: ArrayRef = Arc::new(Int64Array::from(vec![7, 7, 7]));
            assert_eq!(page.rows().column(4), &expected);
            assert_eq!(page.rows().column(5).null_count(), 3);
        }
    }

    #[test]
    fn damage_is_an_error() {
        for compress in [true, false] {
            let codec = PageCodec::new(nested().schema()).unwrap();
            let keys = Keys::from_iter_values(["", "a", "b"]);
            let stored = PageEncoder::new(compress).unwrap().encode(&codec, keys, nested()).unwrap().stored;
            for cut in [0, 1, 5, stored.len() / 2, stored.len() - 1] {
                let e = codec.decode(stored.slice(..cut)).unwrap_err();
                assert_eq!(e.kind(), ErrorKind::DataCorrupted);
            }
            let mut wrong = stored.to_vec();
            wrong[9] ^= 1;
            assert!(codec.decode(wrong.into()).is_err());
        }
    }

    #[test]
    fn a_dictionary_is_refused() {
        let ty = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let list = DataType::List(Arc::new(Field::new("item", ty, true)));
        let schema = Arc::new(Schema::new(vec![Field::new("c", list, true)]));
        assert_eq!(PageCodec::new(schema).unwrap_err().kind(), ErrorKind::NotSupported);
    }
}
