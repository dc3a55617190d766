//! Temporary tables: tables of one session, which go with it. Nothing else than queries and writes of that session reads
//! them; a start drops what a crash has left.
//!
//! A name means the session's table first. `public.t` while a temporary table `t` hides it is refused, because what is
//! parsed knows no schemas.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Session;
use super::change::change;
use super::client::SessionClient;
use super::ddl::drop_objects;
use super::services::Services;
use crate::batch::Client;
use crate::catalog::def::PUBLIC;
use crate::catalog::{Definition, Snapshot};
use crate::common::{Error, ErrorKind, Result};
use crate::job::tables_of;
use crate::sql::name::{TEMPORARY, qualified, quote};
use crate::sql::{self, ast, name};
use crate::types::{JobId, OnCommit, SessionId};

/// What is kept for all cannot read what one session sees.
///
/// # Errors
/// `NotSupported` for a query that names a temporary table of the session.
pub fn refuse(snapshot: &Snapshot, client: &SessionClient, query: &ast::Query) -> Result<()> {
    if !snapshot.has_temporary() {
        return Ok(());
    }
    let named = ast::visit_relations(query, |relation| match name::object_name(relation) {
        Ok(name) if is_temporary(snapshot, client, &name) => ControlFlow::Break(name),
        _ => ControlFlow::Continue(()),
    });
    match named {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(name) => {
            Err(Error::not_supported(format!("\"{name}\" is a temporary table: views and sinks cannot read it"))
                .with_hint(format!("CREATE TABLE another AS SELECT * FROM {name}, and read that")))
        }
    }
}

/// A sink runs for ever.
///
/// # Errors
/// `NotSupported` for a temporary table of the session.
pub fn refuse_target(snapshot: &Snapshot, client: &SessionClient, table: &str) -> Result<()> {
    match is_temporary(snapshot, client, table) {
        false => Ok(()),
        true => Err(Error::not_supported(format!("\"{table}\" is a temporary table: no sink can fill it"))
            .with_hint("INSERT INTO it, or leave TEMPORARY out where it is made")),
    }
}

fn is_temporary(snapshot: &Snapshot, client: &SessionClient, name: &str) -> bool {
    snapshot.temporary_of(client.id()).any(|o| o.name == name)
}

/// Whether names with a schema mean what they say.
///
/// # Errors
/// `UndefinedTable` for `pg_temp.t` without a temporary table; `NotSupported` for `public.t` that one hides.
pub fn check_names(services: &Services, client: &SessionClient, text: &str, statement: &sql::Statement) -> Result<()> {
    let snapshot = services.catalog.snapshot();
    if !snapshot.has_temporary() && !text.contains(TEMPORARY) {
        return Ok(());
    }
    let made = match statement {
        sql::Statement::CreateTable(create) if create.temporary.is_some() => Some(&create.name),
        sql::Statement::CreateTableAs(create) if create.temporary.is_some() => Some(&create.name),
        _ => None,
    };
    for (schema, name) in qualified(text) {
        let temporary = made == Some(&name) || is_temporary(&snapshot, client, &name);
        if schema == TEMPORARY && !temporary {
            let message = format!("relation \"{TEMPORARY}.{name}\" does not exist");
            return Err(Error::new(ErrorKind::UndefinedTable, message)
                .with_hint("what CREATE TEMPORARY TABLE has made in this session is there"));
        }
        if schema == PUBLIC && temporary {
            let message = format!("{PUBLIC}.{name} cannot be named while a temporary table \"{name}\" hides it");
            return Err(Error::not_supported(message).with_hint("DROP or rename the temporary table first"));
        }
    }
    Ok(())
}

/// Drops what sessions that are no more have left: at a start.
///
/// # Errors
/// When that cannot be written.
pub async fn drop_left(services: &Arc<Services>) -> Result<()> {
    let snapshot = services.catalog.snapshot();
    let left: Vec<_> = snapshot.objects().filter(|o| o.temporary.is_some()).collect();
    if left.is_empty() {
        return Ok(());
    }
    let mut tables = Vec::new();
    for object in &left {
        if let Some(graph) = object.definition.graph() {
            let graph = serde_json::from_str(graph)
                .map_err(|e| Error::corrupted(format!("the stored plan of {}: {e}", object.name)))?;
            tables.extend(tables_of(&graph));
        }
    }
    let ids: Vec<JobId> = left.iter().map(|o| o.id).collect();
    let change = services.catalog.alter(Vec::new(), &ids)?;
    services.jobs.write_meta(change.writes, tables).await?;
    services.catalog.publish(change.snapshot);
    Ok(())
}

/// Drops the temporary objects of a session that `which` chooses.
pub async fn drop_of(services: &Arc<Services>, session: SessionId, which: fn(OnCommit) -> bool) -> Result<()> {
    let _guard = services.ddl.lock().await;
    let snapshot = services.catalog.snapshot();
    let chosen = snapshot.temporary_of(session).filter(|o| o.temporary.is_some_and(|t| which(t.on_commit)));
    let ids: Vec<_> = chosen.map(|o| o.id).collect();
    if ids.is_empty() { Ok(()) } else { drop_objects(services, ids).await }
}

/// The session ends: what is its own goes, in the background.
pub fn leave(services: &Arc<Services>, session: SessionId) {
    if services.catalog.snapshot().temporary_of(session).next().is_none() {
        return;
    }
    let services = services.clone();
    services.background.clone().spawn(async move {
        if let Err(e) = drop_of(&services, session, |_| true).await {
            tracing::error!(session = session.0, error = %e, "temporary tables stay until the next start");
        }
    });
}

impl Session {
    /// A transaction has ended: ON COMMIT of the session's temporary tables.
    pub(super) async fn end_temporary(&mut self) -> Result<()> {
        let written = std::mem::take(&mut self.filled);
        let snapshot = self.services.catalog.snapshot();
        if !snapshot.has_temporary() {
            return Ok(());
        }
        let (session, mut emptied, mut drops) = (self.client.id(), Vec::new(), false);
        for object in snapshot.temporary_of(session) {
            let is_table = matches!(object.definition, Definition::Table(_));
            match object.temporary.map(|t| t.on_commit) {
                Some(OnCommit::Drop) => drops = true,
                Some(OnCommit::DeleteRows) if is_table && written.contains(&object.id) => {
                    emptied.push(object.name.clone());
                }
                _ => {}
            }
        }
        if drops {
            drop_of(&self.services, session, |on| on == OnCommit::Drop).await?;
        }
        for name in emptied {
            for parsed in sql::parse(&format!("DELETE FROM {}", quote(&name)))? {
                let sql::Statement::Delete(delete) = parsed.statement else { continue };
                let outcome = change(&self.services, &self.client, &delete, &[]).await?;
                self.written.extend(outcome.written.map(|w| (w.table, w)));
            }
        }
        Ok(())
    }
}
