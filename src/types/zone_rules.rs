//! A time zone's offset from UTC and its name at any moment that a timestamp can hold. The zone database ends in the year
//! 2100; its last rules go on for ever, as in PostgreSQL.

use std::str::FromStr;

use arrow::array::timezone::Tz as ArrowTz;
use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::{OffsetName, Tz};

use crate::common::Error;
use crate::types::time::{civil, days_of};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Years of this many hold all kinds: any first weekday, with a leap day and without.
const CYCLE: i64 = 28;
/// The first year whose rules are taken from one of the `CYCLE` before it.
const END: i64 = 2100;

#[derive(Debug, Clone, Copy)]
pub enum ZoneRules {
    Named(Tz),
    /// Seconds east of UTC.
    Fixed(i64),
}

impl FromStr for ZoneRules {
    type Err = Error;

    /// `Europe/Berlin`, or `+05:30`, as Arrow's types name their zones.
    fn from_str(name: &str) -> Result<Self, Error> {
        match name.parse::<Tz>() {
            Ok(zone) => Ok(Self::Named(zone)),
            Err(_) => {
                let zone: ArrowTz = name.parse()?;
                Ok(Self::Fixed(zone.offset_from_utc_datetime(&DateTime::UNIX_EPOCH.naive_utc()).fix().into_seconds()))
            }
        }
    }
}

impl ZoneRules {
    /// Seconds east of UTC at `micros` since 1970, UTC.
    pub fn offset(&self, micros: i64) -> i64 {
        match self {
            Self::Named(Tz::UTC) => 0,
            Self::Named(zone) => zone.offset_from_utc_datetime(&known(micros)).fix().into_seconds(),
            Self::Fixed(seconds) => *seconds,
        }
    }

    /// `CEST`; the offset, `+0630`, where the zone database has no word for it. `None` for a zone that is one offset.
    pub fn abbreviation(&self, micros: i64) -> Option<String> {
        let Self::Named(zone) = self else { return None };
        let at = zone.offset_from_utc_datetime(&known(micros));
        Some(at.abbreviation().map_or_else(|| short(at.fix().into_seconds()), str::to_string))
    }

    /// Seconds east of UTC where the clock shows `local`. One that a clock leaves out counts on from before the change,
    /// one that it shows twice is the later.
    pub fn offset_of_local(&self, local: i64) -> i64 {
        let (before, after) = (self.offset(local.saturating_sub(DAY)), self.offset(local.saturating_add(DAY)));
        if before == after {
            return before;
        }
        let fits = |seconds: i64| self.offset(local.saturating_sub(seconds * SECOND)) == seconds;
        if fits(after) { after } else { before }
    }
}

trait Seconds {
    fn into_seconds(self) -> i64;
}

impl Seconds for chrono::FixedOffset {
    fn into_seconds(self) -> i64 {
        i64::from(self.local_minus_utc())
    }
}

fn short(seconds: i64) -> String {
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
    match minutes % 60 {
        0 => format!("{sign}{:02}", minutes / 60),
        rest => format!("{sign}{:02}{rest:02}", minutes / 60),
    }
}

/// The same moment of a year that the database knows.
fn known(micros: i64) -> chrono::NaiveDateTime {
    let day = micros.div_euclid(DAY);
    let (year, ..) = civil(day);
    let moved = if year < END {
        micros
    } else {
        let first = days_of(year, 1, 1);
        let kind = |year: i64| (days_of(year, 1, 1).rem_euclid(7), days_of(year + 1, 1, 1) - days_of(year, 1, 1));
        let alike = (END - CYCLE..END).find(|like| kind(*like) == kind(year)).unwrap_or(END - 1);
        micros - (first - days_of(alike, 1, 1)) * DAY
    };
    // What is before all years that chrono has is before all changes of any zone.
    DateTime::from_timestamp_micros(moved).unwrap_or(DateTime::<chrono::Utc>::MIN_UTC).naive_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets() {
        let at = |text: &str| crate::types::datetime_text::timestamp(text, Default::default()).unwrap();
        for (zone, text, offset, name) in [
            ("UTC", "2024-01-01 00:00", 0, Some("UTC")),
            ("America/New_York", "2024-01-01 00:00", -18_000, Some("EST")),
            ("America/New_York", "2500-07-01 00:00", -14_400, Some("EDT")),
            ("America/New_York", "2500-01-01 00:00", -18_000, Some("EST")),
            ("America/New_York", "294000-07-01 00:00", -14_400, Some("EDT")),
            ("America/New_York", "1850-01-01 00:00", -17_762, Some("LMT")),
            ("Asia/Kolkata", "2024-01-01 00:00", 19_800, Some("IST")),
            ("Asia/Kolkata", "1945-06-01 00:00", 23_400, Some("+0630")),
            ("+05:30", "2024-01-01 00:00", 19_800, None),
        ] {
            let zone: ZoneRules = zone.parse().unwrap();
            assert_eq!((zone.offset(at(text)), zone.abbreviation(at(text)).as_deref()), (offset, name), "{text}");
        }
        assert!("Nowhere/Land".parse::<ZoneRules>().is_err());
    }
}
