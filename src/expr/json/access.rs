//! Parts of a JSON value: members, elements, what a path leads to, and what a value is.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::logical_expr::{ScalarUDF, Signature, TypeSignature, Volatility};

use super::{each_list, each_row, elements, path, text_list, text_lists, texts, value, wrong};
use crate::common::Result;
use crate::expr::function::{Function, Returns, any_null, arg};
use crate::types::json::{Object, Value};
use crate::types::pg_type::PgType;

const TEXT: DataType = DataType::Utf8;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use PgType::{Json, Jsonb};
    let one = |name, returns, eval| Function::one_of(name, &[&[TEXT]], returns, eval).udf();
    let path = text_list();
    let by_path: &[&[DataType]] = &[&[TEXT, path.clone()]];
    let keys: &[&[DataType]] = &[&[TEXT, TEXT], &[TEXT, DataType::Int64]];
    let steps = |name, returns, eval| {
        // A path in arguments of its own.
        let forms = TypeSignature::Variadic(vec![TEXT]);
        Function::new(name, Signature::new(forms, Volatility::Immutable), returns, eval).udf()
    };
    let mut all = vec![
        one("jsonb_in", Returns::Marked(Jsonb), |args| {
            let texts = texts(args, 0)?;
            each_row(args, |row| Ok(Some(value(texts, row)?.to_string())))
        }),
        one("json_in", Returns::Marked(Json), |args| {
            let texts = texts(args, 0)?;
            each_row(args, |row| value(texts, row).map(|_| Some(texts.value(row).to_string())))
        }),
        one("as_jsonb", Returns::Marked(Jsonb), |args| Ok(Arc::clone(arg(args, 0)?))),
        one("as_json", Returns::Marked(Json), |args| Ok(Arc::clone(arg(args, 0)?))),
        Function::one_of("json_get", keys, Returns::Marked(Jsonb), |args| get(args, |v| Some(v.to_string()))).udf(),
        Function::one_of("json_get_text", keys, Returns::Type(TEXT), |args| get(args, Value::into_text)).udf(),
        Function::one_of("json_get_path", by_path, Returns::Marked(Jsonb), |args| {
            at_path(args, |v| Some(v.to_string()))
        })
        .udf(),
        Function::one_of("json_get_path_text", by_path, Returns::Type(TEXT), |args| at_path(args, Value::into_text))
            .udf(),
        Function::exact("jsonb_contains", &[TEXT, TEXT], DataType::Boolean, |args| {
            let (whole, part) = (texts(args, 0)?, texts(args, 1)?);
            tested(args, |row| Ok(value(whole, row)?.contains(&value(part, row)?)))
        })
        .udf(),
        Function::exact("jsonb_exists", &[TEXT, TEXT], DataType::Boolean, |args| {
            let (json, key) = (texts(args, 0)?, texts(args, 1)?);
            tested(args, |row| Ok(has(&value(json, row)?, key.value(row))))
        })
        .udf(),
        Function::exact("jsonb_exists_any", &[TEXT, path.clone()], DataType::Boolean, |args| {
            let (json, keys) = (texts(args, 0)?, text_lists(args, 1)?);
            tested(args, |row| {
                let json = value(json, row)?;
                Ok(elements(keys, row).iter().flatten().any(|key| has(&json, key)))
            })
        })
        .udf(),
        Function::exact("jsonb_exists_all", &[TEXT, path.clone()], DataType::Boolean, |args| {
            let (json, keys) = (texts(args, 0)?, text_lists(args, 1)?);
            tested(args, |row| {
                let json = value(json, row)?;
                Ok(elements(keys, row).iter().flatten().all(|key| has(&json, key)))
            })
        })
        .udf(),
    ];
    for (kind, mark) in [("json", Json), ("jsonb", Jsonb)] {
        // The names live as long as the registry, which is never dropped.
        let name = |rest: &str| -> &'static str { Box::leak(format!("{kind}_{rest}").into_boxed_str()) };
        all.extend([
            one(name("typeof"), Returns::Type(TEXT), |args| {
                let json = texts(args, 0)?;
                each_row(args, |row| Ok(Some(value(json, row)?.kind().to_string())))
            }),
            one(name("array_length"), Returns::Type(DataType::Int32), array_length),
            one(name("array_elements"), Returns::List(TEXT), |args| items(args, |v| Some(v.to_string()))),
            one(name("array_elements_text"), Returns::List(TEXT), |args| items(args, Value::into_text)),
            one(name("object_keys"), Returns::List(TEXT), |args| members(args, |(key, _)| Some(key))),
            one(name("each_key"), Returns::List(TEXT), |args| members(args, |(key, _)| Some(key))),
            one(name("each_value"), Returns::List(TEXT), |args| members(args, |(_, v)| Some(v.to_string()))),
            one(name("each_text_key"), Returns::List(TEXT), |args| members(args, |(key, _)| Some(key))),
            one(name("each_text_value"), Returns::List(TEXT), |args| members(args, |(_, v)| v.into_text())),
            steps(name("extract_path"), Returns::Marked(mark), |args| by_steps(args, |v| Some(v.to_string()))),
            steps(name("extract_path_text"), Returns::Type(TEXT), |args| by_steps(args, Value::into_text)),
        ]);
    }
    all
}

type Shown = fn(Value) -> Option<String>;

/// The member of a key, or the element of a number.
fn get(args: &[ArrayRef], shown: Shown) -> Result<ArrayRef> {
    let json = texts(args, 0)?;
    let key = arg(args, 1)?;
    match key.as_string_opt::<i32>() {
        Some(keys) => each_row(args, |row| Ok(value(json, row)?.member(keys.value(row)).cloned().and_then(shown))),
        None => {
            let numbers = key.as_primitive::<Int64Type>();
            each_row(args, |row| Ok(value(json, row)?.element(numbers.value(row)).cloned().and_then(shown)))
        }
    }
}

fn at_path(args: &[ArrayRef], shown: Shown) -> Result<ArrayRef> {
    let (json, paths) = (texts(args, 0)?, text_lists(args, 1)?);
    each_row(args, |row| {
        let Some(path) = path(paths, row) else { return Ok(None) };
        Ok(value(json, row)?.at(path.iter().map(String::as_str)).cloned().and_then(shown))
    })
}

fn by_steps(args: &[ArrayRef], shown: Shown) -> Result<ArrayRef> {
    let json = texts(args, 0)?;
    let steps = (1..args.len()).map(|i| texts(args, i)).collect::<Result<Vec<_>>>()?;
    each_row(args, |row| Ok(value(json, row)?.at(steps.iter().map(|s| s.value(row))).cloned().and_then(shown)))
}

fn tested(args: &[ArrayRef], test: impl Fn(usize) -> Result<bool>) -> Result<ArrayRef> {
    let rows = 0..arg(args, 0)?.len();
    let tested = rows.map(|row| if any_null(args, row) { Ok(None) } else { test(row).map(Some) });
    Ok(Arc::new(tested.collect::<Result<BooleanArray>>()?))
}

/// Whether a text is a key of an object, or a string among the elements of an array.
fn has(json: &Value, key: &str) -> bool {
    let is_it = |v: &Value| matches!(v, Value::String(text) if text == key);
    match json {
        Value::Object(object) => object.get(key).is_some(),
        Value::Array(items) => items.iter().any(is_it),
        plain => is_it(plain),
    }
}

fn array_length(args: &[ArrayRef]) -> Result<ArrayRef> {
    let json = texts(args, 0)?;
    let length = |row| match any_null(args, row) {
        true => Ok(None),
        false => Ok(Some(array(value(json, row)?, "get array length of")?.len() as i32)),
    };
    Ok(Arc::new((0..json.len()).map(length).collect::<Result<Int32Array>>()?))
}

fn items(args: &[ArrayRef], shown: Shown) -> Result<ArrayRef> {
    let json = texts(args, 0)?;
    each_list(args, |row| Ok(array(value(json, row)?, "extract elements from")?.into_iter().map(shown).collect()))
}

fn members(args: &[ArrayRef], shown: fn((String, Value)) -> Option<String>) -> Result<ArrayRef> {
    let json = texts(args, 0)?;
    each_list(args, |row| Ok(object(value(json, row)?)?.into_members().into_iter().map(shown).collect()))
}

fn array(json: Value, what: &str) -> Result<Vec<Value>> {
    match json {
        Value::Array(items) => Ok(items),
        Value::Object(_) => Err(wrong(format!("cannot {what} an object"))),
        _ => Err(wrong(format!("cannot {what} a scalar"))),
    }
}

fn object(json: Value) -> Result<Object> {
    match json {
        Value::Object(object) => Ok(object),
        other => Err(wrong(format!("cannot take the keys of JSON of type {}", other.kind()))
            .with_hint("jsonb_typeof tells what a value is")),
    }
}
