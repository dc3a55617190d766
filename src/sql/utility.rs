//! Everything small: DROP, SHOW, DESCRIBE, SET, transactions, FLUSH and their kin.

use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, is_word};
use super::statement::{Drop, ObjectKind, Show, Statement};
use super::{alter, cursors, role, secret, sequence, types};
use crate::common::{Error, Result};

/// The statement, or `None` when its first word is none of these.
pub(super) fn utility(c: &mut Cursor) -> Result<Option<Statement>> {
    let statement = if let Some(statement) = role::statement(c)? {
        statement
    } else if c.take(&["DROP", "SECRET"]) {
        secret::drop_secrets(c)?
    } else if c.take(&["DROP", "SEQUENCE"]) {
        sequence::drop_sequences(c)?
    } else if c.take(&["DROP"]) {
        drop_objects(c)?
    } else if c.take(&["SHOW"]) {
        show(c)?
    } else if c.take(&["DESCRIBE"]) || c.take(&["DESC"]) {
        Statement::Describe { name: c.object_name()? }
    } else if c.take(&["SET"]) {
        set(c)?
    } else if c.take(&["RESET"]) {
        let all = c.take(&["ALL"]);
        Statement::ResetVariable { name: if all { None } else { Some(variable(c)?) } }
    } else if c.take(&["ALTER", "SYSTEM"]) {
        alter_system(c)?
    } else if c.take(&["ALTER", "SECRET"]) {
        secret::alter(c)?
    } else if c.take(&["ALTER", "SEQUENCE"]) {
        sequence::alter(c)?
    } else if c.take(&["ALTER"]) {
        alter::alter(c)?
    } else if c.take(&["FLUSH"]) {
        Statement::Flush
    } else if c.take(&["REFRESH", "MATERIALIZED", "VIEW"]) {
        refresh(c)?
    } else if c.take(&["WAIT"]) {
        Statement::Wait
    } else if c.take(&["TRUNCATE"]) {
        truncate(c)?
    } else if let Some(tag) = ["VACUUM", "ANALYZE"].into_iter().find(|word| c.take(&[word])) {
        c.rest();
        Statement::Maintain { tag, notice: None }
    } else if c.take(&["CANCEL", "JOBS"]) || c.take(&["CANCEL", "JOB"]) {
        let mut ids = vec![job(c)?];
        while c.take_token(&Token::Comma) {
            ids.push(job(c)?);
        }
        Statement::CancelJobs { ids }
    } else if c.take(&["DISCARD"]) {
        let words = ["ALL", "PLANS", "SEQUENCES", "TEMPORARY", "TEMP"];
        let Some(what) = words.iter().find(|w| c.take(&[w])) else {
            return Err(c.unexpected("ALL, PLANS, SEQUENCES or TEMP"));
        };
        Statement::Discard { what: what.to_string() }
    } else if c.take(&["UNLISTEN"]) {
        if !c.take_token(&Token::Mul) {
            c.ident()?;
        }
        Statement::Unlisten
    } else if c.take(&["PREPARE"]) {
        prepare(c)?
    } else if c.take(&["EXECUTE"]) {
        let name = c.ident()?;
        let arguments = if c.at_end() { Vec::new() } else { c.list(|c| c.with(Parser::parse_expr))? };
        Statement::Execute { name, arguments }
    } else if c.take(&["DEALLOCATE"]) {
        c.take(&["PREPARE"]);
        Statement::Deallocate { name: all_or_name(c)? }
    } else if c.take(&["CLOSE"]) {
        Statement::CloseCursor { name: all_or_name(c)? }
    } else if let Some(statement) = cursors::cursors(c)? {
        statement
    } else {
        return transaction(c);
    };
    Ok(Some(statement))
}

/// `[TABLE] [ONLY] name [*] [, …] [RESTART IDENTITY | CONTINUE IDENTITY] [CASCADE | RESTRICT]`.
fn truncate(c: &mut Cursor) -> Result<Statement> {
    c.take(&["TABLE"]);
    let table = |c: &mut Cursor| {
        c.take(&["ONLY"]);
        let name = c.with(|parser| parser.parse_object_name(false))?;
        c.take_token(&Token::Mul);
        Ok::<_, Error>(name)
    };
    let mut tables = vec![table(c)?];
    while c.take_token(&Token::Comma) {
        tables.push(table(c)?);
    }
    let restart = c.take(&["RESTART", "IDENTITY"]);
    if !restart {
        c.take(&["CONTINUE", "IDENTITY"]);
    }
    // Nothing refers to a table by a foreign key.
    if !c.take(&["CASCADE"]) {
        c.take(&["RESTRICT"]);
    }
    Ok(Statement::Truncate { tables, restart })
}

/// `[CONCURRENTLY] name [WITH DATA]`.
fn refresh(c: &mut Cursor) -> Result<Statement> {
    c.take(&["CONCURRENTLY"]);
    let name = c.object_name()?;
    if c.at("WITH") && !c.take(&["WITH", "DATA"]) {
        return Err(c
            .not_supported("a materialized view has its rows at all times")
            .with_hint("leave WITH NO DATA out"));
    }
    Ok(Statement::Refresh { name })
}

fn job(c: &mut Cursor) -> Result<u32> {
    let at = c.position();
    let id = c.with(Parser::parse_literal_uint)?;
    u32::try_from(id).map_err(|_| c.unexpected("the id of a job, as SHOW JOBS has it").with_position(at))
}

/// `name [(type, …)] AS statement`.
fn prepare(c: &mut Cursor) -> Result<Statement> {
    let name = c.ident()?;
    let types = match c.peek().token {
        Token::LParen => c.list(|c| types::arrow(&c.with(Parser::parse_data_type)?))?,
        _ => Vec::new(),
    };
    c.expect(&["AS"])?;
    let at = c.position();
    let inner = super::parse::statement(c)?;
    match inner {
        Statement::Query(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => {
            Ok(Statement::Prepare { name, types, inner: Box::new(inner) })
        }
        _ => Err(Error::not_supported("PREPARE takes SELECT, VALUES, INSERT, UPDATE and DELETE").with_position(at)),
    }
}

fn all_or_name(c: &mut Cursor) -> Result<Option<String>> {
    if c.take(&["ALL"]) { Ok(None) } else { c.ident().map(Some) }
}

fn transaction(c: &mut Cursor) -> Result<Option<Statement>> {
    let work = |c: &mut Cursor| c.take(&["TRANSACTION"]) || c.take(&["WORK"]);
    let statement = if c.take(&["BEGIN"]) || c.take(&["START", "TRANSACTION"]) {
        work(c);
        transaction_modes(c)?;
        Statement::Begin
    } else if c.take(&["COMMIT"]) || c.take(&["END"]) {
        work(c);
        chain(c)?;
        Statement::Commit
    } else if c.take(&["ROLLBACK"]) || c.take(&["ABORT"]) {
        work(c);
        if c.take(&["TO"]) {
            c.take(&["SAVEPOINT"]);
            Statement::RollbackToSavepoint { name: c.ident()? }
        } else {
            chain(c)?;
            Statement::Rollback
        }
    } else if c.take(&["SAVEPOINT"]) {
        Statement::Savepoint { name: c.ident()? }
    } else if c.take(&["RELEASE"]) {
        c.take(&["SAVEPOINT"]);
        Statement::ReleaseSavepoint { name: c.ident()? }
    } else {
        return Ok(None);
    };
    Ok(Some(statement))
}

/// `AND [NO] CHAIN`.
fn chain(c: &mut Cursor) -> Result<()> {
    if c.at("AND") && !c.take(&["AND", "NO", "CHAIN"]) {
        return Err(c.not_supported("AND CHAIN is not supported").with_hint("write BEGIN after COMMIT"));
    }
    Ok(())
}

/// `ISOLATION LEVEL …`, `READ ONLY`, `READ WRITE`, `[NOT] DEFERRABLE`: accepted as clients send them.
fn transaction_modes(c: &mut Cursor) -> Result<()> {
    c.with(Parser::parse_transaction_modes).map(|_| ())
}

pub(super) fn kind(c: &mut Cursor) -> Result<ObjectKind> {
    let kinds: [(&[&str], ObjectKind); 6] = [
        (&["MATERIALIZED", "VIEW"], ObjectKind::MaterializedView),
        (&["SOURCE"], ObjectKind::Source),
        (&["TABLE"], ObjectKind::Table),
        (&["VIEW"], ObjectKind::View),
        (&["SINK"], ObjectKind::Sink),
        (&["INDEX"], ObjectKind::Index),
    ];
    match kinds.iter().find(|(words, _)| c.take(words)) {
        Some((_, kind)) => Ok(*kind),
        None => Err(c.unexpected("SOURCE, TABLE, MATERIALIZED VIEW, VIEW, SINK or INDEX")),
    }
}

fn drop_objects(c: &mut Cursor) -> Result<Statement> {
    if c.take(&["FUNCTION"]) {
        return drop_functions(c);
    }
    let kind = kind(c)?;
    if kind == ObjectKind::Index {
        c.take(&["CONCURRENTLY"]);
    }
    let if_exists = c.take(&["IF", "EXISTS"]);
    let mut names = vec![c.object_name()?];
    while c.take_token(&Token::Comma) {
        names.push(c.object_name()?);
    }
    let cascade = c.take(&["CASCADE"]);
    if !cascade {
        c.take(&["RESTRICT"]);
    }
    Ok(Statement::Drop(Drop { kind, if_exists, names, cascade }))
}

/// `[IF EXISTS] name [(types)], … [CASCADE | RESTRICT]`: nothing depends on a function.
fn drop_functions(c: &mut Cursor) -> Result<Statement> {
    let if_exists = c.take(&["IF", "EXISTS"]);
    let mut names = Vec::new();
    loop {
        names.push(c.object_name()?);
        if c.take_token(&Token::LParen) {
            while !c.take_token(&Token::RParen) {
                if c.next() == Token::EOF {
                    return Err(c.unexpected("\")\""));
                }
            }
        }
        if !c.take_token(&Token::Comma) {
            break;
        }
    }
    if !c.take(&["CASCADE"]) {
        c.take(&["RESTRICT"]);
    }
    Ok(Statement::DropFunction { if_exists, names })
}

fn show(c: &mut Cursor) -> Result<Statement> {
    if c.take(&["CREATE"]) {
        return Ok(Statement::ShowCreate { kind: kind(c)?, name: c.object_name()? });
    }
    let lists: [(&[&str], Show); 12] = [
        (&["TABLES"], Show::Tables),
        (&["SOURCES"], Show::Sources),
        (&["SINKS"], Show::Sinks),
        (&["MATERIALIZED", "VIEWS"], Show::MaterializedViews),
        (&["VIEWS"], Show::Views),
        (&["JOBS"], Show::Jobs),
        (&["FUNCTIONS"], Show::Functions),
        (&["SECRETS"], Show::Secrets),
        (&["SEQUENCES"], Show::Sequences),
        (&["DATABASES"], Show::Databases),
        (&["SCHEMAS"], Show::Schemas),
        (&["ALL"], Show::AllVariables),
    ];
    let kind = if c.take(&["COLUMNS", "FROM"]) {
        Show::Columns(c.object_name()?)
    } else if c.take(&["INDEXES"]) {
        Show::Indexes(if c.take(&["FROM"]) { Some(c.object_name()?) } else { None })
    } else if let Some((_, kind)) = lists.into_iter().find(|(words, _)| c.take(words)) {
        if c.take(&["FROM"]) {
            c.ident()?;
        }
        kind
    } else {
        let name = match () {
            () if c.take(&["TIME", "ZONE"]) => "timezone".to_string(),
            () if c.take(&["TRANSACTION", "ISOLATION", "LEVEL"]) => "transaction_isolation".to_string(),
            () => variable(c)?,
        };
        return Ok(Statement::ShowVariable { name });
    };
    let like = if c.take(&["LIKE"]) { Some(c.string()?) } else { None };
    Ok(Statement::Show { kind, like })
}

/// A variable's name, dotted or not, in lower case.
fn variable(c: &mut Cursor) -> Result<String> {
    let mut name = c.ident()?.to_lowercase();
    while c.take_token(&Token::Period) {
        name = format!("{name}.{}", c.ident()?.to_lowercase());
    }
    Ok(name)
}

fn set(c: &mut Cursor) -> Result<Statement> {
    let local = c.take(&["LOCAL"]);
    if !local && c.take(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]) {
        let value = words(c)?;
        return Ok(Statement::SetVariable { name: "default_transaction_isolation".into(), value, local });
    }
    if !local {
        c.take(&["SESSION"]);
    }
    if c.take(&["TRANSACTION"]) {
        let value = words(c)?;
        return Ok(Statement::SetVariable { name: "transaction_isolation".into(), value, local });
    }
    if c.take(&["TIME", "ZONE"]) {
        let value = match c.take(&["LOCAL"]) {
            true => None,
            false => values(c)?,
        };
        return Ok(Statement::SetVariable { name: "timezone".into(), value, local });
    }
    if c.take(&["NAMES"]) {
        return Ok(Statement::SetVariable { name: "client_encoding".into(), value: values(c)?, local });
    }
    let name = variable(c)?;
    if !c.take(&["TO"]) && !c.take_token(&Token::Eq) {
        return Err(c.unexpected("TO or ="));
    }
    Ok(Statement::SetVariable { name, value: values(c)?, local })
}

fn alter_system(c: &mut Cursor) -> Result<Statement> {
    if c.take(&["RESET"]) {
        return Ok(Statement::AlterSystemSet { name: variable(c)?, value: None });
    }
    c.expect(&["SET"])?;
    let name = variable(c)?;
    if !c.take(&["TO"]) && !c.take_token(&Token::Eq) {
        return Err(c.unexpected("TO or ="));
    }
    Ok(Statement::AlterSystemSet { name, value: values(c)? })
}

/// `DEFAULT` (none), or values joined with a comma and a space.
fn values(c: &mut Cursor) -> Result<Option<String>> {
    if c.take(&["DEFAULT"]) {
        return Ok(None);
    }
    let mut values = vec![value(c)?];
    while c.take_token(&Token::Comma) {
        values.push(value(c)?);
    }
    Ok(Some(values.join(", ")))
}

fn value(c: &mut Cursor) -> Result<String> {
    let minus = c.take_token(&Token::Minus);
    match c.peek().token.clone() {
        Token::Number(digits, _) => {
            c.next();
            Ok(if minus { format!("-{digits}") } else { digits })
        }
        _ if minus => Err(c.unexpected("a number")),
        Token::Word(word) => {
            c.next();
            Ok(word.value)
        }
        _ => c.string(),
    }
}

/// The rest of the statement as text.
fn words(c: &mut Cursor) -> Result<Option<String>> {
    let mut words = Vec::new();
    while !c.at_end() {
        match c.next() {
            token @ (Token::Word(_) | Token::Comma) if !is_word(&token, "SNAPSHOT") => {
                words.push(token.to_string().to_lowercase())
            }
            token => return Err(Error::not_supported(format!("SET TRANSACTION … {token} is not supported"))),
        }
    }
    Ok(Some(words.join(" ")))
}
