//! `CREATE OR REPLACE MATERIALIZED VIEW`: the new view is filled beside the old one, which answers until then; one commit
//! drops the old one and gives the new one its name.
//!
//! ```text
//! old  v ------------------------------ answers -----------------|drop
//! new  v_replacing_12   backfill ... follows its inputs ---------|v
//!                                                           one commit
//! ```
//!
//! A server that stops before that commit has the old view when it starts again, and drops the new one. Views that are not
//! materialized go on with the new one where its columns fit; what keeps state on the old one's rows cannot.

use std::sync::Arc;

use super::services::Services;
use crate::catalog::{Column, Definition, Object, Snapshot};
use crate::common::{Error, ErrorKind, Result};
use crate::job::tables_of;
use crate::plan::FragmentGraph;
use crate::planner;
use crate::sql::relation;
use crate::types::JobId;

/// Where the new view is seen while it is filled.
pub fn name_until_then(name: &str, id: JobId) -> String {
    format!("{name}_replacing_{id}")
}

/// Whether `role` may replace the view, and nothing keeps state on it.
///
/// # Errors
/// `WrongObjectType`, `InsufficientPrivilege`, `DependentObjects`.
pub fn check(snapshot: &Snapshot, role: &str, old: &Object) -> Result<()> {
    let name = &old.name;
    if !matches!(old.definition, Definition::MaterializedView(_)) {
        let message = format!("\"{name}\" is a {}, not a materialized view", old.definition.kind());
        return Err(Error::new(ErrorKind::WrongObjectType, message));
    }
    snapshot.check_owner(role, old)?;
    let all = snapshot.with_dependants(&[old.id]);
    let reads = |id: &&JobId| **id != old.id && snapshot.by_id(**id).is_some_and(|o| !is_plain(o));
    match all.iter().rev().find(reads).and_then(|id| snapshot.by_id(*id)) {
        Some(reader) => {
            let is = reader.definition.kind();
            let message = format!("cannot replace materialized view {name} because other objects depend on it");
            Err(Error::new(ErrorKind::DependentObjects, message)
                .with_detail(format!("{is} {} depends on materialized view {name}", reader.name))
                .with_hint("create the new one under another name, make its readers anew, then ALTER … SWAP WITH"))
        }
        None => Ok(()),
    }
}

fn is_plain(object: &Object) -> bool {
    matches!(object.definition, Definition::View(_))
}

/// Whether the new view is none of its own inputs, and has the columns that views on the old one read.
///
/// # Errors
/// `InvalidDefinition`, `DependentObjects`.
pub fn check_fits(snapshot: &Snapshot, old: &Object, columns: &[Column], inputs: &[JobId]) -> Result<()> {
    let readers = snapshot.with_dependants(&[old.id]);
    if inputs.iter().any(|id| readers.contains(id)) {
        let message = format!("materialized view \"{}\" cannot read itself", old.name);
        return Err(Error::new(ErrorKind::InvalidDefinition, message).with_hint("name in FROM what the old view reads"));
    }
    let mut next = old.clone();
    *next.definition.columns_mut() = columns.to_vec();
    let after = snapshot.replacing(vec![next])?;
    for reader in readers.iter().filter(|id| **id != old.id).filter_map(|id| snapshot.by_id(*id)) {
        let Some(query) = relation::query(&reader.sql)? else { continue };
        let before = planner::meaning(snapshot, &query)?;
        let same_columns = |a: &planner::PlannedQuery, b: &planner::PlannedQuery| a.columns == b.columns;
        let fits = match (planner::plan_view(snapshot, &query, &[]), planner::plan_view(&after, &query, &[])) {
            (Ok(a), Ok(b)) => same_columns(&a, &b) && planner::meaning(&after, &query)? == before,
            _ => false,
        };
        if !fits {
            let message = format!("the new columns of \"{}\" do not fit view \"{}\"", old.name, reader.name);
            return Err(Error::new(ErrorKind::DependentObjects, message)
                .with_hint("drop the view first, or keep the names and types of the columns that it reads"));
        }
    }
    Ok(())
}

/// Gives the filled view `new` the name, owner, privileges and readers of `old`, which goes.
///
/// # Errors
/// `ObjectNotReady` when `old` has changed meanwhile; then it stays.
pub async fn take_over(services: &Arc<Services>, new: JobId, old: JobId, name: &str) -> Result<()> {
    let name = name.to_string();
    services
        .finish(|services| async move {
            let _guard = services.ddl.lock().await;
            let snapshot = services.catalog.snapshot();
            let (Some(filled), Some(before)) = (snapshot.by_id(new), snapshot.by_id(old).filter(|o| o.name == name))
            else {
                return Err(changed(&name, "it was dropped or renamed"));
            };
            check(&snapshot, &before.owner, before)?;
            check_fits(&snapshot, before, filled.definition.columns(), &filled.depends_on)?;
            let mut next = filled.as_ref().clone();
            next.name.clone_from(&name);
            next.owner.clone_from(&before.owner);
            next.acl.clone_from(&before.acl);
            next.comments.extend(before.comments.get(&0).map(|comment| (0, comment.clone())));
            if let Definition::MaterializedView(view) = &mut next.definition {
                view.replaces = None;
            }
            let mut objects = vec![next];
            for reader in snapshot.objects().filter(|o| o.depends_on.contains(&old)) {
                let mut reader = reader.as_ref().clone();
                for id in reader.depends_on.iter_mut().filter(|id| **id == old) {
                    *id = new;
                }
                reader.depends_on.sort_unstable();
                objects.push(reader);
            }
            let change = services.catalog.alter(objects, &[old])?;
            services.jobs.drop_jobs(&[old], change.writes).await?;
            services.catalog.publish(change.snapshot);
            services.jobs.rename(new, &name);
            Ok(())
        })
        .await
}

fn changed(name: &str, what: &str) -> Error {
    let message = format!("materialized view \"{name}\" has changed while its new form was filled: {what}");
    Error::new(ErrorKind::ObjectNotReady, message).with_hint("nothing was replaced: try again")
}

/// At a start: drops what was to replace another when the server stopped.
///
/// # Errors
/// When that cannot be written.
pub async fn drop_unfinished(services: &Arc<Services>) -> Result<()> {
    let snapshot = services.catalog.snapshot();
    let (mut ids, mut tables) = (Vec::new(), Vec::new());
    for object in snapshot.objects() {
        let Definition::MaterializedView(view) = &object.definition else { continue };
        if view.replaces.is_some() {
            let graph: FragmentGraph = serde_json::from_str(&view.graph)
                .map_err(|e| Error::corrupted(format!("the stored plan of {}: {e}", object.name)))?;
            ids.push(object.id);
            tables.extend(tables_of(&graph));
        }
    }
    // Whoever has begun to read it meanwhile goes with it.
    let ids = snapshot.with_dependants(&ids);
    if ids.is_empty() {
        return Ok(());
    }
    let change = services.catalog.alter(Vec::new(), &ids)?;
    services.jobs.write_meta(change.writes, tables).await?;
    services.catalog.publish(change.snapshot);
    Ok(())
}
