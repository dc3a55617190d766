//! A relation's name where a value is expected: its row, as a struct of its columns.
//!
//! ```text
//! SELECT (t).a FROM t            -->  SELECT t.a FROM t
//! SELECT t, to_jsonb(t) FROM t   -->  SELECT named_struct('a', t.a, 'b', t.b) AS t, to_jsonb(named_struct(…)) FROM t
//! … FROM s LEFT JOIN t …         -->  CASE WHEN t.a IS NULL AND t.b IS NULL THEN NULL ELSE named_struct(…) END
//! ```
//! A column of the name comes first, as in PostgreSQL. Of a relation that a join pads with nulls, a row of nulls is no row.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, JoinOperator,
    ObjectName, Query, Select, SelectItem, TableAlias, TableFactor, TableWithJoins, Visit, VisitMut, Visitor,
    VisitorMut,
};
use super::columns::{ColumnsOf, Scope};
use super::{gap_fill, name, parse_expr, window};

/// Rewrites every such name of the query, whose columns have names.
pub fn rewrite(query: &mut Query, columns_of: ColumnsOf<'_>) {
    let mut words = Words::default();
    let _ = Visit::visit(&*query, &mut words);
    if words.relations.is_disjoint(&words.values) {
        return;
    }
    let scope = Scope::new(query, columns_of);
    let _ = query.visit(&mut Rewriter { scope, selects: Vec::new() });
}

/// The names of relations, and those of values: most queries have none in common.
#[derive(Default)]
struct Words {
    relations: BTreeSet<String>,
    values: BTreeSet<String>,
}

impl Visitor for Words {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        self.relations.extend(called(factor));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => {
                self.values.insert(name::fold(ident));
            }
            Expr::Function(Function { args: FunctionArguments::List(list), .. }) => {
                self.values.extend(list.args.iter().filter_map(all_of).map(name::fold));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// What columns are qualified with.
fn called(factor: &TableFactor) -> Option<String> {
    let (own, alias) = match factor {
        TableFactor::Table { name, alias, .. } => {
            (name::parts(name).ok().and_then(|mut parts| parts.pop()), alias.as_ref())
        }
        TableFactor::Derived { alias, .. } | TableFactor::UNNEST { alias, .. } => (None, alias.as_ref()),
        TableFactor::Function { name, alias, .. } => (Some(name.to_string()), alias.as_ref()),
        _ => (None, None),
    };
    alias.map(|alias| name::fold(&alias.name)).or(own)
}

/// The columns that an alias names, and one more.
fn made(alias: Option<&TableAlias>, own: &str) -> Vec<String> {
    let named = alias.into_iter().flat_map(|alias| &alias.columns).map(|c| name::fold(&c.name));
    named.chain(Some(own.to_string()).filter(|own| !own.is_empty())).collect()
}

/// `t` of an argument `t.*`.
fn all_of(arg: &FunctionArg) -> Option<&Ident> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(of)) => match of.0.as_slice() {
            [part] => part.as_ident(),
            _ => None,
        },
        _ => None,
    }
}

/// Whether names that stand in the item of FROM are not values: those of a window's table, those of a query that cannot
/// see what stands beside it.
fn is_closed(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => reads_table(name),
        TableFactor::Derived { lateral, .. } => !lateral,
        TableFactor::TableFunction { .. } => true,
        _ => false,
    }
}

fn reads_table(function: &ObjectName) -> bool {
    let [part] = function.0.as_slice() else { return false };
    let named = |ident: &Ident| window::is_window_name(&ident.value) || gap_fill::is_name(&ident.value);
    part.as_ident().is_some_and(named)
}

/// The name that GROUP BY knows an item of the result by.
fn result(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(name::fold(alias)),
        _ => None,
    }
}

fn is_one_of(expr: &Expr, names: &BTreeSet<String>) -> bool {
    matches!(expr, Expr::Identifier(ident) if names.contains(&name::fold(ident)))
}

/// What GROUP BY names.
fn grouped(select: &mut Select) -> impl Iterator<Item = &mut Expr> {
    let expressions = match &mut select.group_by {
        GroupByExpr::Expressions(expressions, _) => Some(expressions),
        GroupByExpr::All(_) => None,
    };
    expressions.into_iter().flatten()
}

/// To each name in `t.a[1].b`.
fn path(expr: &mut Expr, each: fn(&mut Expr)) {
    let Expr::CompoundFieldAccess { root, access_chain } = expr else { return };
    if matches!(access_chain.first(), Some(AccessExpr::Dot(_))) {
        each(root);
    }
    for access in access_chain {
        if let AccessExpr::Dot(field) = access {
            each(field);
        }
    }
}

/// Hides a name from the visitor, in a form that no parser makes.
fn shut(expr: &mut Expr) {
    if let Expr::Identifier(ident) = expr {
        *expr = Expr::CompoundIdentifier(vec![ident.clone()]);
    }
}

fn open(expr: &mut Expr) {
    if let Expr::CompoundIdentifier(parts) = expr
        && let [ident] = parts.as_slice()
    {
        *expr = Expr::Identifier(ident.clone());
    }
}

struct Rewriter<'a> {
    scope: Scope<'a>,
    /// Of each SELECT that is open.
    selects: Vec<Open>,
}

struct Open {
    relations: Vec<Relation>,
    /// How many items of FROM are open: what stands in them is no value.
    factors: usize,
}

struct Relation {
    name: String,
    /// Unknown: anything may be one of them.
    columns: Option<Vec<String>>,
    /// A join may pad it with nulls.
    padded: bool,
}

impl Rewriter<'_> {
    fn relations(&self, from: &[TableWithJoins]) -> Vec<Relation> {
        let mut relations = Vec::new();
        for table in from {
            let first = relations.len();
            relations.push(self.relation(&table.relation));
            for join in &table.joins {
                let (left, right) = match &join.join_operator {
                    JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => (false, true),
                    JoinOperator::Right(_) | JoinOperator::RightOuter(_) => (true, false),
                    JoinOperator::FullOuter(_) => (true, true),
                    _ => (false, false),
                };
                relations.iter_mut().skip(first).for_each(|r| r.padded |= left);
                let joined = self.relation(&join.relation);
                relations.push(Relation { padded: right, ..joined });
            }
        }
        relations
    }

    fn relation(&self, factor: &TableFactor) -> Relation {
        let name = called(factor).unwrap_or_default();
        let columns = match factor {
            // The one column of a function has the relation's name.
            TableFactor::Table { name: function, args: Some(_), alias, .. }
            | TableFactor::Function { name: function, alias, .. }
                if !reads_table(function) =>
            {
                Some(made(alias.as_ref(), &name))
            }
            TableFactor::UNNEST { alias, .. } => Some(made(alias.as_ref(), &name)),
            TableFactor::Derived { alias: Some(alias), .. } if !alias.columns.is_empty() => Some(made(Some(alias), "")),
            // It may name some of the table's.
            TableFactor::Table { alias: Some(alias), .. } if !alias.columns.is_empty() => None,
            factor => self.scope.of_factor(factor),
        };
        Relation { name, columns, padded: false }
    }

    /// The row that the name stands for, if it is no column.
    fn row(&self, ident: &Ident) -> Option<Expr> {
        let wanted = name::fold(ident);
        for select in self.selects.iter().rev() {
            if select.factors > 0 {
                return None;
            }
            if select.relations.iter().any(|r| r.columns.as_ref().is_none_or(|columns| columns.contains(&wanted))) {
                return None;
            }
            if let Some(relation) = select.relations.iter().find(|r| r.name == wanted) {
                return relation.row();
            }
        }
        None
    }
}

impl Relation {
    fn row(&self) -> Option<Expr> {
        let columns = self.columns.as_ref().filter(|columns| !columns.is_empty())?;
        let relation = name::quote(&self.name);
        let own = |column: &String| format!("{relation}.{}", name::quote(column));
        let fields = columns.iter().map(|c| format!("'{}', {}", c.replace('\'', "''"), own(c)));
        let row = format!("named_struct({})", fields.collect::<Vec<_>>().join(", "));
        let nulls = || columns.iter().map(|c| format!("{} IS NULL", own(c))).collect::<Vec<_>>().join(" AND ");
        let row = if self.padded { format!("CASE WHEN {} THEN NULL ELSE {row} END", nulls()) } else { row };
        parse_expr(&row).ok()
    }
}

impl VisitorMut for Rewriter<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let relations = self.relations(&select.from);
        self.selects.push(Open { relations, factors: 0 });
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(Expr::Identifier(ident)) = item
                && let Some(expr) = self.row(ident)
            {
                *item = SelectItem::ExprWithAlias { expr, alias: ident.clone() };
            }
        }
        // A result's name comes before a relation's.
        let results: BTreeSet<String> = select.projection.iter().filter_map(result).collect();
        grouped(select).filter(|expr| is_one_of(expr, &results)).for_each(shut);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        grouped(select).for_each(open);
        self.selects.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if is_closed(factor) {
            self.selects.last_mut().into_iter().for_each(|select| select.factors += 1);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if is_closed(factor) {
            self.selects.last_mut().into_iter().for_each(|select| select.factors -= 1);
        }
        ControlFlow::Continue(())
    }

    /// `(t).a` is `t.a`; names of a path are no values.
    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundFieldAccess { root, access_chain } = expr
            && let (Expr::Nested(inner), [AccessExpr::Dot(Expr::Identifier(field))]) =
                (root.as_ref(), access_chain.as_slice())
            && let Expr::Identifier(ident) = inner.as_ref()
            && self.row(ident).is_some()
        {
            *expr = Expr::CompoundIdentifier(vec![ident.clone(), field.clone()]);
        }
        path(expr, shut);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        path(expr, open);
        match expr {
            Expr::Identifier(ident) => {
                if let Some(row) = self.row(ident) {
                    *expr = row;
                }
            }
            // `f(t.*)` is `f(t)`.
            Expr::Function(Function { args: FunctionArguments::List(list), .. }) => {
                for arg in &mut list.args {
                    if let Some(row) = all_of(arg).and_then(|ident| self.row(ident)) {
                        *arg = FunctionArg::Unnamed(FunctionArgExpr::Expr(row));
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
