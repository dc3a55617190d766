//! The first rows of each partition by row_number, rank or dense_rank.

use std::sync::Arc;

use arrow::array::{BinaryBuilder, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use hashbrown::HashMap;

use super::changes::{Changes, gather};
use super::leading::{Fresh, Leading, Limit, Numbering, Ranks, RowKey};
use crate::common::{Error, Result};
use crate::plan::{self, Node, Rank};
use crate::state::{Batches, KeyRange, StateWriter, UncommittedShare};
use crate::stream::message::{Barrier, Watermark};
use crate::stream::operator::row_order::{HeldWatermarks, RowKeys, RowOrder};
use crate::stream::operator::{BuildContext, Output, StreamOperator};
use crate::types::{Epoch, StreamChunk};

/// What is known of partitions is forgotten at a barrier when it takes more.
const CACHE_BYTES: usize = 128 << 20;

pub(super) struct Ranked {
    name: String,
    rows: RowOrder,
    limit: Limit,
    offset: u64,
    shown: Vec<Rank>,
    append_only: bool,
    /// `None`: sifts.
    state: Option<StateWriter>,
    output: SchemaRef,
    partitions: HashMap<Box<[u8]>, Leading>,
    /// A partition that is not in `partitions` has no rows.
    complete: bool,
    /// Partitions that changed in the open epoch.
    touched: Vec<Box<[u8]>>,
    /// Rows of the open epoch.
    batches: Vec<RecordBatch>,
    batch_bytes: usize,
    /// They are worked off before the barrier when they hold more.
    batch_share: UncommittedShare,
    /// Rows that counted and were retracted in the open epoch.
    gone: HashMap<Arc<[u8]>, Fresh>,
    known_bytes: usize,
    /// Output columns and values that wait for the barrier.
    held: HeldWatermarks,
}

impl Ranked {
    pub(super) fn new(name: String, plan: &plan::TopN, node: &Node, context: &BuildContext<'_>) -> Result<Self> {
        let state = match plan.state {
            Some(table) => Some(context.store.table(table, Arc::clone(&context.input))?.writer()),
            None => None,
        };
        let complete = match &state {
            Some(state) => state.scan(&KeyRange::all(), Some(1))?.is_empty(),
            None => true,
        };
        Ok(Self {
            name,
            rows: RowOrder::new(&plan.rows, node, context),
            limit: Limit { rank: plan.rank, last: plan.last },
            offset: plan.offset,
            shown: plan.shown.clone(),
            append_only: plan.append_only,
            state,
            output: Arc::clone(&node.schema),
            partitions: HashMap::new(),
            complete,
            touched: Vec::new(),
            batches: Vec::new(),
            batch_bytes: 0,
            batch_share: context.store.uncommitted().share(),
            gone: HashMap::new(),
            known_bytes: 0,
            held: HeldWatermarks::new(&plan.rows.partition),
        })
    }

    /// Makes sure that the partition's first rows are known.
    fn know(&mut self, partition: &[u8]) -> Result<()> {
        if self.partitions.contains_key(partition) {
            return Ok(());
        }
        let mut leading = match self.complete {
            true => Leading::empty(),
            false => Leading::unread(partition),
        };
        if let Some(state) = &self.state {
            // Nothing of the open epoch is in a partition that it has not met.
            self.fill(&mut leading, partition, &|range, limit| state.table().scan(Epoch(u64::MAX), range, limit))?;
        }
        self.known_bytes += leading.memory_bytes();
        self.partitions.insert(partition.into(), leading);
        Ok(())
    }

    /// Reads on until all rows that count are known.
    fn fill(
        &self,
        leading: &mut Leading,
        partition: &[u8],
        scan: &dyn Fn(&KeyRange, Option<usize>) -> Result<Batches>,
    ) -> Result<()> {
        let mut wanted = usize::try_from(self.limit.last).unwrap_or(usize::MAX).saturating_add(16);
        while let Some(from) = leading.unread_from().filter(|_| self.append_only || !leading.is_enough(self.limit)) {
            let mut range = KeyRange::prefix(partition);
            range.start = std::ops::Bound::Included(from.to_vec());
            let batches = scan(&range, (!self.append_only).then_some(wanted))?;
            let mut keys = Vec::new();
            for (_, rows) in &batches {
                let encoded = self.rows.keys(rows)?;
                keys.extend((0..encoded.len()).map(|row| RowKey::new(encoded.key(row), encoded.order_end(row))));
            }
            let all = self.append_only || keys.len() < wanted;
            if !leading.read(keys, all, self.limit) {
                wanted = wanted.saturating_mul(2);
            }
        }
        Ok(())
    }

    /// Input that never retracts: keeps the rows that may count.
    fn grow(&mut self, chunk: &StreamChunk) -> Result<()> {
        let keys = self.rows.keys(chunk.batch())?;
        let batch = self.batches.len() as u32;
        let mut kept: Vec<u64> = Vec::new();
        for row in 0..keys.len() {
            let (partition, key, order_end) = (keys.partition(row), keys.key(row), keys.order_end(row));
            self.know(partition)?;
            let Some(leading) = self.partitions.get_mut(partition) else { continue };
            if !leading.admits(key, order_end, self.limit) {
                continue;
            }
            if leading.touch(self.limit) {
                self.touched.push(partition.into());
            }
            leading.insert(RowKey::new(key, order_end), (batch, kept.len() as u32));
            kept.push(row as u64);
            // At once where that is cheap: the rows that follow are then dropped.
            if self.limit.rank == Rank::RowNumber {
                leading.trim(self.limit, true);
            }
        }
        if self.limit.rank != Rank::RowNumber {
            self.trim(&keys, kept.iter().map(|row| *row as usize).collect());
        }
        match kept.len() {
            0 => {}
            all if all == chunk.num_rows() => self.keep(chunk.batch().clone()),
            _ => self.keep(take_record_batch(chunk.batch(), &UInt64Array::from(kept))?),
        }
        Ok(())
    }

    /// Input that retracts: every row goes into the state, those among the first into memory too.
    fn change(&mut self, chunk: &StreamChunk) -> Result<()> {
        let keys = self.rows.keys(chunk.batch())?;
        let batch = self.batches.len() as u32;
        let mut inserted: Vec<usize> = Vec::new();
        for row in 0..keys.len() {
            let (partition, key, order_end) = (keys.partition(row), keys.key(row), keys.order_end(row));
            self.know(partition)?;
            let Some(leading) = self.partitions.get_mut(partition) else { continue };
            let covered = leading.covers(key);
            if covered && leading.touch(self.limit) {
                self.touched.push(partition.into());
            }
            let fresh = (batch, row as u32);
            if chunk.weight(row) > 0 {
                if covered {
                    leading.insert(RowKey::new(key, order_end), fresh);
                    inserted.push(row);
                }
                continue;
            }
            if covered {
                leading.remove(key);
            }
            // What counted may have been pushed out before it goes.
            if leading.counted(key) && !self.gone.contains_key(key) {
                self.gone.insert(key.into(), fresh);
            }
        }
        self.trim(&keys, inserted);
        let puts: Option<BooleanArray> = chunk.weights().map(|w| w.values().iter().map(|w| Some(*w > 0)).collect());
        let Some(state) = &mut self.state else {
            return Err(Error::internal(format!("{} sifts rows that retract", self.name)));
        };
        state.write(keys.keys, chunk.batch().clone(), puts)?;
        self.keep(chunk.batch().clone());
        Ok(())
    }

    /// Trims the partitions of `rows`.
    fn trim(&mut self, keys: &RowKeys, mut rows: Vec<usize>) {
        rows.sort_by(|a, b| keys.partition(*a).cmp(keys.partition(*b)));
        rows.dedup_by(|a, b| keys.partition(*a) == keys.partition(*b));
        for row in rows {
            if let Some(leading) = self.partitions.get_mut(keys.partition(row)) {
                leading.trim(self.limit, self.append_only);
            }
        }
    }

    fn keep(&mut self, batch: RecordBatch) {
        self.batch_bytes += batch.get_array_memory_size();
        self.batches.push(batch);
    }

    /// Sends on what has changed among the first rows.
    fn flush(&mut self, out: &mut Output) -> Result<()> {
        let touched = std::mem::take(&mut self.touched);
        let mut changes = Changes::default();
        let mut writes = Writes::default();
        for name in &touched {
            let Some(mut leading) = self.partitions.remove(name) else { continue };
            self.known_bytes = self.known_bytes.saturating_sub(leading.memory_bytes());
            if let Some(state) = &self.state {
                self.fill(&mut leading, name, &|range, limit| state.scan(range, limit))?;
            }
            self.compare(&leading, &mut changes, &mut writes);
            leading.settle();
            self.known_bytes += leading.memory_bytes();
            self.partitions.insert(name.clone(), leading);
        }
        changes.send(self.state.as_ref(), &self.batches, &self.shown, &self.output, out)?;
        if let Some(state) = self.state.as_mut().filter(|_| self.append_only) {
            writes.apply(state, &self.batches)?;
        }
        self.batches.clear();
        self.batch_bytes = 0;
        self.batch_share.set(0);
        self.gone.clear();
        Ok(())
    }

    /// What counted before the epoch beside what counts now; retractions come first.
    fn compare(&self, leading: &Leading, changes: &mut Changes, writes: &mut Writes) {
        let mut numbering = Numbering::default();
        let mut before = leading.before.iter().flatten().map(|key| (key, numbering.next(key))).peekable();
        let mut now = leading.counting(self.limit).peekable();
        let is_out = |ranks: &Ranks| ranks.row_number > self.offset;
        let mut added: Vec<(&RowKey, Option<Fresh>, Ranks)> = Vec::new();
        loop {
            let order = match (before.peek(), now.peek()) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((old, _)), Some((new, _, _))) => old.cmp(new),
            };
            let old = if order.is_le() { before.next() } else { None };
            let new = if order.is_ge() { now.next() } else { None };
            let gone = old.as_ref().and_then(|(key, _)| self.gone.get(&*key.bytes)).copied();
            let was_out = old.as_ref().is_some_and(|(_, ranks)| is_out(ranks));
            let now_out = new.as_ref().is_some_and(|(_, _, ranks)| is_out(ranks));
            let same = match (&old, &new) {
                (Some((_, old)), Some((_, _, new))) => {
                    gone.is_none() && self.shown.iter().all(|rank| old.of(*rank) == new.of(*rank))
                }
                _ => false,
            };
            match (&old, &new) {
                (Some((key, _)), None) => writes.removed.push(key.bytes.clone()),
                (None, Some((key, Some(fresh), _))) => writes.put.push((key.bytes.clone(), *fresh)),
                _ => {}
            }
            if same && was_out == now_out {
                continue;
            }
            if let Some((key, ranks)) = old.filter(|_| was_out && self.state.is_some()) {
                changes.push(&key.bytes, gone, ranks, -1);
            }
            added.extend(new.filter(|_| now_out));
        }
        for (key, fresh, ranks) in added {
            changes.push(&key.bytes, fresh, ranks, 1);
        }
    }
}

/// Keys that enter the state and leave it, where it holds only the rows that count.
#[derive(Default)]
struct Writes {
    put: Vec<(Arc<[u8]>, Fresh)>,
    removed: Vec<Arc<[u8]>>,
}

impl Writes {
    fn apply(self, state: &mut StateWriter, batches: &[RecordBatch]) -> Result<()> {
        let keys = |keys: &mut dyn Iterator<Item = &Arc<[u8]>>| {
            let mut builder = BinaryBuilder::new();
            keys.for_each(|key| builder.append_value(key));
            builder.finish()
        };
        if !self.removed.is_empty() {
            state.remove(keys(&mut self.removed.iter()));
        }
        if self.put.is_empty() {
            return Ok(());
        }
        let places: Vec<(usize, usize)> =
            self.put.iter().map(|(_, (batch, row))| (*batch as usize + 1, *row as usize)).collect();
        let schema = state.table().schema();
        let none = RecordBatch::new_empty(Arc::clone(&schema));
        let columns = gather(none.columns(), batches, &places)?;
        state.write(keys(&mut self.put.iter().map(|(key, _)| key)), RecordBatch::try_new(schema, columns)?, None)
    }
}

impl StreamOperator for Ranked {
    fn on_chunk(&mut self, _port: usize, chunk: StreamChunk, out: &mut Output) -> Result<()> {
        match self.append_only {
            true => self.grow(&chunk)?,
            false => self.change(&chunk)?,
        }
        self.batch_share.set(self.batch_bytes);
        if self.batch_share.is_over() {
            self.flush(out)?;
        }
        Ok(())
    }

    fn on_watermark(&mut self, _port: usize, watermark: Watermark, _out: &mut Output) -> Result<()> {
        self.held.hear(watermark);
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, out: &mut Output) -> Result<()> {
        self.flush(out).map_err(|e| e.context(self.name.clone()))?;
        if let Some(state) = &mut self.state
            && let Some(first_open) = self.rows.free(state, &self.held)?
        {
            self.partitions.retain(|partition, _| **partition >= *first_open);
            self.known_bytes = self.partitions.values().map(Leading::memory_bytes).sum();
        }
        self.held.send(out);
        Ok(())
    }

    fn seal(&mut self, epoch: Epoch) -> Result<()> {
        if let Some(state) = &mut self.state {
            state.seal(epoch);
        }
        if self.known_bytes > CACHE_BYTES {
            self.partitions = HashMap::new();
            self.known_bytes = 0;
            self.complete = self.state.is_none();
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.known_bytes + self.batch_bytes + self.state.as_ref().map_or(0, StateWriter::open_bytes)
    }
}
