//! The nodes of a stream plan and what is known of their output at plan time.

use std::collections::BTreeSet;

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::{
    AsofJoin, Changelog, Expr, HashJoin, NetChanges, OverWindow, Recursive, RowId, SortColumn, TemporalJoin, TopN,
};
pub use crate::expr::aggregate::AggMethod;
use crate::types::{Conflict, JobId, OperatorId, TableId, TimeWindows, WatermarkLimits, WithOptions};

/// One operator with its inputs. Also the fragment-local tree, where [`Operator::Exchange`] is a leaf.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Node {
    pub id: OperatorId,
    pub operator: Operator,
    pub inputs: Vec<Node>,
    /// The columns that come out.
    pub schema: SchemaRef,
    pub properties: Properties,
}

/// What the planner knows of a node's output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Properties {
    /// Column indices that identify a row of the stream.
    pub stream_key: Vec<usize>,
    pub distribution: Distribution,
    /// No retraction ever comes out.
    pub append_only: bool,
    /// Columns (microseconds) below whose watermark no further row comes.
    pub watermark_columns: Vec<usize>,
}

/// Where a row is processed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Distribution {
    /// One actor.
    Single,
    /// By virtual node of these columns.
    Hash(Vec<usize>),
    /// Anywhere: whichever actor read it.
    Any,
}

/// What a node does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Operator {
    /// Reads a replayable source or a table's log; offsets are kept in a state table.
    Source(SourceRead),
    /// Backfills a table or view, then follows its changes. The scan's position is kept in a state table.
    TableScan(TableRead),
    /// Constant rows, sent once by one actor; a last column `_row_id` numbers them.
    Values(Values),
    Filter {
        predicate: Expr,
    },
    /// `exprs[i]` makes output column *i*.
    Project {
        exprs: Vec<Expr>,
        watermarks: Vec<WatermarkStep>,
    },
    /// Makes a watermark: the largest time seen in `column` less `delay_micros`. A row whose time is null becomes
    /// a dead letter. State: each actor's watermark.
    Watermark {
        column: usize,
        delay_micros: i64,
        limits: WatermarkLimits,
        state: TableId,
    },
    HashAgg(HashAgg),
    HashJoin(HashJoin),
    /// Each row once for every window that holds the time in `column`, where the window's end comes to stand. A row
    /// without a time stays as it is.
    TimeWindows {
        column: usize,
        windows: TimeWindows,
    },
    SessionWindow(SessionWindow),
    /// Each row once for every set, numbered by a last column.
    GroupingSets {
        sets: Vec<GroupingSet>,
    },
    TopN(TopN),
    OverWindow(OverWindow),
    TemporalFilter(TemporalFilter),
    Union,
    /// Each row once for every element of its lists, numbered by a last column; the shorter lists end with nulls.
    Unnest {
        columns: Vec<UnnestColumn>,
        /// A row whose lists are all empty or null stays, once.
        keep_empty: bool,
    },
    /// In a plan: rows move between actors. In a fragment: a leaf that receives from another fragment.
    Exchange {
        distribution: Distribution,
    },
    Materialize(Materialize),
    Sink(SinkOp),
    AsofJoin(AsofJoin),
    TemporalJoin(TemporalJoin),
    NetChanges(NetChanges),
    RowId(RowId),
    Changelog(Changelog),
    Recursive(Recursive),
    /// A leaf: the rows of the recursive query around it, told by its state table.
    WorkTable {
        of: TableId,
    },
}

/// What an output column of Unnest is made of: input columns, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnnestColumn {
    /// The column as it is.
    Same(usize),
    /// An element of the list.
    Element(usize),
    /// A field of the struct.
    Field(usize, usize),
}

/// How the watermark of an input column becomes that of an output column: by evaluating the (monotone) expression
/// of `output` on the watermark itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatermarkStep {
    pub input: usize,
    pub output: usize,
}

/// Reads a source: the sequential half is shared by the fragment's actors, the decoding is parallel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourceRead {
    /// The catalog object whose connector is read.
    pub source: JobId,
    pub name: String,
    /// The connector's options as written in WITH and FORMAT/ENCODE; for a table without a connector they name
    /// its log.
    pub options: WithOptions,
    /// All columns of a record, in the source's order: what the format needs to know.
    pub full_schema: SchemaRef,
    /// Which of them come out, in order; a last column `_row_id` follows them.
    pub projection: Vec<usize>,
    /// Records carry weights (a table's log).
    pub changes: bool,
    /// One row: the reader's position.
    pub offsets: TableId,
}

/// Reads the rows and then the changes of another job's table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableRead {
    pub upstream: JobId,
    pub name: String,
    /// The state table that the upstream materializes into.
    pub table: TableId,
    /// All columns of that table, hidden ones too.
    pub full_schema: SchemaRef,
    /// Which of them come out, in order.
    pub projection: Vec<usize>,
    /// The table's key columns, as indices into `full_schema`.
    pub key: Vec<usize>,
    /// One row an actor: how far the backfill has come.
    pub progress: TableId,
    /// Neither rows nor changes come out, only barriers: another operator looks into the table.
    pub barriers_only: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Values {
    /// Expressions over no columns, one a column.
    pub rows: Vec<Vec<Expr>>,
    /// One row, once they have been sent.
    pub sent: TableId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AggPhase {
    /// Rows in, one partial state a group and epoch out: group columns, then the state columns of each call.
    Partial,
    /// Partial states in, changes of the result out.
    Final,
    /// Rows in, changes of the result out.
    Single,
}

/// One aggregate call. Arguments, filter and ordering are over the rows that enter the aggregation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AggCall {
    /// The function's name in the registry, such as `sum`.
    pub function: String,
    pub args: Vec<Expr>,
    pub distinct: bool,
    pub filter: Option<Expr>,
    /// Expression, descending, nulls first.
    pub order_by: Vec<(Expr, bool, bool)>,
    pub ignore_nulls: bool,
    pub method: AggMethod,
    /// The result column.
    pub name: String,
    /// The counted set of `Values` and of DISTINCT. Calls with DISTINCT of the same arguments share one.
    pub values: Option<TableId>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HashAgg {
    pub phase: AggPhase,
    /// The schema of the rows that enter the aggregation (for `Final`: of the partial phase's input).
    pub rows: SchemaRef,
    /// Column indices of `rows`; empty for an aggregate over everything, which always has one row.
    pub group: Vec<usize>,
    pub aggs: Vec<AggCall>,
    /// Which of the group columns carries the watermark: it comes first in stored keys.
    pub window: Option<usize>,
    /// Emit a group once, when the watermark has passed its window column, and free its state.
    pub emit_on_close: bool,
    /// How long a window takes rows after its close, with `emit_on_close`: its row is then replaced. In microseconds.
    pub lateness_micros: i64,
    /// Without `emit_on_close`: nothing of the input changes any more below the window's watermark, which frees state.
    pub frees: bool,
    /// Close all windows when nothing has come for so long, with `emit_on_close`. In microseconds of now().
    pub close_timeout: Option<i64>,
    /// The input of the aggregation never retracts.
    pub append_only: bool,
    /// One row a group; not for `Partial`.
    pub state: Option<TableId>,
    /// The numbers, in the last group column, of empty grouping sets: each has one group, which is there without rows.
    #[serde(default)]
    pub totals: Vec<u64>,
    /// How far a row's window may be below the watermark before the row is late, in microseconds: the `Partial` phase
    /// may group by panes, of windows that end later.
    #[serde(default)]
    pub lag_micros: i64,
}

/// Appends the bounds of each row's session: rows of one partition that are less than a gap apart are in one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionWindow {
    /// Event time, in microseconds.
    pub time: usize,
    pub partition: Vec<usize>,
    pub gap_micros: i64,
    /// What identifies a row of the input.
    pub key: Vec<usize>,
    /// Send a session's rows once, when the watermark has passed its end, and free their state.
    pub emit_on_close: bool,
    /// How long after its close a session takes rows, with `emit_on_close`: what was sent is then replaced. In
    /// microseconds.
    pub lateness_micros: i64,
    /// The rows, by partition and time.
    pub rows: TableId,
    /// One row a session, by partition and end.
    pub sessions: TableId,
    /// With `emit_on_close`: one row a session, by end; and how far each actor has closed and sent.
    pub open: Option<TableId>,
}

/// Compares a time of each row with one that rises with now(). Rows whose turn is yet to come wait in state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TemporalFilter {
    /// Over the input's columns; a timestamp or a date.
    pub value: Expr,
    /// Over one column, now(), of the type TIMESTAMPTZ. Of the type of `value`, and never falls while now() rises.
    pub now: Expr,
    /// A row is in the result until its turn comes; else from then on.
    pub leaves: bool,
    /// A row's turn comes when `now` reaches its value; else when `now` is above it.
    pub reached: bool,
    /// What identifies a row of the input.
    pub key: Vec<usize>,
    /// The input's column that carries the watermark, where `value` is nothing else.
    pub watermark: Option<usize>,
    /// Rows whose turn is yet to come, by value.
    pub state: TableId,
    /// One row an actor: the last now().
    pub clock: TableId,
}

/// One set of GROUPING SETS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupingSet {
    /// Columns that are not of the set: null.
    pub nulls: Vec<usize>,
    pub id: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Materialize {
    pub table: TableId,
    /// Key columns, in key order.
    pub key: Vec<usize>,
    /// Key columns with a direction of their own; the others ascend, nulls last.
    pub directions: Vec<SortColumn>,
    pub conflict: Conflict,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SinkOp {
    pub sink: JobId,
    pub name: String,
    pub options: WithOptions,
    /// Which columns are written.
    pub columns: Vec<usize>,
}

impl Node {
    /// Visits the node and everything below it, inputs first.
    pub fn visit(&self, f: &mut impl FnMut(&Node)) {
        for input in &self.inputs {
            input.visit(f);
        }
        f(self);
    }

    pub fn visit_mut(&mut self, f: &mut impl FnMut(&mut Node)) {
        for input in &mut self.inputs {
            input.visit_mut(f);
        }
        f(self);
    }

    /// Every state table that the tree owns, with the operator that owns it.
    pub fn state_tables(&self) -> Vec<(OperatorId, TableId)> {
        let mut tables = Vec::new();
        self.visit(&mut |node| match &node.operator {
            Operator::Source(s) => tables.push((node.id, s.offsets)),
            Operator::Watermark { state, .. } => tables.push((node.id, *state)),
            Operator::TableScan(t) => tables.push((node.id, t.progress)),
            Operator::Values(v) => tables.push((node.id, v.sent)),
            Operator::HashAgg(a) => {
                tables.extend(a.state.map(|t| (node.id, t)));
                if a.phase != AggPhase::Partial {
                    let values: BTreeSet<TableId> = a.aggs.iter().filter_map(|c| c.values).collect();
                    tables.extend(values.into_iter().map(|t| (node.id, t)));
                }
            }
            Operator::HashJoin(j) => {
                let tables_of = [j.left.state, j.right.state].into_iter().chain(j.counts).chain(j.bounds);
                tables.extend(tables_of.map(|t| (node.id, t)));
            }
            Operator::AsofJoin(j) => tables.extend([(node.id, j.left_state), (node.id, j.right_state)]),
            Operator::TemporalJoin(j) => tables.extend(j.sent.iter().map(|s| (node.id, s.state))),
            Operator::SessionWindow(s) => {
                tables.extend([s.rows, s.sessions].into_iter().chain(s.open).map(|t| (node.id, t)));
            }
            Operator::TopN(t) => tables.extend(t.state.map(|s| (node.id, s))),
            Operator::OverWindow(o) => tables.push((node.id, o.state)),
            Operator::TemporalFilter(f) => tables.extend([(node.id, f.state), (node.id, f.clock)]),
            Operator::RowId(r) => tables.push((node.id, r.state)),
            Operator::Changelog(c) => tables.push((node.id, c.state)),
            Operator::Recursive(r) => tables.push((node.id, r.state)),
            Operator::Materialize(m) => tables.push((node.id, m.table)),
            _ => {}
        });
        tables
    }
}

impl Operator {
    /// The operator's one name: in EXPLAIN, in `weir.operators`, as its file under `stream/operator`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Source(_) => "Source",
            Self::TableScan(_) => "TableScan",
            Self::Values(_) => "Values",
            Self::Filter { .. } => "Filter",
            Self::Project { .. } => "Project",
            Self::Watermark { .. } => "Watermark",
            Self::HashAgg(_) => "HashAgg",
            Self::HashJoin(_) => "HashJoin",
            Self::AsofJoin(_) => "AsofJoin",
            Self::TemporalJoin(_) => "TemporalJoin",
            Self::NetChanges(_) => "NetChanges",
            Self::RowId(_) => "RowId",
            Self::Changelog(_) => "Changelog",
            Self::Recursive(_) => "Recursive",
            Self::WorkTable { .. } => "WorkTable",
            Self::TimeWindows { .. } => "TimeWindows",
            Self::SessionWindow(_) => "SessionWindow",
            Self::GroupingSets { .. } => "GroupingSets",
            Self::TopN(_) => "TopN",
            Self::OverWindow(_) => "OverWindow",
            Self::TemporalFilter(_) => "TemporalFilter",
            Self::Union => "Union",
            Self::Unnest { .. } => "Unnest",
            Self::Exchange { .. } => "Exchange",
            Self::Materialize(_) => "Materialize",
            Self::Sink(_) => "Sink",
        }
    }
}
