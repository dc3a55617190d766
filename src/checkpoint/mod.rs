//! Barriers and checkpoints: when an epoch ends, when it is complete, when it is durable.
//!
//! ```text
//! driver: timers, requests --> coordinator (pure) --> inject n --> sources ... actors --ack n--+
//!                                    ^                                                         |
//!                                    +---- complete n: readers may see it <--------------------+
//!                                    +---- commit n: fold, one batch, flush; then sinks publish
//! ```

pub mod coordinator;
pub mod driver;
pub mod history;

pub use driver::{Change, Domain, Driver, DriverConfig, DriverHandle, Progress, StartActor};
pub use history::{Checkpoint, History};
