//! The statements that Weir knows. Queries and DML keep sqlparser's AST; the rest is plain data with names folded.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;

use super::ast;
pub use super::copy::Copy;
use crate::types::pg_type::PgType;
use crate::types::sequence::{Given, SequenceRange};
use crate::types::sql_function::SqlFunction;
use crate::types::{Conflict, OnCommit, WatermarkLimits, WithOptions};

#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    CreateSource(CreateSource),
    CreateTable(CreateTable),
    CreateTableAs(CreateTableAs),
    CreateMaterializedView(CreateMaterializedView),
    CreateView(CreateView),
    CreateSink(CreateSink),
    CreateIndex(CreateIndex),
    Drop(Drop),
    Alter(Alter),
    CreateFunction(CreateFunction),
    DropFunction {
        if_exists: bool,
        names: Vec<String>,
    },
    CreateRole(AlterRole),
    AlterRole(AlterRole),
    DropRole {
        if_exists: bool,
        names: Vec<String>,
    },
    CreateSequence(CreateSequence),
    AlterSequence {
        if_exists: bool,
        name: String,
        action: SequenceAction,
    },
    DropSequence {
        if_exists: bool,
        names: Vec<String>,
    },
    CreateSecret {
        name: String,
        if_not_exists: bool,
        value: Password,
    },
    AlterSecret {
        name: String,
        value: Password,
    },
    DropSecret {
        if_exists: bool,
        names: Vec<String>,
    },
    Grant(Grant),
    Revoke(Grant),
    /// `None` is NONE: back to the session's user.
    SetRole {
        name: Option<String>,
    },
    /// `None` is DEFAULT.
    SetSessionAuthorization {
        name: Option<String>,
    },
    Comment(Comment),
    /// `INSERT`, as sqlparser has it (always `ast::Statement::Insert`).
    Insert(Box<ast::Statement>),
    /// `UPDATE` (always `ast::Statement::Update`).
    Update(Box<ast::Statement>),
    /// `DELETE` (always `ast::Statement::Delete`).
    Delete(Box<ast::Statement>),
    Copy(Copy),
    /// `SELECT`, `VALUES`, `WITH …`, `TABLE …`.
    Query(Box<ast::Query>),
    Explain {
        analyze: bool,
        inner: Box<Statement>,
    },
    Show {
        kind: Show,
        /// The pattern after LIKE.
        like: Option<String>,
    },
    ShowCreate {
        kind: ObjectKind,
        name: String,
    },
    /// The columns of an object.
    Describe {
        name: String,
    },
    /// `value` is `None` for DEFAULT.
    SetVariable {
        name: String,
        value: Option<String>,
        local: bool,
    },
    ShowVariable {
        name: String,
    },
    /// `None` is RESET ALL.
    ResetVariable {
        name: Option<String>,
    },
    /// `value` is `None` for DEFAULT and RESET.
    AlterSystemSet {
        name: String,
        value: Option<String>,
    },
    /// Waits until the rows inserted so far are visible.
    Flush,
    /// As FLUSH, once the name is known to be a materialized view: it is kept up to date anyway.
    Refresh {
        name: String,
    },
    /// Waits until the views being made are.
    Wait,
    /// Takes back views that are being filled, by the ids of their jobs.
    CancelJobs {
        ids: Vec<u32>,
    },
    Begin,
    Commit,
    Rollback,
    Savepoint {
        name: String,
    },
    ReleaseSavepoint {
        name: String,
    },
    RollbackToSavepoint {
        name: String,
    },
    /// `DISCARD {ALL | PLANS | SEQUENCES | TEMP}`, the word in upper case.
    Discard {
        what: String,
    },
    /// `UNLISTEN {channel | *}`, which poolers send.
    Unlisten,
    Prepare {
        name: String,
        /// Of the first parameters; those of the others are inferred.
        types: Vec<DataType>,
        /// A query or DML.
        inner: Box<Statement>,
    },
    Execute {
        name: String,
        arguments: Vec<ast::Expr>,
    },
    /// `None` is DEALLOCATE ALL.
    Deallocate {
        name: Option<String>,
    },
    /// `None` is CLOSE ALL.
    CloseCursor {
        name: Option<String>,
    },
    Subscribe(Subscribe),
    DeclareCursor {
        name: String,
        /// Outlives its transaction.
        hold: bool,
        /// Goes back, too.
        scroll: bool,
        /// A query or SUBSCRIBE.
        inner: Box<Statement>,
    },
    /// Every row of these tables goes.
    Truncate {
        tables: Vec<ast::ObjectName>,
        /// Their sequences begin again.
        restart: bool,
    },
    /// What PostgreSQL's storage needs and this one does by itself.
    Maintain {
        tag: &'static str,
        notice: Option<String>,
    },
    FetchCursor {
        name: String,
        direction: Direction,
        /// How long to wait for the first row of a subscription.
        timeout: Option<String>,
    },
    MoveCursor {
        name: String,
        direction: Direction,
    },
}

impl Statement {
    /// What a definition does, and to which objects, for the audit; nothing of its values.
    pub fn action(&self) -> (&'static str, String) {
        match self {
            Self::CreateSource(c) => ("CREATE SOURCE", c.name.clone()),
            Self::CreateTable(c) => ("CREATE TABLE", c.name.clone()),
            Self::CreateTableAs(c) => ("CREATE TABLE AS", c.name.clone()),
            Self::CreateMaterializedView(c) => ("CREATE MATERIALIZED VIEW", c.name.clone()),
            Self::CreateView(c) => ("CREATE VIEW", c.name.clone()),
            Self::CreateSink(c) => ("CREATE SINK", c.name.clone()),
            Self::CreateIndex(c) => ("CREATE INDEX", c.name.clone().unwrap_or_else(|| format!("on {}", c.table))),
            Self::Drop(d) => ("DROP", d.names.join(", ")),
            Self::Alter(a) => ("ALTER", a.name.clone()),
            Self::CreateFunction(c) => ("CREATE FUNCTION", c.function.name.clone()),
            Self::DropFunction { names, .. } => ("DROP FUNCTION", names.join(", ")),
            Self::CancelJobs { ids } => ("CANCEL JOBS", format!("{ids:?}")),
            Self::CreateRole(r) => ("CREATE ROLE", r.name.clone()),
            Self::AlterRole(r) => ("ALTER ROLE", r.name.clone()),
            Self::DropRole { names, .. } => ("DROP ROLE", names.join(", ")),
            Self::CreateSequence(c) => ("CREATE SEQUENCE", c.name.clone()),
            Self::AlterSequence { name, .. } => ("ALTER SEQUENCE", name.clone()),
            Self::DropSequence { names, .. } => ("DROP SEQUENCE", names.join(", ")),
            Self::CreateSecret { name, .. } => ("CREATE SECRET", name.clone()),
            Self::AlterSecret { name, .. } => ("ALTER SECRET", name.clone()),
            Self::DropSecret { names, .. } => ("DROP SECRET", names.join(", ")),
            Self::Grant(g) => ("GRANT", format!("{:?} TO {}", g.what, g.roles.join(", "))),
            Self::Revoke(g) => ("REVOKE", format!("{:?} FROM {}", g.what, g.roles.join(", "))),
            Self::Comment(c) => ("COMMENT", c.name.clone()),
            _ => ("", String::new()),
        }
    }
}

/// `CREATE [OR REPLACE] FUNCTION … LANGUAGE sql`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateFunction {
    pub or_replace: bool,
    pub function: SqlFunction,
}

/// Where FETCH and MOVE go, from the row that the cursor is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The next rows; `None` is ALL. 0 is the row again.
    Forward(Option<usize>),
    /// The rows before, the last first.
    Backward(Option<usize>),
    /// The row of this number from 1, or from -1 back from the end; 0 is before the first.
    Absolute(i64),
    /// The row so many after or before.
    Relative(i64),
}

/// A kind of catalog object, as DDL names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    Source,
    Table,
    MaterializedView,
    View,
    Sink,
    Index,
}

impl ObjectKind {
    /// As in messages and in the catalog's `Definition::kind`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Table => "table",
            Self::MaterializedView => "materialized view",
            Self::View => "view",
            Self::Sink => "sink",
            Self::Index => "index",
        }
    }
}

/// One column of CREATE SOURCE or CREATE TABLE.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDef {
    pub name: String,
    pub data_type: DataType,
    pub mark: Option<PgType>,
    pub nullable: bool,
    /// SQL text of the value that INSERT takes where the column is not named.
    pub default: Option<String>,
    /// What the default is taken from, for SERIAL and IDENTITY.
    pub sequence: Option<ColumnSequence>,
}

/// The sequence of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSequence {
    pub range: SequenceRange,
    /// GENERATED ALWAYS.
    pub always: bool,
    /// IDENTITY, not SERIAL.
    pub identity: bool,
}

/// What ALTER SEQUENCE does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SequenceAction {
    Change {
        given: Given,
        /// RESTART, with `None` where it began.
        restart: Option<Option<i64>>,
    },
    RenameTo(String),
    OwnerTo(String),
    SetSchema(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateSequence {
    pub if_not_exists: bool,
    pub name: String,
    pub range: SequenceRange,
}

/// `WATERMARK FOR column AS column - delay`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkDef {
    pub column: String,
    pub delay_micros: i64,
    /// Of WITH: `idle_timeout`, `max_future_skew`.
    pub limits: WatermarkLimits,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CreateSource {
    pub name: String,
    pub if_not_exists: bool,
    /// Empty when the connector knows them.
    pub columns: Vec<ColumnDef>,
    pub watermark: Option<WatermarkDef>,
    /// WITH and FORMAT/ENCODE options in one map; `format` and `encode` hold the words, in lower case.
    pub options: WithOptions,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CreateTable {
    pub name: String,
    pub if_not_exists: bool,
    /// Of a temporary table.
    pub temporary: Option<OnCommit>,
    pub columns: Vec<ColumnDef>,
    /// Column names, in key order; empty for a table without a key.
    pub primary_key: Vec<String>,
    /// As written; a table with a key defaults to `Overwrite`.
    pub conflict: Option<Conflict>,
    pub watermark: Option<WatermarkDef>,
    pub append_only: bool,
    /// Empty for a table that only takes DML.
    pub options: WithOptions,
}

/// `CREATE TABLE name [(columns)] AS query [WITH [NO] DATA]`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTableAs {
    pub name: String,
    pub if_not_exists: bool,
    /// Of a temporary table.
    pub temporary: Option<OnCommit>,
    /// Names of the first columns, instead of the query's.
    pub columns: Vec<String>,
    pub query: Box<ast::Query>,
    pub with_data: bool,
}

/// When a query's rows are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Emit {
    #[default]
    OnUpdate,
    /// `EMIT ON WINDOW CLOSE [WITH TIMEOUT 'length']`: the timeout in microseconds.
    OnWindowClose { timeout: Option<i64> },
}

#[derive(Debug, Clone, PartialEq)]
pub struct CreateMaterializedView {
    pub name: String,
    pub or_replace: bool,
    pub if_not_exists: bool,
    /// Column names that replace the query's, when given.
    pub columns: Vec<String>,
    pub options: BTreeMap<String, String>,
    pub query: Box<ast::Query>,
    pub emit: Emit,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CreateView {
    pub name: String,
    pub or_replace: bool,
    pub if_not_exists: bool,
    pub columns: Vec<String>,
    pub query: Box<ast::Query>,
}

/// The table that a sink fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkTarget {
    pub table: String,
    /// Those of the query's columns, in their order; empty for the table's first ones.
    pub columns: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CreateSink {
    pub name: String,
    pub if_not_exists: bool,
    pub into: Option<SinkTarget>,
    /// `FROM name` arrives as `SELECT * FROM name`.
    pub query: Box<ast::Query>,
    pub emit: Emit,
    pub options: WithOptions,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateIndex {
    /// `None` for a name made of those of the table and the columns.
    pub name: Option<String>,
    pub if_not_exists: bool,
    /// A table or materialized view.
    pub table: String,
    pub columns: Vec<IndexColumn>,
    /// What the index keeps besides; `None` for all columns.
    pub include: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexColumn {
    pub name: String,
    pub descending: bool,
    pub nulls_first: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drop {
    pub kind: ObjectKind,
    pub if_exists: bool,
    pub names: Vec<String>,
    pub cascade: bool,
}

/// `ALTER kind name …`.
#[derive(Debug, Clone, PartialEq)]
pub struct Alter {
    pub kind: ObjectKind,
    pub if_exists: bool,
    pub name: String,
    pub action: AlterAction,
}

#[derive(Debug, Clone, PartialEq)]
pub enum AlterAction {
    RenameTo(String),
    RenameColumn {
        from: String,
        to: String,
    },
    /// As written: there is only one schema.
    SetSchema(String),
    /// `CURRENT_USER` and `SESSION_USER` stay in capitals.
    OwnerTo(String),
    SwapWith(String),
    /// Actors of a parallel fragment; `None` is what the server has.
    SetParallelism(Option<usize>),
    AddColumn {
        if_not_exists: bool,
        column: ColumnDef,
    },
    /// SQL text; `None` is DROP DEFAULT.
    SetDefault {
        column: String,
        default: Option<String>,
    },
    DropColumn {
        if_exists: bool,
        name: String,
        cascade: bool,
    },
}

/// `SUBSCRIBE TO name [SINCE epoch] [WITH (…)]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// A table or materialized view.
    pub name: String,
    /// Changes after this epoch.
    pub since: Option<u64>,
    /// Whether the rows that are there come first.
    pub snapshot: bool,
    /// Whether rows tell which epochs are complete.
    pub progress: bool,
}

/// `CREATE ROLE` and `ALTER ROLE`: `None` leaves what is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AlterRole {
    pub name: String,
    pub if_not_exists: bool,
    pub superuser: Option<bool>,
    pub login: Option<bool>,
    pub create_role: Option<bool>,
    /// Below 0 is no limit.
    pub connection_limit: Option<i64>,
    /// `PASSWORD NULL` is `Some(None)`.
    pub password: Option<Option<Password>>,
    /// A timestamp's text, or `infinity`.
    pub valid_until: Option<String>,
    /// `IN ROLE`: roles that it becomes a member of.
    pub in_roles: Vec<String>,
}

/// Text that is not to be shown.
#[derive(Clone, PartialEq)]
pub struct Password(pub String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// `GRANT` and `REVOKE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub what: Granted,
    /// PUBLIC is `public`.
    pub roles: Vec<String>,
    /// `WITH GRANT OPTION` of GRANT, `GRANT OPTION FOR` of REVOKE.
    pub option: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Granted {
    /// Memberships.
    Roles(Vec<String>),
    /// Words in upper case; empty is ALL PRIVILEGES.
    OnObjects {
        privileges: Vec<String>,
        names: Vec<String>,
    },
    OnAllObjects {
        privileges: Vec<String>,
    },
    OnSchema {
        privileges: Vec<String>,
    },
    OnSecrets {
        privileges: Vec<String>,
        names: Vec<String>,
    },
    OnSequences {
        privileges: Vec<String>,
        names: Vec<String>,
    },
    OnAllSequences {
        privileges: Vec<String>,
    },
}

/// `COMMENT ON`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    pub on: Commented,
    pub name: String,
    pub column: Option<String>,
    /// `None` takes it away.
    pub text: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commented {
    Object(ObjectKind),
    /// Of whatever the object is.
    Column,
    Secret,
    Sequence,
}

/// What `SHOW` lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Show {
    Tables,
    Sources,
    Sinks,
    MaterializedViews,
    Views,
    /// Those of one table, if it is named.
    Indexes(Option<String>),
    Jobs,
    Functions,
    Secrets,
    Sequences,
    Databases,
    Schemas,
    Columns(String),
    /// Every variable with its value.
    AllVariables,
}
