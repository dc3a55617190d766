//! Conditions on the present: `ts > now() - INTERVAL '1 hour'`.
//!
//! ```text
//! WHERE a AND ts BETWEEN now() - '1 h' AND now() AND b
//!   Filter a AND b --exchange by stream key--> TemporalFilter ts <= now() --> TemporalFilter ts >= now() - '1 h'
//! ```
//! Rows that have yet to enter are held back first, so that they wait only once.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr as LogicalExpr, Operator as Compare};

use super::super::now;
use super::{Lowered, Lowerer, is_event_time, physical};
use crate::common::{Error, Result};
use crate::plan::{Distribution, Expr, Operator, Properties, TemporalFilter};
use crate::types::time;

/// The one column of what now() is made of.
const NOW: &str = "now()";

/// One comparison with the present, the row's side first.
struct Condition<'e> {
    value: &'e LogicalExpr,
    op: Compare,
    now: &'e LogicalExpr,
}

impl Lowerer<'_> {
    /// A filter of which some conditions are on the present.
    pub(super) fn temporal_filter(
        &mut self,
        input: Lowered,
        predicate: &LogicalExpr,
        schema: &DFSchema,
    ) -> Result<Lowered> {
        let mut plain = Vec::new();
        let mut conditions = Vec::new();
        for part in split_conjunction(predicate) {
            match now::is_in(part) {
                true => conditions.extend(Condition::of(part)?),
                false => plain.push(part.clone()),
            }
        }
        let mut input = match conjunction(plain) {
            Some(plain) => self.filter(input, &plain, schema)?,
            None => input,
        };
        conditions.sort_by_key(Condition::leaves);
        for condition in conditions {
            input = self.condition(input, &condition, schema)?;
        }
        Ok(input)
    }

    fn condition(&mut self, input: Lowered, condition: &Condition<'_>, schema: &DFSchema) -> Result<Lowered> {
        if self.emit_on_window_close && condition.leaves() {
            return Err(Error::not_supported(
                "rows that leave as time passes would change windows that EMIT ON WINDOW CLOSE has shown",
            )
            .with_hint("leave EMIT ON WINDOW CLOSE out, or put the condition on now() into a view over this one"));
        }
        let value = physical(condition.value, schema, input.schema())?;
        let limit = limit(condition.now)?;
        let (of_value, of_limit) = (value.data_type()?, limit.data_type()?);
        if !(is_event_time(&of_value) || of_value == DataType::Date32) || of_value != of_limit {
            return Err(Error::not_supported(format!(
                "{} of type {of_value} cannot be compared with now() in a view",
                condition.value
            ))
            .with_hint("cast it to TIMESTAMP, TIMESTAMPTZ or DATE"));
        }
        let input = self.by_key(input);
        let Lowered { node: input, visible } = input;
        let before = input.properties.clone();
        let watermark = bare(condition.value)
            .and_then(|column| schema.index_of_column(column).ok())
            .filter(|c| is_event_time(&of_value) && before.watermark_columns.contains(c));
        let operator = TemporalFilter {
            value,
            now: limit,
            leaves: condition.leaves(),
            reached: matches!(condition.op, Compare::Gt | Compare::LtEq),
            key: before.stream_key.clone(),
            watermark,
            state: self.table_id(),
            clock: self.table_id(),
        };
        let properties = Properties {
            append_only: before.append_only && !operator.leaves,
            watermark_columns: watermark.into_iter().collect(),
            ..before
        };
        let schema = Arc::clone(&input.schema);
        Ok(Lowered { node: self.node(Operator::TemporalFilter(operator), vec![input], schema, properties), visible })
    }

    /// All changes of one row meet in one actor.
    fn by_key(&mut self, input: Lowered) -> Lowered {
        let Lowered { node: input, visible } = input;
        let key = input.properties.stream_key.clone();
        let node = match &input.properties.distribution {
            Distribution::Single => input,
            Distribution::Hash(by) if !by.is_empty() && by.iter().all(|c| key.contains(c)) => input,
            _ if key.is_empty() => self.exchange(input, Distribution::Single),
            _ => self.exchange(input, Distribution::Hash(key)),
        };
        Lowered { node, visible }
    }
}

impl<'e> Condition<'e> {
    /// The conditions that are met together where `expr` is.
    fn of(expr: &'e LogicalExpr) -> Result<Vec<Self>> {
        match expr {
            LogicalExpr::Alias(alias) => Self::of(&alias.expr),
            LogicalExpr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let (value, op, now) = match (now::is_in(left), now::is_in(right), op.swap()) {
                    (false, true, _) => (left, *op, right),
                    (true, false, Some(op)) => (right, op, left),
                    _ => return Err(now::misplaced()),
                };
                let ops: &[Compare] = match op {
                    Compare::Gt => &[Compare::Gt],
                    Compare::GtEq => &[Compare::GtEq],
                    Compare::Lt => &[Compare::Lt],
                    Compare::LtEq => &[Compare::LtEq],
                    Compare::Eq => &[Compare::LtEq, Compare::GtEq],
                    _ => return Err(now::misplaced()),
                };
                Ok(ops.iter().map(|op| Self { value, op: *op, now }).collect())
            }
            LogicalExpr::Between(b) if !b.negated && !now::is_in(&b.expr) => {
                let sides = [(&b.low, Compare::GtEq), (&b.high, Compare::LtEq)];
                if !sides.iter().all(|(now, _)| now::is_in(now)) {
                    return Err(now::misplaced());
                }
                Ok(sides.map(|(now, op)| Self { value: &b.expr, op, now }).into())
            }
            _ => Err(now::misplaced()),
        }
    }

    /// Rows go as time passes; else they come.
    fn leaves(&self) -> bool {
        matches!(self.op, Compare::Gt | Compare::GtEq)
    }
}

/// The side of the present, over a column of now().
fn limit(expr: &LogicalExpr) -> Result<Expr> {
    if !rises(expr) {
        return Err(Error::not_supported("this use of now() may fall as time passes, or holds a column")
            .with_hint(
                "add or subtract a fixed length, as in now() - INTERVAL '30 days'; put months, years and columns on the other \
                 side: ts + INTERVAL '1 month' > now()",
            ));
    }
    let expr = expr.clone().transform(|e| {
        Ok(match now::is_now(&e) {
            true => Transformed::yes(LogicalExpr::Column(Column::from_name(NOW))),
            false => Transformed::no(e),
        })
    })?;
    let schema = Arc::new(Schema::new(vec![Field::new(NOW, time::timestamptz(), false)]));
    physical(&expr.data, &DFSchema::try_from(Arc::clone(&schema))?, &schema)
}

/// Whether the expression never falls while now() rises.
fn rises(expr: &LogicalExpr) -> bool {
    match expr {
        e if now::is_now(e) => true,
        LogicalExpr::Alias(alias) => rises(&alias.expr),
        LogicalExpr::Cast(cast) => {
            matches!(cast.field.data_type(), DataType::Timestamp(..) | DataType::Date32) && rises(&cast.expr)
        }
        LogicalExpr::BinaryExpr(BinaryExpr { left, op: Compare::Plus, right }) => {
            rises(left) && now::is_fixed(right) || rises(right) && now::is_fixed(left)
        }
        LogicalExpr::BinaryExpr(BinaryExpr { left, op: Compare::Minus, right }) => rises(left) && now::is_fixed(right),
        LogicalExpr::ScalarFunction(f) if matches!(f.func.name(), "date_trunc" | "date_bin") => {
            f.args.get(1).is_some_and(rises)
                && f.args.iter().enumerate().all(|(i, arg)| i == 1 || matches!(arg, LogicalExpr::Literal(..)))
        }
        _ => false,
    }
}

/// The column whose instant the expression is.
fn bare(expr: &LogicalExpr) -> Option<&Column> {
    match expr {
        LogicalExpr::Column(column) => Some(column),
        LogicalExpr::Alias(alias) => bare(&alias.expr),
        LogicalExpr::Cast(cast) if is_event_time(cast.field.data_type()) => bare(&cast.expr),
        _ => None,
    }
}
