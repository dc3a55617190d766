//! State tables: ordered maps from encoded keys to rows, columnar, multi-version by epoch, paged, in two backends.
//!
//! ```text
//! operator --write--> open epoch --seal(epoch)--> run --fold--> pages --one batch, one flush--> sled | memory
//!            get, scan: open epoch > runs, newest first > pages
//!            snapshot(epoch): runs up to epoch > pages
//! ```
//!
//! A table's rows live in pages of some ten KiB, each a stretch of keys; what is sealed but not yet committed lives in
//! runs over them. Upper layers see encoded keys and Arrow rows; neither pages, runs nor the backends leave this module.
//! What commits change in a table that someone follows is kept in its change log.
//! It knows no plans, no actors and no SQL.

mod backend;
mod cache;
pub mod change_log;
mod changes;
mod chunked;
mod delta;
mod directory;
mod fold;
mod format;
mod hot;
mod layout;
mod lookup;
mod memory;
mod merge;
mod page;
mod pins;
mod run;
mod scan;
mod sequences;
mod sled;
mod space;
mod stage;
mod store;
mod subscriptions;
mod table;
mod uncommitted;
mod writer;
#[cfg(test)]
mod tests;

pub use hot::{HotBytes, HotShare};
pub use pins::EpochPin;
pub use scan::Batches;
pub use sequences::Sequences;
pub use store::StateStore;
pub use table::Table;
pub use uncommitted::{Uncommitted, UncommittedShare};
pub use writer::StateWriter;

use std::collections::HashMap;
use std::ops::Bound;
use std::path::PathBuf;

use arrow::array::RecordBatch;

use crate::common::config::StateBackend;
use crate::types::TableId;

/// Where and how state is kept.
#[derive(Debug, Clone)]
pub struct StateConfig {
    pub dir: PathBuf,
    pub backend: StateBackend,
    /// Bytes that pages, deltas and the backend's caches may hold. Beside them, half as much again is for rows that
    /// operators keep decoded, and a quarter as much for what is written and not committed.
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

/// Statistics of every table, for `weir.operators`.
pub type StatsByTable = HashMap<TableId, TableStats>;
