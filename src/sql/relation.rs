//! Changes names inside the text of a CREATE statement, and nothing else of it: what it reads may be renamed after it was
//! made, and SHOW CREATE must still say what would make it again.
//!
//! ```text
//! text --parse--> AST: where does FROM name it? --> spans --> the same text with other names there
//! ```
//!
//! Columns may be qualified with the relation's name (`t.a`): where some are, the relation keeps its old name as an alias.
//! Knows no catalog: a name that a WITH defines is not the relation's.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer};

use super::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, TableFactor, Visit,
    Visitor,
};
use super::cursor::{Cursor, is_word};
use super::dialect::DIALECT;
use super::{Statement, error, name, window};
use crate::common::{Error, Result};

/// What takes a relation's place in FROM.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// Its new name.
    Name(String),
    /// A query in parentheses that gives its columns as they were.
    Query(String),
}

/// `text`, a CREATE statement, with each relation of `places` in its new place.
///
/// # Errors
/// `Internal` for a text that is not a CREATE statement of one query.
pub fn replace(text: &str, places: &BTreeMap<String, Place>) -> Result<String> {
    let Some(query) = query(text)? else { return Ok(text.to_string()) };
    let tokens = tokens(text)?;
    let mut finder = Finder { places, scopes: Vec::new(), found: Vec::new() };
    let _ = Visit::visit(query.as_ref(), &mut finder);
    let sink = SinkHead::of(text)?;
    let mut edits = Vec::new();
    if let Some((table, at)) = sink.into
        && let Some(Place::Name(name)) = places.get(&table)
    {
        edits.push((at, name::quote(name)));
    }
    for Found { relation, at, call, aliased } in finder.found {
        let Some(place) = places.get(&relation) else { continue };
        let (Some(start), Some(end)) = (error::byte_offset(text, at.start), error::byte_offset(text, at.end)) else {
            return Err(Error::internal(format!("where {relation} stands in {text:?} is not known")));
        };
        if let (Some(from), Place::Query(query)) = (sink.from, place) {
            edits.push((from..end, format!("AS {query}")));
            continue;
        }
        let keeps_name = !aliased && (is_qualified(&tokens, &relation) || matches!(place, Place::Query(_)));
        let new = match place {
            Place::Name(name) => name::quote(name),
            Place::Query(query) => format!("({query})"),
        };
        edits.push((start..end, new));
        if keeps_name {
            let end = if call { closing(&tokens, text, end)? } else { end };
            edits.push((end..end, format!(" AS {}", name::quote(&relation))));
        }
    }
    Ok(edited(text, edits))
}

/// `text`, a CREATE statement, for an object of this name.
///
/// # Errors
/// `Internal` for a text that is not a CREATE statement.
pub fn with_name(text: &str, name: &str) -> Result<String> {
    Ok(edited(text, vec![(own_name(text)?.1, name::quote(name))]))
}

/// `text`, a CREATE VIEW, with these names for its columns.
///
/// # Errors
/// `Internal` for a text that is not a CREATE statement.
pub fn with_columns(text: &str, columns: &[&str]) -> Result<String> {
    let (mut cursor, at) = own_name(text)?;
    let mut edits = Vec::new();
    let names = columns.iter().map(|c| name::quote(c)).collect::<Vec<_>>().join(", ");
    if cursor.peek().token == Token::LParen {
        let start = error::byte_offset(text, cursor.peek().span.start);
        cursor.list(|c| c.ident())?;
        // Up to the word that follows, and a space before it.
        let end = error::byte_offset(text, cursor.peek().span.start);
        let (Some(start), Some(end)) = (start, end) else { return Err(unreadable(text)) };
        edits.push((start..end, format!("({names}) ")));
    } else {
        edits.push((at.end..at.end, format!(" ({names})")));
    }
    Ok(edited(text, edits))
}

fn is_name(token: &Token, name: &str) -> bool {
    match token {
        Token::Word(word) if word.quote_style.is_some() => word.value == name,
        Token::Word(word) => word.value.to_lowercase() == name,
        _ => false,
    }
}

/// What of a CREATE SINK stands before its query.
#[derive(Default)]
struct SinkHead {
    /// The table of INTO.
    into: Option<(String, Range<usize>)>,
    /// Where FROM of `CREATE SINK s FROM t` begins.
    from: Option<usize>,
}

impl SinkHead {
    fn of(text: &str) -> Result<Self> {
        let mut head = Self::default();
        let Ok((mut c, _)) = own_name(text) else { return Ok(head) };
        if c.take(&["INTO"]) {
            let table = c.relation()?;
            head.into = Some((name::object_name(&table)?, range(text, &table)?));
            if c.peek().token == Token::LParen {
                c.list(|c| c.ident())?;
            }
        }
        head.from = if c.at("FROM") { error::byte_offset(text, c.peek().span.start) } else { None };
        Ok(head)
    }
}

/// The query of a CREATE statement.
///
/// # Errors
/// `Internal` for a text that is no statement.
pub fn query(text: &str) -> Result<Option<Box<Query>>> {
    let parsed = super::parse(text)?.pop().ok_or_else(|| unreadable(text))?;
    Ok(match parsed.statement {
        Statement::CreateMaterializedView(v) => Some(v.query),
        Statement::CreateView(v) => Some(v.query),
        Statement::CreateSink(s) => Some(s.query),
        _ => None,
    })
}

fn unreadable(text: &str) -> Error {
    Error::internal(format!("the catalog keeps a statement that cannot be read: {text:?}"))
}

/// Where the object's own name stands, and a cursor behind it.
fn own_name(text: &str) -> Result<(Cursor<'_>, Range<usize>)> {
    let mut c = Cursor::new(tokens(text)?, text);
    c.expect(&["CREATE"])?;
    c.take(&["OR", "REPLACE"]);
    super::utility::kind(&mut c)?;
    c.take(&["IF", "NOT", "EXISTS"]);
    let name = c.relation()?;
    let at = range(text, &name)?;
    Ok((c, at))
}

/// Where the name stands.
fn range(text: &str, name: &ObjectName) -> Result<Range<usize>> {
    let Span { start, end } = span(name.0.iter().filter_map(|part| part.as_ident()));
    match (error::byte_offset(text, start), error::byte_offset(text, end)) {
        (Some(start), Some(end)) => Ok(start..end),
        _ => Err(unreadable(text)),
    }
}

fn tokens(text: &str) -> Result<Vec<TokenWithSpan>> {
    Tokenizer::new(&DIALECT, text).tokenize_with_location().map_err(|_| unreadable(text))
}

/// Whether a column is qualified with this name anywhere.
fn is_qualified(tokens: &[TokenWithSpan], relation: &str) -> bool {
    tokens.windows(2).any(|pair| match pair {
        [word, TokenWithSpan { token: Token::Period, .. }] => is_name(&word.token, relation),
        _ => false,
    })
}

/// The byte behind the parenthesis that closes the call which `inside` is an argument of.
fn closing(tokens: &[TokenWithSpan], text: &str, inside: usize) -> Result<usize> {
    let mut depth = 0usize;
    let mut closed = None;
    for t in tokens {
        if error::byte_offset(text, t.span.start).is_none_or(|start| start < inside) {
            continue;
        }
        match t.token {
            Token::LParen => depth += 1,
            Token::RParen if depth > 0 => depth -= 1,
            Token::RParen => {
                closed = Some(t.span.end);
                break;
            }
            _ => {}
        }
    }
    // TABLE(TUMBLE(…)): what is aliased is the outer one.
    let Some(mut closed) = closed else { return Err(unreadable(text)) };
    let table = tokens
        .iter()
        .rev()
        .filter(|t| !matches!(t.token, Token::Whitespace(_)))
        .skip_while(|t| error::byte_offset(text, t.span.start).is_none_or(|start| start >= inside));
    let before: Vec<&Token> = table.map(|t| &t.token).take(6).collect();
    let wrapped = before.windows(2).any(|pair| pair == [&Token::LParen, pair[1]] && is_word(pair[1], "TABLE"));
    if wrapped {
        let next = tokens.iter().find(|t| t.span.start >= closed && !matches!(t.token, Token::Whitespace(_)));
        if let Some(TokenWithSpan { token: Token::RParen, span }) = next {
            closed = span.end;
        }
    }
    error::byte_offset(text, closed).ok_or_else(|| unreadable(text))
}

/// The text with the edits made; they do not overlap.
fn edited(text: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    edits.sort_by_key(|(at, _)| (at.start, at.end));
    let mut out = text.to_string();
    for (at, new) in edits.into_iter().rev() {
        out.replace_range(at, &new);
    }
    out
}

fn span<'i>(idents: impl Iterator<Item = &'i Ident>) -> Span {
    idents.fold(Span::empty(), |all, ident| all.union(&ident.span))
}

/// A relation's name in FROM.
struct Found {
    relation: String,
    at: Span,
    /// It is the argument of a window.
    call: bool,
    aliased: bool,
}

/// Names that a WITH defines, while the query that has it is walked.
struct Scope {
    /// The queries of the WITH, by where they are, with their names; not yet walked.
    pending: Vec<(*const Query, String)>,
    defined: Vec<String>,
    own: *const Query,
}

struct Finder<'p> {
    places: &'p BTreeMap<String, Place>,
    scopes: Vec<Scope>,
    found: Vec<Found>,
}

impl Finder<'_> {
    fn note(&mut self, idents: &[&Ident], call: bool, aliased: bool) {
        let relation = match idents {
            [relation] => name::fold(relation),
            [.., schema, relation] if name::fold(schema) == "public" => name::fold(relation),
            _ => return,
        };
        let defined = idents.len() == 1 && self.scopes.iter().any(|s| s.defined.contains(&relation));
        if self.places.contains_key(&relation) && !defined {
            self.found.push(Found { relation, at: span(idents.iter().copied()), call, aliased });
        }
    }
}

impl Visitor for Finder<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let mut scope = Scope { pending: Vec::new(), defined: Vec::new(), own: query };
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                let name = name::fold(&cte.alias.name);
                match with.recursive {
                    true => scope.defined.push(name),
                    false => scope.pending.push((cte.query.as_ref(), name)),
                }
            }
        }
        self.scopes.push(scope);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.scopes.pop_if(|s| std::ptr::eq(s.own, query));
        if let Some(outer) = self.scopes.last_mut() {
            let defines = outer.pending.iter().find(|(cte, _)| std::ptr::eq(*cte, query));
            outer.defined.extend(defines.map(|(_, name)| name.clone()));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let (function, args, alias) = match factor {
            TableFactor::Table { name, args: None, alias, .. } => {
                let idents: Vec<&Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
                self.note(&idents, false, alias.is_some());
                return ControlFlow::Continue(());
            }
            TableFactor::Table { name, args: Some(args), alias, .. } => (name, args.args.as_slice(), alias),
            TableFactor::Function { name, args, alias, .. } => (name, args.as_slice(), alias),
            TableFactor::TableFunction {
                expr: Expr::Function(Function { name, args: FunctionArguments::List(list), .. }),
                alias,
            } => (name, list.args.as_slice(), alias),
            _ => return ControlFlow::Continue(()),
        };
        if is_window(function)
            && let Some(idents) = input(args)
        {
            self.note(&idents, true, alias.is_some());
        }
        ControlFlow::Continue(())
    }
}

/// Or a changelog's mark, or one that fills gaps.
fn is_window(function: &ObjectName) -> bool {
    super::changelog::is_mark_name(function)
        || matches!(function.0.as_slice(), [part] if part.as_ident().is_some_and(|i| super::gap_fill::is_name(&i.value)))
        || matches!(function.0.as_slice(), [part] if part.as_ident().is_some_and(|i| window::is_window_name(&i.value)))
}

/// What a window reads: its first argument, or the one named DATA.
fn input(args: &[FunctionArg]) -> Option<Vec<&Ident>> {
    let named = args.iter().find_map(|arg| match arg {
        FunctionArg::Named { name, arg, .. } if name.value.eq_ignore_ascii_case("data") => Some(arg),
        FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } if name.value.eq_ignore_ascii_case("data") => {
            Some(arg)
        }
        _ => None,
    });
    let first = args.first().and_then(|arg| match arg {
        FunctionArg::Unnamed(arg) => Some(arg),
        _ => None,
    });
    match named.or(first)? {
        FunctionArgExpr::Expr(Expr::Identifier(ident)) => Some(vec![ident]),
        FunctionArgExpr::Expr(Expr::CompoundIdentifier(idents)) => Some(idents.iter().collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_renamed_where_they_are_read() {
        let places = BTreeMap::from([("t".to_string(), Place::Name("New t".into()))]);
        for (text, expected) in [
            ("CREATE VIEW v AS SELECT a FROM t", "CREATE VIEW v AS SELECT a FROM \"New t\""),
            (
                "CREATE VIEW v AS\n  SELECT t.a, 't' AS t FROM  T\n WHERE ä = 1",
                "CREATE VIEW v AS\n  SELECT t.a, 't' AS t FROM  \"New t\" AS t\n WHERE ä = 1",
            ),
            (
                "CREATE VIEW v AS SELECT x.a FROM public.t AS x JOIN u ON x.t = u.t",
                "CREATE VIEW v AS SELECT x.a FROM \"New t\" AS x JOIN u ON x.t = u.t",
            ),
            (
                "CREATE VIEW v AS WITH t AS (SELECT * FROM t) SELECT * FROM t",
                "CREATE VIEW v AS WITH t AS (SELECT * FROM \"New t\") SELECT * FROM t",
            ),
            (
                "CREATE VIEW v AS SELECT * FROM u WHERE EXISTS (WITH t AS (SELECT 1) SELECT * FROM t) AND a IN (SELECT t FROM t)",
                "CREATE VIEW v AS SELECT * FROM u WHERE EXISTS (WITH t AS (SELECT 1) SELECT * FROM t) AND a IN (SELECT t FROM \"New t\")",
            ),
            (
                "CREATE MATERIALIZED VIEW v AS SELECT t.a FROM TUMBLE(t, ts, INTERVAL '1 minute') GROUP BY t.a EMIT ON WINDOW CLOSE",
                "CREATE MATERIALIZED VIEW v AS SELECT t.a FROM TUMBLE(\"New t\", ts, INTERVAL '1 minute') AS t GROUP BY t.a EMIT ON WINDOW CLOSE",
            ),
            (
                "CREATE VIEW v AS SELECT t.a FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1 minute'))",
                "CREATE VIEW v AS SELECT t.a FROM TABLE(TUMBLE(TABLE \"New t\", DESCRIPTOR(ts), INTERVAL '1 minute')) AS t",
            ),
            (
                "CREATE SINK s FROM t WITH (connector = 'blackhole', t = 't')",
                "CREATE SINK s FROM \"New t\" WITH (connector = 'blackhole', t = 't')",
            ),
            (
                "CREATE SINK s AS SELECT * FROM t EMIT ON UPDATE WITH (connector = 'blackhole')",
                "CREATE SINK s AS SELECT * FROM \"New t\" EMIT ON UPDATE WITH (connector = 'blackhole')",
            ),
            ("CREATE TABLE t (t INT)", "CREATE TABLE t (t INT)"),
        ] {
            assert_eq!(replace(text, &places).unwrap(), expected);
        }
    }

    #[test]
    fn names_are_swapped_at_once() {
        let name = |n: &str| Place::Name(n.into());
        let places = BTreeMap::from([("a".to_string(), name("b")), ("b".to_string(), name("a"))]);
        assert_eq!(
            replace("CREATE VIEW v AS SELECT a.x FROM a, b, c", &places).unwrap(),
            "CREATE VIEW v AS SELECT a.x FROM b AS a, a, c"
        );
    }

    #[test]
    fn a_query_takes_a_place_under_the_same_name() {
        let places = BTreeMap::from([("t".to_string(), Place::Query("SELECT b AS a FROM t".into()))]);
        for (text, expected) in [
            (
                "CREATE VIEW v AS SELECT a FROM t, t AS x",
                "CREATE VIEW v AS SELECT a FROM (SELECT b AS a FROM t) AS t, (SELECT b AS a FROM t) AS x",
            ),
            (
                "CREATE VIEW v AS SELECT a FROM TUMBLE(t, ts, INTERVAL '1 minute')",
                "CREATE VIEW v AS SELECT a FROM TUMBLE((SELECT b AS a FROM t), ts, INTERVAL '1 minute') AS t",
            ),
            (
                "CREATE SINK s FROM t WITH (connector = 'blackhole')",
                "CREATE SINK s AS SELECT b AS a FROM t WITH (connector = 'blackhole')",
            ),
        ] {
            assert_eq!(replace(text, &places).unwrap(), expected);
        }
    }

    #[test]
    fn own_names_and_columns() {
        for (text, named, columns) in [
            (
                "create materialized view if not exists v as select 1",
                "create materialized view if not exists \"N\" as select 1",
                "create materialized view if not exists v (a, \"B\") as select 1",
            ),
            (
                "CREATE OR REPLACE VIEW public.v (x, y) AS SELECT 1",
                "CREATE OR REPLACE VIEW \"N\" (x, y) AS SELECT 1",
                "CREATE OR REPLACE VIEW public.v (a, \"B\") AS SELECT 1",
            ),
        ] {
            assert_eq!(with_name(text, "N").unwrap(), named);
            assert_eq!(with_columns(text, &["a", "B"]).unwrap(), columns);
        }
    }
}
