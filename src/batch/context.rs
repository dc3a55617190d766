//! A DataFusion session over one catalog snapshot and one epoch.

use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock, Weak};

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::{Field, Schema};
use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemTable, MemoryCatalogProviderList, SchemaProvider, TableProvider,
};
use datafusion::common::DFSchema;
use datafusion::datasource::{TableType, ViewTable};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{SendableRecordBatchStream, SpillFile, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement as DfStatement;
use parking_lot::Mutex;

use super::access::{Failed, Indexes};
use super::changed::CHANGED;
use super::client::Client;
use super::pg_catalog::{ClientTypes, Opened, PgCatalog, SEQUENCE_COLUMNS, clock};
use super::styles::SessionStyles;
use super::system::{SystemSchema, SystemTables};
use super::table::EpochTable;
use super::zone::{WallClock, Zone};
use crate::catalog::{Column, Definition, Object, Privilege, Snapshot, View};
use crate::common::clock::Clock;
use crate::common::{Error, ErrorKind, Result};
use crate::expr::{functions, push_down_filter, rules};
use crate::planner;
use crate::sql::name::TEMPORARY;
use crate::sql::{ast, parse_query};
use crate::state::StateStore;
use crate::types::Epoch;
use crate::types::styles::Styles;
use crate::types::timetz::timetz;

/// The database that clients see.
pub const DATABASE: &str = "dev";

/// What every read is made from.
pub struct BatchEnv {
    store: Arc<StateStore>,
    indexes: Arc<Indexes>,
    system: SystemTables,
    pg: PgCatalog,
    base: SessionState,
}

impl BatchEnv {
    /// `memory_limit` in bytes bounds what all queries may hold together; larger sorts and aggregates spill to disk.
    pub fn new(
        store: Arc<StateStore>,
        system: SystemTables,
        parallelism: usize,
        memory_limit: u64,
        failed: Failed,
    ) -> Result<Self> {
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(DATABASE, crate::catalog::def::PUBLIC)
            .with_create_default_catalog_and_schema(false)
            .with_target_partitions(parallelism);
        let options = config.options_mut();
        options.sql_parser.map_string_types_to_utf8view = false;
        options.sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
        // INSERT and SELECT of nothing but a subquery keep its order, as PostgreSQL does.
        options.sql_parser.enable_subquery_sort_elimination = false;
        // What each part of a sort sets aside to merge: the default alone is more than a small limit.
        let reserved = &mut config.options_mut().execution.sort_spill_reservation_bytes;
        *reserved = (*reserved).min(memory_limit as usize / (4 * parallelism.max(1)));
        let pool = Arc::new(FairSpillPool::new(memory_limit as usize));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc()?;
        let mut builder =
            SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features();
        builder = builder.with_optimizer_rules(push_down_filter::batch_rules());
        builder = builder.with_expr_planners(functions::expr_planners());
        for rule in rules::rules(false) {
            builder = builder.with_analyzer_rule(rule);
        }
        let mut state = builder.build();
        for function in functions::registry().scalars() {
            state.register_udf(function.clone())?;
        }
        for function in functions::registry().aggregates() {
            state.register_udaf(function.clone())?;
        }
        for function in functions::registry().windows() {
            state.register_udwf(function.clone())?;
        }
        let (pg, base) = PgCatalog::new(state, store.clone(), &system)?;
        let indexes = Arc::new(Indexes::new(store.clone(), failed));
        Ok(Self { store, indexes, system, pg, base })
    }

    pub(super) fn store(&self) -> &StateStore {
        &self.store
    }

    /// A file for what does not fit in memory, deleted when it is dropped.
    pub fn temporary_file(&self, what: &str) -> Result<Arc<dyn SpillFile>> {
        Ok(self.base.runtime_env().disk_manager.create_tmp_file(what)?)
    }

    pub(super) fn indexes(&self) -> &Indexes {
        &self.indexes
    }

    /// Reads `snapshot` at `epoch`, which the caller keeps pinned until the plan is physical. A client's statements are
    /// planned one after the other.
    pub fn context(
        self: &Arc<Self>,
        snapshot: Arc<Snapshot>,
        epoch: Epoch,
        purpose: Purpose,
        client: Arc<dyn Client>,
    ) -> Result<BatchContext> {
        let zone = Zone::new(client.setting("TimeZone"));
        let styles = client.styles();
        let kept = client.planning().kept(&snapshot, &zone, styles);
        let planning = match kept {
            Some(planning) => planning,
            None => {
                let moment = Arc::new(Mutex::new(Moment { epoch: Epoch(0), purpose: Purpose::Read, now: 0 }));
                let given = Given { moment, zone, styles, client: client.clone() };
                // A view's query names what it named when it was made.
                let plain = snapshot.plain();
                let views = match Arc::ptr_eq(&plain, &snapshot) {
                    true => None,
                    false => Some(Arc::new(self.planning(plain, given.clone(), None)?)),
                };
                let planning = Arc::new(self.planning(snapshot, given, views)?);
                client.planning().keep(planning.clone());
                planning
            }
        };
        *planning.moment.lock() = Moment { epoch, purpose, now: Clock::system().now_micros() };
        Ok(BatchContext { env: self.clone(), planning })
    }

    /// `views` plans the queries of views, where those are to see other names.
    fn planning(&self, snapshot: Arc<Snapshot>, given: Given, views: Option<Arc<Planning>>) -> Result<Planning> {
        let Given { moment, zone, styles, client } = given;
        let changed = Arc::new(Mutex::new(None));
        let user = client.user();
        let list = Arc::new(MemoryCatalogProviderList::new());
        let mut schemas: HashMap<String, Arc<dyn SchemaProvider>> = HashMap::new();
        let public = PublicSchema {
            snapshot: snapshot.clone(),
            moment: moment.clone(),
            changed: changed.clone(),
            zone: zone.clone(),
            store: self.store.clone(),
            indexes: self.indexes.clone(),
            views,
            state: OnceLock::new(),
        };
        let public = Arc::new(public);
        schemas.insert(crate::catalog::def::PUBLIC.into(), public.clone());
        schemas.insert(TEMPORARY.into(), public.clone());
        let weir = SystemSchema { tables: self.system.clone(), moment: moment.clone(), zone: zone.clone() };
        schemas.insert("weir".into(), Arc::new(weir));
        let Opened { pg_catalog, information_schema, functions } = self.pg.open(snapshot.clone(), client);
        schemas.insert("pg_catalog".into(), pg_catalog);
        schemas.insert("information_schema".into(), information_schema);
        list.register_catalog(DATABASE.into(), Arc::new(Schemas(schemas)));
        let mut builder = SessionStateBuilder::new_from_existing(self.base.clone()).with_catalog_list(list);
        if let Some(name) = zone.name() {
            let mut config = self.base.config().clone();
            config.options_mut().execution.time_zone = Some(name.to_string());
            builder = builder
                .with_config(config)
                .with_type_planner(Arc::new(ClientTypes { zone: zone.clone() }))
                .with_analyzer_rule(Arc::new(WallClock));
        }
        if styles != Styles::default() {
            builder = builder.with_analyzer_rule(Arc::new(SessionStyles(styles)));
        }
        let mut state = builder.build();
        let started = moment.clone();
        for function in functions.into_iter().chain(clock(&zone, move || started.lock().now)) {
            state.register_udf(Arc::new(function))?;
        }
        let state = Arc::new(state);
        // Views plan their query in the same session.
        let _ = public.state.set(Arc::downgrade(&state));
        let tasks = state.task_ctx();
        Ok(Planning { snapshot, user, zone, styles, public, state, tasks, moment, changed })
    }
}

/// A client's DataFusion session over one snapshot of the catalog, in one time zone and style: hundreds of functions, so it is kept from statement to
/// statement.
struct Planning {
    snapshot: Arc<Snapshot>,
    /// Whose privileges count; a client that changes its role forgets what was planned.
    user: String,
    zone: Zone,
    styles: Styles,
    public: Arc<PublicSchema>,
    state: Arc<SessionState>,
    tasks: Arc<TaskContext>,
    moment: Arc<Mutex<Moment>>,
    changed: Changed,
}

/// What a client's planning is made with, beside the catalog.
#[derive(Clone)]
struct Given {
    moment: Arc<Mutex<Moment>>,
    zone: Zone,
    styles: Styles,
    client: Arc<dyn Client>,
}

/// The rows that a statement writes, while what it returns is planned.
type Changed = Arc<Mutex<Option<Arc<dyn TableProvider>>>>;

/// What a statement reads, and for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) epoch: Epoch,
    purpose: Purpose,
    /// When the statement began, in microseconds.
    now: i64,
}

/// Where a client keeps what its last statement was planned with.
#[derive(Default)]
pub struct PlanningCache(Mutex<Option<Arc<Planning>>>);

impl PlanningCache {
    fn kept(&self, snapshot: &Arc<Snapshot>, zone: &Zone, styles: Styles) -> Option<Arc<Planning>> {
        let kept = self.0.lock().clone();
        kept.filter(|kept| Arc::ptr_eq(&kept.snapshot, snapshot) && kept.zone == *zone && kept.styles == styles)
    }

    fn keep(&self, planning: Arc<Planning>) {
        *self.0.lock() = Some(planning);
    }

    /// To be called when the client goes: what is kept holds the client.
    pub fn clear(&self) {
        *self.0.lock() = None;
    }
}

impl fmt::Debug for PlanningCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlanningCache")
    }
}

/// What a table's columns are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// SELECT: what users see.
    Read,
    /// INSERT: the same, all nullable, so that NOT NULL is checked where it is known which column it is.
    Insert,
    /// UPDATE and DELETE: hidden columns too.
    Change,
}

/// What one statement is planned and run with.
pub struct BatchContext {
    env: Arc<BatchEnv>,
    planning: Arc<Planning>,
}

impl BatchContext {
    /// The catalog that it plans with.
    pub fn snapshot(&self) -> &Snapshot {
        &self.planning.snapshot
    }

    /// Plans a query; window functions of the dialects are rewritten first.
    pub async fn plan(&self, query: &ast::Query) -> Result<LogicalPlan> {
        self.plan_statement(ast::Statement::Query(Box::new(query.clone()))).await
    }

    pub async fn plan_statement(&self, statement: ast::Statement) -> Result<LogicalPlan> {
        let mut statement = statement;
        // A query's columns are named after its calls first.
        if !matches!(statement, ast::Statement::Query(_)) {
            planner::inline_functions(&mut statement, &self.planning.snapshot)?;
        }
        let statement = match statement {
            ast::Statement::Query(mut query) => {
                self.rewrite(&mut query)?;
                ast::Statement::Query(query)
            }
            ast::Statement::Insert(mut insert) => {
                // VALUES may be long, and has nothing to be rewritten.
                if let Some(query) = &mut insert.source {
                    if matches!(query.body.as_ref(), ast::SetExpr::Values(_)) {
                        planner::check_reads(query, &self.planning.snapshot, &self.planning.user)?;
                    } else {
                        self.rewrite(query)?;
                        if has_values(query) {
                            return self.plan_insert_of(insert).await;
                        }
                    }
                }
                ast::Statement::Insert(insert)
            }
            other => other,
        };
        let plan = self.planning.state.statement_to_plan(DfStatement::Statement(Box::new(statement))).await;
        plan.map_err(|e| self.explain_missing(e))
    }

    /// An INSERT of a query with VALUES somewhere in it, which DataFusion would take for rows of the table: the query is
    /// planned before.
    async fn plan_insert_of(&self, mut insert: ast::Insert) -> Result<LogicalPlan> {
        let Some(source) = insert.source.take() else { return Err(Error::internal("INSERT of nothing")) };
        let plan = |statement| self.planning.state.statement_to_plan(DfStatement::Statement(Box::new(statement)));
        let rows = plan(ast::Statement::Query(source)).await.map_err(|e| self.explain_missing(e))?;
        let columns = rows.schema().columns();
        let named = (1..).zip(columns).map(|(n, column)| Expr::Column(column).alias(format!("column{n}")));
        let rows = LogicalPlanBuilder::from(rows.clone()).project(named.collect::<Vec<_>>())?.build()?;
        insert.source = Some(parse_query(&format!("SELECT * FROM {CHANGED}"))?);
        self.name_changed(Some(Arc::new(ViewTable::new(rows, None))));
        let planned = plan(ast::Statement::Insert(insert)).await;
        self.name_changed(None);
        planned.map_err(|e| self.explain_missing(e))
    }

    /// Whether the client may do that.
    ///
    /// # Errors
    /// `InsufficientPrivilege`.
    pub fn check(&self, privilege: Privilege, object: &Object) -> Result<()> {
        self.planning.snapshot.check(&self.planning.user, privilege, object)
    }

    fn rewrite(&self, query: &mut ast::Query) -> Result<()> {
        planner::rewrite(query, &self.planning.snapshot, planner::Purpose::Batch)?;
        planner::check_reads(query, &self.planning.snapshot, &self.planning.user)?;
        self.env.pg.rewrite(query, &self.planning.snapshot);
        Ok(())
    }

    /// An expression over the columns of `schema`, typed and simplified, as DML needs it.
    pub fn state(&self) -> &SessionState {
        &self.planning.state
    }

    /// Optimises, and reads what the query scans.
    pub async fn physical(&self, plan: LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self.planning.state.create_physical_plan(&plan).await?)
    }

    pub(super) fn zone(&self) -> &Zone {
        &self.planning.zone
    }

    pub(super) fn store(&self) -> &StateStore {
        &self.env.store
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.planning.moment.lock().epoch
    }

    /// What [`CHANGED`] names from now on.
    pub(super) fn name_changed(&self, rows: Option<Arc<dyn TableProvider>>) {
        *self.planning.changed.lock() = rows;
    }

    pub fn task_context(&self) -> Arc<TaskContext> {
        self.planning.tasks.clone()
    }

    pub async fn optimized(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        Ok(self.planning.state.optimize(plan)?)
    }

    /// Runs a plan on the current runtime.
    pub fn execute(&self, plan: Arc<dyn ExecutionPlan>) -> Result<SendableRecordBatchStream> {
        Ok(execute_stream(plan, self.task_context())?)
    }

    /// A relation that is not there, with what to do.
    fn explain_missing(&self, error: DataFusionError) -> Error {
        let error = Error::from(error);
        let name = error.message().strip_prefix("relation \"").and_then(|rest| rest.strip_suffix("\" does not exist"));
        // Of a schema other than public no more is known.
        let Some(name) = name.filter(|name| !name.contains('.')).map(str::to_string) else { return error };
        match self.planning.snapshot.get(&name).map(|o| o.definition.kind()) {
            Some("source") => {
                Error::new(ErrorKind::WrongObjectType, format!("\"{name}\" is a source: it keeps no rows"))
                    .with_hint(format!("CREATE MATERIALIZED VIEW v AS SELECT * FROM {name}; then SELECT from v"))
            }
            Some("sink") => Error::new(ErrorKind::WrongObjectType, format!("\"{name}\" is a sink: it cannot be read")),
            Some("index") => Error::new(ErrorKind::WrongObjectType, format!("\"{name}\" is an index"))
                .with_hint("read the table or view that it is on"),
            _ => match self.planning.snapshot.find(&name) {
                Err(e) => e,
                Ok(_) => error,
            },
        }
    }
}

/// Whether there is VALUES anywhere in a query.
fn has_values(query: &ast::Query) -> bool {
    struct Found;
    impl ast::Visitor for Found {
        type Break = ();

        fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
            if holds_values(&query.body) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    fn holds_values(body: &ast::SetExpr) -> bool {
        match body {
            ast::SetExpr::Values(_) => true,
            ast::SetExpr::SetOperation { left, right, .. } => holds_values(left) || holds_values(right),
            _ => false,
        }
    }
    ast::Visit::visit(query, &mut Found).is_break()
}

struct Schemas(HashMap<String, Arc<dyn SchemaProvider>>);

impl fmt::Debug for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl CatalogProvider for Schemas {
    fn schema_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.keys().cloned().collect();
        names.sort();
        names
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.0.get(name).cloned()
    }
}

/// Users' tables and views, as of the moment.
struct PublicSchema {
    snapshot: Arc<Snapshot>,
    moment: Arc<Mutex<Moment>>,
    changed: Changed,
    zone: Zone,
    store: Arc<StateStore>,
    indexes: Arc<Indexes>,
    /// Plans the queries of views, unless this does.
    views: Option<Arc<Planning>>,
    /// The session that this is part of.
    state: OnceLock<Weak<SessionState>>,
}

impl fmt::Debug for PublicSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicSchema at {}", self.moment.lock().epoch)
    }
}

#[async_trait]
impl SchemaProvider for PublicSchema {
    fn table_names(&self) -> Vec<String> {
        self.snapshot.objects().map(|o| o.name.clone()).collect()
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        if name == CHANGED {
            let changed = self.changed.lock().clone();
            if changed.is_some() {
                return Ok(changed);
            }
        }
        let Some(object) = self.snapshot.get(name) else { return self.sequence(name) };
        if let Definition::View(view) = &object.definition {
            let public = self.views.as_ref().map_or(self, |views| &views.public);
            return Ok(Some(public.view(view).await?));
        }
        let Moment { epoch, purpose, .. } = *self.moment.lock();
        let Some((table, key)) = object.definition.rows() else { return Ok(None) };
        let table = self.store.table(table, object.stored_schema())?;
        let all = object.definition.columns().iter().enumerate();
        let (shown, columns): (Vec<usize>, Vec<Column>) =
            all.filter(|(_, c)| purpose == Purpose::Change || !c.hidden).map(|(i, c)| (i, c.clone())).unzip();
        let mut schema = self.zone.schema(&crate::catalog::def::schema(&columns));
        if purpose == Purpose::Insert {
            let nullable = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
            schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        }
        let defaults = self.defaults(&columns)?;
        let (name, key, kind) = (name.to_string(), key.to_vec(), kind(object));
        let paths = self.indexes.paths(&self.snapshot, object)?;
        Ok(Some(Arc::new(EpochTable { table, epoch, shown, schema, name, key, paths, kind, defaults })))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.snapshot.get(name).is_some_and(|o| is_readable(&o.definition)) || self.snapshot.sequence(name).is_some()
    }
}

impl PublicSchema {
    /// How far the sequence `name` is, as a table of one row.
    fn sequence(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        let Some(sequence) = self.snapshot.sequence(name) else { return Ok(None) };
        let counter = self.store.sequences.get(sequence.id, &sequence.range)?;
        let reserve = i64::try_from(counter.reserve).unwrap_or(i64::MAX);
        let fields = SEQUENCE_COLUMNS.map(|(name, data_type)| Field::new(name, data_type, false));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![counter.last])),
            Arc::new(Int64Array::from(vec![reserve])),
            Arc::new(BooleanArray::from(vec![counter.called])),
        ];
        let rows = RecordBatch::try_new(schema.clone(), columns)?;
        Ok(Some(Arc::new(MemTable::try_new(schema, vec![vec![rows]])?)))
    }

    fn state(&self) -> DfResult<Arc<SessionState>> {
        let state = self.state.get().and_then(Weak::upgrade);
        state.ok_or_else(|| DataFusionError::Internal("a table outside a session".into()))
    }

    fn defaults(&self, columns: &[Column]) -> DfResult<HashMap<String, Expr>> {
        let state = self.state()?;
        let given = columns.iter().filter_map(|c| Some((c, c.default.as_ref()?)));
        let planned = |(c, text): (&Column, &String)| {
            let expr = state.create_logical_expr(text, &DFSchema::empty())?;
            // What DataFusion takes for no cast at all.
            Ok((c.name.clone(), if c.data_type == timetz() { cast(expr, timetz()) } else { expr }))
        };
        given.map(planned).collect()
    }

    async fn view(&self, view: &View) -> DfResult<Arc<dyn TableProvider>> {
        let state = self.state()?;
        let mut query = parse_query(&view.query)?;
        planner::rewrite(&mut query, &self.snapshot, planner::Purpose::Batch)?;
        let statement = DfStatement::Statement(Box::new(ast::Statement::Query(query)));
        // A view of a view comes back here through the schema.
        let plan = Box::pin(state.statement_to_plan(statement)).await?;
        let plan = planner::renamed(plan, view.columns.iter().map(|c| c.name.as_str()))?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}

fn is_readable(definition: &Definition) -> bool {
    definition.rows().is_some() || matches!(definition, Definition::View(_))
}

fn kind(object: &Object) -> TableType {
    match object.definition {
        Definition::Table(_) => TableType::Base,
        _ => TableType::View,
    }
}
