//! Aggregates over values in their order: `percentile_disc(p)` and `mode()`, `WITHIN GROUP (ORDER BY x)`.
//!
//! Both choose one of the values, of any type that can be compared. They hold all of them: in a view the operator keeps
//! them, as a counted set.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_empty_array};
use arrow::compute::{SortOptions, concat, partition, sort};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility};
use datafusion::physical_expr::expressions::Literal;
use datafusion::scalar::ScalarValue;

pub(super) fn functions() -> [Arc<AggregateUDF>; 2] {
    [Which::PercentileDisc, Which::Mode].map(|which| Arc::new(AggregateUDF::from(OrderedSet::new(which))))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Which {
    /// The first value at or before which at least that part of all lies.
    PercentileDisc,
    /// The value that there is most often, of several the first.
    Mode,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OrderedSet {
    which: Which,
    signature: Signature,
}

impl OrderedSet {
    fn new(which: Which) -> Self {
        let arguments = if which == Which::Mode { 1 } else { 2 };
        Self { which, signature: Signature::any(arguments, Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for OrderedSet {
    fn name(&self) -> &str {
        match self.which {
            Which::PercentileDisc => "percentile_disc",
            Which::Mode => "mode",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        types.first().cloned().ok_or_else(|| DataFusionError::Plan(format!("{} needs a value", self.name())))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DfResult<Vec<FieldRef>> {
        let element = Field::new_list_field(args.return_field.data_type().clone(), true);
        Ok(vec![Arc::new(Field::new(format!("{}[values]", args.name), DataType::List(Arc::new(element)), true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        let percentile = match (self.which, args.exprs.get(1)) {
            (Which::Mode, _) => None,
            (Which::PercentileDisc, Some(expr)) => {
                Some(percentile_of(expr.downcast_ref::<Literal>().map(Literal::value))?)
            }
            (Which::PercentileDisc, None) => return Err(no_percentile()),
        };
        Ok(Box::new(Values {
            percentile,
            order: args.order_bys.first().map(|by| by.options).unwrap_or_default(),
            data_type: args.return_field.data_type().clone(),
            parts: Vec::new(),
        }))
    }

    /// Finds a wrong percentile before anything runs.
    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        fn check(call: AggregateFunction) -> DfResult<Expr> {
            if let Some(Expr::Literal(value, _)) = call.params.args.get(1) {
                percentile_of(Some(value))?;
            }
            Ok(Expr::AggregateFunction(call))
        }
        (self.which == Which::PercentileDisc).then(|| Box::new(|call, _: &_| check(call)) as _)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }
}

fn no_percentile() -> DataFusionError {
    DataFusionError::Plan("percentile_disc needs a constant between 0 and 1".into())
}

fn percentile_of(value: Option<&ScalarValue>) -> DfResult<f64> {
    let value = value.ok_or_else(no_percentile)?;
    match value.cast_to(&DataType::Float64) {
        Ok(ScalarValue::Float64(Some(p))) if (0.0..=1.0).contains(&p) => Ok(p),
        _ => Err(DataFusionError::Plan(format!("percentile value {value} is not between 0 and 1"))),
    }
}

#[derive(Debug)]
struct Values {
    /// `None` for the mode.
    percentile: Option<f64>,
    order: SortOptions,
    data_type: DataType,
    parts: Vec<ArrayRef>,
}

impl Values {
    fn all(&self) -> DfResult<ArrayRef> {
        match self.parts.as_slice() {
            [] => Ok(new_empty_array(&self.data_type)),
            parts => Ok(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?),
        }
    }
}

impl Accumulator for Values {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> DfResult<()> {
        self.parts.extend(columns.first().filter(|values| !values.is_empty()).cloned());
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let lists = states.first().and_then(|s| s.as_list_opt::<i32>());
        let lists = lists.ok_or_else(|| DataFusionError::Internal("a state that is no list of values".into()))?;
        self.parts.extend(lists.iter().flatten().filter(|values| !values.is_empty()));
        Ok(())
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![SingleRowListArrayBuilder::new(self.all()?).build_list_scalar()])
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let sorted = sort(&self.all()?, Some(SortOptions { nulls_first: false, ..self.order }))?;
        let count = sorted.len() - sorted.logical_null_count();
        if count == 0 {
            return ScalarValue::try_from(&self.data_type);
        }
        let sorted = sorted.slice(0, count);
        let row = match self.percentile {
            Some(p) => ((p * count as f64).ceil() as usize).clamp(1, count) - 1,
            None => {
                let runs = partition(std::slice::from_ref(&sorted))?.ranges();
                // The last of the longest from behind is the first.
                runs.into_iter().rev().max_by_key(|run| run.len()).map_or(0, |run| run.start)
            }
        };
        ScalarValue::try_from_array(&sorted, row)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.parts.iter().map(|p| p.get_array_memory_size()).sum::<usize>()
    }
}
