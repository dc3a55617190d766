//! A logical plan to a tree of stream operators, with what is known of each one's output.
//!
//! The columns of a lowered plan are those of the logical plan, by position, and behind them hidden ones that the
//! stream key needs. Exchanges stand where rows of one group must meet.

mod agg;
mod changelog;
mod grouping;
mod index;
mod join;
mod join_time;
mod output;
mod panes;
mod lateness;
mod over;
mod project;
mod recursive;
mod scan;
mod temporal;
mod temporal_join;
mod time_join;
mod top_n;
mod union;
mod unnest;
mod values;
mod watermark;
mod windows;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Distinct, Expr as LogicalExpr, LogicalPlan};
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::scalar::ScalarValue;

pub(super) use index::IndexPlan;
pub(super) use output::{IntoTable, TablePlan, TableSpec};

use self::windows::{Session, Windowed};
use super::now;
use super::time_join::TimeJoin;
use crate::common::{Error, ErrorKind, Result};
use crate::plan::{Distribution, Expr, Node, Operator, Properties};
use crate::sql::statement::Emit;
use crate::types::pg_type::PgType;
use crate::types::{OperatorId, TableId, time};

/// A lowered plan: the first `visible` columns are the logical plan's.
pub(super) struct Lowered {
    pub node: Node,
    pub visible: usize,
}

impl Lowered {
    fn properties(&self) -> &Properties {
        &self.node.properties
    }

    fn schema(&self) -> &SchemaRef {
        &self.node.schema
    }
}

/// Lowers one job's plan: numbers its operators and takes ids for its state tables.
pub(super) struct Lowerer<'a> {
    table_ids: &'a mut dyn FnMut() -> TableId,
    next_operator: u32,
    emit_on_window_close: bool,
    close_timeout: Option<i64>,
    /// How long closed windows take late rows.
    lateness: Option<i64>,
    /// An aggregation that emits on close was lowered.
    closes_windows: bool,
    /// The recursive queries around what is lowered.
    recursions: Vec<recursive::Open>,
    pub notices: Vec<String>,
}

impl<'a> Lowerer<'a> {
    pub fn new(table_ids: &'a mut dyn FnMut() -> TableId, emit: Emit, lateness: Option<i64>) -> Self {
        Self {
            table_ids,
            next_operator: 0,
            emit_on_window_close: emit != Emit::OnUpdate,
            close_timeout: match emit {
                Emit::OnWindowClose { timeout } => timeout,
                Emit::OnUpdate => None,
            },
            lateness,
            closes_windows: false,
            recursions: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// Lowers the whole of a query.
    pub fn query(&mut self, plan: &LogicalPlan) -> Result<Lowered> {
        let plan = match plan {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
                self.notices.push("ORDER BY has no effect in a view: order the SELECT that reads it".into());
                &sort.input
            }
            plan => plan,
        };
        let lowered = self.lower(plan)?;
        if self.emit_on_window_close && !self.closes_windows {
            return Err(Error::new(ErrorKind::InvalidDefinition, "EMIT ON WINDOW CLOSE needs GROUP BY a window")
                .with_hint("GROUP BY window_start of TUMBLE(…), or leave EMIT ON WINDOW CLOSE out"));
        }
        Ok(lowered)
    }

    fn lower(&mut self, plan: &LogicalPlan) -> Result<Lowered> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::RecursiveQuery(query) => self.recursive(query),
            LogicalPlan::Values(values) => self.values(values),
            LogicalPlan::EmptyRelation(empty) => Ok(self.empty(empty)),
            LogicalPlan::SubqueryAlias(alias) => self.lower(&alias.input),
            LogicalPlan::Filter(filter) => {
                if let Some(top) = self.top_n_filter(filter, None)? {
                    return Ok(top);
                }
                let input = self.lower(&filter.input)?;
                self.filter(input, &filter.predicate, filter.input.schema())
            }
            LogicalPlan::Projection(projection) => {
                if let LogicalPlan::Filter(filter) = projection.input.as_ref()
                    && let Some(top) = self.top_n_filter(filter, Some(projection))?
                {
                    return Ok(top);
                }
                let input = self.lower(&projection.input)?;
                self.projection(input, &projection.expr, projection.input.schema(), projection.schema.as_arrow())
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let input = self.lower(input)?;
                self.distinct(input)
            }
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Extension(node) => match node.node.as_any().downcast_ref::<TimeJoin>() {
                Some(join) => self.time_join(join),
                None => Err(unsupported(plan)),
            },
            LogicalPlan::Unnest(unnest) => match Windowed::of(unnest)? {
                Some(windowed) => self.time_windows(unnest, &windowed),
                None => self.unnest(unnest),
            },
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Window(window) => match Session::of(window)? {
                Some(session) => self.session_window(window, &session),
                None => self.window(window),
            },
            // Without LIMIT the order of rows inside a query means nothing.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.lower(&sort.input),
            other => Err(unsupported(other)),
        }
    }

    fn filter(&mut self, input: Lowered, predicate: &LogicalExpr, schema: &DFSchema) -> Result<Lowered> {
        if matches!(predicate, LogicalExpr::Literal(ScalarValue::Boolean(Some(true)), _)) {
            return Ok(input);
        }
        if now::is_in(predicate) {
            return self.temporal_filter(input, predicate, schema);
        }
        let predicate = physical(predicate, schema, input.schema())?;
        let Lowered { node: input, visible } = input;
        let (schema, properties) = (Arc::clone(&input.schema), input.properties.clone());
        Ok(Lowered { node: self.node(Operator::Filter { predicate }, vec![input], schema, properties), visible })
    }

    /// Moves rows to where `distribution` says.
    fn exchange(&mut self, input: Node, distribution: Distribution) -> Node {
        let schema = Arc::clone(&input.schema);
        let properties = Properties { distribution: distribution.clone(), ..input.properties.clone() };
        self.node(Operator::Exchange { distribution }, vec![input], schema, properties)
    }

    fn node(&mut self, operator: Operator, inputs: Vec<Node>, schema: SchemaRef, properties: Properties) -> Node {
        let id = OperatorId(self.next_operator);
        self.next_operator += 1;
        Node { id, operator, inputs, schema, properties }
    }

    fn table_id(&mut self) -> TableId {
        (self.table_ids)()
    }
}

/// The expression over the columns of `input`, of which the first are those of `schema`.
fn physical(expr: &LogicalExpr, schema: &DFSchema, input: &SchemaRef) -> Result<Expr> {
    physical_at(expr, schema, input, |i| i)
}

/// The expression over the columns of `input`, of which number `position(i)` is number *i* of `schema`.
fn physical_at(
    expr: &LogicalExpr,
    schema: &DFSchema,
    input: &SchemaRef,
    position: impl Fn(usize) -> usize,
) -> Result<Expr> {
    if now::is_in(expr) {
        return Err(now::misplaced());
    }
    let props = ExecutionProps::new();
    let physical = create_physical_expr(expr, schema, &props, &PhysicalPlanningContext::default())?;
    let physical = physical.transform(|e| match e.downcast_ref::<PhysicalColumn>().map(|c| position(c.index())) {
        Some(i) if i < input.fields().len() => {
            Ok(Transformed::yes(Arc::new(PhysicalColumn::new(input.field(i).name(), i)) as _))
        }
        _ => Ok(Transformed::no(e)),
    })?;
    let physical = physical.data;
    // Jobs are stored with their expressions: one that cannot be stored must fail here, not at recovery.
    crate::expr::proto::encode(&physical).map_err(|e| e.context(format!("the expression {expr}")))?;
    Ok(Expr::new(physical, Arc::clone(input)))
}

/// Name, type, nullability and mark of a field; what else it carries is of no use to a stream.
fn plain(field: &Field) -> FieldRef {
    named(field, field.name())
}

/// As [`plain`], under another name.
fn named(field: &Field, name: &str) -> FieldRef {
    Arc::new(PgType::carry(field, Field::new(name, field.data_type().clone(), field.is_nullable())))
}

/// As [`plain`], under the function's name where DataFusion names a column after a whole OVER clause.
fn short(field: &Field) -> FieldRef {
    const CLAUSES: &[&str] =
        &[" FILTER (WHERE ", " PARTITION BY [", " ORDER BY [", " ROWS BETWEEN ", " RANGE BETWEEN ", " GROUPS BETWEEN "];
    let name = field.name();
    let end = CLAUSES.iter().filter_map(|clause| name.find(clause)).min().unwrap_or(name.len());
    let name = name.get(..end).unwrap_or(name);
    named(field, name)
}

fn schema_of(fields: impl IntoIterator<Item = FieldRef>) -> SchemaRef {
    Arc::new(Schema::new(fields.into_iter().collect::<Fields>()))
}

/// The type that event time and watermarks have.
fn is_event_time(data_type: &DataType) -> bool {
    *data_type == time::timestamp() || *data_type == time::timestamptz()
}

fn unsupported(plan: &LogicalPlan) -> Error {
    let (what, hint) = match plan {
        LogicalPlan::Subquery(_) => (
            "this form of LATERAL is not supported in streaming jobs",
            "leave RIGHT and FULL joins, GROUPING SETS and limits that are no numbers out of it, or join with a subquery \
             that groups by the columns of the join",
        ),
        other => {
            return Error::not_supported(format!("{} is not supported in streaming jobs yet", other.display()))
                .with_hint("use it in the SELECT that reads the view");
        }
    };
    Error::not_supported(what).with_hint(hint)
}
