//! Types of PostgreSQL's that are kept as text or numbers: a mark on the field tells them from plain text.
//!
//! The mark travels with the field through projections, so that the wire can say which type a column has, and the
//! planner which operator is meant. What values look like is not known here.

use arrow::datatypes::Field;
use serde::{Deserialize, Serialize};

/// The key of the mark in a field's metadata: a cast to another type takes an extension's name away.
const KEY: &str = "ARROW:extension:name";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PgType {
    Json,
    Jsonb,
    Uuid,
    /// A number that names an object of the catalogues; of an array, its items. Only of parameters.
    Oid,
}

impl PgType {
    pub fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Jsonb)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Uuid => "uuid",
            Self::Oid => "oid",
        }
    }

    /// The type that a field is marked with.
    pub fn of(field: &Field) -> Option<Self> {
        match field.metadata().get(KEY)?.as_str() {
            "weir.json" => Some(Self::Json),
            "weir.jsonb" => Some(Self::Jsonb),
            "weir.uuid" => Some(Self::Uuid),
            "weir.oid" => Some(Self::Oid),
            _ => None,
        }
    }

    pub fn mark(self, mut field: Field) -> Field {
        field.metadata_mut().insert(KEY.into(), format!("weir.{}", self.name()));
        field
    }

    /// `field` with the mark of `from`, if that has one.
    pub fn carry(from: &Field, field: Field) -> Field {
        match Self::of(from) {
            Some(marked) => marked.mark(field),
            None => field,
        }
    }
}
