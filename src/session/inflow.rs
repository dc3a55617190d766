//! `CREATE SINK … INTO table`: the sink's plan becomes a part of the table's job, so that what flows in and what is
//! INSERTed are of one epoch and one recovery.
//!
//! ```text
//! table's plan + plans of its sinks --take_in--> one graph --> the job starts again with it at a barrier
//! ```
//!
//! The catalog keeps the plans apart: a sink can be dropped, and the table then runs without it.

use std::sync::Arc;

use super::ddl::{Ddl, encode};
use super::dml;
use super::temporary;
use crate::catalog::{Definition, Object, Privilege, Sink, Snapshot};
use crate::common::{Error, ErrorKind, Result};
use crate::job::JobSpec;
use crate::plan::FragmentGraph;
use crate::planner::{self, PlannedSink, QuerySpec};
use crate::sql::statement::{CreateSink, SinkTarget};
use crate::types::{JobId, TableId};

/// What runs for the object: a table with what its sinks bring. `None` for what does not run by itself.
///
/// # Errors
/// `DataCorrupted` for a stored plan that cannot be read.
pub fn job_spec(snapshot: &Snapshot, object: &Object) -> Result<Option<JobSpec>> {
    if matches!(&object.definition, Definition::Sink(Sink { into: Some(_), .. })) {
        return Ok(None);
    }
    let Some(mut graph) = graph_of(object)? else { return Ok(None) };
    for sink in snapshot.sinks_into(object.id) {
        if let Some(sink) = graph_of(sink)? {
            graph.take_in(&sink)?;
        }
    }
    Ok(Some(JobSpec { id: object.id, name: object.name.clone(), kind: object.definition.kind(), graph }))
}

fn graph_of(object: &Object) -> Result<Option<FragmentGraph>> {
    let graph = object.definition.graph().map(serde_json::from_str);
    graph.transpose().map_err(|e| Error::corrupted(format!("the stored plan of {}: {e}", object.name)))
}

/// The jobs of tables that lose a sink by dropping `ids`, as they are to run in `after`.
pub fn without_sinks(before: &Snapshot, after: &Snapshot, ids: &[JobId]) -> Result<Vec<JobSpec>> {
    let sinks = ids.iter().filter_map(|id| before.by_id(*id));
    let mut tables: Vec<JobId> = sinks
        .filter_map(|o| match &o.definition {
            Definition::Sink(sink) => sink.into,
            _ => None,
        })
        .collect();
    tables.sort_unstable();
    tables.dedup();
    let specs = tables.iter().filter_map(|id| after.by_id(*id)).map(|table| job_spec(after, table));
    Ok(specs.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// The columns of a table stay while a sink fills them.
pub fn check_no_sinks(snapshot: &Snapshot, table: &Object) -> Result<()> {
    match snapshot.sinks_into(table.id).next() {
        None => Ok(()),
        Some(sink) => {
            let message = format!("cannot change the columns of table {}: sink {} fills them", table.name, sink.name);
            Err(Error::new(ErrorKind::DependentObjects, message)
                .with_hint(format!("DROP SINK {} first, and create it again afterwards", sink.name)))
        }
    }
}

/// Plans the sink for `role`, with the table that it fills.
///
/// # Errors
/// What does not fit or is not allowed.
pub fn plan<'s>(
    snapshot: &'s Snapshot,
    role: &str,
    create: &CreateSink,
    target: &SinkTarget,
    table_ids: &mut dyn FnMut() -> TableId,
) -> Result<(PlannedSink, &'s Arc<Object>)> {
    let table = snapshot.find(&target.table)?;
    dml::writable(table)?;
    snapshot.check(role, Privilege::Insert, table)?;
    let query = QuerySpec { query: &create.query, columns: &[], emit: create.emit, options: &Default::default() };
    let planned = planner::plan_sink_into(snapshot, table, &target.columns, query, table_ids)?;
    if !planned.append_only {
        snapshot.check(role, Privilege::Update, table)?;
        snapshot.check(role, Privilege::Delete, table)?;
    }
    check_type(create, &planned)?;
    let downstream = snapshot.downstream_of(table.id);
    if let Some(input) = planned.depends_on.iter().find(|id| downstream.contains(id)).and_then(|id| snapshot.by_id(*id))
    {
        let message = match input.id == table.id {
            true => format!("a sink into table \"{}\" cannot read it", table.name),
            false => {
                format!("a sink into table \"{}\" cannot read \"{}\", which changes with it", table.name, input.name)
            }
        };
        return Err(Error::new(ErrorKind::InvalidDefinition, message).with_hint("sinks cannot go round in a circle"));
    }
    Ok((planned, table))
}

/// `WITH (type = …)`, as RisingWave's sinks have it.
fn check_type(create: &CreateSink, planned: &PlannedSink) -> Result<()> {
    let invalid = |message: String| Error::new(ErrorKind::InvalidParameterValue, message);
    for (name, value) in &create.options {
        match (name.as_str(), value.text().unwrap_or("SECRET")) {
            ("type", "upsert") => {}
            ("type", "append-only") if planned.append_only => {}
            ("type", "append-only") => {
                return Err(invalid("the rows of the query change: this is no append-only sink".into())
                    .with_hint("leave type out, or read what is APPEND ONLY without an aggregation"));
            }
            ("type", other) => {
                return Err(invalid(format!("type = '{other}': 'upsert' or 'append-only' is expected")));
            }
            (other, _) => {
                return Err(invalid(format!("unknown option \"{other}\" of a sink into a table"))
                    .with_hint("leave WITH out: which rows come and go is known from the query"));
            }
        }
    }
    Ok(())
}

impl Ddl<'_> {
    pub(super) async fn create_sink_into(&mut self, create: &CreateSink, target: &SinkTarget) -> Result<&'static str> {
        const TAG: &str = "CREATE SINK";
        let table = {
            let _guard = self.services.ddl.lock().await;
            let snapshot = self.services.catalog.snapshot();
            if self.exists(&snapshot, &create.name, create.if_not_exists) {
                return Ok(TAG);
            }
            self.may_create(&snapshot, Some(&create.query))?;
            temporary::refuse_target(&snapshot, self.client, &target.table)?;
            let catalog = &self.services.catalog;
            let id = catalog.next_job_id();
            let (planned, table) = plan(&snapshot, self.owner, create, target, &mut || catalog.next_table_id())?;
            self.notices.extend(planned.notices);
            let graph = encode(&planned.graph)?;
            let sink = Sink { into: Some(table.id), options: create.options.clone(), columns: planned.columns, graph };
            let depends_on = planned.depends_on.into_iter().chain([table.id]).collect();
            let sink = self.object(id, &create.name, depends_on, Definition::Sink(sink));
            let mut next = table.as_ref().clone();
            if let Definition::Table(next) = &mut next.definition {
                next.sinks += 1;
            }
            self.take_in(sink, next).await?;
            table.id
        };
        if self.background {
            return Ok(TAG);
        }
        self.services.jobs.wait_backfilled(table).await?;
        // Or a restart would show the table half filled again.
        self.services.driver.commit().await.map(|_| TAG)
    }

    /// Starts the table's job again with the sink. Runs to its end even if the client goes away.
    async fn take_in(&self, sink: Object, table: Object) -> Result<()> {
        self.services
            .finish(|services| async move {
                let id = table.id;
                let change = services.catalog.create_beside(sink, table)?;
                let table = change.snapshot.by_id(id).ok_or_else(|| Error::internal("the table is lost"))?;
                let spec = job_spec(&change.snapshot, table)?;
                services.jobs.rebuild(spec.into_iter().collect(), &[], Vec::new(), change.writes).await?;
                services.catalog.publish(change.snapshot);
                Ok(())
            })
            .await
    }
}
