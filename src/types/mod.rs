//! Plain data that every layer shares: ids, epochs, chunks of changes, keys, and their text form for tests.

pub mod copy;
pub mod chunk;
pub mod conflict;
pub mod datetime_text;
pub mod id;
pub mod interval_text;
pub mod json;
pub mod key;
pub mod missing;
pub mod number_text;
pub mod options;
pub mod pg_type;
pub mod pretty;
pub mod sequence;
pub mod sql_function;
mod sql_name;
pub mod styles;
pub mod text;
mod temporary;
pub mod time;
pub mod time_windows;
pub mod timetz;
pub mod uuid;
mod verifier;
mod watermark_limits;
pub mod zone_rules;

pub use chunk::{ROW_ID, StreamChunk};
pub use conflict::Conflict;
pub use id::{ActorId, Epoch, FragmentId, JobId, OperatorId, SessionId, TableId};
pub use key::{Keys, VNODES, vnode};
pub use options::{OptionValue, WithOptions};
pub use sql_name::{column_type, sql_name, sql_type};
pub use temporary::{OnCommit, Temporary};
pub use time_windows::TimeWindows;
pub use verifier::Verifier;
pub use watermark_limits::WatermarkLimits;
