//! GROUP BY and DISTINCT: how each call follows its input, and in how many phases.
//!
//! ```text
//! every call's state is small and mergeable:   Partial --exchange by group--> Final
//! some call keeps its values:                  Project --exchange by group--> Single
//! rows of a group are together already:        Single
//! grouping sets:                               Project --> GroupingSets --> one of these
//! by windows that overlap:                     see `panes`
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, SchemaRef};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment};
use datafusion::logical_expr::{Aggregate, Expr as LogicalExpr, LogicalPlan, Projection};

use super::grouping::{Grouping, Sets};
use super::lateness;
use super::panes::Paned;
use super::project::Columns;
use super::{Lowered, Lowerer, physical, plain, schema_of};
use crate::common::{Error, ErrorKind, Result};
use crate::expr::aggregate::is_linear;
use crate::plan::{AggCall, AggMethod, AggPhase, Distribution, Expr, HashAgg, Node, Operator, Properties};
use crate::types::{TimeWindows, key};

/// Functions whose DataFusion state has a fixed size and merges: no values are kept on append-only input.
const MERGEABLE: &[&str] = &[
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "max",
    "min",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "stddev",
    "stddev_pop",
    "sum",
    "var",
    "var_pop",
];

/// Functions that give the same with DISTINCT and without.
const INDIFFERENT_TO_DUPLICATES: &[&str] =
    &["approx_distinct", "bit_and", "bit_or", "bool_and", "bool_or", "max", "min"];

/// Functions whose ORDER BY (WITHIN GROUP) names the argument, not an order of rows.
const ORDERED_SETS: &[&str] = &["approx_percentile_cont", "approx_percentile_cont_with_weight"];

/// What enters an aggregation: the input, and the logical schema that its visible columns have.
pub(super) struct Rows {
    pub input: Lowered,
    pub schema: Arc<DFSchema>,
    pub group: Vec<usize>,
}

/// What is made of the rows.
pub(super) struct Grouped {
    /// Columns of the input.
    pub group: Vec<usize>,
    pub calls: Vec<AggCall>,
    /// Numbers of the empty grouping sets.
    pub totals: Vec<u64>,
    /// The first group column is the start of a pane of these windows: its groups become the windows' own, by their ends.
    pub windows: Option<TimeWindows>,
}

impl Lowerer<'_> {
    pub(super) fn distinct(&mut self, input: Lowered) -> Result<Lowered> {
        let group = (0..input.visible).collect();
        let output = schema_of(input.schema().fields().iter().take(input.visible).cloned());
        let grouped = Grouped { group, calls: Vec::new(), totals: Vec::new(), windows: None };
        let result = self.hash_agg(input, grouped)?;
        check_output(result, &output)
    }

    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Lowered> {
        let grouping = Grouping::of(aggregate)?;
        let output: SchemaRef = schema_of(aggregate.schema.fields().iter().map(|f| plain(f)));
        if let Some(paned) = Paned::of(aggregate, &grouping)? {
            let result = self.paned(aggregate, &grouping, &paned)?;
            return check_output(result, &output);
        }
        let input = self.lower(&aggregate.input)?;
        let rows = self.rows(input, &aggregate.input, &grouping.exprs, grouping.sets.as_ref(), &aggregate.aggr_expr)?;
        let calls = self.calls(&aggregate.aggr_expr, output.fields().iter().skip(rows.group.len()), &rows)?;
        let grouped = Grouped { group: rows.group, calls, totals: grouping.totals(), windows: None };
        let result = self.hash_agg(rows.input, grouped)?;
        check_output(result, &output)
    }

    /// Makes every grouping expression over `below` a column, once a row and grouping set; the calls' columns follow.
    pub(super) fn rows(
        &mut self,
        input: Lowered,
        below: &Arc<LogicalPlan>,
        group: &[LogicalExpr],
        sets: Option<&Sets>,
        calls: &[LogicalExpr],
    ) -> Result<Rows> {
        let schema = below.schema();
        let column = |e: &LogicalExpr| match e {
            LogicalExpr::Column(c) => schema.index_of_column(c).ok(),
            _ => None,
        };
        if sets.is_none()
            && let Some(group) = group.iter().map(column).collect()
        {
            return Ok(Rows { input, schema: Arc::clone(schema), group });
        }
        let mut exprs = Vec::new();
        for (i, expr) in group.iter().enumerate() {
            exprs.push(match expr {
                // What a set makes null, a call may still read.
                LogicalExpr::Column(_) if sets.is_none() => expr.clone(),
                expr => expr.clone().alias(group_name(expr, i, schema, &exprs)),
            });
        }
        let group: Vec<usize> = (0..exprs.len()).collect();
        let mut needed: BTreeSet<Column> = BTreeSet::new();
        for call in calls {
            needed.extend(call.column_refs().into_iter().cloned());
        }
        for expr in &exprs {
            if let LogicalExpr::Column(c) = expr {
                needed.remove(c);
            }
        }
        exprs.extend(needed.into_iter().map(LogicalExpr::Column));
        let projection = Projection::try_new(exprs, Arc::clone(below))?;
        let input = self.projection(input, &projection.expr, schema, projection.schema.as_arrow())?;
        let rows = Rows { input, schema: projection.schema, group };
        match sets {
            Some(sets) => self.grouping_sets(rows, sets),
            None => Ok(rows),
        }
    }

    /// Each row once for every set; the sets' number is the last group column.
    fn grouping_sets(&mut self, rows: Rows, sets: &Sets) -> Result<Rows> {
        let Rows { input: Lowered { node: input, visible }, schema, mut group } = rows;
        let number = input.schema.fields().len();
        let fields = input.schema.fields().iter().enumerate().map(|(i, f)| match sets.nulls(i) {
            true => Arc::new(f.as_ref().clone().with_nullable(true)),
            false => Arc::clone(f),
        });
        let id = Arc::new(Field::new(Aggregate::INTERNAL_GROUPING_ID, sets.id_type.clone(), false));
        let output = schema_of(fields.chain([id]));
        group.push(number);
        let properties = Properties {
            stream_key: Vec::new(),
            distribution: match input.properties.distribution {
                Distribution::Single => Distribution::Single,
                _ => Distribution::Any,
            },
            append_only: input.properties.append_only,
            watermark_columns: input.properties.watermark_columns.iter().copied().filter(|c| !sets.nulls(*c)).collect(),
        };
        let node = self.node(Operator::GroupingSets { sets: sets.sets.clone() }, vec![input], output, properties);
        Ok(Rows { input: Lowered { node, visible }, schema, group })
    }

    /// The calls, under the names of `fields`.
    pub(super) fn calls<'f>(
        &mut self,
        calls: &[LogicalExpr],
        fields: impl Iterator<Item = &'f FieldRef>,
        rows: &Rows,
    ) -> Result<Vec<AggCall>> {
        let mut made: Vec<AggCall> = Vec::new();
        for (call, field) in calls.iter().zip(fields) {
            let mut call = self.call(call, field, &rows.schema, &rows.input)?;
            if call.distinct || call.method == AggMethod::Values {
                let shared = made.iter().find(|other| other.shares_values(&call)).and_then(|other| other.values);
                call.values = Some(shared.unwrap_or_else(|| self.table_id()));
            }
            made.push(call);
        }
        Ok(made)
    }

    fn call(&mut self, expr: &LogicalExpr, field: &FieldRef, schema: &DFSchema, input: &Lowered) -> Result<AggCall> {
        let mut expr = expr;
        while let LogicalExpr::Alias(alias) = expr {
            expr = &alias.expr;
        }
        let LogicalExpr::AggregateFunction(AggregateFunction { func, params }) = expr else {
            return Err(Error::internal(format!("{expr} is no aggregate call")));
        };
        let column = |e: &LogicalExpr| physical(e, schema, input.schema());
        let function = func.name().to_string();
        let distinct = params.distinct && !INDIFFERENT_TO_DUPLICATES.contains(&function.as_str());
        let mut call = AggCall {
            args: params.args.iter().map(column).collect::<Result<_>>()?,
            distinct,
            filter: params.filter.as_deref().map(column).transpose()?,
            order_by: params
                .order_by
                .iter()
                .map(|sort| Ok((column(&sort.expr)?, !sort.asc, sort.nulls_first)))
                .collect::<Result<_>>()?,
            ignore_nulls: params.null_treatment == Some(NullTreatment::IgnoreNulls),
            method: AggMethod::Values,
            name: field.name().clone(),
            values: None,
            function,
        };
        call.method = method(&call, input);
        if call.distinct || call.method == AggMethod::Values {
            check_keys(&call.name, call.args.iter().chain(call.order_by.iter().map(|(e, _, _)| e)))?;
        }
        Ok(call)
    }

    /// Group columns, then results.
    pub(super) fn hash_agg(&mut self, mut input: Lowered, grouped: Grouped) -> Result<Lowered> {
        let Grouped { group, calls: aggs, totals, mut windows } = grouped;
        let mergeable = aggs.iter().all(|c| c.method != AggMethod::Values && !c.distinct);
        if let (Some(of_pane), Some(column), false) = (windows, group.first(), mergeable) {
            input = self.expanded(input, *column, of_pane);
            windows = None;
        }
        let carries = |column: &usize| input.properties().watermark_columns.contains(column);
        let window = group.iter().position(carries);
        for column in &group {
            let field = input.schema().field(*column);
            if !key::is_encodable(field.data_type()) {
                return Err(Error::not_supported(format!(
                    "GROUP BY and DISTINCT on \"{}\" of type {} are not supported",
                    field.name(),
                    field.data_type()
                ))
                .with_hint("cast it to VARCHAR"));
            }
        }
        if self.emit_on_window_close {
            if window.is_none() {
                return Err(no_window(input.properties().watermark_columns.is_empty()));
            }
            self.closes_windows = true;
        }
        let watermark_columns = (0..group.len()).filter(|i| group.get(*i).is_some_and(carries)).collect();
        let groups = group.len();
        // What comes out of sessions that have closed is final but for late rows, which come as changes.
        let frees = window.and_then(|w| group.get(w)).is_some_and(|w| lateness::of_late_sessions(&input.node, *w));
        let emit_on_close = self.emit_on_window_close && !frees;
        let lateness_micros = match (self.lateness, window.and_then(|w| group.get(w))) {
            (Some(lateness), Some(column)) if emit_on_close => {
                lateness::rounded(lateness, &input.node, *column, windows)
            }
            _ => 0,
        };
        let agg = HashAgg {
            lateness_micros,
            frees,
            close_timeout: self.close_timeout,
            phase: AggPhase::Single,
            rows: Arc::clone(input.schema()),
            group,
            aggs,
            window,
            emit_on_close,
            append_only: input.properties().append_only,
            state: None,
            totals,
            lag_micros: 0,
        };
        let properties = Properties {
            stream_key: (0..groups).collect(),
            distribution: match &input.properties().distribution {
                Distribution::Single => Distribution::Single,
                _ if groups == 0 => Distribution::Single,
                _ => Distribution::Hash((0..groups).collect()),
            },
            append_only: self.emit_on_window_close && self.lateness.is_none(),
            watermark_columns,
        };
        let node = if windows.is_none() && is_together(&input.node, &agg.group) {
            self.last_phase(input.node, agg, properties)?
        } else if mergeable {
            self.two_phases(input.node, agg, properties, windows)?
        } else {
            self.one_phase(input, agg, properties)?
        };
        let visible = node.schema.fields().len();
        Ok(Lowered { node, visible })
    }

    fn two_phases(
        &mut self,
        input: Node,
        mut agg: HashAgg,
        properties: Properties,
        windows: Option<TimeWindows>,
    ) -> Result<Node> {
        // A row is late when the last window that may hold its pane is closed.
        let lag_micros = windows.map_or(0, |w| w.size() - w.panes().0);
        let partial = HashAgg { phase: AggPhase::Partial, lag_micros, totals: Vec::new(), ..agg.clone() };
        let schema = partial.partial_schema()?;
        // Partial states are sums over an epoch: each is new, even where the input retracts.
        let before = Properties { distribution: Distribution::Any, append_only: true, ..properties.clone() };
        let mut partial = self.node(Operator::HashAgg(partial), vec![input], schema, before);
        if let Some(windows) = windows {
            agg.rows = with_end(&agg.rows, agg.group.first());
            let (schema, properties) = (agg.partial_schema()?, partial.properties.clone());
            partial = self.node(Operator::TimeWindows { column: 0, windows }, vec![partial], schema, properties);
        }
        let together = self.exchange(partial, properties.distribution.clone());
        self.last_phase(together, HashAgg { phase: AggPhase::Final, ..agg }, properties)
    }

    /// Rows by window instead of by pane.
    fn expanded(&mut self, input: Lowered, column: usize, windows: TimeWindows) -> Lowered {
        let Lowered { node: input, visible } = input;
        let schema = with_end(&input.schema, Some(&column));
        let properties = Properties {
            // What was placed by pane is not placed by window.
            distribution: match input.properties.distribution {
                Distribution::Single => Distribution::Single,
                _ => Distribution::Any,
            },
            ..input.properties.clone()
        };
        let node = self.node(Operator::TimeWindows { column, windows }, vec![input], schema, properties);
        Lowered { node, visible }
    }

    /// Ships only the columns that the aggregation reads.
    fn one_phase(&mut self, input: Lowered, mut agg: HashAgg, properties: Properties) -> Result<Node> {
        let mut used: Vec<usize> = Vec::new();
        let mut needed = |column: usize| {
            if !used.contains(&column) {
                used.push(column);
            }
        };
        agg.group.iter().copied().for_each(&mut needed);
        for call in &agg.aggs {
            for expr in call_exprs(call) {
                let columns = datafusion::physical_expr::utils::collect_columns(expr.physical());
                let mut indices: Vec<usize> = columns.iter().map(|c| c.index()).collect();
                indices.sort_unstable();
                indices.into_iter().for_each(&mut needed);
            }
        }
        let mut columns = Columns::new();
        for column in &used {
            columns.push_column(&input, *column);
        }
        let visible = columns.len();
        let input = self.project(input, columns, visible).node;
        let moved = |column: usize| used.iter().position(|c| *c == column).unwrap_or(column);
        agg.rows = Arc::clone(&input.schema);
        agg.group = agg.group.into_iter().map(moved).collect();
        for call in &mut agg.aggs {
            remap(call, &moved, &agg.rows)?;
        }
        let by = match agg.group.is_empty() {
            true => Distribution::Single,
            false => Distribution::Hash(agg.group.clone()),
        };
        let together = self.exchange(input, by);
        self.last_phase(together, agg, properties)
    }

    fn last_phase(&mut self, input: Node, mut agg: HashAgg, properties: Properties) -> Result<Node> {
        agg.state = Some(self.table_id());
        let schema = agg.result_schema()?;
        Ok(self.node(Operator::HashAgg(agg), vec![input], schema, properties))
    }
}

/// The column of the pane under the name of the window's end.
fn with_end(schema: &SchemaRef, column: Option<&usize>) -> SchemaRef {
    let mut name = "window_end".to_string();
    while schema.fields().iter().any(|f| *f.name() == name) {
        name.insert(0, '_');
    }
    schema_of(schema.fields().iter().enumerate().map(|(i, f)| match Some(&i) == column {
        true => Arc::new(f.as_ref().clone().with_name(&name)),
        false => Arc::clone(f),
    }))
}

/// A short name for the column of grouping expression number `i`, which no column of `schema` has and none of `before`.
fn group_name(expr: &LogicalExpr, i: usize, schema: &DFSchema, before: &[LogicalExpr]) -> String {
    let mut name = match expr {
        LogicalExpr::ScalarFunction(f) => format!("_{}_{i}", f.func.name()),
        LogicalExpr::Column(c) => format!("_{}", c.name),
        _ => format!("_group_{i}"),
    };
    let is_before = |name: &str| before.iter().any(|e| matches!(e, LogicalExpr::Alias(a) if a.name == name));
    while schema.fields().iter().any(|f| *f.name() == name) || is_before(&name) {
        name.insert(0, '_');
    }
    name
}

/// Whether all rows of a group come to one actor, and by the group's own vnode: state keys carry it.
fn is_together(input: &Node, group: &[usize]) -> bool {
    match &input.properties.distribution {
        Distribution::Single => true,
        Distribution::Hash(columns) => !group.is_empty() && columns == group,
        Distribution::Any => false,
    }
}

fn method(call: &AggCall, input: &Lowered) -> AggMethod {
    let function = call.function.as_str();
    // What DISTINCT lets through are first and last appearances: changes, whatever the input.
    let append_only = input.properties().append_only && !call.distinct;
    let ordered = !call.order_by.is_empty() && !ORDERED_SETS.contains(&function);
    if append_only && MERGEABLE.contains(&function) && !ordered {
        return AggMethod::Merge;
    }
    let plain = AggCall { distinct: false, method: AggMethod::Linear, ..call.clone() };
    match is_linear(&plain.call(input.schema())) {
        true => AggMethod::Linear,
        false => AggMethod::Values,
    }
}

fn call_exprs(call: &AggCall) -> impl Iterator<Item = &Expr> {
    call.args.iter().chain(&call.filter).chain(call.order_by.iter().map(|(e, _, _)| e))
}

fn remap(call: &mut AggCall, moved: &impl Fn(usize) -> usize, rows: &SchemaRef) -> Result<()> {
    let move_expr = |expr: &mut Expr| -> Result<()> {
        use datafusion::common::tree_node::{Transformed, TreeNode};
        use datafusion::physical_expr::expressions;
        let physical = Arc::clone(expr.physical()).transform(|e| {
            Ok(match e.downcast_ref::<expressions::Column>() {
                Some(c) => Transformed::yes(Arc::new(expressions::Column::new(c.name(), moved(c.index()))) as _),
                None => Transformed::no(e),
            })
        })?;
        *expr = Expr::new(physical.data, Arc::clone(rows));
        Ok(())
    };
    let exprs = call.args.iter_mut().chain(&mut call.filter).chain(call.order_by.iter_mut().map(|(e, _, _)| e));
    for expr in exprs {
        move_expr(expr)?;
    }
    Ok(())
}

/// Values that are kept are kept in order: their types must have one.
fn check_keys<'e>(call: &str, exprs: impl Iterator<Item = &'e Expr>) -> Result<()> {
    for expr in exprs {
        let data_type = expr.data_type()?;
        if !key::is_encodable(&data_type) {
            return Err(Error::not_supported(format!("{call}: values of type {data_type} cannot be kept"))
                .with_hint("cast them to VARCHAR"));
        }
    }
    Ok(())
}

/// The types that the operators make are those that the query was planned with.
fn check_output(result: Lowered, output: &SchemaRef) -> Result<Lowered> {
    let made = result.schema().fields();
    let same = result.visible == output.fields().len()
        && made.iter().zip(output.fields()).all(|(a, b)| a.data_type() == b.data_type());
    match same {
        true => Ok(result),
        false => Err(Error::internal(format!("an aggregation makes {:?}, planned was {output:?}", result.schema()))),
    }
}

pub(super) fn no_window(no_watermark: bool) -> Error {
    let error = |message: &str| Error::new(ErrorKind::InvalidDefinition, message.to_string());
    let example = "GROUP BY window_start, as in SELECT window_start, count(*) FROM TUMBLE(bid, date_time, \
                   INTERVAL '10' SECOND) GROUP BY window_start EMIT ON WINDOW CLOSE";
    match no_watermark {
        true => error("EMIT ON WINDOW CLOSE needs a watermark, and no column that reaches the aggregation has one")
            .with_hint(format!("define the source with WATERMARK FOR its time column, and {example}")),
        false => error("EMIT ON WINDOW CLOSE needs GROUP BY a column with a watermark").with_hint(example),
    }
}
