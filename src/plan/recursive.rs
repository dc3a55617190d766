//! A query that refers to itself: what `WITH RECURSIVE` runs.

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use crate::types::TableId;

/// The rows of port 0, and all that port 1 makes of the rows of the result: its tree holds one
/// [`Operator::WorkTable`](super::Operator::WorkTable), into which the result's changes go back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recursive {
    /// How many columns of the inputs are the query's, the first ones.
    pub visible: usize,
    /// UNION: a row is there once. Else, UNION ALL, as often as it is made: a last column numbers its copies.
    pub distinct: bool,
    /// One row for each different row of the result, with how often it is made.
    pub state: TableId,
}

impl Recursive {
    /// The column behind those of the query, of UNION ALL.
    pub const COPY: (&'static str, DataType) = ("_copy", DataType::Int64);
}
