//! One column of a batch with its type resolved once, so that a cell costs a match and no lookup.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array,
    Decimal256Array, DurationMicrosecondArray, FixedSizeBinaryArray, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, StringArray, StringViewArray, StructArray,
    Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, DurationMicrosecondType, Field, Float32Type, Float64Type,
    Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use bytes::{BufMut, BytesMut};
use pgwire::api::Type;

use super::types::{PgType, pg_type, unsupported};
use super::{Format, binary};
use crate::common::{Error, Result};
use crate::types::number_text::{NUMERIC, without_zeros};
use crate::types::styles::Styles;
use crate::types::timetz::{TimeTz, timetz};
use crate::types::zone_rules::ZoneRules;
use crate::types::{text, uuid};

/// A column in one of the forms that are written; kin types are cast to these, a batch at a time.
pub enum Column {
    Null,
    Bool(BooleanArray),
    Int16(Int16Array),
    Int32(Int32Array),
    Int64(Int64Array),
    Float32(Float32Array),
    Float64(Float64Array),
    /// Without a scale of its own.
    Numeric(Decimal128Array, i8),
    Decimal128(Decimal128Array, i8),
    Decimal256(Decimal256Array, i8),
    Utf8(StringArray),
    Utf8View(StringViewArray),
    Jsonb(StringArray),
    Uuid(StringArray),
    /// With blanks behind it to make so many characters.
    Blank(StringArray, usize),
    Binary(BinaryArray),
    BinaryView(BinaryViewArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    TimeTz(FixedSizeBinaryArray),
    Timestamp(TimestampMicrosecondArray),
    TimestampTz(TimestampMicrosecondArray, ZoneRules),
    Interval(IntervalMonthDayNanoArray),
    Duration(DurationMicrosecondArray),
    List(ListArray, Box<Column>, u32),
    Struct(StructArray, Vec<(Column, u32)>),
}

impl Column {
    /// The column under the type that it was described with.
    pub fn of_type(array: &ArrayRef, ty: PgType) -> Result<Self> {
        let item = match Type::from_oid(ty.oid) {
            Some(Type::UUID_ARRAY) => Some(Type::UUID),
            Some(Type::JSONB_ARRAY) => Some(Type::JSONB),
            Some(Type::JSON_ARRAY) => Some(Type::JSON),
            _ => None,
        };
        Ok(match Self::new(array)? {
            Self::List(list, child, oid) => match item {
                Some(item) => {
                    let child = Self::of_type(list.values(), PgType::of(&item))?;
                    Self::List(list, Box::new(child), item.oid())
                }
                None => Self::List(list, child, oid),
            },
            Self::Utf8(texts) if ty == PgType::of(&Type::JSONB) => Self::Jsonb(texts),
            Self::Utf8(texts) if ty == PgType::of(&Type::UUID) => Self::Uuid(texts),
            Self::Utf8(texts) if ty.oid == Type::BPCHAR.oid() => {
                Self::Blank(texts, usize::try_from(ty.modifier - 4).unwrap_or(0))
            }
            column => column,
        })
    }

    /// # Errors
    /// `NotSupported` for types that have no PostgreSQL counterpart.
    pub fn new(array: &ArrayRef) -> Result<Self> {
        let to = |data_type: DataType| -> Result<ArrayRef> {
            Ok(cast_with_options(array, &data_type, &CastOptions { safe: false, ..CastOptions::default() })?)
        };
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool(array.as_boolean().clone()),
            DataType::Int8 | DataType::UInt8 => Self::new(&to(DataType::Int16)?)?,
            DataType::Int16 => Self::Int16(array.as_primitive::<Int16Type>().clone()),
            DataType::UInt16 => Self::new(&to(DataType::Int32)?)?,
            DataType::Int32 => Self::Int32(array.as_primitive::<Int32Type>().clone()),
            DataType::UInt32 => Self::new(&to(DataType::Int64)?)?,
            DataType::Int64 => Self::Int64(array.as_primitive::<Int64Type>().clone()),
            DataType::UInt64 => Self::new(&to(DataType::Decimal128(20, 0))?)?,
            DataType::Float16 => Self::new(&to(DataType::Float32)?)?,
            DataType::Float32 => Self::Float32(array.as_primitive::<Float32Type>().clone()),
            DataType::Float64 => Self::Float64(array.as_primitive::<Float64Type>().clone()),
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => Self::new(&to(DataType::Decimal128(*p, *s))?)?,
            DataType::Decimal128(p, s) if (*p, *s) == NUMERIC => {
                Self::Numeric(array.as_primitive::<Decimal128Type>().clone(), *s)
            }
            DataType::Decimal128(_, s) => Self::Decimal128(array.as_primitive::<Decimal128Type>().clone(), *s),
            DataType::Decimal256(_, s) => Self::Decimal256(array.as_primitive::<Decimal256Type>().clone(), *s),
            DataType::Utf8 => Self::Utf8(array.as_string::<i32>().clone()),
            DataType::LargeUtf8 => Self::new(&to(DataType::Utf8View)?)?,
            DataType::Utf8View => Self::Utf8View(array.as_string_view().clone()),
            DataType::Binary => Self::Binary(array.as_binary::<i32>().clone()),
            own if *own == timetz() => Self::TimeTz(array.as_fixed_size_binary().clone()),
            DataType::FixedSizeBinary(_) | DataType::LargeBinary => Self::new(&to(DataType::BinaryView)?)?,
            DataType::BinaryView => Self::BinaryView(array.as_binary_view().clone()),
            DataType::Date32 => Self::Date(array.as_primitive::<Date32Type>().clone()),
            DataType::Date64 => Self::new(&to(DataType::Date32)?)?,
            DataType::Time64(TimeUnit::Microsecond) => {
                Self::Time(array.as_primitive::<Time64MicrosecondType>().clone())
            }
            DataType::Time32(_) | DataType::Time64(_) => Self::new(&to(DataType::Time64(TimeUnit::Microsecond))?)?,
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let values = array.as_primitive::<TimestampMicrosecondType>().clone();
                match zone {
                    None => Self::Timestamp(values),
                    Some(zone) => Self::TimestampTz(values, zone.parse()?),
                }
            }
            DataType::Timestamp(_, zone) => Self::new(&to(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?)?,
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                Self::Interval(array.as_primitive::<IntervalMonthDayNanoType>().clone())
            }
            DataType::Interval(_) => Self::new(&to(DataType::Interval(IntervalUnit::MonthDayNano))?)?,
            DataType::Duration(TimeUnit::Microsecond) => {
                Self::Duration(array.as_primitive::<DurationMicrosecondType>().clone())
            }
            DataType::Duration(_) => Self::new(&to(DataType::Duration(TimeUnit::Microsecond))?)?,
            DataType::Dictionary(_, value) => Self::new(&to(value.as_ref().clone())?)?,
            DataType::RunEndEncoded(_, value) => Self::new(&to(value.data_type().clone())?)?,
            DataType::List(item) => {
                let list = array.as_list::<i32>().clone();
                let child = Self::new(list.values())?;
                let oid = pg_type(item)?.oid;
                Self::List(list, Box::new(child), oid)
            }
            DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::FixedSizeList(item, _) => {
                let item = Field::new(item.name(), item.data_type().clone(), true);
                Self::new(&to(DataType::List(Arc::new(item)))?)?
            }
            DataType::Struct(fields) => {
                let array = array.as_struct().clone();
                let children = fields
                    .iter()
                    .zip(array.columns())
                    .map(|(field, child)| Ok((Self::new(child)?, pg_type(field)?.oid)))
                    .collect::<Result<_>>()?;
                Self::Struct(array, children)
            }
            other => return Err(unsupported("?", other)),
        })
    }

    /// Appends the cell with its length; -1 for null.
    pub fn write(&self, row: usize, format: Format, styles: &Styles, out: &mut BytesMut) -> Result<()> {
        let start = out.len();
        out.put_i32(-1);
        if self.is_null(row) {
            return Ok(());
        }
        match format {
            Format::Text => self.write_text(row, styles, out)?,
            Format::Binary => self.write_binary(row, out)?,
        }
        let length = i32::try_from(out.len() - start - 4)
            .map_err(|_| Error::not_supported("a value of more than 2 GB cannot be sent"))?;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    pub fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(a) => a.is_null(row),
            Self::Int16(a) => a.is_null(row),
            Self::Int32(a) => a.is_null(row),
            Self::Int64(a) => a.is_null(row),
            Self::Float32(a) => a.is_null(row),
            Self::Float64(a) => a.is_null(row),
            Self::Numeric(a, _) | Self::Decimal128(a, _) => a.is_null(row),
            Self::Decimal256(a, _) => a.is_null(row),
            Self::Utf8(a) | Self::Jsonb(a) | Self::Uuid(a) | Self::Blank(a, _) => a.is_null(row),
            Self::Utf8View(a) => a.is_null(row),
            Self::Binary(a) => a.is_null(row),
            Self::BinaryView(a) => a.is_null(row),
            Self::Date(a) => a.is_null(row),
            Self::Time(a) => a.is_null(row),
            Self::TimeTz(a) => a.is_null(row),
            Self::Timestamp(a) | Self::TimestampTz(a, _) => a.is_null(row),
            Self::Interval(a) => a.is_null(row),
            Self::Duration(a) => a.is_null(row),
            Self::List(a, ..) => a.is_null(row),
            Self::Struct(a, _) => a.is_null(row),
        }
    }

    fn write_text(&self, row: usize, styles: &Styles, out: &mut BytesMut) -> Result<()> {
        match self {
            Self::Null => {}
            Self::Bool(a) => out.put_u8(if a.value(row) { b't' } else { b'f' }),
            Self::Int16(a) => text::display(a.value(row), out),
            Self::Int32(a) => text::display(a.value(row), out),
            Self::Int64(a) => text::display(a.value(row), out),
            Self::Float32(a) => text::float(a.value(row), &text::FLOAT4, styles.extra_float_digits, out),
            Self::Float64(a) => text::float(a.value(row), &text::FLOAT8, styles.extra_float_digits, out),
            Self::Numeric(a, scale) => {
                let (value, scale) = without_zeros(a.value(row), *scale);
                text::decimal(value, scale, out);
            }
            Self::Decimal128(a, scale) => text::decimal(a.value(row), *scale, out),
            Self::Decimal256(a, scale) => text::decimal(a.value(row), *scale, out),
            Self::Utf8(a) | Self::Jsonb(a) | Self::Uuid(a) => out.put_slice(a.value(row).as_bytes()),
            Self::Blank(a, length) => padded(a.value(row), *length, out),
            Self::Utf8View(a) => out.put_slice(a.value(row).as_bytes()),
            Self::Binary(a) => text::bytea(a.value(row), styles.bytes, out),
            Self::BinaryView(a) => text::bytea(a.value(row), styles.bytes, out),
            Self::Date(a) => text::date(a.value(row), styles.dates, styles.order, out),
            Self::Time(a) => text::time(a.value(row), out),
            Self::TimeTz(a) => text::timetz(timetz_of(a, row)?, out),
            Self::Timestamp(a) => text::timestamp(a.value(row), None, styles.dates, styles.order, out),
            Self::TimestampTz(a, zone) => {
                text::timestamp(a.value(row), Some(zone), styles.dates, styles.order, out);
            }
            Self::Interval(a) => {
                let v = a.value(row);
                text::interval(v.months, v.days, v.nanoseconds / 1000, styles.intervals, out);
            }
            Self::Duration(a) => {
                let (days, micros) = text::whole_days(a.value(row));
                text::interval(0, days, micros, styles.intervals, out);
            }
            Self::List(list, child, _) => {
                text::array(span(list, row), child.is_list(), |item, out| child.write_item(item, styles, out), out)?
            }
            Self::Struct(_, children) => {
                text::record(children.iter(), |child, out| child.0.write_item(row, styles, out), out)?
            }
        }
        Ok(())
    }

    /// Appends the text form without a length, for inside arrays and records. `false` for null.
    pub fn write_item(&self, row: usize, styles: &Styles, out: &mut BytesMut) -> Result<bool> {
        if self.is_null(row) {
            return Ok(false);
        }
        self.write_text(row, styles, out)?;
        Ok(true)
    }

    pub fn is_list(&self) -> bool {
        matches!(self, Self::List(..))
    }

    fn write_binary(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        match self {
            Self::Null => {}
            Self::Bool(a) => out.put_u8(u8::from(a.value(row))),
            Self::Int16(a) => out.put_i16(a.value(row)),
            Self::Int32(a) => out.put_i32(a.value(row)),
            Self::Int64(a) => out.put_i64(a.value(row)),
            Self::Float32(a) => out.put_f32(a.value(row)),
            Self::Float64(a) => out.put_f64(a.value(row)),
            Self::Numeric(a, scale) => {
                let (value, scale) = without_zeros(a.value(row), *scale);
                binary::decimal(value, scale, out);
            }
            Self::Decimal128(a, scale) => binary::decimal(a.value(row), *scale, out),
            Self::Decimal256(a, scale) => binary::decimal(a.value(row), *scale, out),
            Self::Utf8(a) => out.put_slice(a.value(row).as_bytes()),
            Self::Blank(a, length) => padded(a.value(row), *length, out),
            // Behind the version of the format.
            Self::Jsonb(a) => {
                out.put_u8(1);
                out.put_slice(a.value(row).as_bytes());
            }
            Self::Uuid(a) => {
                let text = a.value(row);
                let id = uuid::bytes(text).ok_or_else(|| Error::corrupted(format!("a UUID is {text:?}")))?;
                out.put_slice(&id);
            }
            Self::Utf8View(a) => out.put_slice(a.value(row).as_bytes()),
            Self::Binary(a) => out.put_slice(a.value(row)),
            Self::BinaryView(a) => out.put_slice(a.value(row)),
            Self::Date(a) => out.put_i32(binary::date(a.value(row))),
            Self::Time(a) => out.put_i64(a.value(row)),
            Self::TimeTz(a) => {
                let value = timetz_of(a, row)?;
                out.put_i64(value.micros);
                out.put_i32(-value.east);
            }
            Self::Timestamp(a) | Self::TimestampTz(a, _) => out.put_i64(binary::timestamp(a.value(row))),
            Self::Interval(a) => {
                let v = a.value(row);
                binary::interval(v.months, v.days, v.nanoseconds / 1000, out);
            }
            Self::Duration(a) => {
                let (days, micros) = text::whole_days(a.value(row));
                binary::interval(0, days, micros, out);
            }
            Self::List(list, child, oid) => binary::array(span(list, row), child, *oid, out)?,
            Self::Struct(_, children) => {
                out.put_i32(children.len() as i32);
                for (child, oid) in children {
                    out.put_u32(*oid);
                    child.write(row, Format::Binary, &Styles::default(), out)?;
                }
            }
        }
        Ok(())
    }
}

fn timetz_of(times: &FixedSizeBinaryArray, row: usize) -> Result<TimeTz> {
    TimeTz::of_bytes(times.value(row)).ok_or_else(|| Error::corrupted("a TIMETZ of other than 12 bytes"))
}

fn padded(text: &str, length: usize, out: &mut BytesMut) {
    out.put_slice(text.as_bytes());
    out.put_bytes(b' ', length.saturating_sub(text.chars().count()));
}

/// The rows of the child that are one list.
fn span(list: &ListArray, row: usize) -> std::ops::Range<usize> {
    let offsets = list.value_offsets();
    let at = |i: usize| offsets.get(i).map_or(0, |o| *o as usize);
    at(row)..at(row + 1)
}
