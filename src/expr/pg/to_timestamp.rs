//! `to_date` and `to_timestamp`: texts read by a pattern.

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, Weekday};

use super::pattern::{DAYS, Field, MONTHS, Marked, Part, ROMAN_MONTHS};
use crate::common::{Error, ErrorKind, Result};

/// What a text says; what it leaves out is none.
#[derive(Debug, Default)]
struct Fields {
    year: Option<i32>,
    iso_year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    iso_week: Option<u32>,
    iso_day: Option<u32>,
    week_of_year: Option<u32>,
    week_of_month: Option<u32>,
    julian: Option<i32>,
    century: Option<i32>,
    before_christ: bool,
    hour: Option<u32>,
    twelve: bool,
    afternoon: Option<bool>,
    minute: u32,
    second: u32,
    micros: u32,
    second_of_day: Option<u32>,
    offset_hours: Option<i32>,
    offset_minutes: i32,
}

/// The time that `text` tells, and its distance from UTC in seconds if it tells that.
///
/// # Errors
/// `DatetimeOverflow` for a field out of range, `DataException` for a text that does not fit.
pub(super) fn read(text: &str, parts: &[Part]) -> Result<(NaiveDateTime, Option<i32>)> {
    let mut fields = Fields::default();
    let mut rest = text.trim_start();
    for (at, part) in parts.iter().enumerate() {
        match part {
            Part::Text(quoted) => {
                let skipped = quoted.chars().count();
                rest = rest.char_indices().nth(skipped).map_or("", |(at, _)| &rest[at..]);
            }
            Part::Other(c) if c.is_alphanumeric() => {
                let mut chars = rest.chars();
                chars.next();
                rest = chars.as_str();
            }
            Part::Other(_) => {
                let mut chars = rest.chars();
                if chars.next().is_some_and(|c| c == '-' || !c.is_alphanumeric() && c != '+') {
                    rest = chars.as_str();
                }
                rest = rest.trim_start();
            }
            Part::Field(marked) => {
                rest = rest.trim_start();
                // So many digits, unless something else ends them.
                let bounded = matches!(parts.get(at + 1), Some(Part::Field(next)) if takes_digits(next.field));
                rest = fields.field(marked, rest, bounded)?;
            }
        }
    }
    fields.moment(text)
}

fn takes_digits(field: Field) -> bool {
    !matches!(
        field,
        Field::MonthName(_)
            | Field::MonthShort(_)
            | Field::DayName(_)
            | Field::DayShort(_)
            | Field::Meridiem(..)
            | Field::Era(..)
            | Field::Roman(_)
            | Field::Zone(_)
    )
}

fn invalid(text: &str, what: &str) -> Error {
    Error::new(ErrorKind::DataException, format!("invalid value \"{text}\" for \"{what}\""))
        .with_hint("the text must follow the pattern")
}

/// A number of at most `width` digits (of any, when something else ends it), and what follows.
fn number<'t>(text: &'t str, width: usize, bounded: bool, what: &str) -> Result<(i64, usize, &'t str)> {
    let signed = text.starts_with(['-', '+']);
    let digits = text[usize::from(signed)..].bytes().take_while(u8::is_ascii_digit).count();
    let digits = if bounded { digits.min(width) } else { digits };
    let end = usize::from(signed) + digits;
    match text[..end].parse() {
        Ok(value) if digits > 0 => Ok((value, digits, &text[end..])),
        _ => Err(invalid(&text.chars().take(4).collect::<String>(), what)),
    }
}

/// Which of the names the text begins with, and what follows.
fn name<'t>(text: &'t str, names: &[&str], length: Option<usize>, what: &str) -> Result<(usize, &'t str)> {
    let mut best: Option<(usize, usize)> = None;
    for (at, name) in names.iter().enumerate() {
        let name = length.map_or(*name, |length| &name[..length]);
        let found = text.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name));
        if found && best.is_none_or(|(_, length)| name.len() > length) {
            best = Some((at, name.len()));
        }
    }
    best.map(|(at, length)| (at, &text[length..]))
        .ok_or_else(|| invalid(&text.chars().take(9).collect::<String>(), what))
}

impl Fields {
    fn field<'t>(&mut self, marked: &Marked, text: &'t str, bounded: bool) -> Result<&'t str> {
        let unsigned = |width: usize, what: &str| -> Result<(u32, &'t str)> {
            let (value, _, rest) = number(text, width, bounded, what)?;
            let value = u32::try_from(value).map_err(|_| invalid(text, what))?;
            Ok((value, rest))
        };
        let mut rest = match marked.field {
            Field::Hour12 | Field::Hour24 => {
                let (value, rest) = unsigned(2, "HH24")?;
                self.twelve = marked.field == Field::Hour12;
                if self.twelve && !(1..=12).contains(&value) {
                    return Err(Error::new(
                        ErrorKind::DatetimeOverflow,
                        format!("hour \"{value}\" is invalid for the 12-hour clock"),
                    )
                    .with_hint("use the 24-hour clock, or give an hour between 1 and 12"));
                }
                self.hour = Some(value);
                rest
            }
            Field::Minute => store(&mut self.minute, unsigned(2, "MI")?),
            Field::Second => store(&mut self.second, unsigned(2, "SS")?),
            Field::Millisecond => self.fraction(text, 3, "MS")?,
            Field::Microsecond => self.fraction(text, 6, "US")?,
            Field::Fraction(digits) => self.fraction(text, digits.into(), "FF")?,
            Field::SecondOfDay => store_some(&mut self.second_of_day, unsigned(5, "SSSSS")?),
            Field::Meridiem(..) => {
                let (at, rest) = name(text, &["AM", "PM", "A.M.", "P.M."], None, "AM")?;
                self.afternoon = Some(at % 2 == 1);
                rest
            }
            Field::Era(..) => {
                let (at, rest) = name(text, &["AD", "BC", "A.D.", "B.C."], None, "AD")?;
                self.before_christ = at % 2 == 1;
                rest
            }
            Field::Year(width) | Field::IsoYear(width) => {
                let (value, digits, rest) = number(text, width.into(), bounded, "YYYY")?;
                let year = near(value as i32, digits.max(if width == 4 { 4 } else { 0 }));
                match marked.field {
                    Field::Year(_) => self.year = Some(year),
                    _ => self.iso_year = Some(year),
                }
                rest
            }
            Field::YearComma => {
                let (thousands, _, rest) = number(text, 3, false, "Y,YYY")?;
                let rest = rest.strip_prefix(',').ok_or_else(|| invalid(text, "Y,YYY"))?;
                let (value, _, rest) = number(rest, 3, true, "Y,YYY")?;
                self.year = Some((thousands * 1000 + value) as i32);
                rest
            }
            Field::MonthName(_) => {
                // The short names will do.
                let (at, rest) =
                    name(text, &MONTHS, None, "Month").or_else(|_| name(text, &MONTHS, Some(3), "Month"))?;
                self.month = Some(at as u32 + 1);
                rest
            }
            Field::MonthShort(_) => {
                let (at, rest) = name(text, &MONTHS, Some(3), "Mon")?;
                self.month = Some(at as u32 + 1);
                rest
            }
            Field::Roman(_) => {
                let (at, rest) = name(text, &ROMAN_MONTHS, None, "RM")?;
                self.month = Some(at as u32 + 1);
                rest
            }
            Field::DayName(_) => name(text, &DAYS, None, "Day").or_else(|_| name(text, &DAYS, Some(3), "Day"))?.1,
            Field::DayShort(_) => name(text, &DAYS, Some(3), "Dy")?.1,
            Field::Month => store_some(&mut self.month, unsigned(2, "MM")?),
            Field::Day => store_some(&mut self.day, unsigned(2, "DD")?),
            Field::DayOfYear => store_some(&mut self.day_of_year, unsigned(3, "DDD")?),
            Field::IsoDayOfYear => {
                let (value, rest) = unsigned(3, "IDDD")?;
                (self.iso_week, self.iso_day) = (Some((value.max(1) - 1) / 7 + 1), Some((value.max(1) - 1) % 7 + 1));
                rest
            }
            Field::DayOfWeek => unsigned(1, "D")?.1,
            Field::IsoDayOfWeek => store_some(&mut self.iso_day, unsigned(1, "ID")?),
            Field::WeekOfMonth => store_some(&mut self.week_of_month, unsigned(1, "W")?),
            Field::WeekOfYear => store_some(&mut self.week_of_year, unsigned(2, "WW")?),
            Field::IsoWeek => store_some(&mut self.iso_week, unsigned(2, "IW")?),
            Field::Century => {
                let (value, _, rest) = number(text, 2, bounded, "CC")?;
                self.century = Some(value as i32);
                rest
            }
            Field::Julian => {
                let (value, _, rest) = number(text, 7, false, "J")?;
                self.julian = Some(value as i32);
                rest
            }
            Field::Quarter => number(text, 1, bounded, "Q")?.2,
            Field::ZoneHour | Field::Offset => {
                let (value, _, rest) = number(text, 2, true, "TZH")?;
                self.offset_hours = Some(value as i32);
                match (marked.field, rest.strip_prefix(':')) {
                    (Field::Offset, Some(minutes)) => {
                        let (value, _, rest) = number(minutes, 2, true, "OF")?;
                        self.offset_minutes = value as i32;
                        rest
                    }
                    _ => rest,
                }
            }
            Field::ZoneMinute => {
                let (value, _, rest) = number(text, 2, true, "TZM")?;
                self.offset_minutes = value as i32;
                rest
            }
            Field::Zone(_) => {
                return Err(Error::not_supported("formatting field \"TZ\" is only supported in to_char")
                    .with_hint("use TZH:TZM"));
            }
        };
        if marked.ordinal.is_some() {
            rest = rest.trim_start_matches(|c: char| c.is_alphabetic());
        }
        Ok(rest)
    }

    /// Digits behind the point of the second; those of MS and US add up.
    fn fraction<'t>(&mut self, text: &'t str, width: usize, what: &str) -> Result<&'t str> {
        let (value, digits, rest) = number(text, width, true, what)?;
        self.micros += value.unsigned_abs() as u32 * 10u32.pow(6u32.saturating_sub(digits as u32));
        Ok(rest)
    }

    fn moment(&self, text: &str) -> Result<(NaiveDateTime, Option<i32>)> {
        let out_of_range =
            || Error::new(ErrorKind::DatetimeOverflow, format!("date/time field value out of range: \"{text}\""));
        let date = self.date().ok_or_else(out_of_range)?;
        let hour = match (self.hour.unwrap_or(0), self.afternoon) {
            (12, Some(false)) if self.twelve => 0,
            (12, None) if self.twelve => 0,
            (hour, Some(true)) if hour < 12 => hour + 12,
            (hour, _) => hour,
        };
        let time = match self.second_of_day {
            Some(second) => NaiveTime::from_num_seconds_from_midnight_opt(second, self.micros * 1000),
            None => NaiveTime::from_hms_micro_opt(hour, self.minute, self.second, self.micros),
        };
        let offset = self.offset_hours.map(|hours| hours * 3600 + self.offset_minutes * 60 * hours.signum().min(1));
        Ok((date.and_time(time.ok_or_else(out_of_range)?), offset))
    }

    fn date(&self) -> Option<NaiveDate> {
        if let Some(julian) = self.julian {
            return NaiveDate::from_num_days_from_ce_opt(julian - 1_721_425);
        }
        if let Some(year) = self.iso_year {
            let day = match self.iso_day {
                Some(day) => Weekday::try_from(u8::try_from(day.checked_sub(1)?).ok()?).ok()?,
                None => Weekday::Mon,
            };
            return NaiveDate::from_isoywd_opt(year, self.iso_week.unwrap_or(1), day);
        }
        let year = match (self.year, self.century) {
            (Some(year), Some(century)) if year < 100 => (century - 1) * 100 + year,
            (Some(year), _) => year,
            (None, Some(century)) => (century - 1) * 100 + 1,
            // As PostgreSQL: the year before the first.
            (None, None) => 0,
        };
        let year = if self.before_christ { 1 - year } else { year };
        if let Some(day) = self.day_of_year {
            return NaiveDate::from_yo_opt(year, day);
        }
        if let Some(week) = self.week_of_year {
            return NaiveDate::from_ymd_opt(year, 1, 1)?
                .checked_add_days(Days::new(u64::from(week.checked_sub(1)?) * 7));
        }
        let day = match (self.day, self.week_of_month) {
            (Some(day), _) => day,
            (None, Some(week)) => (week.checked_sub(1)?) * 7 + 1,
            (None, None) => 1,
        };
        NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), day).filter(|d| d.year().abs() < 262_000)
    }
}

fn store<'t>(place: &mut u32, (value, rest): (u32, &'t str)) -> &'t str {
    *place = value;
    rest
}

fn store_some<'t>(place: &mut Option<u32>, (value, rest): (u32, &'t str)) -> &'t str {
    *place = Some(value);
    rest
}

/// A year of fewer than four digits is the one nearest to 2020.
fn near(year: i32, digits: usize) -> i32 {
    match (digits, year) {
        (1, _) => 2000 + year,
        (2, 0..=69) => 2000 + year,
        (2, _) => 1900 + year,
        (3, 100..=519) => 2000 + year,
        (3, _) => 1000 + year,
        _ => year,
    }
}
