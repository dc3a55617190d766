//! The logs of one data folder, by the object whose records they hold; opened when first asked for.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Log, LogConfig};
use crate::common::Result;
use crate::types::JobId;

pub struct Logs {
    dir: PathBuf,
    open: Mutex<HashMap<JobId, Arc<Log>>>,
}

impl Logs {
    /// `dir` holds one folder a log.
    pub fn new(dir: PathBuf) -> Arc<Self> {
        Arc::new(Self { dir, open: Mutex::default() })
    }

    pub fn get(&self, id: JobId) -> Result<Arc<Log>> {
        let mut open = self.open.lock();
        if let Some(log) = open.get(&id) {
            return Ok(log.clone());
        }
        let log = Log::open(LogConfig::new(self.dir.join(id.to_string())))?;
        open.insert(id, log.clone());
        Ok(log)
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

    /// Deletes a dropped object's log.
    pub fn remove(&self, id: JobId) -> Result<()> {
        let mut open = self.open.lock();
        open.remove(&id);
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
        drop(logs.get(JobId(3)).unwrap());
        drop(logs.get(JobId(4)).unwrap());
        logs.retain(|id| id == JobId(4)).unwrap();
        assert!(!dir.path().join("log/3").exists());
        assert!(dir.path().join("log/4").exists());
    }
}
