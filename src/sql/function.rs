//! Functions in SQL: `CREATE FUNCTION … LANGUAGE sql`, and their calls, which become their bodies.
//!
//! ```text
//! f(x, 1)  -->  CAST((body with (CAST(x AS type)) for its first parameter, …) AS type)
//! ```
//! A body is one expression. It is kept with the calls in it already replaced, so that nothing depends on a function.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, ObjectName, ObjectNamePart, Query,
    SelectItem, SetExpr, Value, VisitMut, VisitorMut,
};
use super::cursor::Cursor;
use super::name::{fold, object_name};
use super::statement::{CreateFunction, Statement};
use super::{parse_expr, parse_query, types};
use crate::common::{Error, ErrorKind, Result};
use crate::types::sql_function::{Parameter, SqlFunction};

/// What follows `CREATE [OR REPLACE] FUNCTION`.
pub(super) fn create(c: &mut Cursor, or_replace: bool) -> Result<Statement> {
    let name = c.object_name()?;
    let parameters = parameters(c)?;
    c.expect(&["RETURNS"])?;
    if c.at("TABLE") || c.at("SETOF") {
        return Err(c
            .not_supported("functions that return rows are not supported")
            .with_hint("make a view, and filter it where it is read"));
    }
    let returns = data_type(c)?;
    let (mut strict, mut body) = (false, None);
    while !c.at_end() {
        if c.take(&["LANGUAGE"]) {
            language(c)?;
        } else if c.take(&["STRICT"]) || c.take(&["RETURNS", "NULL", "ON", "NULL", "INPUT"]) {
            strict = true;
        } else if c.take(&["AS"]) {
            let query = parse_query(&text(c)?)?;
            body = Some(body_of(&query)?);
        } else if c.take(&["RETURN"]) {
            body = Some(c.with(Parser::parse_expr)?);
        } else if !property(c)? {
            return Err(c.unexpected("LANGUAGE sql, IMMUTABLE, STRICT, AS '…' or RETURN"));
        }
    }
    let Some(mut body) = body else {
        return Err(c.unexpected("AS 'SELECT …' or RETURN"));
    };
    check_body(&mut body, &name)?;
    let function = SqlFunction { name, parameters, returns, strict, body: body.to_string() };
    Ok(Statement::CreateFunction(CreateFunction { or_replace, function }))
}

/// `([name] type [DEFAULT value], …)`.
fn parameters(c: &mut Cursor) -> Result<Vec<Parameter>> {
    c.expect_token(&Token::LParen)?;
    let mut parameters: Vec<Parameter> = Vec::new();
    while !c.take_token(&Token::RParen) {
        if !parameters.is_empty() {
            c.expect_token(&Token::Comma)?;
        }
        c.take(&["IN"]);
        // A type alone, or a name and a type.
        let ends = |t: &Token| matches!(t, Token::Comma | Token::RParen | Token::LParen | Token::Eq | Token::EOF);
        let alone = ends(c.peek_nth(1))
            || super::cursor::is_word(c.peek_nth(1), "DEFAULT")
            || c.at("DOUBLE") && super::cursor::is_word(c.peek_nth(1), "PRECISION");
        let name = if alone { None } else { Some(c.ident()?) };
        let data_type = data_type(c)?;
        let default = match c.take(&["DEFAULT"]) || c.take_token(&Token::Eq) {
            true => Some(c.with(Parser::parse_expr)?.to_string()),
            false => None,
        };
        if default.is_none() && parameters.last().is_some_and(|p| p.default.is_some()) {
            return Err(Error::new(
                ErrorKind::InvalidDefinition,
                "input parameters after one with a default value must also have defaults",
            )
            .with_hint("put those with defaults last"));
        }
        if name.is_some() && parameters.iter().any(|p| p.name == name) {
            let name = name.unwrap_or_default();
            return Err(Error::new(
                ErrorKind::InvalidDefinition,
                format!("parameter name \"{name}\" used more than once"),
            )
            .with_hint("give one of them another name"));
        }
        parameters.push(Parameter { name, data_type, default });
    }
    Ok(parameters)
}

fn data_type(c: &mut Cursor) -> Result<String> {
    let at = c.position();
    let data_type = c.with(Parser::parse_data_type)?;
    types::arrow(&data_type).map_err(|e| e.with_position(at))?;
    Ok(data_type.to_string())
}

fn language(c: &mut Cursor) -> Result<()> {
    let at = c.position();
    let name = match c.peek().token {
        Token::SingleQuotedString(_) => c.string()?,
        _ => c.ident()?,
    };
    match name.eq_ignore_ascii_case("sql") {
        true => Ok(()),
        false => Err(Error::not_supported(format!("language \"{name}\" is not supported"))
            .with_hint("write the function in SQL: LANGUAGE sql")
            .with_position(at)),
    }
}

/// What says nothing of a body that is put in where it is called.
fn property(c: &mut Cursor) -> Result<bool> {
    const WORDS: &[&[&str]] = &[
        &["IMMUTABLE"],
        &["STABLE"],
        &["VOLATILE"],
        &["CALLED", "ON", "NULL", "INPUT"],
        &["LEAKPROOF"],
        &["SECURITY", "INVOKER"],
        &["PARALLEL", "SAFE"],
        &["PARALLEL", "RESTRICTED"],
        &["PARALLEL", "UNSAFE"],
    ];
    if c.take(&["COST"]) {
        c.next();
        return Ok(true);
    }
    Ok(WORDS.iter().any(|words| c.take(words)))
}

/// The body between quotes or dollars.
fn text(c: &mut Cursor) -> Result<String> {
    match c.peek().token.clone() {
        Token::DollarQuotedString(text) => {
            c.next();
            Ok(text.value)
        }
        _ => c.string(),
    }
    .map(|text| text.trim().trim_end_matches(';').to_string())
}

/// The expression of `SELECT expression`.
fn body_of(query: &Query) -> Result<Expr> {
    let unfit = || {
        Error::not_supported("the body of a function must be SELECT and one expression over its parameters")
            .with_hint("a query over tables is a view: CREATE VIEW")
    };
    let SetExpr::Select(select) = query.body.as_ref() else { return Err(unfit()) };
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let more = query.with.is_some() || query.limit_clause.is_some() || query.order_by.is_some();
    if more || grouped || !select.from.is_empty() || select.selection.is_some() || select.having.is_some() {
        return Err(unfit());
    }
    match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] => Ok(expr.clone()),
        _ => Err(unfit()),
    }
}

/// No subqueries, and no call of the function itself.
fn check_body(body: &mut Expr, name: &str) -> Result<()> {
    struct Check<'n>(&'n str);
    impl VisitorMut for Check<'_> {
        type Break = Error;

        fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
            ControlFlow::Break(
                Error::not_supported("a subquery in the body of a function is not supported")
                    .with_hint("join with it where the function is called"),
            )
        }

        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
            match expr {
                Expr::Function(f) if called(&f.name).is_some_and(|name| name == self.0) => ControlFlow::Break(
                    Error::not_supported(format!("function \"{}\" calls itself", self.0))
                        .with_hint("a function is put in where it is called: it cannot be recursive"),
                ),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    match body.visit(&mut Check(name)) {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Which function of this name there is.
pub type Functions<'a> = &'a dyn Fn(&str) -> Option<SqlFunction>;

/// Puts the bodies of functions in where they are called.
///
/// # Errors
/// `UndefinedFunction` for a call whose arguments do not fit.
pub fn inline<T: VisitMut>(node: &mut T, functions: Functions<'_>) -> Result<()> {
    match node.visit(&mut Inliner { functions }) {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// The body with `arguments` for the parameters, one each.
///
/// # Errors
/// `Syntax` for stored text that cannot be read.
pub fn call(function: &SqlFunction, arguments: Vec<Expr>) -> Result<Expr> {
    let mut values = Vec::with_capacity(arguments.len());
    for (argument, parameter) in arguments.into_iter().zip(&function.parameters) {
        values.push(cast(argument, &parameter.data_type)?);
    }
    let mut body = parse_expr(&function.body)?;
    let _ = body.visit(&mut Bind { function, values: &values });
    let mut result = cast(Expr::Nested(Box::new(body)), &function.returns)?;
    if function.strict && !values.is_empty() {
        let nulls = values.iter().cloned().map(|v| Expr::IsNull(Box::new(v)));
        let any = nulls.reduce(|a, b| Expr::BinaryOp {
            left: Box::new(a),
            op: super::ast::BinaryOperator::Or,
            right: Box::new(b),
        });
        let mut template = parse_expr("CASE WHEN true THEN NULL ELSE NULL END")?;
        if let (Expr::Case { conditions, else_result, .. }, Some(any)) = (&mut template, any) {
            conditions.iter_mut().for_each(|when| when.condition = any.clone());
            *else_result = Some(Box::new(result));
        }
        result = Expr::Nested(Box::new(template));
    }
    Ok(result)
}

/// `CAST(expr AS type)`.
fn cast(to: Expr, data_type: &str) -> Result<Expr> {
    let mut template = parse_expr(&format!("CAST(NULL AS {data_type})"))?;
    if let Expr::Cast { expr, .. } = &mut template {
        **expr = to;
    }
    Ok(template)
}

/// The folded name of a function of the users' schema.
fn called(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Some(fold(ident)),
        [_, _] => object_name(name).ok(),
        _ => None,
    }
}

struct Inliner<'a> {
    functions: Functions<'a>,
}

impl VisitorMut for Inliner<'_> {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::Function(f) = expr else { return ControlFlow::Continue(()) };
        let Some(function) = called(&f.name).and_then(|name| (self.functions)(&name)) else {
            return ControlFlow::Continue(());
        };
        match arguments(f, &function).and_then(|arguments| call(&function, arguments)) {
            Ok(body) => *expr = body,
            Err(e) => return ControlFlow::Break(e),
        }
        ControlFlow::Continue(())
    }
}

/// The arguments of a call in the order of the parameters, defaults filled in.
fn arguments(f: &Function, function: &SqlFunction) -> Result<Vec<Expr>> {
    let misfit = |what: String| {
        Error::new(ErrorKind::UndefinedFunction, what).with_hint(format!(
            "it is {}({})",
            function.name,
            function.arguments()
        ))
    };
    let plain = f.over.is_none() && f.filter.is_none() && f.within_group.is_empty();
    let list = match &f.args {
        FunctionArguments::List(list) if plain && list.duplicate_treatment.is_none() && list.clauses.is_empty() => {
            list.args.as_slice()
        }
        FunctionArguments::None if plain => &[],
        _ => return Err(misfit(format!("function {} is no aggregate", function.name))),
    };
    let mut given: Vec<Option<Expr>> = vec![None; function.parameters.len()];
    for (position, argument) in list.iter().enumerate() {
        let (place, value) = match argument {
            FunctionArg::Unnamed(value) => (Some(position), value),
            FunctionArg::Named { name, arg, .. } | FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => {
                let name = fold(name);
                (function.parameters.iter().position(|p| p.name.as_ref() == Some(&name)), arg)
            }
            FunctionArg::ExprNamed { .. } => (None, &FunctionArgExpr::Wildcard),
        };
        let FunctionArgExpr::Expr(value) = value else {
            return Err(misfit(format!("function {} does not take that argument", function.name)));
        };
        match place.and_then(|place| given.get_mut(place)) {
            Some(place) if place.is_none() => *place = Some(value.clone()),
            _ => {
                return Err(misfit(format!(
                    "function {} with these {} arguments does not exist",
                    function.name,
                    list.len()
                )));
            }
        }
    }
    let filled =
        given.into_iter().zip(&function.parameters).map(|(value, parameter)| match (value, &parameter.default) {
            (Some(value), _) => Ok(value),
            (None, Some(default)) => parse_expr(default),
            (None, None) => {
                Err(misfit(format!("function {} with these {} arguments does not exist", function.name, list.len())))
            }
        });
    filled.collect()
}

/// Puts values in for the parameters of a body.
struct Bind<'a> {
    function: &'a SqlFunction,
    values: &'a [Expr],
}

impl Bind<'_> {
    fn value(&self, expr: &Expr) -> Option<&Expr> {
        let named = |name: String| self.function.parameters.iter().position(|p| p.name.as_ref() == Some(&name));
        let at = match expr {
            Expr::Identifier(ident) => named(fold(ident))?,
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [function, parameter] if fold(function) == self.function.name => named(fold(parameter))?,
                _ => return None,
            },
            Expr::Value(value) => match &value.value {
                Value::Placeholder(number) => number.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)?,
                _ => return None,
            },
            _ => return None,
        };
        self.values.get(at)
    }
}

impl VisitorMut for Bind<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(value) = self.value(expr) {
            *expr = value.clone();
        }
        ControlFlow::Continue(())
    }
}
