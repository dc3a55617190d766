//! What a statement's text says about the types of its parameters: `$1::bigint`, `LIMIT $2`.
//!
//! DataFusion infers types where a parameter meets a column; PostgreSQL also where the text names one.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Field};

use super::ast::{self, CastKind, Expr, LimitClause, Value, Visit, Visitor};
use super::types;
use crate::types::pg_type::PgType;

/// The types by the parameters' numbers; where several are said, the first. Text says nothing: it is what an unknown
/// parameter is anyway.
pub fn told(statement: &impl Visit) -> BTreeMap<usize, Field> {
    let mut told = Told(BTreeMap::new());
    let _ = statement.visit(&mut told);
    told.0
}

/// The number of `$1`; `None` for any other expression.
fn number(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Nested(inner) => number(inner),
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => name.strip_prefix('$')?.parse().ok().filter(|n| *n > 0),
            _ => None,
        },
        _ => None,
    }
}

struct Told(BTreeMap<usize, Field>);

impl Told {
    fn add(&mut self, expr: &Expr, field: impl FnOnce() -> Option<Field>) {
        if let Some(number) = number(expr)
            && !self.0.contains_key(&number)
            && let Some(field) = field()
        {
            self.0.insert(number, field);
        }
    }
}

impl Visitor for Told {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } = expr {
            self.add(expr, || field(data_type));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        let count = || Some(Field::new("count", DataType::Int64, true));
        let (limit, offset) = match &query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => (limit.as_ref(), offset.as_ref().map(|o| &o.value)),
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
            None => (None, None),
        };
        for expr in [limit, offset, query.fetch.as_ref().and_then(|f| f.quantity.as_ref())].into_iter().flatten() {
            self.add(expr, count);
        }
        ControlFlow::Continue(())
    }
}

fn field(data_type: &ast::DataType) -> Option<Field> {
    let is_oid = |t: &ast::DataType| matches!(t.to_string().to_lowercase().as_str(), "oid" | "pg_catalog.oid");
    if is_oid(data_type) {
        return Some(PgType::Oid.mark(Field::new("cast", DataType::Int64, true)));
    }
    if let ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(item, _)) = data_type
        && is_oid(item)
    {
        return Some(PgType::Oid.mark(Field::new("cast", DataType::new_list(DataType::Int64, true), true)));
    }
    // Another type of the catalogues, such as regclass, is read from text.
    let arrow = types::arrow(data_type).ok()?;
    let field = Field::new("cast", arrow, true);
    Some(match types::mark(data_type) {
        Some(mark) => mark.mark(field),
        None => field,
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse_query;
    use super::*;

    #[test]
    fn casts_and_limits() {
        for (sql, expected) in [
            ("SELECT $1::int, CAST($2 AS bool), $1::text", "1 Int32, 2 Boolean"),
            ("SELECT ($3)::timestamptz FROM t WHERE a = $1", "3 Timestamp(µs, \"UTC\")"),
            ("SELECT * FROM (SELECT a FROM t LIMIT $2 OFFSET $1) AS s", "1 Int64, 2 Int64"),
            ("SELECT * FROM t FETCH FIRST $1 ROWS ONLY", "1 Int64"),
            ("SELECT $1::uuid, $2::int[], $3::regclass, $4::oid", "1 Utf8 Uuid, 2 List(Int32), 4 Int64 Oid"),
            ("SELECT 1", ""),
        ] {
            let shown = |(number, field): (usize, Field)| match PgType::of(&field) {
                Some(mark) => format!("{number} {} {mark:?}", field.data_type()),
                None => format!("{number} {}", field.data_type()),
            };
            let all: Vec<_> = told(&*parse_query(sql).unwrap()).into_iter().map(shown).collect();
            assert_eq!(all.join(", "), expected, "{sql}");
        }
    }
}
