//! What an epoch adds to the groups that it touches: interned group values with an accumulator for each call.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema, SchemaRef};
use datafusion::logical_expr::EmitTo;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;

use super::calls::{Calls, columns};
use crate::common::Result;
use crate::expr::aggregate::Accumulator;
use crate::expr::eval::boolean;

pub(super) struct Delta {
    schema: SchemaRef,
    /// `None` without GROUP BY: then there is one group, number 0.
    interned: Option<Box<dyn GroupValues>>,
    accumulators: Vec<Option<Accumulator>>,
    total: usize,
    /// The group of each row of the chunk at hand.
    groups: Vec<usize>,
}

/// The touched groups, numbered from 0.
pub(super) struct Touched {
    pub groups: Vec<ArrayRef>,
    pub accumulators: Vec<Option<Accumulator>>,
    pub total: usize,
}

impl Delta {
    pub(super) fn new(group: Vec<arrow::datatypes::FieldRef>, calls: &Calls) -> Result<Self> {
        let mut delta = Self {
            schema: Arc::new(Schema::new(group)),
            interned: None,
            accumulators: Vec::new(),
            total: 0,
            groups: Vec::new(),
        };
        delta.reset(calls)?;
        Ok(delta)
    }

    fn reset(&mut self, calls: &Calls) -> Result<()> {
        self.total = 0;
        self.accumulators = calls.accumulators()?;
        if !self.schema.fields().is_empty() {
            self.interned = Some(new_group_values(Arc::clone(&self.schema), &GroupOrdering::None)?);
        }
        Ok(())
    }

    /// Touches groups as ones that are there without rows; without GROUP BY that is the one group there is.
    pub(super) fn begin(&mut self, calls: &Calls, groups: &[ArrayRef], rows: usize) -> Result<()> {
        if rows == 0 {
            return Ok(());
        }
        self.intern(groups, rows)?;
        for (call, accumulator) in calls.calls.iter().zip(&mut self.accumulators) {
            if let Some(accumulator) = accumulator {
                call.aggregate.begin(accumulator, &self.groups, self.total)?;
            }
        }
        Ok(())
    }

    /// How many groups are touched.
    pub(super) fn len(&self) -> usize {
        self.total
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let groups = self.interned.as_ref().map_or(0, |g| g.size());
        groups + self.accumulators.iter().flatten().map(Accumulator::size).sum::<usize>()
    }

    /// Adds rows: `evaluated` are the columns of [`Calls::exprs`].
    pub(super) fn add_rows(
        &mut self,
        calls: &mut Calls,
        group: &[ArrayRef],
        evaluated: &[ArrayRef],
        weights: Option<&Int64Array>,
        rows: usize,
    ) -> Result<()> {
        self.intern(group, rows)?;
        for (call, accumulator) in calls.calls.iter().zip(&mut self.accumulators) {
            if let (None, Some(accumulator)) = (call.values, accumulator) {
                let args = columns(evaluated, &call.args)?;
                let filter = call.filter.and_then(|i| evaluated.get(i)).map(boolean).transpose()?;
                accumulator.update(&args, weights, &self.groups, filter, self.total)?;
            }
        }
        calls.add_values(evaluated, weights, &self.groups)
    }

    /// Adds partial states: group columns, then the states of each call.
    pub(super) fn add_states(&mut self, calls: &Calls, partial: &[ArrayRef], rows: usize) -> Result<()> {
        let group = columns(partial, &(0..self.schema.fields().len()))?;
        self.intern(&group, rows)?;
        for (call, accumulator) in calls.calls.iter().zip(&mut self.accumulators) {
            if let Some(accumulator) = accumulator {
                accumulator.merge(&columns(partial, &call.states)?, &self.groups, self.total)?;
            }
        }
        Ok(())
    }

    /// Hands the touched groups over and starts anew; `None` when none is touched.
    pub(super) fn take(&mut self, calls: &Calls) -> Result<Option<Touched>> {
        if self.total == 0 {
            return Ok(None);
        }
        let groups = match &mut self.interned {
            Some(interned) => interned.emit(EmitTo::All)?,
            None => Vec::new(),
        };
        let touched = Touched { groups, accumulators: std::mem::take(&mut self.accumulators), total: self.total };
        self.reset(calls)?;
        Ok(Some(touched))
    }

    fn intern(&mut self, group: &[ArrayRef], rows: usize) -> Result<()> {
        match &mut self.interned {
            Some(interned) => {
                let group: Vec<ArrayRef> = group.iter().map(one_zero).collect();
                interned.intern(&group, &mut self.groups)?;
                self.total = interned.len();
            }
            None => {
                self.groups.clear();
                self.groups.resize(rows, 0);
                self.total = 1;
            }
        }
        Ok(())
    }
}

/// Floats that are equal as keys made equal as bits: one zero, one NaN.
fn one_zero(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => Arc::new(
            column
                .as_primitive::<Float32Type>()
                .unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v + 0.0 }),
        ),
        DataType::Float64 => Arc::new(
            column
                .as_primitive::<Float64Type>()
                .unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v + 0.0 }),
        ),
        _ => Arc::clone(column),
    }
}
