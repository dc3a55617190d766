//! `ALTER` of what users have made. Each statement is one change of the catalog: durable when it returns, and not done at
//! all if the server dies before.
//!
//! ```text
//! the object, changed ---\
//!                         > one new snapshot --planned again: the same? --> one commit --> visible
//! who reads it, reworded -/
//! ```
//!
//! Plans hold ids and column numbers, so that what runs does not notice a new name. Texts hold names: those of the
//! dependants are reworded, and must then mean what they meant.

mod columns;
mod dependants;
mod parallelism;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::client::SessionClient;
use super::inflow;
use super::role::Actor;
use super::services::Services;
use super::text;
use crate::catalog::def::PUBLIC;
use crate::catalog::role::denied;
use crate::catalog::{Definition, Object, Privilege, Snapshot};
use crate::common::{Error, ErrorKind, Result};
use crate::sql::relation::{self, Place};
use crate::sql::statement::{Alter, AlterAction};
use crate::types::{JobId, ROW_ID};

use self::dependants::Rewording;

struct Altering<'a> {
    services: &'a Arc<Services>,
    client: &'a Arc<SessionClient>,
    snapshot: Arc<Snapshot>,
    actor: Actor<'a>,
    kind: &'static str,
    notices: Vec<String>,
}

/// Runs the statement; gives its tag and notices.
pub async fn run(
    services: &Arc<Services>,
    client: &Arc<SessionClient>,
    actor: Actor<'_>,
    alter: &Alter,
) -> Result<(&'static str, Vec<String>)> {
    let _guard = services.ddl.lock().await;
    let snapshot = services.snapshot(client);
    let kind = alter.kind.name();
    let mut altering = Altering { services, client, snapshot, actor, kind, notices: Vec::new() };
    let tag = match kind {
        "source" => "ALTER SOURCE",
        "table" => "ALTER TABLE",
        "materialized view" => "ALTER MATERIALIZED VIEW",
        "view" => "ALTER VIEW",
        "index" => "ALTER INDEX",
        _ => "ALTER SINK",
    };
    if alter.if_exists && altering.snapshot.get(&alter.name).is_none() {
        return Ok((tag, vec![format!("relation \"{}\" does not exist, skipping", alter.name)]));
    }
    altering.table_is_any(alter);
    let object = altering.target(&alter.name)?;
    match &alter.action {
        AlterAction::RenameTo(name) => altering.rename(&object, name).await?,
        AlterAction::RenameColumn { from, to } => altering.rename_column(&object, from, to).await?,
        AlterAction::SetSchema(schema) if schema == PUBLIC => {}
        AlterAction::SetSchema(schema) => {
            return Err(Error::new(ErrorKind::UndefinedSchema, format!("schema \"{schema}\" does not exist"))
                .with_hint(format!("all objects live in schema {PUBLIC}")));
        }
        AlterAction::OwnerTo(role) => altering.give_to(&object, role).await?,
        AlterAction::SwapWith(other) => altering.swap(&object, other).await?,
        AlterAction::AddColumn { if_not_exists, column } => {
            altering.add_column(&object, column, *if_not_exists).await?;
        }
        AlterAction::DropColumn { if_exists, name, cascade } => {
            altering.drop_column(&object, name, *if_exists, *cascade).await?;
        }
        AlterAction::SetDefault { column, default } => {
            altering.set_default(&object, column, default.as_deref()).await?;
        }
        AlterAction::SetParallelism(actors) => altering.set_parallelism(&object, *actors).await?,
    }
    Ok((tag, altering.notices))
}

impl Altering<'_> {
    /// PostgreSQL's ALTER TABLE names a view or an index as well, for what these have too.
    fn table_is_any(&mut self, alter: &Alter) {
        let of_tables = matches!(
            alter.action,
            AlterAction::AddColumn { .. } | AlterAction::DropColumn { .. } | AlterAction::SetDefault { .. }
        );
        let kind = self.snapshot.get(&alter.name).map(|o| o.definition.kind());
        if let Some(kind @ ("view" | "materialized view" | "index")) = kind
            && self.kind == "table"
            && !of_tables
        {
            self.kind = kind;
        }
    }

    /// The object of this name, if it is of the statement's kind and the actor's to change.
    fn target(&self, name: &str) -> Result<Arc<Object>> {
        let object = self.snapshot.find(name)?;
        let is = object.definition.kind();
        if is != self.kind {
            return Err(Error::new(ErrorKind::WrongObjectType, format!("\"{name}\" is not a {}", self.kind))
                .with_hint(format!("write ALTER {} {name}", is.to_uppercase())));
        }
        self.snapshot.check_owner(self.actor.current, object)?;
        Ok(object.clone())
    }

    async fn rename(&mut self, object: &Arc<Object>, name: &str) -> Result<()> {
        self.snapshot.check_schema(self.actor.current, Privilege::Create)?;
        if let Some(other) = self.snapshot.get(name) {
            let message = format!("relation \"{}\" already exists", other.name);
            return Err(Error::new(ErrorKind::DuplicateTable, message).with_hint("choose another name"));
        }
        self.renamed(&[(object, name)]).await
    }

    /// The two names change places: who reads one of them goes on reading it, under its other name.
    async fn swap(&mut self, object: &Arc<Object>, other: &str) -> Result<()> {
        let other = self.target(other)?;
        if matches!(object.definition, Definition::Source(_) | Definition::Sink(_)) {
            return Err(Error::not_supported(format!("SWAP WITH is not supported for a {}", self.kind))
                .with_hint("it is for tables and views"));
        }
        if other.id == object.id {
            return Err(Error::new(ErrorKind::InvalidParameterValue, "cannot swap an object with itself"));
        }
        if object.temporary.is_some() || other.temporary.is_some() {
            return Err(Error::not_supported("SWAP WITH is not supported for temporary tables")
                .with_hint("write ALTER TABLE … RENAME TO"));
        }
        self.renamed(&[(object, &other.name), (&other, &object.name)]).await
    }

    async fn renamed(&mut self, names: &[(&Arc<Object>, &str)]) -> Result<()> {
        let mut rewording = Rewording::new(&self.snapshot);
        let mut places = BTreeMap::new();
        for (object, name) in names {
            let mut next = object.as_ref().clone();
            next.name = name.to_string();
            next.sql = relation::with_name(&next.sql, name)?;
            dependants::relabel(&mut next, object.id, name)?;
            rewording.put(next);
            places.insert(object.name.clone(), Place::Name(name.to_string()));
        }
        let ids: Vec<_> = names.iter().map(|(object, _)| object.id).collect();
        rewording.reword(&ids, &places)?;
        for (object, name) in names {
            rewording.relabel(object.id, name)?;
        }
        self.services.commit(self.services.catalog.replace_all(rewording.checked()?)?).await?;
        for (object, name) in names {
            self.services.jobs.rename(object.id, name);
        }
        Ok(())
    }

    async fn rename_column(&mut self, object: &Arc<Object>, from: &str, to: &str) -> Result<()> {
        let name = &object.name;
        let mut next = object.as_ref().clone();
        self.check_own_columns(object)?;
        let index = column(object, from)?;
        self.check_new_column(object, to)?;
        if let Some(column) = next.definition.columns_mut().get_mut(index) {
            column.rename(to);
        }
        next.sql = match &next.definition {
            Definition::Table(table) => text::create_table(name, table),
            definition => relation::with_columns(&next.sql, &visible(definition))?,
        };
        let shown = visible(&next.definition).into_iter().zip(visible(&object.definition));
        let query = text::select(name, shown);
        let mut rewording = Rewording::new(&self.snapshot);
        rewording.put(next);
        rewording.pin(&[object.id], &BTreeMap::from([(name.clone(), Place::Query(query))]))?;
        self.services.commit(self.services.catalog.replace_all(rewording.checked()?)?).await
    }

    /// Columns of what a connector brings are those of its records, and a sink has those of its query.
    fn check_own_columns(&self, object: &Object) -> Result<()> {
        let name = &object.name;
        match &object.definition {
            Definition::Table(table) if table.options.is_empty() => inflow::check_no_sinks(&self.snapshot, object),
            Definition::View(_) | Definition::MaterializedView(_) => Ok(()),
            Definition::Source(_) | Definition::Table(_) => {
                Err(Error::not_supported(format!("the columns of {} \"{name}\" are those of its records", self.kind))
                    .with_hint("name them as you like in a view: CREATE VIEW … AS SELECT a AS b FROM …"))
            }
            _ => Err(Error::new(ErrorKind::WrongObjectType, format!("\"{name}\" has no columns of its own"))
                .with_hint("DROP it and create it with other names in its query")),
        }
    }

    fn check_new_column(&self, object: &Object, column: &str) -> Result<()> {
        if column == ROW_ID {
            return Err(Error::new(ErrorKind::InvalidDefinition, format!("the column name {ROW_ID} is Weir's own"))
                .with_hint("choose another name"));
        }
        if object.definition.columns().iter().any(|c| c.name == column) {
            let message = format!("column \"{column}\" of relation \"{}\" already exists", object.name);
            return Err(Error::new(ErrorKind::DuplicateColumn, message));
        }
        Ok(())
    }

    /// As PostgreSQL has it: the new owner is a role that the actor is of, and one that may create in the schema.
    async fn give_to(&mut self, object: &Arc<Object>, role: &str) -> Result<()> {
        let role = self.actor.named(role);
        self.snapshot.find_role(&role)?;
        if role == object.owner {
            return Ok(());
        }
        if !self.snapshot.has_role(self.actor.current, &role) {
            return Err(denied(format!("must be able to SET ROLE \"{role}\"")));
        }
        if !self.snapshot.is_superuser(self.actor.current) {
            self.snapshot.check_schema(&role, Privilege::Create)?;
        }
        let mut next = object.as_ref().clone();
        // What the owner has by itself is not written down.
        next.acl.remove(&role);
        next.owner = role;
        self.services.commit(self.services.catalog.replace(next)?).await
    }
}

/// Makes `object` what it is to be, and `others` with it; what runs of it stops at a barrier, and starts again when that is
/// on disk. Runs to its end even if the client goes away.
async fn rebuild(services: &Arc<Services>, object: Object, others: Vec<Object>, dropped: Vec<JobId>) -> Result<()> {
    services
        .finish(|services| async move {
            let id = object.id;
            let schema = object.stored_schema();
            let widened: Vec<_> = object.definition.rows().map(|(table, _)| (table, schema)).into_iter().collect();
            let change = services.catalog.alter(std::iter::once(object).chain(others).collect(), &dropped)?;
            let object = change.snapshot.by_id(id).ok_or_else(|| Error::internal("what is rebuilt is lost"))?;
            let spec = inflow::job_spec(&change.snapshot, object)?;
            let spec = spec.ok_or_else(|| Error::internal("what does not run is not rebuilt"))?;
            services.jobs.rebuild(vec![spec], &dropped, widened, change.writes).await?;
            services.catalog.publish(change.snapshot);
            Ok(())
        })
        .await
}

/// The index of a visible column.
fn column(object: &Object, name: &str) -> Result<usize> {
    object.definition.columns().iter().position(|c| !c.hidden && c.name == name).ok_or_else(|| {
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", object.name);
        Error::new(ErrorKind::UndefinedColumn, message)
    })
}

fn visible(definition: &Definition) -> Vec<&str> {
    definition.columns().iter().filter(|c| !c.hidden).map(|c| c.name.as_str()).collect()
}
