//! PostgreSQL functions that clients call on the catalogs and that have one answer here.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

/// Every function with its answer, whatever its arguments.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    let text = |s: &str| ScalarValue::Utf8(Some(s.into()));
    let none = ScalarValue::Utf8(None);
    let yes = ScalarValue::Boolean(Some(true));
    let answers = [
        ("pg_function_is_visible", yes.clone()),
        ("pg_type_is_visible", yes.clone()),
        ("pg_get_function_result", text("")),
        ("pg_get_function_arguments", text("")),
        ("pg_get_function_identity_arguments", text("")),
        ("pg_get_indexdef", text("")),
        ("pg_get_viewdef", text("")),
        ("pg_get_ruledef", text("")),
        ("pg_get_triggerdef", text("")),
        ("obj_description", none.clone()),
        ("col_description", none.clone()),
        ("shobj_description", none),
        ("pg_is_in_recovery", ScalarValue::Boolean(Some(false))),
        ("has_function_privilege", yes.clone()),
        ("has_column_privilege", yes),
        ("version", text(&format!("PostgreSQL 15.0 (Weir {})", env!("CARGO_PKG_VERSION")))),
    ];
    let signature = Signature::one_of(
        vec![datafusion::logical_expr::TypeSignature::VariadicAny, datafusion::logical_expr::TypeSignature::Nullary],
        Volatility::Stable,
    );
    answers
        .into_iter()
        .map(|(name, answer)| Arc::new(ScalarUDF::from(Constant { name, answer, signature: signature.clone() })))
        .collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Constant {
    name: &'static str,
    answer: ScalarValue,
    signature: Signature,
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.answer.data_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.answer.clone()))
    }
}
