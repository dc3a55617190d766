//! One connection: its variables; routes each statement to `ddl`, `dml`, `query` or `show`.
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
mod parameters;
mod prepared;
mod query;
mod returning;
pub mod inflow;
pub mod replace;
mod role;
pub mod services;
pub mod settings;
mod show;
mod subscribe;
mod text;
pub mod variables;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use bytes::Bytes;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use tokio_util::sync::CancellationToken;

use self::client::SessionClient;
pub use self::ddl::complete_index;
use self::dml::Written;
use self::query::Limits;
use self::returning::Returned;
use self::services::Services;
use crate::batch::{Client, LookupCache, Purpose, pg_catalog};
use crate::catalog::role::denied;
use crate::catalog::{Definition, Object};
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
    /// What was acknowledged to others before the session began, and could not be read yet then.
    inherited: Vec<Written>,
    /// A COPY that takes data.
    copy: Option<copy::CopyIn>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.client.planning().clear();
        self.services.activity.leave(self.client.id());
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
                let snapshot = self.services.catalog.snapshot();
                let object = snapshot.find(&dml::target(insert)?)?.clone();
                let table = dml::writable(&object)?;
                let plan = self
                    .plan(Purpose::Insert, |context| async move { dml::plan_insert(&context, insert, table).await })
                    .await?;
                self.with_returning(plan, insert, &object).await?
            }
            sql::Statement::Update(change) | sql::Statement::Delete(change) => {
                let snapshot = self.services.catalog.snapshot();
                let object = snapshot.find(&dml::target(change)?)?.clone();
                let table = dml::writable(&object)?;
                let plan = self
                    .plan(Purpose::Change, |context| async move { change::plan_change(&context, change, table).await })
                    .await?;
                self.with_returning(plan, change, &object).await?
            }
            sql::Statement::Explain { .. } => (Vec::new(), Some(explain::schema())),
            sql::Statement::Subscribe(subscribe) => {
                let snapshot = self.services.catalog.snapshot();
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
        let Some(query) = returning::query(statement)? else { return Ok((vec![plan], None)) };
        let returned = returning::describe(&self.services, &self.client, &query, object).await?;
        let columns = query::shown(returned.schema().as_arrow());
        Ok((vec![plan, returned], Some(columns)))
    }

    async fn plan<F>(&self, purpose: Purpose, f: impl FnOnce(crate::batch::BatchContext) -> F) -> Result<LogicalPlan>
    where
        F: Future<Output = Result<LogicalPlan>>,
    {
        let (snapshot, epoch, _pin) = self.services.pin()?;
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
        tokio::select! {
            biased;
            result = self.route(&parsed, statement, parameters, &limits) => result,
            e = limits.reached() => Err(e),
        }
    }

    async fn route(
        &mut self,
        parsed: &sql::Statement,
        statement: &Statement,
        parameters: &[ScalarValue],
        limits: &Limits,
    ) -> Result<Response> {
        use sql::Statement as S;
        match parsed {
            S::Query(query) => {
                self.see_own_writes().await?;
                // What a server does can be asked while it still reads what was written.
                if !self.inherited.is_empty() && self.reads_rows(query) {
                    self.see_inherited().await;
                }
                let (services, client) = (&self.services, &self.client);
                let stream = match query::look_up(services, client, query, &statement.lookup, parameters).await? {
                    Some(stream) => stream,
                    None => query::run(services, client, query, parameters, limits.clone()).await?,
                };
                Ok(Response::Rows { tag: "SELECT", stream })
            }
            S::Insert(insert) => {
                if reads_tables(insert) {
                    self.see_own_writes().await?;
                    self.see_inherited().await;
                }
                let outcome = dml::insert(&self.services, &self.client, insert, parameters).await?;
                self.wrote(outcome.written);
                Ok(wrote("INSERT 0", outcome))
            }
            S::Update(change) | S::Delete(change) => {
                self.see_own_writes().await?;
                self.see_inherited().await;
                let outcome = change::change(&self.services, &self.client, change, parameters).await?;
                self.wrote(outcome.written);
                let tag = if matches!(parsed, S::Update(_)) { "UPDATE" } else { "DELETE" };
                Ok(wrote(tag, outcome))
            }
            S::Explain { analyze, inner } => {
                if *analyze {
                    self.see_own_writes().await?;
                }
                let lines = explain::lines(&self.services, &self.client, inner, *analyze).await?;
                rows("EXPLAIN", explain::batch(lines)?)
            }
            S::Copy(Copy::From { table, columns, options }) => {
                let copy = copy::start(&self.services, &self.client, table, columns, options).await?;
                let columns = copy.columns.clone();
                self.copy = Some(copy);
                Ok(Response::CopyIn { columns, binary: options.binary })
            }
            S::Copy(Copy::To { query, options }) => {
                self.see_own_writes().await?;
                self.see_inherited().await;
                let stream = query::run(&self.services, &self.client, query, parameters, limits.clone()).await?;
                Ok(Response::CopyOut { stream, options: options.clone() })
            }
            S::Flush => {
                self.flush().await?;
                Ok(Response::Done("FLUSH".into()))
            }
            S::Refresh { name } => {
                let snapshot = self.services.catalog.snapshot();
                let object = snapshot.find(name)?;
                if !matches!(object.definition, Definition::MaterializedView(_)) {
                    let message = format!("\"{name}\" is not a materialized view");
                    return Err(Error::new(ErrorKind::WrongObjectType, message));
                }
                snapshot.check_owner(&self.client.user(), object)?;
                self.flush().await?;
                Ok(Response::Done("REFRESH MATERIALIZED VIEW".into()))
            }
            S::Wait => {
                for job in self.services.jobs.status() {
                    self.services.jobs.wait_backfilled(job.spec.id).await?;
                }
                Ok(Response::Done("WAIT".into()))
            }
            S::Begin => Ok(self.begin()),
            S::Commit | S::Rollback => Ok(self.end(matches!(parsed, S::Commit))),
            S::Savepoint { .. } => Ok(Response::Done("SAVEPOINT".into())),
            S::ReleaseSavepoint { .. } => Ok(Response::Done("RELEASE".into())),
            S::RollbackToSavepoint { .. } => {
                self.transaction = TransactionStatus::InBlock;
                self.warn("statements take effect one by one: nothing was rolled back");
                Ok(Response::Done("ROLLBACK".into()))
            }
            S::SetVariable { name, value, local } => {
                let in_block = self.transaction != TransactionStatus::Idle;
                match local {
                    true if in_block => self.client.variables().set_local(name, value.as_deref())?,
                    true => self.warn("SET LOCAL can only be used in transaction blocks"),
                    false => self.client.variables().set(name, value.as_deref())?,
                }
                Ok(Response::Done("SET".into()))
            }
            S::ResetVariable { name } => {
                let mut variables = self.client.variables();
                match name {
                    Some(name) => variables.set(name, None)?,
                    None => variables.reset_all(),
                }
                Ok(Response::Done("RESET".into()))
            }
            S::AlterSystemSet { name, value } => {
                let to = format!("set parameter \"{name}\"");
                self.services.catalog.snapshot().check_superuser(&self.client.user(), &to)?;
                let (barrier, checkpoint) = self.services.settings.set(name, value.as_deref())?;
                self.services.driver.set_intervals(barrier, checkpoint);
                Ok(Response::Done("ALTER SYSTEM".into()))
            }
            S::Discard { what } => {
                if what == "ALL" {
                    self.client.set_session_user(None);
                    self.client.variables().reset_all();
                    self.prepared.clear();
                    self.cursors.clear();
                }
                Ok(Response::Done(format!("DISCARD {what}")))
            }
            // Nothing can be listened to.
            S::Unlisten => Ok(Response::Done("UNLISTEN".into())),
            S::Prepare { name, types, inner } => self.prepare_text(name, types, inner, &statement.text).await,
            S::Execute { name, arguments } => {
                let (inner, values) = self.bind_text(name, arguments).await?;
                match &inner.parsed {
                    Some(parsed) => Box::pin(self.route(parsed, &inner, &values, limits)).await,
                    None => Ok(Response::Empty),
                }
            }
            S::Deallocate { name } => {
                match name {
                    Some(name) => drop(self.prepared.remove(name)),
                    None => self.prepared.clear(),
                }
                Ok(Response::Done("DEALLOCATE".into()))
            }
            S::Subscribe(subscribe) => {
                self.see_own_writes().await?;
                let subscription = subscribe::start(&self.services, &self.client, subscribe).await?;
                Ok(Response::Rows { tag: "SUBSCRIBE", stream: subscription.stream(limits.clone()) })
            }
            S::DeclareCursor { name, hold, inner } => {
                self.declare(name, *hold, inner, parameters).await?;
                Ok(Response::Done("DECLARE CURSOR".into()))
            }
            S::FetchCursor { name, rows, timeout } => {
                let stream = self.fetch(name, *rows, timeout.as_deref(), limits)?;
                Ok(Response::Rows { tag: "FETCH", stream })
            }
            S::MoveCursor { name, rows } => {
                let moved = self.move_cursor(name, *rows, limits).await?;
                Ok(Response::Done(format!("MOVE {moved}")))
            }
            S::CloseCursor { name } => {
                self.close(name.as_deref())?;
                Ok(Response::Done(if name.is_some() { "CLOSE CURSOR" } else { "CLOSE CURSOR ALL" }.into()))
            }
            S::Show { .. } | S::ShowCreate { .. } | S::Describe { .. } | S::ShowVariable { .. } => {
                let batch = show::run(&self.services, &self.client.variables(), parsed)?;
                rows("SHOW", batch)
            }
            S::CreateSource(_)
            | S::CreateTable(_)
            | S::CreateMaterializedView(_)
            | S::CreateView(_)
            | S::CreateSink(_)
            | S::CancelJobs { .. }
            | S::CreateIndex(_)
            | S::Drop(_)
            | S::CreateFunction(_)
            | S::DropFunction { .. } => {
                let background = self.client.variables().background_ddl();
                let author = ddl::Author { role: &self.client.user(), background };
                let done = ddl::run(&self.services, author, &statement.text, parsed).await;
                let done = self.audited(parsed, done.map(|done| (done.tag, done.notices)));
                self.done(done?)
            }
            S::CreateTableAs(create) => {
                self.see_own_writes().await?;
                self.see_inherited().await;
                let made = create_table_as::run(&self.services, &self.client, create).await;
                let made = self.audited(parsed, made)?;
                self.tell(made.notices);
                let tag = made.rows.map_or("CREATE TABLE AS".into(), |rows| format!("SELECT {rows}"));
                Ok(Response::Done(tag))
            }
            S::Alter(statement) => {
                let (current, session) = (self.client.user(), self.client.session_user());
                let actor = role::Actor { current: &current, session: &session };
                let done = alter::run(&self.services, &self.client, actor, statement).await;
                let done = self.audited(parsed, done);
                self.done(done?)
            }
            S::CreateRole(_) | S::AlterRole(_) | S::DropRole { .. } | S::Grant(_) | S::Revoke(_) | S::Comment(_) => {
                let (current, session) = (self.client.user(), self.client.session_user());
                let actor = role::Actor { current: &current, session: &session };
                let done = role::run(&self.services, actor, parsed).await;
                let done = self.audited(parsed, done);
                self.done(done?)
            }
            S::SetRole { name } => {
                let snapshot = self.services.catalog.snapshot();
                if let Some(name) = name {
                    snapshot.find_role(name)?;
                    if !snapshot.has_role(&self.client.session_user(), name) {
                        return Err(denied(format!("permission denied to set role \"{name}\"")));
                    }
                }
                self.client.set_role(name.as_deref());
                Ok(Response::Done("SET".into()))
            }
            S::SetSessionAuthorization { name } => {
                let snapshot = self.services.catalog.snapshot();
                if let Some(name) = name {
                    snapshot.find_role(name)?;
                    if !snapshot.is_superuser(&self.client.login()) && *name != self.client.login() {
                        return Err(denied("permission denied to set session authorization"));
                    }
                }
                self.client.set_session_user(name.as_deref());
                Ok(Response::Done("SET".into()))
            }
        }
    }

    fn done(&mut self, (tag, notices): (&'static str, Vec<String>)) -> Result<Response> {
        self.tell(notices);
        Ok(Response::Done(tag.into()))
    }

    fn tell(&mut self, notices: Vec<String>) {
        self.notices.extend(notices.into_iter().map(|message| Notice { severity: "NOTICE", message }));
    }

    /// One line of the log for each change of the catalog: who, what, on which object. Never the statement's text, which
    /// may hold a password.
    fn audited<T>(&self, statement: &sql::Statement, outcome: Result<T>) -> Result<T> {
        let (user, login, (action, object)) = (self.client.user(), self.client.login(), statement.action());
        match &outcome {
            Ok(_) => tracing::info!(target: "audit", session = self.id().0, login, user, action, object, "done"),
            Err(e) => {
                let state = e.kind().sqlstate();
                tracing::info!(target: "audit", session = self.id().0, login, user, action, object, state, "refused");
            }
        }
        outcome
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

    /// Whether a query names a table or a view of users.
    fn reads_rows(&self, query: &sql::ast::Query) -> bool {
        let snapshot = self.services.catalog.snapshot();
        let found = sql::ast::visit_relations(query, |name| match sql::name::object_name(name) {
            Ok(name) if snapshot.get(&name).is_some() => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        found.is_break()
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

/// What a statement that wrote gives back.
fn wrote(tag: &'static str, outcome: dml::Outcome) -> Response {
    match outcome.returned {
        Some(Returned { schema, rows }) => {
            let rows = futures::stream::iter(rows.into_iter().map(Ok));
            Response::Rows { tag, stream: Box::pin(RecordBatchStreamAdapter::new(schema, rows)) }
        }
        None => Response::Done(format!("{tag} {}", outcome.rows)),
    }
}

/// One batch as a response.
fn rows(tag: &'static str, batch: RecordBatch) -> Result<Response> {
    let stream = RecordBatchStreamAdapter::new(batch.schema(), futures::stream::iter([Ok(batch)]));
    Ok(Response::Rows { tag, stream: Box::pin(stream) })
}

/// Whether an INSERT takes its rows, or a part of what it returns, from tables.
fn reads_tables(insert: &sql::ast::Statement) -> bool {
    use sql::ast;
    let ast::Statement::Insert(insert) = insert else { return false };
    let body = insert.source.as_ref().map(|query| query.body.as_ref());
    let asks = |items: &Vec<ast::SelectItem>| ast::visit_relations(items, |_| ControlFlow::Break(())).is_break();
    !matches!(body, Some(ast::SetExpr::Values(_)) | None) || insert.returning.as_ref().is_some_and(asks)
}
