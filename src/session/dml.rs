//! INSERT, and what it shares with UPDATE and DELETE: rows are worked out and appended to the table's log as one entry, so a
//! statement is durable and atomic when its append returns.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;

use super::client::SessionClient;
use super::load::{Cast, Loaded, load};
use super::query::with_parameters;
use super::returning::{self, Returned, Rows};
use super::services::Services;
use crate::batch::{BatchContext, Purpose};
use crate::catalog::{Column, Definition, Object, Privilege, Snapshot, Table};
use crate::common::{Error, ErrorKind, Result};
use crate::connector::table_log;
use crate::expr::{bytea, json, marked_list, modifier, text_input, text_output, uuid};
use crate::sql::{self, ast};
use crate::types::JobId;
use crate::types::pg_type::PgType;
use crate::types::styles::Styles;

/// A write of the session: the table and the log offset after it.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    pub table: JobId,
    pub end: u64,
}

/// What a statement did.
pub struct Outcome {
    pub rows: usize,
    /// `None` when no row was concerned.
    pub written: Option<Written>,
    /// What RETURNING gives; `None` without one.
    pub returned: Option<Returned>,
}

/// The table that a statement writes, if it can be written.
pub fn writable(object: &Object) -> Result<&Table> {
    let name = &object.name;
    match &object.definition {
        Definition::Table(table) if table.options.is_empty() => Ok(table),
        Definition::Table(_) => {
            Err(Error::new(ErrorKind::WrongObjectType, format!("table \"{name}\" takes its rows from its connector"))
                .with_hint("write to a table that was created without WITH (connector = …)"))
        }
        other => Err(Error::new(ErrorKind::WrongObjectType, format!("cannot change {} \"{name}\"", other.kind()))
            .with_hint("only tables take INSERT, UPDATE and DELETE: CREATE TABLE")),
    }
}

/// Plans an INSERT; the plan's columns are those of the table, in its order, then hidden ones.
pub async fn plan_insert(context: &BatchContext, statement: &ast::Statement, table: &Table) -> Result<LogicalPlan> {
    let mut statement = statement.clone();
    if let ast::Statement::Insert(insert) = &mut statement {
        name_columns(insert, table);
        write_defaults(insert, table, context.snapshot())?;
        insert.returning = None;
        // It only names the rows in RETURNING.
        insert.table_alias = None;
        if insert.on.is_some() {
            let modes = "{OVERWRITE | DO NOTHING | DO UPDATE IF NOT NULL}";
            return Err(Error::not_supported("ON CONFLICT belongs to the table")
                .with_hint(format!("CREATE TABLE t (…, PRIMARY KEY (…)) ON CONFLICT {modes}")));
        }
    }
    context.plan_statement(statement).await
}

/// Fewer values than columns are for the first ones, as in PostgreSQL.
fn name_columns(insert: &mut ast::Insert, table: &Table) {
    let width = match insert.source.as_ref().map(|query| query.body.as_ref()) {
        Some(ast::SetExpr::Values(values)) => values.rows.iter().map(|row| row.content.len()).max().unwrap_or_default(),
        Some(ast::SetExpr::Select(select)) if !select.projection.iter().any(is_wildcard) => select.projection.len(),
        _ => return,
    };
    let visible = returning::visible(table);
    if insert.columns.is_empty() && width < visible.len() {
        let quoted = |column: &Column| ast::Ident::with_quote('"', &column.name).into();
        insert.columns = visible[..width].iter().map(quoted).collect();
    }
}

/// DEFAULT among the values becomes what the column has for it. GENERATED ALWAYS takes nothing else.
fn write_defaults(insert: &mut ast::Insert, table: &Table, snapshot: &Snapshot) -> Result<()> {
    let visible = returning::visible(table);
    let named: Vec<String> = match insert.columns.is_empty() {
        true => visible.iter().map(|column| column.name.clone()).collect(),
        false => insert.columns.iter().map(sql::name::object_name).collect::<Result<_>>()?,
    };
    let columns: Vec<Option<&Column>> = named.iter().map(|name| visible.iter().find(|c| c.name == *name)).collect();
    let sequence = |column: &Column| {
        snapshot.sequences().find(|s| column.default.as_deref() == Some(s.default_text().as_str()))?.owned_by.as_ref()
    };
    let always: Vec<bool> = columns.iter().map(|c| c.and_then(sequence).is_some_and(|by| by.always)).collect();
    let refuse = |at: usize| match (always.get(at), columns.get(at)) {
        (Some(true), Some(Some(column))) => {
            let name = &column.name;
            let message = format!("cannot insert a non-DEFAULT value into column \"{name}\"");
            Err(Error::new(ErrorKind::GeneratedAlways, message)
                .with_detail(format!("Column \"{name}\" is an identity column defined as GENERATED ALWAYS."))
                .with_hint("leave the column out, or make it GENERATED BY DEFAULT AS IDENTITY"))
        }
        _ => Ok(()),
    };
    let Some(source) = insert.source.as_mut() else { return Ok(()) };
    let ast::SetExpr::Values(values) = source.body.as_mut() else {
        // What a query gives is never DEFAULT.
        return (0..named.len()).try_for_each(refuse);
    };
    for row in &mut values.rows {
        for (at, value) in row.content.iter_mut().enumerate() {
            match value {
                ast::Expr::Identifier(word)
                    if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("DEFAULT") =>
                {
                    let text = columns.get(at).and_then(|c| c.as_ref()?.default.as_deref());
                    *value = sql::parse_expr(text.unwrap_or("NULL"))?;
                }
                _ => refuse(at)?,
            }
            // What DataFusion takes for no cast at all.
            if let Some(Some(column)) = columns.get(at) {
                sql::types::as_timetz(value, &column.data_type);
            }
        }
    }
    Ok(())
}

fn is_wildcard(item: &ast::SelectItem) -> bool {
    matches!(item, ast::SelectItem::Wildcard(_) | ast::SelectItem::QualifiedWildcard(..))
}

pub async fn insert(
    services: &Arc<Services>,
    client: &Arc<SessionClient>,
    statement: &ast::Statement,
    parameters: &[ScalarValue],
) -> Result<Outcome> {
    let (snapshot, epoch, pin) = services.pin(client)?;
    let object = snapshot.find(&target(statement)?)?.clone();
    let table = writable(&object)?;
    let context = services.batch.context(snapshot, epoch, Purpose::Insert, client.clone())?;
    context.check(Privilege::Insert, &object)?;
    let plan = with_parameters(plan_insert(&context, statement, table).await?, parameters)?;
    let LogicalPlan::Dml(dml) = plan else { return Err(Error::internal("INSERT planned as something else")) };
    let input = context.physical(Arc::unwrap_or_clone(dml.input)).await?;
    drop(pin);
    let stream = context.execute(input)?;
    if let Some(query) = returning::query(statement, table, &[])? {
        return insert_returning(services, client, &object, table, &query, stream, parameters).await;
    }
    let Loaded { rows, entry } = load(table, &object.name, services.logs.get(object.id)?, stream).await?;
    let shared = services.table_lock(object.id).read_owned().await;
    let written = entry.append(services, object.id, shared).await?;
    Ok(Outcome { rows: rows as usize, written, returned: None })
}

/// What is returned is held, so the rows are.
async fn insert_returning(
    services: &Arc<Services>,
    client: &Arc<SessionClient>,
    object: &Object,
    table: &Table,
    query: &ast::Query,
    stream: SendableRecordBatchStream,
    parameters: &[ScalarValue],
) -> Result<Outcome> {
    let cast = Cast::new(table, &object.name);
    let batches: Vec<RecordBatch> = stream.try_collect().await?;
    let batches = batches.iter().map(|batch| cast.rows(batch)).collect::<Result<Vec<_>>>()?;
    let rows = concat_batches(&cast.schema, &batches)?;
    let lock = services.table_lock(object.id);
    // Which rows the table takes is known where nobody else writes.
    let settle = returning::settles(table);
    let (_alone, _shared) = match settle {
        true => (Some(lock.write().await), None),
        false => (None, Some(lock.read().await)),
    };
    if settle {
        wait_visible(services, Written { table: object.id, end: services.logs.get(object.id)?.end() }).await?;
    }
    let returned = Some(
        returning::answer(
            services,
            client,
            query,
            object,
            Rows { rows: rows.clone(), others: &[], settle },
            parameters,
        )
        .await?,
    );
    if rows.num_rows() == 0 {
        return Ok(Outcome { rows: 0, written: None, returned });
    }
    let written = append(services, object.id, &as_stored(&rows, &table.columns)?, None).await?;
    Ok(Outcome { rows: rows.num_rows(), written: Some(written), returned })
}

/// The name of the table that a statement writes.
pub fn target(statement: &ast::Statement) -> Result<String> {
    let name = match statement {
        ast::Statement::Insert(insert) => match &insert.table {
            ast::TableObject::TableName(name) => Some(name),
            _ => None,
        },
        ast::Statement::Update(update) => table_name(&update.table),
        ast::Statement::Delete(delete) => {
            let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
            from.first().and_then(table_name)
        }
        _ => None,
    };
    match name {
        Some(name) => sql::name::object_name(name),
        None => Err(Error::not_supported("the statement writes something that is not a table")),
    }
}

fn table_name(table: &ast::TableWithJoins) -> Option<&ast::ObjectName> {
    match &table.relation {
        ast::TableFactor::Table { name, .. } if table.joins.is_empty() => Some(name),
        _ => None,
    }
}

/// What is acknowledged but in no complete epoch yet, whoever wrote it.
pub fn unseen(services: &Services) -> Vec<Written> {
    let snapshot = services.catalog.snapshot();
    let tables = snapshot.objects().filter(|object| writable(object).is_ok());
    let written = tables.filter_map(|o| Some(Written { table: o.id, end: services.logs.get(o.id).ok()?.end() }));
    let complete = services.driver.progress().complete;
    let visible = |written: &Written| {
        let handles = services.jobs.handles(written.table)?;
        let position = handles.sources.first()?.reader.position_at(complete)?;
        Some(position.parse::<u64>().ok()? >= written.end)
    };
    written.filter(|w| visible(w) == Some(false)).collect()
}

/// Waits until the session's write is part of a complete epoch.
pub async fn wait_visible(services: &Arc<Services>, written: Written) -> Result<()> {
    loop {
        if let Some(e) = services.jobs.failure(written.table) {
            return Err(e.context("the table has failed; the write is in its log"));
        }
        let reader = services.jobs.handles(written.table).and_then(|h| h.sources.first().map(|s| s.reader.clone()));
        let Some(reader) = reader else { return Ok(()) };
        let reached = |position: &str| position.parse::<u64>().is_ok_and(|p| p >= written.end);
        let complete = services.driver.progress().complete;
        if reader.position_at(complete).is_some_and(|p| reached(&p)) {
            return Ok(());
        }
        // A restart of the job replaces its reader: look again from time to time.
        let patience = std::time::Duration::from_millis(500);
        if tokio::time::timeout(patience, reader.wait_position(reached)).await.is_ok() {
            services.driver.flush().await?;
        }
    }
}

/// Makes durable what sinks have brought into the table and somebody may have seen, before a write comes behind it: else
/// a crash would bring it again, behind the write, and under other row ids than a write that `retracts` knows.
pub async fn settle_sinks(services: &Services, table: JobId, retracts: bool) -> Result<()> {
    let snapshot = services.catalog.snapshot();
    let Some(Definition::Table(definition)) = snapshot.by_id(table).map(|o| &o.definition) else { return Ok(()) };
    let overwrites = !definition.primary_key.is_empty();
    if (retracts || overwrites) && snapshot.sinks_into(table).next().is_some() {
        services.driver.commit().await?;
    }
    Ok(())
}

pub async fn append(
    services: &Arc<Services>,
    table: JobId,
    rows: &RecordBatch,
    weights: Option<&Int64Array>,
) -> Result<Written> {
    let payload = table_log::encode(rows, weights)?;
    settle_sinks(services, table, weights.is_some()).await?;
    let offset = services.logs.get(table)?.append(payload, rows.num_rows() as u32).await?;
    Ok(Written { table, end: offset + 1 })
}

/// The rows under the names that the log knows their columns by.
pub fn as_stored(rows: &RecordBatch, columns: &[Column]) -> Result<RecordBatch> {
    let stored = |field: &Field| match columns.iter().find(|c| c.name == *field.name()) {
        Some(column) => field.clone().with_name(column.stored_name()),
        None => field.clone(),
    };
    let fields: Vec<Field> = rows.schema().fields().iter().map(|f| stored(f)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), rows.columns().to_vec(), &options)?)
}

/// The first columns of a row set, as the table's types.
pub fn convert(columns: &[ArrayRef], wanted: &Schema) -> Result<Vec<ArrayRef>> {
    wanted.fields().iter().zip(columns).map(|(field, column)| cast_to(column, field)).collect()
}

pub fn cast_to(column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..Default::default() };
    let in_place = |e: Error| e.context(format!("column \"{}\"", field.name()));
    if column.data_type().is_string()
        && let Some(read) = text_input::column(column, field.data_type(), &Styles::default())
    {
        let read = read.map_err(in_place)?;
        return match PgType::of(field) {
            Some(mark) if mark.is_type() => marked_list::read(&read, mark).map_err(in_place),
            Some(mark) => modifier::fitted(&read, mark, |_| Ok(())),
            None => Ok(read),
        };
    }
    let cast = match (column.data_type(), field.data_type()) {
        (from, to) if to.is_string() && text_output::is_own(from) => text_output::print(column, &Styles::default()),
        (DataType::Utf8 | DataType::Utf8View, DataType::Binary) => bytea::read(column),
        (_, data_type) => match (PgType::of(field), cast_with_options(column, data_type, &options)) {
            (_, Err(e)) => Err(e.into()),
            (Some(mark), Ok(column)) if mark.is_type() && column.data_type().is_nested() => {
                marked_list::read(&column, mark)
            }
            (Some(PgType::Uuid), Ok(column)) => uuid::read(&[column]),
            (Some(PgType::Json | PgType::Jsonb), Ok(column)) => json::read(&column, field),
            (_, Ok(column)) => Ok(column),
        },
    };
    let bound = PgType::of(field).filter(|mark| !mark.is_type());
    match bound {
        None => cast.map_err(in_place),
        // PostgreSQL's words, for what it refuses too.
        Some(mark) => modifier::fitted(&cast.map_err(in_place)?, mark, |text| Err(modifier::too_long(mark, text))),
    }
}

pub fn nullable(schema: &Schema) -> Arc<Schema> {
    Arc::new(Schema::new(schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>()))
}

pub fn check_not_null(rows: &RecordBatch, table: &Table, name: &str) -> Result<()> {
    for (index, column) in rows.columns().iter().enumerate() {
        let definition = &table.columns[index];
        let required = !definition.nullable || table.primary_key.contains(&index);
        if required && !definition.hidden && column.null_count() > 0 {
            let message = format!(
                "null value in column \"{}\" of table \"{name}\" violates the not-null constraint",
                definition.name
            );
            return Err(Error::new(ErrorKind::NotNullViolation, message));
        }
    }
    Ok(())
}
