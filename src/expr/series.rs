//! `generate_series` and `generate_subscripts` as lists, to be unnested: integers, floating point, timestamps.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, ListArray, PrimitiveArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, Float64Type, Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    TimestampMicrosecondType,
};
use datafusion::logical_expr::ScalarUDF;

use super::function::{Function, Returns, any_null, arg, list_of};
use crate::common::{Error, ErrorKind, Result};
use crate::types::time;

/// More elements than these in one series are taken for a mistake: a list is made of them.
const MOST: usize = 1 << 25;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        Function::coercing("generate_series", coerce, Returns::Of(returns), generate_series).udf(),
        Function::coercing("generate_subscripts", subscripts_of, Returns::List(DataType::Int32), subscripts).udf(),
    ]
}

fn wrong_arguments(types: &[DataType]) -> Error {
    let types: Vec<String> = types.iter().map(ToString::to_string).collect();
    Error::new(ErrorKind::UndefinedFunction, format!("function generate_series({}) does not exist", types.join(", ")))
        .with_hint("its arguments are start, stop and step: integers, or two timestamps and an interval")
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    let [start, stop, rest @ ..] = types else { return Err(wrong_arguments(types)) };
    let bounds = [start, stop];
    let is_time = |t: &&DataType| matches!(t, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
    if rest.len() > 1 {
        return Err(wrong_arguments(types));
    }
    if types.iter().all(|t| t.is_integer() || t.is_null()) {
        let small = types.iter().all(|t| matches!(t, DataType::Int8 | DataType::Int16 | DataType::Int32));
        return Ok(vec![if small { DataType::Int32 } else { DataType::Int64 }; types.len()]);
    }
    if types.iter().all(|t| t.is_numeric() || t.is_null()) {
        return Ok(vec![DataType::Float64; types.len()]);
    }
    let step = DataType::Interval(IntervalUnit::MonthDayNano);
    match rest.first() {
        Some(DataType::Interval(_) | DataType::Utf8 | DataType::Null | DataType::Utf8View) => {
            // PostgreSQL takes dates for timestamps with time zone.
            let zoned = bounds.iter().any(|t| matches!(t, DataType::Timestamp(_, Some(_))))
                || !bounds.iter().any(|t| matches!(t, DataType::Timestamp(_, None))) && bounds.iter().any(is_time);
            let bound = if zoned { time::timestamptz() } else { time::timestamp() };
            Ok(vec![bound.clone(), bound, step])
        }
        _ => Err(wrong_arguments(types)),
    }
}

fn returns(types: &[DataType]) -> Result<DataType> {
    types.first().cloned().map(list_of).ok_or_else(|| wrong_arguments(types))
}

fn generate_series(args: &[ArrayRef]) -> Result<ArrayRef> {
    match arg(args, 0)?.data_type() {
        DataType::Int32 => {
            let args = args.iter().map(|a| Ok(cast(a, &DataType::Int64)?)).collect::<Result<Vec<_>>>()?;
            Ok(cast(&integers(&args)?, &list_of(DataType::Int32))?)
        }
        DataType::Int64 => integers(args),
        DataType::Float64 => floats(args),
        _ => timestamps(args),
    }
}

/// The lists of a column, one after the other.
struct Lists<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

impl<T: ArrowPrimitiveType> Lists<T> {
    fn new() -> Self {
        Self { values: Vec::new(), offsets: vec![0], valid: Vec::new() }
    }

    fn push(&mut self, value: T::Native) -> Result<()> {
        if self.values.len() >= MOST {
            return Err(Error::new(ErrorKind::InvalidParameterValue, "generate_series makes too many rows")
                .with_hint(format!("a series of other than constant integers has {MOST} rows at most")));
        }
        self.values.push(value);
        Ok(())
    }

    fn end(&mut self, valid: bool) {
        self.offsets.push(self.values.len() as i32);
        self.valid.push(valid);
    }

    fn finish(self, element: DataType) -> Result<ArrayRef> {
        let values = PrimitiveArray::<T>::new(self.values.into(), None).with_data_type(element.clone());
        let field = Arc::new(Field::new_list_field(element, true));
        let offsets = OffsetBuffer::new(self.offsets.into());
        let nulls = NullBuffer::from(self.valid);
        Ok(Arc::new(ListArray::try_new(field, offsets, Arc::new(values), Some(nulls))?))
    }
}

fn zero_step() -> Error {
    Error::new(ErrorKind::InvalidParameterValue, "step size cannot equal zero").with_hint("use a step other than 0")
}

fn integers(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (start, stop) = (arg(args, 0)?.as_primitive::<Int64Type>(), arg(args, 1)?.as_primitive::<Int64Type>());
    let steps = args.get(2).map(|s| s.as_primitive::<Int64Type>());
    let mut lists = Lists::<Int64Type>::new();
    for row in 0..start.len() {
        if any_null(args, row) {
            lists.end(false);
            continue;
        }
        let step = steps.map_or(1, |s| s.value(row));
        if step == 0 {
            return Err(zero_step());
        }
        let (mut value, stop) = (start.value(row), stop.value(row));
        while (step > 0 && value <= stop) || (step < 0 && value >= stop) {
            lists.push(value)?;
            match value.checked_add(step) {
                Some(next) => value = next,
                None => break,
            }
        }
        lists.end(true);
    }
    lists.finish(DataType::Int64)
}

fn floats(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (start, stop) = (arg(args, 0)?.as_primitive::<Float64Type>(), arg(args, 1)?.as_primitive::<Float64Type>());
    let steps = args.get(2).map(|s| s.as_primitive::<Float64Type>());
    let mut lists = Lists::<Float64Type>::new();
    for row in 0..start.len() {
        if any_null(args, row) {
            lists.end(false);
            continue;
        }
        let (start, stop, step) = (start.value(row), stop.value(row), steps.map_or(1.0, |s| s.value(row)));
        if step == 0.0 {
            return Err(zero_step());
        }
        if ![start, stop, step].iter().all(|v| v.is_finite()) {
            return Err(Error::new(ErrorKind::InvalidParameterValue, "a series needs finite numbers"));
        }
        for i in 0.. {
            let value = start + i as f64 * step;
            if (step > 0.0 && value > stop) || (step < 0.0 && value < stop) {
                break;
            }
            lists.push(value)?;
        }
        lists.end(true);
    }
    lists.finish(DataType::Float64)
}

fn timestamps(args: &[ArrayRef]) -> Result<ArrayRef> {
    let element = arg(args, 0)?.data_type().clone();
    let start = arg(args, 0)?.as_primitive::<TimestampMicrosecondType>();
    let stop = arg(args, 1)?.as_primitive::<TimestampMicrosecondType>();
    let steps = arg(args, 2)?.as_primitive::<IntervalMonthDayNanoType>();
    let mut lists = Lists::<TimestampMicrosecondType>::new();
    for row in 0..start.len() {
        if any_null(args, row) {
            lists.end(false);
            continue;
        }
        let (mut value, stop, step) = (start.value(row), stop.value(row), steps.value(row));
        let direction = nanoseconds(step).signum();
        if direction == 0 {
            return Err(zero_step());
        }
        while (direction > 0 && value <= stop) || (direction < 0 && value >= stop) {
            lists.push(value)?;
            value = time::add(value, step)
                .ok_or_else(|| Error::new(ErrorKind::DatetimeOverflow, "timestamp out of range"))?;
        }
        lists.end(true);
    }
    lists.finish(element)
}

/// As PostgreSQL compares intervals: a month has 30 days, a day 24 hours.
fn nanoseconds(interval: IntervalMonthDayNano) -> i128 {
    let days = i128::from(interval.months) * 30 + i128::from(interval.days);
    days * 86_400_000_000_000 + i128::from(interval.nanoseconds)
}

fn subscripts_of(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _), dimension]
            if dimension.is_integer() =>
        {
            Ok(vec![DataType::List(Arc::clone(element)), DataType::Int64])
        }
        _ => Err(Error::new(ErrorKind::UndefinedFunction, "generate_subscripts takes an array and a dimension")
            .with_hint("write generate_subscripts(a, 1)")),
    }
}

/// The subscripts of the first dimension; none of others.
fn subscripts(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (list, dimension) = (arg(args, 0)?.as_list::<i32>(), arg(args, 1)?.as_primitive::<Int64Type>());
    let mut lists = Lists::<Int32Type>::new();
    for row in 0..list.len() {
        if !any_null(args, row) && dimension.value(row) == 1 {
            for i in 1..=list.value_length(row) {
                lists.push(i)?;
            }
        }
        lists.end(!any_null(args, row));
    }
    lists.finish(DataType::Int32)
}

#[cfg(test)]
mod tests {
    use crate::expr::eval::tests::eval_one;

    #[test]
    fn series() {
        for (sql, expected) in [
            ("generate_series(1, 3)", "[1, 2, 3]"),
            ("generate_series(3, 1)", "[]"),
            ("generate_series(3, 1, -2)", "[3, 1]"),
            ("generate_series(1, 3, 0)", "step size cannot equal zero"),
            ("generate_series(NULL, 3)", "."),
            ("generate_series(9223372036854775806, 9223372036854775807)", "[9223372036854775806, 9223372036854775807]"),
            ("generate_series(0, 1, 0.5)", "[0.0, 0.5, 1.0]"),
            (
                "generate_series(TIMESTAMP '2024-01-31', TIMESTAMP '2024-03-31', INTERVAL '1 month')",
                "[2024-01-31T00:00:00, 2024-02-29T00:00:00, 2024-03-29T00:00:00]",
            ),
            (
                "generate_series(DATE '2024-01-02', DATE '2024-01-01', INTERVAL '-1 day')",
                "[2024-01-02T00:00:00Z, 2024-01-01T00:00:00Z]",
            ),
            ("generate_series(1, 99999999999)", "too many rows"),
            ("generate_subscripts(make_array(7, 8), 1)", "[1, 2]"),
            ("generate_subscripts(make_array(7, 8), 2)", "[]"),
            ("generate_series('x')", "does not exist"),
        ] {
            let given = eval_one(sql).unwrap_or_else(|e| e.to_string());
            assert!(given == expected || (expected.contains(' ') && given.contains(expected)), "{sql}: {given}");
        }
    }
}
