//! CREATE and DROP: checked, planned, started, and durable when they return.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::client::SessionClient;
use super::inflow;
use super::replace;
use super::services::{Services, log_retention};
use super::temporary;
use crate::batch::Client;
use crate::catalog::{Acl, Catalog, Column, Definition, MaterializedView, Object, Privilege, Sink, Snapshot, View};
use crate::common::{Error, ErrorKind, Result};
use crate::connector;
use crate::job::JobSpec;
use crate::log::Retention;
use crate::plan::FragmentGraph;
use crate::planner::{self, QuerySpec};
use crate::sql::statement::{
    CreateIndex, CreateMaterializedView, CreateSink, CreateSource, CreateTable, CreateView, Drop,
};
use crate::sql::{Statement, ast};
use crate::types::{JobId, Temporary, WithOptions};

/// What a statement answers.
pub struct Done {
    pub tag: &'static str,
    pub notices: Vec<String>,
}

/// Whose statement it is, and how it is to be run.
#[derive(Clone, Copy)]
pub struct Author<'a> {
    pub client: &'a SessionClient,
    pub role: &'a str,
    /// CREATE does not wait until what it made is filled.
    pub background: bool,
}

pub(super) struct Ddl<'a> {
    pub services: &'a Arc<Services>,
    pub client: &'a SessionClient,
    pub owner: &'a str,
    pub(super) background: bool,
    pub text: &'a str,
    pub notices: Vec<String>,
}

pub async fn run(services: &Arc<Services>, author: Author<'_>, text: &str, statement: &Statement) -> Result<Done> {
    let Author { client, role: owner, background } = author;
    let mut ddl = Ddl { services, client, owner, background, text, notices: Vec::new() };
    // What runs below must not be torn in two by a client that goes away: see `finish`.
    let tag = match statement {
        Statement::CreateSource(create) => ddl.create_source(create).await?,
        Statement::CreateTable(create) => ddl.create_table(create).await?,
        Statement::CreateMaterializedView(create) => ddl.create_materialized_view(create).await?,
        Statement::CreateView(create) => ddl.create_view(create).await?,
        Statement::CreateSink(create) => ddl.create_sink(create).await?,
        Statement::CreateIndex(create) => ddl.create_index(create).await?,
        Statement::Drop(drop) => ddl.drop(drop).await?,
        Statement::CreateFunction(create) => ddl.create_function(create).await?,
        Statement::DropFunction { if_exists, names } => ddl.drop_functions(*if_exists, names).await?,
        Statement::CreateSequence(create) => ddl.create_sequence(create).await?,
        Statement::AlterSequence { if_exists, name, action } => ddl.alter_sequence(name, *if_exists, action).await?,
        Statement::DropSequence { if_exists, names } => ddl.drop_sequences(*if_exists, names).await?,
        Statement::CreateSecret { name, if_not_exists, value } => {
            ddl.create_secret(name, *if_not_exists, value).await?
        }
        Statement::AlterSecret { name, value } => ddl.alter_secret(name, value).await?,
        Statement::DropSecret { if_exists, names } => ddl.drop_secrets(*if_exists, names).await?,
        Statement::CancelJobs { ids } => ddl.cancel_jobs(ids).await?,
        _ => return Err(Error::internal("not a definition")),
    };
    Ok(Done { tag, notices: ddl.notices })
}

impl Ddl<'_> {
    /// Whether IF NOT EXISTS makes the statement do nothing.
    pub(super) fn exists(&mut self, snapshot: &Snapshot, name: &str, if_not_exists: bool) -> bool {
        let exists = if_not_exists && snapshot.get(name).is_some();
        if exists {
            self.notices.push(skipping(name));
        }
        exists
    }

    /// Something may be made, and `query` read for it.
    pub fn may_create(&self, snapshot: &Snapshot, query: Option<&ast::Query>) -> Result<()> {
        snapshot.check_schema(self.owner, Privilege::Create)?;
        match query {
            Some(query) => {
                temporary::refuse(snapshot, self.client, query)?;
                let mut query = query.clone();
                planner::rewrite(&mut query, snapshot, planner::Purpose::Stream)?;
                planner::check_reads(&query, snapshot, self.owner)
            }
            None => Ok(()),
        }
    }

    /// The query as the catalog keeps it: no function is needed any more.
    fn kept_query(&self, snapshot: &Snapshot, query: &ast::Query) -> Result<String> {
        let mut query = query.clone();
        planner::inline_functions(&mut query, snapshot)?;
        Ok(query.to_string())
    }

    pub(super) fn object(&self, id: JobId, name: &str, depends_on: Vec<JobId>, definition: Definition) -> Object {
        Object {
            id,
            name: name.to_string(),
            owner: self.owner.to_string(),
            sql: self.text.trim().trim_end_matches(';').to_string(),
            created_at: self.services.jobs.env().clock.now_micros(),
            depends_on,
            acl: Acl::default(),
            temporary: None,
            comments: BTreeMap::new(),
            definition,
        }
    }

    /// Makes an object durable, starting its job if it has one, then visible. Runs to its end even if the client goes
    /// away: the catalog never knows less than what runs.
    async fn finish(&self, object: Object, graph: Option<FragmentGraph>, log: Option<Retention>) -> Result<()> {
        self.services
            .finish(|services| async move {
                let change = services.catalog.create(object.clone())?;
                let id = object.id;
                if let Some(retention) = log {
                    services.open_log(id, retention).await?;
                }
                let created = match graph {
                    Some(graph) => {
                        let kind = object.definition.kind();
                        let spec = JobSpec { id, name: object.name.clone(), kind, graph };
                        services.jobs.create(spec, change.writes).await
                    }
                    None => services.jobs.write_meta(change.writes, Vec::new()).await,
                };
                if let (Err(_), Some(_)) = (&created, log)
                    && let Err(e) = services.remove_log(id).await
                {
                    tracing::warn!(error = %e, "the log of what was not made stays until the next start");
                }
                created?;
                services.catalog.publish(change.snapshot);
                Ok(())
            })
            .await
    }

    async fn create_source(&mut self, create: &CreateSource) -> Result<&'static str> {
        let _guard = self.services.ddl.lock().await;
        let snapshot = self.services.catalog.snapshot();
        if self.exists(&snapshot, &create.name, create.if_not_exists) {
            return Ok("CREATE SOURCE");
        }
        let id = self.services.catalog.next_job_id();
        self.may_create(&snapshot, None)?;
        snapshot.check_secrets(self.owner, &create.options)?;
        let source = self.open(id, &create.name, &create.options)?;
        let columns = source.default_schema()?;
        let definition = planner::define_source(create, columns.as_deref())?;
        check_readable(source.as_ref(), &definition.columns)?;
        let definition = Definition::Source(definition);
        let log = log_retention(&definition, Some(source.as_ref()));
        self.finish(self.object(id, &create.name, Vec::new(), definition), None, log).await?;
        self.start_ingest(id, &create.name, source)?;
        Ok("CREATE SOURCE")
    }

    fn open(&self, id: JobId, name: &str, options: &WithOptions) -> Result<Arc<dyn connector::Source>> {
        connector::source(id, name, options, &self.services.jobs.env().connectors)
    }

    fn start_ingest(&self, id: JobId, name: &str, source: Arc<dyn connector::Source>) -> Result<()> {
        if source.ingest().is_some() {
            self.services.ingests.start(id, name, source, self.services.logs.get(id)?);
        }
        Ok(())
    }

    async fn create_table(&mut self, create: &CreateTable) -> Result<&'static str> {
        let id = self.services.catalog.next_job_id();
        let _guard = self.services.ddl.lock().await;
        let made = self.create_table_of(create, id).await;
        if made.is_err() {
            self.disown_sequences(id).await?;
        }
        made
    }

    async fn create_table_of(&mut self, create: &CreateTable, id: JobId) -> Result<&'static str> {
        let snapshot = self.services.catalog.snapshot();
        let there = match create.temporary {
            None => snapshot.get(&create.name),
            Some(_) => snapshot.temporary_of(self.client.id()).find(|o| o.name == create.name),
        };
        if there.is_some() && create.if_not_exists {
            self.notices.push(skipping(&create.name));
            return Ok("CREATE TABLE");
        }
        if create.temporary.is_none() {
            self.may_create(&snapshot, None)?;
        }
        snapshot.check_secrets(self.owner, &create.options)?;
        let source = match create.options.is_empty() {
            true => None,
            false => Some(self.open(id, &create.name, &create.options)?),
        };
        let columns = source.as_ref().map(|s| s.default_schema()).transpose()?.flatten();
        let catalog = &self.services.catalog;
        let create = &self.own_sequences(create, id).await?;
        let definition = planner::define_table(create, id, columns.as_deref(), &mut || catalog.next_table_id())?;
        if let Some(source) = &source {
            let visible: Vec<Column> = definition.columns.iter().filter(|c| !c.hidden).cloned().collect();
            check_readable(source.as_ref(), &visible)?;
        }
        let graph = serde_json::from_str(&definition.graph)
            .map_err(|e| Error::internal(format!("a plan cannot be stored: {e}")))?;
        let definition = Definition::Table(definition);
        let log = log_retention(&definition, source.as_deref());
        let mut object = self.object(id, &create.name, Vec::new(), definition);
        object.temporary = create.temporary.map(|on_commit| Temporary { session: self.client.id(), on_commit });
        self.finish(object, Some(graph), log).await?;
        if let Some(source) = source {
            self.start_ingest(id, &create.name, source)?;
        }
        Ok("CREATE TABLE")
    }

    async fn create_materialized_view(&mut self, create: &CreateMaterializedView) -> Result<&'static str> {
        const TAG: &str = "CREATE MATERIALIZED VIEW";
        let mut replaces = None;
        let id = {
            let _guard = self.services.ddl.lock().await;
            let snapshot = self.services.catalog.snapshot();
            let old = snapshot.get(&create.name).filter(|_| create.or_replace);
            if let Some(old) = old {
                replace::check(&snapshot, self.owner, old)?;
                replaces = Some(old.id);
            } else if self.exists(&snapshot, &create.name, create.if_not_exists) {
                return Ok(TAG);
            }
            self.may_create(&snapshot, Some(&create.query))?;
            let catalog = &self.services.catalog;
            let id = catalog.next_job_id();
            let planned = planner::plan_materialized_view(&snapshot, spec(create), &mut || catalog.next_table_id())?;
            self.notices.extend(planned.notices.iter().cloned());
            if let Some(old) = old {
                replace::check_fits(&snapshot, old, &planned.columns, &planned.depends_on)?;
            }
            let definition = MaterializedView {
                columns: planned.columns,
                key: planned.key,
                table: planned.table,
                append_only: planned.append_only,
                watermark_columns: planned.watermark_columns,
                replaces,
                query: self.kept_query(&snapshot, &create.query)?,
                graph: encode(&planned.graph)?,
            };
            let definition = Definition::MaterializedView(definition);
            let name = match replaces {
                Some(_) => replace::name_until_then(&create.name, id),
                None => create.name.clone(),
            };
            let object = self.object(id, &name, planned.depends_on, definition);
            self.finish(object, Some(planned.graph), None).await?;
            id
        };
        if self.background && replaces.is_none() {
            return Ok(TAG);
        }
        let mut undo = DropOnCancel { services: self.services, id: Some(id) };
        let backfilled = self.services.jobs.wait_backfilled(id).await;
        if let Some(old) = replaces {
            backfilled?;
            replace::take_over(self.services, id, old, &create.name).await?;
            undo.id = None;
            return Ok(TAG);
        }
        undo.id = None;
        backfilled?;
        // Or a restart would show the view half filled again.
        self.services.driver.commit().await.map(|_| TAG)
    }

    async fn create_view(&mut self, create: &CreateView) -> Result<&'static str> {
        let _guard = self.services.ddl.lock().await;
        let snapshot = self.services.catalog.snapshot();
        let old = snapshot.get(&create.name).filter(|_| create.or_replace);
        if old.is_none() && self.exists(&snapshot, &create.name, create.if_not_exists) {
            return Ok("CREATE VIEW");
        }
        self.may_create(&snapshot, Some(&create.query))?;
        let planned = planner::plan_view(&snapshot, &create.query, &create.columns)?;
        let definition = View { columns: planned.columns, query: self.kept_query(&snapshot, &create.query)? };
        let Some(old) = old else {
            let id = self.services.catalog.next_job_id();
            let object = self.object(id, &create.name, planned.depends_on, Definition::View(definition));
            self.finish(object, None, None).await?;
            return Ok("CREATE VIEW");
        };
        snapshot.check_owner(self.owner, old)?;
        let Definition::View(before) = &old.definition else {
            let message = format!("\"{}\" is a {}, not a view", create.name, old.definition.kind());
            return Err(Error::new(ErrorKind::WrongObjectType, message));
        };
        let same = before.columns.len() <= definition.columns.len()
            && before
                .columns
                .iter()
                .zip(&definition.columns)
                .all(|(a, b)| a.name == b.name && a.data_type == b.data_type);
        if !same {
            return Err(Error::new(ErrorKind::InvalidDefinition, "cannot change or drop columns of a view")
                .with_hint("new columns may follow the old ones; else DROP VIEW and create it anew"));
        }
        let object = self.object(old.id, &create.name, planned.depends_on, Definition::View(definition));
        let object =
            Object { owner: old.owner.clone(), acl: old.acl.clone(), comments: old.comments.clone(), ..object };
        let change = self.services.catalog.replace(object)?;
        self.services.jobs.write_meta(change.writes, Vec::new()).await?;
        self.services.catalog.publish(change.snapshot);
        Ok("CREATE VIEW")
    }

    async fn create_sink(&mut self, create: &CreateSink) -> Result<&'static str> {
        if let Some(target) = &create.into {
            return self.create_sink_into(create, target).await;
        }
        let _guard = self.services.ddl.lock().await;
        let snapshot = self.services.catalog.snapshot();
        if self.exists(&snapshot, &create.name, create.if_not_exists) {
            return Ok("CREATE SINK");
        }
        self.may_create(&snapshot, Some(&create.query))?;
        snapshot.check_secrets(self.owner, &create.options)?;
        let catalog = &self.services.catalog;
        let id = catalog.next_job_id();
        connector::sink(id, &create.name, &create.options, &self.services.jobs.env().connectors)?;
        let planned = {
            let query =
                QuerySpec { query: &create.query, columns: &[], emit: create.emit, options: &Default::default() };
            let ids = &mut || catalog.next_table_id();
            planner::plan_sink(&snapshot, id, &create.name, query, &create.options, ids)?
        };
        self.notices.extend(planned.notices.iter().cloned());
        let graph = encode(&planned.graph)?;
        let sink = Sink { into: None, options: create.options.clone(), columns: planned.columns, graph };
        let object = self.object(id, &create.name, planned.depends_on, Definition::Sink(sink));
        self.finish(object, Some(planned.graph), None).await?;
        Ok("CREATE SINK")
    }

    /// Drops views that are still being filled.
    async fn cancel_jobs(&mut self, ids: &[u32]) -> Result<&'static str> {
        let _guard = self.services.ddl.lock().await;
        let snapshot = self.services.catalog.snapshot();
        let mut dropped = Vec::new();
        for id in ids.iter().map(|id| JobId(*id)) {
            let filling = self.services.jobs.handles(id).is_some_and(|h| h.backfill.is_running());
            match snapshot.by_id(id) {
                Some(object) if filling => {
                    snapshot.check_owner(self.owner, object)?;
                    dropped.push(id);
                }
                Some(object) => {
                    let kind = object.definition.kind();
                    let message = format!("job {id} is not being created: {kind} \"{}\" is there", object.name);
                    return Err(Error::new(ErrorKind::ObjectNotReady, message).with_hint(format!(
                        "write DROP {} {}",
                        kind.to_uppercase(),
                        object.name
                    )));
                }
                None => {
                    return Err(Error::new(ErrorKind::UndefinedObject, format!("job {id} does not exist"))
                        .with_hint("SHOW JOBS lists the jobs"));
                }
            }
        }
        drop_objects(self.services, dropped).await?;
        Ok("CANCEL JOBS")
    }

    async fn create_index(&mut self, create: &CreateIndex) -> Result<&'static str> {
        const TAG: &str = "CREATE INDEX";
        let id = {
            let _guard = self.services.ddl.lock().await;
            let snapshot = self.services.snapshot(self.client);
            let name = match &create.name {
                Some(name) => name.clone(),
                None => planner::index_name(create, |name| snapshot.get(name).is_some()),
            };
            if self.exists(&snapshot, &name, create.if_not_exists) {
                return Ok(TAG);
            }
            let base = snapshot.find(&create.table)?;
            if base.temporary.is_none() {
                self.may_create(&snapshot, None)?;
            }
            snapshot.check_owner(self.owner, base)?;
            let catalog = &self.services.catalog;
            let id = catalog.next_job_id();
            let (index, graph) = planner::plan_index(base, create, &mut || catalog.next_table_id())?;
            let mut object = self.object(id, &name, vec![base.id], Definition::Index(index));
            object.temporary = base.temporary;
            self.finish(object, Some(graph), None).await?;
            id
        };
        let mut undo = DropOnCancel { services: self.services, id: Some(id) };
        let completed = complete_index(self.services, id).await;
        undo.id = None;
        completed.map(|()| TAG)
    }

    async fn drop(&mut self, drop: &Drop) -> Result<&'static str> {
        let _guard = self.services.ddl.lock().await;
        let snapshot = self.services.snapshot(self.client);
        let kind = drop.kind.name();
        let mut ids = Vec::new();
        for name in &drop.names {
            match snapshot.get(name) {
                Some(object) if object.definition.kind() == kind => {
                    snapshot.check_owner(self.owner, object)?;
                    ids.push(object.id);
                }
                Some(object) => {
                    let is = object.definition.kind();
                    return Err(Error::new(ErrorKind::WrongObjectType, format!("\"{name}\" is not a {kind}"))
                        .with_hint(format!("write DROP {} {name}", is.to_uppercase())));
                }
                None if drop.if_exists => self.notices.push(format!("{kind} \"{name}\" does not exist, skipping")),
                None => return Err(snapshot.find(name).err().unwrap_or_else(|| Error::internal("lost"))),
            }
        }
        if drop.cascade {
            let all = snapshot.with_dependants(&ids);
            for id in all.iter().filter(|id| !ids.contains(id)) {
                let object = snapshot.by_id(*id);
                if let Some(object) = object.filter(|o| !matches!(o.definition, Definition::Index(_))) {
                    self.notices.push(format!("drop cascades to {} {}", object.definition.kind(), object.name));
                }
            }
            ids = all;
        }
        // An index goes with its table.
        for id in ids.clone() {
            ids.extend(
                snapshot.indexes_of(id).map(|index| index.id).filter(|index| !ids.contains(index)).collect::<Vec<_>>(),
            );
        }
        if !ids.is_empty() {
            drop_objects(self.services, ids).await?;
        }
        Ok(match kind {
            "source" => "DROP SOURCE",
            "table" => "DROP TABLE",
            "materialized view" => "DROP MATERIALIZED VIEW",
            "view" => "DROP VIEW",
            "index" => "DROP INDEX",
            _ => "DROP SINK",
        })
    }
}

/// The notice of IF NOT EXISTS.
fn skipping(name: &str) -> String {
    format!("relation \"{name}\" already exists, skipping")
}

/// Takes objects out of the catalog and stops what they run; their state and logs go with them.
pub(super) async fn drop_objects(services: &Arc<Services>, ids: Vec<JobId>) -> Result<()> {
    services
        .finish(|services| async move {
            let before = services.catalog.snapshot();
            let change = Catalog::drop(&services.catalog, &ids)?;
            let fewer = inflow::without_sinks(&before, &change.snapshot, &ids)?;
            match fewer.is_empty() {
                true => services.jobs.drop_jobs(&ids, change.writes).await?,
                false => services.jobs.rebuild(fewer, &ids, Vec::new(), change.writes).await?,
            }
            services.catalog.publish(change.snapshot);
            for id in ids {
                services.ingests.stop(id);
                services.tables.lock().remove(&id);
                services.remove_log(id).await?;
            }
            Ok(())
        })
        .await
}

/// Lets reads use an index once it holds all of its table, durably.
///
/// # Errors
/// Of its job; `QueryCanceled` when it was dropped meanwhile.
pub async fn complete_index(services: &Arc<Services>, id: JobId) -> Result<()> {
    services.jobs.wait_backfilled(id).await?;
    services.driver.commit().await?;
    let _guard = services.ddl.lock().await;
    let snapshot = services.catalog.snapshot();
    let Some(object) = snapshot.by_id(id) else {
        return Err(Error::new(ErrorKind::QueryCanceled, "the index was dropped while it was created"));
    };
    let Some(definition) = planner::ready(&object.definition) else { return Ok(()) };
    let change = services.catalog.replace(Object { definition, ..Object::clone(object) })?;
    services.jobs.write_meta(change.writes, Vec::new()).await?;
    services.catalog.publish(change.snapshot);
    Ok(())
}

/// A CREATE that is cancelled while it backfills takes its view back.
struct DropOnCancel<'a> {
    services: &'a Arc<Services>,
    id: Option<JobId>,
}

impl std::ops::Drop for DropOnCancel<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let services = self.services.clone();
        self.services.background.spawn(async move {
            let _guard = services.ddl.lock().await;
            if let Err(e) = drop_objects(&services, vec![id]).await {
                tracing::error!(job = id.0, error = %e, "a cancelled CREATE could not be taken back");
            }
        });
    }
}

/// What the planner needs of the statement.
pub fn spec(create: &CreateMaterializedView) -> QuerySpec<'_> {
    QuerySpec { query: &create.query, columns: &create.columns, emit: create.emit, options: &create.options }
}

pub(super) fn encode(graph: &FragmentGraph) -> Result<String> {
    serde_json::to_string(graph).map_err(|e| Error::internal(format!("a plan cannot be stored: {e}")))
}

/// The connector can make these columns.
fn check_readable(source: &dyn connector::Source, columns: &[Column]) -> Result<()> {
    let schema = crate::catalog::def::schema(columns);
    source.decoder(schema, (0..columns.len()).collect()).map(|_| ())
}
