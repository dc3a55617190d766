//! sqlparser's errors as Weir's: the message as PostgreSQL words it, and the position in characters.

use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Location;

use crate::common::{Error, ErrorKind};

/// Turns a parser's error into a `Syntax` error with its position in `sql`.
pub(super) fn syntax(e: ParserError, sql: &str) -> Error {
    let text = match e {
        ParserError::TokenizerError(m) | ParserError::ParserError(m) => m,
        ParserError::RecursionLimitExceeded => {
            return Error::new(ErrorKind::Syntax, "the statement is nested too deeply")
                .with_hint("name the inner queries with WITH, or make views of them");
        }
    };
    let (text, location) = split_location(&text);
    let error = match text.strip_prefix("Expected: ").and_then(|rest| rest.rsplit_once(", found: ")) {
        Some((expected, "EOF")) => {
            return Error::new(ErrorKind::Syntax, "syntax error at end of input")
                .with_hint(format!("expected {expected}"))
                .with_position(sql.chars().count() + 1);
        }
        Some((expected, found)) => Error::new(ErrorKind::Syntax, format!("syntax error at or near {}", quoted(found)))
            .with_hint(format!("expected {expected}")),
        None => Error::new(ErrorKind::Syntax, text.to_string()),
    };
    match location {
        Some(location) => error.with_position(position(sql, location)),
        None => error,
    }
}

/// The 1-based character at a location; the end of the text for a location beyond it.
pub(super) fn position(sql: &str, at: Location) -> usize {
    byte_offset(sql, at).and_then(|byte| sql.get(..byte)).unwrap_or(sql).chars().count() + 1
}

/// The byte at which a token begins. `None` for the empty location of tokens that the parser made up.
pub(super) fn byte_offset(sql: &str, at: Location) -> Option<usize> {
    let line = usize::try_from(at.line).ok()?.checked_sub(1)?;
    let column = usize::try_from(at.column).ok()?.checked_sub(1)?;
    let start = match line {
        0 => 0,
        _ => sql.match_indices('\n').nth(line - 1)?.0 + 1,
    };
    let rest = sql.get(start..)?;
    Some(start + rest.char_indices().nth(column).map_or(rest.len(), |(byte, _)| byte))
}

fn quoted(found: &str) -> String {
    if found.starts_with('"') { found.to_string() } else { format!("\"{found}\"") }
}

/// Splits `… at Line: 3, Column: 7` off a message.
fn split_location(message: &str) -> (&str, Option<Location>) {
    let Some((text, place)) = message.rsplit_once(" at Line: ") else { return (message, None) };
    let mut numbers = place.split(", Column: ").map(|n| n.trim().parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(line), Some(column)) => (text, Some(Location { line, column })),
        _ => (message, None),
    }
}
