//! Texts of intervals as PostgreSQL reads them: `1 year 2 mons`, `3 4:05:06`, `1-2`, `P1Y2M3DT4H`, `@ 1 day ago`.
//!
//! ```text
//! text --tokens--> [clock | years-months | number | word], last first --Sum--> months, days, microseconds
//! ```

use arrow::datatypes::IntervalMonthDayNano;

use super::styles::IntervalStyle;
use crate::common::{Error, ErrorKind, Result};

const SECOND: f64 = 1e6;
const DAY: f64 = 86_400e6;

/// The value of a text. A bare number counts seconds; in the style of the standard the sign of the first number is that
/// of all, if no other has one.
///
/// # Errors
/// `InvalidDatetimeFormat`; `IntervalFieldOverflow` or `DatetimeOverflow` for what is too large to be kept.
pub fn parse(text: &str, style: IntervalStyle) -> Result<IntervalMonthDayNano> {
    let refused = |bad: Bad| {
        let (kind, what) = match bad {
            Bad::Syntax => (ErrorKind::InvalidDatetimeFormat, "invalid input syntax for type interval"),
            Bad::Field => (ErrorKind::IntervalFieldOverflow, "interval field value out of range"),
            Bad::Range => (ErrorKind::DatetimeOverflow, "interval out of range"),
        };
        Error::new(kind, format!("{what}: \"{text}\"")).with_hint("write '1 year 2 mons 3 days 04:05:06'")
    };
    let trimmed = text.trim();
    let sum = match trimmed.strip_prefix('P') {
        Some(iso) => iso_interval(iso),
        None => words(trimmed, style == IntervalStyle::SqlStandard),
    };
    sum.and_then(Sum::value).map_err(refused)
}

/// An interval by units that Arrow knows, `negated` if wanted; `None` for a text that is none.
pub fn plain(text: &str, negated: bool) -> Option<String> {
    let IntervalMonthDayNano { months, days, nanoseconds } = parse(text, IntervalStyle::Postgres).ok()?;
    let signed = |n: i64| if negated { -n } else { n };
    let parts = [(i64::from(months), "months"), (days.into(), "days"), (nanoseconds / 1000, "microseconds")];
    let parts = parts.map(|(n, unit)| (signed(n), unit));
    let parts: Vec<String> = parts.iter().filter(|p| p.0 != 0).map(|(n, unit)| format!("{n} {unit}")).collect();
    Some(if parts.is_empty() { "0 days".into() } else { parts.join(" ") })
}

enum Bad {
    Syntax,
    /// A field too large.
    Field,
    /// The whole too large.
    Range,
}

type Read<T> = std::result::Result<T, Bad>;

/// What a number counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
    Decade,
    Century,
    Millennium,
}

impl Unit {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "us" | "usec" | "usecs" | "microsecond" | "microseconds" | "microsecon" => Self::Microsecond,
            "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" => Self::Millisecond,
            "s" | "sec" | "secs" | "second" | "seconds" => Self::Second,
            "m" | "min" | "mins" | "minute" | "minutes" => Self::Minute,
            "h" | "hr" | "hrs" | "hour" | "hours" => Self::Hour,
            "d" | "day" | "days" => Self::Day,
            "w" | "week" | "weeks" => Self::Week,
            "mon" | "mons" | "month" | "months" => Self::Month,
            "y" | "yr" | "yrs" | "year" | "years" => Self::Year,
            "dec" | "decs" | "decade" | "decades" => Self::Decade,
            "c" | "cent" | "century" | "centuries" => Self::Century,
            "mil" | "mils" | "millennium" | "millennia" => Self::Millennium,
            _ => return None,
        })
    }
}

/// What was counted so far.
#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    micros: i64,
    /// Units that a text named, each at most once.
    seen: Vec<Unit>,
}

impl Sum {
    fn once(&mut self, units: &[Unit]) -> Read<()> {
        if units.iter().any(|u| self.seen.contains(u)) {
            return Err(Bad::Syntax);
        }
        self.seen.extend(units);
        Ok(())
    }

    /// Adds `number` of a unit; parts of one go to the next smaller.
    fn add(&mut self, number: Number, unit: Unit) -> Read<()> {
        let micros = |per: i64| -> Read<i64> {
            let whole = number.whole.checked_mul(per).ok_or(Bad::Field)?;
            whole.checked_add((number.fraction * per as f64).round_ties_even() as i64).ok_or(Bad::Field)
        };
        let months = |per: i64| -> Read<i64> {
            let whole = i64::from(i32::try_from(number.whole).map_err(|_| Bad::Field)?);
            Ok(whole * per + (number.fraction * per as f64).round_ties_even() as i64)
        };
        match unit {
            Unit::Microsecond => self.time(micros(1)?),
            Unit::Millisecond => self.time(micros(1_000)?),
            Unit::Second => self.time(micros(1_000_000)?),
            Unit::Minute => self.time(micros(60_000_000)?),
            Unit::Hour => self.time(micros(3_600_000_000)?),
            Unit::Day => self.day(number, 1),
            Unit::Week => self.day(number, 7),
            Unit::Month => {
                self.month(months(0)? + number.whole)?;
                self.day(Number { whole: 0, fraction: number.fraction }, 30)
            }
            Unit::Year => self.month(months(12)?),
            Unit::Decade => self.month(months(120)?),
            Unit::Century => self.month(months(1_200)?),
            Unit::Millennium => self.month(months(12_000)?),
        }
    }

    fn time(&mut self, micros: i64) -> Read<()> {
        self.micros = self.micros.checked_add(micros).ok_or(Bad::Field)?;
        Ok(())
    }

    fn month(&mut self, months: i64) -> Read<()> {
        self.months += months;
        Ok(())
    }

    fn day(&mut self, number: Number, per: i64) -> Read<()> {
        let part = number.fraction * per as f64;
        let whole = i64::from(i32::try_from(number.whole).map_err(|_| Bad::Field)?);
        self.days += whole * per + part.trunc() as i64;
        self.time((part.fract() * DAY).round_ties_even() as i64)
    }

    fn negated(self) -> Self {
        Self { months: -self.months, days: -self.days, micros: -self.micros, seen: self.seen }
    }

    fn all_negative(self) -> Self {
        let below = |n: i64| -n.abs();
        Self { months: below(self.months), days: below(self.days), micros: below(self.micros), seen: self.seen }
    }

    fn value(self) -> Read<IntervalMonthDayNano> {
        let months = i32::try_from(self.months).map_err(|_| Bad::Range)?;
        let days = i32::try_from(self.days).map_err(|_| Bad::Field)?;
        let nanos = self.micros.checked_mul(1000).ok_or(Bad::Field)?;
        Ok(IntervalMonthDayNano::new(months, days, nanos))
    }
}

#[derive(Clone, Copy)]
struct Number {
    whole: i64,
    /// Below one, with the sign of the whole.
    fraction: f64,
}

impl Number {
    fn read(text: &str) -> Read<Self> {
        let (sign, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
            return Err(Bad::Syntax);
        }
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| Bad::Field)? };
        let fraction: f64 = format!("0.{fraction}0").parse().map_err(|_| Bad::Syntax)?;
        Ok(Self { whole: sign * whole, fraction: sign as f64 * fraction })
    }
}

/// Words, and numbers with what stands in them; `2h3m` is four.
fn tokens(text: &str) -> Read<Vec<&str>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(['@', ',', ' ', '\t', '\n', '\r']);
    while let Some(first) = rest.bytes().next() {
        let of_word = first.is_ascii_alphabetic();
        let taken = match first {
            b'+' | b'-' | b'.' | b'0'..=b'9' => {
                1 + rest.bytes().skip(1).take_while(|b| b.is_ascii_digit() || b":.-".contains(b)).count()
            }
            _ if of_word => rest.bytes().take_while(u8::is_ascii_alphabetic).count(),
            _ => return Err(Bad::Syntax),
        };
        tokens.push(&rest[..taken]);
        rest = rest[taken..].trim_start_matches(['@', ',', ' ', '\t', '\n', '\r']);
    }
    Ok(tokens)
}

fn words(text: &str, one_sign: bool) -> Read<Sum> {
    let mut tokens = tokens(text)?;
    let signed = tokens.iter().filter(|token| token.starts_with(['-', '+'])).count();
    let all_negative = one_sign && signed == 1 && tokens.first().is_some_and(|token| token.starts_with('-'));
    let ago = tokens.last().is_some_and(|word| word.eq_ignore_ascii_case("ago"));
    if ago {
        tokens.pop();
    }
    let mut sum = Sum::default();
    // What a number without a word of its own counts, going to the front.
    let mut unit = Unit::Second;
    for token in tokens.iter().rev() {
        let unsigned = token.strip_prefix(['-', '+']).unwrap_or(token);
        if token.bytes().next().is_some_and(|b| b.is_ascii_alphabetic()) {
            unit = Unit::of(&token.to_ascii_lowercase()).ok_or(Bad::Syntax)?;
        } else if unsigned.contains(':') {
            sum.once(&[Unit::Hour, Unit::Minute, Unit::Second])?;
            sum.time(clock(unsigned, token.starts_with('-'))?)?;
            unit = Unit::Day;
        } else if let Some((years, months)) = unsigned.split_once('-') {
            sum.once(&[Unit::Year, Unit::Month])?;
            let (years, months) = (Number::read(years)?.whole, Number::read(months)?.whole);
            if months >= 12 {
                return Err(Bad::Field);
            }
            let all = years.checked_mul(12).and_then(|y| y.checked_add(months)).ok_or(Bad::Field)?;
            sum.month(if token.starts_with('-') { -all } else { all })?;
            unit = Unit::Day;
        } else {
            sum.once(&[unit])?;
            sum.add(Number::read(token)?, unit)?;
        }
    }
    if all_negative {
        sum = sum.all_negative();
    }
    match (sum.seen.is_empty(), ago) {
        (true, _) => Err(Bad::Syntax),
        (false, true) => Ok(sum.negated()),
        (false, false) => Ok(sum),
    }
}

/// `4:05:06.7` and `4:05` in microseconds; two parts with a point are minutes and seconds.
fn clock(text: &str, negative: bool) -> Read<i64> {
    let parts: Vec<&str> = text.split(':').collect();
    let (hours, minutes, seconds) = match parts[..] {
        [minutes, seconds] if seconds.contains('.') => ("0", minutes, seconds),
        [hours, minutes] => (hours, minutes, "0"),
        [hours, minutes, seconds] => (hours, minutes, seconds),
        _ => return Err(Bad::Syntax),
    };
    let (hours, minutes, seconds) = (Number::read(hours)?, Number::read(minutes)?, Number::read(seconds)?);
    if minutes.whole > 59 || seconds.whole > 60 {
        return Err(Bad::Field);
    }
    let whole = hours.whole.checked_mul(3600).ok_or(Bad::Field)? + minutes.whole * 60 + seconds.whole;
    let fraction = (seconds.fraction * SECOND).round_ties_even() as i64;
    let micros = whole.checked_mul(1_000_000).and_then(|m| m.checked_add(fraction)).ok_or(Bad::Field)?;
    Ok(if negative { -micros } else { micros })
}

/// What follows the P of `P1Y2M3DT4H5M6S` and of `P0001-02-03T04:05:06`.
fn iso_interval(text: &str) -> Read<Sum> {
    let (date, time) = text.split_once('T').unwrap_or((text, ""));
    let mut sum = Sum::default();
    if date.bytes().skip(1).any(|b| b == b'-') && date.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
        let parts: Vec<&str> = date.split('-').collect();
        let [years, months, days] = parts[..] else { return Err(Bad::Syntax) };
        sum.add(Number::read(years)?, Unit::Year)?;
        sum.add(Number::read(months)?, Unit::Month)?;
        sum.add(Number::read(days)?, Unit::Day)?;
        if !time.is_empty() {
            sum.time(clock(time, false)?)?;
        }
        return Ok(sum);
    }
    let units = |time: bool| -> &[(char, Unit)] {
        match time {
            false => &[('Y', Unit::Year), ('M', Unit::Month), ('W', Unit::Week), ('D', Unit::Day)],
            true => &[('H', Unit::Hour), ('M', Unit::Minute), ('S', Unit::Second)],
        }
    };
    for (text, units) in [(date, units(false)), (time, units(true))] {
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|c: char| c.is_ascii_alphabetic()).ok_or(Bad::Syntax)?;
            let found = units.iter().find(|(letter, _)| rest[end..].starts_with(*letter)).ok_or(Bad::Syntax)?;
            sum.add(Number::read(&rest[..end])?, found.1)?;
            sum.seen.push(found.1);
            rest = &rest[end + 1..];
        }
    }
    if sum.seen.is_empty() { Err(Bad::Syntax) } else { Ok(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (text, expected) in [
            ("3 days 0:00:04.000005", Ok((0, 3, 4_000_005_000))),
            ("1 year 2 mons -3 days -00:00:01", Ok((14, -3, -1_000_000_000))),
            ("1 mon 3 days 00:00:04.000005", Ok((1, 3, 4_000_005_000))),
            ("1-2", Ok((14, 0, 0))),
            ("-1-2", Ok((-14, 0, 0))),
            ("1-2 3 4:05:06", Ok((14, 3, 14_706_000_000_000))),
            ("@ 1 day ago", Ok((0, -1, 0))),
            ("P1Y2M3DT4H5M6.5S", Ok((14, 3, 14_706_500_000_000))),
            ("P0001-02-03T04:05:06", Ok((14, 3, 14_706_000_000_000))),
            ("2h3m4s", Ok((0, 0, 7_384_000_000_000))),
            ("1.5 weeks", Ok((0, 10, 43_200_000_000_000))),
            ("1.5 months", Ok((1, 15, 0))),
            ("1 day 2", Ok((0, 1, 2_000_000_000))),
            ("90", Ok((0, 0, 90_000_000_000))),
            ("2 weeks", Ok((0, 14, 0))),
            ("1 millennium", Ok((12_000, 0, 0))),
            ("", Err("22007")),
            ("ago", Err("22007")),
            ("soon", Err("22007")),
            ("1:2:x", Err("22007")),
            ("1 day 1 day", Err("22007")),
            ("1 2 3", Err("22007")),
            ("2147483648 days", Err("22015")),
            ("178956971 years", Err("22008")),
        ] {
            let got = parse(text, IntervalStyle::Postgres).map(|v| (v.months, v.days, v.nanoseconds));
            assert_eq!(got.map_err(|e| e.kind().sqlstate()), expected, "{text}");
        }
    }
    #[test]
    fn the_sign_of_all() {
        for (text, expected) in [
            ("-1 2:03:04", (0, -1, -7_384_000_000_000)),
            ("-1 +2:03:04", (0, -1, 7_384_000_000_000)),
            ("1 -2:03:04", (0, 1, -7_384_000_000_000)),
            ("-1-2 3 4:05:06", (-14, -3, -14_706_000_000_000)),
        ] {
            let got = parse(text, IntervalStyle::SqlStandard).map(|v| (v.months, v.days, v.nanoseconds)).unwrap();
            assert_eq!(got, expected, "{text}");
        }
    }
}
