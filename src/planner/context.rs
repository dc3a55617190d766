//! What DataFusion's SQL planner asks of us: tables of a catalog snapshot, functions, types. Views are planned inline.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion::logical_expr::{
    AggregateUDF, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource, WindowUDF, col,
};

use crate::catalog::def::{self, Column, Definition, PUBLIC};
use crate::catalog::{Object, Snapshot, View};
use crate::common::{Error, ErrorKind, Result};
use crate::expr::functions;
use crate::plan::Changelog;
use crate::sql;
use crate::sql::ast;
use crate::types::JobId;

/// One statement's view of the catalog; notes every object that it is asked for.
pub(super) struct Context<'a> {
    snapshot: &'a Snapshot,
    config: ConfigOptions,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
    used: RefCell<BTreeSet<JobId>>,
}

/// A catalog object as a table of a logical plan: its columns that are not hidden.
pub(super) struct Relation {
    pub object: Arc<Object>,
    schema: SchemaRef,
    /// The query of a view.
    inline: Option<LogicalPlan>,
    /// Its changes as rows: the columns of [`Changelog`] follow its own.
    pub changelog: bool,
}

impl TableSource for Relation {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        self.inline.as_ref().map(Cow::Borrowed)
    }
}

/// The rows of a recursive query, for its own term.
pub(super) struct WorkTable {
    pub name: String,
    pub schema: SchemaRef,
}

impl TableSource for WorkTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl<'a> Context<'a> {
    pub fn new(snapshot: &'a Snapshot) -> Self {
        Self { snapshot, config: config(), expr_planners: functions::expr_planners(), used: RefCell::default() }
    }

    pub fn config(&self) -> &ConfigOptions {
        &self.config
    }

    /// Every object that was read, through views too.
    pub fn used(&self) -> Vec<JobId> {
        self.used.borrow().iter().copied().collect()
    }

    fn relation(&self, name: &TableReference) -> Result<Relation> {
        let changelog = name.schema() == Some(sql::changelog::CHANGELOG);
        if let Some(schema) = name.schema()
            && schema != PUBLIC
            && !changelog
        {
            return Err(match schema {
                "weir" | "pg_catalog" | "information_schema" => {
                    Error::not_supported(format!("a streaming job cannot read the system table {name}"))
                        .with_hint("query it with SELECT")
                }
                _ => Error::new(ErrorKind::UndefinedSchema, format!("schema \"{schema}\" does not exist"))
                    .with_hint("all objects live in schema public: leave the schema out"),
            });
        }
        let object = self.snapshot.find(name.table())?;
        self.used.borrow_mut().insert(object.id);
        let inline = match &object.definition {
            Definition::View(_) if changelog => {
                return Err(Error::new(
                    ErrorKind::WrongObjectType,
                    format!("\"{}\" is a view that is not materialized: it has no changes", name.table()),
                )
                .with_hint("take the CHANGELOG of a table, a materialized view or a source"));
            }
            Definition::View(view) => Some(self.view(view).map_err(|e| e.context(format!("view \"{name}\"")))?),
            Definition::Sink(_) => {
                return Err(Error::new(
                    ErrorKind::WrongObjectType,
                    format!("\"{name}\" is a sink: nothing can be read"),
                )
                .with_hint("read the view that the sink writes"));
            }
            Definition::Index(_) => {
                return Err(Error::new(ErrorKind::WrongObjectType, format!("\"{name}\" is an index"))
                    .with_hint("read the table or view that it is on"));
            }
            _ => None,
        };
        let visible: Vec<Column> = object.definition.columns().iter().filter(|c| !c.hidden).cloned().collect();
        let mut schema = def::schema(&visible);
        if changelog {
            let own = Changelog::COLUMNS.map(|(name, data_type)| Arc::new(Field::new(name, data_type, false)));
            schema = Arc::new(Schema::new(schema.fields().iter().cloned().chain(own).collect::<Fields>()));
        }
        Ok(Relation { object: Arc::clone(object), schema, inline, changelog })
    }

    /// The view's query, under the names of the view's columns.
    fn view(&self, view: &View) -> Result<LogicalPlan> {
        let mut query = sql::parse_query(&view.query)?;
        super::rewrite(&mut query, self.snapshot, super::Purpose::Stream)?;
        let plan = super::bind::plan(self, &query)?;
        renamed(plan, view.columns.iter().map(|c| c.name.as_str()))
    }
}

/// The plan with its columns under other names, in the same order.
pub fn renamed<'n>(plan: LogicalPlan, names: impl Iterator<Item = &'n str>) -> Result<LogicalPlan> {
    let columns: Vec<_> = plan.schema().columns().into_iter().zip(names).map(|(c, name)| col(c).alias(name)).collect();
    Ok(LogicalPlanBuilder::from(plan).project(columns)?.build()?)
}

/// How SQL is read everywhere: strings stay `Utf8`, names fold to lower case.
pub fn config() -> ConfigOptions {
    let mut config = ConfigOptions::default();
    config.sql_parser.map_string_types_to_utf8view = false;
    config.optimizer.skip_failed_rules = false;
    config
}

/// SQL's type names as columns have them, where DataFusion's own differ: timestamps are of microseconds.
#[derive(Debug)]
pub struct Types;

impl TypePlanner for Types {
    #[allow(deprecated)]
    fn plan_type(&self, sql_type: &ast::DataType) -> DfResult<Option<DataType>> {
        match sql_type {
            ast::DataType::Timestamp(..)
            | ast::DataType::Datetime(_)
            | ast::DataType::TimestampNtz(_)
            | ast::DataType::Time(..)
            | ast::DataType::JSON
            | ast::DataType::JSONB
            | ast::DataType::Uuid => Ok(Some(sql::types::arrow(sql_type)?)),
            _ => Ok(None),
        }
    }
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> DfResult<Arc<dyn TableSource>> {
        Ok(Arc::new(self.relation(&name)?))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> DfResult<Arc<dyn TableSource>> {
        Ok(Arc::new(WorkTable { name: name.to_string(), schema }))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expr_planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        functions::scalar(super::now::function(name))
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        functions::higher_order(name)
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        functions::aggregate(name)
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        functions::window(name)
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.config
    }

    fn udf_names(&self) -> Vec<String> {
        functions::registry().scalars().map(|f| f.name().to_string()).collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        functions::registry().higher_orders().map(|f| f.name().to_string()).collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        functions::registry().aggregates().map(|f| f.name().to_string()).collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        functions::registry().windows().map(|f| f.name().to_string()).collect()
    }
}
