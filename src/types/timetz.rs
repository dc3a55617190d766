//! TIMETZ: a time of day with its offset from UTC, in 12 bytes that sort as PostgreSQL compares such times: by the moment,
//! then by the offset, the one further east first.
//!
//! ```text
//! moment: 8 bytes, microseconds since midnight UTC | offset: 4 bytes, seconds west of UTC      signs flipped, big-endian
//! ```
//! No other values are kept in bytes of this width, so that the type alone tells them, within arrays and rows too.

use arrow::datatypes::DataType;

use super::zone_rules::ZoneRules;

/// Bytes of a value.
pub const WIDTH: i32 = 12;
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
const SIGN: i64 = i64::MIN;

/// The type of its columns.
pub const fn timetz() -> DataType {
    DataType::FixedSizeBinary(WIDTH)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeTz {
    /// Microseconds since midnight by the clock of the place, up to and with those of a whole day.
    pub micros: i64,
    /// Seconds east of UTC.
    pub east: i32,
}

impl TimeTz {
    /// What the clock of `zone` shows at `instant`, microseconds since 1970 UTC.
    pub fn at(instant: i64, zone: &ZoneRules) -> Self {
        let east = zone.offset(instant);
        let local = instant.saturating_add(east * SECOND);
        Self { micros: local.rem_euclid(DAY), east: east as i32 }
    }

    /// The same moment of the day by the clock of another place.
    pub fn moved(self, east: i32) -> Self {
        let moment = self.micros - (i64::from(self.east) - i64::from(east)) * SECOND;
        Self { micros: moment.rem_euclid(DAY), east }
    }

    /// Later by `micros`, on the same clock.
    pub fn plus(self, micros: i64) -> Self {
        Self { micros: self.micros.wrapping_add(micros.rem_euclid(DAY)).rem_euclid(DAY), ..self }
    }

    pub fn to_bytes(self) -> [u8; WIDTH as usize] {
        let moment = self.micros - i64::from(self.east) * SECOND;
        let west = -self.east;
        let mut bytes = [0; WIDTH as usize];
        bytes[..8].copy_from_slice(&(moment ^ SIGN).to_be_bytes());
        bytes[8..].copy_from_slice(&(west ^ i32::MIN).to_be_bytes());
        bytes
    }

    /// `None` for bytes of another width.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (moment, west) = bytes.split_at_checked(8)?;
        let moment = i64::from_be_bytes(moment.try_into().ok()?) ^ SIGN;
        let east = (i32::from_be_bytes(west.try_into().ok()?) ^ i32::MIN).checked_neg()?;
        Some(Self { micros: moment.checked_add(i64::from(east) * SECOND)?, east })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * SECOND;

    fn of(hour: i64, east: i32) -> TimeTz {
        TimeTz { micros: hour * HOUR, east: east * 3600 }
    }

    #[test]
    fn bytes_sort_by_moment_then_offset() {
        // As PostgreSQL 15 orders them.
        let sorted = [of(0, 15), of(3, 5), of(1, 3), of(0, 2), of(0, 0), of(12, 2), of(11, 1), of(24, 0), of(24, -15)];
        let mut bytes: Vec<[u8; WIDTH as usize]> = sorted.iter().rev().map(|time| time.to_bytes()).collect();
        bytes.sort_unstable();
        let back: Vec<TimeTz> = bytes.iter().filter_map(|bytes| TimeTz::of_bytes(bytes)).collect();
        assert_eq!(back, sorted);
        assert_eq!(TimeTz::of_bytes(&[0; 3]), None);
    }

    #[test]
    fn clocks() {
        assert_eq!(of(23, 1).moved(3 * 3600), of(1, 3));
        assert_eq!(of(1, 3).moved(-5 * 3600), of(17, -5));
        assert_eq!(of(23, 1).plus(2 * HOUR), of(1, 1));
        assert_eq!(of(1, 1).plus(-2 * HOUR), of(23, 1));
        let berlin: ZoneRules = "Europe/Berlin".parse().unwrap();
        assert_eq!(TimeTz::at(0, &berlin), of(1, 1));
        assert_eq!(TimeTz::at(-1, &ZoneRules::Fixed(0)), TimeTz { micros: DAY - 1, east: 0 });
    }
}
