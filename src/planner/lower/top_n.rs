//! ORDER BY … LIMIT, and filters on ranks: `row_number() OVER (…) <= n` keeps the first rows of each partition, and needs
//! no other ranks than theirs.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunctionParams};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr as LogicalExpr, FetchType, Filter, Limit, LogicalPlan, Operator as Compare, Projection, SkipType,
    Window,
};
use datafusion::scalar::ScalarValue;

use super::over::unaliased;
use super::project::Columns;
use super::{Lowered, Lowerer, physical, short};
use crate::common::{Error, ErrorKind, Result};
use crate::plan::over::rank_type;
use crate::plan::{
    AggPhase, Distribution, Expr, Frame, Node, Operator, Properties, Rank, RowOrder, SortColumn, TopN, WindowCall,
};
use crate::types::key;

/// What is kept of each partition.
pub(super) struct Top {
    pub rank: Rank,
    pub offset: u64,
    pub last: u64,
    pub shown: Vec<(Rank, Arc<Field>)>,
}

impl Lowerer<'_> {
    pub(super) fn limit(&mut self, limit: &Limit) -> Result<Lowered> {
        let constant = |what: &str| {
            Error::not_supported(format!("{what} of a streaming job must be a number"))
                .with_hint(format!("write the number itself: {what} 10"))
        };
        let negative = |e: DataFusionError| {
            let message = e.strip_backtrace();
            Error::new(ErrorKind::InvalidParameterValue, message.trim_start_matches("Error during planning: "))
        };
        let SkipType::Literal(offset) = limit.get_skip_type().map_err(negative)? else {
            return Err(constant("OFFSET"));
        };
        let FetchType::Literal(rows) = limit.get_fetch_type().map_err(negative)? else { return Err(constant("LIMIT")) };
        self.limited(&limit.input, offset as u64, rows.map(|rows| rows as u64))
    }

    /// The plan's rows from `offset` on, at most so many, in the order of the sort that stands right under projections.
    fn limited(&mut self, plan: &LogicalPlan, offset: u64, rows: Option<u64>) -> Result<Lowered> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => self.limited(&alias.input, offset, rows),
            LogicalPlan::Projection(projection) if is_sorted(&projection.input) => {
                let input = self.limited(&projection.input, offset, rows)?;
                self.projection(input, &projection.expr, projection.input.schema(), projection.schema.as_arrow())
            }
            LogicalPlan::Sort(sort) => {
                let input = self.lower(&sort.input)?;
                let rows = match sort.fetch {
                    Some(fetch) => Some(rows.map_or(fetch as u64, |rows| rows.min(fetch as u64))),
                    None => rows,
                };
                self.first_rows(input, &sort.expr, sort.input.schema(), offset, rows)
            }
            other => {
                let input = self.lower(other)?;
                self.first_rows(input, &[], other.schema(), offset, rows)
            }
        }
    }

    fn first_rows(
        &mut self,
        input: Lowered,
        sort: &[SortExpr],
        schema: &DFSchema,
        offset: u64,
        rows: Option<u64>,
    ) -> Result<Lowered> {
        let (input, order) = self.ordered(input, &[], sort, schema)?;
        match rows {
            None if offset == 0 => Ok(input),
            None => self.without_first(input, order, offset),
            Some(rows) => {
                let last = offset.saturating_add(rows);
                self.top_n(input, order, Top { rank: Rank::RowNumber, offset, last, shown: Vec::new() })
            }
        }
    }

    /// OFFSET without LIMIT: every row but the first.
    fn without_first(&mut self, input: Lowered, order: RowOrder, offset: u64) -> Result<Lowered> {
        let visible = input.visible;
        let frame = datafusion::logical_expr::WindowFrame::new(None);
        let call = WindowCall {
            function: Rank::RowNumber.to_string(),
            aggregate: false,
            args: Vec::new(),
            filter: None,
            distinct: false,
            ignore_nulls: false,
            frame: Frame::new(&frame),
            field: Arc::new(Field::new("_row_number", rank_type(), false)),
        };
        let number = input.schema().fields().len();
        let numbered = self.over_window(input, order, vec![call])?;
        let schema = Arc::clone(numbered.schema());
        let above = datafusion::physical_expr::expressions::binary(
            Arc::clone(Expr::column(number, Arc::clone(&schema)).physical()),
            Compare::Gt,
            datafusion::physical_expr::expressions::lit(offset),
            &schema,
        )?;
        let predicate = Expr::new(above, Arc::clone(&schema));
        let properties = numbered.properties().clone();
        let node = self.node(Operator::Filter { predicate }, vec![numbered.node], schema, properties);
        Ok(Lowered { node, visible })
    }

    /// A filter over a window of ranks, one of which it bounds, under a projection or not. `None` for any other filter.
    pub(super) fn top_n_filter(&mut self, filter: &Filter, above: Option<&Projection>) -> Result<Option<Lowered>> {
        let (below, window) = match filter.input.as_ref() {
            LogicalPlan::Window(window) => (None, window),
            LogicalPlan::Projection(below) => match below.input.as_ref() {
                LogicalPlan::Window(window) => (Some(below), window),
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        let Some(ranking) = Ranking::of(window) else { return Ok(None) };
        let Some(bounded) = ranking.bounded(window, &through(below, &filter.predicate)?) else { return Ok(None) };
        let Bounded { rank, offset, last, rest } = bounded;
        // What comes out, in terms of the window; without a projection all of it.
        let output = match (above, below) {
            (Some(above), _) => {
                let exprs = above.expr.iter().map(|e| through(below, e)).collect::<Result<Vec<_>>>()?;
                Some((exprs, Arc::clone(&above.schema)))
            }
            (None, Some(below)) => Some((below.expr.clone(), Arc::clone(&below.schema))),
            (None, None) => None,
        };
        let inputs = window.input.schema().fields().len();
        let reads = |column: &Column| window.schema.index_of_column(column).is_ok_and(|i| i >= inputs);
        let shows = output
            .as_ref()
            .is_none_or(|(exprs, _)| exprs.iter().chain(&rest).any(|e| e.column_refs().into_iter().any(reads)));
        let fields = window.schema.fields().iter().skip(inputs);
        let shown = match shows {
            true => ranking.ranks.iter().copied().zip(fields.map(|f| short(f))).collect(),
            false => Vec::new(),
        };
        let input = self.lower(&window.input)?;
        let params = ranking.params;
        let (input, order) = self.ordered(input, &params.partition_by, &params.order_by, window.input.schema())?;
        let mut top = self.top_n(input, order, Top { rank, offset, last, shown })?;
        if let Some(rest) = conjunction(rest) {
            top = self.filter(top, &rest, &window.schema)?;
        }
        match output {
            Some((exprs, schema)) => Ok(Some(self.projection(top, &exprs, &window.schema, schema.as_arrow())?)),
            None => Ok(Some(top)),
        }
    }

    /// Makes columns of partition and order, behind all others, where they are none.
    pub(super) fn ordered(
        &mut self,
        input: Lowered,
        partition: &[LogicalExpr],
        order: &[SortExpr],
        schema: &DFSchema,
    ) -> Result<(Lowered, RowOrder)> {
        let mut exprs = Vec::new();
        let partitions = partition.len();
        for expr in partition.iter().chain(order.iter().map(|o| &o.expr)) {
            exprs.push(physical(expr, schema, input.schema())?);
        }
        let (input, columns) = self.with_columns(input, &exprs, "_order")?;
        let (partition, ordered) = columns.split_at(partitions);
        let mut rows = RowOrder {
            partition: Vec::new(),
            order: Vec::new(),
            key: input.properties().stream_key.clone(),
            window: None,
            frees: false,
        };
        for column in partition {
            if !rows.partition.contains(column) {
                rows.partition.push(*column);
            }
        }
        for (column, sort) in ordered.iter().zip(order) {
            // What is one value in a partition orders nothing.
            if !rows.partition.contains(column) && !rows.order.iter().any(|o| o.column == *column) {
                rows.order.push(SortColumn { column: *column, descending: !sort.asc, nulls_first: sort.nulls_first });
            }
        }
        rows.window = rows.partition.iter().position(|c| input.properties().watermark_columns.contains(c));
        rows.frees = rows.window.is_some() && closes(&input.node);
        let order = rows.order.iter().map(|o| &o.column);
        for column in rows.partition.iter().chain(order).chain(&rows.key) {
            let field = input.schema().field(*column);
            if !key::is_encodable(field.data_type()) {
                return Err(Error::not_supported(format!(
                    "rows cannot be kept in order of \"{}\" of type {}",
                    field.name(),
                    field.data_type()
                ))
                .with_hint("cast it to VARCHAR"));
            }
        }
        Ok((input, rows))
    }

    /// The columns that hold the expressions: those that are there, and new ones at the end.
    pub(super) fn with_columns(&mut self, input: Lowered, exprs: &[Expr], name: &str) -> Result<(Lowered, Vec<usize>)> {
        let visible = input.visible;
        let mut columns = Columns::new();
        for column in 0..input.schema().fields().len() {
            columns.push_same(&input, column);
        }
        let mut places = Vec::with_capacity(exprs.len());
        for expr in exprs {
            if let Some(column) = expr.as_column() {
                places.push(column);
                continue;
            }
            let mut name = format!("{name}_{}", columns.len());
            while columns.has(&name) {
                name.insert(0, '_');
            }
            let field = Field::new(name, expr.data_type()?, expr.nullable()?);
            places.push(columns.len());
            columns.push(expr.clone(), Arc::new(field), None);
        }
        Ok((self.project(input, columns, visible), places))
    }

    /// Rows of a partition to one actor.
    pub(super) fn together(&mut self, input: Lowered, rows: &RowOrder) -> Lowered {
        let visible = input.visible;
        let is_together = match &input.properties().distribution {
            Distribution::Single => true,
            Distribution::Hash(columns) => !columns.is_empty() && columns.iter().all(|c| rows.partition.contains(c)),
            Distribution::Any => false,
        };
        if is_together {
            return input;
        }
        let by = match rows.partition.is_empty() {
            true => Distribution::Single,
            false => Distribution::Hash(rows.partition.clone()),
        };
        Lowered { node: self.exchange(input.node, by), visible }
    }

    fn top_n(&mut self, input: Lowered, rows: RowOrder, top: Top) -> Result<Lowered> {
        let Top { rank, offset, last, shown } = top;
        let operator = TopN {
            rank,
            offset,
            last,
            shown: shown.iter().map(|(rank, _)| *rank).collect(),
            append_only: input.properties().append_only,
            state: Some(self.table_id()),
            rows,
        };
        let input = self.sifted(input, &operator);
        let input = self.together(input, &operator.rows);
        let before = input.properties().clone();
        let inputs = input.schema().fields().len();
        let rows = &operator.rows;
        let mut stream_key = rows.partition.clone();
        // The one row of a partition is told by the partition.
        if stream_key.is_empty() || rank != Rank::RowNumber || last.saturating_sub(offset) > 1 {
            stream_key.extend(rows.key.iter().copied().filter(|c| !rows.partition.contains(c)));
        }
        let properties = Properties {
            stream_key,
            distribution: before.distribution,
            append_only: false,
            watermark_columns: watermarks(rows, &before.watermark_columns),
        };
        let fields = shown.iter().map(|(_, field)| Arc::new(Field::new(field.name(), rank_type(), false)));
        let schema = super::schema_of(input.schema().fields().iter().cloned().chain(fields));
        let visible = input.visible;
        let node = self.node(Operator::TopN(operator), vec![input.node], schema, properties);
        let results = (inputs..inputs + shown.len()).collect::<Vec<_>>();
        Ok(self.results_behind(Lowered { node, visible }, &results))
    }

    /// Where all rows must meet in one actor, each actor first keeps back those that cannot count.
    fn sifted(&mut self, input: Lowered, operator: &TopN) -> Lowered {
        let spread = input.properties().distribution != Distribution::Single;
        if !(spread && operator.append_only && operator.rows.partition.is_empty()) {
            return input;
        }
        let visible = input.visible;
        let (schema, mut properties) = (Arc::clone(input.schema()), input.properties().clone());
        properties.watermark_columns = Vec::new();
        let node = self.node(Operator::TopN(operator.sifting()), vec![input.node], schema, properties);
        Lowered { node, visible }
    }

    /// Brings result columns, which come out last, behind the visible ones.
    pub(super) fn results_behind(&mut self, input: Lowered, results: &[usize]) -> Lowered {
        if results.is_empty() {
            return input;
        }
        let mut columns = Columns::new();
        for column in (0..input.visible).chain(results.iter().copied()) {
            columns.push_same(&input, column);
        }
        let visible = columns.len();
        columns.keep_key(&input);
        self.project(input, columns, visible)
    }
}

/// Which watermarks go on: those of partition columns.
pub(super) fn watermarks(rows: &RowOrder, before: &[usize]) -> Vec<usize> {
    before.iter().copied().filter(|c| rows.partition.contains(c)).collect()
}

/// The expression in terms of what the projection reads.
fn through(projection: Option<&Projection>, expr: &LogicalExpr) -> Result<LogicalExpr> {
    let Some(projection) = projection else { return Ok(expr.clone()) };
    let replaced = expr.clone().transform(|e| {
        let LogicalExpr::Column(column) = &e else { return Ok(Transformed::no(e)) };
        let index = projection.schema.index_of_column(column)?;
        Ok(match projection.expr.get(index) {
            Some(below) => Transformed::new(unaliased(below).clone(), true, TreeNodeRecursion::Jump),
            None => Transformed::no(e),
        })
    })?;
    Ok(replaced.data)
}

/// Every row comes from a window that has closed: late ones are kept back below.
fn closes(node: &Node) -> bool {
    match &node.operator {
        Operator::HashAgg(agg) => agg.emit_on_close && agg.phase != AggPhase::Partial,
        _ => !node.inputs.is_empty() && node.inputs.iter().all(closes),
    }
}

fn is_sorted(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(projection) => is_sorted(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_sorted(&alias.input),
        _ => false,
    }
}

/// A window that only ranks, in one order.
struct Ranking<'w> {
    ranks: Vec<Rank>,
    params: &'w WindowFunctionParams,
}

/// The filter's bounds on one of the ranks, and what else it asks.
struct Bounded {
    rank: Rank,
    offset: u64,
    last: u64,
    rest: Vec<LogicalExpr>,
}

impl<'w> Ranking<'w> {
    fn of(window: &'w Window) -> Option<Self> {
        let mut ranks = Vec::new();
        let mut first: Option<&WindowFunctionParams> = None;
        for expr in &window.window_expr {
            let LogicalExpr::WindowFunction(function) = unaliased(expr) else { return None };
            let params = &function.params;
            let same = first.is_none_or(|f| f.partition_by == params.partition_by && f.order_by == params.order_by);
            if !same || params.filter.is_some() || params.distinct {
                return None;
            }
            ranks.push(Rank::of(function.fun.name())?);
            first = Some(params);
        }
        Some(Self { ranks, params: first? })
    }

    fn bounded(&self, window: &Window, predicate: &LogicalExpr) -> Option<Bounded> {
        let inputs = window.input.schema().fields().len();
        let conjuncts: Vec<(&LogicalExpr, Option<(usize, Bound)>)> = split_conjunction(predicate)
            .into_iter()
            .map(|e| {
                let bound = bound(e).and_then(|(column, bound)| {
                    let at = window.schema.index_of_column(column).ok()?.checked_sub(inputs)?;
                    Some((at, bound))
                });
                (e, bound)
            })
            .collect();
        let of = conjuncts.iter().find_map(|(_, b)| b.and_then(|(at, b)| b.last.map(|_| at)))?;
        let rank = *self.ranks.get(of)?;
        let mut bounded = Bounded { rank, offset: 0, last: u64::MAX, rest: Vec::new() };
        for (expr, bound) in conjuncts {
            let Some((_, bound)) = bound.filter(|(at, _)| *at == of) else {
                bounded.rest.push(expr.clone());
                continue;
            };
            bounded.last = bounded.last.min(bound.last.unwrap_or(u64::MAX));
            match rank {
                Rank::RowNumber => bounded.offset = bounded.offset.max(bound.first.saturating_sub(1)),
                // Ties may lie on both sides of a row number.
                Rank::Rank | Rank::DenseRank if bound.first > 1 => bounded.rest.push(expr.clone()),
                Rank::Rank | Rank::DenseRank => {}
            }
        }
        Some(bounded)
    }
}

/// Ranks from `first` to `last`, both in.
#[derive(Clone, Copy)]
struct Bound {
    first: u64,
    last: Option<u64>,
}

/// The column and the numbers that a comparison leaves it.
fn bound(expr: &LogicalExpr) -> Option<(&Column, Bound)> {
    let LogicalExpr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    let (column, op, number) = match (column(left), column(right)) {
        (Some(column), None) => (column, *op, number(right)?),
        (None, Some(column)) => (column, op.swap()?, number(left)?),
        _ => return None,
    };
    let at_least_zero = |n: i128| u64::try_from(n.max(0)).ok();
    let (first, last) = match op {
        Compare::Eq => (at_least_zero(number)?, Some(at_least_zero(number)?)),
        Compare::LtEq => (0, Some(at_least_zero(number)?)),
        Compare::Lt => (0, Some(at_least_zero(number.checked_sub(1)?)?)),
        Compare::GtEq => (at_least_zero(number)?, None),
        Compare::Gt => (at_least_zero(number.checked_add(1)?)?, None),
        _ => return None,
    };
    Some((column, Bound { first, last }))
}

fn column(expr: &LogicalExpr) -> Option<&Column> {
    match expr {
        LogicalExpr::Column(column) => Some(column),
        LogicalExpr::Cast(cast) if cast.field.data_type().is_integer() || is_whole(cast.field.data_type()) => {
            column(&cast.expr)
        }
        _ => None,
    }
}

/// A decimal that holds any rank as it is.
fn is_whole(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal128(p, 0..) if *p >= 20)
}

fn number(expr: &LogicalExpr) -> Option<i128> {
    let LogicalExpr::Literal(value, _) = expr else { return None };
    match value {
        ScalarValue::Decimal128(Some(n), _, scale) => {
            let unit = 10i128.checked_pow(u32::try_from(*scale).ok()?)?;
            (n % unit == 0).then(|| n / unit)
        }
        ScalarValue::UInt64(Some(n)) => Some(i128::from(*n)),
        value if value.data_type().is_integer() => match value.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(Some(n)) => Some(i128::from(n)),
            _ => None,
        },
        _ => None,
    }
}
