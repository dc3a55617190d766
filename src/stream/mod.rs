//! The runtime: messages, alignment, exchanges, the actor loop, operators. Knows neither SQL nor names.

pub mod actor;
pub mod align;
pub mod backfill;
pub mod values;
pub mod dispatch;
pub mod exchange;
pub mod letters;
pub mod message;
pub mod operator;
pub mod pipeline;
pub mod pulse;
pub mod source;

pub use actor::Actor;
pub use message::{ActorEvent, Barrier, Message, Mutation, Watermark};
