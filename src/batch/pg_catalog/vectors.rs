//! Columns that PostgreSQL keeps as `int2vector` and `oidvector`, and the catalogs here as their text: `2 1`. Where a
//! query takes one apart, it gets the list.
//!
//! ```text
//! unnest(i.indkey)                 -->  unnest(vector_items(i.indkey))
//! a.attnum = ANY (i.indkey)        -->  a.attnum = ANY (vector_items(i.indkey))
//! i.indkey[0]                      -->  vector_items(i.indkey)[0 + 1]
//! generate_subscripts(i.indkey, 1) -->  generate_subscripts(vector_items(i.indkey), 1) - 1
//! _pg_expandarray(i.indkey)        -->  unnest(_pg_expandarray(vector_items(i.indkey)))
//! ```
//! (_pg_expandarray(…)).n           -->  get_field(unnest(…), 'n')
//!
//! Vectors count from 0, arrays from 1.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::ScalarUDF;
use datafusion::scalar::ScalarValue;

use super::functions::function;
use crate::sql::ast::{
    AccessExpr, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectNamePart, Subscript,
    Value, VisitorMut,
};
use crate::sql::name::call;

const ITEMS: &str = "vector_items";
const EXPAND: &str = "_pg_expandarray";

/// The last is what the JDBC driver calls `indoption` in a subquery.
const COLUMNS: [&str; 7] = ["indkey", "indoption", "indclass", "indcollation", "proargtypes", "tgattr", "i_indoption"];

/// Functions that take arrays.
const TAKERS: [&str; 10] = [
    "unnest",
    "generate_subscripts",
    EXPAND,
    "array_length",
    "array_lower",
    "array_upper",
    "array_position",
    "array_positions",
    "array_to_string",
    "cardinality",
];

/// Rewrites the queries on the catalogs.
pub struct Vectors;

impl VisitorMut for Vectors {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let found = match expr {
            Expr::Function(_) => takes_apart(expr),
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => {
                as_items(right);
                return ControlFlow::Continue(());
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                if let Some(field) = field_of(root, access_chain) {
                    *expr = field;
                    return ControlFlow::Continue(());
                }
                qualify(root, access_chain);
                if as_items(root)
                    && let Some(AccessExpr::Subscript(Subscript::Index { index })) = access_chain.first_mut()
                {
                    *index = plus(index.clone(), BinaryOperator::Plus);
                }
                None
            }
            // A text without a type is what it is compared with.
            Expr::BinaryOp { left, right, .. } => {
                if is_flag(left)
                    && let Expr::Value(text) = right.as_mut()
                    && let Value::SingleQuotedString(flag) = &text.value
                {
                    text.value = Value::Boolean(flag.starts_with('t'));
                }
                None
            }
            _ => None,
        };
        if found.is_some_and(|name| name == EXPAND) {
            *expr = call("unnest", vec![expr.clone()]);
            return ControlFlow::Continue(());
        }
        if let Expr::Function(outer) = expr
            && name(outer.name.0.as_slice()) == "unnest"
            && argument(outer).is_some_and(|inner| is_subscripts(&inner))
        {
            *expr = Expr::Nested(Box::new(plus(expr.clone(), BinaryOperator::Minus)));
        }
        ControlFlow::Continue(())
    }
}

/// `(pair).n`, of what a function here gives, as a call.
fn field_of(root: &Expr, access_chain: &[AccessExpr]) -> Option<Expr> {
    let (Expr::Nested(pair), [AccessExpr::Dot(Expr::Identifier(field))]) = (root, access_chain) else { return None };
    let field = Expr::Value(Value::SingleQuotedString(field.value.to_lowercase()).with_empty_span());
    Some(call("get_field", vec![pair.as_ref().clone(), field]))
}

/// `i`, `.indkey`, `[0]` as `i.indkey`, `[0]`.
fn qualify(root: &mut Expr, access_chain: &mut Vec<AccessExpr>) {
    if let (Expr::Identifier(table), [AccessExpr::Dot(Expr::Identifier(column)), AccessExpr::Subscript(_)]) =
        (&*root, access_chain.as_slice())
    {
        *root = Expr::CompoundIdentifier(vec![table.clone(), column.clone()]);
        access_chain.remove(0);
    }
}

/// `generate_subscripts(vector_items(…), 1)`, within the `unnest` that the reading of the text put around it.
fn is_subscripts(expr: &Expr) -> bool {
    let called = |expr: &Expr, wanted: &str| match expr {
        Expr::Function(f) if name(f.name.0.as_slice()) == wanted => Some(f.clone()),
        _ => None,
    };
    let vector = called(expr, "generate_subscripts").and_then(|f| argument(&f));
    vector.is_some_and(|vector| called(&vector, ITEMS).is_some())
}

/// The function's name when one of its arguments became a list, or it is one of those that return rows.
fn takes_apart(expr: &mut Expr) -> Option<String> {
    let Expr::Function(f) = expr else { return None };
    let name = name(f.name.0.as_slice());
    if !TAKERS.contains(&name.as_str()) {
        return None;
    }
    let FunctionArguments::List(list) = &mut f.args else { return None };
    let mut found = name == EXPAND;
    for arg in &mut list.args {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg {
            found |= as_items(arg);
        }
    }
    found.then_some(name)
}

fn name(parts: &[ObjectNamePart]) -> String {
    parts.last().and_then(ObjectNamePart::as_ident).map(|i| i.value.to_lowercase()).unwrap_or_default()
}

fn argument(f: &crate::sql::ast::Function) -> Option<Expr> {
    match &f.args {
        FunctionArguments::List(list) => match list.args.first()? {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) => Some(arg.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// A column of `pg_index` that is true or false.
fn is_flag(expr: &Expr) -> bool {
    let column = match expr {
        Expr::Identifier(column) => Some(column),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    };
    column.is_some_and(|c| c.value.to_lowercase().starts_with("indis"))
}

/// Puts the function around a column of vectors; whether it was one.
fn as_items(expr: &mut Expr) -> bool {
    let column = match expr {
        Expr::Nested(inner) => return as_items(inner),
        Expr::Identifier(column) => column,
        Expr::CompoundIdentifier(parts) => match parts.last() {
            Some(column) => column,
            None => return false,
        },
        _ => return false,
    };
    let is_vector = COLUMNS.contains(&column.value.to_lowercase().as_str());
    if is_vector {
        *expr = call(ITEMS, vec![expr.clone()]);
    }
    is_vector
}

/// `expr + 1` or `expr - 1`.
fn plus(expr: Expr, op: BinaryOperator) -> Expr {
    let one = Expr::Value(Value::Number("1".into(), false).with_empty_span());
    Expr::BinaryOp { left: Box::new(Expr::Nested(Box::new(expr))), op, right: Box::new(one) }
}

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// `vector_items(text)`, and `information_schema._pg_expandarray(array)`: its values `x` with their places `n` from 1.
pub fn functions() -> Vec<ScalarUDF> {
    let pair = Fields::from(vec![Field::new("x", DataType::Int32, true), Field::new("n", DataType::Int32, true)]);
    let (items, pairs) = (list_of(DataType::Int32), list_of(DataType::Struct(pair.clone())));
    vec![
        function(ITEMS, items, |args| {
            let text = args.first().and_then(|v| v.try_as_str().flatten());
            let numbers = text.map(|t| t.split_whitespace().filter_map(|n| n.parse().ok()).collect::<Vec<i32>>());
            let Some(numbers) = numbers else { return Ok(ScalarValue::Null) };
            Ok(list(Arc::new(Int32Array::from(numbers))))
        }),
        function(EXPAND, pairs, move |args| expanded(args.first(), &pair)),
    ]
}

fn list(items: ArrayRef) -> ScalarValue {
    ScalarValue::List(Arc::new(SingleRowListArrayBuilder::new(items).build_list_array()))
}

fn expanded(array: Option<&ScalarValue>, pair: &Fields) -> DfResult<ScalarValue> {
    let Some(ScalarValue::List(rows)) = array else { return Ok(ScalarValue::Null) };
    if rows.is_empty() || rows.is_null(0) {
        return Ok(ScalarValue::Null);
    }
    let values = arrow::compute::cast(&rows.value(0), &DataType::Int32)?;
    let places: ArrayRef = Arc::new(Int32Array::from_iter_values((1..).take(values.len())));
    Ok(list(Arc::new(StructArray::try_new(pair.clone(), vec![values, places], None)?)))
}
