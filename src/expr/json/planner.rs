//! The operators on JSON, as functions: `->` and its kin, and those that mean something else on other types.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::text_list;
use crate::common::Error;
use crate::expr::functions;
use crate::types::pg_type::PgType;

#[derive(Debug)]
pub struct JsonOperators;

impl ExprPlanner for JsonOperators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> DfResult<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = &expr;
        let (l, r) = (Operand::of(left, schema), Operand::of(right, schema));
        let either = l == Operand::Json || r == Operand::Json;
        let lists = l == Operand::List || r == Operand::List;
        let (name, swapped) = match op {
            BinaryOperator::Arrow => ("json_get", false),
            BinaryOperator::LongArrow => ("json_get_text", false),
            BinaryOperator::HashArrow => ("json_get_path", false),
            BinaryOperator::HashLongArrow => ("json_get_path_text", false),
            BinaryOperator::HashMinus => ("jsonb_delete_path", false),
            BinaryOperator::Question => ("jsonb_exists", false),
            BinaryOperator::QuestionPipe => ("jsonb_exists_any", false),
            BinaryOperator::QuestionAnd => ("jsonb_exists_all", false),
            BinaryOperator::AtArrow if !lists => ("jsonb_contains", false),
            BinaryOperator::ArrowAt if !lists => ("jsonb_contains", true),
            BinaryOperator::StringConcat if either && !lists => ("jsonb_concat", false),
            BinaryOperator::Minus if l == Operand::Json => ("jsonb_delete", false),
            // A literal beside JSON is JSON.
            BinaryOperator::Eq | BinaryOperator::NotEq
                if either && (l == Operand::Literal || r == Operand::Literal) =>
            {
                let left = if l == Operand::Literal { input(left.clone())? } else { left.clone() };
                let right = if r == Operand::Literal { input(right.clone())? } else { right.clone() };
                let planned = if *op == BinaryOperator::Eq { left.eq(right) } else { left.not_eq(right) };
                return Ok(PlannerResult::Planned(planned));
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let both_json = matches!(name, "jsonb_contains" | "jsonb_concat");
        let path = matches!(
            name,
            "json_get_path" | "json_get_path_text" | "jsonb_delete_path" | "jsonb_exists_any" | "jsonb_exists_all"
        );
        let json = |operand: Operand, expr: &Expr| match operand {
            Operand::Literal if both_json => input(expr.clone()),
            _ => Ok(expr.clone()),
        };
        let (left, right) = (json(l, left)?, json(r, right)?);
        let right = if path { cast(right, text_list()) } else { right };
        let args = if swapped { vec![right, left] } else { vec![left, right] };
        Ok(PlannerResult::Planned(call(name, args)?))
    }
}

fn input(expr: Expr) -> DfResult<Expr> {
    call("jsonb_in", vec![expr])
}

fn call(name: &str, args: Vec<Expr>) -> DfResult<Expr> {
    let function = functions::scalar(name).ok_or_else(|| Error::internal(format!("there is no function {name}")))?;
    Ok(function.call(args))
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Operand {
    Json,
    List,
    /// A text that may become whatever is wanted.
    Literal,
    Other,
}

impl Operand {
    fn of(expr: &Expr, schema: &DFSchema) -> Self {
        if let Expr::Literal(value, _) = expr
            && value.data_type() == DataType::Utf8
        {
            return Self::Literal;
        }
        match expr.to_field(schema) {
            Ok((_, field)) if matches!(field.data_type(), DataType::List(_) | DataType::LargeList(_)) => Self::List,
            Ok((_, field)) if PgType::of(&field).is_some_and(PgType::is_json) => Self::Json,
            _ => Self::Other,
        }
    }
}
