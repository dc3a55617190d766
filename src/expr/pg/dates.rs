//! Dates, times and intervals: made of parts, read and written by patterns, cut, and put into zones.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{ArrayRef, AsArray, Date32Array, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, Offset, TimeZone};
use datafusion::logical_expr::ScalarUDF;

use super::pattern::parts;
use super::{
    each, each_text, number_format, out_of_range, texts, to_char, to_timestamp, values, wrong, wrong_arguments,
};
use crate::common::{Error, ErrorKind, Result};
use crate::expr::function::{Function, Returns, arg};
use crate::types::time;
use crate::types::timetz::timetz;

const TEXT: DataType = DataType::Utf8;
const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use DataType::{Float64, Int64};
    let (ts, tstz) = (time::timestamp(), time::timestamptz());
    let parts6 = [Int64, Int64, Int64, Int64, Int64, Float64];
    let parts7 = [Int64, Int64, Int64, Int64, Int64, Float64, TEXT];
    let intervals: Vec<Vec<DataType>> =
        (1..=7usize).map(|n| if n == 7 { [vec![Int64; 6], vec![Float64]].concat() } else { vec![Int64; n] }).collect();
    let intervals: Vec<&[DataType]> = intervals.iter().map(Vec::as_slice).collect();
    let by_interval = |name, eval| Function::exact(name, &[INTERVAL], INTERVAL, eval).udf();
    vec![
        Function::coercing("to_char", to_char::coerce, Returns::Type(TEXT), to_char::to_char)
            .alias("date_format")
            .udf(),
        Function::one_of("to_date", &[&[TEXT, TEXT], &[TEXT]], Returns::Type(DataType::Date32), to_date).udf(),
        Function::one_of("to_timestamp", &[&[TEXT, TEXT], &[Float64], &[TEXT]], Returns::Type(tstz.clone()), stamp)
            .udf(),
        Function::exact("to_number", &[TEXT, TEXT], DataType::Decimal128(38, 10), |args| {
            let (text, pattern) = (texts(args, 0)?, texts(args, 1)?);
            let digits = each_text(args, |row| {
                let number = number_format::to_number(text.value(row), pattern.value(row));
                number.map(Some).ok_or_else(|| {
                    let message = format!("invalid input syntax for type numeric: \"{}\"", text.value(row));
                    Error::new(ErrorKind::InvalidTextRepresentation, message)
                })
            })?;
            Ok(cast(&digits, &DataType::Decimal128(38, 10))?)
        })
        .udf(),
        Function::one_of(
            "age",
            &[&[ts.clone(), ts.clone()], &[tstz.clone(), tstz.clone()]],
            Returns::Type(INTERVAL),
            age,
        )
        .udf(),
        Function::coercing("date_trunc", trunc_types, Returns::Of(trunc_result), date_trunc).alias("datetrunc").udf(),
        Function::exact("make_time", &[Int64, Int64, Float64], DataType::Time64(TimeUnit::Microsecond), make_time)
            .udf(),
        Function::exact("make_timestamp", &parts6, ts.clone(), |args| make_timestamp(args, false)).udf(),
        Function::one_of("make_timestamptz", &[&parts6, &parts7], Returns::Type(tstz.clone()), |args| {
            make_timestamp(args, true)
        })
        .udf(),
        Function::one_of("make_interval", &intervals, Returns::Type(INTERVAL), make_interval).udf(),
        by_interval("justify_days", |args| justified(args, true, false)),
        by_interval("justify_hours", |args| justified(args, false, true)),
        by_interval("justify_interval", |args| justified(args, true, true)),
        Function::one_of("isfinite", &[&[ts], &[tstz], &[INTERVAL]], Returns::Type(DataType::Boolean), |args| {
            let array = arg(args, 0)?;
            Ok(Arc::new(arrow::array::BooleanArray::new(
                arrow::buffer::BooleanBuffer::new_set(array.len()),
                array.nulls().cloned(),
            )))
        })
        .udf(),
        Function::coercing("timezone", zone_types, Returns::Of(zone_result), timezone).udf(),
        Function::exact("interval_mul", &[INTERVAL, Float64], INTERVAL, |args| scaled(args, Ok)).udf(),
        Function::exact("interval_div", &[INTERVAL, Float64], INTERVAL, |args| {
            scaled(args, |divisor| match divisor {
                0.0 => Err(Error::new(ErrorKind::DivisionByZero, "division by zero")),
                divisor => Ok(1.0 / divisor),
            })
        })
        .udf(),
    ]
}

fn to_date(args: &[ArrayRef]) -> Result<ArrayRef> {
    if args.len() == 1 {
        return Ok(cast(arg(args, 0)?, &DataType::Date32)?);
    }
    let (text, pattern) = (texts(args, 0)?, texts(args, 1)?);
    let days: Date32Array = each::<Date32Type>(args, |row| {
        let (moment, _) = to_timestamp::read(text.value(row), &parts(pattern.value(row)))?;
        Ok(moment.date().num_days_from_ce() - 719_163)
    })?;
    Ok(Arc::new(days))
}

fn stamp(args: &[ArrayRef]) -> Result<ArrayRef> {
    let zoned = |array: TimestampMicrosecondArray| -> ArrayRef { Arc::new(array.with_timezone("UTC")) };
    if args.len() == 2 {
        let (text, pattern) = (texts(args, 0)?, texts(args, 1)?);
        return Ok(zoned(each::<TimestampMicrosecondType>(args, |row| {
            let (moment, offset) = to_timestamp::read(text.value(row), &parts(pattern.value(row)))?;
            Ok(moment.and_utc().timestamp_micros() - i64::from(offset.unwrap_or(0)) * SECOND)
        })?));
    }
    if arg(args, 0)?.data_type() == &TEXT {
        return Ok(cast(arg(args, 0)?, &time::timestamptz())?);
    }
    let seconds = values::<Float64Type>(args, 0)?;
    Ok(zoned(each::<TimestampMicrosecondType>(args, |row| {
        let micros = (seconds.value(row) * SECOND as f64).round();
        if micros.is_finite() && micros.abs() < 9e18 { Ok(micros as i64) } else { Err(out_of_range("timestamp")) }
    })?))
}

pub(super) fn naive(micros: i64) -> Result<NaiveDateTime> {
    Ok(DateTime::from_timestamp_micros(micros).ok_or_else(|| out_of_range("timestamp"))?.naive_utc())
}

/// The symbolic difference: years, months, then days and time.
fn age(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (late, early) = (values::<TimestampMicrosecondType>(args, 0)?, values::<TimestampMicrosecondType>(args, 1)?);
    Ok(Arc::new(each::<IntervalMonthDayNanoType>(args, |row| {
        let (late, early) = (late.value(row), early.value(row));
        let (sign, a, b) = if late >= early { (1, late, early) } else { (-1, early, late) };
        let (a, b) = (naive(a)?, naive(b)?);
        let mut months = (a.year() - b.year()) * 12 + a.month() as i32 - b.month() as i32;
        let mut days = a.day() as i32 - b.day() as i32;
        let mut micros = (a.time() - b.time()).num_microseconds().unwrap_or(0);
        if micros < 0 {
            micros += DAY;
            days -= 1;
        }
        if days < 0 {
            // Of the month that the earlier time is in.
            let length = days_of_month(b.year(), b.month());
            days += length;
            months -= 1;
        }
        Ok(IntervalMonthDayNano::new(sign * months, sign * days, i64::from(sign) * micros * 1000))
    })?))
}

fn days_of_month(year: i32, month: u32) -> i32 {
    let first = NaiveDate::from_ymd_opt(year, month, 1);
    let next = first.and_then(|d| d.checked_add_months(Months::new(1)));
    match (first, next) {
        (Some(first), Some(next)) => (next - first).num_days() as i32,
        _ => 30,
    }
}

/// What `date_trunc` cuts down to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Unit {
    /// So many microseconds.
    Fixed(i64),
    Week,
    /// So many months.
    Months(i32),
    /// So many years, that begin with the one behind a multiple of them.
    Years(i32),
}

fn unit(name: &str) -> Result<Unit> {
    let name = name.to_ascii_lowercase();
    Ok(match name.as_str() {
        "microsecond" | "microseconds" | "us" => Unit::Fixed(1),
        "millisecond" | "milliseconds" | "ms" => Unit::Fixed(1000),
        "second" | "seconds" | "sec" | "s" => Unit::Fixed(SECOND),
        "minute" | "minutes" | "min" | "m" => Unit::Fixed(60 * SECOND),
        "hour" | "hours" | "h" => Unit::Fixed(3600 * SECOND),
        "day" | "days" | "d" => Unit::Fixed(DAY),
        "week" | "weeks" | "w" => Unit::Week,
        "month" | "months" | "mon" => Unit::Months(1),
        "quarter" | "quarters" | "qtr" => Unit::Months(3),
        "year" | "years" | "y" => Unit::Months(12),
        "decade" | "decades" => Unit::Months(120),
        "century" | "centuries" => Unit::Years(100),
        "millennium" | "millennia" => Unit::Years(1000),
        _ => {
            return Err(wrong(format!("unit \"{name}\" not recognized")).with_hint(
                "units are microseconds to hour, day, week, month, quarter, year, decade, century, millennium",
            ));
        }
    })
}

fn trunc_types(types: &[DataType]) -> Result<Vec<DataType>> {
    let wrong = || wrong_arguments("date_trunc", types);
    let [_, value, rest @ ..] = types else { return Err(wrong()) };
    let value = match value {
        DataType::Timestamp(_, Some(zone)) => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(zone))),
        // A day begins where the session is.
        DataType::Date32 | DataType::Date64 => time::timestamptz(),
        DataType::Timestamp(_, None) | DataType::Null | DataType::Utf8 | DataType::Utf8View => time::timestamp(),
        DataType::Interval(_) | DataType::Time64(_) | DataType::Duration(_) => INTERVAL,
        _ => return Err(wrong()),
    };
    match (rest.len(), &value) {
        (0, _) => Ok(vec![TEXT, value]),
        (1, DataType::Timestamp(_, Some(_))) => Ok(vec![TEXT, value, TEXT]),
        _ => Err(wrong()),
    }
}

fn trunc_result(types: &[DataType]) -> Result<DataType> {
    types.get(1).cloned().ok_or_else(|| wrong_arguments("date_trunc", types))
}

fn date_trunc(args: &[ArrayRef]) -> Result<ArrayRef> {
    let names = texts(args, 0)?;
    let value = arg(args, 1)?;
    // The unit of the last row, as a rule that of all.
    let known = std::cell::RefCell::new((String::new(), Unit::Fixed(1)));
    let unit = |row: usize| -> Result<Unit> {
        let name = names.value(row);
        let mut known = known.borrow_mut();
        if known.0 != name {
            *known = (name.to_string(), unit(name)?);
        }
        Ok(known.1)
    };
    if let DataType::Interval(_) = value.data_type() {
        let intervals = value.as_primitive::<IntervalMonthDayNanoType>();
        let cut = each::<IntervalMonthDayNanoType>(args, |row| cut_interval(intervals.value(row), unit(row)?))?;
        return Ok(Arc::new(cut));
    }
    let times = value.as_primitive::<TimestampMicrosecondType>();
    let DataType::Timestamp(_, of_type) = value.data_type() else {
        return Err(Error::internal("date_trunc of other than times"));
    };
    let given = if args.len() > 2 { Some(texts(args, 2)?) } else { None };
    let own = match of_type.as_deref() {
        None | Some("UTC") => None,
        Some(zone) => Some(zone.parse::<Tz>()?),
    };
    let cut = each::<TimestampMicrosecondType>(args, |row| {
        let zone = match given {
            Some(zones) => Some(zone(zones.value(row))?),
            None => own,
        };
        let unit = unit(row)?;
        match (zone, unit) {
            (None, _) => cut(times.value(row), unit),
            (Some(zone), unit) => {
                let local = zone.from_utc_datetime(&naive(times.value(row))?).naive_local();
                let local = cut(local.and_utc().timestamp_micros(), unit)?;
                of_local(local, zone)
            }
        }
    })?;
    Ok(Arc::new(cut.with_timezone_opt(of_type.clone())))
}

fn cut(micros: i64, unit: Unit) -> Result<i64> {
    let floor =
        |size: i64, offset: i64| time::tumble_start(micros, size, offset).ok_or_else(|| out_of_range("timestamp"));
    match unit {
        Unit::Fixed(size) => floor(size, 0),
        // 1970-01-05 was a Monday.
        Unit::Week => floor(7 * DAY, 4 * DAY),
        Unit::Months(months) => {
            let date = naive(micros)?.date();
            let month = date.year() * 12 + date.month0() as i32;
            let first = month - month.rem_euclid(months);
            start_of(first.div_euclid(12), first.rem_euclid(12) as u32 + 1)
        }
        Unit::Years(years) => {
            let year = naive(micros)?.year();
            start_of(year - (year - 1).rem_euclid(years), 1)
        }
    }
}

fn start_of(year: i32, month: u32) -> Result<i64> {
    let date = NaiveDate::from_ymd_opt(year, month, 1).ok_or_else(|| out_of_range("timestamp"))?;
    Ok(i64::from(date.num_days_from_ce() - 719_163) * DAY)
}

fn cut_interval(v: IntervalMonthDayNano, unit: Unit) -> Result<IntervalMonthDayNano> {
    Ok(match unit {
        Unit::Fixed(DAY) => IntervalMonthDayNano::new(v.months, v.days, 0),
        Unit::Fixed(size) => IntervalMonthDayNano::new(v.months, v.days, v.nanoseconds - v.nanoseconds % (size * 1000)),
        Unit::Week => {
            return Err(Error::not_supported("unit \"week\" not supported for type interval")
                .with_hint("months usually have fractional weeks: use day"));
        }
        Unit::Months(months) => IntervalMonthDayNano::new(v.months - v.months % months, 0, 0),
        Unit::Years(years) => IntervalMonthDayNano::new(v.months - v.months % (years * 12), 0, 0),
    })
}

fn zone(name: &str) -> Result<Tz> {
    name.parse().map_err(|_| {
        wrong(format!("time zone \"{name}\" not recognized"))
            .with_hint("write a name such as 'Europe/Berlin', or '+02:00'")
    })
}

/// The instant of a local time; one that a clock leaves out is an hour later, one that it shows twice the first.
fn of_local(local: i64, zone: Tz) -> Result<i64> {
    let wanted = naive(local)?;
    let found = zone.from_local_datetime(&wanted).earliest();
    let offset = match found {
        Some(at) => at.offset().fix().local_minus_utc(),
        None => zone.from_utc_datetime(&wanted).offset().fix().local_minus_utc(),
    };
    Ok(local - i64::from(offset) * SECOND)
}

fn zone_types(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [_, DataType::Timestamp(_, Some(_))] => Ok(vec![TEXT, time::timestamptz()]),
        [_, own] if *own == timetz() => Ok(vec![TEXT, timetz()]),
        [_, DataType::Timestamp(_, None) | DataType::Date32 | DataType::Null] => Ok(vec![TEXT, time::timestamp()]),
        _ => Err(wrong_arguments("timezone", types)),
    }
}

fn zone_result(types: &[DataType]) -> Result<DataType> {
    match types.get(1) {
        Some(DataType::Timestamp(_, Some(_))) => Ok(time::timestamp()),
        Some(own) if *own == timetz() => Ok(timetz()),
        _ => Ok(time::timestamptz()),
    }
}

/// `AT TIME ZONE`: a local time becomes an instant, an instant a local time.
fn timezone(args: &[ArrayRef]) -> Result<ArrayRef> {
    if *arg(args, 1)?.data_type() == timetz() {
        return super::timetz::in_zone(args);
    }
    let (zones, times) = (texts(args, 0)?, values::<TimestampMicrosecondType>(args, 1)?);
    let zoned = matches!(arg(args, 1)?.data_type(), DataType::Timestamp(_, Some(_)));
    let moved = each::<TimestampMicrosecondType>(args, |row| {
        let zone = zone(zones.value(row))?;
        match zoned {
            true => {
                let local = zone.from_utc_datetime(&naive(times.value(row))?).naive_local();
                Ok(local.and_utc().timestamp_micros())
            }
            false => of_local(times.value(row), zone),
        }
    })?;
    Ok(Arc::new(if zoned { moved } else { moved.with_timezone("UTC") }))
}

fn micros_of(seconds: f64) -> Option<i64> {
    (0.0..60.0 + f64::EPSILON).contains(&seconds).then(|| (seconds * SECOND as f64).round() as i64)
}

fn make_time(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (hours, minutes) = (values::<Int64Type>(args, 0)?, values::<Int64Type>(args, 1)?);
    let seconds = values::<Float64Type>(args, 2)?;
    Ok(Arc::new(each::<Time64MicrosecondType>(args, |row| {
        clock(hours.value(row), minutes.value(row), seconds.value(row))
    })?))
}

fn clock(hour: i64, minute: i64, second: f64) -> Result<i64> {
    let in_range = (0..=24).contains(&hour) && (0..60).contains(&minute);
    let micros = micros_of(second).filter(|_| in_range);
    let micros = micros.map(|m| (hour * 3600 + minute * 60) * SECOND + m).filter(|m| *m <= DAY);
    micros.ok_or_else(|| {
        let message = format!("time field value out of range: {hour}:{minute:02}:{second}");
        Error::new(ErrorKind::DatetimeOverflow, message)
    })
}

fn make_timestamp(args: &[ArrayRef], zoned: bool) -> Result<ArrayRef> {
    let part = |i| values::<Int64Type>(args, i);
    let (years, months, days, hours, minutes) = (part(0)?, part(1)?, part(2)?, part(3)?, part(4)?);
    let seconds = values::<Float64Type>(args, 5)?;
    let zones = if args.len() > 6 { Some(texts(args, 6)?) } else { None };
    let made = each::<TimestampMicrosecondType>(args, |row| {
        let (year, month, day) = (years.value(row), months.value(row), days.value(row));
        // A year before the first is BC; there is none of number 0.
        let date = u32::try_from(month).ok().zip(u32::try_from(day).ok()).filter(|_| year != 0).and_then(|(m, d)| {
            NaiveDate::from_ymd_opt(i32::try_from(if year < 0 { year + 1 } else { year }).ok()?, m, d)
        });
        let date = date.ok_or_else(|| {
            let message = format!("date field value out of range: {year}-{month:02}-{day:02}");
            Error::new(ErrorKind::DatetimeOverflow, message)
        })?;
        let at = i64::from(date.num_days_from_ce() - 719_163) * DAY
            + clock(hours.value(row), minutes.value(row), seconds.value(row))?;
        match zones {
            Some(zones) => of_local(at, zone(zones.value(row))?),
            None => Ok(at),
        }
    })?;
    Ok(Arc::new(if zoned { made.with_timezone("UTC") } else { made }))
}

/// Years, months, weeks, days, hours, minutes, seconds; those that are not given are 0.
fn make_interval(args: &[ArrayRef]) -> Result<ArrayRef> {
    let wholes = (0..args.len().min(6)).map(|i| values::<Int64Type>(args, i)).collect::<Result<Vec<_>>>()?;
    let seconds = if args.len() > 6 { Some(values::<Float64Type>(args, 6)?) } else { None };
    Ok(Arc::new(each::<IntervalMonthDayNanoType>(args, |row| {
        let part = |i: usize| wholes.get(i).map_or(0, |p| p.value(row));
        let seconds = seconds.map_or(0.0, |s| s.value(row));
        let months =
            i32::try_from(part(0).saturating_mul(12).saturating_add(part(1))).map_err(|_| out_of_range("interval"))?;
        let days =
            i32::try_from(part(2).saturating_mul(7).saturating_add(part(3))).map_err(|_| out_of_range("interval"))?;
        let micros = part(4)
            .saturating_mul(3600 * SECOND)
            .saturating_add(part(5).saturating_mul(60 * SECOND))
            .saturating_add((seconds * SECOND as f64).round() as i64);
        let nanoseconds = micros.checked_mul(1000).ok_or_else(|| out_of_range("interval"))?;
        Ok(IntervalMonthDayNano::new(months, days, nanoseconds))
    })?))
}

/// 24 hours become a day, 30 days a month; all parts then have one sign.
fn justified(args: &[ArrayRef], days: bool, hours: bool) -> Result<ArrayRef> {
    const NANOS: i64 = DAY * 1000;
    let intervals = values::<IntervalMonthDayNanoType>(args, 0)?;
    Ok(Arc::new(each::<IntervalMonthDayNanoType>(args, |row| {
        let v = intervals.value(row);
        let (mut month, mut day, mut nanos) = (i64::from(v.months), i64::from(v.days), v.nanoseconds);
        if hours {
            day += nanos / NANOS;
            nanos %= NANOS;
        }
        if days {
            month += day / 30;
            day %= 30;
            if month > 0 && (day < 0 || (hours && day == 0 && nanos < 0)) {
                (month, day) = (month - 1, day + 30);
            } else if month < 0 && (day > 0 || (hours && day == 0 && nanos > 0)) {
                (month, day) = (month + 1, day - 30);
            }
        }
        if hours {
            if day > 0 && nanos < 0 {
                (day, nanos) = (day - 1, nanos + NANOS);
            } else if day < 0 && nanos > 0 {
                (day, nanos) = (day + 1, nanos - NANOS);
            }
        }
        let month = i32::try_from(month).map_err(|_| out_of_range("interval"))?;
        let day = i32::try_from(day).map_err(|_| out_of_range("interval"))?;
        Ok(IntervalMonthDayNano::new(month, day, nanos))
    })?))
}

/// Fractions of months become days, of days time, as PostgreSQL has it.
fn scaled(args: &[ArrayRef], factor: impl Fn(f64) -> Result<f64>) -> Result<ArrayRef> {
    let (intervals, factors) = (values::<IntervalMonthDayNanoType>(args, 0)?, values::<Float64Type>(args, 1)?);
    Ok(Arc::new(each::<IntervalMonthDayNanoType>(args, |row| {
        let (v, factor) = (intervals.value(row), factor(factors.value(row))?);
        let months = f64::from(v.months) * factor;
        let days = f64::from(v.days) * factor;
        let of_months = (months - months.trunc()) * 30.0;
        // What is a whole day but for the error of floating point is one.
        let near = |x: f64| if (x - x.round()).abs() < 1e-6 { x.round() } else { x };
        let of_months = near(of_months);
        let rest_days = near((days - days.trunc()) + (of_months - of_months.trunc()));
        let nanos = v.nanoseconds as f64 * factor + rest_days * (DAY * 1000) as f64;
        let all_days = days.trunc() + of_months.trunc();
        let fits =
            |x: f64, limit: f64| if x.is_finite() && x.abs() < limit { Ok(x) } else { Err(out_of_range("interval")) };
        Ok(IntervalMonthDayNano::new(
            fits(months.trunc(), 2e9)? as i32,
            fits(all_days, 2e9)? as i32,
            (fits(nanos, 9e18)? / 1000.0).round() as i64 * 1000,
        ))
    })?))
}
