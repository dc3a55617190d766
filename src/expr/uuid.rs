//! Text as UUID: what a cast to UUID stands for.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;

use super::function::{Function, Returns, arg};
use crate::common::{Error, ErrorKind, Result};
use crate::types::pg_type::PgType;
use crate::types::uuid::canonical;

/// The function, for the registry.
pub(super) fn function() -> Arc<ScalarUDF> {
    Function::one_of("uuid_in", &[&[DataType::Utf8]], Returns::Marked(PgType::Uuid), read).udf()
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
