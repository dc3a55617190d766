//! The narrow waist: stream plans and fragment graphs as plain, serialisable data.
//!
//! The planner writes them, EXPLAIN prints them, the catalog persists them, the job layer turns them into actors.
//! Nothing here runs.

pub mod agg;
pub mod asof_join;
pub mod changelog;
pub mod expr;
pub mod fragment;
pub mod inflow;
pub mod join;
pub mod node;
pub mod over;
pub mod recursive;
pub mod temporal_join;

pub use asof_join::AsofJoin;
pub use changelog::Changelog;
pub use expr::Expr;
pub use fragment::{Edge, Fragment, FragmentGraph, Policy};
pub use inflow::{NetChanges, RowId};
pub use join::{Expiry, HashJoin, JoinKind, JoinSide, JoinWatermark};
pub use node::{
    AggCall, AggMethod, AggPhase, Distribution, GroupingSet, HashAgg, Materialize, Node, Operator, Properties,
    SessionWindow, SinkOp, SourceRead, TableRead, TemporalFilter, UnnestColumn, Values, WatermarkStep,
};
pub use over::{Frame, FrameBound, FrameUnits, OverWindow, Rank, RowOrder, SortColumn, TopN, WindowCall};
pub use recursive::Recursive;
pub use temporal_join::{Sent, TemporalJoin};
