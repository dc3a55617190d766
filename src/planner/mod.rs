//! Binds queries to a catalog snapshot, lowers them to stream plans, cuts those into fragments, explains them. Pure.
//!
//! ```text
//! ast::Query --rewrite--> plain SQL --bind--> LogicalPlan --lower--> Node tree --fragment--> FragmentGraph
//! ```
//!
//! Nothing here runs or is stored: callers pass a snapshot and a source of table ids, and get plain data back.

mod access;
mod bind;
mod context;
mod define;
mod distinct_on;
mod explain;
mod fragment;
mod function;
mod index;
mod lower;
mod now;
mod options;
mod sink_into;
mod time_join;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::logical_expr::LogicalPlan;

pub use access::check_reads;
pub use context::{Types, config, renamed};
pub use define::{define_source, define_table, replan_table};
pub use explain::explain;
pub use function::define_function;
pub use index::{index_columns, index_name, plan_index, ready};
pub use sink_into::plan_sink_into;

use crate::catalog::def::{Column, Definition};
use crate::catalog::{Snapshot, View};
use crate::common::{Error, ErrorKind, Result};
use crate::plan::{FragmentGraph, Policy};
use crate::sql;
use crate::sql::ast;
use crate::sql::names::{name_columns, shown};
use crate::sql::statement::Emit;
use crate::types::{JobId, TableId, WithOptions};

use self::context::Context;
use self::lower::{Lowered, Lowerer};
use self::options::ViewOptions;

/// A query that becomes a job.
#[derive(Debug, Clone, Copy)]
pub struct QuerySpec<'q> {
    /// As parsed: windows are rewritten here.
    pub query: &'q ast::Query,
    /// Names for the columns, or none to keep the query's.
    pub columns: &'q [String],
    pub emit: Emit,
    /// Those of WITH; none for a sink, whose are its connector's.
    pub options: &'q BTreeMap<String, String>,
}

/// A materialized view ready to be made.
#[derive(Debug)]
pub struct PlannedView {
    pub graph: FragmentGraph,
    /// Hidden key columns last.
    pub columns: Vec<Column>,
    /// The key of the stored rows, as column indices.
    pub key: Vec<usize>,
    pub table: TableId,
    pub append_only: bool,
    pub watermark_columns: Vec<usize>,
    pub depends_on: Vec<JobId>,
    /// For the user, as NOTICE.
    pub notices: Vec<String>,
}

/// A sink ready to be made.
#[derive(Debug)]
pub struct PlannedSink {
    pub graph: FragmentGraph,
    /// What is written.
    pub columns: Vec<Column>,
    /// No retraction ever reaches the sink.
    pub append_only: bool,
    pub depends_on: Vec<JobId>,
    pub notices: Vec<String>,
}

/// A view that is not materialized.
#[derive(Debug)]
pub struct PlannedQuery {
    pub columns: Vec<Column>,
    pub depends_on: Vec<JobId>,
}

/// What a query is rewritten for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Stream,
    Batch,
}

/// Names the columns of a query and rewrites its windows, FETCH, and functions that return rows to plain SQL that
/// DataFusion plans; the batch side needs nothing more of them.
pub fn rewrite(query: &mut ast::Query, snapshot: &Snapshot, purpose: Purpose) -> Result<()> {
    sql::changelog::rewrite(query, purpose == Purpose::Stream)?;
    name_columns(query);
    sql::gap_fill::rewrite(query, &|table| column_names(snapshot, table))?;
    inline_functions(query, snapshot)?;
    sql::whole_row::rewrite(query, &|table| column_names(snapshot, table));
    sql::set_returning::rewrite(query, purpose == Purpose::Batch)?;
    sql::json::rewrite(query);
    sql::pg::rewrite(query);
    sql::fetch::rewrite(query)?;
    sql::time_join::rewrite(query, &|table| watermark_column(snapshot, table))?;
    sql::window::rewrite(query, &|table| watermark_column(snapshot, table))
}

/// Puts the bodies of the users' functions in where a statement calls them.
///
/// # Errors
/// `UndefinedFunction` for a call whose arguments do not fit.
pub fn inline_functions<T: ast::VisitMut>(node: &mut T, snapshot: &Snapshot) -> Result<()> {
    if snapshot.functions().next().is_none() {
        return Ok(());
    }
    sql::function::inline(node, &|name| snapshot.function(name).map(|f| f.function.clone()))
}

/// The query of a view, ready to be planned inline.
pub fn view_query(view: &View, snapshot: &Snapshot) -> Result<Box<ast::Query>> {
    let mut query = sql::parse_query(&view.query)?;
    rewrite(&mut query, snapshot, Purpose::Batch)?;
    Ok(query)
}

/// Plans CREATE MATERIALIZED VIEW. `table_ids` gives ids for state tables, each new.
///
/// # Errors
/// What the query has wrong, or `NotSupported` for what cannot be kept up to date yet.
pub fn plan_materialized_view(
    snapshot: &Snapshot,
    spec: QuerySpec,
    table_ids: &mut dyn FnMut() -> TableId,
) -> Result<PlannedView> {
    let options = ViewOptions::of(spec.options, spec.emit)?;
    let bound = bind(snapshot, spec)?;
    let mut lowerer = Lowerer::new(table_ids, spec.emit, options.lateness);
    let lowered = lowerer.query(&bound.plan)?;
    let (Lowered { node, visible }, table) = lowerer.materialize(lowered)?;
    let mut notices = std::mem::take(&mut lowerer.notices);
    let key = match &node.operator {
        crate::plan::Operator::Materialize(m) => m.key.clone(),
        _ => return Err(Error::internal("a view's plan does not end in Materialize")),
    };
    let (append_only, watermark_columns) = (node.properties.append_only, node.properties.watermark_columns.clone());
    let columns = columns(&node.schema, visible);
    let graph = fragment::cut(node, options.policy, table_ids);
    notices.extend(explain::growth(&graph));
    Ok(PlannedView {
        columns,
        key,
        table,
        append_only,
        watermark_columns,
        graph,
        depends_on: bound.depends_on,
        notices,
    })
}

/// Plans CREATE SINK; `id` is the sink's own.
pub fn plan_sink(
    snapshot: &Snapshot,
    id: JobId,
    name: &str,
    spec: QuerySpec,
    options: &WithOptions,
    table_ids: &mut dyn FnMut() -> TableId,
) -> Result<PlannedSink> {
    let bound = bind(snapshot, spec)?;
    let mut lowerer = Lowerer::new(table_ids, spec.emit, None);
    let lowered = lowerer.query(&bound.plan)?;
    let Lowered { node, visible } = lowerer.sink(lowered, id, name, options);
    let notices = std::mem::take(&mut lowerer.notices);
    let mut columns = columns(&node.schema, visible);
    columns.truncate(visible);
    Ok(PlannedSink {
        columns,
        append_only: node.properties.append_only,
        graph: fragment::cut(node, Policy::default(), table_ids),
        depends_on: bound.depends_on,
        notices,
    })
}

/// Plans CREATE VIEW: checks the query and finds its columns. It need not be one that can be kept up to date.
pub fn plan_view(snapshot: &Snapshot, query: &ast::Query, columns: &[String]) -> Result<PlannedQuery> {
    let bound = named(snapshot, query, columns)?;
    let fields = bound.plan.schema().as_arrow();
    Ok(PlannedQuery { columns: self::columns(fields, fields.fields().len()), depends_on: bound.depends_on })
}

/// What a query's names stand for: the same text under two catalogs means the same when this is equal.
pub fn meaning(snapshot: &Snapshot, query: &ast::Query) -> Result<String> {
    Ok(named(snapshot, query, &[])?.plan.display_indent().to_string())
}

struct Bound {
    plan: LogicalPlan,
    depends_on: Vec<JobId>,
}

fn bind(snapshot: &Snapshot, spec: QuerySpec) -> Result<Bound> {
    let Bound { plan, depends_on } = named(snapshot, spec.query, spec.columns)?;
    let plan = bind::streaming(plan)?;
    Ok(Bound { plan, depends_on })
}

/// Names and types resolved, columns named as asked.
fn named(snapshot: &Snapshot, query: &ast::Query, columns: &[String]) -> Result<Bound> {
    let context = Context::new(snapshot);
    let mut query = query.clone();
    rewrite(&mut query, snapshot, Purpose::Stream)?;
    let mut plan = bind::plan(&context, &query)?;
    let fields = plan.schema().fields().len();
    if !columns.is_empty() {
        if columns.len() != fields {
            return Err(Error::new(
                ErrorKind::InvalidDefinition,
                format!("{} column names are given for {fields} columns", columns.len()),
            )
            .with_hint("name every column of the query, or none"));
        }
        unique(columns.iter())?;
        plan = context::renamed(plan, columns.iter().map(String::as_str))?;
    }
    let names: Vec<String> = plan.schema().fields().iter().map(|f| shown(f.name()).to_string()).collect();
    unique(names.iter())?;
    if plan.schema().fields().iter().zip(&names).any(|(field, name)| field.name() != name) {
        plan = context::renamed(plan, names.iter().map(String::as_str))?;
    }
    Ok(Bound { depends_on: context.used(), plan })
}

fn unique<'n>(names: impl Iterator<Item = &'n String>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Error::new(ErrorKind::DuplicateColumn, format!("column \"{name}\" specified more than once"))
                .with_hint("give one of them another name with AS"));
        }
    }
    Ok(())
}

fn columns(schema: &Schema, visible: usize) -> Vec<Column> {
    let column =
        |(i, field): (usize, &Arc<arrow::datatypes::Field>)| Column { hidden: i >= visible, ..Column::of(field) };
    schema.fields().iter().enumerate().map(column).collect()
}

/// The columns of a relation that are not hidden.
fn column_names(snapshot: &Snapshot, table: &ast::ObjectName) -> Option<Vec<String>> {
    let object = snapshot.get(&sql::name::object_name(table).ok()?)?;
    Some(object.definition.columns().iter().filter(|c| !c.hidden).map(|c| c.name.clone()).collect())
}

/// The first column of a relation that carries a watermark.
fn watermark_column(snapshot: &Snapshot, table: &ast::ObjectName) -> Option<String> {
    let object = snapshot.get(&sql::name::object_name(table).ok()?)?;
    let column = match &object.definition {
        Definition::Source(s) => s.watermark.as_ref()?.column,
        Definition::Table(t) => t.watermark.as_ref()?.column,
        Definition::MaterializedView(v) => *v.watermark_columns.first()?,
        Definition::View(_) | Definition::Sink(_) | Definition::Index(_) => return None,
    };
    object.definition.columns().get(column).map(|c| c.name.clone())
}
