//! PostgreSQL's statements that Weir has not: what to write instead. Without this the parser would call some of them syntax
//! errors, and some would be planned as if half of them were not there.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::{self, SetExpr, Visit, Visitor};
use super::cursor::{Cursor, is_word};
use super::statement::Statement;
use crate::common::{Error, ErrorKind, Result};

/// The words that a statement begins with, what it is called, and what to do instead.
type Entry = (&'static [&'static str], &'static str, &'static str);

const SCHEMA: &str = "all objects live in schema public: leave it out";
const TYPES: &str =
    "VARCHAR holds the labels of an enum, JSONB a composite value; a materialized view can check values";
const TRIGGER: &str =
    "a materialized view follows a table's rows; CREATE SINK … INTO writes what it says to another table";
const RIGHTS: &str = "grant on a view with the rows: CREATE VIEW v AS SELECT … WHERE …; GRANT SELECT ON v TO …";
const DATABASES: &str = "a server has one database, dev: start a server with a data folder of its own";
const FOREIGN: &str = "CREATE SOURCE … WITH (connector = '…') reads what is elsewhere";
const PUBLISH: &str = "SUBSCRIBE TO v follows a table or view; CREATE SINK … WITH (connector = '…') writes its changes";
const PROCEDURE: &str = "write the statements to the client, or a query as CREATE FUNCTION … LANGUAGE sql";
const LISTEN: &str = "SUBSCRIBE TO a table or view tells of its changes";
const TWO_PHASE: &str = "each statement is atomic by itself: leave it out";
const OWNED: &str = "write ALTER … OWNER TO, or DROP and REVOKE, for each object: weir.tables and pg_class list them";

const STATEMENTS: &[Entry] = &[
    (&["DO"], "DO", PROCEDURE),
    (&["CALL"], "CALL", PROCEDURE),
    (&["CREATE", "PROCEDURE"], "CREATE PROCEDURE", PROCEDURE),
    (&["CREATE", "SCHEMA"], "CREATE SCHEMA", SCHEMA),
    (&["ALTER", "SCHEMA"], "ALTER SCHEMA", SCHEMA),
    (&["CREATE", "TYPE"], "CREATE TYPE", TYPES),
    (&["ALTER", "TYPE"], "ALTER TYPE", TYPES),
    (&["CREATE", "DOMAIN"], "CREATE DOMAIN", TYPES),
    (&["ALTER", "DOMAIN"], "ALTER DOMAIN", TYPES),
    (&["CREATE", "EXTENSION"], "CREATE EXTENSION", "leave it out: \\df lists the functions that there are"),
    (&["ALTER", "EXTENSION"], "ALTER EXTENSION", "leave it out: \\df lists the functions that there are"),
    (&["CREATE", "TRIGGER"], "CREATE TRIGGER", TRIGGER),
    (&["CREATE", "CONSTRAINT", "TRIGGER"], "CREATE CONSTRAINT TRIGGER", TRIGGER),
    (
        &["CREATE", "EVENT", "TRIGGER"],
        "CREATE EVENT TRIGGER",
        "the log has a line of each definition, with target audit",
    ),
    (&["CREATE", "RULE"], "CREATE RULE", TRIGGER),
    (&["CREATE", "POLICY"], "CREATE POLICY", RIGHTS),
    (&["ALTER", "POLICY"], "ALTER POLICY", RIGHTS),
    (&["ALTER", "DEFAULT", "PRIVILEGES"], "ALTER DEFAULT PRIVILEGES", "GRANT on each object when it is made"),
    (&["CREATE", "DATABASE"], "CREATE DATABASE", DATABASES),
    (
        &["ALTER", "DATABASE"],
        "ALTER DATABASE",
        "ALTER SYSTEM SET changes what holds for all; SET what holds for a session",
    ),
    (&["DROP", "DATABASE"], "DROP DATABASE", DATABASES),
    (&["CREATE", "TABLESPACE"], "CREATE TABLESPACE", "everything is in the data folder: leave it out"),
    (&["CREATE", "AGGREGATE"], "CREATE AGGREGATE", "\\da lists the aggregates that there are"),
    (&["CREATE", "OPERATOR"], "CREATE OPERATOR", "CREATE FUNCTION … LANGUAGE sql, and call it by its name"),
    (&["CREATE", "CAST"], "CREATE CAST", "CREATE FUNCTION … LANGUAGE sql, and call it by its name"),
    (
        &["CREATE", "COLLATION"],
        "CREATE COLLATION",
        "text is ordered by its bytes: ORDER BY lower(t) is what comes nearest",
    ),
    (&["CREATE", "FOREIGN"], "CREATE FOREIGN TABLE", FOREIGN),
    (&["CREATE", "SERVER"], "CREATE SERVER", FOREIGN),
    (&["IMPORT", "FOREIGN"], "IMPORT FOREIGN SCHEMA", FOREIGN),
    (&["CREATE", "PUBLICATION"], "CREATE PUBLICATION", PUBLISH),
    (&["CREATE", "SUBSCRIPTION"], "CREATE SUBSCRIPTION", PUBLISH),
    (&["CREATE", "STATISTICS"], "CREATE STATISTICS", "leave it out: plans need none"),
    (&["CREATE", "RECURSIVE"], "CREATE RECURSIVE VIEW", "CREATE VIEW v AS WITH RECURSIVE … SELECT …"),
    (&["CREATE", "UNLOGGED"], "CREATE UNLOGGED TABLE", "leave UNLOGGED out, or write CREATE TEMPORARY TABLE"),
    (&["LOCK"], "LOCK", "leave it out: each statement is atomic, and readers see one moment of the whole database"),
    (&["LISTEN"], "LISTEN", LISTEN),
    (&["NOTIFY"], "NOTIFY", LISTEN),
    (&["PREPARE", "TRANSACTION"], "PREPARE TRANSACTION", TWO_PHASE),
    (&["COMMIT", "PREPARED"], "COMMIT PREPARED", TWO_PHASE),
    (&["ROLLBACK", "PREPARED"], "ROLLBACK PREPARED", TWO_PHASE),
    (
        &["MERGE"],
        "MERGE",
        "a table with a PRIMARY KEY overwrites: INSERT INTO t SELECT …; UPDATE … FROM and DELETE … USING",
    ),
    (&["CLUSTER"], "CLUSTER", "leave it out: rows are kept in the order of their PRIMARY KEY"),
    (&["SECURITY", "LABEL"], "SECURITY LABEL", "GRANT and REVOKE say who may do what"),
    (&["LOAD"], "LOAD", "leave it out: \\df lists the functions that there are"),
    (&["REASSIGN", "OWNED"], "REASSIGN OWNED", OWNED),
    (&["DROP", "OWNED"], "DROP OWNED", OWNED),
    (&["SET", "CONSTRAINTS"], "SET CONSTRAINTS", "leave it out: keys are checked at each statement"),
];

/// Kinds of which there are none, so that DROP finds none.
const ABSENT: [&str; 15] = [
    "TYPE",
    "DOMAIN",
    "EXTENSION",
    "TRIGGER",
    "RULE",
    "POLICY",
    "SCHEMA",
    "AGGREGATE",
    "COLLATION",
    "SERVER",
    "PUBLICATION",
    "SUBSCRIPTION",
    "PROCEDURE",
    "STATISTICS",
    "TABLESPACE",
];

/// What a statement does that PostgreSQL needs and Weir does by itself, and what cannot be done.
///
/// # Errors
/// `NotSupported`; `UndefinedObject` for DROP of what there is none of.
pub(super) fn statement(c: &mut Cursor) -> Result<Option<Statement>> {
    let replaces = is_word(c.peek_nth(1), "OR") && is_word(c.peek_nth(2), "REPLACE");
    let nth = |n: usize| if n > 0 && replaces { n + 2 } else { n };
    if let Some(statement) = skipped(c)? {
        return Ok(Some(statement));
    }
    let begins = |(words, ..): &&Entry| words.iter().enumerate().all(|(n, word)| is_word(c.peek_nth(nth(n)), word));
    match STATEMENTS.iter().find(begins) {
        Some((_, name, hint)) => Err(c.not_supported(&format!("{name} is not supported")).with_hint(*hint)),
        None => Ok(None),
    }
}

/// What is as it is to be.
fn skipped(c: &mut Cursor) -> Result<Option<Statement>> {
    let maintain = |tag, notice| Ok(Some(Statement::Maintain { tag, notice }));
    if c.at("REINDEX") || c.at("CHECKPOINT") {
        let tag = if c.at("REINDEX") { "REINDEX" } else { "CHECKPOINT" };
        c.rest();
        return maintain(tag, None);
    }
    if c.take(&["CREATE", "EXTENSION", "IF", "NOT", "EXISTS"]) {
        let name = c.ident()?;
        c.rest();
        let notice = format!("extension \"{name}\" is not there, skipping: \\df lists the functions that there are");
        return maintain("CREATE EXTENSION", Some(notice));
    }
    if c.take(&["CREATE", "SCHEMA", "IF", "NOT", "EXISTS"]) {
        let error = c.not_supported("CREATE SCHEMA is not supported").with_hint(SCHEMA);
        return match c.ident()?.as_str() {
            name @ ("public" | "pg_catalog" | "information_schema" | "weir") => {
                c.rest();
                maintain("CREATE SCHEMA", Some(format!("schema \"{name}\" already exists, skipping")))
            }
            _ => Err(error),
        };
    }
    let absent = |kind: &&&str| c.at("DROP") && is_word(c.peek_nth(1), kind);
    let Some(kind) = ABSENT.iter().find(absent) else { return Ok(None) };
    c.take(&["DROP", kind]);
    let if_exists = c.take(&["IF", "EXISTS"]);
    let at = c.position();
    let name = c.ident()?;
    if *kind == "SCHEMA" && ["public", "pg_catalog", "information_schema", "weir"].contains(&name.as_str()) {
        return Err(Error::not_supported(format!("schema {name} cannot be dropped"))
            .with_hint("DROP what is in it, with CASCADE")
            .with_position(at));
    }
    c.rest();
    let missing = format!("{} \"{name}\" does not exist", kind.to_lowercase());
    if !if_exists {
        let error = if *kind == "SCHEMA" { ErrorKind::UndefinedSchema } else { ErrorKind::UndefinedObject };
        return Err(Error::new(error, missing).with_position(at));
    }
    // The tag of the command, as far as there is one of its own.
    maintain(drop_tag(kind), Some(format!("{missing}, skipping")))
}

fn drop_tag(kind: &str) -> &'static str {
    match kind {
        "TYPE" => "DROP TYPE",
        "DOMAIN" => "DROP DOMAIN",
        "EXTENSION" => "DROP EXTENSION",
        "TRIGGER" => "DROP TRIGGER",
        "RULE" => "DROP RULE",
        "POLICY" => "DROP POLICY",
        "SCHEMA" => "DROP SCHEMA",
        "AGGREGATE" => "DROP AGGREGATE",
        "COLLATION" => "DROP COLLATION",
        "SERVER" => "DROP SERVER",
        "PUBLICATION" => "DROP PUBLICATION",
        "SUBSCRIPTION" => "DROP SUBSCRIPTION",
        "PROCEDURE" => "DROP PROCEDURE",
        "STATISTICS" => "DROP STATISTICS",
        _ => "DROP TABLESPACE",
    }
}

/// Parts of queries that would be read as if they were not there.
///
/// # Errors
/// `NotSupported`.
pub(super) fn check(statement: &impl Visit) -> Result<()> {
    match statement.visit(&mut Parts) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break((message, hint)) => Err(Error::not_supported(message).with_hint(hint)),
    }
}

struct Parts;

impl Visitor for Parts {
    type Break = (&'static str, &'static str);

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<Self::Break> {
        if !query.locks.is_empty() {
            return ControlFlow::Break((
                "FOR UPDATE and FOR SHARE are not supported: rows cannot be locked",
                "leave it out; UPDATE … WHERE … RETURNING changes rows and reads them in one step",
            ));
        }
        let changes = |body: &SetExpr| {
            matches!(body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_))
        };
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        if tables.into_iter().any(|cte| changes(&cte.query.body)) {
            return ControlFlow::Break((
                "INSERT, UPDATE and DELETE in WITH are not supported",
                "write one statement after the other: INSERT INTO … SELECT … WHERE …, then DELETE … WHERE …",
            ));
        }
        if let SetExpr::Select(select) = query.body.as_ref()
            && select.into.is_some()
        {
            return ControlFlow::Break(("SELECT … INTO is not supported", "write CREATE TABLE t AS SELECT …"));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &ast::TableFactor) -> ControlFlow<Self::Break> {
        match table {
            ast::TableFactor::Table { sample: Some(_), .. } => {
                ControlFlow::Break(("TABLESAMPLE is not supported", "write WHERE random() < 0.1"))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// What a constraint other than the key is to be made of instead, by the word that it begins with.
pub(super) fn constraint(word: &str) -> &'static str {
    match word {
        "UNIQUE" => "make it the PRIMARY KEY, or let a materialized view count: GROUP BY … HAVING count(*) > 1",
        "CHECK" => "leave it out, or read through a view: CREATE VIEW v AS SELECT … WHERE …",
        "FOREIGN" | "REFERENCES" => "leave it out: a join finds the rows that have no other side (LEFT JOIN … IS NULL)",
        "EXCLUDE" => "leave it out: a materialized view of the table joined with itself finds the pairs",
        _ => "leave it out; PRIMARY KEY and NOT NULL are checked",
    }
}

/// `ALTER TABLE … …` that Weir has not; the cursor is behind the table's name.
pub(super) fn alter_table(c: &Cursor) -> Option<Error> {
    let entries: [Entry; 14] = [
        (&["ENABLE", "ROW"], "row level security", RIGHTS),
        (&["DISABLE", "ROW"], "row level security", RIGHTS),
        (&["FORCE", "ROW"], "row level security", RIGHTS),
        (&["ENABLE"], "ALTER TABLE … ENABLE", TRIGGER),
        (&["DISABLE"], "ALTER TABLE … DISABLE", "leave it out: there are no triggers and rules"),
        (&["VALIDATE"], "VALIDATE CONSTRAINT", "leave it out: PRIMARY KEY and NOT NULL hold at all times"),
        (&["RENAME", "CONSTRAINT"], "RENAME CONSTRAINT", "leave it out: a key's name follows its table's"),
        (&["ATTACH"], "ATTACH PARTITION", "leave partitions out; a view with UNION ALL reads several tables as one"),
        (&["DETACH"], "DETACH PARTITION", "leave partitions out; a view with UNION ALL reads several tables as one"),
        (&["INHERIT"], "INHERIT", "a view with UNION ALL reads several tables as one"),
        (&["CLUSTER"], "CLUSTER ON", "leave it out: rows are kept in the order of their PRIMARY KEY"),
        (&["SET", "UNLOGGED"], "SET UNLOGGED", "leave it out, or write CREATE TEMPORARY TABLE"),
        (&["SET", "TABLESPACE"], "SET TABLESPACE", "everything is in the data folder: leave it out"),
        (&["REPLICA"], "REPLICA IDENTITY", "leave it out: SUBSCRIBE TO t has the rows as they were and are"),
    ];
    if c.at("SET") && *c.peek_nth(1) == Token::LParen || c.at("RESET") {
        return Some(c.not_supported("storage parameters are not supported").with_hint("leave them out"));
    }
    let begins = |(words, ..): &&Entry| words.iter().enumerate().all(|(n, word)| is_word(c.peek_nth(n), word));
    let (_, name, hint) = entries.iter().find(begins)?;
    Some(c.not_supported(&format!("{name} is not supported")).with_hint(*hint))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use crate::common::ErrorKind;

    /// Each is refused for what it is, with words on what to write instead.
    #[test]
    fn what_is_not_supported_says_so() {
        for (sql, message) in [
            ("DO $$ BEGIN END $$", "DO is not supported"),
            ("CALL p()", "CALL is not supported"),
            ("CREATE OR REPLACE PROCEDURE p() LANGUAGE sql AS 'x'", "CREATE PROCEDURE is not supported"),
            ("WITH d AS (DELETE FROM k RETURNING *) SELECT * FROM d", "in WITH are not supported"),
            ("WITH d AS (DELETE FROM k RETURNING *) INSERT INTO k SELECT * FROM d", "WITH before INSERT"),
            ("CREATE SCHEMA s", "CREATE SCHEMA is not supported"),
            ("CREATE TYPE mood AS ENUM ('a')", "CREATE TYPE is not supported"),
            ("CREATE DOMAIN d AS int CHECK (value > 0)", "CREATE DOMAIN is not supported"),
            ("CREATE EXTENSION pgcrypto", "CREATE EXTENSION is not supported"),
            ("CREATE TRIGGER t BEFORE INSERT ON k EXECUTE FUNCTION f()", "CREATE TRIGGER is not supported"),
            ("CREATE OR REPLACE RULE r AS ON INSERT TO k DO NOTHING", "CREATE RULE is not supported"),
            ("CREATE POLICY p ON k USING (true)", "CREATE POLICY is not supported"),
            ("CREATE DATABASE x", "CREATE DATABASE is not supported"),
            ("DROP SCHEMA public CASCADE", "schema public cannot be dropped"),
            ("CREATE TABLE u (id int UNIQUE)", "UNIQUE on a column is not supported"),
            ("CREATE TABLE u (id int, UNIQUE (id))", "a UNIQUE constraint is not supported"),
            ("CREATE TABLE u (id int CHECK (id > 0))", "CHECK (id > 0) on a column is not supported"),
            ("CREATE TABLE u (id int, CONSTRAINT c CHECK (id > 0))", "a CHECK constraint is not supported"),
            ("CREATE TABLE u (id int REFERENCES k (id))", "REFERENCES k (id) on a column is not supported"),
            (
                "CREATE TABLE u (id int, FOREIGN KEY (id) REFERENCES k (id))",
                "a FOREIGN KEY constraint is not supported",
            ),
            ("CREATE TABLE u (id int, EXCLUDE USING gist (id WITH =))", "an EXCLUDE constraint is not supported"),
            ("CREATE TABLE u (LIKE k)", "LIKE is not supported"),
            ("CREATE TABLE u (id int) PARTITION BY RANGE (id)", "PARTITION of a table is not supported"),
            ("CREATE TABLE u (id int) INHERITS (k)", "INHERITS of a table is not supported"),
            ("CREATE UNLOGGED TABLE u (id int)", "CREATE UNLOGGED TABLE is not supported"),
            ("ALTER TABLE k ADD CONSTRAINT c UNIQUE (v)", "ADD CONSTRAINT is not supported"),
            ("ALTER TABLE k ALTER COLUMN n TYPE bigint", "ALTER COLUMN … TYPE is not supported"),
            ("ALTER TABLE k ALTER n SET DATA TYPE bigint", "ALTER COLUMN … TYPE is not supported"),
            ("ALTER TABLE k ALTER COLUMN n SET NOT NULL", "SET NOT NULL is not supported"),
            ("ALTER TABLE k ALTER COLUMN n DROP NOT NULL", "DROP NOT NULL is not supported"),
            ("ALTER TABLE k ENABLE ROW LEVEL SECURITY", "row level security is not supported"),
            ("ALTER TABLE k SET (fillfactor = 70)", "storage parameters are not supported"),
            ("LOCK TABLE k IN ACCESS EXCLUSIVE MODE", "LOCK is not supported"),
            ("LISTEN c", "LISTEN is not supported"),
            ("NOTIFY c, 'x'", "NOTIFY is not supported"),
            ("PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION is not supported"),
            ("COMMIT PREPARED 'x'", "COMMIT PREPARED is not supported"),
            ("MERGE INTO k USING s ON k.id = s.id WHEN MATCHED THEN DELETE", "MERGE is not supported"),
            ("SELECT * FROM k FOR UPDATE", "rows cannot be locked"),
            ("CREATE VIEW v AS SELECT * FROM (SELECT * FROM k FOR SHARE) AS s", "rows cannot be locked"),
            ("INSERT INTO k SELECT * FROM s FOR UPDATE", "rows cannot be locked"),
            ("SELECT * INTO z FROM k", "SELECT … INTO is not supported"),
            ("SELECT * FROM k TABLESAMPLE bernoulli (10)", "TABLESAMPLE is not supported"),
            ("CLUSTER k", "CLUSTER is not supported"),
            ("CREATE UNIQUE INDEX i ON k (v)", "a unique index is not supported"),
            ("CREATE INDEX i ON k USING gin (v)", "only ordered indexes are supported"),
            ("CREATE MATERIALIZED VIEW m AS SELECT * FROM k WITH NO DATA", "has its rows at all times"),
            ("REFRESH MATERIALIZED VIEW m WITH NO DATA", "has its rows at all times"),
            ("SET CONSTRAINTS ALL DEFERRED", "SET CONSTRAINTS is not supported"),
        ] {
            let error = parse(sql).expect_err(sql);
            assert_eq!(error.kind(), ErrorKind::NotSupported, "{sql}: {error}");
            assert!(error.message().contains(message), "{sql}: {error}");
            assert!(error.hint().is_some(), "{sql}: {error}");
        }
    }

    #[test]
    fn what_is_done_anyway_is_taken() {
        for sql in [
            "REINDEX TABLE k",
            "CHECKPOINT",
            "CREATE EXTENSION IF NOT EXISTS pgcrypto WITH SCHEMA public",
            "CREATE SCHEMA IF NOT EXISTS public AUTHORIZATION root",
            "DROP TYPE IF EXISTS mood CASCADE",
            "CREATE INDEX CONCURRENTLY i ON k USING btree (v)",
            "CREATE MATERIALIZED VIEW m AS SELECT * FROM k WITH DATA",
        ] {
            assert!(parse(sql).is_ok(), "{sql}: {:?}", parse(sql));
        }
        for (sql, kind) in
            [("DROP TYPE mood", ErrorKind::UndefinedObject), ("DROP SCHEMA s", ErrorKind::UndefinedSchema)]
        {
            assert_eq!(parse(sql).expect_err(sql).kind(), kind);
        }
    }
}
