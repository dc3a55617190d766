//! Numbers as PostgreSQL prints them: `1e+16`, `0.10`, `NaN`.

use std::fmt::{Display, LowerExp, Write};
use std::str::FromStr;

use bytes::{BufMut, BytesMut};

use super::Scratch;

/// A kind of float: its decimal digits that are always right, and where its shortest text may lie just between two floats.
pub struct FloatKind {
    /// From this exponent on it is printed with an exponent; DBL_DIG of C.
    digits: i32,
    /// Those that tell any two apart.
    most: usize,
    /// Below this every text lies nearer to one of them.
    between: f64,
}

pub const FLOAT4: FloatKind = FloatKind { digits: 6, most: 9, between: 1e6 };
pub const FLOAT8: FloatKind = FloatKind { digits: 15, most: 17, between: 1e15 };

/// `extra` as in `extra_float_digits`: above 0 the shortest text that reads back as the same number.
pub fn float<F>(value: F, kind: &FloatKind, extra: i8, out: &mut BytesMut)
where
    F: LowerExp + PartialEq + FromStr + Copy + Into<f64>,
{
    let wide: f64 = value.into();
    if wide.is_nan() {
        return out.put_slice(b"NaN");
    }
    if wide.is_infinite() {
        return out.put_slice(if wide > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
    if extra > 0 {
        let shortest = Scratch::of(format_args!("{value:e}"));
        if wide.abs() >= kind.between && is_between(value, shortest.text()) {
            return printed(longer(value, kind.most, shortest).text(), kind.digits, out);
        }
        return printed(shortest.text(), kind.digits, out);
    }
    let digits = (kind.digits + i32::from(extra)).max(1);
    let rounded = Scratch::of(format_args!("{value:.*e}", (digits - 1) as usize));
    printed(rounded.text(), digits, out);
}

/// Whether the text is as near to a neighbour of the number: PostgreSQL does not take it then, though it reads back.
fn is_between<F: PartialEq + FromStr>(value: F, text: &str) -> bool {
    let Some((mantissa, exponent)) = text.split_once('e') else { return false };
    let point = if mantissa.contains('.') { "" } else { "." };
    let more = format!("{mantissa}{point}{:040}1e{exponent}", 0);
    // The last digit of a shortest text is not 0.
    let (before, last) = mantissa.split_at(mantissa.len() - 1);
    let less = last.parse::<u8>().map_or(0, |last| last.saturating_sub(1));
    let less = format!("{before}{less}{point}{:9<40}e{exponent}", "");
    [more, less].iter().any(|text| text.parse::<F>().is_ok_and(|other| other != value))
}

/// The first text with more digits that is nearer to the number than to any other.
fn longer<F: LowerExp + PartialEq + FromStr + Copy>(value: F, most: usize, shortest: Scratch) -> Scratch {
    let digits = shortest.text().bytes().take_while(|b| *b != b'e').filter(u8::is_ascii_digit).count();
    let texts = (digits..most).map(|places| Scratch::of(format_args!("{value:.places$e}")));
    let mut fit = texts.filter(|text| text.text().parse::<F>().is_ok_and(|back| back == value));
    fit.find(|text| !is_between(value, text.text())).unwrap_or(shortest)
}

/// A text with an exponent, as `%g` of C with so many digits has it.
fn printed(scientific: &str, digits: i32, out: &mut BytesMut) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or_default();
    let mantissa = match mantissa.contains('.') {
        true => mantissa.trim_end_matches('0').trim_end_matches('.'),
        false => mantissa,
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..digits).contains(&exponent) {
        return fixed(mantissa, exponent, out);
    }
    out.put_slice(mantissa.as_bytes());
    let _ = write!(out, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
}

/// `-1.25`, `2` to `-125`.
fn fixed(mantissa: &str, exponent: i32, out: &mut BytesMut) {
    let unsigned = mantissa.strip_prefix('-').unwrap_or(mantissa);
    if unsigned.len() < mantissa.len() {
        out.put_u8(b'-');
    }
    let (first, others) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    if exponent < 0 {
        out.put_slice(b"0.");
        out.put_bytes(b'0', (-exponent - 1) as usize);
        out.put_slice(first.as_bytes());
        return out.put_slice(others.as_bytes());
    }
    let whole = exponent as usize;
    out.put_slice(first.as_bytes());
    match others.split_at_checked(whole) {
        None | Some((_, "")) => {
            out.put_slice(others.as_bytes());
            out.put_bytes(b'0', whole - others.len());
        }
        Some((before, after)) => {
            out.put_slice(before.as_bytes());
            out.put_u8(b'.');
            out.put_slice(after.as_bytes());
        }
    }
}

/// An unscaled value with its scale, all digits kept.
pub fn decimal(unscaled: impl Display, scale: i8, out: &mut BytesMut) {
    let unscaled = Scratch::of(unscaled);
    let digits = match unscaled.text().strip_prefix('-') {
        Some(digits) => {
            out.put_u8(b'-');
            digits
        }
        None => unscaled.text(),
    };
    if scale <= 0 {
        out.put_slice(digits.as_bytes());
        if digits != "0" {
            out.put_bytes(b'0', scale.unsigned_abs() as usize);
        }
        return;
    }
    let scale = scale as usize;
    if digits.len() <= scale {
        out.put_slice(b"0.");
        out.put_bytes(b'0', scale - digits.len());
        out.put_slice(digits.as_bytes());
    } else {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let _ = write!(out, "{whole}.{fraction}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats() {
        for (value, digits, expected) in [
            (0.1, 1, "0.1"),
            (-0.0, 1, "-0"),
            (1e15, 1, "1e+15"),
            (123_456_789_012_345.0, 1, "123456789012345"),
            // Ends just between two numbers: not taken.
            (1e23, 1, "9.999999999999999e+22"),
            (1e22, 1, "1e+22"),
            (9_007_199_254_740_993.0, 1, "9.007199254740992e+15"),
            (5e-324, 3, "5e-324"),
            (0.1, 0, "0.1"),
            (2.0 / 3.0, 0, "0.666666666666667"),
            (2.0 / 3.0, -3, "0.666666666667"),
            (2.0 / 3.0, -15, "0.7"),
            (1.5, -15, "2"),
            (123_456.0, -15, "1e+05"),
            (1_234_567_890_123_456.0, 0, "1.23456789012346e+15"),
            (f64::NAN, 0, "NaN"),
            (f64::NEG_INFINITY, 0, "-Infinity"),
        ] {
            let mut out = BytesMut::new();
            float(value, &FLOAT8, digits, &mut out);
            assert_eq!(std::str::from_utf8(&out).unwrap(), expected, "{value} {digits}");
        }
        for (value, digits, expected) in [
            (0.1_f32, 1, "0.1"),
            (123_456.0, 1, "123456"),
            (1_234_567.0, 0, "1.23457e+06"),
            (16_777_217.0, 1, "1.6777216e+07"),
        ] {
            let mut out = BytesMut::new();
            float(value, &FLOAT4, digits, &mut out);
            assert_eq!(std::str::from_utf8(&out).unwrap(), expected, "{value} {digits}");
        }
    }
}
