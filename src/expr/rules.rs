//! What runs behind DataFusion's analyzer, for views and SELECT alike: where PostgreSQL's operators differ from its own.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::bytea::ByteaInput;
use super::checked::CheckedArithmetic;
use super::correlated::CorrelatedRows;
use super::lateral::LateralRows;
use super::not_in::CorrelatedNotIn;
use super::pg::rounding::RoundingCast;
use super::pg::text_input::TextInput;
use super::pg::text_output::TextOutput;
use super::pg::timetz::TimeTzCasts;
use super::time_join::RowOfMoment;

/// `streaming` plans have no relation of one row, and joins of a moment as a node of their own.
pub fn rules(streaming: bool) -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![
        Arc::new(LateralRows { constant: streaming }),
        Arc::new(CorrelatedRows),
        Arc::new(ByteaInput),
        Arc::new(RoundingCast),
        Arc::new(TimeTzCasts),
        Arc::new(TextInput),
        Arc::new(TextOutput),
        Arc::new(CheckedArithmetic),
    ];
    if !streaming {
        rules.insert(0, Arc::new(RowOfMoment));
        rules.insert(0, Arc::new(CorrelatedNotIn));
    }
    rules
}

/// Rewrites the expressions that `concerns` picks, wherever they stand in the plan; types must stay. Columns keep their
/// names.
pub fn rewrite(
    plan: LogicalPlan,
    concerns: impl Fn(&Expr) -> bool,
    rewrite: impl Fn(Expr, &DFSchema) -> Transformed<Expr>,
) -> DfResult<LogicalPlan> {
    let node = |plan: LogicalPlan| {
        let mut found = false;
        // VALUES may be long, and is as a rule of no concern.
        plan.apply_expressions(|expr| {
            found = found || expr.exists(|e| Ok(concerns(e)))?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if !found {
            return Ok(Transformed::no(plan));
        }
        let schema = merge_schema(&plan.inputs());
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten =
                expr.transform_up(|e| Ok(if concerns(&e) { rewrite(e, &schema) } else { Transformed::no(e) }))?;
            Ok(rewritten.update_data(|e| name.restore(e)))
        })
    };
    Ok(plan.transform_up_with_subqueries(node)?.data)
}
