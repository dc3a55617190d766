//! Parameters of a Bind, text or binary, to scalar values.
//!
//! A value is read as the type that the wire declared for it, then cast to the type that the plan expects.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit};
use bytes::{Buf, Bytes};
use datafusion::scalar::ScalarValue;
use pgwire::api::Type;

use super::encode::Format;
use super::error::violation;
use crate::common::{Error, ErrorKind, Result};
use crate::expr::{array_input, bytea, text_input};
use crate::types::number_text::NUMERIC;
use crate::types::styles::Styles;
use crate::types::timetz::{TimeTz, timetz};
use crate::types::{datetime_text, interval_text, time, uuid};

/// From 1970 to 2000, where the binary format counts from.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * DAY_MICROS;
const DAY_MICROS: i64 = 86_400_000_000;

/// The type that a client declared by its object id. `None` leaves it to the planner.
///
/// # Errors
/// `NotSupported` for types that Weir does not have.
pub fn declared(oid: u32) -> Result<Option<DataType>> {
    if oid == 0 {
        return Ok(None);
    }
    let Some(ty) = Type::from_oid(oid) else {
        return Err(Error::not_supported(format!("a parameter of type id {oid} is unknown"))
            .with_hint("leave the parameter's type open, or cast it in the statement: $1::VARCHAR"));
    };
    Ok(Some(match ty {
        Type::UNKNOWN => return Ok(None),
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::OID => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::NUMERIC => DataType::Decimal128(NUMERIC.0, NUMERIC.1),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::CHAR => DataType::Utf8,
        Type::JSON | Type::JSONB | Type::UUID => DataType::Utf8,
        Type::BYTEA => DataType::Binary,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(TimeUnit::Microsecond),
        Type::TIMETZ => timetz(),
        Type::TIMESTAMP => time::timestamp(),
        Type::TIMESTAMPTZ => time::timestamptz(),
        Type::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => match item_of(&ty) {
            Some(item) => match declared(item.oid())? {
                Some(item) => DataType::new_list(item, true),
                None => return Ok(None),
            },
            None => {
                return Err(Error::not_supported(format!("a parameter of type {ty} is not supported"))
                    .with_hint("pass it as text: $1::VARCHAR"));
            }
        },
    }))
}

/// Reads one parameter.
///
/// # Errors
/// `InvalidTextRepresentation`, `ProtocolViolation` for binary of the wrong length, `NotSupported`.
pub fn value(
    bytes: Option<&Bytes>,
    oid: u32,
    format: Format,
    expected: &DataType,
    styles: &Styles,
) -> Result<ScalarValue> {
    let Some(bytes) = bytes else {
        return Ok(ScalarValue::try_from(expected)?);
    };
    let ty = Type::from_oid(oid).unwrap_or(Type::TEXT);
    let value = match format {
        Format::Text => match std::str::from_utf8(bytes) {
            Ok(text) => from_text(text, &ty, expected, styles)?,
            Err(_) => return Err(Error::new(ErrorKind::InvalidTextRepresentation, "a parameter is not UTF-8")),
        },
        Format::Binary => from_binary(bytes.clone(), &ty)?,
    };
    cast(value, expected)
}

fn cast(value: ScalarValue, expected: &DataType) -> Result<ScalarValue> {
    if value.data_type() == *expected {
        return Ok(value);
    }
    if let (ScalarValue::Utf8(Some(_)), DataType::Decimal128(..)) = (&value, expected)
        && let Some(read) = text_input::column(&value.to_array()?, expected, &Styles::default())
    {
        return Ok(ScalarValue::try_from_array(&read?, 0)?);
    }
    Ok(value.cast_to(expected)?)
}

fn from_text(text: &str, ty: &Type, expected: &DataType, styles: &Styles) -> Result<ScalarValue> {
    let invalid = || {
        Error::new(
            ErrorKind::InvalidTextRepresentation,
            format!("invalid input syntax for type {}: {text:?}", ty.name()),
        )
    };
    let column = |to: &DataType| -> Result<ScalarValue> {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![text]));
        match text_input::column(&texts, to, styles) {
            Some(read) => Ok(ScalarValue::try_from_array(&read?, 0)?),
            None => Ok(ScalarValue::Utf8(Some(text.trim().to_string())).cast_to(to)?),
        }
    };
    // What most keys are, without an array in between.
    let integer = |value: Option<ScalarValue>| value.map_or_else(|| column(expected), Ok);
    Ok(match *ty {
        Type::BOOL => match text.trim().to_ascii_lowercase().as_str() {
            "1" | "on" => ScalarValue::Boolean(Some(true)),
            "0" | "of" | "off" => ScalarValue::Boolean(Some(false)),
            "" | "o" => return Err(invalid()),
            word if "true".starts_with(word) || "yes".starts_with(word) => ScalarValue::Boolean(Some(true)),
            word if "false".starts_with(word) || "no".starts_with(word) => ScalarValue::Boolean(Some(false)),
            _ => return Err(invalid()),
        },
        Type::BYTEA => ScalarValue::Binary(Some(bytea::parse(text)?)),
        Type::TIMESTAMP => {
            let micros = datetime_text::timestamp(text, styles.order).map_err(|bad| bad.error("timestamp", text))?;
            ScalarValue::TimestampMicrosecond(Some(micros), None)
        }
        Type::TIMESTAMPTZ => {
            let zone = match expected {
                DataType::Timestamp(_, Some(zone)) => zone.as_ref(),
                _ => "UTC",
            };
            let micros = datetime_text::timestamptz(text, &zone.parse()?, styles.order);
            let micros = micros.map_err(|bad| bad.error("timestamp with time zone", text))?;
            ScalarValue::TimestampMicrosecond(Some(micros), Some(zone.into()))
        }
        Type::DATE => {
            let days = datetime_text::date(text, styles.order).map_err(|bad| bad.error("date", text))?;
            ScalarValue::Date32(Some(days))
        }
        Type::TIME => {
            ScalarValue::Time64Microsecond(Some(datetime_text::time(text).map_err(|bad| bad.error("time", text))?))
        }
        Type::TIMETZ => {
            let value = datetime_text::timetz(text, 0).map_err(|bad| bad.error("time with time zone", text))?;
            bytes_of(value)
        }
        Type::INT4 if *expected == DataType::Int32 => integer(text.parse().ok().map(|v| ScalarValue::Int32(Some(v))))?,
        Type::INT8 if *expected == DataType::Int64 => integer(text.parse().ok().map(|v| ScalarValue::Int64(Some(v))))?,
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID | Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC => {
            column(expected)?
        }
        Type::INTERVAL => ScalarValue::IntervalMonthDayNano(Some(interval_text::parse(text, styles.intervals)?)),
        Type::UUID => ScalarValue::Utf8(Some(uuid::canonical(text).ok_or_else(invalid)?)),
        _ => match item_of(ty) {
            Some(item) => {
                let item_type = declared(item.oid())?.unwrap_or(DataType::Utf8);
                let items = array_input::parse(text, false).ok_or_else(|| array_input::malformed(text))?;
                let items = items
                    .into_iter()
                    .map(|item_text| match item_text {
                        None => Ok(ScalarValue::try_from(&item_type)?),
                        Some(item_text) => cast(from_text(&item_text, &item, &item_type, styles)?, &item_type),
                    })
                    .collect::<Result<Vec<_>>>()?;
                ScalarValue::List(ScalarValue::new_list_nullable(&items, &item_type))
            }
            None => ScalarValue::Utf8(Some(text.to_string())),
        },
    })
}

fn from_binary(mut bytes: Bytes, ty: &Type) -> Result<ScalarValue> {
    let total = bytes.len();
    let b = &mut bytes;
    let short = |_| violation(format!("{total} bytes are too few for a binary {}", ty.name()));
    let value = match *ty {
        Type::BOOL => ScalarValue::Boolean(Some(b.try_get_u8().map_err(short)? != 0)),
        Type::INT2 => ScalarValue::Int16(Some(b.try_get_i16().map_err(short)?)),
        Type::INT4 => ScalarValue::Int32(Some(b.try_get_i32().map_err(short)?)),
        Type::INT8 => ScalarValue::Int64(Some(b.try_get_i64().map_err(short)?)),
        Type::OID => ScalarValue::Int64(Some(i64::from(b.try_get_u32().map_err(short)?))),
        Type::FLOAT4 => ScalarValue::Float32(Some(b.try_get_f32().map_err(short)?)),
        Type::FLOAT8 => ScalarValue::Float64(Some(b.try_get_f64().map_err(short)?)),
        Type::NUMERIC => ScalarValue::Utf8(Some(numeric(b).map_err(short)??)),
        Type::DATE => ScalarValue::Date32(Some(match b.try_get_i32().map_err(short)? {
            end @ (i32::MAX | i32::MIN) => end,
            days => days.checked_add(EPOCH_DAYS).ok_or_else(|| overflow(ty))?,
        })),
        Type::TIME => ScalarValue::Time64Microsecond(Some(b.try_get_i64().map_err(short)?)),
        Type::TIMETZ => {
            let (micros, west) = (b.try_get_i64().map_err(short)?, b.try_get_i32().map_err(short)?);
            let in_range = (0..=DAY_MICROS).contains(&micros) && west.abs() < 16 * 3600;
            bytes_of(if in_range { TimeTz { micros, east: -west } } else { return Err(overflow(ty)) })
        }
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            let micros = match b.try_get_i64().map_err(short)? {
                end @ (i64::MAX | i64::MIN) => end,
                micros => micros.checked_add(EPOCH_MICROS).ok_or_else(|| overflow(ty))?,
            };
            let zone = (*ty == Type::TIMESTAMPTZ).then(|| "UTC".into());
            ScalarValue::TimestampMicrosecond(Some(micros), zone)
        }
        Type::INTERVAL => {
            let micros = b.try_get_i64().map_err(short)?;
            let days = b.try_get_i32().map_err(short)?;
            let months = b.try_get_i32().map_err(short)?;
            let nanos = micros.checked_mul(1000).ok_or_else(|| overflow(ty))?;
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, nanos)))
        }
        Type::BYTEA => ScalarValue::Binary(Some(b.split_to(b.len()).to_vec())),
        Type::UUID => {
            let id = b.try_get_u128().map_err(short)?;
            ScalarValue::Utf8(Some(uuid::text(id)))
        }
        Type::JSONB => match b.try_get_u8().map_err(short)? {
            1 => utf8(b)?,
            version => return Err(Error::not_supported(format!("jsonb version {version}"))),
        },
        _ => match item_of(ty) {
            Some(item) => array(b, &item).map_err(short)??,
            None => utf8(b)?,
        },
    };
    if b.has_remaining() {
        return Err(violation(format!("{total} bytes are too many for a binary {}", ty.name())));
    }
    Ok(value)
}

fn bytes_of(value: TimeTz) -> ScalarValue {
    let bytes = value.to_bytes();
    ScalarValue::FixedSizeBinary(bytes.len() as i32, Some(bytes.to_vec()))
}

fn utf8(b: &mut Bytes) -> Result<ScalarValue> {
    String::from_utf8(b.split_to(b.len()).to_vec())
        .map(|s| ScalarValue::Utf8(Some(s)))
        .map_err(|_| Error::new(ErrorKind::InvalidTextRepresentation, "a parameter is not UTF-8"))
}

fn overflow(ty: &Type) -> Error {
    Error::new(ErrorKind::DatetimeOverflow, format!("{} out of range", ty.name()))
}

type Short = bytes::TryGetError;

/// Groups of four decimal digits to the number's text. The outer error is a value cut short.
fn numeric(b: &mut Bytes) -> Result<Result<String>, Short> {
    let groups = b.try_get_i16()?;
    let weight = i32::from(b.try_get_i16()?);
    let sign = b.try_get_u16()?;
    let scale = b.try_get_u16()?;
    if !matches!(sign, 0 | 0x4000) {
        return Ok(Err(Error::not_supported("NaN and infinite NUMERIC values are not supported")));
    }
    let mut digits = Vec::new();
    for _ in 0..groups.max(0) {
        digits.push(b.try_get_i16()?);
    }
    let group = |at: i32| usize::try_from(at).ok().and_then(|at| digits.get(at)).copied().unwrap_or(0);
    let mut text = String::from(if sign == 0 { "" } else { "-" });
    // 76 digits are the most that any decimal holds.
    if !(-19..=19).contains(&weight) || scale > 76 {
        return Ok(Err(Error::new(ErrorKind::NumericValueOutOfRange, "NUMERIC value out of range")));
    }
    text.push('0');
    for at in 0..=weight {
        text.push_str(&format!("{:04}", group(at)));
    }
    if scale > 0 {
        let mut fraction = String::new();
        for at in 0..i32::from(scale.div_ceil(4)) {
            fraction.push_str(&format!("{:04}", group(weight + 1 + at)));
        }
        fraction.truncate(usize::from(scale));
        text.push('.');
        text.push_str(&fraction);
    }
    Ok(Ok(text))
}

fn array(b: &mut Bytes, item: &Type) -> Result<Result<ScalarValue>, Short> {
    let item_type = match declared(item.oid()) {
        Ok(ty) => ty.unwrap_or(DataType::Utf8),
        Err(e) => return Ok(Err(e)),
    };
    let dimensions = b.try_get_i32()?;
    let (_has_null, _item_oid) = (b.try_get_i32()?, b.try_get_u32()?);
    let length = match dimensions {
        0 => 0,
        1 => {
            let length = b.try_get_i32()?;
            if b.try_get_i32()? != 1 {
                return Ok(Err(Error::not_supported("an array that is not counted from 1 is not supported")));
            }
            length
        }
        _ => return Ok(Err(Error::not_supported("arrays of more than one dimension are not supported"))),
    };
    let mut items = Vec::new();
    for _ in 0..length {
        let size = b.try_get_i32()?;
        let value = match usize::try_from(size) {
            Err(_) => ScalarValue::try_from(&item_type).map_err(Error::from),
            Ok(size) if size > b.len() => return Err(Short { requested: size, available: b.len() }),
            Ok(size) => from_binary(b.split_to(size), item).and_then(|v| cast(v, &item_type)),
        };
        match value {
            Ok(value) => items.push(value),
            Err(e) => return Ok(Err(e)),
        }
    }
    Ok(Ok(ScalarValue::List(ScalarValue::new_list_nullable(&items, &item_type))))
}

/// The item type of an array type.
fn item_of(ty: &Type) -> Option<Type> {
    Some(match *ty {
        Type::BOOL_ARRAY => Type::BOOL,
        Type::INT2_ARRAY => Type::INT2,
        Type::INT4_ARRAY => Type::INT4,
        Type::INT8_ARRAY => Type::INT8,
        Type::OID_ARRAY => Type::OID,
        Type::FLOAT4_ARRAY => Type::FLOAT4,
        Type::FLOAT8_ARRAY => Type::FLOAT8,
        Type::NUMERIC_ARRAY => Type::NUMERIC,
        Type::TEXT_ARRAY => Type::TEXT,
        Type::VARCHAR_ARRAY => Type::VARCHAR,
        Type::BPCHAR_ARRAY => Type::BPCHAR,
        Type::NAME_ARRAY => Type::NAME,
        Type::JSON_ARRAY => Type::JSON,
        Type::JSONB_ARRAY => Type::JSONB,
        Type::UUID_ARRAY => Type::UUID,
        Type::BYTEA_ARRAY => Type::BYTEA,
        Type::DATE_ARRAY => Type::DATE,
        Type::TIME_ARRAY => Type::TIME,
        Type::TIMETZ_ARRAY => Type::TIMETZ,
        Type::TIMESTAMP_ARRAY => Type::TIMESTAMP,
        Type::TIMESTAMPTZ_ARRAY => Type::TIMESTAMPTZ,
        Type::INTERVAL_ARRAY => Type::INTERVAL,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
