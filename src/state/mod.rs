//! State tables: ordered maps from encoded keys to rows, columnar, multi-version by epoch, paged, in two backends.
//!
//! ```text
//! operator --write--> open epoch --seal(epoch)--> run --fold--> pages --one batch, one flush--> sled | memory
//!            get, scan: open epoch > runs, newest first > pages
//!            snapshot(epoch): runs up to epoch > pages
//! ```

use std::collections::HashMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::common::Result;
use crate::common::config::StateBackend;
use crate::types::{Epoch, Keys, TableId};

/// Where and how state is kept.
#[derive(Debug, Clone)]
pub struct StateConfig {
    pub dir: PathBuf,
    pub backend: StateBackend,
    /// Bytes that page caches may hold.
    pub cache_bytes: u64,
}

/// What one commit did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommitStats {
    pub rows: u64,
    pub pages: u64,
    /// Bytes of the pages as handed to the backend.
    pub bytes: u64,
}

/// Size of one table, as far as it is known without reading it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableStats {
    pub rows: u64,
    pub bytes: u64,
}

/// All state of one data folder. Cheap to share behind `Arc`.
pub struct StateStore {}

impl StateStore {
    /// Opens or creates the state in `config.dir`, at the last committed epoch.
    pub fn open(_config: StateConfig) -> Result<Arc<Self>> {
        todo!()
    }

    /// The last epoch whose commit is on disk; 0 for an empty folder.
    pub fn committed_epoch(&self) -> Epoch {
        todo!()
    }

    /// Registers a table with the schema of its rows. Idempotent; a stored table of another schema is an error.
    pub fn table(&self, _id: TableId, _schema: SchemaRef) -> Result<Arc<Table>> {
        todo!()
    }

    /// Removes the table's rows with the next commit.
    pub fn drop_table(&self, _id: TableId) {
        todo!()
    }

    /// Forgets what was sealed after the last fold: a failed domain restarts from the last checkpoint.
    pub fn discard(&self, _tables: &[TableId]) {
        todo!()
    }

    /// Makes `epoch` durable: folds every run up to it into pages and applies them, `meta` and the epoch record as one
    /// batch, then flushes. Blocking; one caller at a time. After an error nothing is committed and it may be
    /// called again with the same or a later epoch.
    pub fn commit(&self, _epoch: Epoch, _meta: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<CommitStats> {
        todo!()
    }

    /// A value written as `meta` by a commit.
    pub fn meta(&self, _key: &[u8]) -> Result<Option<Vec<u8>>> {
        todo!()
    }

    /// All `meta` entries whose key starts with `prefix`, in key order.
    pub fn meta_scan(&self, _prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        todo!()
    }

    /// While the pin lives, no run above `epoch` is folded, so a snapshot at `epoch` can be taken of every table.
    /// `commit` of a later epoch waits for it: keep it short.
    ///
    /// # Errors
    /// `ObjectNotReady` for an epoch below the last folded one.
    pub fn pin(self: &Arc<Self>, _epoch: Epoch) -> Result<EpochPin> {
        todo!()
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        todo!()
    }
}

/// Holds an epoch readable; see [`StateStore::pin`].
pub struct EpochPin {}

/// One table, shared by its writers and readers.
pub struct Table {}

/// Rows by key: `rows` has the found ones; `index[i]` says which of them key *i* found.
pub struct Lookup {
    pub rows: RecordBatch,
    pub index: Vec<Option<u32>>,
}

/// A contiguous range of encoded keys.
#[derive(Debug, Clone)]
pub struct KeyRange {
    pub start: Bound<Vec<u8>>,
    pub end: Bound<Vec<u8>>,
}

impl KeyRange {
    pub fn all() -> Self {
        Self { start: Bound::Unbounded, end: Bound::Unbounded }
    }

    /// All keys that start with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        let end = crate::types::key::prefix_end(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        Self { start: Bound::Included(prefix.to_vec()), end }
    }
}

impl Table {
    pub fn id(&self) -> TableId {
        todo!()
    }

    pub fn schema(&self) -> SchemaRef {
        todo!()
    }

    pub fn stats(&self) -> TableStats {
        todo!()
    }

    /// A writer: one per actor. Writers of one table must write different keys.
    pub fn writer(self: &Arc<Self>) -> StateWriter {
        todo!()
    }

    /// The rows in `range` as of a pinned or latest sealed `epoch`, in key order, in batches of some thousand rows, at
    /// most about `limit` rows (whole batches may be cut to it).
    pub fn scan(&self, _epoch: Epoch, _range: &KeyRange, _limit: Option<usize>) -> Result<Vec<(Keys, RecordBatch)>> {
        todo!()
    }

    /// The rows of `keys` as of `epoch`.
    pub fn get(&self, _epoch: Epoch, _keys: &Keys) -> Result<Lookup> {
        todo!()
    }
}

/// An actor's view of a table: reads see its own open epoch, then all sealed epochs, then the pages.
pub struct StateWriter {}

impl StateWriter {
    pub fn table(&self) -> &Arc<Table> {
        todo!()
    }

    /// Buffers changes of the open epoch: key *i* is set to row *i* where `puts[i]`, else removed; a later change of
    /// the same key wins. `rows` has the table's schema (rows of removals are ignored).
    pub fn write(&mut self, _keys: Keys, _rows: RecordBatch, _puts: Option<BooleanArray>) -> Result<()> {
        todo!()
    }

    pub fn get(&self, _keys: &Keys) -> Result<Lookup> {
        todo!()
    }

    /// As [`Table::scan`], the open epoch included.
    pub fn scan(&self, _range: &KeyRange, _limit: Option<usize>) -> Result<Vec<(Keys, RecordBatch)>> {
        todo!()
    }

    /// Hands the open epoch's changes over as a run of `epoch`; at once visible to readers of that epoch.
    pub fn seal(&mut self, _epoch: Epoch) {
        todo!()
    }

    /// Bytes buffered in the open epoch.
    pub fn open_bytes(&self) -> usize {
        todo!()
    }
}

/// Statistics of every table, for `weir.operators`.
pub type StatsByTable = HashMap<TableId, TableStats>;
