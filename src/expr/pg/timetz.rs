//! TIMETZ: casts between it and other times, and its arithmetic. What its values are kept as is told by
//! [`types::timetz`](crate::types::timetz).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder};
use arrow::datatypes::{
    DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};

use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, ScalarUDF, lit};
use datafusion::optimizer::AnalyzerRule;

use super::{each, texts, values};
use crate::common::clock::Clock;
use crate::common::{Error, Result};
use crate::expr::function::{Function, Returns, any_null, arg};
use crate::expr::{functions, rules};
use crate::types::datetime_text;
use crate::types::timetz::{TimeTz, WIDTH, timetz};
use crate::types::zone_rules::ZoneRules;

const TIME: DataType = DataType::Time64(TimeUnit::Microsecond);

/// Casts to and from TIMETZ, which Arrow has none of. Runs when types are resolved.
#[derive(Debug)]
pub struct TimeTzCasts;

impl AnalyzerRule for TimeTzCasts {
    fn name(&self) -> &str {
        "timetz_casts"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> DfResult<LogicalPlan> {
        let zone = config.execution.time_zone.as_deref().and_then(|name| name.parse::<ZoneRules>().ok());
        // A time without an offset has that of the session's zone now.
        let east = zone.map_or(0, |zone| zone.offset(Clock::system().now_micros()));
        let concerns = |e: &Expr| matches!(e, Expr::Cast(c) if *c.field.data_type() == timetz() || c.field.data_type().is_temporal());
        rules::rewrite(plan, concerns, |e, schema| own_cast(e, schema, east))
    }
}

fn own_cast(expr: Expr, schema: &DFSchema, east: i64) -> Transformed<Expr> {
    let Expr::Cast(Cast { expr, field }) = expr else { return Transformed::no(expr) };
    let to = field.data_type();
    let (name, to_zone) = match expr.get_type(schema) {
        Ok(from) if from.is_string() && *to == timetz() => ("timetz_in", true),
        Ok(DataType::Time64(_)) if *to == timetz() => ("timetz_of_time", true),
        Ok(DataType::Timestamp(TimeUnit::Microsecond, Some(_))) if *to == timetz() => ("timetz_of", false),
        Ok(from) if from == timetz() && *to == TIME => ("time_of_timetz", false),
        _ => return Transformed::no(Expr::Cast(Cast { expr, field })),
    };
    let Some(function) = functions::scalar(name) else { return Transformed::no(Expr::Cast(Cast { expr, field })) };
    let value = if name == "timetz_in" { Expr::Cast(Cast::new(expr, DataType::Utf8)) } else { *expr };
    let args = if to_zone { vec![value, lit(east)] } else { vec![value] };
    Transformed::yes(function.call(args))
}

/// The functions, for the registry.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    let zoned = |types: &[DataType]| match types {
        [zoned @ DataType::Timestamp(TimeUnit::Microsecond, Some(_))] => Ok(vec![zoned.clone()]),
        _ => Err(super::wrong_arguments("timetz_of", types)),
    };
    vec![
        Function::exact("timetz_in", &[DataType::Utf8, DataType::Int64], timetz(), |args| {
            let east = values::<Int64Type>(args, 1)?;
            let texts = texts(args, 0)?;
            each_time(args, |row| read(texts.value(row), east.value(row)))
        })
        .udf(),
        Function::exact("timetz_of_time", &[TIME, DataType::Int64], timetz(), |args| {
            let (times, east) = (values::<Time64MicrosecondType>(args, 0)?, values::<Int64Type>(args, 1)?);
            each_time(args, |row| Ok(TimeTz { micros: times.value(row), east: east.value(row) as i32 }))
        })
        .udf(),
        Function::coercing("timetz_of", zoned, Returns::Type(timetz()), |args| {
            let DataType::Timestamp(_, Some(zone)) = arg(args, 0)?.data_type() else {
                return Err(Error::internal("timetz_of of no zone"));
            };
            let (instants, zone) = (values::<TimestampMicrosecondType>(args, 0)?, zone.parse::<ZoneRules>()?);
            each_time(args, |row| Ok(TimeTz::at(instants.value(row), &zone)))
        })
        .udf(),
        Function::exact("time_of_timetz", &[timetz()], TIME, |args| {
            let times = column(args, 0)?;
            Ok(Arc::new(each::<Time64MicrosecondType>(args, |row| Ok(value(times, row)?.micros))?))
        })
        .udf(),
        Function::exact("timetz_plus", &[timetz(), interval], timetz(), |args| {
            let (times, spans) = (column(args, 0)?, values::<IntervalMonthDayNanoType>(args, 1)?);
            each_time(args, |row| Ok(value(times, row)?.plus(spans.value(row).nanoseconds / 1000)))
        })
        .udf(),
    ]
}

/// `timezone(zone, timetz)`: the same moment by that zone's clock now.
pub(super) fn in_zone(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (names, times) = (texts(args, 0)?, column(args, 1)?);
    let now = Clock::system().now_micros();
    each_time(args, |row| {
        let zone: ZoneRules = names.value(row).parse().map_err(|_| {
            super::wrong(format!("time zone \"{}\" not recognized", names.value(row)))
                .with_hint("zones have names such as Europe/Berlin, or are offsets such as +02:00")
        })?;
        Ok(value(times, row)?.moved(zone.offset(now) as i32))
    })
}

/// Texts as times; `east` is the offset, in seconds, of those that tell none.
///
/// # Errors
/// For a text that is no such time, as in a cast.
pub fn read_column(texts: &ArrayRef, east: i64) -> Result<ArrayRef> {
    let args = std::slice::from_ref(texts);
    let texts = super::texts(args, 0)?;
    each_time(args, |row| read(texts.value(row), east))
}

fn read(text: &str, east: i64) -> Result<TimeTz> {
    datetime_text::timetz(text, east).map_err(|bad| bad.error("time with time zone", text))
}

/// Argument `index`, a column of such times.
pub(super) fn column(args: &[ArrayRef], index: usize) -> Result<&FixedSizeBinaryArray> {
    arg(args, index)?.as_fixed_size_binary_opt().ok_or_else(|| Error::internal("a TIMETZ of other than bytes"))
}

pub(super) fn value(times: &FixedSizeBinaryArray, row: usize) -> Result<TimeTz> {
    TimeTz::of_bytes(times.value(row)).ok_or_else(|| Error::corrupted("a TIMETZ of other than 12 bytes"))
}

fn each_time(args: &[ArrayRef], answer: impl Fn(usize) -> Result<TimeTz>) -> Result<ArrayRef> {
    let rows = arg(args, 0)?.len();
    let mut out = FixedSizeBinaryBuilder::with_capacity(rows, WIDTH);
    for row in 0..rows {
        match any_null(args, row) {
            true => out.append_null(),
            false => out.append_value(answer(row)?.to_bytes())?,
        }
    }
    Ok(Arc::new(out.finish()))
}

#[cfg(test)]
mod tests {
    use crate::expr::eval::tests::eval_one;

    #[test]
    fn values() {
        for (sql, expected) in [
            ("text_out(timetz_in('12:34:56.5+02', 0))", "12:34:56.5+02"),
            ("text_out(timetz_in('04:05 PM', -12600))", "16:05:00-03:30"),
            ("text_out(timetz_in('allballs', 3600))", "00:00:00+00"),
            ("text_out(timetz_in('2024-07-01 12:00 America/New_York', 0))", "12:00:00-04"),
            ("text_out(timetz_of_time(time_in('12:00'), 7200))", "12:00:00+02"),
            ("text_out(timetz_of(timestamptz_in('2024-01-01 10:00', 'Asia/Kolkata')))", "04:30:00+00"),
            ("text_out(time_of_timetz(timetz_in('12:00+05', 0)))", "12:00:00"),
            ("text_out(timetz_plus(timetz_in('23:30+05', 0), INTERVAL '1 day 45 minutes'))", "00:15:00+05"),
            ("text_out(timetz_plus(timetz_in('00:30+05', 0), INTERVAL '-45 minutes'))", "23:45:00+05"),
            ("text_out(timezone('+03:00', timetz_in('23:30+02', 0)))", "00:30:00+03"),
            ("text_out(make_array(timetz_in('12:00+05', 0)))", "{12:00:00+05}"),
            ("timetz_in('12:00+05', 0) < timetz_in('12:00+04', 0)", "true"),
        ] {
            assert_eq!(eval_one(sql).unwrap(), expected, "{sql}");
        }
        for bad in ["12:00 Europe/Berlin", "12:00+25", "x", "25:00"] {
            assert!(eval_one(&format!("timetz_in('{bad}', 0)")).is_err(), "{bad}");
        }
    }
}
