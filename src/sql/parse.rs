//! Splits a text into statements and sends each to the file that knows it.

use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::cursor::{Cursor, is_word};
use super::dialect::DIALECT;
use super::statement::{CreateMaterializedView, CreateSink, CreateTableAs, CreateView, Statement};
use super::{ast, changelog, copy, create, error, time_join, unsupported, utility};
use crate::common::{Error, Result};

/// One statement and the text that it was parsed from, without the semicolon.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    pub text: String,
    pub statement: Statement,
}

/// Parses every statement of `sql`; empty ones are skipped.
///
/// # Errors
/// `Syntax` and `NotSupported` with the position in `sql`, counted in characters from 1.
pub fn parse(sql: &str) -> Result<Vec<Parsed>> {
    let tokens = tokens(sql)?;
    let mut parsed = Vec::new();
    for tokens in tokens.split(|t| t.token == Token::SemiColon) {
        let Some(text) = text(tokens, sql) else { continue };
        let tokens = marked(tokens, sql)?;
        let statement = Cursor::read(tokens, sql, statement)?;
        parsed.push(Parsed { text: text.to_string(), statement });
    }
    Ok(parsed)
}

/// Parses one query, as the catalog keeps the text of a view's.
pub fn parse_query(sql: &str) -> Result<Box<ast::Query>> {
    let tokens = marked(&tokens(sql)?, sql)?;
    Cursor::read(tokens, sql, |c| c.with(Parser::parse_query))
}

/// What the parser does not know, in words that it knows.
fn marked(tokens: &[TokenWithSpan], sql: &str) -> Result<Vec<TokenWithSpan>> {
    changelog::with_marks(time_join::with_marks(with_selects(with_plain_windows(tokens)), sql)?, sql)
}

/// Parses one expression, as the catalog keeps a column's default.
pub fn parse_expr(sql: &str) -> Result<ast::Expr> {
    let mut cursor = Cursor::new(tokens(sql)?, sql);
    let expr = cursor.with(Parser::parse_expr)?;
    cursor.expect_end()?;
    Ok(expr)
}

fn tokens(sql: &str) -> Result<Vec<TokenWithSpan>> {
    Tokenizer::new(&DIALECT, sql).tokenize_with_location().map_err(|e| {
        Error::new(crate::common::ErrorKind::Syntax, e.message).with_position(error::position(sql, e.location))
    })
}

/// The text between the first and the last token that is no whitespace.
fn text<'a>(tokens: &[TokenWithSpan], sql: &'a str) -> Option<&'a str> {
    let solid = |t: &&TokenWithSpan| !matches!(t.token, Token::Whitespace(_) | Token::EOF);
    let first = tokens.iter().find(solid)?;
    let last = tokens.iter().rfind(solid)?;
    let start = error::byte_offset(sql, first.span.start)?;
    let end = error::byte_offset(sql, last.span.end)?;
    sql.get(start..end).map(str::trim_end)
}

pub(super) fn statement(c: &mut Cursor) -> Result<Statement> {
    if let Some(statement) = unsupported::statement(c)? {
        return Ok(statement);
    }
    let statement = known(c)?;
    match &statement {
        Statement::Query(query) => unsupported::check(query)?,
        Statement::Insert(dml) | Statement::Update(dml) | Statement::Delete(dml) => unsupported::check(dml)?,
        Statement::CreateTableAs(CreateTableAs { query, .. })
        | Statement::CreateView(CreateView { query, .. })
        | Statement::CreateMaterializedView(CreateMaterializedView { query, .. })
        | Statement::CreateSink(CreateSink { query, .. }) => unsupported::check(query)?,
        _ => {}
    }
    Ok(statement)
}

fn known(c: &mut Cursor) -> Result<Statement> {
    let Token::Word(first) = &c.peek().token else {
        if c.peek().token == Token::LParen {
            return query(c);
        }
        return Err(c.unexpected("a statement"));
    };
    match first.value.to_ascii_uppercase().as_str() {
        "SELECT" | "WITH" | "VALUES" | "TABLE" => query(c),
        "INSERT" => Ok(Statement::Insert(Box::new(c.with(Parser::parse_statement)?))),
        "UPDATE" => Ok(Statement::Update(Box::new(c.with(Parser::parse_statement)?))),
        "DELETE" => Ok(Statement::Delete(Box::new(c.with(Parser::parse_statement)?))),
        "CREATE" => create::create(c),
        "COPY" => {
            c.expect(&["COPY"])?;
            copy::copy(c)
        }
        "EXPLAIN" => explain(c),
        _ => match utility::utility(c)? {
            Some(statement) => Ok(statement),
            None => unknown(c),
        },
    }
}

pub(super) fn query(c: &mut Cursor) -> Result<Statement> {
    let query = c.with(Parser::parse_query)?;
    match query.body.as_ref() {
        ast::SetExpr::Insert(_) | ast::SetExpr::Update(_) | ast::SetExpr::Delete(_) | ast::SetExpr::Merge(_) => {
            Err(Error::not_supported("WITH before INSERT, UPDATE, DELETE or MERGE is not supported").with_hint(
                "write INSERT INTO … WITH … SELECT …; UPDATE … FROM (SELECT …) AS q; DELETE … USING (SELECT …) AS q",
            ))
        }
        _ => Ok(Statement::Query(query)),
    }
}

/// `EXPLAIN [ANALYZE] [VERBOSE] [(options)] statement`.
fn explain(c: &mut Cursor) -> Result<Statement> {
    c.expect(&["EXPLAIN"])?;
    let mut analyze = false;
    loop {
        if c.take(&["ANALYZE"]) {
            analyze = true;
        } else if c.take_token(&Token::LParen) {
            while !c.take_token(&Token::RParen) {
                match c.next() {
                    Token::EOF => return Err(c.unexpected("\")\"")),
                    token => analyze |= is_word(&token, "ANALYZE"),
                }
            }
        } else if !c.take(&["VERBOSE"]) {
            break;
        }
    }
    Ok(Statement::Explain { analyze, inner: Box::new(statement(c)?) })
}

/// A statement of PostgreSQL's that Weir has not, or no statement at all.
fn unknown(c: &mut Cursor) -> Result<Statement> {
    let at = c.position();
    let word = c.peek().token.to_string().to_uppercase();
    c.with(Parser::parse_statement)?;
    Err(Error::not_supported(format!("{word} is not supported")).with_position(at))
}

/// `TABLE t` where a query may stand becomes `SELECT * FROM t`.
fn with_selects(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    const BEFORE: [&str; 8] = ["AS", "UNION", "EXCEPT", "INTERSECT", "ALL", "DISTINCT", "EXPLAIN", "ANALYZE"];
    if !tokens.iter().any(|t| is_word(&t.token, "TABLE")) {
        return tokens;
    }
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 4);
    let mut before = Token::EOF;
    let mut solid = tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).skip(1);
    for t in &tokens {
        if matches!(t.token, Token::Whitespace(_)) {
            kept.push(t.clone());
            continue;
        }
        let named = solid.next().is_some_and(|next| matches!(next.token, Token::Word(_)));
        let begins = match &before {
            Token::EOF | Token::LParen | Token::RParen => true,
            Token::Word(_) => BEFORE.iter().any(|word| is_word(&before, word)),
            _ => false,
        };
        if named && begins && is_word(&t.token, "TABLE") {
            let select = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")];
            kept.extend(select.map(|token| TokenWithSpan { token, span: t.span }));
        } else {
            kept.push(t.clone());
        }
        before = t.token.clone();
    }
    kept
}

/// Whether a function of this name reads a table in partitions.
fn takes_partition(name: &str) -> bool {
    super::window::is_window_name(name) || super::gap_fill::is_name(name)
}

/// Makes Flink's input of a window one that is parsed as arguments: drops TABLE in `TUMBLE(TABLE t, …)` and
/// `DATA => TABLE t`, and makes `SESSION(t PARTITION BY k, …)` into `SESSION(t, PARTITION => k, …)`.
fn with_plain_windows(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let partitions = |token: &Token| matches!(token, Token::Word(w) if takes_partition(&w.value));
    if !tokens.iter().any(|t| partitions(&t.token)) {
        return tokens.to_vec();
    }
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut before: [Token; 2] = [Token::EOF, Token::EOF];
    // Of each open parenthesis: it holds the arguments of a window.
    let mut open: Vec<bool> = Vec::new();
    let mut solid = tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_)));
    solid.next();
    let mut skip_by = false;
    for t in tokens {
        if matches!(t.token, Token::Whitespace(_)) {
            kept.push(t.clone());
            continue;
        }
        let next = solid.next();
        let of_window = partitions(&before[1]);
        match &t.token {
            Token::LParen => open.push(of_window),
            Token::RParen => drop(open.pop()),
            _ => {}
        }
        let input = match &before {
            [name, Token::LParen] => partitions(name),
            [Token::Word(w), Token::RArrow] => w.value.eq_ignore_ascii_case("DATA"),
            _ => false,
        };
        if input && is_word(&t.token, "TABLE") || std::mem::take(&mut skip_by) {
            continue;
        }
        let [_, last] = before;
        before = [last.clone(), t.token.clone()];
        let by = next.is_some_and(|next| is_word(&next.token, "BY"));
        if by && open.last() == Some(&true) && is_word(&t.token, "PARTITION") {
            let comma = Some(Token::Comma).filter(|comma| last != *comma);
            let tokens = comma.into_iter().chain([t.token.clone(), Token::RArrow]);
            kept.extend(tokens.map(|token| TokenWithSpan { token, span: t.span }));
            skip_by = true;
            continue;
        }
        kept.push(t.clone());
    }
    kept
}
