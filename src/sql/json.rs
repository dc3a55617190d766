//! JSON and UUID in SQL as the functions of `expr` that it stands for.
//!
//! ```text
//! x::jsonb, JSONB '{}'            -->  jsonb_in(x)
//! x::uuid[]                       -->  list_in(x::text[], 'uuid')
//! jsonb_agg(x ORDER BY y)         -->  jsonb_of_elements(array_agg(to_jsonb(x) ORDER BY y))
//! jsonb_object_agg(k, v)          -->  jsonb_of_members(array_agg(jsonb_build_array(k, v)))
//! ```
//!
//! An aggregate over arrays is kept up to date like any other.

use std::ops::ControlFlow;

use super::ast::{
    self, CastKind, DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    Ident, ObjectName, ObjectNamePart, VisitMut, VisitorMut,
};
use super::name::{call, fold};
use super::types;

/// Rewrites every cast to JSON or UUID and every aggregate that makes JSON.
pub fn rewrite(query: &mut ast::Query) {
    let _ = query.visit(&mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let rewritten = match expr {
            Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } => input(data_type)
                .map(|name| call(name, vec![expr.as_ref().clone()]))
                .or_else(|| list_input(expr, data_type)),
            Expr::TypedString(typed) => {
                input(&typed.data_type).map(|name| call(name, vec![Expr::Value(typed.value.clone())]))
            }
            Expr::Function(function) => aggregate(function),
            _ => None,
        };
        if let Some(rewritten) = rewritten {
            *expr = rewritten;
        }
        ControlFlow::Continue(())
    }
}

/// The function that reads a text as this type.
fn input(data_type: &DataType) -> Option<&'static str> {
    match data_type {
        DataType::JSON => Some("json_in"),
        DataType::JSONB => Some("jsonb_in"),
        DataType::Uuid => Some("uuid_in"),
        _ => None,
    }
}

/// An array of such a type is read as one of texts, then item by item.
fn list_input(expr: &Expr, data_type: &DataType) -> Option<Expr> {
    let DataType::Array(ast::ArrayElemTypeDef::SquareBracket(item, size)) = data_type else { return None };
    let name = types::mark(item).filter(|mark| mark.is_type())?.name();
    let data_type = DataType::Array(ast::ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), *size));
    let expr = Box::new(expr.clone());
    let texts = Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None };
    let name = Expr::Value(ast::Value::SingleQuotedString(name.into()).with_empty_span());
    Some(call("list_in", vec![texts, name]))
}

fn aggregate(function: &Function) -> Option<Expr> {
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    let args = list
        .args
        .iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
            _ => None,
        })
        .collect::<Option<Vec<_>>>()?;
    let (outer, inner) = match (fold(name).as_str(), args.len()) {
        ("jsonb_agg", 1) => ("jsonb_of_elements", call("to_jsonb", args)),
        ("json_agg", 1) => ("json_of_elements", call("to_jsonb", args)),
        ("jsonb_object_agg", 2) => ("jsonb_of_members", call("jsonb_build_array", args)),
        ("json_object_agg", 2) => ("json_of_members", call("jsonb_build_array", args)),
        _ => return None,
    };
    let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    let mut list = list.clone();
    // DISTINCT sorts by what is aggregated, if at all.
    if distinct {
        for clause in &mut list.clauses {
            if let ast::FunctionArgumentClause::OrderBy(by) = clause {
                by.iter_mut().for_each(|o| o.expr = inner.clone());
            }
        }
    }
    list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(inner))];
    let array = Function {
        name: ObjectName::from(vec![Ident::new("array_agg")]),
        args: FunctionArguments::List(list),
        ..function.clone()
    };
    Some(call(outer, vec![Expr::Function(array)]))
}

#[cfg(test)]
mod tests {
    use super::super::parse_query;
    use super::*;

    #[test]
    fn casts_and_aggregates() {
        for (sql, expected) in [
            ("SELECT x::jsonb, JSON '[]' FROM t", "SELECT jsonb_in(x), json_in('[]') FROM t"),
            (
                "SELECT jsonb_agg(x ORDER BY y) FILTER (WHERE z) FROM t",
                "SELECT jsonb_of_elements(array_agg(to_jsonb(x) ORDER BY y) FILTER (WHERE z)) FROM t",
            ),
            (
                "SELECT jsonb_object_agg(k, v) OVER (PARTITION BY a) FROM t",
                "SELECT jsonb_of_members(array_agg(jsonb_build_array(k, v)) OVER (PARTITION BY a)) FROM t",
            ),
            ("SELECT x::int, count(*) FROM t", "SELECT x::INT, count(*) FROM t"),
        ] {
            let mut query = parse_query(sql).unwrap();
            rewrite(&mut query);
            assert_eq!(query.to_string(), expected);
        }
    }
}
