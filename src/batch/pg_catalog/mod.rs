//! `pg_catalog`, `information_schema` and PostgreSQL's functions on them, so that psql's `\d` family and other tools see what exists.
//!
//! ```text
//! datafusion-pg-catalog: PostgreSQL's own rows, shapes --reshape--> fixed tables --+
//! catalog snapshot, session, functions -----------------live, procs--> rows -------+--> pg_catalog.*
//! ```
//!
//! Rows that tell of what exists are made anew for each statement; the rest is PostgreSQL's and never changes.

mod backends;
mod dependence;
mod functions;
mod indexes;
mod information_schema;
mod live;
mod oid;
mod procs;
mod rewrite;
mod row;
mod sequence_tables;
mod sequences;
mod type_of;
mod types;
mod vectors;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProviderList, MemTable, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider, TableProvider,
};
use datafusion::error::Result as DfResult;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionContext;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::{
    PG_CATALOG_TABLES, PgCatalogSchemaProvider, PgCatalogStaticTables, PgCatalogTable,
};
use datafusion_pg_catalog::setup_pg_catalog;

use self::functions::Scope;
use self::information_schema::InformationSchema;
use self::live::SystemRelation;
use self::procs::Function;
use self::types::TypeNames;
use super::client::Client;
use super::context::DATABASE;
use super::system::SystemTables;
use crate::catalog::Snapshot;
use crate::common::clock::Clock;
use crate::common::{Error, Result};
use crate::sql::ast;
use crate::state::StateStore;

pub use functions::clock;
pub use rewrite::known;
pub use sequence_tables::COLUMNS as SEQUENCE_COLUMNS;
pub use types::ClientTypes;

/// Tables that tell of what Weir has not, so that PostgreSQL's own rows in them would be wrong.
const EMPTY: &[&str] = &[
    "pg_amproc",
    "pg_conversion",
    "pg_extension",
    "pg_init_privs",
    "pg_ts_config",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_ts_template",
];

/// The catalog of one server.
pub struct PgCatalog {
    fixed: Arc<BTreeMap<String, Fixed>>,
    system: Arc<Vec<SystemRelation>>,
    functions: Arc<Vec<Function>>,
    types: Arc<TypeNames>,
    store: Arc<StateStore>,
    /// When the server started, in microseconds since 1970.
    started: i64,
}

/// The schemas of PostgreSQL's that one statement sees, and the functions on them.
pub struct Opened {
    pub pg_catalog: Arc<dyn SchemaProvider>,
    pub information_schema: Arc<dyn SchemaProvider>,
    pub functions: Vec<ScalarUDF>,
}

struct Fixed {
    oid: i32,
    /// PostgreSQL's rows, in the table's shape.
    rows: Vec<RecordBatch>,
    shape: SchemaRef,
}

impl PgCatalog {
    /// Adds PostgreSQL's functions and types to `state`; returns the state to be used from then on.
    pub fn new(state: SessionState, store: Arc<StateStore>, tables: &SystemTables) -> Result<(Self, SessionState)> {
        let list = Arc::new(MemoryCatalogProviderList::new());
        list.register_catalog(DATABASE.into(), Arc::new(MemoryCatalogProvider::new()));
        let state = SessionStateBuilder::new_from_existing(state).with_catalog_list(list.clone()).build();
        let session = SessionContext::new_with_state(state);
        setup_pg_catalog(&session, DATABASE, EmptyContextProvider).map_err(|e| Error::from(*e))?;
        let fixed = fixed(list)?;
        let rows = |table: &str| fixed.get(table).and_then(|t| t.rows.first());
        let types = rows("pg_type").and_then(TypeNames::new).map(Arc::new);
        let types = types.ok_or_else(|| Error::internal("pg_type has other columns than expected"))?;
        for function in functions::global(types.clone()) {
            session.register_udf(function);
        }
        let standard = rows("pg_proc").and_then(|b| b.column_by_name("proname")?.as_string_opt::<i32>());
        let standard: HashSet<&str> = standard.into_iter().flatten().flatten().collect();
        let state = SessionStateBuilder::new_from_existing(session.state())
            .with_type_planner(Arc::new(ClientTypes::default()))
            .build();
        let functions = Arc::new(procs::list(&state, &types, &|name| standard.contains(name)));
        let system = Arc::new(system(&fixed, tables));
        let started = Clock::system().now_micros();
        Ok((Self { fixed: Arc::new(fixed), system, functions, types, store, started }, state))
    }

    /// The schemas and the functions as `client` sees them on `snapshot`.
    pub fn open(&self, snapshot: Arc<Snapshot>, client: Arc<dyn Client>) -> Opened {
        let (system, functions) = (self.system.clone(), self.functions.clone());
        let (types, started) = (self.types.clone(), self.started);
        let scope = Scope { snapshot, system, client, store: self.store.clone(), functions, types, started };
        Opened {
            functions: functions::scoped(&scope),
            information_schema: Arc::new(InformationSchema { scope: scope.clone() }),
            pg_catalog: Arc::new(Schema { fixed: self.fixed.clone(), scope }),
        }
    }

    /// Makes a query of a PostgreSQL client one that DataFusion can plan.
    pub fn rewrite(&self, query: &mut ast::Query, snapshot: &Snapshot) {
        rewrite::rewrite(query, &|table| self.fixed.contains_key(table) && snapshot.get(table).is_none());
    }
}

/// The crate's tables in PostgreSQL's shape, and those that it has not.
fn fixed(list: Arc<MemoryCatalogProviderList>) -> Result<BTreeMap<String, Fixed>> {
    let list: Arc<dyn CatalogProviderList> = list;
    let tables = Arc::new(PgCatalogStaticTables::try_new()?);
    let provider = PgCatalogSchemaProvider::try_new(list, tables, EmptyContextProvider)?;
    let mut all = BTreeMap::new();
    for name in PG_CATALOG_TABLES {
        if let Some(table) = provider.build_table_by_name(name)? {
            let rows = match &table {
                PgCatalogTable::Static(rows) if !EMPTY.contains(name) && !live::is_live(name) => rows.data().to_vec(),
                _ => Vec::new(),
            };
            all.insert(*name, (row::shape(name, &table.schema()), rows));
        }
    }
    all.extend(row::own_tables().map(|(name, shape)| (name, (shape, Vec::new()))));
    let fixed = |(index, (name, (shape, rows))): (usize, (&str, (_, Vec<RecordBatch>)))| {
        let oid = oid::catalog_table(name, index);
        let rows = rows.iter().map(|batch| row::reshape(batch, &shape, oid)).collect::<DfResult<_>>()?;
        Ok((name.to_string(), Fixed { oid, rows, shape }))
    };
    all.into_iter().enumerate().map(fixed).collect()
}

/// The relations that are the server's own.
fn system(fixed: &BTreeMap<String, Fixed>, tables: &SystemTables) -> Vec<SystemRelation> {
    let weir = tables.0.iter().enumerate().map(|(index, (name, table))| SystemRelation {
        schema: oid::WEIR,
        name: name.to_string(),
        oid: oid::system_table(index),
        columns: table.schema.clone(),
    });
    let catalog = fixed.iter().map(|(name, table)| SystemRelation {
        schema: oid::PG_CATALOG,
        name: name.clone(),
        oid: table.oid,
        columns: table.shape.clone(),
    });
    let information = information_schema::shapes().enumerate().map(|(index, (name, columns))| SystemRelation {
        schema: oid::INFORMATION_SCHEMA,
        name: name.to_string(),
        oid: oid::information_table(index),
        columns,
    });
    weir.chain(information).chain(catalog).collect()
}

/// `pg_catalog` for one statement.
struct Schema {
    fixed: Arc<BTreeMap<String, Fixed>>,
    scope: Scope,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pg_catalog")
    }
}

#[async_trait]
impl SchemaProvider for Schema {
    fn table_names(&self) -> Vec<String> {
        self.fixed.keys().cloned().collect()
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        let Some(fixed) = self.fixed.get(name) else { return Ok(None) };
        let shape = fixed.shape.clone();
        let batches = match name {
            "pg_proc" => {
                let (live, written) = (self.scope.live(), self.scope.written());
                let all = self.scope.functions.iter().chain(&written);
                let rows: Vec<_> = all.map(|f| procs::row(f, &live)).collect();
                vec![row::batch(&shape, &rows, fixed.oid)?]
            }
            name if live::is_live(name) => vec![row::batch(&shape, &self.scope.live().rows(name), fixed.oid)?],
            _ => fixed.rows.clone(),
        };
        Ok(Some(Arc::new(MemTable::try_new(shape, vec![batches])?)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.fixed.contains_key(name)
    }
}
