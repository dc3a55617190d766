//! Text as UUID: what a cast to UUID stands for, and random ones.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result as DfResult;
use datafusion::functions::string::uuid;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::function::{Function, Returns, arg};
use crate::common::{Error, ErrorKind, Result};
use crate::types::pg_type::PgType;
use crate::types::uuid::canonical;

/// The functions, for the registry.
pub(super) fn functions() -> [Arc<ScalarUDF>; 2] {
    let read = Function::one_of("uuid_in", &[&[DataType::Utf8]], Returns::Marked(PgType::Uuid), read);
    [read.udf(), Arc::new(ScalarUDF::from(GenRandomUuid { signature: Signature::nullary(Volatility::Volatile) }))]
}

/// DataFusion's `uuid()`, each row's its own (version 4), as the type UUID.
#[derive(Debug, PartialEq, Eq, Hash)]
struct GenRandomUuid {
    signature: Signature,
}

impl ScalarUDFImpl for GenRandomUuid {
    fn name(&self) -> &str {
        "gen_random_uuid"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> DfResult<FieldRef> {
        Ok(Arc::new(PgType::Uuid.mark(Field::new(self.name(), DataType::Utf8, false))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        uuid().invoke_with_args(args)
    }
}

/// Texts in the one form of UUIDs.
///
/// # Errors
/// `InvalidTextRepresentation` for a text that is none.
pub fn read(args: &[ArrayRef]) -> Result<ArrayRef> {
    let texts = arg(args, 0)?.as_string_opt::<i32>().ok_or_else(|| Error::internal("a UUID of other than text"))?;
    let read = |text: &str| {
        canonical(text).ok_or_else(|| {
            let message = format!("invalid input syntax for type uuid: \"{text}\"");
            Error::new(ErrorKind::InvalidTextRepresentation, message)
        })
    };
    let values = texts.iter().map(|text| text.map(read).transpose()).collect::<Result<StringArray>>()?;
    Ok(Arc::new(values))
}
