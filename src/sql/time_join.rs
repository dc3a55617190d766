//! Joins with the row of a moment, made into what the parser knows: an ordinary join whose condition begins with a mark.
//!
//! ```text
//! a ASOF [LEFT] JOIN b ON c                    -->  a [LEFT] JOIN b ON weir_asof() AND c
//! a ASOF JOIN b MATCH_CONDITION (m) [ON c]     -->  a LEFT JOIN b ON weir_asof() AND (m) [AND c]
//! a JOIN b FOR SYSTEM_TIME AS OF PROCTIME() ON c  -->  a JOIN b ON weir_as_of_now() AND c
//! a JOIN b FOR SYSTEM_TIME AS OF a.ts ON c     -->  a JOIN b ON weir_as_of(a.ts) AND c
//! ```
//! A second step, on the parsed query, adds to `weir_as_of` what only the catalog knows: the time of b's rows. What the
//! marks mean to a plan is in `expr::time_join`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::ast::{
    Expr, Function, FunctionArguments, JoinConstraint, JoinOperator, Query, Select, VisitMut, VisitorMut,
};
use super::cursor::is_word;
use super::window::WatermarkOf;
use super::{error, name, parse_expr, window};
use crate::common::{Error, ErrorKind, Result};

/// The marks, as functions: see `expr::time_join`.
const ASOF: &str = "weir_asof";
const AS_OF: &str = "weir_as_of";
const AS_OF_NOW: &str = "weir_as_of_now";

/// Rewrites the tokens of one statement.
///
/// # Errors
/// `Syntax` where the join has no condition to put the mark into.
pub(super) fn with_marks(tokens: Vec<TokenWithSpan>, sql: &str) -> Result<Vec<TokenWithSpan>> {
    let concerns = |t: &TokenWithSpan| is_word(&t.token, "ASOF") || is_word(&t.token, "SYSTEM_TIME");
    if !tokens.iter().any(concerns) {
        return Ok(tokens);
    }
    let tokens: Vec<_> = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    Marker { tokens, sql, at: 0, marked: Vec::new() }.run()
}

struct Marker<'a> {
    tokens: Vec<TokenWithSpan>,
    sql: &'a str,
    at: usize,
    marked: Vec<TokenWithSpan>,
}

impl Marker<'_> {
    fn run(mut self) -> Result<Vec<TokenWithSpan>> {
        let mut mark: Option<Mark> = None;
        let mut depth = 0usize;
        while let Some(t) = self.tokens.get(self.at).cloned() {
            if self.is(0, &["ASOF"]) && self.joins(1) {
                let snowflake = self.has_match_condition();
                if snowflake {
                    self.push(&["LEFT"], &t);
                }
                mark = Some(Mark { depth, at: t.clone(), call: vec![word(ASOF), Token::LParen, Token::RParen] });
                self.at += 1;
                continue;
            }
            if self.is(0, &["FOR", "SYSTEM_TIME", "AS", "OF"]) {
                self.at += 4;
                let call = self.moment(&t)?;
                mark = Some(Mark { depth, at: t, call });
                continue;
            }
            match &t.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            if let Some(open) = mark.take_if(|m| m.depth == depth && begins_condition(&t.token)) {
                self.condition(&open, &t);
                continue;
            }
            if let Some(open) = &mark
                && (depth < open.depth || depth == open.depth && ends_join(&t.token))
            {
                return Err(self.unmarked(open));
            }
            self.marked.push(t);
            self.at += 1;
        }
        match mark {
            Some(open) => Err(self.unmarked(&open)),
            None => Ok(self.marked),
        }
    }

    /// `ON` or `MATCH_CONDITION (…) [ON]`, with the mark behind.
    fn condition(&mut self, mark: &Mark, at: &TokenWithSpan) {
        self.push(&["ON"], at);
        self.marked.extend(mark.call.iter().map(|token| TokenWithSpan { token: token.clone(), span: at.span }));
        self.push(&["AND"], at);
        self.at += 1;
        if !is_word(&at.token, "MATCH_CONDITION") {
            return;
        }
        let mut depth = 0usize;
        while let Some(t) = self.tokens.get(self.at).cloned() {
            match t.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.marked.push(t);
            self.at += 1;
            if depth == 0 {
                break;
            }
        }
        if let Some(t) = self.tokens.get(self.at).filter(|t| is_word(&t.token, "ON")).cloned() {
            self.push(&["AND"], &t);
            self.at += 1;
        }
    }

    /// What follows AS OF: `PROCTIME()`, or a column.
    fn moment(&mut self, at: &TokenWithSpan) -> Result<Vec<Token>> {
        let start = self.at;
        if (self.is(0, &["PROCTIME"]) || self.is(0, &["NOW"])) && self.token(1) == Some(&Token::LParen) {
            self.at += 3;
            return Ok(vec![word(AS_OF_NOW), Token::LParen, Token::RParen]);
        }
        while matches!(self.token(0), Some(Token::Word(_))) {
            self.at += 1;
            if self.token(0) != Some(&Token::Period) {
                break;
            }
            self.at += 1;
        }
        let column: Vec<Token> =
            self.tokens.get(start..self.at).unwrap_or_default().iter().map(|t| t.token.clone()).collect();
        if column.is_empty() || column.last() == Some(&Token::Period) {
            return Err(self.wrong(at, "FOR SYSTEM_TIME AS OF takes PROCTIME() or a time column of the left side"));
        }
        let open = [word(AS_OF), Token::LParen];
        Ok(open.into_iter().chain(column).chain([Token::RParen]).collect())
    }

    fn has_match_condition(&self) -> bool {
        let mut depth = 0usize;
        for t in self.tokens.iter().skip(self.at) {
            match &t.token {
                Token::LParen => depth += 1,
                Token::RParen if depth == 0 => return false,
                Token::RParen => depth -= 1,
                token if depth == 0 && is_word(token, "MATCH_CONDITION") => return true,
                token if depth == 0 && (is_word(token, "ON") || ends_join(token)) => return false,
                _ => {}
            }
        }
        false
    }

    fn joins(&self, ahead: usize) -> bool {
        let forms: [&[&str]; 4] = [&["JOIN"], &["INNER", "JOIN"], &["LEFT", "JOIN"], &["LEFT", "OUTER", "JOIN"]];
        forms.iter().any(|form| self.is(ahead, form))
    }

    fn is(&self, ahead: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, word)| self.token(ahead + i).is_some_and(|t| is_word(t, word)))
    }

    fn token(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead).map(|t| &t.token)
    }

    fn push(&mut self, words: &[&str], at: &TokenWithSpan) {
        self.marked.extend(words.iter().map(|w| TokenWithSpan { token: word(w), span: at.span }));
    }

    fn unmarked(&self, mark: &Mark) -> Error {
        self.wrong(&mark.at, "this join needs a condition")
    }

    fn wrong(&self, at: &TokenWithSpan, message: &str) -> Error {
        Error::new(ErrorKind::Syntax, message)
            .with_hint(
                "write a ASOF JOIN b ON a.k = b.k AND a.ts >= b.ts, or a JOIN b FOR SYSTEM_TIME AS OF PROCTIME() ON a.k = b.k",
            )
            .with_position(error::position(self.sql, at.span.start))
    }
}

/// A mark that waits for its condition.
struct Mark {
    /// How many parentheses were open.
    depth: usize,
    at: TokenWithSpan,
    call: Vec<Token>,
}

fn word(text: &str) -> Token {
    let keyword = match text {
        "LEFT" => Keyword::LEFT,
        "ON" => Keyword::ON,
        "AND" => Keyword::AND,
        _ => Keyword::NoKeyword,
    };
    Token::Word(Word { value: text.into(), quote_style: None, keyword })
}

fn begins_condition(token: &Token) -> bool {
    is_word(token, "ON") || is_word(token, "MATCH_CONDITION")
}

fn ends_join(token: &Token) -> bool {
    const WORDS: &[&str] =
        &["WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "UNION", "EXCEPT", "INTERSECT", "EMIT", "USING"];
    *token == Token::Comma || WORDS.iter().any(|w| is_word(token, w))
}

/// Gives every `weir_as_of(time)` of a join the column that says since when a row of its right side holds: its
/// watermark's.
///
/// # Errors
/// `InvalidDefinition` where the right side has none.
pub fn rewrite(query: &mut Query, watermark_of: WatermarkOf<'_>) -> Result<()> {
    match query.visit(&mut Versions { watermark_of }) {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Versions<'a> {
    watermark_of: WatermarkOf<'a>,
}

impl VisitorMut for Versions<'_> {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        for join in select.from.iter_mut().flat_map(|t| &mut t.joins) {
            let (JoinOperator::Join(JoinConstraint::On(on))
            | JoinOperator::Inner(JoinConstraint::On(on))
            | JoinOperator::Left(JoinConstraint::On(on))
            | JoinOperator::LeftOuter(JoinConstraint::On(on))) = &mut join.join_operator
            else {
                continue;
            };
            let Some(call) = version(on) else { continue };
            let table = window::plain_table(&join.relation);
            let since = table.and_then(|(object, alias)| {
                let column = (self.watermark_of)(object)?;
                parse_expr(&format!("{alias}.{}", name::quote(&column))).ok()
            });
            let Some(since) = since else {
                return ControlFlow::Break(
                    Error::new(
                        ErrorKind::InvalidDefinition,
                        "the right side of a join FOR SYSTEM_TIME AS OF a time column must be a source or table with a WATERMARK",
                    )
                    .with_hint("its watermark's column says since when a row holds; or write FOR SYSTEM_TIME AS OF PROCTIME()"),
                );
            };
            if let FunctionArguments::List(list) = &mut call.args {
                list.args.truncate(1);
                list.args.push(super::ast::FunctionArg::Unnamed(super::ast::FunctionArgExpr::Expr(since)));
            }
        }
        ControlFlow::Continue(())
    }
}

/// The mark `weir_as_of` among the conditions.
fn version(on: &mut Expr) -> Option<&mut Function> {
    match on {
        Expr::BinaryOp { left, op: super::ast::BinaryOperator::And, .. } => version(left),
        Expr::Function(f) if f.name.to_string() == AS_OF => Some(f),
        _ => None,
    }
}
