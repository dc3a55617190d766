//! Event times between columns of any time type and the microseconds in which watermarks count.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};

use crate::common::{Error, Result};

/// The column's times in microseconds since 1970; nulls stay.
///
/// # Errors
/// `Internal` for a column that holds no time: the planner lets none through.
pub fn micros(column: &ArrayRef) -> Result<Int64Array> {
    let column = match column.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => Arc::clone(column),
        DataType::Timestamp(_, zone) => cast(column, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?,
        DataType::Date32 | DataType::Date64 => cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?,
        other => return Err(Error::internal(format!("event time in a column of type {other}"))),
    };
    Ok(column.as_primitive::<TimestampMicrosecondType>().reinterpret_cast::<Int64Type>())
}

/// The reverse of [`micros`]: a column of a timestamp type.
pub fn column(micros: Int64Array, data_type: &DataType) -> Result<ArrayRef> {
    let zone = match data_type {
        DataType::Timestamp(_, zone) => zone.clone(),
        other => return Err(Error::internal(format!("event time in a column of type {other}"))),
    };
    let column = micros.reinterpret_cast::<TimestampMicrosecondType>();
    Ok(cast(&column.with_data_type(DataType::Timestamp(TimeUnit::Microsecond, zone)), data_type)?)
}

/// One row of the column's type that holds the last of its instants not after `micros`.
pub fn instant(micros: i64, data_type: &DataType) -> Result<ArrayRef> {
    let in_units = |size: i64| Int64Array::from(vec![micros.div_euclid(size)]);
    Ok(match data_type {
        DataType::Timestamp(TimeUnit::Second, _) => cast(&in_units(1_000_000), data_type)?,
        DataType::Timestamp(TimeUnit::Millisecond, _) | DataType::Date64 => cast(&in_units(1000), data_type)?,
        DataType::Timestamp(TimeUnit::Microsecond, _) => cast(&in_units(1), data_type)?,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            cast(&Int64Array::from(vec![micros.saturating_mul(1000)]), data_type)?
        }
        DataType::Date32 => cast(&cast(&in_units(86_400_000_000), &DataType::Int32)?, data_type)?,
        other => return Err(Error::internal(format!("event time in a column of type {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let utc = Some(Arc::from("UTC"));
        let cases = [
            (DataType::Timestamp(TimeUnit::Second, None), -1, -1_000_000),
            (DataType::Timestamp(TimeUnit::Millisecond, utc.clone()), 1999, 1000),
            (DataType::Timestamp(TimeUnit::Microsecond, utc), -7, -7),
            (DataType::Timestamp(TimeUnit::Nanosecond, None), 7, 7),
            (DataType::Date32, -1, -86_400_000_000),
        ];
        for (data_type, time, expected) in cases {
            let back = micros(&instant(time, &data_type).unwrap()).unwrap();
            assert_eq!(back.value(0), expected, "{data_type} {time}");
        }
        assert!(instant(0, &DataType::Utf8).is_err());
    }
}
