//! `CREATE SECRET [IF NOT EXISTS] name [WITH (backend = 'meta')] AS 'value'`, `ALTER SECRET`, `DROP SECRET`. A value is a
//! string literal, so that no error ever shows a part of it.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::options::{options, plain};
use super::statement::{Password, Statement};
use crate::common::{Error, ErrorKind, Result};

/// After `CREATE SECRET`.
pub(super) fn create(c: &mut Cursor) -> Result<Statement> {
    let if_not_exists = c.take(&["IF", "NOT", "EXISTS"]);
    let name = c.object_name()?;
    backend(c)?;
    Ok(Statement::CreateSecret { name, if_not_exists, value: value(c)? })
}

/// After `ALTER SECRET`.
pub(super) fn alter(c: &mut Cursor) -> Result<Statement> {
    let name = c.object_name()?;
    backend(c)?;
    Ok(Statement::AlterSecret { name, value: value(c)? })
}

/// After `DROP SECRET`.
pub(super) fn drop_secrets(c: &mut Cursor) -> Result<Statement> {
    let if_exists = c.take(&["IF", "EXISTS"]);
    let mut names = vec![c.object_name()?];
    while c.take_token(&Token::Comma) {
        names.push(c.object_name()?);
    }
    if !c.take(&["CASCADE"]) {
        c.take(&["RESTRICT"]);
    }
    Ok(Statement::DropSecret { if_exists, names })
}

/// RisingWave names where the value is kept: there is one place.
fn backend(c: &mut Cursor) -> Result<()> {
    let at = c.position();
    for (key, value) in plain(options(c)?)? {
        if key != "backend" || value != "meta" {
            return Err(Error::not_supported(format!("option \"{key}\" of a secret cannot be '{value}'"))
                .with_hint("leave WITH out, or write WITH (backend = 'meta'): the catalog keeps the value")
                .with_position(at));
        }
    }
    Ok(())
}

fn value(c: &mut Cursor) -> Result<Password> {
    c.expect(&["AS"])?;
    let value = match &c.peek().token {
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text.clone(),
        Token::DollarQuotedString(text) => text.value.clone(),
        _ => return Err(wrong(c)),
    };
    c.next();
    if c.at_end() { Ok(Password(value)) } else { Err(wrong(c)) }
}

fn wrong(c: &Cursor) -> Error {
    Error::new(ErrorKind::Syntax, "a secret's value is one string in single quotes, the last of the statement")
        .with_position(c.position())
}
