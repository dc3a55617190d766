//! The tasks that put what outside systems push into the logs of sources that cannot replay: one a source, for as long as
//! it exists.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::common::Error;
use crate::connector::Source;
use crate::log::Log;
use crate::types::JobId;

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// Running ingest tasks, with the last error of each.
#[derive(Default)]
pub struct Ingests(Mutex<HashMap<JobId, Running>>);

struct Running {
    cancel: CancellationToken,
    error: Arc<Mutex<Option<Error>>>,
}

impl Ingests {
    /// Starts the source's task if it has one. An error is retried with back-off until the source is dropped.
    pub fn start(&self, id: JobId, name: &str, source: Arc<dyn Source>, log: Arc<Log>) {
        if source.ingest().is_none() {
            return;
        }
        let cancel = CancellationToken::new();
        let error = Arc::new(Mutex::new(None));
        self.0.lock().insert(id, Running { cancel: cancel.clone(), error: error.clone() });
        let name = name.to_string();
        tokio::spawn(async move {
            let mut retry = FIRST_RETRY;
            while let Some(ingest) = source.ingest() {
                match ingest.run(log.clone(), cancel.clone()).await {
                    Ok(()) => return,
                    Err(e) => {
                        tracing::error!(source = %name, error = %e, "ingest stopped; it is tried again");
                        *error.lock() = Some(e);
                    }
                }
                tokio::select! {
                    _ = cancel.cancelled() => return,
                    _ = tokio::time::sleep(retry) => retry = (retry * 2).min(LAST_RETRY),
                }
            }
        });
    }

    pub fn stop(&self, id: JobId) {
        if let Some(running) = self.0.lock().remove(&id) {
            running.cancel.cancel();
        }
    }

    pub fn stop_all(&self) {
        for (_, running) in self.0.lock().drain() {
            running.cancel.cancel();
        }
    }

    /// The last error of a source's task.
    pub fn error(&self, id: JobId) -> Option<Error> {
        self.0.lock().get(&id).and_then(|r| r.error.lock().clone())
    }
}
