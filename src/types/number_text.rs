//! Texts of numbers as PostgreSQL reads them: `1e3`, `-.5`, `Infinity`, `0x10` for floats.

use std::str::FromStr;

use crate::common::{Error, ErrorKind};

/// Digits of a NUMERIC when none are given: all that fit, a quarter of them behind the point.
pub const NUMERIC: (u8, i8) = (38, 10);

/// A NUMERIC that was given no digits, without the zeros at its end.
pub fn without_zeros(mut unscaled: i128, mut scale: i8) -> (i128, i8) {
    while scale > 0 && unscaled % 10 == 0 {
        unscaled /= 10;
        scale -= 1;
    }
    (unscaled, scale)
}

/// Why a text is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    Syntax,
    Range,
    /// NaN or an infinity, which NUMERIC here does not hold.
    NotFinite,
}

impl Bad {
    /// What a client is told of a `text` that is no `name`.
    pub fn error(self, name: &str, text: &str) -> Error {
        match self {
            Self::Syntax => {
                let message = format!("invalid input syntax for type {name}: \"{text}\"");
                Error::new(ErrorKind::InvalidTextRepresentation, message)
            }
            Self::Range if name == "numeric" => Error::new(ErrorKind::NumericValueOutOfRange, "numeric field overflow")
                .with_detail(format!("of {text}")),
            Self::Range => {
                let message = format!("\"{text}\" is out of range for type {name}");
                Error::new(ErrorKind::NumericValueOutOfRange, message)
            }
            Self::NotFinite => Error::not_supported(format!("{} cannot be kept as NUMERIC", text.trim()))
                .with_hint("DOUBLE PRECISION has NaN and the infinities"),
        }
    }
}

type Read<T> = std::result::Result<T, Bad>;

/// A float; one that would be infinite or nothing without being written so is out of range.
///
/// # Errors
/// [`Bad`].
pub fn float<F: FromStr + Copy + Into<f64>>(text: &str) -> Read<F> {
    let trimmed = text.trim_matches(is_space);
    let value: F = match trimmed.parse() {
        Ok(value) => value,
        Err(_) => hexadecimal(trimmed).and_then(|n| n.to_string().parse().ok()).ok_or(Bad::Syntax)?,
    };
    let wide: f64 = value.into();
    let mantissa = trimmed.split(['e', 'E']).next().unwrap_or_default();
    if wide.is_infinite() && mantissa.contains(|c: char| c.is_ascii_digit()) {
        return Err(Bad::Range);
    }
    if wide == 0.0 && mantissa.contains(|c: char| matches!(c, '1'..='9')) && !trimmed.contains(['x', 'X']) {
        return Err(Bad::Range);
    }
    Ok(value)
}

fn hexadecimal(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"))?;
    let value = i64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with(['-', '+']))?;
    Some(if negative { -value } else { value })
}

/// The unscaled value of a NUMERIC; digits that the scale has no place for are rounded, halves away from zero.
///
/// # Errors
/// [`Bad`].
pub fn decimal(text: &str, precision: u8, scale: i8) -> Read<i128> {
    let parts = Digits::read(text)?;
    // Digits that count, from the left, up to the scale.
    let kept = parts.point.checked_add(i64::from(scale)).ok_or(Bad::Range)?;
    let mut value: i128 = 0;
    for place in 0..kept.max(0) {
        let digit = usize::try_from(place).ok().and_then(|place| parts.digit(place)).unwrap_or(0);
        value = value.checked_mul(10).and_then(|v| v.checked_add(i128::from(digit))).ok_or(Bad::Range)?;
        if value == 0 && place > i64::from(u8::MAX) && parts.is_zero() {
            break;
        }
    }
    if kept >= 0 && usize::try_from(kept).ok().and_then(|place| parts.digit(place)).unwrap_or(0) >= 5 {
        value = value.checked_add(1).ok_or(Bad::Range)?;
    }
    if value >= 10_i128.checked_pow(precision.into()).unwrap_or(i128::MAX) {
        return Err(Bad::Range);
    }
    Ok(if parts.negative { -value } else { value })
}

/// How many digits a text of a NUMERIC has, before its point and behind it: its own precision and scale.
pub fn own_scale(text: &str) -> Option<(usize, usize)> {
    let parts = Digits::read(text).ok()?;
    let whole = usize::try_from(parts.point.max(1)).ok()?;
    let fraction =
        usize::try_from(i64::try_from(parts.whole.len() + parts.fraction.len()).ok()? - parts.point).unwrap_or(0);
    Some((whole, fraction))
}

struct Digits<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    /// How many of the digits stand before the point.
    point: i64,
}

impl<'a> Digits<'a> {
    fn read(text: &'a str) -> Read<Self> {
        let text = text.trim_matches(is_space);
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if ["nan", "inf", "infinity"].iter().any(|word| unsigned.eq_ignore_ascii_case(word)) {
            return Err(Bad::NotFinite);
        }
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| Bad::Syntax)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
            return Err(Bad::Syntax);
        }
        let whole = whole.trim_start_matches('0').as_bytes();
        let point = i64::try_from(whole.len()).map_err(|_| Bad::Range)? + i64::from(exponent);
        Ok(Self { negative, whole, fraction: fraction.as_bytes(), point })
    }

    fn digit(&self, place: usize) -> Option<u8> {
        let digit = match place.checked_sub(self.whole.len()) {
            None => self.whole.get(place),
            Some(place) => self.fraction.get(place),
        };
        digit.map(|digit| digit - b'0')
    }

    fn is_zero(&self) -> bool {
        self.whole.is_empty() && self.fraction.iter().all(|digit| *digit == b'0')
    }
}

/// As C's isspace.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats() {
        for (text, expected) in [
            (" 1.25 ", Ok(1.25)),
            (".5", Ok(0.5)),
            ("5.", Ok(5.0)),
            ("-Infinity", Ok(f64::NEG_INFINITY)),
            ("0x10", Ok(16.0)),
            ("0e999", Ok(0.0)),
            ("1e309", Err(Bad::Range)),
            ("1e-400", Err(Bad::Range)),
            ("", Err(Bad::Syntax)),
            ("1e", Err(Bad::Syntax)),
            ("1 2", Err(Bad::Syntax)),
        ] {
            assert_eq!(float::<f64>(text), expected, "{text}");
        }
        assert_eq!(float::<f32>("3.5e38"), Err(Bad::Range));
        assert_eq!(float::<f32>("1e-46"), Err(Bad::Range));
    }

    #[test]
    fn decimals() {
        for (text, expected) in [
            ("1.2345", Ok(1_235)),
            ("-1.2355", Ok(-1_236)),
            ("1e3", Ok(1_000_000)),
            ("1.5e-3", Ok(2)),
            ("4e-4", Ok(0)),
            ("5e-4", Ok(1)),
            ("5e-5", Ok(0)),
            ("1e-9999", Ok(0)),
            ("0e9999", Ok(0)),
            (" +.5 ", Ok(500)),
            ("5.", Ok(5_000)),
            ("9999999.9994", Ok(9_999_999_999)),
            ("9999999.9995", Err(Bad::Range)),
            ("1e9999", Err(Bad::Range)),
            ("NaN", Err(Bad::NotFinite)),
            ("-inf", Err(Bad::NotFinite)),
            ("", Err(Bad::Syntax)),
            (".", Err(Bad::Syntax)),
            ("1.2.3", Err(Bad::Syntax)),
            ("--1", Err(Bad::Syntax)),
            ("0x10", Err(Bad::Syntax)),
            ("1e", Err(Bad::Syntax)),
        ] {
            assert_eq!(decimal(text, 10, 3), expected, "{text}");
        }
        for (unscaled, expected) in [(15_000, (15, 1)), (0, (0, 0)), (-100_000, (-10, 0)), (12_345, (12_345, 4))] {
            assert_eq!(without_zeros(unscaled, 4), expected);
        }
        for (text, expected) in [
            ("1.50", Some((1, 2))),
            ("100", Some((3, 0))),
            ("1e3", Some((4, 0))),
            ("1.5e-3", Some((1, 4))),
            (".5", Some((1, 1))),
        ] {
            assert_eq!(own_scale(text), expected, "{text}");
        }
    }
}
