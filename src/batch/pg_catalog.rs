//! `pg_catalog` through datafusion-pg-catalog, so that psql's `\d` family works.
//!
//! One provider serves the whole process, as it hands out the OIDs; it looks at the catalog as it is now. Only
//! `pg_class` is amended: materialized views, sources and hidden columns are told as PostgreSQL would.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::datasource::{MemTable, TableType};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionContext;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::setup_pg_catalog;
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use parking_lot::RwLock;

use super::context::DATABASE;
use super::pg_functions;
use crate::catalog::def::PUBLIC;
use crate::catalog::{Catalog, Definition, Object, Snapshot};
use crate::common::{Error, Result};
use crate::sql::ast;

/// The shared provider.
pub struct PgCatalog {
    inner: Arc<dyn SchemaProvider>,
    /// A session in which its tables can be read.
    session: SessionContext,
}

impl PgCatalog {
    /// Adds PostgreSQL's functions and types to `state`; returns the state to be used from then on.
    pub fn new(state: SessionState, catalog: Arc<Catalog>) -> Result<(Self, SessionState)> {
        let live = Arc::new(LiveCatalog { catalog, extra: Extra::default() });
        let state = SessionStateBuilder::new_from_existing(state).with_catalog_list(live.clone()).build();
        let session = SessionContext::new_with_state(state);
        setup_pg_catalog(&session, DATABASE, EmptyContextProvider).map_err(|e| Error::from(*e))?;
        for function in pg_functions::all() {
            session.register_udf(function.as_ref().clone());
        }
        let inner = live.extra.read().get("pg_catalog").cloned();
        let inner = inner.ok_or_else(|| Error::internal("pg_catalog did not register"))?;
        let state = session.state();
        Ok((Self { inner, session }, state))
    }

    pub fn schema(&self, snapshot: Arc<Snapshot>) -> Arc<dyn SchemaProvider> {
        Arc::new(Amended { inner: self.inner.clone(), session: self.session.clone(), snapshot })
    }
}

/// What clients ask of the catalogs, as a query that DataFusion can plan; `None` for a text that does not look like it.
pub fn parse(text: &str) -> Option<Box<ast::Query>> {
    thread_local! {
        static PARSER: PostgresCompatibilityParser = PostgresCompatibilityParser::new();
    }
    let lower = text.to_ascii_lowercase();
    if !["pg_", "::reg", "information_schema", "current_", "session_user"].iter().any(|word| lower.contains(word)) {
        return None;
    }
    let mut statements = PARSER.with(|parser| parser.parse(text)).ok()?;
    match (statements.pop(), statements.is_empty()) {
        (Some(ast::Statement::Query(query)), true) => Some(query),
        _ => None,
    }
}

/// Names and columns of all objects as they are now.
struct LiveCatalog {
    catalog: Arc<Catalog>,
    extra: Extra,
}

/// Schemas that were registered beside the users'.
type Extra = Arc<RwLock<HashMap<String, Arc<dyn SchemaProvider>>>>;

impl fmt::Debug for LiveCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveCatalog")
    }
}

impl CatalogProviderList for LiveCatalog {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![DATABASE.into()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        let live = || LiveDatabase { snapshot: self.catalog.snapshot(), extra: self.extra.clone() };
        (name == DATABASE).then(|| Arc::new(live()) as Arc<dyn CatalogProvider>)
    }
}

struct LiveDatabase {
    snapshot: Arc<Snapshot>,
    extra: Extra,
}

impl fmt::Debug for LiveDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveDatabase")
    }
}

impl CatalogProvider for LiveDatabase {
    fn schema_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.extra.read().keys().cloned().collect();
        names.push(PUBLIC.into());
        names
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        if name == PUBLIC {
            return Some(Arc::new(LiveSchema(self.snapshot.clone())));
        }
        self.extra.read().get(name).cloned()
    }

    fn register_schema(
        &self,
        name: &str,
        schema: Arc<dyn SchemaProvider>,
    ) -> DfResult<Option<Arc<dyn SchemaProvider>>> {
        Ok(self.extra.write().insert(name.into(), schema))
    }
}

/// Columns only: nothing can be read through it.
struct LiveSchema(Arc<Snapshot>);

impl fmt::Debug for LiveSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveSchema")
    }
}

#[async_trait]
impl SchemaProvider for LiveSchema {
    fn table_names(&self) -> Vec<String> {
        self.0.objects().filter(|o| relkind(o).is_some()).map(|o| o.name.clone()).collect()
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        let Some(object) = self.0.get(name) else { return Ok(None) };
        let visible: Vec<_> = object.definition.columns().iter().filter(|c| !c.hidden).cloned().collect();
        let schema = crate::catalog::def::schema(&visible);
        Ok(Some(Arc::new(MemTable::try_new(schema, vec![Vec::new()])?)))
    }

    async fn table_type(&self, name: &str) -> DfResult<Option<TableType>> {
        Ok(self.0.get(name).map(|o| match o.definition {
            Definition::Table(_) => TableType::Base,
            _ => TableType::View,
        }))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.get(name).is_some()
    }
}

/// The letter in `pg_class.relkind`; sinks are no relations.
fn relkind(object: &Object) -> Option<&'static str> {
    match object.definition {
        Definition::Table(_) => Some("r"),
        Definition::MaterializedView(_) => Some("m"),
        Definition::View(_) => Some("v"),
        // A foreign table: columns without rows of its own.
        Definition::Source(_) => Some("f"),
        Definition::Sink(_) => None,
    }
}

/// The provider with `pg_class` told right.
struct Amended {
    inner: Arc<dyn SchemaProvider>,
    session: SessionContext,
    snapshot: Arc<Snapshot>,
}

impl fmt::Debug for Amended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pg_catalog")
    }
}

#[async_trait]
impl SchemaProvider for Amended {
    fn table_names(&self) -> Vec<String> {
        self.inner.table_names()
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        let Some(table) = self.inner.table(name).await? else { return Ok(None) };
        if name != "pg_class" {
            return Ok(Some(table));
        }
        let batches = self.session.read_table(table)?.collect().await?;
        let amended = batches.iter().map(|b| self.amend(b)).collect::<DfResult<Vec<_>>>()?;
        let Some(first) = amended.first() else { return self.inner.table(name).await };
        Ok(Some(Arc::new(MemTable::try_new(first.schema(), vec![amended])?)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.inner.table_exist(name)
    }
}

impl Amended {
    fn amend(&self, batch: &RecordBatch) -> DfResult<RecordBatch> {
        let schema = batch.schema();
        let (names, kinds) = (schema.index_of("relname")?, schema.index_of("relkind")?);
        let (Some(name), Some(kind)) =
            (batch.column(names).as_string_opt::<i32>(), batch.column(kinds).as_string_opt::<i32>())
        else {
            return Err(DataFusionError::Internal("pg_class has other columns than expected".into()));
        };
        let amended: ArrayRef = Arc::new(StringArray::from_iter((0..name.len()).map(|row| {
            let known = self.snapshot.get(name.value(row)).and_then(|o| relkind(o));
            Some(known.unwrap_or(kind.value(row)))
        })));
        let mut columns = batch.columns().to_vec();
        columns[kinds] = amended;
        Ok(RecordBatch::try_new(schema, columns)?)
    }
}
