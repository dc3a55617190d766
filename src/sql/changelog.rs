//! `WITH c AS CHANGELOG FROM t`: the change stream of a table, view or source as rows that stay.
//!
//! ```text
//! c AS CHANGELOG FROM t  --tokens-->  c AS (SELECT * FROM weir_changelog(t))  --rewrite-->  … FROM weir_changelog.t
//! ```
//! The planner takes a name of the schema `weir_changelog` for the changelog of what is so named. Its column
//! `_changelog_row_id` is not one of `*`.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::ast::{
    ExceptSelectItem, Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, TableFactor, TableWithJoins, Visit, VisitMut, Visitor, VisitorMut,
    WildcardAdditionalOptions,
};
use super::cursor::is_word;
use super::{error, name};
use crate::common::{Error, ErrorKind, Result};

/// The mark, as a function of a table; then the schema of changelogs.
pub const CHANGELOG: &str = "weir_changelog";

/// The column that `*` leaves out.
const ROW_ID: &str = "_changelog_row_id";

/// Rewrites the tokens of one statement.
///
/// # Errors
/// `Syntax` where no name follows.
pub(super) fn with_marks(tokens: Vec<TokenWithSpan>, sql: &str) -> Result<Vec<TokenWithSpan>> {
    if !tokens.iter().any(|t| is_word(&t.token, "CHANGELOG")) {
        return Ok(tokens);
    }
    let tokens: Vec<_> = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|t: &TokenWithSpan| is_word(&t.token, word));
    let token = |at: usize| tokens.get(at).map(|t: &TokenWithSpan| &t.token);
    let mut marked = Vec::with_capacity(tokens.len() + 8);
    let mut at = 0;
    while let Some(t) = tokens.get(at) {
        marked.push(t.clone());
        at += 1;
        if !(is_word(&t.token, "AS") && is(at, "CHANGELOG") && is(at + 1, "FROM")) {
            continue;
        }
        let name = at + 2;
        let mut end = name;
        while matches!(token(end), Some(Token::Word(_))) {
            end += 1;
            if token(end) != Some(&Token::Period) {
                break;
            }
            end += 1;
        }
        let span = t.span;
        let push = |marked: &mut Vec<TokenWithSpan>, new: &[Token]| {
            marked.extend(new.iter().map(|token| TokenWithSpan { token: token.clone(), span }));
        };
        let Some(words) = tokens.get(name..end).filter(|words| !words.is_empty()) else {
            let at = tokens.get(name).map_or(t.span.end, |t| t.span.start);
            return Err(Error::new(ErrorKind::Syntax, "CHANGELOG FROM takes the name of a table, a view or a source")
                .with_hint("write WITH c AS CHANGELOG FROM t SELECT … FROM c")
                .with_position(error::position(sql, at)));
        };
        let (select, from) = (word("SELECT", Keyword::SELECT), word("FROM", Keyword::FROM));
        let mark = word(CHANGELOG, Keyword::NoKeyword);
        push(&mut marked, &[Token::LParen, select, Token::Mul, from, mark, Token::LParen]);
        marked.extend(words.iter().cloned());
        push(&mut marked, &[Token::RParen, Token::RParen]);
        at = end;
    }
    Ok(marked)
}

fn word(text: &str, keyword: Keyword) -> Token {
    Token::Word(Word { value: text.into(), quote_style: None, keyword })
}

/// Makes every mark a name of the schema of changelogs, and leaves the row id out of `*`.
///
/// # Errors
/// `NotSupported` for a query that is not a job's: a table does not keep its changes.
pub fn rewrite(query: &mut Query, streams: bool) -> Result<()> {
    let mut names = Names::default();
    let _ = Visit::visit(&*query, &mut names);
    if !names.found {
        return Ok(());
    }
    if !streams {
        return Err(Error::not_supported("a changelog can only be read by a materialized view or a sink")
            .with_hint("CREATE MATERIALIZED VIEW v AS WITH c AS CHANGELOG FROM t SELECT … FROM c, then read v"));
    }
    match VisitMut::visit(query, &mut Marks { names: &names.names }) {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn is_mark(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::Table { name, args: Some(_), .. } if is_mark_name(name))
}

/// Whether a function of this name reads the changelog of its argument.
pub(super) fn is_mark_name(name: &ObjectName) -> bool {
    matches!(name.0.as_slice(), [ObjectNamePart::Identifier(ident)] if ident.value == CHANGELOG)
}

/// The names that a WITH gives to changelogs.
#[derive(Default)]
struct Names {
    names: BTreeSet<String>,
    found: bool,
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        self.found |= is_mark(factor);
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let from = cte.query.body.as_select().map(|select| select.from.as_slice());
            if matches!(from, Some([only]) if only.joins.is_empty() && is_mark(&only.relation)) {
                self.names.insert(name::fold(&cte.alias.name));
            }
        }
        ControlFlow::Continue(())
    }
}

struct Marks<'n> {
    names: &'n BTreeSet<String>,
}

impl Marks<'_> {
    /// What a relation of FROM is called, if it is a changelog.
    fn called(&self, factor: &TableFactor) -> Option<String> {
        let TableFactor::Table { name, alias, args: None, .. } = factor else { return None };
        let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else { return None };
        let own = name::fold(ident);
        let alias = alias.as_ref().map(|alias| name::fold(&alias.name));
        self.names.contains(&own).then(|| alias.unwrap_or(own))
    }
}

impl VisitorMut for Marks<'_> {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        if is_mark(factor)
            && let TableFactor::Table { name, args, .. } = factor
        {
            let Some(table) = args.take().and_then(|args| table(&args.args)) else {
                return ControlFlow::Break(Error::new(ErrorKind::Syntax, "a changelog is of one table"));
            };
            name.0.push(ObjectNamePart::Identifier(table));
        }
        ControlFlow::Continue(())
    }

    /// Of two changelogs one keeps its id: they cannot both be in `*`, whose names would come twice.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        let joined = |t: &TableWithJoins| t.joins.iter().filter_map(|j| self.called(&j.relation)).collect::<Vec<_>>();
        let changelogs = select.from.iter().flat_map(|t| self.called(&t.relation).into_iter().chain(joined(t)));
        let changelogs: BTreeSet<String> = changelogs.collect();
        for item in select.projection.iter_mut().filter(|_| !changelogs.is_empty()) {
            match item {
                SelectItem::Wildcard(options) => leave_out(options),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(of), options) => {
                    let of = name::parts(of).ok().and_then(|mut parts| parts.pop());
                    if of.is_some_and(|of| changelogs.contains(&of)) {
                        leave_out(options);
                    }
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

fn leave_out(options: &mut WildcardAdditionalOptions) {
    match &mut options.opt_except {
        Some(except) => except.additional_elements.push(ROW_ID.into()),
        None => {
            let (first_element, additional_elements) = (ROW_ID.into(), Vec::new());
            options.opt_except = Some(ExceptSelectItem { first_element, additional_elements });
        }
    }
}

/// The name of the table that the mark takes; all objects live in one schema.
fn table(args: &[FunctionArg]) -> Option<Ident> {
    match args {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(ident)))] => Some(ident.clone()),
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(idents)))] => idents.last().cloned(),
        _ => None,
    }
}
