//! SUBSCRIBE, and the statements of SQL cursors: DECLARE, FETCH and MOVE.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, is_word};
use super::options::{options, plain};
use super::parse;
use super::statement::{Direction, Statement, Subscribe};
use crate::common::{Error, ErrorKind, Result};

/// The statement, or `None` when its first word is none of these.
pub(super) fn cursors(c: &mut Cursor) -> Result<Option<Statement>> {
    let statement = if c.take(&["SUBSCRIBE"]) {
        Statement::Subscribe(subscribe(c)?)
    } else if c.take(&["DECLARE"]) {
        declare(c)?
    } else if c.take(&["FETCH"]) {
        let (name, direction) = direction(c)?;
        let timeout = plain(options(c)?)?.into_iter().try_fold(None, |_, (key, value)| match key.as_str() {
            "timeout" => Ok(Some(value)),
            other => Err(unknown(other, "timeout")),
        })?;
        Statement::FetchCursor { name, direction, timeout }
    } else if c.take(&["MOVE"]) {
        let (name, direction) = direction(c)?;
        Statement::MoveCursor { name, direction }
    } else {
        return Ok(None);
    };
    Ok(Some(statement))
}

/// `[TO] name [SINCE | AS OF epoch] [WITH (snapshot = …, progress = …)]`.
fn subscribe(c: &mut Cursor) -> Result<Subscribe> {
    c.take(&["TO"]);
    if c.peek().token == Token::LParen || c.at("SELECT") {
        return Err(c
            .not_supported("SUBSCRIBE takes a table or a materialized view, not a query")
            .with_hint("CREATE MATERIALIZED VIEW v AS SELECT …, then SUBSCRIBE TO v"));
    }
    let name = c.object_name()?;
    let since = match c.take(&["SINCE"]) || c.take(&["AS", "OF"]) {
        true => Some(epoch(c)?),
        false => None,
    };
    let mut subscribe = Subscribe { name, since, snapshot: since.is_none(), progress: false };
    let at = c.position();
    for (key, value) in plain(options(c)?)? {
        let on = boolean(&key, &value).map_err(|e| e.with_position(at));
        match key.as_str() {
            "snapshot" => subscribe.snapshot = on?,
            "progress" => subscribe.progress = on?,
            other => return Err(unknown(other, "snapshot and progress").with_position(at)),
        }
    }
    if since.is_some() && subscribe.snapshot {
        let message = "a subscription that goes on from an epoch has no snapshot";
        return Err(Error::new(ErrorKind::InvalidParameterValue, message)
            .with_hint("leave out either SINCE or snapshot = true")
            .with_position(at));
    }
    Ok(subscribe)
}

fn epoch(c: &mut Cursor) -> Result<u64> {
    c.take(&["EPOCH"]);
    let at = c.position();
    let number = match c.next() {
        Token::Number(digits, _) => digits.parse().ok(),
        _ => None,
    };
    let message = "an epoch is a whole number, as in the column weir_epoch";
    number.ok_or_else(|| Error::new(ErrorKind::Syntax, message).with_position(at))
}

fn boolean(key: &str, value: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err(Error::new(ErrorKind::InvalidParameterValue, format!("{key} must be true or false, not {value:?}"))),
    }
}

fn unknown(key: &str, known: &str) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, format!("there is no option {key:?} here"))
        .with_hint(format!("known: {known}"))
}

/// `name [INSENSITIVE | ASENSITIVE | [NO] SCROLL]… CURSOR [WITH | WITHOUT HOLD] FOR query | SUBSCRIBE …`.
fn declare(c: &mut Cursor) -> Result<Statement> {
    let name = c.ident()?;
    let mut scroll = false;
    loop {
        if c.at("BINARY") {
            return Err(c.not_supported("cursors give text").with_hint("leave BINARY out"));
        }
        let at = c.position();
        if c.take(&["SCROLL"]) {
            scroll = true;
            if is_word(&c.peek().token, "NO") {
                let message = "cannot specify both SCROLL and NO SCROLL";
                return Err(Error::new(ErrorKind::InvalidDefinition, message).with_position(at));
            }
        } else if !(c.take(&["INSENSITIVE"]) || c.take(&["ASENSITIVE"]) || c.take(&["NO", "SCROLL"])) {
            break;
        }
    }
    c.expect(&["CURSOR"])?;
    let hold = c.take(&["WITH", "HOLD"]);
    if !hold {
        c.take(&["WITHOUT", "HOLD"]);
    }
    c.expect(&["FOR"])?;
    let inner = if scroll && c.at("SUBSCRIBE") {
        return Err(c.not_supported("a subscription goes forward only").with_hint("leave SCROLL out"));
    } else if c.take(&["SUBSCRIBE"]) {
        Statement::Subscribe(subscribe(c)?)
    } else if c.peek().token == Token::LParen || ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| c.at(word)) {
        parse::query(c)?
    } else {
        return Err(c.unexpected("a query or SUBSCRIBE"));
    };
    Ok(Statement::DeclareCursor { name, hold, scroll, inner: Box::new(inner) })
}

/// `[NEXT | PRIOR | FIRST | LAST | ABSOLUTE n | RELATIVE n | n | ALL | FORWARD [n | ALL] | BACKWARD [n | ALL]] [FROM | IN]
/// name`.
fn direction(c: &mut Cursor) -> Result<(String, Direction)> {
    // What stands alone is the name, whatever word it is.
    let alone = matches!(c.peek_nth(1), Token::EOF) || is_word(c.peek_nth(1), "WITH");
    if alone {
        return Ok((c.ident()?, Direction::Forward(Some(1))));
    }
    let direction = if c.take(&["NEXT"]) {
        Direction::Forward(Some(1))
    } else if c.take(&["PRIOR"]) {
        Direction::Backward(Some(1))
    } else if c.take(&["FIRST"]) {
        Direction::Absolute(1)
    } else if c.take(&["LAST"]) {
        Direction::Absolute(-1)
    } else if c.take(&["ABSOLUTE"]) {
        Direction::Absolute(count(c)?)
    } else if c.take(&["RELATIVE"]) {
        Direction::Relative(count(c)?)
    } else if c.take(&["BACKWARD"]) {
        many(c, false)?
    } else {
        c.take(&["FORWARD"]);
        many(c, true)?
    };
    if !c.take(&["FROM"]) {
        c.take(&["IN"]);
    }
    Ok((c.ident()?, direction))
}

/// `[n | ALL]`; fewer than none are as many in the other direction.
fn many(c: &mut Cursor, forward: bool) -> Result<Direction> {
    let (forward, rows) = if c.take(&["ALL"]) {
        (forward, None)
    } else if matches!(c.peek().token, Token::Number(..) | Token::Minus) {
        let count = count(c)?;
        (forward == (count >= 0), Some(usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX)))
    } else {
        (forward, Some(1))
    };
    Ok(if forward { Direction::Forward(rows) } else { Direction::Backward(rows) })
}

fn count(c: &mut Cursor) -> Result<i64> {
    let minus = c.take_token(&Token::Minus);
    let digits = match &c.peek().token {
        Token::Number(digits, _) => digits.parse::<i64>().ok(),
        _ => None,
    };
    let count = digits.ok_or_else(|| c.unexpected("a number of rows"))?;
    c.next();
    Ok(if minus { -count } else { count })
}
