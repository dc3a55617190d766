//! Values in PostgreSQL's binary format, where it is more than big-endian bytes.

use std::fmt::Display;
use std::ops::Range;

use bytes::{BufMut, BytesMut};

use super::Format;
use super::column::Column;
use crate::common::{Error, ErrorKind, Result};
use crate::types::styles::Styles;
use crate::types::text;

/// From 1970 to 2000, where PostgreSQL counts from.
pub const EPOCH_DAYS: i32 = 10_957;
pub const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// Days since 2000; the infinities stay.
pub fn date(days: i32) -> i32 {
    match days {
        i32::MAX | i32::MIN => days,
        _ => days.saturating_sub(EPOCH_DAYS),
    }
}

/// Microseconds since 2000; the infinities stay.
pub fn timestamp(micros: i64) -> i64 {
    match micros {
        i64::MAX | i64::MIN => micros,
        _ => micros.saturating_sub(EPOCH_MICROS),
    }
}

pub fn interval(months: i32, days: i32, micros: i64, out: &mut BytesMut) {
    out.put_i64(micros);
    out.put_i32(days);
    out.put_i32(months);
}

/// Groups of four decimal digits, from the left; zero groups at either end are left out.
pub fn decimal(unscaled: impl Display, scale: i8, out: &mut BytesMut) {
    let mut printed = BytesMut::new();
    text::decimal(unscaled, scale, &mut printed);
    let negative = printed.first() == Some(&b'-');
    let digits = printed.get(usize::from(negative)..).unwrap_or_default();
    let point = digits.iter().position(|b| *b == b'.').unwrap_or(digits.len());
    let (whole, fraction) = digits.split_at(point);
    let fraction = fraction.get(1..).unwrap_or_default();

    // Both sides are padded so that the point falls between two groups.
    let mut padded = vec![b'0'; (4 - whole.len() % 4) % 4];
    padded.extend_from_slice(whole);
    let whole_groups = padded.len() / 4;
    padded.extend_from_slice(fraction);
    padded.resize(padded.len().div_ceil(4) * 4, b'0');
    let groups: Vec<i16> =
        padded.chunks(4).map(|c| c.iter().fold(0, |n, digit| n * 10 + i16::from(digit - b'0'))).collect();

    let first = groups.iter().position(|g| *g != 0).unwrap_or(groups.len());
    let end = groups.iter().rposition(|g| *g != 0).map_or(first, |last| last + 1);
    let kept = groups.get(first..end).unwrap_or_default();
    let weight = if kept.is_empty() { 0 } else { whole_groups as i16 - 1 - first as i16 };
    out.put_i16(kept.len() as i16);
    out.put_i16(weight);
    out.put_u16(if negative && !kept.is_empty() { 0x4000 } else { 0 });
    out.put_i16(fraction.len() as i16);
    for group in kept {
        out.put_i16(*group);
    }
}

/// One dimension, counted from 1.
pub fn array(rows: Range<usize>, child: &Column, item_oid: u32, out: &mut BytesMut) -> Result<()> {
    if child.is_list() {
        return Err(Error::not_supported("an array of arrays cannot be sent in binary")
            .with_hint("cast it to VARCHAR, or ask for text results"));
    }
    let length = i32::try_from(rows.len())
        .map_err(|_| Error::new(ErrorKind::NumericValueOutOfRange, "an array of more than 2147483647 items"))?;
    out.put_i32(i32::from(length > 0));
    out.put_i32(i32::from(rows.clone().any(|row| child.is_null(row))));
    out.put_u32(item_oid);
    if length > 0 {
        out.put_i32(length);
        out.put_i32(1);
    }
    for row in rows {
        child.write(row, Format::Binary, &Styles::default(), out)?;
    }
    Ok(())
}
