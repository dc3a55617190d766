//! RETURNING: the rows that INSERT, UPDATE or DELETE writes, as a query over them gives them.
//!
//! It is answered before the rows go into the table's log: an expression that fails leaves nothing written.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{interleave, take_record_batch};
use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;

use super::change::changed_name;
use super::client::SessionClient;
use super::dml::writable;
use super::others::{self, Other};
use super::query::{self, with_parameters};
use super::services::Services;
use crate::batch::changed::{CHANGED, reads_changed};
use crate::batch::{BatchContext, Purpose};
use crate::catalog::def::schema;
use crate::catalog::{Column, Object, Privilege, Table};
use crate::common::{Error, Result};
use crate::sql::{self, ast};
use crate::state::Lookup;
use crate::types::{Conflict, Keys};

/// What a RETURNING gives.
pub struct Returned {
    pub schema: SchemaRef,
    pub rows: Vec<RecordBatch>,
}

/// The query over [`CHANGED`] that a statement's RETURNING is; `None` without one.
pub fn query(statement: &ast::Statement, table: &Table, others: &[Other]) -> Result<Option<ast::Query>> {
    let table_name = |name: &ast::ObjectName| name.0.last().and_then(|part| part.as_ident()).cloned();
    let (items, name) = match statement {
        ast::Statement::Insert(insert) => {
            let name = match (&insert.table_alias, &insert.table) {
                (Some(alias), _) => Some(alias.alias.clone()),
                (None, ast::TableObject::TableName(name)) => table_name(name),
                _ => None,
            };
            (&insert.returning, name)
        }
        ast::Statement::Update(update) => (&update.returning, changed_name(&update.table)),
        ast::Statement::Delete(delete) => {
            let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
            (&delete.returning, from.first().and_then(changed_name))
        }
        _ => (&None, None),
    };
    let Some(items) = items else { return Ok(None) };
    let name = name.ok_or_else(|| Error::not_supported("RETURNING of something that is not a table"))?;
    let mut query = *sql::parse_query(&format!("SELECT 1 FROM {CHANGED} AS {name}"))?;
    let ast::SetExpr::Select(select) = query.body.as_mut() else { return Err(Error::internal("not a SELECT")) };
    select.projection = others::rewrite(items, statement, table, others)?;
    Ok(Some(query))
}

/// The rows that RETURNING is about.
pub struct Rows<'a> {
    /// Of the table's visible columns, then those of the other relations.
    pub rows: RecordBatch,
    pub others: &'a [Other],
    /// An INSERT's rows become what the table will have: the caller keeps other writers out then, and what they wrote is
    /// visible.
    pub settle: bool,
}

/// Plans RETURNING over rows of these columns.
async fn plan(
    context: &BatchContext,
    query: &ast::Query,
    object: &Object,
    columns: &[Column],
    rows: &RecordBatch,
) -> Result<LogicalPlan> {
    let plan = context.plan_changed(query, columns, rows).await?;
    if reads_changed(&plan)? {
        context.check(Privilege::Select, object)?;
    }
    Ok(plan)
}

/// The plan of RETURNING, to describe its columns and parameters.
pub async fn describe(
    services: &Arc<Services>,
    client: &Arc<SessionClient>,
    query: &ast::Query,
    object: &Object,
    others: &[Other],
) -> Result<LogicalPlan> {
    let columns = columns(writable(object)?, others);
    let (snapshot, epoch, _pin) = services.pin(client)?;
    let context = services.batch.context(snapshot, epoch, Purpose::Read, client.clone())?;
    plan(&context, query, object, &columns, &RecordBatch::new_empty(schema(&columns))).await
}

/// Answers RETURNING.
pub async fn answer(
    services: &Arc<Services>,
    client: &Arc<SessionClient>,
    query: &ast::Query,
    object: &Object,
    Rows { rows, others, settle }: Rows<'_>,
    parameters: &[ScalarValue],
) -> Result<Returned> {
    let table = writable(object)?;
    let (snapshot, epoch, pin) = services.pin(client)?;
    let context = services.batch.context(snapshot, epoch, Purpose::Read, client.clone())?;
    let rows = if settle { settled(&context, object, table, rows).await? } else { rows };
    let plan = with_parameters(plan(&context, query, object, &columns(table, others), &rows).await?, parameters)?;
    let physical = context.physical_in_order(plan).await?;
    drop(pin);
    let schema = query::shown(&physical.schema());
    let rows: Vec<RecordBatch> = context.execute(physical)?.try_collect().await?;
    let rows = rows.into_iter().map(|batch| Ok(query::rename(batch, &schema)?)).collect::<Result<_>>()?;
    Ok(Returned { schema, rows })
}

/// Whether the rows that are there decide what becomes of those of an INSERT.
pub fn settles(table: &Table) -> bool {
    matches!(table.conflict, Conflict::DoNothing | Conflict::UpdateIfNotNull)
}

fn columns(table: &Table, others: &[Other]) -> Vec<Column> {
    visible(table).into_iter().chain(others::columns(others)).collect()
}

/// The columns that users see.
pub fn visible(table: &Table) -> Vec<Column> {
    table.columns.iter().filter(|c| !c.hidden).cloned().collect()
}

/// The rows as the table will have them: without those that DO NOTHING leaves out, with the values that
/// DO UPDATE IF NOT NULL keeps.
async fn settled(context: &BatchContext, object: &Object, table: &Table, rows: RecordBatch) -> Result<RecordBatch> {
    let shown: Vec<usize> = (0..table.columns.len()).filter(|i| !table.columns[*i].hidden).collect();
    let place = |column: &usize| shown.iter().position(|c| c == column);
    let key: Option<Vec<ArrayRef>> =
        table.primary_key.iter().map(|column| Some(rows.column(place(column)?).clone())).collect();
    let key = key.ok_or_else(|| Error::internal("a hidden key"))?;
    let (keys, found) = context.stored(object, &key, rows.num_rows()).await?;
    match table.conflict {
        Conflict::DoNothing => new_only(&rows, &keys, &found),
        Conflict::UpdateIfNotNull => filled_in(&rows, &keys, &found, &shown),
        Conflict::Unchecked | Conflict::Overwrite => Ok(rows),
    }
}

fn new_only(rows: &RecordBatch, keys: &Keys, found: &Lookup) -> Result<RecordBatch> {
    let mut seen = HashSet::new();
    let mut is_new = |row: usize| found.index.get(row).copied().flatten().is_none() && seen.insert(keys.value(row));
    let kept: UInt32Array = (0..rows.num_rows()).filter(|row| is_new(*row)).map(|row| row as u32).collect();
    Ok(take_record_batch(rows, &kept)?)
}

/// `shown` are the stored columns that those of `rows` are.
fn filled_in(rows: &RecordBatch, keys: &Keys, found: &Lookup, shown: &[usize]) -> Result<RecordBatch> {
    const STORED: usize = 0;
    const NEW: usize = 1;
    let columns = shown.iter().zip(rows.columns()).map(|(column, new)| {
        let mut now: HashMap<&[u8], (usize, usize)> = HashMap::new();
        let mut places = Vec::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            let stored = found.index.get(row).copied().flatten().map(|at| (STORED, at as usize));
            let before = now.get(keys.value(row)).copied().or(stored);
            let place = before.filter(|_| new.is_null(row)).unwrap_or((NEW, row));
            now.insert(keys.value(row), place);
            places.push(place);
        }
        Ok(interleave(&[found.rows.column(*column).as_ref(), new.as_ref()], &places)?)
    });
    let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(rows.schema(), columns, &options).map_err(|e| Error::from(e).context("RETURNING"))
}
