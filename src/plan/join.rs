//! A join of two streams: the contract between the planner and the operator.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::Expr;
use crate::types::TableId;

/// Which rows come out. What SQL has for the right side is planned with the sides exchanged, except for outer joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinKind {
    /// Pairs.
    Inner,
    /// Pairs, and left rows without one, padded with nulls.
    Left,
    Right,
    Full,
    /// Left rows that have a pair: IN, EXISTS, INTERSECT.
    Semi,
    /// Left rows that have none: NOT EXISTS, EXCEPT.
    Anti,
    /// As `Anti`, by the rule of NOT IN: nothing equals null, and nothing is known to differ from it.
    NotIn,
    /// Left rows, and whether they have a pair: EXISTS inside of OR.
    Mark,
}

/// Joins its two inputs, the left one at port 0.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HashJoin {
    pub kind: JoinKind,
    pub left: JoinSide,
    pub right: JoinSide,
    /// Null keys are equal: IS NOT DISTINCT FROM, INTERSECT, EXCEPT.
    pub null_equal: bool,
    /// What pairs of equal keys must meet besides, over the columns of the left side followed by those of the right.
    pub condition: Option<Expr>,
    /// The columns that come out, of the left side's followed by the right's. [`JoinKind::Mark`] adds its mark and
    /// [`JoinKind::Full`] its side behind `visible` of them.
    pub output: Vec<usize>,
    pub visible: usize,
    /// How many right rows there are, and how many with a null key: [`JoinKind::NotIn`] only.
    pub counts: Option<TableId>,
    /// Output columns that carry a watermark.
    pub watermarks: Vec<JoinWatermark>,
    /// Up to which time the rows of each side are removed; where any are.
    pub bounds: Option<TableId>,
}

/// One input of a join and what is kept of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinSide {
    /// The columns that must equal the other side's, one by one. None at all: every pair is looked at.
    pub on: Vec<usize>,
    /// The stream key.
    pub key: Vec<usize>,
    /// No row is ever retracted.
    pub append_only: bool,
    /// Rows by join key and stream key.
    pub state: TableId,
    /// When a row can have no further pair.
    pub expiry: Option<Expiry>,
}

/// A row has no further pair when its time is below its own side's watermark, and below the other's moved by
/// `offset_micros`; each less `lateness_micros`, for as long as late rows still come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry {
    /// The row's time.
    pub column: usize,
    /// The other side's column with the watermark.
    pub watermark: usize,
    pub offset_micros: i64,
    pub lateness_micros: i64,
}

/// No row comes out with a time below either watermark, each moved by as many microseconds as stand beside its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinWatermark {
    pub output: usize,
    pub left: (usize, i64),
    pub right: (usize, i64),
}

/// How many pairs a kept row has, where that must be remembered.
pub const MATCHES: &str = "_matches";

impl JoinKind {
    /// Whether pairs come out, not only rows of the left side.
    pub fn emits_pairs(self) -> bool {
        matches!(self, Self::Inner | Self::Left | Self::Right | Self::Full)
    }

    /// Whether it matters to the side's rows if they have a pair.
    pub fn follows_matches(self, left: bool) -> bool {
        match self {
            Self::Inner => false,
            Self::Right => !left,
            Self::Full => true,
            Self::Left | Self::Semi | Self::Anti | Self::NotIn | Self::Mark => left,
        }
    }
}

impl HashJoin {
    pub fn side(&self, left: bool) -> &JoinSide {
        if left { &self.left } else { &self.right }
    }

    /// Whether the rows of a side are kept with the number of their pairs. Without a condition every row of the other
    /// side with the same key is a pair, and none needs counting.
    pub fn keeps_matches(&self, left: bool) -> bool {
        self.condition.is_some() && self.kind.follows_matches(left)
    }

    /// The rows of a side's state table; `input` are the columns that come in.
    pub fn state_schema(&self, left: bool, input: &SchemaRef) -> SchemaRef {
        let mut fields: Vec<_> = input.fields().iter().cloned().collect();
        if self.keeps_matches(left) {
            fields.push(Arc::new(Field::new(MATCHES, DataType::Int64, false)));
        }
        Arc::new(Schema::new(fields))
    }

    /// The rows of [`Self::bounds`]: one an actor, with microseconds.
    pub fn bounds_schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("left", DataType::Int64, true),
            Field::new("right", DataType::Int64, true),
        ]))
    }

    /// The one row of [`Self::counts`].
    pub fn counts_schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("rows", DataType::Int64, false),
            Field::new("nulls", DataType::Int64, false),
        ]))
    }
}
