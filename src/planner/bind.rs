//! A query's AST to a typed, optimised logical plan that may run forever.
//!
//! Only those of DataFusion's rules run that hold on changing input and need no statistics. Constant folding and the
//! pushing of filters and projections stay, and what makes joins of subqueries; what bounds or sorts is refused later,
//! when lowered.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, FetchType, LogicalPlan, Volatility};
use datafusion::optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::optimize_unions::OptimizeUnions;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Analyzer, Optimizer, OptimizerContext, OptimizerRule};
use datafusion::sql::planner::{ParserOptions, SqlToRel};

use super::context::Context;
use crate::common::{Error, ErrorKind, Result};
use crate::expr::push_down_filter::SoundPushDownFilter;
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
    let plan = super::now::mark(super::time_join::rewrite(plan)?)?;
    check(&plan)?;
    let mut config = super::config();
    // A join follows its subquery; the alternative runs it once, before the query.
    config.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    let plan = crate::expr::not_in::rewrite(super::distinct_on::rewrite(plan)?)?;
    let mut analyzer = Analyzer::new();
    analyzer.rules.extend(analyzer_rules(true));
    let plan = analyzer.execute_and_check(plan, &config, |_, _| {})?;
    let config = OptimizerContext::new_with_config_options(Arc::new(config)).without_query_execution_start_time();
    let plan = Optimizer::with_rules(rules(&plan)?).optimize(plan, &config, |_, _| {})?;
    check_joined(&plan)?;
    Ok(plan)
}

fn rules(plan: &LogicalPlan) -> Result<Vec<Arc<dyn OptimizerRule + Send + Sync>>> {
    let mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(SoundPushDownFilter::default()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ];
    if super::now::mentions(plan)? {
        // It would take now() out of the conditions that it may stand in.
        rules.retain(|rule| rule.name() != CommonSubexprEliminate::new().name());
    }
    Ok(rules)
}

/// Refuses expressions that a streaming job cannot keep up to date.
fn check(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
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
        Expr::ScalarSubquery(subquery) if !gives_one_row(&subquery.subquery) => Err(Error::not_supported(
            "a subquery that is used as a value must be known to give one row: in a streaming job there is no later \
             moment at which to fail",
        )
        .with_hint("aggregate in it, as in (SELECT max(price) FROM …), or end it with LIMIT 1")),
        Expr::Placeholder(p) if !super::now::is_now(e) => Err(Error::new(
            ErrorKind::UndefinedParameter,
            format!("the parameter {} has no value in a streaming job", p.id),
        )
        .with_hint("write the value itself")),
        _ => Ok(()),
    }
}

/// Every subquery has become a join.
fn check_joined(plan: &LogicalPlan) -> Result<()> {
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|e| match e {
                Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
                    let error =
                        Error::not_supported("this subquery cannot be kept up to date: it cannot be made a join")
                            .with_hint("put it into WHERE, or join with it in FROM");
                    Err(DataFusionError::from(error))
                }
                Expr::OuterReferenceColumn(_, column) => Err(DataFusionError::from(
                    Error::not_supported(format!("the reference to {column} of an outer query is not supported here"))
                        .with_hint("join with the subquery in FROM instead"),
                )),
                _ => Ok(TreeNodeRecursion::Continue),
            })
        })
    })?;
    Ok(())
}

/// Whether the plan can give no more than one row (for each row of the outer query).
fn gives_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(p) => gives_one_row(&p.input),
        LogicalPlan::Filter(f) => gives_one_row(&f.input),
        LogicalPlan::SubqueryAlias(a) => gives_one_row(&a.input),
        LogicalPlan::Sort(s) => gives_one_row(&s.input),
        LogicalPlan::Limit(l) => {
            matches!(l.get_fetch_type(), Ok(FetchType::Literal(Some(0 | 1)))) || gives_one_row(&l.input)
        }
        LogicalPlan::EmptyRelation(e) => e.produce_one_row,
        _ => false,
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
