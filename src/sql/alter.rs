//! `ALTER {SOURCE | TABLE | MATERIALIZED VIEW | VIEW | SINK} …`.

use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::statement::{Alter, AlterAction, ObjectKind, Statement};
use super::{create, role, unsupported, utility};
use crate::common::{Error, ErrorKind, Result};
use crate::types::VNODES;

/// What follows ALTER, for everything that is no role and not SYSTEM.
pub(super) fn alter(c: &mut Cursor) -> Result<Statement> {
    let kind = utility::kind(c)?;
    let if_exists = c.take(&["IF", "EXISTS"]);
    c.take(&["ONLY"]);
    let name = c.object_name()?;
    if let (ObjectKind::Table, Some(error)) = (kind, unsupported::alter_table(c)) {
        return Err(error);
    }
    let action = if c.take(&["RENAME", "TO"]) {
        AlterAction::RenameTo(c.ident()?)
    } else if c.take(&["RENAME"]) {
        c.take(&["COLUMN"]);
        let from = c.ident()?;
        c.expect(&["TO"])?;
        AlterAction::RenameColumn { from, to: c.ident()? }
    } else if c.take(&["SET", "SCHEMA"]) {
        AlterAction::SetSchema(c.ident()?)
    } else if c.take(&["SET", "PARALLELISM"]) {
        AlterAction::SetParallelism(parallelism(c)?)
    } else if c.take(&["OWNER", "TO"]) {
        AlterAction::OwnerTo(role::role_name(c)?)
    } else if c.take(&["SWAP", "WITH"]) {
        AlterAction::SwapWith(c.object_name()?)
    } else if c.at("ADD") && kind == ObjectKind::Table {
        add_column(c)?
    } else if c.at("DROP") && kind == ObjectKind::Table {
        drop_column(c)?
    } else if c.take(&["ALTER"]) && kind == ObjectKind::Table {
        alter_column(c)?
    } else {
        let columns = if kind == ObjectKind::Table { ", ADD COLUMN, DROP COLUMN, ALTER COLUMN" } else { "" };
        return Err(c.unexpected(&format!(
            "RENAME TO, RENAME COLUMN, OWNER TO, SET SCHEMA, SET PARALLELISM, SWAP WITH{columns}"
        )));
    };
    if c.peek().token == Token::Comma {
        return Err(c
            .not_supported("ALTER does one thing at a time")
            .with_hint("write one ALTER for each change: each is atomic by itself"));
    }
    Ok(Statement::Alter(Alter { kind, if_exists, name, action }))
}

/// `= n`, `= DEFAULT` or `= ADAPTIVE`.
fn parallelism(c: &mut Cursor) -> Result<Option<usize>> {
    if !c.take(&["TO"]) && !c.take_token(&Token::Eq) {
        return Err(c.unexpected("TO or ="));
    }
    if c.take(&["DEFAULT"]) || c.take(&["ADAPTIVE"]) {
        return Ok(None);
    }
    let at = c.position();
    let count = c.with(Parser::parse_literal_uint)?;
    match usize::try_from(count) {
        Ok(count) if (1..=VNODES).contains(&count) => Ok(Some(count)),
        _ => Err(Error::new(ErrorKind::InvalidParameterValue, format!("parallelism must be between 1 and {VNODES}"))
            .with_position(at)),
    }
}

fn add_column(c: &mut Cursor) -> Result<AlterAction> {
    c.expect(&["ADD"])?;
    for word in ["CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK", "EXCLUDE"] {
        if c.at(word) {
            return Err(c.not_supported(&format!("ADD {word} is not supported")).with_hint(match word {
                "PRIMARY" | "CONSTRAINT" => {
                    "a table's key is given when it is made: CREATE TABLE t (…, PRIMARY KEY (…))"
                }
                word => unsupported::constraint(word),
            }));
        }
    }
    c.take(&["COLUMN"]);
    let if_not_exists = c.take(&["IF", "NOT", "EXISTS"]);
    let at = c.position();
    let (column, is_key) = create::column(c)?;
    if is_key {
        return Err(Error::new(ErrorKind::InvalidDefinition, "a column that is added cannot be the primary key")
            .with_hint("CREATE TABLE with the key, and INSERT the rows")
            .with_position(at));
    }
    Ok(AlterAction::AddColumn { if_not_exists, column })
}

/// `[COLUMN] name {SET DEFAULT value | DROP DEFAULT}`, after ALTER.
fn alter_column(c: &mut Cursor) -> Result<AlterAction> {
    c.take(&["COLUMN"]);
    let column = c.ident()?;
    if c.take(&["SET", "DEFAULT"]) {
        let default = Some(c.with(Parser::parse_expr)?.to_string());
        return Ok(AlterAction::SetDefault { column, default });
    }
    if c.take(&["DROP", "DEFAULT"]) {
        return Ok(AlterAction::SetDefault { column, default: None });
    }
    let anew = "CREATE TABLE anew with it, INSERT INTO … SELECT … the rows, and ALTER TABLE … SWAP WITH";
    let entries: [(&[&str], &str, &str); 8] = [
        (
            &["TYPE"],
            "ALTER COLUMN … TYPE",
            "ADD COLUMN with the type, UPDATE it, DROP COLUMN the old one, RENAME COLUMN",
        ),
        (
            &["SET", "DATA", "TYPE"],
            "ALTER COLUMN … TYPE",
            "ADD COLUMN with the type, UPDATE it, DROP COLUMN the old one, RENAME COLUMN",
        ),
        (&["SET", "NOT", "NULL"], "SET NOT NULL", anew),
        (&["DROP", "NOT", "NULL"], "DROP NOT NULL", anew),
        (&["SET", "GENERATED"], "SET GENERATED", anew),
        (
            &["ADD", "GENERATED"],
            "ADD GENERATED",
            "CREATE SEQUENCE s, then ALTER TABLE t ALTER COLUMN c SET DEFAULT nextval('s')",
        ),
        (&["DROP", "IDENTITY"], "DROP IDENTITY", anew),
        (&["DROP", "EXPRESSION"], "DROP EXPRESSION", "there are no generated columns"),
    ];
    for (words, name, hint) in entries {
        let error = c.not_supported(&format!("{name} is not supported")).with_hint(hint);
        if c.take(words) {
            return Err(error);
        }
    }
    if c.at("SET") || c.at("RESET") {
        return Err(c.not_supported("storage parameters of columns are not supported").with_hint("leave them out"));
    }
    Err(c.unexpected("SET DEFAULT or DROP DEFAULT"))
}

fn drop_column(c: &mut Cursor) -> Result<AlterAction> {
    c.expect(&["DROP"])?;
    if c.at("CONSTRAINT") {
        return Err(c
            .not_supported("DROP CONSTRAINT is not supported")
            .with_hint("CREATE TABLE without it, and INSERT the rows"));
    }
    c.take(&["COLUMN"]);
    let if_exists = c.take(&["IF", "EXISTS"]);
    let name = c.ident()?;
    let cascade = c.take(&["CASCADE"]);
    if !cascade {
        c.take(&["RESTRICT"]);
    }
    Ok(AlterAction::DropColumn { if_exists, name, cascade })
}
