//! DISTINCT ON as what it means: the rows of `row_number() OVER (PARTITION BY … ORDER BY …) = 1`.
//!
//! Before the optimiser, which takes a filter over DISTINCT ON for one under it.

use datafusion::common::tree_node::Transformed;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, LogicalPlan, LogicalPlanBuilder, WindowFrame, WindowFunctionDefinition, ident, lit,
};

use crate::common::{Error, Result};
use crate::expr::functions;

/// The column that numbers the rows of a group.
const NUMBER: &str = "_distinct_on";

pub(super) fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Distinct(Distinct::On(distinct)) => Ok(Transformed::yes(first_rows(distinct)?)),
        node => Ok(Transformed::no(node)),
    })?;
    Ok(rewritten.data)
}

fn first_rows(distinct: DistinctOn) -> DfResult<LogicalPlan> {
    let DistinctOn { on_expr, select_expr, sort_expr, input, .. } = distinct;
    let function = functions::window("row_number")
        .ok_or_else(|| DataFusionError::from(Error::internal("there is no function row_number")))?;
    let mut number = WindowFunction::new(WindowFunctionDefinition::WindowUDF(function), Vec::new());
    number.params.partition_by = on_expr;
    number.params.order_by = sort_expr.unwrap_or_default();
    number.params.window_frame = WindowFrame::new((!number.params.order_by.is_empty()).then_some(false));
    let mut name = NUMBER.to_string();
    while input.schema().fields().iter().any(|f| *f.name() == name) {
        name.insert(0, '_');
    }
    LogicalPlanBuilder::from(input)
        .window([Expr::from(number).alias(&name)])?
        .filter(ident(&name).eq(lit(1u64)))?
        .project(select_expr)?
        .build()
}
