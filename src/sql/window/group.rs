//! Windows as grouping functions: Flink's legacy `GROUP BY TUMBLE(ts, size)` and Arroyo's `GROUP BY tumble(size)`.
//!
//! TUMBLE becomes an expression where it stands. The others make rows or look at other rows: FROM becomes a subquery that
//! adds their columns, and the grouping names these.

use std::ops::ControlFlow;

use super::super::ast::{
    Expr, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor, Value, VisitMut, VisitorMut,
};
use super::super::name;
use super::kind::{Kind, Window};
use super::table::{derived, plain};
use super::{END, START, WatermarkOf, broken, call, expr, unnamed};
use crate::common::{Error, ErrorKind, Result};

/// Rewrites the windows of one SELECT's list and GROUP BY. True when Arroyo's form was among them.
pub(super) fn rewrite(select: &mut Select, watermark_of: WatermarkOf<'_>) -> Result<bool> {
    name_columns(select);
    let GroupByExpr::Expressions(group, _) = &select.group_by else { return Ok(false) };
    // A call without a time is Arroyo's wherever it stands; GROUP BY may name it by alias or position.
    let listed = select.projection.iter().filter_map(item_expr);
    let arroyo = listed.chain(group).find_map(arroyo_call);
    let arroyo = match arroyo {
        Some((kind, lengths)) => Some(arroyo_window(select, kind, &lengths, watermark_of)?),
        None => None,
    };
    // The window whose columns FROM must make.
    let mut made: Option<Window> = arroyo.clone().filter(|w| w.kind != Kind::Tumble);
    let mut grouped = Vec::with_capacity(group.len() + 1);
    for e in group {
        match (window_call(e), &arroyo) {
            (Some(_), Some(window)) if arroyo_call(e).is_some() => grouped.extend(bounds(window)?),
            (Some((kind, args)), _) => {
                let window = Window::of_call(kind, &format!("GROUP BY {kind}"), &args)?;
                match kind {
                    Kind::Tumble => grouped.push(expr(&window.columns(&[]).start)?),
                    _ if made.as_ref().is_some_and(|m| *m != window) => {
                        return Err(kind.wrong("GROUP BY takes one window that is not TUMBLE"));
                    }
                    _ => {
                        grouped.extend(bounds(&window)?);
                        made = Some(window);
                    }
                }
            }
            (None, _) => match (listed_item(e, &select.projection), &arroyo) {
                (Some(item), Some(window)) if item_expr(item).and_then(window_call).is_some() => {
                    grouped.extend(bounds(window)?);
                }
                // Positions shift when the window becomes two columns: name the expression itself.
                (Some(item), Some(_)) => grouped.push(item_expr(item).unwrap_or(e).clone()),
                _ => grouped.push(e.clone()),
            },
        }
    }
    if let Some(window) = &made {
        let partition = match window.kind {
            Kind::Session => partition(group, &select.projection),
            _ => Vec::new(),
        };
        make(select, window, &partition)?;
        replace_bounds(select, window)?;
    }
    if let Some(window) = &arroyo {
        expand_items(&mut select.projection, window)?;
    }
    if let GroupByExpr::Expressions(group, _) = &mut select.group_by {
        *group = grouped;
    }
    Ok(arroyo.is_some())
}

/// ORDER BY may name the bounds of its SELECT's window too.
pub(super) fn rewrite_order(query: &mut Query) -> Result<()> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Ok(()) };
    let GroupByExpr::Expressions(group, _) = &select.group_by else { return Ok(()) };
    let made = group.iter().filter_map(window_call).find(|(kind, _)| *kind != Kind::Tumble);
    let Some((kind, args)) = made.filter(|(kind, args)| args.len() > kind.lengths().len()) else { return Ok(()) };
    let window = Window::of_call(kind, "GROUP BY", &args)?;
    match &mut query.order_by {
        Some(order) => replace_bounds(order, &window),
        None => Ok(()),
    }
}

/// `TUMBLE_START/_END/_ROWTIME(ts, size[, offset])` anywhere to `tumble_start`, with the lengths in one form.
pub(super) fn rewrite_expr(e: &mut Expr) -> Result<()> {
    let Some((function, args)) = call(e) else { return Ok(()) };
    let Some((kind, bound)) = bound(&function) else { return Ok(()) };
    if bound == Bound::Proctime {
        return Err(Error::not_supported(format!("{kind}_PROCTIME is not supported: windows are over event time"))
            .with_hint(format!("write {kind}_ROWTIME")));
    }
    let args = unnamed(args).unwrap_or_default();
    let window = Window::of_call(kind, &function, &args)?;
    if kind == Kind::Tumble {
        let columns = window.columns(&[]);
        *e = expr(match bound {
            Bound::Start => &columns.start,
            Bound::End => &columns.end,
            _ => &columns.time,
        })?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Start,
    End,
    Rowtime,
    Proctime,
}

/// What `HOP_START` and its kin ask for.
pub(super) fn bound(function: &str) -> Option<(Kind, Bound)> {
    let (kind, bound) = function.rsplit_once('_')?;
    let bound = match bound {
        "start" => Bound::Start,
        "end" => Bound::End,
        "rowtime" => Bound::Rowtime,
        "proctime" => Bound::Proctime,
        _ => return None,
    };
    Some((Kind::of(kind)?, bound))
}

/// Columns of `TUMBLE_START(…)` and its kin without an alias get the names that the table forms give.
fn name_columns(select: &mut Select) {
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(e) = item else { continue };
        let alias = match call(e).and_then(|(f, _)| bound(&f)) {
            Some((_, Bound::Start)) => START,
            Some((_, Bound::End)) => END,
            Some((_, Bound::Rowtime)) => "window_time",
            _ => continue,
        };
        *item = SelectItem::ExprWithAlias { expr: e.clone(), alias: Ident::new(alias) };
    }
}

/// A call of a window and its arguments.
fn window_call(e: &Expr) -> Option<(Kind, Vec<&Expr>)> {
    let (function, args) = call(e)?;
    Some((Kind::of(&function)?, unnamed(args)?))
}

/// A window call that has lengths only.
fn arroyo_call(e: &Expr) -> Option<(Kind, Vec<&Expr>)> {
    window_call(e).filter(|(kind, args)| args.len() == kind.lengths().len())
}

fn item_expr(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => Some(e),
        _ => None,
    }
}

/// The item of the select list that a grouping expression means by position, or by the alias of a window.
fn listed_item<'a>(e: &Expr, items: &'a [SelectItem]) -> Option<&'a SelectItem> {
    match e {
        Expr::Value(v) => match &v.value {
            Value::Number(n, _) => items.get(n.parse::<usize>().ok()?.checked_sub(1)?),
            _ => None,
        },
        Expr::Identifier(ident) => aliased(ident, items).filter(|i| item_expr(i).and_then(window_call).is_some()),
        _ => None,
    }
}

fn aliased<'a>(ident: &Ident, items: &'a [SelectItem]) -> Option<&'a SelectItem> {
    items.iter().find(|item| match item {
        SelectItem::ExprWithAlias { alias, .. } => name::fold(alias) == name::fold(ident),
        _ => false,
    })
}

/// What the sessions are apart by: all else that is grouped by.
fn partition(group: &[Expr], items: &[SelectItem]) -> Vec<String> {
    let of_input = |e: &Expr| {
        let item = match e {
            Expr::Identifier(ident) => aliased(ident, items),
            e => listed_item(e, items),
        };
        item.and_then(item_expr).unwrap_or(e).clone()
    };
    let group = group.iter().map(of_input).filter(|e| window_call(e).is_none());
    group.map(|e| e.to_string()).collect()
}

/// The window over the watermark column of the one table in FROM.
fn arroyo_window(select: &Select, kind: Kind, lengths: &[&Expr], watermark_of: WatermarkOf<'_>) -> Result<Window> {
    let name = kind.to_string().to_lowercase();
    let one_table = || kind.wrong(format!("{name}(…) needs one table in FROM to take the time column from"));
    let [from] = select.from.as_slice() else { return Err(one_table()) };
    let table = plain(&from.relation).filter(|_| from.joins.is_empty());
    let (table, qualifier) = table.ok_or_else(one_table)?;
    let Some(column) = watermark_of(table) else {
        let lengths: Vec<String> = lengths.iter().map(|l| l.to_string()).collect();
        return Err(Error::new(ErrorKind::InvalidDefinition, format!("{name}(…) needs a watermark on {table}"))
            .with_hint(format!(
                "define it with WATERMARK FOR its time column, or name the column: FROM {kind}({table}, ts, {})",
                lengths.join(", ")
            )));
    };
    let ts = expr(&format!("{qualifier}.{}", name::quote(&column)))?;
    Window::new(kind, &ts, lengths, None)
}

/// The window's bounds as expressions of the SELECT.
fn bounds(window: &Window) -> Result<[Expr; 2]> {
    match window.kind {
        Kind::Tumble => {
            let columns = window.columns(&[]);
            Ok([expr(&columns.start)?, expr(&columns.end)?])
        }
        _ => Ok([Expr::Identifier(Ident::new(START)), Expr::Identifier(Ident::new(END))]),
    }
}

/// Has FROM make the window's columns.
fn make(select: &mut Select, window: &Window, partition: &[String]) -> Result<()> {
    let kind = window.kind;
    let one = || kind.wrong(format!("GROUP BY {kind} needs one table or subquery with an alias in FROM"));
    let [from] = select.from.as_mut_slice() else { return Err(one()) };
    if !from.joins.is_empty() {
        return Err(one());
    }
    let alias = match &from.relation {
        TableFactor::Table { name: object, alias: None, args: None, .. } => {
            Ident::new(name::parts(object)?.pop().ok_or_else(one)?)
        }
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            alias.name.clone()
        }
        _ => return Err(one()),
    };
    // Rows that WHERE takes out are in no session.
    let filter = match kind {
        Kind::Session => select.selection.take().map(|s| format!(" WHERE {s}")),
        _ => None,
    };
    let columns = window.columns(partition);
    let sql = format!(
        "SELECT *, {} AS {START}, {} AS {END} FROM {from}{}",
        columns.start,
        columns.end,
        filter.unwrap_or_default()
    );
    let alias = TableAlias { explicit: true, name: alias, columns: Vec::new(), at: None };
    from.relation = derived(&sql, alias)?;
    Ok(())
}

/// Replaces `HOP_START(…)` and its kin that have the window's arguments.
fn replace_bounds(part: &mut impl VisitMut, window: &Window) -> Result<()> {
    broken(VisitMut::visit(part, &mut Bounds { window }))
}

struct Bounds<'a> {
    window: &'a Window,
}

impl VisitorMut for Bounds<'_> {
    type Break = Error;

    fn pre_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<Error> {
        let Some((function, args)) = call(e) else { return ControlFlow::Continue(()) };
        let (Some((kind, bound)), Some(args)) = (bound(&function), unnamed(args)) else {
            return ControlFlow::Continue(());
        };
        // Others are left to be found where they are not expected.
        if kind == self.window.kind && Window::of_call(kind, &function, &args).is_ok_and(|w| w == *self.window) {
            let column = match bound {
                Bound::Start => Expr::Identifier(Ident::new(START)),
                Bound::End => Expr::Identifier(Ident::new(END)),
                Bound::Rowtime => match expr(&format!("({END} - INTERVAL '1000 microseconds')")) {
                    Ok(time) => time,
                    Err(e) => return ControlFlow::Break(e),
                },
                Bound::Proctime => return ControlFlow::Continue(()),
            };
            *e = column;
        }
        ControlFlow::Continue(())
    }
}

fn expand_items(items: &mut Vec<SelectItem>, window: &Window) -> Result<()> {
    let mut expanded = Vec::with_capacity(items.len() + 1);
    for item in items.drain(..) {
        match item_expr(&item).and_then(window_call) {
            Some(_) => {
                for (expr, alias) in bounds(window)?.into_iter().zip([START, END]) {
                    expanded.push(SelectItem::ExprWithAlias { expr, alias: Ident::new(alias) });
                }
            }
            None => expanded.push(item),
        }
    }
    *items = expanded;
    Ok(())
}
