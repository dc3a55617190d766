//! `nextval`, `setval`, `currval` and `lastval`. Each row takes a value of its own.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::functions::{Scope, function, id, make, split, text, word};
use super::{live, sequence_tables};
use crate::catalog::def::PUBLIC;
use crate::catalog::{Privilege, Sequence};
use crate::common::{Error, ErrorKind, Result};
use crate::sql::name::quote;

/// What nextval asks for.
const TAKE: [Privilege; 2] = [Privilege::Usage, Privilege::Update];

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
    let s = scope.clone();
    let parameter = function(PARAMETER, DataType::Int64, move |args| {
        let value = id(args, 0).and_then(|id| sequence_tables::parameter(&s.snapshot, id, word(args, 1)?));
        Ok(ScalarValue::Int64(value))
    });
    vec![next, current, last, set, serial, parameter]
}

/// A field of `pg_sequence` by a sequence's id: what subqueries on it become.
pub const PARAMETER: &str = "_sequence_parameter";

impl Scope {
    /// The sequence that an argument names or has the id of, if the session has one of the privileges.
    fn sequence(&self, arg: Option<&ScalarValue>, one_of: &[Privilege]) -> Result<&Sequence> {
        let sequence = match arg.map(ScalarValue::try_as_str) {
            Some(None) => {
                let relation = id(arg.map(std::slice::from_ref).unwrap_or_default(), 0).unwrap_or_default();
                sequence_tables::find(&self.snapshot, relation).ok_or_else(|| {
                    let message = format!("relation with OID {relation} is not a sequence");
                    Error::new(ErrorKind::UndefinedTable, message).with_hint("SHOW SEQUENCES lists the sequences")
                })?
            }
            name => {
                let name = name.flatten().flatten().and_then(|name| split(name).pop()).unwrap_or_default();
                if let (None, Some(object)) = (self.snapshot.sequence(&name), self.snapshot.get(&name)) {
                    let message = format!("\"{}\" is not a sequence", object.name);
                    return Err(Error::new(ErrorKind::WrongObjectType, message));
                }
                self.snapshot.find_sequence(&name)?.as_ref()
            }
        };
        self.snapshot.check_sequence(&self.client.user(), one_of, sequence)?;
        Ok(sequence)
    }

    /// `pg_get_serial_sequence(table, column)`: the column is taken as it is written.
    fn serial(&self, args: &[ScalarValue]) -> Result<Option<String>> {
        let (Some(table), Some(column)) = (word(args, 0), word(args, 1)) else { return Ok(None) };
        let table = self.snapshot.find(&split(table).pop().unwrap_or_default())?;
        let index = table.definition.columns().iter().position(|c| !c.hidden && c.name == column).ok_or_else(|| {
            let message = format!("column \"{column}\" of relation \"{}\" does not exist", table.name);
            Error::new(ErrorKind::UndefinedColumn, message)
        })?;
        Ok(self.snapshot.sequence_of(table, index).map(|s| format!("{PUBLIC}.{}", quote(&s.name))))
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
        let sequence = self.sequence(args.first(), &[Privilege::Usage, Privilege::Select])?;
        self.client.taken().of(sequence.id).ok_or_else(|| {
            let message = format!("currval of sequence \"{}\" is not yet defined in this session", sequence.name);
            Error::new(ErrorKind::ObjectNotReady, message).with_hint("nextval takes a value first")
        })
    }

    /// `setval(sequence, value [, is_called])`.
    fn set_value(&self, args: &[ScalarValue]) -> Result<ScalarValue> {
        let Some(value) = live::number(args.get(1)) else { return Ok(ScalarValue::Int64(None)) };
        let sequence = self.sequence(args.first(), &[Privilege::Update])?;
        let range = &sequence.range;
        if !(range.min..=range.max).contains(&value) {
            let message = format!(
                "setval: value {value} is out of bounds for sequence \"{}\" ({}..{})",
                sequence.name, range.min, range.max
            );
            return Err(Error::new(ErrorKind::NumericValueOutOfRange, message));
        }
        let called = !matches!(args.get(2), Some(ScalarValue::Boolean(Some(false))));
        self.store.sequences.set(sequence.id, value, called)?;
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
                let sequence = self.scope.sequence(Some(name), &TAKE)?;
                self.scope.take(sequence, args.number_rows)?.into()
            }
            Some(ColumnarValue::Array(names)) => {
                let take = |row| {
                    let name = ScalarValue::try_from_array(names, row)?;
                    if name.is_null() {
                        return Ok(None);
                    }
                    Ok::<_, DataFusionError>(self.scope.take(self.scope.sequence(Some(&name), &TAKE)?, 1)?.pop())
                };
                (0..names.len()).map(take).collect::<DfResult<Int64Array>>()?
            }
            None => Int64Array::from(Vec::<i64>::new()),
        };
        Ok(ColumnarValue::Array(Arc::new(values) as ArrayRef))
    }
}
