//! Arrow types as `pg_attribute` and `format_type` tell them, and the types that casts in SQL name.

use std::collections::HashMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Int32Type};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion_pg_catalog::pg_catalog::oid_type_planner::PgOidTypePlanner;

use crate::batch::zone::Zone;
use crate::planner::Types;
use crate::sql::ast;
use crate::types::pg_type;
use crate::types::timetz::timetz;

/// A type as a column's row in `pg_attribute` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PgType {
    pub oid: i32,
    /// Bytes, -1 when they vary.
    pub size: i16,
    /// Precision and scale of a NUMERIC, what stands in brackets behind others, else -1.
    pub modifier: i32,
}

const BYTEA: i32 = 17;
const TEXT: i32 = 25;
const RECORD: i32 = 2249;

impl PgType {
    pub fn of(data_type: &DataType) -> Self {
        let (oid, size) = match data_type {
            DataType::Boolean => (16, 1),
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => (21, 2),
            DataType::Int32 | DataType::UInt16 => (23, 4),
            DataType::Int64 | DataType::UInt32 => (20, 8),
            DataType::Float16 | DataType::Float32 => (700, 4),
            DataType::Float64 => (701, 8),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => (BYTEA, -1),
            DataType::Date32 | DataType::Date64 => (1082, 4),
            DataType::Time32(_) | DataType::Time64(_) => (1083, 8),
            own if *own == timetz() => (1266, 12),
            DataType::Timestamp(_, None) => (1114, 8),
            DataType::Timestamp(_, Some(_)) => (1184, 8),
            DataType::Interval(_) | DataType::Duration(_) => (1186, 16),
            DataType::UInt64
            | DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => (1700, -1),
            DataType::Struct(_) => (RECORD, -1),
            DataType::List(item) | DataType::LargeList(item) => (array_of(Self::of(item.data_type()).oid), -1),
            _ => (TEXT, -1),
        };
        let modifier = match data_type {
            DataType::Decimal128(precision, scale) => ((i32::from(*precision) << 16) | i32::from(*scale)) + 4,
            _ => -1,
        };
        Self { oid, size, modifier }
    }

    /// As [`Self::of`], of a type with a mark.
    pub fn marked(data_type: &DataType, mark: Option<pg_type::PgType>) -> Self {
        let length = |n: u32| i32::try_from(n).map_or(-1, |n| n.saturating_add(4));
        let (oid, size, modifier) = match mark {
            Some(pg_type::PgType::Json) if data_type.is_nested() => (199, -1, -1),
            Some(pg_type::PgType::Jsonb) if data_type.is_nested() => (3807, -1, -1),
            Some(pg_type::PgType::Uuid) if data_type.is_nested() => (2951, -1, -1),
            Some(pg_type::PgType::Json) => (114, -1, -1),
            Some(pg_type::PgType::Jsonb) => (3802, -1, -1),
            Some(pg_type::PgType::Uuid) => (2950, 16, -1),
            Some(pg_type::PgType::Varchar(n)) => (1043, -1, length(n)),
            Some(pg_type::PgType::Char(n)) => (1042, -1, length(n)),
            Some(pg_type::PgType::Seconds(n)) => return Self { modifier: n.into(), ..Self::of(data_type) },
            Some(pg_type::PgType::Oid) | None => return Self::of(data_type),
        };
        Self { oid, size, modifier }
    }
}

/// The type of arrays of `element`; an array of arrays has the same type.
fn array_of(element: i32) -> i32 {
    match element {
        16 => 1000,
        BYTEA => 1001,
        21 => 1005,
        23 => 1007,
        20 => 1016,
        700 => 1021,
        701 => 1022,
        1082 => 1182,
        1266 => 1270,
        1083 => 1183,
        1114 => 1115,
        1184 => 1185,
        1186 => 1187,
        1700 => 1231,
        RECORD => 2287,
        TEXT => 1009,
        array => array,
    }
}

/// Names of types by id, as `format_type` tells them.
pub struct TypeNames(HashMap<i32, Name>);

struct Name {
    name: String,
    /// The element's type, for an array.
    element: Option<i32>,
}

impl TypeNames {
    /// From the rows of `pg_type`.
    pub fn new(pg_type: &RecordBatch) -> Option<Self> {
        let oids = pg_type.column_by_name("oid")?.as_primitive_opt::<Int32Type>()?;
        let elements = pg_type.column_by_name("typelem")?.as_primitive_opt::<Int32Type>()?;
        let names = pg_type.column_by_name("typname")?.as_string_opt::<i32>()?;
        let entry = |row: usize| {
            let name = names.value(row);
            let element = Some(elements.value(row)).filter(|e| *e != 0 && name.starts_with('_'));
            (oids.value(row), Name { name: name.into(), element })
        };
        Some(Self((0..oids.len()).map(entry).collect()))
    }

    /// The name in `pg_type`: `int8`, `_text`.
    pub fn raw(&self, oid: i32) -> Option<&str> {
        self.0.get(&oid).map(|n| n.name.as_str())
    }

    /// The type that goes by a name, either of the two.
    pub fn find(&self, name: &str) -> Option<i32> {
        let name = name.trim().to_lowercase();
        let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
        self.0.iter().find(|(oid, known)| known.name == name || self.format(**oid, -1) == name).map(|(oid, _)| *oid)
    }

    /// `numeric(10,2)`, `bigint[]`, …; `???` for what is no type, as PostgreSQL has it.
    pub fn format(&self, oid: i32, modifier: i32) -> String {
        let Some(Name { name, element }) = self.0.get(&oid) else { return if oid == 0 { "-" } else { "???" }.into() };
        if let Some(element) = element {
            return format!("{}[]", self.format(*element, modifier));
        }
        let name = match name.as_str() {
            "bool" => "boolean",
            "int2" => "smallint",
            "int4" => "integer",
            "int8" => "bigint",
            "float4" => "real",
            "float8" => "double precision",
            "timestamp" => "timestamp without time zone",
            "timestamptz" => "timestamp with time zone",
            "time" => "time without time zone",
            "timetz" => "time with time zone",
            "varchar" => "character varying",
            "bpchar" => "character",
            "varbit" => "bit varying",
            "char" => "\"char\"",
            name => name,
        };
        match (name, modifier) {
            ("numeric", m) if m >= 4 => format!("numeric({},{})", (m - 4) >> 16, (m - 4) & 0xffff),
            ("character varying" | "character", m) if m > 4 => format!("{name}({})", m - 4),
            (name, m) if m >= 0 && name.starts_with("time") => {
                let (kind, zone) = name.split_once(' ').unwrap_or((name, ""));
                format!("{kind}({m}) {zone}")
            }
            _ => name.to_string(),
        }
    }
}

/// Casts name Weir's types first, then those of PostgreSQL's catalogs (`regclass`, `pg_catalog.text`, …).
#[derive(Debug, Default)]
pub struct ClientTypes {
    pub zone: Zone,
}

impl TypePlanner for ClientTypes {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> DfResult<Option<FieldRef>> {
        match Types.plan_type_field(sql_type)? {
            Some(field) => Ok(Some(self.zone.field(&field))),
            None => PgOidTypePlanner.plan_type_field(sql_type),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, StringArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    #[test]
    fn names() {
        let schema = Schema::new(vec![
            Field::new("oid", DataType::Int32, false),
            Field::new("typname", DataType::Utf8, false),
            Field::new("typelem", DataType::Int32, false),
        ]);
        let rows = [(20, "int8", 0), (1016, "_int8", 20), (1700, "numeric", 0), (1231, "_numeric", 1700)];
        let batch = RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.0))),
                Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.1))),
                Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.2))),
            ],
        );
        let names = TypeNames::new(&batch.unwrap()).unwrap();
        let list = |t| DataType::List(Arc::new(Field::new("item", t, true)));
        for (data_type, expected) in [
            (DataType::Int64, "bigint"),
            (list(DataType::Int64), "bigint[]"),
            (list(list(DataType::Int64)), "bigint[]"),
            (DataType::Decimal128(10, 2), "numeric(10,2)"),
            (DataType::UInt64, "numeric"),
            (DataType::Boolean, "???"),
        ] {
            let t = PgType::of(&data_type);
            assert_eq!(names.format(t.oid, t.modifier), expected, "{data_type}");
        }
        assert_eq!(names.format(0, -1), "-");
    }
}
