//! Values as PostgreSQL prints them (DateStyle ISO, IntervalStyle postgres, bytea_output hex, extra_float_digits 1): what
//! the wire sends and what a cast to text gives. Types and columns are not known here.

use std::fmt::{Display, LowerExp, Write};
use std::ops::Range;

use arrow::array::timezone::Tz;
use bytes::{BufMut, BytesMut};
use chrono::{DateTime, Offset, TimeZone};

use crate::common::Result;

/// From this exponent on a float is printed with an exponent.
pub const FLOAT4_DIGITS: i32 = 6;
pub const FLOAT8_DIGITS: i32 = 15;

const MICROS_OF_DAY: i64 = 86_400_000_000;

/// Text of a number, without an allocation.
struct Scratch {
    bytes: [u8; 96],
    len: usize,
}

impl Scratch {
    fn of(value: impl Display) -> Self {
        let mut scratch = Self { bytes: [0; 96], len: 0 };
        // The longest, a 256-bit integer, has 78 digits.
        let _ = write!(scratch, "{value}");
        scratch
    }

    fn text(&self) -> &str {
        self.bytes.get(..self.len).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl Write for Scratch {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

pub fn display(value: impl Display, out: &mut BytesMut) {
    // A BytesMut grows: writing to it does not fail.
    let _ = write!(out, "{value}");
}

/// The shortest text that reads back as the same number.
pub fn float<F: LowerExp + PartialOrd + Copy + Into<f64>>(value: F, digits: i32, out: &mut BytesMut) {
    let wide: f64 = value.into();
    if wide.is_nan() {
        return out.put_slice(b"NaN");
    }
    if wide.is_infinite() {
        return out.put_slice(if wide > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
    let scientific = Scratch::of(format_args!("{value:e}"));
    let (mantissa, exponent) = scientific.text().split_once('e').unwrap_or_default();
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

pub fn bytea(value: &[u8], out: &mut BytesMut) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.put_slice(b"\\x");
    out.reserve(value.len() * 2);
    for byte in value {
        out.put_u8(HEX[usize::from(byte >> 4)]);
        out.put_u8(HEX[usize::from(byte & 15)]);
    }
}

/// Days since 1970; the ends of the range are the infinities.
pub fn date(days: i32, out: &mut BytesMut) {
    match days {
        i32::MAX => out.put_slice(b"infinity"),
        i32::MIN => out.put_slice(b"-infinity"),
        _ => {
            let before_christ = civil(i64::from(days), out);
            if before_christ {
                out.put_slice(b" BC");
            }
        }
    }
}

/// Microseconds since midnight.
pub fn time(micros: i64, out: &mut BytesMut) {
    let seconds = micros.div_euclid(1_000_000);
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    fraction(micros.rem_euclid(1_000_000), out);
}

/// Microseconds since 1970, UTC; shown in the zone, with its offset.
pub fn timestamp(micros: i64, zone: Option<&Tz>, out: &mut BytesMut) {
    match micros {
        i64::MAX => return out.put_slice(b"infinity"),
        i64::MIN => return out.put_slice(b"-infinity"),
        _ => {}
    }
    let offset = zone.map(|zone| offset(micros, zone));
    let local = micros.saturating_add(i64::from(offset.unwrap_or(0)) * 1_000_000);
    let before_christ = civil(local.div_euclid(MICROS_OF_DAY), out);
    out.put_u8(b' ');
    time(local.rem_euclid(MICROS_OF_DAY), out);
    if let Some(offset) = offset {
        let (sign, offset) = (if offset < 0 { '-' } else { '+' }, offset.abs());
        let _ = write!(out, "{sign}{:02}", offset / 3600);
        if offset % 3600 != 0 {
            let _ = write!(out, ":{:02}", offset / 60 % 60);
        }
        if offset % 60 != 0 {
            let _ = write!(out, ":{:02}", offset % 60);
        }
    }
    if before_christ {
        out.put_slice(b" BC");
    }
}

/// Seconds east of UTC at that time.
fn offset(micros: i64, zone: &Tz) -> i32 {
    DateTime::from_timestamp_micros(micros)
        .map_or(0, |at| zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc())
}

/// Writes the proleptic Gregorian date; true when the year is before Christ.
///
/// Works on years of 400 that start in March, so that the leap day is the last day of each.
fn civil(days: i64, out: &mut BytesMut) -> bool {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    // There is no year zero: 1 BC comes before 1.
    let shown = if year > 0 { year } else { 1 - year };
    let _ = write!(out, "{shown:04}-{month:02}-{day:02}");
    year <= 0
}

fn fraction(micros: i64, out: &mut BytesMut) {
    if micros != 0 {
        let digits = Scratch::of(format_args!("{micros:06}"));
        let _ = write!(out, ".{}", digits.text().trim_end_matches('0'));
    }
}

/// A duration as PostgreSQL subtracts timestamps: whole days, then the rest, both with the same sign.
pub fn whole_days(micros: i64) -> (i32, i64) {
    ((micros / MICROS_OF_DAY) as i32, micros % MICROS_OF_DAY)
}

/// `1 year 2 mons -3 days +04:05:06.7`: after a negative part a positive one shows its sign.
pub fn interval(months: i32, days: i32, micros: i64, out: &mut BytesMut) {
    let start = out.len();
    let mut negative = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        let space = if out.len() > start { " " } else { "" };
        let plus = if negative && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        let _ = write!(out, "{space}{plus}{value} {unit}{plural}");
        negative = value < 0;
    }
    if micros == 0 && out.len() > start {
        return;
    }
    if out.len() > start {
        out.put_u8(b' ');
    }
    if micros < 0 {
        out.put_u8(b'-');
    } else if negative {
        out.put_u8(b'+');
    }
    let micros = micros.unsigned_abs();
    let seconds = micros / 1_000_000;
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    fraction((micros % 1_000_000) as i64, out);
}

/// `{1,NULL,"a b"}`; `write` appends an item, `false` for null, and `nested` ones stand as they are.
pub fn array(
    rows: Range<usize>,
    nested: bool,
    write: impl Fn(usize, &mut BytesMut) -> Result<bool>,
    out: &mut BytesMut,
) -> Result<()> {
    out.put_u8(b'{');
    let mut item = BytesMut::new();
    for (i, row) in rows.enumerate() {
        if i > 0 {
            out.put_u8(b',');
        }
        item.clear();
        if !write(row, &mut item)? {
            out.put_slice(b"NULL");
        } else if nested || !quoted_in_array(&item) {
            out.put_slice(&item);
        } else {
            out.put_u8(b'"');
            for byte in &item {
                if matches!(byte, b'"' | b'\\') {
                    out.put_u8(b'\\');
                }
                out.put_u8(*byte);
            }
            out.put_u8(b'"');
        }
    }
    out.put_u8(b'}');
    Ok(())
}

fn quoted_in_array(item: &[u8]) -> bool {
    item.is_empty()
        || item.eq_ignore_ascii_case(b"NULL")
        || item.iter().any(|b| matches!(b, b'{' | b'}' | b',' | b'"' | b'\\') || is_space(*b))
}

/// `(1,,"a b")`: a null is nothing at all; `write` appends a column's item, `false` for null.
pub fn record<C>(
    columns: impl Iterator<Item = C>,
    write: impl Fn(C, &mut BytesMut) -> Result<bool>,
    out: &mut BytesMut,
) -> Result<()> {
    out.put_u8(b'(');
    let mut item = BytesMut::new();
    for (i, column) in columns.enumerate() {
        if i > 0 {
            out.put_u8(b',');
        }
        item.clear();
        if !write(column, &mut item)? {
            continue;
        }
        let quoted =
            item.is_empty() || item.iter().any(|b| matches!(b, b'(' | b')' | b',' | b'"' | b'\\') || is_space(*b));
        if !quoted {
            out.put_slice(&item);
            continue;
        }
        out.put_u8(b'"');
        for byte in &item {
            if matches!(byte, b'"' | b'\\') {
                out.put_u8(*byte);
            }
            out.put_u8(*byte);
        }
        out.put_u8(b'"');
    }
    out.put_u8(b')');
    Ok(())
}

/// As C's isspace.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}
