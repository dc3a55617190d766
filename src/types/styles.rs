//! How a session writes values as text, and in which order it reads the parts of a date: its `DateStyle`, `IntervalStyle`,
//! `bytea_output` and `extra_float_digits`. The text forms themselves are in [`super::text`].

use std::fmt;
use std::str::FromStr;

use crate::common::{Error, ErrorKind, Result};

/// What the settings say, PostgreSQL's defaults by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Styles {
    pub dates: DateStyle,
    pub order: DateOrder,
    pub intervals: IntervalStyle,
    pub bytes: BytesStyle,
    /// From 1 on floats are written with as many digits as tell them apart; below, 15 (REAL: 6) and this are written.
    pub extra_float_digits: i8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DateStyle {
    #[default]
    Iso,
    Sql,
    Postgres,
    German,
}

/// Which part of `01/02/03` is what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DateOrder {
    #[default]
    Mdy,
    Dmy,
    Ymd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IntervalStyle {
    #[default]
    Postgres,
    PostgresVerbose,
    SqlStandard,
    Iso8601,
}

/// By `bytea_output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BytesStyle {
    #[default]
    Hex,
    Escape,
}

const DATE_STYLES: &[(&str, DateStyle)] = &[
    ("ISO", DateStyle::Iso),
    ("SQL", DateStyle::Sql),
    ("Postgres", DateStyle::Postgres),
    ("German", DateStyle::German),
];
const DATE_ORDERS: &[(&str, DateOrder)] = &[("MDY", DateOrder::Mdy), ("DMY", DateOrder::Dmy), ("YMD", DateOrder::Ymd)];
const INTERVAL_STYLES: &[(&str, IntervalStyle)] = &[
    ("postgres", IntervalStyle::Postgres),
    ("postgres_verbose", IntervalStyle::PostgresVerbose),
    ("sql_standard", IntervalStyle::SqlStandard),
    ("iso_8601", IntervalStyle::Iso8601),
];
const BYTES_STYLES: &[(&str, BytesStyle)] = &[("hex", BytesStyle::Hex), ("escape", BytesStyle::Escape)];
const FLOAT_DIGITS: std::ops::RangeInclusive<i8> = -15..=3;

pub const DATE_STYLE: &str = "DateStyle";
pub const INTERVAL_STYLE: &str = "IntervalStyle";
pub const BYTEA_OUTPUT: &str = "bytea_output";
pub const EXTRA_FLOAT_DIGITS: &str = "extra_float_digits";
/// The settings of this page.
pub const NAMES: [&str; 4] = [DATE_STYLE, INTERVAL_STYLE, BYTEA_OUTPUT, EXTRA_FLOAT_DIGITS];

impl Default for Styles {
    fn default() -> Self {
        Self {
            dates: DateStyle::default(),
            order: DateOrder::default(),
            intervals: IntervalStyle::default(),
            bytes: BytesStyle::default(),
            extra_float_digits: 1,
        }
    }
}

impl Styles {
    /// The styles with the setting `name`, one of [`NAMES`], at `value`; `None` is its default.
    ///
    /// # Errors
    /// `InvalidParameterValue`.
    pub fn with(mut self, name: &str, value: Option<&str>) -> Result<Self> {
        let default = Self::default();
        match (name, value) {
            (DATE_STYLE, None) => (self.dates, self.order) = (default.dates, default.order),
            (DATE_STYLE, Some(value)) => (self.dates, self.order) = self.dates_of(value)?,
            (INTERVAL_STYLE, None) => self.intervals = default.intervals,
            (INTERVAL_STYLE, Some(value)) => self.intervals = named(INTERVAL_STYLES, name, value)?,
            (BYTEA_OUTPUT, None) => self.bytes = default.bytes,
            (BYTEA_OUTPUT, Some(value)) => self.bytes = named(BYTES_STYLES, name, value)?,
            (_, None) => self.extra_float_digits = default.extra_float_digits,
            (_, Some(value)) => {
                let digits = value.trim().parse().map_err(|_| refused(name, value, "write a number from -15 to 3"))?;
                if !FLOAT_DIGITS.contains(&digits) {
                    return Err(refused(name, value, "it goes from -15 to 3"));
                }
                self.extra_float_digits = digits;
            }
        }
        Ok(self)
    }

    /// The value of a setting of [`NAMES`], as SHOW gives it.
    pub fn shown(&self, name: &str) -> String {
        match name {
            DATE_STYLE => format!("{}, {}", name_of(DATE_STYLES, self.dates), name_of(DATE_ORDERS, self.order)),
            INTERVAL_STYLE => name_of(INTERVAL_STYLES, self.intervals).into(),
            BYTEA_OUTPUT => name_of(BYTES_STYLES, self.bytes).into(),
            _ => self.extra_float_digits.to_string(),
        }
    }

    /// A style, an order or both; what is not named stays. German dates have the day first unless told otherwise.
    fn dates_of(&self, value: &str) -> Result<(DateStyle, DateOrder)> {
        let (mut style, mut order) = (None, None);
        for word in value.split(',').map(|word| word.trim().to_ascii_lowercase()) {
            let of_style = match word.as_str() {
                "iso" => Some(DateStyle::Iso),
                w if w.starts_with("sql") => Some(DateStyle::Sql),
                w if w.starts_with("postgres") => Some(DateStyle::Postgres),
                w if w.starts_with("german") => Some(DateStyle::German),
                "default" => Some(DateStyle::default()),
                _ => None,
            };
            let of_order = match word.as_str() {
                "ymd" => Some(DateOrder::Ymd),
                "dmy" => Some(DateOrder::Dmy),
                "mdy" | "us" | "default" => Some(DateOrder::Mdy),
                w if w.starts_with("euro") => Some(DateOrder::Dmy),
                w if w.starts_with("noneuro") => Some(DateOrder::Mdy),
                _ => None,
            };
            if of_style.is_none() && of_order.is_none() {
                return Err(refused(DATE_STYLE, value, "write ISO, SQL, Postgres or German, and MDY, DMY or YMD"));
            }
            let twice = (of_style.is_some() && style.is_some() && style != of_style)
                || (of_order.is_some() && order.is_some() && order != of_order);
            if twice && word != "default" {
                return Err(refused(DATE_STYLE, value, "name one style and one order"));
            }
            style = style.or(of_style);
            order = order.or(of_order);
        }
        let by_style = if style == Some(DateStyle::German) { DateOrder::Dmy } else { self.order };
        Ok((style.unwrap_or(self.dates), order.unwrap_or(by_style)))
    }
}

/// One text for all, which [`Styles::from_str`] reads: `SQL DMY iso_8601 escape -3`.
impl fmt::Display for Styles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dates, order) = (name_of(DATE_STYLES, self.dates), name_of(DATE_ORDERS, self.order));
        let (intervals, bytes) = (name_of(INTERVAL_STYLES, self.intervals), name_of(BYTES_STYLES, self.bytes));
        write!(f, "{dates} {order} {intervals} {bytes} {}", self.extra_float_digits)
    }
}

impl FromStr for Styles {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let [dates, order, intervals, bytes, digits] = words[..] else {
            return Err(Error::internal(format!("no styles: {text:?}")));
        };
        Ok(Self {
            dates: named(DATE_STYLES, DATE_STYLE, dates)?,
            order: named(DATE_ORDERS, DATE_STYLE, order)?,
            intervals: named(INTERVAL_STYLES, INTERVAL_STYLE, intervals)?,
            bytes: named(BYTES_STYLES, BYTEA_OUTPUT, bytes)?,
            extra_float_digits: Self::default().with(EXTRA_FLOAT_DIGITS, Some(digits))?.extra_float_digits,
        })
    }
}

fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    names.iter().find(|(_, known)| *known == value).map_or("", |(name, _)| name)
}

fn named<T: Copy>(names: &[(&str, T)], setting: &str, text: &str) -> Result<T> {
    let found = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim()));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let all: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        refused(setting, text, &format!("write one of {}", all.join(", ")))
    })
}

fn refused(name: &str, value: &str, hint: &str) -> Error {
    let message = format!("invalid value for parameter \"{name}\": \"{value}\"");
    Error::new(ErrorKind::InvalidParameterValue, message).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings() {
        for (name, values, expected) in [
            (DATE_STYLE, &["SQL"][..], "SQL, MDY"),
            (DATE_STYLE, &["dmy"], "ISO, DMY"),
            (DATE_STYLE, &["German"], "German, DMY"),
            (DATE_STYLE, &["German, MDY"], "German, MDY"),
            (DATE_STYLE, &["Ymd", "postgresql"], "Postgres, YMD"),
            (DATE_STYLE, &["European"], "ISO, DMY"),
            (DATE_STYLE, &["SQL, DMY", "DEFAULT"], "ISO, MDY"),
            (INTERVAL_STYLE, &["SQL_STANDARD"], "sql_standard"),
            (BYTEA_OUTPUT, &["escape"], "escape"),
            (EXTRA_FLOAT_DIGITS, &["-15"], "-15"),
        ] {
            let styles = values.iter().fold(Styles::default(), |s, value| s.with(name, Some(value)).unwrap());
            assert_eq!(styles.shown(name), expected, "{values:?}");
            assert_eq!(styles.to_string().parse::<Styles>().unwrap(), styles);
            assert_eq!(styles.with(name, None).unwrap(), Styles::default());
        }
        for (name, value) in [
            (DATE_STYLE, "SQL, ISO"),
            (DATE_STYLE, "MDY, DMY"),
            (DATE_STYLE, "Martian"),
            (INTERVAL_STYLE, "iso"),
            (BYTEA_OUTPUT, "base64"),
            (EXTRA_FLOAT_DIGITS, "4"),
            (EXTRA_FLOAT_DIGITS, "x"),
        ] {
            assert_eq!(Styles::default().with(name, Some(value)).unwrap_err().kind().sqlstate(), "22023", "{value}");
        }
    }
}
