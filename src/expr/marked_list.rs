//! Arrays of UUID, JSON and JSONB: lists of texts in the one form of their type, with the mark of the items on the list.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, ExprSchemable, ReturnFieldArgs, ScalarUDF, lit};
use datafusion::scalar::ScalarValue;

use super::function::{Function, Returns, arg, list_of};
use super::{functions, json, uuid};
use crate::common::{Error, Result};
use crate::types::pg_type::PgType;

const NAME: &str = "list_in";

/// `list_in(texts, 'uuid')`: the list with its items read as that type.
pub(super) fn function() -> Arc<ScalarUDF> {
    let forms: &[&[DataType]] = &[&[list_of(DataType::Utf8), DataType::Utf8]];
    let eval = |args: &[ArrayRef]| {
        let names = arg(args, 1)?.as_string_opt::<i32>();
        match names.and_then(|names| names.iter().flatten().next()).and_then(mark) {
            Some(mark) => read(arg(args, 0)?, mark),
            None => Ok(Arc::clone(arg(args, 0)?)),
        }
    };
    Function::one_of(NAME, forms, Returns::MarkedBy(told), eval).udf()
}

/// `array_or_empty(list)`: the list, or one without items where it is null.
pub(super) fn or_empty() -> Arc<ScalarUDF> {
    let marked = |args: &ReturnFieldArgs| args.arg_fields.first().and_then(|field| PgType::of(field));
    Function::coercing("array_or_empty", |types| Ok(types.to_vec()), Returns::MarkedBy(marked), filled).udf()
}

fn filled(args: &[ArrayRef]) -> Result<ArrayRef> {
    let list = arg(args, 0)?;
    match list.data_type() {
        DataType::List(item) if list.null_count() > 0 => {
            let lists = list.as_list::<i32>();
            // What stands under a null is no item.
            let items = (0..lists.len()).filter(|row| !lists.is_null(*row)).map(|row| lists.value(row));
            let items: Vec<ArrayRef> = items.collect();
            let items: Vec<&dyn Array> = items.iter().map(AsRef::as_ref).collect();
            let values = if items.is_empty() { new_empty_array(item.data_type()) } else { concat(&items)? };
            let lengths =
                (0..lists.len()).map(|row| if lists.is_null(row) { 0 } else { lists.value_length(row) as usize });
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), OffsetBuffer::from_lengths(lengths), values, None)?))
        }
        _ => Ok(Arc::clone(list)),
    }
}

fn told(args: &ReturnFieldArgs) -> Option<PgType> {
    match args.scalar_arguments.get(1) {
        Some(Some(ScalarValue::Utf8(Some(name)))) => mark(name),
        _ => None,
    }
}

fn mark(name: &str) -> Option<PgType> {
    [PgType::Uuid, PgType::Json, PgType::Jsonb].into_iter().find(|mark| mark.name() == name)
}

/// `ARRAY[…]` of values that all have the mark, or are null.
pub fn literal(items: Vec<Expr>, schema: &DFSchema) -> std::result::Result<Expr, Vec<Expr>> {
    let mut common = None;
    for item in &items {
        match item.to_field(schema) {
            Ok((_, field)) if field.data_type().is_null() => {}
            Ok((_, field)) => match PgType::of(&field).and_then(|found| mark(found.name())) {
                Some(found) if common.is_none_or(|known| known == found) && !field.data_type().is_nested() => {
                    common = Some(found);
                }
                _ => return Err(items),
            },
            Err(_) => return Err(items),
        }
    }
    match (common, functions::scalar("make_array"), functions::scalar(NAME)) {
        (Some(mark), Some(make), Some(read)) => Ok(read.call(vec![make.call(items), lit(mark.name())])),
        _ => Err(items),
    }
}

/// Lists of texts with their items in the form of the type.
///
/// # Errors
/// `InvalidTextRepresentation` for an item that is no value of it.
pub fn read(column: &ArrayRef, mark: PgType) -> Result<ArrayRef> {
    let list = column.as_list_opt::<i32>().ok_or_else(|| Error::internal("an array that is no list"))?;
    if matches!(list.value_type(), DataType::List(_)) {
        return with_items(list, read(list.values(), mark)?);
    }
    let texts = arrow::compute::cast(list.values(), &DataType::Utf8)?;
    let items = match mark {
        PgType::Uuid => uuid::read(&[texts])?,
        PgType::Json | PgType::Jsonb => json::read(&texts, &mark.mark(Field::new("item", DataType::Utf8, true)))?,
        PgType::Oid | PgType::Varchar(_) | PgType::Char(_) | PgType::Seconds(_) => texts,
    };
    with_items(list, items)
}

fn with_items(list: &ListArray, items: ArrayRef) -> Result<ArrayRef> {
    let item = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(item, list.offsets().clone(), items, list.nulls().cloned())?))
}

#[cfg(test)]
mod tests {
    use crate::expr::eval::tests::eval_one;

    #[test]
    fn items() {
        for (sql, expected) in [
            (
                "text_out(list_in(make_array('A0EEBC999C0B4EF8BB6D6BB9BD380A11', NULL), 'uuid'))",
                "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,NULL}",
            ),
            ("text_out(list_in(make_array('[1,2]'), 'jsonb'))", "{\"[1, 2]\"}"),
            ("text_out(list_in(make_array('[1,2]'), 'json'))", "{\"[1,2]\"}"),
        ] {
            assert_eq!(eval_one(sql).unwrap(), expected, "{sql}");
        }
        assert!(eval_one("list_in(make_array('x'), 'uuid')").is_err());
    }
}
