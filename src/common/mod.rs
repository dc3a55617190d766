//! What every layer leans on and that knows none of them: errors, settings, the clock, failpoints.

pub mod access;
pub mod clock;
pub mod config;
pub mod error;
pub mod failpoint;

pub use error::{Error, ErrorKind, Result};
