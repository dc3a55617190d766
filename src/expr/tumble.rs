//! `tumble_start(ts, size [, offset])`: the start of the tumbling window that holds `ts`, in the type of `ts`.
//!
//! What every dialect's TUMBLE becomes. Windows have a fixed length: months, whose length varies, are refused.
//!
//! `cumulate_window_start` is the same under the name by which the start of a CUMULATE window is known: as such windows begin
//! together and end one after the other, it must not pass for what closes them.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowTimestampType, DataType, Date32Type, DurationMicrosecondType, Int64Type, IntervalDayTimeType,
    IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::scalar_doc_sections::DOC_SECTION_DATETIME;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use crate::common::{Error, ErrorKind, Result};
use crate::types::time;

const DAY: i64 = 86_400_000_000;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    let what = "The start of the tumbling window that holds a time.";
    Documentation::builder(DOC_SECTION_DATETIME, what, "tumble_start(ts, size[, offset])").build()
});

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TumbleStart {
    name: &'static str,
    signature: Signature,
}

impl TumbleStart {
    pub(super) fn new() -> Self {
        Self { name: "tumble_start", signature: Signature::user_defined(Volatility::Immutable) }
    }

    pub(super) fn of_cumulate() -> Self {
        Self { name: "cumulate_window_start", ..Self::new() }
    }
}

impl ScalarUDFImpl for TumbleStart {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }

    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        args.first().cloned().ok_or_else(|| usage("no arguments").into())
    }

    fn coerce_types(&self, args: &[DataType]) -> DfResult<Vec<DataType>> {
        let [ts, intervals @ ..] = args else { return Err(usage("no arguments").into()) };
        if !(1..=2).contains(&intervals.len()) {
            return Err(usage(&format!("{} arguments", args.len())).into());
        }
        let ts = match ts {
            DataType::Timestamp(_, _) | DataType::Date32 => ts.clone(),
            DataType::Date64 => DataType::Timestamp(TimeUnit::Millisecond, None),
            DataType::Null => time::timestamp(),
            other => return Err(usage(&format!("a first argument of type {other}")).into()),
        };
        let mut types = vec![ts];
        for interval in intervals {
            let length = length_type(interval);
            types.push(length.ok_or_else(|| usage(&format!("a window size of type {interval}")))?);
        }
        Ok(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let mut args = args.args.into_iter();
        let ts = args.next().ok_or_else(|| usage("no arguments"))?;
        let size = args.next().ok_or_else(|| usage("one argument"))?;
        let Some(size) = fixed_micros(&size, "window size")? else { return null(&ts, rows) };
        if size <= 0 {
            return Err(Error::new(ErrorKind::InvalidParameterValue, "the window size must be above zero").into());
        }
        let offset = match args.next() {
            Some(offset) => fixed_micros(&offset, "window offset")?,
            None => Some(0),
        };
        let Some(offset) = offset else { return null(&ts, rows) };
        Ok(match ts {
            ColumnarValue::Array(array) => ColumnarValue::Array(starts(&array, size, offset)?),
            ColumnarValue::Scalar(scalar) => {
                let array = starts(&scalar.to_array()?, size, offset)?;
                ColumnarValue::Scalar(datafusion::scalar::ScalarValue::try_from_array(&array, 0)?)
            }
        })
    }
}

fn usage(got: &str) -> Error {
    Error::new(ErrorKind::UndefinedFunction, format!("tumble_start does not take {got}"))
        .with_hint("write tumble_start(timestamp_column, INTERVAL '10 seconds' [, offset interval])")
}

fn null(ts: &ColumnarValue, rows: usize) -> DfResult<ColumnarValue> {
    Ok(ColumnarValue::Array(arrow::array::new_null_array(&ts.data_type(), rows)))
}

/// What a window's length is read as: texts are intervals.
pub(super) fn length_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Interval(_) | DataType::Duration(_) => Some(data_type.clone()),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
            Some(DataType::Interval(IntervalUnit::MonthDayNano))
        }
        _ => None,
    }
}

/// A constant interval in microseconds; `None` for NULL.
pub(super) fn fixed_micros(value: &ColumnarValue, what: &str) -> Result<Option<i64>> {
    let ColumnarValue::Scalar(scalar) = value else {
        return Err(Error::not_supported(format!("the {what} of a tumbling window must be a constant"))
            .with_hint("write an interval such as INTERVAL '10 seconds'"));
    };
    let array = scalar.to_array()?;
    if array.is_null(0) {
        return Ok(None);
    }
    let overflow = || Error::new(ErrorKind::DatetimeOverflow, format!("the {what} is out of range"));
    let months = || {
        Error::new(ErrorKind::InvalidParameterValue, format!("the {what} may not have months or years"))
            .with_hint("a month has no fixed length: write days, or group by date_trunc('month', ...)")
    };
    let micros = match array.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let v = array.as_primitive::<IntervalMonthDayNanoType>().value(0);
            if v.months != 0 {
                return Err(months());
            }
            if v.nanoseconds % 1000 != 0 {
                return Err(Error::new(ErrorKind::InvalidParameterValue, format!("the {what} is finer than 1 us")));
            }
            i64::from(v.days).checked_mul(DAY).and_then(|d| d.checked_add(v.nanoseconds / 1000))
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let v = array.as_primitive::<IntervalDayTimeType>().value(0);
            i64::from(v.days).checked_mul(DAY).and_then(|d| d.checked_add(i64::from(v.milliseconds) * 1000))
        }
        DataType::Interval(IntervalUnit::YearMonth) => return Err(months()),
        _ => {
            let micros = cast(&array, &DataType::Duration(TimeUnit::Microsecond))?;
            Some(micros.as_primitive::<DurationMicrosecondType>().value(0))
        }
    };
    micros.map(Some).ok_or_else(overflow)
}

fn starts(ts: &ArrayRef, size: i64, offset: i64) -> Result<ArrayRef> {
    match ts.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => units::<TimestampSecondType>(ts, size, offset, 1_000_000, 1),
        DataType::Timestamp(TimeUnit::Millisecond, _) => units::<TimestampMillisecondType>(ts, size, offset, 1000, 1),
        DataType::Timestamp(TimeUnit::Microsecond, _) => units::<TimestampMicrosecondType>(ts, size, offset, 1, 1),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => units::<TimestampNanosecondType>(ts, size, offset, 1, 1000),
        DataType::Date32 => {
            let (days, shift) = in_units(size, offset, DAY, 1)?;
            let values = cast(ts, &DataType::Int32).and_then(|a| cast(&a, &DataType::Int64))?;
            let floored = floor::<Int64Type>(values.as_primitive(), days, shift)?;
            Ok(Arc::new(
                floored
                    .try_unary::<_, Date32Type, Error>(|v| i32::try_from(v).map_err(|_| out_of_range("the date")))?,
            ))
        }
        other => Err(usage(&format!("a first argument of type {other}"))),
    }
}

/// `micros` microseconds are one unit of the type, or one microsecond is `per_micro` units.
fn units<T: ArrowTimestampType>(
    ts: &ArrayRef,
    size: i64,
    offset: i64,
    micros: i64,
    per_micro: i64,
) -> Result<ArrayRef> {
    let (size, offset) = in_units(size, offset, micros, per_micro)?;
    let array = ts.as_primitive::<T>();
    Ok(Arc::new(floor::<T>(array, size, offset)?.with_data_type(ts.data_type().clone())))
}

fn in_units(size: i64, offset: i64, micros: i64, per_micro: i64) -> Result<(i64, i64)> {
    if size % micros != 0 || offset % micros != 0 {
        return Err(Error::new(ErrorKind::InvalidParameterValue, "the window is finer than the column's unit of time")
            .with_hint("cast the column to TIMESTAMP"));
    }
    let scale = |v: i64| (v / micros).checked_mul(per_micro).ok_or_else(|| out_of_range("the window size or offset"));
    Ok((scale(size)?, scale(offset)?))
}

fn floor<T>(array: &PrimitiveArray<T>, size: i64, offset: i64) -> Result<PrimitiveArray<T>>
where
    T: arrow::datatypes::ArrowPrimitiveType<Native = i64>,
{
    array.try_unary::<_, T, Error>(|v| time::tumble_start(v, size, offset).ok_or_else(|| out_of_range("the window")))
}

fn out_of_range(what: &str) -> Error {
    Error::new(ErrorKind::DatetimeOverflow, format!("{what} is out of the range of timestamps"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::eval::tests::{eval_one, try_physical};
    use crate::types::pretty;

    #[test]
    fn windows_of_every_type() {
        let cases = [
            ("TIMESTAMP '2024-01-01 00:00:19'", "INTERVAL '10' SECOND", "2024-01-01T00:00:10"),
            ("TIMESTAMP '1969-12-31 23:59:59'", "INTERVAL '10' SECOND", "1969-12-31T23:59:50"),
            ("TIMESTAMP '2024-01-01 10:30:00'", "INTERVAL '1' DAY, INTERVAL '11' HOUR", "2023-12-31T11:00:00"),
            ("CAST('2024-01-01T00:00:19' AS TIMESTAMP(9))", "INTERVAL '10' SECOND", "2024-01-01T00:00:10"),
            ("CAST('2024-01-01T00:00:19' AS TIMESTAMP(3))", "'10 seconds'", "2024-01-01T00:00:10"),
            ("CAST('2024-01-01T00:00:19' AS TIMESTAMP(0))", "INTERVAL '10' SECOND", "2024-01-01T00:00:10"),
            ("DATE '1970-01-09'", "INTERVAL '7 days'", "1970-01-08"),
            ("NULL", "INTERVAL '10' SECOND", "."),
        ];
        for (ts, window, expected) in cases {
            assert_eq!(eval_one(&format!("tumble_start({ts}, {window})")).unwrap(), expected, "{ts} {window}");
        }
    }

    #[test]
    fn a_column_keeps_nulls_and_its_time_zone() {
        let chunk = pretty::chunk("z:timestamptz\n+ 2024-01-01T00:00:19Z\n+ .").unwrap();
        let expr = try_physical("tumble_start(z, INTERVAL '10' SECOND)", &chunk.schema()).unwrap();
        let array = expr.evaluate(chunk.batch()).unwrap().into_array(2).unwrap();
        assert_eq!(array.data_type(), &time::timestamptz());
        assert!(array.is_null(1));
    }

    #[test]
    fn wrong_windows_say_what_is_wrong() {
        let cases = [
            ("tumble_start(TIMESTAMP '2024-01-01', INTERVAL '0' SECOND)", "above zero"),
            ("tumble_start(TIMESTAMP '2024-01-01', INTERVAL '-1' SECOND)", "above zero"),
            ("tumble_start(TIMESTAMP '2024-01-01', INTERVAL '1 month')", "months"),
            ("tumble_start(DATE '2024-01-01', INTERVAL '1 hour')", "finer"),
            ("tumble_start(to_timestamp_micros(-9223372036854775808), INTERVAL '7 days')", "range"),
            ("tumble_start(1, INTERVAL '1 hour')", "first argument"),
            ("tumble_start(TIMESTAMP '2024-01-01')", "1 arguments"),
            ("tumble_start(TIMESTAMP '2024-01-01', 5)", "size of type"),
        ];
        for (sql, message) in cases {
            let error = eval_one(sql).unwrap_err().to_string();
            assert!(error.contains(message), "{sql}: {error}");
        }
    }
}
