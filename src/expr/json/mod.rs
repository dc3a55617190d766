//! PostgreSQL's functions and operators on JSON, over texts that are marked as JSON (see `types::pg_type`).
//!
//! ```text
//! j -> 'a'   planner.rs: the operators, as functions     access.rs: parts of a value
//! to_jsonb(x)   build.rs: values of other types           change.rs: other values of one
//! ```

mod access;
mod build;
mod change;
pub mod planner;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, ListBuilder, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::ScalarUDF;

use super::function::{any_null, arg, list_of};
use crate::common::{Error, ErrorKind, Result};
use crate::types::json::{Value, parse};
use crate::types::pg_type::PgType;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    [access::functions(), change::functions(), build::functions()].concat()
}

/// Texts as values of `field`: checked, and for `jsonb` in its one form.
///
/// # Errors
/// `InvalidTextRepresentation` for a text that is not JSON.
pub fn read(column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let args = std::slice::from_ref(column);
    let texts = texts(args, 0)?;
    each_row(args, |row| {
        let value = value(texts, row)?;
        Ok(Some(match PgType::of(field) {
            Some(PgType::Jsonb) => value.to_string(),
            _ => texts.value(row).to_string(),
        }))
    })
}

/// Argument `index`, a column of texts.
fn texts(args: &[ArrayRef], index: usize) -> Result<&StringArray> {
    arg(args, index)?.as_string_opt::<i32>().ok_or_else(|| Error::internal("a JSON function on other than text"))
}

/// Argument `index`, a column of lists of texts.
fn text_lists(args: &[ArrayRef], index: usize) -> Result<&ListArray> {
    arg(args, index)?.as_list_opt::<i32>().ok_or_else(|| Error::internal("a JSON function on other than a list"))
}

/// The elements of a list of texts; `None` for a null one.
fn elements(list: &ListArray, row: usize) -> Vec<Option<String>> {
    let values = list.value(row);
    match values.as_string_opt::<i32>() {
        Some(values) => values.iter().map(|v| v.map(str::to_string)).collect(),
        None => vec![None; values.len()],
    }
}

/// A path; `None` when a step is null.
fn path(list: &ListArray, row: usize) -> Option<Vec<String>> {
    elements(list, row).into_iter().collect()
}

/// A text for each row in which nothing is null.
fn each_row(args: &[ArrayRef], answer: impl Fn(usize) -> Result<Option<String>>) -> Result<ArrayRef> {
    let rows = arg(args, 0)?.len();
    let mut out = StringBuilder::new();
    for row in 0..rows {
        match any_null(args, row) {
            true => out.append_null(),
            false => out.append_option(answer(row)?),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// A list of texts for each row in which nothing is null.
fn each_list(args: &[ArrayRef], answer: impl Fn(usize) -> Result<Vec<Option<String>>>) -> Result<ArrayRef> {
    let rows = arg(args, 0)?.len();
    let mut out = ListBuilder::new(StringBuilder::new());
    for row in 0..rows {
        if any_null(args, row) {
            out.append(false);
            continue;
        }
        for text in answer(row)? {
            out.values().append_option(text);
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

fn value(texts: &StringArray, row: usize) -> Result<Value> {
    parse(texts.value(row))
}

/// The types of a call in which argument 1 is a path; a text there is one, too.
fn with_path(types: &[DataType]) -> Result<Vec<DataType>> {
    let coerced = types.iter().enumerate().map(|(i, t)| match (i, t) {
        (1, _) => Ok(text_list()),
        (3, DataType::Boolean) => Ok(DataType::Boolean),
        (0 | 2, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null) => Ok(DataType::Utf8),
        _ => Err(Error::new(ErrorKind::UndefinedFunction, format!("no JSON function takes {t} as argument {}", i + 1))
            .with_hint("the arguments are JSON, a path such as '{a,b}', and a new value: cast them")),
    });
    coerced.collect()
}

fn text_list() -> DataType {
    list_of(DataType::Utf8)
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, message)
}

#[cfg(test)]
mod tests;
