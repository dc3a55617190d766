//! The runtime: messages, alignment, exchanges, the actor loop, operators. Knows neither SQL nor names.

pub mod message;
pub mod operator;

pub use message::{Barrier, Watermark};
