//! Functions that return rows, rewritten to what DataFusion plans: `unnest` of a function that returns a list.
//!
//! ```text
//! FROM t, f(t.x) WITH ORDINALITY AS u(a, n)  -->  FROM t, LATERAL (SELECT unnest(f(t.x)) AS a, unnest(…) AS n) AS u
//! SELECT f(x)                                -->  SELECT unnest(f(x))
//! ```
//!
//! The functions that return the lists are those of `expr`, under the same names. What `unnest` of a column of an outer
//! relation means to a plan is not known here.

use std::ops::ControlFlow;

use super::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, JoinOperator, ObjectName, ObjectNamePart,
    Query, Select, SelectItem, SetExpr, TableAlias, TableFactor, VisitMut, VisitorMut,
};
use super::name::call;
use super::name::fold;
use super::names::marked_name;
use super::{parse_expr, parse_query};
use crate::common::{Error, ErrorKind, Result};

/// Functions that return rows of one column, named as the function is unless an alias is given.
const ONE_COLUMN: &[&str] = &[
    "generate_series",
    "generate_subscripts",
    "json_array_elements",
    "json_array_elements_text",
    "json_object_keys",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_object_keys",
    "regexp_split_to_table",
    "string_to_table",
];

/// Those whose one column has a name of its own.
const VALUE_COLUMN: &[&str] =
    &["json_array_elements", "json_array_elements_text", "jsonb_array_elements", "jsonb_array_elements_text"];

/// Functions that return rows of a key and a value: the lists of each are functions of their own.
const KEY_VALUE: &[&str] = &["json_each", "json_each_text", "jsonb_each", "jsonb_each_text"];

/// Rewrites every call in FROM and among the columns. With `lazy`, a series of given integers becomes DataFusion's own
/// table function, which makes no list.
///
/// # Errors
/// `NotSupported` for a call that returns rows of several columns outside FROM.
pub fn rewrite(query: &mut Query, lazy: bool) -> Result<()> {
    match query.visit(&mut Rewriter { lazy }) {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Rewriter {
    lazy: bool,
}

impl VisitorMut for Rewriter {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        match rewrite_select(select, self.lazy) {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => ControlFlow::Break(e),
        }
    }
}

fn rewrite_select(select: &mut Select, lazy: bool) -> Result<()> {
    for (i, table) in select.from.iter_mut().enumerate() {
        // The first has nothing beside it to refer to.
        factor(&mut table.relation, Place { refers: i > 0, lazy })?;
        for join in &mut table.joins {
            let refers = !matches!(
                join.join_operator,
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_)
            );
            factor(&mut join.relation, Place { refers, lazy })?;
        }
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            let flow = expr.visit(&mut Columns::default());
            if let ControlFlow::Break(e) = flow {
                return Err(e);
            }
        }
    }
    Ok(())
}

/// Puts `unnest` around calls among the columns of one SELECT.
#[derive(Default)]
struct Columns {
    /// How many `unnest` the expression is in: there, a list is wanted.
    unnests: usize,
}

impl VisitorMut for Columns {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let name = called(expr).unwrap_or_default();
        if KEY_VALUE.contains(&name.as_str()) {
            return ControlFlow::Break(
                Error::not_supported(format!("{name}() returns two columns: it can stand in FROM only"))
                    .with_hint(format!("write FROM t, {name}(t.c) AS e(key, value)")),
            );
        }
        if ONE_COLUMN.contains(&name.as_str()) && self.unnests == 0 {
            *expr = rows(&name, expr.clone());
            self.unnests = 1;
        } else if name == "unnest" {
            self.unnests += 1;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if self.unnests > 0 && called(expr).is_some_and(|name| name == "unnest") {
            self.unnests -= 1;
        }
        ControlFlow::Continue(())
    }
}

/// The name of an unqualified function that is called with plain arguments.
fn called(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Function(Function { name, args: FunctionArguments::List(_), over: None, .. }) => function_name(name),
        _ => None,
    }
}

fn function_name(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Some(fold(ident).to_lowercase()),
        [ObjectNamePart::Identifier(schema), ObjectNamePart::Identifier(ident)]
            if schema.value.eq_ignore_ascii_case("pg_catalog") =>
        {
            Some(fold(ident).to_lowercase())
        }
        _ => None,
    }
}

/// Where a relation stands.
#[derive(Clone, Copy)]
struct Place {
    /// It may refer to the relations before it.
    refers: bool,
    lazy: bool,
}

/// A call in FROM as a subquery.
fn factor(table: &mut TableFactor, place: Place) -> Result<()> {
    let (name, args, ordinality, alias) = match table {
        TableFactor::Table { name, args: Some(args), with_ordinality, alias, .. } => {
            let Some(name) = function_name(name) else { return Ok(()) };
            (name, expressions(&args.args), *with_ordinality, alias.take())
        }
        TableFactor::Function { name, args, with_ordinality, alias, .. } => {
            let Some(name) = function_name(name) else { return Ok(()) };
            (name, expressions(args), *with_ordinality, alias.take())
        }
        TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } => {
            ("unnest".to_string(), Some(array_exprs.clone()), *with_ordinality, alias.take())
        }
        TableFactor::NestedJoin { table_with_joins, .. } => {
            factor(&mut table_with_joins.relation, place)?;
            let place = Place { refers: true, ..place };
            return table_with_joins.joins.iter_mut().try_for_each(|join| factor(&mut join.relation, place));
        }
        _ => return Ok(()),
    };
    if place.lazy
        && name == "generate_series"
        && !ordinality
        && alias.as_ref().is_none_or(|a| a.columns.len() <= 1)
        && let Some(range) = args.as_deref().and_then(range)
    {
        *table = lazy_series(&range, alias)?;
        return Ok(());
    }
    let lists = args.and_then(|args| lists(&name, args));
    match lists {
        Some(lists) => *table = subquery(&name, lists, ordinality, alias, place.refers)?,
        // Some other function: as it was.
        None => {
            if let TableFactor::Table { alias: a, .. } | TableFactor::Function { alias: a, .. } = table {
                *a = alias;
            }
        }
    }
    Ok(())
}

/// The arguments of DataFusion's `range`, which leaves its end out, for a series of constants.
fn range(args: &[Expr]) -> Option<String> {
    let numbers = args.iter().map(|arg| arg.to_string().parse::<i64>().ok()).collect::<Option<Vec<_>>>()?;
    match numbers.as_slice() {
        [start, stop] => Some(format!("{start}, {}", stop.checked_add(1)?)),
        [_, _, 0] => None,
        [start, stop, step] => Some(format!("{start}, {}, {step}", stop.checked_add(step.signum())?)),
        _ => None,
    }
}

fn lazy_series(range: &str, alias: Option<TableAlias>) -> Result<TableFactor> {
    let (table, given) = match alias {
        Some(TableAlias { name, columns, .. }) => (name, columns),
        None => (Ident::new("generate_series"), Vec::new()),
    };
    let column = given.first().map_or(&table, |c| &c.name);
    let subquery = parse_query(&format!("SELECT value AS {column} FROM range({range}) AS numbers"))?;
    let alias = TableAlias { explicit: true, name: table, columns: Vec::new(), at: None };
    Ok(TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None })
}

/// The lists that the columns are made of, each with its name; `None` for a function that returns no rows.
fn lists(name: &str, args: Vec<Expr>) -> Option<Vec<(String, Expr)>> {
    if name == "unnest" {
        return Some(args.into_iter().map(|list| (name.to_string(), list)).collect());
    }
    if KEY_VALUE.contains(&name) {
        let list = |of: &str| (of.to_string(), call(&format!("{name}_{of}"), args.clone()));
        return Some(vec![list("key"), list("value")]);
    }
    if ONE_COLUMN.contains(&name) {
        return Some(vec![(name.to_string(), call(name, args))]);
    }
    None
}

fn subquery(
    name: &str,
    lists: Vec<(String, Expr)>,
    ordinality: bool,
    alias: Option<TableAlias>,
    lateral: bool,
) -> Result<TableFactor> {
    let (table, given) = match alias {
        Some(TableAlias { name, columns, .. }) => (name, columns),
        None => (Ident::new(name), Vec::new()),
    };
    let columns = lists.len() + usize::from(ordinality);
    if given.len() > columns {
        return Err(Error::new(
            ErrorKind::InvalidDefinition,
            format!("table \"{}\" has {columns} columns available but {} columns specified", table.value, given.len()),
        )
        .with_hint("give no more names than there are columns"));
    }
    // One column is called as the table is.
    let alone = lists.len() == 1 && !VALUE_COLUMN.contains(&name);
    let mut items: Vec<SelectItem> = Vec::with_capacity(columns);
    let mut item = |own: &str, expr: Expr, takes_table_name: bool| {
        let at = items.len();
        let alias = match given.get(at) {
            Some(column) => column.name.clone(),
            None if takes_table_name => table.clone(),
            None if VALUE_COLUMN.contains(&own) => Ident::new("value"),
            None if lists.len() > 1 && own == name && at > 0 => Ident::with_quote('"', marked_name(own, at)),
            None => Ident::new(own),
        };
        items.push(SelectItem::ExprWithAlias { expr, alias });
    };
    for (own, list) in &lists {
        item(own, rows(if own == "key" { own } else { name }, list.clone()), alone);
    }
    if ordinality {
        let lengths = lists.iter().map(|(_, list)| call("cardinality", vec![list.clone()])).collect();
        let ordinals = call("generate_series", vec![parse_expr("1::bigint")?, call("greatest", lengths)]);
        item("ordinality", rows("", ordinals), false);
    }
    let mut subquery = parse_query("SELECT 1")?;
    if let SetExpr::Select(select) = subquery.body.as_mut() {
        select.projection = items;
    }
    let alias = TableAlias { explicit: true, name: table, columns: Vec::new(), at: None };
    Ok(TableFactor::Derived { lateral, subquery, alias: Some(alias), sample: None })
}

/// The values of arguments without names; `None` when one has a name or is `*`.
fn expressions(args: &[FunctionArg]) -> Option<Vec<Expr>> {
    args.iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
            _ => None,
        })
        .collect()
}

/// The rows of a function's list; an element of JSON is text, but for the mark.
fn rows(name: &str, list: Expr) -> Expr {
    let rows = call("unnest", vec![list]);
    match name {
        "jsonb_array_elements" | "jsonb_each" => call("as_jsonb", vec![rows]),
        "json_array_elements" | "json_each" => call("as_json", vec![rows]),
        _ => rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expected: &str) {
        let mut query = parse_query(sql).unwrap();
        rewrite(&mut query, false).unwrap();
        assert_eq!(query.to_string(), expected, "{sql}");
    }

    #[test]
    fn calls_become_unnest() {
        for (sql, expected) in [
            ("SELECT generate_series(1, 3) AS g", "SELECT unnest(generate_series(1, 3)) AS g"),
            ("SELECT unnest(a) + 1 FROM t", "SELECT unnest(a) + 1 FROM t"),
            (
                "SELECT * FROM generate_series(1, 3) AS g",
                "SELECT * FROM (SELECT unnest(generate_series(1, 3)) AS g) AS g",
            ),
            ("SELECT * FROM unnest(ARRAY[1]) x", "SELECT * FROM (SELECT unnest(ARRAY[1]) AS x) AS x"),
            (
                "SELECT * FROM t, LATERAL jsonb_array_elements(t.j) AS e",
                "SELECT * FROM t, LATERAL (SELECT as_jsonb(unnest(jsonb_array_elements(t.j))) AS value) AS e",
            ),
            (
                "SELECT * FROM t CROSS JOIN jsonb_each(t.j)",
                "SELECT * FROM t CROSS JOIN LATERAL (SELECT unnest(jsonb_each_key(t.j)) AS key, \
                 as_jsonb(unnest(jsonb_each_value(t.j))) AS value) AS jsonb_each",
            ),
            (
                "SELECT * FROM unnest(a) WITH ORDINALITY AS u(x, n)",
                "SELECT * FROM (SELECT unnest(a) AS x, \
                 unnest(generate_series(1::BIGINT, greatest(cardinality(a)))) AS n) AS u",
            ),
        ] {
            check(sql, expected);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (sql, expected) in [
            ("SELECT jsonb_each(j) FROM t", "jsonb_each() returns two columns"),
            ("SELECT * FROM generate_series(1, 2) AS g(a, b)", "1 columns available but 2"),
        ] {
            let mut query = parse_query(sql).unwrap();
            let error = rewrite(&mut query, false).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
