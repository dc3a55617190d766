//! Values as text, as PostgreSQL prints them: `1e+16`, `1 mon 3 days`, `2024-01-01 10:00:00+00`, `{a,"b c"}`.
//!
//! Arrow has texts of its own. A rule puts the function in the place of such casts, those that DataFusion makes itself
//! too (`'at ' || ts`), for views and for SELECT alike. A view has no session: its styles are the default ones; those of a
//! session come as a second argument.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMicrosecondType, Float32Type, Float64Type, IntervalMonthDayNanoType,
    IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use bytes::{BufMut, BytesMut};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    Cast, Expr, ExprSchemable, LogicalPlan, ScalarUDF, Signature, TypeSignature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use crate::common::{Error, Result};
use crate::expr::function::{Function, Returns, arg};
use crate::expr::{functions, rules};
use crate::types::number_text::{NUMERIC, without_zeros};
use crate::types::styles::Styles;
use crate::types::text;
use crate::types::timetz;
use crate::types::zone_rules::ZoneRules;

pub const NAME: &str = "text_out";
const AS_TEXT: &str = "as_text";

/// Runs when types are resolved.
#[derive(Debug)]
pub struct TextOutput;

impl AnalyzerRule for TextOutput {
    fn name(&self) -> &str {
        "text_output"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let concerns = |e: &Expr| match e {
            Expr::Cast(cast) => cast.field.data_type().is_string(),
            Expr::ScalarFunction(call) => call.name() == AS_TEXT,
            _ => false,
        };
        rules::rewrite(plan, concerns, |e, schema| match e {
            Expr::ScalarFunction(call) => as_text(call, schema),
            cast => printed(cast, schema),
        })
    }
}

/// What a user casts to text: of bytes their text, where DataFusion's own casts take them for letters.
fn as_text(mut call: ScalarFunction, schema: &DFSchema) -> Transformed<Expr> {
    let bytes = |e: &Expr| e.get_type(schema).is_ok_and(|t| t.is_binary());
    match (functions::scalar(NAME), call.args.pop()) {
        (Some(print), Some(arg)) if bytes(&arg) => Transformed::yes(print.call(vec![arg])),
        (_, Some(arg)) => Transformed::yes(arg),
        (_, None) => Transformed::no(Expr::ScalarFunction(call)),
    }
}

fn printed(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::Cast(Cast { expr, field }) = expr else { return Transformed::no(expr) };
    let own = expr.get_type(schema).is_ok_and(|t| is_own(&t));
    match functions::scalar(NAME).filter(|_| own) {
        Some(print) => Transformed::yes(Expr::Cast(Cast { expr: Box::new(print.call(vec![*expr])), field })),
        None => Transformed::no(Expr::Cast(Cast { expr, field })),
    }
}

/// Types whose texts are not Arrow's. Bytes are left out: DataFusion casts those it counts (`length(bytes)`) to text.
pub fn is_own(data_type: &DataType) -> bool {
    data_type.is_floating()
        || data_type.is_temporal()
        || *data_type == DataType::Decimal128(NUMERIC.0, NUMERIC.1)
        || *data_type == timetz::timetz()
        || matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::Struct(_))
}

/// The functions, for the registry.
pub(super) fn functions() -> [Arc<ScalarUDF>; 2] {
    let returns = |types: &[DataType]| match types {
        [one] if !one.is_binary() => Ok(one.clone()),
        _ => Ok(DataType::Utf8),
    };
    let as_text = |args: &[ArrayRef]| match arg(args, 0)? {
        bytes if bytes.data_type().is_binary() => print(bytes, &Styles::default()),
        other => Ok(Arc::clone(other)),
    };
    let any = Signature::any(1, Volatility::Immutable);
    let as_text = Function::new(AS_TEXT, any, Returns::Of(returns), as_text).udf();
    let signature = Signature::one_of(vec![TypeSignature::Any(1), TypeSignature::Any(2)], Volatility::Immutable);
    let eval = |args: &[ArrayRef]| print(arg(args, 0)?, &styles(args, 1)?);
    [Function::new(NAME, signature, Returns::Type(DataType::Utf8), eval).udf(), as_text]
}

/// Argument `index`, which is one for all rows, or the default styles where it is not given.
pub fn styles(args: &[ArrayRef], index: usize) -> Result<Styles> {
    let text = args.get(index).and_then(|a| a.as_string_opt::<i32>()).and_then(|texts| texts.iter().flatten().next());
    text.map_or(Ok(Styles::default()), str::parse)
}

/// The texts of the values; nulls stay.
///
/// # Errors
/// `NotSupported` for maps, unions and the like.
pub fn print(values: &ArrayRef, styles: &Styles) -> Result<ArrayRef> {
    let printer = Printer::new(values)?;
    let mut texts = StringBuilder::new();
    let mut text = BytesMut::new();
    for row in 0..values.len() {
        text.clear();
        match printer.write(row, styles, &mut text)? {
            true => texts.append_value(String::from_utf8_lossy(&text)),
            false => texts.append_null(),
        }
    }
    Ok(Arc::new(texts.finish()))
}

/// A column with its type resolved once.
struct Printer {
    values: ArrayRef,
    form: Form,
}

enum Form {
    Bool,
    Float32,
    Float64,
    /// Without a scale of its own.
    Numeric(i8),
    Decimal(i8),
    Text,
    Bytes,
    Date,
    Time,
    TimeTz,
    Timestamp(Option<ZoneRules>),
    Interval,
    Duration,
    List(Box<Printer>),
    Struct(Vec<Printer>),
}

impl Printer {
    fn new(values: &ArrayRef) -> Result<Self> {
        let form = match values.data_type() {
            DataType::Boolean => Form::Bool,
            DataType::Float32 => Form::Float32,
            DataType::Float64 => Form::Float64,
            DataType::Decimal128(precision, scale) if (*precision, *scale) == NUMERIC => Form::Numeric(*scale),
            DataType::Decimal128(_, scale) => Form::Decimal(*scale),
            DataType::Utf8 => Form::Text,
            DataType::Binary => Form::Bytes,
            DataType::Date32 => Form::Date,
            DataType::Time64(TimeUnit::Microsecond) => Form::Time,
            own if *own == timetz::timetz() => Form::TimeTz,
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Form::Timestamp(zone.as_ref().map(|zone| zone.parse()).transpose()?)
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => Form::Interval,
            DataType::Duration(TimeUnit::Microsecond) => Form::Duration,
            DataType::List(_) => Form::List(Box::new(Self::new(values.as_list::<i32>().values())?)),
            DataType::Struct(_) => {
                Form::Struct(values.as_struct().columns().iter().map(Self::new).collect::<Result<_>>()?)
            }
            other => return Self::new(&kin(values, other)?),
        };
        Ok(Self { values: Arc::clone(values), form })
    }

    /// Appends the text of a row; `false` for null.
    fn write(&self, row: usize, styles: &Styles, out: &mut BytesMut) -> Result<bool> {
        let values = &self.values;
        if values.is_null(row) {
            return Ok(false);
        }
        match &self.form {
            Form::Bool => out.put_u8(if values.as_boolean().value(row) { b't' } else { b'f' }),
            Form::Float32 => {
                let value = values.as_primitive::<Float32Type>().value(row);
                text::float(value, &text::FLOAT4, styles.extra_float_digits, out);
            }
            Form::Float64 => {
                let value = values.as_primitive::<Float64Type>().value(row);
                text::float(value, &text::FLOAT8, styles.extra_float_digits, out);
            }
            Form::Numeric(scale) => {
                let (value, scale) = without_zeros(values.as_primitive::<Decimal128Type>().value(row), *scale);
                text::decimal(value, scale, out);
            }
            Form::Decimal(scale) => text::decimal(values.as_primitive::<Decimal128Type>().value(row), *scale, out),
            Form::Text => out.put_slice(values.as_string::<i32>().value(row).as_bytes()),
            Form::Bytes => text::bytea(values.as_binary::<i32>().value(row), styles.bytes, out),
            Form::Date => {
                text::date(values.as_primitive::<Date32Type>().value(row), styles.dates, styles.order, out);
            }
            Form::Time => text::time(values.as_primitive::<Time64MicrosecondType>().value(row), out),
            Form::TimeTz => text::timetz(super::timetz::value(values.as_fixed_size_binary(), row)?, out),
            Form::Timestamp(zone) => {
                let value = values.as_primitive::<TimestampMicrosecondType>().value(row);
                text::timestamp(value, zone.as_ref(), styles.dates, styles.order, out);
            }
            Form::Interval => {
                let v = values.as_primitive::<IntervalMonthDayNanoType>().value(row);
                text::interval(v.months, v.days, v.nanoseconds / 1000, styles.intervals, out);
            }
            Form::Duration => {
                let (days, micros) = text::whole_days(values.as_primitive::<DurationMicrosecondType>().value(row));
                text::interval(0, days, micros, styles.intervals, out);
            }
            Form::List(items) => {
                let offsets = values.as_list::<i32>().value_offsets();
                let at = |i: usize| offsets.get(i).map_or(0, |o| *o as usize);
                let nested = matches!(items.form, Form::List(_));
                text::array(at(row)..at(row + 1), nested, |item, out| items.write(item, styles, out), out)?;
            }
            Form::Struct(columns) => text::record(columns.iter(), |column, out| column.write(row, styles, out), out)?,
        }
        Ok(true)
    }
}

/// The values as a type that has a form of its own.
fn kin(values: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    let to = match data_type {
        DataType::Float16 => DataType::Float32,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Interval(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::Duration(_) => DataType::Duration(TimeUnit::Microsecond),
        DataType::LargeList(item) | DataType::ListView(item) | DataType::FixedSizeList(item, _) => {
            DataType::List(Arc::clone(item))
        }
        DataType::Null | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => DataType::Utf8,
        other if other.is_integer() || other.is_decimal() => DataType::Utf8,
        other => return Err(Error::not_supported(format!("a value of type {other} has no text"))),
    };
    Ok(cast_with_options(values, &to, &CastOptions { safe: false, ..CastOptions::default() })?)
}

#[cfg(test)]
mod tests {
    use crate::expr::eval::tests::eval_one;

    #[test]
    fn texts() {
        for (sql, expected) in [
            ("text_out(CAST(1 AS DOUBLE))", "1"),
            ("text_out(CAST(1e16 AS DOUBLE))", "1e+16"),
            ("text_out(CAST(1234567 AS REAL))", "1.234567e+06"),
            ("text_out(INTERVAL '14 months -3 days 4 seconds')", "1 year 2 mons -3 days +00:00:04"),
            ("text_out(CAST('2024-02-29' AS DATE))", "2024-02-29"),
            ("text_out(make_array(CAST(1 AS DOUBLE), NULL))", "{1,NULL}"),
            ("text_out(make_array('a b', '', 'c'))", "{\"a b\",\"\",c}"),
            ("text_out(make_array(make_array(1), make_array(2)))", "{{1},{2}}"),
            ("text_out(make_array(1 = 1))", "{t}"),
            ("text_out(CAST('2024-02-29' AS DATE), 'SQL DMY postgres hex 1')", "29/02/2024"),
            ("text_out(INTERVAL '1 day', 'ISO MDY iso_8601 hex 1')", "P1D"),
            ("text_out(make_array(CAST(0.1 AS DOUBLE)), 'ISO MDY postgres hex -14')", "{0.1}"),
            ("text_out(CAST(NULL AS DOUBLE))", "."),
        ] {
            assert_eq!(eval_one(sql).unwrap(), expected, "{sql}");
        }
    }
}
