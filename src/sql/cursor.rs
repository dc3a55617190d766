//! A statement's tokens with the small steps that hand-written parsing is made of, over sqlparser's `Parser`.

use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::dialect::{DIALECT, NESTING, WeirDialect};
use super::{ast, error, name};
use crate::common::{Error, ErrorKind, Result};

/// How deep expressions and queries may nest.
const RECURSION_LIMIT: usize = 120;

/// Reads one statement from left to right. Keywords match without regard to case and never match quoted words.
pub(super) struct Cursor<'a> {
    parser: Parser<'static>,
    sql: &'a str,
    dialect: &'static WeirDialect,
}

impl<'a> Cursor<'a> {
    /// `sql` is the whole text that the tokens came from: positions count in it.
    pub fn new(tokens: Vec<TokenWithSpan>, sql: &'a str) -> Self {
        Self::of(&DIALECT, tokens, sql)
    }

    fn of(dialect: &'static WeirDialect, tokens: Vec<TokenWithSpan>, sql: &'a str) -> Self {
        let parser = Parser::new(dialect).with_recursion_limit(RECURSION_LIMIT).with_tokens_with_locations(tokens);
        Self { parser, sql, dialect }
    }

    /// Reads all tokens; what is not to be read otherwise, with nested joins.
    pub fn read<T>(tokens: Vec<TokenWithSpan>, sql: &'a str, read: impl Fn(&mut Self) -> Result<T>) -> Result<T> {
        let whole = |mut cursor: Self| -> Result<T> {
            let value = read(&mut cursor)?;
            cursor.expect_end()?;
            Ok(value)
        };
        let joins = tokens.iter().filter(|t| is_word(&t.token, "JOIN")).nth(1).is_some();
        let nested = joins.then(|| tokens.clone());
        whole(Self::new(tokens, sql)).or_else(|error: Error| match nested {
            Some(tokens) if error.kind() == ErrorKind::Syntax => {
                whole(Self::of(&NESTING, tokens, sql)).map_err(|_| error)
            }
            _ => Err(error),
        })
    }

    /// A cursor over other tokens of the same text.
    pub fn fork(&self, tokens: Vec<TokenWithSpan>) -> Self {
        Self::of(self.dialect, tokens, self.sql)
    }

    /// Runs one of sqlparser's own steps.
    pub fn with<T>(&mut self, step: impl FnOnce(&mut Parser<'static>) -> Result<T, ParserError>) -> Result<T> {
        step(&mut self.parser).map_err(|e| error::syntax(e, self.sql))
    }

    /// Every token that is left, whitespace included.
    pub fn rest(&mut self) -> Vec<TokenWithSpan> {
        let mut tokens = Vec::new();
        while let Some(token) = self.parser.next_token_no_skip() {
            tokens.push(token.clone());
        }
        tokens
    }

    pub fn peek(&self) -> &TokenWithSpan {
        self.parser.peek_token_ref()
    }

    pub fn peek_nth(&self, n: usize) -> &Token {
        &self.parser.peek_nth_token_ref(n).token
    }

    /// Whether the next token is this word.
    pub fn at(&self, word: &str) -> bool {
        is_word(&self.peek().token, word)
    }

    /// Takes the words if all of them come next.
    pub fn take(&mut self, words: &[&str]) -> bool {
        let all = words.iter().enumerate().all(|(i, word)| is_word(self.peek_nth(i), word));
        if all {
            words.iter().for_each(|_| drop(self.parser.next_token()));
        }
        all
    }

    pub fn expect(&mut self, words: &[&str]) -> Result<()> {
        if self.take(words) { Ok(()) } else { Err(self.unexpected(&words.join(" "))) }
    }

    pub fn take_token(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    pub fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.take_token(token) { Ok(()) } else { Err(self.unexpected(&format!("\"{token}\""))) }
    }

    pub fn next(&mut self) -> Token {
        self.parser.next_token().token
    }

    pub fn at_end(&self) -> bool {
        self.peek().token == Token::EOF
    }

    pub fn expect_end(&self) -> Result<()> {
        if self.at_end() { Ok(()) } else { Err(self.unexpected("end of statement")) }
    }

    /// One name, folded.
    pub fn ident(&mut self) -> Result<String> {
        Ok(name::fold(&self.with(Parser::parse_identifier)?))
    }

    /// An object's name without its schema.
    pub fn object_name(&mut self) -> Result<String> {
        let at = self.position();
        let object = self.with(|p| p.parse_object_name(false))?;
        name::object_name(&object).map_err(|e| e.with_position(at))
    }

    /// An object's name as it stands there.
    ///
    /// # Errors
    /// As [`Cursor::object_name`].
    pub fn relation(&mut self) -> Result<ast::ObjectName> {
        let at = self.position();
        let object = self.with(|p| p.parse_object_name(false))?;
        name::object_name(&object).map_err(|e| e.with_position(at))?;
        Ok(object)
    }

    pub fn string(&mut self) -> Result<String> {
        self.with(Parser::parse_literal_string)
    }

    /// `(item, item, …)` with at least one item.
    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.expect_token(&Token::LParen)?;
        let mut items = vec![item(self)?];
        while self.take_token(&Token::Comma) {
            items.push(item(self)?);
        }
        self.expect_token(&Token::RParen)?;
        Ok(items)
    }

    /// The query that fills the rest of the statement.
    pub fn last_query(&mut self) -> Result<Box<ast::Query>> {
        let query = self.with(Parser::parse_query)?;
        self.expect_end()?;
        Ok(query)
    }

    /// The 1-based character of the next token.
    pub fn position(&self) -> usize {
        match self.at_end() {
            true => self.sql.chars().count() + 1,
            false => error::position(self.sql, self.peek().span.start),
        }
    }

    pub fn unexpected(&self, expected: &str) -> Error {
        match self.with_expected(expected) {
            Ok(never) => never,
            Err(e) => error::syntax(e, self.sql),
        }
    }

    fn with_expected(&self, expected: &str) -> Result<Error, ParserError> {
        self.parser.expected_ref(expected, self.peek())
    }

    /// What is not supported begins at the next token.
    pub fn not_supported(&self, message: &str) -> Error {
        Error::not_supported(message).with_position(self.position())
    }
}

pub(super) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}
