//! Functions that PostgreSQL has and DataFusion lacks, or does otherwise. Each answers as PostgreSQL 15 does.
//!
//! | file | functions |
//! |---|---|
//! | `dates` | `to_char`, `to_date`, `to_timestamp`, `age`, `date_trunc`, `extract`, `make_*`, `justify_*`, `timezone` |
//! | `math` | `div`, `mod`, `sign`, `width_bucket`, functions of degrees, … |
//! | `text` | `format`, `quote_*`, `regexp_*`, `encode` of bytes, … |
//! | `timetz` | casts and arithmetic of `TIMETZ` |
//! | `operators` | operators that are functions here |
//!
//! Times without a zone are read as UTC where PostgreSQL takes the session's zone: a view has no session.

mod dates;
mod extract;
mod math;
mod number_format;
pub mod operators;
mod pattern;
mod regexp;
pub mod rounding;
mod sketch;
mod text;
pub mod text_input;
pub mod text_output;
mod to_char;
mod to_timestamp;
pub mod timetz;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, StringArray, StringBuilder};
use arrow::datatypes::{ArrowPrimitiveType, DataType};
use datafusion::logical_expr::ScalarUDF;

use super::function::{any_null, arg};
use crate::common::{Error, ErrorKind, Result};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    [
        dates::functions(),
        extract::functions(),
        math::functions(),
        text::functions(),
        regexp::functions(),
        text_input::functions(),
        text_output::functions().to_vec(),
        timetz::functions(),
        sketch::functions().to_vec(),
    ]
    .concat()
}

/// Argument `index`, a column of texts.
fn texts(args: &[ArrayRef], index: usize) -> Result<&StringArray> {
    arg(args, index)?.as_string_opt::<i32>().ok_or_else(|| Error::internal("a text function on other than text"))
}

/// Argument `index`, a column of plain values.
fn values<T: ArrowPrimitiveType>(args: &[ArrayRef], index: usize) -> Result<&PrimitiveArray<T>> {
    let column = arg(args, index)?;
    column
        .as_primitive_opt::<T>()
        .ok_or_else(|| Error::internal(format!("a function on {} instead of {}", column.data_type(), T::DATA_TYPE)))
}

/// A text for each row in which nothing is null.
fn each_text(args: &[ArrayRef], answer: impl Fn(usize) -> Result<Option<String>>) -> Result<ArrayRef> {
    let mut out = StringBuilder::new();
    for row in 0..arg(args, 0)?.len() {
        match any_null(args, row) {
            true => out.append_null(),
            false => out.append_option(answer(row)?),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// A value for each row in which nothing is null.
fn each<T: ArrowPrimitiveType>(
    args: &[ArrayRef],
    answer: impl Fn(usize) -> Result<T::Native>,
) -> Result<PrimitiveArray<T>> {
    let rows = 0..arg(args, 0)?.len();
    rows.map(|row| if any_null(args, row) { Ok(None) } else { answer(row).map(Some) }).collect()
}

fn wrong_arguments(name: &str, types: &[DataType]) -> Error {
    let types: Vec<String> = types.iter().map(ToString::to_string).collect();
    Error::new(ErrorKind::UndefinedFunction, format!("function {name}({}) does not exist", types.join(", ")))
        .with_hint("cast the arguments to the types that the function takes")
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, message)
}

fn out_of_range(what: &str) -> Error {
    Error::new(ErrorKind::DatetimeOverflow, format!("{what} out of range"))
}
