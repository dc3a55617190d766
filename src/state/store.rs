//! All state of one data folder: its tables, and the commit that makes an epoch of all of them durable at once.
//!
//! ```text
//! commit(n):  fold all tables       no lock that readers or writers need; what memory has no room for is written ahead
//!             wait for pins < n
//!             apply one batch       new pages, directories, meta, epoch record
//!             swap each table       a moment under its lock
//!             flush                 only now is n committed
//! ```

use std::collections::{HashMap, HashSet};
use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use parking_lot::Mutex;

use super::backend::{Backend, Change};
use super::cache::PageCache;
use super::change_log::{Logs, Revised};
use super::chunked::Chunked;
use super::directory::Directory;
use super::fold::{self, Folded, Numbered};
use super::hot::HotBytes;
use super::memory::MemoryBackend;
use super::page::{PageCodec, TARGET_BYTES};
use super::pins::{EpochPin, Pins};
use super::sequences::Sequences;
use super::sled::SledBackend;
use super::space::Space;
use super::stage::Stage;
use super::table::Table;
use super::uncommitted::Uncommitted;
use super::{CommitStats, StateConfig, StatsByTable, TableStats, format, layout};
use crate::common::config::StateBackend;
use crate::common::{Error, ErrorKind, Result, failpoint};
use crate::types::{Epoch, TableId};

/// A commit removes so many of a table's pages that nobody uses, or more.
const LEAST_SWEPT: usize = 64;

/// All state of one data folder. Cheap to share behind `Arc`.
pub struct StateStore {
    pub(super) backend: Arc<dyn Backend>,
    cache: Arc<PageCache>,
    pub(super) pins: Arc<Pins>,
    committed: AtomicU64,
    pub(super) change_logs: Logs,
    pub sequences: Sequences,
    /// Bytes that deltas may hold in memory.
    delta_bytes: usize,
    /// Bytes of new pages that a commit may hold.
    staging_bytes: usize,
    hot: Arc<HotBytes>,
    uncommitted: Arc<Uncommitted>,
    tables: Mutex<HashMap<TableId, Arc<Table>>>,
    /// Tables that the next commit removes.
    dropped: Mutex<Vec<TableId>>,
    /// Held through a commit.
    pub(super) committing: Mutex<Committing>,
}

/// What only the commit knows.
#[derive(Default)]
pub(super) struct Committing {
    spaces: HashMap<TableId, Space>,
    /// Tables whose schema the backend has.
    stored: HashSet<TableId>,
}

/// A fold whose pages have numbers.
struct Ready {
    table: Arc<Table>,
    old: Arc<Directory>,
    numbered: Numbered,
}

impl StateStore {
    /// Opens or creates the state in `config.dir`, at the last committed epoch. Reads no tables.
    ///
    /// # Errors
    /// `ConfigFile` for a folder that is not ours, of a newer format or of another backend; `DataCorrupted`; `Io`.
    pub fn open(config: StateConfig) -> Result<Arc<Self>> {
        format::check_or_create(&config.dir, config.backend)?;
        let dir = config.dir.join(config.backend.name());
        let (backend, staging_bytes): (Arc<dyn Backend>, u64) = match config.backend {
            // It holds everything anyway.
            StateBackend::Memory => (Arc::new(MemoryBackend::open(&dir)?), u64::MAX),
            StateBackend::Sled => {
                let sled = SledBackend::open(&dir, config.cache_bytes / 8, config.cache_bytes / 4)?;
                (Arc::new(Chunked::new(sled, SledBackend::CHUNK_BYTES)), config.cache_bytes / 4)
            }
        };
        let committed = match backend.get(layout::EPOCH)? {
            Some(bytes) => match bytes.as_ref().try_into() {
                Ok(bytes) => u64::from_be_bytes(bytes),
                Err(_) => return Err(Error::corrupted("the epoch record is damaged")),
            },
            None => 0,
        };
        let change_logs = Logs::load(backend.scan(layout::LOGS)?)?;
        Ok(Arc::new(Self {
            backend,
            change_logs,
            sequences: Sequences::new(config.dir.join("sequences")),
            // Pages are what readers use; deltas are what keeps random updates cheap: the more of them there may be, the
            // more rarely pages are rewritten.
            cache: Arc::new(PageCache::new(config.cache_bytes / 8 * 3)),
            delta_bytes: usize::try_from(config.cache_bytes / 2).unwrap_or(usize::MAX),
            staging_bytes: usize::try_from(staging_bytes).unwrap_or(usize::MAX),
            hot: HotBytes::new(config.cache_bytes / 2),
            // A commit takes several times as much for a moment.
            uncommitted: Uncommitted::new(config.cache_bytes / 4),
            pins: Arc::new(Pins::at(Epoch(committed))),
            committed: AtomicU64::new(committed),
            tables: Mutex::default(),
            dropped: Mutex::default(),
            committing: Mutex::default(),
        }))
    }

    /// What operators may keep of their rows beside the tables.
    pub fn hot_bytes(&self) -> &Arc<HotBytes> {
        &self.hot
    }

    /// What the streams have written and no commit has put on disk.
    pub fn uncommitted(&self) -> &Arc<Uncommitted> {
        &self.uncommitted
    }

    /// The last epoch whose commit is on disk; 0 for an empty folder.
    pub fn committed_epoch(&self) -> Epoch {
        Epoch(self.committed.load(Ordering::Acquire))
    }

    /// Registers a table with the schema of its rows. Idempotent; a stored table of another schema is an error.
    pub fn table(&self, id: TableId, schema: SchemaRef) -> Result<Arc<Table>> {
        let mut tables = self.tables.lock();
        if let Some(table) = tables.get(&id) {
            check_schema(id, &table.schema(), &schema)?;
            return Ok(table.clone());
        }
        if self.dropped.lock().contains(&id) {
            return Err(Error::internal(format!("state table {id} was dropped; ids are not used again")));
        }
        if let Some(stored) = self.backend.get(&layout::schema(id))? {
            check_schema(id, decode_schema(&stored)?.as_ref(), &schema)?;
        }
        let table = self.opened(id, schema)?;
        tables.insert(id, table.clone());
        Ok(table)
    }

    /// Registers a table anew, with further columns behind those that it has. All that it holds is committed, and nothing
    /// writes it.
    ///
    /// # Errors
    /// As [`StateStore::table`].
    pub fn widen(&self, id: TableId, schema: SchemaRef) -> Result<()> {
        // A commit that runs ends with the table that it began with.
        let mut committing = self.committing.lock();
        let mut tables = self.tables.lock();
        if let Some(old) = tables.get(&id) {
            check_schema(id, &old.schema(), &schema)?;
        }
        tables.insert(id, self.opened(id, schema)?);
        committing.stored.remove(&id);
        Ok(())
    }

    fn opened(&self, id: TableId, schema: SchemaRef) -> Result<Arc<Table>> {
        let (stats, _) = self.stored_stats(id)?;
        let (backend, cache) = (self.backend.clone(), self.cache.clone());
        Ok(Table::new(id, PageCodec::new(schema)?, stats, backend, cache, self.uncommitted.clone()))
    }

    /// Removes the table's rows with the next commit. Its id must not be used again.
    pub fn drop_table(&self, id: TableId) {
        let mut tables = self.tables.lock();
        tables.remove(&id);
        let mut dropped = self.dropped.lock();
        if !dropped.contains(&id) {
            dropped.push(id);
        }
    }

    /// Forgets what was sealed after the last fold: a failed domain restarts from the last checkpoint. Waits for a
    /// running commit, so read [`StateStore::committed_epoch`] after it.
    pub fn discard(&self, tables: &[TableId]) {
        let _committing = self.committing.lock();
        let registered = self.tables.lock();
        for table in tables.iter().filter_map(|id| registered.get(id)) {
            table.drop_runs();
        }
    }

    /// Makes `epoch` durable: folds every run up to it into pages and applies them, `meta` and the epoch record as one
    /// batch, then flushes. Blocking; one caller at a time. After an error nothing is committed and it may be
    /// called again with the same or a later epoch.
    pub fn commit(&self, epoch: Epoch, meta: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<CommitStats> {
        let mut committing = self.committing.lock();
        if epoch < self.pins.folded() {
            return Err(Error::internal(format!("commit of epoch {epoch} after {}", self.pins.folded())));
        }
        failpoint::hit("state.commit.fold")?;
        let tables: Vec<Arc<Table>> = self.tables.lock().values().cloned().collect();
        match self.fold_and_apply(&mut committing, &tables, epoch, meta) {
            Ok(stats) => {
                failpoint::hit("state.commit.flush")?;
                self.backend.flush()?;
                self.committed.store(epoch.0, Ordering::Release);
                Ok(stats)
            }
            Err(e) => {
                committing.spaces.values_mut().for_each(Space::abandoned);
                Err(e)
            }
        }
    }

    fn fold_and_apply(
        &self,
        committing: &mut Committing,
        tables: &[Arc<Table>],
        epoch: Epoch,
        meta: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> Result<CommitStats> {
        let options = fold::Options { epoch, compress: self.backend.wants_compressed(), delta_bytes: self.delta_bytes };
        let folded = {
            let stage = Stage::new(self, &mut committing.spaces, self.staging_bytes);
            fold::fold(tables, &options, &stage)?
        };
        let rows = folded.iter().map(|f| f.rows).sum();
        let logged = self.log_changes(tables, epoch)?;
        let stats = self.apply(committing, epoch, folded, logged, meta)?;
        Ok(CommitStats { rows, ..stats })
    }

    /// Applies the batch and swaps the tables. After an error nothing has changed but the spaces.
    fn apply(
        &self,
        committing: &mut Committing,
        epoch: Epoch,
        folded: Vec<Folded>,
        logged: Vec<(Revised, Vec<Change>)>,
        meta: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> Result<CommitStats> {
        let mut changes: Vec<Change> = logged.iter().flat_map(|(_, changes)| changes.clone()).collect();
        let mut ready = Vec::new();
        for folded in folded {
            ready.push(self.number(committing, folded, &mut changes)?);
        }
        let mut stats = CommitStats::default();
        for (_, stored) in ready.iter().flat_map(|r| &r.numbered.stored) {
            stats.pages += 1;
            stats.bytes += stored.len() as u64;
        }
        for staged in ready.iter().flat_map(|r| &r.numbered.staged) {
            stats.pages += 1;
            stats.bytes += staged.bytes;
        }
        // Only with rows: a table of a job that a crash undoes must leave nothing behind, as its id is given again.
        let unstored: Vec<TableId> =
            ready.iter().map(|r| r.table.id()).filter(|id| !committing.stored.contains(id)).collect();
        for table in ready.iter().map(|r| &r.table).filter(|t| unstored.contains(&t.id())) {
            changes.push((layout::schema(table.id()), Some(encode_schema(&table.schema())?)));
        }
        let dropped = self.dropped.lock().clone();
        for id in &dropped {
            self.removal(*id, committing.spaces.get(id), &mut changes)?;
        }
        changes.extend(meta.iter().map(|(key, value)| (layout::meta(key), value.clone().map(Bytes::from))));
        changes.push((layout::EPOCH.to_vec(), Some(Bytes::copy_from_slice(&epoch.0.to_be_bytes()))));

        let before = self.pins.fold_to(epoch);
        if let Err(e) =
            failpoint::hit("state.commit.apply").map_err(Error::from).and_then(|()| self.backend.apply(changes))
        {
            self.pins.back_to(before);
            return Err(e);
        }
        committing.stored.extend(unstored);
        for id in &dropped {
            committing.spaces.remove(id);
            committing.stored.remove(id);
        }
        self.dropped.lock().retain(|id| !dropped.contains(id));
        for (revised, _) in logged {
            self.change_logs.revised(revised);
        }
        for id in &dropped {
            self.change_logs.remove(*id);
        }
        for Ready { table, old, numbered } in ready {
            for (number, page) in numbered.pages {
                self.cache.insert((table.id(), number), page);
            }
            table.replace(epoch, Arc::new(numbered.directory), numbered.deltas, numbered.stats);
            if let Some(space) = committing.spaces.get_mut(&table.id()) {
                space.applied(&old, numbered.retired);
            }
        }
        Ok(stats)
    }

    /// The page numbers of a table whose directory is `old`, those free again that no reader can know any more.
    pub(super) fn space<'s>(
        &self,
        spaces: &'s mut HashMap<TableId, Space>,
        id: TableId,
        old: &Arc<Directory>,
    ) -> Result<&'s mut Space> {
        let space = match spaces.entry(id) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(unknown) => {
                let (_, end) = self.stored_stats(id)?;
                unknown.insert(Space::new(old, end))
            }
        };
        for number in space.reclaim() {
            self.cache.remove((id, number));
        }
        Ok(space)
    }

    /// Numbers the new pages of one table and lists the changes of its entries.
    fn number(&self, committing: &mut Committing, folded: Folded, changes: &mut Vec<Change>) -> Result<Ready> {
        let (table, old) = (folded.table.clone(), folded.old.clone());
        let id = table.id();
        let space = self.space(&mut committing.spaces, id, &old)?;
        let numbered = folded.number(|| space.take())?;
        // To remove an entry, the backend reads what is stored beside it.
        let swept = space.sweep((self.staging_bytes / TARGET_BYTES).max(LEAST_SWEPT));
        changes.extend(swept.iter().map(|number| (layout::page(id, *number), None)));
        let staged = numbered.staged.iter().map(|staged| staged.page.number);
        let added = numbered.stored.iter().map(|(number, _)| *number).chain(staged);
        let touched = numbered.retired.iter().copied().chain(added);
        let chunks = numbered.directory.encode(touched);
        changes.extend(chunks.into_iter().map(|(chunk, content)| (layout::chunk(id, chunk), content)));
        let stored = numbered.stored.iter();
        changes.extend(stored.map(|(number, page)| (layout::page(id, *number), Some(page.clone()))));
        changes.push((layout::table(id), Some(encode_stats(numbered.stats, space.end()))));
        Ok(Ready { table, old, numbered })
    }

    /// Lists the removal of everything that a dropped table has.
    fn removal(&self, id: TableId, space: Option<&Space>, changes: &mut Vec<Change>) -> Result<()> {
        let end = match space {
            Some(space) => space.end(),
            None => self.stored_stats(id)?.1,
        };
        changes.push((layout::schema(id), None));
        changes.push((layout::table(id), None));
        changes.extend(self.backend.scan(&layout::directory(id))?.into_iter().map(|(name, _)| (name, None)));
        for number in 0..end {
            self.cache.remove((id, number));
            changes.push((layout::page(id, number), None));
        }
        changes.extend(self.change_logs.removal(id));
        Ok(())
    }

    /// A value written as `meta` by a commit.
    pub fn meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.backend.get(&layout::meta(key))?.map(Vec::from))
    }

    /// All `meta` entries whose key starts with `prefix`, in key order.
    pub fn meta_scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let entries = self.backend.scan(&layout::meta(prefix))?;
        Ok(entries.into_iter().map(|(name, value)| (name.into_iter().skip(1).collect(), Vec::from(value))).collect())
    }

    /// While the pin lives, no run above `epoch` is folded, so a snapshot at `epoch` can be taken of every table.
    /// `commit` of a later epoch waits for it: keep it short.
    ///
    /// # Errors
    /// `ObjectNotReady` for an epoch below the last folded one.
    pub fn pin(self: &Arc<Self>, epoch: Epoch) -> Result<EpochPin> {
        self.pins.pin(epoch)
    }

    /// Statistics of the registered tables.
    pub fn stats(&self) -> StatsByTable {
        self.tables.lock().iter().map(|(id, table)| (*id, table.stats())).collect()
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.backend.disk_bytes()
    }

    fn stored_stats(&self, id: TableId) -> Result<(TableStats, u32)> {
        let Some(bytes) = self.backend.get(&layout::table(id))? else { return Ok((TableStats::default(), 0)) };
        decode_stats(&bytes).ok_or_else(|| Error::corrupted(format!("the record of state table {id} is damaged")))
    }
}

/// Rows, bytes, and the end of the page numbers.
pub(super) fn encode_stats(stats: TableStats, end: u32) -> Bytes {
    let mut bytes = Vec::with_capacity(20);
    bytes.extend_from_slice(&stats.rows.to_be_bytes());
    bytes.extend_from_slice(&stats.bytes.to_be_bytes());
    bytes.extend_from_slice(&end.to_be_bytes());
    Bytes::from(bytes)
}

fn decode_stats(stored: &[u8]) -> Option<(TableStats, u32)> {
    let (rows, rest) = stored.split_first_chunk::<8>()?;
    let (bytes, rest) = rest.split_first_chunk::<8>()?;
    let end = u32::from_be_bytes(rest.try_into().ok()?);
    Some((TableStats { rows: u64::from_be_bytes(*rows), bytes: u64::from_be_bytes(*bytes) }, end))
}

fn encode_schema(schema: &Schema) -> Result<Bytes> {
    let mut out = Vec::new();
    StreamWriter::try_new(&mut out, schema)?.finish()?;
    Ok(Bytes::from(out))
}

fn decode_schema(stored: &[u8]) -> Result<SchemaRef> {
    let damaged = |e| Error::corrupted(format!("a stored schema is damaged: {e}"));
    Ok(StreamReader::try_new(Cursor::new(stored), None).map_err(damaged)?.schema())
}

/// Names and types must agree; metadata may differ. Either may lack the last columns, which came later then, and a column
/// that was dropped may be null since.
fn check_schema(id: TableId, stored: &Schema, wanted: &Schema) -> Result<()> {
    let mut columns = stored.fields().iter().zip(wanted.fields());
    let same = columns.all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type());
    if same {
        return Ok(());
    }
    Err(Error::new(ErrorKind::DatatypeMismatch, format!("state table {id} is stored with another schema"))
        .with_detail(format!("stored: {stored}; wanted: {wanted}"))
        .with_hint("drop the view or table and create it again"))
}
