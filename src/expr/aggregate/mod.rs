//! Grouped aggregates: a call, the columns of its state, and how rows, states and results become each other.
//!
//! ```text
//! rows --update_batch--> accumulator --state--> state columns --results--> result column
//!                             ^                       |
//!                             +-----merge_batch-------+
//! ```
//! DataFusion's accumulators do it, except where they cannot retract or would wrap on overflow: there [`linear`]
//! does. What keeps a multiset of its values has no running state here: see the operator.

mod linear;

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, new_empty_array, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::lit;
use datafusion::physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr, PhysicalSortExpr};
use serde::{Deserialize, Serialize};

use self::linear::Linear;
use super::functions;
use crate::common::{Error, ErrorKind, Result};

/// How an aggregate follows its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AggMethod {
    /// An accumulator's state is kept and merged; for append-only input and states of fixed size.
    Merge,
    /// Linear in the weight (count, sum, avg): for input with retractions.
    Linear,
    /// The group's values are kept as an ordered, counted set; the result is computed from it when it changes.
    Values,
}

/// One aggregate call over rows of the schema `rows`. A filter is the caller's business.
#[derive(Debug, Clone)]
pub struct Call {
    /// The function's name in the registry.
    pub function: String,
    /// Empty is allowed for `count` only.
    pub args: Vec<Arc<dyn PhysicalExpr>>,
    pub rows: SchemaRef,
    pub distinct: bool,
    pub ignore_nulls: bool,
    pub order_by: Vec<PhysicalSortExpr>,
    pub method: AggMethod,
    /// The result column.
    pub name: String,
}

/// The columns in which the state of `call` travels and is kept; none for [`AggMethod::Values`].
pub fn partial_fields(call: &Call) -> Result<Vec<FieldRef>> {
    Ok(Aggregate::new(call)?.state_fields)
}

/// The result column of `call`.
pub fn result_field(call: &Call) -> Result<FieldRef> {
    Ok(Arc::new(expression(call)?.field().as_ref().clone()))
}

/// Whether `call` can follow retractions by weights alone, with an exact result: [`AggMethod::Linear`].
/// Sums of floats cannot: what was added does not come off again exactly.
pub fn is_linear(call: &Call) -> bool {
    expression(call).is_ok_and(|e| Linear::of(&e, &call.rows).is_some())
}

/// A call made ready to run.
pub struct Aggregate {
    expression: AggregateFunctionExpr,
    running: Running,
    state_fields: Vec<FieldRef>,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    rows: SchemaRef,
    distinct: bool,
}

#[derive(Debug, Clone)]
enum Running {
    /// DataFusion's state.
    Merge,
    /// DataFusion's state, of one column, which is the result too.
    MergeAsIs,
    Linear(Linear),
    Values,
}

/// A result for each state, and where there is none, why.
#[derive(Debug)]
pub struct Results {
    /// Null where failed.
    pub values: ArrayRef,
    /// Rows whose result is out of range; rising, as a rule empty.
    pub failed: Vec<(usize, Error)>,
}

impl Aggregate {
    /// # Errors
    /// `UndefinedFunction`, or `NotSupported` when the method cannot serve the function and its types.
    pub fn new(call: &Call) -> Result<Self> {
        let expression = expression(call)?;
        let linear = Linear::of(&expression, &call.rows);
        let running = match (call.method, linear) {
            (AggMethod::Values, _) => Running::Values,
            (AggMethod::Linear, Some(linear)) => Running::Linear(linear),
            (AggMethod::Linear, None) => {
                return Err(Error::not_supported(format!("{} does not follow retractions by weight", call.name)));
            }
            (AggMethod::Merge, _) if call.distinct => {
                return Err(Error::internal(format!("{}: DISTINCT needs its values", call.name)));
            }
            // DataFusion's own sums wrap around.
            (AggMethod::Merge, Some(linear)) if !linear.is_count() => Running::Linear(linear),
            (AggMethod::Merge, _) if state_is_result(&expression)? => Running::MergeAsIs,
            (AggMethod::Merge, _) => Running::Merge,
        };
        let (state_fields, arguments) = match &running {
            Running::Values => (Vec::new(), with_order(&expression)),
            Running::Linear(linear) => (linear.state_fields(&call.name), linear.arguments(&expression, &call.rows)),
            Running::Merge | Running::MergeAsIs => (
                expression.state_fields()?.iter().map(|f| Arc::new(f.as_ref().clone().with_nullable(true))).collect(),
                with_order(&expression),
            ),
        };
        Ok(Self { expression, running, state_fields, arguments, rows: Arc::clone(&call.rows), distinct: call.distinct })
    }

    pub fn state_fields(&self) -> &[FieldRef] {
        &self.state_fields
    }

    /// Nullable, as a state column that holds a result.
    pub fn result_type(&self) -> DataType {
        self.expression.field().data_type().clone()
    }

    pub fn name(&self) -> &str {
        self.expression.name()
    }

    /// What an accumulator is fed with: the arguments, then the ordering expressions where order matters.
    pub fn arguments(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.arguments
    }

    /// The ordering of the values, aligned with the last columns of [`Self::arguments`].
    pub fn ordering(&self) -> &[PhysicalSortExpr] {
        self.expression.order_bys()
    }

    pub fn is_distinct(&self) -> bool {
        self.distinct
    }

    pub fn keeps_values(&self) -> bool {
        matches!(self.running, Running::Values)
    }

    /// The first value in this order decides the result alone (nulls do not count): `Some(descending)`.
    pub fn decided_by_first(&self) -> Option<bool> {
        match self.expression.fun().name() {
            "min" => Some(false),
            "max" => Some(true),
            _ => None,
        }
    }

    /// An empty accumulator of the call's state.
    pub fn accumulator(&self) -> Result<Accumulator> {
        Ok(match &self.running {
            Running::Linear(linear) => Accumulator::Linear(linear.accumulator()),
            Running::Merge | Running::MergeAsIs => Accumulator::DataFusion(self.datafusion()?),
            Running::Values => return Err(Error::internal(format!("{} keeps values, not a state", self.name()))),
        })
    }

    /// Makes `accumulator` know groups that have no rows: an accumulator takes a group it was called for without a
    /// filter as one that has. There are `total` groups with these.
    pub fn begin(&self, accumulator: &mut Accumulator, groups: &[usize], total: usize) -> Result<()> {
        let rows = groups.len();
        let args: Vec<ArrayRef> = self
            .arguments
            .iter()
            .map(|a| Ok(new_null_array(&a.data_type(&self.rows)?, rows)))
            .collect::<Result<_>>()?;
        accumulator.update(&args, None, groups, Some(&BooleanArray::from(vec![false; rows])), total)
    }

    /// The results of `total` groups from all their values: row *i* belongs to group `groups[i]`, a group's rows come in
    /// its order.
    pub fn of_values(&self, args: &[ArrayRef], groups: &[usize], total: usize) -> Result<ArrayRef> {
        let mut accumulator = self.datafusion()?;
        // Without a filter every group below `total` is taken to have rows.
        let all = BooleanArray::from(vec![true; groups.len()]);
        accumulator.update_batch(args, groups, Some(&all), total)?;
        Ok(accumulator.evaluate(EmitTo::All)?)
    }

    fn datafusion(&self) -> Result<Box<dyn GroupsAccumulator>> {
        if self.expression.groups_accumulator_supported() {
            return Ok(self.expression.create_groups_accumulator()?);
        }
        let expression = self.expression.clone();
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || expression.create_accumulator())))
    }

    /// The result of each of `rows` states.
    pub fn results(&self, states: &[ArrayRef], rows: usize) -> Result<Results> {
        if rows == 0 {
            return Ok(Results { values: new_empty_array(&self.result_type()), failed: Vec::new() });
        }
        match &self.running {
            Running::Linear(linear) => linear.results(states, &self.result_type()),
            Running::MergeAsIs => match states {
                [state] => Ok(Results { values: Arc::clone(state), failed: Vec::new() }),
                _ => Err(Error::internal(format!("{} has {} state columns, not one", self.name(), states.len()))),
            },
            Running::Merge => {
                let groups: Vec<usize> = (0..rows).collect();
                let mut accumulator = self.datafusion()?;
                accumulator.merge_batch(states, &groups, rows)?;
                Ok(Results { values: accumulator.evaluate(EmitTo::All)?, failed: Vec::new() })
            }
            Running::Values => Err(Error::internal(format!("{} has no state to take a result from", self.name()))),
        }
    }
}

/// The running states of the groups of an epoch.
pub enum Accumulator {
    DataFusion(Box<dyn GroupsAccumulator>),
    Linear(linear::Accumulator),
}

impl Accumulator {
    /// Adds rows: row *i* goes to group `groups[i]`, below `total`; rows that `filter` does not pass are left out.
    /// `weights` are for linear calls; the others only ever see insertions.
    pub fn update(
        &mut self,
        args: &[ArrayRef],
        weights: Option<&Int64Array>,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        match self {
            Self::Linear(linear) => linear.update(args, weights, groups, filter, total),
            Self::DataFusion(_) if weights.is_some_and(|w| w.values().iter().any(|w| *w != 1)) => {
                Err(Error::internal("an aggregate for append-only input was given a retraction"))
            }
            Self::DataFusion(accumulator) => Ok(accumulator.update_batch(args, groups, filter, total)?),
        }
    }

    /// Adds the state of row *i* to group `groups[i]`, below `total`.
    pub fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        match self {
            Self::Linear(linear) => linear.merge(states, groups, total),
            Self::DataFusion(accumulator) => Ok(accumulator.merge_batch(states, groups, total)?),
        }
    }

    /// The state columns, one row a group; leaves the accumulator empty.
    pub fn state(&mut self) -> Result<Vec<ArrayRef>> {
        match self {
            Self::Linear(linear) => Ok(linear.state()),
            Self::DataFusion(accumulator) => Ok(accumulator.state(EmitTo::All)?),
        }
    }

    /// Bytes held.
    pub fn size(&self) -> usize {
        match self {
            Self::Linear(linear) => linear.size(),
            Self::DataFusion(accumulator) => accumulator.size(),
        }
    }
}

/// Values for the accumulator: arguments, then the ordering, as DataFusion's aggregation hands them over.
fn with_order(expression: &AggregateFunctionExpr) -> Vec<Arc<dyn PhysicalExpr>> {
    let mut exprs = expression.expressions();
    exprs.extend(expression.order_bys().iter().map(|o| Arc::clone(&o.expr)));
    exprs
}

fn state_is_result(expression: &AggregateFunctionExpr) -> Result<bool> {
    const AS_IS: &[&str] = &["count", "min", "max", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor"];
    let fields = expression.state_fields()?;
    Ok(AS_IS.contains(&expression.fun().name())
        && fields.len() == 1
        && fields.iter().all(|f| f.data_type() == expression.field().data_type()))
}

fn expression(call: &Call) -> Result<AggregateFunctionExpr> {
    let function = functions::aggregate(&call.function).ok_or_else(|| {
        Error::new(ErrorKind::UndefinedFunction, format!("there is no aggregate function {}", call.function))
    })?;
    let args = match call.args.is_empty() {
        true => vec![lit(1i64)],
        false => call.args.clone(),
    };
    Ok(AggregateExprBuilder::new(function, args)
        .schema(Arc::clone(&call.rows))
        .alias(&call.name)
        .order_by(call.order_by.clone())
        .with_distinct(call.distinct && call.method != AggMethod::Values)
        .with_ignore_nulls(call.ignore_nulls)
        .build()?)
}

/// A state column of Weir's own.
fn state_field(call: &str, part: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(format!("{call}[{part}]"), data_type, true))
}

#[cfg(test)]
mod tests;
