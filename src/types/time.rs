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

/// Days since 1970 of a day of the proleptic Gregorian calendar, where 0 is the year before 1.
pub fn days_of(year: i64, month: i64, day: i64) -> i64 {
    // Count from March, so that the leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    days + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// Year, month and day of a day since 1970, in the proleptic Gregorian calendar, where 0 is the year before 1.
///
/// Works on years of 400 that start in March, so that the leap day is the last day of each.
pub fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
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
