//! All streaming jobs of the database and what becomes of them.
//!
//! Jobs that share tables form one failure domain: an error takes the domain back to the last checkpoint, with back-off.
//! A job that keeps failing is marked `failed`, with its readers; the rest of its domain goes on without it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::build::{Built, Handles, JobEnv};
use crate::checkpoint::{Change, Domain, DriverHandle};
use crate::common::clock::instant;
use crate::common::{Error, ErrorKind, Result};
use crate::plan::FragmentGraph;
use crate::stream::Mutation;
use crate::types::{JobId, TableId};

/// Failures in a row after which a job is marked failed, and how long it must run for the count to start anew.
const MAX_FAILURES: u32 = 4;
const SOUND_AFTER: Duration = Duration::from_secs(60);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const BACKFILL_LOOK: Duration = Duration::from_millis(500);

/// A job as the catalog has it.
#[derive(Debug, Clone)]
pub struct JobSpec {
    pub id: JobId,
    pub name: String,
    /// `table`, `materialized view` or `sink`.
    pub kind: &'static str,
    pub graph: FragmentGraph,
}

#[derive(Debug, Clone)]
pub enum JobState {
    Running,
    Restarting,
    Failed(Error),
}

impl JobState {
    /// As in `weir.jobs`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Failed(_) => "failed",
        }
    }
}

/// For `weir.jobs`.
#[derive(Clone)]
pub struct JobStatus {
    pub spec: Arc<JobSpec>,
    pub state: JobState,
    pub handles: Handles,
    pub failures: u32,
    pub last_error: Option<Error>,
}

struct Job {
    spec: Arc<JobSpec>,
    state: JobState,
    handles: Handles,
    failures: u32,
    started: Instant,
    last_error: Option<Error>,
}

impl Job {
    fn status(&self) -> JobStatus {
        JobStatus {
            spec: self.spec.clone(),
            state: self.state.clone(),
            handles: self.handles.clone(),
            failures: self.failures,
            last_error: self.last_error.clone(),
        }
    }
}

type MetaWrites = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// The jobs as the manager and the checkpoint driver share them.
#[derive(Clone, Default)]
pub struct Jobs(Arc<Mutex<HashMap<JobId, Job>>>);

/// Owns the jobs. One change at a time.
pub struct JobManager {
    env: JobEnv,
    driver: DriverHandle,
    jobs: Jobs,
    changing: tokio::sync::Mutex<()>,
}

impl JobManager {
    pub fn new(env: JobEnv, driver: DriverHandle, jobs: Jobs) -> Arc<Self> {
        Arc::new(Self { env, driver, jobs, changing: tokio::sync::Mutex::new(()) })
    }

    pub fn env(&self) -> &JobEnv {
        &self.env
    }

    /// Starts a new job; `meta` is written with its first checkpoint. Returns when that is on disk.
    pub async fn create(&self, spec: JobSpec, meta: MetaWrites) -> Result<()> {
        let _guard = self.changing.lock().await;
        let spec = Arc::new(spec);
        for upstream in &spec.graph.upstreams {
            self.check_running(*upstream)?;
        }
        let id = spec.id;
        let mut change = Change { meta, ..Default::default() };
        self.prepare(std::slice::from_ref(&spec), &mut change)?;
        let changed = self.driver.change(change).await;
        if matches!(&changed, Err(e) if e.kind() == ErrorKind::ObjectNotReady) {
            // Refused: it never started.
            self.jobs.0.lock().remove(&id);
        }
        changed.map(|_| ())
    }

    /// Stops the jobs of `specs`, all that share tables with them and those of `dropped` at a barrier; with the checkpoint of
    /// its epoch `meta` is written. Then all but the dropped start again from there, those of `specs` as these say.
    /// `widened` are state tables whose rows get further columns.
    ///
    /// # Errors
    /// `ObjectNotReady`, with nothing done, when one of them does not run.
    pub async fn rebuild(
        &self,
        specs: Vec<JobSpec>,
        dropped: &[JobId],
        widened: Vec<(TableId, SchemaRef)>,
        mut meta: MetaWrites,
    ) -> Result<()> {
        let _guard = self.changing.lock().await;
        let new: HashMap<JobId, Arc<JobSpec>> = specs.into_iter().map(|s| (s.id, Arc::new(s))).collect();
        meta.extend(dropped.iter().map(|id| (left_behind_key(*id), None)));
        let mut stop: HashSet<JobId> = dropped.iter().copied().collect();
        for (id, spec) in &new {
            for runs in spec.graph.upstreams.iter().chain([id]) {
                self.check_running(*runs)?;
            }
            stop.extend(domain(&self.jobs.0.lock(), *id));
        }
        let drop_tables = {
            let jobs = self.jobs.0.lock();
            let dropped = dropped.iter().filter_map(|id| jobs.get(id)).flat_map(|j| tables_of(&j.spec.graph));
            // What a table no longer keeps for a sink.
            let fewer = new.values().filter_map(|spec| jobs.get(&spec.id).map(|job| (job, tables_of(&spec.graph))));
            let fewer = fewer.flat_map(|(job, kept)| {
                tables_of(&job.spec.graph).into_iter().filter(move |table| !kept.contains(table))
            });
            dropped.chain(fewer).collect()
        };
        let mutation = Mutation { stop: stop.clone(), ..Default::default() };
        self.driver.change(Change { mutation, meta, drop_tables, ..Default::default() }).await?;
        let specs: Vec<Arc<JobSpec>> = {
            let mut jobs = self.jobs.0.lock();
            for id in dropped {
                jobs.remove(id);
            }
            let mut again = Vec::new();
            for id in &stop {
                let Some(job) = jobs.get_mut(id) else { continue };
                if let Some(spec) = new.get(id) {
                    job.spec = spec.clone();
                }
                if !matches!(job.state, JobState::Failed(_)) {
                    job.state = JobState::Restarting;
                    again.push(job.spec.clone());
                }
            }
            again
        };
        for (table, schema) in widened {
            self.env.store.widen(table, schema)?;
        }
        self.start_again(specs).await
    }

    /// Writes `meta` alone: for objects that do not run.
    pub async fn write_meta(&self, meta: MetaWrites, drop_tables: Vec<TableId>) -> Result<()> {
        let _guard = self.changing.lock().await;
        self.driver.change(Change { meta, drop_tables, ..Default::default() }).await.map(|_| ())
    }

    /// Stops the jobs and frees their state with the checkpoint that writes `meta`.
    pub async fn drop_jobs(&self, ids: &[JobId], mut meta: MetaWrites) -> Result<()> {
        let _guard = self.changing.lock().await;
        meta.extend(ids.iter().map(|id| (left_behind_key(*id), None)));
        let dropped: Vec<Job> = {
            let mut jobs = self.jobs.0.lock();
            ids.iter().filter_map(|id| jobs.remove(id)).collect()
        };
        let mutation = Mutation { stop: ids.iter().copied().collect(), ..Default::default() };
        let drop_tables = dropped.iter().flat_map(|j| tables_of(&j.spec.graph)).collect();
        self.driver.change(Change { mutation, meta, drop_tables, ..Default::default() }).await.map(|_| ())
    }

    /// Shows a job under another name from now on.
    pub fn rename(&self, id: JobId, name: &str) {
        if let Some(job) = self.jobs.0.lock().get_mut(&id) {
            Arc::make_mut(&mut job.spec).name = name.to_string();
        }
    }

    /// Starts all jobs of the catalog, upstream ones first, from the committed epoch.
    pub async fn recover(&self, specs: Vec<JobSpec>) -> Result<()> {
        let _guard = self.changing.lock().await;
        if specs.is_empty() {
            return Ok(());
        }
        let specs = upstream_first(specs.into_iter().map(Arc::new).collect());
        let mut change = Change::default();
        for spec in &specs {
            if let Some(error) = self.left_behind(spec)? {
                self.insert(
                    spec.clone(),
                    JobState::Failed(error.clone()),
                    Handles::default(),
                    MAX_FAILURES,
                    Some(error),
                );
                continue;
            }
            // A job that cannot be built (its file is gone, say) is failed; the others run.
            if let Err(e) = self.prepare(std::slice::from_ref(spec), &mut change) {
                tracing::error!(job = %spec.name, error = %e, "the job cannot start");
                self.insert(spec.clone(), JobState::Failed(e.clone()), Handles::default(), 0, Some(e));
            }
        }
        self.leave_behind(&mut change)?;
        self.driver.change(change).await.map(|_| ())
    }

    /// Adds to `change`, which lets upstream jobs go on, that their failed readers do not: what is committed from then on
    /// has passed them by, and no restart may take them up again.
    fn leave_behind(&self, change: &mut Change) -> Result<()> {
        let jobs = self.jobs.0.lock();
        for job in jobs.values() {
            let JobState::Failed(error) = &job.state else { continue };
            let runs = |id: &JobId| jobs.get(id).is_some_and(|j| matches!(j.state, JobState::Running));
            if job.spec.graph.upstreams.iter().any(runs) && self.left_behind(&job.spec)?.is_none() {
                change.meta.push((left_behind_key(job.spec.id), Some(error.message().into())));
            }
        }
        Ok(())
    }

    /// Why the job failed, when its upstream jobs have gone on without it.
    fn left_behind(&self, spec: &JobSpec) -> Result<Option<Error>> {
        let Some(message) = self.env.store.meta(&left_behind_key(spec.id))? else { return Ok(None) };
        let message = String::from_utf8_lossy(&message).into_owned();
        Ok(Some(Error::new(ErrorKind::ObjectNotReady, message)))
    }

    /// Builds jobs into `change` and registers them as running.
    fn prepare(&self, specs: &[Arc<JobSpec>], change: &mut Change) -> Result<()> {
        for spec in specs {
            let mut upstreams = HashMap::new();
            for upstream in &spec.graph.upstreams {
                upstreams.insert(*upstream, self.check_running(*upstream)?);
            }
            let Built { start, attach, sinks, handles } = self.env.build(spec.id, &spec.graph, &upstreams)?;
            change.start.extend(start);
            for (place, outlets) in attach {
                change.mutation.attach.entry(place).or_default().extend(outlets);
            }
            change.sinks.extend(sinks);
            let (failures, error) = {
                let jobs = self.jobs.0.lock();
                jobs.get(&spec.id).map_or((0, None), |j| (j.failures, j.last_error.clone()))
            };
            self.insert(spec.clone(), JobState::Running, handles, failures, error);
        }
        Ok(())
    }

    fn insert(&self, spec: Arc<JobSpec>, state: JobState, handles: Handles, failures: u32, last_error: Option<Error>) {
        let job = Job { spec: spec.clone(), state, handles, failures, started: instant(), last_error };
        self.jobs.0.lock().insert(spec.id, job);
    }

    /// The number of actors that materialize the job, when it runs.
    fn check_running(&self, id: JobId) -> Result<usize> {
        let jobs = self.jobs.0.lock();
        let job = jobs.get(&id).ok_or_else(|| Error::internal(format!("job {id} does not run")))?;
        if let JobState::Restarting = &job.state {
            let message = format!("{} {} restarts after an error", job.spec.kind, job.spec.name);
            return Err(Error::new(ErrorKind::ObjectNotReady, message).with_hint("try again; see weir.jobs"));
        }
        if let JobState::Failed(e) = &job.state {
            return Err(Error::new(
                ErrorKind::ObjectNotReady,
                format!("{} {} has failed: {}", job.spec.kind, job.spec.name, e.message()),
            )
            .with_hint(format!("see weir.jobs; drop and create it again: DROP {}", job.spec.kind.to_uppercase())));
        }
        let root = job.spec.graph.fragments.last();
        root.map(|f| self.env.actors_of(&job.spec.graph, f))
            .ok_or_else(|| Error::corrupted(format!("job {id} has no fragments")))
    }

    pub fn status(&self) -> Vec<JobStatus> {
        let mut all: Vec<JobStatus> = self.jobs.0.lock().values().map(Job::status).collect();
        all.sort_by_key(|j| j.spec.id);
        all
    }

    pub fn status_of(&self, id: JobId) -> Option<JobStatus> {
        self.jobs.0.lock().get(&id).map(Job::status)
    }

    /// The watch handles of one job.
    pub fn handles(&self, id: JobId) -> Option<Handles> {
        self.jobs.0.lock().get(&id).map(|j| j.handles.clone())
    }

    /// The error of a job that is marked failed.
    pub fn failure(&self, id: JobId) -> Option<Error> {
        match &self.jobs.0.lock().get(&id)?.state {
            JobState::Failed(e) => Some(e.clone()),
            _ => None,
        }
    }

    /// Waits until the job has read all that its upstreams held when it was created.
    pub async fn wait_backfilled(&self, id: JobId) -> Result<()> {
        loop {
            if let Some(e) = self.failure(id) {
                return Err(e);
            }
            let Some(handles) = self.handles(id) else {
                return Err(Error::new(ErrorKind::QueryCanceled, "the object was dropped while it was created"));
            };
            let ended = handles.backfill.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if handles.backfill.running.load(Ordering::SeqCst) == 0 {
                return self.driver.flush().await.map(|_| ());
            }
            // A failed job gets other handles: look again from time to time.
            let _ = tokio::time::timeout(BACKFILL_LOOK, ended).await;
        }
    }

    /// Restarts what has failed until the driver is gone.
    pub async fn supervise(self: Arc<Self>, mut failed: mpsc::UnboundedReceiver<FailedDomain>) {
        while let Some(domain) = failed.recv().await {
            tokio::time::sleep(domain.backoff).await;
            if let Err(e) = self.restart(domain.jobs).await {
                tracing::error!(error = %e, "the failed jobs could not be restarted");
            }
        }
    }

    async fn restart(&self, domain: HashSet<JobId>) -> Result<()> {
        let _guard = self.changing.lock().await;
        let specs: Vec<Arc<JobSpec>> = {
            let jobs = self.jobs.0.lock();
            let back = domain.iter().filter_map(|id| jobs.get(id));
            back.filter(|j| matches!(j.state, JobState::Restarting)).map(|j| j.spec.clone()).collect()
        };
        self.start_again(specs).await
    }

    /// Starts jobs from the last checkpoint, upstream ones first; one that cannot be built has failed.
    async fn start_again(&self, specs: Vec<Arc<JobSpec>>) -> Result<()> {
        let mut change = Change::default();
        for spec in upstream_first(specs) {
            if let Err(e) = self.prepare(std::slice::from_ref(&spec), &mut change) {
                self.insert(spec, JobState::Failed(e.clone()), Handles::default(), MAX_FAILURES, Some(e));
            }
        }
        self.leave_behind(&mut change)?;
        self.driver.change(change).await.map(|_| ())
    }
}

/// Jobs that are down and wait for their restart.
#[derive(Debug)]
pub struct FailedDomain {
    pub jobs: HashSet<JobId>,
    pub backoff: Duration,
}

impl Jobs {
    /// Marks the failed job and its domain. Returns what goes down and how long to wait before it comes back.
    pub fn fail(&self, failed: JobId, error: Error) -> (Domain, FailedDomain) {
        let mut jobs = self.0.lock();
        let domain = domain(&jobs, failed);
        let mut failures = 1;
        if let Some(job) = jobs.get_mut(&failed) {
            if job.started.elapsed() > SOUND_AFTER {
                job.failures = 0;
            }
            job.failures += 1;
            job.last_error = Some(error.clone());
            if error.is_lasting() {
                job.failures = MAX_FAILURES;
            }
            failures = job.failures;
            tracing::error!(job = %job.spec.name, failures, error = %error, "the job failed");
        }
        for id in &domain {
            if let Some(job) = jobs.get_mut(id) {
                job.state = JobState::Restarting;
            }
        }
        if failures >= MAX_FAILURES {
            for id in readers_of(&jobs, failed) {
                if let Some(job) = jobs.get_mut(&id) {
                    job.state = JobState::Failed(error.clone());
                    job.last_error = Some(error.clone());
                }
            }
        }
        let tables = domain.iter().filter_map(|id| jobs.get(id)).flat_map(|j| tables_of(&j.spec.graph)).collect();
        let backoff = FIRST_BACKOFF * 2u32.pow(failures.min(MAX_FAILURES) - 1);
        (Domain { jobs: domain.clone(), tables }, FailedDomain { jobs: domain, backoff })
    }
}

/// All jobs that run and share tables with `job`, directly or through others.
fn domain(jobs: &HashMap<JobId, Job>, job: JobId) -> HashSet<JobId> {
    let mut domain = HashSet::from([job]);
    loop {
        let before = domain.len();
        for (id, other) in jobs.iter().filter(|(_, j)| !matches!(j.state, JobState::Failed(_))) {
            let upstreams = &other.spec.graph.upstreams;
            if domain.contains(id) || upstreams.iter().any(|u| domain.contains(u)) {
                domain.insert(*id);
                domain.extend(upstreams.iter().filter(|u| jobs.contains_key(u)));
            }
        }
        if domain.len() == before {
            return domain;
        }
    }
}

/// The job and everything that reads it.
fn readers_of(jobs: &HashMap<JobId, Job>, job: JobId) -> HashSet<JobId> {
    let mut readers = HashSet::from([job]);
    loop {
        let before = readers.len();
        for (id, other) in jobs {
            if other.spec.graph.upstreams.iter().any(|u| readers.contains(u)) {
                readers.insert(*id);
            }
        }
        if readers.len() == before {
            return readers;
        }
    }
}

/// In an order in which each comes after those that it reads, else by age.
fn upstream_first(mut specs: Vec<Arc<JobSpec>>) -> Vec<Arc<JobSpec>> {
    specs.sort_by_key(|s| s.id);
    let mut ordered = Vec::with_capacity(specs.len());
    while !specs.is_empty() {
        let waits = |spec: &Arc<JobSpec>| spec.graph.upstreams.iter().any(|id| specs.iter().any(|s| s.id == *id));
        // No job reads itself, over whichever others: there is always one.
        let next = specs.iter().position(|s| !waits(s)).unwrap_or_default();
        ordered.push(specs.remove(next));
    }
    ordered
}

fn left_behind_key(id: JobId) -> Vec<u8> {
    format!("job/left_behind/{id}").into_bytes()
}

/// All state tables of a job.
pub fn tables_of(graph: &FragmentGraph) -> Vec<TableId> {
    let mut tables = vec![graph.dead_letters, graph.late_rows];
    for fragment in &graph.fragments {
        tables.extend(fragment.root.state_tables().into_iter().map(|(_, table)| table));
    }
    tables
}
