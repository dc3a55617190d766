//! Each statement to the file that knows it: `ddl`, `dml`, `query`, `show` and their kin.

use std::ops::ControlFlow;

use arrow::array::RecordBatch;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;

use super::cursors::Kind;
use super::query::Limits;
use super::returning::Returned;
use super::{
    Notice, Response, Session, Statement, TransactionStatus, alter, change, copy, create_table_as, ddl, dml, explain,
    query, role, show, subscribe, temporary,
};
use crate::batch::Client;
use crate::catalog::Definition;
use crate::catalog::role::denied;
use crate::common::{Error, ErrorKind, Result};
use crate::sql;
use crate::sql::statement::Copy;

impl Session {
    pub(super) async fn route(
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
            S::Truncate { tables, restart } => {
                self.see_own_writes().await?;
                self.see_inherited().await;
                for written in change::truncate(&self.services, &self.client, tables, *restart).await? {
                    self.wrote(Some(written));
                }
                Ok(Response::Done("TRUNCATE TABLE".into()))
            }
            S::Maintain { tag, notice } => self.done((tag, notice.iter().cloned().collect())),
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
            S::Savepoint { .. } | S::ReleaseSavepoint { .. } | S::RollbackToSavepoint { .. }
                if self.transaction == TransactionStatus::Idle =>
            {
                let what = match parsed {
                    S::Savepoint { .. } => "SAVEPOINT",
                    S::ReleaseSavepoint { .. } => "RELEASE SAVEPOINT",
                    _ => "ROLLBACK TO SAVEPOINT",
                };
                let message = format!("{what} can only be used in transaction blocks");
                Err(Error::new(ErrorKind::NoActiveTransaction, message))
            }
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
                if what == "ALL" || what == "SEQUENCES" {
                    self.client.taken().clear();
                }
                if what == "ALL" {
                    self.client.set_session_user(None);
                    self.client.variables().reset_all();
                    self.prepared.clear();
                    self.cursors.clear();
                }
                if matches!(what.as_str(), "ALL" | "TEMP" | "TEMPORARY") {
                    temporary::drop_of(&self.services, self.client.id(), |_| true).await?;
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
            S::DeclareCursor { name, hold, scroll, inner } => {
                self.declare(name, Kind { hold: *hold, scroll: *scroll }, inner, parameters).await?;
                Ok(Response::Done("DECLARE CURSOR".into()))
            }
            S::FetchCursor { name, direction, timeout } => {
                let stream = self.fetch(name, *direction, timeout.as_deref(), limits)?;
                Ok(Response::Rows { tag: "FETCH", stream })
            }
            S::MoveCursor { name, direction } => {
                let moved = self.move_cursor(name, *direction, limits).await?;
                Ok(Response::Done(format!("MOVE {moved}")))
            }
            S::CloseCursor { name } => {
                self.close(name.as_deref())?;
                Ok(Response::Done(if name.is_some() { "CLOSE CURSOR" } else { "CLOSE CURSOR ALL" }.into()))
            }
            S::Show { .. } | S::ShowCreate { .. } | S::Describe { .. } | S::ShowVariable { .. } => {
                let batch = show::run(&self.services, &self.client, parsed)?;
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
            | S::CreateSequence(_)
            | S::AlterSequence { .. }
            | S::DropSequence { .. }
            | S::CreateSecret { .. }
            | S::AlterSecret { .. }
            | S::DropSecret { .. }
            | S::DropFunction { .. } => {
                let background = self.client.variables().background_ddl();
                let author = ddl::Author { client: &self.client, role: &self.client.user(), background };
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
                let done = role::run(&self.services, &self.client, actor, parsed).await;
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

    pub(super) fn tell(&mut self, notices: Vec<String>) {
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

    /// Whether a query names a table or a view of users.
    fn reads_rows(&self, query: &sql::ast::Query) -> bool {
        let snapshot = self.services.snapshot(&self.client);
        let found = sql::ast::visit_relations(query, |name| match sql::name::object_name(name) {
            Ok(name) if snapshot.get(&name).is_some() => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        found.is_break()
    }
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
