//! `hop_ends(ts, slide, size[, offset])` and `cumulate_ends(ts, step, size[, offset])`: the ends of the windows that hold
//! `ts`, as a list.
//!
//! What every dialect's HOP and CUMULATE becomes, under `unnest`. The list of a null is one null, so that a row without a
//! time stays, as with TUMBLE.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, ListArray, PrimitiveArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, TimeUnit, TimestampMicrosecondType};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::scalar_doc_sections::DOC_SECTION_DATETIME;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::tumble::{fixed_micros, length_type};
use crate::common::{Error, ErrorKind, Result};
use crate::types::{TimeWindows, time};

const HOP: &str = "hop_ends";
const CUMULATE: &str = "cumulate_ends";

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    let what = "The ends of the overlapping windows that hold a time.";
    Documentation::builder(DOC_SECTION_DATETIME, what, "hop_ends(ts, slide, size[, offset])").build()
});

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct WindowEnds {
    name: &'static str,
    signature: Signature,
}

impl WindowEnds {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let make = |name| Self { name, signature: Signature::user_defined(Volatility::Immutable) };
        [HOP, CUMULATE].into_iter().map(make)
    }

    fn usage(&self, got: &str) -> Error {
        Error::new(ErrorKind::UndefinedFunction, format!("{} does not take {got}", self.name)).with_hint(format!(
            "write {}(timestamp_column, INTERVAL '2 seconds', INTERVAL '10 seconds' [, offset interval])",
            self.name
        ))
    }
}

/// The windows that the arguments behind the time say, if `function` makes any; `None` also where an argument is NULL.
///
/// # Errors
/// `InvalidParameterValue` for lengths that no windows can have.
pub fn time_windows(function: &str, lengths: &[ScalarValue]) -> Result<Option<TimeWindows>> {
    if ![HOP, CUMULATE].contains(&function) {
        return Ok(None);
    }
    let mut micros = Vec::with_capacity(lengths.len());
    for (length, what) in lengths.iter().zip(["window step", "window size", "window offset"]) {
        match fixed_micros(&ColumnarValue::Scalar(length.clone()), what)? {
            Some(length) => micros.push(length),
            None => return Ok(None),
        }
    }
    let bad = |what: &str| Err(Error::new(ErrorKind::InvalidParameterValue, what));
    let (step, size, offset) = match micros.as_slice() {
        [step, size] => (*step, *size, 0),
        [step, size, offset] => (*step, *size, *offset),
        _ => return bad("a window needs a step and a size"),
    };
    if step <= 0 || size <= 0 {
        return bad("the window step and size must be above zero");
    }
    match function {
        HOP => Ok(Some(TimeWindows::Hop { slide: step, size, offset: offset.rem_euclid(step) })),
        _ if size % step != 0 => bad("the window size must be a multiple of its step"),
        _ => Ok(Some(TimeWindows::Cumulate { step, size, offset: offset.rem_euclid(size) })),
    }
}

impl ScalarUDFImpl for WindowEnds {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }

    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        let ts = args.first().ok_or_else(|| self.usage("no arguments"))?;
        let ts = instant_type(ts).ok_or_else(|| self.usage(&format!("a first argument of type {ts}")))?;
        Ok(DataType::List(Arc::new(Field::new_list_field(ts, true))))
    }

    fn coerce_types(&self, args: &[DataType]) -> DfResult<Vec<DataType>> {
        let [ts, lengths @ ..] = args else { return Err(self.usage("no arguments").into()) };
        if !(2..=3).contains(&lengths.len()) {
            return Err(self.usage(&format!("{} arguments", args.len())).into());
        }
        let mut types = vec![instant_type(ts).ok_or_else(|| self.usage(&format!("a first argument of type {ts}")))?];
        for length in lengths {
            let of_length = length_type(length);
            types.push(of_length.ok_or_else(|| self.usage(&format!("a window size of type {length}")))?);
        }
        Ok(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let [ts, lengths @ ..] = args.args.as_slice() else { return Err(self.usage("no arguments").into()) };
        let lengths = lengths.iter().map(|length| match length {
            ColumnarValue::Scalar(scalar) => Ok(scalar.clone()),
            ColumnarValue::Array(_) => Err(Error::not_supported("the window step and size must be constants")),
        });
        let windows = time_windows(self.name, &lengths.collect::<Result<Vec<_>>>()?)?;
        let ts = ts.to_array(rows)?;
        Ok(ColumnarValue::Array(ends(&ts, windows)?))
    }
}

/// How windows see a time: in microseconds.
pub(super) fn instant_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Timestamp(_, zone) => Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
        DataType::Date32 | DataType::Date64 | DataType::Null => Some(time::timestamp()),
        _ => None,
    }
}

fn ends(ts: &ArrayRef, windows: Option<TimeWindows>) -> Result<ArrayRef> {
    let times = ts.as_primitive::<TimestampMicrosecondType>();
    let mut values: Vec<Option<i64>> = Vec::with_capacity(times.len() * 4);
    let mut lengths = Vec::with_capacity(times.len());
    for time in times {
        let before = values.len();
        match time.zip(windows) {
            None => values.push(None),
            Some((time, windows)) => values.extend(windows.ends(time).ok_or_else(out_of_range)?.map(Some)),
        }
        lengths.push(values.len() - before);
    }
    let values = PrimitiveArray::<TimestampMicrosecondType>::from(values).with_data_type(ts.data_type().clone());
    let field = Arc::new(Field::new_list_field(ts.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), Arc::new(values), None)?))
}

fn out_of_range() -> Error {
    Error::new(ErrorKind::DatetimeOverflow, "the window is out of the range of timestamps")
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;
    use crate::expr::eval::tests::{eval_one, try_physical};
    use crate::types::pretty;

    #[test]
    fn ends_of_every_type() {
        let at_5 = "[1970-01-01T00:00:06, 1970-01-01T00:00:08]";
        let cases = [
            ("hop_ends(TIMESTAMP '1970-01-01 00:00:05', INTERVAL '2' SECOND, INTERVAL '4' SECOND)", at_5),
            ("hop_ends(CAST('1970-01-01T00:00:05' AS TIMESTAMP(9)), '2 seconds', '4 seconds', '-6 seconds')", at_5),
            (
                "hop_ends(TIMESTAMP '1969-12-31 23:59:59', INTERVAL '1' MINUTE, INTERVAL '1' MINUTE)",
                "[1970-01-01T00:00:00]",
            ),
            ("hop_ends(TIMESTAMP '1970-01-01 00:00:05', INTERVAL '10' SECOND, INTERVAL '2' SECOND)", "[]"),
            ("hop_ends(NULL, INTERVAL '10' SECOND, INTERVAL '2' SECOND)", "[.]"),
            ("cumulate_ends(TIMESTAMP '1970-01-01 00:00:05', INTERVAL '2' SECOND, INTERVAL '8' SECOND)", at_5),
        ];
        for (sql, expected) in cases {
            assert_eq!(eval_one(sql).unwrap(), expected, "{sql}");
        }
    }

    #[test]
    fn a_column_keeps_nulls_and_its_time_zone() {
        let chunk = pretty::chunk("z:timestamptz\n+ 2024-01-01T00:00:19Z\n+ .").unwrap();
        let expr = try_physical("hop_ends(z, INTERVAL '5' SECOND, INTERVAL '10' SECOND)", &chunk.schema()).unwrap();
        let array = expr.evaluate(chunk.batch()).unwrap().into_array(2).unwrap();
        let lists = array.as_list::<i32>();
        assert_eq!(lists.value_type(), time::timestamptz());
        assert_eq!((lists.value(0).len(), lists.value(1).len(), lists.value(1).null_count()), (2, 1, 1));
    }

    #[test]
    fn wrong_windows_say_what_is_wrong() {
        let ts = "TIMESTAMP '2024-01-01'";
        let cases = [
            (format!("hop_ends({ts}, INTERVAL '0' SECOND, INTERVAL '1' SECOND)"), "above zero"),
            (format!("hop_ends({ts}, INTERVAL '1' SECOND, INTERVAL '-1' SECOND)"), "above zero"),
            (format!("hop_ends({ts}, INTERVAL '1 month', INTERVAL '1 year')"), "months"),
            (format!("hop_ends({ts}, INTERVAL '1' SECOND)"), "2 arguments"),
            (format!("hop_ends({ts}, 1, 2)"), "size of type"),
            (format!("cumulate_ends({ts}, INTERVAL '2' SECOND, INTERVAL '5' SECOND)"), "multiple"),
            ("hop_ends(1, INTERVAL '1' SECOND, INTERVAL '5' SECOND)".into(), "first argument"),
            (
                "hop_ends(to_timestamp_micros(9223372036854775807), INTERVAL '1' DAY, INTERVAL '7' DAY)".into(),
                "out of the range",
            ),
        ];
        for (sql, message) in cases {
            let error = eval_one(&sql).unwrap_err().to_string();
            assert!(error.contains(message), "{sql}: {error}");
        }
    }
}
