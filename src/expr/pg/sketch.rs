//! The buckets of `approx_percentile`: what it becomes is `approx_value(percentile_disc(p) WITHIN GROUP (ORDER BY
//! approx_bucket(x, error)), error)`.
//!
//! ```text
//! … -2 [-γ²,-γ)  -1 [-γ,-1)   0: zero   1 (1,γ]   2 (γ,γ²] …        γ = (1 + error) / (1 - error)
//! ```
//! The buckets of DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
//! guarantees", 2019): every value of a bucket is within `error` of its middle. Here a bucket is a number that sorts as its
//! values do, so that a counted set of buckets is the whole sketch: it merges, and what goes is taken off.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::logical_expr::ScalarUDF;

use super::values;
use crate::common::{Error, ErrorKind, Result};
use crate::expr::function::Function;

/// Numbers below one have negative logarithms: with this they are above zero's bucket. Far above what a logarithm comes to.
const ONE: i64 = 1 << 60;
/// Its bucket is that of the greatest number with more behind.
const INFINITE: i64 = i64::MAX - 1;
const NAN: i64 = i64::MAX;

pub(super) fn functions() -> [Arc<ScalarUDF>; 2] {
    use DataType::{Float64, Int64};
    [
        Function::exact("approx_bucket", &[Float64, Float64], Int64, |args| {
            let (numbers, errors) = (values::<Float64Type>(args, 0)?, values::<Float64Type>(args, 1)?);
            let buckets: Result<Int64Array> = numbers
                .iter()
                .zip(errors.iter())
                .map(|pair| pair.0.zip(pair.1).map(|(number, error)| Ok(bucket(number, log_gamma(error)?))).transpose())
                .collect();
            Ok(Arc::new(buckets?) as ArrayRef)
        })
        .udf(),
        Function::exact("approx_value", &[Int64, Float64], Float64, |args| {
            let (buckets, errors) = (values::<Int64Type>(args, 0)?, values::<Float64Type>(args, 1)?);
            let numbers: Result<Float64Array> = buckets
                .iter()
                .zip(errors.iter())
                .map(|pair| pair.0.zip(pair.1).map(|(bucket, error)| Ok(middle(bucket, log_gamma(error)?))).transpose())
                .collect();
            Ok(Arc::new(numbers?) as ArrayRef)
        })
        .udf(),
    ]
}

/// The natural logarithm of γ.
fn log_gamma(error: f64) -> Result<f64> {
    match error > 0.0 && error < 1.0 {
        true => Ok(((1.0 + error) / (1.0 - error)).ln()),
        false => Err(Error::new(
            ErrorKind::InvalidParameterValue,
            format!("relative_error {error} of approx_percentile is not above 0 and below 1"),
        )),
    }
}

fn bucket(number: f64, log_gamma: f64) -> i64 {
    if number.is_nan() {
        return NAN;
    }
    let magnitude = match number.abs() {
        0.0 => return 0,
        f64::INFINITY => INFINITE,
        // Saturates: with the least error there is, all of them are within.
        size => ONE.saturating_add((size.ln() / log_gamma).ceil() as i64).clamp(1, INFINITE - 1),
    };
    if number < 0.0 { -magnitude } else { magnitude }
}

fn middle(bucket: i64, log_gamma: f64) -> f64 {
    if bucket == NAN {
        return f64::NAN;
    }
    let size = match bucket.abs() {
        0 => 0.0,
        INFINITE => f64::INFINITY,
        // 2γⁱ / (γ + 1), without leaving what a float can hold before the division.
        magnitude => ((magnitude - ONE) as f64 * log_gamma + (2.0 / (log_gamma.exp() + 1.0)).ln()).exp().min(f64::MAX),
    };
    if bucket < 0 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_within_the_error_of_its_bucket_and_they_sort_alike() {
        let numbers = [-1e300, -7.5, -1.0, -0.3, -1e-300, 0.0, 5e-324, 1e-9, 0.99, 1.0, 1.5, 42.0, 1e18, f64::MAX];
        for error in [0.5, 0.01, 1e-6] {
            let log_gamma = log_gamma(error).unwrap();
            let mut last = i64::MIN;
            for number in numbers {
                let bucket = bucket(number, log_gamma);
                assert!(bucket >= last, "{number} at {error}");
                last = bucket;
                let off = (middle(bucket, log_gamma) - number).abs();
                assert!(off <= error * number.abs() * 1.000_001 + 5e-324, "{number} at {error}: {off}");
            }
        }
    }

    #[test]
    fn ends_are_themselves() {
        let log_gamma = log_gamma(0.01).unwrap();
        for number in [f64::NEG_INFINITY, f64::INFINITY, 0.0] {
            assert_eq!(middle(bucket(number, log_gamma), log_gamma), number);
        }
        assert!(middle(bucket(f64::NAN, log_gamma), log_gamma).is_nan());
        assert!(
            super::log_gamma(0.0).is_err() && super::log_gamma(1.0).is_err() && super::log_gamma(f64::NAN).is_err()
        );
    }
}
