//! What the columns of a query are called where the query does not say: as PostgreSQL does.
//!
//! Names are written into the AST as aliases, once, so that everything that plans a query agrees on them. DataFusion
//! wants the columns of one SELECT to differ, PostgreSQL does not: a name that is there already gets a mark, which
//! [`shown`] takes off again.

use std::collections::BTreeSet;

use super::ast::{
    self, CastKind, Expr, Function, Ident, ObjectNamePart, Query, Select, SelectItem, SetExpr, TableFactor, Value,
};
use super::name::fold;

/// What no name has that a user wrote, and what follows is not part of the name.
const MARK: char = '\u{1}';

/// The name of what has none.
const UNKNOWN: &str = "?column?";

/// A column's name as clients see it.
pub fn shown(name: &str) -> &str {
    name.split(MARK).next().unwrap_or(name)
}

/// A name that clients see as `name` and that differs from others' with another number.
pub(super) fn marked_name(name: &str, number: usize) -> String {
    format!("{name}{MARK}{number}")
}

/// Text in which names may stand, such as a plan, without the marks.
pub fn unmarked(text: &str) -> String {
    let mut parts = text.split(MARK);
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |text, part| text + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// Gives every column of `query` without a name of its own the one that PostgreSQL gives it; also in the queries of
/// FROM and WITH, which can be referred to by it.
pub fn name_columns(query: &mut Query) {
    if let Some(with) = &mut query.with {
        for cte in &mut with.cte_tables {
            name_columns(&mut cte.query);
        }
    }
    let order: Vec<&mut Expr> = match &mut query.order_by {
        Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(by), .. }) => {
            by.iter_mut().map(|o| &mut o.expr).collect()
        }
        _ => Vec::new(),
    };
    // What sorts by more than an output column reads input columns too, which a new name must not hide.
    let reads_input = order.iter().any(|by| !matches!(by, Expr::Identifier(_) | Expr::Value(_)));
    body(&mut query.body, reads_input);
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    for by in order {
        let alias = match &*by {
            Expr::Identifier(name) => marked(&fold(name), &select.projection),
            // What DISTINCT leaves are the columns, by their names.
            by if select.distinct.is_some() => alias_of(by, &select.projection),
            _ => None,
        };
        if let Some(alias) = alias {
            *by = Expr::Identifier(alias);
        }
    }
}

/// The alias of the first item of this name, if it had to be marked.
fn marked(name: &str, items: &[SelectItem]) -> Option<Ident> {
    let found = items.iter().find_map(|item| match item {
        SelectItem::ExprWithAlias { alias, .. } if shown(&alias.value) == name => Some(alias.clone()),
        item => column(item).filter(|c| c.name == name).map(|c| Ident::new(c.name)),
    });
    found.filter(|alias| alias.value.contains(MARK))
}

/// The alias of the item that is this expression.
fn alias_of(wanted: &Expr, items: &[SelectItem]) -> Option<Ident> {
    items.iter().find_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } if expr == wanted => Some(alias.clone()),
        _ => None,
    })
}

fn body(set: &mut SetExpr, reads_input: bool) {
    match set {
        SetExpr::Select(select) => name_select(select, reads_input),
        SetExpr::Query(query) => name_columns(query),
        // The first branch names the columns; FROM is in all of them.
        SetExpr::SetOperation { left, right, .. } => {
            body(left, false);
            body(right, false);
        }
        _ => {}
    }
}

fn name_select(select: &mut Select, reads_input: bool) {
    for table in &mut select.from {
        std::iter::once(&mut table.relation).chain(table.joins.iter_mut().map(|j| &mut j.relation)).for_each(factor);
    }
    let star = select.projection.iter().any(|item| column(item).is_none());
    let mut taken: BTreeSet<String> = BTreeSet::new();
    // Names that the query gives come first: what refers to them must find them.
    for own in [true, false] {
        for (index, item) in select.projection.iter_mut().enumerate() {
            let Some(column) = column(item).filter(|c| c.own == own) else { continue };
            // What `*` stands for is not known here: no new name may collide with it.
            let collides = !own && (star || (reads_input && column.of_input));
            let name = column.name;
            let alias = match !collides && taken.insert(name.clone()) {
                true if own => continue,
                true => name,
                false => marked_name(&name, index),
            };
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', alias) };
            }
        }
    }
}

fn factor(table: &mut TableFactor) {
    match table {
        TableFactor::Derived { subquery, .. } => name_columns(subquery),
        TableFactor::NestedJoin { table_with_joins, .. } => {
            factor(&mut table_with_joins.relation);
            table_with_joins.joins.iter_mut().for_each(|join| factor(&mut join.relation));
        }
        _ => {}
    }
}

/// What a select item is called.
struct Column {
    name: String,
    /// The query gives the name.
    own: bool,
    /// An input column has the name, too.
    of_input: bool,
}

impl Column {
    fn own(name: &Ident) -> Self {
        Self { name: fold(name), own: true, of_input: false }
    }
}

/// `None` for `*` and what is like it.
fn column(item: &SelectItem) -> Option<Column> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(Column::own(alias)),
        // A function in disguise, that gets its parentheses later.
        SelectItem::UnnamedExpr(Expr::Identifier(name)) if name.value.eq_ignore_ascii_case("current_schema") => {
            Some(Column { own: false, ..Column::own(name) })
        }
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(Column::own(name)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(Column::own),
        SelectItem::UnnamedExpr(expr) => Some(match find(expr) {
            Name::Input(name) => Column { name, own: false, of_input: true },
            Name::Given(name) | Name::Weak(name) => Column { name, own: false, of_input: false },
        }),
        _ => None,
    }
}

/// A name, and whether it gives way to that of what it is in.
enum Name {
    /// Of an input column.
    Input(String),
    /// Of a function or the like.
    Given(String),
    /// Of a type, of CASE, or unknown.
    Weak(String),
}

fn given(name: &str) -> Name {
    Name::Given(name.into())
}

fn find(expr: &Expr) -> Name {
    match expr {
        Expr::Identifier(name) => Name::Input(fold(name)),
        Expr::CompoundIdentifier(parts) => parts.last().map_or(unknown(), |part| Name::Input(fold(part))),
        Expr::CompoundFieldAccess { root, access_chain } => match access_chain.last() {
            Some(ast::AccessExpr::Dot(field)) => find(field),
            _ => find(root),
        },
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => find(inner),
        Expr::Function(function) => of_function(function),
        Expr::Cast { expr, data_type, kind, .. } => match (find(expr), kind) {
            (Name::Weak(_), CastKind::Cast | CastKind::DoubleColon) => Name::Weak(type_name(data_type)),
            (name, _) => name,
        },
        Expr::TypedString(typed) => Name::Weak(type_name(&typed.data_type)),
        Expr::Interval(_) => Name::Weak("interval".into()),
        Expr::Case { else_result, .. } => match else_result.as_deref().map(find) {
            Some(name @ (Name::Input(_) | Name::Given(_))) => name,
            _ => Name::Weak("case".into()),
        },
        Expr::Subquery(query) => first_column(query),
        Expr::Exists { .. } => given("exists"),
        Expr::Array(_) => given("array"),
        Expr::Tuple(_) => given("row"),
        Expr::Extract { .. } => given("extract"),
        Expr::Ceil { .. } => given("ceil"),
        Expr::Floor { .. } => given("floor"),
        Expr::Position { .. } => given("position"),
        Expr::Substring { shorthand, .. } => given(if *shorthand { "substr" } else { "substring" }),
        Expr::Overlay { .. } => given("overlay"),
        Expr::Trim { trim_where, .. } => given(match trim_where {
            Some(ast::TrimWhereField::Leading) => "ltrim",
            Some(ast::TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::AtTimeZone { .. } => given("timezone"),
        Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => unknown(),
        _ => unknown(),
    }
}

fn unknown() -> Name {
    Name::Weak(UNKNOWN.into())
}

fn of_function(function: &Function) -> Name {
    match function.name.0.last() {
        Some(ObjectNamePart::Identifier(name)) => Name::Given(fold(name)),
        _ => unknown(),
    }
}

fn first_column(query: &Query) -> Name {
    let mut set = query.body.as_ref();
    loop {
        match set {
            SetExpr::Select(select) => {
                return match select.projection.first() {
                    Some(SelectItem::UnnamedExpr(expr)) => find(expr),
                    Some(SelectItem::ExprWithAlias { alias, .. }) => Name::Given(fold(alias)),
                    _ => unknown(),
                };
            }
            SetExpr::Query(inner) => set = &inner.body,
            SetExpr::SetOperation { left, .. } => set = left,
            SetExpr::Values(_) => return given("column1"),
            _ => return unknown(),
        }
    }
}

/// PostgreSQL's own name of a type: that of the element for an array, without length or precision.
fn type_name(data_type: &ast::DataType) -> String {
    use ast::DataType as T;
    let name = match data_type {
        T::Array(
            ast::ArrayElemTypeDef::SquareBracket(element, _)
            | ast::ArrayElemTypeDef::AngleBracket(element)
            | ast::ArrayElemTypeDef::Parenthesis(element),
        ) => return type_name(element),
        T::Int(_) | T::Integer(_) | T::Int4(_) => "int4",
        T::BigInt(_) | T::Int8(_) => "int8",
        T::SmallInt(_) | T::Int2(_) => "int2",
        T::Real | T::Float4 => "float4",
        T::Float(_) | T::Double(_) | T::DoublePrecision | T::Float8 => "float8",
        T::Numeric(_) | T::Decimal(_) | T::Dec(_) => "numeric",
        T::Boolean | T::Bool => "bool",
        T::Varchar(_) | T::CharVarying(_) | T::CharacterVarying(_) | T::Nvarchar(_) | T::String(_) => "varchar",
        T::Char(_) | T::Character(_) => "bpchar",
        T::Text => "text",
        T::Date => "date",
        T::Time(_, ast::TimezoneInfo::WithTimeZone | ast::TimezoneInfo::Tz) => "timetz",
        T::Time(..) => "time",
        T::Timestamp(_, ast::TimezoneInfo::WithTimeZone | ast::TimezoneInfo::Tz) => "timestamptz",
        T::Timestamp(..) => "timestamp",
        T::Interval { .. } => "interval",
        T::Custom(name, _) => {
            let last = name.0.last().and_then(ObjectNamePart::as_ident);
            return last.map_or_else(|| UNKNOWN.to_string(), fold);
        }
        other => return other.to_string().to_lowercase(),
    };
    name.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse_query;

    fn names(sql: &str) -> Vec<String> {
        let mut query = parse_query(sql).unwrap();
        name_columns(&mut query);
        let mut set = query.body.as_ref();
        loop {
            match set {
                SetExpr::Select(select) => {
                    let name = |item| column(item).map_or("*".into(), |c| c.name);
                    return select.projection.iter().map(name).collect();
                }
                SetExpr::SetOperation { left, .. } => set = left,
                SetExpr::Query(inner) => set = &inner.body,
                _ => panic!("{sql}"),
            }
        }
    }

    /// Names as PostgreSQL 15 gives them.
    #[test]
    fn one_column() {
        for (expr, expected) in [
            ("a", "a"),
            ("t.A", "a"),
            ("\"A\"", "A"),
            ("a AS b", "b"),
            ("count(*)", "count"),
            ("sum(a) FILTER (WHERE a > 1)", "sum"),
            ("row_number() OVER (ORDER BY a)", "row_number"),
            ("pg_catalog.lower(s)", "lower"),
            ("LOWER(s)", "lower"),
            ("1 + 1", "?column?"),
            ("-a", "?column?"),
            ("(a)", "a"),
            ("'x'", "?column?"),
            ("NULL", "?column?"),
            ("true", "?column?"),
            ("a = 1", "?column?"),
            ("a IS NULL", "?column?"),
            ("NOT b", "?column?"),
            ("a::int", "a"),
            ("CAST(a AS bigint)", "a"),
            ("1::int", "int4"),
            ("'1'::bigint", "int8"),
            ("(a + 1)::smallint", "int2"),
            ("'{1}'::int[]", "int4"),
            ("lower(s)::varchar", "lower"),
            ("'x'::varchar(3)", "varchar"),
            ("DATE '2020-01-01'", "date"),
            ("INTERVAL '1 day'", "interval"),
            ("'now'::timestamptz", "timestamptz"),
            ("CASE WHEN a > 1 THEN 1 END", "case"),
            ("CASE WHEN a > 1 THEN 1 ELSE a END", "a"),
            ("CASE WHEN a > 1 THEN 1 ELSE 2 END", "case"),
            ("coalesce(a, 1)", "coalesce"),
            ("nullif(a, 1)", "nullif"),
            ("greatest(a, 1)", "greatest"),
            ("extract(year FROM ts)", "extract"),
            ("trim(s)", "btrim"),
            ("trim(LEADING 'x' FROM s)", "ltrim"),
            ("substring(s FROM 2)", "substring"),
            ("position('a' IN s)", "position"),
            ("ARRAY[1, 2]", "array"),
            ("arr[1]", "arr"),
            ("EXISTS (SELECT 1)", "exists"),
            ("(SELECT max(a) FROM t)", "max"),
            ("a IN (SELECT 1)", "?column?"),
            ("current_user", "current_user"),
            ("current_timestamp", "current_timestamp"),
            ("now()", "now"),
            ("ts AT TIME ZONE 'UTC'", "timezone"),
        ] {
            assert_eq!(names(&format!("SELECT {expr} FROM t")), [expected], "{expr}");
        }
    }

    #[test]
    fn names_that_are_there_already_are_marked() {
        let got = names("SELECT 1, 2, count(*), a::int, a, a, b AS a, current_schema FROM t");
        let shown: Vec<_> = got.iter().map(|name| shown(name)).collect();
        assert_eq!(shown, ["?column?", "?column?", "count", "a", "a", "a", "a", "current_schema"]);
        assert_eq!(got.iter().collect::<BTreeSet<_>>().len(), 8);
        assert_eq!(got[4], "a", "the query's own name is kept");
        assert_eq!(unmarked(&format!("Projection: {}, x", got[1])), "Projection: ?column?, x");
        // What a star holds is not known.
        assert_ne!(names("SELECT *, a::int FROM t")[1], "a");
        assert_eq!(super::shown(&names("SELECT *, a::int FROM t")[1]), "a");
    }

    #[test]
    fn nested_queries_are_named_too() {
        for (sql, expected) in [
            ("SELECT count FROM (SELECT count(*) FROM t) s", "AS \"count\" FROM t) s"),
            ("WITH c AS (SELECT max(a) FROM t) SELECT max FROM c", "AS \"max\" FROM t)"),
            ("SELECT DISTINCT a + 1 FROM t ORDER BY a + 1", "ORDER BY \"?column?\""),
            ("SELECT v::text FROM t ORDER BY v", "AS \"v\" FROM t ORDER BY v"),
            ("SELECT v::text FROM t ORDER BY t.v", "AS \"v\u{1}0\" FROM t ORDER BY t.v"),
            ("SELECT v::text FROM t ORDER BY v, abs(a)", "ORDER BY \"v\u{1}0\", abs(a)"),
            ("SELECT *, count(*) OVER () FROM t ORDER BY count", "ORDER BY \"count\u{1}1\""),
            ("SELECT 1 UNION ALL SELECT 2", "SELECT 1 AS \"?column?\" UNION"),
            ("SELECT x FROM t JOIN (SELECT abs(a) FROM u) v ON true", "AS \"abs\" FROM u) v"),
        ] {
            let mut query = parse_query(sql).unwrap();
            name_columns(&mut query);
            assert!(query.to_string().contains(expected), "{query}");
        }
    }
}
