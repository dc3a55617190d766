//! The facade: opens a data folder, recovers what ran, hands out sessions, shuts down. Owns every component; there is no
//! global state.
//!
//! ```text
//! data folder
//!   LOCK      held while a server runs
//!   state/    pages, catalog, epoch record
//!   log/<id>/ one durable log a table or source that cannot replay
//! ```

mod folder;
mod system;
mod watermarks;

use std::fs::File;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::batch::BatchEnv;
use crate::batch::context::DATABASE;
use crate::catalog::role::ROOT;
use crate::catalog::{Catalog, Definition};
use crate::checkpoint::{Driver, DriverConfig};
use crate::common::clock::Clock;
use crate::common::config::Config;
use crate::common::{Error, ErrorKind, Result, failpoint};
use crate::connector::{self, Context};
use crate::job::ingest::Ingests;
use crate::job::{JobEnv, JobManager, JobState, Jobs};
use crate::log::Log;
use crate::log::logs::Logs;
use crate::session::services::{Services, log_retention};
use crate::session::settings::Settings;
use crate::session::{Session, complete_index, inflow, logs_visible, replace, temporary};
use crate::state::{StateConfig, StateStore};
use crate::stream::pulse::Pulse;
use crate::types::{Epoch, JobId, SessionId, Verifier};

/// How long a start waits for what was written before it.
const CATCH_UP: Duration = Duration::from_secs(10);
/// How often logs are looked at while nothing is committed.
const TRUNCATE_EVERY: Duration = Duration::from_secs(10);

/// How much nicer threads that compute are than those that serve clients, as in nice(1). Where both want the cores, 5
/// leaves computing a quarter to a half of them.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

/// A running database.
pub struct Database {
    services: Arc<Services>,
    next_session: AtomicI32,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    compute: Mutex<Option<Runtime>>,
    /// Held until the process ends or the database is dropped.
    _lock: File,
}

impl Database {
    /// Opens the data folder of `config`, creating it if need be, and starts every job where its last checkpoint left it.
    ///
    /// # Errors
    /// `ObjectInUse` when another server has the folder; `InvalidDefinition` for a folder that is not Weir's or of a newer
    /// format; nothing is touched then.
    pub async fn open(config: Config) -> Result<Arc<Self>> {
        failpoint::hit("recovery.begin")?;
        let lock = folder::lock(&config.data_dir)?;
        let compute = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.parallelism.max(1))
            .thread_name("compute")
            .on_thread_start(yield_to_clients)
            .enable_all()
            .build()?;
        let store = {
            let dir = config.data_dir.join("state");
            let cache_bytes = config.memory_limit / 4;
            let state = StateConfig { dir: dir.clone(), backend: config.state_backend, cache_bytes };
            let open = move || {
                let store = StateStore::open(state)?;
                folder::keep_private(&dir)?;
                Ok::<_, Error>(store)
            };
            tokio::task::spawn_blocking(open).await.map_err(|e| Error::internal(e.to_string()))??
        };
        let catalog = Arc::new(Catalog::load(store.meta_scan(b"catalog/")?)?);
        {
            let snapshot = catalog.snapshot();
            store.sequences.sweep(|id| snapshot.sequences().any(|s| s.id == id));
        }
        let clock = Clock::system();
        let pulse = Pulse::default();
        let logs = Logs::new(config.data_dir.join("log"));
        let jobs = Jobs::default();
        let (failed, failures) = mpsc::unbounded_channel();
        let on_failure = {
            let jobs = jobs.clone();
            Box::new(move |job, error| {
                let (domain, restart) = jobs.fail(job, error);
                let _ = failed.send(restart);
                domain
            })
        };
        let (driver, handle, events) = Driver::new(DriverConfig {
            store: store.clone(),
            barrier_interval: config.barrier_interval,
            checkpoint_interval: config.checkpoint_interval,
            clock: clock.clone(),
            pulse: pulse.clone(),
            compute: compute.handle().clone(),
            on_failure,
        });
        let connectors = Context {
            base_dir: std::env::current_dir()?,
            data_dir: config.data_dir.clone(),
            clock: clock.clone(),
            logs: {
                let logs = logs.clone();
                Arc::new(move |id| logs.get(id))
            },
            secrets: {
                let catalog = catalog.clone();
                Arc::new(move |name| {
                    let snapshot = catalog.snapshot();
                    let secret = snapshot.find_secret(name)?;
                    Ok(std::iter::once(&secret.value).chain(&secret.former).cloned().collect())
                })
            },
        };
        let env = JobEnv {
            store: store.clone(),
            clock,
            pulse,
            parallelism: config.parallelism,
            connectors,
            events,
            next_actor: Arc::new(AtomicU32::new(0)),
        };
        let manager = JobManager::new(env, handle.clone(), jobs);
        let about: system::About = Arc::new(OnceLock::new());
        let failed = {
            let manager = manager.clone();
            Arc::new(move |id| manager.failure(id).is_some())
        };
        let queries = config.memory_limit / 2;
        let batch = BatchEnv::new(store.clone(), system::tables(&about)?, config.parallelism, queries, failed)?;
        let services = Arc::new(Services {
            catalog,
            store,
            batch: Arc::new(batch),
            jobs: manager.clone(),
            driver: handle,
            ingests: Ingests::default(),
            logs,
            first_password: config.password.as_deref().map(Verifier::of).transpose()?,
            activity: Arc::default(),
            sessions: Mutex::default(),
            settings: Settings::new(config),
            compute: compute.handle().clone(),
            background: tokio::runtime::Handle::current(),
            ddl: tokio::sync::Mutex::new(()),
            tables: Mutex::default(),
        });
        let _ = about.set(Arc::downgrade(&services));
        let tasks = vec![
            tokio::spawn(driver.run()),
            tokio::spawn(manager.supervise(failures)),
            tokio::spawn(truncate_logs(services.clone())),
        ];
        let database = Arc::new(Self {
            services,
            next_session: AtomicI32::new(1),
            tasks: Mutex::new(tasks),
            compute: Mutex::new(Some(compute)),
            _lock: lock,
        });
        database.recover().await?;
        database.catch_up().await;
        failpoint::hit("recovery.end")?;
        Ok(database)
    }

    /// Starts what the catalog holds.
    async fn recover(&self) -> Result<()> {
        replace::drop_unfinished(&self.services).await?;
        temporary::drop_left(&self.services).await?;
        let snapshot = self.services.catalog.snapshot();
        let (logs, known) = (self.services.logs.clone(), snapshot.clone());
        let retained = tokio::task::spawn_blocking(move || logs.retain(|id| known.by_id(id).is_some())).await;
        retained.map_err(|e| Error::internal(e.to_string()))??;
        let connectors = &self.services.jobs.env().connectors;
        let mut specs = Vec::new();
        for object in snapshot.objects() {
            let options = match &object.definition {
                Definition::Source(source) => &source.options,
                Definition::Table(table) => &table.options,
                _ => &Default::default(),
            };
            let source = match options.is_empty() {
                true => None,
                false => match connector::source(object.id, &object.name, options, connectors) {
                    Ok(source) => Some(source),
                    Err(e) => {
                        tracing::error!(source = %object.name, error = %e, "the source cannot be opened");
                        None
                    }
                },
            };
            if let Some(retention) = log_retention(&object.definition, source.as_deref()) {
                // Whoever reads it fails with the same error; the others run.
                match self.services.open_log(object.id, retention).await {
                    Ok(()) => {
                        if let Some(source) = source {
                            let log = self.services.logs.get(object.id)?;
                            self.services.ingests.start(object.id, &object.name, source, log);
                        }
                    }
                    Err(e) => tracing::error!(object = %object.name, error = %e, "its log cannot be opened"),
                }
            }
            specs.extend(inflow::job_spec(&snapshot, object)?);
        }
        self.services.jobs.recover(specs).await?;
        // Those that the stop met while they were filled.
        for object in snapshot.objects() {
            if matches!(&object.definition, Definition::Index(index) if !index.ready) {
                let (services, id) = (self.services.clone(), object.id);
                tokio::spawn(async move {
                    if let Err(e) = complete_index(&services, id).await {
                        tracing::error!(index = id.0, error = %e, "the index cannot be used");
                    }
                });
            }
        }
        Ok(())
    }

    /// Who asks first must see what was acknowledged before the stop: waits for the ends of the tables' logs.
    async fn catch_up(&self) {
        match tokio::time::timeout(CATCH_UP, logs_visible(&self.services)).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::warn!(error = %e, "a table has not taken over all that is in its log"),
            Err(_) => tracing::warn!("rows in the logs are still being taken over: FLUSH waits for them"),
        }
    }

    /// A session for a user who has been let in.
    ///
    /// # Errors
    /// `UndefinedDatabase` for one other than `dev`; `InvalidAuthorization` for a role that is not there or may not log
    /// in; `TooManyConnections` when the role has as many as it may.
    pub fn session(&self, user: &str, database: &str) -> Result<Session> {
        if database != DATABASE {
            let message = format!("database \"{database}\" does not exist");
            return Err(Error::new(ErrorKind::UndefinedDatabase, message)
                .with_hint(format!("connect to the one database there is: {DATABASE}")));
        }
        let snapshot = self.services.catalog.snapshot();
        let refused = |message: String| Error::new(ErrorKind::InvalidAuthorization, message);
        let role = snapshot.role(user).ok_or_else(|| {
            refused(format!("role \"{user}\" does not exist"))
                .with_hint(format!("connect as {ROOT}, who can CREATE ROLE \"{user}\" LOGIN"))
        })?;
        if !role.login {
            return Err(refused(format!("role \"{user}\" is not permitted to log in")));
        }
        {
            let mut sessions = self.services.sessions.lock();
            let open = sessions.entry(user.to_string()).or_default();
            if role.connection_limit.is_some_and(|limit| *open >= limit) && !role.superuser {
                return Err(Error::new(
                    ErrorKind::TooManyConnections,
                    format!("too many connections for role \"{user}\""),
                )
                .with_hint(format!("close some, or ALTER ROLE {user} CONNECTION LIMIT …")));
            }
            *open += 1;
        }
        let id = SessionId(self.next_session.fetch_add(1, Ordering::SeqCst));
        Ok(Session::new(id, user, self.services.clone()))
    }

    /// Whether clients must prove who they are: root has a password.
    pub fn asks_passwords(&self) -> bool {
        self.verifier(ROOT).is_some()
    }

    /// What proves a user's password, if there is one that can still be used.
    pub fn verifier(&self, user: &str) -> Option<Verifier> {
        let snapshot = self.services.catalog.snapshot();
        let role = snapshot.role(user)?;
        let now = self.services.jobs.env().clock.now_micros();
        match role.valid_until {
            Some(end) if end <= now => None,
            _ if user == ROOT => role.verifier.clone().or_else(|| self.services.first_password.clone()),
            _ => role.verifier.clone(),
        }
    }

    /// Ends the epoch, makes it durable, stops everything.
    pub async fn shutdown(&self) -> Result<()> {
        self.services.ingests.stop_all();
        let last = self.services.driver.commit().await;
        let last = last.and_then(|last| self.services.store.sequences.close().map(|()| last));
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
        if let Some(compute) = self.compute.lock().take() {
            compute.shutdown_background();
        }
        last.map(|_| ())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
        if let Some(compute) = self.compute.lock().take() {
            compute.shutdown_background();
        }
    }
}

/// For a thread that computes: a client's short question goes before. Elsewhere a process has one niceness.
fn yield_to_clients() {
    #[cfg(target_os = "linux")]
    if let Err(e) = rustix::process::nice(NICE) {
        tracing::debug!(error = %e, "the threads that compute are not nicer than those that serve");
    }
}

/// What all readers of a log have passed is deleted from it, as its retention allows, once their positions are on disk.
async fn truncate_logs(services: Arc<Services>) {
    let mut progress = services.driver.watch();
    let mut seen = Epoch::default();
    loop {
        // Without checkpoints time goes on.
        let due = match tokio::time::timeout(TRUNCATE_EVERY, progress.changed()).await {
            Ok(Ok(())) => false,
            Ok(Err(_)) => return,
            Err(_) => true,
        };
        let committed = progress.borrow_and_update().committed;
        if committed == seen && !due {
            continue;
        }
        seen = committed;
        // Nobody may begin to read at a log's start meanwhile.
        let _guard = services.ddl.lock().await;
        for (id, log) in services.logs.all() {
            let Some(offset) = passed(&services, id, &log, committed) else { continue };
            if let Ok(Err(e)) = tokio::task::spawn_blocking(move || log.truncate(offset)).await {
                tracing::warn!(log = id.0, error = %e, "old log segments could not be deleted");
            }
        }
    }
}

/// The offset that every reader of the log has behind it at `committed`; `None` while one of them is not known.
fn passed(services: &Services, id: JobId, log: &Log, committed: Epoch) -> Option<u64> {
    let snapshot = services.catalog.snapshot();
    let is_source = matches!(snapshot.by_id(id)?.definition, Definition::Source(_));
    let mut passed = log.end();
    for object in snapshot.objects() {
        // A table reads its own log; what depends on a table reads its rows.
        let reads = object.id == id || (is_source && object.depends_on.contains(&id));
        if !reads || object.definition.graph().is_none() {
            continue;
        }
        let runs_in = match &object.definition {
            Definition::Sink(sink) => sink.into.unwrap_or(object.id),
            _ => object.id,
        };
        let job = services.jobs.status_of(runs_in)?;
        if let JobState::Failed(_) = job.state {
            return None;
        }
        for source in job.handles.sources.iter().filter(|s| s.source == id) {
            passed = passed.min(source.reader.position_at(committed)?.parse().ok()?);
        }
    }
    Some(passed)
}
