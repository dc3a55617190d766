//! A stream plan cut at its exchanges.

use serde::{Deserialize, Serialize};

use super::{Distribution, Node, Operator};
use crate::types::{FragmentId, JobId, OperatorId, TableId};

/// Fragments and the edges between them, with stable ids: persisted, and what recovery starts from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FragmentGraph {
    /// Upstream fragments first; the last one holds the plan's root.
    pub fragments: Vec<Fragment>,
    pub edges: Vec<Edge>,
    /// Tables and views of other jobs that the job reads.
    pub upstreams: Vec<JobId>,
    /// Where the job's dead letters go: source, split, offset, raw, error, time.
    pub dead_letters: TableId,
    /// Where rows that came too late go.
    pub late_rows: TableId,
    pub policy: Policy,
    /// Actors of a parallel fragment; `None` is the server's setting.
    #[serde(default)]
    pub parallelism: Option<usize>,
}

impl FragmentGraph {
    /// Puts another name on what reads the object `id`: in EXPLAIN and in dead letters.
    pub fn relabel(&mut self, id: JobId, name: &str) {
        for fragment in &mut self.fragments {
            fragment.root.visit_mut(&mut |node| match &mut node.operator {
                Operator::Source(read) if read.source == id => read.name = name.to_string(),
                Operator::TableScan(read) if read.upstream == id => read.name = name.to_string(),
                _ => {}
            });
        }
    }
}

/// What becomes of rows that do not fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Late rows are dead letters too.
    pub late_are_dead: bool,
    /// A row that cannot be evaluated stops the job; else it is a dead letter, and left out.
    pub fail_on_error: bool,
}

/// Operators that run fused in one actor; parallel unless `single`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fragment {
    pub id: FragmentId,
    /// `Exchange` leaves receive from other fragments.
    pub root: Node,
    pub single: bool,
}

/// Rows flow from the root of `from` to the `Exchange` leaf `leaf` of `to`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Edge {
    pub from: FragmentId,
    pub to: FragmentId,
    pub leaf: OperatorId,
    pub distribution: Distribution,
}
