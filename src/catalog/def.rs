//! What the catalog knows of each object: plain data, stored as JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::role::Acl;
use crate::types::options::WithOptions;
use crate::types::pg_type::PgType;
use crate::types::{Conflict, JobId, ROW_ID, TableId, Temporary, WatermarkLimits, missing};

/// The one schema that users' objects live in.
pub const PUBLIC: &str = "public";

/// One catalog entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Object {
    pub id: JobId,
    pub name: String,
    pub owner: String,
    /// The statement that made it, as SHOW CREATE prints it.
    pub sql: String,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Objects that it reads: they cannot be dropped before it.
    pub depends_on: Vec<JobId>,
    /// What others than the owner may do.
    pub acl: Acl,
    /// Of what only one session sees.
    #[serde(default)]
    pub temporary: Option<Temporary>,
    /// By column number from 1; 0 is the object itself.
    pub comments: BTreeMap<usize, String>,
    pub definition: Definition,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Definition {
    Source(Source),
    Table(Table),
    MaterializedView(MaterializedView),
    View(View),
    Sink(Sink),
    Index(Index),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    pub data_type: DataType,
    /// Of a type of PostgreSQL's that is kept as text.
    #[serde(default)]
    pub mark: Option<PgType>,
    pub nullable: bool,
    /// Not shown by `*`, `DESCRIBE` or `\d`.
    pub hidden: bool,
    /// SQL text of the value that INSERT takes where the column is not named.
    pub default: Option<String>,
    /// The name of stored rows and of the log, where it has been renamed since.
    #[serde(default)]
    pub stored: Option<String>,
    /// Of a column that is younger than its table.
    #[serde(default)]
    pub added: Option<Added>,
}

/// What older rows hold in a column: null, or a value as [`missing::encode`] writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    pub value: Option<String>,
}

/// `WATERMARK FOR column AS column - delay`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// Index into the columns.
    pub column: usize,
    pub delay_micros: i64,
    pub limits: WatermarkLimits,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Source {
    pub columns: Vec<Column>,
    pub watermark: Option<Watermark>,
    pub options: WithOptions,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Table {
    /// With the hidden `_row_id` behind those it was made with when the table has no key. A dropped column stays, hidden.
    pub columns: Vec<Column>,
    pub primary_key: Vec<usize>,
    pub conflict: Conflict,
    pub watermark: Option<Watermark>,
    /// Connector options; empty for a table that only takes DML.
    pub options: WithOptions,
    pub append_only: bool,
    pub table: TableId,
    /// How many sinks were ever made into it.
    #[serde(default)]
    pub sinks: u32,
    /// The fragment graph as JSON: `plan::FragmentGraph`, without that of its sinks.
    pub graph: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MaterializedView {
    /// Hidden key columns last.
    pub columns: Vec<Column>,
    /// The key of the stored rows, as column indices.
    pub key: Vec<usize>,
    pub table: TableId,
    pub append_only: bool,
    /// Columns that carry a watermark.
    pub watermark_columns: Vec<usize>,
    /// It is being filled to take the place of this one: dropped if the server stops before it does.
    #[serde(default)]
    pub replaces: Option<JobId>,
    pub query: String,
    /// The fragment graph as JSON: `plan::FragmentGraph`.
    pub graph: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct View {
    pub columns: Vec<Column>,
    pub query: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sink {
    /// The table that it fills: its plan is then a part of that table's job.
    #[serde(default)]
    pub into: Option<JobId>,
    pub options: WithOptions,
    pub columns: Vec<Column>,
    /// The fragment graph as JSON: `plan::FragmentGraph`.
    pub graph: String,
}

/// The columns of a table or materialized view, kept in another order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Index {
    /// The table or view.
    pub on: JobId,
    /// As stored: the index's own, those that it includes, and what is missing of the base's key.
    pub columns: Vec<Column>,
    /// The column of the base that each is.
    pub stored: Vec<usize>,
    /// The key of the stored rows, as indices into the stored columns: the index's own, then the base's key.
    pub key: Vec<IndexKey>,
    /// How many of the key are the index's own.
    pub width: usize,
    /// Stored columns that INCLUDE named; without INCLUDE all are kept, and none is named.
    pub include: Vec<usize>,
    pub table: TableId,
    /// It holds all of the base: reads may use it.
    pub ready: bool,
    /// The fragment graph as JSON: `plan::FragmentGraph`.
    pub graph: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexKey {
    pub column: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

impl Definition {
    /// As in `SHOW`, errors and `pg_class`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Source(_) => "source",
            Self::Table(_) => "table",
            Self::MaterializedView(_) => "materialized view",
            Self::View(_) => "view",
            Self::Sink(_) => "sink",
            Self::Index(_) => "index",
        }
    }

    pub fn columns(&self) -> &[Column] {
        match self {
            Self::Source(s) => &s.columns,
            Self::Table(t) => &t.columns,
            Self::MaterializedView(v) => &v.columns,
            Self::View(v) => &v.columns,
            Self::Sink(s) => &s.columns,
            Self::Index(i) => &i.columns,
        }
    }

    pub fn columns_mut(&mut self) -> &mut Vec<Column> {
        match self {
            Self::Source(s) => &mut s.columns,
            Self::Table(t) => &mut t.columns,
            Self::MaterializedView(v) => &mut v.columns,
            Self::View(v) => &mut v.columns,
            Self::Sink(s) => &mut s.columns,
            Self::Index(i) => &mut i.columns,
        }
    }

    /// The running job's graph, for objects that run.
    pub fn graph(&self) -> Option<&str> {
        match self {
            Self::Table(t) => Some(&t.graph),
            Self::MaterializedView(v) => Some(&v.graph),
            Self::Sink(s) => Some(&s.graph),
            Self::Index(i) => Some(&i.graph),
            Self::Source(_) | Self::View(_) => None,
        }
    }

    pub fn graph_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Table(t) => Some(&mut t.graph),
            Self::MaterializedView(v) => Some(&mut v.graph),
            Self::Sink(s) => Some(&mut s.graph),
            Self::Index(i) => Some(&mut i.graph),
            Self::Source(_) | Self::View(_) => None,
        }
    }

    /// The query's text, of what has one that is read again.
    pub fn query_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::MaterializedView(v) => Some(&mut v.query),
            Self::View(v) => Some(&mut v.query),
            _ => None,
        }
    }

    /// The stored rows: state table and key columns, for what can be scanned by its name.
    pub fn rows(&self) -> Option<(TableId, &[usize])> {
        match self {
            Self::Table(t) => Some((t.table, &t.primary_key)),
            Self::MaterializedView(v) => Some((v.table, &v.key)),
            _ => None,
        }
    }
}

impl Index {
    /// Whether a column of the base is one of its own.
    pub fn is_by(&self, column: usize) -> bool {
        self.key.iter().take(self.width).any(|k| self.stored.get(k.column) == Some(&column))
    }
}

impl Object {
    /// All columns of the stored rows, hidden ones too, under the names that they were made with.
    pub fn stored_schema(&self) -> SchemaRef {
        stored_schema(self.definition.columns())
    }
}

impl Column {
    pub fn new(name: impl Into<String>, data_type: DataType, nullable: bool) -> Self {
        Self {
            name: name.into(),
            data_type,
            mark: None,
            nullable,
            hidden: false,
            default: None,
            stored: None,
            added: None,
        }
    }

    /// In stored rows and in the log.
    pub fn stored_name(&self) -> &str {
        self.stored.as_deref().unwrap_or(&self.name)
    }

    /// As state and logs have it. NOT NULL of a column that came later is checked where rows are written.
    pub fn stored_field(&self) -> Field {
        let field = self.field().with_name(self.stored_name());
        match &self.added {
            Some(Added { value: Some(value) }) => missing::mark(field.with_nullable(true), value),
            Some(Added { value: None }) => field.with_nullable(true),
            None => field,
        }
    }

    /// Gives it another name; stored rows keep the first.
    pub fn rename(&mut self, name: &str) {
        let stored = self.stored.take().unwrap_or_else(|| self.name.clone());
        self.name = name.to_string();
        self.stored = (stored != name).then_some(stored);
    }

    /// A column that holds what the field does.
    pub fn of(field: &Field) -> Self {
        Self { mark: PgType::of(field), ..Self::new(field.name(), field.data_type().clone(), field.is_nullable()) }
    }

    pub fn field(&self) -> Field {
        let field = Field::new(&self.name, self.data_type.clone(), self.nullable);
        match self.mark {
            Some(mark) => mark.mark(field),
            None => field,
        }
    }

    /// The hidden key of rows that have none.
    pub fn row_id() -> Self {
        Self { hidden: true, ..Self::new(ROW_ID, DataType::Int64, false) }
    }
}

/// The columns as state and logs have them.
pub fn stored_schema(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(Column::stored_field).collect::<Vec<_>>()))
}

pub fn schema(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(Column::field).collect::<Vec<_>>()))
}
