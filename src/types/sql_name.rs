//! Arrow types and those of SQL: their names, for people, and the type that holds any other.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, TimeUnit};

use super::pg_type::PgType;
use super::time;
use super::timetz::timetz;

/// The name of a column's type: `JSONB`, `VARCHAR(3)`, `TIMESTAMP(0)`.
pub fn column_type(data_type: &DataType, mark: Option<PgType>) -> String {
    match mark {
        Some(PgType::Varchar(n)) => format!("VARCHAR({n})"),
        Some(PgType::Char(n)) => format!("CHAR({n})"),
        Some(PgType::Seconds(n)) => format!("{}({n})", sql_name(data_type)),
        Some(mark) if matches!(data_type, DataType::List(_)) => format!("{}[]", mark.name().to_uppercase()),
        Some(mark) => mark.name().to_uppercase(),
        None => sql_name(data_type),
    }
}

/// The name under which CREATE TABLE takes the type; types that SQL has no name for keep Arrow's.
pub fn sql_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int16 => "SMALLINT".into(),
        DataType::Int32 => "INT".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float32 => "REAL".into(),
        DataType::Float64 => "DOUBLE PRECISION".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".into(),
        DataType::Binary => "BYTEA".into(),
        DataType::Date32 => "DATE".into(),
        DataType::Time64(_) => "TIME".into(),
        own if *own == timetz() => "TIMETZ".into(),
        DataType::Timestamp(_, None) => "TIMESTAMP".into(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMPTZ".into(),
        DataType::Interval(_) => "INTERVAL".into(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::List(item) => format!("{}[]", sql_name(item.data_type())),
        other => other.to_string(),
    }
}

/// The type of a column that can hold all values of any Arrow type: what SQL has no name for becomes the next wider one.
pub fn sql_type(data_type: &DataType) -> DataType {
    let inner = |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(sql_type(field.data_type())));
    match data_type {
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => DataType::Utf8,
        own if *own == timetz() => timetz(),
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Date64 | DataType::Timestamp(_, None) => time::timestamp(),
        DataType::Timestamp(_, Some(_)) => time::timestamptz(),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Dictionary(_, value) => sql_type(value),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(inner(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        other => other.clone(),
    }
}
