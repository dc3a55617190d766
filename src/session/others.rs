//! What RETURNING may name of the relations that stand in FROM of UPDATE and USING of DELETE.
//!
//! ```text
//! FROM t, o  --plan SELECT *--> columns of o --affected()--> o.c AS __other_0 beside the changed row
//! RETURNING o.c, c, * -------------------------------------> __other_0 AS c
//! ```

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::Field;

use super::change::{changed, changed_name};
use super::client::SessionClient;
use super::returning::visible;
use super::services::Services;
use crate::batch::Purpose;
use crate::catalog::{Column, Table};
use crate::common::{Error, ErrorKind, Result};
use crate::sql::name::{fold, quote};
use crate::sql::{self, ast};

/// A column of another relation.
pub struct Other {
    /// What the statement calls the relation.
    relation: Option<String>,
    name: String,
    field: Field,
}

/// The columns of the relations beside the changed table; none where RETURNING does not ask.
pub async fn of(
    services: &Arc<Services>,
    client: &Arc<SessionClient>,
    statement: &ast::Statement,
    table: &Table,
) -> Result<Vec<Other>> {
    let (first, others) = changed(statement)?;
    let returning = match statement {
        ast::Statement::Update(update) => update.returning.is_some(),
        ast::Statement::Delete(delete) => delete.returning.is_some(),
        _ => false,
    };
    let (Some(first), true) = (first, returning && !others.is_empty()) else { return Ok(Vec::new()) };
    let from: Vec<String> = std::iter::once(first).chain(others).map(ToString::to_string).collect();
    let query = sql::parse_query(&format!("SELECT * FROM {}", from.join(", ")))?;
    let (snapshot, epoch, _pin) = services.pin(client)?;
    let context = services.batch.context(snapshot, epoch, Purpose::Read, client.clone())?;
    let plan = context.plan(&query).await?;
    let columns = plan.schema().iter().skip(visible(table).len());
    let column = |(relation, field): (Option<&datafusion::common::TableReference>, &Arc<Field>)| Other {
        relation: relation.map(|r| r.table().to_string()),
        name: field.name().clone(),
        field: field.as_ref().clone(),
    };
    Ok(columns.map(column).collect())
}

fn alias(index: usize) -> String {
    format!("__other_{index}")
}

/// What the query behind the statement selects besides.
pub fn selected(others: &[Other]) -> String {
    let one = |(index, other): (usize, &Other)| {
        let relation = other.relation.as_ref().map_or(String::new(), |r| format!("{}.", quote(r)));
        format!(", {relation}{} AS {}", quote(&other.name), alias(index))
    };
    others.iter().enumerate().map(one).collect()
}

/// The columns beside those of the table, as RETURNING is planned over them.
pub fn columns(others: &[Other]) -> Vec<Column> {
    let one = |(index, other): (usize, &Other)| Column {
        nullable: true,
        ..Column::of(&other.field.clone().with_name(alias(index)))
    };
    others.iter().enumerate().map(one).collect()
}

/// RETURNING's items over the one relation that has all columns.
///
/// # Errors
/// `AmbiguousColumn` for a name that several relations have.
pub fn rewrite(
    items: &[ast::SelectItem],
    statement: &ast::Statement,
    table: &Table,
    others: &[Other],
) -> Result<Vec<ast::SelectItem>> {
    if others.is_empty() {
        return Ok(items.to_vec());
    }
    let own = changed(statement)?.0.and_then(changed_name).as_ref().map(fold).unwrap_or_default();
    let names = Names { own, own_columns: visible(table).into_iter().map(|c| c.name).collect(), others };
    let mut rewritten = Vec::new();
    for item in items {
        match item {
            ast::SelectItem::Wildcard(_) => {
                rewritten.extend(names.own_columns.iter().map(|c| named(quoted(c), c)));
                rewritten.extend(names.others.iter().enumerate().map(|(i, o)| named(quoted(&alias(i)), &o.name)));
            }
            ast::SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(of), _)
                if names.relation(of).is_some() =>
            {
                let of = names.relation(of);
                let all = names.others.iter().enumerate().filter(|(_, o)| o.relation == of);
                rewritten.extend(all.map(|(i, o)| named(quoted(&alias(i)), &o.name)));
            }
            ast::SelectItem::UnnamedExpr(expr) => {
                let mut changed = expr.clone();
                names.replace(&mut changed)?;
                let name = match expr {
                    ast::Expr::Identifier(name) => Some(name.clone()),
                    ast::Expr::CompoundIdentifier(parts) => parts.last().cloned(),
                    _ => None,
                };
                rewritten.push(match name.filter(|_| changed != *expr) {
                    Some(alias) => ast::SelectItem::ExprWithAlias { expr: changed, alias },
                    None => ast::SelectItem::UnnamedExpr(changed),
                });
            }
            ast::SelectItem::ExprWithAlias { expr, alias } => {
                let mut expr = expr.clone();
                names.replace(&mut expr)?;
                rewritten.push(ast::SelectItem::ExprWithAlias { expr, alias: alias.clone() });
            }
            other => rewritten.push(other.clone()),
        }
    }
    Ok(rewritten)
}

fn quoted(name: &str) -> ast::Expr {
    ast::Expr::Identifier(ast::Ident::with_quote('"', name))
}

fn named(expr: ast::Expr, name: &str) -> ast::SelectItem {
    ast::SelectItem::ExprWithAlias { expr, alias: ast::Ident::with_quote('"', name) }
}

struct Names<'a> {
    /// What the statement calls its table.
    own: String,
    own_columns: Vec<String>,
    others: &'a [Other],
}

impl Names<'_> {
    /// The other relation of this name.
    fn relation(&self, name: &ast::ObjectName) -> Option<String> {
        let name = name.0.last()?.as_ident().map(fold).filter(|name| *name != self.own)?;
        self.others.iter().any(|o| o.relation.as_ref() == Some(&name)).then_some(name)
    }

    /// Puts the columns beside the row in the places of their names.
    fn replace(&self, expr: &mut ast::Expr) -> Result<()> {
        // In a subquery a name alone is first one of its own relations.
        let has_query = matches!(
            ast::visit_expressions(expr, |e| match e {
                ast::Expr::Subquery(_) | ast::Expr::Exists { .. } | ast::Expr::InSubquery { .. } =>
                    ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }),
            ControlFlow::Break(())
        );
        let replaced = ast::visit_expressions_mut(expr, |e| {
            let found = match e {
                ast::Expr::Identifier(name) if !has_query => self.alone(&fold(name)),
                ast::Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                    [.., relation, name] if fold(relation) != self.own => Ok(self.of(&fold(relation), &fold(name))),
                    _ => Ok(None),
                },
                _ => Ok(None),
            };
            match found {
                Ok(Some(index)) => *e = quoted(&alias(index)),
                Ok(None) => {}
                Err(error) => return ControlFlow::Break(error),
            }
            ControlFlow::Continue(())
        });
        match replaced {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    fn of(&self, relation: &str, name: &str) -> Option<usize> {
        self.others.iter().position(|o| o.relation.as_deref() == Some(relation) && o.name == name)
    }

    fn alone(&self, name: &str) -> Result<Option<usize>> {
        let mut found: BTreeMap<usize, &Other> =
            self.others.iter().enumerate().filter(|(_, o)| o.name == *name).collect();
        let own = self.own_columns.iter().any(|c| c == name);
        match found.len() + usize::from(own) {
            0 => Ok(None),
            1 => Ok(found.pop_first().map(|(index, _)| index)),
            _ => Err(Error::new(ErrorKind::AmbiguousColumn, format!("column reference \"{name}\" is ambiguous"))
                .with_hint(format!("write the relation before it, as in {}.{name}", self.own))),
        }
    }
}
