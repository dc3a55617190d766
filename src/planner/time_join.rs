//! A join with the row of a moment as a node of its own in the logical plan, so that no rule takes it for an ordinary
//! join and moves a condition through it.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchemaRef, Result as DfResult};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    Expr, Extension, Join, JoinType, LogicalPlan, UserDefinedLogicalNodeCore, build_join_schema,
};

use crate::common::{Error, Result};
use crate::expr::time_join::{self, Moment};

/// Each row of the left input with one of the right.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TimeJoin {
    pub left: LogicalPlan,
    pub right: LogicalPlan,
    pub moment: Moment,
    /// Left rows without a right one stay, padded with nulls.
    pub outer: bool,
    /// All of it: see [`time_join::Matching`].
    pub condition: Vec<Expr>,
    pub schema: DFSchemaRef,
}

/// Takes the marked joins out of a plan.
///
/// # Errors
/// `NotSupported` for joins that keep right rows.
pub(super) fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Join(join) => match time_join::marked(&join) {
            Some((moment, condition)) => Ok(Transformed::yes(node_of(join, moment, condition)?)),
            None => Ok(Transformed::no(LogicalPlan::Join(join))),
        },
        node => Ok(Transformed::no(node)),
    })?;
    Ok(rewritten.data)
}

fn node_of(join: Join, moment: Moment, condition: Vec<Expr>) -> DfResult<LogicalPlan> {
    time_join::check(&join)?;
    let node = TimeJoin {
        moment,
        outer: join.join_type == JoinType::Left,
        condition,
        schema: join.schema,
        left: Arc::unwrap_or_clone(join.left),
        right: Arc::unwrap_or_clone(join.right),
    };
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}

/// The plans compare; schemas do not.
impl PartialOrd for TimeJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let key = |j: &Self| (j.left.clone(), j.right.clone(), j.moment, j.outer, j.condition.clone());
        key(self).partial_cmp(&key(other)).filter(|order| order.is_ne() || self == other)
    }
}

impl UserDefinedLogicalNodeCore for TimeJoin {
    fn name(&self) -> &str {
        "TimeJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.condition.clone()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "TimeJoin: {:?}", self.moment)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        let [left, right] = <[LogicalPlan; 2]>::try_from(inputs)
            .map_err(|inputs| DataFusionError::from(Error::internal(format!("TimeJoin of {} inputs", inputs.len()))))?;
        let join_type = if self.outer { JoinType::Left } else { JoinType::Inner };
        let schema = Arc::new(build_join_schema(left.schema(), right.schema(), &join_type)?);
        // The simplifier names what it turns round after what it was.
        let condition = exprs.into_iter().map(Expr::unalias).collect();
        Ok(Self { left, right, condition, schema, ..self.clone() })
    }

    fn necessary_children_exprs(&self, output: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.left.schema().fields().len();
        let mut needed = [Vec::new(), Vec::new()];
        for column in output {
            match column.checked_sub(width) {
                None => needed[0].push(*column),
                Some(column) => needed[1].push(column),
            }
        }
        for column in self.condition.iter().flat_map(Expr::column_refs) {
            for (needed, plan) in needed.iter_mut().zip([&self.left, &self.right]) {
                needed.extend(plan.schema().maybe_index_of_column(column));
            }
        }
        for needed in &mut needed {
            needed.sort_unstable();
            needed.dedup();
        }
        Some(needed.into())
    }
}
