//! What a table does with a row whose key is already there.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Conflict {
    /// The key identifies a row of the stream: no check is needed.
    Unchecked,
    Overwrite,
    DoNothing,
    /// New values that are not null replace old ones.
    UpdateIfNotNull,
}
