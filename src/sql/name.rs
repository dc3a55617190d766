//! Names of objects and columns as SQL writes them: folded to lower case unless quoted, all in schema `public`.

use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::ast::{
    self, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart,
};
use super::dialect::DIALECT;
use crate::common::{Error, ErrorKind, Result};

/// The one database and the one schema of users' objects.
const DATABASE: &str = "dev";
const SCHEMA: &str = "public";
/// What the session's own tables can be named with.
pub const TEMPORARY: &str = "pg_temp";
/// Schemas of the server's own tables.
const SERVERS: [&str; 3] = ["weir", "pg_catalog", "information_schema"];

/// An identifier as the catalog keeps it.
pub fn fold(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The object's own name out of `x`, `public.x` or `dev.public.x`.
///
/// # Errors
/// `UndefinedSchema` for another schema, `NotSupported` for another database.
pub fn object_name(name: &ObjectName) -> Result<String> {
    let parts = parts(name)?;
    match parts.as_slice() {
        [object] => Ok(object.clone()),
        [schema, object] if schema == SCHEMA || schema == TEMPORARY => Ok(object.clone()),
        [database, schema, object] if database == DATABASE && schema == SCHEMA => Ok(object.clone()),
        [schema, _] | [_, schema, _] if SERVERS.contains(&schema.as_str()) => Err(Error::new(
            ErrorKind::WrongObjectType,
            format!("\"{}\" belongs to the server: it can only be read", shown(&parts)),
        )
        .with_hint("SELECT from it; objects of your own live in schema public")),
        [schema, _] | [_, schema, _] if schema != SCHEMA => {
            Err(Error::new(ErrorKind::UndefinedSchema, format!("schema \"{schema}\" does not exist"))
                .with_hint("all objects live in schema public: leave the schema out"))
        }
        _ => Err(Error::not_supported(format!("cross-database references are not implemented: {name}"))
            .with_hint("the one database is dev: leave the database out")),
    }
}

/// As a user writes it: without the one database.
fn shown(parts: &[String]) -> String {
    let parts = if parts.len() == 3 { parts.get(1..).unwrap_or(parts) } else { parts };
    parts.join(".")
}

/// Every part of a dotted name, folded.
pub fn parts(name: &ObjectName) -> Result<Vec<String>> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => Ok(fold(ident)),
            ObjectNamePart::Function(_) => Err(Error::new(ErrorKind::Syntax, format!("{name} is not a name"))),
        })
        .collect()
}

/// A name as SQL text must write it so that it is read back as it is.
pub fn quote(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// A call of a function.
pub fn call(name: &str, args: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The names that `text` gives with their schema, in pairs with it; what is in strings or comments is none.
pub fn qualified(text: &str) -> Vec<(String, String)> {
    let Ok(tokens) = Tokenizer::new(&DIALECT, text).tokenize() else { return Vec::new() };
    let tokens: Vec<Token> = tokens.into_iter().filter(|t| !matches!(t, Token::Whitespace(_))).collect();
    let word = |token: &Token| match token {
        Token::Word(word) => Some(match word.quote_style {
            Some(_) => word.value.clone(),
            None => word.value.to_lowercase(),
        }),
        _ => None,
    };
    let pair = |window: &[Token]| match window {
        [schema, Token::Period, name] => Some((word(schema)?, word(name)?)),
        _ => None,
    };
    tokens.windows(3).filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_their_schemas() {
        let pairs = qualified("SELECT a.b, 'x.y' FROM dev.Public.\"T\" -- c.d\n JOIN pg_temp . u");
        let pairs: Vec<_> = pairs.iter().map(|(s, n)| format!("{s}/{n}")).collect();
        assert_eq!(pairs, ["a/b", "dev/public", "public/T", "pg_temp/u"]);
        assert!(qualified("SELECT 'open").is_empty());
    }
}
