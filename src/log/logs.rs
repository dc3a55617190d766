//! The logs of one data folder, by the object whose records they hold: opened when the object is made or recovered, which
//! is file work; whoever asks for one later gets it at once.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Log, LogConfig, Retention};
use crate::common::{Error, Result};
use crate::types::JobId;

pub struct Logs {
    dir: PathBuf,
    /// With the error of each that could not be opened.
    open: Mutex<HashMap<JobId, Result<Arc<Log>>>>,
}

impl Logs {
    /// `dir` holds one folder a log.
    pub fn new(dir: PathBuf) -> Arc<Self> {
        Arc::new(Self { dir, open: Mutex::default() })
    }

    /// Opens or creates the log of an object. Blocking file reads.
    ///
    /// # Errors
    /// As [`Log::open`]; from then on [`Logs::get`] gives the same error.
    pub fn open(&self, id: JobId, retention: Retention) -> Result<Arc<Log>> {
        let config = LogConfig::new(self.dir.join(id.to_string())).with_retention(retention);
        let log = Log::open(config);
        self.open.lock().insert(id, log.clone());
        log
    }

    /// An object's log, which was opened with it.
    pub fn get(&self, id: JobId) -> Result<Arc<Log>> {
        match self.open.lock().get(&id) {
            Some(log) => log.clone(),
            None => Err(Error::internal(format!("object {id} has no log"))),
        }
    }

    /// Every log that could be opened.
    pub fn all(&self) -> Vec<(JobId, Arc<Log>)> {
        let open = self.open.lock();
        open.iter().filter_map(|(id, log)| Some((*id, log.as_ref().ok()?.clone()))).collect()
    }

    /// Deletes the logs of objects that are no longer there: their DROP, or their CREATE, was cut off by a crash.
    pub fn retain(&self, known: impl Fn(JobId) -> bool) -> Result<()> {
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        for entry in entries {
            let name = entry?.file_name();
            if let Some(id) = name.to_str().and_then(|n| n.parse().ok()).map(JobId)
                && !known(id)
            {
                self.remove(id)?;
            }
        }
        Ok(())
    }

    /// Deletes a dropped object's log. Blocking file work.
    pub fn remove(&self, id: JobId) -> Result<()> {
        // Closing waits for the write under way: not under the lock.
        let closed = self.open.lock().remove(&id);
        drop(closed);
        match std::fs::remove_dir_all(self.dir.join(id.to_string())) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_logs_stay() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::new(dir.path().join("log"));
        logs.retain(|_| false).unwrap();
        assert!(logs.get(JobId(3)).is_err());
        for id in [3, 4] {
            logs.open(JobId(id), Retention::NONE).unwrap();
            assert!(logs.get(JobId(id)).is_ok());
        }
        logs.retain(|id| id == JobId(4)).unwrap();
        assert!(!dir.path().join("log/3").exists());
        assert!(dir.path().join("log/4").exists());
        assert_eq!(logs.all().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [JobId(4)]);
    }
}
