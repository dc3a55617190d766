//! Arrow types to PostgreSQL's: the object id and width that a client sees.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use pgwire::api::Type;

use crate::common::{Error, Result};
use crate::types::pg_type;
use crate::types::timetz::timetz;

/// A type as RowDescription names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PgType {
    pub oid: u32,
    /// Bytes of a value, -1 when they vary.
    pub size: i16,
    /// Of a CHAR and VARCHAR with a length that and 4, else -1.
    pub modifier: i32,
}

impl PgType {
    pub fn of(ty: &Type) -> Self {
        let size = match *ty {
            Type::BOOL | Type::CHAR => 1,
            Type::INT2 => 2,
            Type::INT4 | Type::FLOAT4 | Type::DATE | Type::OID => 4,
            Type::INT8 | Type::FLOAT8 | Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ => 8,
            Type::TIMETZ => 12,
            Type::INTERVAL | Type::UUID => 16,
            _ => -1,
        };
        Self { oid: ty.oid(), size, modifier: -1 }
    }

    fn of_length(ty: &Type, length: u32) -> Self {
        Self { modifier: i32::try_from(length).map_or(-1, |n| n.saturating_add(4)), ..Self::of(ty) }
    }
}

/// The type under which a column is sent.
///
/// # Errors
/// `NotSupported` for maps, unions and the like.
pub fn pg_type(field: &FieldRef) -> Result<PgType> {
    let nested = field.data_type().is_nested();
    match pg_type::PgType::of(field) {
        Some(pg_type::PgType::Json) if nested => return Ok(PgType::of(&Type::JSON_ARRAY)),
        Some(pg_type::PgType::Jsonb) if nested => return Ok(PgType::of(&Type::JSONB_ARRAY)),
        Some(pg_type::PgType::Uuid) if nested => return Ok(PgType::of(&Type::UUID_ARRAY)),
        Some(pg_type::PgType::Json) => return Ok(PgType::of(&Type::JSON)),
        Some(pg_type::PgType::Jsonb) => return Ok(PgType::of(&Type::JSONB)),
        Some(pg_type::PgType::Uuid) => return Ok(PgType::of(&Type::UUID)),
        Some(pg_type::PgType::Oid) if nested => return Ok(PgType::of(&Type::OID_ARRAY)),
        Some(pg_type::PgType::Oid) => return Ok(PgType::of(&Type::OID)),
        Some(pg_type::PgType::Varchar(n)) => return Ok(PgType::of_length(&Type::VARCHAR, n)),
        Some(pg_type::PgType::Char(n)) => return Ok(PgType::of_length(&Type::BPCHAR, n)),
        Some(pg_type::PgType::Seconds(_)) | None => {}
    }
    if is_timetz(field.data_type()) {
        return Ok(PgType::of(if nested { &Type::TIMETZ_ARRAY } else { &Type::TIMETZ }));
    }
    let plain = Arc::new(field.as_ref().clone().with_data_type(plain(field.data_type())));
    match arrow_pg::datatypes::field_into_pg_type(&plain) {
        Ok(ty) => Ok(PgType::of(&ty)),
        Err(_) => Err(unsupported(field.name(), field.data_type())),
    }
}

/// Whether it is TIMETZ, or an array of it, of which the crate knows nothing.
fn is_timetz(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) => is_timetz(item.data_type()),
        other => *other == timetz(),
    }
}

pub fn unsupported(name: &str, data_type: &DataType) -> Error {
    Error::not_supported(format!("column {name:?} of type {data_type} cannot be sent"))
        .with_hint("cast it to VARCHAR, or select a part of it")
}

/// Types that are the same to a client become one that arrow-pg knows; an array has one type for all dimensions.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Null => DataType::Utf8,
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal256(..) => DataType::Decimal128(38, 0),
        DataType::Dictionary(_, value) => plain(value),
        DataType::RunEndEncoded(_, value) => plain(value.data_type()),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => match plain(item.data_type()) {
            inner @ DataType::List(_) => inner,
            inner => DataType::List(Arc::new(Field::new("item", inner, true))),
        },
        DataType::Struct(fields) => DataType::Struct(
            fields.iter().map(|f| Arc::new(f.as_ref().clone().with_data_type(plain(f.data_type())))).collect(),
        ),
        other => other.clone(),
    }
}
