//! Rows in an order within partitions: the first of them (`TopN`), and functions over them (`OverWindow`).

use std::fmt;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::windows::{WindowExpr, create_window_expr};
use serde::{Deserialize, Serialize};

use super::Expr;
use crate::common::{Error, ErrorKind, Result};
use crate::expr::functions;
use crate::types::TableId;

/// Partitions of rows, each in one total order: by `order`, ties by `key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowOrder {
    /// Column indices; empty for one partition of all rows.
    pub partition: Vec<usize>,
    pub order: Vec<SortColumn>,
    /// The input's stream key.
    pub key: Vec<usize>,
    /// The partition column that carries a watermark: it comes first in stored keys.
    pub window: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortColumn {
    pub column: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

impl SortColumn {
    pub fn options(self) -> SortOptions {
        SortOptions { descending: self.descending, nulls_first: self.nulls_first }
    }
}

/// A row's number within its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rank {
    /// 1, 2, 3, …: ties are numbered by the stream key.
    RowNumber,
    /// One more than the rows that come before all ties.
    Rank,
    /// One more than the different values that come before.
    DenseRank,
}

impl Rank {
    /// By the function's name in SQL.
    pub fn of(function: &str) -> Option<Self> {
        match function {
            "row_number" => Some(Self::RowNumber),
            "rank" => Some(Self::Rank),
            "dense_rank" => Some(Self::DenseRank),
            _ => None,
        }
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RowNumber => "row_number",
            Self::Rank => "rank",
            Self::DenseRank => "dense_rank",
        })
    }
}

/// Keeps of each partition the rows whose `rank` is at most `last`, less the first `offset` of them.
///
/// Without a `state` it only sifts, and forgets at a restart: rows that never retract come in, those of them go on that
/// may count, before all rows of a partition meet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TopN {
    pub rows: RowOrder,
    pub rank: Rank,
    pub offset: u64,
    pub last: u64,
    /// Columns that come out behind the input's.
    pub shown: Vec<Rank>,
    /// The input never retracts: only the rows that count are kept.
    pub append_only: bool,
    /// The rows of each partition in their order; of [`Self::keeps_one`] one row a partition.
    pub state: Option<TableId>,
}

impl TopN {
    /// The part that sifts.
    pub fn sifting(&self) -> Self {
        Self { offset: 0, shown: Vec::new(), state: None, ..self.clone() }
    }

    /// Deduplication: the state is a row a partition, found without a scan.
    pub fn keeps_one(&self) -> bool {
        self.state.is_some() && self.append_only && self.rank == Rank::RowNumber && self.offset == 0 && self.last == 1
    }
}

/// Computes functions over the rows of each partition.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OverWindow {
    pub rows: RowOrder,
    /// Each makes a column behind the input's.
    pub calls: Vec<WindowCall>,
    /// The input never retracts.
    pub append_only: bool,
    /// The rows of each partition in their order, with what the functions gave.
    pub state: TableId,
}

/// One function over a window. Arguments and filter are columns and literals.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WindowCall {
    /// The function's name in the registry, such as `lag`.
    pub function: String,
    /// An aggregate, not a window function.
    pub aggregate: bool,
    pub args: Vec<Expr>,
    pub filter: Option<Expr>,
    pub distinct: bool,
    pub ignore_nulls: bool,
    pub frame: Frame,
    /// The result column.
    pub field: FieldRef,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Frame {
    pub units: FrameUnits,
    pub start: FrameBound,
    pub end: FrameBound,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrameUnits {
    Rows,
    Range,
    Groups,
}

/// A literal's value is null where the side is unbounded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum FrameBound {
    Preceding(Expr),
    CurrentRow,
    Following(Expr),
}

impl OverWindow {
    /// Input columns, then results; the state's rows too.
    pub fn output(&self, input: &SchemaRef) -> SchemaRef {
        let results = self.calls.iter().map(|c| Arc::clone(&c.field));
        Arc::new(Schema::new(input.fields().iter().cloned().chain(results).collect::<Vec<_>>()))
    }

    /// How many rows before and after its own a result may depend on; `None` where one may depend on any.
    pub fn reach(&self) -> Option<(usize, usize)> {
        self.calls.iter().try_fold((0, 0), |(before, after), call| {
            let (b, a) = call.reach()?;
            Some((before.max(b), after.max(a)))
        })
    }

    /// The calls over rows of the schema `input`, ready to evaluate a sorted partition.
    ///
    /// # Errors
    /// `UndefinedFunction`, or what DataFusion finds wrong with the arguments.
    pub fn expressions(&self, input: &SchemaRef) -> Result<Vec<Arc<dyn WindowExpr>>> {
        let column = |i: usize| Arc::new(Column::new(input.field(i).name(), i)) as Arc<dyn PhysicalExpr>;
        let partition: Vec<_> = self.rows.partition.iter().map(|i| column(*i)).collect();
        let order: Vec<_> =
            self.rows.order.iter().map(|o| PhysicalSortExpr { expr: column(o.column), options: o.options() }).collect();
        self.calls.iter().map(|call| call.expression(&partition, &order, input)).collect()
    }
}

impl WindowCall {
    fn reach(&self) -> Option<(usize, usize)> {
        match self.function.as_str() {
            "lag" | "lead" if self.ignore_nulls => None,
            "lag" | "lead" => {
                let by = match self.args.get(1) {
                    Some(by) => rows(by)?,
                    None => 1,
                };
                let ahead = (self.function == "lead") == (by >= 0);
                let by = usize::try_from(by.unsigned_abs()).ok()?;
                Some(if ahead { (0, by) } else { (by, 0) })
            }
            "first_value" | "last_value" | "nth_value" => self.frame.reach(),
            _ if self.aggregate => self.frame.reach(),
            _ => None,
        }
    }

    fn expression(
        &self,
        partition: &[Arc<dyn PhysicalExpr>],
        order: &[PhysicalSortExpr],
        input: &SchemaRef,
    ) -> Result<Arc<dyn WindowExpr>> {
        let undefined =
            || Error::new(ErrorKind::UndefinedFunction, format!("there is no window function {}", self.function));
        let function = match self.aggregate {
            true => functions::aggregate(&self.function).map(WindowFunctionDefinition::AggregateUDF),
            false => functions::window(&self.function).map(WindowFunctionDefinition::WindowUDF),
        };
        let args: Vec<_> = self.args.iter().map(|a| Arc::clone(a.physical())).collect();
        Ok(create_window_expr(
            &function.ok_or_else(undefined)?,
            self.field.name().clone(),
            &args,
            partition,
            order,
            Arc::new(self.frame.datafusion()?),
            Arc::clone(input),
            self.ignore_nulls,
            self.distinct,
            self.filter.as_ref().map(|f| Arc::clone(f.physical())),
        )?)
    }
}

impl Frame {
    pub fn new(frame: &WindowFrame) -> Self {
        let nothing: SchemaRef = Arc::new(Schema::new(Vec::<Field>::new()));
        let value = |v: &ScalarValue| Expr::new(Arc::new(Literal::new(v.clone())), Arc::clone(&nothing));
        let bound = |bound: &WindowFrameBound| match bound {
            WindowFrameBound::Preceding(v) => FrameBound::Preceding(value(v)),
            WindowFrameBound::CurrentRow => FrameBound::CurrentRow,
            WindowFrameBound::Following(v) => FrameBound::Following(value(v)),
        };
        Self {
            units: match frame.units {
                WindowFrameUnits::Rows => FrameUnits::Rows,
                WindowFrameUnits::Range => FrameUnits::Range,
                WindowFrameUnits::Groups => FrameUnits::Groups,
            },
            start: bound(&frame.start_bound),
            end: bound(&frame.end_bound),
        }
    }

    fn reach(&self) -> Option<(usize, usize)> {
        if self.units != FrameUnits::Rows {
            return None;
        }
        let count = |e: &Expr| rows(e).and_then(|n| usize::try_from(n).ok());
        let before = match &self.start {
            FrameBound::Preceding(n) => count(n)?,
            FrameBound::CurrentRow | FrameBound::Following(_) => 0,
        };
        let after = match &self.end {
            FrameBound::Following(n) => count(n)?,
            FrameBound::CurrentRow | FrameBound::Preceding(_) => 0,
        };
        Some((before, after))
    }

    fn datafusion(&self) -> Result<WindowFrame> {
        let units = match self.units {
            FrameUnits::Rows => WindowFrameUnits::Rows,
            FrameUnits::Range => WindowFrameUnits::Range,
            FrameUnits::Groups => WindowFrameUnits::Groups,
        };
        Ok(WindowFrame::new_bounds(units, self.start.datafusion()?, self.end.datafusion()?))
    }
}

impl FrameBound {
    fn datafusion(&self) -> Result<WindowFrameBound> {
        Ok(match self {
            Self::Preceding(v) => WindowFrameBound::Preceding(literal(v)?),
            Self::CurrentRow => WindowFrameBound::CurrentRow,
            Self::Following(v) => WindowFrameBound::Following(literal(v)?),
        })
    }
}

/// A number of rows; `None` for null, which means unbounded.
fn rows(expr: &Expr) -> Option<i64> {
    match literal(expr).ok()?.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(n) => n,
        _ => None,
    }
}

fn literal(expr: &Expr) -> Result<ScalarValue> {
    expr.physical()
        .downcast_ref::<Literal>()
        .map(|l| l.value().clone())
        .ok_or_else(|| Error::internal(format!("a window frame is bounded by {expr}, which is no literal")))
}

/// The type of a rank's column.
pub fn rank_type() -> DataType {
    DataType::UInt64
}
