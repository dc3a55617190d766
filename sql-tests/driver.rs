//! What drivers do, as tokio-postgres does it: the quick part of `make test-clients`. Values of each type in text and in
//! binary, pipelining, portals, cursors, cancelling, errors by their SQLSTATE, and a server that comes back.

use std::error::Error;
use std::time::Duration;

use futures::future::join_all;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::server::{Folder, Options, Server};

async fn connect(server: &Server) -> Client {
    let address = format!("host=127.0.0.1 port={} user=root dbname=dev", server.port());
    let (client, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn state(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("", |code| code.code())
}

/// A value as it is on the wire in binary, whatever its type.
#[derive(Debug, PartialEq)]
struct Raw(Vec<u8>);

impl FromSql<'_> for Raw {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

async fn texts(client: &Client, sql: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for message in client.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}")) {
        if let SimpleQueryMessage::Row(row) = message {
            texts.extend((0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_string()));
        }
    }
    texts
}

#[tokio::test]
async fn values_of_each_type_both_ways() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = connect(&server).await;
    let values = [
        ("boolean", Type::BOOL, "t"),
        ("smallint", Type::INT2, "-32768"),
        ("integer", Type::INT4, "2147483647"),
        ("bigint", Type::INT8, "-9223372036854775808"),
        ("real", Type::FLOAT4, "1.5"),
        ("double precision", Type::FLOAT8, "-1e+300"),
        ("numeric(20,4)", Type::NUMERIC, "1234567890123456.7891"),
        ("varchar", Type::TEXT, "grün x \\ \""),
        ("text", Type::TEXT, ""),
        ("bytea", Type::BYTEA, "\\x00ff5c"),
        ("date", Type::DATE, "1999-12-31"),
        ("time", Type::TIME, "23:59:59.999999"),
        ("timestamp", Type::TIMESTAMP, "2000-01-01 00:00:00.000001"),
        ("timestamptz", Type::TIMESTAMPTZ, "2026-03-01 12:00:00+00"),
        ("interval", Type::INTERVAL, "1 mon 3 days"),
        ("uuid", Type::UUID, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("integer[]", Type::INT4_ARRAY, "{1,NULL,3}"),
        ("bigint[]", Type::INT8_ARRAY, "{}"),
        ("text[]", Type::TEXT_ARRAY, "{a,\"b\\\"c\",NULL,\"d,e\",\"\"}"),
        ("jsonb", Type::JSONB, "{\"a\": [1, null]}"),
        ("json", Type::JSON, "[1,2]"),
    ];
    let columns: Vec<_> = values.iter().enumerate().map(|(i, (kind, ..))| format!("c{i} {kind}")).collect();
    client.batch_execute(&format!("CREATE TABLE t (k INT PRIMARY KEY, {})", columns.join(", "))).await.unwrap();
    let mut row = vec![Raw(1_i32.to_be_bytes().to_vec())];
    for (kind, oid, text) in &values {
        let sql = format!("SELECT '{text}'::{kind} AS a, NULL::{kind} AS b");
        assert_eq!(texts(&client, &sql).await, [text, "NULL"], "{kind}");
        let answer = client.query_one(sql.as_str(), &[]).await.unwrap();
        assert_eq!(answer.columns()[0].type_(), oid, "{kind}");
        let value: Raw = answer.get(0);
        assert_eq!(answer.get::<_, Option<Raw>>(1), None, "{kind}");
        let back = client.query_one(&format!("SELECT $1::{kind} AS a"), &[&value]).await;
        assert_eq!(back.unwrap_or_else(|e| panic!("{kind}: {e}")).get::<_, Raw>(0), value, "{kind}");
        row.push(value);
    }
    // The parameters' types are those of the columns.
    let marks: Vec<_> = (1..=row.len()).map(|n| format!("${n}")).collect();
    let insert = client.prepare(&format!("INSERT INTO t VALUES ({})", marks.join(", "))).await.unwrap();
    let wanted: Vec<_> = std::iter::once(Type::INT4).chain(values.iter().map(|v| v.1.clone())).collect();
    assert_eq!(insert.params(), wanted);
    let parameters: Vec<&(dyn ToSql + Sync)> = row.iter().map(|v| v as _).collect();
    assert_eq!(client.execute(&insert, &parameters).await.unwrap(), 1);
    let stored = texts(&client, "SELECT * FROM t").await;
    assert_eq!(stored[1..], values.map(|(.., text)| text.to_string()));
}

#[tokio::test]
async fn statements_in_a_row() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = connect(&server).await;
    client.batch_execute("CREATE TABLE t (k BIGINT PRIMARY KEY, v VARCHAR)").await.unwrap();
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2)").await.unwrap();
    let rows: Vec<(i64, String)> = (0..50).map(|k| (k, format!("v{k}"))).collect();
    // All are sent before the first is answered.
    let done = join_all(rows.iter().map(|(k, v)| async { client.execute(&insert, &[k, v]).await }));
    assert!(done.await.into_iter().all(|count| count.is_ok_and(|count| count == 1)));

    // One that fails fails alone.
    let divide = client.prepare("SELECT 12 / $1::INT AS a").await.unwrap();
    let answers = join_all([3, 0, 4].map(|by| {
        let (client, divide) = (&client, &divide);
        async move { client.query_one(divide, &[&by]).await.map(|row| row.get::<_, i64>(0)) }
    }));
    let answers: Vec<_> = answers.await.into_iter().map(|a| a.map_err(|e| state(&e).to_string())).collect();
    assert_eq!(answers, [Ok(4), Err("22012".to_string()), Ok(3)]);

    for (sql, wanted) in [
        ("SELEC 1", "42601"),
        ("SELECT * FROM nope", "42P01"),
        ("SELECT nope FROM t", "42703"),
        ("SELECT nope(1)", "42883"),
        ("SELECT 'x'::INT", "22P02"),
        ("CREATE TABLE t (k INT)", "42P07"),
        ("INSERT INTO t VALUES (1, 'a', 'b')", "42601"),
        ("INSERT INTO t VALUES (NULL, 'a')", "23502"),
        ("SELECT 2147483647::INT + 1::INT", "22003"),
    ] {
        let error = client.batch_execute(sql).await.expect_err(sql);
        assert_eq!(state(&error), wanted, "{sql}: {error}");
    }
    assert_eq!(texts(&client, "SELECT count(*) FROM t").await, ["50"]);
}

#[tokio::test]
async fn returning() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let mut client = connect(&server).await;
    client.batch_execute("CREATE TABLE t (k BIGINT PRIMARY KEY, v VARCHAR, n INT DEFAULT 7)").await.unwrap();
    let insert = client.prepare("INSERT INTO t (k, v) VALUES ($1, $2) RETURNING n, k + $3 AS sum, v").await.unwrap();
    let types = |statement: &tokio_postgres::Statement| {
        statement.columns().iter().map(|c| format!("{} {}", c.name(), c.type_())).collect::<Vec<_>>()
    };
    assert_eq!(types(&insert), ["n int4", "sum int8", "v text"]);
    assert_eq!(insert.params(), [Type::INT8, Type::TEXT, Type::INT8]);
    let row = client.query_one(&insert, &[&1_i64, &"one", &10_i64]).await.unwrap();
    assert_eq!((row.get(0), row.get(1), row.get(2)), (7, 11_i64, "one"));
    // Without its rows it is a statement that tells how many they are.
    assert_eq!(client.execute(&insert, &[&2_i64, &"two", &0_i64]).await.unwrap(), 1);
    assert_eq!(client.execute("UPDATE t SET n = n + 1 RETURNING k", &[]).await.unwrap(), 2);
    assert_eq!(texts(&client, "SELECT n FROM t").await, ["8", "8"]);
    let update = client.prepare("UPDATE t SET v = $2 WHERE k = $1 RETURNING *").await.unwrap();
    assert_eq!(types(&update), ["k int8", "v text", "n int4"]);
    let row = client.query_one(&update, &[&2_i64, &"zwei"]).await.unwrap();
    assert_eq!((row.get(0), row.get(1), row.get(2)), (2_i64, "zwei", 8));
    assert_eq!(texts(&client, "DELETE FROM t WHERE k = 1 RETURNING v, k").await, ["one", "1"]);

    // All of it is done, however few rows are taken.
    let transaction = client.transaction().await.unwrap();
    let sql = "INSERT INTO t (k) SELECT k FROM generate_series(11, 20) AS s(k) RETURNING k";
    let portal = transaction.bind(sql, &[]).await.unwrap();
    assert_eq!(transaction.query_portal(&portal, 3).await.unwrap().len(), 3);
    transaction.commit().await.unwrap();
    assert_eq!(texts(&client, "SELECT count(*) FROM t").await, ["11"]);
    // In the order that they came in, many too.
    let sql = "INSERT INTO t (k) SELECT k FROM generate_series(100, 30099) AS s(k) ORDER BY k DESC RETURNING k";
    let keys: Vec<i64> = client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert!(keys.iter().copied().eq((100..30100).rev()));
}

#[tokio::test]
async fn portals_and_cursors() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let mut client = connect(&server).await;
    client.batch_execute("CREATE TABLE t (k BIGINT PRIMARY KEY)").await.unwrap();
    client.batch_execute("INSERT INTO t SELECT k FROM generate_series(1, 10) AS s(k)").await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT k FROM t WHERE k > $1 ORDER BY k", &[&2_i64]).await.unwrap();
    let mut steps: Vec<Vec<i64>> = Vec::new();
    for limit in [3, 4, 4] {
        steps.push(transaction.query_portal(&portal, limit).await.unwrap().iter().map(|r| r.get(0)).collect());
    }
    assert_eq!(steps, [vec![3, 4, 5], vec![6, 7, 8, 9], vec![10]]);
    transaction.commit().await.unwrap();

    let declared = "BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT k FROM t ORDER BY k;
        DECLARE short CURSOR FOR SELECT k FROM t; COMMIT";
    client.batch_execute(declared).await.unwrap();
    // What is written later a cursor does not see.
    client.batch_execute("DELETE FROM t WHERE k > 4").await.unwrap();
    for (sql, wanted) in [
        ("FETCH 2 FROM held", &["1", "2"][..]),
        ("MOVE 3 IN held", &[]),
        ("FETCH NEXT FROM held", &["6"]),
        ("FETCH FORWARD 2 FROM held", &["7", "8"]),
        ("FETCH ALL FROM held", &["9", "10"]),
        ("FETCH ALL FROM held", &[]),
    ] {
        assert_eq!(texts(&client, sql).await, wanted, "{sql}");
    }
    client.batch_execute("CLOSE held").await.unwrap();
    for sql in ["FETCH 1 FROM short", "FETCH 1 FROM held"] {
        assert_eq!(state(&client.batch_execute(sql).await.expect_err(sql)), "34000", "{sql}");
    }
}

#[tokio::test]
async fn cancelled_timed_out_and_back_after_a_kill() {
    let folder = Folder::new();
    let mut server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = connect(&server).await;
    let setup = "CREATE TABLE t (k BIGINT PRIMARY KEY); INSERT INTO t VALUES (1), (2)";
    client.batch_execute(setup).await.unwrap();
    let cancel = client.cancel_token();
    let asked = tokio::spawn(async move {
        let error = client.batch_execute("SELECT pg_sleep(600)").await.expect_err("was not cancelled");
        (client, state(&error).to_string())
    });
    // The request may come before the statement: then it stops nothing.
    while !asked.is_finished() {
        cancel.cancel_query(NoTls).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (client, stopped) = asked.await.unwrap();
    assert_eq!(stopped, "57014");
    client.batch_execute("SET statement_timeout = '50ms'").await.unwrap();
    assert_eq!(state(&client.batch_execute("SELECT pg_sleep(600)").await.expect_err("no timeout")), "57014");
    client.batch_execute("RESET statement_timeout").await.unwrap();

    let statement = client.prepare("SELECT sum(k) AS n FROM t").await.unwrap();
    assert!(client.query_one(&statement, &[]).await.is_ok());
    server.kill();
    assert!(client.query_one(&statement, &[]).await.is_err_and(|e| state(&e).is_empty()));
    assert!(client.is_closed());
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = connect(&server).await;
    assert_eq!(texts(&client, "SELECT sum(k) AS n FROM t").await, ["3"]);
}

#[tokio::test]
async fn a_new_session_sees_what_was_acknowledged() {
    let folder = Folder::new();
    // Nobody else ends an epoch in time.
    let slow = Options { barrier: "30s", checkpoint: "60s", ..Options::default() };
    let mut server = Server::start(folder.path(), &slow).unwrap();
    let writer = connect(&server).await;
    let view = "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t";
    writer.batch_execute(&format!("CREATE TABLE t (k BIGINT PRIMARY KEY); {view}")).await.unwrap();
    let old = connect(&server).await;
    writer.batch_execute("INSERT INTO t VALUES (1), (2)").await.unwrap();
    let hasty = connect(&server).await;
    hasty.batch_execute("SET implicit_flush = off").await.unwrap();
    assert_eq!(texts(&hasty, "SELECT n FROM v").await, ["0"]);
    assert_eq!(texts(&old, "SELECT n FROM v").await, ["0"]);
    let new = connect(&server).await;
    assert_eq!(texts(&new, "SELECT n FROM v").await, ["2"]);
    assert_eq!(texts(&connect(&server).await, "DELETE FROM t WHERE k = 1 RETURNING k").await, ["1"]);
    assert_eq!(texts(&connect(&server).await, "SELECT n FROM v").await, ["1"]);
    server.kill();
    let server = Server::start(folder.path(), &slow).unwrap();
    assert_eq!(texts(&connect(&server).await, "SELECT n FROM v").await, ["1"]);
}
