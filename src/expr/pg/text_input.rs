//! Text as dates, times, intervals, fractions and arrays, as PostgreSQL reads it.
//!
//! Arrow reads ISO 8601 alone and not all of it, takes `1e309` for infinity, and a text for an array's only element. A rule puts the function in the place of such casts, those that
//! DataFusion makes itself too (`ts > '2024-01-01 10:00'`), for views and for SELECT alike. The order of a session's dates
//! comes as a last argument.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, PrimitiveArray, StringArray, StringBuilder};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, FieldRef, Float32Type, Float64Type,
    IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, ScalarUDF, lit};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;

use super::text_output::styles;
use super::{each, texts};
use crate::common::{Error, Result};
use crate::expr::function::{Eval, Function, Returns, arg};
use crate::expr::{array_input, bytea, functions, rules};
use crate::types::datetime_text::{self, Bad};
use crate::types::styles::Styles;
use crate::types::zone_rules::ZoneRules;
use crate::types::{interval_text, number_text, time, timetz};

const UTC: &str = "UTC";
const TEXT_IN: &str = "text_in";

/// Runs when types are resolved.
#[derive(Debug)]
pub struct TextInput;

impl AnalyzerRule for TextInput {
    fn name(&self) -> &str {
        "text_input"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        rules::rewrite(plan, |e| matches!(e, Expr::Cast(c) if reader(c.field.data_type()).is_some()), read_cast)
    }
}

fn read_cast(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::Cast(Cast { expr, field }) = expr else { return Transformed::no(expr) };
    let text = expr.get_type(schema).is_ok_and(|t| t.is_string());
    let reader = reader(field.data_type()).filter(|_| text).and_then(|(name, _)| functions::scalar(name));
    let Some(reader) = reader else { return Transformed::no(Expr::Cast(Cast { expr, field })) };
    let text = Expr::Cast(Cast::new(expr, DataType::Utf8));
    let args = match field.data_type() {
        // Of the session, which a text without a zone is in.
        DataType::Timestamp(_, Some(zone)) => vec![text, lit(zone.to_string())],
        _ if reader.name() == TEXT_IN => match ScalarValue::try_from(field.data_type()) {
            Ok(null) => vec![text, lit(null)],
            Err(_) => return Transformed::no(Expr::Cast(Cast { expr: Box::new(text), field })),
        },
        _ => vec![text],
    };
    Transformed::yes(Expr::Cast(Cast { expr: Box::new(reader.call(args)), field }))
}

/// The function that reads a type: one of its own, or the one that is told the type by a null of it.
fn reader(data_type: &DataType) -> Option<(&'static str, Eval)> {
    Some(match data_type {
        DataType::Date32 => ("date_in", date),
        DataType::Time64(TimeUnit::Microsecond) => ("time_in", time_of_day),
        DataType::Timestamp(TimeUnit::Microsecond, None) => ("timestamp_in", timestamp),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => ("timestamptz_in", timestamptz),
        DataType::Interval(IntervalUnit::MonthDayNano) => ("interval_in", interval),
        DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) | DataType::List(_) => (TEXT_IN, any),
        _ => return None,
    })
}

/// How many arguments a function of this page has without a session's styles; `None` for one that takes none.
pub fn arguments(name: &str) -> Option<usize> {
    match name {
        "date_in" | "timestamp_in" | "interval_in" => Some(1),
        "timestamptz_in" | TEXT_IN => Some(2),
        _ => None,
    }
}

/// The functions, for the registry.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let types = [
        DataType::Date32,
        DataType::Time64(TimeUnit::Microsecond),
        time::timestamp(),
        time::timestamptz(),
        DataType::Interval(IntervalUnit::MonthDayNano),
    ];
    let function = |to: DataType| {
        let (name, eval) = reader(&to)?;
        let args = if to == time::timestamptz() { 2 } else { 1 };
        let forms = [vec![DataType::Utf8; args], vec![DataType::Utf8; args + 1]];
        let forms = [forms[0].as_slice(), forms[1].as_slice()];
        Some(Function::one_of(name, &forms, Returns::Type(to), eval).udf())
    };
    let any = Function::coercing(
        TEXT_IN,
        |types| Ok(types.to_vec()),
        Returns::Of(|types| types.get(1).cloned().ok_or_else(|| Error::internal("text_in of nothing"))),
        any,
    );
    types.into_iter().filter_map(function).chain([any.udf()]).collect()
}

fn any(args: &[ArrayRef]) -> Result<ArrayRef> {
    let data_type = arg(args, 1)?.data_type();
    match column(arg(args, 0)?, data_type, &styles(args, 2)?) {
        Some(read) => read,
        None => Err(Error::internal(format!("text_in of {data_type}"))),
    }
}

fn date(args: &[ArrayRef]) -> Result<ArrayRef> {
    let order = styles(args, 1)?.order;
    read::<Date32Type>(args, |text| datetime_text::date(text, order).map_err(|bad| bad.error("date", text)))
}

fn time_of_day(args: &[ArrayRef]) -> Result<ArrayRef> {
    read::<Time64MicrosecondType>(args, |text| datetime_text::time(text).map_err(|bad| bad.error("time", text)))
}

fn timestamp(args: &[ArrayRef]) -> Result<ArrayRef> {
    let order = styles(args, 1)?.order;
    let parse = |text: &str| datetime_text::timestamp(text, order).map_err(|bad| bad.error("timestamp", text));
    read::<TimestampMicrosecondType>(args, parse)
}

fn interval(args: &[ArrayRef]) -> Result<ArrayRef> {
    let style = styles(args, 1)?.intervals;
    read::<IntervalMonthDayNanoType>(args, |text| interval_text::parse(text, style))
}

/// A column of texts as a type of this file; `None` for any other type.
///
/// # Errors
/// For a text that is no such value, as in a cast. Texts without a zone are in the type's.
pub fn column(texts: &ArrayRef, data_type: &DataType, styles: &Styles) -> Option<Result<ArrayRef>> {
    let is_timetz = *data_type == timetz::timetz();
    let read = match reader(data_type) {
        Some((_, read)) => read,
        None if is_timetz => any,
        None => return None,
    };
    let texts = match cast(texts, &DataType::Utf8) {
        Ok(texts) => texts,
        Err(e) => return Some(Err(e.into())),
    };
    let constant = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; texts.len()])) };
    Some(match data_type {
        DataType::Timestamp(_, Some(zone)) => {
            read(&[Arc::clone(&texts), constant(zone), constant(&styles.to_string())])
                .and_then(|instants| Ok(cast(&instants, data_type)?))
        }
        _ if is_timetz => super::timetz::read_column(&texts, 0),
        DataType::Float32 => {
            self::read::<Float32Type>(&[texts], |text| number_text::float(text).map_err(|bad| bad.error("real", text)))
        }
        DataType::Float64 => self::read::<Float64Type>(&[texts], |text| {
            number_text::float(text).map_err(|bad| bad.error("double precision", text))
        }),
        DataType::Decimal128(precision, scale) => decimals(texts, *precision, *scale),
        DataType::List(item) => lists(&texts, item, styles),
        _ => read(&[Arc::clone(&texts), constant(&styles.to_string())]),
    })
}

fn decimals(texts: ArrayRef, precision: u8, scale: i8) -> Result<ArrayRef> {
    let parse = |text: &str| number_text::decimal(text, precision, scale).map_err(|bad| bad.error("numeric", text));
    let values = read::<Decimal128Type>(&[texts], parse)?;
    let values = values.as_primitive::<Decimal128Type>().clone();
    Ok(Arc::new(values.with_precision_and_scale(precision, scale)?))
}

fn lists(column: &ArrayRef, item: &FieldRef, styles: &Styles) -> Result<ArrayRef> {
    let args = std::slice::from_ref(column);
    let nested = matches!(item.data_type(), DataType::List(_));
    let mut elements = StringBuilder::new();
    let mut lengths = Vec::with_capacity(column.len());
    for text in texts(args, 0)? {
        let parsed = match text {
            Some(text) => array_input::parse(text, nested).ok_or_else(|| array_input::malformed(text))?,
            None => Vec::new(),
        };
        lengths.push(parsed.len());
        parsed.iter().for_each(|element| elements.append_option(element.as_deref()));
    }
    let values = values(&(Arc::new(elements.finish()) as ArrayRef), item.data_type(), styles)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, column.nulls().cloned())?))
}

/// Texts as values of any type.
fn values(texts: &ArrayRef, data_type: &DataType, styles: &Styles) -> Result<ArrayRef> {
    if let Some(read) = column(texts, data_type, styles) {
        return read;
    }
    match data_type {
        DataType::Binary => bytea::read(texts),
        _ => Ok(cast_with_options(texts, data_type, &CastOptions { safe: false, ..CastOptions::default() })?),
    }
}

fn read<T: ArrowPrimitiveType>(args: &[ArrayRef], parse: impl Fn(&str) -> Result<T::Native>) -> Result<ArrayRef> {
    let texts = texts(args, 0)?;
    let values: PrimitiveArray<T> = each(args, |row| parse(texts.value(row)))?;
    Ok(Arc::new(values))
}

fn timestamptz(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, names, order) = (texts(args, 0)?, texts(args, 1)?, styles(args, 2)?.order);
    // One zone, as a rule, for all rows.
    let mut last: Option<(&str, ZoneRules)> = None;
    let mut instants = Vec::with_capacity(values.len());
    for row in 0..values.len() {
        if values.is_null(row) || names.is_null(row) {
            instants.push(None);
            continue;
        }
        let (text, name) = (values.value(row), names.value(row));
        let zone = match last {
            Some((of, zone)) if of == name => zone,
            _ => name.parse().map_err(|_| Bad::Zone.error("timestamp with time zone", name))?,
        };
        last = Some((name, zone));
        let instant = datetime_text::timestamptz(text, &zone, order);
        instants.push(Some(instant.map_err(|bad| bad.error("timestamp with time zone", text))?));
    }
    Ok(Arc::new(PrimitiveArray::<TimestampMicrosecondType>::from(instants).with_timezone(UTC)))
}

#[cfg(test)]
mod tests {
    use crate::expr::eval::tests::eval_one;

    #[test]
    fn values() {
        for (sql, expected) in [
            ("text_out(date_in('Jan 5, 2024'))", "2024-01-05"),
            ("text_out(date_in('01/02/03', 'ISO DMY postgres hex 1'))", "2003-02-01"),
            ("text_out(time_in('04:05 PM'))", "16:05:00"),
            ("text_out(timestamp_in('10000-01-01 00:00'))", "10000-01-01 00:00:00"),
            ("text_out(timestamptz_in('2024-01-01 10:00', 'Asia/Kolkata'))", "2024-01-01 04:30:00+00"),
            ("text_out(timestamptz_in('2024-01-01 10:00Z', 'Asia/Kolkata'))", "2024-01-01 10:00:00+00"),
            ("text_out(text_in(' 1e3 ', CAST(NULL AS DOUBLE)))", "1000"),
            ("text_in('1.2345', CAST(NULL AS DECIMAL(10, 3)))", "1.235"),
            ("text_out(text_in('{1, 2,NULL}', make_array(1)))", "{1,2,NULL}"),
            ("text_out(text_in('{{1,2},{3}}', make_array(make_array(1))))", "{{1,2},{3}}"),
            (
                "text_out(text_in('{01/02/03}', make_array(CAST(NULL AS DATE)), 'ISO DMY postgres hex 1'))",
                "{2003-02-01}",
            ),
            ("text_out(interval_in('1 mon 3 days 00:00:04.000005'))", "1 mon 3 days 00:00:04.000005"),
        ] {
            assert_eq!(eval_one(sql).unwrap(), expected, "{sql}");
        }
        assert!(eval_one("date_in('x')").unwrap_err().to_string().contains("invalid input syntax for type date"));
    }
}
