//! What `GAP_FILL` becomes: the times of a row and of the gap behind it, and a value on the line between two rows.
//!
//! ```text
//! gap_times(10:00, 10:03, one minute)           -->  [10:00, 10:01, 10:02]
//! gap_value(4, 10, 10:00, 10:01, 10:03)         -->  6
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, ListArray, PrimitiveArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType, i256,
};
use datafusion::logical_expr::ScalarUDF;

use super::function::{Function, Returns, arg, list_of};
use crate::common::{Error, ErrorKind, Result};

/// More rows than these in one gap are taken for a mistake.
const MOST: i64 = 1_000_000;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        Function::coercing("gap_times", times_of, Returns::Of(times), gap_times).udf(),
        Function::coercing("gap_value", values_of, Returns::Of(value), gap_value).udf(),
    ]
}

/// The row's time, the next row's time, the step in microseconds.
fn times_of(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::Timestamp(_, zone), _, _] => {
            let time = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            Ok(vec![time.clone(), time, DataType::Int64])
        }
        other => Ok(other.to_vec()),
    }
}

/// Says what is wrong here, since an error of coercion would name a function that no user wrote.
fn times(types: &[DataType]) -> Result<DataType> {
    match types {
        [time @ DataType::Timestamp(..), ..] => Ok(list_of(time.clone())),
        other => Err(Error::new(
            ErrorKind::InvalidParameterValue,
            format!("GAP_FILL needs a column of type TIMESTAMP or TIMESTAMPTZ second, not {}", first(other)),
        )
        .with_hint(
            "fill a subquery that casts it: GAP_FILL((SELECT CAST(day AS TIMESTAMP) AS day, … FROM t), day, …)",
        )),
    }
}

/// The row's value, the next row's value; the row's time, the time between, the next row's time.
fn values_of(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [value, _, DataType::Timestamp(_, zone), _, _] => {
            let time = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            Ok(vec![value.clone(), value.clone(), time.clone(), time.clone(), time])
        }
        other => Ok(other.to_vec()),
    }
}

/// As [`times`].
fn value(types: &[DataType]) -> Result<DataType> {
    match first(types) {
        value @ (DataType::Int16 | DataType::Int32 | DataType::Int64) => Ok(value),
        value @ (DataType::Float32 | DataType::Float64 | DataType::Decimal128(..)) => Ok(value),
        other => Err(Error::new(
            ErrorKind::InvalidParameterValue,
            format!("INTERPOLATE needs a column of numbers, not of {other}"),
        )
        .with_hint("LOCF(c) repeats a value of any type")),
    }
}

fn first(types: &[DataType]) -> DataType {
    types.first().cloned().unwrap_or(DataType::Null)
}

fn gap_times(args: &[ArrayRef]) -> Result<ArrayRef> {
    let time = arg(args, 0)?;
    let times = time.as_primitive::<TimestampMicrosecondType>();
    let nexts = arg(args, 1)?.as_primitive::<TimestampMicrosecondType>();
    let steps = arg(args, 2)?.as_primitive::<Int64Type>();
    let mut values: Vec<Option<i64>> = Vec::with_capacity(times.len());
    let mut lengths = Vec::with_capacity(times.len());
    for row in 0..times.len() {
        let before = values.len();
        values.push((!times.is_null(row)).then(|| times.value(row)));
        if !times.is_null(row) && !nexts.is_null(row) && !steps.is_null(row) {
            let (start, next, step) = (times.value(row), nexts.value(row), steps.value(row).max(1));
            let gap = (i128::from(next) - i128::from(start) - 1).max(0) / i128::from(step);
            let Some(gap) = i64::try_from(gap).ok().filter(|gap| *gap <= MOST) else {
                return Err(Error::new(ErrorKind::InvalidParameterValue, "a gap would be filled with too many rows")
                    .with_hint(format!("{MOST} are the most: write a longer interval")));
            };
            values.extend((1..=gap).map(|i| Some(start + i * step)));
        }
        lengths.push(values.len() - before);
    }
    let values = PrimitiveArray::<TimestampMicrosecondType>::from(values).with_data_type(time.data_type().clone());
    let field = Arc::new(Field::new_list_field(time.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), Arc::new(values), None)?))
}

/// How far a time is between two others: so many of so many microseconds.
type Share = (i64, i64);

fn gap_value(args: &[ArrayRef]) -> Result<ArrayRef> {
    let [value, next, times @ ..] = args else { return Err(Error::internal("gap_value without arguments")) };
    let mut shares = Vec::with_capacity(value.len());
    for row in 0..value.len() {
        let time = |at: usize| -> Result<Option<i64>> {
            let times = arg(times, at)?.as_primitive::<TimestampMicrosecondType>();
            Ok((!times.is_null(row)).then(|| times.value(row)))
        };
        // The row itself has no share of the next.
        shares.push(match (time(0)?, time(1)?, time(2)?) {
            (Some(start), Some(at), Some(end)) if start < at && at < end => {
                at.checked_sub(start).zip(end.checked_sub(start))
            }
            _ => Some((0, 1)),
        });
    }
    between(value, next, &shares)
}

fn between(value: &ArrayRef, next: &ArrayRef, shares: &[Option<Share>]) -> Result<ArrayRef> {
    // Of each row, whether it is between two values, at one, or nowhere.
    let row = |i: usize| -> Option<(Share, bool)> {
        let share = shares.get(i).copied().flatten()?;
        (!value.is_null(i) && (share.0 == 0 || !next.is_null(i))).then_some((share, share.0 > 0))
    };
    let rows = (0..value.len()).map(row);
    match value.data_type() {
        DataType::Float32 | DataType::Float64 => {
            let (a, b) = (cast(value, &DataType::Float64)?, cast(next, &DataType::Float64)?);
            let (a, b) = (a.as_primitive::<Float64Type>(), b.as_primitive::<Float64Type>());
            let line = rows.enumerate().map(|(i, row)| {
                row.map(|((part, whole), inside)| match inside {
                    true => a.value(i) + (b.value(i) - a.value(i)) * (part as f64 / whole as f64),
                    false => a.value(i),
                })
            });
            Ok(cast(&line.collect::<Float64Array>(), value.data_type())?)
        }
        DataType::Decimal128(precision, scale) => {
            let (a, b) = (value.as_primitive::<Decimal128Type>(), next.as_primitive::<Decimal128Type>());
            let line = rows.enumerate().map(|(i, row)| match row {
                Some((share, true)) => whole_between(a.value(i), b.value(i), share),
                Some((_, false)) => Some(a.value(i)),
                None => None,
            });
            Ok(Arc::new(line.collect::<Decimal128Array>().with_precision_and_scale(*precision, *scale)?))
        }
        _ => {
            let (a, b) = (cast(value, &DataType::Int64)?, cast(next, &DataType::Int64)?);
            let (a, b) = (a.as_primitive::<Int64Type>(), b.as_primitive::<Int64Type>());
            let line = rows.enumerate().map(|(i, row)| match row {
                Some((share, true)) => {
                    let (a, b) = (i128::from(a.value(i)), i128::from(b.value(i)));
                    whole_between(a, b, share).and_then(|v| i64::try_from(v).ok())
                }
                Some((_, false)) => Some(a.value(i)),
                None => None,
            });
            Ok(cast(&line.collect::<Int64Array>(), value.data_type())?)
        }
    }
}

/// On the line from `a` to `b`, cut off towards `a`: never beyond either.
fn whole_between(a: i128, b: i128, (part, whole): Share) -> Option<i128> {
    let (a, b) = (i256::from_i128(a), i256::from_i128(b));
    let way = b.checked_sub(a)?.checked_mul(i256::from_i128(part.into()))?;
    a.checked_add(way.checked_div(i256::from_i128(whole.into()))?)?.to_i128()
}

#[cfg(test)]
mod tests {
    use crate::expr::eval::tests::eval_one;

    #[test]
    fn times_of_a_gap() {
        let at = |s: &str| format!("TIMESTAMP '1970-01-01 00:00:{s}'");
        let cases = [
            ("00", at("03"), "[1970-01-01T00:00:00, 1970-01-01T00:00:01, 1970-01-01T00:00:02]"),
            ("00", at("01.5"), "[1970-01-01T00:00:00, 1970-01-01T00:00:01]"),
            ("00", at("01"), "[1970-01-01T00:00:00]"),
            ("00", at("00"), "[1970-01-01T00:00:00]"),
            ("02", at("00"), "[1970-01-01T00:00:02]"),
            ("02", "NULL".into(), "[1970-01-01T00:00:02]"),
        ];
        for (time, next, expected) in cases {
            assert_eq!(eval_one(&format!("gap_times({}, {next}, 1000000)", at(time))).unwrap(), expected);
        }
        assert_eq!(eval_one("gap_times(CAST(NULL AS TIMESTAMP), NULL, 1)").unwrap(), "[.]");
        let far = eval_one(&format!("gap_times({}, {}, 1)", at("00"), at("59"))).unwrap_err();
        assert!(far.to_string().contains("too many rows"), "{far}");
        assert!(eval_one("gap_times(DATE '2024-01-01', NULL, 1)").unwrap_err().to_string().contains("TIMESTAMP"));
    }

    #[test]
    fn values_on_the_line() {
        let cases = [
            ("4, 10", "01", "03", "6"),
            ("10, 4", "01", "04", "9"),
            ("0, 10", "01", "03", "3"),
            ("0, -10", "01", "03", "-3"),
            ("4, 10", "00", "03", "4"),
            ("4, NULL", "00", "03", "4"),
            ("4, NULL", "01", "03", "."),
            ("CAST(NULL AS INT), 4", "01", "03", "."),
            ("-9223372036854775807, 9223372036854775807", "01", "02", "0"),
            ("CAST(1.5 AS DOUBLE), CAST(2.5 AS DOUBLE)", "01", "04", "1.75"),
            ("CAST(1.50 AS DECIMAL(10,2)), CAST(2.00 AS DECIMAL(10,2))", "01", "03", "1.66"),
        ];
        for (values, at, end, expected) in cases {
            let time = |s: &str| format!("TIMESTAMP '1970-01-01 00:00:{s}'");
            let sql = format!("gap_value({values}, {}, {}, {})", time("00"), time(at), time(end));
            assert_eq!(eval_one(&sql).unwrap(), expected, "{sql}");
        }
        let text = "gap_value('a', 'b', TIMESTAMP '1970-01-01', TIMESTAMP '1970-01-01', TIMESTAMP '1970-01-02')";
        assert!(eval_one(text).unwrap_err().to_string().contains("needs a column of numbers"));
    }
}
