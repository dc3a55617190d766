//! `ARRAY(SELECT …)`: the rows of a subquery as a list, as the aggregate that it means.
//!
//! ```text
//! ARRAY(SELECT x FROM u WHERE u.k = t.k ORDER BY y DESC)
//! array_or_empty((SELECT array_agg(__array.v ORDER BY __array.o0 DESC)
//!                 FROM (SELECT x, y AS __o0 FROM u WHERE u.k = t.k) AS __array (v, o0)))
//! ```
//! What orders the rows comes out beside them. That no row gives an empty list is a function's, outside: the aggregate of
//! a subquery that became a join is null there.

use super::ast::{
    Expr, Function, FunctionArguments, Ident, OrderBy, OrderByKind, Query, SelectItem, SetExpr, TableFactor, Value,
};
use super::name::{self, call};
use super::parse::parse_query;

/// The relation that the subquery becomes.
const ROWS: &str = "__array";

/// The list that the expression is, if it is one of a subquery.
pub(super) fn rewritten(expr: &Expr) -> Option<Expr> {
    let Expr::Function(Function { name, args: FunctionArguments::Subquery(query), .. }) = expr else { return None };
    if !name.to_string().eq_ignore_ascii_case("array") || asks_catalog(query) {
        return None;
    }
    Some(call("array_or_empty", vec![Expr::Subquery(Box::new(aggregated(query)?))]))
}

/// Whether the rows are the catalog's: what tools ask of it in this form is answered there.
fn asks_catalog(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let relations = select
        .from
        .iter()
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    let is_catalog = |factor: &TableFactor| match factor {
        TableFactor::Table { name, .. } | TableFactor::Function { name, .. } => {
            name::parts(name).is_ok_and(|parts| parts.iter().any(|part| part.starts_with("pg_")))
        }
        _ => false,
    };
    relations.into_iter().any(is_catalog)
}

/// `None` where the order is by what cannot come out beside the rows.
fn aggregated(query: &Query) -> Option<Query> {
    let mut rows = query.clone();
    let mut order = Vec::new();
    let mut columns = vec!["v".to_string()];
    if let Some(OrderBy { kind: OrderByKind::Expressions(by), .. }) = &query.order_by {
        for sort in by {
            let mut sort = sort.clone();
            let column = match is_value(&sort.expr, query) {
                true => "v".to_string(),
                false => {
                    let column = format!("o{}", columns.len() - 1);
                    beside(&mut rows, &sort.expr, &column)?;
                    columns.push(column.clone());
                    column
                }
            };
            sort.expr = Expr::CompoundIdentifier(vec![Ident::new(ROWS), Ident::new(column)]);
            order.push(sort.to_string());
        }
    }
    if rows.limit_clause.is_none() && rows.fetch.is_none() {
        rows.order_by = None;
    }
    let by = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
    let columns = columns.join(", ");
    let mut made =
        parse_query(&format!("SELECT array_agg({ROWS}.v{by}) FROM (SELECT 1) AS {ROWS} ({columns})")).ok()?;
    if let SetExpr::Select(select) = made.body.as_mut()
        && let [from] = select.from.as_mut_slice()
        && let TableFactor::Derived { subquery, .. } = &mut from.relation
    {
        **subquery = rows;
    }
    Some(*made)
}

/// Whether the expression of ORDER BY is the one column that comes out: by its number, its name, or as it is written.
fn is_value(expr: &Expr, query: &Query) -> bool {
    if let Expr::Value(value) = expr
        && let Value::Number(number, _) = &value.value
    {
        return *number == "1";
    }
    let SetExpr::Select(select) = query.body.as_ref() else { return matches!(expr, Expr::Identifier(_)) };
    match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(item)] => item == expr,
        [SelectItem::ExprWithAlias { expr: item, alias }] => {
            item == expr || matches!(expr, Expr::Identifier(name) if name == alias)
        }
        _ => false,
    }
}

/// Lets an expression come out beside the rows.
fn beside(rows: &mut Query, expr: &Expr, column: &str) -> Option<()> {
    let SetExpr::Select(select) = rows.body.as_mut() else { return None };
    if select.distinct.is_some() {
        return None;
    }
    let alias = Ident::new(format!("__{column}"));
    select.projection.push(SelectItem::ExprWithAlias { expr: expr.clone(), alias });
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::{parse_query, pg};

    #[test]
    fn lists_of_rows() {
        for (sql, expected) in [
            (
                "SELECT ARRAY(SELECT x FROM u)",
                "SELECT array_or_empty((SELECT array_agg(__array.v) FROM (SELECT x FROM u) AS __array (v)))",
            ),
            (
                "SELECT ARRAY(SELECT x FROM u ORDER BY x, y DESC)",
                "SELECT array_or_empty((SELECT array_agg(__array.v ORDER BY __array.v, __array.o0 DESC) FROM \
                 (SELECT x, y AS __o0 FROM u) AS __array (v, o0)))",
            ),
            (
                "SELECT ARRAY(SELECT DISTINCT x + 1 AS n FROM u ORDER BY n NULLS FIRST LIMIT 2)",
                "SELECT array_or_empty((SELECT array_agg(__array.v ORDER BY __array.v NULLS FIRST) FROM \
                 (SELECT DISTINCT x + 1 AS n FROM u ORDER BY n NULLS FIRST LIMIT 2) AS __array (v)))",
            ),
        ] {
            let mut query = parse_query(sql).unwrap();
            pg::rewrite(&mut query);
            assert_eq!(query.to_string(), expected);
        }
    }
}
