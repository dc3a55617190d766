//! CREATE SOURCE and CREATE TABLE to catalog definitions: columns checked, a table's job planned.

use arrow::datatypes::Schema;

use super::fragment;
use super::lower::{Lowerer, TablePlan, TableSpec};
use crate::catalog::def::{Column, Source, Table, Watermark};
use crate::common::{Error, ErrorKind, Result};
use crate::plan::{FragmentGraph, Policy};
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
    let options = statement.options.clone();
    let (table, graph) = (TableId(0), String::new());
    let mut table = Table { columns, primary_key, conflict, watermark, options, append_only, table, sinks: 0, graph };
    plan_table(&mut table, id, &statement.name, table_ids)?;
    Ok(table)
}

/// Plans the job of a table whose columns have changed, on the state that it has.
///
/// # Errors
/// `DataCorrupted` when its stored plan cannot be read.
pub fn replan_table(table: &mut Table, id: JobId, name: &str) -> Result<()> {
    let old: FragmentGraph =
        serde_json::from_str(&table.graph).map_err(|e| Error::corrupted(format!("the stored plan of {name}: {e}")))?;
    let parallelism = old.parallelism;
    // In the order in which the planner asks for them.
    let mut ids = old.fragments.iter().flat_map(|f| f.root.state_tables()).map(|(_, table)| table).collect::<Vec<_>>();
    ids.extend([old.dead_letters, old.late_rows]);
    let mut ids = ids.into_iter();
    let mut lost = false;
    let state = table.table;
    plan_table(table, id, name, &mut || {
        ids.next().unwrap_or_else(|| {
            lost = true;
            TableId(0)
        })
    })?;
    if lost || ids.next().is_some() || table.table != state {
        return Err(Error::internal(format!("the plan of {name} does not fit its state")));
    }
    if parallelism.is_some() {
        let mut graph: FragmentGraph =
            serde_json::from_str(&table.graph).map_err(|e| Error::internal(format!("a fragment graph: {e}")))?;
        graph.parallelism = parallelism;
        table.graph = encode(&graph)?;
    }
    Ok(())
}

fn plan_table(table: &mut Table, id: JobId, name: &str, table_ids: &mut dyn FnMut() -> TableId) -> Result<()> {
    let mut lowerer = Lowerer::new(table_ids, Emit::OnUpdate, None);
    let planned = lowerer.table_job(&TableSpec {
        id,
        name,
        columns: &table.columns,
        primary_key: &table.primary_key,
        conflict: table.conflict,
        watermark: table.watermark.as_ref(),
        options: &table.options,
        append_only: table.append_only,
    });
    let TablePlan { root, table: state } = planned;
    table.table = state;
    table.graph = encode(&fragment::cut(root, Policy::default(), table_ids))?;
    Ok(())
}

fn encode(graph: &FragmentGraph) -> Result<String> {
    serde_json::to_string(graph).map_err(|e| Error::internal(format!("a fragment graph: {e}")))
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
