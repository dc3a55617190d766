//! Relations that are made of one row of the relation beside them, such as `t, LATERAL unnest(t.a)`: a join becomes a
//! chain over the other side.
//!
//! ```text
//! Join                                      Projection  t.*, u.*
//!   t                                         Unnest
//!   u: Unnest                         -->       Projection  a, t.* under other names
//!        Projection  outer_ref(t.a)               t
//!          EmptyRelation: one row
//! ```
//!
//! An analyzer rule, for views and for SELECT alike. What reads tables on the inner side stays a join: DataFusion finds
//! its condition. A right side that refers to nothing stays one, too, unless a table is on the left of a streaming job,
//! which has no relation of one row.

use std::cell::Cell;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, NullHandling, UnnestOptions};
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Unnest, lit};
use datafusion::optimizer::AnalyzerRule;

#[derive(Debug)]
pub struct LateralRows {
    /// Also sides that refer to nothing.
    pub constant: bool,
}

impl AnalyzerRule for LateralRows {
    fn name(&self) -> &str {
        "lateral_rows"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let joins = Cell::new(0);
        let rewritten = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join) => match self.chained(&join, &joins)? {
                Some(plan) => Ok(Transformed::yes(plan)),
                None => Ok(Transformed::no(LogicalPlan::Join(join))),
            },
            node => Ok(Transformed::no(node)),
        })?;
        Ok(rewritten.data)
    }
}

impl LateralRows {
    fn chained(&self, join: &Join, joins: &Cell<usize>) -> DfResult<Option<LogicalPlan>> {
        let keeps_left = match join.join_type {
            JoinType::Inner => false,
            JoinType::Left => true,
            _ => return Ok(None),
        };
        let refers = |plan: &LogicalPlan| matches!(unaliased(plan), LogicalPlan::Subquery(_));
        let right_is_chain = (self.constant || refers(&join.right)) && is_chain(&join.right, keeps_left);
        let left_is_chain = self.constant && !keeps_left && is_chain(&join.left, false);
        let (beside, chain) = match (right_is_chain, left_is_chain) {
            (true, _) => (&join.left, &join.right),
            (false, true) => (&join.right, &join.left),
            (false, false) => return Ok(None),
        };
        let always = |filter: &Expr| *filter == lit(true);
        if keeps_left && !(join.on.is_empty() && join.filter.as_ref().is_none_or(always)) {
            return Ok(None);
        }
        let number = joins.replace(joins.get() + 1);
        let outer = Outer::new(beside, number, keeps_left)?;
        let made = outer.under(chain)?;
        let output = join.schema.iter().map(|(qualifier, field)| {
            let column = Column::new(qualifier.cloned(), field.name());
            match beside.schema().index_of_column(&column) {
                Ok(at) => outer.renamed(at).alias_qualified(qualifier.cloned(), field.name()),
                Err(_) => Expr::Column(column),
            }
        });
        let mut plan = LogicalPlanBuilder::from(made).project(output.collect::<Vec<_>>())?;
        let equal = join.on.iter().map(|(l, r)| l.clone().eq(r.clone()));
        if let Some(condition) = equal.chain(join.filter.clone()).reduce(Expr::and) {
            plan = plan.filter(condition)?;
        }
        Ok(Some(plan.build()?))
    }
}

fn unaliased(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => unaliased(&alias.input),
        plan => plan,
    }
}

/// Whether the plan makes its rows of one row. Of one that is to keep rows without elements, nothing may be computed
/// or dropped behind the unnesting.
fn is_chain(plan: &LogicalPlan, keeps_empty: bool) -> bool {
    let (chain, unnests) = links(plan, keeps_empty);
    chain && (!keeps_empty || unnests == 1)
}

/// Whether it is a chain, and how many Unnest there are.
fn links(plan: &LogicalPlan, keeps_empty: bool) -> (bool, usize) {
    match plan {
        LogicalPlan::EmptyRelation(empty) => (empty.produce_one_row, 0),
        LogicalPlan::Projection(p) => {
            let (chain, unnests) = links(&p.input, keeps_empty);
            let plain = |e: &Expr| match e.clone().unalias_nested().data {
                Expr::Column(_) => true,
                Expr::ScalarFunction(f) => ["as_json", "as_jsonb"].contains(&f.name()),
                _ => false,
            };
            (chain && (!keeps_empty || unnests == 0 || p.expr.iter().all(plain)), unnests)
        }
        LogicalPlan::Filter(f) => {
            let (chain, unnests) = links(&f.input, keeps_empty);
            (chain && !keeps_empty, unnests)
        }
        LogicalPlan::Unnest(u) => {
            let (chain, unnests) = links(&u.input, keeps_empty);
            (chain, unnests + 1)
        }
        LogicalPlan::SubqueryAlias(a) => links(&a.input, keeps_empty),
        LogicalPlan::Subquery(s) => links(&s.subquery, keeps_empty),
        _ => (false, 0),
    }
}

/// The relation that a chain is put over, its columns under names of their own.
struct Outer<'p> {
    beside: &'p LogicalPlan,
    plan: LogicalPlan,
    number: usize,
    /// Rows without elements stay.
    keeps_empty: bool,
}

impl<'p> Outer<'p> {
    fn new(beside: &'p Arc<LogicalPlan>, number: usize, keeps_empty: bool) -> DfResult<Self> {
        let mut outer = Self { beside, plan: beside.as_ref().clone(), number, keeps_empty };
        let columns = beside.schema().columns().into_iter().enumerate();
        let renamed: Vec<Expr> = columns.map(|(at, column)| Expr::Column(column).alias(outer.name(at))).collect();
        outer.plan = LogicalPlanBuilder::from(outer.plan).project(renamed)?.build()?;
        Ok(outer)
    }

    fn name(&self, at: usize) -> String {
        format!("__outer_{}_{at}", self.number)
    }

    fn renamed(&self, at: usize) -> Expr {
        Expr::Column(Column::new_unqualified(self.name(at)))
    }

    fn columns(&self) -> impl Iterator<Item = Expr> {
        (0..self.beside.schema().fields().len()).map(|at| self.renamed(at))
    }

    /// References to the outer relation as columns of it.
    fn resolved(&self, expr: Expr) -> DfResult<Expr> {
        let resolved = expr.transform(|e| {
            Ok(match &e {
                Expr::OuterReferenceColumn(_, column) => match self.beside.schema().index_of_column(column) {
                    Ok(at) => Transformed::yes(self.renamed(at)),
                    Err(_) => Transformed::no(e),
                },
                _ => Transformed::no(e),
            })
        })?;
        Ok(resolved.data)
    }

    /// The chain over this relation: its own columns, and this one's behind.
    fn under(&self, chain: &LogicalPlan) -> DfResult<LogicalPlan> {
        match chain {
            LogicalPlan::EmptyRelation(_) => Ok(self.plan.clone()),
            LogicalPlan::Subquery(s) => self.under(&s.subquery),
            LogicalPlan::Projection(p) => {
                let exprs = p.expr.iter().zip(p.schema.iter()).map(|(e, (qualifier, field))| {
                    Ok(match self.resolved(e.clone())? {
                        e @ (Expr::Column(_) | Expr::Alias(_)) if e.schema_name().to_string() == *field.name() => e,
                        e => e.unalias().alias_qualified(qualifier.cloned(), field.name()),
                    })
                });
                let exprs = exprs.chain(self.columns().map(Ok)).collect::<DfResult<Vec<_>>>()?;
                LogicalPlanBuilder::from(self.under(&p.input)?).project(exprs)?.build()
            }
            LogicalPlan::Filter(f) => {
                let condition = self.resolved(f.predicate.clone())?;
                LogicalPlanBuilder::from(self.under(&f.input)?).filter(condition)?.build()
            }
            LogicalPlan::Unnest(u) => {
                let options = match self.keeps_empty {
                    true => UnnestOptions { null_handling: NullHandling::PreserveAndExpandEmpty, ..u.options.clone() },
                    false => u.options.clone(),
                };
                let input = Arc::new(self.under(&u.input)?);
                Ok(LogicalPlan::Unnest(Unnest::try_new(input, u.exec_columns.clone(), options)?))
            }
            LogicalPlan::SubqueryAlias(a) => {
                let columns = a.input.schema().columns().into_iter().zip(a.schema.iter());
                let renamed = columns
                    .map(|(column, (qualifier, field))| {
                        Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())
                    })
                    .chain(self.columns());
                let renamed: Vec<Expr> = renamed.collect();
                LogicalPlanBuilder::from(self.under(&a.input)?).project(renamed)?.build()
            }
            other => {
                let what = format!("{} is not part of a chain", other.display());
                Err(crate::common::Error::internal(what).into())
            }
        }
    }
}
