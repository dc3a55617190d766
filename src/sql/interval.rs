//! Intervals of a fixed length, in every way that the streaming dialects write them, to microseconds.

use super::ast::{DataType, DateTimeField, Expr, Interval, UnaryOperator, Value};
use crate::common::{Error, ErrorKind, Result};

pub const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Microseconds of `INTERVAL '10' SECOND`, `INTERVAL '10 seconds'`, `INTERVAL '1:30' MINUTE TO SECOND`,
/// `'10 seconds'::interval`, or one of them with a minus. A day is 24 hours.
///
/// # Errors
/// `InvalidParameterValue` when it is no interval literal, or has months or years: they have no fixed length.
pub fn fixed_micros(expr: &Expr) -> Result<i64> {
    let micros = match expr {
        Expr::Nested(inner) => return fixed_micros(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => return Ok(-fixed_micros(expr)?),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => return fixed_micros(expr),
        Expr::Interval(interval) => literal(interval),
        Expr::Cast { expr, data_type: DataType::Interval { .. }, .. } => text_of(expr).map(|t| words(&t)),
        _ => None,
    };
    match micros {
        Some(Ok(micros)) => Ok(micros),
        Some(Err(Bad::Months)) => Err(bad(format!("{expr} has no fixed length: months and years vary"))),
        Some(Err(Bad::Text)) => Err(bad(format!("{expr} cannot be read as an interval"))),
        None => Err(bad(format!("{expr} is not an interval literal"))),
    }
}

/// Microseconds of a length as options have it: `10 seconds`, `500 ms`, `10` (seconds).
///
/// # Errors
/// `InvalidParameterValue` for any other text, and for months and years.
pub fn of_text(text: &str) -> Result<i64> {
    words(text).map_err(|bad_text| match bad_text {
        Bad::Months => bad(format!("'{text}' has no fixed length: months and years vary")),
        Bad::Text => bad(format!("'{text}' cannot be read as an interval")),
    })
}

/// The shortest text that reads back as `micros`: for the SQL that a rewrite writes.
pub fn sql(micros: i64) -> String {
    match micros % SECOND {
        0 => format!("INTERVAL '{} seconds'", micros / SECOND),
        _ => format!("INTERVAL '{micros} microseconds'"),
    }
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, message)
        .with_hint("write a fixed length such as INTERVAL '10' SECOND or INTERVAL '30' DAY")
}

enum Bad {
    Months,
    Text,
}

fn text_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(v) => match &v.value {
            Value::SingleQuotedString(s) | Value::Number(s, _) => Some(s.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn literal(interval: &Interval) -> Option<Result<i64, Bad>> {
    let text = match interval.value.as_ref() {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => format!("-{}", text_of(expr)?),
        value => text_of(value)?,
    };
    let text = text.trim();
    Some(match (&interval.leading_field, &interval.last_field) {
        (None, _) => words(text),
        (Some(field), None) => unit(&field.to_string()).and_then(|unit| scaled(text, unit)),
        (Some(from), Some(to)) => range(text, from, to),
    })
}

/// `1 day 2 hours`, `00:10:00`, `10` (seconds), `-5 min`.
fn words(text: &str) -> Result<i64, Bad> {
    let mut total = 0i64;
    let mut words = text.split_whitespace().peekable();
    if words.peek().is_none() {
        return Err(Bad::Text);
    }
    while let Some(word) = words.next() {
        let amount = if word.contains(':') {
            clock(word, HOUR)?
        } else {
            // `10s` or `10 s`.
            let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let glued = word.strip_prefix(digits).unwrap_or_default();
            match (glued, words.next_if(|w| w.starts_with(|c: char| c.is_ascii_alphabetic()))) {
                ("", Some(name)) => scaled(digits, unit(name)?)?,
                ("", None) => scaled(digits, SECOND)?,
                (name, None) => scaled(digits, unit(name)?)?,
                (_, Some(_)) => return Err(Bad::Text),
            }
        };
        total = total.checked_add(amount).ok_or(Bad::Text)?;
    }
    Ok(total)
}

fn range(text: &str, from: &DateTimeField, to: &DateTimeField) -> Result<i64, Bad> {
    let (from, to) = (unit(&from.to_string())?, unit(&to.to_string())?);
    match (from, to) {
        (DAY, _) => {
            let (days, clock_part) = text.split_once(' ').unwrap_or((text, "0:0"));
            let part = clock(clock_part, HOUR)?;
            let part = if days.starts_with('-') { -part } else { part };
            scaled(days, DAY)?.checked_add(part).ok_or(Bad::Text)
        }
        (HOUR | MINUTE, MINUTE | SECOND) if to < from => clock(text, from),
        _ => Err(Bad::Text),
    }
}

/// `h:m:s`, `h:m` or `m:s`: the first number counts in `first`.
fn clock(text: &str, first: i64) -> Result<i64, Bad> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let mut unit = first;
    let mut total = 0i64;
    for part in text.split(':') {
        total = total.checked_add(scaled(part, unit)?).ok_or(Bad::Text)?;
        unit = match unit {
            HOUR => MINUTE,
            MINUTE => SECOND,
            _ => 0,
        };
    }
    Ok(sign * total)
}

/// `number` × `unit`, exactly, with a fraction of up to six digits.
fn scaled(number: &str, unit: i64) -> Result<i64, Bad> {
    if unit == 0 {
        return Err(Bad::Text);
    }
    let (sign, digits) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |s: &str| s.chars().all(|c| c.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) || fraction.len() > 6 {
        return Err(Bad::Text);
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| Bad::Text)? };
    let millionths: i64 = format!("{fraction:0<6}").parse().map_err(|_| Bad::Text)?;
    let part = i128::from(millionths) * i128::from(unit) / i128::from(SECOND);
    let total = i128::from(whole) * i128::from(unit) + part;
    i64::try_from(total).map(|t| sign * t).map_err(|_| Bad::Text)
}

fn unit(name: &str) -> Result<i64, Bad> {
    let name = name.to_ascii_lowercase();
    Ok(match name.as_str() {
        "us" | "usec" | "usecs" | "microsecond" | "microseconds" => 1,
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => 1000,
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => MINUTE,
        "h" | "hr" | "hrs" | "hour" | "hours" => HOUR,
        "d" | "day" | "days" => DAY,
        "w" | "week" | "weeks" => 7 * DAY,
        "mon" | "mons" | "month" | "months" | "quarter" | "quarters" | "y" | "yr" | "year" | "years" | "decade"
        | "decades" | "century" | "centuries" => return Err(Bad::Months),
        _ => return Err(Bad::Text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str) -> Result<i64, String> {
        let expr = super::super::parse_expr(sql).unwrap();
        fixed_micros(&expr).map_err(|e| e.message().to_string())
    }

    #[test]
    fn every_way_to_write_a_length() {
        let cases = [
            ("INTERVAL '10' SECOND", 10 * SECOND),
            ("INTERVAL '10' SECONDS", 10 * SECOND),
            ("INTERVAL '10 seconds'", 10 * SECOND),
            ("interval '10s'", 10 * SECOND),
            ("INTERVAL '10'", 10 * SECOND),
            ("INTERVAL '0.5' SECOND", SECOND / 2),
            ("INTERVAL '1' MINUTE", MINUTE),
            ("INTERVAL '1:30' MINUTE TO SECOND", 90 * SECOND),
            ("INTERVAL '1:30' HOUR TO MINUTE", 90 * MINUTE),
            ("INTERVAL '1 2:03:04' DAY TO SECOND", DAY + 2 * HOUR + 3 * MINUTE + 4 * SECOND),
            ("INTERVAL '1 day 2 hours'", DAY + 2 * HOUR),
            ("INTERVAL '00:10:00'", 10 * MINUTE),
            ("INTERVAL '30' DAY", 30 * DAY),
            ("INTERVAL '1 week'", 7 * DAY),
            ("INTERVAL '250 milliseconds'", 250_000),
            ("'10 seconds'::interval", 10 * SECOND),
            ("CAST('10 seconds' AS INTERVAL)", 10 * SECOND),
            ("- INTERVAL '1' SECOND", -SECOND),
            ("INTERVAL '-1' SECOND", -SECOND),
        ];
        for (text, micros) in cases {
            assert_eq!(check(text), Ok(micros), "{text}");
            let back = super::super::parse_expr(&sql(micros)).unwrap();
            assert_eq!(fixed_micros(&back).ok(), Some(micros), "{text}");
        }
    }

    #[test]
    fn what_is_no_fixed_length() {
        for (text, part) in [
            ("INTERVAL '1' MONTH", "months and years vary"),
            ("INTERVAL '1 year'", "months and years vary"),
            ("INTERVAL 'soon'", "cannot be read"),
            ("INTERVAL ''", "cannot be read"),
            ("INTERVAL '99999999999999999999' DAY", "cannot be read"),
            ("INTERVAL '1:2:3:4'", "cannot be read"),
            ("10", "is not an interval literal"),
            ("'10 seconds'", "is not an interval literal"),
            ("ts", "is not an interval literal"),
        ] {
            let message = check(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
