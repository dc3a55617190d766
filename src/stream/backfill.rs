//! Reading a table from its beginning while it changes, as RisingWave's arrangement backfill does.
//!
//! Within an epoch the table is scanned in key order as it stood at the last barrier; the epoch's changes wait. At
//! the barrier those that fall on keys already scanned are passed on; the others are dropped, as the scan will meet them
//! at a later epoch. Once the scan has reached the end, changes pass straight through. The position is state, by virtual
//! node, so that it survives a crash and another parallelism.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, BooleanBuilder, Int64Array, RecordBatch, RecordBatchOptions,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use tokio::sync::Notify;

use super::message::Watermark;
use crate::common::{Result, failpoint};
use crate::plan::TableRead;
use crate::state::{KeyRange, StateWriter, Table};
use crate::types::{Epoch, Keys, StreamChunk, VNODES, key, vnode};

/// Rows scanned between two looks at the inputs.
const SCAN_ROWS: usize = 8192;

/// One row a virtual node: `vnode`, `position` (the last key scanned), `finished`.
pub fn progress_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("vnode", DataType::Int64, false),
        Field::new("position", DataType::Binary, true),
        Field::new("finished", DataType::Boolean, false),
    ]))
}

/// How far a job's backfill has come, over all its actors.
#[derive(Debug, Default)]
pub struct BackfillStats {
    pub rows: AtomicU64,
    /// Actors that are not through yet.
    pub running: AtomicU64,
    /// Wakes who waits for the last of them.
    pub ended: Notify,
}

impl BackfillStats {
    /// Whether some actor still reads the past.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::SeqCst) > 0
    }
}

/// The backfill of one actor.
pub struct Backfill {
    read: TableRead,
    output: SchemaRef,
    table: Arc<Table>,
    progress: StateWriter,
    vnodes: std::ops::Range<usize>,
    /// The last key scanned, by virtual node; only own ones are used.
    positions: Vec<Option<Vec<u8>>>,
    /// The lowest of them: where the scan goes on.
    position: Option<Vec<u8>>,
    /// The epoch that the scan reads; none before the first barrier.
    snapshot: Option<Epoch>,
    /// The scan has met the end of the table in this epoch.
    scanned: bool,
    finished: bool,
    /// Changes of the open epoch.
    waiting: Vec<StreamChunk>,
    /// Watermarks are held until the rows that the scan still has to read are out.
    watermarks: Vec<Watermark>,
    stats: Arc<BackfillStats>,
    registered: AtomicBool,
}

impl Backfill {
    pub fn new(
        read: TableRead,
        output: SchemaRef,
        table: Arc<Table>,
        progress: StateWriter,
        vnodes: std::ops::Range<usize>,
        stats: Arc<BackfillStats>,
    ) -> Result<Self> {
        let mut positions = vec![None; VNODES];
        let mut finished = vec![false; VNODES];
        for (_, rows) in progress.scan(&KeyRange::all(), None)? {
            let (nodes, keys) = (rows.column(0), rows.column(1).as_binary::<i32>());
            let nodes = nodes.as_primitive::<arrow::datatypes::Int64Type>();
            for row in 0..rows.num_rows() {
                let node = nodes.value(row) as usize % VNODES;
                positions[node] = keys.is_valid(row).then(|| keys.value(row).to_vec());
                finished[node] = rows.column(2).as_boolean().value(row);
            }
        }
        let own = vnodes.clone();
        let finished = read.barriers_only || finished[own.clone()].iter().all(|f| *f);
        let position = positions[own].iter().min().cloned().flatten();
        if !finished {
            stats.running.fetch_add(1, Ordering::SeqCst);
        }
        Ok(Self {
            read,
            output,
            table,
            progress,
            vnodes,
            positions,
            position,
            snapshot: None,
            scanned: finished,
            finished,
            waiting: Vec::new(),
            watermarks: Vec::new(),
            registered: AtomicBool::new(!finished),
            stats,
        })
    }

    /// Whether [`Backfill::step`] has something to do before the next barrier.
    pub fn wants_to_scan(&self) -> bool {
        !self.scanned && self.snapshot.is_some()
    }

    /// Scans on; returns the next rows.
    pub fn step(&mut self) -> Result<Vec<StreamChunk>> {
        let Some(epoch) = self.snapshot else { return Ok(Vec::new()) };
        failpoint::hit("backfill.step")?;
        let start = self.position.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let range = KeyRange { start, end: Bound::Unbounded };
        let batches = self.table.scan(epoch, &range, Some(SCAN_ROWS))?;
        let mut chunks = Vec::new();
        let mut rows = 0;
        for (keys, batch) in batches {
            rows += keys.len();
            let mine = self.mask(&keys, |position, key| position.is_none_or(|p| key > p));
            if let Some(last) = keys.len().checked_sub(1) {
                self.position = Some(keys.value(last).to_vec());
            }
            let chunk = StreamChunk::inserts(self.project(&batch)?).filter(&mine)?;
            self.stats.rows.fetch_add(chunk.num_rows() as u64, Ordering::Relaxed);
            chunks.push(chunk);
        }
        if rows == 0 {
            self.scanned = true;
        }
        for node in self.vnodes.clone() {
            if self.positions[node] < self.position {
                self.positions[node].clone_from(&self.position);
            }
        }
        Ok(chunks)
    }

    /// Takes a change of the table; returns what goes on at once.
    pub fn change(&mut self, chunk: StreamChunk) -> Result<Option<StreamChunk>> {
        if self.read.barriers_only {
            return Ok(None);
        }
        if self.finished {
            return Ok(Some(chunk.with_batch(self.project(chunk.batch())?)));
        }
        self.waiting.push(chunk);
        Ok(None)
    }

    /// Takes a watermark of the table, in its columns; returns it in the output's when it may go on.
    pub fn watermark(&mut self, watermark: Watermark) -> Option<Watermark> {
        let column = self.read.projection.iter().position(|c| *c == watermark.column)?;
        let watermark = Watermark { column, ..watermark };
        if self.finished {
            return Some(watermark);
        }
        self.watermarks.retain(|w| w.column != column);
        self.watermarks.push(watermark);
        None
    }

    /// Ends the epoch: passes on the changes of scanned keys and stores the position.
    pub fn barrier(&mut self, epoch: Epoch) -> Result<(Vec<StreamChunk>, Vec<Watermark>)> {
        self.snapshot = Some(epoch);
        if self.finished {
            self.progress.seal(epoch);
            return Ok(Default::default());
        }
        let mut chunks = Vec::new();
        for chunk in std::mem::take(&mut self.waiting) {
            let columns: Vec<ArrayRef> = self.read.key.iter().map(|c| chunk.column(*c).clone()).collect();
            let keys = key::encode(&columns, chunk.num_rows())?;
            let scanned = self.scanned;
            let mask = self.mask(&keys, |position, key| scanned || position.is_some_and(|p| key <= p));
            chunks.push(chunk.with_batch(self.project(chunk.batch())?).filter(&mask)?);
        }
        self.finished = self.scanned;
        self.store()?;
        self.progress.seal(epoch);
        if self.finished {
            self.leave();
            return Ok((chunks, std::mem::take(&mut self.watermarks)));
        }
        Ok((chunks, Vec::new()))
    }

    pub fn is_finished(&self) -> bool {
        self.finished
    }

    fn store(&mut self) -> Result<()> {
        let nodes = Int64Array::from_iter_values(self.vnodes.clone().map(|v| v as i64));
        let rows = nodes.len();
        let positions = BinaryArray::from_iter(self.vnodes.clone().map(|v| self.positions[v].as_deref()));
        let finished = BooleanArray::from(vec![self.finished; rows]);
        let columns: Vec<ArrayRef> = vec![Arc::new(nodes), Arc::new(positions), Arc::new(finished)];
        let keys = key::encode(&columns[..1], rows)?;
        self.progress.write(keys, RecordBatch::try_new(progress_schema(), columns)?, None)
    }

    /// Which rows are this actor's and pass `test(position of the row's virtual node, key)`.
    fn mask(&self, keys: &Keys, test: impl Fn(Option<&[u8]>, &[u8]) -> bool) -> BooleanArray {
        let mut mask = BooleanBuilder::with_capacity(keys.len());
        for row in 0..keys.len() {
            let key = keys.value(row);
            let node = usize::from(vnode(key));
            mask.append_value(self.vnodes.contains(&node) && test(self.positions[node].as_deref(), key));
        }
        mask.finish()
    }

    fn project(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.read.projection.iter().map(|c| batch.column(*c).clone()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.output.clone(), columns, &options)?)
    }

    fn leave(&self) {
        if self.registered.swap(false, Ordering::SeqCst) {
            self.stats.running.fetch_sub(1, Ordering::SeqCst);
            self.stats.ended.notify_waiters();
        }
    }
}

impl Drop for Backfill {
    fn drop(&mut self) {
        self.leave();
    }
}
