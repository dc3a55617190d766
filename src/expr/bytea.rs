//! Text as BYTEA, in PostgreSQL's two forms: `\x00ff` in hexadecimal digits, or letters with `\\` and `\377` among them.
//!
//! DataFusion would take the letters as they stand. A rule puts the function in the place of such casts, those that it
//! makes itself (`bytes = '\x00ff'`) too, for views and for SELECT alike.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;

use super::{functions, rules};
use crate::common::{Error, ErrorKind, Result};

const NAME: &str = "byteain";

/// Runs when types are resolved.
#[derive(Debug)]
pub struct ByteaInput;

impl AnalyzerRule for ByteaInput {
    fn name(&self) -> &str {
        "bytea_input"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        rules::rewrite(plan, |e| matches!(e, Expr::Cast(cast) if is_bytes(cast.field.data_type())), read_cast)
    }
}

fn read_cast(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::Cast(Cast { expr, field }) = expr else { return Transformed::no(expr) };
    let reads = is_bytes(field.data_type()) && expr.get_type(schema).is_ok_and(|t| is_text(&t));
    match functions::scalar(NAME).filter(|_| reads) {
        Some(read) => {
            let read = Box::new(read.call(vec![*expr]));
            Transformed::yes(if *field.data_type() == DataType::Binary {
                *read
            } else {
                Expr::Cast(Cast { expr: read, field })
            })
        }
        None => Transformed::no(Expr::Cast(Cast { expr, field })),
    }
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// The function, for the registry.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::from(ByteaIn { signature: Signature::string(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ByteaIn {
    signature: Signature,
}

impl ScalarUDFImpl for ByteaIn {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        match args.args.first() {
            Some(ColumnarValue::Array(array)) => Ok(ColumnarValue::Array(read(array)?)),
            Some(ColumnarValue::Scalar(scalar)) => {
                let bytes = read(&scalar.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&bytes, 0)?))
            }
            None => Err(Error::internal("byteain without an argument").into()),
        }
    }
}

/// The bytes that each text stands for.
///
/// # Errors
/// As [`parse`].
pub fn read(texts: &ArrayRef) -> Result<ArrayRef> {
    let texts = cast(texts, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    let mut bytes = BinaryBuilder::with_capacity(texts.len(), texts.value_data().len());
    for text in texts {
        match text {
            None => bytes.append_null(),
            Some(text) => bytes.append_value(parse(text)?),
        }
    }
    Ok(Arc::new(bytes.finish()))
}

/// The bytes that a text stands for.
///
/// # Errors
/// `InvalidParameterValue` for digits that are none, `InvalidTextRepresentation` for a wrong escape.
pub fn parse(text: &str) -> Result<Vec<u8>> {
    let (kind, bytes) = match text.strip_prefix("\\x") {
        Some(digits) => (ErrorKind::InvalidParameterValue, hex(digits)),
        None => (ErrorKind::InvalidTextRepresentation, escaped(text.as_bytes())),
    };
    bytes.ok_or_else(|| {
        Error::new(kind, format!("invalid input syntax for type bytea: \"{text}\""))
            .with_hint("write '\\x' and an even number of hexadecimal digits")
    })
}

/// Pairs of digits; white space may stand between them.
fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: char| c.to_digit(16).map(|d| d as u8);
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut chars = text.chars();
    while let Some(high) = chars.find(|c| !matches!(c, ' ' | '\n' | '\t' | '\r')) {
        bytes.push(digit(high)? << 4 | digit(chars.next()?)?);
    }
    Some(bytes)
}

/// `\\` is a backslash, `\` and three octal digits are a byte.
fn escaped(mut text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    loop {
        text = match text {
            [] => return Some(bytes),
            [b'\\', b'\\', rest @ ..] => {
                bytes.push(b'\\');
                rest
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest
            }
            [b'\\', ..] => return None,
            [byte, rest @ ..] => {
                bytes.push(*byte);
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        for (text, expected) in [
            ("\\x00ff", Some(&[0, 255][..])),
            ("\\xDE AD", Some(&[0xde, 0xad])),
            ("\\x", Some(&[])),
            ("", Some(&[])),
            ("ab", Some(b"ab")),
            ("größe", Some("größe".as_bytes())),
            ("a\\\\b", Some(b"a\\b")),
            ("\\000\\377", Some(&[0, 255])),
            ("\\x0", None),
            ("\\xd e", None),
            ("\\xzz", None),
            ("\\8", None),
            ("\\", None),
            ("\\400", None),
        ] {
            assert_eq!(parse(text).ok().as_deref(), expected, "{text}");
        }
    }
}
