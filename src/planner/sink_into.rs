//! A query whose changes go into a table: its columns brought to the table's, its key to the table's rows.
//!
//! What comes out is planned as a part of the table's job: see [`crate::plan::inflow`].

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, col, lit};
use datafusion::scalar::ScalarValue;

use super::lower::{IntoTable, Lowerer};
use super::{PlannedSink, QuerySpec, bind, fragment, named};
use crate::catalog::{Column, Definition, Object, Snapshot, Table};
use crate::common::{Error, ErrorKind, Result};
use crate::expr::modifier;
use crate::plan::{Policy, RowId};
use crate::sql::name::quote;
use crate::sql::{self, ast};
use crate::types::TableId;
use crate::types::pg_type::PgType;

/// Plans CREATE SINK … INTO: the query's columns go to `columns` of the table `target`, or to its first ones; the others
/// take their defaults. Its last fragment is to be taken in by the table's graph.
///
/// # Errors
/// What does not fit: `UndefinedColumn`, `DatatypeMismatch`, `InvalidDefinition`; `NotSupported` for a query that cannot
/// be kept up to date.
pub fn plan_sink_into(
    snapshot: &Snapshot,
    target: &Object,
    columns: &[String],
    spec: QuerySpec,
    table_ids: &mut dyn FnMut() -> TableId,
) -> Result<PlannedSink> {
    let Definition::Table(table) = &target.definition else { return Err(Error::internal("not a table")) };
    check_target(target, table)?;
    let width = named(snapshot, spec.query, spec.columns)?.plan.schema().fields().len();
    let places = places(target, columns, width)?;
    let shown: Vec<&Column> = table.columns.iter().filter(|c| !c.hidden).collect();
    let (query, names) = with_defaults(spec.query, width, &shown, &places)?;
    let bound = named(snapshot, &query, &names)?;
    let plan = bind::streaming(assigned(bound.plan, &shown, &places)?)?;

    let mut lowerer = Lowerer::new(table_ids, spec.emit, None);
    let lowered = lowerer.query(&plan)?;
    let append_only = lowered.node.properties.append_only;
    if !append_only {
        check_changes(target, table)?;
    }
    let key = &table.primary_key;
    let stored = |shown_at: &usize| {
        let mut stored = table.columns.iter().enumerate().filter(|(_, c)| !c.hidden).map(|(i, _)| i);
        stored.nth(*shown_at)
    };
    let one_a_key = lowered.node.properties.stream_key.iter().all(|c| stored(c).is_some_and(|c| key.contains(&c)));
    if !append_only && !one_a_key {
        lowerer.notices.push(format!(
            "the query is not known to give one row for each key of table \"{}\": of several the last one stays, and \
             there is none when one of them goes",
            target.name
        ));
    }
    let into = IntoTable { columns: &table.columns, primary_key: key, sink: table.sinks };
    let root = lowerer.sink_into(lowered, &into);
    Ok(PlannedSink {
        columns: shown.into_iter().cloned().collect(),
        append_only,
        notices: std::mem::take(&mut lowerer.notices),
        graph: fragment::cut(root, Policy::default(), table_ids),
        depends_on: bound.depends_on,
    })
}

fn check_target(target: &Object, table: &Table) -> Result<()> {
    let name = &target.name;
    if table.watermark.is_some() {
        return Err(Error::not_supported(format!("a sink cannot fill table \"{name}\", which has a WATERMARK"))
            .with_hint("CREATE TABLE without it; views over what the sink reads have the watermark that it has"));
    }
    if table.sinks >= RowId::SINKS {
        return Err(Error::not_supported(format!("table \"{name}\" has had {} sinks", table.sinks))
            .with_hint("CREATE TABLE anew"));
    }
    Ok(())
}

/// A table that takes retractions.
fn check_changes(target: &Object, table: &Table) -> Result<()> {
    let refused = |what: &str, hint: &str| {
        let message = format!("the rows of the query change, and table \"{}\" {what}", target.name);
        Err(Error::new(ErrorKind::InvalidDefinition, message).with_hint(hint))
    };
    if table.append_only {
        return refused("is APPEND ONLY", "create the table with a PRIMARY KEY and without APPEND ONLY");
    }
    if table.primary_key.iter().any(|c| table.columns.get(*c).is_some_and(|c| c.hidden)) {
        return refused(
            "has no key to find a row by",
            "create the table with a PRIMARY KEY, of columns that the query gives one row for",
        );
    }
    Ok(())
}

/// Which of the query's columns goes into each visible column of the table.
fn places(target: &Object, columns: &[String], width: usize) -> Result<Vec<Option<usize>>> {
    let Definition::Table(table) = &target.definition else { return Err(Error::internal("not a table")) };
    let name = &target.name;
    let shown = || table.columns.iter().enumerate().filter(|(_, c)| !c.hidden);
    let wrong = |message: String| Error::new(ErrorKind::InvalidDefinition, message);
    let mut given = BTreeSet::new();
    for column in columns {
        if !shown().any(|(_, c)| c.name == *column) {
            let message = format!("column \"{column}\" of relation \"{name}\" does not exist");
            return Err(Error::new(ErrorKind::UndefinedColumn, message));
        }
        if !given.insert(column) {
            let message = format!("column \"{column}\" specified more than once");
            return Err(Error::new(ErrorKind::DuplicateColumn, message));
        }
    }
    let room = if columns.is_empty() { shown().count() } else { columns.len() };
    if width > room {
        return Err(wrong(format!("the query has {width} columns, and there are {room} of table \"{name}\" to fill")));
    }
    if width < columns.len() {
        return Err(wrong(format!("{room} columns of table \"{name}\" are named, and the query has {width}")));
    }
    let mut places = Vec::new();
    for (number, (at, column)) in shown().enumerate() {
        let place = match columns.is_empty() {
            true => Some(number).filter(|n| *n < width),
            false => columns.iter().position(|c| *c == column.name),
        };
        if place.is_none() && column.default.is_none() && table.primary_key.contains(&at) {
            return Err(wrong(format!("the query gives no value for the key column \"{}\"", column.name))
                .with_hint("name it among the columns: INTO t (key, …)"));
        }
        places.push(place);
    }
    Ok(places)
}

/// The query with the defaults that it needs behind its columns, and names for them all.
fn with_defaults(
    query: &ast::Query,
    width: usize,
    shown: &[&Column],
    places: &[Option<usize>],
) -> Result<(ast::Query, Vec<String>)> {
    let mut names: Vec<String> = (0..width).map(|i| format!("_{i}")).collect();
    let mut defaults = String::new();
    for (at, (column, place)) in shown.iter().zip(places).enumerate() {
        if let (None, Some(default)) = (place, &column.default) {
            let name = default_name(at);
            defaults.push_str(&format!(", ({default}) AS {}", quote(&name)));
            names.push(name);
        }
    }
    if defaults.is_empty() {
        return Ok((query.clone(), names));
    }
    let own = names.iter().take(width).map(|n| quote(n)).collect::<Vec<_>>().join(", ");
    let text = format!("SELECT *{defaults} FROM ({query}) AS \"_rows\" ({own})");
    Ok((*sql::parse_query(&text)?, names))
}

fn default_name(at: usize) -> String {
    format!("_default_{at}")
}

/// The table's visible columns, as its types.
fn assigned(plan: LogicalPlan, shown: &[&Column], places: &[Option<usize>]) -> Result<LogicalPlan> {
    let schema = plan.schema().clone();
    let mut exprs = Vec::with_capacity(shown.len());
    for (at, (column, place)) in shown.iter().zip(places).enumerate() {
        let found = match place {
            Some(place) => Some(*place),
            None => schema.fields().iter().position(|f| *f.name() == default_name(at)),
        };
        let expr = match found.map(|i| (schema.columns().swap_remove(i), schema.field(i))) {
            Some((from, field)) => assign(col(from), field, column)?,
            None => lit(ScalarValue::try_from(&column.data_type)?),
        };
        exprs.push(expr.alias(&column.name));
    }
    Ok(LogicalPlanBuilder::from(plan).project(exprs)?.build()?)
}

/// As PostgreSQL assigns: what would need a cast in the query is refused.
fn assign(expr: Expr, from: &Field, to: &Column) -> Result<Expr> {
    let (has, wants) = (from.data_type(), &to.data_type);
    let text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let moment = |t: &DataType| matches!(t, DataType::Timestamp(..) | DataType::Date32);
    let of_type = |mark: Option<PgType>| mark.filter(|mark| mark.is_type());
    let marks = of_type(PgType::of(from)) == of_type(to.mark) || *has == DataType::Null;
    let fits = has == wants
        || *has == DataType::Null
        || (has.is_numeric() && wants.is_numeric())
        || (moment(has) && moment(wants))
        || text(wants);
    if !marks || !fits {
        let message = format!("column \"{}\" is of type {wants}, but the query gives {has}", to.name);
        return Err(Error::new(ErrorKind::DatatypeMismatch, message).with_hint("CAST it in the query"));
    }
    let cast = if has == wants { expr } else { cast(expr, wants.clone()) };
    Ok(if PgType::of(from) == to.mark { cast } else { modifier::assigned(cast, to.mark) })
}
