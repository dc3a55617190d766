//! Casts of fractions to integers round, as PostgreSQL's do; Arrow's would cut.
//!
//! A literal with a point is NUMERIC to PostgreSQL: its half goes away from zero, that of floating point to the even.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, lit};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;

use crate::expr::{functions, rules};

/// Runs when types are resolved.
#[derive(Debug)]
pub struct RoundingCast;

impl AnalyzerRule for RoundingCast {
    fn name(&self) -> &str {
        "rounding_cast"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        rules::rewrite(plan, |e| matches!(e, Expr::Cast(c) if c.field.data_type().is_integer()), rounded)
    }
}

fn rounded(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::Cast(Cast { expr, field }) = expr else { return Transformed::no(expr) };
    let inner = match (negated_literal(&expr), expr.get_type(schema)) {
        (Some(value), _) => lit(value.round()),
        (None, Ok(DataType::Float32 | DataType::Float64)) => match functions::scalar("rint") {
            Some(rint) => rint.call(vec![*expr]),
            None => return Transformed::no(Expr::Cast(Cast { expr, field })),
        },
        (None, Ok(DataType::Decimal128(_, scale))) if scale > 0 => {
            Expr::Cast(Cast::new(expr, DataType::Decimal128(38, 0)))
        }
        _ => return Transformed::no(Expr::Cast(Cast { expr, field })),
    };
    Transformed::yes(Expr::Cast(Cast { expr: Box::new(inner), field }))
}

/// The value of a literal of floating point.
fn negated_literal(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Literal(ScalarValue::Float64(value), _) => *value,
        Expr::Negative(inner) => negated_literal(inner).map(|v| -v),
        _ => None,
    }
}
