//! The coordinator's hands: timers, channels, commits. One task; everything that changes the running graph passes here.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::coordinator::{Action, Coordinator, Facts};
use super::history::{Checkpoint, History};
use crate::common::clock::{Clock, instant};
use crate::common::{Error, ErrorKind, Result};
use crate::connector::Sink;
use crate::state::{CommitStats, StateStore};
use crate::stream::exchange::EdgeSender;
use crate::stream::pulse::Pulse;
use crate::stream::{Actor, ActorEvent, Barrier, Message, Mutation};
use crate::types::{ActorId, Epoch, JobId, TableId};

/// After a failed commit the next attempt waits this long.
const COMMIT_RETRY: Duration = Duration::from_secs(1);

/// What is due later than this is looked at again meanwhile: the wall clock may be set.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(30);

/// So many operators in a row may leave work to the next barrier: windows of windows.
const SETTLE_ROUNDS: usize = 5;

/// How far the database has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Readers may see it.
    pub complete: Epoch,
    /// It is on disk.
    pub committed: Epoch,
}

/// An actor to be started, with the edges over which it gets barriers from the driver (one a source leaf).
pub struct StartActor {
    pub actor: Actor,
    pub barriers: Vec<EdgeSender>,
}

/// A change of the running graph at one barrier.
#[derive(Default)]
pub struct Change {
    pub start: Vec<StartActor>,
    pub mutation: Mutation,
    pub sinks: Vec<(JobId, Arc<dyn Sink>)>,
    /// Written with the epoch's commit.
    pub meta: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// State that goes with the stopped jobs.
    pub drop_tables: Vec<TableId>,
}

type Reply<T> = oneshot::Sender<Result<T>>;

enum Command {
    /// A barrier from now on, complete.
    Flush(Reply<Epoch>),
    /// The same, and committed.
    Commit(Reply<Epoch>),
    Change(Box<Change>, Reply<Epoch>),
    SetIntervals {
        barrier: Duration,
        checkpoint: Duration,
    },
}

/// Talks to the driver; cheap to clone.
#[derive(Clone)]
pub struct DriverHandle {
    commands: mpsc::UnboundedSender<Command>,
    progress: watch::Receiver<Progress>,
    pulse: Pulse,
    pub history: History,
}

impl DriverHandle {
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Wakes whenever the progress changes.
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Sends a barrier now and waits until its epoch is complete.
    pub async fn flush(&self) -> Result<Epoch> {
        self.ask(Command::Flush).await
    }

    /// As `flush`, and waits until the epoch is on disk.
    pub async fn commit(&self) -> Result<Epoch> {
        self.ask(Command::Commit).await
    }

    /// As `flush`, and goes on until no operator has left work to the next barrier or checkpoint: windows that it closed,
    /// what peers learnt of each other at it. Streams that never rest are not waited for.
    pub async fn settle(&self) -> Result<()> {
        self.flush().await?;
        for _ in 0..SETTLE_ROUNDS {
            if !self.pulse.is_unsettled() {
                break;
            }
            self.commit().await?;
            self.flush().await?;
        }
        Ok(())
    }

    /// Applies the change at the next barrier; returns when its epoch is on disk.
    pub async fn change(&self, change: Change) -> Result<Epoch> {
        self.ask(|reply| Command::Change(Box::new(change), reply)).await
    }

    pub fn set_intervals(&self, barrier: Duration, checkpoint: Duration) {
        let _ = self.commands.send(Command::SetIntervals { barrier, checkpoint });
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let stopped = || Error::new(ErrorKind::AdminShutdown, "the database is shutting down");
        self.commands.send(command(reply)).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// What the driver needs of the database.
pub struct DriverConfig {
    pub store: Arc<StateStore>,
    pub barrier_interval: Duration,
    pub checkpoint_interval: Duration,
    pub clock: Clock,
    pub pulse: Pulse,
    /// Where actors run.
    pub compute: tokio::runtime::Handle,
    /// Told of a failed job at once; says which jobs go down with it and which state goes back to the last commit.
    pub on_failure: Box<dyn Fn(JobId, Error) -> Domain + Send>,
}

/// Jobs that fail together, and their state.
#[derive(Debug, Default)]
pub struct Domain {
    pub jobs: HashSet<JobId>,
    pub tables: Vec<TableId>,
}

struct Running {
    job: JobId,
    barriers: Vec<EdgeSender>,
    task: JoinHandle<()>,
}

type CommitTask = Pin<Box<dyn Future<Output = (Epoch, Result<CommitStats>, Instant)> + Send>>;

/// The task that owns the protocol.
pub struct Driver {
    config: DriverConfig,
    coordinator: Coordinator,
    commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::UnboundedReceiver<ActorEvent>,
    /// Keeps `events` open while no actor runs.
    _event_sender: mpsc::UnboundedSender<ActorEvent>,
    progress: watch::Sender<Progress>,
    history: History,
    actors: HashMap<ActorId, Running>,
    sinks: HashMap<JobId, Arc<dyn Sink>>,
    /// Replies due when the epoch is complete, when it is committed.
    on_complete: Vec<(Epoch, Reply<Epoch>)>,
    on_commit: Vec<(Epoch, Reply<Epoch>)>,
    /// Wait for the next barrier.
    flushes: Vec<(Reply<Epoch>, bool)>,
    changes: Vec<(Box<Change>, Reply<Epoch>)>,
    /// Applied, not yet complete.
    changing: Option<(Epoch, Box<Change>)>,
    /// Goes with the next commit; what is dropped with it.
    meta: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    drop_tables: Vec<TableId>,
    commit: Option<CommitTask>,
    commit_meta: usize,
    last_barrier: Instant,
    last_commit: Instant,
    retry_commit_at: Option<Instant>,
    injected_at: Instant,
    /// The last barrier's now().
    now: i64,
    alignment: Duration,
}

impl Driver {
    /// The driver, the handle to it, and where its actors report.
    pub fn new(config: DriverConfig) -> (Self, DriverHandle, mpsc::UnboundedSender<ActorEvent>) {
        let (command_sender, commands) = mpsc::unbounded_channel();
        let (event_sender, events) = mpsc::unbounded_channel();
        let committed = config.store.committed_epoch();
        let (progress, seen) = watch::channel(Progress { complete: committed, committed });
        let history = History::default();
        let coordinator = Coordinator::new(committed, config.barrier_interval, config.checkpoint_interval);
        let handle = DriverHandle {
            commands: command_sender,
            progress: seen,
            pulse: config.pulse.clone(),
            history: history.clone(),
        };
        let now = instant();
        let driver = Self {
            config,
            coordinator,
            commands,
            events,
            _event_sender: event_sender.clone(),
            progress,
            history,
            actors: HashMap::new(),
            sinks: HashMap::new(),
            on_complete: Vec::new(),
            on_commit: Vec::new(),
            flushes: Vec::new(),
            changes: Vec::new(),
            changing: None,
            meta: Vec::new(),
            drop_tables: Vec::new(),
            commit: None,
            commit_meta: 0,
            last_barrier: now,
            last_commit: now,
            retry_commit_at: None,
            injected_at: now,
            now: i64::MIN,
            alignment: Duration::ZERO,
        };
        (driver, handle, event_sender)
    }

    /// Runs until every handle is gone; then ends all actors.
    pub async fn run(mut self) {
        loop {
            let wait = self.act().await;
            let pulse = self.config.pulse.clone();
            let uncommitted = self.config.store.uncommitted().clone();
            tokio::select! {
                biased;
                event = self.events.recv() => {
                    if let Some(event) = event {
                        self.on_event(event).await;
                    }
                }
                ended = poll_optional(&mut self.commit) => self.on_commit_ended(ended).await,
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                _ = pulse.changed() => {}
                _ = uncommitted.pressed() => {}
                _ = sleep(wait) => {}
            }
        }
        for running in self.actors.values() {
            running.task.abort();
        }
        if let Some(commit) = self.commit.take() {
            let (_, result, _) = commit.await;
            if let Err(e) = result {
                tracing::error!(error = %e, "the last checkpoint failed");
            }
        }
    }

    /// Does all that is due; returns when to look again.
    async fn act(&mut self) -> Option<Duration> {
        loop {
            let now = instant();
            let blocked = self.retry_commit_at.filter(|at| *at > now);
            let facts = Facts {
                dirty: self.config.pulse.is_dirty(),
                due: self.due_in(),
                barrier_wanted: self.config.pulse.is_urgent() || !self.flushes.is_empty() || !self.changes.is_empty(),
                commit_wanted: blocked.is_none() && (!self.on_commit.is_empty() || !self.meta.is_empty()),
                pressed: blocked.is_none() && self.config.store.uncommitted().is_pressed(),
                since_barrier: now - self.last_barrier,
                since_commit: if blocked.is_some() { Duration::ZERO } else { now - self.last_commit },
            };
            match self.coordinator.decide(facts) {
                Action::Inject(epoch) => self.inject(epoch).await,
                Action::Commit(epoch) => self.start_commit(epoch, facts),
                Action::Wait(wait) => {
                    let retry = blocked.map(|at| at - now);
                    return match (wait, retry) {
                        (Some(a), Some(b)) => Some(a.min(b)),
                        (a, b) => a.or(b),
                    };
                }
            }
        }
    }

    /// In how long time alone changes something, as far as the wall clock can be foreseen.
    fn due_in(&self) -> Option<Duration> {
        let left = self.config.pulse.due()?.saturating_sub(self.config.clock.now_micros());
        Some(Duration::from_micros(u64::try_from(left).unwrap_or(0)).min(LOOK_AT_CLOCK))
    }

    async fn inject(&mut self, epoch: Epoch) {
        self.config.pulse.clear();
        self.last_barrier = instant();
        self.injected_at = self.last_barrier;
        self.now = self.now.max(self.config.clock.now_micros());
        let mut barrier = Barrier::new(epoch, self.coordinator.committed(), self.now);
        // One change a barrier, so that each has its own point in the streams.
        if !self.changes.is_empty() {
            let (mut change, reply) = self.changes.remove(0);
            if let Some(job) = self.lost_upstream(&change) {
                let message = format!("the upstream job {job} has just failed and restarts");
                let _ = reply.send(Err(Error::new(ErrorKind::ObjectNotReady, message).with_hint("try again")));
                *change = Change::default();
            } else {
                self.on_commit.push((epoch, reply));
            }
            barrier.mutation = Some(Arc::new(std::mem::take(&mut change.mutation)));
            self.start(&mut change);
            change.mutation.stop = barrier.mutation.as_ref().map(|m| m.stop.clone()).unwrap_or_default();
            self.changing = Some((epoch, change));
        }
        for (reply, durable) in self.flushes.drain(..) {
            if durable { &mut self.on_commit } else { &mut self.on_complete }.push((epoch, reply));
        }
        for running in self.actors.values() {
            for edge in &running.barriers {
                // An actor that is gone has reported its failure.
                let _ = edge.send(Message::Barrier(barrier.clone())).await;
            }
        }
        let complete = self.coordinator.check_complete();
        self.on_complete(complete);
    }

    /// An upstream of the change's jobs that does not run: nobody would send them barriers.
    fn lost_upstream(&self, change: &Change) -> Option<JobId> {
        let runs =
            |job: JobId| self.actors.values().any(|r| r.job == job) || change.start.iter().any(|s| s.actor.job == job);
        change.mutation.attach.keys().map(|(job, _)| *job).find(|job| !runs(*job))
    }

    fn start(&mut self, change: &mut Change) {
        self.sinks.extend(change.sinks.drain(..));
        let mut missing = Vec::new();
        for StartActor { actor, barriers } in change.start.drain(..) {
            let (id, job) = (actor.id, actor.job);
            let task = self.config.compute.spawn(actor.run());
            self.actors.insert(id, Running { job, barriers, task });
            missing.push(id);
        }
        self.coordinator.join(missing);
    }

    async fn on_event(&mut self, event: ActorEvent) {
        match event {
            ActorEvent::Acked { actor, epoch } => {
                let complete = self.coordinator.acked(actor, epoch);
                self.on_complete(complete);
            }
            ActorEvent::Failed { actor, job, error } => {
                // Its peers lose their edges and fail too: only the first one counts.
                if self.actors.contains_key(&actor) {
                    let domain = (self.config.on_failure)(job, error);
                    self.remove(&domain).await;
                }
            }
        }
    }

    fn on_complete(&mut self, epoch: Option<Epoch>) {
        let Some(epoch) = epoch else { return };
        self.alignment = instant() - self.injected_at;
        if let Some((_, change)) = self.changing.take_if(|(at, _)| *at <= epoch) {
            let stopped: HashSet<ActorId> = self
                .actors
                .iter()
                .filter(|(_, running)| change.mutation.stop.contains(&running.job))
                .map(|(id, _)| *id)
                .collect();
            self.actors.retain(|id, _| !stopped.contains(id));
            self.sinks.retain(|job, _| !change.mutation.stop.contains(job));
            self.coordinator.remove(&stopped);
            self.meta.extend(change.meta);
            self.drop_tables.extend(change.drop_tables);
        }
        self.progress.send_modify(|p| p.complete = epoch);
        answer(&mut self.on_complete, epoch);
    }

    fn start_commit(&mut self, epoch: Epoch, facts: Facts) {
        for table in self.drop_tables.drain(..) {
            self.config.store.drop_table(table);
        }
        let store = self.config.store.clone();
        let meta = self.meta.clone();
        self.commit_meta = meta.len();
        let sinks: Vec<_> = self.sinks.values().cloned().collect();
        let started = instant();
        let trigger = match facts {
            Facts { commit_wanted: true, .. } => "request",
            Facts { pressed: true, .. } => "memory",
            _ => "interval",
        };
        let (history, clock) = (self.history.clone(), self.config.clock.clone());
        let alignment_micros = self.alignment.as_micros() as i64;
        let task = tokio::task::spawn_blocking(move || {
            let started_at = clock.now_micros();
            let result = store.commit(epoch, &meta);
            let stats = result.as_ref().copied().unwrap_or_default();
            history.push(Checkpoint {
                epoch,
                trigger,
                started_at,
                alignment_micros,
                commit_micros: started.elapsed().as_micros() as i64,
                rows: stats.rows,
                pages: stats.pages,
                bytes: stats.bytes,
                error: result.as_ref().err().map(Error::to_string),
            });
            if result.is_ok() {
                for sink in sinks {
                    if let Err(e) = sink.commit(epoch) {
                        tracing::error!(epoch = epoch.0, error = %e, "a sink could not publish; it is tried again");
                    }
                }
            }
            result
        });
        self.commit = Some(Box::pin(async move {
            let result = task.await.unwrap_or_else(|e| Err(Error::internal(format!("the commit ended: {e}"))));
            (epoch, result, started)
        }));
    }

    async fn on_commit_ended(&mut self, (epoch, result, started): (Epoch, Result<CommitStats>, Instant)) {
        self.commit = None;
        self.coordinator.commit_ended(result.is_ok());
        match result {
            Ok(_) => {
                self.retry_commit_at = None;
                // The interval is from start to start.
                self.last_commit = started;
                self.meta.drain(..self.commit_meta);
                self.progress.send_modify(|p| p.committed = epoch);
                answer(&mut self.on_commit, epoch);
            }
            Err(e) => {
                tracing::error!(epoch = epoch.0, error = %e, "checkpoint failed; it is tried again");
                self.retry_commit_at = Some(instant() + COMMIT_RETRY);
                for (_, reply) in self.on_commit.extract_if(.., |(at, _)| *at <= epoch) {
                    let hint = "it takes effect as soon as a checkpoint succeeds";
                    let _ = reply.send(Err(e.clone().context("not on disk yet").with_hint(hint)));
                }
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Flush(reply) => self.flushes.push((reply, false)),
            Command::Commit(reply) => self.flushes.push((reply, true)),
            Command::Change(change, reply) => self.changes.push((change, reply)),
            Command::SetIntervals { barrier, checkpoint } => self.coordinator.set_intervals(barrier, checkpoint),
        }
    }

    /// Takes a failed domain out at once: its actors end, what they sealed after the last commit is forgotten.
    async fn remove(&mut self, domain: &Domain) {
        let gone: HashSet<ActorId> =
            self.actors.iter().filter(|(_, r)| domain.jobs.contains(&r.job)).map(|(id, _)| *id).collect();
        for id in &gone {
            if let Some(running) = self.actors.remove(id) {
                running.task.abort();
                // Nothing may be sealed after the state is put back.
                let _ = running.task.await;
            }
        }
        if let Some(commit) = self.commit.take() {
            let ended = commit.await;
            self.on_commit_ended(ended).await;
        }
        self.config.store.discard(&domain.tables);
        let committed = self.coordinator.committed();
        for job in &domain.jobs {
            if let Some(sink) = self.sinks.remove(job)
                && let Err(e) = sink.recover(committed)
            {
                tracing::error!(job = job.0, error = %e, "a sink could not be taken back; it is tried at the restart");
            }
        }
        let complete = self.coordinator.remove(&gone);
        self.on_complete(complete);
    }
}

/// Answers everything that waits for `epoch` or an earlier one.
fn answer(waiting: &mut Vec<(Epoch, Reply<Epoch>)>, epoch: Epoch) {
    for (_, reply) in waiting.extract_if(.., |(at, _)| *at <= epoch) {
        let _ = reply.send(Ok(epoch));
    }
}

async fn poll_optional(task: &mut Option<CommitTask>) -> (Epoch, Result<CommitStats>, Instant) {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}
