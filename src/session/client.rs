//! The part of a session that its running queries see: who it is, and its variables.

use parking_lot::{Mutex, MutexGuard};

use super::variables::Variables;
use crate::batch::{Client, PlanningCache};
use crate::common::Result;
use crate::types::SessionId;

#[derive(Debug)]
pub struct SessionClient {
    id: SessionId,
    user: String,
    variables: Mutex<Variables>,
    planning: PlanningCache,
}

impl SessionClient {
    pub fn new(id: SessionId, user: &str) -> Self {
        Self { id, user: user.to_string(), variables: Mutex::default(), planning: PlanningCache::default() }
    }

    /// Locked for as long as the guard lives: not across an await.
    pub fn variables(&self) -> MutexGuard<'_, Variables> {
        self.variables.lock()
    }
}

impl Client for SessionClient {
    fn id(&self) -> SessionId {
        self.id
    }

    fn user(&self) -> &str {
        &self.user
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.variables().get(name).map(str::to_string)
    }

    fn settings(&self) -> Vec<(String, String)> {
        self.variables().all()
    }

    fn set(&self, name: &str, value: &str) -> Result<String> {
        let mut variables = self.variables();
        variables.set(name, Some(value))?;
        Ok(variables.get(name).unwrap_or_default().to_string())
    }

    fn planning(&self) -> &PlanningCache {
        &self.planning
    }
}
