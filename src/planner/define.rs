//! CREATE SOURCE and CREATE TABLE to catalog definitions: columns checked, a table's job planned.

use arrow::datatypes::Schema;

use super::fragment;
use super::lower::{Lowerer, TablePlan, TableSpec};
use crate::catalog::def::{Column, Source, Table, Watermark};
use crate::common::{Error, ErrorKind, Result};
use crate::plan::Policy;
use crate::sql::statement::{ColumnDef, CreateSource, CreateTable, Emit, WatermarkDef};
use crate::types::{Conflict, JobId, ROW_ID, TableId, key, time};

/// The source that a statement defines. `default_columns` are the connector's, for a statement that names none.
///
/// # Errors
/// `InvalidDefinition` when there are no columns or the watermark has no time column.
pub fn define_source(statement: &CreateSource, default_columns: Option<&Schema>) -> Result<Source> {
    let columns = columns(&statement.columns, default_columns)?;
    let watermark = watermark(statement.watermark.as_ref(), &columns)?;
    Ok(Source { columns, watermark, options: statement.options.clone() })
}

/// The table that a statement defines, with its job; `id` is the table's own.
///
/// # Errors
/// As [`define_source`], and for a key that cannot be one.
pub fn define_table(
    statement: &CreateTable,
    id: JobId,
    default_columns: Option<&Schema>,
    table_ids: &mut dyn FnMut() -> TableId,
) -> Result<Table> {
    let mut columns = columns(&statement.columns, default_columns)?;
    let watermark = watermark(statement.watermark.as_ref(), &columns)?;
    let mut primary_key = Vec::new();
    for name in &statement.primary_key {
        let Some(column) = columns.iter().position(|c| c.name == *name) else {
            return Err(undefined(name, "the primary key"));
        };
        if primary_key.contains(&column) {
            return Err(Error::new(
                ErrorKind::DuplicateColumn,
                format!("column \"{name}\" is twice in the primary key"),
            ));
        }
        primary_key.push(column);
        if let Some(c) = columns.get_mut(column) {
            c.nullable = false;
            if !key::is_encodable(&c.data_type) {
                return Err(Error::not_supported(format!(
                    "\"{name}\" of type {} cannot be a primary key",
                    c.data_type
                ))
                .with_hint("use columns of plain types"));
            }
        }
    }
    let conflict = match (primary_key.is_empty(), statement.conflict) {
        (true, _) => Conflict::Unchecked,
        (false, Some(conflict)) => conflict,
        (false, None) if statement.append_only => Conflict::DoNothing,
        (false, None) => Conflict::Overwrite,
    };
    // What a connector feeds takes no DML: nothing but a conflict changes its rows.
    let fed = !statement.options.is_empty();
    let append_only = statement.append_only || (fed && matches!(conflict, Conflict::Unchecked | Conflict::DoNothing));
    if watermark.is_some() && !append_only {
        return Err(Error::new(ErrorKind::InvalidDefinition, "a table with a WATERMARK must be APPEND ONLY")
            .with_hint(
                "write APPEND ONLY after the columns, or make it a SOURCE: rows behind a watermark cannot change",
            ));
    }
    if primary_key.is_empty() {
        primary_key.push(columns.len());
        columns.push(Column::row_id());
    }
    let mut lowerer = Lowerer::new(table_ids, Emit::OnUpdate, None);
    let TablePlan { root, table } = lowerer.table_job(&TableSpec {
        id,
        name: &statement.name,
        columns: &columns,
        primary_key: &primary_key,
        conflict,
        watermark: watermark.as_ref(),
        options: &statement.options,
        append_only,
    });
    let graph = fragment::cut(root, Policy::default(), table_ids);
    let graph = serde_json::to_string(&graph).map_err(|e| Error::internal(format!("a fragment graph: {e}")))?;
    let options = statement.options.clone();
    Ok(Table { columns, primary_key, conflict, watermark, options, append_only, table, graph })
}

fn columns(declared: &[ColumnDef], default: Option<&Schema>) -> Result<Vec<Column>> {
    let columns: Vec<Column> = match (declared, default) {
        ([], Some(schema)) => schema.fields().iter().map(|f| Column::of(f)).collect(),
        ([], None) => {
            return Err(Error::new(ErrorKind::InvalidDefinition, "no columns are given")
                .with_hint("name them with their types: (id BIGINT, at TIMESTAMP)"));
        }
        (declared, _) => declared
            .iter()
            .map(|c| Column {
                mark: c.mark,
                default: c.default.clone(),
                ..Column::new(c.name.clone(), c.data_type.clone(), c.nullable)
            })
            .collect(),
    };
    match columns.iter().find(|c| c.name == ROW_ID) {
        Some(_) => Err(Error::new(ErrorKind::InvalidDefinition, format!("the column name {ROW_ID} is Weir's own"))
            .with_hint("choose another name")),
        None => Ok(columns),
    }
}

fn watermark(def: Option<&WatermarkDef>, columns: &[Column]) -> Result<Option<Watermark>> {
    let Some(WatermarkDef { column: name, delay_micros, limits }) = def else { return Ok(None) };
    let Some(column) = columns.iter().position(|c| c.name == *name) else {
        return Err(undefined(name, "WATERMARK"));
    };
    match columns.get(column).map(|c| &c.data_type) {
        Some(t) if *t == time::timestamp() || *t == time::timestamptz() => {
            Ok(Some(Watermark { column, delay_micros: *delay_micros, limits: *limits }))
        }
        other => Err(Error::new(
            ErrorKind::DatatypeMismatch,
            format!(
                "WATERMARK FOR \"{name}\" needs a timestamp{}",
                other.map_or(String::new(), |t| format!(", not {t}"))
            ),
        )
        .with_hint(format!("declare \"{name}\" as TIMESTAMP or TIMESTAMPTZ"))),
    }
}

fn undefined(name: &str, of: &str) -> Error {
    Error::new(ErrorKind::UndefinedColumn, format!("column \"{name}\" of {of} does not exist"))
        .with_hint("name one of the columns in the parentheses")
}
