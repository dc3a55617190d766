//! Text as dates, times and intervals, as PostgreSQL reads it.
//!
//! Arrow reads ISO 8601 alone, and not all of it. A rule puts the function in the place of such casts, those that
//! DataFusion makes itself too (`ts > '2024-01-01 10:00'`), for views and for SELECT alike.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, PrimitiveArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, ScalarUDF, lit};
use datafusion::optimizer::AnalyzerRule;

use super::{each, texts};
use crate::common::Result;
use crate::expr::function::{Eval, Function};
use crate::expr::{functions, rules};
use crate::types::datetime_text::{self, Bad};
use crate::types::{interval_text, time};

const UTC: &str = "UTC";

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
        _ => vec![text],
    };
    Transformed::yes(Expr::Cast(Cast { expr: Box::new(reader.call(args)), field }))
}

/// The function that reads a type.
fn reader(data_type: &DataType) -> Option<(&'static str, Eval)> {
    Some(match data_type {
        DataType::Date32 => ("date_in", date),
        DataType::Time64(TimeUnit::Microsecond) => ("time_in", time_of_day),
        DataType::Timestamp(TimeUnit::Microsecond, None) => ("timestamp_in", timestamp),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => ("timestamptz_in", timestamptz),
        DataType::Interval(IntervalUnit::MonthDayNano) => ("interval_in", interval),
        _ => return None,
    })
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
        Some(Function::exact(name, &vec![DataType::Utf8; args], to, eval).udf())
    };
    types.into_iter().filter_map(function).collect()
}

fn date(args: &[ArrayRef]) -> Result<ArrayRef> {
    read::<Date32Type>(args, |text| datetime_text::date(text).map_err(|bad| bad.error("date", text)))
}

fn time_of_day(args: &[ArrayRef]) -> Result<ArrayRef> {
    read::<Time64MicrosecondType>(args, |text| datetime_text::time(text).map_err(|bad| bad.error("time", text)))
}

fn timestamp(args: &[ArrayRef]) -> Result<ArrayRef> {
    let parse = |text: &str| datetime_text::timestamp(text).map_err(|bad| bad.error("timestamp", text));
    read::<TimestampMicrosecondType>(args, parse)
}

fn interval(args: &[ArrayRef]) -> Result<ArrayRef> {
    read::<IntervalMonthDayNanoType>(args, interval_text::parse)
}

/// A column of texts as a type of this file; `None` for any other type.
///
/// # Errors
/// For a text that is no such value, as in a cast. Texts without a zone are UTC.
pub fn column(texts: &ArrayRef, data_type: &DataType) -> Option<Result<ArrayRef>> {
    let (_, read) = reader(data_type)?;
    let texts = match cast(texts, &DataType::Utf8) {
        Ok(texts) => texts,
        Err(e) => return Some(Err(e.into())),
    };
    Some(match data_type {
        DataType::Timestamp(_, Some(_)) => {
            let zones: ArrayRef = Arc::new(StringArray::from(vec![UTC; texts.len()]));
            read(&[texts, zones]).and_then(|instants| Ok(cast(&instants, data_type)?))
        }
        _ => read(&[texts]),
    })
}

fn read<T: ArrowPrimitiveType>(args: &[ArrayRef], parse: impl Fn(&str) -> Result<T::Native>) -> Result<ArrayRef> {
    let texts = texts(args, 0)?;
    let values: PrimitiveArray<T> = each(args, |row| parse(texts.value(row)))?;
    Ok(Arc::new(values))
}

fn timestamptz(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, names) = (texts(args, 0)?, texts(args, 1)?);
    // One zone, as a rule, for all rows.
    let mut last: Option<(&str, Tz)> = None;
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
        let instant = datetime_text::timestamptz(text, &zone);
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
            ("text_out(time_in('04:05 PM'))", "16:05:00"),
            ("text_out(timestamp_in('10000-01-01 00:00'))", "10000-01-01 00:00:00"),
            ("text_out(timestamptz_in('2024-01-01 10:00', 'Asia/Kolkata'))", "2024-01-01 04:30:00+00"),
            ("text_out(timestamptz_in('2024-01-01 10:00Z', 'Asia/Kolkata'))", "2024-01-01 10:00:00+00"),
            ("text_out(interval_in('1 mon 3 days 00:00:04.000005'))", "1 mon 3 days 00:00:04.000005"),
        ] {
            assert_eq!(eval_one(sql).unwrap(), expected, "{sql}");
        }
        assert!(eval_one("date_in('x')").unwrap_err().to_string().contains("invalid input syntax for type date"));
    }
}
