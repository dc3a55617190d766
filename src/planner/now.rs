//! `now()` in a streaming job: a stream of its own, whose value comes with the barriers.
//!
//! Before the plan is analysed each call becomes a placeholder, which no rule folds or moves out of its expression; what
//! lowers a filter puts the barrier's value in its place. Anywhere but in a condition it is refused.

use std::sync::Arc;

use arrow::datatypes::{Field, IntervalMonthDayNano};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, binary_expr, cast};
use datafusion::scalar::ScalarValue;

use crate::common::{Error, Result};
use crate::expr::rules;
use crate::types::time;

/// The placeholder's id. No parameter is called so: those are numbers.
const NOW: &str = "$now";

/// What the name of a function that tells the present is in a plan.
pub(super) fn function(name: &str) -> &str {
    match name {
        // RisingWave's and Flink's.
        "proctime" => "now",
        name => name,
    }
}

/// Whether the present stands somewhere in the expression.
pub(super) fn is_in(expr: &Expr) -> bool {
    expr.exists(|e| Ok(is_now(e))).unwrap_or(true)
}

/// Whether the expression is the present itself.
pub(super) fn is_now(expr: &Expr) -> bool {
    matches!(expr, Expr::Placeholder(p) if p.id == NOW)
}

pub(super) fn misplaced() -> Error {
    Error::not_supported("now() can only be compared with a time of a row, in WHERE or HAVING: elsewhere it would change every row of a view all the time")
        .with_hint(
            "write WHERE ts > now() - INTERVAL '1 hour', one condition AND another, with now() on one side and the row's \
             columns on the other; for the time itself call now() in the SELECT that reads the view",
        )
}

/// Puts the placeholder in the place of `now()` and its kin, and brings `now() - ts < length` into the form that is
/// lowered.
///
/// # Errors
/// `NotSupported` where it stands in no condition.
pub(super) fn mark(plan: LogicalPlan) -> Result<LogicalPlan> {
    let compares = |op: Operator| matches!(op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq);
    let concerns = |e: &Expr| call(e).is_some() || matches!(e, Expr::BinaryExpr(b) if compares(b.op));
    let mark = |e: Expr, _: &DFSchema| match call(&e) {
        Some(marked) => Transformed::yes(marked),
        None => without_difference(e),
    };
    if !mentions(&plan)? {
        return Ok(plan);
    }
    let plan = rules::rewrite(plan, concerns, mark)?;
    plan.apply_with_subqueries(|node| {
        if !matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Join(_)) {
            node.apply_expressions(|expr| match is_in(expr) {
                true => Err(DataFusionError::from(misplaced())),
                false => Ok(TreeNodeRecursion::Continue),
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(plan)
}

/// Whether the present stands somewhere in the plan, called or marked.
pub(super) fn mentions(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found = found || expr.exists(|e| Ok(is_now(e) || call(e).is_some()))?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

/// A call that tells the present, as what stands for it.
fn call(expr: &Expr) -> Option<Expr> {
    let Expr::ScalarFunction(f) = expr else { return None };
    let now = || {
        let field = Field::new("now", time::timestamptz(), false);
        Expr::Placeholder(Placeholder::new_with_field(NOW.into(), Some(Arc::new(field))))
    };
    match f.func.name() {
        "now" => Some(now()),
        "current_date" => Some(cast(now(), arrow::datatypes::DataType::Date32)),
        _ => None,
    }
}

/// `a - b < length` as `a < b + length`, where one of them is the present and the length is fixed.
fn without_difference(expr: Expr) -> Transformed<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return Transformed::no(expr) };
    let (difference, op, length) = match (*left, *right) {
        (l @ Expr::BinaryExpr(_), r) => (l, op, r),
        (l, r @ Expr::BinaryExpr(_)) => match op.swap() {
            Some(op) => (r, op, l),
            None => return Transformed::no(binary_expr(l, op, r)),
        },
        (l, r) => return Transformed::no(binary_expr(l, op, r)),
    };
    match difference {
        Expr::BinaryExpr(BinaryExpr { left: a, op: Operator::Minus, right: b })
            if is_in(&a) != is_in(&b) && is_fixed(&length) && !is_fixed(&b) =>
        {
            Transformed::yes(binary_expr(*a, op, binary_expr(*b, Operator::Plus, length)))
        }
        difference => Transformed::no(binary_expr(difference, op, length)),
    }
}

/// A length of time that is the same at all times: of no months.
pub(super) fn is_fixed(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano { months, .. })), _) => *months == 0,
        Expr::Literal(
            ScalarValue::IntervalDayTime(Some(_))
            | ScalarValue::DurationMicrosecond(Some(_))
            | ScalarValue::DurationNanosecond(Some(_)),
            _,
        ) => true,
        Expr::Cast(cast) => is_fixed(&cast.expr),
        Expr::Alias(alias) => is_fixed(&alias.expr),
        _ => false,
    }
}
