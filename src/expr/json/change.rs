//! Other JSON values of one: joined, without a part, with another part.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::logical_expr::ScalarUDF;

use super::{each_row, elements, path, text_list, text_lists, texts, value, with_path, wrong};
use crate::common::{Error, ErrorKind, Result};
use crate::expr::function::{Function, Returns, arg};
use crate::types::json::{Object, Value, place, pretty};
use crate::types::pg_type::PgType;

const TEXT: DataType = DataType::Utf8;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let jsonb = Returns::Marked(PgType::Jsonb);
    let path = text_list();
    let parts: &[&[DataType]] = &[&[TEXT, TEXT], &[TEXT, DataType::Int64], &[TEXT, path.clone()]];
    vec![
        Function::one_of("jsonb_concat", &[&[TEXT, TEXT]], jsonb.clone(), |args| {
            let (left, right) = (texts(args, 0)?, texts(args, 1)?);
            each_row(args, |row| Ok(Some(concat(value(left, row)?, value(right, row)?)?.to_string())))
        })
        .udf(),
        Function::one_of("jsonb_delete", parts, jsonb.clone(), delete).udf(),
        Function::one_of("jsonb_delete_path", &[&[TEXT, path]], jsonb.clone(), |args| {
            let (json, paths) = (texts(args, 0)?, text_lists(args, 1)?);
            each_row(args, |row| {
                let Some(path) = super::path(paths, row) else { return Ok(None) };
                let mut json = value(json, row)?;
                delete_path(&mut json, &path)?;
                Ok(Some(json.to_string()))
            })
        })
        .udf(),
        Function::coercing("jsonb_set", with_path, jsonb.clone(), |args| changed(args, true, Change::Set)).udf(),
        Function::coercing("jsonb_insert", with_path, jsonb.clone(), |args| changed(args, false, Change::Insert)).udf(),
        Function::one_of("jsonb_strip_nulls", &[&[TEXT]], jsonb, |args| {
            let json = texts(args, 0)?;
            each_row(args, |row| Ok(Some(strip_nulls(value(json, row)?).to_string())))
        })
        .alias("json_strip_nulls")
        .udf(),
        Function::one_of("jsonb_pretty", &[&[TEXT]], Returns::Type(TEXT), |args| {
            let json = texts(args, 0)?;
            each_row(args, |row| Ok(Some(pretty(&value(json, row)?))))
        })
        .udf(),
    ]
}

/// Objects become one, of which the right one's members stay; anything else becomes an array.
fn concat(left: Value, right: Value) -> Result<Value> {
    Ok(match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            let mut members = left.into_members();
            members.extend(right.into_members());
            Value::Object(Object::new(members))
        }
        (Value::Array(mut left), Value::Array(right)) => {
            left.extend(right);
            Value::Array(left)
        }
        (Value::Array(mut left), right) => {
            left.push(right);
            Value::Array(left)
        }
        (left, Value::Array(mut right)) => {
            right.insert(0, left);
            Value::Array(right)
        }
        (Value::Object(_), _) | (_, Value::Object(_)) => return Err(wrong("invalid concatenation of jsonb objects")),
        (left, right) => Value::Array(vec![left, right]),
    })
}

/// Without a key, some keys, or an element.
fn delete(args: &[ArrayRef]) -> Result<ArrayRef> {
    let json = texts(args, 0)?;
    let part = arg(args, 1)?;
    let without = |row: usize, keys: &[String]| -> Result<Option<String>> {
        let mut json = value(json, row)?;
        match &mut json {
            Value::Object(object) => keys.iter().for_each(|key| {
                object.remove(key);
            }),
            Value::Array(items) => items.retain(|i| !matches!(i, Value::String(text) if keys.contains(text))),
            _ => return Err(wrong("cannot delete from scalar")),
        }
        Ok(Some(json.to_string()))
    };
    match part.data_type() {
        DataType::Utf8 => {
            let keys = part.as_string::<i32>();
            each_row(args, |row| without(row, &[keys.value(row).to_string()]))
        }
        DataType::List(_) => {
            let keys = text_lists(args, 1)?;
            each_row(args, |row| without(row, &elements(keys, row).into_iter().flatten().collect::<Vec<_>>()))
        }
        _ => {
            let numbers = part.as_primitive::<Int64Type>();
            each_row(args, |row| {
                let mut json = value(json, row)?;
                match &mut json {
                    Value::Array(items) => {
                        if let Some(at) = place(numbers.value(row), items.len()) {
                            items.remove(at);
                        }
                    }
                    Value::Object(_) => return Err(wrong("cannot delete from object using integer index")),
                    _ => return Err(wrong("cannot delete from scalar")),
                }
                Ok(Some(json.to_string()))
            })
        }
    }
}

/// The number of an element in a path.
fn number(step: &str, at: usize) -> Result<i64> {
    step.trim().parse().map_err(|_| {
        Error::new(
            ErrorKind::InvalidTextRepresentation,
            format!("path element at position {} is not an integer: \"{step}\"", at + 1),
        )
    })
}

fn delete_path(json: &mut Value, path: &[String]) -> Result<()> {
    if path.is_empty() {
        return Ok(());
    }
    if !matches!(json, Value::Array(_) | Value::Object(_)) {
        return Err(wrong("cannot delete path in scalar"));
    }
    let Some((last, way)) = path.split_last() else { return Ok(()) };
    let Some(parent) = walk(json, way)? else { return Ok(()) };
    match parent {
        Value::Object(object) => {
            object.remove(last);
        }
        Value::Array(items) => {
            if let Some(at) = place(number(last, path.len() - 1)?, items.len()) {
                items.remove(at);
            }
        }
        _ => {}
    }
    Ok(())
}

/// What the steps lead to, if all are there.
fn walk<'v>(mut json: &'v mut Value, way: &[String]) -> Result<Option<&'v mut Value>> {
    for (at, step) in way.iter().enumerate() {
        let next = match json {
            Value::Object(object) => object.get_mut(step),
            Value::Array(items) => match place(number(step, at)?, items.len()) {
                Some(place) => items.get_mut(place),
                None => None,
            },
            _ => None,
        };
        match next {
            Some(next) => json = next,
            None => return Ok(None),
        }
    }
    Ok(Some(json))
}

/// What is done where a path ends.
#[derive(Clone, Copy, PartialEq)]
enum Change {
    Set,
    Insert,
}

/// `flag`: for `jsonb_set` whether a missing part is made, for `jsonb_insert` whether to insert behind.
fn changed(args: &[ArrayRef], default: bool, change: Change) -> Result<ArrayRef> {
    let (json, paths, new) = (texts(args, 0)?, text_lists(args, 1)?, texts(args, 2)?);
    let flags = args.get(3).map(|f| f.as_boolean());
    each_row(args, |row| {
        let Some(path) = path(paths, row) else { return Ok(None) };
        let flag = flags.map_or(default, |f| f.value(row));
        let mut json = value(json, row)?;
        if !matches!(json, Value::Array(_) | Value::Object(_)) {
            return Err(wrong("cannot set path in scalar"));
        }
        let Some((last, way)) = path.split_last() else { return Ok(Some(json.to_string())) };
        let new = value(new, row)?;
        if let Some(parent) = walk(&mut json, way)? {
            put(parent, last, path.len() - 1, new, change, flag)?;
        }
        Ok(Some(json.to_string()))
    })
}

fn put(parent: &mut Value, step: &str, at: usize, new: Value, change: Change, flag: bool) -> Result<()> {
    match (parent, change) {
        (Value::Object(object), Change::Set) => match object.get_mut(step) {
            Some(old) => *old = new,
            None if flag => {
                object.insert(step.to_string(), new);
            }
            None => {}
        },
        (Value::Object(object), Change::Insert) => {
            if object.get(step).is_some() {
                return Err(wrong("cannot replace existing key").with_hint("jsonb_set replaces the value of a key"));
            }
            object.insert(step.to_string(), new);
        }
        (Value::Array(items), change) => {
            let index = number(step, at)?;
            let found = place(index, items.len());
            match (change, found) {
                (Change::Set, Some(at)) => items[at] = new,
                (Change::Insert, Some(at)) => items.insert(at + usize::from(flag), new),
                (Change::Set, None) if !flag => {}
                (_, None) if index < 0 => items.insert(0, new),
                (_, None) => items.push(new),
            }
        }
        _ => {}
    }
    Ok(())
}

/// Without the members whose value is null, at any depth.
fn strip_nulls(json: Value) -> Value {
    match json {
        Value::Object(object) => {
            let members = object.into_members().into_iter().filter(|(_, v)| *v != Value::Null);
            Value::Object(Object::new(members.map(|(key, v)| (key, strip_nulls(v))).collect()))
        }
        Value::Array(items) => Value::Array(items.into_iter().map(strip_nulls).collect()),
        plain => plain,
    }
}
