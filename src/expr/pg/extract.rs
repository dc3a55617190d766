//! `extract` and `date_part`: fields of times, dates, intervals.
//!
//! `extract` gives whole numbers, and NUMERIC for what has a fraction; `date_part` gives floating point.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array};
use arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
    TimestampMicrosecondType,
};
use chrono::{Datelike, NaiveDateTime, Offset, TimeZone};
use datafusion::logical_expr::ScalarUDF;

use super::dates::naive;
use super::{each, texts, wrong, wrong_arguments};
use crate::common::{Error, Result};
use crate::expr::function::{Function, Returns, arg};
use crate::types::time;
use crate::types::timetz::{TimeTz, timetz};

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// The function of `extract` for a field: by the type of its result.
pub(super) fn function_of(field: &str) -> &'static str {
    match Field::of(field) {
        Some(Field::Epoch | Field::Second) => "extract_seconds",
        Some(Field::Milliseconds) => "extract_milliseconds",
        Some(Field::Microseconds) => "extract_microseconds",
        _ => "extract",
    }
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let seconds = DataType::Decimal128(24, 6);
    let milliseconds = DataType::Decimal128(24, 3);
    let of = |name, returns: DataType, eval| Function::coercing(name, coerce, Returns::Type(returns), eval).udf();
    vec![
        of("extract", DataType::Int32, |args| {
            let values = each::<Int32Type>(args, |row| Ok((read(args, row)? / 1_000_000) as i32))?;
            Ok(Arc::new(values) as ArrayRef)
        }),
        of("extract_microseconds", DataType::Int64, |args| {
            let values: Int64Array = each::<Int64Type>(args, |row| Ok((read(args, row)? / 1_000_000) as i64))?;
            Ok(Arc::new(values) as ArrayRef)
        }),
        of("extract_seconds", seconds, |args| {
            let values: Decimal128Array = each::<Decimal128Type>(args, |row| read(args, row))?;
            Ok(Arc::new(values.with_precision_and_scale(24, 6)?) as ArrayRef)
        }),
        of("extract_milliseconds", milliseconds, |args| {
            let values: Decimal128Array = each::<Decimal128Type>(args, |row| Ok(read(args, row)? / 1000))?;
            Ok(Arc::new(values.with_precision_and_scale(24, 3)?) as ArrayRef)
        }),
        Function::coercing("date_part", coerce, Returns::Type(DataType::Float64), |args| {
            let values: Float64Array = each::<Float64Type>(args, |row| Ok(read(args, row)? as f64 / 1e6))?;
            Ok(Arc::new(values))
        })
        .alias("datepart")
        .udf(),
    ]
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    let [_, value] = types else { return Err(wrong_arguments("date_part", types)) };
    let value = match value {
        DataType::Timestamp(_, Some(zone)) => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(zone))),
        DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 | DataType::Null => time::timestamp(),
        DataType::Utf8 | DataType::Utf8View => time::timestamp(),
        DataType::Interval(_) | DataType::Duration(_) => INTERVAL,
        DataType::Time64(_) | DataType::Time32(_) => DataType::Time64(TimeUnit::Microsecond),
        own if *own == timetz() => timetz(),
        _ => return Err(wrong_arguments("date_part", types)),
    };
    Ok(vec![DataType::Utf8, value])
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Field {
    Century,
    Day,
    Decade,
    Dow,
    Doy,
    Epoch,
    Hour,
    Isodow,
    Isoyear,
    Julian,
    Microseconds,
    Millennium,
    Milliseconds,
    Minute,
    Month,
    Quarter,
    Second,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
    Week,
    Year,
}

impl Field {
    fn of(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "century" | "centuries" | "c" => Self::Century,
            "day" | "days" | "d" => Self::Day,
            "decade" | "decades" => Self::Decade,
            "dow" => Self::Dow,
            "doy" => Self::Doy,
            "epoch" => Self::Epoch,
            "hour" | "hours" | "h" => Self::Hour,
            "isodow" => Self::Isodow,
            "isoyear" => Self::Isoyear,
            "julian" => Self::Julian,
            "microsecond" | "microseconds" | "us" => Self::Microseconds,
            "millennium" | "millennia" => Self::Millennium,
            "millisecond" | "milliseconds" | "ms" => Self::Milliseconds,
            "minute" | "minutes" | "min" | "m" => Self::Minute,
            "month" | "months" | "mon" => Self::Month,
            "quarter" | "qtr" => Self::Quarter,
            "second" | "seconds" | "sec" | "s" => Self::Second,
            "timezone" => Self::Timezone,
            "timezone_hour" => Self::TimezoneHour,
            "timezone_minute" => Self::TimezoneMinute,
            "week" | "weeks" | "w" => Self::Week,
            "year" | "years" | "y" => Self::Year,
            _ => return None,
        })
    }
}

/// The field of a row, in millionths.
fn read(args: &[ArrayRef], row: usize) -> Result<i128> {
    let name = texts(args, 0)?.value(row);
    let unknown = || {
        wrong(format!("unit \"{name}\" not recognized"))
            .with_hint("units are year, month, day, hour, minute, second, epoch, dow, doy, week, quarter, …")
    };
    let field = Field::of(name).ok_or_else(unknown)?;
    let value = arg(args, 1)?;
    let unfit = || Error::not_supported(format!("unit \"{name}\" not supported for type {}", value.data_type()));
    match value.data_type() {
        DataType::Timestamp(_, zone) => {
            let micros = value.as_primitive::<TimestampMicrosecondType>().value(row);
            let mut at = naive(micros)?;
            let mut offset = None;
            if let Some(zone) = zone {
                let local = zone.parse::<Tz>()?.from_utc_datetime(&at);
                offset = Some(local.offset().fix().local_minus_utc());
                at = local.naive_local();
            }
            of_time(field, at, micros, offset).ok_or_else(unfit)
        }
        DataType::Interval(_) => {
            let v = value.as_primitive::<IntervalMonthDayNanoType>().value(row);
            of_interval(field, v.months.into(), v.days.into(), v.nanoseconds / 1000).ok_or_else(unfit)
        }
        own if *own == timetz() => {
            let TimeTz { micros, east } = super::timetz::value(super::timetz::column(args, 1)?, row)?;
            match field {
                Field::Hour | Field::Minute | Field::Second | Field::Milliseconds | Field::Microseconds => {
                    of_interval(field, 0, 0, micros).ok_or_else(unfit)
                }
                Field::Epoch => Ok(i128::from(micros) - i128::from(east) * ONE),
                Field::Timezone => Ok(i128::from(east) * ONE),
                Field::TimezoneHour => Ok(i128::from(east / 3600) * ONE),
                Field::TimezoneMinute => Ok(i128::from(east / 60 % 60) * ONE),
                _ => Err(unfit()),
            }
        }
        _ => {
            let micros = value.as_primitive::<arrow::datatypes::Time64MicrosecondType>().value(row);
            match field {
                Field::Hour
                | Field::Minute
                | Field::Second
                | Field::Milliseconds
                | Field::Microseconds
                | Field::Epoch => of_interval(field, 0, 0, micros).ok_or_else(unfit),
                _ => Err(unfit()),
            }
        }
    }
}

const ONE: i128 = 1_000_000;

fn of_time(field: Field, at: NaiveDateTime, micros: i64, offset: Option<i32>) -> Option<i128> {
    let year = i128::from(at.year());
    let of_day = i128::from(at.and_utc().timestamp_micros().rem_euclid(86_400_000_000));
    let of_minute = of_day % 60_000_000;
    let whole = match field {
        // There is no year 0.
        Field::Century => {
            if year > 0 {
                (year + 99) / 100
            } else {
                -((99 - (year - 1)) / 100)
            }
        }
        Field::Millennium => {
            if year > 0 {
                (year + 999) / 1000
            } else {
                -((999 - (year - 1)) / 1000)
            }
        }
        Field::Decade => year.div_euclid(10),
        Field::Year => {
            if year > 0 {
                year
            } else {
                year - 1
            }
        }
        Field::Isoyear => {
            let year = i128::from(at.iso_week().year());
            if year > 0 { year } else { year - 1 }
        }
        Field::Quarter => i128::from(at.month0() / 3 + 1),
        Field::Month => at.month().into(),
        Field::Week => at.iso_week().week().into(),
        Field::Day => at.day().into(),
        Field::Dow => at.weekday().num_days_from_sunday().into(),
        Field::Isodow => at.weekday().number_from_monday().into(),
        Field::Doy => at.ordinal().into(),
        Field::Julian => i128::from(at.num_days_from_ce()) + 1_721_425,
        Field::Hour => of_day / 3_600_000_000,
        Field::Minute => of_day / 60_000_000 % 60,
        Field::Microseconds => of_minute,
        Field::Second => return Some(of_minute),
        Field::Milliseconds => return Some(of_minute * 1000),
        Field::Epoch => return Some(micros.into()),
        Field::Timezone => offset?.into(),
        Field::TimezoneHour => (offset? / 3600).into(),
        Field::TimezoneMinute => (offset? / 60 % 60).into(),
    };
    Some(whole * ONE)
}

fn of_interval(field: Field, months: i128, days: i128, micros: i64) -> Option<i128> {
    let micros = i128::from(micros);
    let whole = match field {
        Field::Year => months / 12,
        Field::Month => months % 12,
        Field::Quarter => months % 12 / 3 + 1,
        Field::Decade => months / 120,
        Field::Century => months / 1200,
        Field::Millennium => months / 12_000,
        Field::Day => days,
        Field::Hour => micros / 3_600_000_000,
        Field::Minute => micros / 60_000_000 % 60,
        Field::Microseconds => micros % 60_000_000,
        Field::Second => return Some(micros % 60_000_000),
        Field::Milliseconds => return Some(micros % 60_000_000 * 1000),
        // A year has 365.25 days here, a month 30.
        Field::Epoch => {
            let seconds = months / 12 * 31_557_600 + months % 12 * 2_592_000 + days * 86_400;
            return Some(seconds * ONE + micros);
        }
        _ => return None,
    };
    Some(whole * ONE)
}
