//! `to_char` of timestamps, dates and intervals.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float64Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimestampMicrosecondType,
};
use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeZone, Timelike, Utc};

use super::number_format;
use super::pattern::{Case, DAYS, Field, MONTHS, Marked, Part, ROMAN_MONTHS, cased, parts, suffix};
use crate::common::{Error, ErrorKind, Result};
use crate::expr::function::{any_null, arg};
use crate::types::time;

/// What the values are cast to.
pub(super) fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    let [value, pattern] = types else { return Err(wrong_arguments(types)) };
    if !matches!(pattern, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Null) {
        return Err(wrong_arguments(types));
    }
    let value = match value {
        DataType::Timestamp(_, Some(zone)) => {
            DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some(Arc::clone(zone)))
        }
        DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 | DataType::Null => time::timestamp(),
        DataType::Interval(_) | DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) => {
            DataType::Interval(IntervalUnit::MonthDayNano)
        }
        t if t.is_integer() => DataType::Int64,
        DataType::Decimal128(..) => value.clone(),
        t if t.is_floating() => DataType::Float64,
        _ => return Err(wrong_arguments(types)),
    };
    Ok(vec![value, DataType::Utf8])
}

fn wrong_arguments(types: &[DataType]) -> Error {
    let types: Vec<String> = types.iter().map(ToString::to_string).collect();
    Error::new(ErrorKind::UndefinedFunction, format!("function to_char({}) does not exist", types.join(", ")))
        .with_hint("its arguments are a time, an interval or a number, and a pattern")
}

/// The pattern of the last row, read: as a rule all rows have one.
struct Patterns<'a> {
    texts: &'a StringArray,
    last: Option<(usize, Vec<Part>)>,
}

impl Patterns<'_> {
    fn at(&mut self, row: usize) -> &[Part] {
        let same = self.last.as_ref().is_some_and(|(last, _)| self.texts.value(*last) == self.texts.value(row));
        if !same {
            self.last = Some((row, parts(self.texts.value(row))));
        }
        self.last.as_ref().map(|(_, parts)| parts.as_slice()).unwrap_or_default()
    }
}

pub(super) fn to_char(args: &[ArrayRef]) -> Result<ArrayRef> {
    let value = arg(args, 0)?;
    let texts = arg(args, 1)?.as_string::<i32>();
    let mut patterns = Patterns { texts, last: None };
    let rows = 0..value.len();
    let out: StringArray = match value.data_type() {
        DataType::Timestamp(_, zone) => {
            let zone = zone.as_deref().map(str::parse::<Tz>).transpose()?;
            let values = value.as_primitive::<TimestampMicrosecondType>();
            rows.map(|row| match any_null(args, row) {
                true => Ok(None),
                false => {
                    let moment = Moment::of_timestamp(values.value(row), zone)?;
                    Ok(Some(write(patterns.at(row), &moment)))
                }
            })
            .collect::<Result<_>>()?
        }
        DataType::Interval(_) => {
            let values = value.as_primitive::<IntervalMonthDayNanoType>();
            rows.map(|row| {
                (!any_null(args, row)).then(|| {
                    let v = values.value(row);
                    write(patterns.at(row), &Moment::of_interval(v.months, v.days, v.nanoseconds / 1000))
                })
            })
            .collect()
        }
        DataType::Int64 => {
            let values = value.as_primitive::<Int64Type>();
            rows.map(|row| {
                (!any_null(args, row)).then(|| number_format::exact(&values.value(row).to_string(), texts.value(row)))
            })
            .collect()
        }
        DataType::Float64 => {
            let values = value.as_primitive::<Float64Type>();
            rows.map(|row| (!any_null(args, row)).then(|| number_format::float(values.value(row), texts.value(row))))
                .collect()
        }
        _ => {
            let digits = cast(value, &DataType::Utf8)?;
            let digits = digits.as_string::<i32>();
            rows.map(|row| (!any_null(args, row)).then(|| number_format::exact(digits.value(row), texts.value(row))))
                .collect()
        }
    };
    Ok(Arc::new(out))
}

/// What patterns ask for.
struct Moment {
    year: i32,
    month: u32,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    /// None for an interval.
    date: Option<NaiveDateTime>,
    zone: Option<(String, i32)>,
}

impl Moment {
    fn of_timestamp(micros: i64, zone: Option<Tz>) -> Result<Self> {
        let utc = DateTime::<Utc>::from_timestamp_micros(micros)
            .ok_or_else(|| Error::new(ErrorKind::DatetimeOverflow, "timestamp out of range"))?
            .naive_utc();
        let (at, zone) = match zone {
            Some(zone) => {
                let local = zone.from_utc_datetime(&utc);
                let name = match local.format("%Z").to_string() {
                    offset if offset == "+00:00" => "UTC".to_string(),
                    name => name,
                };
                (local.naive_local(), Some((name, local.offset().fix().local_minus_utc())))
            }
            None => (utc, None),
        };
        Ok(Self {
            year: at.year(),
            month: at.month(),
            day: at.day().into(),
            hour: at.hour().into(),
            minute: at.minute().into(),
            second: at.second().into(),
            micros: (at.nanosecond() / 1000).into(),
            date: Some(at),
            zone,
        })
    }

    fn of_interval(months: i32, days: i32, micros: i64) -> Self {
        let seconds = micros / 1_000_000;
        Self {
            year: months / 12,
            month: (months % 12).unsigned_abs(),
            day: days.into(),
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            micros: micros % 1_000_000,
            date: None,
            zone: None,
        }
    }

    /// The year as people count it: there is none between 1 BC and AD 1.
    fn shown_year(&self) -> i32 {
        if self.date.is_some() && self.year <= 0 { 1 - self.year } else { self.year }
    }
}

fn write(parts: &[Part], moment: &Moment) -> String {
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Other(c) => out.push(*c),
            Part::Field(marked) => field(marked, moment, &mut out),
        }
    }
    out
}

fn field(marked: &Marked, m: &Moment, out: &mut String) {
    let fill = marked.fill;
    let number = |value: i64, width: usize| -> String {
        match (fill, value < 0) {
            (true, _) => value.to_string(),
            (false, true) => format!("-{:0width$}", value.abs()),
            (false, false) => format!("{value:0width$}"),
        }
    };
    let name = |names: &[&str], at: usize, case: Case, width: usize| -> String {
        let name = cased(names.get(at).copied().unwrap_or_default(), case);
        if fill { name } else { format!("{name:<width$}") }
    };
    let month = (m.month as usize).saturating_sub(1);
    let date = m.date.unwrap_or_default();
    let weekday = date.weekday().num_days_from_sunday() as usize;
    let year = m.shown_year();
    let year_digits = |year: i32, digits: u8| match digits {
        4 => number(year.into(), 4),
        digits => number(i64::from(year.rem_euclid(10i32.pow(digits.into()))), digits.into()),
    };
    let iso = date.iso_week();
    let text = match marked.field {
        Field::Hour12 => {
            let hour = m.hour % 12;
            number(if hour == 0 { 12 } else { hour }, 2)
        }
        Field::Hour24 => number(m.hour, 2),
        Field::Minute => number(m.minute, 2),
        Field::Second => number(m.second, 2),
        Field::Millisecond => format!("{:03}", m.micros / 1000),
        Field::Microsecond => format!("{:06}", m.micros),
        Field::Fraction(digits) => {
            format!("{:0width$}", m.micros / 10i64.pow(6 - u32::from(digits)), width = digits.into())
        }
        Field::SecondOfDay => (m.hour * 3600 + m.minute * 60 + m.second).to_string(),
        Field::Meridiem(case, points) => {
            let word = match (m.hour % 24 >= 12, points) {
                (false, false) => "AM",
                (true, false) => "PM",
                (false, true) => "A.M.",
                (true, true) => "P.M.",
            };
            cased(word, case)
        }
        Field::Era(case, points) => {
            let word = match (m.year <= 0, points) {
                (false, false) => "AD",
                (true, false) => "BC",
                (false, true) => "A.D.",
                (true, true) => "B.C.",
            };
            cased(word, case)
        }
        Field::Year(digits) => year_digits(year, digits),
        Field::YearComma => format!("{},{:03}", year / 1000, year % 1000),
        Field::IsoYear(digits) => year_digits(iso.year(), digits),
        Field::MonthName(case) => name(&MONTHS, month, case, 9),
        Field::MonthShort(case) => cased(MONTHS.get(month).and_then(|m| m.get(..3)).unwrap_or_default(), case),
        Field::Month => number(m.month.into(), 2),
        Field::DayName(case) => name(&DAYS, weekday, case, 9),
        Field::DayShort(case) => cased(DAYS.get(weekday).and_then(|d| d.get(..3)).unwrap_or_default(), case),
        Field::DayOfYear => number(date.ordinal().into(), 3),
        Field::IsoDayOfYear => number(i64::from((iso.week() - 1) * 7 + date.weekday().number_from_monday()), 3),
        Field::Day => number(m.day, 2),
        Field::DayOfWeek => (weekday + 1).to_string(),
        Field::IsoDayOfWeek => date.weekday().number_from_monday().to_string(),
        Field::WeekOfMonth => ((m.day - 1) / 7 + 1).to_string(),
        Field::WeekOfYear => number(i64::from((date.ordinal() - 1) / 7 + 1), 2),
        Field::IsoWeek => number(iso.week().into(), 2),
        Field::Century => number(if m.year > 0 { (m.year - 1) / 100 + 1 } else { m.year / 100 - 1 }.into(), 2),
        Field::Julian => (date.num_days_from_ce() + 1_721_425).to_string(),
        Field::Quarter => (month / 3 + 1).to_string(),
        Field::Roman(case) => name(&ROMAN_MONTHS, month, case, 4),
        Field::Zone(case) => cased(m.zone.as_ref().map(|(name, _)| name.as_str()).unwrap_or_default(), case),
        Field::ZoneHour => format!("{:+03}", m.zone.as_ref().map_or(0, |(_, offset)| offset / 3600)),
        Field::ZoneMinute => format!("{:02}", m.zone.as_ref().map_or(0, |(_, offset)| offset / 60 % 60).abs()),
        Field::Offset => {
            let offset = m.zone.as_ref().map_or(0, |(_, offset)| *offset);
            match offset / 60 % 60 {
                0 => format!("{:+03}", offset / 3600),
                minutes => format!("{:+03}:{:02}", offset / 3600, minutes.abs()),
            }
        }
    };
    out.push_str(&text);
    if let Some(case) = marked.ordinal {
        out.push_str(suffix(&text, case));
    }
}
