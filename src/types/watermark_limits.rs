//! What keeps a watermark from standing still, or from running away.

use serde::{Deserialize, Serialize};

/// Lengths in microseconds of wall time, above zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatermarkLimits {
    /// A source that brought nothing for so long does not hold back others.
    pub idle_timeout: Option<i64>,
    /// A time that is further than this ahead of the wall clock does not count.
    pub max_future_skew: Option<i64>,
}
