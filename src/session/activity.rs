//! What every open session does now, and how one is stopped from another: `pg_stat_activity`, `pg_cancel_backend`,
//! `pg_terminate_backend`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::TransactionStatus;
use super::client::SessionClient;
use crate::batch::Backend;
use crate::common::clock::Clock;
use crate::sql::Statement;
use crate::sql::name::quote;
use crate::types::SessionId;

/// The open sessions.
#[derive(Debug, Default)]
pub struct Activity(Mutex<BTreeMap<SessionId, Weak<SessionClient>>>);

impl Activity {
    pub fn enter(&self, id: SessionId, client: Weak<SessionClient>) {
        self.0.lock().insert(id, client);
    }

    pub fn leave(&self, id: SessionId) {
        self.0.lock().remove(&id);
    }

    pub fn get(&self, id: SessionId) -> Option<Arc<SessionClient>> {
        self.0.lock().get(&id)?.upgrade()
    }

    pub fn all(&self) -> Vec<Backend> {
        let clients: Vec<_> = self.0.lock().values().filter_map(Weak::upgrade).collect();
        clients.iter().map(|client| client.backend()).collect()
    }
}

/// One session's place.
#[derive(Debug)]
pub struct Doing {
    /// When the session began; like all times here, in microseconds since 1970.
    started: i64,
    now: Mutex<Now>,
    cancel: Mutex<CancellationToken>,
    /// Cancelled by `pg_terminate_backend`.
    pub terminated: CancellationToken,
}

#[derive(Debug, Clone)]
struct Now {
    address: Option<IpAddr>,
    state: &'static str,
    /// The statement that runs, or the last one.
    query: String,
    transaction_started: Option<i64>,
    query_started: Option<i64>,
    changed: i64,
}

impl Doing {
    /// A session that begins now.
    pub fn start() -> Self {
        let started = Clock::system().now_micros();
        let now = Now {
            address: None,
            state: "idle",
            query: String::new(),
            transaction_started: None,
            query_started: None,
            changed: started,
        };
        Self { started, now: Mutex::new(now), cancel: Mutex::default(), terminated: CancellationToken::new() }
    }

    pub fn set_address(&self, address: IpAddr) {
        self.now.lock().address = Some(address);
    }

    /// A statement begins.
    pub fn begin(&self, text: &str, statement: &Statement) {
        let now = Clock::system().now_micros();
        let mut doing = self.now.lock();
        doing.state = "active";
        doing.query = shown(text, statement);
        doing.query_started = Some(now);
        doing.transaction_started.get_or_insert(now);
        doing.changed = now;
    }

    /// The client may send the next message.
    pub fn rest(&self, transaction: TransactionStatus) {
        let mut doing = self.now.lock();
        doing.state = match transaction {
            TransactionStatus::Idle => "idle",
            TransactionStatus::InBlock => "idle in transaction",
            TransactionStatus::Failed => "idle in transaction (aborted)",
        };
        if transaction == TransactionStatus::Idle {
            doing.transaction_started = None;
        }
        doing.changed = Clock::system().now_micros();
    }

    /// The token of the next statement: renewed when the last one's was cancelled.
    pub fn cancel_token(&self) -> CancellationToken {
        let mut cancel = self.cancel.lock();
        if cancel.is_cancelled() {
            *cancel = CancellationToken::new();
        }
        cancel.clone()
    }

    /// Stops the statement that runs, if one does.
    pub fn cancel(&self) {
        if self.now.lock().state == "active" {
            self.cancel.lock().cancel();
        }
    }

    pub fn backend(&self, id: SessionId, user: String, application_name: String) -> Backend {
        let Now { address, state, query, transaction_started, query_started, changed } = self.now.lock().clone();
        Backend {
            id,
            user,
            application_name,
            address,
            started: self.started,
            state,
            query,
            transaction_started,
            query_started,
            changed,
        }
    }
}

/// A statement's text as others may see it: without what follows the word PASSWORD, or AS of a secret.
fn shown(text: &str, statement: &Statement) -> String {
    match statement {
        Statement::Explain { inner, .. } => shown(text, inner),
        Statement::CreateSecret { name, .. } => format!("CREATE SECRET {} AS <hidden>", quote(name)),
        Statement::AlterSecret { name, .. } => format!("ALTER SECRET {} AS <hidden>", quote(name)),
        Statement::CreateRole(_) | Statement::AlterRole(_) => {
            let secret = text.to_ascii_lowercase().find("password");
            secret.map_or_else(|| text.to_string(), |at| format!("{}PASSWORD <hidden>", &text[..at]))
        }
        _ => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse;

    #[test]
    fn passwords_are_not_shown() {
        for (sql, expected) in [
            ("ALTER ROLE ä PassWord 'x' LOGIN", "ALTER ROLE ä PASSWORD <hidden>"),
            ("CREATE USER a WITH ENCRYPTED PASSWORD 'password'", "CREATE USER a WITH ENCRYPTED PASSWORD <hidden>"),
            ("CREATE ROLE a LOGIN", "CREATE ROLE a LOGIN"),
            ("SELECT 'password'", "SELECT 'password'"),
            ("EXPLAIN ALTER ROLE a PASSWORD 'x'", "EXPLAIN ALTER ROLE a PASSWORD <hidden>"),
            ("CREATE SECRET s WITH (backend = 'meta') AS 'x'", "CREATE SECRET s AS <hidden>"),
            ("ALTER SECRET s AS $$x$$", "ALTER SECRET s AS <hidden>"),
            ("EXPLAIN CREATE SECRET s AS 'x'", "CREATE SECRET s AS <hidden>"),
        ] {
            let parsed = parse(sql).unwrap();
            assert_eq!(shown(sql, &parsed[0].statement), expected);
        }
    }

    #[test]
    fn only_what_runs_is_cancelled() {
        let doing = Doing::start();
        let token = doing.cancel_token();
        doing.cancel();
        assert!(!token.is_cancelled());
        doing.begin("FLUSH", &Statement::Flush);
        doing.cancel();
        assert!(token.is_cancelled());
        assert!(!doing.cancel_token().is_cancelled());
    }
}
