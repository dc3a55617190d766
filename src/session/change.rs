//! UPDATE and DELETE: the rows that they concern are read at one epoch while nobody else writes the table, and go into its
//! log retracted, for UPDATE with the new ones beside them.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, new_empty_array};
use arrow::compute::{concat, concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Schema};
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;

use super::client::SessionClient;
use super::dml::{
    Outcome, Written, append, as_stored, cast_to, check_not_null, convert, nullable, target, wait_visible, writable,
};
use super::others::{self, Other, selected};
use super::query::with_parameters;
use super::returning::{self, Rows};
use super::services::Services;
use crate::batch::{BatchContext, Client, Purpose};
use crate::catalog::def::schema;
use crate::catalog::{Privilege, Table};
use crate::common::{Error, ErrorKind, Result};
use crate::sql::{self, ast};
use crate::types::{JobId, key};

/// Removes every row of the tables: of all of them, unless something goes wrong on the way that was not to be seen before.
/// With `restart` their sequences begin again.
///
/// # Errors
/// As [`change`].
pub async fn truncate(
    services: &Arc<Services>,
    client: &Arc<SessionClient>,
    tables: &[ast::ObjectName],
    restart: bool,
) -> Result<Vec<Written>> {
    let changeable = |table| changeable(services, client, &sql::name::object_name(table)?, Privilege::Delete);
    let ids = tables.iter().map(changeable).collect::<Result<Vec<_>>>()?;
    let mut written = Vec::new();
    for table in tables {
        if let Some(sql::Statement::Delete(delete)) =
            sql::parse(&format!("DELETE FROM {table}"))?.pop().map(|parsed| parsed.statement)
        {
            written.extend(Box::pin(change(services, client, &delete, &[])).await?.written);
        }
    }
    let snapshot = services.catalog.snapshot();
    for sequence in ids.iter().filter(|_| restart).flat_map(|id| snapshot.sequences_of(*id)) {
        services.store.sequences.set(sequence.id, sequence.range.start, false)?;
    }
    Ok(written)
}

/// The table of this name, if the client may change its rows.
fn changeable(
    services: &Arc<Services>,
    client: &Arc<SessionClient>,
    name: &str,
    privilege: Privilege,
) -> Result<JobId> {
    let snapshot = services.snapshot(client);
    let object = snapshot.find(name)?;
    snapshot.check(&client.user(), privilege, object)?;
    let table = writable(object)?;
    if table.append_only {
        let message = format!("table \"{name}\" is append only");
        return Err(Error::new(ErrorKind::WrongObjectType, message)
            .with_hint("create it without APPEND ONLY to update and delete"));
    }
    Ok(object.id)
}

/// DELETE and UPDATE: the rows as they are now, retracted; for UPDATE the new ones beside them.
pub async fn change(
    services: &Arc<Services>,
    client: &Arc<SessionClient>,
    statement: &ast::Statement,
    parameters: &[ScalarValue],
) -> Result<Outcome> {
    let name = target(statement)?;
    let privilege = match statement {
        ast::Statement::Update(_) => Privilege::Update,
        _ => Privilege::Delete,
    };
    let id = changeable(services, client, &name, privilege)?;
    let lock = services.table_lock(id);
    let _alone = lock.write().await;
    // What is in the log must be in the table before it is read.
    wait_visible(services, Written { table: id, end: services.logs.get(id)?.end() }).await?;
    let others = {
        let snapshot = services.snapshot(client);
        others::of(services, client, statement, writable(snapshot.find(&name)?)?).await?
    };
    let (snapshot, epoch, pin) = services.pin(client)?;
    let object = snapshot.find(&name)?.clone();
    let table = writable(&object)?;
    let context = services.batch.context(snapshot, epoch, Purpose::Change, client.clone())?;
    context.check(privilege, &object)?;
    let Affected { query, assigned, joins } = affected(statement, table, &others)?;
    let plan = with_parameters(context.plan(&query).await?, parameters)?;
    let physical = context.physical(plan).await?;
    drop(pin);
    let batches: Vec<RecordBatch> = context.execute(physical)?.try_collect().await?;
    let all = schema(&table.columns);
    let width = table.columns.len();
    let mut changes = Vec::new();
    let mut weights = Vec::new();
    let mut affected_rows = 0;
    let mut now = Vec::new();
    let mut beside = Vec::new();
    // One that several rows of the others match is changed once.
    let mut matched = joins.then(HashSet::new);
    for batch in batches {
        let batch = match &mut matched {
            Some(matched) => first_matches(batch, &table.primary_key, matched)?,
            None => batch,
        };
        if batch.num_rows() == 0 {
            continue;
        }
        affected_rows += batch.num_rows();
        beside.push(batch.project(&(width + assigned.len()..batch.num_columns()).collect::<Vec<_>>())?);
        let old = convert(&batch.columns()[..width], &all)?;
        let gone = RecordBatch::try_new(nullable(&all), old.clone())?;
        changes.push(gone.clone());
        weights.extend(std::iter::repeat_n(-1, batch.num_rows()));
        if assigned.is_empty() {
            now.push(gone);
        } else {
            let mut new = old;
            for (at, column) in assigned.iter().enumerate() {
                new[*column] = cast_to(&batch.columns()[width + at], all.field(*column))?;
            }
            let new = RecordBatch::try_new(nullable(&all), new)?;
            check_not_null(&new, table, &object.name)?;
            changes.push(new.clone());
            now.push(new);
            weights.extend(std::iter::repeat_n(1, batch.num_rows()));
        }
    }
    let returned = match returning::query(statement, table, &others)? {
        Some(query) => {
            let shown: Vec<usize> = (0..width).filter(|i| !table.columns[*i].hidden).collect();
            let rows = concat_batches(&nullable(&all), &now)?.project(&shown)?;
            let rows = with_others(&rows, &beside, &others)?;
            let rows = Rows { rows, others: &others, settle: false };
            Some(returning::answer(services, client, &query, &object, rows, parameters).await?)
        }
        None => None,
    };
    if affected_rows == 0 {
        return Ok(Outcome { rows: 0, written: None, returned });
    }
    let changes = concat_batches(&nullable(&all), &changes)?;
    let changes = as_stored(&changes, &table.columns)?;
    let written = append(services, object.id, &changes, Some(&Int64Array::from(weights))).await?;
    Ok(Outcome { rows: affected_rows, written: Some(written), returned })
}

/// The rows whose keys are not among the `matched`, which then have them.
fn first_matches(batch: RecordBatch, key: &[usize], matched: &mut HashSet<Vec<u8>>) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = key.iter().map(|column| batch.column(*column).clone()).collect();
    let keys = key::encode(&columns, batch.num_rows())?;
    let first: BooleanArray = (0..batch.num_rows()).map(|row| Some(matched.insert(keys.value(row).to_vec()))).collect();
    Ok(filter_record_batch(&batch, &first)?)
}

/// What an UPDATE or DELETE is about.
struct Affected {
    /// Yields the rows to be changed: all columns and then the new values.
    query: ast::Query,
    /// The columns that the new values are for.
    assigned: Vec<usize>,
    /// Whether other tables are joined: a row may come more than once.
    joins: bool,
}

/// The rows with the columns of the other relations behind their own.
fn with_others(rows: &RecordBatch, beside: &[RecordBatch], others: &[Other]) -> Result<RecordBatch> {
    if others.is_empty() {
        return Ok(rows.clone());
    }
    let added = schema(&others::columns(others));
    let mut columns = rows.columns().to_vec();
    for (index, field) in added.fields().iter().enumerate() {
        let parts = beside.iter().map(|batch| cast_to(batch.column(index), field)).collect::<Result<Vec<_>>>()?;
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        columns.push(match parts.is_empty() {
            true => new_empty_array(field.data_type()),
            false => concat(&parts)?,
        });
    }
    let fields: Vec<_> = rows.schema().fields().iter().chain(added.fields()).cloned().collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The table that a statement changes, and the relations beside it.
pub fn changed(statement: &ast::Statement) -> Result<(Option<&ast::TableWithJoins>, &[ast::TableWithJoins])> {
    match statement {
        ast::Statement::Delete(delete) => {
            let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
            Ok((from.first(), delete.using.as_deref().unwrap_or_default()))
        }
        ast::Statement::Update(update) => {
            let others = match &update.from {
                Some(ast::UpdateTableFromKind::AfterSet(from) | ast::UpdateTableFromKind::BeforeSet(from)) => &from[..],
                None => &[],
            };
            Ok((Some(&update.table), others))
        }
        _ => Ok((None, &[])),
    }
}

fn affected(statement: &ast::Statement, table: &Table, named: &[Other]) -> Result<Affected> {
    let mut assigned = Vec::new();
    let mut values = String::new();
    let (changed, others) = changed(statement)?;
    let selection = match statement {
        ast::Statement::Delete(delete) => {
            if delete.limit.is_some() {
                return Err(Error::not_supported("LIMIT is not supported in DELETE")
                    .with_hint("write WHERE key IN (SELECT key FROM … LIMIT n)"));
            }
            &delete.selection
        }
        ast::Statement::Update(update) => {
            for (name, value) in update.assignments.iter().map(assignments).collect::<Result<Vec<_>>>()?.concat() {
                let name = sql::name::parts(name)?.pop().unwrap_or_default();
                let column = table.columns.iter().position(|c| c.name == name && !c.hidden).ok_or_else(|| {
                    Error::new(ErrorKind::UndefinedColumn, format!("column \"{name}\" does not exist"))
                })?;
                assigned.push(column);
                // A text is a time in the session's zone and style: the query knows them.
                let value = match table.columns.get(column).map(|c| &c.data_type) {
                    Some(DataType::Timestamp(_, Some(_))) => format!("CAST({value} AS TIMESTAMPTZ)"),
                    Some(DataType::Timestamp(_, None)) => format!("CAST({value} AS TIMESTAMP)"),
                    Some(DataType::Date32) => format!("CAST({value} AS DATE)"),
                    Some(DataType::Interval(_)) => format!("CAST({value} AS INTERVAL)"),
                    _ => value.to_string(),
                };
                values.push_str(&format!(", {value} AS \"__new_{column}\""));
            }
            &update.selection
        }
        _ => return Err(Error::internal("neither UPDATE nor DELETE")),
    };
    let (Some(changed), Some(name)) = (changed, changed.and_then(qualifier)) else {
        return Err(Error::not_supported("the statement writes something that is not a table"));
    };
    let condition = selection.as_ref().map_or(String::new(), |s| format!(" WHERE {s}"));
    let from: Vec<String> = std::iter::once(changed).chain(others).map(ToString::to_string).collect();
    let query =
        sql::parse_query(&format!("SELECT {name}.*{values}{} FROM {}{condition}", selected(named), from.join(", ")))?;
    Ok(Affected { query: *query, assigned, joins: !others.is_empty() })
}

/// The columns of one item of SET with their values.
fn assignments(assignment: &ast::Assignment) -> Result<Vec<(&ast::ObjectName, &ast::Expr)>> {
    match (&assignment.target, &assignment.value) {
        (ast::AssignmentTarget::ColumnName(name), value) => Ok(vec![(name, value)]),
        (ast::AssignmentTarget::Tuple(names), ast::Expr::Tuple(values)) if names.len() == values.len() => {
            Ok(names.iter().zip(values).collect())
        }
        (ast::AssignmentTarget::Tuple(_), ast::Expr::Tuple(_)) => {
            Err(Error::new(ErrorKind::Syntax, "number of columns does not match number of values"))
        }
        (ast::AssignmentTarget::Tuple(_), _) => {
            Err(Error::not_supported("SET (a, b) = … takes a list of values").with_hint("write SET a = …, b = …"))
        }
    }
}

/// What its columns are qualified with: its alias, or its name as it is written.
fn qualifier(table: &ast::TableWithJoins) -> Option<String> {
    match &table.relation {
        ast::TableFactor::Table { name, alias, .. } => {
            Some(alias.as_ref().map_or_else(|| name.to_string(), |alias| alias.name.to_string()))
        }
        _ => None,
    }
}

/// What the statement calls the table that it changes.
pub fn changed_name(table: &ast::TableWithJoins) -> Option<ast::Ident> {
    match &table.relation {
        ast::TableFactor::Table { name, alias, .. } => {
            alias.as_ref().map(|a| a.name.clone()).or_else(|| name.0.last()?.as_ident().cloned())
        }
        _ => None,
    }
}

/// The query behind an UPDATE or DELETE, to describe its parameters.
pub async fn plan_change(context: &BatchContext, statement: &ast::Statement, table: &Table) -> Result<LogicalPlan> {
    context.plan(&affected(statement, table, &[])?.query).await
}
