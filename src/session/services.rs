//! What sessions share: the database's parts, as one bundle.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::activity::Activity;
use super::client::SessionClient;
use super::settings::Settings;
use crate::batch::BatchEnv;
use crate::catalog::{Catalog, Change, Definition, Snapshot};
use crate::checkpoint::DriverHandle;
use crate::common::{Error, ErrorKind, Result};
use crate::connector::Source;
use crate::job::JobManager;
use crate::job::ingest::Ingests;
use crate::log::Retention;
use crate::log::logs::Logs;
use crate::state::{EpochPin, StateStore};
use crate::types::{Epoch, JobId, Verifier};

pub struct Services {
    pub catalog: Arc<Catalog>,
    pub store: Arc<StateStore>,
    pub batch: Arc<BatchEnv>,
    pub jobs: Arc<JobManager>,
    pub driver: DriverHandle,
    pub ingests: Ingests,
    pub logs: Arc<Logs>,
    pub settings: Settings,
    /// Where queries run: the wire never waits for them.
    pub compute: tokio::runtime::Handle,
    /// Where work runs that outlives the statement, or the client, that began it.
    pub background: tokio::runtime::Handle,
    /// Of the password in the settings: root's until ALTER ROLE gives it another.
    pub first_password: Option<Verifier>,
    /// What they do.
    pub activity: Arc<Activity>,
    /// Open sessions by the role that logged in.
    pub sessions: Mutex<HashMap<String, u32>>,
    /// One change of the catalog at a time.
    pub ddl: tokio::sync::Mutex<()>,
    /// INSERT shares a table's lock; UPDATE and DELETE, which read before they write, have it alone.
    pub tables: Mutex<HashMap<JobId, Arc<tokio::sync::RwLock<()>>>>,
}

impl Services {
    /// The catalog as the session sees it.
    pub fn snapshot(&self, client: &SessionClient) -> Arc<Snapshot> {
        client.seen(self.catalog.snapshot())
    }

    /// The latest complete epoch, pinned, and the catalog at it as the session sees it.
    pub fn pin(&self, client: &SessionClient) -> Result<(Arc<Snapshot>, Epoch, EpochPin)> {
        loop {
            let snapshot = self.snapshot(client);
            let epoch = self.driver.progress().complete;
            match self.store.pin(epoch) {
                Ok(pin) => return Ok((snapshot, epoch, pin)),
                // A later epoch was folded in between; it is complete then.
                Err(e) if e.kind() == ErrorKind::ObjectNotReady && self.driver.progress().complete > epoch => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Makes a change of the catalog durable, then visible; to its end even if the client goes away.
    pub async fn commit(self: &Arc<Self>, change: Change) -> Result<()> {
        self.finish(|services| async move {
            services.jobs.write_meta(change.writes, Vec::new()).await?;
            services.catalog.publish(change.snapshot);
            Ok(())
        })
        .await
    }

    /// Runs what must not stop half way: to its end even if the client goes away.
    pub async fn finish<T, W>(self: &Arc<Self>, work: impl FnOnce(Arc<Self>) -> W) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        let done = self.background.spawn(work(self.clone())).await;
        done.map_err(|e| Error::internal(format!("the statement ended: {e}")))?
    }

    pub fn table_lock(&self, id: JobId) -> Arc<tokio::sync::RwLock<()>> {
        self.tables.lock().entry(id).or_default().clone()
    }

    /// Opens the log of an object that needs one, off the wire's threads.
    pub async fn open_log(&self, id: JobId, retention: Retention) -> Result<()> {
        let logs = self.logs.clone();
        let opened = tokio::task::spawn_blocking(move || logs.open(id, retention)).await;
        opened.map_err(|e| Error::internal(format!("opening a log ended: {e}")))?.map(|_| ())
    }

    /// Deletes the log of an object, if it has one.
    pub async fn remove_log(&self, id: JobId) -> Result<()> {
        let logs = self.logs.clone();
        let removed = tokio::task::spawn_blocking(move || logs.remove(id)).await;
        removed.map_err(|e| Error::internal(format!("deleting a log ended: {e}")))?
    }
}

/// How the object's log is kept, for those that have one: tables that take DML, and what cannot replay. `source` is the
/// object's connector.
pub fn log_retention(definition: &Definition, source: Option<&dyn Source>) -> Option<Retention> {
    let ingested = source.filter(|s| s.ingest().is_some());
    match (definition, source, ingested) {
        (Definition::Table(_), None, _) => Some(Retention::NONE),
        // The table keeps the rows.
        (Definition::Table(_), _, Some(source)) => Some(source.retention().unwrap_or(Retention::NONE)),
        // A new view sees the same history as an old one.
        (Definition::Source(_), _, Some(source)) => Some(source.retention().unwrap_or(Retention::ALL)),
        _ => None,
    }
}
