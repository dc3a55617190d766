//! The change stream of a relation as rows: what `WITH c AS CHANGELOG FROM t` reads.

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use crate::types::TableId;

/// Each change of the input becomes a row that stays: its visible columns, then what it was, then its id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Changelog {
    /// How many columns of the input come out, the first ones.
    pub visible: usize,
    /// What identifies a row of the input.
    pub key: Vec<usize>,
    /// No change of the input is anything but an insertion: its watermarks hold for what comes out.
    pub append_only: bool,
    /// One row a virtual node: the first number that is free.
    pub state: TableId,
}

impl Changelog {
    /// The two columns behind those of the input, in order.
    pub const COLUMNS: [(&'static str, DataType); 2] =
        [("changelog_op", DataType::Int16), ("_changelog_row_id", DataType::Int64)];
}
