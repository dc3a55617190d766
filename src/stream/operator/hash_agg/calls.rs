//! The calls of an aggregation made ready: where each finds its arguments, its filter and its state.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use datafusion::physical_expr::PhysicalExpr;

use super::values::Values;
use crate::common::{Error, Result};
use crate::expr::aggregate::{Accumulator, Aggregate};
use crate::expr::eval::boolean;
use crate::plan::{AggPhase, HashAgg};
use crate::state::StateWriter;
use crate::stream::operator::BuildContext;
use crate::types::TableId;

pub(super) struct Call {
    pub aggregate: Aggregate,
    /// Among the evaluated columns.
    pub args: Range<usize>,
    pub filter: Option<usize>,
    /// Among the columns of a state row (or a partial one), group columns included.
    pub states: Range<usize>,
    /// The counted set of a call with DISTINCT, or that keeps its values.
    pub values: Option<Member>,
}

/// A call's place in a set of values.
#[derive(Clone, Copy)]
pub(super) struct Member {
    /// Among [`Calls::sets`].
    pub set: usize,
    /// Among the calls that share the set.
    pub place: usize,
}

/// All calls, and what is evaluated for them on each row.
pub(super) struct Calls {
    pub calls: Vec<Call>,
    pub sets: Vec<Values>,
    pub exprs: Vec<Arc<dyn PhysicalExpr>>,
}

impl Calls {
    pub(super) fn new(agg: &HashAgg, context: &BuildContext<'_>) -> Result<Self> {
        let mut exprs = Vec::new();
        let mut calls: Vec<Call> = Vec::new();
        let (mut sets, mut tables): (Vec<Values>, Vec<TableId>) = (Vec::new(), Vec::new());
        let mut state = agg.group.len();
        let hidden = agg.calls().len() - agg.aggs.len();
        for (i, call) in agg.calls().iter().enumerate() {
            let planned = i.checked_sub(hidden).and_then(|i| agg.aggs.get(i));
            let aggregate = Aggregate::new(call)?;
            let table = planned.and_then(|a| a.values).filter(|_| agg.phase != AggPhase::Partial);
            let shared = table.and_then(|table| tables.iter().position(|t| *t == table));
            let args = match calls.iter().find(|c| shared.is_some() && c.values.map(|v| v.set) == shared) {
                Some(other) => other.args.clone(),
                None => {
                    let first = exprs.len();
                    exprs.extend(aggregate.arguments().iter().cloned());
                    first..exprs.len()
                }
            };
            let filter = planned.and_then(|a| a.filter.as_ref()).map(|f| {
                exprs.push(Arc::clone(f.physical()));
                exprs.len() - 1
            });
            let columns = if aggregate.keeps_values() { 1 } else { aggregate.state_fields().len() };
            let states = state..state + columns;
            state = states.end;
            let values = match (table, shared) {
                (_, Some(set)) => {
                    let place = calls.iter().filter(|c| c.values.is_some_and(|v| v.set == set)).count();
                    Some(Member { set, place })
                }
                (Some(table), None) => {
                    let members = agg.aggs.iter().filter(|a| a.values == Some(table)).count();
                    sets.push(Values::new(&aggregate, call, agg.append_only, members, table, context)?);
                    tables.push(table);
                    Some(Member { set: sets.len() - 1, place: 0 })
                }
                _ if aggregate.keeps_values() || call.distinct => {
                    return Err(Error::internal(format!("{} needs a table for its values", call.name)));
                }
                _ => None,
            };
            calls.push(Call { aggregate, args, filter, states, values });
        }
        Ok(Self { calls, sets, exprs })
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

    /// Gives each set of values the rows: row *i* belongs to group `groups[i]`.
    pub(super) fn add_values(
        &mut self,
        evaluated: &[ArrayRef],
        weights: Option<&Int64Array>,
        groups: &[usize],
    ) -> Result<()> {
        for (set, values) in self.sets.iter_mut().enumerate() {
            let members = || self.calls.iter().filter(|c| c.values.is_some_and(|v| v.set == set));
            let Some(args) = members().next().map(|c| columns(evaluated, &c.args)).transpose()? else { continue };
            let passes = members().map(|c| c.filter.and_then(|i| evaluated.get(i)).map(boolean).transpose());
            values.add(&args, &passes.collect::<Result<Vec<_>>>()?, weights, groups)?;
        }
        Ok(())
    }

    pub(super) fn writers(&mut self) -> impl Iterator<Item = &mut StateWriter> {
        self.sets.iter_mut().map(|v| &mut v.state)
    }

    /// Bytes that wait for the barrier.
    pub(super) fn pending_bytes(&self) -> usize {
        self.sets.iter().map(Values::pending_bytes).sum()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.sets.iter().map(Values::memory_bytes).sum()
    }
}

/// The columns in `range`.
pub(super) fn columns(all: &[ArrayRef], range: &Range<usize>) -> Result<Vec<ArrayRef>> {
    all.get(range.clone())
        .map(<[ArrayRef]>::to_vec)
        .ok_or_else(|| Error::internal(format!("columns {range:?} of {}", all.len())))
}
