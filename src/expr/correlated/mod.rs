//! Subqueries that DataFusion leaves correlated, such as the first rows for each outer row, as joins.
//!
//! ```text
//! Join                                            Projection  without the keys
//!   o                                               Join  o.k = key
//!   Subquery: LIMIT 2                                 o
//!     Sort x                               -->        Filter  number <= 2
//!       Filter  t.k = outer_ref(o.k)                    Window  row_number() PARTITION BY key ORDER BY x
//!         t                                               Projection  t.*, t.k AS key
//!                                                           t
//! ```
//!
//! An analyzer rule, for views and for SELECT alike; what DataFusion makes a join of is left to it. [`Freeing`] makes the
//! subquery's plan one that stands alone, this puts it back: beside the outer rows, or under a plain condition.

mod free;

use std::cell::Cell;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{ExprSchema, Spans};
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Expr, FetchType, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit,
};
use datafusion::optimizer::AnalyzerRule;

use self::free::{Free, Freeing};

#[derive(Debug)]
pub struct CorrelatedRows;

impl AnalyzerRule for CorrelatedRows {
    fn name(&self) -> &str {
        "correlated_rows"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let names = Names::default();
        let rewritten = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join) => match lateral(&join, &names)? {
                Some(plan) => Ok(Transformed::yes(plan)),
                None => Ok(Transformed::no(LogicalPlan::Join(join))),
            },
            LogicalPlan::Filter(_) | LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => values(node, &names),
            node => Ok(Transformed::no(node)),
        })?;
        Ok(rewritten.data)
    }
}

/// Names that no query has.
#[derive(Debug, Default)]
struct Names(Cell<usize>);

impl Names {
    fn next(&self, what: &str) -> String {
        format!("__{what}_{}", self.0.replace(self.0.get() + 1))
    }
}

/// A join with a right side that reads each left row.
fn lateral(join: &Join, names: &Names) -> DfResult<Option<LogicalPlan>> {
    let subquery = match join.right.as_ref() {
        LogicalPlan::Subquery(_) => true,
        LogicalPlan::SubqueryAlias(alias) => matches!(alias.input.as_ref(), LogicalPlan::Subquery(_)),
        _ => false,
    };
    if !subquery || !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
        return Ok(None);
    }
    let Some(free) = Freeing::of(&join.left, &join.right, names)? else { return Ok(None) };
    let equal = join.on.iter().map(|(l, r)| l.clone().eq(r.clone()));
    let conditions = free.conditions().chain(equal).chain(join.filter.clone()).collect();
    let joined = joined(join.left.as_ref().clone(), free, join.join_type, conditions)?;
    let columns = join.schema.columns().into_iter().map(Expr::Column);
    Ok(Some(LogicalPlanBuilder::from(joined).project(columns)?.build()?))
}

fn joined(left: LogicalPlan, free: Free, kind: JoinType, conditions: Vec<Expr>) -> DfResult<LogicalPlan> {
    LogicalPlanBuilder::from(left).join_on(free.plan, kind, conditions)?.build()
}

/// The expressions of a node over one input: values of subqueries become columns of a join, what conditions ask of
/// subqueries is asked of plain ones.
fn values(node: LogicalPlan, names: &Names) -> DfResult<Transformed<LogicalPlan>> {
    let concerns = |e: &Expr| matches!(e, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_));
    let mut found = false;
    for expr in node.expressions() {
        found = found || expr.exists(|e| Ok(concerns(e)))?;
    }
    let inputs = node.inputs();
    let [outer] = inputs.as_slice() else { return Ok(Transformed::no(node)) };
    if !found {
        return Ok(Transformed::no(node));
    }
    let outer = (*outer).clone();
    let mut input = outer.clone();
    let mut changed = false;
    let preserver = NamePreserver::new(&node);
    let rewritten = node.clone().map_expressions(|expr| {
        let name = preserver.save(&expr);
        let replaced = expr.transform_up(|e| match e {
            Expr::ScalarSubquery(s) if gives_one_row(&s.subquery) => {
                let Some(free) = Freeing::of(&outer, &s.subquery, names)? else {
                    return Ok(Transformed::no(Expr::ScalarSubquery(s)));
                };
                changed = true;
                let (free, value) = free.with_value(names.next("value"))?;
                let conditions: Vec<Expr> = free.conditions().collect();
                let conditions = if conditions.is_empty() { vec![lit(true)] } else { conditions };
                input = joined(input.clone(), free, JoinType::Left, conditions)?;
                Ok(Transformed::yes(value))
            }
            Expr::Exists(e) => match Freeing::of(&outer, &e.subquery.subquery, names)? {
                Some(free) => {
                    changed = true;
                    Ok(Transformed::yes(Expr::Exists(Exists { subquery: asked(free, &outer)?, negated: e.negated })))
                }
                None => Ok(Transformed::no(Expr::Exists(e))),
            },
            Expr::InSubquery(e) if !e.negated => match Freeing::of(&outer, &e.subquery.subquery, names)? {
                Some(free) => {
                    changed = true;
                    let plain = InSubquery { subquery: asked(free, &outer)?, ..e };
                    Ok(Transformed::yes(Expr::InSubquery(plain)))
                }
                None => Ok(Transformed::no(Expr::InSubquery(e))),
            },
            e => Ok(Transformed::no(e)),
        })?;
        Ok(replaced.update_data(|e| name.restore(e)))
    })?;
    if !changed {
        return Ok(Transformed::no(node));
    }
    let is_filter = matches!(node, LogicalPlan::Filter(_));
    let mut plan = rewritten.data.with_new_exprs(rewritten.data.expressions(), vec![input])?;
    if is_filter {
        plan =
            LogicalPlanBuilder::from(plan).project(node.schema().columns().into_iter().map(Expr::Column))?.build()?;
    }
    Ok(Transformed::yes(plan))
}

/// The plan under a condition that compares its keys with the outer row.
fn asked(free: Free, outer: &LogicalPlan) -> DfResult<Subquery> {
    let schema = Arc::clone(outer.schema());
    let mut references = Vec::new();
    let mut asked = Vec::new();
    for condition in free.conditions() {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { continue };
        let left = left.transform(|e| match e {
            Expr::Column(column) => {
                let field = Arc::clone(schema.field_from_column(&column)?);
                let reference = Expr::OuterReferenceColumn(field, column);
                references.push(reference.clone());
                Ok(Transformed::yes(reference))
            }
            e => Ok(Transformed::no(e)),
        })?;
        asked.push(Expr::BinaryExpr(BinaryExpr { left: Box::new(left.data), op, right }));
    }
    // In one filter: of two, DataFusion would find the columns of one alone.
    let condition = conjunction(asked).unwrap_or_else(|| lit(true));
    let plan = LogicalPlanBuilder::from(free.plan.clone()).filter(condition)?.project(free.columns)?.build()?;
    Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns: references, spans: Spans::new() })
}

/// Whether there is no more than one row for each outer row.
fn gives_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Limit(l) => {
            matches!(l.get_fetch_type(), Ok(FetchType::Literal(Some(0 | 1)))) || gives_one_row(&l.input)
        }
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Sort(_) => {
            plan.inputs().into_iter().all(gives_one_row)
        }
        _ => false,
    }
}

fn compared(left: Expr, nulls_are_equal: bool, right: Expr) -> Expr {
    let op = if nulls_are_equal { Operator::IsNotDistinctFrom } else { Operator::Eq };
    Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) })
}
