//! Numbers: what PostgreSQL has beside DataFusion's.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int32Type, Int64Type};
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::{Signature, Volatility};

use super::{each, values, wrong, wrong_arguments};
use crate::common::{Error, ErrorKind, Result};
use crate::expr::function::{Function, Returns, any_null, arg};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use DataType::{Float64, Int32, Int64};
    let float = |name, eval| Function::exact(name, &[Float64], Float64, eval).udf();
    let any = |name, eval| {
        let forms = datafusion::logical_expr::TypeSignature::VariadicAny;
        Function::new(name, Signature::new(forms, Volatility::Immutable), Returns::Type(Int32), eval).udf()
    };
    vec![
        Function::coercing("mod", same_numbers, Returns::Of(first), |args| {
            check_divisor(arg(args, 1)?)?;
            Ok(numeric::rem(arg(args, 0)?, arg(args, 1)?)?)
        })
        .udf(),
        Function::coercing("div", same_numbers, Returns::Of(whole), div).udf(),
        Function::coercing("sign", one_number, Returns::Of(sign_of), sign).alias("signum").udf(),
        Function::coercing("scale", one_decimal, Returns::Type(Int32), |args| decimal_scale(args, false)).udf(),
        Function::coercing("min_scale", one_decimal, Returns::Type(Int32), |args| decimal_scale(args, true)).udf(),
        Function::one_of("width_bucket", &[&[Float64, Float64, Float64, Int64]], Returns::Type(Int32), width_bucket)
            .udf(),
        float("rint", |args| on_floats(args, |x| Ok(x.round_ties_even()))),
        float("sind", |args| on_floats(args, |x| degrees(x, sine))),
        float("cosd", |args| on_floats(args, |x| degrees(x, |x| sine(x + 90.0)))),
        float("tand", |args| on_floats(args, |x| degrees(x, |x| sine(x) / sine(x + 90.0)))),
        float("cotd", |args| on_floats(args, |x| degrees(x, |x| sine(x + 90.0) / sine(x)))),
        float("asind", |args| on_floats(args, |x| arc(x, x.asin().to_degrees()))),
        float("acosd", |args| on_floats(args, |x| arc(x, x.acos().to_degrees()))),
        float("atand", |args| on_floats(args, |x| Ok(near(x.atan().to_degrees())))),
        Function::exact("bit_not", &[Int64], Int64, |args| {
            let bits = values::<Int64Type>(args, 0)?;
            Ok(Arc::new(each::<Int64Type>(args, |row| Ok(!bits.value(row)))?))
        })
        .udf(),
        any("num_nulls", |args| counted(args, true)),
        any("num_nonnulls", |args| counted(args, false)),
    ]
}

fn number_type(t: &DataType) -> bool {
    t.is_numeric() || t.is_null()
}

/// Both as the wider of the two.
fn same_numbers(types: &[DataType]) -> Result<Vec<DataType>> {
    let [a, b] = types else { return Err(wrong_arguments("mod", types)) };
    if !number_type(a) || !number_type(b) {
        return Err(wrong_arguments("mod", types));
    }
    let both = if a == b && !a.is_null() {
        a.clone()
    } else if a.is_floating() || b.is_floating() {
        DataType::Float64
    } else if let (DataType::Decimal128(..), _) | (_, DataType::Decimal128(..)) = (a, b) {
        DataType::Decimal128(38, 10)
    } else {
        DataType::Int64
    };
    Ok(vec![both.clone(), both])
}

fn one_number(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [t @ DataType::Decimal128(..)] => Ok(vec![t.clone()]),
        [t] if number_type(t) => Ok(vec![DataType::Float64]),
        _ => Err(wrong_arguments("sign", types)),
    }
}

fn one_decimal(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [t @ DataType::Decimal128(..)] => Ok(vec![t.clone()]),
        [t] if t.is_integer() || t.is_null() => Ok(vec![DataType::Decimal128(38, 0)]),
        [t] if t.is_floating() => Ok(vec![DataType::Float64]),
        _ => Err(wrong_arguments("scale", types)),
    }
}

fn first(types: &[DataType]) -> Result<DataType> {
    types.first().cloned().ok_or_else(|| wrong_arguments("mod", types))
}

fn whole(types: &[DataType]) -> Result<DataType> {
    first(types)
}

fn sign_of(types: &[DataType]) -> Result<DataType> {
    Ok(if let Some(DataType::Decimal128(..)) = types.first() { DataType::Int32 } else { DataType::Float64 })
}

fn check_divisor(divisors: &ArrayRef) -> Result<()> {
    let floats = cast(divisors, &DataType::Float64)?;
    match floats.as_primitive::<Float64Type>().iter().flatten().any(|d| d == 0.0) {
        true => Err(Error::new(ErrorKind::DivisionByZero, "division by zero")),
        false => Ok(()),
    }
}

/// The quotient without its fraction.
fn div(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (a, b) = (arg(args, 0)?, arg(args, 1)?);
    check_divisor(b)?;
    let rest = numeric::rem(a, b)?;
    let exact = numeric::sub(a, &rest)?;
    let quotient = numeric::div(&exact, b)?;
    Ok(cast(&quotient, a.data_type())?)
}

fn sign(args: &[ArrayRef]) -> Result<ArrayRef> {
    match arg(args, 0)?.data_type() {
        DataType::Decimal128(..) => {
            let numbers = arg(args, 0)?.as_primitive::<Decimal128Type>();
            Ok(Arc::new(each::<Int32Type>(args, |row| Ok(numbers.value(row).signum() as i32))?))
        }
        _ => on_floats(args, |x| Ok(if x == 0.0 || x.is_nan() { x } else { x.signum() })),
    }
}

/// Digits behind the point; the fewest that keep the value when `least`.
fn decimal_scale(args: &[ArrayRef], least: bool) -> Result<ArrayRef> {
    let column = arg(args, 0)?;
    let DataType::Decimal128(_, scale) = *column.data_type() else {
        // A literal with a point: what is written is its shortest form.
        let texts = cast(column, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        return Ok(Arc::new(each::<Int32Type>(args, |row| {
            let digits = texts.value(row).split_once('.').map_or("", |(_, fraction)| fraction).trim_end_matches('0');
            Ok(digits.len() as i32)
        })?));
    };
    let numbers = column.as_primitive::<Decimal128Type>();
    Ok(Arc::new(each::<Int32Type>(args, |row| {
        let (mut value, mut digits) = (numbers.value(row), i32::from(scale));
        while least && digits > 0 && value % 10 == 0 {
            (value, digits) = (value / 10, digits - 1);
        }
        Ok(digits)
    })?))
}

fn on_floats(args: &[ArrayRef], f: impl Fn(f64) -> Result<f64>) -> Result<ArrayRef> {
    let numbers = values::<Float64Type>(args, 0)?;
    let results: Float64Array = each::<Float64Type>(args, |row| f(numbers.value(row)))?;
    Ok(Arc::new(results))
}

fn width_bucket(args: &[ArrayRef]) -> Result<ArrayRef> {
    let number = |i| values::<Float64Type>(args, i);
    let (operands, lows, highs) = (number(0)?, number(1)?, number(2)?);
    let counts = values::<Int64Type>(args, 3)?;
    Ok(Arc::new(each::<Int32Type>(args, |row| {
        let (x, low, high, count) = (operands.value(row), lows.value(row), highs.value(row), counts.value(row));
        if !(1..i64::from(i32::MAX)).contains(&count) {
            return Err(wrong("count must be greater than zero"));
        }
        if low == high || !low.is_finite() || !high.is_finite() {
            return Err(wrong("lower bound cannot equal upper bound, and both must be finite"));
        }
        let (below, above) = if low < high { (x < low, x >= high) } else { (x > low, x <= high) };
        Ok(match (below, above) {
            (true, _) => 0,
            (_, true) => count as i32 + 1,
            _ => ((x - low) / (high - low) * count as f64) as i32 + 1,
        })
    })?))
}

/// Exact where the sine of so many degrees is.
fn sine(x: f64) -> f64 {
    let x = x.rem_euclid(360.0);
    match x {
        0.0 | 180.0 => 0.0,
        30.0 | 150.0 => 0.5,
        90.0 => 1.0,
        210.0 | 330.0 => -0.5,
        270.0 => -1.0,
        x => x.to_radians().sin(),
    }
}

fn degrees(x: f64, f: impl Fn(f64) -> f64) -> Result<f64> {
    if x.is_infinite() {
        return Err(Error::new(ErrorKind::NumericValueOutOfRange, "input is out of range"));
    }
    Ok(near(f(x)))
}

fn arc(x: f64, angle: f64) -> Result<f64> {
    if x.abs() > 1.0 {
        return Err(Error::new(ErrorKind::NumericValueOutOfRange, "input is out of range"));
    }
    Ok(near(angle))
}

/// What is whole but for the last bits is whole.
fn near(x: f64) -> f64 {
    if (x - x.round()).abs() < 1e-13 * x.abs().max(1.0) { x.round() } else { x }
}

fn counted(args: &[ArrayRef], nulls: bool) -> Result<ArrayRef> {
    let rows = arg(args, 0)?.len();
    let count = |row: usize| args.iter().filter(|a| any_null(std::slice::from_ref(a), row) == nulls).count() as i32;
    Ok(Arc::new(arrow::array::Int32Array::from_iter_values((0..rows).map(count))))
}
