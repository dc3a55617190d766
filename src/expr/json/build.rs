//! JSON of values of other types: `to_jsonb`, objects and arrays of arguments, and what the JSON aggregates end with.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::{each_row, elements, text_list, text_lists, wrong};
use crate::common::{Error, ErrorKind, Result};
use crate::expr::function::{Function, Returns};
use crate::expr::text_output;
use crate::types::json::{Object, Value, canonical, parse, quote};
use crate::types::pg_type::PgType;
use crate::types::styles::Styles;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let made = [
        ("to_jsonb", PgType::Jsonb, Made::One),
        ("to_json", PgType::Json, Made::One),
        ("row_to_json", PgType::Json, Made::One),
        ("jsonb_build_array", PgType::Jsonb, Made::Array),
        ("json_build_array", PgType::Json, Made::Array),
        ("jsonb_build_object", PgType::Jsonb, Made::Object),
        ("json_build_object", PgType::Json, Made::Object),
    ];
    let mut all: Vec<Arc<ScalarUDF>> = made
        .into_iter()
        .map(|(name, mark, made)| {
            let forms = match made {
                Made::One => TypeSignature::Any(1),
                _ => TypeSignature::OneOf(vec![TypeSignature::VariadicAny, TypeSignature::Nullary]),
            };
            let signature = Signature::new(forms, Volatility::Immutable);
            Arc::new(ScalarUDF::from(Build { name, mark, made, signature }))
        })
        .collect();
    let lists: &[&[DataType]] = &[&[text_list()]];
    let pairs: &[&[DataType]] = &[&[text_list()], &[text_list(), text_list()]];
    for (kind, mark) in [("jsonb", PgType::Jsonb), ("json", PgType::Json)] {
        // The names live as long as the registry, which is never dropped.
        let name = |rest: &str| -> &'static str { Box::leak(format!("{kind}_{rest}").into_boxed_str()) };
        all.push(Function::one_of(name("of_elements"), lists, Returns::Marked(mark), of_elements).udf());
        all.push(Function::one_of(name("of_members"), lists, Returns::Marked(mark), of_members).udf());
        all.push(Function::one_of(name("object"), pairs, Returns::Marked(mark), object).udf());
    }
    all
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Made {
    One,
    Array,
    Object,
}

/// A function of any arguments: which of them are JSON already, their fields tell.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Build {
    name: &'static str,
    mark: PgType,
    made: Made,
    signature: Signature,
}

impl ScalarUDFImpl for Build {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> DfResult<FieldRef> {
        Ok(Arc::new(self.mark.mark(Field::new(self.name, DataType::Utf8, true))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let columns = args
            .args
            .into_iter()
            .zip(&args.arg_fields)
            .map(|(arg, field)| Source::new(&arg.into_array(rows)?, field).map_err(Into::into))
            .collect::<DfResult<Vec<_>>>()?;
        let mut out = StringBuilder::new();
        for row in 0..rows {
            out.append_option(self.row(&columns, row)?);
        }
        let result: ArrayRef = Arc::new(out.finish());
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
            false => ColumnarValue::Array(result),
        })
    }
}

impl Build {
    fn row(&self, columns: &[Source], row: usize) -> Result<Option<String>> {
        let text = match self.made {
            Made::One => match columns.first() {
                Some(column) if !column.is_null(row) => column.value(row)?.to_string(),
                _ => return Ok(None),
            },
            Made::Array => Value::Array(columns.iter().map(|c| c.value(row)).collect::<Result<_>>()?).to_string(),
            Made::Object => {
                if !columns.len().is_multiple_of(2) {
                    return Err(wrong("argument list must have even number of elements")
                        .with_hint(format!("the arguments of {}() are keys and values in turn", self.name)));
                }
                let mut members = Vec::with_capacity(columns.len() / 2);
                for pair in columns.chunks_exact(2) {
                    let key = pair[0].value(row)?.into_text().ok_or_else(null_key)?;
                    members.push((key, pair[1].value(row)?));
                }
                match self.mark {
                    PgType::Json => in_order(&members)?,
                    _ => Value::Object(Object::new(members)).to_string(),
                }
            }
        };
        Ok(Some(text))
    }
}

fn null_key() -> Error {
    wrong("argument 1: key must not be null")
}

/// `json` keeps its members as they were given.
fn in_order(members: &[(String, Value)]) -> Result<String> {
    let mut out = String::from("{");
    for (i, (key, value)) in members.iter().enumerate() {
        out.push_str(if i > 0 { ", " } else { "" });
        let written = quote(&mut out, key).and_then(|()| write!(out, " : {value}"));
        written.map_err(|e| Error::internal(format!("a text cannot be written: {e}")))?;
    }
    out.push('}');
    Ok(out)
}

/// A column whose values become JSON.
enum Source {
    /// Texts of JSON.
    Json(ArrayRef),
    Texts(ArrayRef),
    Bools(ArrayRef),
    /// Texts of numbers.
    Numbers(ArrayRef),
    List(ArrayRef, Box<Source>),
    Struct(ArrayRef, Vec<(String, Source)>),
    Null,
}

impl Source {
    fn new(array: &ArrayRef, field: &Field) -> Result<Self> {
        let text = |a: &ArrayRef| Ok::<_, Error>(arrow::compute::cast(a, &DataType::Utf8)?);
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
                if PgType::of(field).is_some_and(PgType::is_json) =>
            {
                Self::Json(text(array)?)
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Texts(text(array)?),
            DataType::Boolean => Self::Bools(Arc::clone(array)),
            t if t.is_integer() || matches!(t, DataType::Decimal128(..) | DataType::Decimal256(..)) => {
                Self::Numbers(text(array)?)
            }
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Self::Numbers(text(array)?),
            DataType::List(item) => {
                let list = array.as_list::<i32>();
                Self::List(Arc::clone(array), Box::new(Self::new(list.values(), item)?))
            }
            DataType::Struct(fields) => {
                let columns = array.as_struct().columns();
                let members = fields.iter().zip(columns).map(|(f, c)| Ok((f.name().clone(), Self::new(c, f)?)));
                Self::Struct(Arc::clone(array), members.collect::<Result<_>>()?)
            }
            DataType::Map(..) | DataType::Union(..) => {
                return Err(Error::not_supported(format!("JSON of {}", array.data_type())));
            }
            DataType::Binary | DataType::LargeBinary => Self::Texts(formatted(array, |bytes| format!("\\x{bytes}"))?),
            // Timestamps in ISO 8601, with T.
            DataType::Timestamp(_, zone) => {
                let zoned = zone.is_some();
                Self::Texts(formatted(array, |ts| match (zoned, ts.strip_suffix('Z')) {
                    (true, Some(ts)) => format!("{ts}+00:00"),
                    _ => ts,
                })?)
            }
            own if text_output::is_own(own) => Self::Texts(text_output::print(array, &Styles::default())?),
            _ => Self::Texts(formatted(array, |text| text)?),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Json(a) | Self::Texts(a) | Self::Bools(a) | Self::Numbers(a) | Self::List(a, _) => a.is_null(row),
            Self::Struct(a, _) => a.is_null(row),
            Self::Null => true,
        }
    }

    fn value(&self, row: usize) -> Result<Value> {
        if self.is_null(row) {
            return Ok(Value::Null);
        }
        Ok(match self {
            Self::Json(texts) => parse(texts.as_string::<i32>().value(row))?,
            Self::Texts(texts) => Value::String(texts.as_string::<i32>().value(row).to_string()),
            Self::Bools(bools) => Value::Bool(bools.as_boolean().value(row)),
            Self::Numbers(texts) => number(texts.as_string::<i32>().value(row)),
            Self::List(lists, items) => {
                let offsets = lists.as_list::<i32>().value_offsets();
                let range = offsets[row] as usize..offsets[row + 1] as usize;
                Value::Array(range.map(|at| items.value(at)).collect::<Result<_>>()?)
            }
            Self::Struct(_, members) => {
                let members = members.iter().map(|(name, source)| Ok((name.clone(), source.value(row)?)));
                Value::Object(Object::new(members.collect::<Result<_>>()?))
            }
            Self::Null => Value::Null,
        })
    }
}

/// A number; what JSON has no number for (NaN, infinity) is a string.
fn number(text: &str) -> Value {
    let float = text.strip_suffix(".0").unwrap_or(text);
    match float.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit()) {
        true => canonical(float).map_or_else(|| Value::String(text.to_string()), Value::Number),
        false => Value::String(match text {
            "inf" => "Infinity".into(),
            "-inf" => "-Infinity".into(),
            other => other.to_string(),
        }),
    }
}

fn formatted(array: &ArrayRef, change: impl Fn(String) -> String) -> Result<ArrayRef> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options)?;
    let mut out = StringBuilder::new();
    for row in 0..array.len() {
        match array.is_null(row) {
            true => out.append_null(),
            false => out.append_value(change(formatter.value(row).try_to_string()?)),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// An array of the JSON values in a list.
fn of_elements(args: &[ArrayRef]) -> Result<ArrayRef> {
    let lists = text_lists(args, 0)?;
    each_row(args, |row| {
        let items = elements(lists, row).into_iter().map(|item| item.map_or(Ok(Value::Null), |text| parse(&text)));
        Ok(Some(Value::Array(items.collect::<Result<_>>()?).to_string()))
    })
}

/// An object of the pairs `[key, value]` in a list.
fn of_members(args: &[ArrayRef]) -> Result<ArrayRef> {
    let lists = text_lists(args, 0)?;
    each_row(args, |row| {
        let mut members = Vec::new();
        for pair in elements(lists, row).into_iter().flatten() {
            let Value::Array(pair) = parse(&pair)? else { return Err(Error::internal("a member without its pair")) };
            let [key, value] = <[Value; 2]>::try_from(pair).map_err(|_| Error::internal("a member is no pair"))?;
            let key = key.into_text().ok_or_else(|| wrong("field name must not be null"))?;
            members.push((key, value));
        }
        Ok(Some(Value::Object(Object::new(members)).to_string()))
    })
}

/// An object of texts: `{k, v, …}`, or keys and values in two arrays.
fn object(args: &[ArrayRef]) -> Result<ArrayRef> {
    let keys = text_lists(args, 0)?;
    let values = if args.len() > 1 { Some(text_lists(args, 1)?) } else { None };
    each_row(args, |row| {
        let keys = elements(keys, row);
        let pairs: Vec<(Option<String>, Option<String>)> = match values {
            None if !keys.len().is_multiple_of(2) => {
                return Err(Error::new(ErrorKind::InvalidParameterValue, "array must have even number of elements"));
            }
            None => keys.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
            Some(values) => {
                let values = elements(values, row);
                if values.len() != keys.len() {
                    return Err(wrong("mismatched array dimensions"));
                }
                keys.into_iter().zip(values).collect()
            }
        };
        let member = |(key, value): (Option<String>, Option<String>)| {
            let key = key.ok_or_else(|| wrong("null value not allowed for object key"))?;
            Ok((key, value.map_or(Value::Null, Value::String)))
        };
        let members = pairs.into_iter().map(member).collect::<Result<_>>()?;
        Ok(Some(Value::Object(Object::new(members)).to_string()))
    })
}
