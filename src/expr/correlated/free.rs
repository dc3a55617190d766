//! The plan of a correlated subquery as one that stands alone, with the columns that tell which outer rows its rows are of.
//!
//! Two ways. Where outer columns only stand in equalities, as in `t.k = o.k`, the inner sides are the keys:
//!
//! ```text
//! Filter  t.k = outer_ref(o.k) AND t.v > 0   -->   Projection  t.*, t.k AS key
//!   t                                                Filter  t.v > 0
//!                                                      t
//! ```
//! Otherwise the plan runs for every value that the outer columns have, which are the keys:
//!
//! ```text
//! Filter  t.v > outer_ref(o.v)               -->   Filter  t.v > key
//!   t                                                CrossJoin
//!                                                      t
//!                                                      Distinct  o.v AS key
//! ```
//! Above that, what is said of all rows is said of those of each key: first rows, groups, windows. The second is the
//! method of Neumann and Kemper, "Unnesting Arbitrary Queries" (2015).

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef, ExprSchema, NullEquality};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, FetchType, Filter, Join, JoinType, Limit, LogicalPlan, LogicalPlanBuilder,
    Operator, Projection, SkipType, Sort, Subquery, Union, Unnest, Window, WindowFrame, WindowFunctionDefinition,
    ident, lit,
};

use super::{Names, compared};
use crate::common::Error;
use crate::expr::functions;

/// A plan that refers to no outer row.
pub(super) struct Free {
    pub plan: LogicalPlan,
    /// The subquery's own columns.
    pub columns: Vec<Expr>,
    keys: Vec<(Key, Expr)>,
}

/// What an outer row has of its key.
#[derive(Clone)]
struct Key {
    outer: Expr,
    nulls_are_equal: bool,
}

impl Free {
    /// When rows are of an outer row: each compares an expression of it with a key.
    pub fn conditions(&self) -> impl Iterator<Item = Expr> + use<> {
        let keys = self.keys.clone();
        keys.into_iter().map(|(key, column)| compared(key.outer, key.nulls_are_equal, column))
    }

    /// With the first column under another name, and that column.
    pub fn with_value(self, name: String) -> DfResult<(Self, Expr)> {
        let first = self.columns.first().cloned().ok_or_else(|| error("a subquery without columns"))?;
        let value = ident(&name);
        let keys = self.keys.iter().map(|(_, column)| column.clone());
        let plan = LogicalPlanBuilder::from(self.plan).project([first.alias(name)].into_iter().chain(keys))?.build()?;
        Ok((Self { plan, columns: vec![value.clone()], keys: self.keys }, value))
    }
}

/// Columns, and the keys among them: which one, and its name.
struct Keyed {
    plan: LogicalPlan,
    keys: Vec<(Key, String)>,
}

impl Keyed {
    fn columns(&self) -> impl Iterator<Item = Expr> {
        self.keys.iter().map(|(_, name)| named(&self.plan, name))
    }

    fn with(self, plan: LogicalPlan) -> Self {
        Self { plan, keys: self.keys }
    }
}

/// The column of that name; those of keys are found whatever relation they are put into.
fn named(plan: &LogicalPlan, name: &str) -> Expr {
    let column = plan.schema().columns().into_iter().find(|c| c.name == *name);
    Expr::Column(column.unwrap_or_else(|| Column::new_unqualified(name)))
}

fn error(what: &str) -> DataFusionError {
    Error::internal(what).into()
}

pub(super) struct Freeing<'p> {
    outer: &'p LogicalPlan,
    names: &'p Names,
    /// The outer columns that are referred to, where there is a row for each of their values.
    values: Option<Vec<Column>>,
}

impl<'p> Freeing<'p> {
    /// `None` for what DataFusion makes a join of, and for what cannot be made one.
    pub fn of(outer: &'p LogicalPlan, subquery: &LogicalPlan, names: &'p Names) -> DfResult<Option<Free>> {
        let mut freeing = Self { outer, names, values: None };
        if !freeing.is_needed(subquery)? {
            return Ok(None);
        }
        if let Some(keyed) = freeing.keyed(subquery)? {
            return freeing.done(keyed, subquery).map(Some);
        }
        freeing.values = Some(freeing.references(subquery)?.into_iter().collect());
        match freeing.keyed(subquery)? {
            Some(keyed) => freeing.done(keyed, subquery).map(Some),
            None => Ok(None),
        }
    }

    fn done(&self, keyed: Keyed, subquery: &LogicalPlan) -> DfResult<Free> {
        let keyed = own_first(keyed, subquery.schema())?;
        let columns = subquery.schema().columns().into_iter().map(Expr::Column).collect();
        let keys = keyed.keys.iter().map(|(key, name)| (key.clone(), named(&keyed.plan, name))).collect();
        Ok(Free { columns, keys, plan: keyed.plan })
    }

    /// The columns of the outer rows that the plan and its subqueries refer to.
    fn references(&self, plan: &LogicalPlan) -> DfResult<BTreeSet<Column>> {
        let mut found = BTreeSet::new();
        plan.apply_with_subqueries(|node| {
            node.apply_expressions(|expr| {
                expr.apply(|e| {
                    if let Expr::OuterReferenceColumn(_, column) = e
                        && self.outer.schema().has_column(column)
                    {
                        found.insert(column.clone());
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        Ok(found)
    }

    fn refers(&self, plan: &LogicalPlan) -> DfResult<bool> {
        Ok(!self.references(plan)?.is_empty())
    }

    /// Whether the expression refers to the outer rows, itself or in a subquery.
    fn mentions(&self, expr: &Expr) -> DfResult<bool> {
        expr.exists(|e| match e {
            Expr::OuterReferenceColumn(_, column) => Ok(self.outer.schema().has_column(column)),
            e => subquery_of(e).map_or(Ok(false), |s| self.refers(&s.subquery)),
        })
    }

    /// Whether DataFusion cannot make a join of it.
    fn is_needed(&self, plan: &LogicalPlan) -> DfResult<bool> {
        let aggregates = plan.exists(|n| Ok(matches!(n, LogicalPlan::Aggregate(a) if !a.aggr_expr.is_empty())))?;
        plan.exists(|node| match node {
            LogicalPlan::Filter(filter) => {
                for part in split_conjunction(&filter.predicate) {
                    let nested = part.exists(|e| match subquery_of(e) {
                        Some(subquery) => self.refers(&subquery.subquery),
                        None => Ok(false),
                    })?;
                    if nested || aggregates && self.mentions(part)? && self.equality(part)?.is_none() {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            LogicalPlan::Limit(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::Unnest(_) => self.refers(node),
            LogicalPlan::Join(join) if join.join_type != JoinType::Inner => self.refers(node),
            LogicalPlan::Subquery(_) => Ok(false),
            // The columns of a derived table have its name.
            LogicalPlan::SubqueryAlias(alias) => {
                Ok(!matches!(alias.input.as_ref(), LogicalPlan::Subquery(_)) && self.refers(node)?)
            }
            node => node.expressions().iter().try_fold(false, |found, e| Ok(found || self.mentions(e)?)),
        })
    }

    /// `inner = outer`, either way round: the key, and its inner side.
    fn equality(&self, expr: &Expr) -> DfResult<Option<(Key, Expr)>> {
        let Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Eq | Operator::IsNotDistinctFrom), right }) = expr
        else {
            return Ok(None);
        };
        let is_outer = |e: &Expr| -> DfResult<bool> {
            let other = e.exists(|e| {
                Ok(match e {
                    Expr::OuterReferenceColumn(_, column) => !self.outer.schema().has_column(column),
                    Expr::Column(_) => true,
                    e => subquery_of(e).is_some(),
                })
            })?;
            Ok(!other && self.mentions(e)?)
        };
        let (inner, outer) = match (is_outer(left)?, is_outer(right)?) {
            (false, true) => (left, right),
            (true, false) => (right, left),
            _ => return Ok(None),
        };
        if self.mentions(inner)? {
            return Ok(None);
        }
        let outer = outer.as_ref().clone().transform(|e| {
            Ok(match e {
                Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
                e => Transformed::no(e),
            })
        })?;
        let key = Key { outer: outer.data, nulls_are_equal: *op == Operator::IsNotDistinctFrom };
        Ok(Some((key, inner.as_ref().clone())))
    }

    /// The plan with its keys as further columns. Its own may be in another order.
    fn keyed(&self, plan: &LogicalPlan) -> DfResult<Option<Keyed>> {
        if !self.refers(plan)? {
            return self.leaf(plan).map(Some);
        }
        match plan {
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Projection(projection) => {
                let Some(input) = self.keyed(&projection.input)? else { return Ok(None) };
                self.projection(projection, input)
            }
            LogicalPlan::Subquery(subquery) => self.keyed(&subquery.subquery),
            LogicalPlan::SubqueryAlias(alias) => {
                let Some(input) = self.keyed(&alias.input)? else { return Ok(None) };
                let plan = LogicalPlanBuilder::from(input.plan.clone()).alias(alias.alias.clone())?.build()?;
                Ok(Some(input.with(plan)))
            }
            // Without LIMIT the order of a subquery's rows means nothing.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.keyed(&sort.input),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let Some(keyed) = self.keyed(input)? else { return Ok(None) };
                let keyed = own_first(keyed, input.schema())?;
                let plan = LogicalPlanBuilder::from(keyed.plan.clone()).distinct()?.build()?;
                Ok(Some(keyed.with(plan)))
            }
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => self.union(union, plan.schema()),
            LogicalPlan::Unnest(unnest) => {
                let Some(input) = self.keyed(&unnest.input)? else { return Ok(None) };
                let plan =
                    Unnest::try_new(Arc::new(input.plan.clone()), unnest.exec_columns.clone(), unnest.options.clone())?;
                Ok(Some(input.with(LogicalPlan::Unnest(plan))))
            }
            _ => Ok(None),
        }
    }

    /// A plan that refers to nothing: beside every key, where those are values.
    fn leaf(&self, plan: &LogicalPlan) -> DfResult<Keyed> {
        let Some(keys) = self.all_keys()? else { return Ok(Keyed { plan: plan.clone(), keys: Vec::new() }) };
        if matches!(plan, LogicalPlan::EmptyRelation(empty) if empty.produce_one_row) {
            return Ok(keys);
        }
        let plan = LogicalPlanBuilder::from(plan.clone()).cross_join(keys.plan.clone())?.build()?;
        Ok(keys.with(plan))
    }

    /// The values of the outer columns, each once, under names of their own.
    fn all_keys(&self) -> DfResult<Option<Keyed>> {
        let Some(columns) = &self.values else { return Ok(None) };
        let mut keys = Vec::new();
        let mut exprs = Vec::new();
        for column in columns {
            let name = self.names.next("key");
            let outer = Expr::Column(column.clone());
            exprs.push(outer.clone().alias(&name));
            keys.push((Key { outer, nulls_are_equal: true }, name));
        }
        let plan = LogicalPlanBuilder::from(self.outer.clone()).project(exprs)?.distinct()?.build()?;
        Ok(Some(Keyed { plan, keys }))
    }

    /// The expression over a keyed plan. `None` where it refers to an outer column that is no key.
    fn resolved(&self, expr: &Expr, input: &Keyed) -> DfResult<Option<Expr>> {
        if !self.mentions(expr)? {
            return Ok(Some(expr.clone()));
        }
        if self.values.is_none() {
            return Ok(None);
        }
        let key = |column: &Column| {
            let key = input.keys.iter().find(|(key, _)| matches!(&key.outer, Expr::Column(c) if c == column));
            key.map(|(_, name)| named(&input.plan, name))
        };
        let resolved = expr.clone().transform_up(|e| {
            Ok(match &e {
                Expr::OuterReferenceColumn(_, column) => {
                    key(column).map_or_else(|| Transformed::no(e), Transformed::yes)
                }
                _ => with_subquery(e, |subquery| {
                    let plan = subquery.subquery.as_ref().clone().transform_up_with_subqueries(|node| {
                        node.map_expressions(|expr| {
                            expr.transform_up(|e| {
                                let Expr::OuterReferenceColumn(_, column) = &e else { return Ok(Transformed::no(e)) };
                                let Some(Expr::Column(column)) = key(column) else { return Ok(Transformed::no(e)) };
                                let field = Arc::clone(input.plan.schema().field_from_column(&column)?);
                                Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
                            })
                        })
                    })?;
                    let outer_ref_columns = plan.data.all_out_ref_exprs();
                    Ok(Subquery { subquery: Arc::new(plan.data), outer_ref_columns, spans: subquery.spans.clone() })
                })?,
            })
        })?;
        Ok(Some(resolved.data))
    }

    fn filter(&self, filter: &Filter) -> DfResult<Option<Keyed>> {
        let Some(mut input) = self.keyed(&filter.input)? else { return Ok(None) };
        let mut kept = Vec::new();
        let mut keys = Vec::new();
        for part in split_conjunction(&filter.predicate) {
            if let Some(part) = self.resolved(part, &input)? {
                kept.push(part);
                continue;
            }
            let Some(key) = self.equality(part)? else { return Ok(None) };
            keys.push(key);
        }
        let mut plan = LogicalPlanBuilder::from(input.plan.clone());
        if let Some(condition) = conjunction(kept) {
            plan = plan.filter(condition)?;
        }
        if !keys.is_empty() {
            let mut columns: Vec<Expr> = input.plan.schema().columns().into_iter().map(Expr::Column).collect();
            for (key, inner) in keys {
                let name = self.names.next("key");
                columns.push(inner.alias(&name));
                input.keys.push((key, name));
            }
            plan = plan.project(columns)?;
        }
        Ok(Some(input.with(plan.build()?)))
    }

    fn projection(&self, projection: &Projection, input: Keyed) -> DfResult<Option<Keyed>> {
        let mut exprs = Vec::new();
        for (expr, (qualifier, field)) in projection.expr.iter().zip(projection.schema.iter()) {
            let Some(resolved) = self.resolved(expr, &input)? else { return Ok(None) };
            exprs.push(match resolved == *expr {
                true => resolved,
                false => resolved.unalias().alias_qualified(qualifier.cloned(), field.name()),
            });
        }
        exprs.extend(input.columns());
        let plan = LogicalPlanBuilder::from(input.plan.clone()).project(exprs)?.build()?;
        Ok(Some(input.with(plan)))
    }

    fn limit(&self, limit: &Limit) -> DfResult<Option<Keyed>> {
        let (SkipType::Literal(skip), FetchType::Literal(rows)) = (limit.get_skip_type()?, limit.get_fetch_type()?)
        else {
            return Ok(None);
        };
        let last = rows.map(|rows| (skip as u64).saturating_add(rows as u64));
        self.first_rows(&limit.input, skip as u64, last)
    }

    /// The rows of each key from `skip` on up to `last`, in the order of the sort that stands right under projections.
    fn first_rows(&self, plan: &LogicalPlan, skip: u64, last: Option<u64>) -> DfResult<Option<Keyed>> {
        let order: &[SortExpr] = match plan {
            LogicalPlan::Projection(projection) if is_sorted(&projection.input) => {
                let Some(input) = self.first_rows(&projection.input, skip, last)? else { return Ok(None) };
                return self.projection(projection, input);
            }
            LogicalPlan::Sort(Sort { expr, fetch: None, .. }) => expr,
            _ => &[],
        };
        let Some(input) = self.keyed(plan)? else { return Ok(None) };
        let mut sorts = Vec::new();
        for sort in order {
            let Some(expr) = self.resolved(&sort.expr, &input)? else { return Ok(None) };
            sorts.push(SortExpr { expr, ..sort.clone() });
        }
        let function = functions::window("row_number").ok_or_else(|| error("there is no function row_number"))?;
        let mut number = WindowFunction::new(WindowFunctionDefinition::WindowUDF(function), Vec::new());
        number.params.partition_by = input.columns().collect();
        number.params.window_frame = WindowFrame::new((!sorts.is_empty()).then_some(false));
        number.params.order_by = sorts;
        let name = self.names.next("number");
        let last = last.map(|last| ident(&name).lt_eq(lit(last)));
        let skipped = (skip > 0).then(|| ident(&name).gt(lit(skip)));
        let columns: Vec<Expr> = input.plan.schema().columns().into_iter().map(Expr::Column).collect();
        let mut numbered = LogicalPlanBuilder::from(input.plan.clone()).window([Expr::from(number).alias(&name)])?;
        if let Some(condition) = conjunction(last.into_iter().chain(skipped)) {
            numbered = numbered.filter(condition)?;
        }
        Ok(Some(input.with(numbered.project(columns)?.build()?)))
    }

    /// Each key is a partition of its own.
    fn window(&self, window: &Window) -> DfResult<Option<Keyed>> {
        let Some(input) = self.keyed(&window.input)? else { return Ok(None) };
        let inputs = window.input.schema().fields().len();
        let mut exprs = Vec::new();
        for (expr, field) in window.window_expr.iter().zip(window.schema.fields().iter().skip(inputs)) {
            let Some(resolved) = self.resolved(expr, &input)? else { return Ok(None) };
            let keyed = resolved.unalias().transform(|e| match e {
                Expr::WindowFunction(mut function) => {
                    function.params.partition_by.extend(input.columns());
                    Ok(Transformed::new(Expr::WindowFunction(function), true, TreeNodeRecursion::Jump))
                }
                e => Ok(Transformed::no(e)),
            })?;
            exprs.push(keyed.data.alias(field.name()));
        }
        let plan = LogicalPlanBuilder::from(input.plan.clone()).window(exprs)?.build()?;
        Ok(Some(input.with(plan)))
    }

    /// Groups of each key. Without groups there is a row over nothing, too: for every value that has no rows, one is
    /// made that no aggregate looks at.
    fn aggregate(&self, aggregate: &Aggregate) -> DfResult<Option<Keyed>> {
        if aggregate.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_))) {
            return Ok(None);
        }
        let Some(mut input) = self.keyed(&aggregate.input)? else { return Ok(None) };
        let mut there = None;
        if aggregate.group_expr.is_empty() {
            let Some(all) = self.all_keys()? else { return Ok(None) };
            let name = self.names.next("there");
            let columns = input.plan.schema().columns().into_iter().map(Expr::Column).chain([lit(true).alias(&name)]);
            let rows = LogicalPlanBuilder::from(input.plan.clone()).project(columns)?.build()?;
            let same = all.columns().zip(input.columns()).map(|(left, right)| compared(left, true, right));
            let same: Vec<Expr> = same.collect();
            let plan = LogicalPlanBuilder::from(all.plan.clone()).join_on(rows, JoinType::Left, same)?.build()?;
            input = all.with(plan);
            there = Some(ident(name).is_not_null());
        }
        let mut groups = Vec::new();
        let mut calls = Vec::new();
        for (at, expr) in aggregate.group_expr.iter().chain(&aggregate.aggr_expr).enumerate() {
            let Some(mut resolved) = self.resolved(expr, &input)? else { return Ok(None) };
            if let Some(there) = &there {
                resolved = only(resolved, there)?;
            }
            if resolved != *expr {
                resolved = resolved.unalias().alias(expr.schema_name().to_string());
            }
            if at < aggregate.group_expr.len() { groups.push(resolved) } else { calls.push(resolved) }
        }
        groups.extend(input.columns());
        let plan = LogicalPlanBuilder::from(input.plan.clone()).aggregate(groups, calls)?.build()?;
        Ok(Some(input.with(plan)))
    }

    fn join(&self, join: &Join) -> DfResult<Option<Keyed>> {
        let padded = match join.join_type {
            JoinType::Inner => false,
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => true,
            _ => return Ok(None),
        };
        let conditioned = join.filter.as_ref().map_or(Ok(false), |filter| self.mentions(filter))?;
        if conditioned && !padded {
            let inner = LogicalPlan::Join(Join { filter: None, ..join.clone() });
            let condition = join.filter.clone().unwrap_or_else(|| lit(true));
            let filter = Filter::try_new(condition, Arc::new(inner))?;
            return self.filter(&filter);
        }
        let right_refers = self.refers(&join.right)?;
        if padded && (right_refers || conditioned) && self.values.is_none() {
            return Ok(None);
        }
        let with_left = self.refers(&join.left)? || padded || !right_refers;
        let left = if with_left { self.keyed(&join.left)? } else { Some(plain(&join.left)) };
        let right = if right_refers { self.keyed(&join.right)? } else { Some(plain(&join.right)) };
        let (Some(mut left), Some(mut right)) = (left, right) else { return Ok(None) };
        let nulls = join.null_equality == NullEquality::NullEqualsNull;
        let mut conditions: Vec<Expr> = join.on.iter().map(|(l, r)| compared(l.clone(), nulls, r.clone())).collect();
        if self.values.is_some() && !left.keys.is_empty() {
            conditions.extend(left.columns().zip(right.columns()).map(|(l, r)| compared(l, true, r)));
            right.keys.clear();
        }
        if let Some(filter) = &join.filter {
            let Some(filter) = self.resolved(filter, &left)? else { return Ok(None) };
            conditions.push(filter);
        }
        if conditions.is_empty() {
            conditions.push(lit(true));
        }
        let plan = LogicalPlanBuilder::from(left.plan.clone())
            .join_on(right.plan.clone(), join.join_type, conditions)?
            .build()?;
        left.keys.extend(right.keys);
        Ok(Some(left.with(plan)))
    }

    fn union(&self, union: &Union, schema: &DFSchemaRef) -> DfResult<Option<Keyed>> {
        let mut keys = None;
        let mut inputs = Vec::new();
        if self.values.is_none() {
            return Ok(None);
        }
        for input in &union.inputs {
            let Some(keyed) = self.keyed(input)? else { return Ok(None) };
            let keyed = own_first(keyed, input.schema())?;
            inputs.push(Arc::new(keyed.plan));
            keys.get_or_insert(keyed.keys);
        }
        let plan = LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?);
        let own = plan.schema().columns().into_iter().zip(schema.iter());
        let own = own.map(|(c, (qualifier, field))| Expr::Column(c).alias_qualified(qualifier.cloned(), field.name()));
        let mut exprs: Vec<Expr> = own.collect();
        let keyed = Keyed { plan, keys: keys.unwrap_or_default() };
        exprs.extend(keyed.columns());
        let plan = LogicalPlanBuilder::from(keyed.plan.clone()).project(exprs)?.build()?;
        Ok(Some(keyed.with(plan)))
    }
}

fn plain(plan: &LogicalPlan) -> Keyed {
    Keyed { plan: plan.clone(), keys: Vec::new() }
}

fn is_sorted(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(projection) => is_sorted(&projection.input),
        _ => false,
    }
}

/// The aggregate over the rows for which `condition` holds alone.
fn only(call: Expr, condition: &Expr) -> DfResult<Expr> {
    let filtered = call.transform(|e| match e {
        Expr::AggregateFunction(mut call) => {
            let filter = call.params.filter.take().map(|filter| *filter);
            call.params.filter = conjunction([condition.clone()].into_iter().chain(filter)).map(Box::new);
            Ok(Transformed::new(Expr::AggregateFunction(call), true, TreeNodeRecursion::Jump))
        }
        e => Ok(Transformed::no(e)),
    })?;
    Ok(filtered.data)
}

/// The subquery's own columns as `schema` has them, then the keys.
fn own_first(keyed: Keyed, schema: &DFSchemaRef) -> DfResult<Keyed> {
    let own = schema.columns().into_iter().map(Expr::Column);
    let exprs: Vec<Expr> = own.chain(keyed.columns()).collect();
    let plan = LogicalPlanBuilder::from(keyed.plan.clone()).project(exprs)?.build()?;
    Ok(keyed.with(plan))
}

fn subquery_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery) => Some(subquery),
        Expr::Exists(e) => Some(&e.subquery),
        Expr::InSubquery(e) => Some(&e.subquery),
        Expr::SetComparison(e) => Some(&e.subquery),
        _ => None,
    }
}

fn with_subquery(mut expr: Expr, map: impl Fn(&Subquery) -> DfResult<Subquery>) -> DfResult<Transformed<Expr>> {
    let subquery = match &mut expr {
        Expr::ScalarSubquery(subquery) => subquery,
        Expr::Exists(e) => &mut e.subquery,
        Expr::InSubquery(e) => &mut e.subquery,
        Expr::SetComparison(e) => &mut e.subquery,
        _ => return Ok(Transformed::no(expr)),
    };
    *subquery = map(subquery)?;
    Ok(Transformed::yes(expr))
}
