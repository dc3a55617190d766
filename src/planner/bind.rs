//! A query's AST to a typed, optimised logical plan that may run forever.
//!
//! Only those of DataFusion's rules run that hold on changing input and need no statistics. Constant folding and the
//! pushing of filters and projections stay; whatever bounds, sorts or decorrelates is refused later, when lowered.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::optimize_unions::OptimizeUnions;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Analyzer, Optimizer, OptimizerContext, OptimizerRule};
use datafusion::sql::planner::{ParserOptions, SqlToRel};

use super::context::Context;
use crate::common::{Error, ErrorKind, Result};
use crate::expr::rules::rules as analyzer_rules;
use crate::expr::session::Bound;
use crate::sql::ast;

/// Names and types resolved, nothing else.
pub(super) fn plan(context: &Context, query: &ast::Query) -> Result<LogicalPlan> {
    let options = ParserOptions::from(&context.config().sql_parser);
    let statement = ast::Statement::Query(Box::new(query.clone()));
    SqlToRel::new_with_options(context, options).sql_statement_to_plan(statement).map_err(|e| {
        // The window's function is none that the query names: say it in the query's words.
        match e.strip_backtrace().split_once(" does not take a first argument of type ") {
            Some((_, rest)) => no_timestamp(rest.split('.').next().unwrap_or_default()),
            None => Error::from(e),
        }
    })
}

/// The plan that a streaming job is lowered from.
///
/// # Errors
/// What the query has wrong, and `NotSupported` for what cannot be kept up to date.
pub(super) fn streaming(plan: LogicalPlan) -> Result<LogicalPlan> {
    check(&plan)?;
    let config = super::config();
    let plan = super::distinct_on::rewrite(plan)?;
    let mut analyzer = Analyzer::new();
    analyzer.rules.extend(analyzer_rules());
    let plan = analyzer.execute_and_check(plan, &config, |_, _| {})?;
    let config = OptimizerContext::new_with_config_options(Arc::new(config)).without_query_execution_start_time();
    Ok(Optimizer::with_rules(rules()).optimize(plan, &config, |_, _| {})?)
}

fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ]
}

/// Refuses expressions that a streaming job cannot keep up to date.
fn check(plan: &LogicalPlan) -> Result<()> {
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                check_expr(node, e).map_err(DataFusionError::from)?;
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

fn check_expr(node: &LogicalPlan, e: &Expr) -> Result<()> {
    match e {
        Expr::ScalarFunction(f) if f.func.signature().volatility != Volatility::Immutable => Err(Error::not_supported(
            format!("{}() changes from call to call: a streaming job cannot keep it up to date yet", f.func.name()),
        )
        .with_hint("use an event time column, or call it in the SELECT that reads the view")),
        Expr::ScalarFunction(f) if ["tumble_start", "hop_ends", "cumulate_ends"].contains(&f.func.name()) => {
            check_window(node, f.args.first())
        }
        Expr::WindowFunction(f) if Bound::of(f.fun.name()).is_some() => check_window(node, f.params.args.first()),
        Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
            Err(Error::not_supported("subqueries in expressions are not supported in streaming jobs yet")
                .with_hint("make the inner query a view of its own and compare in the SELECT that reads both"))
        }
        Expr::OuterReferenceColumn(..) => {
            Err(Error::not_supported("correlated subqueries are not supported in streaming jobs yet"))
        }
        Expr::Placeholder(p) => Err(Error::new(
            ErrorKind::UndefinedParameter,
            format!("the parameter {} has no value in a streaming job", p.id),
        )
        .with_hint("write the value itself")),
        Expr::Unnest(_) => Err(Error::not_supported("unnest is not supported in streaming jobs yet")),
        _ => Ok(()),
    }
}

/// A window's time column must be a timestamp. What its type cannot be told of is left to the analyzer.
fn check_window(node: &LogicalPlan, ts: Option<&Expr>) -> Result<()> {
    use arrow::datatypes::DataType;
    use datafusion::logical_expr::ExprSchemable;
    let data_type = ts.and_then(|ts| {
        node.inputs()
            .iter()
            .find_map(|input| ts.get_type(input.schema()).ok())
            .or_else(|| ts.get_type(node.schema()).ok())
    });
    match data_type {
        Some(data_type) if !matches!(data_type, DataType::Timestamp(_, _)) => Err(no_timestamp(&data_type.to_string())),
        _ => Ok(()),
    }
}

fn no_timestamp(data_type: &str) -> Error {
    Error::new(ErrorKind::DatatypeMismatch, format!("a window's time column must be a timestamp, not {data_type}"))
        .with_hint(
            "cast it first: FROM TUMBLE((SELECT *, CAST(c AS TIMESTAMP) AS ts FROM t), ts, INTERVAL '10' SECOND)",
        )
}
