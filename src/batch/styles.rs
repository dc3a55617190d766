//! The session's text forms. Casts between text and other types are function calls by the time this rule sees them; in a
//! session that has changed `DateStyle` or its kin the styles become their last argument.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use datafusion::optimizer::AnalyzerRule;

use crate::expr::{rules, text_input, text_output};
use crate::types::styles::Styles;

/// Runs behind the rules that put the functions there.
#[derive(Debug)]
pub struct SessionStyles(pub Styles);

impl AnalyzerRule for SessionStyles {
    fn name(&self) -> &str {
        "session_styles"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        rules::rewrite(plan, |e| arguments(e).is_some(), |e, _: &DFSchema| self.styled(e))
    }
}

impl SessionStyles {
    fn styled(&self, expr: Expr) -> Transformed<Expr> {
        match (arguments(&expr), expr) {
            (Some(plain), Expr::ScalarFunction(mut call)) if call.args.len() == plain => {
                call.args.push(lit(self.0.to_string()));
                Transformed::yes(Expr::ScalarFunction(call))
            }
            (_, other) => Transformed::no(other),
        }
    }
}

/// How many arguments a call has without styles; `None` for one that takes none.
fn arguments(expr: &Expr) -> Option<usize> {
    let Expr::ScalarFunction(call) = expr else { return None };
    match call.name() {
        text_output::NAME => Some(1),
        name => text_input::arguments(name),
    }
}
