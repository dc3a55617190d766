//! Forms of PostgreSQL's that the planner does not know, as calls of functions that it knows.
//!
//! ```text
//! @ x, |/ x, ||/ x, ~x            -->  abs(x), sqrt(x), cbrt(x), bit_not(x)
//! x AT TIME ZONE z                -->  timezone(z, x)
//! s SIMILAR TO p                  -->  similar_to(s, p)
//! substring(s FROM '…$')          -->  substring_regexp(s, '…$')
//! encode(b, 'escape')             -->  encode_escape(b)
//! make_interval(days => 10)       -->  make_interval(0, 0, 0, 10)
//! ```

use std::ops::ControlFlow;

use super::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query, UnaryOperator,
    Value, VisitMut, VisitorMut,
};
use super::json::call;
use super::name::fold;

/// Rewrites every such form.
pub fn rewrite(query: &mut Query) {
    let _ = query.visit(&mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(rewritten) = rewritten(expr) {
            *expr = rewritten;
        }
        ControlFlow::Continue(())
    }
}

fn rewritten(expr: &mut Expr) -> Option<Expr> {
    match expr {
        Expr::UnaryOp { op, expr } => {
            let name = match op {
                UnaryOperator::PGAbs => "abs",
                UnaryOperator::PGSquareRoot => "sqrt",
                UnaryOperator::PGCubeRoot => "cbrt",
                UnaryOperator::BitwiseNot => "bit_not",
                _ => return None,
            };
            Some(call(name, vec![expr.as_ref().clone()]))
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            Some(call("timezone", vec![time_zone.as_ref().clone(), timestamp.as_ref().clone()]))
        }
        Expr::SimilarTo { negated, expr, pattern, escape_char: None } => {
            let matched = call("similar_to", vec![expr.as_ref().clone(), pattern.as_ref().clone()]);
            Some(match negated {
                true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(matched) },
                false => matched,
            })
        }
        Expr::Substring { expr, substring_from: Some(from), substring_for: None, .. } if is_text(from) => {
            Some(call("substring_regexp", vec![expr.as_ref().clone(), from.as_ref().clone()]))
        }
        Expr::Function(function) => of_function(function),
        _ => None,
    }
}

fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(v) if matches!(v.value, Value::SingleQuotedString(_) | Value::EscapedStringLiteral(_)))
}

fn of_function(function: &mut Function) -> Option<Expr> {
    let ObjectName(parts) = &function.name;
    let [ObjectNamePart::Identifier(name)] = parts.as_slice() else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    match fold(name).as_str() {
        "encode" => {
            let [FunctionArg::Unnamed(FunctionArgExpr::Expr(bytes)), FunctionArg::Unnamed(FunctionArgExpr::Expr(form))] =
                list.args.as_slice()
            else {
                return None;
            };
            let escape = matches!(form, Expr::Value(v) if v.value.to_string().eq_ignore_ascii_case("'escape'"));
            escape.then(|| call("encode_escape", vec![bytes.clone()]))
        }
        "make_interval" => make_interval(&list.args),
        // Under DataFusion's names.
        "ceiling" => renamed(function, "ceil"),
        "array_remove" => renamed(function, "array_remove_all"),
        "array_replace" => renamed(function, "array_replace_all"),
        _ => None,
    }
}

fn renamed(function: &Function, name: &str) -> Option<Expr> {
    Some(Expr::Function(Function { name: ObjectName::from(vec![Ident::new(name)]), ..function.clone() }))
}

/// With every argument in its place, those that are not given 0.
fn make_interval(args: &[FunctionArg]) -> Option<Expr> {
    const NAMES: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];
    let mut places: [Option<Expr>; 7] = Default::default();
    let mut last = 0;
    for (at, arg) in args.iter().enumerate() {
        let (place, value) = match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (at, value),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
                (NAMES.iter().position(|n| *n == fold(name))?, value)
            }
            FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(value), .. } => {
                (NAMES.iter().position(|n| *n == fold(name))?, value)
            }
            _ => return None,
        };
        *places.get_mut(place)? = Some(value.clone());
        last = last.max(place);
    }
    let zero = || Expr::Value(Value::Number("0".into(), false).with_empty_span());
    let named = args.iter().any(|a| !matches!(a, FunctionArg::Unnamed(_)));
    named.then(|| call("make_interval", places.into_iter().take(last + 1).map(|p| p.unwrap_or_else(zero)).collect()))
}

#[cfg(test)]
mod tests {
    use super::super::parse_query;
    use super::*;

    #[test]
    fn forms() {
        for (sql, expected) in [
            ("SELECT @ x, |/ y, ~z", "SELECT abs(x), sqrt(y), bit_not(z)"),
            ("SELECT ts AT TIME ZONE 'UTC'", "SELECT timezone('UTC', ts)"),
            (
                "SELECT substring(s FROM 'o(.)b'), substring(s FROM 2)",
                "SELECT substring_regexp(s, 'o(.)b'), SUBSTRING(s FROM 2)",
            ),
            ("SELECT s NOT SIMILAR TO 'a%'", "SELECT NOT similar_to(s, 'a%')"),
            ("SELECT encode(b, 'escape'), encode(b, 'hex')", "SELECT encode_escape(b), encode(b, 'hex')"),
            ("SELECT make_interval(days => 10)", "SELECT make_interval(0, 0, 0, 10)"),
        ] {
            let mut query = parse_query(sql).unwrap();
            rewrite(&mut query);
            assert_eq!(query.to_string(), expected);
        }
    }
}
