//! The calls of an aggregation made ready: where each finds its arguments, its filter and its state.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion::physical_expr::PhysicalExpr;

use super::values::Values;
use crate::common::{Error, Result};
use crate::expr::aggregate::{Accumulator, Aggregate};
use crate::plan::{AggPhase, HashAgg};
use crate::state::StateWriter;
use crate::stream::operator::BuildContext;

pub(super) struct Call {
    pub aggregate: Aggregate,
    /// Among the evaluated columns.
    pub args: Range<usize>,
    pub filter: Option<usize>,
    /// Among the columns of a state row (or a partial one), group columns included.
    pub states: Range<usize>,
    /// The counted set of a call with DISTINCT, or that keeps its values.
    pub values: Option<Values>,
}

/// All calls, and what is evaluated for them on each row.
pub(super) struct Calls {
    pub calls: Vec<Call>,
    pub exprs: Vec<Arc<dyn PhysicalExpr>>,
}

impl Calls {
    pub(super) fn new(agg: &HashAgg, context: &BuildContext<'_>) -> Result<Self> {
        let mut exprs = Vec::new();
        let mut calls = Vec::new();
        let mut state = agg.group.len();
        let hidden = agg.calls().len() - agg.aggs.len();
        for (i, call) in agg.calls().iter().enumerate() {
            let planned = i.checked_sub(hidden).and_then(|i| agg.aggs.get(i));
            let aggregate = Aggregate::new(call)?;
            let args = exprs.len()..exprs.len() + aggregate.arguments().len();
            exprs.extend(aggregate.arguments().iter().cloned());
            let filter = planned.and_then(|a| a.filter.as_ref()).map(|f| {
                exprs.push(Arc::clone(f.physical()));
                exprs.len() - 1
            });
            let columns = if aggregate.keeps_values() { 1 } else { aggregate.state_fields().len() };
            let states = state..state + columns;
            state = states.end;
            let values = match planned.and_then(|a| a.values) {
                Some(table) if agg.phase != AggPhase::Partial => {
                    Some(Values::new(&aggregate, call, agg.append_only, table, context)?)
                }
                _ if aggregate.keeps_values() || call.distinct => {
                    return Err(Error::internal(format!("{} needs a table for its values", call.name)));
                }
                _ => None,
            };
            calls.push(Call { aggregate, args, filter, states, values });
        }
        Ok(Self { calls, exprs })
    }

    /// Empty accumulators, one a call that runs.
    pub(super) fn accumulators(&self) -> Result<Vec<Option<Accumulator>>> {
        self.calls
            .iter()
            .map(|c| match c.aggregate.keeps_values() {
                true => Ok(None),
                false => c.aggregate.accumulator().map(Some),
            })
            .collect()
    }

    pub(super) fn writers(&mut self) -> impl Iterator<Item = &mut StateWriter> {
        self.calls.iter_mut().filter_map(|c| c.values.as_mut()).map(|v| &mut v.state)
    }

    /// Bytes that wait for the barrier.
    pub(super) fn pending_bytes(&self) -> usize {
        self.calls.iter().filter_map(|c| c.values.as_ref()).map(Values::pending_bytes).sum()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.calls.iter().filter_map(|c| c.values.as_ref()).map(Values::memory_bytes).sum()
    }
}

/// The columns in `range`.
pub(super) fn columns(all: &[ArrayRef], range: &Range<usize>) -> Result<Vec<ArrayRef>> {
    all.get(range.clone())
        .map(<[ArrayRef]>::to_vec)
        .ok_or_else(|| Error::internal(format!("columns {range:?} of {}", all.len())))
}
