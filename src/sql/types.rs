//! SQL type names to Arrow types.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

use super::ast::{
    ArrayElemTypeDef, CastKind, CharacterLength, DataType as Sql, ExactNumberInfo, Expr, ObjectName, TimezoneInfo,
    Value,
};
use crate::common::{Error, ErrorKind, Result};
use crate::types::number_text::NUMERIC;
use crate::types::pg_type::PgType;
use crate::types::time;
use crate::types::timetz::timetz;

pub const MAX_DIGITS: u64 = 38;

/// The Arrow type of a column of SQL type `sql`.
///
/// # Errors
/// `UndefinedObject` for a type that is unknown, `InvalidParameterValue` for a precision out of range.
pub fn arrow(sql: &Sql) -> Result<DataType> {
    Ok(match sql {
        Sql::Bool | Sql::Boolean => DataType::Boolean,
        Sql::TinyInt(_) => DataType::Int8,
        Sql::SmallInt(_) | Sql::Int2(_) | Sql::Int16 => DataType::Int16,
        Sql::Int(_) | Sql::Integer(_) | Sql::Int4(_) | Sql::Int32 => DataType::Int32,
        Sql::BigInt(_) | Sql::Int8(_) | Sql::Int64 => DataType::Int64,
        Sql::Real | Sql::Float4 | Sql::Float32 => DataType::Float32,
        Sql::Float(ExactNumberInfo::Precision(bits)) if (1..=24).contains(bits) => DataType::Float32,
        Sql::Float(_) | Sql::Float8 | Sql::Float64 | Sql::Double(_) | Sql::DoublePrecision => DataType::Float64,
        Sql::Numeric(digits) | Sql::Decimal(digits) | Sql::Dec(digits) => decimal(digits)?,
        Sql::Varchar(_)
        | Sql::CharacterVarying(_)
        | Sql::CharVarying(_)
        | Sql::Nvarchar(_)
        | Sql::Char(_)
        | Sql::Character(_)
        | Sql::Text
        | Sql::String(_)
        | Sql::JSON
        | Sql::JSONB
        | Sql::Uuid => DataType::Utf8,
        Sql::Bytea | Sql::Bytes(_) | Sql::Varbinary(_) | Sql::Binary(_) | Sql::Blob(_) => DataType::Binary,
        Sql::Date => DataType::Date32,
        Sql::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => DataType::Time64(TimeUnit::Microsecond),
        Sql::Time(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => timetz(),
        Sql::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone)
        | Sql::TimestampNtz(_)
        | Sql::Datetime(_) => time::timestamp(),
        Sql::Timestamp(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => time::timestamptz(),
        Sql::Interval { .. } => DataType::Interval(IntervalUnit::MonthDayNano),
        Sql::Array(
            ArrayElemTypeDef::SquareBracket(element, _)
            | ArrayElemTypeDef::AngleBracket(element)
            | ArrayElemTypeDef::Parenthesis(element),
        ) => DataType::List(Arc::new(Field::new_list_field(arrow(element)?, true))),
        Sql::Custom(name, _) => custom(name).ok_or_else(|| unknown(sql))?,
        _ => return Err(unknown(sql)),
    })
}

/// The mark of a type that is kept as text, or that has a bound.
pub fn mark(sql: &Sql) -> Option<PgType> {
    match sql {
        Sql::JSON => Some(PgType::Json),
        Sql::JSONB => Some(PgType::Jsonb),
        Sql::Uuid => Some(PgType::Uuid),
        Sql::Array(ArrayElemTypeDef::SquareBracket(item, _)) => mark(item).filter(|mark| mark.is_type()),
        _ => modifier(sql),
    }
}

/// The bound that the number behind a type's name sets: `VARCHAR(3)`, `TIMESTAMP(3)`.
pub fn modifier(sql: &Sql) -> Option<PgType> {
    let length = |length: &Option<CharacterLength>| match length {
        Some(CharacterLength::IntegerLength { length, .. }) => u32::try_from(*length).ok(),
        Some(CharacterLength::Max) | None => None,
    };
    // More digits than there are say nothing.
    let digits =
        |digits: &Option<u64>| digits.filter(|n| *n < 6).and_then(|n| u8::try_from(n).ok()).map(PgType::Seconds);
    match sql {
        Sql::Varchar(n) | Sql::CharacterVarying(n) | Sql::CharVarying(n) => length(n).map(PgType::Varchar),
        Sql::Char(None) | Sql::Character(None) => Some(PgType::Char(1)),
        Sql::Char(n) | Sql::Character(n) => length(n).map(PgType::Char),
        Sql::Time(n, _) | Sql::Timestamp(n, _) => digits(n),
        _ => None,
    }
}

/// Names that other streaming databases and catalogues use.
fn custom(name: &ObjectName) -> Option<DataType> {
    let name = name.to_string().to_lowercase().replace('"', "");
    Some(match name.trim_start_matches("pg_catalog.") {
        "timestamp_ltz" => time::timestamptz(),
        "name" | "bpchar" | "text" | "citext" | "varchar" | "json" | "jsonb" | "uuid" => DataType::Utf8,
        // As clients name them with their schema.
        "bool" => DataType::Boolean,
        "int2" => DataType::Int16,
        "int4" => DataType::Int32,
        "int8" => DataType::Int64,
        "float4" => DataType::Float32,
        "float8" => DataType::Float64,
        "numeric" => DataType::Decimal128(NUMERIC.0, NUMERIC.1),
        "bytea" => DataType::Binary,
        "date" => DataType::Date32,
        "time" => DataType::Time64(TimeUnit::Microsecond),
        "timetz" => timetz(),
        "timestamp" => time::timestamp(),
        "timestamptz" => time::timestamptz(),
        "interval" => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => return None,
    })
}

/// Casts a value to a type of TIMETZ or arrays of it; of others it stays.
pub fn as_timetz(value: &mut Expr, to: &DataType) {
    fn named(to: &DataType) -> Option<Sql> {
        match to {
            DataType::List(item) => {
                Some(Sql::Array(ArrayElemTypeDef::SquareBracket(Box::new(named(item.data_type())?), None)))
            }
            other => (*other == timetz()).then_some(Sql::Time(None, TimezoneInfo::Tz)),
        }
    }
    let Some(data_type) = named(to) else { return };
    let expr = Box::new(std::mem::replace(value, Expr::value(Value::Null)));
    *value = Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None };
}

fn decimal(digits: &ExactNumberInfo) -> Result<DataType> {
    let (precision, scale) = match digits {
        ExactNumberInfo::None => return Ok(DataType::Decimal128(NUMERIC.0, NUMERIC.1)),
        ExactNumberInfo::Precision(p) => (*p, 0),
        ExactNumberInfo::PrecisionAndScale(p, s) => (*p, *s),
    };
    let in_range = (1..=MAX_DIGITS).contains(&precision) && u64::try_from(scale).is_ok_and(|s| s <= precision);
    match (in_range, u8::try_from(precision), i8::try_from(scale)) {
        (true, Ok(precision), Ok(scale)) => Ok(DataType::Decimal128(precision, scale)),
        _ => {
            Err(Error::new(ErrorKind::InvalidParameterValue, format!("NUMERIC({precision}, {scale}) is out of range"))
                .with_hint(format!("digits are 1 to {MAX_DIGITS}, of them 0 to all behind the point")))
        }
    }
}

fn unknown(sql: &Sql) -> Error {
    Error::new(ErrorKind::UndefinedObject, format!("type \"{}\" does not exist", sql.to_string().to_lowercase()))
        .with_hint(
            "types are BOOLEAN, SMALLINT, INT, BIGINT, REAL, DOUBLE PRECISION, NUMERIC, VARCHAR, BYTEA, DATE, TIME, TIMETZ, \
             TIMESTAMP, TIMESTAMPTZ, INTERVAL, and arrays of them",
        )
}

#[cfg(test)]
mod tests {
    use super::super::statement::Statement;
    use super::super::{Parsed, parse};

    fn type_of(sql: &str) -> String {
        match parse(&format!("CREATE TABLE t (c {sql})")) {
            Ok(parsed) => match &parsed[..] {
                [Parsed { statement: Statement::CreateTable(t), .. }] => t.columns[0].data_type.to_string(),
                other => panic!("{other:?}"),
            },
            Err(e) => format!("{} {}", e.kind().sqlstate(), e.message()),
        }
    }

    #[test]
    fn types_of_columns() {
        let cases = [
            ("boolean", "Boolean"),
            ("smallint", "Int16"),
            ("INT", "Int32"),
            ("bigint", "Int64"),
            ("int8", "Int64"),
            ("real", "Float32"),
            ("float(24)", "Float32"),
            ("float", "Float64"),
            ("double precision", "Float64"),
            ("double", "Float64"),
            ("numeric", "Decimal128(38, 10)"),
            ("numeric(12)", "Decimal128(12, 0)"),
            ("decimal(12,2)", "Decimal128(12, 2)"),
            ("numeric(39)", "22023 NUMERIC(39, 0) is out of range"),
            ("numeric(4,5)", "22023 NUMERIC(4, 5) is out of range"),
            ("varchar", "Utf8"),
            ("character varying(20)", "Utf8"),
            ("text", "Utf8"),
            ("string", "Utf8"),
            ("jsonb", "Utf8"),
            ("bytea", "Binary"),
            ("date", "Date32"),
            ("time", "Time64(µs)"),
            ("timetz", "FixedSizeBinary(12)"),
            ("time with time zone", "FixedSizeBinary(12)"),
            ("timestamp", "Timestamp(µs)"),
            ("timestamp without time zone", "Timestamp(µs)"),
            ("timestamp(3)", "Timestamp(µs)"),
            ("timestamptz", "Timestamp(µs, \"UTC\")"),
            ("timestamp with time zone", "Timestamp(µs, \"UTC\")"),
            ("interval", "Interval(MonthDayNano)"),
            ("bigint[]", "List(Int64)"),
            ("money", "42704 type \"money\" does not exist"),
        ];
        for (sql, expected) in cases {
            assert_eq!(type_of(sql), expected, "{sql}");
        }
    }
}
