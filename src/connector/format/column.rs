//! A column of values from its texts, a type at a time. A text that is no such value becomes a null and a fault of its
//! record. Knows no file format.

use std::sync::Arc;

use arrow::array::builder::{BooleanBufferBuilder, NullBufferBuilder};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray,
    StringArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, FieldRef, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use arrow::json::ReaderBuilder;
use serde::de::IgnoredAny;

use super::records::{Column, Faults};
use super::scalar::{self, Bad, UnixUnit};
use crate::common::{Error, Result};
use crate::expr::{array_input, marked_list, modifier};
use crate::types::pg_type::PgType;
use crate::types::timetz::{TimeTz, WIDTH, timetz};
use crate::types::{column_type, datetime_text, json, uuid};

/// Checks that columns of this type can be read from text.
///
/// # Errors
/// `NotSupported`, with the column's name.
pub(super) fn check(field: &FieldRef) -> Result<()> {
    let readable = match field.data_type() {
        data_type if data_type.is_nested() => {
            ReaderBuilder::new_with_field(field.clone()).with_batch_size(1).build_decoder().is_ok()
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => zone.as_deref().is_none_or(|zone| zone == "UTC"),
        data_type => PLAIN.contains(data_type) || matches!(data_type, DataType::Decimal128(_, _)),
    };
    if readable {
        return Ok(());
    }
    let (name, data_type) = (field.name(), field.data_type());
    Err(Error::not_supported(format!("column \"{name}\": a {data_type} cannot be read from text"))
        .with_hint("declare the column as VARCHAR and cast it in the query"))
}

const PLAIN: &[DataType] = &[
    DataType::Boolean,
    DataType::Int16,
    DataType::Int32,
    DataType::Int64,
    DataType::Float32,
    DataType::Float64,
    DataType::Utf8,
    DataType::LargeUtf8,
    DataType::Utf8View,
    DataType::Binary,
    DataType::Date32,
    DataType::Time64(TimeUnit::Microsecond),
    timetz(),
    DataType::Interval(IntervalUnit::MonthDayNano),
];

/// Reads the values of `texts` as `field`'s type; faults get the records that hold no such value, and those with a
/// null where `field` allows none.
pub(super) fn read(
    field: &FieldRef,
    texts: &Column<'_>,
    unix: Option<UnixUnit>,
    faults: &mut Faults,
) -> Result<ArrayRef> {
    let mut reader = Reader { field, texts, faults };
    let array: ArrayRef = match field.data_type() {
        DataType::Int64 => Arc::new(reader.integer::<Int64Type>(i64::MIN, i64::MAX, |v| v)),
        DataType::Int32 => Arc::new(reader.integer::<Int32Type>(i32::MIN.into(), i32::MAX.into(), |v| v as i32)),
        DataType::Int16 => Arc::new(reader.integer::<Int16Type>(i16::MIN.into(), i16::MAX.into(), |v| v as i16)),
        DataType::Float64 => Arc::new(reader.primitive::<Float64Type>(scalar::float)),
        DataType::Float32 => Arc::new(reader.primitive::<Float32Type>(scalar::float32)),
        DataType::Boolean => Arc::new(reader.boolean()),
        DataType::Date32 => Arc::new(reader.primitive::<Date32Type>(scalar::date)),
        DataType::Time64(_) => Arc::new(reader.primitive::<Time64MicrosecondType>(scalar::time)),
        own if *own == timetz() => Arc::new(reader.timetz()?),
        DataType::Timestamp(_, zone) => {
            let times = reader.primitive::<TimestampMicrosecondType>(|text| scalar::timestamp(text, unix));
            Arc::new(times.with_timezone_opt(zone.clone()))
        }
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            let numbers = reader.primitive::<Decimal128Type>(|text| scalar::decimal(text, precision, scale, false));
            Arc::new(numbers.with_precision_and_scale(precision, scale)?)
        }
        DataType::Interval(_) => Arc::new(reader.primitive::<IntervalMonthDayNanoType>(scalar::interval)),
        DataType::Binary => {
            let (offsets, values, nulls) = reader.variable(scalar::bytes);
            Arc::new(BinaryArray::try_new(offsets, values.into(), nulls)?)
        }
        DataType::Utf8 => match PgType::of(field) {
            Some(PgType::Json | PgType::Jsonb) => Arc::new(reader.json()?),
            Some(PgType::Uuid) => Arc::new(reader.uuid()?),
            _ => Arc::new(reader.string()?),
        },
        DataType::LargeUtf8 | DataType::Utf8View => cast(&reader.string()?, field.data_type())?,
        _ => marked(reader.nested()?, texts, field, faults),
    };
    let array = match PgType::of(field).filter(|mark| !mark.is_type()) {
        Some(mark) => bounded(&array, mark, texts, faults)?,
        None => array,
    };
    if !field.is_nullable()
        && let Some(nulls) = array.nulls()
    {
        for (row, _) in nulls.iter().enumerate().filter(|(_, valid)| !valid) {
            faults
                .add(texts.first + row, || format!("column \"{}\" is NOT NULL, the record has no value", field.name()));
        }
    }
    Ok(array)
}

/// The items of arrays in the form of their type. One that is none is a fault of its record.
fn marked(array: ArrayRef, texts: &Column<'_>, field: &Field, faults: &mut Faults) -> ArrayRef {
    let Some(mark) = PgType::of(field).filter(|_| matches!(array.data_type(), DataType::List(_))) else { return array };
    if let Ok(read) = marked_list::read(&array, mark) {
        return read;
    }
    let one = |row: usize| marked_list::read(&array.slice(row, 1), mark);
    for row in 0..array.len() {
        if let Err(e) = one(row) {
            faults.add(texts.first + row, || format!("column \"{}\": {}", field.name(), e.message()));
        }
    }
    array
}

/// The values within the bounds of their column; a text that is too long is a fault of its record.
fn bounded(array: &ArrayRef, mark: PgType, texts: &Column<'_>, faults: &mut Faults) -> Result<ArrayRef> {
    if let PgType::Varchar(n) | PgType::Char(n) = mark
        && let Some(values) = array.as_string_opt::<i32>()
    {
        for (row, value) in values.iter().enumerate() {
            let Some(value) = value.filter(|value| value.len() > n as usize) else { continue };
            if value.trim_end_matches(' ').chars().count() > n as usize {
                faults.add(texts.first + row, || modifier::too_long(mark, value).message().to_string());
            }
        }
    }
    modifier::fitted(array, mark, |_| Ok(()))
}

struct Reader<'a, 'b> {
    field: &'a FieldRef,
    texts: &'a Column<'b>,
    faults: &'a mut Faults,
}

impl Reader<'_, '_> {
    #[inline]
    fn integer<T: ArrowPrimitiveType>(
        &mut self,
        min: i64,
        max: i64,
        narrow: impl Fn(i64) -> T::Native,
    ) -> PrimitiveArray<T> {
        self.primitive(|text| scalar::integer(text, min, max).map(&narrow))
    }

    #[inline]
    fn primitive<T: ArrowPrimitiveType>(
        &mut self,
        parse: impl Fn(&[u8]) -> Result<T::Native, Bad>,
    ) -> PrimitiveArray<T> {
        let mut values = Vec::with_capacity(self.texts.rows);
        let mut nulls = NullBufferBuilder::new(self.texts.rows);
        for text in self.texts.iter() {
            let value = text.and_then(|text| match parse(text) {
                Ok(value) => Some(value),
                Err(bad) => {
                    self.fault(values.len(), text, bad);
                    None
                }
            });
            nulls.append(value.is_some());
            values.push(value.unwrap_or_default());
        }
        PrimitiveArray::new(ScalarBuffer::from(values), nulls.finish())
    }

    /// Times without an offset are UTC's.
    fn timetz(&mut self) -> Result<FixedSizeBinaryArray> {
        let mut values = Vec::with_capacity(self.texts.rows);
        for text in self.texts.iter() {
            let value = text.and_then(|text| {
                let read = std::str::from_utf8(text).ok().and_then(|text| datetime_text::timetz(text, 0).ok());
                if read.is_none() {
                    self.fault(values.len(), text, Bad::Syntax);
                }
                read.map(TimeTz::to_bytes)
            });
            values.push(value);
        }
        Ok(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), WIDTH)?)
    }

    fn boolean(&mut self) -> BooleanArray {
        let mut values = BooleanBufferBuilder::new(self.texts.rows);
        let mut nulls = NullBufferBuilder::new(self.texts.rows);
        for text in self.texts.iter() {
            let value = text.and_then(|text| match scalar::boolean(text) {
                Ok(value) => Some(value),
                Err(bad) => {
                    self.fault(values.len(), text, bad);
                    None
                }
            });
            nulls.append(value.is_some());
            values.append(value.unwrap_or_default());
        }
        BooleanArray::new(values.finish(), nulls.finish())
    }

    /// Values of any length; `append` adds one to the buffer.
    fn variable(
        &mut self,
        append: impl Fn(&[u8], &mut Vec<u8>) -> Result<(), Bad>,
    ) -> (OffsetBuffer<i32>, Vec<u8>, Option<NullBuffer>) {
        let total = self.texts.iter().flatten().map(<[u8]>::len).sum();
        let mut values = Vec::with_capacity(total);
        let mut offsets = Vec::with_capacity(self.texts.rows + 1);
        offsets.push(0);
        let mut nulls = NullBufferBuilder::new(self.texts.rows);
        for text in self.texts.iter() {
            let valid = text.is_some_and(|text| {
                let end = values.len();
                append(text, &mut values).is_ok_and(|()| i32::try_from(values.len()).is_ok()) || {
                    values.truncate(end);
                    self.fault(offsets.len() - 1, text, Bad::Syntax);
                    false
                }
            });
            nulls.append(valid);
            offsets.push(values.len() as i32);
        }
        (OffsetBuffer::new(offsets.into()), values, nulls.finish())
    }

    /// JSON as its type keeps it.
    fn json(&mut self) -> Result<StringArray> {
        let canonical = PgType::of(self.field) == Some(PgType::Jsonb);
        let read = |text: &[u8], out: &mut Vec<u8>| {
            let text = std::str::from_utf8(text).map_err(|_| Bad::Syntax)?;
            let value = json::parse(text).map_err(|_| Bad::Syntax)?;
            match canonical {
                true => out.extend_from_slice(value.to_string().as_bytes()),
                false => out.extend_from_slice(text.as_bytes()),
            }
            Ok(())
        };
        let (offsets, values, nulls) = self.variable(read);
        Ok(StringArray::try_new(offsets, values.into(), nulls)?)
    }

    fn uuid(&mut self) -> Result<StringArray> {
        let read = |text: &[u8], out: &mut Vec<u8>| {
            let text = std::str::from_utf8(text).map_err(|_| Bad::Syntax)?;
            out.extend_from_slice(uuid::canonical(text).ok_or(Bad::Syntax)?.as_bytes());
            Ok(())
        };
        let (offsets, values, nulls) = self.variable(read);
        Ok(StringArray::try_new(offsets, values.into(), nulls)?)
    }

    fn string(&mut self) -> Result<StringArray> {
        let copy = |text: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(text);
            Ok(())
        };
        let (offsets, values, nulls) = self.variable(copy);
        match StringArray::try_new(offsets, values.into(), nulls) {
            Ok(array) => Ok(array),
            Err(_) => {
                let checked = |text: &[u8], out: &mut Vec<u8>| {
                    let text = std::str::from_utf8(text).map_err(|_| Bad::Syntax)?;
                    out.extend_from_slice(text.as_bytes());
                    Ok(())
                };
                let (offsets, values, nulls) = self.variable(checked);
                Ok(StringArray::try_new(offsets, values.into(), nulls)?)
            }
        }
    }

    /// Arrays and structs, written as JSON; arrays also as PostgreSQL writes them.
    fn nested(&mut self) -> Result<ArrayRef> {
        let rows = self.texts.rows;
        let braces: Vec<Option<String>> = match self.field.data_type() {
            DataType::List(item) if !item.data_type().is_nested() => {
                self.texts.iter().map(|text| array_as_json(text?, item.data_type())).collect()
            }
            _ => vec![None; rows],
        };
        let mut texts = Vec::with_capacity(rows);
        for (row, (text, braced)) in self.texts.iter().zip(&braces).enumerate() {
            let text = braced.as_deref().map(str::as_bytes).or(text);
            let valid = text.filter(|text| {
                serde_json::from_slice::<IgnoredAny>(text).is_ok() || {
                    self.fault(row, text, Bad::Syntax);
                    false
                }
            });
            texts.push(valid.unwrap_or(b"null"));
        }
        if let Some(array) = json_values(self.field, &texts) {
            return Ok(array);
        }
        for (row, text) in texts.iter_mut().enumerate() {
            if json_values(self.field, &[*text]).is_none() {
                self.fault(row, text, Bad::Syntax);
                *text = b"null";
            }
        }
        json_values(self.field, &texts)
            .ok_or_else(|| Error::internal(format!("column \"{}\" cannot be read from JSON", self.field.name())))
    }

    #[cold]
    fn fault(&mut self, row: usize, text: &[u8], bad: Bad) {
        let field = self.field;
        self.faults.add(self.texts.first + row, || message(field, text, bad));
    }
}

/// The values of `texts`, each one JSON value; `None` if one is not of `field`'s type.
fn json_values(field: &FieldRef, texts: &[&[u8]]) -> Option<ArrayRef> {
    let field = Arc::new(Field::new(field.name(), field.data_type().clone(), true));
    let mut decoder = ReaderBuilder::new_with_field(field)
        .with_batch_size(texts.len().max(1))
        .with_coerce_primitive(true)
        .build_decoder()
        .ok()?;
    decoder.decode(&texts.join(&b'\n')).ok()?;
    decoder.decode(b"\n").ok()?;
    let batch = decoder.flush().ok()??;
    (batch.num_rows() == texts.len()).then(|| batch.column(0).clone())
}

/// `{1,NULL,"a b"}` as `["1",null,"a b"]`: values of most types may be strings there. `None` for what is no such array.
fn array_as_json(text: &[u8], item: &DataType) -> Option<String> {
    if text.first() != Some(&b'{') {
        return None;
    }
    let elements = array_input::parse(std::str::from_utf8(text).ok()?, false)?;
    let value = |element: Option<String>| match (element, item) {
        (None, _) => Some(serde_json::Value::Null),
        (Some(text), DataType::Boolean) => Some(scalar::boolean(text.as_bytes()).ok()?.into()),
        (Some(text), DataType::Binary) => Some(text.strip_prefix("\\x")?.into()),
        (Some(text), _) => Some(text.into()),
    };
    elements.into_iter().map(value).collect::<Option<Vec<_>>>().map(|all| serde_json::Value::from(all).to_string())
}

fn message(field: &Field, text: &[u8], bad: Bad) -> String {
    const SHOWN: usize = 100;
    let shown = String::from_utf8_lossy(text.get(..SHOWN).unwrap_or(text));
    let more = if text.len() > SHOWN { "…" } else { "" };
    let data_type = column_type(field.data_type(), PgType::of(field));
    let name = field.name();
    match bad {
        Bad::Range => format!("column \"{name}\": \"{shown}{more}\" is out of range for {data_type}"),
        Bad::Syntax if std::str::from_utf8(text).is_err() => {
            format!("column \"{name}\": \"{shown}{more}\" is not valid UTF-8")
        }
        Bad::Syntax => format!("column \"{name}\": \"{shown}{more}\" is not a value of type {data_type}"),
    }
}
