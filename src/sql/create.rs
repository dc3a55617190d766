//! `CREATE SOURCE | TABLE | MATERIALIZED VIEW | VIEW | SINK`; of what else can be created, where it is read.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::cursor::{Cursor, is_word};
use super::options::{no_secret, options, plain};
use super::statement::{
    ColumnDef, CreateMaterializedView, CreateSink, CreateSource, CreateTable, CreateTableAs, CreateView, Emit,
    SinkTarget, Statement, WatermarkDef,
};
use super::{ast, function, index, interval, name, role, secret, sequence, types, unsupported};
use crate::common::{Error, ErrorKind, Result};
use crate::types::{Conflict, OnCommit, OptionValue, WatermarkLimits, WithOptions};

pub(super) fn create(c: &mut Cursor) -> Result<Statement> {
    c.expect(&["CREATE"])?;
    let or_replace = c.take(&["OR", "REPLACE"]);
    if c.take(&["FUNCTION"]) {
        return function::create(c, or_replace);
    }
    if or_replace && !c.at("VIEW") && !c.at("MATERIALIZED") {
        return Err(c
            .not_supported("OR REPLACE is only supported for functions and views")
            .with_hint("DROP the object first, or write CREATE … IF NOT EXISTS"));
    }
    if c.take(&["ROLE"]) {
        role::create(c, false)
    } else if c.take(&["SECRET"]) {
        secret::create(c)
    } else if c.take(&["SEQUENCE"]) {
        sequence::create(c)
    } else if c.take(&["USER"]) {
        role::create(c, true)
    } else if c.take(&["SOURCE"]) {
        source(c)
    } else if c.take(&["TABLE"]) {
        table(c, false)
    } else if take_temporary(c) {
        if !c.take(&["TABLE"]) {
            return Err(c
                .not_supported("only tables can be temporary")
                .with_hint("leave TEMPORARY out, and DROP it when it is not needed any more"));
        }
        table(c, true)
    } else if c.take(&["MATERIALIZED", "VIEW"]) {
        materialized_view(c, or_replace)
    } else if c.take(&["VIEW"]) {
        view(c, or_replace)
    } else if c.take(&["SINK"]) {
        sink(c)
    } else if c.take(&["INDEX"]) {
        index::create(c)
    } else if c.at("UNIQUE") {
        Err(c
            .not_supported("a unique index is not supported")
            .with_hint("a table's PRIMARY KEY is unique; CREATE INDEX without UNIQUE serves reads"))
    } else {
        let word = c.peek().token.to_string().to_uppercase();
        match c.peek().token {
            Token::Word(_) => Err(c.not_supported(&format!("CREATE {word} is not supported")).with_hint(
                "what can be created: SOURCE, TABLE, MATERIALIZED VIEW, VIEW, SINK, INDEX, FUNCTION, ROLE, SECRET, SEQUENCE",
            )),
            _ => Err(c.unexpected("SOURCE, TABLE, MATERIALIZED VIEW, VIEW or SINK")),
        }
    }
}

fn source(c: &mut Cursor) -> Result<Statement> {
    let if_not_exists = c.take(&["IF", "NOT", "EXISTS"]);
    let name = c.object_name()?;
    let elements = elements(c)?;
    if !elements.primary_key.is_empty() {
        return Err(Error::not_supported("a source has no primary key")
            .with_hint("write CREATE TABLE with the same connector: it keeps one row a key"));
    }
    if let Some(column) = elements.columns.iter().find(|column| column.sequence.is_some()) {
        return Err(Error::not_supported(format!("column \"{}\" of a source takes its values from it", column.name))
            .with_hint("SERIAL and IDENTITY are for tables"));
    }
    let mut options = options(c)?;
    let Elements { columns, mut watermark, .. } = elements;
    take_limits(&mut options, watermark.as_mut())?;
    Ok(Statement::CreateSource(CreateSource { name, if_not_exists, columns, watermark, options }))
}

/// `[LOCAL | GLOBAL] TEMP[ORARY]`.
fn take_temporary(c: &mut Cursor) -> bool {
    [&["TEMP"] as &[&str], &["TEMPORARY"], &["LOCAL", "TEMP"], &["LOCAL", "TEMPORARY"], &["GLOBAL", "TEMP"]]
        .into_iter()
        .chain([&["GLOBAL", "TEMPORARY"] as &[&str]])
        .any(|words| c.take(words))
}

/// `ON COMMIT …`, if it comes next.
fn on_commit(c: &mut Cursor, temporary: bool) -> Result<Option<OnCommit>> {
    if !c.at("ON") || !is_word(c.peek_nth(1), "COMMIT") {
        return Ok(None);
    }
    if !temporary {
        return Err(Error::new(ErrorKind::InvalidDefinition, "ON COMMIT can only be used on temporary tables")
            .with_position(c.position()));
    }
    c.expect(&["ON", "COMMIT"])?;
    if c.take(&["PRESERVE", "ROWS"]) {
        Ok(Some(OnCommit::PreserveRows))
    } else if c.take(&["DELETE", "ROWS"]) {
        Ok(Some(OnCommit::DeleteRows))
    } else if c.take(&["DROP"]) {
        Ok(Some(OnCommit::Drop))
    } else {
        Err(c.unexpected("PRESERVE ROWS, DELETE ROWS or DROP"))
    }
}

fn table(c: &mut Cursor, temporary: bool) -> Result<Statement> {
    let if_not_exists = c.take(&["IF", "NOT", "EXISTS"]);
    let name = c.object_name()?;
    let only_names = matches!(c.peek_nth(2), Token::Comma | Token::RParen) && c.peek().token == Token::LParen;
    if c.at("AS") || c.at("ON") || only_names {
        return table_as(c, name, if_not_exists, temporary);
    }
    let Elements { columns, primary_key, mut watermark } = elements(c)?;
    let mut append_only = false;
    let mut conflict = None;
    let mut at_commit = None;
    loop {
        if c.take(&["APPEND", "ONLY"]) {
            append_only = true;
        } else if c.take(&["ON", "CONFLICT"]) {
            conflict = Some(on_conflict(c)?);
        } else if let Some(on_commit) = on_commit(c, temporary)? {
            at_commit = Some(on_commit);
        } else {
            break;
        }
    }
    if conflict.is_some() && primary_key.is_empty() {
        return Err(Error::new(ErrorKind::InvalidDefinition, "ON CONFLICT needs a primary key")
            .with_hint("add PRIMARY KEY (…), or leave ON CONFLICT out"));
    }
    if append_only && matches!(conflict, Some(Conflict::Overwrite | Conflict::UpdateIfNotNull)) {
        return Err(Error::new(ErrorKind::InvalidDefinition, "an APPEND ONLY table cannot overwrite rows")
            .with_hint("write ON CONFLICT DO NOTHING, or leave APPEND ONLY out"));
    }
    let mut options = options(c)?;
    if options.contains_key(IDLE_TIMEOUT) {
        return Err(Error::not_supported("idle_timeout on a table is not supported yet")
            .with_hint("make it a SOURCE: what holds back the others of a view is known there"));
    }
    take_limits(&mut options, watermark.as_mut())?;
    if temporary && !options.is_empty() {
        return Err(Error::not_supported("a temporary table has no connector")
            .with_hint("leave WITH out, or leave TEMPORARY out"));
    }
    let temporary = temporary.then(|| at_commit.unwrap_or_default());
    for (word, hint) in [
        ("INCLUDE", "leave it out: a connector's columns are those of its records"),
        ("PARTITION", "leave it out: rows are kept in the order of the key"),
        ("INHERITS", "a view with UNION ALL reads several tables as one"),
        ("TABLESPACE", "leave it out: everything is in the data folder"),
        ("USING", "leave it out"),
    ] {
        if c.at(word) {
            return Err(c.not_supported(&format!("{word} of a table is not supported")).with_hint(hint));
        }
    }
    Ok(Statement::CreateTable(CreateTable {
        name,
        if_not_exists,
        temporary,
        columns,
        primary_key,
        conflict,
        watermark,
        append_only,
        options,
    }))
}

fn table_as(c: &mut Cursor, name: String, if_not_exists: bool, temporary: bool) -> Result<Statement> {
    let columns = column_names(c)?;
    let at_commit = on_commit(c, temporary)?;
    let temporary = temporary.then(|| at_commit.unwrap_or_default());
    c.expect(&["AS"])?;
    let query = c.with(Parser::parse_query)?;
    let with_data = !c.take(&["WITH", "NO", "DATA"]);
    if with_data {
        c.take(&["WITH", "DATA"]);
    }
    Ok(Statement::CreateTableAs(CreateTableAs { name, if_not_exists, temporary, columns, query, with_data }))
}

fn on_conflict(c: &mut Cursor) -> Result<Conflict> {
    if c.take(&["OVERWRITE"]) || c.take(&["DO", "UPDATE", "FULL"]) {
        Ok(Conflict::Overwrite)
    } else if c.take(&["IGNORE"]) || c.take(&["DO", "NOTHING"]) {
        Ok(Conflict::DoNothing)
    } else if c.take(&["DO", "UPDATE", "IF", "NOT", "NULL"]) {
        Ok(Conflict::UpdateIfNotNull)
    } else {
        Err(c.unexpected("OVERWRITE, DO NOTHING or DO UPDATE IF NOT NULL"))
    }
}

const IDLE_TIMEOUT: &str = "idle_timeout";
const MAX_FUTURE_SKEW: &str = "max_future_skew";

/// Moves what WITH says of the watermark to it: the rest is the connector's.
fn take_limits(options: &mut WithOptions, watermark: Option<&mut WatermarkDef>) -> Result<()> {
    let mut length = |name: &str| match options.remove(name).map(|value| match value {
        OptionValue::Text(text) => interval::of_text(&text),
        OptionValue::Secret { .. } => Err(no_secret(name)),
    }) {
        None => Ok(None),
        Some(Ok(micros)) if micros > 0 => Ok(Some(micros)),
        Some(Ok(_)) => Err(Error::new(ErrorKind::InvalidParameterValue, format!("{name} must be above zero"))),
        Some(Err(e)) => Err(e.context(name)),
    };
    let limits = WatermarkLimits { idle_timeout: length(IDLE_TIMEOUT)?, max_future_skew: length(MAX_FUTURE_SKEW)? };
    match watermark {
        Some(watermark) => watermark.limits = limits,
        None if limits == WatermarkLimits::default() => {}
        None => {
            let message = "idle_timeout and max_future_skew say how a watermark moves, and there is none";
            return Err(Error::new(ErrorKind::InvalidDefinition, message)
                .with_hint("add WATERMARK FOR ts AS ts - INTERVAL '5 seconds' to the columns"));
        }
    }
    Ok(())
}

/// What stands in the parentheses of CREATE SOURCE and CREATE TABLE.
#[derive(Default)]
struct Elements {
    columns: Vec<ColumnDef>,
    primary_key: Vec<String>,
    watermark: Option<WatermarkDef>,
}

fn elements(c: &mut Cursor) -> Result<Elements> {
    let mut elements = Elements::default();
    if c.peek().token != Token::LParen {
        return Ok(elements);
    }
    if matches!(c.peek_nth(1), Token::RParen) {
        c.expect_token(&Token::LParen)?;
        c.expect_token(&Token::RParen)?;
        return Ok(elements);
    }
    c.list(|c| element(c, &mut elements))?;
    // A key column is never null.
    for column in &mut elements.columns {
        column.nullable &= !elements.primary_key.contains(&column.name);
    }
    Ok(elements)
}

/// Whether the word after the next is no type's name.
fn is_table_name(c: &Cursor) -> bool {
    let Token::Word(word) = c.peek_nth(1) else { return false };
    let name = ast::ObjectName::from(vec![ast::Ident::new(&word.value)]);
    let plain = word.keyword == Keyword::NoKeyword;
    plain && types::arrow(&ast::DataType::Custom(name, Vec::new())).is_err()
}

fn element(c: &mut Cursor, elements: &mut Elements) -> Result<()> {
    let at = c.position();
    if c.take(&["WATERMARK", "FOR"]) {
        if elements.watermark.replace(watermark(c)?).is_some() {
            return Err(Error::not_supported("only one WATERMARK is supported").with_position(at));
        }
        return Ok(());
    }
    if c.take_token(&Token::Mul) {
        return Ok(());
    }
    let named = c.take(&["CONSTRAINT"]);
    if named {
        c.ident()?;
    }
    if c.take(&["PRIMARY", "KEY"]) {
        let key = c.list(|c| c.ident())?;
        return set_primary_key(elements, key, at);
    }
    for (word, name) in
        [("UNIQUE", "a UNIQUE"), ("CHECK", "a CHECK"), ("FOREIGN", "a FOREIGN KEY"), ("EXCLUDE", "an EXCLUDE")]
    {
        let next = c.peek_nth(1);
        let is_column = !named && matches!(next, Token::Word(_)) && !is_word(next, "KEY") && !is_word(next, "USING");
        if c.at(word) && !is_column {
            return Err(c
                .not_supported(&format!("{name} constraint is not supported"))
                .with_hint(unsupported::constraint(word)));
        }
    }
    // A column may have the name.
    if c.at("LIKE") && matches!(c.peek_nth(2), Token::RParen | Token::Comma | Token::Word(_)) && is_table_name(c) {
        return Err(c
            .not_supported("LIKE is not supported")
            .with_hint("write the columns, or CREATE TABLE u AS SELECT * FROM t WITH NO DATA"));
    }
    let (def, is_key) = column(c)?;
    let name = &def.name;
    if elements.columns.iter().any(|other| other.name == *name) {
        return Err(Error::new(ErrorKind::DuplicateColumn, format!("column \"{name}\" specified more than once"))
            .with_position(at));
    }
    if is_key {
        set_primary_key(elements, vec![name.clone()], at)?;
    }
    elements.columns.push(def);
    Ok(())
}

/// `name type [NOT NULL | DEFAULT … | PRIMARY KEY]`, and whether it says that it is the key.
pub(super) fn column(c: &mut Cursor) -> Result<(ColumnDef, bool)> {
    let at = c.position();
    let column = c.with(Parser::parse_column_def)?;
    let name = name::fold(&column.name);
    let mut is_key = false;
    let serial = sequence::serial(&column.data_type);
    let is_serial = serial.is_some();
    let data_type = serial.unwrap_or(column.data_type);
    let mark = types::mark(&data_type);
    let data_type = types::arrow(&data_type).map_err(|e| e.with_position(at))?;
    let sequence = if is_serial { Some(sequence::of_serial(&data_type)?) } else { None };
    let mut def = ColumnDef { name, data_type, mark, nullable: !is_serial, default: None, sequence };
    for option in column.options {
        match option.option {
            ast::ColumnOption::Null => {}
            ast::ColumnOption::NotNull => def.nullable = false,
            ast::ColumnOption::Default(value) => def.default = Some(value.to_string()),
            ast::ColumnOption::PrimaryKey(_) => is_key = true,
            ast::ColumnOption::Generated { generated_as, sequence_options, generation_expr: None, .. } => {
                let said = sequence_options.unwrap_or_default();
                let identity = sequence::of_identity(generated_as, &said, &def.data_type);
                def.sequence = Some(identity.map_err(|e| e.with_position(at))?);
                def.nullable = false;
            }
            other => {
                let text = other.to_string();
                let hint = match text.split([' ', '(']).next().unwrap_or_default() {
                    word @ ("UNIQUE" | "CHECK" | "REFERENCES") => unsupported::constraint(word),
                    "GENERATED" => "compute it in a view: CREATE VIEW v AS SELECT *, … AS c FROM t",
                    "COLLATE" => "leave it out: text is ordered by its bytes",
                    _ => "columns take NOT NULL, DEFAULT, PRIMARY KEY and GENERATED … AS IDENTITY",
                };
                return Err(Error::not_supported(format!("{text} on a column is not supported"))
                    .with_hint(hint)
                    .with_position(at));
            }
        }
    }
    if def.sequence.is_some() && def.default.is_some() {
        let message = format!("multiple default values specified for column \"{}\"", def.name);
        return Err(Error::new(ErrorKind::Syntax, message).with_position(at));
    }
    Ok((def, is_key))
}

fn set_primary_key(elements: &mut Elements, key: Vec<String>, at: usize) -> Result<()> {
    if !elements.primary_key.is_empty() {
        return Err(Error::new(ErrorKind::InvalidDefinition, "a table has one primary key").with_position(at));
    }
    elements.primary_key = key;
    Ok(())
}

/// `column AS column [- INTERVAL '…']`, after WATERMARK FOR.
fn watermark(c: &mut Cursor) -> Result<WatermarkDef> {
    let column = c.ident()?;
    c.expect(&["AS"])?;
    let at = c.position();
    let expr = c.with(Parser::parse_expr)?;
    let is_column = |e: &ast::Expr| matches!(e, ast::Expr::Identifier(i) if name::fold(i) == column);
    let delay_micros = match &expr {
        e if is_column(e) => Some(0),
        ast::Expr::BinaryOp { left, op: ast::BinaryOperator::Minus, right } if is_column(left) => {
            Some(interval::fixed_micros(right).map_err(|e| e.with_position(at))?)
        }
        _ => None,
    };
    match delay_micros {
        Some(delay_micros) if delay_micros >= 0 => {
            Ok(WatermarkDef { column, delay_micros, limits: WatermarkLimits::default() })
        }
        _ => Err(Error::not_supported(format!("WATERMARK FOR {column} AS {expr} is not supported"))
            .with_hint(format!("write WATERMARK FOR {column} AS {column} - INTERVAL '5 seconds'"))
            .with_position(at)),
    }
}

fn materialized_view(c: &mut Cursor, or_replace: bool) -> Result<Statement> {
    let if_not_exists = c.take(&["IF", "NOT", "EXISTS"]);
    let name = c.object_name()?;
    let columns = column_names(c)?;
    let before = take_emit(c)?;
    let options = plain(options(c)?)?;
    let between = take_emit(c)?;
    c.expect(&["AS"])?;
    let mut body = c.rest();
    let with_data = cut(&mut body, &["WITH", "DATA"]);
    if !with_data && cut(&mut body.clone(), &["WITH", "NO", "DATA"]) {
        return Err(Error::not_supported("a materialized view has its rows at all times")
            .with_hint("leave WITH NO DATA out; SET background_ddl = true fills it in the background"));
    }
    let (query, behind) = emitting_query(&mut c.fork(body))?;
    Ok(Statement::CreateMaterializedView(CreateMaterializedView {
        name,
        or_replace,
        if_not_exists,
        columns,
        options,
        query,
        emit: before.or(between).or(behind).unwrap_or_default(),
    }))
}

/// Takes the words off the end of a statement.
fn cut(body: &mut Vec<TokenWithSpan>, words: &[&str]) -> bool {
    let solid = |(_, t): &(usize, &TokenWithSpan)| !matches!(t.token, Token::Whitespace(_) | Token::EOF);
    let last: Vec<_> = body.iter().enumerate().filter(solid).rev().take(words.len()).collect();
    let found =
        last.len() == words.len() && last.iter().zip(words.iter().rev()).all(|((_, t), w)| is_word(&t.token, w));
    let start = last.last().map_or(0, |(at, _)| *at);
    if found {
        body.truncate(start);
    }
    found
}

fn view(c: &mut Cursor, or_replace: bool) -> Result<Statement> {
    let if_not_exists = c.take(&["IF", "NOT", "EXISTS"]);
    let name = c.object_name()?;
    let columns = column_names(c)?;
    c.expect(&["AS"])?;
    let query = c.last_query()?;
    Ok(Statement::CreateView(CreateView { name, or_replace, if_not_exists, columns, query }))
}

fn sink(c: &mut Cursor) -> Result<Statement> {
    let if_not_exists = c.take(&["IF", "NOT", "EXISTS"]);
    let name = c.object_name()?;
    let into = match c.take(&["INTO"]) {
        true => Some(SinkTarget { table: c.object_name()?, columns: column_names(c)? }),
        false => None,
    };
    let (query, emit, options) = if c.take(&["FROM"]) {
        let from = c.relation()?;
        let emit = take_emit(c)?;
        let options = options(c)?;
        (all_of(&from)?, emit, options)
    } else {
        c.expect(&["AS"])?;
        // FROM t WITH (…) would be read as hints on t: the options are cut off first.
        let mut body = c.rest();
        let tail = body.split_off(options_start(&body).unwrap_or(body.len()));
        let (query, emit) = emitting_query(&mut c.fork(body))?;
        let mut tail = c.fork(tail);
        let options = options(&mut tail)?;
        tail.expect_end()?;
        (query, emit, options)
    };
    if options.is_empty() && into.is_none() {
        return Err(Error::new(ErrorKind::Syntax, "a sink needs to know where it writes")
            .with_hint("add WITH (connector = 'file', path = '…') FORMAT PLAIN ENCODE JSON, or write INTO a table"));
    }
    Ok(Statement::CreateSink(CreateSink { name, if_not_exists, into, query, emit: emit.unwrap_or_default(), options }))
}

/// `SELECT * FROM from`, where `from` keeps its place in the text.
fn all_of(from: &ast::ObjectName) -> Result<Box<ast::Query>> {
    let mut query = super::parse_query("SELECT * FROM t")?;
    let _ = ast::visit_relations_mut(&mut query, |relation| {
        relation.clone_from(from);
        ControlFlow::<()>::Continue(())
    });
    Ok(query)
}

/// Where the last `WITH (` outside of parentheses begins.
fn options_start(tokens: &[TokenWithSpan]) -> Option<usize> {
    let mut depth = 0usize;
    let mut found = None;
    let mut with = None;
    for (i, t) in tokens.iter().enumerate() {
        match &t.token {
            Token::Whitespace(_) => continue,
            Token::LParen => {
                if depth == 0 && with.is_some() {
                    found = with;
                }
                depth += 1;
            }
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        with = (depth == 0 && is_word(&t.token, "WITH")).then_some(i);
    }
    found
}

fn column_names(c: &mut Cursor) -> Result<Vec<String>> {
    if c.peek().token == Token::LParen { c.list(|c| c.ident()) } else { Ok(Vec::new()) }
}

/// `EMIT ON WINDOW CLOSE [WITH TIMEOUT …]` or `EMIT ON UPDATE`, if it comes next.
fn take_emit(c: &mut Cursor) -> Result<Option<Emit>> {
    if !c.at("EMIT") {
        return Ok(None);
    }
    if c.take(&["EMIT", "ON", "WINDOW", "CLOSE"]) {
        let timeout = if c.take(&["WITH", "TIMEOUT"]) { Some(timeout(c)?) } else { None };
        return Ok(Some(Emit::OnWindowClose { timeout }));
    }
    if c.take(&["EMIT", "ON", "UPDATE"]) {
        return Ok(Some(Emit::OnUpdate));
    }
    Err(Error::new(ErrorKind::Syntax, "EMIT must be followed by ON WINDOW CLOSE or ON UPDATE")
        .with_position(c.position()))
}

/// `'10 seconds'` or `INTERVAL '10' SECOND`, in microseconds, above zero.
fn timeout(c: &mut Cursor) -> Result<i64> {
    let at = c.position();
    let micros = match c.peek().token {
        Token::SingleQuotedString(_) => interval::of_text(&c.string()?),
        _ => interval::fixed_micros(&c.with(Parser::parse_expr)?),
    };
    match micros.map_err(|e| e.with_position(at))? {
        micros if micros > 0 => Ok(micros),
        _ => Err(Error::new(ErrorKind::InvalidParameterValue, "a timeout must be above zero").with_position(at)),
    }
}

/// A query with EMIT behind it. EMIT is cut off first: `FROM t EMIT` would be read as an alias of t.
fn emitting_query(c: &mut Cursor) -> Result<(Box<ast::Query>, Option<Emit>)> {
    let mut body = c.rest();
    let solid = |t: &&TokenWithSpan| !matches!(t.token, Token::Whitespace(_));
    let starts = |i: &usize| {
        let mut next = body.iter().skip(*i).filter(solid).map(|t| &t.token);
        next.next().is_some_and(|t| is_word(t, "EMIT"))
            && next.next().is_some_and(|t| is_word(t, "ON"))
            && next.next().is_some_and(|t| is_word(t, "WINDOW") || is_word(t, "UPDATE"))
    };
    let emits = body.iter().enumerate().filter(|(_, t)| is_word(&t.token, "EMIT")).map(|(i, _)| i);
    let start = emits.into_iter().find(starts);
    let tail = body.split_off(start.unwrap_or(body.len()));
    let query = c.fork(body).last_query()?;
    let mut tail = c.fork(tail);
    let emit = take_emit(&mut tail)?;
    tail.expect_end()?;
    Ok((query, emit))
}
