//! CREATE TABLE AS: a table with the rows that a query gives now. It is seen when it has them all, or never.
//!
//! ```text
//! query --> load --> the new table's log, durable --> the table's job and its definition, durable --> rows visible --> table visible
//! ```
//! A crash before the definition is durable leaves a log that nobody knows: the next start deletes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};

use super::client::SessionClient;
use super::dml;
use super::load::{Loaded, load};
use super::query;
use super::services::Services;
use super::text;
use crate::batch::{Client, Purpose};
use crate::catalog::{Acl, Definition, Object, Privilege, Snapshot, Table};
use crate::common::{Error, ErrorKind, Result};
use crate::job::JobSpec;
use crate::log::Retention;
use crate::planner;
use crate::sql::statement::{CreateTable, CreateTableAs};
use crate::types::{JobId, Temporary, sql_type};

/// What it answers.
pub struct Created {
    /// `None` when the query was not to be run.
    pub rows: Option<u64>,
    pub notices: Vec<String>,
}

/// Runs the query and makes the table.
///
/// # Errors
/// Of the query; `DuplicateTable`; `DuplicateColumn`; `Syntax` for more names than columns. Nothing is there then.
pub async fn run(services: &Arc<Services>, client: &Arc<SessionClient>, create: &CreateTableAs) -> Result<Created> {
    let (snapshot, epoch, pin) = services.pin(client)?;
    if let Some(notice) = exists(&snapshot, client, create)? {
        return Ok(Created { rows: None, notices: vec![notice] });
    }
    if create.temporary.is_none() {
        snapshot.check_schema(&client.user(), Privilege::Create)?;
    }
    let context = services.batch.context(snapshot, epoch, Purpose::Read, client.clone())?;
    let plan = context.plan(&create.query).await?;
    let physical = context.physical(plan).await?;
    drop(pin);
    let id = services.catalog.next_job_id();
    let table = define(services, id, create, &query::shown(&physical.schema()))?;
    services.open_log(id, Retention::NONE).await?;
    let mut undo = RemoveLog { services, id: Some(id) };
    let mut written = None;
    let mut rows = None;
    if create.with_data {
        let stream = context.execute(physical)?;
        let Loaded { rows: count, entry } = load(&table, &create.name, services.logs.get(id)?, stream).await?;
        written = entry.append(services, id, services.table_lock(id).read_owned().await).await?;
        rows = Some(count);
    }
    let graph =
        serde_json::from_str(&table.graph).map_err(|e| Error::internal(format!("a plan cannot be stored: {e}")))?;
    let spec = JobSpec { id, name: create.name.clone(), kind: "table", graph };
    let object = Object {
        id,
        name: create.name.clone(),
        owner: client.user(),
        sql: text::create_table(&create.name, &table),
        created_at: services.jobs.env().clock.now_micros(),
        depends_on: Vec::new(),
        acl: Acl::default(),
        temporary: create.temporary.map(|on_commit| Temporary { session: client.id(), on_commit }),
        comments: BTreeMap::new(),
        definition: Definition::Table(table),
    };
    let guard = services.ddl.lock().await;
    // Somebody else may have made one meanwhile.
    if let Some(notice) = exists(&services.catalog.snapshot(), client, create)? {
        return Ok(Created { rows: None, notices: vec![notice] });
    }
    undo.id = None;
    let made = services
        .finish(|services| async move {
            let change = services.catalog.create(object)?;
            services.jobs.create(spec, change.writes).await?;
            let visible = match written {
                Some(written) => dml::wait_visible(&services, written).await,
                None => Ok(()),
            };
            services.catalog.publish(change.snapshot);
            visible
        })
        .await;
    drop(guard);
    if made.is_err() && services.catalog.snapshot().by_id(id).is_none() {
        undo.id = Some(id);
    }
    made.map(|()| Created { rows, notices: Vec::new() })
}

/// The notice of IF NOT EXISTS when there is such a table.
fn exists(snapshot: &Arc<Snapshot>, client: &SessionClient, create: &CreateTableAs) -> Result<Option<String>> {
    let plain = snapshot.plain();
    let there = match create.temporary {
        None => plain.get(&create.name),
        Some(_) => plain.temporary_of(client.id()).find(|o| o.name == create.name),
    };
    match there {
        None => Ok(None),
        Some(_) => {
            let message = format!("relation \"{}\" already exists", create.name);
            match create.if_not_exists {
                true => Ok(Some(format!("{message}, skipping"))),
                false => Err(Error::new(ErrorKind::DuplicateTable, message)),
            }
        }
    }
}

/// A table without a key, of the query's columns.
fn define(services: &Services, id: JobId, create: &CreateTableAs, given: &Schema) -> Result<Table> {
    if create.columns.len() > given.fields().len() {
        return Err(Error::new(ErrorKind::Syntax, "too many column names were specified")
            .with_hint(format!("the query has {} columns", given.fields().len())));
    }
    let mut fields: Vec<Field> = Vec::with_capacity(given.fields().len());
    for (index, field) in given.fields().iter().enumerate() {
        let name = create.columns.get(index).unwrap_or(field.name());
        if fields.iter().any(|f| f.name() == name) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(
                Error::new(ErrorKind::DuplicateColumn, message).with_hint("give one of them another name with AS")
            );
        }
        fields
            .push(Field::clone(field).with_name(name).with_data_type(sql_type(field.data_type())).with_nullable(true));
    }
    let empty = CreateTable {
        name: create.name.clone(),
        if_not_exists: false,
        temporary: None,
        columns: Vec::new(),
        primary_key: Vec::new(),
        conflict: None,
        watermark: None,
        append_only: false,
        options: BTreeMap::new(),
    };
    planner::define_table(&empty, id, Some(&Schema::new(fields)), &mut || services.catalog.next_table_id())
}

/// Takes back the log of a table that did not come to be.
struct RemoveLog<'a> {
    services: &'a Arc<Services>,
    id: Option<JobId>,
}

impl Drop for RemoveLog<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let services = self.services.clone();
        self.services.background.spawn(async move {
            if let Err(e) = services.remove_log(id).await {
                tracing::warn!(error = %e, "the log of what was not made stays until the next start");
            }
        });
    }
}
