//! `CREATE INDEX`.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::statement::{CreateIndex, IndexColumn, Statement};
use crate::common::Result;

/// `[CONCURRENTLY] [[IF NOT EXISTS] name] ON table [USING method] (column [ASC | DESC] [NULLS FIRST | LAST], …)
/// [INCLUDE (column, …)]`, after CREATE INDEX.
pub(super) fn create(c: &mut Cursor) -> Result<Statement> {
    // A view's readers never wait for an index that is being made.
    c.take(&["CONCURRENTLY"]);
    let if_not_exists = c.take(&["IF", "NOT", "EXISTS"]);
    let name = if c.at("ON") && !if_not_exists { None } else { Some(c.object_name()?) };
    c.expect(&["ON"])?;
    let table = c.object_name()?;
    if c.take(&["USING"]) {
        let at = c.not_supported("only ordered indexes are supported");
        if c.ident()? != "btree" {
            return Err(at.with_hint("leave USING out: the index serves =, IN and ranges"));
        }
    }
    let columns = c.list(column)?;
    let include = if c.take(&["INCLUDE"]) { Some(c.list(|c| c.ident())?) } else { None };
    if c.at("WHERE") {
        return Err(c
            .not_supported("a partial index is not supported")
            .with_hint("CREATE MATERIALIZED VIEW v AS SELECT … WHERE …, and index v"));
    }
    if c.at("DISTRIBUTED") || c.at("WITH") || c.at("TABLESPACE") || c.at("NULLS") {
        let word = c.peek().token.to_string().to_uppercase();
        return Err(c.not_supported(&format!("{word} of an index is not supported")).with_hint("leave it out"));
    }
    Ok(Statement::CreateIndex(CreateIndex { name, if_not_exists, table, columns, include }))
}

fn column(c: &mut Cursor) -> Result<IndexColumn> {
    if !matches!(c.peek().token, Token::Word(_)) || matches!(c.peek_nth(1), Token::LParen) {
        return Err(c
            .not_supported("an index on an expression is not supported")
            .with_hint("give the expression a name in a materialized view, and index that column"));
    }
    let name = c.ident()?;
    let descending = c.take(&["DESC"]);
    if !descending {
        c.take(&["ASC"]);
    }
    // As in PostgreSQL, nulls are greater than all values.
    let nulls_first = if c.take(&["NULLS", "FIRST"]) {
        true
    } else if c.take(&["NULLS", "LAST"]) {
        false
    } else {
        descending
    };
    Ok(IndexColumn { name, descending, nulls_first })
}
