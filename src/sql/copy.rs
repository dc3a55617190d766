//! `COPY … FROM STDIN` and `COPY … TO STDOUT`, with the options of PostgreSQL 15, in the list and in the old spelling.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast;
use super::cursor::Cursor;
use super::statement::Statement;
use crate::common::{Error, ErrorKind, Result};
use crate::types::copy::{Columns, CopyHeader, CopyOptions};

/// One COPY.
#[derive(Debug, Clone, PartialEq)]
pub enum Copy {
    From {
        table: String,
        /// Empty means all of the table's.
        columns: Vec<String>,
        options: CopyOptions,
    },
    To {
        query: Box<ast::Query>,
        options: CopyOptions,
    },
}

/// As written: which format is known only at the end.
struct Given {
    csv: bool,
    binary: bool,
    delimiter: Option<String>,
    null: Option<String>,
    header: CopyHeader,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: Columns,
    force_not_null: Columns,
    force_null: Columns,
    ignore_errors: bool,
}

/// The statement after COPY.
pub(super) fn copy(c: &mut Cursor) -> Result<Statement> {
    if c.peek().token == Token::LParen {
        c.expect_token(&Token::LParen)?;
        let query = c.with(|p| p.parse_query())?;
        c.expect_token(&Token::RParen)?;
        if !c.take(&["TO"]) {
            return Err(c.unexpected("TO"));
        }
        stream(c, "STDOUT")?;
        return Ok(Statement::Copy(Copy::To { query, options: options(c, false)? }));
    }
    let table = c.object_name()?;
    let columns = if c.peek().token == Token::LParen { c.list(Cursor::ident)? } else { Vec::new() };
    if c.take(&["FROM"]) {
        stream(c, "STDIN")?;
        let options = options(c, true)?;
        if c.at("WHERE") {
            return Err(c
                .not_supported("COPY … WHERE is not supported")
                .with_hint("copy into a table, and filter in a view"));
        }
        return Ok(Statement::Copy(Copy::From { table, columns, options }));
    }
    if !c.take(&["TO"]) {
        return Err(c.unexpected("FROM or TO"));
    }
    stream(c, "STDOUT")?;
    let quoted = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
    let list = match columns.is_empty() {
        true => "*".to_string(),
        false => columns.iter().map(quoted).collect::<Vec<_>>().join(", "),
    };
    let query = super::parse_query(&format!("SELECT {list} FROM {}", quoted(&table)))?;
    Ok(Statement::Copy(Copy::To { query, options: options(c, false)? }))
}

fn stream(c: &mut Cursor, word: &str) -> Result<()> {
    if c.take(&["STDIN"]) || c.take(&["STDOUT"]) {
        return Ok(());
    }
    Err(c.not_supported("COPY with a file or a program of the server is not supported").with_hint(format!(
        "write {word}: psql's \\copy sends a file of the client; the file connector reads one of the server"
    )))
}

fn options(c: &mut Cursor, from: bool) -> Result<CopyOptions> {
    let none = || Columns::Named(Vec::new());
    let mut given = Given {
        csv: false,
        binary: false,
        delimiter: None,
        null: None,
        header: CopyHeader::No,
        quote: None,
        escape: None,
        force_quote: none(),
        force_not_null: none(),
        force_null: none(),
        ignore_errors: false,
    };
    c.take(&["WITH"]);
    if c.peek().token == Token::LParen {
        c.list(|c| listed(c, &mut given))?;
    } else {
        while !c.at_end() && !c.at("WHERE") {
            old(c, &mut given)?;
        }
    }
    given.check(from)
}

/// `NAME [value]` of the list.
fn listed(c: &mut Cursor, given: &mut Given) -> Result<()> {
    let at = c.position();
    let name = c.ident()?.to_lowercase();
    match name.as_str() {
        "format" => {
            let format = word(c)?;
            set_format(&format, given).map_err(|e| e.with_position(at))?;
        }
        "freeze" => drop(flag(c)?),
        "delimiter" => given.delimiter = Some(c.string()?),
        "null" => given.null = Some(c.string()?),
        "header" => {
            given.header = match c.take(&["MATCH"]) {
                true => CopyHeader::Match,
                false if flag(c)? => CopyHeader::Yes,
                false => CopyHeader::No,
            }
        }
        "quote" => given.quote = Some(c.string()?),
        "escape" => given.escape = Some(c.string()?),
        "force_quote" => given.force_quote = columns(c)?,
        "force_not_null" => given.force_not_null = columns(c)?,
        "force_null" => given.force_null = columns(c)?,
        "encoding" => utf8(&c.string()?)?,
        "on_error" => {
            given.ignore_errors = match word(c)?.as_str() {
                "ignore" => true,
                "stop" => false,
                other => {
                    return Err(
                        wrong(format!("COPY ON_ERROR \"{other}\" not recognized")).with_hint("write ignore or stop")
                    );
                }
            }
        }
        other => {
            return Err(Error::new(ErrorKind::Syntax, format!("option \"{other}\" not recognized")).with_position(at));
        }
    }
    Ok(())
}

/// One option as before PostgreSQL 9.
fn old(c: &mut Cursor, given: &mut Given) -> Result<()> {
    if c.take(&["BINARY"]) {
        return set_format("binary", given);
    }
    if c.take(&["CSV"]) {
        return set_format("csv", given);
    }
    if c.take(&["HEADER"]) {
        given.header = CopyHeader::Yes;
        return Ok(());
    }
    if c.take(&["FREEZE"]) {
        return Ok(());
    }
    for (words, slot) in [
        (["DELIMITER"].as_slice(), &mut given.delimiter),
        (&["NULL"], &mut given.null),
        (&["QUOTE"], &mut given.quote),
        (&["ESCAPE"], &mut given.escape),
    ] {
        if c.take(words) {
            c.take(&["AS"]);
            *slot = Some(c.string()?);
            return Ok(());
        }
    }
    if c.take(&["ENCODING"]) {
        return utf8(&c.string()?);
    }
    for (words, slot) in [
        (["FORCE", "QUOTE"].as_slice(), &mut given.force_quote),
        (&["FORCE", "NOT", "NULL"], &mut given.force_not_null),
        (&["FORCE", "NULL"], &mut given.force_null),
    ] {
        if c.take(words) {
            *slot = match c.take_token(&Token::Mul) {
                true => Columns::All,
                false => {
                    let mut names = vec![c.ident()?];
                    while c.take_token(&Token::Comma) {
                        names.push(c.ident()?);
                    }
                    Columns::Named(names)
                }
            };
            return Ok(());
        }
    }
    Err(c.unexpected("an option of COPY"))
}

fn set_format(format: &str, given: &mut Given) -> Result<()> {
    match format {
        "text" | "csv" | "binary" => (given.csv, given.binary) = (format == "csv", format == "binary"),
        other => {
            return Err(wrong(format!("COPY format \"{other}\" not recognized")).with_hint("write text, csv or binary"));
        }
    }
    Ok(())
}

/// A word or a string, in lower case.
fn word(c: &mut Cursor) -> Result<String> {
    match &c.peek().token {
        Token::Word(_) => Ok(c.ident()?.to_lowercase()),
        _ => Ok(c.string()?.to_lowercase()),
    }
}

/// A boolean; nothing is true.
fn flag(c: &mut Cursor) -> Result<bool> {
    let text = match &c.peek().token {
        Token::Comma | Token::RParen => return Ok(true),
        Token::Number(digits, _) => {
            let digits = digits.clone();
            c.next();
            digits
        }
        _ => word(c)?,
    };
    match text.as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        other => Err(wrong(format!("\"{other}\" is not a Boolean value")).with_hint("write true or false")),
    }
}

fn columns(c: &mut Cursor) -> Result<Columns> {
    if c.take_token(&Token::Mul) {
        return Ok(Columns::All);
    }
    Ok(Columns::Named(c.list(Cursor::ident)?))
}

fn utf8(encoding: &str) -> Result<()> {
    if encoding.chars().filter(char::is_ascii_alphanumeric).collect::<String>().eq_ignore_ascii_case("utf8") {
        return Ok(());
    }
    Err(Error::not_supported(format!("encoding \"{encoding}\" is not supported")).with_hint("write ENCODING 'UTF8'"))
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, message)
}

fn byte(name: &str, text: Option<&str>, default: u8) -> Result<u8> {
    match text.map(str::as_bytes) {
        None => Ok(default),
        Some([byte]) => Ok(*byte),
        Some(_) => Err(Error::not_supported(format!("COPY {name} must be a single one-byte character"))),
    }
}

impl Given {
    fn check(self, from: bool) -> Result<CopyOptions> {
        let csv = self.csv;
        for (name, given) in [
            ("DELIMITER", self.delimiter.is_some()),
            ("NULL", self.null.is_some()),
            ("HEADER", self.header != CopyHeader::No),
            ("ON_ERROR ignore", self.ignore_errors),
        ] {
            if self.binary && given {
                return Err(Error::new(ErrorKind::Syntax, format!("cannot specify {name} in BINARY mode")));
            }
        }
        let only = |name: &str, given: bool, ok: bool, mode: &str| match given && !ok {
            true => Err(Error::not_supported(format!("COPY {name} available only in {mode}"))),
            false => Ok(()),
        };
        only("quote", self.quote.is_some(), csv, "CSV mode")?;
        only("escape", self.escape.is_some(), csv, "CSV mode")?;
        only("force quote", !self.force_quote.is_none(), csv, "CSV mode")?;
        only("force quote", !self.force_quote.is_none(), !from, "COPY TO")?;
        only("force not null", !self.force_not_null.is_none(), csv, "CSV mode")?;
        only("force not null", !self.force_not_null.is_none(), from, "COPY FROM")?;
        only("force null", !self.force_null.is_none(), csv, "CSV mode")?;
        only("force null", !self.force_null.is_none(), from, "COPY FROM")?;
        only("ON_ERROR", self.ignore_errors, from, "COPY FROM")?;
        if self.header == CopyHeader::Match && !from {
            return Err(wrong("cannot use \"match\" with HEADER in COPY TO"));
        }
        let delimiter = byte("delimiter", self.delimiter.as_deref(), if csv { b',' } else { b'\t' })?;
        let null = self.null.unwrap_or_else(|| if csv { "" } else { "\\N" }.to_string());
        let quote = byte("quote", self.quote.as_deref(), b'"')?;
        let escape = byte("escape", self.escape.as_deref(), quote)?;
        if matches!(delimiter, b'\n' | b'\r') {
            return Err(wrong("COPY delimiter cannot be newline or carriage return"));
        }
        if null.contains(['\n', '\r']) {
            return Err(wrong("COPY null representation cannot use newline or carriage return"));
        }
        if !csv && (delimiter.is_ascii_lowercase() || delimiter.is_ascii_digit() || matches!(delimiter, b'\\' | b'.')) {
            return Err(wrong(format!("COPY delimiter cannot be \"{}\"", delimiter as char)));
        }
        if null.as_bytes().contains(&delimiter) {
            return Err(wrong("COPY delimiter must not appear in the NULL specification"));
        }
        if csv && delimiter == quote {
            return Err(wrong("COPY delimiter and quote must be different"));
        }
        if csv && null.as_bytes().contains(&quote) {
            return Err(wrong("CSV quote character must not appear in the NULL specification"));
        }
        Ok(CopyOptions {
            csv,
            binary: self.binary,
            delimiter,
            null,
            header: self.header,
            quote,
            escape,
            force_quote: self.force_quote,
            force_not_null: self.force_not_null,
            force_null: self.force_null,
            ignore_errors: self.ignore_errors,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn options(text: &str) -> Result<CopyOptions, String> {
        let parsed = parse(&format!("COPY t FROM STDIN {text}")).map_err(|e| e.message().to_string())?;
        match parsed.into_iter().next().map(|p| p.statement) {
            Some(Statement::Copy(Copy::From { options, .. })) => Ok(options),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn both_spellings_say_the_same() {
        for (list, old) in [
            ("(FORMAT csv, HEADER, DELIMITER '|', NULL 'x')", "WITH CSV HEADER DELIMITER AS '|' NULL 'x'"),
            ("(FORMAT 'csv', QUOTE '''', FORCE_NOT_NULL (a, b))", "CSV QUOTE '''' FORCE NOT NULL a, b"),
            ("WITH (DELIMITER E'\\x01', ENCODING 'utf-8')", "DELIMITER E'\\x01' ENCODING 'UTF8'"),
            ("(FORMAT csv, FORCE_NULL *, HEADER 0)", "CSV FORCE NULL *"),
        ] {
            assert_eq!(options(list).unwrap(), options(old).unwrap(), "{list}");
        }
        assert_eq!(options("(FORMAT csv, HEADER match)").unwrap().header, CopyHeader::Match);
        assert!(options("(ON_ERROR ignore)").unwrap().ignore_errors);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (text, part) in [
            ("(QUOTE 'x')", "only in CSV mode"),
            ("(FORMAT csv, DELIMITER '\"')", "must be different"),
            ("(DELIMITER 'ab')", "single one-byte"),
            ("(DELIMITER 'a')", "cannot be \"a\""),
            ("(NULL 'a\tb')", "must not appear in the NULL"),
            ("(FORMAT binary, NULL 'x')", "in BINARY mode"),
            ("BINARY DELIMITER 'x'", "in BINARY mode"),
            ("(FORMAT xml)", "not recognized"),
            ("(HEADER maybe)", "not a Boolean"),
            ("(COLOUR 'red')", "\"colour\" not recognized"),
            ("(FORMAT csv, FORCE_QUOTE *)", "only in COPY TO"),
            ("(ENCODING 'LATIN1')", "not supported"),
            ("CSV 7", "near \"7\""),
        ] {
            let message = options(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
