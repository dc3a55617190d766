//! Which queries are lookups, by their syntax alone: plain columns of one table or materialized view, where different
//! columns equal constants or parameters.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;

use super::super::zone::Zone;
use crate::catalog::{Object, Snapshot};
use crate::sql::ast::{
    BinaryOperator, Expr, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, TableFactor, UnaryOperator, Value,
    WildcardAdditionalOptions,
};
use crate::sql::name::{fold, object_name};
use crate::types::pg_type::PgType;

/// What a query asks for.
pub struct Asked<'s> {
    pub object: &'s Arc<Object>,
    /// With their names in the result.
    pub columns: Vec<(usize, String)>,
    /// Each column once.
    pub equal: Vec<(usize, Operand)>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// Of the column's type.
    Constant(ScalarValue),
    /// A parameter, counted from 0.
    Parameter(usize),
}

/// `None` for any other query, wrong ones too.
pub fn recognise<'s>(query: &Query, snapshot: &'s Snapshot) -> Option<Asked<'s>> {
    let Query {
        with: None,
        body,
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks,
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators,
    } = query
    else {
        return None;
    };
    let (SetExpr::Select(select), [], []) = (body.as_ref(), locks.as_slice(), pipe_operators.as_slice()) else {
        return None;
    };
    let from = plain(select)?;
    let TableFactor::Table {
        name,
        alias,
        args: None,
        with_hints,
        version: None,
        with_ordinality: false,
        partitions,
        json_path: None,
        sample: None,
        index_hints,
    } = from
    else {
        return None;
    };
    if !(with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty()) {
        return None;
    }
    let object = snapshot.get(&object_name(name).ok()?)?;
    object.definition.rows()?;
    let table = match alias {
        Some(alias) if alias.columns.is_empty() => fold(&alias.name),
        Some(_) => return None,
        None => object.name.clone(),
    };
    let scope = Scope { object, table };
    let mut equal = Vec::new();
    scope.conjunction(select.selection.as_ref()?, &mut equal)?;
    Some(Asked { object, columns: scope.columns(&select.projection)?, equal })
}

/// The one thing in FROM of a SELECT that has nothing but columns, FROM and WHERE.
fn plain(select: &Select) -> Option<&TableFactor> {
    let Select {
        select_token: _,
        optimizer_hints,
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: _,
        projection: _,
        exclude: None,
        into: None,
        from,
        lateral_views,
        prewhere: None,
        selection: Some(_),
        connect_by,
        group_by: GroupByExpr::Expressions(group_by, modifiers),
        cluster_by,
        distribute_by,
        sort_by,
        having: None,
        named_window,
        qualify: None,
        window_before_qualify: _,
        value_table_mode: None,
        flavor: _,
    } = select
    else {
        return None;
    };
    let [from] = from.as_slice() else { return None };
    let bare = optimizer_hints.is_empty()
        && lateral_views.is_empty()
        && connect_by.is_empty()
        && group_by.is_empty()
        && modifiers.is_empty()
        && cluster_by.is_empty()
        && distribute_by.is_empty()
        && sort_by.is_empty()
        && named_window.is_empty()
        && from.joins.is_empty();
    bare.then_some(&from.relation)
}

/// Columns of one object under one name.
struct Scope<'s> {
    object: &'s Object,
    table: String,
}

impl Scope<'_> {
    fn column(&self, expr: &Expr) -> Option<usize> {
        match expr {
            Expr::Identifier(name) => self.named(name),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, name] if fold(table) == self.table => self.named(name),
                _ => None,
            },
            _ => None,
        }
    }

    fn named(&self, name: &Ident) -> Option<usize> {
        let name = fold(name);
        self.object.definition.columns().iter().position(|c| !c.hidden && c.name == name)
    }

    /// The columns of the result; their names must differ, as the planner would else change them.
    fn columns(&self, items: &[SelectItem]) -> Option<Vec<(usize, String)>> {
        let all = self.object.definition.columns().iter().enumerate().filter(|(_, c)| !c.hidden);
        let mut columns: Vec<(usize, String)> = Vec::with_capacity(items.len());
        for item in items {
            match item {
                SelectItem::Wildcard(options) if items.len() == 1 && is_bare(options) => {
                    columns.extend(all.clone().map(|(column, c)| (column, c.name.clone())));
                }
                SelectItem::UnnamedExpr(expr) => {
                    let column = self.column(expr)?;
                    columns.push((column, self.object.definition.columns().get(column)?.name.clone()));
                }
                SelectItem::ExprWithAlias { expr, alias } => columns.push((self.column(expr)?, fold(alias))),
                _ => return None,
            }
        }
        let differ = columns.iter().enumerate().all(|(i, (_, name))| !columns.iter().take(i).any(|(_, n)| n == name));
        differ.then_some(columns)
    }

    fn conjunction(&self, expr: &Expr, equal: &mut Vec<(usize, Operand)>) -> Option<()> {
        match expr {
            Expr::Nested(inner) => self.conjunction(inner, equal),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.conjunction(left, equal)?;
                self.conjunction(right, equal)
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                let (column, other) = match self.column(left) {
                    Some(column) => (column, right),
                    None => (self.column(right)?, left),
                };
                let definition = self.object.definition.columns().get(column)?;
                let twice = equal.iter().any(|(c, _)| *c == column);
                // Equal floats and intervals may have different bytes; types kept as text have an equality of their own.
                let data_type = &definition.data_type;
                let by_bytes = !data_type.is_floating() && !matches!(data_type, DataType::Interval(_));
                let own_equality =
                    definition.mark.is_some_and(|mark| !matches!(mark, PgType::Varchar(_) | PgType::Seconds(_)));
                if twice || own_equality || !by_bytes {
                    return None;
                }
                equal.push((column, operand(other, &definition.data_type)?));
                Some(())
            }
            _ => None,
        }
    }
}

fn is_bare(options: &WildcardAdditionalOptions) -> bool {
    let WildcardAdditionalOptions {
        wildcard_token: _,
        opt_ilike: None,
        opt_exclude: None,
        opt_except: None,
        opt_replace: None,
        opt_rename: None,
        opt_alias: None,
    } = options
    else {
        return false;
    };
    true
}

/// What stands beside `=`: a parameter, or a constant that is written as the column's type is.
fn operand(expr: &Expr, data_type: &DataType) -> Option<Operand> {
    let constant = match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => {
                let number = name.strip_prefix('$')?.parse::<usize>().ok()?;
                return Some(Operand::Parameter(number.checked_sub(1)?));
            }
            Value::Number(digits, _) => integer(digits, data_type)?,
            Value::SingleQuotedString(text) => match data_type {
                DataType::Utf8 => ScalarValue::Utf8(Some(text.clone())),
                data_type => integer(text, data_type)?,
            },
            _ => return None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) => integer(&format!("-{digits}"), data_type)?,
                _ => return None,
            },
            _ => return None,
        },
        _ => return None,
    };
    Some(Operand::Constant(constant))
}

/// Digits as an integer of a column's type.
fn integer(digits: &str, data_type: &DataType) -> Option<ScalarValue> {
    let is_plain = digits.strip_prefix('-').unwrap_or(digits).bytes().all(|b| b.is_ascii_digit());
    match data_type {
        _ if !is_plain => None,
        DataType::Int16 => digits.parse().ok().map(|n| ScalarValue::Int16(Some(n))),
        DataType::Int32 => digits.parse().ok().map(|n| ScalarValue::Int32(Some(n))),
        DataType::Int64 => digits.parse().ok().map(|n| ScalarValue::Int64(Some(n))),
        _ => None,
    }
}

/// The result's columns as the planner would have them.
pub fn schema(object: &Object, columns: &[(usize, String)], zone: &Zone) -> SchemaRef {
    let known = object.definition.columns();
    let fields = columns.iter().filter_map(|(column, name)| {
        let field = known.get(*column)?.field().with_name(name).with_nullable(true);
        Some(zone.field(&Arc::new(field)))
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
