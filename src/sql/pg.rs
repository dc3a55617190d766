//! Forms of PostgreSQL's that the planner does not know, as calls of functions that it knows.
//!
//! ```text
//! @ x, |/ x, ||/ x, ~x            -->  abs(x), sqrt(x), cbrt(x), bit_not(x)
//! x AT TIME ZONE z                -->  timezone(z, x)
//! s SIMILAR TO p                  -->  similar_to(s, p)
//! s LIKE p ESCAPE '/'             -->  s LIKE like_escape(p, '/')
//! substring(s FROM '…$')          -->  substring_regexp(s, '…$')
//! encode(b, 'escape')             -->  encode_escape(b)
//! approx_percentile(p) WITHIN GROUP (ORDER BY x)
//!                                 -->  approx_value(percentile_disc(p) WITHIN GROUP (ORDER BY approx_bucket(x, 0.01)), 0.01)
//! x::varchar(3), x::timestamp(0)  -->  varchar_of(x::varchar, 3), seconds_of(x::timestamp, 0)
//! '1.50'::numeric, bytes::text    -->  '1.50'::numeric(38, 2), as_text(bytes)::text
//! make_interval(days => 10)       -->  make_interval(0, 0, 0, 10)
//! SELECT EXISTS (SELECT 1 FROM t) -->  SELECT ((SELECT count(*) FROM t) > 0)
//! ARRAY(SELECT x FROM t)          -->  array_or_empty((SELECT array_agg(x) FROM t))
//! GROUP BY ROLLUP(1)              -->  GROUP BY ROLLUP(what stands first in the list)
//! ```

use std::ops::ControlFlow;

use super::ast::{
    AccessExpr, BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, GroupByExpr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr, Subscript,
    UnaryOperator, Value, VisitMut, VisitorMut,
};
use super::name::{call, fold};
use super::{own_level, types};
use crate::types::pg_type::PgType;
use crate::types::{interval_text, number_text};

/// Rewrites every such form.
pub fn rewrite(query: &mut Query) {
    let _ = query.visit(&mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        super::membership::rewrite(select);
        for item in &mut select.projection {
            own_level::each_expr(item, exists_as_value);
        }
        if let GroupByExpr::Expressions(groups, _) = &mut select.group_by {
            for group in groups.iter_mut() {
                if let Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) = group {
                    sets.iter_mut().flatten().for_each(|key| by_place(key, &select.projection));
                }
            }
            super::grouping::rewrite(groups, |key| by_place(key, &select.projection));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(rewritten) = rewritten(expr) {
            *expr = rewritten;
        }
        ControlFlow::Continue(())
    }
}

/// EXISTS among the columns: in a condition it becomes a join, here it has to be a value.
fn exists_as_value(expr: &mut Expr) {
    if let Expr::Exists { subquery, negated } = expr
        && let Some(counted) = counted(subquery)
    {
        let zero = Box::new(Expr::Value(Value::Number("0".into(), false).with_empty_span()));
        let op = if *negated { BinaryOperator::Eq } else { BinaryOperator::Gt };
        let compared = Expr::BinaryOp { left: Box::new(Expr::Subquery(Box::new(counted))), op, right: zero };
        *expr = Expr::Nested(Box::new(compared));
    }
}

/// How many rows the query gives, where it gives one for each row of its FROM and WHERE.
fn counted(query: &Query) -> Option<Query> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let plain_groups = matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    let plain_list = select.projection.iter().all(|item| match item {
        SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => {
            matches!(e, Expr::Value(_) | Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        }
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => true,
        SelectItem::ExprWithAliases { .. } => false,
    });
    let plain_rows = query.limit_clause.is_none() && query.fetch.is_none() && select.having.is_none();
    if !(plain_groups && plain_list && plain_rows && select.qualify.is_none()) {
        return None;
    }
    let mut query = query.clone();
    query.order_by = None;
    if let SetExpr::Select(select) = query.body.as_mut() {
        let mut count = call("count", Vec::new());
        if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = &mut count {
            list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Wildcard));
        }
        select.distinct = None;
        select.projection = vec![SelectItem::UnnamedExpr(count)];
    }
    Some(query)
}

/// Puts the output column in the stead of its number.
fn by_place(key: &mut Expr, list: &[SelectItem]) {
    let Expr::Value(value) = key else { return };
    let Value::Number(number, _) = &value.value else { return };
    let Ok(place) = number.to_string().parse::<usize>() else { return };
    let Some((last, before)) = list.get(..place).and_then(<[_]>::split_last) else { return };
    let is_one = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = last
        && before.iter().all(is_one)
    {
        *key = expr.clone();
    }
}

fn rewritten(expr: &mut Expr) -> Option<Expr> {
    if let Some(list) = super::array_query::rewritten(expr) {
        return Some(list);
    }
    match expr {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            // DataFusion would negate the first part alone.
            let Expr::Interval(interval) = expr.as_mut() else { return None };
            if let (None, Expr::Value(value)) = (&interval.leading_field, interval.value.as_mut())
                && let Value::SingleQuotedString(text) = &mut value.value
                && let Some(negated) = interval_text::plain(text, true)
            {
                *text = negated;
                return Some(expr.as_ref().clone());
            }
            None
        }
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
        Expr::Like { negated, any: true, expr, pattern, escape_char: None } => like_any(*negated, expr, pattern),
        Expr::Like { pattern, escape_char: escape @ Some(_), .. }
        | Expr::ILike { pattern, escape_char: escape @ Some(_), .. } => {
            // DataFusion knows the backslash alone.
            if let Some(character) = escape.take_if(|e| !matches!(&e.value, Value::SingleQuotedString(c) if c == "\\"))
            {
                **pattern = call("like_escape", vec![pattern.as_ref().clone(), Expr::Value(character)]);
            }
            None
        }
        Expr::Interval(interval) if interval.leading_field.is_none() => {
            if let Expr::Value(value) = interval.value.as_mut()
                && let Value::SingleQuotedString(text) = &mut value.value
                && let Some(plain) = interval_text::plain(text, false)
            {
                *text = plain;
            }
            None
        }
        Expr::CompoundFieldAccess { access_chain, .. } => {
            for access in access_chain {
                if let AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride: None }) = access {
                    let number = |n: i64| Expr::Value(Value::Number(n.to_string(), false).with_empty_span());
                    lower_bound.get_or_insert_with(|| number(1));
                    upper_bound.get_or_insert_with(|| number(i32::MAX.into()));
                }
            }
            None
        }
        Expr::Function(function) => of_function(function),
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } => {
            if let DataType::Numeric(digits @ ExactNumberInfo::None) | DataType::Decimal(digits @ ExactNumberInfo::None) =
                data_type
                && let Some(own) = own_digits(expr)
            {
                *digits = own;
                return None;
            }
            if is_plain_text(data_type) && may_be_bytes(expr) {
                **expr = call("as_text", vec![expr.as_ref().clone()]);
                return None;
            }
            bounded(expr.as_ref().clone(), data_type)
        }
        Expr::TypedString(typed) => bounded(Expr::Value(typed.value.clone()), &typed.data_type),
        _ => None,
    }
}

/// As many digits behind the point as a constant has: a NUMERIC without a scale keeps those.
fn own_digits(expr: &mut Expr) -> Option<ExactNumberInfo> {
    let Expr::Value(value) = expr else { return None };
    let (Value::SingleQuotedString(text) | Value::Number(text, _)) = &value.value else { return None };
    let (whole, fraction) = number_text::own_scale(text)?;
    if whole + fraction > types::MAX_DIGITS as usize {
        return None;
    }
    // Not by way of a float.
    value.value = Value::SingleQuotedString(text.clone());
    Some(ExactNumberInfo::PrecisionAndScale(types::MAX_DIGITS, fraction as i64))
}

fn is_plain_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Text | DataType::Varchar(None) | DataType::CharacterVarying(None) | DataType::String(_)
    )
}

/// Whether it may be a BYTEA, whose text is not the bytes.
fn may_be_bytes(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => may_be_bytes(inner),
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        Expr::Function(function) => function.name.to_string() != "as_text",
        Expr::Cast { data_type, .. } => matches!(data_type, DataType::Bytea),
        _ => false,
    }
}

/// A cast to a type with a bound: to the type without it, then cut or rounded to it.
fn bounded(expr: Expr, data_type: &DataType) -> Option<Expr> {
    let (function, number) = match types::modifier(data_type)? {
        PgType::Varchar(n) => ("varchar_of", u64::from(n)),
        PgType::Char(n) => ("char_of", u64::from(n)),
        PgType::Seconds(n) => ("seconds_of", u64::from(n)),
        PgType::Json | PgType::Jsonb | PgType::Uuid | PgType::Oid => return None,
    };
    let plain = match data_type {
        DataType::Time(_, zone) => DataType::Time(None, *zone),
        DataType::Timestamp(_, zone) => DataType::Timestamp(None, *zone),
        _ => DataType::Varchar(None),
    };
    let cast = Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type: plain, array: false, format: None };
    let number = Expr::Value(Value::Number(number.to_string(), false).with_empty_span());
    Some(call(function, vec![cast, number]))
}

/// `x LIKE ANY (ARRAY['a%', 'b%'])`: one of them.
fn like_any(negated: bool, expr: &Expr, pattern: &Expr) -> Option<Expr> {
    let mut pattern = pattern;
    while let Expr::Nested(inner) = pattern {
        pattern = inner;
    }
    let Expr::Array(array) = pattern else { return None };
    let like = |pattern: &Expr| Expr::Like {
        negated,
        any: false,
        expr: Box::new(expr.clone()),
        pattern: Box::new(pattern.clone()),
        escape_char: None,
    };
    let either = array.elem.iter().map(like).reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::Or,
        right: Box::new(right),
    });
    either.map(|e| Expr::Nested(Box::new(e)))
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
        "approx_percentile" => approx_percentile(function),
        "make_interval" => make_interval(&list.args),
        // Under DataFusion's names.
        "array_length" | "array_upper" | "array_lower" if list.args.len() == 2 => {
            // Nothing is what an empty array has.
            let zero = Expr::Value(Value::Number("0".into(), false).with_empty_span());
            let length = Expr::Function(function.clone());
            Some(call("nullif", vec![length, zero]))
        }
        "ceiling" => renamed(function, "ceil"),
        "array_remove" => renamed(function, "array_remove_all"),
        "array_replace" => renamed(function, "array_replace_all"),
        _ => None,
    }
}

fn renamed(function: &Function, name: &str) -> Option<Expr> {
    Some(Expr::Function(Function { name: ObjectName::from(vec![Ident::new(name)]), ..function.clone() }))
}

/// The percentile of buckets instead of values.
fn approx_percentile(function: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let error = match list.args.as_slice() {
        [_] => Expr::Value(Value::Number("0.01".into(), false).with_empty_span()),
        [_, FunctionArg::Unnamed(FunctionArgExpr::Expr(error))] => error.clone(),
        _ => return None,
    };
    let mut disc = function.clone();
    disc.name = ObjectName::from(vec![Ident::new("percentile_disc")]);
    let [by] = disc.within_group.as_mut_slice() else { return None };
    by.expr = call("approx_bucket", vec![by.expr.clone(), error.clone()]);
    if let FunctionArguments::List(list) = &mut disc.args {
        list.args.truncate(1);
    }
    Some(call("approx_value", vec![Expr::Function(disc), error]))
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
            (
                "SELECT approx_percentile(0.9, 0.05) WITHIN GROUP (ORDER BY x DESC) FILTER (WHERE y)",
                "SELECT approx_value(percentile_disc(0.9) WITHIN GROUP (ORDER BY approx_bucket(x, 0.05) DESC) FILTER (WHERE y), 0.05)",
            ),
            (
                "SELECT CASE WHEN NOT EXISTS (SELECT DISTINCT a FROM u WHERE EXISTS (SELECT 1)) THEN 1 END",
                "SELECT CASE WHEN ((SELECT count(*) FROM u WHERE EXISTS (SELECT 1)) = 0) THEN 1 END",
            ),
            ("SELECT EXISTS (SELECT a FROM u LIMIT 0)", "SELECT EXISTS (SELECT a FROM u LIMIT 0)"),
            ("SELECT make_interval(days => 10)", "SELECT make_interval(0, 0, 0, 10)"),
            ("SELECT a, b + 1 AS c GROUP BY CUBE(2, 1, 3)", "SELECT a, b + 1 AS c GROUP BY CUBE (b + 1, a, 3)"),
            ("SELECT *, b GROUP BY ROLLUP(2)", "SELECT *, b GROUP BY ROLLUP (2)"),
        ] {
            let mut query = parse_query(sql).unwrap();
            rewrite(&mut query);
            assert_eq!(query.to_string(), expected);
        }
    }
}
