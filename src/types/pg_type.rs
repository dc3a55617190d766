//! Types of PostgreSQL's that are kept as text or numbers, and bounds such as those of VARCHAR(3): a mark on the field tells
//! them from plain text.
//!
//! Of an array the mark is that of its items.
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
    /// VARCHAR of so many characters at the most.
    Varchar(u32),
    /// CHAR of so many characters. Kept without the blanks at its end.
    Char(u32),
    /// A time of day or timestamp with so many digits of a second.
    Seconds(u8),
}

impl PgType {
    pub fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Jsonb)
    }

    /// Whether it is a type of its own, not a bound on the values of another.
    pub fn is_type(self) -> bool {
        !matches!(self, Self::Varchar(_) | Self::Char(_) | Self::Seconds(_))
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Uuid => "uuid",
            Self::Oid => "oid",
            Self::Varchar(_) => "varchar",
            Self::Char(_) => "char",
            Self::Seconds(_) => "seconds",
        }
    }

    /// The type that a field is marked with.
    pub fn of(field: &Field) -> Option<Self> {
        let mark = field.metadata().get(KEY)?.strip_prefix("weir.")?;
        let (name, number) = mark.split_once('(').map_or((mark, None), |(name, n)| (name, n.strip_suffix(')')));
        match (name, number) {
            ("json", None) => Some(Self::Json),
            ("jsonb", None) => Some(Self::Jsonb),
            ("uuid", None) => Some(Self::Uuid),
            ("oid", None) => Some(Self::Oid),
            ("varchar", Some(n)) => n.parse().ok().map(Self::Varchar),
            ("char", Some(n)) => n.parse().ok().map(Self::Char),
            ("seconds", Some(n)) => n.parse().ok().map(Self::Seconds),
            _ => None,
        }
    }

    pub fn mark(self, mut field: Field) -> Field {
        let mark = match self {
            Self::Varchar(n) | Self::Char(n) => format!("weir.{}({n})", self.name()),
            Self::Seconds(n) => format!("weir.{}({n})", self.name()),
            Self::Json | Self::Jsonb | Self::Uuid | Self::Oid => format!("weir.{}", self.name()),
        };
        field.metadata_mut().insert(KEY.into(), mark);
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
