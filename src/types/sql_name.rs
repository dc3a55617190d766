//! Arrow types under their SQL names, for people.

use arrow::datatypes::DataType;

use super::pg_type::PgType;

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
        DataType::Timestamp(_, None) => "TIMESTAMP".into(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMPTZ".into(),
        DataType::Interval(_) => "INTERVAL".into(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::List(item) => format!("{}[]", sql_name(item.data_type())),
        other => other.to_string(),
    }
}
