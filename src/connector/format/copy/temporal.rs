//! Dates, times and intervals of a COPY. ISO's form is read as in any file; what is not in it, as a cast in the session
//! would read it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Date32Type, FieldRef, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};

use super::super::column;
use super::super::records::{Column, Faults};
use crate::common::Result;
use crate::expr::modifier;
use crate::types::pg_type::PgType;
use crate::types::styles::{IntervalStyle, Styles};
use crate::types::zone_rules::ZoneRules;
use crate::types::{datetime_text, interval_text};

/// How the session reads texts.
pub struct Reading {
    /// Of times that name none; `None` is UTC.
    pub zone: Option<ZoneRules>,
    pub styles: Styles,
}

/// The values of a column; `None` for a type that is not of this page.
pub fn read(field: &FieldRef, texts: &Column<'_>, reading: &Reading, faults: &mut Faults) -> Option<Result<ArrayRef>> {
    let order = reading.styles.order;
    Some(match field.data_type() {
        DataType::Date32 => values::<Date32Type>(field, texts, true, faults, |t| datetime_text::date(t, order).ok()),
        DataType::Time64(_) => {
            values::<Time64MicrosecondType>(field, texts, true, faults, |t| datetime_text::time(t).ok())
        }
        DataType::Timestamp(_, None) => {
            values::<TimestampMicrosecondType>(field, texts, true, faults, |t| datetime_text::timestamp(t, order).ok())
        }
        DataType::Timestamp(_, Some(_)) => {
            let zone = reading.zone.unwrap_or(ZoneRules::Fixed(0));
            values::<TimestampMicrosecondType>(field, texts, reading.zone.is_none(), faults, |t| {
                datetime_text::timestamptz(t, &zone, order).ok()
            })
        }
        DataType::Interval(_) => {
            let style = reading.styles.intervals;
            let usual = style != IntervalStyle::SqlStandard;
            values::<IntervalMonthDayNanoType>(field, texts, usual, faults, |t| interval_text::parse(t, style).ok())
        }
        _ => return None,
    })
}

/// `usual`: what a file's reader takes has the same meaning here.
fn values<T: ArrowPrimitiveType>(
    field: &FieldRef,
    texts: &Column<'_>,
    usual: bool,
    faults: &mut Faults,
    parse: impl Fn(&str) -> Option<T::Native>,
) -> Result<ArrayRef> {
    let mut unread = Faults::default();
    let read = usual.then(|| column::read(field, texts, None, &mut unread)).transpose()?;
    if let Some(read) = &read
        && unread.is_empty()
    {
        return Ok(Arc::clone(read));
    }
    let read = read.as_ref().and_then(|read| read.as_primitive_opt::<T>());
    let mut values = Vec::with_capacity(texts.rows);
    for (row, text) in texts.iter().enumerate() {
        let known = read.filter(|read| read.is_valid(row)).map(|read| read.value(row));
        let value = known.or_else(|| parse(std::str::from_utf8(text?).ok()?));
        if value.is_none() && (text.is_some() || !field.is_nullable()) {
            faults.add(texts.first + row, String::new);
        }
        values.push(value);
    }
    let values: PrimitiveArray<T> = values.into_iter().collect();
    let values: ArrayRef = Arc::new(values.with_data_type(field.data_type().clone()));
    match PgType::of(field) {
        Some(mark) => modifier::fitted(&values, mark, |_| Ok(())),
        None => Ok(values),
    }
}
