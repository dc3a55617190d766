//! A join with a table as it is when the left row comes: the contract between the planner and the operator.

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::RowOrder;
use crate::types::TableId;

/// Looks the rows at port 0 up in another job's table, whose barriers come at port 1. What has come out does not follow
/// the table: it is retracted with the left row alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TemporalJoin {
    /// Left rows that meet none come out too, padded with nulls.
    pub outer: bool,
    /// The left columns that the first columns of the table's key must equal.
    pub on: Vec<usize>,
    /// They are the whole key.
    pub one_row: bool,
    /// The table's name, for EXPLAIN.
    pub name: String,
    pub table: TableId,
    /// All columns of the table, and the key's.
    pub full_schema: SchemaRef,
    pub key: Vec<usize>,
    /// Which of them come out.
    pub right: Vec<usize>,
    /// The columns that come out, of the left side's followed by `right`.
    pub output: Vec<usize>,
    /// Where the left side retracts.
    pub sent: Option<Sent>,
}

/// What came out for each left row, to be retracted with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sent {
    /// The left side's key.
    pub left_key: Vec<usize>,
    /// Of output rows: the partition is the left side's key.
    pub rows: RowOrder,
    pub state: TableId,
}
