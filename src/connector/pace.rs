//! How fast a generator may go: so many items a second since it was opened.

use std::time::Duration;

use crate::common::clock::Clock;

pub(super) struct Pace {
    clock: Clock,
    /// `None` is as fast as possible.
    per_second: Option<u64>,
    /// When it began, in microseconds, and with which item.
    begun: i64,
    first: u64,
}

impl Pace {
    pub fn new(clock: Clock, per_second: Option<u64>, first: u64) -> Self {
        let begun = clock.now_micros();
        Self { clock, per_second, begun, first }
    }

    /// How many of `want` items from `next` on may go now, at least one; or how long to wait for some.
    pub fn grant(&self, next: u64, want: u64) -> Result<u64, Duration> {
        let Some(per_second) = self.per_second else { return Ok(want) };
        let elapsed = self.clock.now_micros().saturating_sub(self.begun).max(0) as u128;
        let due = u128::from(self.first) + elapsed * u128::from(per_second) / 1_000_000;
        match due.saturating_sub(u128::from(next)).min(u128::from(want)) as u64 {
            // Some 20 times a second, or when the next is due.
            0 => Err(Duration::from_secs(1) / (per_second.clamp(1, 20) as u32)),
            granted => Ok(granted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_as_time_goes() {
        let clock = Clock::manual(5_000_000);
        let pace = Pace::new(clock.clone(), Some(100), 40);
        assert_eq!(pace.grant(40, 1000), Err(Duration::from_millis(50)));
        clock.set(5_500_000);
        assert_eq!(pace.grant(40, 1000), Ok(50));
        assert_eq!(pace.grant(40, 7), Ok(7));
        assert!(pace.grant(90, 7).is_err());
        clock.set(1_000_000);
        assert!(pace.grant(40, 7).is_err());
        assert_eq!(Pace::new(clock, None, 0).grant(9, 7), Ok(7));
    }
}
