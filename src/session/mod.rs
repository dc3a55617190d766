//! One connection: its variables, its transaction, and what it has written.
//!
//! The wire calls [`Session::parse`], then [`Session::prepare`] or [`Session::execute`], and sends what comes back.

pub mod activity;
mod alter;
mod change;
mod client;
mod copy;
mod create_table_as;
mod cursors;
mod ddl;
mod dml;
mod entry;
mod explain;
mod functions;
mod load;
mod others;
mod parameters;
mod prepared;
mod query;
mod returning;
pub mod inflow;
pub mod replace;
mod role;
mod route;
mod secrets;
mod sequences;
pub mod services;
pub mod settings;
mod spool;
mod show;
mod subscribe;
pub mod temporary;
mod text;
pub mod variables;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use bytes::Bytes;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;
use tokio_util::sync::CancellationToken;

use self::client::SessionClient;
pub use self::ddl::complete_index;
use self::dml::Written;
use self::query::Limits;
use self::services::Services;
use crate::batch::{Client, LookupCache, Purpose, pg_catalog};
use crate::catalog::Object;
use crate::common::{Error, ErrorKind, Result, clock};
use crate::sql;
use crate::sql::statement::Copy;
use crate::types::copy::CopyOptions;
use crate::types::styles::Styles;
use crate::types::{JobId, SessionId};

/// One parsed statement with its text.
#[derive(Debug, Clone)]
pub struct Statement {
    pub text: String,
    /// `None` for an empty statement.
    pub parsed: Option<Arc<sql::Statement>>,
    /// What it is read with when it is a lookup.
    pub lookup: Arc<LookupCache>,
}

/// A statement whose parameters and result are described.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub statement: Statement,
    /// `$1`, `$2`, …
    pub parameters: Vec<FieldRef>,
    /// `None` when no rows come back.
    pub columns: Option<SchemaRef>,
}

/// What a statement gives back.
pub enum Response {
    /// Rows, streamed; the command tag is `{tag} {rows}` (`SELECT 3`).
    Rows { tag: &'static str, stream: SendableRecordBatchStream },
    /// No rows; the whole command tag, such as `CREATE_SOURCE` or `INSERT 0 3`.
    Done(String),
    /// Lines, for COPY TO; the command tag is `COPY {rows}`.
    CopyOut { stream: SendableRecordBatchStream, options: CopyOptions },
    /// The client sends rows of these columns: [`Session::copy_data`] takes lines, of the text format for `binary` data;
    /// then [`Session::copy_done`].
    CopyIn { columns: Vec<FieldRef>, binary: bool },
    /// An empty statement.
    Empty,
}

/// Transaction status as ReadyForQuery shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransactionStatus {
    #[default]
    Idle,
    InBlock,
    Failed,
}

#[derive(Debug, Clone)]
pub struct Notice {
    /// `NOTICE` or `WARNING`.
    pub severity: &'static str,
    pub message: String,
}

/// The state of one connection.
pub struct Session {
    client: Arc<SessionClient>,
    services: Arc<Services>,
    /// Made by PREPARE, by name.
    prepared: BTreeMap<String, Prepared>,
    /// Made by DECLARE, by name.
    cursors: BTreeMap<String, cursors::Slot>,
    notices: Vec<Notice>,
    transaction: TransactionStatus,
    /// The session's writes that may not be visible yet, by table.
    written: HashMap<JobId, Written>,
    /// Tables that the open transaction has written.
    filled: HashSet<JobId>,
    /// What was acknowledged to others before the session began, and could not be read yet then.
    inherited: Vec<Written>,
    /// A COPY that takes data.
    copy: Option<copy::CopyIn>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.client.planning().clear();
        self.services.activity.leave(self.client.id());
        temporary::leave(&self.services, self.client.id());
        let mut sessions = self.services.sessions.lock();
        if let Some(open) = sessions.get_mut(&self.client.login()) {
            *open = open.saturating_sub(1);
        }
    }
}

impl Session {
    pub fn new(id: SessionId, user: &str, services: Arc<Services>) -> Self {
        let client = Arc::new(SessionClient::new(id, user, services.activity.clone()));
        services.activity.enter(id, Arc::downgrade(&client));
        let inherited = dml::unseen(&services);
        Self {
            client,
            services,
            prepared: BTreeMap::new(),
            cursors: BTreeMap::new(),
            notices: Vec::new(),
            transaction: TransactionStatus::Idle,
            written: HashMap::new(),
            filled: HashSet::new(),
            inherited,
            copy: None,
        }
    }

    pub fn id(&self) -> SessionId {
        self.client.id()
    }

    /// Splits a message into statements.
    ///
    /// # Errors
    /// `Syntax`, with the position.
    pub fn parse(&self, sql: &str) -> Result<Vec<Statement>> {
        let parsed = sql::parse(sql)?;
        Ok(parsed
            .into_iter()
            .map(|p| {
                let parsed = match p.statement {
                    sql::Statement::Query(query) => {
                        sql::Statement::Query(pg_catalog::known(&p.text, &query).unwrap_or(query))
                    }
                    other => other,
                };
                Statement { text: p.text, parsed: Some(Arc::new(parsed)), lookup: Arc::default() }
            })
            .collect())
    }

    /// Types the parameters (those the client declared stay) and the result.
    pub async fn prepare(&mut self, statement: Statement, declared: &[Option<DataType>]) -> Result<Prepared> {
        let Some(parsed) = statement.parsed.clone() else {
            return Ok(Prepared { statement, parameters: Vec::new(), columns: None });
        };
        let (plans, columns) = match parsed.as_ref() {
            sql::Statement::Query(query) => {
                let plan = self.plan(Purpose::Read, |context| async move { context.plan(query).await }).await?;
                let columns = query::shown(plan.schema().as_arrow());
                (vec![plan], Some(columns))
            }
            sql::Statement::Insert(insert) => {
                let snapshot = self.services.snapshot(&self.client);
                let object = snapshot.find(&dml::target(insert)?)?.clone();
                let table = dml::writable(&object)?;
                let plan = self
                    .plan(Purpose::Insert, |context| async move { dml::plan_insert(&context, insert, table).await })
                    .await?;
                self.with_returning(plan, insert, &object).await?
            }
            sql::Statement::Update(change) | sql::Statement::Delete(change) => {
                let snapshot = self.services.snapshot(&self.client);
                let object = snapshot.find(&dml::target(change)?)?.clone();
                let table = dml::writable(&object)?;
                let plan = self
                    .plan(Purpose::Change, |context| async move { change::plan_change(&context, change, table).await })
                    .await?;
                self.with_returning(plan, change, &object).await?
            }
            sql::Statement::Explain { .. } => (Vec::new(), Some(explain::schema())),
            sql::Statement::Subscribe(subscribe) => {
                let snapshot = self.services.snapshot(&self.client);
                (Vec::new(), Some(subscribe::schema(&snapshot, &self.client, subscribe)?))
            }
            sql::Statement::Copy(Copy::To { query, .. }) => {
                let plan = self.plan(Purpose::Read, |context| async move { context.plan(query).await }).await?;
                (vec![plan], None)
            }
            sql::Statement::DeclareCursor { inner, .. } => match inner.as_ref() {
                sql::Statement::Query(query) => {
                    let plan = self.plan(Purpose::Read, |context| async move { context.plan(query).await }).await?;
                    (vec![plan], None)
                }
                _ => (Vec::new(), None),
            },
            sql::Statement::FetchCursor { name, .. } => (Vec::new(), Some(self.cursor(name)?.schema())),
            sql::Statement::Execute { name, .. } => (Vec::new(), self.prepared(name)?.columns.clone()),
            other => (Vec::new(), show::schema(other)),
        };
        let told = match parsed.as_ref() {
            sql::Statement::Query(query) | sql::Statement::Copy(Copy::To { query, .. }) => {
                sql::parameters::told(query.as_ref())
            }
            sql::Statement::Insert(s) | sql::Statement::Update(s) | sql::Statement::Delete(s) => {
                sql::parameters::told(s.as_ref())
            }
            sql::Statement::DeclareCursor { inner, .. } => match inner.as_ref() {
                sql::Statement::Query(query) => sql::parameters::told(query.as_ref()),
                _ => BTreeMap::new(),
            },
            _ => BTreeMap::new(),
        };
        let parameters = match plans.is_empty() {
            true => Vec::new(),
            false => parameters::types(&plans, declared, &told)?,
        };
        Ok(Prepared { statement, parameters, columns })
    }

    /// The plans of a statement that writes, and the columns of what it returns.
    async fn with_returning(
        &self,
        plan: LogicalPlan,
        statement: &sql::ast::Statement,
        object: &Object,
    ) -> Result<(Vec<LogicalPlan>, Option<SchemaRef>)> {
        let table = dml::writable(object)?;
        let others = others::of(&self.services, &self.client, statement, table).await?;
        let Some(query) = returning::query(statement, table, &others)? else { return Ok((vec![plan], None)) };
        let returned = returning::describe(&self.services, &self.client, &query, object, &others).await?;
        let columns = query::shown(returned.schema().as_arrow());
        Ok((vec![plan, returned], Some(columns)))
    }

    async fn plan<F>(&self, purpose: Purpose, f: impl FnOnce(crate::batch::BatchContext) -> F) -> Result<LogicalPlan>
    where
        F: Future<Output = Result<LogicalPlan>>,
    {
        let (snapshot, epoch, _pin) = self.services.pin(&self.client)?;
        f(self.services.batch.context(snapshot, epoch, purpose, self.client.clone())?).await
    }

    /// Runs a statement; `parameters` fill `$1`, ….
    pub async fn execute(&mut self, statement: &Statement, parameters: &[ScalarValue]) -> Result<Response> {
        let Some(parsed) = statement.parsed.clone() else { return Ok(Response::Empty) };
        let ends = matches!(
            parsed.as_ref(),
            sql::Statement::Commit | sql::Statement::Rollback | sql::Statement::RollbackToSavepoint { .. }
        );
        if self.transaction == TransactionStatus::Failed && !ends {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Error::new(ErrorKind::FailedTransaction, message));
        }
        self.client.doing.begin(&statement.text, &parsed);
        let deadline = self.client.variables().timeout("statement_timeout").map(|timeout| clock::instant() + timeout);
        let limits = Limits { cancel: self.cancel_token(), deadline };
        temporary::check_names(&self.services, &self.client, &statement.text, &parsed)?;
        let response = tokio::select! {
            biased;
            result = self.route(&parsed, statement, parameters, &limits) => result?,
            e = limits.reached() => return Err(e),
        };
        if self.transaction == TransactionStatus::Idle {
            self.end_temporary().await?;
        }
        Ok(response)
    }

    /// Takes bytes of the COPY that has begun; waits while it is behind.
    ///
    /// # Errors
    /// Of a bad line, perhaps of earlier data: the COPY is over then, and nothing of it was done.
    pub async fn copy_data(&mut self, bytes: Bytes) -> Result<()> {
        let Some(copy) = &mut self.copy else { return Ok(()) };
        let taken = copy.data(bytes).await;
        if taken.is_err() {
            self.copy = None;
        }
        taken
    }

    /// The COPY has all its data: its rows are on disk when this returns with the command tag.
    ///
    /// # Errors
    /// As [`Session::copy_data`].
    pub async fn copy_done(&mut self) -> Result<String> {
        let Some(copy) = self.copy.take() else { return Err(Error::internal("no COPY has begun")) };
        let copied = copy.finish(&self.services).await?;
        self.wrote(copied.written);
        if self.transaction == TransactionStatus::Idle {
            self.end_temporary().await?;
        }
        if copied.ignored > 0 {
            let rows = if copied.ignored == 1 { "row was" } else { "rows were" };
            let message = format!("{} {rows} skipped due to data type incompatibility", copied.ignored);
            self.notices.push(Notice { severity: "NOTICE", message });
        }
        Ok(format!("COPY {}", copied.rows))
    }

    /// Forgets the COPY that has begun.
    pub fn copy_abort(&mut self) {
        self.copy = None;
    }

    fn wrote(&mut self, written: Option<Written>) {
        if let Some(written) = written {
            self.filled.insert(written.table);
            self.written.insert(written.table, written);
        }
    }

    /// The session's writes are in a complete epoch when this returns, unless it has turned that off.
    async fn see_own_writes(&mut self) -> Result<()> {
        if !self.client.variables().implicit_flush() {
            return Ok(());
        }
        self.flush_writes().await
    }

    async fn flush_writes(&mut self) -> Result<()> {
        let writes: Vec<Written> = self.written.values().copied().collect();
        for written in writes {
            dml::wait_visible(&self.services, written).await?;
            self.written.remove(&written.table);
        }
        Ok(())
    }

    /// A session sees what was acknowledged before it began, perhaps to another one of the same client.
    async fn see_inherited(&mut self) {
        if !self.client.variables().implicit_flush() {
            return;
        }
        while let Some(written) = self.inherited.last().copied() {
            if let Err(e) = dml::wait_visible(&self.services, written).await {
                // A table that fails is told where it is read.
                tracing::debug!(table = written.table.0, error = %e, "what was written cannot be seen");
            }
            self.inherited.pop();
        }
    }

    /// Whoever wrote it, and before which restart: what is in the tables' logs is visible when this returns,
    /// closed windows too, and on disk: no crash computes it again.
    async fn flush(&mut self) -> Result<()> {
        logs_visible(&self.services).await?;
        self.written.clear();
        self.services.driver.settle().await?;
        self.services.driver.commit().await?;
        Ok(())
    }

    fn begin(&mut self) -> Response {
        if self.transaction != TransactionStatus::Idle {
            self.warn("there is already a transaction in progress");
        }
        self.transaction = TransactionStatus::InBlock;
        Response::Done("BEGIN".into())
    }

    fn end(&mut self, commit: bool) -> Response {
        let failed = self.transaction == TransactionStatus::Failed;
        if self.transaction == TransactionStatus::Idle {
            self.warn("there is no transaction in progress");
        } else if !commit {
            self.warn("statements take effect one by one: what ran before this ROLLBACK stays");
        }
        self.transaction = TransactionStatus::Idle;
        self.end_cursors();
        self.client.variables().end_local();
        Response::Done(if commit && !failed { "COMMIT" } else { "ROLLBACK" }.into())
    }

    fn warn(&mut self, message: &str) {
        self.notices.push(Notice { severity: "WARNING", message: message.into() });
    }

    /// Notices since the last call, to be sent before the statement's completion.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Variables whose change the client is told of (`TimeZone`, `application_name`, …) since the last call.
    pub fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        self.client.variables().take_changes()
    }

    /// Sets a variable at start-up (`application_name`, `TimeZone`, `options`), leniently: drivers send what they like.
    pub fn set_startup_parameter(&mut self, name: &str, value: &str) {
        if let Err(e) = self.client.variables().set(name, Some(value)) {
            tracing::debug!(name, value, error = %e, "a start-up parameter was ignored");
        }
    }

    /// How values are written as text, and texts are read.
    pub fn styles(&self) -> Styles {
        self.client.variables().styles()
    }

    pub fn transaction_status(&self) -> TransactionStatus {
        self.transaction
    }

    /// An error aborts an open transaction block.
    pub fn fail_transaction(&mut self) {
        if self.transaction == TransactionStatus::InBlock {
            self.transaction = TransactionStatus::Failed;
        }
    }

    /// Cancelled by CancelRequest; renewed before each statement.
    pub fn cancel_token(&self) -> CancellationToken {
        self.client.doing.cancel_token()
    }

    /// The columns of a cursor that DECLARE made.
    ///
    /// # Errors
    /// `UndefinedCursor`.
    pub fn cursor_columns(&self, name: &str) -> Result<SchemaRef> {
        Ok(self.cursor(name)?.schema())
    }

    /// Where the client is.
    pub fn set_address(&self, address: IpAddr) {
        self.client.doing.set_address(address);
    }

    /// All messages are answered: nothing runs until the next.
    pub fn rest(&self) {
        self.client.doing.rest(self.transaction);
    }

    /// How long the client may rest, and what ends the session then.
    pub fn idle_limit(&self) -> Option<(Duration, Error)> {
        let variables = self.client.variables();
        let (variable, kind, what) = match self.transaction {
            TransactionStatus::Idle => ("idle_session_timeout", ErrorKind::IdleSessionTimeout, "idle-session"),
            _ => ("idle_in_transaction_session_timeout", ErrorKind::IdleInTransactionTimeout, "idle-in-transaction"),
        };
        let limit = variables.timeout(variable)?;
        Some((limit, Error::new(kind, format!("terminating connection due to {what} timeout"))))
    }

    /// Cancelled when another session ends this one.
    pub fn terminated(&self) -> CancellationToken {
        self.client.doing.terminated.clone()
    }
}

/// Waits until all that is in the tables' logs now can be seen.
///
/// # Errors
/// Of the first table that has failed.
pub async fn logs_visible(services: &Arc<Services>) -> Result<()> {
    for object in services.catalog.snapshot().objects() {
        if dml::writable(object).is_ok() {
            let end = services.logs.get(object.id)?.end();
            dml::wait_visible(services, Written { table: object.id, end }).await?;
        }
    }
    Ok(())
}
