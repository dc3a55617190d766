//! Slows down who guesses passwords: after a few failures from an address for a user, each try waits longer.
//!
//! Counted by address and user, so that a guesser does not lock the owner of the password out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::common::clock;

/// Failures that cost nothing: a person mistypes.
const FREE: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Failures are forgotten after.
const FORGET: Duration = Duration::from_secs(15 * 60);
/// Pairs that are remembered at the most.
const MOST: usize = 10_000;

/// Failures since the last success.
#[derive(Default)]
pub struct Throttle(Mutex<HashMap<(IpAddr, String), Failures>>);

struct Failures {
    count: u32,
    last: Instant,
}

impl Throttle {
    /// Returns when the pair may try again.
    pub async fn wait(&self, address: IpAddr, user: &str) {
        let pause = self.pause(address, user);
        if !pause.is_zero() {
            tracing::warn!(target: "audit", user, peer = %address, ?pause, "log-in slowed down");
            tokio::time::sleep(pause).await;
        }
    }

    fn pause(&self, address: IpAddr, user: &str) -> Duration {
        let failures = self.0.lock();
        let Some(failed) = failures.get(&(address, user.to_string())) else { return Duration::ZERO };
        let over = failed.count.saturating_sub(FREE);
        match (over, failed.last.elapsed() > FORGET) {
            (0, _) | (_, true) => Duration::ZERO,
            (over, false) => FIRST_WAIT.saturating_mul(1 << over.saturating_sub(1).min(10)).min(LONGEST_WAIT),
        }
    }

    pub fn failed(&self, address: IpAddr, user: &str) {
        let now = clock::instant();
        let mut failures = self.0.lock();
        if failures.len() >= MOST {
            failures.retain(|_, f| now.duration_since(f.last) < FORGET);
        }
        // Names that a guesser makes up must not fill the memory, nor push out others'.
        let key = (address, user.to_string());
        if failures.len() < MOST || failures.contains_key(&key) {
            let failed = failures.entry(key).or_insert(Failures { count: 0, last: now });
            failed.count = failed.count.saturating_add(1);
            failed.last = now;
        }
    }

    pub fn passed(&self, address: IpAddr, user: &str) {
        self.0.lock().remove(&(address, user.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_for_the_guesser_alone_and_ends_with_a_success() {
        let throttle = Throttle::default();
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 0, 0, 1]));
        let mut waits = Vec::new();
        for _ in 0..12 {
            waits.push(throttle.pause(here, "root").as_millis());
            throttle.failed(here, "root");
        }
        assert_eq!(waits, [0, 0, 0, 0, 250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert!(throttle.pause(there, "root").is_zero() && throttle.pause(here, "ann").is_zero());
        throttle.passed(here, "root");
        assert!(throttle.pause(here, "root").is_zero());
    }
}
