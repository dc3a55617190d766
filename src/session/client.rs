//! The part of a session that its running queries see: who it is, and its variables.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::activity::{Activity, Doing};
use super::variables::Variables;
use crate::batch::{Backend, Client, PlanningCache, Signal, Taken};
use crate::catalog::Snapshot;
use crate::common::Result;
use crate::types::SessionId;
use crate::types::styles::Styles;

/// Who a session is.
#[derive(Debug, Clone)]
struct Names {
    /// Who logged in.
    login: String,
    /// By SET SESSION AUTHORIZATION.
    session: String,
    /// By SET ROLE.
    current: String,
}

#[derive(Debug)]
pub struct SessionClient {
    id: SessionId,
    names: Mutex<Names>,
    variables: Mutex<Variables>,
    planning: PlanningCache,
    taken: Taken,
    pub doing: Doing,
    /// The catalog's last snapshot, and what the session saw of it.
    seen: Mutex<Option<(Arc<Snapshot>, Arc<Snapshot>)>>,
    activity: Arc<Activity>,
}

impl SessionClient {
    pub fn new(id: SessionId, user: &str, activity: Arc<Activity>) -> Self {
        let name = || user.to_string();
        let names = Mutex::new(Names { login: name(), session: name(), current: name() });
        let (variables, planning, taken) = (Mutex::default(), PlanningCache::default(), Taken::default());
        Self { id, names, variables, planning, taken, doing: Doing::start(), seen: Mutex::default(), activity }
    }

    /// As others see it.
    pub fn backend(&self) -> Backend {
        let name = self.setting("application_name").unwrap_or_default();
        self.doing.backend(self.id, self.login(), name)
    }

    /// Who logged in: what it may become is asked of this one.
    pub fn login(&self) -> String {
        self.names.lock().login.clone()
    }

    /// Acts as `role`; `None` is the session's user.
    pub fn set_role(&self, role: Option<&str>) {
        let mut names = self.names.lock();
        names.current = role.map_or_else(|| names.session.clone(), str::to_string);
        self.planning.clear();
    }

    /// Becomes `user`; `None` is who logged in.
    pub fn set_session_user(&self, user: Option<&str>) {
        let mut names = self.names.lock();
        names.session = user.map_or_else(|| names.login.clone(), str::to_string);
        names.current = names.session.clone();
        self.planning.clear();
    }

    /// What the session sees of the catalog's snapshot `now`.
    pub fn seen(&self, now: Arc<Snapshot>) -> Arc<Snapshot> {
        if !now.has_temporary() {
            return now;
        }
        let mut seen = self.seen.lock();
        match seen.as_ref() {
            Some((of, seen)) if Arc::ptr_eq(of, &now) => seen.clone(),
            _ => {
                let sees = now.seen_by(self.id);
                *seen = Some((now, sees.clone()));
                sees
            }
        }
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

    fn user(&self) -> String {
        self.names.lock().current.clone()
    }

    fn session_user(&self) -> String {
        self.names.lock().session.clone()
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.variables().get(name).map(str::to_string)
    }

    fn settings(&self) -> Vec<(String, String)> {
        self.variables().all()
    }

    fn styles(&self) -> Styles {
        self.variables().styles()
    }

    fn set(&self, name: &str, value: &str) -> Result<String> {
        let mut variables = self.variables();
        variables.set(name, Some(value))?;
        Ok(variables.get(name).unwrap_or_default().to_string())
    }

    fn planning(&self) -> &PlanningCache {
        &self.planning
    }

    fn taken(&self) -> &Taken {
        &self.taken
    }

    fn backends(&self) -> Vec<Backend> {
        self.activity.all()
    }

    fn signal(&self, id: SessionId, signal: Signal) -> bool {
        let Some(client) = self.activity.get(id) else { return false };
        match signal {
            Signal::Cancel => client.doing.cancel(),
            Signal::Terminate => client.doing.terminated.cancel(),
        }
        true
    }
}
