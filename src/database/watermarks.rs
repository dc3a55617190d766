//! The rows of `weir.watermarks`: how far time is behind each operator, and which of its inputs holds it back.
//!
//! ```text
//! Source bid --> Watermark --+
//!                            +--> Union --> HashAgg      the lowest of what is read holds all behind it
//! TableScan sales -----------+
//! ```

use std::collections::BTreeMap;

use crate::job::{JobState, JobStatus};
use crate::plan::{FragmentGraph, Node, Operator};
use crate::types::{JobId, OperatorId};

pub(super) struct WatermarkRow {
    pub job: String,
    pub fragment: i64,
    pub operator: String,
    pub column: String,
    /// The lowest of its actors, microseconds; `None` before all have sent one.
    pub watermark: Option<i64>,
    pub held_by: Option<String>,
}

/// Something that is read, and how far its time is.
struct Leaf {
    name: String,
    watermark: Option<i64>,
}

/// One row a job, operator and column that carries a watermark.
pub(super) fn rows(jobs: &[JobStatus]) -> Vec<WatermarkRow> {
    let mut rows = Vec::new();
    for job in jobs.iter().filter(|j| matches!(j.state, JobState::Running)) {
        let view = View { jobs, job };
        for fragment in &job.spec.graph.fragments {
            fragment.root.visit(&mut |node| {
                if matches!(node.operator, Operator::Exchange { .. } | Operator::Source(_) | Operator::TableScan(_)) {
                    return;
                }
                for column in &node.properties.watermark_columns {
                    rows.push(WatermarkRow {
                        job: job.spec.name.clone(),
                        fragment: i64::from(fragment.id.0),
                        operator: format!("{} {}", node.operator.name(), node.id),
                        column: node.schema.fields().get(*column).map_or(String::new(), |f| f.name().clone()),
                        watermark: view.lowest(node.id, *column),
                        held_by: view.blocker(node),
                    });
                }
            });
        }
    }
    rows
}

struct View<'a> {
    jobs: &'a [JobStatus],
    job: &'a JobStatus,
}

impl View<'_> {
    fn lowest(&self, operator: OperatorId, column: usize) -> Option<i64> {
        lowest(self.job, operator, column)
    }

    /// The input whose watermark is the lowest, or that has none.
    fn blocker(&self, node: &Node) -> Option<String> {
        let mut leaves = Vec::new();
        self.leaves(node, &mut leaves);
        let leaf = leaves.into_iter().min_by_key(|leaf| leaf.watermark)?;
        Some(match leaf.watermark {
            Some(_) => leaf.name,
            None => format!("{}, which has no watermark yet", leaf.name),
        })
    }

    fn leaves(&self, node: &Node, leaves: &mut Vec<Leaf>) {
        match &node.operator {
            Operator::Source(read) => leaves.push(Leaf { name: read.name.clone(), watermark: None }),
            Operator::TableScan(read) => {
                leaves.push(Leaf { name: read.name.clone(), watermark: self.of_table(read.upstream) });
            }
            Operator::Watermark { column, .. } => {
                let before = leaves.len();
                node.inputs.iter().for_each(|input| self.leaves(input, leaves));
                let watermark = self.lowest(node.id, *column);
                leaves.iter_mut().skip(before).for_each(|leaf| leaf.watermark = watermark);
            }
            Operator::Exchange { .. } => {
                let graph: &FragmentGraph = &self.job.spec.graph;
                for edge in graph.edges.iter().filter(|edge| edge.leaf == node.id) {
                    let from = graph.fragments.iter().find(|f| f.id == edge.from);
                    from.into_iter().for_each(|fragment| self.leaves(&fragment.root, leaves));
                }
            }
            _ => node.inputs.iter().for_each(|input| self.leaves(input, leaves)),
        }
    }

    /// What comes out of the job that keeps the table.
    fn of_table(&self, upstream: JobId) -> Option<i64> {
        let job = self.jobs.iter().find(|j| j.spec.id == upstream)?;
        let root = &job.spec.graph.fragments.last()?.root;
        root.properties.watermark_columns.iter().map(|column| lowest(job, root.id, *column)).min().flatten()
    }
}

/// The lowest watermark that the operator's actors have sent.
fn lowest(job: &JobStatus, operator: OperatorId, column: usize) -> Option<i64> {
    let handle = job.handles.operators.iter().find(|o| o.id == operator)?;
    let seen: BTreeMap<(usize, usize), i64> = handle.stats.watermarks.lock().clone();
    let of_column = || seen.iter().filter(|((c, _), _)| *c == column).map(|(_, micros)| *micros);
    of_column().min().filter(|_| of_column().count() >= handle.actors)
}
