//! `WITH (key = 'value', …)` and `FORMAT … ENCODE … (key = 'value', …)`: one map of text options.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use crate::common::{Error, ErrorKind, Result};
use crate::types::{OptionValue, WithOptions};

/// Reads the option clauses that come next, if any. Keys fold to lower case and may be dotted.
pub(super) fn options(c: &mut Cursor) -> Result<WithOptions> {
    let mut options = WithOptions::new();
    loop {
        if matches!(c.peek_nth(1), Token::LParen) && c.take(&["WITH"]) {
            list(c, &mut options)?;
        } else if c.take(&["FORMAT"]) {
            let format = c.ident()?;
            insert(c, &mut options, "format".to_string(), format.into())?;
            if c.peek().token == Token::LParen {
                list(c, &mut options)?;
            }
            c.expect(&["ENCODE"])?;
            let encode = c.ident()?;
            insert(c, &mut options, "encode".to_string(), encode.into())?;
            if c.peek().token == Token::LParen {
                list(c, &mut options)?;
            }
        } else {
            return Ok(options);
        }
    }
}

fn list(c: &mut Cursor, options: &mut WithOptions) -> Result<()> {
    if matches!(c.peek_nth(1), Token::RParen) {
        c.expect_token(&Token::LParen)?;
        return c.expect_token(&Token::RParen);
    }
    c.list(|c| {
        let mut key = key_part(c)?;
        while c.take_token(&Token::Period) {
            key = format!("{key}.{}", key_part(c)?);
        }
        c.expect_token(&Token::Eq)?;
        let value = if names_secret(c) { secret(c, &key)? } else { value(c)?.into() };
        insert(c, options, key, value)
    })?;
    Ok(())
}

fn key_part(c: &mut Cursor) -> Result<String> {
    match c.peek().token.clone() {
        Token::SingleQuotedString(key) => {
            c.next();
            Ok(key.to_lowercase())
        }
        _ => c.ident(),
    }
}

/// `SECRET name`: SECRET alone is a word.
fn names_secret(c: &Cursor) -> bool {
    c.at("SECRET") && matches!(c.peek_nth(1), Token::Word(_))
}

/// What must be known to read the others is no secret.
const PLAIN: [&str; 3] = ["connector", "format", "encode"];

fn secret(c: &mut Cursor, key: &str) -> Result<OptionValue> {
    if PLAIN.contains(&key) {
        return Err(c.not_supported(&format!("option \"{key}\" cannot be a secret")).with_hint("write it in quotes"));
    }
    c.expect(&["SECRET"])?;
    Ok(OptionValue::Secret { secret: c.object_name()? })
}

/// The options of what takes no secrets.
///
/// # Errors
/// `NotSupported` when there is one.
pub(super) fn plain(options: WithOptions) -> Result<BTreeMap<String, String>> {
    let text = |(key, value): (String, OptionValue)| match value {
        OptionValue::Text(text) => Ok((key, text)),
        OptionValue::Secret { .. } => Err(no_secret(&key)),
    };
    options.into_iter().map(text).collect()
}

pub(super) fn no_secret(key: &str) -> Error {
    Error::not_supported(format!("option \"{key}\" cannot be a secret")).with_hint("write its value in quotes")
}

/// A string, a number or a bare word such as `true`.
fn value(c: &mut Cursor) -> Result<String> {
    let minus = c.take_token(&Token::Minus);
    let sign = if minus { "-" } else { "" };
    match c.peek().token.clone() {
        Token::Number(digits, _) => {
            c.next();
            Ok(format!("{sign}{digits}"))
        }
        _ if minus => Err(c.unexpected("a number")),
        Token::Word(word) => {
            c.next();
            Ok(if word.quote_style.is_none() { word.value.to_lowercase() } else { word.value })
        }
        _ => c.string(),
    }
}

fn insert(c: &Cursor, options: &mut WithOptions, key: String, value: OptionValue) -> Result<()> {
    match options.insert(key.clone(), value) {
        None => Ok(()),
        Some(_) => Err(Error::new(ErrorKind::Syntax, format!("option \"{key}\" is given twice"))
            .with_hint("give each option once; format options follow ENCODE")
            .with_position(c.position())),
    }
}
