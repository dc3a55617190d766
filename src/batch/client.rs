//! What a query may ask of the session that runs it: `current_user`, `current_setting`, `set_config`, and what other
//! sessions do.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use parking_lot::Mutex;

use super::context::PlanningCache;
use crate::common::Result;
use crate::types::SessionId;
use crate::types::styles::Styles;

/// What an open session does. Times are microseconds since 1970-01-01 UTC.
#[derive(Debug, Clone)]
pub struct Backend {
    pub id: SessionId,
    /// Who logged in.
    pub user: String,
    pub application_name: String,
    pub address: Option<IpAddr>,
    pub started: i64,
    /// As in `pg_stat_activity`: `active`, `idle`, ….
    pub state: &'static str,
    /// The statement that runs, or the last one, without secrets.
    pub query: String,
    pub transaction_started: Option<i64>,
    pub query_started: Option<i64>,
    /// When `state` last changed.
    pub changed: i64,
}

/// What one session may ask of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Its statement ends.
    Cancel,
    /// It ends.
    Terminate,
}

/// The last value that a session has taken of each sequence, for `currval` and `lastval`.
#[derive(Debug, Default)]
pub struct Taken(Mutex<TakenValues>);

#[derive(Debug, Default)]
struct TakenValues {
    /// By the sequence's id.
    each: HashMap<u32, i64>,
    last: Option<i64>,
}

impl Taken {
    pub fn set(&self, sequence: u32, value: i64) {
        let mut values = self.0.lock();
        values.each.insert(sequence, value);
        values.last = Some(value);
    }

    pub fn of(&self, sequence: u32) -> Option<i64> {
        self.0.lock().each.get(&sequence).copied()
    }

    pub fn last(&self) -> Option<i64> {
        self.0.lock().last
    }

    pub fn clear(&self) {
        *self.0.lock() = TakenValues::default();
    }
}

pub trait Client: fmt::Debug + Send + Sync {
    fn id(&self) -> SessionId;

    /// Whose privileges count: `current_user`.
    fn user(&self) -> String;

    /// Who the session acts for: `session_user`.
    fn session_user(&self) -> String;

    /// A variable's value; `None` for a name that nobody knows.
    fn setting(&self, name: &str) -> Option<String>;

    /// How it writes values as text, and reads texts.
    fn styles(&self) -> Styles;

    /// Every variable with its value, by name.
    fn settings(&self) -> Vec<(String, String)>;

    /// Sets a variable and returns its value then.
    ///
    /// # Errors
    /// `InvalidParameterValue`.
    fn set(&self, name: &str, value: &str) -> Result<String>;

    fn planning(&self) -> &PlanningCache;

    /// What it has taken of sequences.
    fn taken(&self) -> &Taken;

    /// Every open session, by id.
    fn backends(&self) -> Vec<Backend>;

    /// Stops what a session does, whoever asks. False when there is no such session.
    fn signal(&self, id: SessionId, signal: Signal) -> bool;
}
