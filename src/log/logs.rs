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

    /// Deletes a dropped object's log.
    pub fn remove(&self, id: JobId) -> Result<()> {
        self.open.lock().remove(&id);
        match std::fs::remove_dir_all(self.dir.join(id.to_string())) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }
}
