//! What the numbers in `VARCHAR(3)`, `CHAR(3)`, `TIME(3)` and `TIMESTAMP(3)` do to a value. A cast cuts, an assignment to a
//! column refuses what is too long; both round the digits of seconds.
//!
//! CHAR is kept without the blanks at its end, which do not count in PostgreSQL's comparisons either; the wire writes them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType};
use datafusion::logical_expr::{Expr, ReturnFieldArgs, ScalarUDF};
use datafusion::scalar::ScalarValue;

use super::function::{Function, Returns, arg};
use super::functions;
use crate::common::{Error, ErrorKind, Result};
use crate::types::pg_type::PgType;
use crate::types::timetz::{TimeTz, WIDTH, timetz};

/// 2000-01-01, from which PostgreSQL counts: halves of a digit go away from there.
const EPOCH: i64 = 946_684_800_000_000;
const DIGITS: u32 = 6;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let texts: &[&[DataType]] = &[&[DataType::Utf8, DataType::Int64]];
    let marked = || Returns::MarkedBy(char_of);
    let plain = || Returns::Type(DataType::Utf8);
    vec![
        Function::one_of("varchar_of", texts, plain(), |args| shortened(args, PgType::Varchar, true)).udf(),
        Function::one_of("varchar_fit", texts, plain(), |args| shortened(args, PgType::Varchar, false)).udf(),
        Function::one_of("char_of", texts, marked(), |args| shortened(args, PgType::Char, true)).udf(),
        Function::one_of("char_fit", texts, marked(), |args| shortened(args, PgType::Char, false)).udf(),
        Function::coercing(
            "seconds_of",
            |types| match types {
                [time, _] => Ok(vec![time.clone(), DataType::Int64]),
                _ => Err(Error::internal("seconds_of takes two arguments")),
            },
            Returns::Of(|types| types.first().cloned().ok_or_else(|| Error::internal("seconds_of of nothing"))),
            |args| seconds(arg(args, 0)?, u8::try_from(number(args)?.unwrap_or(0)).unwrap_or(u8::MAX)),
        )
        .udf(),
    ]
}

/// The type of a text that was cut to a CHAR.
fn char_of(args: &ReturnFieldArgs) -> Option<PgType> {
    match args.scalar_arguments.get(1) {
        Some(Some(ScalarValue::Int64(Some(n)))) => u32::try_from(*n).ok().map(PgType::Char),
        _ => None,
    }
}

fn number(args: &[ArrayRef]) -> Result<Option<i64>> {
    Ok(arg(args, 1)?.as_primitive_opt::<Int64Type>().and_then(|numbers| numbers.iter().flatten().next()))
}

fn shortened(args: &[ArrayRef], mark: fn(u32) -> PgType, cut: bool) -> Result<ArrayRef> {
    let n = number(args)?.and_then(|n| u32::try_from(n).ok()).unwrap_or(u32::MAX);
    texts(arg(args, 0)?, mark(n), |text| match cut {
        true => Ok(()),
        false => Err(too_long(mark(n), text)),
    })
}

/// A column as an assignment to one with this mark stores it; other marks change nothing. `refuse` is asked about each text
/// that is too long.
///
/// # Errors
/// What `refuse` gives.
pub fn fitted(column: &ArrayRef, mark: PgType, refuse: impl FnMut(&str) -> Result<()>) -> Result<ArrayRef> {
    match mark {
        PgType::Varchar(_) | PgType::Char(_) => texts(column, mark, refuse),
        PgType::Seconds(digits) => seconds(column, digits),
        PgType::Json | PgType::Jsonb | PgType::Uuid | PgType::Oid => Ok(column.clone()),
    }
}

/// An expression as an assignment to a column with this mark stores it.
pub fn assigned(expr: Expr, mark: Option<PgType>) -> Expr {
    let (name, n) = match mark {
        Some(PgType::Varchar(n)) => ("varchar_fit", i64::from(n)),
        Some(PgType::Char(n)) => ("char_fit", i64::from(n)),
        Some(PgType::Seconds(digits)) => ("seconds_of", i64::from(digits)),
        _ => return expr,
    };
    match functions::scalar(name) {
        Some(function) => function.call(vec![expr, datafusion::logical_expr::lit(n)]),
        None => expr,
    }
}

/// What PostgreSQL says of a text that does not fit.
pub fn too_long(mark: PgType, text: &str) -> Error {
    let (name, n) = match mark {
        PgType::Char(n) => ("character", n),
        PgType::Varchar(n) => ("character varying", n),
        _ => (mark.name(), 0),
    };
    let long = text.chars().count();
    Error::new(ErrorKind::StringDataRightTruncation, format!("value too long for type {name}({n})"))
        .with_hint(format!("it has {long} characters; cast it to cut it"))
}

fn texts(column: &ArrayRef, mark: PgType, mut refuse: impl FnMut(&str) -> Result<()>) -> Result<ArrayRef> {
    let (PgType::Varchar(n) | PgType::Char(n)) = mark else { return Ok(column.clone()) };
    let column = cast(column, &DataType::Utf8)?;
    let texts = column.as_string::<i32>();
    let fits = |text: &str| match mark {
        PgType::Char(_) => !text.ends_with(' ') && text.len() <= n as usize,
        _ => text.len() <= n as usize,
    };
    if texts.iter().flatten().all(fits) {
        return Ok(column);
    }
    let mut fitted = |text: &str| -> Result<String> {
        let end = text.char_indices().nth(n as usize).map_or(text.len(), |(end, _)| end);
        let (kept, rest) = text.split_at(end);
        // Blanks are cut in silence.
        if !rest.trim_end_matches(' ').is_empty() {
            refuse(text)?;
        }
        Ok(if matches!(mark, PgType::Char(_)) { kept.trim_end_matches(' ') } else { kept }.to_string())
    };
    let fitted = texts.iter().map(|text| text.map(&mut fitted).transpose()).collect::<Result<StringArray>>()?;
    Ok(Arc::new(fitted))
}

/// So many digits of a second, rounded.
fn seconds(column: &ArrayRef, digits: u8) -> Result<ArrayRef> {
    if u32::from(digits) >= DIGITS {
        return Ok(column.clone());
    }
    let unit = 10_i64.pow(DIGITS - u32::from(digits));
    let rounded = move |micros: i64| {
        let half = if micros < 0 { -unit / 2 } else { unit / 2 };
        micros.checked_add(half).map_or(micros, |micros| micros / unit * unit)
    };
    match column.data_type() {
        DataType::Time64(TimeUnit::Microsecond) => {
            Ok(Arc::new(column.as_primitive::<Time64MicrosecondType>().unary::<_, Time64MicrosecondType>(rounded)))
        }
        own if *own == timetz() => {
            let times = column.as_fixed_size_binary();
            let rounded = |bytes: &[u8]| {
                TimeTz::of_bytes(bytes).map(|time| TimeTz { micros: rounded(time.micros), ..time }.to_bytes())
            };
            let times = times.iter().map(|bytes| bytes.and_then(rounded));
            Ok(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(times, WIDTH)?))
        }
        zoned @ DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let times = column.as_primitive::<TimestampMicrosecondType>();
            let times = times.unary::<_, TimestampMicrosecondType>(|micros| match micros {
                i64::MAX | i64::MIN => micros,
                _ => micros.checked_sub(EPOCH).map_or(micros, |since| rounded(since).saturating_add(EPOCH)),
            });
            Ok(Arc::new(times.with_data_type(zoned.clone())))
        }
        other => Err(Error::internal(format!("{other} has no seconds"))),
    }
}

#[cfg(test)]
mod tests {
    use crate::expr::eval::tests::eval_one;

    #[test]
    fn casts_and_assignments() {
        for (sql, expected) in [
            ("varchar_of('abcd', 3)", Ok("abc")),
            ("varchar_of('日本語文', 3)", Ok("日本語")),
            ("varchar_of('ab  ', 3)", Ok("ab ")),
            ("char_of('ab  ', 3)", Ok("ab")),
            ("char_of('abcd', 3)", Ok("abc")),
            ("varchar_fit('ab   ', 3)", Ok("ab ")),
            ("varchar_fit('abcd', 3)", Err("value too long for type character varying(3)")),
            ("char_fit('abcd', 3)", Err("value too long for type character(3)")),
            ("text_out(seconds_of(timestamp_in('2024-02-29 12:34:56.7895'), 3))", Ok("2024-02-29 12:34:56.79")),
            // Away from the year 2000.
            ("text_out(seconds_of(timestamp_in('1960-01-01 00:00:00.0005'), 3))", Ok("1960-01-01 00:00:00")),
            ("text_out(seconds_of(timestamp_in('infinity'), 0))", Ok("infinity")),
            ("text_out(seconds_of(time_in('23:59:59.9996'), 3))", Ok("24:00:00")),
        ] {
            let got = eval_one(sql);
            match (got, expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{sql}"),
                (Err(e), Err(expected)) => assert!(e.to_string().contains(expected), "{sql}: {e}"),
                (got, _) => panic!("{sql}: {got:?}"),
            }
        }
    }
}
