//! DataFusion's rule that moves filters towards the tables, for views and SELECT alike, kept from moving one too far.
//!
//! An aggregate without groups has a row even over nothing, and so has the empty set of ROLLUP and CUBE: a condition
//! without columns, as 1 = 2, must not go below it.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{Optimizer, OptimizerConfig, OptimizerRule};

#[derive(Debug, Default)]
pub struct SoundPushDownFilter(PushDownFilter);

/// The rules of a SELECT.
pub fn batch_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    for rule in &mut rules {
        if rule.name() == PushDownFilter::new().name() {
            *rule = Arc::new(SoundPushDownFilter::default());
        }
    }
    rules
}

impl OptimizerRule for SoundPushDownFilter {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> DfResult<Transformed<LogicalPlan>> {
        if must_stay(&plan) { Ok(Transformed::no(plan)) } else { self.0.rewrite(plan, config) }
    }
}

/// Whether it is a filter with a condition of no columns, on an aggregate that has a row over nothing.
fn must_stay(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Filter(filter) = plan else { return false };
    let LogicalPlan::Aggregate(aggregate) = filter.input.as_ref() else { return false };
    let has_row = match aggregate.group_expr.as_slice() {
        [] => true,
        groups => groups.iter().any(|e| matches!(e, Expr::GroupingSet(_))),
    };
    has_row && split_conjunction(&filter.predicate).iter().any(|e| e.column_refs().is_empty())
}
