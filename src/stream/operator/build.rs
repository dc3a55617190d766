//! From a plan node to the operator that runs it. What reads or writes the outer world is built elsewhere.

use std::sync::Arc;

use super::asof_join::AsofJoin;
use super::changelog::Changelog;
use super::filter::Filter;
use super::grouping_sets::GroupingSets;
use super::hash_agg::HashAgg;
use super::hash_join::HashJoin;
use super::materialize::Materialize;
use super::net_changes::NetChanges;
use super::over_window::OverWindow;
use super::project::Project;
use super::recursive::Recursive;
use super::row_id::RowId;
use super::session_window::SessionWindow;
use super::temporal_filter::TemporalFilter;
use super::temporal_join::TemporalJoin;
use super::time_windows::TimeWindows;
use super::top_n;
use super::union::Union;
use super::unnest::Unnest;
use super::watermark::Watermark;
use super::{BuildContext, StreamOperator};
use crate::common::{Error, Result};
use crate::plan::{Node, Operator};

/// Builds the operator of `node` alone, its state tables opened.
///
/// # Errors
/// `Internal` for sources, scans, exchanges and sinks: the job layer builds those.
pub fn build(node: &Node, context: &BuildContext<'_>) -> Result<Box<dyn StreamOperator>> {
    let name = format!("{} {}", node.operator.name(), node.id);
    Ok(match &node.operator {
        Operator::Filter { predicate } => Box::new(Filter::new(name, Arc::clone(predicate.physical()))),
        Operator::Project { exprs, watermarks } => Box::new(Project {
            name,
            exprs: exprs.iter().map(|e| Arc::clone(e.physical())).collect(),
            watermarks: watermarks.clone(),
            input: Arc::clone(&context.input),
            output: Arc::clone(&node.schema),
        }),
        Operator::Watermark { column, delay_micros, limits, state } => {
            Box::new(Watermark::new(name, (*column, *delay_micros, *limits), (node.id, *state), context)?)
        }
        Operator::NetChanges(net) => Box::new(NetChanges::new(net.key.clone(), Arc::clone(&context.input))),
        Operator::RowId(ids) => Box::new(RowId::new(name, ids, &node.schema, context)?),
        Operator::Changelog(op) => Box::new(Changelog::new(op, &node.schema, context)?),
        Operator::Recursive(op) => Box::new(Recursive::new(name, op, node, context)?),
        Operator::HashAgg(agg) => Box::new(HashAgg::new(name, agg, node, context)?),
        Operator::HashJoin(join) => Box::new(HashJoin::new(name, join, node, context)?),
        Operator::AsofJoin(join) => Box::new(AsofJoin::new(name, join, node, context)?),
        Operator::TemporalJoin(plan) => Box::new(TemporalJoin::new(name, plan, node, context)?),
        Operator::TimeWindows { column, windows } => {
            Box::new(TimeWindows { name, column: *column, windows: *windows, output: Arc::clone(&node.schema) })
        }
        Operator::SessionWindow(op) => Box::new(SessionWindow::new(op, &node.schema, context)?),
        Operator::GroupingSets { sets } => Box::new(GroupingSets::new(sets, &node.schema)?),
        Operator::TopN(plan) => top_n::new(name, plan, node, context)?,
        Operator::OverWindow(plan) => Box::new(OverWindow::new(name, plan, node, context)?),
        Operator::TemporalFilter(plan) => Box::new(TemporalFilter::new(name, plan, node, context)?),
        Operator::Union => Box::new(Union::new(node.inputs.len())),
        Operator::Unnest { columns, keep_empty } => Box::new(Unnest::new(columns, *keep_empty, &node.schema)),
        Operator::Materialize(op) => Box::new(Materialize::new(name, op, &node.schema, context)?),
        Operator::Source(_)
        | Operator::TableScan(_)
        | Operator::Values(_)
        | Operator::WorkTable { .. }
        | Operator::Exchange { .. }
        | Operator::Sink(_) => {
            return Err(Error::internal(format!("{name} is not built from state alone")));
        }
    })
}
