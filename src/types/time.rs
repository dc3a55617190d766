//! Event time as Weir keeps it: microseconds since 1970-01-01 UTC, for TIMESTAMP and TIMESTAMPTZ alike.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use chrono::{DateTime, Days, Months};

/// The type of `TIMESTAMP`.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

/// The type of `TIMESTAMPTZ`.
pub fn timestamptz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

/// A watermark that closes every window: the stream has ended.
pub const END_OF_TIME: i64 = i64::MAX;

/// The start of the tumbling window that holds `ts`; all in microseconds, `size` above 0. Floors towards minus
/// infinity, so times before 1970 and any offset fall into the right window. `None` on overflow.
pub fn tumble_start(ts: i64, size: i64, offset: i64) -> Option<i64> {
    let shifted = ts.checked_sub(offset)?;
    shifted.checked_sub(shifted.rem_euclid(size))?.checked_add(offset)
}

/// `ts` later by `interval`, as PostgreSQL adds them: months (to the month's last day at most), then days, then the
/// rest. `None` out of range.
pub fn add(ts: i64, interval: IntervalMonthDayNano) -> Option<i64> {
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    let mut at = ts;
    if months != 0 || days != 0 {
        let time = DateTime::from_timestamp_micros(ts)?;
        let by = Months::new(months.unsigned_abs());
        let time = if months < 0 { time.checked_sub_months(by)? } else { time.checked_add_months(by)? };
        let by = Days::new(days.unsigned_abs().into());
        let time = if days < 0 { time.checked_sub_days(by)? } else { time.checked_add_days(by)? };
        at = time.timestamp_micros();
    }
    at.checked_add(nanoseconds / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_floor_on_both_sides_of_the_epoch() {
        let cases = [
            // ts, size, offset, start
            (0, 10, 0, Some(0)),
            (9, 10, 0, Some(0)),
            (10, 10, 0, Some(10)),
            (-1, 10, 0, Some(-10)),
            (-10, 10, 0, Some(-10)),
            (3, 10, 4, Some(-6)),
            (4, 10, 4, Some(4)),
            (0, 10, 14, Some(-6)),
            (0, 10, -4, Some(-4)),
            (i64::MIN, 10, 0, None),
        ];
        for (ts, size, offset, start) in cases {
            assert_eq!(tumble_start(ts, size, offset), start, "tumble_start({ts}, {size}, {offset})");
        }
    }
}
