//! `pg_typeof`: the name of an expression's type, which is known from the plan.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::types::{PgType, TypeNames};
use crate::types::pg_type;

pub fn function(types: Arc<TypeNames>) -> ScalarUDF {
    let signature = Signature::new(TypeSignature::Any(1), Volatility::Stable);
    ScalarUDF::from(TypeOf { signature, types })
}

struct TypeOf {
    signature: Signature,
    types: Arc<TypeNames>,
}

impl fmt::Debug for TypeOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for TypeOf {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for TypeOf {}

impl Hash for TypeOf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl ScalarUDFImpl for TypeOf {
    fn name(&self) -> &str {
        "pg_typeof"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let name = args.arg_fields.first().map(|field| match field.data_type() {
            DataType::Null => "unknown".into(),
            data_type => self.types.format(PgType::marked(data_type, pg_type::PgType::of(field)).oid, -1),
        });
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(name)))
    }
}
