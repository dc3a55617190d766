//! Integer arithmetic that fails where its result does not fit, as PostgreSQL's does; DataFusion's own goes round.
//!
//! ```text
//! a + b  --typed: both bigint-->  checked_add(a, b)     under the same column name
//! ```
//! An analyzer rule, for views and for SELECT alike: what is stored is a function by name, like any other.

use std::sync::{Arc, LazyLock};

use arrow::compute::kernels::numeric::{add, mul, neg, sub};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::scalar_doc_sections::DOC_SECTION_MATH;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Documentation, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;
use datafusion::scalar::ScalarValue;

use super::rules;
use crate::common::{Error, ErrorKind};

/// Puts a checked function in the place of each integer operation. Runs when types are resolved.
#[derive(Debug)]
pub struct CheckedArithmetic;

impl AnalyzerRule for CheckedArithmetic {
    fn name(&self) -> &str {
        "checked_arithmetic"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        rules::rewrite(plan, |e| operation(e).is_some(), checked)
    }
}

fn checked(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let integer = |e: &Expr| e.get_type(schema).ok().filter(DataType::is_integer);
    let Some(operation) = operation(&expr) else { return Transformed::no(expr) };
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (integer(&left), integer(&right)) {
            (Some(l), Some(r)) if l == r => Transformed::yes(function(operation).call(vec![*left, *right])),
            _ => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
        },
        Expr::Negative(inner) if integer(&inner).is_some() => Transformed::yes(function(operation).call(vec![*inner])),
        other => Transformed::no(other),
    }
}

fn operation(expr: &Expr) -> Option<Operation> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op: Operator::Plus, .. }) => Some(Operation::Add),
        Expr::BinaryExpr(BinaryExpr { op: Operator::Minus, .. }) => Some(Operation::Sub),
        Expr::BinaryExpr(BinaryExpr { op: Operator::Multiply, .. }) => Some(Operation::Mul),
        Expr::Negative(_) => Some(Operation::Neg),
        _ => None,
    }
}

/// The functions, for the registry.
pub(super) fn functions() -> impl Iterator<Item = Arc<ScalarUDF>> {
    FUNCTIONS.iter().cloned()
}

static FUNCTIONS: LazyLock<Vec<Arc<ScalarUDF>>> =
    LazyLock::new(|| OPERATIONS.iter().map(|o| Arc::new(ScalarUDF::from(Checked::new(*o)))).collect());

fn function(operation: Operation) -> &'static ScalarUDF {
    &FUNCTIONS[operation as usize]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    Add,
    Sub,
    Mul,
    Neg,
}

/// In the order of the enum.
const OPERATIONS: [Operation; 4] = [Operation::Add, Operation::Sub, Operation::Mul, Operation::Neg];

#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operation: Operation,
    signature: Signature,
}

impl Checked {
    fn new(operation: Operation) -> Self {
        Self { operation, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn operator(&self) -> &'static str {
        match self.operation {
            Operation::Add => "+",
            Operation::Sub | Operation::Neg => "-",
            Operation::Mul => "*",
        }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.operation {
            Operation::Add => "checked_add",
            Operation::Sub => "checked_sub",
            Operation::Mul => "checked_mul",
            Operation::Neg => "checked_neg",
        }
    }

    /// The operator's: columns keep their names.
    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        let operator = self.operator();
        Ok(match args {
            [one] => format!("(- {})", one.schema_name()),
            [left, right] => format!("{} {operator} {}", left.schema_name(), right.schema_name()),
            _ => self.name().to_string(),
        })
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn documentation(&self) -> Option<&Documentation> {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            let what = "An operator on integers that fails where its result is out of range.";
            Documentation::builder(DOC_SECTION_MATH, what, "checked_add(a, b)").build()
        });
        Some(&DOCUMENTATION)
    }

    fn coerce_types(&self, args: &[DataType]) -> DfResult<Vec<DataType>> {
        let wanted = if self.operation == Operation::Neg { 1 } else { 2 };
        match args {
            [first, rest @ ..] if args.len() == wanted && first.is_integer() && rest.iter().all(|t| t == first) => {
                Ok(args.to_vec())
            }
            _ => {
                let message = format!("{} takes {wanted} integers of one type", self.name());
                Err(Error::new(ErrorKind::UndefinedFunction, message)
                    .with_hint(format!("write the operator {}", self.operator()))
                    .into())
            }
        }
    }

    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        args.first().cloned().ok_or_else(|| Error::internal("arithmetic without arguments").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let nullable = args.arg_fields.iter().any(|f| f.is_nullable());
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let data_type = args.return_type().clone();
        let result = match (self.operation, args.args.as_slice()) {
            (Operation::Add, [l, r]) => apply(l, r, add),
            (Operation::Sub, [l, r]) => apply(l, r, sub),
            (Operation::Mul, [l, r]) => apply(l, r, mul),
            (Operation::Neg, [ColumnarValue::Array(array)]) => {
                neg(array).map(ColumnarValue::Array).map_err(DataFusionError::from)
            }
            (Operation::Neg, [ColumnarValue::Scalar(scalar)]) => scalar
                .to_array()
                .and_then(|array| Ok(neg(&array)?))
                .and_then(|array| ScalarValue::try_from_array(&array, 0).map(ColumnarValue::Scalar)),
            _ => Err(Error::internal(format!("{} of {} arguments", self.name(), args.args.len())).into()),
        };
        result.map_err(|e| match e {
            DataFusionError::ArrowError(e, _) if matches!(*e, ArrowError::ArithmeticOverflow(_)) => {
                out_of_range(&data_type).into()
            }
            other => other,
        })
    }
}

fn out_of_range(data_type: &DataType) -> Error {
    let name = match data_type {
        DataType::Int8 | DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        _ => "value",
    };
    Error::new(ErrorKind::NumericValueOutOfRange, format!("{name} out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::eval::tests::{eval_one, physical};
    use crate::expr::proto;
    use crate::types::pretty;

    #[test]
    fn what_does_not_fit_is_an_error() {
        for (sql, expected) in [
            ("checked_add(1, 2)", "3"),
            ("checked_add(9223372036854775807, -1)", "9223372036854775806"),
            ("checked_add(9223372036854775807, 1)", "bigint out of range"),
            ("checked_sub(-9223372036854775808, 1)", "bigint out of range"),
            ("checked_mul(CAST(65536 AS INT), CAST(65536 AS INT))", "integer out of range"),
            ("checked_mul(CAST(300 AS SMALLINT), CAST(300 AS SMALLINT))", "smallint out of range"),
            ("checked_neg(CAST(-32768 AS SMALLINT))", "smallint out of range"),
            ("checked_neg(5)", "-5"),
            ("checked_add(1, CAST(NULL AS BIGINT))", "."),
            ("checked_add(1, 1.5)", "write the operator +"),
        ] {
            let given = eval_one(sql).unwrap_or_else(|e| e.to_string());
            assert!(given == expected || (given.contains(expected) && expected.contains(' ')), "{sql}: {given}");
        }
    }

    #[test]
    fn a_stored_operation_still_checks() {
        let chunk = pretty::chunk("a:bigint\n+ 9223372036854775807").unwrap();
        let stored = proto::encode(&physical("checked_add(a, a)", &chunk.schema())).unwrap();
        let back = proto::decode(&stored, &chunk.schema()).unwrap();
        let error = Error::from(back.evaluate(chunk.batch()).unwrap_err());
        assert_eq!((error.kind(), error.message()), (ErrorKind::NumericValueOutOfRange, "bigint out of range"));
    }
}
