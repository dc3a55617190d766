//! count, sum and avg as functions that are linear in a row's weight: a retraction subtracts what the insertion
//! added. Sums are kept wide enough never to overflow; only the result is checked against its type.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray, Float64Array, Int64Array,
    PrimitiveArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType, FieldRef, Int64Type,
    SchemaRef, UInt64Type, i256,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::CastExpr;

use super::{Results, state_field};
use crate::common::{Error, ErrorKind, Result};

/// Digits up to which the sum of 2^63 values fits 128 bits.
const NARROW_DIGITS: u8 = 18;

/// A linear function with the width of its sum.
#[derive(Debug, Clone)]
pub(super) struct Linear {
    kind: Kind,
    /// The argument's digits after the point, which are the sum's too.
    scale: i8,
    wide: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Count,
    Sum,
    Avg,
}

impl Linear {
    /// How the call runs linearly, if it can.
    pub(super) fn of(expression: &AggregateFunctionExpr, rows: &SchemaRef) -> Option<Self> {
        let args = expression.expressions();
        let (kind, arg) = match expression.fun().name() {
            "count" => return Some(Self { kind: Kind::Count, scale: 0, wide: false }),
            "sum" => (Kind::Sum, args.first()?.data_type(rows).ok()?),
            "avg" => (Kind::Avg, exact(args.first()?, rows).data_type(rows).ok()?),
            _ => return None,
        };
        let (digits, scale) = match arg {
            t if t.is_integer() => (NARROW_DIGITS, 0),
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => (p, s),
            _ => return None,
        };
        Some(Self { kind, scale, wide: digits > NARROW_DIGITS })
    }

    pub(super) fn is_count(&self) -> bool {
        self.kind == Kind::Count
    }

    pub(super) fn arguments(&self, expression: &AggregateFunctionExpr, rows: &SchemaRef) -> Vec<Arc<dyn PhysicalExpr>> {
        let args = expression.expressions();
        match self.kind {
            Kind::Avg => args.iter().map(|a| Arc::clone(exact(a, rows))).collect(),
            Kind::Count | Kind::Sum => args,
        }
    }

    pub(super) fn state_fields(&self, name: &str) -> Vec<FieldRef> {
        let count = state_field(name, "count", DataType::Int64);
        match self.kind {
            Kind::Count => vec![count],
            Kind::Sum | Kind::Avg => vec![state_field(name, "sum", self.sum_type()), count],
        }
    }

    fn sum_type(&self) -> DataType {
        match self.wide {
            false => DataType::Decimal128(Decimal128Type::MAX_PRECISION, self.scale),
            true => DataType::Decimal256(Decimal256Type::MAX_PRECISION, self.scale),
        }
    }

    pub(super) fn accumulator(&self) -> Accumulator {
        let sums = match (self.kind, self.wide) {
            (Kind::Count, _) => Sums::None,
            (_, false) => Sums::Narrow(Vec::new()),
            (_, true) => Sums::Wide(Vec::new()),
        };
        Accumulator { sums, counts: Vec::new(), sum_type: self.sum_type() }
    }

    pub(super) fn results(&self, states: &[ArrayRef], result: &DataType) -> Result<Results> {
        let [sums @ .., counts] = states else { return Err(Error::internal("a linear aggregate without state")) };
        let Some(sums) = sums.first() else {
            return Ok(Results { values: Arc::clone(counts), failed: Vec::new() });
        };
        let sum_at: Box<dyn Fn(usize) -> i256> = match self.wide {
            false => {
                let sums = typed::<Decimal128Type>(sums)?;
                Box::new(|row| i256::from_i128(sums.value(row)))
            }
            true => {
                let sums = typed::<Decimal256Type>(sums)?;
                Box::new(|row| sums.value(row))
            }
        };
        let counts = typed::<Int64Type>(counts)?;
        match (self.kind, result) {
            (Kind::Avg, DataType::Float64) => {
                let value = |row: usize| {
                    let count = counts.value(row);
                    (count != 0).then(|| to_f64(sum_at(row)) / 10f64.powi(i32::from(self.scale)) / count as f64)
                };
                let values: Float64Array = (0..counts.len()).map(value).collect();
                Ok(Results { values: Arc::new(values), failed: Vec::new() })
            }
            (kind, result) => {
                let value = |row: usize| {
                    let (sum, count) = (sum_at(row), counts.value(row));
                    match kind {
                        Kind::Avg => average(sum, count, self.scale, result),
                        Kind::Sum | Kind::Count => Some(sum),
                    }
                };
                let nulls = |row: usize| counts.value(row) == 0;
                match result {
                    DataType::Int64 => convert::<Int64Type>(counts.len(), result, nulls, value),
                    DataType::UInt64 => convert::<UInt64Type>(counts.len(), result, nulls, value),
                    DataType::Decimal32(_, _) => convert::<Decimal32Type>(counts.len(), result, nulls, value),
                    DataType::Decimal64(_, _) => convert::<Decimal64Type>(counts.len(), result, nulls, value),
                    DataType::Decimal128(_, _) => convert::<Decimal128Type>(counts.len(), result, nulls, value),
                    other => Err(Error::internal(format!("a linear aggregate of type {other}"))),
                }
            }
        }
    }
}

/// The argument without the cast to a float that the planner puts around an integer for avg.
fn exact<'a>(arg: &'a Arc<dyn PhysicalExpr>, rows: &SchemaRef) -> &'a Arc<dyn PhysicalExpr> {
    match arg.downcast_ref::<CastExpr>() {
        Some(cast)
            if cast.cast_type() == &DataType::Float64 && cast.expr().data_type(rows).is_ok_and(|t| t.is_integer()) =>
        {
            cast.expr()
        }
        _ => arg,
    }
}

/// As DataFusion has it: cut, not rounded, at the result's scale. `None` when out of range.
fn average(sum: i256, count: i64, scale: i8, result: &DataType) -> Option<i256> {
    let (DataType::Decimal32(_, s) | DataType::Decimal64(_, s) | DataType::Decimal128(_, s)) = result else {
        return None;
    };
    let more_digits = u32::try_from(s.checked_sub(scale)?).ok()?;
    let factor = i256::from_i128(10).checked_pow(more_digits)?;
    sum.checked_mul(factor)?.checked_div(i256::from_i128(i128::from(count)))
}

fn to_f64(v: i256) -> f64 {
    v.to_i128().map_or_else(|| v.to_string().parse().unwrap_or(f64::NAN), |v| v as f64)
}

/// Fits values into the result type `T`, rows that do not fit apart.
fn convert<T: ArrowPrimitiveType>(
    rows: usize,
    result: &DataType,
    is_null: impl Fn(usize) -> bool,
    value: impl Fn(usize) -> Option<i256>,
) -> Result<Results>
where
    T::Native: TryFromWide,
{
    let digits = match result {
        DataType::Decimal32(p, _) | DataType::Decimal64(p, _) | DataType::Decimal128(p, _) => Some(u32::from(*p)),
        _ => None,
    };
    let limit = digits.map(|d| i256::from_i128(10i128.pow(d.min(38))));
    let mut failed = Vec::new();
    let mut values = Vec::with_capacity(rows);
    for row in 0..rows {
        if is_null(row) {
            values.push(None);
            continue;
        }
        let fitting = value(row)
            .filter(|v| limit.is_none_or(|limit| *v < limit && *v > limit.wrapping_neg()))
            .and_then(T::Native::try_from_wide);
        if fitting.is_none() {
            let what = format!("the result does not fit {result}");
            let hint = "cast the argument to a wider DECIMAL";
            failed.push((row, Error::new(ErrorKind::NumericValueOutOfRange, what).with_hint(hint)));
        }
        values.push(fitting);
    }
    let values: PrimitiveArray<T> = values.into_iter().collect();
    Ok(Results { values: Arc::new(values.with_data_type(result.clone())), failed })
}

trait TryFromWide: Sized {
    fn try_from_wide(v: i256) -> Option<Self>;
}

macro_rules! from_wide {
    ($($t:ty)*) => {$(
        impl TryFromWide for $t {
            fn try_from_wide(v: i256) -> Option<Self> {
                v.to_i128().and_then(|v| Self::try_from(v).ok())
            }
        }
    )*};
}
from_wide!(i32 i64 u64 i128);

/// The sums and counts of the groups of an epoch.
pub struct Accumulator {
    sums: Sums,
    /// Rows, by weight, whose arguments are not null.
    counts: Vec<i64>,
    sum_type: DataType,
}

enum Sums {
    None,
    Narrow(Vec<i128>),
    Wide(Vec<i256>),
}

impl Accumulator {
    /// Row *i* goes to group `groups[i]`, below `total`, with its weight; rows that `filter` does not pass are left
    /// out.
    pub(super) fn update(
        &mut self,
        args: &[ArrayRef],
        weights: Option<&Int64Array>,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.resize(total);
        let counted = Counted::new(args, weights, filter);
        if counted.all {
            for group in groups {
                self.counts[*group] += 1;
            }
        } else {
            for (row, group) in groups.iter().enumerate() {
                self.counts[*group] =
                    self.counts[*group].checked_add(counted.weight(row)).ok_or_else(|| overflow("a count of rows"))?;
            }
        }
        let Some(arg) = args.first() else { return Ok(()) };
        match &mut self.sums {
            Sums::None => Ok(()),
            Sums::Narrow(sums) => add_column(sums, arg, groups, &counted),
            Sums::Wide(sums) => add_column(sums, arg, groups, &counted),
        }
    }

    /// Adds the state of row *i* to group `groups[i]`.
    pub(super) fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.resize(total);
        let [sums @ .., counts] = states else { return Err(Error::internal("a linear aggregate without state")) };
        let counts = typed::<Int64Type>(counts)?;
        for (group, count) in groups.iter().zip(counts.values()) {
            self.counts[*group] = self.counts[*group].checked_add(*count).ok_or_else(|| overflow("a count of rows"))?;
        }
        let Some(column) = sums.first() else { return Ok(()) };
        match &mut self.sums {
            Sums::None => Ok(()),
            Sums::Narrow(sums) => add_all(sums, typed::<Decimal128Type>(column)?.values(), groups),
            Sums::Wide(sums) => add_all(sums, typed::<Decimal256Type>(column)?.values(), groups),
        }
    }

    /// The state columns, one row a group; leaves the accumulator empty.
    pub(super) fn state(&mut self) -> Vec<ArrayRef> {
        let counts: ArrayRef = Arc::new(Int64Array::from(std::mem::take(&mut self.counts)));
        let sum_type = self.sum_type.clone();
        match &mut self.sums {
            Sums::None => vec![counts],
            Sums::Narrow(sums) => {
                let sums = PrimitiveArray::<Decimal128Type>::from_iter_values(std::mem::take(sums));
                vec![Arc::new(sums.with_data_type(sum_type)), counts]
            }
            Sums::Wide(sums) => {
                let sums = PrimitiveArray::<Decimal256Type>::from_iter_values(std::mem::take(sums));
                vec![Arc::new(sums.with_data_type(sum_type)), counts]
            }
        }
    }

    pub(super) fn size(&self) -> usize {
        let sums = match &self.sums {
            Sums::None => 0,
            Sums::Narrow(sums) => sums.capacity() * 16,
            Sums::Wide(sums) => sums.capacity() * 32,
        };
        sums + self.counts.capacity() * 8
    }

    fn resize(&mut self, total: usize) {
        self.counts.resize(total, 0);
        match &mut self.sums {
            Sums::None => {}
            Sums::Narrow(sums) => sums.resize(total, 0),
            Sums::Wide(sums) => sums.resize(total, i256::ZERO),
        }
    }
}

/// Which rows count, and how often.
struct Counted<'a> {
    args: &'a [ArrayRef],
    weights: Option<&'a Int64Array>,
    filter: Option<&'a BooleanArray>,
    /// Every row counts once.
    all: bool,
}

impl<'a> Counted<'a> {
    fn new(args: &'a [ArrayRef], weights: Option<&'a Int64Array>, filter: Option<&'a BooleanArray>) -> Self {
        let all = weights.is_none() && filter.is_none() && args.iter().all(|a| a.logical_null_count() == 0);
        Self { args, weights, filter, all }
    }

    #[inline]
    fn weight(&self, row: usize) -> i64 {
        let passes = self.filter.is_none_or(|f| f.is_valid(row) && f.value(row));
        if !passes || self.args.iter().any(|a| a.is_null(row)) {
            return 0;
        }
        self.weights.map_or(1, |w| w.value(row))
    }
}

/// What a sum is kept in.
trait Wide: ArrowNativeTypeOp {
    fn widen(v: i128) -> Self;
}

impl Wide for i128 {
    fn widen(v: i128) -> Self {
        v
    }
}

impl Wide for i256 {
    fn widen(v: i128) -> Self {
        i256::from_i128(v)
    }
}

fn add_column<W: Wide>(sums: &mut [W], arg: &ArrayRef, groups: &[usize], counted: &Counted<'_>) -> Result<()> {
    match arg.data_type() {
        DataType::UInt64 => add(sums, typed::<UInt64Type>(arg)?, |v| W::widen(i128::from(v)), groups, counted),
        t if t.is_integer() => {
            let arg = cast(arg, &DataType::Int64)?;
            add(sums, typed::<Int64Type>(&arg)?, |v| W::widen(i128::from(v)), groups, counted)
        }
        DataType::Decimal32(_, _) => {
            add(sums, typed::<Decimal32Type>(arg)?, |v| W::widen(i128::from(v)), groups, counted)
        }
        DataType::Decimal64(_, _) => {
            add(sums, typed::<Decimal64Type>(arg)?, |v| W::widen(i128::from(v)), groups, counted)
        }
        DataType::Decimal128(_, _) => add(sums, typed::<Decimal128Type>(arg)?, W::widen, groups, counted),
        other => Err(Error::internal(format!("a linear aggregate of an argument of type {other}"))),
    }
}

#[inline]
fn add<T: ArrowPrimitiveType, W: Wide>(
    sums: &mut [W],
    values: &PrimitiveArray<T>,
    widen: impl Fn(T::Native) -> W,
    groups: &[usize],
    counted: &Counted<'_>,
) -> Result<()> {
    if counted.all {
        for (group, value) in groups.iter().zip(values.values()) {
            sums[*group] = sums[*group].add_checked(widen(*value)).map_err(|_| overflow("a sum"))?;
        }
        return Ok(());
    }
    for ((row, group), value) in groups.iter().enumerate().zip(values.values()) {
        let weight = counted.weight(row);
        if weight != 0 {
            let product = widen(*value).mul_checked(W::widen(i128::from(weight)));
            let sum = product.and_then(|p| sums[*group].add_checked(p));
            sums[*group] = sum.map_err(|_| overflow("a sum"))?;
        }
    }
    Ok(())
}

fn add_all<W: Wide>(sums: &mut [W], values: &[W], groups: &[usize]) -> Result<()> {
    for (group, value) in groups.iter().zip(values) {
        sums[*group] = sums[*group].add_checked(*value).map_err(|_| overflow("a sum"))?;
    }
    Ok(())
}

fn overflow(what: &str) -> Error {
    Error::new(ErrorKind::NumericValueOutOfRange, format!("{what} is out of range"))
}

fn typed<T: ArrowPrimitiveType>(column: &ArrayRef) -> Result<&PrimitiveArray<T>> {
    column
        .as_primitive_opt::<T>()
        .ok_or_else(|| Error::internal(format!("a state column of type {}, not {}", column.data_type(), T::DATA_TYPE)))
}
