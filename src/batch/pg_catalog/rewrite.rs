//! PostgreSQL clients' queries as DataFusion can plan them.
//!
//! Every query gets what only changes the spelling (`pg_catalog.f(x)`, `OPERATOR(pg_catalog.~)`, `'t'::regclass`,
//! `current_user`). A query that reads `pg_catalog` gets more, which holds on the catalogs alone: a subquery there finds
//! one row at most, and arrays of privileges and options are empty.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_pg_catalog::sql::rules::{
    AliasDuplicatedProjectionRewrite, CurrentUserVariableToSessionUserFunctionCall, FixArrayLiteral,
    ResolveUnqualifiedIdentifier, RewriteArrayAnyAllOperation, RewritePgCatalogOperator, RewriteRegCastToSubquery,
    SqlStatementRewriteRule, StripCallableQualifier, StripCollate,
};

use crate::expr::functions;
use crate::sql::ast::{
    self, BinaryOperator, Expr, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, ObjectName,
    ObjectNamePart, Query, Select, SelectItem, SetExpr, Statement, TableFactor, Value, VisitMut, VisitorMut,
};
use crate::sql::name::call;

use super::sequences::PARAMETER;
use super::vectors::Vectors;

const SCHEMA: &str = "pg_catalog";

type Rules = Vec<Box<dyn SqlStatementRewriteRule>>;

static SPELLING: LazyLock<Rules> = LazyLock::new(|| {
    vec![
        Box::new(StripCallableQualifier),
        Box::new(CurrentUserVariableToSessionUserFunctionCall),
        Box::new(RewritePgCatalogOperator),
        Box::new(RewriteRegCastToSubquery::new()),
    ]
});

static CATALOG: LazyLock<Rules> = LazyLock::new(|| {
    vec![
        Box::new(AliasDuplicatedProjectionRewrite),
        Box::new(ResolveUnqualifiedIdentifier),
        Box::new(RewriteArrayAnyAllOperation),
        Box::new(FixArrayLiteral),
        Box::new(StripCollate),
    ]
});

static PARSER: LazyLock<PostgresCompatibilityParser> = LazyLock::new(PostgresCompatibilityParser::new);

/// The crate knows some tools' queries as a whole and has another query for each. `None` for all others.
pub fn known(text: &str, query: &Query) -> Option<Box<Query>> {
    if !text.contains("pg_") {
        return None;
    }
    let mut statements = PARSER.parse(text).ok()?;
    let (Some(Statement::Query(theirs)), true) = (statements.pop(), statements.is_empty()) else { return None };
    let rewritten = PARSER.rewrite(Statement::Query(Box::new(query.clone())));
    (rewritten.to_string() != theirs.to_string()).then_some(theirs)
}

/// Rewrites `query` in place. `is_catalog` tells the tables that a name without a schema finds in `pg_catalog`.
pub fn rewrite(query: &mut Query, is_catalog: &dyn Fn(&str) -> bool) {
    let mut names = Names { is_catalog, found: false };
    let _ = query.visit(&mut names);
    if names.found {
        let _ = query.visit(&mut Subqueries);
        let _ = query.visit(&mut Vectors);
        apply(&CATALOG, query);
    }
    let _ = query.visit(&mut Exists);
    show_names(query);
    let _ = query.visit(&mut RelationNames);
    let _ = query.visit(&mut TypeFunctions);
    let _ = query.visit(&mut SessionUser);
    apply(&SPELLING, query);
}

fn apply(rules: &Rules, query: &mut Query) {
    let mut statement = Statement::Query(Box::new(query.clone()));
    for rule in rules {
        statement = rule.rewrite(statement);
    }
    if let Statement::Query(rewritten) = statement {
        *query = *rewritten;
    }
}

/// The crate's rule makes `current_user` a call of `session_user()`: the real one goes by another name.
struct SessionUser;

impl VisitorMut for SessionUser {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(call) = expr
            && let [ObjectNamePart::Identifier(name)] = call.name.0.as_mut_slice()
            && name.value.eq_ignore_ascii_case("session_user")
        {
            name.value = super::functions::SESSION_USER.to_string();
            let none = FunctionArgumentList { duplicate_treatment: None, args: Vec::new(), clauses: Vec::new() };
            call.args = FunctionArguments::List(none);
        }
        ControlFlow::Continue(())
    }
}

/// Puts the schema before the names of catalog tables.
struct Names<'a> {
    is_catalog: &'a dyn Fn(&str) -> bool,
    found: bool,
}

impl VisitorMut for Names<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name: ObjectName(parts), args: None, .. } = table {
            match parts.as_slice() {
                [ObjectNamePart::Identifier(table)] if (self.is_catalog)(&table.value.to_lowercase()) => {
                    parts.insert(0, ObjectNamePart::Identifier(Ident::new(SCHEMA)));
                    self.found = true;
                }
                [ObjectNamePart::Identifier(schema), _] => {
                    self.found |= schema.value.eq_ignore_ascii_case(SCHEMA);
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

/// EXISTS can be planned in WHERE only; among the columns it becomes a count.
struct Exists;

impl VisitorMut for Exists {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = query.body.as_mut() {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                    let _ = ast::visit_expressions_mut(expr, |e| {
                        if let Expr::Exists { subquery, negated } = e {
                            let op = if *negated { BinaryOperator::Eq } else { BinaryOperator::Gt };
                            if let Some(compared) = count_compared(subquery, op) {
                                *e = compared;
                            }
                        }
                        ControlFlow::<()>::Continue(())
                    });
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// Ids that are shown are shown as names: `x::regclass` among the columns of the result.
fn show_names(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
            && let Some(shown) = as_name(expr)
        {
            *expr = shown;
        }
    }
}

fn as_name(expr: &Expr) -> Option<Expr> {
    let Expr::Cast { expr, data_type, .. } = expr else { return None };
    let name = data_type.to_string().to_lowercase();
    match name.trim_start_matches("pg_catalog.") {
        "text" | "varchar" => as_name(expr),
        "regclass" if is_text(expr) => Some(call("regclassout", vec![call("regclassin", vec![expr.as_ref().clone()])])),
        // The name stays a name.
        _ if matches!(expr.as_ref(), Expr::Value(_)) => None,
        name @ ("regclass" | "regnamespace" | "regproc" | "regrole" | "regtype") => {
            Some(call(&format!("{name}out"), vec![expr.as_ref().clone()]))
        }
        _ => None,
    }
}

/// `expr::regclass` of an expression, which may give a name or an id, and `id::regclass::text`, a name.
struct RelationNames;

impl VisitorMut for RelationNames {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Cast { expr: inner, data_type, .. } = expr else { return ControlFlow::Continue(()) };
        match type_name(data_type).as_str() {
            "text" | "varchar" => {
                if let Expr::Cast { expr: id, data_type, .. } = inner.as_ref()
                    && type_name(data_type) == "regclass"
                    && !matches!(id.as_ref(), Expr::Value(_))
                {
                    *expr = call("regclassout", vec![id.as_ref().clone()]);
                }
            }
            "regclass" if is_text(inner) || !matches!(inner.as_ref(), Expr::Value(_)) => {
                *expr = call("regclassin", vec![inner.as_ref().clone()]);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// `typinput = 'pg_catalog.array_in'::regproc`: the functions of a type are names in `pg_type`.
struct TypeFunctions;

impl VisitorMut for TypeFunctions {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::BinaryOp { left, op: BinaryOperator::Eq | BinaryOperator::NotEq, right } = expr {
            name_function(left, right);
            name_function(right, left);
        }
        ControlFlow::Continue(())
    }
}

fn name_function(column: &Expr, function: &mut Expr) {
    if is_type_function(column)
        && let Expr::Cast { expr: name, data_type, .. } = &*function
        && type_name(data_type) == "regproc"
        && let Expr::Value(name) = name.as_ref()
        && let Value::SingleQuotedString(name) = &name.value
    {
        let name = name.strip_prefix("pg_catalog.").unwrap_or(name).to_string();
        *function = Expr::value(Value::SingleQuotedString(name));
    }
}

fn is_type_function(expr: &Expr) -> bool {
    let name = match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(names) => names.last(),
        _ => None,
    };
    let functions = ["typinput", "typoutput", "typreceive", "typsend", "typmodin", "typmodout", "typanalyze"];
    name.is_some_and(|name| functions.iter().any(|f| name.value.eq_ignore_ascii_case(f)))
}

fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(v) if matches!(v.value, Value::SingleQuotedString(_)))
}

fn type_name(data_type: &ast::DataType) -> String {
    let name = data_type.to_string().to_lowercase();
    name.strip_prefix("pg_catalog.").unwrap_or(&name).to_string()
}

/// `ARRAY(SELECT …)` becomes an empty array, a scalar subquery one that DataFusion can join.
struct Subqueries;

impl VisitorMut for Subqueries {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let new = match expr {
            Expr::Function(f) if matches!(f.args, FunctionArguments::Subquery(_)) => empty_array(),
            Expr::Case { operand: None, conditions, else_result, .. }
                if conditions.iter().all(|when| never_holds(&when.condition)) =>
            {
                else_result.as_deref().cloned().unwrap_or_else(null)
            }
            Expr::Case { conditions, .. } if conditions.iter().any(|when| is_json(&when.result)) => {
                as_json(expr.clone())
            }
            Expr::Subquery(query) => match of_sequence(query).or_else(|| one_row(query)) {
                Some(new) => new,
                None => return ControlFlow::Continue(()),
            },
            _ => return ControlFlow::Continue(()),
        };
        *expr = new;
        ControlFlow::Continue(())
    }
}

/// `t.typtype = 'd'`, or `'c'`: nobody can make a domain or a composite type, and what is asked of them is more than
/// DataFusion can answer.
fn never_holds(condition: &Expr) -> bool {
    let (left, op, right) = match condition {
        Expr::Nested(inner) => return never_holds(inner),
        Expr::BinaryOp { left, op, right } => (left, op, right),
        _ => return false,
    };
    let column = match left.as_ref() {
        Expr::Identifier(name) => name,
        Expr::CompoundIdentifier(names) => match names.as_slice() {
            [.., column] => column,
            [] => return false,
        },
        _ => return false,
    };
    let kind = matches!(right.as_ref(), Expr::Value(v)
        if matches!(&v.value, Value::SingleQuotedString(kind) if kind == "d" || kind == "c"));
    match op {
        BinaryOperator::Eq => kind && column.value.eq_ignore_ascii_case("typtype"),
        _ => false,
    }
}

/// `(SELECT count(1) FROM …) op 0`; `None` when the rows cannot be counted by that.
fn count_compared(query: &Query, op: BinaryOperator) -> Option<Expr> {
    let mut query = Box::new(query.clone());
    query.order_by = None;
    let plain = query.limit_clause.is_none() && query.fetch.is_none() && query.with.is_none();
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let aggregates = select.projection.iter().any(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => contains_aggregate(expr),
        _ => false,
    });
    if !plain || aggregates || !is_ungrouped(select) || select.having.is_some() || select.from.is_empty() {
        return None;
    }
    select.distinct = None;
    select.projection = vec![SelectItem::UnnamedExpr(call("count", vec![number("1")]))];
    let count = Expr::Subquery(query);
    Some(Expr::BinaryOp { left: Box::new(count), op, right: Box::new(number("0")) })
}

fn number(digits: &str) -> Expr {
    Expr::Value(Value::Number(digits.into(), false).with_empty_span())
}

fn empty_array() -> Expr {
    cast(
        Expr::Array(ast::Array { elem: Vec::new(), named: true }),
        ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(Box::new(ast::DataType::Text), None)),
    )
}

fn null() -> Expr {
    cast(Expr::Value(Value::Null.with_empty_span()), ast::DataType::Text)
}

fn cast(expr: Expr, data_type: ast::DataType) -> Expr {
    Expr::Cast { kind: ast::CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

/// `(SELECT x FROM … WHERE …)` over tables as `(SELECT max(x) …)`: DataFusion must see that it is one row. Conditions on
/// the outer query alone go around it; one that compares both sides otherwise than by `=` makes it null.
fn one_row(query: &mut Query) -> Option<Expr> {
    if query.limit_clause.is_some() || query.fetch.is_some() {
        return None;
    }
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    if select.from.is_empty() || select.having.is_some() || !is_ungrouped(select) {
        return None;
    }
    let tables = tables(select);
    let [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }] =
        select.projection.as_mut_slice()
    else {
        return None;
    };
    if contains_aggregate(value) {
        return None;
    }
    *value = call("max", vec![value.clone()]);
    let mut guards = Vec::new();
    let mut kept = Vec::new();
    for condition in select.selection.take().map(conjuncts).unwrap_or_default() {
        if never_holds(&condition) {
            return Some(null());
        }
        match Side::of(&condition, &tables) {
            Side::Outer => guards.push(condition),
            Side::Both if !matches!(condition, Expr::BinaryOp { op: BinaryOperator::Eq, .. }) => return Some(null()),
            _ => kept.push(condition),
        }
    }
    select.selection = all(kept);
    let subquery = Expr::Subquery(Box::new(query.clone()));
    Some(match all(guards) {
        None => subquery,
        Some(condition) => Expr::Case {
            case_token: ast::helpers::attached_token::AttachedToken::empty(),
            end_token: ast::helpers::attached_token::AttachedToken::empty(),
            operand: None,
            conditions: vec![ast::CaseWhen { condition, result: subquery }],
            else_result: None,
        },
    })
}

/// `(SELECT e FROM pg_sequence WHERE seqrelid = x AND …)` as `CASE WHEN … THEN e END`, where e asks the sequence x: it may
/// name columns of the outer query, which no join of DataFusion's can follow.
fn of_sequence(query: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }] = select.projection.as_slice()
    else {
        return None;
    };
    let [from] = select.from.as_slice() else { return None };
    let TableFactor::Table { name, alias, .. } = &from.relation else { return None };
    let is_sequence = name.0.last()?.as_ident()?.value.eq_ignore_ascii_case("pg_sequence");
    let plain = query.limit_clause.is_none() && query.fetch.is_none() && select.having.is_none();
    if !is_sequence || !plain || !is_ungrouped(select) || contains_aggregate(value) {
        return None;
    }
    let table = alias.as_ref().map_or("pg_sequence", |alias| alias.name.value.as_str());
    let is_id = |expr: &Expr| own_field(expr, table).is_some_and(|field| field == "seqrelid");
    let class = match from.joins.as_slice() {
        [] => None,
        [join] => Some(its_class(join, table)?),
        _ => return None,
    };
    let (mut id, mut conditions) = (None, Vec::new());
    for condition in conjuncts(select.selection.clone()?) {
        // Of a sequence that always holds.
        if class.as_ref().is_some_and(|class| condition.to_string() == format!("{class}.relkind = 'S'")) {
            continue;
        }
        match condition {
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if id.is_none() && is_id(&left) => id = Some(*right),
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if id.is_none() && is_id(&right) => id = Some(*left),
            other => conditions.push(other),
        }
    }
    let id = id?;
    let field = |name: &str| call(PARAMETER, vec![id.clone(), Expr::value(Value::SingleQuotedString(name.into()))]);
    conditions.push(Expr::IsNotNull(Box::new(field("seqrelid"))));
    let mut value = value.clone();
    let mut condition = all(conditions)?;
    for expr in [&mut value, &mut condition] {
        let _ = ast::visit_expressions_mut(expr, |e| {
            if let Some(name) = own_field(e, table) {
                *e = match name.as_str() {
                    "seqcycle" => Expr::Nested(Box::new(Expr::BinaryOp {
                        left: Box::new(field(&name)),
                        op: BinaryOperator::Eq,
                        right: Box::new(number("1")),
                    })),
                    _ => field(&name),
                };
            }
            ControlFlow::<()>::Continue(())
        });
    }
    let is_json = value.to_string().starts_with("json_build_object(");
    let case = Expr::Case {
        case_token: ast::helpers::attached_token::AttachedToken::empty(),
        end_token: ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: vec![ast::CaseWhen { condition, result: value }],
        else_result: None,
    };
    Some(if is_json { as_json(case) } else { case })
}

/// CASE forgets that its results are more than text.
fn as_json(case: Expr) -> Expr {
    call(JSON, vec![case])
}

fn is_json(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(f) if f.name.0.last().and_then(ObjectNamePart::as_ident).is_some_and(|i| i.value == JSON))
}

/// What a cast to JSON stands for.
const JSON: &str = "json_in";

/// What `JOIN pg_class c ON s.seqrelid = c.oid` calls the sequence's own row there.
fn its_class(join: &ast::Join, table: &str) -> Option<String> {
    let (ast::JoinOperator::Join(on) | ast::JoinOperator::Inner(on)) = &join.join_operator else { return None };
    let ast::JoinConstraint::On(Expr::BinaryOp { left, op: BinaryOperator::Eq, right }) = on else { return None };
    let TableFactor::Table { name, alias, .. } = &join.relation else { return None };
    let is_class = name.0.last()?.as_ident()?.value.eq_ignore_ascii_case("pg_class");
    let class = alias.as_ref().map_or("pg_class", |alias| alias.name.value.as_str());
    let oid = |e: &Expr| {
        matches!(e, Expr::CompoundIdentifier(parts) if matches!(parts.as_slice(),
        [of, name] if of.value == class && name.value == "oid"))
    };
    let own = |e: &Expr| own_field(e, table).is_some_and(|field| field == "seqrelid");
    (is_class && (own(left) && oid(right) || oid(left) && own(right))).then(|| class.to_string())
}

/// The column of `pg_sequence`, which is called `table`, that an expression is.
fn own_field(expr: &Expr, table: &str) -> Option<String> {
    let name = match expr {
        Expr::Identifier(name) => name,
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., of, name] if of.value.eq_ignore_ascii_case(table) => name,
            _ => return None,
        },
        _ => return None,
    };
    Some(name.value.to_lowercase()).filter(|name| name.starts_with("seq"))
}

fn is_ungrouped(select: &Select) -> bool {
    matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty())
}

fn is_aggregate(expr: &Expr) -> bool {
    let Expr::Function(f) = expr else { return false };
    let name = f.name.0.last().and_then(ObjectNamePart::as_ident).map(|i| i.value.to_lowercase());
    f.over.is_none() && name.is_some_and(|name| functions::aggregate(&name).is_some())
}

fn contains_aggregate(expr: &Expr) -> bool {
    ast::visit_expressions(expr, |e| match is_aggregate(e) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    })
    .is_break()
}

/// What the tables of FROM are called in the query.
fn tables(select: &Select) -> BTreeSet<String> {
    let factors =
        select.from.iter().flat_map(|t| std::iter::once(&t.relation).chain(t.joins.iter().map(|j| &j.relation)));
    factors
        .filter_map(|factor| match factor {
            TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
                Some(alias.name.value.clone())
            }
            TableFactor::Table { name, .. } => Some(name.0.last()?.as_ident()?.value.clone()),
            _ => None,
        })
        .collect()
}

/// Whose columns a condition names. A name without a table is taken as one of the subquery's own.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Inner,
    Outer,
    Both,
}

impl Side {
    fn of(condition: &Expr, tables: &BTreeSet<String>) -> Self {
        let (mut inner, mut outer) = (false, false);
        let _ = ast::visit_expressions(condition, |e| {
            match e {
                Expr::Identifier(_) => inner = true,
                Expr::CompoundIdentifier(parts) => {
                    let table = parts.iter().rev().nth(1);
                    match table.is_some_and(|table| tables.contains(&table.value)) {
                        true => inner = true,
                        false => outer = true,
                    }
                }
                _ => {}
            }
            ControlFlow::<()>::Continue(())
        });
        match (inner, outer) {
            (false, true) => Self::Outer,
            (true, true) => Self::Both,
            (_, false) => Self::Inner,
        }
    }
}

fn conjuncts(condition: Expr) -> Vec<Expr> {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            let mut all = conjuncts(*left);
            all.extend(conjuncts(*right));
            all
        }
        Expr::Nested(inner) => conjuncts(*inner),
        other => vec![other],
    }
}

fn all(conditions: Vec<Expr>) -> Option<Expr> {
    conditions.into_iter().reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse_query;

    fn rewritten(sql: &str) -> String {
        let mut query = parse_query(sql).unwrap();
        rewrite(&mut query, &|table| table.starts_with("pg_"));
        query.to_string()
    }

    #[test]
    fn spelling_everywhere() {
        for (sql, expected) in [
            ("SELECT pg_catalog.lower(x) FROM t", "SELECT lower(x) FROM t"),
            ("SELECT current_user", "SELECT session_user"),
            ("SELECT a::regtype, a::regclass::text FROM t", "SELECT regtypeout(a), regclassout(a) FROM t"),
            ("SELECT a FROM t WHERE b::regtype = 5", "SELECT a FROM t WHERE b::regtype = 5"),
            (
                "SELECT EXISTS (SELECT b FROM u WHERE u.a = t.a) AS e FROM t",
                "SELECT (SELECT count(1) FROM u WHERE u.a = t.a) > 0 AS e FROM t",
            ),
            ("SELECT a OPERATOR(pg_catalog.~) 'x' FROM t", "SELECT a ~ 'x' FROM t"),
            ("SELECT oid FROM pg_class", "SELECT oid FROM pg_catalog.pg_class"),
        ] {
            assert_eq!(rewritten(sql), expected);
        }
    }

    #[test]
    fn what_holds_on_catalogs_alone_stays_there() {
        for sql in [
            "SELECT (SELECT u.b FROM u WHERE u.a = t.a) FROM t",
            "SELECT EXISTS (SELECT count(*) FROM u) FROM t",
            "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u)",
            "SELECT *, price FROM current_prices AS p",
            "SELECT 'pg_class' FROM t",
        ] {
            assert_eq!(rewritten(sql), sql);
        }
    }

    #[test]
    fn subqueries_on_catalogs() {
        for (sql, expected) in [
            (
                "SELECT ARRAY(SELECT rolname FROM pg_roles) FROM pg_class",
                "SELECT CAST(ARRAY[] AS TEXT[]) FROM pg_catalog.pg_class",
            ),
            (
                "SELECT (SELECT d.adbin FROM pg_attrdef d WHERE d.adrelid = a.attrelid AND a.atthasdef) FROM pg_attribute a",
                "SELECT CASE WHEN a.atthasdef THEN (SELECT max(d.adbin) FROM pg_catalog.pg_attrdef d \
                 WHERE d.adrelid = a.attrelid) END FROM pg_catalog.pg_attribute a",
            ),
            (
                "SELECT (SELECT c.collname FROM pg_collation c WHERE a.x <> c.y) FROM pg_attribute a",
                "SELECT CAST(NULL AS TEXT) FROM pg_catalog.pg_attribute a",
            ),
            (
                "SELECT NOT EXISTS (SELECT x FROM pg_class c WHERE c.oid = t.oid) FROM pg_type t",
                "SELECT (SELECT count(1) FROM pg_catalog.pg_class c WHERE c.oid = t.oid) = 0 FROM pg_catalog.pg_type t",
            ),
            (
                "SELECT (SELECT q.seqmin + a.b FROM pg_sequence q WHERE a.b <> 1 AND q.seqrelid = a.c) FROM pg_attribute a",
                "SELECT CASE WHEN a.b <> 1 AND _sequence_parameter(a.c, 'seqrelid') IS NOT NULL \
                 THEN _sequence_parameter(a.c, 'seqmin') + a.b END FROM pg_catalog.pg_attribute a",
            ),
            (
                "SELECT (SELECT s.seqmin FROM pg_sequence s JOIN pg_class c ON s.seqrelid = c.\"oid\" \
                 WHERE c.relkind = 'S' AND s.seqrelid = a.c) FROM pg_attribute a",
                "SELECT CASE WHEN _sequence_parameter(a.c, 'seqrelid') IS NOT NULL \
                 THEN _sequence_parameter(a.c, 'seqmin') END FROM pg_catalog.pg_attribute a",
            ),
            (
                "SELECT (SELECT count(*) FROM pg_class) FROM pg_type",
                "SELECT (SELECT count(*) FROM pg_catalog.pg_class) FROM pg_catalog.pg_type",
            ),
        ] {
            assert_eq!(rewritten(sql), expected);
        }
    }
}
