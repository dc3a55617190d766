//! CREATE FUNCTION to what the catalog keeps: calls in the body replaced, the body's names and types checked.

use datafusion::logical_expr::LogicalPlan;

use super::{inline_functions, named};
use crate::catalog::Snapshot;
use crate::common::{Error, ErrorKind, Result};
use crate::expr::functions;
use crate::sql::{self, parse_expr, parse_query};
use crate::types::sql_function::SqlFunction;

/// # Errors
/// `DuplicateObject` for the name of a built-in function, what the body has wrong, and `NotSupported` for one that is
/// not computed from its row alone.
pub fn define_function(snapshot: &Snapshot, function: &SqlFunction) -> Result<SqlFunction> {
    let name = function.name.as_str();
    let built_in = functions::scalar(name).is_some()
        || functions::aggregate(name).is_some()
        || functions::window(name).is_some()
        || functions::higher_order(name).is_some();
    if built_in {
        return Err(Error::new(ErrorKind::DuplicateObject, format!("there is a built-in function \"{name}\" already"))
            .with_hint("choose another name"));
    }
    let mut body = parse_expr(&function.body)?;
    inline_functions(&mut body, snapshot)?;
    let function = SqlFunction { body: body.to_string(), ..function.clone() };
    let nulls = function.parameters.iter().map(|_| parse_expr("NULL")).collect::<Result<Vec<_>>>()?;
    let call = sql::function::call(&function, nulls)?;
    let query = parse_query(&format!("SELECT {call} AS result"))?;
    let planned = named(snapshot, &query, &[]).map_err(|e| e.context(format!("function {function}")))?;
    match computes(&planned.plan) {
        true => Ok(function),
        false => Err(Error::not_supported("the body of a function may not aggregate, number or return rows")
            .with_hint("call such functions where the rows are")),
    }
}

fn computes(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(p) => computes(&p.input),
        LogicalPlan::EmptyRelation(_) => true,
        _ => false,
    }
}
