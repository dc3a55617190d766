//! Tables that only their session sees.

use serde::{Deserialize, Serialize};

use super::SessionId;

/// What becomes of a temporary table's rows when a transaction ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnCommit {
    #[default]
    PreserveRows,
    DeleteRows,
    /// The table goes, too.
    Drop,
}

/// Of a temporary table or an index on one: goes with its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Temporary {
    pub session: SessionId,
    pub on_commit: OnCommit,
}
