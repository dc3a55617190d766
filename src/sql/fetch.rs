//! FETCH FIRST … ROWS as what DataFusion plans: ONLY is LIMIT, WITH TIES is a bound on `rank()`.
//!
//! ```text
//! SELECT … ORDER BY o OFFSET m FETCH FIRST n ROWS WITH TIES
//! SELECT … QUALIFY rank() OVER (ORDER BY o) <= m + n AND row_number() OVER (ORDER BY o) > m ORDER BY o
//! ```

use std::ops::ControlFlow;

use super::ast::{
    BinaryOperator, Expr, Fetch, LimitClause, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr,
    Value, VisitMut, VisitorMut,
};
use super::{parse_expr, parse_query};
use crate::common::{Error, ErrorKind, Result};

/// Rewrites every FETCH of the query.
///
/// # Errors
/// `Syntax` for WITH TIES without ORDER BY or beside LIMIT, `NotSupported` for PERCENT.
pub fn rewrite(query: &mut Query) -> Result<()> {
    match VisitMut::visit(query, &mut Rewriter) {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let Some(fetch) = query.fetch.take() else { return ControlFlow::Continue(()) };
        match replace(query, fetch) {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => ControlFlow::Break(e),
        }
    }
}

fn replace(query: &mut Query, fetch: Fetch) -> Result<()> {
    let syntax = |message: &str| Error::new(ErrorKind::Syntax, message.to_string());
    if fetch.percent {
        return Err(Error::not_supported("FETCH … PERCENT is not supported").with_hint("write the number of rows"));
    }
    let rows = match fetch.quantity {
        Some(rows) => rows,
        None => parse_expr("1")?,
    };
    let offset = match query.limit_clause.take() {
        None => None,
        Some(LimitClause::LimitOffset { limit: None, offset, .. }) => offset,
        Some(_) => return Err(syntax("multiple LIMIT clauses not allowed").with_hint("write LIMIT or FETCH, not both")),
    };
    if !fetch.with_ties {
        query.limit_clause = Some(LimitClause::LimitOffset { limit: Some(rows), offset, limit_by: Vec::new() });
        return Ok(());
    }
    let Some(OrderBy { kind: OrderByKind::Expressions(order), .. }) = &query.order_by else {
        return Err(syntax("WITH TIES cannot be specified without ORDER BY clause").with_hint("add ORDER BY"));
    };
    let plain = matches!(query.body.as_ref(), SetExpr::Select(s) if s.distinct.is_none() && s.qualify.is_none());
    if !plain {
        // The rows that are ranked are those that come out: as a table, under their names.
        let mut wrapped = parse_query("SELECT * FROM (SELECT 1) AS _rows")?;
        if let SetExpr::Select(outer) = wrapped.body.as_mut()
            && let Some(super::ast::TableFactor::Derived { subquery, .. }) =
                outer.from.first_mut().map(|f| &mut f.relation)
        {
            std::mem::swap(&mut subquery.body, &mut query.body);
        }
        query.body = wrapped.body;
    }
    let items: &[SelectItem] = match query.body.as_ref() {
        SetExpr::Select(select) if plain => &select.projection,
        _ => &[],
    };
    let order: Vec<String> = order.iter().map(|o| ordering(o, items)).collect::<Result<_>>()?;
    let window = format!("OVER (ORDER BY {})", order.join(", "));
    let qualify = match offset {
        None => format!("rank() {window} <= {rows}"),
        Some(offset) => {
            let offset = offset.value;
            format!("rank() {window} <= ({offset}) + ({rows}) AND row_number() {window} > ({offset})")
        }
    };
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(Error::internal("no SELECT to rank")) };
    add(select, parse_expr(&qualify)?);
    Ok(())
}

fn add(select: &mut Select, qualify: Expr) {
    select.qualify = Some(match select.qualify.take() {
        None => qualify,
        Some(before) => Expr::BinaryOp { left: Box::new(before), op: BinaryOperator::And, right: Box::new(qualify) },
    });
}

/// The ordering as text, a column's number replaced by the column.
fn ordering(order: &OrderByExpr, items: &[SelectItem]) -> Result<String> {
    let Expr::Value(value) = &order.expr else { return Ok(order.to_string()) };
    let Value::Number(number, _) = &value.value else { return Ok(order.to_string()) };
    let item = number.to_string().parse::<usize>().ok().and_then(|n| items.get(n.checked_sub(1)?));
    let expr = match item {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => expr.clone(),
        _ => {
            return Err(Error::not_supported(format!("ORDER BY {number} beside WITH TIES is not supported here"))
                .with_hint("write the column's name"));
        }
    };
    Ok(OrderByExpr { expr, ..order.clone() }.to_string())
}
