//! One state table: its committed pages and the runs sealed since, as one immutable view that a commit replaces.
//!
//! Readers take the view and go on without a lock. Pages are never changed in place: a commit writes new ones and
//! frees the old ones' numbers when no view knows them any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::SchemaRef;
use parking_lot::RwLock;

use super::backend::Backend;
use super::cache::PageCache;
use super::directory::{Directory, PageRef};
use super::page::{Page, PageCodec};
use super::run::Run;
use super::scan::Batches;
use super::uncommitted::Uncommitted;
use super::writer::StateWriter;
use super::{KeyRange, Lookup, TableStats, delta, layout, lookup, scan};
use crate::common::{Error, Result};
use crate::types::{Epoch, Keys, TableId};

/// One table, shared by its writers and readers.
pub struct Table {
    id: TableId,
    codec: PageCodec,
    backend: Arc<dyn Backend>,
    cache: Arc<PageCache>,
    uncommitted: Arc<Uncommitted>,
    current: RwLock<Current>,
    rows: AtomicU64,
    bytes: AtomicU64,
}

/// What readers see. The directory is read from the backend when it is first needed.
struct Current {
    directory: Option<Arc<Directory>>,
    runs: Arc<Vec<Arc<Run>>>,
}

/// A consistent state of a table: pages, and the runs over them from the oldest epoch to the newest.
#[derive(Clone)]
pub(super) struct View {
    pub(super) directory: Arc<Directory>,
    runs: Arc<Vec<Arc<Run>>>,
}

impl View {
    /// The runs that a reader at `epoch` sees.
    pub(super) fn runs(&self, epoch: Epoch) -> &[Arc<Run>] {
        let end = self.runs.partition_point(|r| r.epoch() <= epoch);
        self.runs.get(..end).unwrap_or_default()
    }

    /// Without what is newer than `epoch`.
    pub(super) fn up_to(&self, epoch: Epoch) -> Self {
        Self { directory: self.directory.clone(), runs: Arc::new(self.runs(epoch).to_vec()) }
    }
}

impl Table {
    pub(super) fn new(
        id: TableId,
        codec: PageCodec,
        stats: TableStats,
        backend: Arc<dyn Backend>,
        cache: Arc<PageCache>,
        uncommitted: Arc<Uncommitted>,
    ) -> Arc<Self> {
        let current = RwLock::new(Current { directory: None, runs: Arc::default() });
        let (rows, bytes) = (AtomicU64::new(stats.rows), AtomicU64::new(stats.bytes));
        Arc::new(Self { id, codec, backend, cache, uncommitted, current, rows, bytes })
    }

    pub fn id(&self) -> TableId {
        self.id
    }

    /// The schema of its rows; keys are beside them.
    pub fn schema(&self) -> SchemaRef {
        self.codec.schema().clone()
    }

    /// Rows and uncompressed bytes of its pages; changes that are not folded into them yet are not counted.
    pub fn stats(&self) -> TableStats {
        TableStats { rows: self.rows.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    /// A writer: one per actor. Writers of one table must write different keys.
    pub fn writer(self: &Arc<Self>) -> StateWriter {
        StateWriter::new(self.clone())
    }

    /// The rows in `range` as of a pinned or latest sealed `epoch`, in key order, in batches of some thousand rows, at
    /// most `limit` rows.
    pub fn scan(&self, epoch: Epoch, range: &KeyRange, limit: Option<usize>) -> Result<Batches> {
        let view = self.view()?;
        scan::scan(self, &view, view.runs(epoch), None, range, limit)
    }

    /// The rows of `keys` as of `epoch`.
    pub fn get(&self, epoch: Epoch, keys: &Keys) -> Result<Lookup> {
        let view = self.view()?;
        lookup::lookup(self, &view, view.runs(epoch), None, keys)
    }

    pub(super) fn uncommitted(&self) -> &Arc<Uncommitted> {
        &self.uncommitted
    }

    pub(super) fn codec(&self) -> &PageCodec {
        &self.codec
    }

    /// Whether there is something to fold up to `epoch`.
    pub(super) fn has_runs(&self, epoch: Epoch) -> bool {
        self.current.read().runs.iter().any(|r| r.epoch() <= epoch && !r.is_durable())
    }

    /// Bytes of deltas in memory.
    pub(super) fn delta_bytes(&self) -> usize {
        self.current.read().runs.iter().filter(|r| r.is_durable()).map(|r| r.bytes()).sum()
    }

    pub(super) fn view(&self) -> Result<View> {
        let known = {
            let current = self.current.read();
            current.directory.clone().map(|directory| View { directory, runs: current.runs.clone() })
        };
        match known {
            Some(view) => Ok(view),
            None => self.load(),
        }
    }

    fn load(&self) -> Result<View> {
        // Under the lock: a commit must not put a newer directory in place meanwhile.
        let mut current = self.current.write();
        let directory = match &current.directory {
            Some(directory) => directory.clone(),
            None => {
                let chunks = self.backend.scan(&layout::directory(self.id))?;
                let directory = Directory::decode(chunks.iter().map(|(_, chunk)| chunk.as_ref()))
                    .map_err(|e| e.context(format!("state table {}", self.id)))?;
                let mut runs = delta::load(self, &directory)?;
                runs.extend(current.runs.iter().cloned());
                current.runs = Arc::new(runs);
                Arc::new(directory)
            }
        };
        current.directory = Some(directory.clone());
        Ok(View { directory, runs: current.runs.clone() })
    }

    pub(super) fn page(&self, page: PageRef) -> Result<Arc<Page>> {
        let name = (self.id, page.number);
        if let Some(page) = self.cache.get(name) {
            return self.codec.filled(page);
        }
        let decoded = Arc::new(self.read(page, &self.codec)?);
        self.cache.insert(name, decoded.clone());
        Ok(decoded)
    }

    /// Reads a page past the cache.
    pub(super) fn read(&self, page: PageRef, codec: &PageCodec) -> Result<Page> {
        let at = || format!("state table {}, page {}", self.id, page.number);
        let stored = self.backend.get(&layout::page(self.id, page.number)).map_err(|e| e.context(at()))?;
        let stored = stored.ok_or_else(|| Error::corrupted("the page is missing").context(at()))?;
        let decoded = codec.decode(stored).map_err(|e| e.context(at()))?;
        if decoded.len() != page.rows as usize {
            return Err(Error::corrupted(format!("{} rows instead of {}", decoded.len(), page.rows)).context(at()));
        }
        Ok(decoded)
    }

    pub(super) fn push(&self, run: Arc<Run>) {
        let mut current = self.current.write();
        let mut runs: Vec<Arc<Run>> = current.runs.as_ref().clone();
        let at = runs.partition_point(|r| r.epoch() <= run.epoch());
        runs.insert(at, run);
        current.runs = Arc::new(runs);
    }

    pub(super) fn drop_runs(&self) {
        let mut current = self.current.write();
        current.runs = Arc::new(current.runs.iter().filter(|r| r.is_durable()).cloned().collect());
    }

    /// Puts what became of all runs up to `epoch` in place: pages, and `deltas` over them.
    pub(super) fn replace(&self, epoch: Epoch, directory: Arc<Directory>, deltas: Vec<Arc<Run>>, stats: TableStats) {
        let mut current = self.current.write();
        current.directory = Some(directory);
        let sealed = current.runs.iter().filter(|r| r.epoch() > epoch && !r.is_durable()).cloned();
        current.runs = Arc::new(deltas.into_iter().chain(sealed).collect());
        self.rows.store(stats.rows, Ordering::Relaxed);
        self.bytes.store(stats.bytes, Ordering::Relaxed);
    }
}
