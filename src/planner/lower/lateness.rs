//! How long closed windows are kept for late rows.
//!
//! A watermark that has gone through `tumble_start` tells only in which window it is. So a window is known to be closed
//! for some time only in whole windows: the time that is allowed is rounded up to them.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::scalar::ScalarValue;

use crate::plan::{Node, Operator};
use crate::types::TimeWindows;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// `lateness` as it can be kept for windows by `column` of `node`, in microseconds.
pub(super) fn rounded(lateness: i64, node: &Node, column: usize, windows: Option<TimeWindows>) -> i64 {
    let step = steps(node, column).max(windows.map_or(0, step_of));
    match step {
        0 => lateness,
        step => lateness.saturating_add(step - 1) / step * step,
    }
}

/// Whether `column` is the end of sessions that were sent when they closed, and that late rows still change.
pub(super) fn of_late_sessions(node: &Node, column: usize) -> bool {
    let below = |column| node.inputs.first().is_some_and(|input| of_late_sessions(input, column));
    match &node.operator {
        Operator::SessionWindow(session) => session.lateness_micros > 0 && column + 1 == node.schema.fields().len(),
        Operator::Project { exprs, .. } => {
            exprs.get(column).and_then(|e| Some(e.physical().downcast_ref::<Column>()?.index())).is_some_and(below)
        }
        Operator::Filter { .. } | Operator::Exchange { .. } => below(column),
        _ => false,
    }
}

fn step_of(windows: TimeWindows) -> i64 {
    match windows {
        TimeWindows::Hop { slide, .. } => slide,
        TimeWindows::Cumulate { step, .. } => step,
    }
}

/// By how much the watermark of a column rises at once, for what rounds it.
fn steps(node: &Node, column: usize) -> i64 {
    let below = |column| node.inputs.first().map_or(0, |input| steps(input, column));
    match &node.operator {
        Operator::Project { exprs, watermarks } => {
            let own = exprs.get(column).map_or(0, |e| step(e.physical().as_ref()));
            let of = watermarks.iter().find(|w| w.output == column);
            own.max(of.map_or(0, |w| below(w.input)))
        }
        Operator::TimeWindows { column: of, windows } if *of == column => step_of(*windows).max(below(column)),
        Operator::HashAgg(agg) => agg.group.get(column).map_or(0, |input| below(*input)),
        Operator::HashJoin(join) => join.watermarks.iter().find(|w| w.output == column).map_or(0, |w| {
            let side = |index: usize, column: usize| node.inputs.get(index).map_or(0, |input| steps(input, column));
            side(0, w.left.0).max(side(1, w.right.0))
        }),
        _ => below(column),
    }
}

/// The longest length by which a function of the expression rounds.
fn step(expr: &dyn PhysicalExpr) -> i64 {
    let mut longest = expr.downcast_ref::<ScalarFunctionExpr>().map_or(0, of_call);
    for child in expr.children() {
        // Cannot fail: nothing is changed.
        let _ = child.apply(|e| {
            longest = longest.max(e.downcast_ref::<ScalarFunctionExpr>().map_or(0, of_call));
            Ok(TreeNodeRecursion::Continue)
        });
    }
    longest
}

fn of_call(call: &ScalarFunctionExpr) -> i64 {
    let literals = call.args().iter().filter_map(|a| a.downcast_ref::<Literal>().map(Literal::value));
    literals.map(length).max().unwrap_or(0)
}

fn length(value: &ScalarValue) -> i64 {
    match value {
        ScalarValue::IntervalMonthDayNano(Some(i)) => {
            i64::from(i.months) * 31 * DAY + i64::from(i.days) * DAY + i.nanoseconds / 1000
        }
        ScalarValue::DurationMicrosecond(Some(micros)) => *micros,
        // A unit of date_trunc.
        ScalarValue::Utf8(Some(unit)) => match unit.to_ascii_lowercase().as_str() {
            "second" => 1_000_000,
            "minute" => HOUR / 60,
            "hour" => HOUR,
            "day" => DAY,
            "week" => 7 * DAY,
            "month" => 31 * DAY,
            "quarter" => 92 * DAY,
            "year" => 366 * DAY,
            _ => 0,
        },
        _ => 0,
    }
}
