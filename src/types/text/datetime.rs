//! Dates and times in the four styles of PostgreSQL's.

use std::fmt::Write;

use bytes::{BufMut, BytesMut};

use super::Scratch;
use crate::types::styles::{DateOrder, DateStyle};
use crate::types::time::civil;
use crate::types::timetz::TimeTz;
use crate::types::zone_rules::ZoneRules;

const DAY: i64 = 86_400_000_000;
const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// Of 1970-01-01.
const THURSDAY: i64 = 3;

/// Days since 1970; the ends of the range are the infinities.
pub fn date(days: i32, style: DateStyle, order: DateOrder, out: &mut BytesMut) {
    match days {
        i32::MAX => return out.put_slice(b"infinity"),
        i32::MIN => return out.put_slice(b"-infinity"),
        _ => {}
    }
    let day = Day::of(i64::from(days));
    let Day { month, day: number, shown, .. } = day;
    let _ = match (style, order) {
        (DateStyle::Iso, _) => day.iso(out),
        (DateStyle::German, _) => write!(out, "{number:02}.{month:02}.{shown:04}"),
        (DateStyle::Sql, DateOrder::Dmy) => write!(out, "{number:02}/{month:02}/{shown:04}"),
        (DateStyle::Sql, _) => write!(out, "{month:02}/{number:02}/{shown:04}"),
        (DateStyle::Postgres, DateOrder::Dmy) => write!(out, "{number:02}-{month:02}-{shown:04}"),
        (DateStyle::Postgres, _) => write!(out, "{month:02}-{number:02}-{shown:04}"),
    };
    day.era(out);
}

/// Microseconds since midnight.
pub fn time(micros: i64, out: &mut BytesMut) {
    let seconds = micros.div_euclid(1_000_000);
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    fraction(micros.rem_euclid(1_000_000), out);
}

/// `12:34:56.5+02`.
pub fn timetz(value: TimeTz, out: &mut BytesMut) {
    time(value.micros, out);
    offset(value.east.into(), out);
}

/// Microseconds since 1970, UTC; shown in the zone, with its offset or name.
pub fn timestamp(micros: i64, zone: Option<&ZoneRules>, style: DateStyle, order: DateOrder, out: &mut BytesMut) {
    match micros {
        i64::MAX => return out.put_slice(b"infinity"),
        i64::MIN => return out.put_slice(b"-infinity"),
        _ => {}
    }
    let seconds = zone.map(|zone| zone.offset(micros));
    let local = micros.saturating_add(seconds.unwrap_or(0) * 1_000_000);
    let (days, clock) = (local.div_euclid(DAY), local.rem_euclid(DAY));
    let day = Day::of(days);
    let Day { month, day: number, shown, .. } = day;
    let _ = match (style, order) {
        (DateStyle::Iso, _) => day.iso(out),
        (DateStyle::German, _) => write!(out, "{number:02}.{month:02}.{shown:04}"),
        (DateStyle::Sql, DateOrder::Dmy) => write!(out, "{number:02}/{month:02}/{shown:04}"),
        (DateStyle::Sql, _) => write!(out, "{month:02}/{number:02}/{shown:04}"),
        (DateStyle::Postgres, _) => {
            let weekday = WEEKDAYS.get((days + THURSDAY).rem_euclid(7) as usize).unwrap_or(&"");
            let name = MONTHS.get(month as usize - 1).unwrap_or(&"");
            match order {
                DateOrder::Dmy => write!(out, "{weekday} {number:02} {name}"),
                _ => write!(out, "{weekday} {name} {number:02}"),
            }
        }
    };
    out.put_u8(b' ');
    time(clock, out);
    if style == DateStyle::Postgres {
        let _ = write!(out, " {shown:04}");
    }
    if let (Some(zone), Some(seconds)) = (zone, seconds) {
        in_zone(zone, micros, seconds, style, out);
    }
    day.era(out);
}

/// The zone by its offset, in styles other than ISO by its name.
fn in_zone(zone: &ZoneRules, micros: i64, seconds: i64, style: DateStyle, out: &mut BytesMut) {
    if style == DateStyle::Iso {
        return offset(seconds, out);
    }
    match zone.abbreviation(micros) {
        Some(name) => {
            let _ = write!(out, " {name}");
        }
        None => {
            if style == DateStyle::Postgres {
                out.put_u8(b' ');
            }
            offset(seconds, out);
        }
    }
}

/// `+02`, `-04:30`, `-04:56:02`.
pub fn offset(seconds: i64, out: &mut BytesMut) {
    let (sign, seconds) = (if seconds < 0 { '-' } else { '+' }, seconds.abs());
    let _ = write!(out, "{sign}{:02}", seconds / 3600);
    if seconds % 3600 != 0 {
        let _ = write!(out, ":{:02}", seconds / 60 % 60);
    }
    if seconds % 60 != 0 {
        let _ = write!(out, ":{:02}", seconds % 60);
    }
}

/// The digits behind the point of a second, without zeros at the end.
pub fn fraction(micros: i64, out: &mut BytesMut) {
    if micros != 0 {
        let digits = Scratch::of(format_args!("{micros:06}"));
        let _ = write!(out, ".{}", digits.text().trim_end_matches('0'));
    }
}

struct Day {
    month: i64,
    day: i64,
    /// The year as it is counted in its era.
    shown: i64,
    before_christ: bool,
}

impl Day {
    fn of(days: i64) -> Self {
        let (year, month, day) = civil(days);
        // There is no year zero: 1 BC comes before 1.
        Self { month, day, shown: if year > 0 { year } else { 1 - year }, before_christ: year <= 0 }
    }

    fn iso(&self, out: &mut BytesMut) -> std::fmt::Result {
        write!(out, "{:04}-{:02}-{:02}", self.shown, self.month, self.day)
    }

    fn era(&self, out: &mut BytesMut) {
        if self.before_christ {
            out.put_slice(b" BC");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles() {
        use {DateOrder::*, DateStyle::*};
        let (kolkata, london) = ("Asia/Kolkata".parse().unwrap(), "Europe/London".parse().unwrap());
        let fixed: ZoneRules = "+05:30".parse().unwrap();
        let micros = 1_709_210_096_500_000;
        for (style, order, of_date, plain, in_zone) in [
            (Iso, Dmy, "2024-02-29", "2024-02-29 12:34:56.5", "2024-02-29 18:04:56.5+05:30"),
            (German, Mdy, "29.02.2024", "29.02.2024 12:34:56.5", "29.02.2024 18:04:56.5 IST"),
            (Sql, Mdy, "02/29/2024", "02/29/2024 12:34:56.5", "02/29/2024 18:04:56.5 IST"),
            (Sql, Dmy, "29/02/2024", "29/02/2024 12:34:56.5", "29/02/2024 18:04:56.5 IST"),
            (Postgres, Ymd, "02-29-2024", "Thu Feb 29 12:34:56.5 2024", "Thu Feb 29 18:04:56.5 2024 IST"),
            (Postgres, Dmy, "29-02-2024", "Thu 29 Feb 12:34:56.5 2024", "Thu 29 Feb 18:04:56.5 2024 IST"),
        ] {
            let text = |write: &dyn Fn(&mut BytesMut)| {
                let mut out = BytesMut::new();
                write(&mut out);
                String::from_utf8(out.to_vec()).unwrap()
            };
            assert_eq!(text(&|out| date(19_782, style, order, out)), of_date);
            assert_eq!(text(&|out| timestamp(micros, None, style, order, out)), plain);
            assert_eq!(text(&|out| timestamp(micros, Some(&kolkata), style, order, out)), in_zone);
            let without_name = if style == Postgres { " +05:30" } else { "+05:30" };
            let shown = text(&|out| timestamp(micros, Some(&fixed), style, order, out));
            assert!(shown.ends_with(without_name), "{shown}");
            let early = text(&|out| timestamp(-63_549_446_400_000_000, Some(&london), style, order, out));
            assert!(early.ends_with(" BC"), "{early}");
        }
    }
}
