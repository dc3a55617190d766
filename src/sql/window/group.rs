//! Windows as grouping functions: Flink's legacy `GROUP BY TUMBLE(ts, size)` and Arroyo's `GROUP BY tumble(size)`.

use super::super::ast::{Expr, GroupByExpr, Ident, Select, SelectItem, Value};
use super::super::name;
use super::table::plain;
use super::{HINT, Tumble, WatermarkOf, call, expr, not_yet, unnamed};
use crate::common::{Error, ErrorKind, Result};

const START: &str = "window_start";
const END: &str = "window_end";

/// Rewrites the windows of one SELECT's list and GROUP BY. True when Arroyo's form was among them.
pub(super) fn rewrite(select: &mut Select, watermark_of: WatermarkOf<'_>) -> Result<bool> {
    name_columns(select);
    let GroupByExpr::Expressions(group, _) = &select.group_by else { return Ok(false) };
    // A call with one argument is Arroyo's wherever it stands; GROUP BY may name it by alias or position.
    let listed = select.projection.iter().filter_map(item_expr);
    let arroyo = listed.chain(group).find_map(|e| window_args(e).filter(|args| args.len() == 1));
    let arroyo = match arroyo {
        Some(args) => Some(arroyo_window(select, args.first().copied(), watermark_of)?),
        None => None,
    };
    let mut grouped = Vec::with_capacity(group.len() + 1);
    for e in group {
        if let Some((window, _)) = call(e)
            && ["hop", "session", "cumulate"].contains(&window.as_str())
        {
            return Err(not_yet(&window));
        }
        match (window_args(e), &arroyo) {
            (Some(args), Some(tumble)) if args.len() == 1 => push_both(tumble, &mut grouped)?,
            (Some(args), _) => match args.as_slice() {
                [ts, size] => grouped.push(expr(&Tumble::new(ts, size, None)?.start())?),
                [ts, size, offset] => grouped.push(expr(&Tumble::new(ts, size, Some(offset))?.start())?),
                _ => return Err(wrong("GROUP BY TUMBLE takes a time column and a window length")),
            },
            (None, Some(tumble)) => match listed_item(e, &select.projection) {
                Some(item) if item_expr(item).and_then(window_args).is_some() => push_both(tumble, &mut grouped)?,
                // Positions shift when the window becomes two columns: name the expression itself.
                Some(item) => grouped.push(item_expr(item).unwrap_or(e).clone()),
                None => grouped.push(e.clone()),
            },
            (None, None) => grouped.push(e.clone()),
        }
    }
    if let Some(tumble) = &arroyo {
        expand_items(&mut select.projection, tumble)?;
    }
    if let GroupByExpr::Expressions(group, _) = &mut select.group_by {
        *group = grouped;
    }
    Ok(arroyo.is_some())
}

/// `TUMBLE_START/_END/_ROWTIME(ts, size[, offset])` anywhere to `tumble_start`, with the lengths in one form.
pub(super) fn rewrite_expr(e: &mut Expr) -> Result<()> {
    let Some((function, args)) = call(e) else { return Ok(()) };
    if let Some((window, "start" | "end" | "rowtime" | "proctime")) = function.rsplit_once('_')
        && ["hop", "session", "cumulate"].contains(&window)
    {
        return Err(not_yet(window));
    }
    if function == "tumble_proctime" {
        return Err(Error::not_supported("TUMBLE_PROCTIME is not supported: windows are over event time")
            .with_hint("write TUMBLE_ROWTIME"));
    }
    if !["tumble_start", "tumble_end", "tumble_rowtime"].contains(&function.as_str()) {
        return Ok(());
    }
    let args = unnamed(args).unwrap_or_default();
    let tumble = match args.as_slice() {
        [ts, size] => Tumble::new(ts, size, None)?,
        [ts, size, offset] => Tumble::new(ts, size, Some(offset))?,
        _ => return Err(wrong(&format!("{} takes a time column and a window length", function.to_uppercase()))),
    };
    *e = expr(&match function.as_str() {
        "tumble_start" => tumble.start(),
        "tumble_end" => tumble.end(),
        _ => tumble.time(),
    })?;
    Ok(())
}

/// Columns of `TUMBLE_START(…)` and its kin without an alias get the names that the table forms give.
fn name_columns(select: &mut Select) {
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(e) = item else { continue };
        let alias = match call(e).map(|(f, _)| f).as_deref() {
            Some("tumble_start") => START,
            Some("tumble_end") => END,
            Some("tumble_rowtime") => "window_time",
            _ => continue,
        };
        *item = SelectItem::ExprWithAlias { expr: e.clone(), alias: Ident::new(alias) };
    }
}

/// The arguments of a call of TUMBLE.
fn window_args(e: &Expr) -> Option<Vec<&Expr>> {
    match call(e) {
        Some((f, args)) if f == "tumble" => unnamed(args),
        _ => None,
    }
}

fn item_expr(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => Some(e),
        _ => None,
    }
}

/// The item of the select list that a grouping expression means by position or by alias.
fn listed_item<'a>(e: &Expr, items: &'a [SelectItem]) -> Option<&'a SelectItem> {
    match e {
        Expr::Value(v) => match &v.value {
            Value::Number(n, _) => items.get(n.parse::<usize>().ok()?.checked_sub(1)?),
            _ => None,
        },
        Expr::Identifier(ident) => items.iter().find(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } => {
                name::fold(alias) == name::fold(ident) && window_args(expr).is_some()
            }
            _ => false,
        }),
        _ => None,
    }
}

/// The window over the watermark column of the one table in FROM.
fn arroyo_window(select: &Select, size: Option<&Expr>, watermark_of: WatermarkOf<'_>) -> Result<Tumble> {
    let size = size.ok_or_else(|| wrong("tumble needs a window length"))?;
    let [from] = select.from.as_slice() else {
        return Err(wrong("tumble(length) needs one table in FROM to take the time column from"));
    };
    let table = plain(&from.relation).filter(|_| from.joins.is_empty());
    let Some((table, qualifier)) = table else {
        return Err(wrong("tumble(length) needs one table in FROM to take the time column from"));
    };
    let Some(column) = watermark_of(table) else {
        return Err(Error::new(ErrorKind::InvalidDefinition, format!("tumble(length) needs a watermark on {table}"))
            .with_hint(format!(
                "define it with WATERMARK FOR its time column, or name the column: FROM TUMBLE({table}, ts, {size})"
            )));
    };
    let ts = expr(&format!("{qualifier}.{}", name::quote(&column)))?;
    Tumble::new(&ts, size, None)
}

fn push_both(tumble: &Tumble, to: &mut Vec<Expr>) -> Result<()> {
    to.push(expr(&tumble.start())?);
    to.push(expr(&tumble.end())?);
    Ok(())
}

fn expand_items(items: &mut Vec<SelectItem>, tumble: &Tumble) -> Result<()> {
    let mut expanded = Vec::with_capacity(items.len() + 1);
    for item in items.drain(..) {
        match item_expr(&item).and_then(window_args) {
            Some(_) => {
                let column = |sql: String, alias: &str| {
                    Ok::<_, Error>(SelectItem::ExprWithAlias { expr: expr(&sql)?, alias: Ident::new(alias) })
                };
                expanded.push(column(tumble.start(), START)?);
                expanded.push(column(tumble.end(), END)?);
            }
            None => expanded.push(item),
        }
    }
    *items = expanded;
    Ok(())
}

fn wrong(message: &str) -> Error {
    Error::new(ErrorKind::Syntax, message).with_hint(HINT)
}
