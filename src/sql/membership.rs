//! `IN (SELECT …)` of rows, and as a value, as the EXISTS that it means.
//!
//! ```text
//! WHERE (a, b) IN (SELECT x, y …)      -->  WHERE EXISTS (SELECT 1 FROM (SELECT x, y …) AS q (c0, c1) WHERE a = c0 AND b = c1)
//! WHERE (a, b) NOT IN (…)              -->  WHERE NOT EXISTS (… WHERE (a = c0 AND b = c1) IS NOT FALSE)
//! SELECT a IN (SELECT x …)             -->  SELECT CASE WHEN EXISTS (… WHERE a = c0) THEN true
//!                                                  WHEN EXISTS (… WHERE c0 IS NULL) THEN NULL
//!                                                  WHEN a IS NULL AND EXISTS (…) THEN NULL ELSE false END
//! ```
//! A condition of one value stays: the planner makes a join of it that knows the nulls. As a part of OR it does not know
//! those of NOT IN.

use super::ast::{BinaryOperator, Expr, Query, Select, SelectItem, SetExpr, TableFactor, UnaryOperator};
use super::own_level;
use super::parse::{parse_expr, parse_query};

/// The relation that the subquery becomes.
const ROWS: &str = "__in";

/// Rewrites the columns and conditions of one SELECT, not those of the subqueries in it.
pub(super) fn rewrite(select: &mut Select) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            value(expr);
        }
    }
    for expr in select.selection.iter_mut().chain(select.having.iter_mut()) {
        condition(expr, true);
    }
}

/// What only rows count of for which it is true. `whole` is what must be true itself.
fn condition(expr: &mut Expr, whole: bool) {
    match expr {
        Expr::Nested(inner) => condition(inner, whole),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            condition(left, whole);
            condition(right, whole);
        }
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
            condition(left, false);
            condition(right, false);
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } => match plain(inner) {
            Expr::InSubquery { expr: left, subquery, negated } => {
                let (left, subquery, negated) = (left.clone(), subquery.clone(), !*negated);
                *expr = Expr::InSubquery { expr: left, subquery, negated };
                condition(expr, whole);
            }
            _ => value(inner),
        },
        Expr::InSubquery { expr: left, subquery, negated } => {
            let rows = matches!(left.as_ref(), Expr::Tuple(_));
            if !rows && (whole || !*negated) {
                return value(left);
            }
            let Some(found) = Membership::of(left, subquery) else { return };
            let exists = match negated {
                false => found.exists(&found.equal()),
                true => found.exists(&format!("({}) IS NOT FALSE", found.equal())),
            };
            let made = exists.map(|e| if *negated { format!("NOT {e}") } else { e });
            replace(expr, made);
        }
        other => value(other),
    }
}

/// True, false or null.
fn value(expr: &mut Expr) {
    own_level::each_expr(expr, |expr| {
        if let Expr::InSubquery { expr: left, subquery, negated } = expr
            && let Some(found) = Membership::of(left, subquery)
        {
            let made = found.value(*negated);
            replace(expr, made);
        }
    });
}

fn replace(expr: &mut Expr, text: Option<String>) {
    if let Some(made) = text.and_then(|text| parse_expr(&text).ok()) {
        *expr = Expr::Nested(Box::new(made));
    }
}

fn plain(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => plain(inner),
        expr => expr,
    }
}

/// A row, and the rows that it may be among.
struct Membership<'e> {
    row: Vec<&'e Expr>,
    rows: &'e Query,
}

impl<'e> Membership<'e> {
    fn of(left: &'e Expr, rows: &'e Query) -> Option<Self> {
        let row = match plain(left) {
            Expr::Tuple(row) => row.iter().collect(),
            value => vec![value],
        };
        // Of another width it is an error, which the planner names.
        let width = match rows.body.as_ref() {
            SetExpr::Select(select) if select.projection.iter().all(is_one) => select.projection.len(),
            _ => row.len(),
        };
        (width == row.len()).then_some(Self { row, rows })
    }

    /// As text: the row is one of them where this holds.
    fn equal(&self) -> String {
        let equal = self.row.iter().enumerate().map(|(i, value)| format!("({value}) = {ROWS}.c{i}"));
        equal.collect::<Vec<_>>().join(" AND ")
    }

    /// As text: there is a row for which the condition holds.
    fn exists(&self, condition: &str) -> Option<String> {
        let names: Vec<String> = (0..self.row.len()).map(|i| format!("c{i}")).collect();
        let text = format!("SELECT 1 FROM (SELECT 1) AS {ROWS} ({}) WHERE {condition}", names.join(", "));
        let mut query = parse_query(&text).ok()?;
        if let SetExpr::Select(select) = query.body.as_mut()
            && let [from] = select.from.as_mut_slice()
            && let TableFactor::Derived { subquery, .. } = &mut from.relation
        {
            **subquery = self.rows.clone();
        }
        Some(format!("EXISTS ({query})"))
    }

    fn value(&self, negated: bool) -> Option<String> {
        let (found, not_found) = if negated { ("false", "true") } else { ("true", "false") };
        let is = self.exists(&self.equal())?;
        let unknown = match self.row.as_slice() {
            [value] => {
                let null = self.exists(&format!("{ROWS}.c0 IS NULL"))?;
                let any = self.exists("true")?;
                format!("WHEN {null} THEN NULL WHEN ({value}) IS NULL AND {any} THEN NULL")
            }
            _ => format!("WHEN {} THEN NULL", self.exists(&format!("({}) IS NULL", self.equal()))?),
        };
        Some(format!("CASE WHEN {is} THEN {found} {unknown} ELSE {not_found} END"))
    }
}

fn is_one(item: &SelectItem) -> bool {
    matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
}

#[cfg(test)]
mod tests {
    use super::super::{parse_query, pg};

    #[test]
    fn rows_and_values() {
        for (sql, expected) in [
            ("SELECT 1 FROM t WHERE a IN (SELECT x FROM u)", "SELECT 1 FROM t WHERE a IN (SELECT x FROM u)"),
            (
                "SELECT 1 FROM t WHERE b OR NOT a IN (SELECT x FROM u)",
                "SELECT 1 FROM t WHERE b OR (NOT EXISTS (SELECT 1 FROM (SELECT x FROM u) AS __in (c0) WHERE ((a) = __in.c0) IS NOT FALSE))",
            ),
            (
                "SELECT 1 FROM t WHERE (a, b) IN (SELECT x, y FROM u)",
                "SELECT 1 FROM t WHERE (EXISTS (SELECT 1 FROM (SELECT x, y FROM u) AS __in (c0, c1) WHERE (a) = __in.c0 AND (b) = __in.c1))",
            ),
            ("SELECT 1 FROM t WHERE (a, b) IN (SELECT x FROM u)", "SELECT 1 FROM t WHERE (a, b) IN (SELECT x FROM u)"),
        ] {
            let mut query = parse_query(sql).unwrap();
            pg::rewrite(&mut query);
            assert_eq!(query.to_string(), expected);
        }
    }
}
