//! Roles and what they may do: `CREATE | ALTER | DROP ROLE`, `GRANT`, `REVOKE`, `SET ROLE`, `SET SESSION AUTHORIZATION`; and
//! `COMMENT ON`.

use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, is_word};
use super::statement::{AlterRole, Comment, Commented, Grant, Granted, Password, Statement};
use super::utility;
use crate::common::Result;

/// The statement, or `None` when it begins as none of these.
pub(super) fn statement(c: &mut Cursor) -> Result<Option<Statement>> {
    let role_or_user = |c: &Cursor, first: &str| {
        c.at(first) && ["ROLE", "USER", "GROUP"].iter().any(|word| is_word(c.peek_nth(1), word))
    };
    let statement = if role_or_user(c, "ALTER") {
        c.next();
        c.next();
        let mut role = AlterRole { name: role_name(c)?, ..AlterRole::default() };
        c.take(&["WITH"]);
        options(c, &mut role)?;
        Statement::AlterRole(role)
    } else if role_or_user(c, "DROP") {
        c.next();
        c.next();
        Statement::DropRole { if_exists: c.take(&["IF", "EXISTS"]), names: roles(c)? }
    } else if c.take(&["GRANT"]) {
        let what = granted(c)?;
        c.expect(&["TO"])?;
        let roles = roles(c)?;
        let option = c.take(&["WITH", "GRANT", "OPTION"]);
        Statement::Grant(Grant { what, roles, option })
    } else if c.take(&["REVOKE"]) {
        let option = c.take(&["GRANT", "OPTION", "FOR"]);
        let what = granted(c)?;
        c.expect(&["FROM"])?;
        let roles = roles(c)?;
        if !c.take(&["CASCADE"]) {
            c.take(&["RESTRICT"]);
        }
        Statement::Revoke(Grant { what, roles, option })
    } else if c.take(&["SET", "ROLE"]) || c.take(&["SET", "SESSION", "ROLE"]) || c.take(&["SET", "LOCAL", "ROLE"]) {
        if !c.take(&["TO"]) {
            c.take_token(&Token::Eq);
        }
        Statement::SetRole { name: if c.take(&["NONE"]) { None } else { Some(role_text(c)?) } }
    } else if c.take(&["RESET", "ROLE"]) {
        Statement::SetRole { name: None }
    } else if c.take(&["SET", "SESSION", "AUTHORIZATION"]) || c.take(&["SET", "SESSION", "SESSION", "AUTHORIZATION"]) {
        Statement::SetSessionAuthorization { name: if c.take(&["DEFAULT"]) { None } else { Some(role_text(c)?) } }
    } else if c.take(&["RESET", "SESSION", "AUTHORIZATION"]) {
        Statement::SetSessionAuthorization { name: None }
    } else if c.take(&["COMMENT", "ON"]) {
        comment(c)?
    } else {
        return Ok(None);
    };
    Ok(Some(statement))
}

/// After `CREATE ROLE`, or after `CREATE USER`, which may log in.
pub(super) fn create(c: &mut Cursor, login: bool) -> Result<Statement> {
    let if_not_exists = c.take(&["IF", "NOT", "EXISTS"]);
    let mut role = AlterRole { name: role_name(c)?, if_not_exists, ..AlterRole::default() };
    role.login = login.then_some(true);
    c.take(&["WITH"]);
    options(c, &mut role)?;
    Ok(Statement::CreateRole(role))
}

fn options(c: &mut Cursor, role: &mut AlterRole) -> Result<()> {
    while !c.at_end() {
        if c.take(&["SUPERUSER"]) {
            role.superuser = Some(true);
        } else if c.take(&["NOSUPERUSER"]) {
            role.superuser = Some(false);
        } else if c.take(&["LOGIN"]) {
            role.login = Some(true);
        } else if c.take(&["NOLOGIN"]) {
            role.login = Some(false);
        } else if c.take(&["CREATEROLE"]) || c.take(&["CREATEUSER"]) {
            role.create_role = Some(true);
        } else if c.take(&["NOCREATEROLE"]) || c.take(&["NOCREATEUSER"]) {
            role.create_role = Some(false);
        } else if c.take(&["CONNECTION", "LIMIT"]) {
            let minus = c.take_token(&Token::Minus);
            let at = c.position();
            let limit = c.with(Parser::parse_literal_uint)?;
            let limit =
                i32::try_from(limit).map_err(|_| c.not_supported("invalid connection limit").with_position(at))?;
            role.connection_limit = Some(if minus { -i64::from(limit) } else { limit.into() });
        } else if c.take(&["VALID", "UNTIL"]) {
            role.valid_until = Some(c.string()?);
        } else if c.take(&["PASSWORD"]) || c.take(&["ENCRYPTED", "PASSWORD"]) {
            role.password = Some(if c.take(&["NULL"]) { None } else { Some(Password(c.string()?)) });
        } else if c.take(&["IN", "ROLE"]) || c.take(&["IN", "GROUP"]) {
            role.in_roles = roles(c)?;
        } else if !INERT.iter().any(|word| c.take(&[word])) {
            return Err(c.unexpected(
                "LOGIN, SUPERUSER, CREATEROLE, CONNECTION LIMIT, VALID UNTIL, PASSWORD or IN ROLE, or the end",
            ));
        }
    }
    Ok(())
}

/// What is as it is: there is one database, and members always have what their roles have.
const INERT: [&str; 5] = ["INHERIT", "CREATEDB", "NOCREATEDB", "NOREPLICATION", "NOBYPASSRLS"];

/// `CURRENT_USER` stays in capitals, which no folded name is in.
pub(super) fn role_name(c: &mut Cursor) -> Result<String> {
    for word in ["CURRENT_USER", "CURRENT_ROLE", "SESSION_USER"] {
        if c.take(&[word]) {
            return Ok(if word == "SESSION_USER" { word } else { "CURRENT_USER" }.to_string());
        }
    }
    c.ident()
}

/// A role's name as a word or as a string.
fn role_text(c: &mut Cursor) -> Result<String> {
    if let Token::SingleQuotedString(_) = &c.peek().token { c.string() } else { role_name(c) }
}

fn roles(c: &mut Cursor) -> Result<Vec<String>> {
    let one = |c: &mut Cursor| {
        c.take(&["GROUP"]);
        role_name(c)
    };
    let mut roles = vec![one(c)?];
    while c.take_token(&Token::Comma) {
        roles.push(one(c)?);
    }
    Ok(roles)
}

const PRIVILEGES: [&str; 9] =
    ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "USAGE", "TRUNCATE", "REFERENCES", "TRIGGER"];

/// What stands between GRANT and TO.
fn granted(c: &mut Cursor) -> Result<Granted> {
    let mut privileges = Vec::new();
    if c.take(&["ALL"]) {
        c.take(&["PRIVILEGES"]);
    } else if PRIVILEGES.iter().any(|p| c.at(p)) {
        loop {
            let Some(word) = PRIVILEGES.iter().find(|p| c.take(&[p])) else {
                return Err(c.unexpected("SELECT, INSERT, UPDATE, DELETE, CREATE or USAGE"));
            };
            if c.peek().token == Token::LParen {
                return Err(c.not_supported("privileges on columns are not supported").with_hint(
                    "grant them on a view with these columns: CREATE VIEW v AS SELECT …; GRANT SELECT ON v TO …",
                ));
            }
            privileges.push((*word).to_string());
            if !c.take_token(&Token::Comma) {
                break;
            }
        }
    } else {
        return Ok(Granted::Roles(roles(c)?));
    }
    c.expect(&["ON"])?;
    if c.take(&["SCHEMA"]) {
        let at = c.position();
        let schema = c.ident()?;
        if schema != "public" {
            return Err(c.not_supported(&format!("schema \"{schema}\" has no privileges")).with_position(at));
        }
        return Ok(Granted::OnSchema { privileges });
    }
    if c.take(&["SECRET"]) {
        return Ok(Granted::OnSecrets { privileges, names: object_names(c)? });
    }
    if c.take(&["SEQUENCE"]) {
        return Ok(Granted::OnSequences { privileges, names: object_names(c)? });
    }
    if c.take(&["ALL", "SEQUENCES", "IN", "SCHEMA"]) {
        c.ident()?;
        return Ok(Granted::OnAllSequences { privileges });
    }
    if c.take(&["ALL"]) {
        if ["TABLES", "FUNCTIONS"].iter().all(|word| !c.take(&[word])) {
            return Err(c.unexpected("TABLES IN SCHEMA"));
        }
        c.expect(&["IN", "SCHEMA"])?;
        c.ident()?;
        return Ok(Granted::OnAllObjects { privileges });
    }
    if !c.take(&["MATERIALIZED", "VIEW"]) {
        let _ = ["TABLE", "SOURCE", "VIEW", "SINK"].iter().any(|word| c.take(&[word]));
    }
    Ok(Granted::OnObjects { privileges, names: object_names(c)? })
}

fn object_names(c: &mut Cursor) -> Result<Vec<String>> {
    let mut names = vec![c.object_name()?];
    while c.take_token(&Token::Comma) {
        names.push(c.object_name()?);
    }
    Ok(names)
}

/// After `COMMENT ON`.
fn comment(c: &mut Cursor) -> Result<Statement> {
    let (on, name, column) = if c.take(&["COLUMN"]) {
        let at = c.position();
        let mut parts: Vec<String> = Vec::new();
        loop {
            parts.push(c.ident()?);
            if !c.take_token(&Token::Period) {
                break;
            }
        }
        let column = parts.pop();
        match parts.pop() {
            Some(relation) if parts.len() <= 2 => (Commented::Column, relation, column),
            _ => return Err(c.unexpected("relation.column").with_position(at)),
        }
    } else if c.take(&["SECRET"]) {
        (Commented::Secret, c.object_name()?, None)
    } else if c.take(&["SEQUENCE"]) {
        (Commented::Sequence, c.object_name()?, None)
    } else {
        (Commented::Object(utility::kind(c)?), c.object_name()?, None)
    };
    c.expect(&["IS"])?;
    let text = if c.take(&["NULL"]) { None } else { Some(c.string()?) };
    Ok(Statement::Comment(Comment { on, name, column, text }))
}
