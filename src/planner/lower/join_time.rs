//! Which event times of two joined inputs are tied to each other, and what follows: when kept rows have no further pair,
//! and which columns of the result carry a watermark.
//!
//! A window join has equal times; an interval join has a lower and an upper bound in its condition.

use std::cmp::{max, min};

use datafusion::common::DFSchema;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::scalar::ScalarValue;

use super::Lowered;
use crate::plan::{Expiry, JoinWatermark};

/// A time of each side, such that pairs have `left >= right + lower` and `left <= right + upper`, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TimeRange {
    left: usize,
    right: usize,
    lower: Option<i64>,
    upper: Option<i64>,
}

impl TimeRange {
    /// The tightest one: equal times, else those that the condition bounds, on both sides if any are. `on` are the equal
    /// columns; `schema` has the visible columns of both.
    pub fn find(
        on: impl Iterator<Item = (usize, usize)>,
        filter: Option<&Expr>,
        schema: &DFSchema,
        left: &Lowered,
        right: &Lowered,
    ) -> Option<Self> {
        let carried = |(l, r): (usize, usize)| {
            left.properties().watermark_columns.contains(&l) && right.properties().watermark_columns.contains(&r)
        };
        if let Some((left, right)) = on.into_iter().find(|pair| carried(*pair)) {
            return Some(Self { left, right, lower: Some(0), upper: Some(0) });
        }
        let mut ranges: Vec<Self> = Vec::new();
        for conjunct in filter.map(split_conjunction).unwrap_or_default() {
            let Some(found) = bound(conjunct, schema, left.visible).filter(|f| carried((f.left, f.right))) else {
                continue;
            };
            match ranges.iter_mut().find(|r| (r.left, r.right) == (found.left, found.right)) {
                Some(range) => {
                    range.lower = max(range.lower, found.lower);
                    range.upper = match (range.upper, found.upper) {
                        (Some(a), Some(b)) => Some(min(a, b)),
                        (a, b) => a.or(b),
                    };
                }
                None => ranges.push(found),
            }
        }
        ranges.into_iter().max_by_key(|r| r.lower.is_some() && r.upper.is_some())
    }

    /// When a row of the left side has no further pair: its right partners lie below `left - lower`.
    pub fn left_expiry(&self, lateness_micros: i64) -> Option<Expiry> {
        let offset_micros = self.lower?;
        Some(Expiry { column: self.left, watermark: self.right, offset_micros, lateness_micros })
    }

    pub fn right_expiry(&self, lateness_micros: i64) -> Option<Expiry> {
        let offset_micros = self.upper?.checked_neg()?;
        Some(Expiry { column: self.right, watermark: self.left, offset_micros, lateness_micros })
    }

    /// The watermark of the left time in the result: a row comes out when one comes in on either side.
    pub fn left_watermark(&self, output: usize) -> Option<JoinWatermark> {
        self.lower.map(|lower| JoinWatermark { output, left: (self.left, 0), right: (self.right, lower) })
    }

    pub fn right_watermark(&self, output: usize) -> Option<JoinWatermark> {
        let upper = self.upper?.checked_neg()?;
        Some(JoinWatermark { output, left: (self.left, upper), right: (self.right, 0) })
    }

    /// The columns of the two times.
    pub fn columns(&self) -> (usize, usize) {
        (self.left, self.right)
    }
}

/// What a comparison of a left time with a right one says.
fn bound(expr: &Expr, schema: &DFSchema, left_visible: usize) -> Option<TimeRange> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    let ((a, a_by), (b, b_by)) = (moved_column(left, schema)?, moved_column(right, schema)?);
    // a + a_by OP b + b_by
    let (left, right, by, op) = match (a < left_visible, b < left_visible) {
        (true, false) => (a, b - left_visible, b_by.checked_sub(a_by)?, *op),
        (false, true) => (b, a - left_visible, a_by.checked_sub(b_by)?, op.swap()?),
        _ => return None,
    };
    let (lower, upper) = match op {
        Operator::Gt | Operator::GtEq => (Some(by), None),
        Operator::Lt | Operator::LtEq => (None, Some(by)),
        Operator::Eq => (Some(by), Some(by)),
        _ => return None,
    };
    Some(TimeRange { left, right, lower, upper })
}

/// A column and by how many microseconds it is moved.
fn moved_column(expr: &Expr, schema: &DFSchema) -> Option<(usize, i64)> {
    match expr {
        Expr::Column(column) => Some((schema.index_of_column(column).ok()?, 0)),
        Expr::Alias(alias) => moved_column(&alias.expr, schema),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => {
            let plus = |ts: &Expr, by: &Expr| {
                let (column, moved) = moved_column(ts, schema)?;
                Some((column, moved.checked_add(interval(by)?)?))
            };
            plus(left, right).or_else(|| plus(right, left))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
            let (column, moved) = moved_column(left, schema)?;
            Some((column, moved.checked_sub(interval(right)?)?))
        }
        _ => None,
    }
}

/// The microseconds of a literal interval without months, whose length is not known.
fn interval(expr: &Expr) -> Option<i64> {
    const DAY: i64 = 86_400_000_000;
    match expr {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(i)), _) if i.months == 0 && i.nanoseconds % 1000 == 0 => {
            i64::from(i.days).checked_mul(DAY)?.checked_add(i.nanoseconds / 1000)
        }
        Expr::Literal(ScalarValue::IntervalDayTime(Some(i)), _) => {
            i64::from(i.days).checked_mul(DAY)?.checked_add(i64::from(i.milliseconds) * 1000)
        }
        _ => None,
    }
}
