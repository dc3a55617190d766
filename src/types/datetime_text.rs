//! Texts of dates and times as PostgreSQL reads them, in the session's order of the parts: `2024-02-29 12:34:56.5+02`,
//! `Jan 5, 2024 3:04 PM`, `20240229T123456`, `44-03-15 BC`, `infinity`.
//!
//! ```text
//! text --fields--> [Date, Clock, Zone, Number, Word] --each into--> Parts --date, time, timestamp--> days, microseconds
//! ```
//! Words that mean the present (`now`, `today`) are refused: a value must not depend on when it is read.

use super::styles::DateOrder;
use super::time::days_of;
use super::timetz::TimeTz;
use super::zone_rules::ZoneRules;
use crate::common::{Error, ErrorKind};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// 4714-11-24 BC, PostgreSQL's first day, and the last of its dates; days since 1970.
const FIRST_DAY: i64 = -2_440_588;
const LAST_DAY: i64 = 2_145_042_905;
/// The Julian day of 1970-01-01.
const JULIAN_EPOCH: i64 = 2_440_588;
/// Hours of an offset are fewer.
const ZONE_HOURS: i64 = 16;
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const LONG_MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
/// Hours east of UTC of zones by their letters.
const ZONES: &[(&str, i32)] = &[
    ("z", 0),
    ("utc", 0),
    ("gmt", 0),
    ("ut", 0),
    ("zulu", 0),
    ("wet", 0),
    ("cet", 1),
    ("bst", 1),
    ("mez", 1),
    ("cest", 2),
    ("eet", 2),
    ("eest", 3),
    ("msk", 3),
    ("jst", 9),
    ("est", -5),
    ("edt", -4),
    ("cst", -6),
    ("cdt", -5),
    ("mst", -7),
    ("mdt", -6),
    ("pst", -8),
    ("pdt", -7),
];

/// Why a text is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    Syntax,
    /// A field that is out of range, or a value that its type cannot hold.
    Range,
    /// An offset from UTC out of range.
    Offset,
    /// A name of no time zone.
    Zone,
}

impl Bad {
    /// What a client is told of a `text` that is no `name`.
    pub fn error(self, name: &str, text: &str) -> Error {
        let (kind, message) = match self {
            Self::Syntax => {
                (ErrorKind::InvalidDatetimeFormat, format!("invalid input syntax for type {name}: \"{text}\""))
            }
            Self::Range => (ErrorKind::DatetimeOverflow, format!("date/time field value out of range: \"{text}\"")),
            Self::Offset => {
                (ErrorKind::InvalidTimeZoneOffset, format!("time zone displacement out of range: \"{text}\""))
            }
            Self::Zone => (ErrorKind::InvalidParameterValue, format!("time zone of \"{text}\" not recognized")),
        };
        Error::new(kind, message).with_hint("write dates and times as '2024-02-29 12:34:56+00'")
    }
}

type Read<T> = std::result::Result<T, Bad>;

/// Days since 1970; the infinities are the ends of the range.
///
/// # Errors
/// [`Bad`].
pub fn date(text: &str, order: DateOrder) -> Read<i32> {
    match Parts::read(text, order, false)? {
        Parts { special: Some(Special::Infinity), .. } => Ok(i32::MAX),
        Parts { special: Some(Special::MinusInfinity), .. } => Ok(i32::MIN),
        Parts { special: Some(Special::Epoch), .. } => Ok(0),
        parts => i32::try_from(parts.day()?).map_err(|_| Bad::Range),
    }
}

/// Microseconds since midnight, up to and with those of a whole day. A date and a zone are passed over.
///
/// # Errors
/// [`Bad`].
pub fn time(text: &str) -> Read<i64> {
    let parts = Parts::read(text, DateOrder::default(), true)?;
    parts.clock.filter(|_| parts.special.is_none()).ok_or(Bad::Syntax)
}

/// A time of day with its offset, `east` seconds of UTC where the text tells none. A named zone needs a date.
///
/// # Errors
/// [`Bad`].
pub fn timetz(text: &str, east: i64) -> Read<TimeTz> {
    let parts = Parts::read(text, DateOrder::default(), true)?;
    let micros = parts.clock.filter(|_| parts.special.is_none()).ok_or(Bad::Syntax)?;
    let east = match &parts.zone {
        Some(Zone::Offset(seconds)) => *seconds,
        Some(Zone::Named(zone)) => zone.offset_of_local(parts.local()?),
        None => east,
    };
    Ok(TimeTz { micros, east: i32::try_from(east).map_err(|_| Bad::Offset)? })
}

/// Microseconds since 1970, by the clock that the text shows; a zone is passed over.
///
/// # Errors
/// [`Bad`].
pub fn timestamp(text: &str, order: DateOrder) -> Read<i64> {
    let parts = Parts::read(text, order, false)?;
    parts.special_micros().map_or_else(|| parts.local(), Ok)
}

/// Microseconds since 1970 UTC; a text without a zone is read in `zone`.
///
/// # Errors
/// [`Bad`].
pub fn timestamptz(text: &str, zone: &ZoneRules, order: DateOrder) -> Read<i64> {
    let parts = Parts::read(text, order, false)?;
    if let Some(special) = parts.special_micros() {
        return Ok(special);
    }
    let local = parts.local()?;
    let offset = match &parts.zone {
        Some(Zone::Offset(seconds)) => *seconds,
        Some(Zone::Named(zone)) => zone.offset_of_local(local),
        None => zone.offset_of_local(local),
    };
    in_range(local - offset * SECOND)
}

fn in_range(micros: i64) -> Read<i64> {
    if (FIRST_DAY * DAY..i64::MAX).contains(&micros) { Ok(micros) } else { Err(Bad::Range) }
}

#[derive(Debug, Clone, Copy)]
enum Special {
    Infinity,
    MinusInfinity,
    Epoch,
}

#[derive(Debug)]
enum Zone {
    /// Seconds east of UTC.
    Offset(i64),
    Named(ZoneRules),
}

/// A field of a text, by its look.
#[derive(Debug)]
enum Field<'a> {
    /// Begins with a digit and has a colon.
    Clock(&'a str),
    /// Has two delimiters.
    Date(&'a str),
    /// Digits, perhaps with a point.
    Number(&'a str),
    /// A sign and digits.
    Offset(&'a str),
    Word(String),
}

fn fields(text: &str) -> Read<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.bytes().next() {
        let length = |fits: &dyn Fn(u8) -> bool| rest.bytes().take_while(|b| fits(*b)).count();
        let digits = length(&|b| b.is_ascii_digit());
        let taken = match first {
            b',' => 1,
            b'0'..=b'9' => match rest.as_bytes().get(digits) {
                Some(b':') => {
                    let taken = length(&|b| b.is_ascii_digit() || b == b':' || b == b'.');
                    fields.push(Field::Clock(&rest[..taken]));
                    taken
                }
                Some(delimiter @ (b'-' | b'/' | b'.')) => {
                    let taken = date_length(rest, *delimiter);
                    let dates = rest[..taken].bytes().filter(|b| b == delimiter).count() == 2 || *delimiter != b'.';
                    fields.push(if dates { Field::Date(&rest[..taken]) } else { Field::Number(&rest[..taken]) });
                    taken
                }
                _ => {
                    fields.push(Field::Number(&rest[..digits]));
                    digits
                }
            },
            b'+' | b'-' => {
                let taken = 1 + rest.bytes().skip(1).take_while(|b| b.is_ascii_digit() || *b == b':').count();
                if taken > 1 {
                    fields.push(Field::Offset(&rest[..taken]));
                    taken
                } else if first == b'-' && rest[1..].trim_start().to_ascii_lowercase().starts_with("infinity") {
                    let gap = rest.len() - 1 - rest[1..].trim_start().len();
                    fields.push(Field::Word("-infinity".into()));
                    1 + gap + "infinity".len()
                } else {
                    return Err(Bad::Syntax);
                }
            }
            b if b.is_ascii_alphabetic() => {
                let letters = length(&|b| b.is_ascii_alphabetic());
                let named = matches!(rest.as_bytes().get(letters), Some(b'/' | b'_' | b'-'));
                if named && month(&rest[..letters]).is_some() {
                    let taken = length(&|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'/');
                    fields.push(Field::Date(&rest[..taken]));
                    taken
                } else {
                    let taken = match rest.as_bytes().get(letters) {
                        Some(b'/' | b'_') => length(&|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b)),
                        _ => letters,
                    };
                    fields.push(Field::Word(rest[..taken].to_ascii_lowercase()));
                    taken
                }
            }
            _ => return Err(Bad::Syntax),
        };
        rest = rest.get(taken..).ok_or(Bad::Syntax)?.trim_start();
    }
    Ok(fields)
}

/// Up to the end of a date, before the T of a time.
fn date_length(text: &str, delimiter: u8) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digit = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_digit);
        let time = matches!(byte, b't' | b'T') && digit(at.wrapping_sub(1)) && digit(at + 1);
        if time || !(byte.is_ascii_alphanumeric() || *byte == delimiter) {
            break;
        }
        at += 1;
    }
    at
}

fn month(word: &str) -> Option<i64> {
    let word = word.to_ascii_lowercase();
    let found = MONTHS.iter().position(|m| *m == word).or_else(|| LONG_MONTHS.iter().position(|m| *m == word));
    found.or((word == "sept").then_some(8)).map(|i| i as i64 + 1)
}

/// What the fields say.
#[derive(Debug, Default)]
struct Parts {
    order: DateOrder,
    special: Option<Special>,
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    /// Days since 1970, where a field gives them whole.
    days: Option<i64>,
    /// The month was a word.
    named_month: bool,
    two_digits: bool,
    before_christ: bool,
    clock: Option<i64>,
    afternoon: Option<bool>,
    zone: Option<Zone>,
}

impl Parts {
    /// `clock_alone`: digits are a time of day.
    fn read(text: &str, order: DateOrder, clock_alone: bool) -> Read<Self> {
        let mut parts = Self { order, ..Self::default() };
        let mut iso_time = clock_alone;
        let mut julian = false;
        let fields = fields(text)?;
        if fields.is_empty() {
            return Err(Bad::Syntax);
        }
        for field in fields {
            match field {
                Field::Clock(text) => parts.set_clock(clock(text)?)?,
                Field::Date(text) => parts.set_date(text)?,
                Field::Offset(text) => {
                    if parts.clock.is_none() || parts.zone.is_some() {
                        // An offset needs a time; too long a one is told first.
                        offset(text)?;
                        return Err(Bad::Syntax);
                    }
                    parts.zone = Some(Zone::Offset(offset(text)?));
                }
                Field::Number(text) if julian => {
                    julian = false;
                    let day: i64 = text.parse().map_err(|_| Bad::Syntax)?;
                    parts.days = Some(day - JULIAN_EPOCH);
                }
                Field::Number(text) => parts.set_number(text, iso_time)?,
                Field::Word(word) => match word.as_str() {
                    "t" => iso_time = true,
                    "j" => julian = true,
                    word => parts.set_word(word)?,
                },
            }
        }
        parts.finish()
    }

    fn has_date(&self) -> bool {
        self.days.is_some() || (self.year.is_some() && self.month.is_some() && self.day.is_some())
    }

    fn set_clock(&mut self, micros: i64) -> Read<()> {
        match self.clock.replace(micros) {
            None => Ok(()),
            Some(_) => Err(Bad::Syntax),
        }
    }

    fn set_date(&mut self, text: &str) -> Read<()> {
        if self.has_date() {
            return Err(Bad::Syntax);
        }
        let parts: Vec<&str> = text.split(['-', '/', '.']).collect();
        let [a, b, c] = parts[..] else { return Err(Bad::Syntax) };
        let named = [a, b, c].into_iter().position(|part| month(part).is_some());
        if let Some(at) = named {
            self.set_month(month([a, b, c][at]))?;
        }
        for (at, part) in [a, b, c].into_iter().enumerate() {
            if Some(at) != named {
                self.set_part(part)?;
            }
        }
        Ok(())
    }

    fn set_month(&mut self, month: Option<i64>) -> Read<()> {
        self.named_month = true;
        match self.month.replace(month.ok_or(Bad::Syntax)?) {
            None => Ok(()),
            Some(_) => Err(Bad::Syntax),
        }
    }

    /// The next number of a date: what it is follows from those before, from its length, and from the session's order.
    fn set_part(&mut self, text: &str) -> Read<()> {
        let value = number(text)?;
        let year_first = text.len() >= 3 || self.order == DateOrder::Ymd;
        match (self.year, self.month, self.day) {
            (None, None, None) if year_first => return self.set_year(text),
            (None, None, None) if self.order == DateOrder::Dmy => self.day = Some(value),
            (None, None, None) | (Some(_), None, None) | (None, None, Some(_)) => self.month = Some(value),
            (None, Some(_), None) if self.named_month && year_first => return self.set_year(text),
            // The first number was the day, though it stood where the year does.
            (Some(day), Some(_), None) if self.named_month && self.two_digits && text.len() >= 3 => {
                self.day = Some(day);
                return self.set_year(text);
            }
            (_, Some(_), None) => self.day = Some(value),
            (None, Some(_), Some(_)) => return self.set_year(text),
            _ => return Err(Bad::Syntax),
        }
        Ok(())
    }

    fn set_year(&mut self, text: &str) -> Read<()> {
        self.year = Some(number(text)?);
        self.two_digits = text.len() <= 2;
        Ok(())
    }

    fn set_number(&mut self, text: &str, iso_time: bool) -> Read<()> {
        let (whole, fraction) = text.split_once('.').map_or((text, None), |(w, f)| (w, Some(f)));
        let part = |from: usize, to: usize| number(whole.get(from..to).unwrap_or_default());
        let timed = self.clock.is_none() && (iso_time || self.has_date());
        match (whole.len(), fraction) {
            (6, _) if timed => {
                let text = format!("{}:{}:{}.{}", &whole[..2], &whole[2..4], &whole[4..], fraction.unwrap_or(""));
                self.set_clock(clock(&text)?)
            }
            (4, None) if timed => self.set_clock(clock(&format!("{}:{}", &whole[..2], &whole[2..]))?),
            (4, Some(days)) if self.year.is_none() && days.len() == 3 => {
                let (year, day) = (part(0, 4)?, number(days)?);
                if !(1..=366).contains(&day) {
                    return Err(Bad::Range);
                }
                self.days = Some(days_of(year, 1, 1) + day - 1);
                Ok(())
            }
            (8, None) if !self.has_date() => {
                (self.year, self.month, self.day) = (Some(part(0, 4)?), Some(part(4, 6)?), Some(part(6, 8)?));
                Ok(())
            }
            (6, None) if !self.has_date() => {
                self.set_year(&whole[..2])?;
                (self.month, self.day) = (Some(part(2, 4)?), Some(part(4, 6)?));
                Ok(())
            }
            (_, None) if !self.has_date() => self.set_part(whole),
            _ => Err(Bad::Syntax),
        }
    }

    fn set_word(&mut self, word: &str) -> Read<()> {
        match word {
            "infinity" => self.special = Some(Special::Infinity),
            "-infinity" => self.special = Some(Special::MinusInfinity),
            "epoch" => self.special = Some(Special::Epoch),
            "allballs" => {
                self.set_clock(0)?;
                self.zone = Some(Zone::Offset(0));
            }
            "am" | "pm" => self.afternoon = Some(word == "pm"),
            "bc" => self.before_christ = true,
            "ad" | "at" | "on" => {}
            _ if month(word).is_some() && !self.named_month => {
                // A number before it was the day.
                if let (None, Some(1..=31)) = (self.day, self.month) {
                    self.day = self.month.take();
                }
                self.set_month(month(word))?;
            }
            _ if word.len() >= 3 && WEEKDAYS.iter().any(|d| d.starts_with(word)) => {}
            _ => self.zone = Some(zone(word)?),
        }
        Ok(())
    }

    fn finish(mut self) -> Read<Self> {
        if let Some(afternoon) = self.afternoon {
            let clock = self.clock.ok_or(Bad::Syntax)?;
            let noon = DAY / 2;
            if clock >= noon + 3_600 * SECOND {
                return Err(Bad::Range);
            }
            self.clock = Some(if clock >= noon { clock - noon } else { clock } + if afternoon { noon } else { 0 });
        }
        if let Some(year) = self.year {
            let year = match year {
                0..70 if self.two_digits && !self.before_christ => year + 2000,
                70..100 if self.two_digits && !self.before_christ => year + 1900,
                0 => return Err(Bad::Range),
                _ if self.before_christ => 1 - year,
                _ => year,
            };
            self.year = Some(year);
        }
        Ok(self)
    }

    /// Days since 1970.
    fn day(&self) -> Read<i64> {
        let days = match (self.days, self.year, self.month, self.day) {
            (Some(days), ..) => days,
            (None, Some(year), Some(month), Some(day)) => {
                let first = |year, month| days_of(year, month, 1);
                if !(1..=12).contains(&month) || day < 1 || year > 10_000_000 {
                    return Err(Bad::Range);
                }
                let next = if month == 12 { first(year + 1, 1) } else { first(year, month + 1) };
                if day > next - first(year, month) {
                    return Err(Bad::Range);
                }
                first(year, month) + day - 1
            }
            _ => return Err(Bad::Syntax),
        };
        if (FIRST_DAY..=LAST_DAY).contains(&days) { Ok(days) } else { Err(Bad::Range) }
    }

    fn special_micros(&self) -> Option<i64> {
        Some(match self.special? {
            Special::Infinity => i64::MAX,
            Special::MinusInfinity => i64::MIN,
            Special::Epoch => 0,
        })
    }

    fn local(&self) -> Read<i64> {
        let micros = self.day()?.checked_mul(DAY).and_then(|day| day.checked_add(self.clock.unwrap_or(0)));
        in_range(micros.ok_or(Bad::Range)?)
    }
}

fn number(text: &str) -> Read<i64> {
    match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse().map_err(|_| Bad::Syntax),
        false => Err(Bad::Syntax),
    }
}

/// `12:34`, `1:2:3.5`: microseconds since midnight.
fn clock(text: &str) -> Read<i64> {
    let mut parts = text.split(':');
    let (hour, minute) = (number(parts.next().unwrap_or(""))?, parts.next().ok_or(Bad::Syntax)?);
    let (minute, (second, fraction)) = match parts.next() {
        Some(rest) => (minute, rest.split_once('.').unwrap_or((rest, ""))),
        None => (minute, ("0", "")),
    };
    if parts.next().is_some() || minute.is_empty() || second.is_empty() {
        return Err(Bad::Syntax);
    }
    let (minute, second) = (number(minute)?, number(second)?);
    let micros = micros_of(fraction)?;
    let whole = ((hour * 60 + minute) * 60 + second) * SECOND + micros;
    if hour > 24 || minute > 59 || second > 60 || whole > DAY {
        return Err(Bad::Range);
    }
    Ok(whole)
}

/// The digits behind a point of seconds, rounded.
pub fn micros_of(digits: &str) -> Read<i64> {
    if digits.is_empty() {
        return Ok(0);
    }
    number(digits.get(..digits.len().min(18)).unwrap_or_default())?;
    let fraction: f64 = format!("0.{digits}").parse().map_err(|_| Bad::Syntax)?;
    Ok((fraction * SECOND as f64).round_ties_even() as i64)
}

/// `+02`, `-0530`, `+05:30:15`: seconds east of UTC.
fn offset(text: &str) -> Read<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (hours, minutes, seconds) = match digits.split_once(':') {
        Some((hours, rest)) => {
            let (minutes, seconds) = rest.split_once(':').unwrap_or((rest, "0"));
            (number(hours)?, number(minutes)?, number(seconds)?)
        }
        None if digits.len() > 2 => {
            let number = number(digits)?;
            (number / 100, number % 100, 0)
        }
        None => (number(digits)?, 0, 0),
    };
    if hours >= ZONE_HOURS || minutes > 59 || seconds > 59 {
        return Err(Bad::Offset);
    }
    Ok(sign * ((hours * 60 + minutes) * 60 + seconds))
}

fn zone(name: &str) -> Read<Zone> {
    if let Some((_, hours)) = ZONES.iter().find(|(zone, _)| *zone == name) {
        return Ok(Zone::Offset(i64::from(*hours) * 3600));
    }
    if !name.contains('/') {
        return Err(Bad::Syntax);
    }
    // Words begin with a capital letter: `America/New_York`.
    let mut capital = true;
    let proper: String = name
        .chars()
        .map(|c| {
            let shown = if capital { c.to_ascii_uppercase() } else { c };
            capital = matches!(c, '/' | '_' | '-');
            shown
        })
        .collect();
    proper.parse().map(Zone::Named).map_err(|_| Bad::Zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (text, expected) in [
            ("1970-01-01", Ok(0)),
            ("2024-02-29", Ok(19_782)),
            (" Jan 5, 2024 ", Ok(19_727)),
            ("5 January 2024", Ok(19_727)),
            ("2024-Jan-05", Ok(19_727)),
            ("240105", Ok(19_727)),
            ("1/5/24", Ok(19_727)),
            ("Fri Jan 5 2024", Ok(19_727)),
            ("J2460000", Ok(19_412)),
            ("2024.036", Ok(19_758)),
            ("infinity", Ok(i32::MAX)),
            ("4714-11-24 BC", Ok(-2_440_588)),
            ("5874897-12-31", Ok(2_145_042_905)),
            ("4714-11-23 BC", Err(Bad::Range)),
            ("5874898-01-01", Err(Bad::Range)),
            ("2023-02-29", Err(Bad::Range)),
            ("13/02/2024", Err(Bad::Range)),
            ("0000-01-01", Err(Bad::Range)),
            ("-2024-01-01", Err(Bad::Offset)),
            ("2024", Err(Bad::Syntax)),
            ("2024-01", Err(Bad::Syntax)),
            ("+infinity", Err(Bad::Syntax)),
            ("today", Err(Bad::Syntax)),
            ("", Err(Bad::Syntax)),
        ] {
            assert_eq!(date(text, DateOrder::Mdy), expected, "{text}");
        }
    }

    #[test]
    fn orders_of_the_parts() {
        use DateOrder::{Dmy, Mdy, Ymd};
        for (text, expected) in [
            ("01/02/03", [Ok("2003-01-02"), Ok("2003-02-01"), Ok("2001-02-03")]),
            ("13/02/2024", [Err(Bad::Range), Ok("2024-02-13"), Err(Bad::Range)]),
            ("2024-02-03", [Ok("2024-02-03"); 3]),
            ("5 January 2024", [Ok("2024-01-05"); 3]),
            ("05-Jan-24", [Ok("2024-01-05"), Ok("2024-01-05"), Ok("2005-01-24")]),
            ("240105", [Ok("2024-01-05"); 3]),
        ] {
            for (order, expected) in [Mdy, Dmy, Ymd].into_iter().zip(expected) {
                let expected = expected.and_then(|iso| date(iso, Mdy));
                assert_eq!(date(text, order), expected, "{text} {order:?}");
            }
        }
    }

    #[test]
    fn times_of_day() {
        for (text, expected) in [
            ("12:34", Ok(45_240_000_000)),
            ("1:2:3", Ok(3_723_000_000)),
            ("040506", Ok(14_706_000_000)),
            ("T0405", Ok(14_700_000_000)),
            ("12:00 AM", Ok(0)),
            ("12:00 PM", Ok(43_200_000_000)),
            ("23:59:59.9999999", Ok(DAY)),
            ("24:00:00", Ok(DAY)),
            ("04:05:06.789-8", Ok(14_706_789_000)),
            ("allballs", Ok(0)),
            ("24:00:01", Err(Bad::Range)),
            ("13:00 PM", Err(Bad::Range)),
            ("12:60", Err(Bad::Range)),
            ("-01:00", Err(Bad::Syntax)),
            ("noon", Err(Bad::Syntax)),
        ] {
            assert_eq!(time(text), expected, "{text}");
        }
    }

    #[test]
    fn timestamps() {
        let new_york: ZoneRules = "America/New_York".parse().unwrap();
        for (text, expected) in [
            ("1970-01-02 00:00", Ok(DAY)),
            ("19700102T000001", Ok(DAY + SECOND)),
            ("1970-01-01 24:00:00", Ok(DAY)),
            ("Fri Jan 2 00:00:00 1970", Ok(DAY)),
            ("1970-01-02 00:00:00+02", Ok(DAY)),
            ("-infinity", Ok(i64::MIN)),
            ("294277-01-01 00:00:00", Err(Bad::Range)),
            ("1970-01-01 12", Err(Bad::Syntax)),
        ] {
            assert_eq!(timestamp(text, DateOrder::Mdy), expected, "{text}");
        }
        for (text, expected) in [
            ("1970-01-01 00:00:00", Ok(18_000 * SECOND)),
            ("1970-01-01 00:00:00Z", Ok(0)),
            ("1970-01-01 01:00 Europe/Berlin", Ok(0)),
            ("1970-01-01 00:00 PST", Ok(28_800 * SECOND)),
            // The hour that is left out, and the one that comes twice.
            ("2024-03-10 02:30:00", Ok(1_710_055_800 * SECOND)),
            ("2024-11-03 01:30:00", Ok(1_730_615_400 * SECOND)),
            ("1970-01-01 00:00:00+25", Err(Bad::Offset)),
            ("1970-01-01 00:00:00 Nowhere/Land", Err(Bad::Zone)),
        ] {
            assert_eq!(timestamptz(text, &new_york, DateOrder::Mdy), expected, "{text}");
        }
    }
}
