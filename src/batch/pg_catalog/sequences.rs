//! `nextval`, `setval`, `currval` and `lastval`. Each row takes a value of its own.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::functions::{Scope, function, make, split, text, word};
use super::live;
use crate::catalog::Sequence;
use crate::catalog::def::PUBLIC;
use crate::common::{Error, ErrorKind, Result};

pub fn functions(scope: &Scope) -> Vec<ScalarUDF> {
    let signature = Signature::new(TypeSignature::Any(1), Volatility::Volatile);
    let next = ScalarUDF::from(NextVal { signature, scope: scope.clone() });
    let s = scope.clone();
    let current = make("currval", DataType::Int64, Volatility::Volatile, move |args| Ok(s.current(args)?.into()));
    let s = scope.clone();
    let last = make("lastval", DataType::Int64, Volatility::Volatile, move |_| match s.client.taken().last() {
        Some(value) => Ok(value.into()),
        None => Err(Error::new(ErrorKind::ObjectNotReady, "lastval is not yet defined in this session").into()),
    });
    let s = scope.clone();
    let set = make("setval", DataType::Int64, Volatility::Volatile, move |args| Ok(s.set_value(args)?));
    let s = scope.clone();
    let serial = function("pg_get_serial_sequence", DataType::Utf8, move |args| text(s.serial(args)?));
    vec![next, current, last, set, serial]
}

impl Scope {
    /// The sequence that an argument names, if the session may take its values.
    fn sequence(&self, name: Option<&str>) -> Result<&Arc<Sequence>> {
        let name = name.and_then(|name| split(name).pop()).unwrap_or_default();
        let sequence = self.snapshot.find_sequence(&name)?;
        self.snapshot.check_sequence(&self.client.user(), sequence)?;
        Ok(sequence)
    }

    /// `pg_get_serial_sequence(table, column)`: the column is taken as it is written.
    fn serial(&self, args: &[ScalarValue]) -> Result<Option<String>> {
        let (Some(table), Some(column)) = (word(args, 0), word(args, 1)) else { return Ok(None) };
        let table = self.snapshot.find(&split(table).pop().unwrap_or_default())?;
        let of_column = |s: &&Arc<Sequence>| s.owned_by.as_ref().is_some_and(|by| by.column == column);
        Ok(self.snapshot.sequences_of(table.id).find(of_column).map(|s| format!("{PUBLIC}.{}", s.name)))
    }

    fn take(&self, sequence: &Sequence, count: usize) -> Result<Vec<i64>> {
        let values = self.store.sequences.take(sequence.id, &sequence.range, count)?;
        if let Some(last) = values.last() {
            self.client.taken().set(sequence.id, *last);
        }
        if values.len() == count {
            return Ok(values);
        }
        let (end, value) = match sequence.range.increment > 0 {
            true => ("maximum", sequence.range.max),
            false => ("minimum", sequence.range.min),
        };
        let message = format!("nextval: reached {end} value of sequence \"{}\" ({value})", sequence.name);
        Err(Error::new(ErrorKind::SequenceLimitExceeded, message))
    }

    fn current(&self, args: &[ScalarValue]) -> Result<i64> {
        let sequence = self.sequence(args.first().and_then(|arg| arg.try_as_str()?))?;
        self.client.taken().of(sequence.id).ok_or_else(|| {
            let message = format!("currval of sequence \"{}\" is not yet defined in this session", sequence.name);
            Error::new(ErrorKind::ObjectNotReady, message).with_hint("nextval takes a value first")
        })
    }

    /// `setval(sequence, value [, is_called])`.
    fn set_value(&self, args: &[ScalarValue]) -> Result<ScalarValue> {
        let Some(value) = live::number(args.get(1)) else { return Ok(ScalarValue::Int64(None)) };
        let sequence = self.sequence(args.first().and_then(|arg| arg.try_as_str()?))?;
        let range = &sequence.range;
        if !(range.min..=range.max).contains(&value) {
            let message = format!(
                "setval: value {value} is out of bounds for sequence \"{}\" ({}..{})",
                sequence.name, range.min, range.max
            );
            return Err(Error::new(ErrorKind::NumericValueOutOfRange, message));
        }
        let called = !matches!(args.get(2), Some(ScalarValue::Boolean(Some(false))));
        let next = if called { range.after(value) } else { Some(value) };
        self.store.sequences.set(sequence.id, next)?;
        if called {
            self.client.taken().set(sequence.id, value);
        }
        Ok(value.into())
    }
}

struct NextVal {
    signature: Signature,
    scope: Scope,
}

impl fmt::Debug for NextVal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for NextVal {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for NextVal {}

impl Hash for NextVal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl ScalarUDFImpl for NextVal {
    fn name(&self) -> &str {
        "nextval"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let values = match args.args.first() {
            Some(ColumnarValue::Scalar(name)) => {
                let sequence = self.scope.sequence(name.try_as_str().flatten())?;
                self.scope.take(sequence, args.number_rows)?.into()
            }
            Some(ColumnarValue::Array(names)) => {
                let names = cast(names, &DataType::Utf8)?;
                let take = |name| Ok(self.scope.take(self.scope.sequence(name)?, 1)?.pop());
                names.as_string::<i32>().iter().map(take).collect::<Result<Int64Array>>()?
            }
            None => Int64Array::from(Vec::<i64>::new()),
        };
        Ok(ColumnarValue::Array(Arc::new(values) as ArrayRef))
    }
}
