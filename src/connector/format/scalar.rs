//! One value from its text: numbers, times, bytes. Knows no records and no columns.

use arrow::compute::kernels::cast_utils::{Parser, string_to_datetime};
use arrow::datatypes::{Date32Type, IntervalMonthDayNano, Time64MicrosecondType};
use chrono::Utc;

use crate::types::interval_text;
use crate::types::styles::IntervalStyle;

/// Why a text is no value of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::connector) enum Bad {
    Syntax,
    Range,
}

type Parsed<T> = Result<T, Bad>;

/// A whole number in `min..=max`; `12.0` and `1.2e1` are whole too.
#[inline]
pub(in crate::connector) fn integer(text: &[u8], min: i64, max: i64) -> Parsed<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    // 18 digits cannot overflow.
    let value = if !digits.is_empty() && digits.len() <= 18 {
        let mut value = 0i64;
        for digit in digits {
            let digit = digit.wrapping_sub(b'0');
            if digit > 9 {
                return unusual_integer(text, min, max);
            }
            value = value * 10 + i64::from(digit);
        }
        if negative { -value } else { value }
    } else {
        return unusual_integer(text, min, max);
    };
    if value < min || value > max { Err(Bad::Range) } else { Ok(value) }
}

#[cold]
fn unusual_integer(text: &[u8], min: i64, max: i64) -> Parsed<i64> {
    let value = decimal(text, 38, 0, true)?;
    match i64::try_from(value) {
        Ok(value) if value >= min && value <= max => Ok(value),
        _ => Err(Bad::Range),
    }
}

/// A decimal of `precision` digits, `scale` of them behind the point; further ones are rounded, or refused when
/// `exact`.
pub(in crate::connector) fn decimal(text: &[u8], precision: u8, scale: i8, exact: bool) -> Parsed<i128> {
    let text = text.trim_ascii();
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (mantissa, exponent) = match text.iter().position(|b| matches!(b, b'e' | b'E')) {
        None => (text, 0),
        Some(at) => {
            let exponent = std::str::from_utf8(&text[at + 1..]).ok().and_then(|e| e.parse::<i32>().ok());
            (&text[..at], exponent.ok_or(Bad::Syntax)?)
        }
    };
    let (whole, fraction) = match mantissa.iter().position(|b| *b == b'.') {
        None => (mantissa, &[][..]),
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
    };
    if whole.is_empty() && fraction.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return Err(Bad::Syntax);
    }
    // Digits to take: those left of the point after it is moved by exponent and scale.
    let point = whole.len() as i64 + i64::from(exponent) + i64::from(scale);
    let mut value = 0i128;
    let mut digits = whole.iter().chain(fraction).map(|b| i128::from(b - b'0'));
    let mut taken = 0;
    while taken < point {
        let digit = match digits.next() {
            Some(digit) => digit,
            None if value == 0 => break,
            None => 0,
        };
        value = value.checked_mul(10).and_then(|v| v.checked_add(digit)).ok_or(Bad::Range)?;
        taken += 1;
    }
    // A point left of the first digit means leading zeros.
    let first = if point < 0 { 0 } else { digits.next().unwrap_or(0) };
    if exact && (first != 0 || digits.any(|digit| digit != 0)) {
        return Err(Bad::Syntax);
    }
    if !exact && first >= 5 {
        value += 1;
    }
    if value >= 10i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX) {
        return Err(Bad::Range);
    }
    Ok(if negative { -value } else { value })
}

pub(in crate::connector) fn float(text: &[u8]) -> Parsed<f64> {
    let text = std::str::from_utf8(text).map_err(|_| Bad::Syntax)?.trim();
    let value = text.parse::<f64>().map_err(|_| Bad::Syntax)?;
    // `1e999` reads as infinity, which only `inf` and `Infinity` mean.
    if value.is_infinite() && text.contains(|c: char| c.is_ascii_digit()) { Err(Bad::Range) } else { Ok(value) }
}

pub(in crate::connector) fn float32(text: &[u8]) -> Parsed<f32> {
    let wide = float(text)?;
    let value = wide as f32;
    if value.is_infinite() && wide.is_finite() { Err(Bad::Range) } else { Ok(value) }
}

/// As PostgreSQL reads them.
pub(in crate::connector) fn boolean(text: &[u8]) -> Parsed<bool> {
    match text {
        b"true" | b"t" | b"1" => Ok(true),
        b"false" | b"f" | b"0" => Ok(false),
        other => match other.trim_ascii().to_ascii_lowercase().as_slice() {
            b"true" | b"t" | b"yes" | b"y" | b"on" | b"1" => Ok(true),
            b"false" | b"f" | b"no" | b"n" | b"off" | b"0" => Ok(false),
            _ => Err(Bad::Syntax),
        },
    }
}

/// Days since 1970.
pub(in crate::connector) fn date(text: &[u8]) -> Parsed<i32> {
    if text.len() == 10
        && let Some(days) = ymd(text)
    {
        return Ok(days as i32);
    }
    let text = std::str::from_utf8(text).map_err(|_| Bad::Syntax)?;
    Date32Type::parse(text.trim()).ok_or(Bad::Syntax)
}

/// Microseconds since midnight.
pub(in crate::connector) fn time(text: &[u8]) -> Parsed<i64> {
    let text = std::str::from_utf8(text).map_err(|_| Bad::Syntax)?.trim();
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Bad::Syntax);
    }
    Time64MicrosecondType::parse(text).ok_or(Bad::Syntax)
}

/// What a bare number means where a time should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::connector) struct UnixUnit {
    /// Units in a second.
    pub per_second: i64,
}

/// Microseconds since 1970 UTC. A zone in the text moves it; without one it is UTC. A bare number is a Unix time when
/// `unix` says in what unit.
#[inline]
pub(in crate::connector) fn timestamp(text: &[u8], unix: Option<UnixUnit>) -> Parsed<i64> {
    match usual_timestamp(text) {
        Some(micros) => Ok(micros),
        None => unusual_timestamp(text, unix),
    }
}

/// `YYYY-MM-DD HH:MM:SS[.f]`, with a T or a blank, no zone or Z, and up to six digits of fraction.
#[inline]
fn usual_timestamp(text: &[u8]) -> Option<i64> {
    let (head, tail) = text.split_at_checked(19)?;
    let days = ymd(head.get(..10)?)?;
    let &[b'T' | b' ', h1, h2, b':', m1, m2, b':', s1, s2] = head.get(10..)? else { return None };
    let (hour, minute, second) = (two(h1, h2)?, two(m1, m2)?, two(s1, s2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let tail = tail.strip_suffix(b"Z").unwrap_or(tail);
    let mut micros = 0;
    if let [b'.', fraction @ ..] = tail {
        if fraction.is_empty() || fraction.len() > 6 {
            return None;
        }
        for place in 0..6 {
            let digit = fraction.get(place).map_or(0, |b| b.wrapping_sub(b'0'));
            if digit > 9 {
                return None;
            }
            micros = micros * 10 + i64::from(digit);
        }
    } else if !tail.is_empty() {
        return None;
    }
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros)
}

#[cold]
fn unusual_timestamp(text: &[u8], unix: Option<UnixUnit>) -> Parsed<i64> {
    let text = std::str::from_utf8(text).map_err(|_| Bad::Syntax)?.trim();
    if let Some(UnixUnit { per_second }) = unix
        && text.bytes().enumerate().all(|(i, b)| b.is_ascii_digit() || i == 0 && b == b'-')
    {
        let number = integer(text.as_bytes(), i64::MIN, i64::MAX)?;
        return match 1_000_000 / per_second {
            0 => Ok(number.div_euclid(per_second / 1_000_000)),
            times => number.checked_mul(times).ok_or(Bad::Range),
        };
    }
    string_to_datetime(&Utc, text).map(|time| time.timestamp_micros()).map_err(|_| Bad::Syntax)
}

/// Days since 1970 of `YYYY-MM-DD`; `None` if it is no such date.
#[inline]
fn ymd(text: &[u8]) -> Option<i64> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let (year, month, day) = (two(y1, y2)? * 100 + two(y3, y4)?, two(m1, m2)?, two(d1, d2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day < 1 || day > length {
        return None;
    }
    // Count from March, so that the leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(days + (153 * month + 2) / 5 + day - 1 - 719_468)
}

#[inline]
fn two(high: u8, low: u8) -> Option<i64> {
    let (high, low) = (high.wrapping_sub(b'0'), low.wrapping_sub(b'0'));
    if high > 9 || low > 9 { None } else { Some(i64::from(high) * 10 + i64::from(low)) }
}

/// As PostgreSQL writes BYTEA, `\x6869`; any other text is its own bytes.
pub(in crate::connector) fn bytes(text: &[u8], out: &mut Vec<u8>) -> Parsed<()> {
    let Some(hex) = text.strip_prefix(b"\\x") else {
        out.extend_from_slice(text);
        return Ok(());
    };
    if hex.len() % 2 != 0 {
        return Err(Bad::Syntax);
    }
    for pair in hex.chunks_exact(2) {
        let digit = |b: u8| (b as char).to_digit(16).ok_or(Bad::Syntax);
        let &[high, low] = pair else { return Err(Bad::Syntax) };
        out.push((digit(high)? * 16 + digit(low)?) as u8);
    }
    Ok(())
}

pub(in crate::connector) fn interval(text: &[u8]) -> Parsed<IntervalMonthDayNano> {
    let text = std::str::from_utf8(text).map_err(|_| Bad::Syntax)?.trim();
    // A bare number has no unit.
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Bad::Syntax);
    }
    interval_text::parse(text, IntervalStyle::Postgres).map_err(|_| Bad::Syntax)
}

#[cfg(test)]
mod tests {
    use super::Bad::{Range, Syntax};
    use super::*;

    #[test]
    fn integers() {
        let cases = [
            ("0", Ok(0)),
            ("-1", Ok(-1)),
            ("+7", Ok(7)),
            (" 12 ", Ok(12)),
            ("12.0", Ok(12)),
            ("1.2e1", Ok(12)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err(Range)),
            ("99999999999999999999999999999999999999999999", Err(Range)),
            ("1e400", Err(Range)),
            ("0e999999999", Ok(0)),
            ("1.5", Err(Syntax)),
            ("", Err(Syntax)),
            ("-", Err(Syntax)),
            ("0x10", Err(Syntax)),
            ("1e99999999999", Err(Syntax)),
        ];
        for (text, expected) in cases {
            assert_eq!(integer(text.as_bytes(), i64::MIN, i64::MAX), expected, "{text:?}");
        }
        assert_eq!(integer(b"128", -128, 127), Err(Range));
    }

    #[test]
    fn decimals() {
        let cases = [
            ("1.25", 5, 2, Ok(125)),
            ("-1.255", 5, 2, Ok(-126)),
            ("1.254", 5, 2, Ok(125)),
            ("999.995", 5, 2, Err(Range)),
            ("1000", 5, 2, Err(Range)),
            (".5", 5, 2, Ok(50)),
            ("5.", 5, 2, Ok(500)),
            (".", 5, 2, Err(Syntax)),
            ("1.2.3", 5, 2, Err(Syntax)),
            ("15e-1", 5, 0, Ok(2)),
            ("0.05", 5, 1, Ok(1)),
            ("0.005", 5, 1, Ok(0)),
            ("1e-400", 5, 2, Ok(0)),
        ];
        for (text, precision, scale, expected) in cases {
            assert_eq!(decimal(text.as_bytes(), precision, scale, false), expected, "{text:?}");
        }
    }

    #[test]
    fn timestamps() {
        let ms = Some(UnixUnit { per_second: 1000 });
        let cases = [
            ("1970-01-01 00:00:00", None, Ok(0)),
            ("1970-01-01T00:00:01.5", None, Ok(1_500_000)),
            ("1969-12-31T23:59:59.999999", None, Ok(-1)),
            ("2024-02-29 12:34:56.789", None, Ok(1_709_210_096_789_000)),
            ("2024-02-29T12:34:56.789Z", None, Ok(1_709_210_096_789_000)),
            ("2024-02-29T13:34:56.789+01:00", None, Ok(1_709_210_096_789_000)),
            ("2024-02-29T12:34:56.789000123", None, Ok(1_709_210_096_789_000)),
            ("2024-02-29", None, Ok(1_709_164_800_000_000)),
            ("0000-03-01 00:00:00", None, Ok(-62_162_035_200_000_000)),
            ("2023-02-29 00:00:00", None, Err(Syntax)),
            ("2024-13-01 00:00:00", None, Err(Syntax)),
            ("2024-01-01 25:00:00", None, Err(Syntax)),
            ("1700000000000", None, Err(Syntax)),
            ("1700000000123", ms, Ok(1_700_000_000_123_000)),
            ("-1", ms, Ok(-1000)),
            ("9223372036854775807", ms, Err(Range)),
            ("-1", Some(UnixUnit { per_second: 1_000_000_000 }), Ok(-1)),
            ("yesterday", ms, Err(Syntax)),
        ];
        for (text, unix, expected) in cases {
            assert_eq!(timestamp(text.as_bytes(), unix), expected, "{text:?}");
        }
    }

    #[test]
    fn the_usual_dates_equal_the_calendar() {
        for days in (-719_528..2_932_896).step_by(97) {
            let date = chrono::DateTime::from_timestamp(days * 86_400, 0).unwrap().format("%Y-%m-%d").to_string();
            assert_eq!(ymd(date.as_bytes()), Some(days), "{date}");
        }
    }

    #[test]
    fn others() {
        assert_eq!(float(b"1e999"), Err(Range));
        assert_eq!(float(b"-Infinity"), Ok(f64::NEG_INFINITY));
        assert_eq!(float32(b"1e39"), Err(Range));
        assert_eq!(boolean(b"TRUE"), Ok(true));
        assert_eq!(boolean(b"2"), Err(Syntax));
        assert_eq!(date(b"1970-01-02"), Ok(1));
        assert_eq!(time(b"00:00:01.5"), Ok(1_500_000));
        assert_eq!(time(b"25:00"), Err(Syntax));
        assert_eq!(interval(b"1 day 2 hours").map(|i| (i.days, i.nanoseconds)), Ok((1, 7_200_000_000_000)));
        let mut out = Vec::new();
        assert_eq!(bytes(b"\\x6869", &mut out), Ok(()));
        assert_eq!(bytes(b"\\x686", &mut Vec::new()), Err(Syntax));
        assert_eq!(out, b"hi");
    }
}
