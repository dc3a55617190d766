//! The actor loop: the one place that knows the protocol.
//!
//! ```text
//! channels --align--> pipeline --> dispatcher
//!                        |
//! barrier n, from all inputs: operators emit what is left, seal n, forward n, ack n
//! ```

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use tokio::sync::{Notify, mpsc};

use super::align::{Aligner, WatermarkMerge};
use super::backfill::Backfill;
use super::dispatch::Dispatcher;
use super::exchange::{Disconnected, EdgeReceiver};
use super::message::{ActorEvent, Barrier, Message, Watermark};
use super::operator::Emitted;
use super::pipeline::{Entry, OperatorStats, Pipeline};
use super::pulse::Pulse;
use super::source::{Next, SharedSource};
use super::values::ValuesLeaf;
use crate::common::clock::instant;
use crate::common::{Error, Result};
use crate::connector::{Decoder, Unit};
use crate::state::{StateWriter, Uncommitted};
use crate::types::{ActorId, Epoch, JobId, key, time};

/// One parallel instance of a fragment.
pub struct Actor {
    pub id: ActorId,
    pub job: JobId,
    pub leaves: Vec<Leaf>,
    pub pipeline: Pipeline,
    pub dispatcher: Dispatcher,
    /// The root materializes: readers of other jobs may attach.
    pub materializes: bool,
    pub events: mpsc::UnboundedSender<ActorEvent>,
    pub pulse: Pulse,
    /// While it is full, sources and scans wait for a commit.
    pub uncommitted: Arc<Uncommitted>,
    pub waiting_for_room: Option<Waiting>,
}

/// A wait that the actor polls beside its channels.
pub type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where rows enter the fragment.
pub struct Leaf {
    pub entry: Entry,
    /// From the actors of the fragment below; for a source, from the coordinator.
    pub channels: Vec<EdgeReceiver>,
    pub merge: WatermarkMerge,
    pub kind: LeafKind,
    /// Of the rows that enter.
    pub schema: SchemaRef,
}

pub enum LeafKind {
    Exchange,
    Source(Box<SourceLeaf>),
    Scan(Box<Backfill>),
    Values(Box<ValuesLeaf>),
}

/// A source as one actor has it.
pub struct SourceLeaf {
    pub name: String,
    pub source: Arc<SharedSource>,
    pub decoder: Box<dyn Decoder>,
    /// Only the first actor stores the position.
    pub offsets: Option<StateWriter>,
    pub stats: Arc<OperatorStats>,
    /// The last barrier met; 0 before the first.
    epoch: Epoch,
    ended: bool,
    waiting: Option<Waiting>,
}

/// One row: `position`.
pub fn offsets_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("position", DataType::Utf8, false)]))
}

/// The key of that row.
pub fn offsets_key() -> Result<crate::types::Keys> {
    let zero: ArrayRef = Arc::new(Int64Array::from(vec![0]));
    key::encode(&[zero], 1)
}

impl SourceLeaf {
    pub fn new(
        name: String,
        source: Arc<SharedSource>,
        decoder: Box<dyn Decoder>,
        offsets: Option<StateWriter>,
        stats: Arc<OperatorStats>,
    ) -> Self {
        Self { name, source, decoder, offsets, stats, epoch: Epoch(0), ended: false, waiting: None }
    }

    /// Asks the reader; `None` when nothing is there until the stored future, or a barrier, wakes the actor.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Result<Option<Next>> {
        // Readers of the job attach at its first barrier: what is read before would pass them by.
        if self.ended || self.epoch == Epoch(0) {
            return Ok(None);
        }
        if let Some(waiting) = &mut self.waiting {
            if waiting.as_mut().poll(cx).is_pending() {
                return Ok(None);
            }
            self.waiting = None;
        }
        loop {
            match self.source.next(self.epoch)? {
                Next::Barrier => return Ok(None),
                Next::Wait(after, notify) => {
                    let listening = notify.is_some();
                    let mut waiting = wait(after, notify);
                    if waiting.as_mut().poll(cx).is_ready() {
                        continue;
                    }
                    // Only now is the listener in place: ask once more, so that no wake-up is lost.
                    if listening && let next @ (Next::Unit(_) | Next::End) = self.source.next(self.epoch)? {
                        return Ok(Some(next));
                    }
                    self.waiting = Some(waiting);
                    return Ok(None);
                }
                next => return Ok(Some(next)),
            }
        }
    }

    fn store_position(&mut self, epoch: Epoch) -> Result<()> {
        let position = self.source.cut(epoch);
        self.epoch = epoch;
        if let Some(offsets) = &mut self.offsets {
            let column: ArrayRef = Arc::new(StringArray::from(vec![position]));
            offsets.write(offsets_key()?, RecordBatch::try_new(offsets_schema(), vec![column])?, None)?;
            offsets.seal(epoch);
        }
        Ok(())
    }
}

fn wait(after: Duration, notify: Option<Arc<Notify>>) -> Waiting {
    Box::pin(async move {
        match notify {
            Some(notify) => {
                let _ = tokio::time::timeout(after, notify.notified()).await;
            }
            None => tokio::time::sleep(after).await,
        }
    })
}

/// What the loop does next.
enum Turn {
    Message { leaf: usize, channel: usize, message: Message },
    Unit { leaf: usize, unit: Unit },
    SourceEnded { leaf: usize },
    Scan { leaf: usize },
    Values { leaf: usize },
}

impl Actor {
    /// Runs until a barrier stops the job. An error is reported as [`ActorEvent::Failed`].
    pub async fn run(mut self) {
        if let Err(error) = self.run_to_end().await {
            // A coordinator that is gone has nobody to tell.
            let _ = self.events.send(ActorEvent::Failed { actor: self.id, job: self.job, error });
        }
    }

    async fn run_to_end(&mut self) -> Result<()> {
        let channels: usize = self.leaves.iter().map(|l| l.channels.len()).sum();
        let mut aligner = Aligner::new(channels);
        let mut first = 0;
        loop {
            first = (first + 1) % channels.max(1);
            match poll_fn(|cx| self.poll_turn(cx, &aligner, first)).await? {
                Turn::Message { leaf, channel, message: Message::Barrier(barrier) } => {
                    let input = self.input(leaf, channel);
                    if let Some(barrier) = aligner.barrier(input, barrier)? {
                        self.end_epoch(&barrier).await?;
                        if barrier.stops(self.job) {
                            return Ok(());
                        }
                    }
                }
                Turn::Message { leaf, channel, message } => self.take(leaf, channel, message)?,
                Turn::Unit { leaf, unit } => {
                    self.decode(leaf, unit)?;
                    // Reading and decoding never wait by themselves: let the worker serve others.
                    tokio::task::yield_now().await;
                }
                Turn::SourceEnded { leaf } => self.end_input(leaf)?,
                Turn::Values { leaf } => self.send_values(leaf)?,
                Turn::Scan { leaf } => {
                    self.scan(leaf)?;
                    tokio::task::yield_now().await;
                }
            }
            self.pass_on().await?;
        }
    }

    /// The number of a channel among all channels of the actor.
    fn input(&self, leaf: usize, channel: usize) -> usize {
        self.leaves[..leaf].iter().map(|l| l.channels.len()).sum::<usize>() + channel
    }

    /// Messages first, so that barriers are not late; then the actor's own reading. `first` turns the order round.
    fn poll_turn(&mut self, cx: &mut Context<'_>, aligner: &Aligner, first: usize) -> Poll<Result<Turn>> {
        let total: usize = self.leaves.iter().map(|l| l.channels.len()).sum();
        for pass in 0..2 {
            let mut input = 0;
            for (leaf_index, leaf) in self.leaves.iter_mut().enumerate() {
                for (channel, receiver) in leaf.channels.iter_mut().enumerate() {
                    let now = (pass == 0) == (input >= first.min(total));
                    if now
                        && aligner.is_open(input)
                        && let Poll::Ready(received) = receiver.poll_recv(cx)
                    {
                        let message = received.map_err(|Disconnected| Error::internal("an upstream actor is gone"))?;
                        return Poll::Ready(Ok(Turn::Message { leaf: leaf_index, channel, message }));
                    }
                    input += 1;
                }
            }
        }
        if !self.poll_room(cx) {
            return Poll::Pending;
        }
        let mut input = 0;
        for (leaf_index, leaf) in self.leaves.iter_mut().enumerate() {
            let open = aligner.is_open(input);
            input += leaf.channels.len();
            match &mut leaf.kind {
                LeafKind::Source(source) if open => match source.poll_next(cx)? {
                    Some(Next::Unit(unit)) => return Poll::Ready(Ok(Turn::Unit { leaf: leaf_index, unit })),
                    Some(Next::End) => {
                        source.ended = true;
                        return Poll::Ready(Ok(Turn::SourceEnded { leaf: leaf_index }));
                    }
                    _ => {}
                },
                LeafKind::Scan(backfill) if backfill.wants_to_scan() => {
                    return Poll::Ready(Ok(Turn::Scan { leaf: leaf_index }));
                }
                LeafKind::Values(values) if open && values.is_due() => {
                    return Poll::Ready(Ok(Turn::Values { leaf: leaf_index }));
                }
                _ => {}
            }
        }
        Poll::Pending
    }

    /// Whether there is room for what sources and scans would bring; if not, the actor is woken when there is.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> bool {
        if self.waiting_for_room.is_none() && !self.uncommitted.is_full() {
            return true;
        }
        let waiting = self.waiting_for_room.get_or_insert_with(|| Box::pin(Arc::clone(&self.uncommitted).room()));
        let room = waiting.as_mut().poll(cx).is_ready();
        if room {
            self.waiting_for_room = None;
        }
        room
    }

    fn take(&mut self, leaf: usize, channel: usize, message: Message) -> Result<()> {
        let leaf = &mut self.leaves[leaf];
        match message {
            Message::Chunk(chunk) => {
                let chunk = match &mut leaf.kind {
                    LeafKind::Scan(backfill) => backfill.change(chunk)?,
                    _ => Some(chunk),
                };
                chunk.map_or(Ok(()), |chunk| self.pipeline.chunk(leaf.entry, chunk))
            }
            Message::Watermark(watermark) => {
                let mut merged = leaf.merge.merge(channel, watermark);
                if let LeafKind::Scan(backfill) = &mut leaf.kind {
                    merged = merged.and_then(|w| backfill.watermark(w));
                }
                merged.map_or(Ok(()), |watermark| self.pipeline.watermark(leaf.entry, watermark))
            }
            Message::Barrier(_) => Ok(()),
        }
    }

    fn decode(&mut self, leaf: usize, unit: Unit) -> Result<()> {
        let leaf = &mut self.leaves[leaf];
        let LeafKind::Source(source) = &mut leaf.kind else { return Ok(()) };
        self.pulse.mark();
        let started = instant();
        let decoded = source.decoder.decode(unit)?;
        let rows = decoded.chunks.iter().map(|c| c.num_rows() as u64).sum();
        source.stats.busy_nanos.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
        source.stats.rows_out.fetch_add(rows, Ordering::Relaxed);
        source.source.count(rows, decoded.dead_letters.len() as u64);
        self.pipeline.letters.dead_letters(&source.name, &decoded.dead_letters)?;
        for chunk in decoded.chunks {
            self.pipeline.chunk(leaf.entry, chunk)?;
        }
        Ok(())
    }

    /// No further row: every time column's watermark goes to the end of time.
    fn end_input(&mut self, leaf: usize) -> Result<()> {
        let leaf = &mut self.leaves[leaf];
        for (column, field) in leaf.schema.fields().iter().enumerate() {
            if matches!(field.data_type(), DataType::Timestamp(_, _)) {
                self.pipeline.watermark(leaf.entry, Watermark { column, micros: time::END_OF_TIME })?;
            }
        }
        self.pulse.urge();
        Ok(())
    }

    fn send_values(&mut self, index: usize) -> Result<()> {
        let leaf = &mut self.leaves[index];
        let LeafKind::Values(values) = &mut leaf.kind else { return Ok(()) };
        self.pulse.mark();
        if let Some(chunk) = values.send() {
            self.pipeline.chunk(leaf.entry, chunk)?;
        }
        self.end_input(index)
    }

    fn scan(&mut self, leaf: usize) -> Result<()> {
        let leaf = &mut self.leaves[leaf];
        let LeafKind::Scan(backfill) = &mut leaf.kind else { return Ok(()) };
        self.pulse.mark();
        for chunk in backfill.step()? {
            self.pipeline.chunk(leaf.entry, chunk)?;
        }
        if !backfill.wants_to_scan() {
            self.pulse.urge();
        }
        Ok(())
    }

    /// All inputs have delivered the barrier.
    async fn end_epoch(&mut self, barrier: &Barrier) -> Result<()> {
        for leaf in &mut self.leaves {
            match &mut leaf.kind {
                LeafKind::Source(source) => source.store_position(barrier.epoch)?,
                LeafKind::Values(values) => values.barrier(barrier.epoch)?,
                LeafKind::Scan(backfill) => {
                    let (chunks, watermarks) = backfill.barrier(barrier.epoch)?;
                    for chunk in chunks {
                        self.pipeline.chunk(leaf.entry, chunk)?;
                    }
                    for watermark in watermarks {
                        self.pipeline.watermark(leaf.entry, watermark)?;
                    }
                }
                LeafKind::Exchange => {}
            }
        }
        self.pipeline.barrier(barrier)?;
        if std::mem::take(&mut self.pipeline.unsettled) {
            self.pulse.unsettle();
        }
        if let Some(due) = self.pipeline.due.take() {
            self.pulse.call_at(due);
        }
        self.pass_on().await?;
        self.dispatcher.barrier(barrier, self.materializes).await?;
        let _ = self.events.send(ActorEvent::Acked { actor: self.id, epoch: barrier.epoch });
        Ok(())
    }

    async fn pass_on(&mut self) -> Result<()> {
        for emitted in std::mem::take(&mut self.pipeline.output) {
            match emitted {
                Emitted::Chunk(chunk) => self.dispatcher.chunk(chunk).await?,
                Emitted::Watermark(watermark) => self.dispatcher.watermark(watermark).await?,
            }
        }
        Ok(())
    }
}
