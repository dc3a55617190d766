//! An aggregation by the windows of HOP or CUMULATE: rows are grouped by pane, and only their partial states go into the
//! windows. So a row costs the same, however many windows hold it.
//!
//! ```text
//! every call's state merges:      Project pane --> Partial --> TimeWindows --exchange by group--> Final --> Project
//! some call keeps its values:     Project pane --> TimeWindows --exchange by group--> Single --> Project
//! ```

use std::sync::Arc;

use arrow::array::types::IntervalMonthDayNano;
use arrow::datatypes::Schema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Aggregate, BinaryExpr, Expr as LogicalExpr, LogicalPlan, Operator, Unnest};
use datafusion::scalar::ScalarValue;

use super::agg::{Grouped, Rows};
use super::grouping::{Grouping, Sets};
use super::project::Columns;
use super::windows::{Windowed, unaliased};
use super::{Lowered, Lowerer, physical, plain, schema_of};
use crate::common::{Error, Result};
use crate::expr::functions;
use crate::plan::{Expr, GroupingSet};

/// An aggregation whose windows can be made of panes.
pub(super) struct Paned<'p> {
    windowed: Windowed<'p>,
    groups: Vec<Group>,
    /// Over the columns of what is windowed.
    calls: Vec<LogicalExpr>,
    /// The column of the window's end, as `groups` name it.
    end: Column,
}

enum Group {
    /// Over the columns of what is windowed.
    Key(LogicalExpr),
    /// Over the window's end.
    Window(LogicalExpr),
}

impl<'p> Paned<'p> {
    /// `None` for an aggregation that is not by windows, or that looks at them in other ways.
    pub fn of(aggregate: &'p Aggregate, grouping: &Grouping) -> Result<Option<Self>> {
        let Some((unnest, columns)) = through(&aggregate.input)? else { return Ok(None) };
        let Some(windowed) = Windowed::of(unnest)? else { return Ok(None) };
        let Some(end) = unnest.schema.columns().into_iter().nth(windowed.column) else { return Ok(None) };
        let of_end = |e: &LogicalExpr| e.column_refs().contains(&end);
        let below = |e: LogicalExpr| substitute(&e, &unnest.schema, windowed.exprs);
        let mut groups = Vec::with_capacity(grouping.exprs.len());
        for (i, expr) in grouping.exprs.iter().enumerate() {
            let expr = substitute(expr, aggregate.input.schema(), &columns)?;
            if !of_end(&expr) {
                groups.push(Group::Key(below(expr)?));
                continue;
            }
            let in_every_set = grouping.sets.as_ref().is_none_or(|sets| !sets.nulls(i));
            if !in_every_set || expr.column_refs().iter().any(|c| **c != end) {
                return Ok(None);
            }
            groups.push(Group::Window(expr));
        }
        // Else groups would hold several windows.
        if !groups.iter().any(|g| matches!(g, Group::Window(e) if tells(e, &end))) {
            return Ok(None);
        }
        let mut calls = Vec::with_capacity(aggregate.aggr_expr.len());
        for call in &aggregate.aggr_expr {
            let call = substitute(call, aggregate.input.schema(), &columns)?;
            if of_end(&call) {
                return Ok(None);
            }
            calls.push(below(call)?);
        }
        Ok(Some(Self { windowed, groups, calls, end }))
    }

    fn keys(&self) -> impl Iterator<Item = &LogicalExpr> {
        self.groups.iter().filter_map(|g| match g {
            Group::Key(expr) => Some(expr),
            Group::Window(_) => None,
        })
    }

    /// The start of the pane that a row is in.
    fn pane(&self) -> Result<LogicalExpr> {
        let (length, offset) = self.windowed.windows.panes();
        let start = functions::scalar("tumble_start").ok_or_else(|| Error::internal("tumble_start is missing"))?;
        let mut args = vec![self.windowed.ts.clone(), interval(length)];
        args.extend(Some(offset).filter(|o| *o != 0).map(interval));
        Ok(start.call(args))
    }

    /// The sets over the columns of pane and keys.
    fn sets(&self, grouping: &Grouping) -> Option<Sets> {
        let is_key = |i: &usize| matches!(self.groups.get(*i), Some(Group::Key(_)));
        let moved = |i: &usize| 1 + (0..*i).filter(is_key).count();
        grouping.sets.as_ref().map(|Sets { sets, id_type }| {
            let sets = sets.iter().map(|s| GroupingSet { nulls: s.nulls.iter().map(moved).collect(), id: s.id });
            Sets { sets: sets.collect(), id_type: id_type.clone() }
        })
    }
}

impl Lowerer<'_> {
    pub(super) fn paned(&mut self, aggregate: &Aggregate, grouping: &Grouping, paned: &Paned<'_>) -> Result<Lowered> {
        let below = paned.windowed.below;
        let input = self.lower(below)?;
        // The pane first: grouping sets add their number behind the keys.
        let exprs: Vec<LogicalExpr> = [paned.pane()?].into_iter().chain(paned.keys().cloned()).collect();
        let sets = paned.sets(grouping);
        let rows = self.rows(input, below, &exprs, sets.as_ref(), &paned.calls)?;
        let output = schema_of(aggregate.schema.fields().iter().map(|f| plain(f)));
        let groups = paned.groups.len() + usize::from(sets.is_some());
        let calls = self.calls(&paned.calls, output.fields().iter().skip(groups), &rows)?;
        let Rows { input, group, .. } = rows;
        let grouped = Grouped { group, calls, totals: Vec::new(), windows: Some(paned.windowed.windows) };
        let result = self.hash_agg(input, grouped)?;
        self.windows_of_panes(result, aggregate, paned, sets.is_some())
    }

    /// From `end, keys, grouping id, results` to the columns of the aggregation.
    fn windows_of_panes(
        &mut self,
        result: Lowered,
        aggregate: &Aggregate,
        paned: &Paned<'_>,
        has_sets: bool,
    ) -> Result<Lowered> {
        let schema = Arc::clone(result.schema());
        // Names of keys may be the same: here only positions count.
        let fields = schema.fields().iter().enumerate().map(|(i, f)| f.as_ref().clone().with_name(format!("c{i}")));
        let numbered = DFSchema::try_from(Schema::new(fields.collect::<Vec<_>>()))?;
        let carried = result.properties().watermark_columns.clone();
        let mut columns = Columns::new();
        let mut key = Vec::new();
        let mut next = 1;
        let mut fields = aggregate.schema.fields().iter().map(|f| plain(f));
        for group in &paned.groups {
            let Some(field) = fields.next() else { return Err(Error::internal("an aggregation without its columns")) };
            match group {
                Group::Key(_) => {
                    key.push(columns.len());
                    let from = carried.contains(&next).then_some(next);
                    columns.push(Expr::column(next, Arc::clone(&schema)), field, from);
                    next += 1;
                }
                Group::Window(expr) => {
                    if tells(expr, &paned.end) {
                        key.push(columns.len());
                    }
                    let of_end = expr.clone().transform(|e| {
                        Ok(match e {
                            LogicalExpr::Column(_) => {
                                Transformed::yes(LogicalExpr::Column(Column::new_unqualified("c0")))
                            }
                            e => Transformed::no(e),
                        })
                    })?;
                    let from = super::watermark::carried(&of_end.data, &numbered).filter(|c| carried.contains(c));
                    columns.push(physical(&of_end.data, &numbered, &schema)?, field, from);
                }
            }
        }
        if has_sets {
            key.push(columns.len());
        }
        for (i, field) in (next..schema.fields().len()).zip(fields) {
            columns.push(Expr::column(i, Arc::clone(&schema)), field, None);
        }
        let visible = columns.len();
        let mut lowered = self.project(result, columns, visible);
        lowered.node.properties.stream_key = key;
        Ok(lowered)
    }
}

/// The windows' Unnest under projections, and the plan's columns as expressions over it.
fn through(plan: &LogicalPlan) -> Result<Option<(&Unnest, Vec<LogicalExpr>)>> {
    match plan {
        LogicalPlan::Unnest(unnest) => {
            Ok(Some((unnest, unnest.schema.columns().into_iter().map(LogicalExpr::Column).collect())))
        }
        LogicalPlan::SubqueryAlias(alias) => through(&alias.input),
        LogicalPlan::Projection(projection) => {
            let Some((unnest, columns)) = through(&projection.input)? else { return Ok(None) };
            let schema = projection.input.schema();
            let exprs = projection.expr.iter().map(|e| substitute(e, schema, &columns)).collect::<Result<_>>()?;
            Ok(Some((unnest, exprs)))
        }
        _ => Ok(None),
    }
}

/// The expression with each column of `schema` replaced by the expression that makes it.
fn substitute(expr: &LogicalExpr, schema: &DFSchema, by: &[LogicalExpr]) -> Result<LogicalExpr> {
    let replaced = expr.clone().transform_up(|e| {
        Ok(match e {
            LogicalExpr::Alias(alias) => Transformed::yes(*alias.expr),
            LogicalExpr::Column(column) => {
                let index = schema.index_of_column(&column)?;
                let made = by.get(index).ok_or_else(|| Error::internal(format!("no column {index}")))?;
                Transformed::yes(unaliased(made).clone())
            }
            e => Transformed::no(e),
        })
    })?;
    Ok(replaced.data)
}

/// Whether windows that differ in `end` differ in the expression.
fn tells(expr: &LogicalExpr, end: &Column) -> bool {
    match expr {
        LogicalExpr::Column(column) => column == end,
        LogicalExpr::BinaryExpr(BinaryExpr { left, op: Operator::Plus | Operator::Minus, right }) => {
            tells(left, end) && right.as_literal().is_some()
        }
        _ => false,
    }
}

fn interval(micros: i64) -> LogicalExpr {
    let scalar = match micros.checked_mul(1000) {
        Some(nanoseconds) => {
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano { months: 0, days: 0, nanoseconds }))
        }
        None => ScalarValue::DurationMicrosecond(Some(micros)),
    };
    LogicalExpr::Literal(scalar, None)
}
