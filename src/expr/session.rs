//! `session_window_start(ts, gap) OVER (PARTITION BY …)` and `session_window_end(…)`: the bounds of the session that a row is in.
//!
//! A row alone makes the session `[ts, ts + gap)`; sessions of one partition that overlap are one. So rows exactly a gap
//! apart are in two. What every dialect's SESSION becomes; batch queries run it here, streams as an operator of its own.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimestampMicrosecondType};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::window_doc_sections::DOC_SECTION_ANALYTICAL;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, LimitEffect, PartitionEvaluator, Signature, Volatility, WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::scalar::ScalarValue;

use super::time_windows::instant_type;
use super::tumble::fixed_micros;
use crate::common::{Error, ErrorKind, Result};

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    let what = "A bound of the session that a row is in: rows less than a gap apart are in one session.";
    Documentation::builder(DOC_SECTION_ANALYTICAL, what, "session_window_start(ts, gap)").build()
});

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bound {
    Start,
    End,
}

impl Bound {
    /// Which bound the function of this name gives, if it is one.
    pub fn of(function: &str) -> Option<Self> {
        match function {
            "session_window_start" => Some(Self::Start),
            "session_window_end" => Some(Self::End),
            _ => None,
        }
    }
}

/// The gap between sessions in microseconds.
///
/// # Errors
/// `InvalidParameterValue` when it is not above zero or has no fixed length.
pub fn gap_micros(gap: &ScalarValue) -> Result<i64> {
    match fixed_micros(&ColumnarValue::Scalar(gap.clone()), "session gap")? {
        Some(gap) if gap > 0 => Ok(gap),
        _ => Err(Error::new(ErrorKind::InvalidParameterValue, "the session gap must be above zero")),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SessionBound {
    bound: Bound,
    signature: Signature,
}

impl SessionBound {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let make = |bound| Self { bound, signature: Signature::user_defined(Volatility::Immutable) };
        [Bound::Start, Bound::End].into_iter().map(make)
    }

    fn usage(&self, got: &str) -> Error {
        Error::new(ErrorKind::UndefinedFunction, format!("{} does not take {got}", self.name()))
            .with_hint(format!("write {}(timestamp_column, INTERVAL '10 seconds') OVER (PARTITION BY …)", self.name()))
    }

    fn instant(&self, ts: Option<&DataType>) -> Result<DataType> {
        let ts = ts.ok_or_else(|| self.usage("no arguments"))?;
        instant_type(ts).ok_or_else(|| self.usage(&format!("a first argument of type {ts}")))
    }
}

impl WindowUDFImpl for SessionBound {
    fn name(&self) -> &str {
        match self.bound {
            Bound::Start => "session_window_start",
            Bound::End => "session_window_end",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }

    fn field(&self, args: WindowUDFFieldArgs) -> DfResult<FieldRef> {
        let ts = args.get_input_field(0);
        let ts = self.instant(ts.as_ref().map(|f| f.data_type()))?;
        Ok(Arc::new(Field::new(args.name(), ts, true)))
    }

    fn coerce_types(&self, args: &[DataType]) -> DfResult<Vec<DataType>> {
        let [ts, gap] = args else { return Err(self.usage(&format!("{} arguments", args.len())).into()) };
        let gap = match gap {
            DataType::Interval(_) | DataType::Duration(_) => gap.clone(),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Interval(IntervalUnit::MonthDayNano),
            other => return Err(self.usage(&format!("a gap of type {other}")).into()),
        };
        Ok(vec![self.instant(Some(ts))?, gap])
    }

    fn partition_evaluator(&self, _args: PartitionEvaluatorArgs) -> DfResult<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Evaluator { bound: self.bound }))
    }

    fn limit_effect(&self, _args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        // Later rows may make the session of earlier ones longer.
        LimitEffect::Unknown
    }
}

#[derive(Debug)]
struct Evaluator {
    bound: Bound,
}

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> DfResult<ArrayRef> {
        let [ts, gap] = values else { return Err(Error::internal("a session's arguments").into()) };
        let times = ts.as_primitive::<TimestampMicrosecondType>();
        let mut bounds: Vec<Option<i64>> = vec![None; rows];
        if rows > 0 {
            let gap = gap_micros(&ScalarValue::try_from_array(gap, 0)?)?;
            let mut order: Vec<(i64, usize)> =
                times.iter().enumerate().filter_map(|(row, time)| Some((time?, row))).collect();
            order.sort_unstable();
            for session in order.chunk_by(|(a, _), (b, _)| b.saturating_sub(*a) < gap) {
                let [(first, _), ..] = session else { continue };
                let last = session.last().map_or(*first, |(last, _)| *last);
                let bound = match self.bound {
                    Bound::Start => *first,
                    Bound::End => last.checked_add(gap).ok_or_else(|| {
                        Error::new(ErrorKind::DatetimeOverflow, "the session is out of the range of timestamps")
                    })?,
                };
                for (_, row) in session {
                    if let Some(place) = bounds.get_mut(*row) {
                        *place = Some(bound);
                    }
                }
            }
        }
        let bounds: PrimitiveArray<TimestampMicrosecondType> = bounds.into_iter().collect();
        Ok(Arc::new(bounds.with_data_type(ts.data_type().clone())))
    }
}
