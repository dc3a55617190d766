//! Joins with the row of a moment, as plans have them: the marks that SQL's forms leave in a join's condition, and what
//! a SELECT makes of them.
//!
//! ```text
//! Join  weir_asof() AND l.k = r.k AND l.ts >= r.ts
//!   -->  Projection  l.*, r.*
//!          Filter  place = 1
//!            Window  row_number() OVER (PARTITION BY row ORDER BY r.ts DESC) AS place
//!              Join  l.k = r.k AND l.ts >= r.ts
//!                Window  row_number() OVER () AS row
//!                  l
//!                r
//! ```
//! A join FOR SYSTEM_TIME AS OF a column is the same with `>=`; one AS OF PROCTIME() is, to a SELECT, an ordinary join.
//! How a view keeps them is the planner's.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema};
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    BinaryExpr, Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, Signature, SortExpr, Volatility,
    WindowFrame, WindowFunctionDefinition, ident, lit,
};
use datafusion::optimizer::AnalyzerRule;

use super::function::{Function, Returns};
use super::functions;
use crate::common::{Error, ErrorKind, Result};

const ASOF: &str = "weir_asof";
const AS_OF: &str = "weir_as_of";
const AS_OF_NOW: &str = "weir_as_of_now";

/// Which row of the right side a left row meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd)]
pub enum Moment {
    /// ASOF: the nearest by the condition's inequality, as both sides change. FOR SYSTEM_TIME AS OF a column is one: the
    /// last that is not after it.
    Nearest,
    /// FOR SYSTEM_TIME AS OF PROCTIME(): the one that is there when the left row comes.
    Now,
}

/// The marks as functions. They are never evaluated.
pub(super) fn functions() -> Vec<Function> {
    let mark = |name, signature| {
        Function::new(name, signature, Returns::Type(DataType::Boolean), |_| {
            Err(Error::new(
                ErrorKind::Syntax,
                "ASOF JOIN and FOR SYSTEM_TIME AS OF take conditions combined with AND only",
            )
            .with_hint("write the rest of the condition into WHERE, or put parentheses around OR"))
        })
    };
    vec![
        mark(ASOF, Signature::nullary(Volatility::Immutable)),
        mark(AS_OF, Signature::any(2, Volatility::Immutable)),
        mark(AS_OF_NOW, Signature::nullary(Volatility::Immutable)),
    ]
}

/// The moment of a join that is marked, and its condition without the mark; `None` for other joins.
pub fn marked(join: &Join) -> Option<(Moment, Vec<Expr>)> {
    let conjuncts = split_conjunction_owned(join.filter.clone()?);
    let is_mark = |e: &Expr| matches!(e, Expr::ScalarFunction(f) if [ASOF, AS_OF, AS_OF_NOW].contains(&f.name()));
    let at = conjuncts.iter().position(is_mark)?;
    let mut condition: Vec<Expr> = join.on.iter().map(|(l, r)| l.clone().eq(r.clone())).collect();
    let mut moment = Moment::Nearest;
    for (i, conjunct) in conjuncts.into_iter().enumerate() {
        match conjunct {
            Expr::ScalarFunction(f) if i == at => match (f.name(), f.args.as_slice()) {
                (AS_OF, [time, since]) => condition.push(time.clone().gt_eq(since.clone())),
                (AS_OF_NOW, _) => moment = Moment::Now,
                _ => {}
            },
            conjunct => condition.push(conjunct),
        }
    }
    Some((moment, condition))
}

/// The one comparison of a condition that is no equality, its left side's expression first.
#[derive(Debug, Clone)]
pub struct Match {
    pub left: Expr,
    pub op: Operator,
    pub right: Expr,
}

/// What must be equal on both sides, and the inequality.
#[derive(Debug)]
pub struct Matching {
    pub on: Vec<(Expr, Expr)>,
    pub inequality: Option<Match>,
}

impl Matching {
    /// # Errors
    /// `NotSupported` for a conjunct that compares anything but the two sides, and for a second inequality.
    pub fn of(condition: &[Expr], left: &DFSchema, right: &DFSchema) -> Result<Self> {
        let mut matching = Self { on: Vec::new(), inequality: None };
        for conjunct in condition {
            let Some(Match { left, op, right }) = comparison(conjunct, left, right) else {
                return Err(unusable(conjunct));
            };
            match op {
                Operator::Eq => matching.on.push((left, right)),
                _ if matching.inequality.is_none() => matching.inequality = Some(Match { left, op, right }),
                _ => return Err(unusable(conjunct)),
            }
        }
        Ok(matching)
    }

    /// The inequality of a join that needs one.
    pub fn nearest(&self) -> Result<&Match> {
        self.inequality.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Syntax, "ASOF JOIN needs an inequality between a column of each side")
                .with_hint("write ASOF JOIN r ON l.k = r.k AND l.ts >= r.ts")
        })
    }
}

impl Match {
    /// Whether the largest of the right values that meet it is the nearest.
    pub fn is_backward(&self) -> bool {
        matches!(self.op, Operator::GtEq | Operator::Gt)
    }

    /// Whether equal values do not meet it.
    pub fn is_strict(&self) -> bool {
        matches!(self.op, Operator::Gt | Operator::Lt)
    }
}

fn unusable(conjunct: &Expr) -> Error {
    Error::not_supported(format!("the condition {conjunct} of a join with the row of a moment")).with_hint(
        "such a join takes equal columns and one of >=, >, <=, <, combined with AND; write the rest into WHERE",
    )
}

fn comparison(expr: &Expr, left: &DFSchema, right: &DFSchema) -> Option<Match> {
    let Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) = expr else { return None };
    if !matches!(op, Operator::Eq | Operator::Gt | Operator::GtEq | Operator::Lt | Operator::LtEq) {
        return None;
    }
    let of = |e: &Expr, schema: &DFSchema| {
        let columns = e.column_refs();
        !columns.is_empty() && columns.iter().all(|c| schema.has_column(c))
    };
    match (of(a, left) && of(b, right), of(a, right) && of(b, left)) {
        (true, _) => Some(Match { left: *a.clone(), op: *op, right: *b.clone() }),
        (_, true) => Some(Match { left: *b.clone(), op: op.swap()?, right: *a.clone() }),
        _ => None,
    }
}

/// The rule of SELECT.
#[derive(Debug)]
pub struct RowOfMoment;

impl AnalyzerRule for RowOfMoment {
    fn name(&self) -> &str {
        "row_of_moment"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let mut joins = 0;
        let rewritten = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join) => match marked(&join) {
                Some((Moment::Now, condition)) => Ok(Transformed::yes(plain(&join, condition)?)),
                Some((_, condition)) => {
                    joins += 1;
                    Ok(Transformed::yes(ranked(&join, condition, joins)?))
                }
                None => Ok(Transformed::no(LogicalPlan::Join(join))),
            },
            node => Ok(Transformed::no(node)),
        })?;
        Ok(rewritten.data)
    }
}

fn plain(join: &Join, condition: Vec<Expr>) -> DfResult<LogicalPlan> {
    let left = LogicalPlanBuilder::from(Arc::unwrap_or_clone(Arc::clone(&join.left)));
    left.join_on(join.right.as_ref().clone(), join.join_type, condition)?.build()
}

/// The first of the pairs of each left row.
fn ranked(join: &Join, condition: Vec<Expr>, number: usize) -> DfResult<LogicalPlan> {
    check(join)?;
    let matching = Matching::of(&condition, join.left.schema(), join.right.schema())?;
    let nearest = matching.nearest()?.clone();
    let (row, place) = (format!("__row_{number}"), format!("__place_{number}"));
    let left = LogicalPlanBuilder::from(join.left.as_ref().clone())
        .window([row_number(Vec::new(), Vec::new())?.alias(&row)])?
        .build()?;
    let order = nearest.right.clone().sort(!nearest.is_backward(), false);
    let columns =
        join.schema.iter().map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())));
    LogicalPlanBuilder::from(left)
        .join_on(join.right.as_ref().clone(), join.join_type, condition)?
        .window([row_number(vec![ident(&row)], vec![order])?.alias(&place)])?
        .filter(ident(&place).eq(lit(1u64)))?
        .project(columns.collect::<Vec<_>>())?
        .build()
}

fn row_number(partition: Vec<Expr>, order: Vec<SortExpr>) -> DfResult<Expr> {
    let function = functions::window("row_number").ok_or_else(|| Error::internal("there is no function row_number"))?;
    let mut number = WindowFunction::new(WindowFunctionDefinition::WindowUDF(function), Vec::new());
    number.params.window_frame = WindowFrame::new((!order.is_empty()).then_some(false));
    number.params.partition_by = partition;
    number.params.order_by = order;
    Ok(Expr::from(number))
}

/// # Errors
/// `NotSupported` for a join that keeps rows of the right side.
pub fn check(join: &Join) -> Result<()> {
    match join.join_type {
        JoinType::Inner | JoinType::Left => Ok(()),
        other => Err(Error::not_supported(format!("a {other} join with the row of a moment is not supported"))
            .with_hint("write an inner or a LEFT join: each left row meets one row of the right side")),
    }
}
