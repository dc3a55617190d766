//! Which expressions carry a watermark on: those that only rise with the one time column that they are made of.

use datafusion::common::DFSchema;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

/// The column of `schema` whose watermark, put through `expr`, is a watermark of the result. The caller checks types.
pub(super) fn carried(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    match expr {
        Expr::Column(column) => schema.index_of_column(column).ok(),
        Expr::Alias(alias) => carried(&alias.expr, schema),
        Expr::Cast(cast) => carried(&cast.expr, schema).filter(|i| {
            // From one timestamp to another: a finer unit keeps the order, a coarser one rounds it down.
            matches!(schema.field(*i).data_type(), arrow::datatypes::DataType::Timestamp(_, _))
        }),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => {
            let shifted = |ts: &Expr, by: &Expr| is_literal(by).then(|| carried(ts, schema)).flatten();
            shifted(left, right).or_else(|| shifted(right, left))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) if is_literal(right) => carried(left, schema),
        Expr::ScalarFunction(f) => {
            let time = match f.func.name() {
                "tumble_start" => 0,
                "date_trunc" | "date_bin" => 1,
                _ => return None,
            };
            let constant = f.args.iter().enumerate().all(|(i, arg)| i == time || is_literal(arg));
            f.args.get(time).filter(|_| constant).and_then(|ts| carried(ts, schema))
        }
        _ => None,
    }
}

fn is_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) => true,
        Expr::Cast(cast) => is_literal(&cast.expr),
        Expr::Alias(alias) => is_literal(&alias.expr),
        _ => false,
    }
}
