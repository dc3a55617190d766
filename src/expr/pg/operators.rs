//! Operators and special forms that PostgreSQL reads otherwise than DataFusion.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, cast, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::extract::function_of;
use crate::common::Error;
use crate::expr::{functions, marked_list};
use crate::types::time;
use crate::types::timetz::timetz;

#[derive(Debug)]
pub struct PgOperators;

impl ExprPlanner for PgOperators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> DfResult<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = &expr;
        let kinds = (kind(left, schema), kind(right, schema));
        let planned = match (op, kinds) {
            (BinaryOperator::Multiply, (Kind::Interval, Kind::Number)) => {
                call("interval_mul", vec![left.clone(), right.clone()])?
            }
            (BinaryOperator::Multiply, (Kind::Number, Kind::Interval)) => {
                call("interval_mul", vec![right.clone(), left.clone()])?
            }
            (BinaryOperator::Divide, (Kind::Interval, Kind::Number)) => {
                call("interval_div", vec![left.clone(), right.clone()])?
            }
            (BinaryOperator::Plus, (Kind::TimeTz, Kind::Interval)) => {
                call("timetz_plus", vec![left.clone(), right.clone()])?
            }
            (BinaryOperator::Plus, (Kind::Interval, Kind::TimeTz)) => {
                call("timetz_plus", vec![right.clone(), left.clone()])?
            }
            (BinaryOperator::Minus, (Kind::TimeTz, Kind::Interval)) => {
                let back = call("interval_mul", vec![right.clone(), lit(-1.0)])?;
                call("timetz_plus", vec![left.clone(), back])?
            }
            (_, (Kind::TimeTz, Kind::Text)) => {
                let right = cast(right.clone(), timetz());
                return Ok(PlannerResult::Original(RawBinaryExpr { right, ..expr }));
            }
            (_, (Kind::Text, Kind::TimeTz)) => {
                let left = cast(left.clone(), timetz());
                return Ok(PlannerResult::Original(RawBinaryExpr { left, ..expr }));
            }
            // A date and an interval give a timestamp.
            (BinaryOperator::Plus, (Kind::Date, Kind::Interval)) => {
                cast(left.clone(), time::timestamp()) + right.clone()
            }
            (BinaryOperator::Plus, (Kind::Interval, Kind::Date)) => {
                cast(right.clone(), time::timestamp()) + left.clone()
            }
            (BinaryOperator::Minus, (Kind::Date, Kind::Interval)) => {
                cast(left.clone(), time::timestamp()) - right.clone()
            }
            (BinaryOperator::PGOverlap, (Kind::List, Kind::List)) => {
                call("array_has_any", vec![left.clone(), right.clone()])?
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(PlannerResult::Planned(planned))
    }

    fn plan_array_literal(&self, exprs: Vec<Expr>, schema: &DFSchema) -> DfResult<PlannerResult<Vec<Expr>>> {
        let exprs = match marked_list::literal(exprs, schema) {
            Ok(list) => return Ok(PlannerResult::Planned(list)),
            Err(exprs) => exprs,
        };
        // DataFusion finds no common type of these and what an untyped literal has.
        let type_of = |e: &Expr| e.get_type(schema).ok();
        let items = [DataType::Binary, timetz()];
        let Some(item) = items.into_iter().find(|item| exprs.iter().any(|e| type_of(e).as_ref() == Some(item))) else {
            return Ok(PlannerResult::Original(exprs));
        };
        let untyped = |e: &Expr| match type_of(e) {
            Some(DataType::Null) => true,
            Some(text) => text.is_string() && item == timetz(),
            None => false,
        };
        let typed = |e: Expr| if untyped(&e) { cast(e, item.clone()) } else { e };
        Ok(PlannerResult::Planned(call("make_array", exprs.into_iter().map(typed).collect())?))
    }

    fn plan_extract(&self, args: Vec<Expr>) -> DfResult<PlannerResult<Vec<Expr>>> {
        let field = args.first().and_then(|f| f.as_literal()?.try_as_str().flatten().map(str::to_string));
        match field {
            Some(field) => Ok(PlannerResult::Planned(call(function_of(&field), args)?)),
            None => Ok(PlannerResult::Original(args)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Interval,
    Number,
    Date,
    TimeTz,
    Text,
    List,
    Other,
}

fn kind(expr: &Expr, schema: &DFSchema) -> Kind {
    match expr.get_type(schema) {
        Ok(DataType::Interval(_)) => Kind::Interval,
        Ok(DataType::Date32) => Kind::Date,
        Ok(DataType::List(_) | DataType::LargeList(_)) => Kind::List,
        Ok(t) if t.is_numeric() => Kind::Number,
        Ok(t) if t.is_string() => Kind::Text,
        Ok(t) if t == timetz() => Kind::TimeTz,
        _ => Kind::Other,
    }
}

fn call(name: &str, args: Vec<Expr>) -> DfResult<Expr> {
    let function = functions::scalar(name).ok_or_else(|| Error::internal(format!("there is no function {name}")))?;
    Ok(function.call(args))
}
