//! The only place that reads the clock, so that tests can stand in their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Wall time in microseconds since 1970-01-01 UTC, shared by clone.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until [`Clock::set`].
    pub fn manual(micros: i64) -> Self {
        Self(Some(Arc::new(AtomicI64::new(micros))))
    }

    pub fn now_micros(&self) -> i64 {
        match &self.0 {
            Some(fixed) => fixed.load(Ordering::SeqCst),
            None => {
                #[allow(clippy::disallowed_methods)]
                let now = SystemTime::now();
                match now.duration_since(UNIX_EPOCH) {
                    Ok(after) => after.as_micros() as i64,
                    Err(before) => -(before.duration().as_micros() as i64),
                }
            }
        }
    }

    /// Moves a manual clock; a system clock stays as it is.
    pub fn set(&self, micros: i64) {
        if let Some(fixed) = &self.0 {
            fixed.store(micros, Ordering::SeqCst);
        }
    }
}

/// A monotonic instant, for durations only.
pub fn instant() -> Instant {
    #[allow(clippy::disallowed_methods)]
    Instant::now()
}
