//! `x NOT IN (SELECT y … WHERE …)` that refers to the outer query, as what it means in WHERE: there is no row for which
//! `x = y` is true or not known.
//!
//! ```text
//! x NOT IN (SELECT y FROM s WHERE s.k = t.k)  -->  NOT EXISTS (SELECT y FROM s WHERE s.k = t.k AND (x = y) IS NOT FALSE)
//! ```
//! A null on either side finds nothing then, and a subquery without rows everything. Before the optimiser, which would
//! leave the nulls out of a view and refuse a SELECT. A subquery that gives a row over nothing, or not all of its rows, stays: the optimiser refuses it.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema, Spans};
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, LogicalPlanBuilder, Subquery, col};
use datafusion::optimizer::AnalyzerRule;

use crate::common::Result;

/// The rule of SELECT; of a view's plan it is the first step.
#[derive(Debug)]
pub struct CorrelatedNotIn;

impl AnalyzerRule for CorrelatedNotIn {
    fn name(&self) -> &str {
        "correlated_not_in"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        Ok(rewrite(plan)?)
    }
}

pub fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Filter(filter) => filtered(filter),
        node => Ok(Transformed::no(node)),
    })?;
    Ok(rewritten.data)
}

fn filtered(filter: Filter) -> DfResult<Transformed<LogicalPlan>> {
    let Filter { predicate, input, .. } = filter;
    let mut changed = false;
    let mut parts = Vec::new();
    for part in split_conjunction_owned(predicate) {
        parts.push(match negated(&part).filter(|found| is_plain(found)) {
            Some(found) => {
                changed = true;
                not_exists(found, input.schema())?
            }
            None => part,
        });
    }
    let predicate = conjunction(parts).unwrap_or_else(|| datafusion::logical_expr::lit(true));
    let plan = LogicalPlan::Filter(Filter::try_new(predicate, input)?);
    Ok(if changed { Transformed::yes(plan) } else { Transformed::no(plan) })
}

/// The condition where it is a NOT IN.
fn negated(part: &Expr) -> Option<&InSubquery> {
    match part {
        Expr::InSubquery(found) if found.negated => Some(found),
        Expr::Not(inner) => match inner.as_ref() {
            Expr::InSubquery(found) if !found.negated => Some(found),
            _ => None,
        },
        _ => None,
    }
}

/// A subquery of the outer row whose rows are those of a join, filtered.
fn is_plain(found: &InSubquery) -> bool {
    let whole = |node: &LogicalPlan| {
        matches!(node, LogicalPlan::Aggregate(_) | LogicalPlan::Limit(_) | LogicalPlan::Window(_))
            || matches!(node, LogicalPlan::Sort(sort) if sort.fetch.is_some())
    };
    !found.subquery.outer_ref_columns.is_empty()
        && !found.expr.contains_outer()
        && !found.subquery.subquery.exists(|node| Ok(whole(node))).unwrap_or(true)
}

fn not_exists(found: &InSubquery, outer: &DFSchema) -> DfResult<Expr> {
    let Subquery { subquery, outer_ref_columns, .. } = &found.subquery;
    let mut references = outer_ref_columns.clone();
    let value = found.expr.as_ref().clone().transform(|e| match e {
        Expr::Column(column) => {
            let field = Arc::clone(outer.field_from_column(&column)?);
            let reference = Expr::OuterReferenceColumn(field, column);
            references.push(reference.clone());
            Ok(Transformed::yes(reference))
        }
        e => Ok(Transformed::no(e)),
    })?;
    let Some(given) = subquery.schema().columns().into_iter().next() else {
        return Ok(Expr::InSubquery(found.clone()));
    };
    let matches = Expr::IsNotFalse(Box::new(value.data.eq(col(given))));
    let plan = LogicalPlanBuilder::from(subquery.as_ref().clone()).filter(matches)?.build()?;
    let subquery = Subquery { subquery: Arc::new(plan), outer_ref_columns: references, spans: Spans::new() };
    Ok(Expr::Exists(Exists { subquery, negated: true }))
}
