//! One column of made-up values: a function from row numbers to values, by the column's type. Knows no source.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, TimeUnit};

use crate::common::{Error, ErrorKind, Result};
use crate::connector::format::scalar;
use crate::connector::options::Given;
use crate::types::sql_name;

/// What can be said of a field.
pub(super) const OPTIONS: &[&str] = &["kind", "start", "end", "interval", "min", "max", "length", "seed"];

pub(super) struct Generator {
    values: Values,
    data_type: DataType,
    object: String,
}

enum Values {
    /// `start + row`.
    Numbers {
        start: i64,
    },
    /// `start + row * interval`, in microseconds.
    Times {
        start: i64,
        interval: i64,
    },
    RandomNumbers {
        min: i64,
        max: i64,
        seed: u64,
    },
    RandomTimes {
        min: i64,
        max: i64,
        seed: u64,
    },
    RandomFloats {
        min: f64,
        max: f64,
        seed: u64,
    },
    RandomBooleans {
        seed: u64,
    },
    RandomTexts {
        length: usize,
        seed: u64,
    },
}

/// What values a column's type takes.
#[derive(PartialEq)]
enum Class {
    Number,
    Float,
    Time,
    Text,
    Boolean,
}

impl Generator {
    pub fn new(given: Given<'_>, field: &Field) -> Result<Self> {
        let class = class(field.data_type()).ok_or_else(|| {
            Error::not_supported(format!("{}: datagen cannot make {}", given.object, sql_name(field.data_type())))
                .with_hint("declare the column as a number, text, date or timestamp and convert it in the query")
        })?;
        let sequence = given.choice("kind", &["sequence", "random"])? == Some("sequence");
        let taken: &[&str] = match (sequence, &class) {
            (true, Class::Time) => &["kind", "start", "interval"],
            (true, Class::Number | Class::Float | Class::Text) => &["kind", "start", "end"],
            (true, Class::Boolean) => {
                return Err(given.wrong("a BOOLEAN cannot be a sequence").with_hint("write kind = 'random'"));
            }
            (false, Class::Text) => &["kind", "length", "seed"],
            (false, Class::Boolean) => &["kind", "seed"],
            (false, _) => &["kind", "min", "max", "seed"],
        };
        given.only_of(&[taken])?;
        // Columns differ though nobody gave them a seed.
        let seed =
            given.number("seed", 0, u64::MAX)?.unwrap_or_else(|| crc32fast::hash(field.name().as_bytes()).into());
        let values = match (sequence, class) {
            (true, Class::Time) => Values::Times {
                start: time(given, "start", "1970-01-01")?,
                interval: match given.text("interval") {
                    None => 1_000_000,
                    Some(text) => interval(text).ok_or_else(|| {
                        given.bad_value("interval", text).with_hint("write a time like '1 second' or '200 ms'")
                    })?,
                },
            },
            (true, _) => Values::Numbers { start: given.number("start", i64::MIN, i64::MAX)?.unwrap_or(0) },
            (false, Class::Number) => {
                let (min, max) = (given.number("min", i64::MIN, i64::MAX)?, given.number("max", i64::MIN, i64::MAX)?);
                let (min, max) = limits(given, min.unwrap_or(0), max.unwrap_or(1000))?;
                Values::RandomNumbers { min, max, seed }
            }
            (false, Class::Float) => {
                let (min, max) = (given.number("min", f64::MIN, f64::MAX)?, given.number("max", f64::MIN, f64::MAX)?);
                let (min, max) = limits(given, min.unwrap_or(0.0), max.unwrap_or(1000.0))?;
                Values::RandomFloats { min, max, seed }
            }
            (false, Class::Time) => {
                let (min, max) = limits(given, time(given, "min", "2020-01-01")?, time(given, "max", "2030-01-01")?)?;
                Values::RandomTimes { min, max, seed }
            }
            (false, Class::Boolean) => Values::RandomBooleans { seed },
            (false, Class::Text) => {
                Values::RandomTexts { length: given.number("length", 0, 1_000_000)?.unwrap_or(10), seed }
            }
        };
        Ok(Self { values, data_type: field.data_type().clone(), object: given.object.to_string() })
    }

    /// The values of `rows`.
    ///
    /// # Errors
    /// `NumericValueOutOfRange` where a sequence leaves its column's type.
    pub fn column(&self, rows: Range<u64>) -> Result<ArrayRef> {
        let out_of_range = || {
            let message = format!("{}: the sequence leaves the range of {}", self.object, sql_name(&self.data_type));
            Error::new(ErrorKind::NumericValueOutOfRange, message).with_hint("give the sequence an end, or rows")
        };
        let linear = |start: i64, step: i64| {
            let last = i64::try_from(rows.end.saturating_sub(1)).ok().and_then(|row| row.checked_mul(step));
            last.and_then(|last| last.checked_add(start)).ok_or_else(out_of_range)?;
            Ok::<_, Error>(rows.clone().map(move |row| start + row as i64 * step))
        };
        let array: ArrayRef = match self.values {
            Values::Numbers { start } => Arc::new(Int64Array::from_iter_values(linear(start, 1)?)),
            Values::Times { start, interval } => {
                Arc::new(TimestampMicrosecondArray::from_iter_values(linear(start, interval)?))
            }
            Values::RandomNumbers { min, max, seed } => {
                Arc::new(Int64Array::from_iter_values(rows.map(|row| between(min, max, random(seed, row)))))
            }
            Values::RandomTimes { min, max, seed } => Arc::new(TimestampMicrosecondArray::from_iter_values(
                rows.map(|row| between(min, max, random(seed, row))),
            )),
            Values::RandomFloats { min, max, seed } => {
                // 53 bits are what a double holds.
                let unit = |row| (random(seed, row) >> 11) as f64 / (1u64 << 53) as f64;
                Arc::new(Float64Array::from_iter_values(rows.map(|row| min + (max - min) * unit(row))))
            }
            Values::RandomBooleans { seed } => {
                Arc::new(rows.map(|row| Some(random(seed, row) & 1 == 1)).collect::<BooleanArray>())
            }
            Values::RandomTexts { length, seed } => {
                let mut text = String::with_capacity(length);
                Arc::new(StringArray::from_iter_values(rows.map(|row| {
                    write_text(&mut text, length, random(seed, row));
                    text.clone()
                })))
            }
        };
        let strict = CastOptions { safe: false, ..Default::default() };
        cast_with_options(&array, &self.data_type, &strict).map_err(|_| out_of_range())
    }
}

/// How many rows a field that is a sequence of numbers with an end has.
pub(super) fn sequence_length(given: Given<'_>) -> Result<Option<u64>> {
    let Some(end) = given.text("end") else { return Ok(None) };
    let start = given.number("start", i64::MIN, i64::MAX)?.unwrap_or(0);
    match given.number("end", i64::MIN, i64::MAX)? {
        Some(number) if number >= start => Ok(Some((i128::from(number) - i128::from(start) + 1) as u64)),
        _ => Err(given.bad_value("end", end).with_hint(format!("its start is {start}"))),
    }
}

fn class(data_type: &DataType) -> Option<Class> {
    Some(match data_type {
        DataType::Int16 | DataType::Int32 | DataType::Int64 => Class::Number,
        DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) => Class::Float,
        DataType::Date32 | DataType::Timestamp(TimeUnit::Microsecond, _) => Class::Time,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => Class::Text,
        DataType::Boolean => Class::Boolean,
        _ => return None,
    })
}

fn time(given: Given<'_>, key: &str, default: &str) -> Result<i64> {
    let text = given.text(key).unwrap_or(default);
    scalar::timestamp(text.as_bytes(), None)
        .map_err(|_| given.bad_value(key, text).with_hint("write a time like '2024-01-02 03:04:05'"))
}

/// Microseconds of an interval without months.
fn interval(text: &str) -> Option<i64> {
    let interval = scalar::interval(text.as_bytes()).ok().filter(|interval| interval.months == 0)?;
    let days = i64::from(interval.days).checked_mul(86_400_000_000)?;
    days.checked_add(interval.nanoseconds / 1000)
}

fn limits<T: PartialOrd + std::fmt::Display>(given: Given<'_>, min: T, max: T) -> Result<(T, T)> {
    if min <= max {
        return Ok((min, max));
    }
    Err(given.wrong(format!("min {min} is above max {max}")).with_hint("give both min and max"))
}

/// 64 random bits of a row: splitmix64's output function over seed and row.
fn random(seed: u64, row: u64) -> u64 {
    mix(mix(seed).wrapping_add(row.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// A number in `min..=max`.
fn between(min: i64, max: i64, random: u64) -> i64 {
    let span = (i128::from(max) - i128::from(min) + 1) as u128;
    (i128::from(min) + ((u128::from(random) * span) >> 64) as i128) as i64
}

fn write_text(text: &mut String, length: usize, mut random: u64) {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    text.clear();
    for place in 0..length {
        // Twelve letters of five bits.
        if place > 0 && place % 12 == 0 {
            random = mix(random.wrapping_add(0x9E37_79B9_7F4A_7C15));
        }
        text.push(ALPHABET[(random >> (place % 12 * 5)) as usize & 31] as char);
    }
}
