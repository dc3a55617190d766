//! An actor's hand on a table: it buffers the open epoch, reads through it, and seals it as a run.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Bound;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{and, is_null};
use parking_lot::Mutex;

use super::changes::{ChangeBatch, Index, Position, coalesce};
use super::lookup::Find;
use super::run::Run;
use super::scan::Batches;
use super::table::Table;
use super::uncommitted::UncommittedShare;
use super::{KeyRange, Lookup, lookup, scan};
use crate::common::{Error, ErrorKind, Result};
use crate::types::{Epoch, Keys};

/// What the index and the order of a change take.
const FINDING_BYTES: usize = 24;

/// A view of a table for one actor: reads see its own open epoch, then all sealed epochs, then the pages.
pub struct StateWriter {
    table: Arc<Table>,
    batches: Vec<ChangeBatch>,
    bytes: usize,
    /// Counts `bytes` and what finding them will take.
    uncommitted: UncommittedShare,
    /// Behind a lock because reads fill them.
    found: Mutex<Finders>,
}

/// How changes of the open epoch are found. Each is filled by the first read that needs it, and then kept up.
#[derive(Default)]
struct Finders {
    index: Option<Index>,
    order: Option<Order>,
}

/// The last change of each key, in key order.
#[derive(Default)]
struct Order {
    changes: BTreeMap<Box<[u8]>, Position>,
    batches: usize,
}

impl StateWriter {
    pub(super) fn new(table: Arc<Table>) -> Self {
        let uncommitted = table.uncommitted().share();
        Self { table, batches: Vec::new(), bytes: 0, uncommitted, found: Mutex::default() }
    }

    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Buffers changes of the open epoch: key *i* is set to row *i* where `puts[i]`, else removed; a later change of
    /// the same key wins. `rows` has the table's schema (rows of removals are ignored).
    ///
    /// # Errors
    /// `Internal` where lengths or types differ from the table's, or a put has a null in a column without nulls.
    pub fn write(&mut self, keys: Keys, rows: RecordBatch, puts: Option<BooleanArray>) -> Result<()> {
        let n = keys.len();
        if rows.num_rows() != n || puts.as_ref().is_some_and(|p| p.len() != n || p.null_count() > 0) {
            return Err(self.misuse(format!("{n} keys, {} rows, {:?} puts", rows.num_rows(), puts.map(|p| p.len()))));
        }
        if keys.null_count() > 0 {
            return Err(self.misuse("a key is null".into()));
        }
        let puts = puts.filter(|p| p.has_false());
        let rows = self.conform(rows, puts.as_ref())?;
        if n > 0 {
            let bytes = keys.value_data().len() / keys.len().max(1) * n + slice_bytes(&rows);
            self.push(ChangeBatch { keys, rows, puts, bytes });
        }
        Ok(())
    }

    /// Removes `keys`, those that are there.
    pub fn remove(&mut self, keys: Keys) {
        if !keys.is_empty() {
            self.push(ChangeBatch::removals(keys, self.table.schema()));
        }
    }

    /// Removes every key in `range`: how a closed window's rows go.
    pub fn delete_range(&mut self, range: &KeyRange) -> Result<()> {
        for (keys, _) in self.scan(range, None)? {
            self.remove(keys);
        }
        Ok(())
    }

    pub fn get(&self, keys: &Keys) -> Result<Lookup> {
        let view = self.table.view()?;
        let runs = view.runs(Epoch(u64::MAX));
        if self.batches.is_empty() {
            return lookup::lookup(&self.table, &view, runs, None, keys, Find::Indexed);
        }
        let mut found = self.found.lock();
        let index = found.index.get_or_insert_default();
        index.extend(&self.batches);
        lookup::lookup(&self.table, &view, runs, Some((&self.batches, index)), keys, Find::Indexed)
    }

    /// As [`Table::scan`], the open epoch included.
    pub fn scan(&self, range: &KeyRange, limit: Option<usize>) -> Result<Batches> {
        let view = self.table.view()?;
        let runs = view.runs(Epoch(u64::MAX));
        if self.batches.is_empty() {
            return scan::scan(&self.table, &view, runs, None, range, limit);
        }
        let open = self.found.lock().order.get_or_insert_default().within(&self.batches, range);
        scan::scan(&self.table, &view, runs, Some((&self.batches, &open)), range, limit)
    }

    /// Hands the open epoch's changes over as a run of `epoch`; at once visible to readers of that epoch. Without
    /// changes nothing is handed over.
    pub fn seal(&mut self, epoch: Epoch) {
        let batches = mem::take(&mut self.batches);
        let found = mem::take(self.found.get_mut());
        self.bytes = 0;
        if batches.is_empty() {
            return;
        }
        let (batches, index) = match coalesce(batches.clone()) {
            Ok(together) if together.len() < batches.len() => (together, None),
            // Batches that do not go together (of 2 GiB, say) stay apart: that is only slower.
            Ok(_) | Err(_) => (batches, found.index),
        };
        self.table.push(Run::new(epoch, batches, index, self.uncommitted.take()));
    }

    /// Forgets the open epoch.
    pub fn clear(&mut self) {
        self.batches.clear();
        self.bytes = 0;
        self.uncommitted.set(0);
        *self.found.get_mut() = Finders::default();
    }

    /// Bytes buffered in the open epoch.
    pub fn open_bytes(&self) -> usize {
        self.bytes
    }

    fn push(&mut self, batch: ChangeBatch) {
        self.bytes += batch.bytes + batch.len() * FINDING_BYTES;
        self.uncommitted.set(self.bytes);
        self.batches.push(batch);
    }

    /// `rows` under the table's own schema.
    fn conform(&self, rows: RecordBatch, puts: Option<&BooleanArray>) -> Result<RecordBatch> {
        let schema = self.table.schema();
        if Arc::ptr_eq(&rows.schema(), &schema) && puts.is_none() {
            return Ok(rows);
        }
        let n = rows.num_rows();
        let (_, mut columns, _) = rows.into_parts();
        for (column, field) in columns.iter_mut().zip(schema.fields()) {
            if let Some(puts) = puts
                && !field.is_nullable()
                && column.null_count() > 0
            {
                if and(puts, &is_null(column)?)?.has_true() {
                    return Err(self.misuse(format!("a put has a null in column {:?}", field.name())));
                }
                // Nulls of removals: the values under them are never looked at.
                let data = column.to_data().into_builder().nulls(None).build()?;
                *column = arrow::array::make_array(data);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(n));
        RecordBatch::try_new_with_options(schema, columns, &options).map_err(|e| self.misuse(e.to_string()))
    }

    fn misuse(&self, what: String) -> Error {
        Error::new(ErrorKind::Internal, format!("write to state table {}: {what}", self.table.id()))
    }
}

impl Order {
    fn within(&mut self, batches: &[ChangeBatch], range: &KeyRange) -> Vec<Position> {
        for (batch, changes) in batches.iter().enumerate().skip(self.batches) {
            for (row, key) in changes.keys.iter().flatten().enumerate() {
                self.changes.insert(key.into(), Position { batch: batch as u32, row: row as u32 });
            }
        }
        self.batches = batches.len();
        let bounds = (as_slice(&range.start), as_slice(&range.end));
        if is_empty(bounds) {
            return Vec::new();
        }
        self.changes.range::<[u8], _>(bounds).map(|(_, position)| *position).collect()
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

/// A map's `range` panics on bounds that cross.
fn is_empty(bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match bounds {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => start >= end,
    }
}

fn slice_bytes(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|c| c.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}
