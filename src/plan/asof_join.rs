//! A join of each left row with the nearest right row: the contract between the planner and the operator.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::RowOrder;
use crate::types::TableId;

/// Joins each row at port 0 with the nearest at port 1 that has the same key, by the one column that orders both sides.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AsofJoin {
    /// Left rows that meet none come out too, padded with nulls.
    pub outer: bool,
    /// The partition is the key. From each right row on come the left rows that may meet it.
    pub left: RowOrder,
    /// The partition is the key. From each left row on come the right rows that it may meet, the nearest first.
    pub right: RowOrder,
    /// Equal values do not meet.
    pub strict: bool,
    /// The left rows with the right row that each has met.
    pub left_state: TableId,
    pub right_state: TableId,
    /// The columns that come out, of the left side's followed by the right's.
    pub output: Vec<usize>,
}

/// The stored key of the right row that a left row has met, without the part that their keys share.
pub const MET: &str = "_met";

impl AsofJoin {
    /// The rows of [`Self::left_state`]; `input` are the columns that come in.
    pub fn left_schema(input: &SchemaRef) -> SchemaRef {
        let met = Arc::new(Field::new(MET, DataType::Binary, true));
        Arc::new(Schema::new(input.fields().iter().cloned().chain([met]).collect::<Vec<_>>()))
    }
}
