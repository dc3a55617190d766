//! Intervals in the four styles of PostgreSQL's.

use std::fmt::Write;

use bytes::{BufMut, BytesMut};

use super::datetime::fraction;
use crate::types::styles::IntervalStyle;

/// A duration as PostgreSQL subtracts timestamps: whole days, then the rest, both with the same sign.
pub fn whole_days(micros: i64) -> (i32, i64) {
    const DAY: i64 = 86_400_000_000;
    ((micros / DAY) as i32, micros % DAY)
}

pub fn interval(months: i32, days: i32, micros: i64, style: IntervalStyle, out: &mut BytesMut) {
    match style {
        IntervalStyle::Postgres => postgres(months, days, micros, out),
        IntervalStyle::PostgresVerbose => verbose(&Parts::of(months, days, micros), out),
        IntervalStyle::SqlStandard => standard(&Parts::of(months, days, micros), out),
        IntervalStyle::Iso8601 => iso(&Parts::of(months, days, micros), out),
    }
}

/// `1 year 2 mons -3 days +04:05:06.7`: after a negative part a positive one shows its sign.
fn postgres(months: i32, days: i32, micros: i64, out: &mut BytesMut) {
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

/// Each with its sign; of the time all have the same.
struct Parts {
    years: i64,
    months: i64,
    days: i64,
    hours: i64,
    minutes: i64,
    /// Seconds in microseconds.
    micros: i64,
}

impl Parts {
    fn of(months: i32, days: i32, micros: i64) -> Self {
        let (months, minutes) = (i64::from(months), micros / 60_000_000);
        Self {
            years: months / 12,
            months: months % 12,
            days: days.into(),
            hours: minutes / 60,
            minutes: minutes % 60,
            micros: micros % 60_000_000,
        }
    }

    fn all(&self) -> [i64; 6] {
        [self.years, self.months, self.days, self.hours, self.minutes, self.micros]
    }

    fn whole(&self) -> [(i64, &'static str, char); 5] {
        [
            (self.years, "year", 'Y'),
            (self.months, "mon", 'M'),
            (self.days, "day", 'D'),
            (self.hours, "hour", 'H'),
            (self.minutes, "min", 'M'),
        ]
    }

    fn has_time(&self) -> bool {
        self.hours != 0 || self.minutes != 0 || self.micros != 0
    }
}

/// Without a sign, two digits at least if `padded`.
fn seconds(micros: i64, padded: bool, out: &mut BytesMut) {
    let micros = micros.abs();
    let width = if padded { 2 } else { 1 };
    let _ = write!(out, "{:0width$}", micros / 1_000_000);
    fraction(micros % 1_000_000, out);
}

/// `@ 1 year 2 mons -3 days`, `@ 1 day ago`: of the sign that the first part has.
fn verbose(parts: &Parts, out: &mut BytesMut) {
    out.put_u8(b'@');
    let ago = parts.all().iter().find(|part| **part != 0).is_some_and(|first| *first < 0);
    for (value, unit, _) in parts.whole().iter().filter(|part| part.0 != 0) {
        let value = if ago { -value } else { *value };
        let plural = if value == 1 { "" } else { "s" };
        let _ = write!(out, " {value} {unit}{plural}");
    }
    if parts.micros != 0 {
        out.put_slice(if (parts.micros < 0) == ago { b" " } else { b" -" });
        seconds(parts.micros, false, out);
        out.put_slice(if parts.micros.abs() == 1_000_000 { b" sec" } else { b" secs" });
    }
    if parts.all().iter().all(|part| *part == 0) {
        out.put_slice(b" 0");
    }
    if ago {
        out.put_slice(b" ago");
    }
}

/// `1-2`, `3 4:05:06`; what the standard has no form for, signs or both halves mixed, with all signs: `+1-2 -3 +4:05:06`.
fn standard(parts: &Parts, out: &mut BytesMut) {
    let all = parts.all();
    let (negative, positive) = (all.iter().any(|p| *p < 0), all.iter().any(|p| *p > 0));
    let of_months = parts.years != 0 || parts.months != 0;
    let of_time = parts.days != 0 || parts.has_time();
    let [years, months, days, hours, minutes, _] = all.map(i64::abs);
    if !negative && !positive {
        return out.put_u8(b'0');
    }
    if (negative && positive) || (of_months && of_time) {
        let sign = |negative: bool| if negative { '-' } else { '+' };
        let first = sign(parts.years < 0 || parts.months < 0);
        let third = sign(parts.hours < 0 || parts.minutes < 0 || parts.micros < 0);
        let second = sign(parts.days < 0);
        let _ = write!(out, "{first}{years}-{months} {second}{days} {third}{hours}:{minutes:02}:");
        return seconds(parts.micros, true, out);
    }
    if negative {
        out.put_u8(b'-');
    }
    if of_months {
        let _ = write!(out, "{years}-{months}");
        return;
    }
    if days != 0 {
        let _ = write!(out, "{days} ");
    }
    let _ = write!(out, "{hours}:{minutes:02}:");
    seconds(parts.micros, true, out);
}

/// `P1Y2M-3DT4H5M6.7S`.
fn iso(parts: &Parts, out: &mut BytesMut) {
    if parts.all().iter().all(|part| *part == 0) {
        return out.put_slice(b"PT0S");
    }
    out.put_u8(b'P');
    for (place, (value, _, letter)) in parts.whole().into_iter().enumerate() {
        if place == 3 && parts.has_time() {
            out.put_u8(b'T');
        }
        if value != 0 {
            let _ = write!(out, "{value}{letter}");
        }
    }
    if parts.micros != 0 {
        if parts.micros < 0 {
            out.put_u8(b'-');
        }
        seconds(parts.micros, false, out);
        out.put_u8(b'S');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles() {
        use IntervalStyle::{Iso8601, Postgres, PostgresVerbose, SqlStandard};
        let hours = 3_600_000_000_i64;
        for (months, days, micros, expected) in [
            (0, 0, 0, ["00:00:00", "@ 0", "0", "PT0S"]),
            (14, 0, 0, ["1 year 2 mons", "@ 1 year 2 mons", "1-2", "P1Y2M"]),
            (-14, 0, 0, ["-1 years -2 mons", "@ 1 year 2 mons ago", "-1-2", "P-1Y-2M"]),
            (0, 3, 4 * hours, ["3 days 04:00:00", "@ 3 days 4 hours", "3 4:00:00", "P3DT4H"]),
            (0, -1, 0, ["-1 days", "@ 1 day ago", "-1 0:00:00", "P-1D"]),
            (0, 0, 1_000_000, ["00:00:01", "@ 1 sec", "0:00:01", "PT1S"]),
            (0, 0, -1_500_000, ["-00:00:01.5", "@ 1.5 secs ago", "-0:00:01.5", "PT-1.5S"]),
            (1, -1, hours, ["1 mon -1 days +01:00:00", "@ 1 mon -1 days 1 hour", "+0-1 -1 +1:00:00", "P1M-1DT1H"]),
            (0, -1, 1_000_000, ["-1 days +00:00:01", "@ 1 day -1 sec ago", "+0-0 -1 +0:00:01", "P-1DT1S"]),
            (1, 0, -1_250_000, ["1 mon -00:00:01.25", "@ 1 mon -1.25 secs", "+0-1 +0 -0:00:01.25", "P1MT-1.25S"]),
        ] {
            for (style, expected) in [Postgres, PostgresVerbose, SqlStandard, Iso8601].into_iter().zip(expected) {
                let mut out = BytesMut::new();
                interval(months, days, micros, style, &mut out);
                assert_eq!(std::str::from_utf8(&out).unwrap(), expected, "{style:?}");
            }
        }
    }
}
