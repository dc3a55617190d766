//! Statements through both protocols, as a driver sends them.

use futures::{StreamExt, TryStreamExt, pin_mut};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::start;

/// Rows as `a|b`, command tags as `(rows)`.
async fn simple(client: &Client, sql: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let messages = client.simple_query(sql).await?;
    Ok(messages
        .into_iter()
        .filter_map(|m| match m {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|i| row.get(i).unwrap_or("null")).collect::<Vec<_>>().join("|"))
            }
            SimpleQueryMessage::CommandComplete(rows) => Some(format!("({rows})")),
            _ => None,
        })
        .collect())
}

#[tokio::test]
async fn several_statements_in_one_message() {
    let server = start(|_| {}).await;
    let client = server.connect().await;
    let cases: &[(&str, &[&str])] = &[
        ("SELECT 1", &["1", "(1)"]),
        ("SELECT 1; SELECT 'a', null; BEGIN; COMMIT", &["1", "(1)", "a|null", "(1)", "(0)", "(0)"]),
        ("", &["(0)"]),
        (" ; ", &["(0)"]),
        ("SELECT 1 WHERE false", &["(0)"]),
        ("COUNT 2500; SELECT 1", &[]),
    ];
    for (sql, want) in cases {
        let got = simple(&client, sql).await.unwrap();
        if sql.starts_with("COUNT") {
            assert_eq!(got.len(), 2500 + 1 + 2);
            assert_eq!(got[2499..], ["2499", "(2500)", "1", "(1)"]);
        } else {
            assert_eq!(got, *want, "{sql:?}");
        }
    }
}

#[tokio::test]
async fn an_error_ends_the_message_and_tells_where() {
    let server = start(|_| {}).await;
    let client = server.connect().await;
    let cases = [
        // sql, SQLSTATE, position in the message
        ("FAIL x", "42P01", Some(6)),
        ("SELECT 'é'; FAIL x; SELECT 2", "42P01", Some(18)),
        ("SELECT SYNTAX", "42601", Some(8)),
        ("SELECT nope(1)", "42883", None),
        ("SELECT 1/0", "22012", None),
        ("PANIC", "XX000", None),
    ];
    for (sql, state, position) in cases {
        let error = client.simple_query(sql).await.unwrap_err();
        let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
        assert_eq!(error.code().code(), state, "{sql}: {error}");
        let told = match error.position() {
            Some(tokio_postgres::error::ErrorPosition::Original(p)) => Some(*p),
            _ => None,
        };
        assert_eq!(told, position, "{sql}");
        if state == "42P01" {
            assert_eq!((error.hint(), error.detail()), (Some("CREATE TABLE x"), Some("no detail")));
        }
        // The connection goes on.
        assert_eq!(simple(&client, "SELECT 7").await.unwrap(), ["7", "(1)"]);
    }
    for sql in ["FAIL x", "SELECT nope(1)", "PANIC"] {
        assert!(client.query(sql, &[]).await.is_err(), "{sql}");
        assert_eq!(client.query_one("SELECT 7", &[]).await.unwrap().get::<_, i64>(0), 7);
    }
}

#[tokio::test]
async fn a_failed_transaction_stays_failed_until_its_end() {
    let server = start(|_| {}).await;
    let client = server.connect().await;
    simple(&client, "BEGIN").await.unwrap();
    simple(&client, "FAIL").await.unwrap_err();
    let error = simple(&client, "SELECT 1").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "25P02");
    simple(&client, "ROLLBACK").await.unwrap();
    assert_eq!(simple(&client, "SELECT 1").await.unwrap(), ["1", "(1)"]);
}

#[tokio::test]
async fn notices_come_before_completion() {
    let server = start(|_| {}).await;
    let (client, mut notices) = server.connect_noticing().await;
    client.simple_query("NOTICE").await.unwrap();
    assert_eq!(notices.try_recv().unwrap(), "NOTICE: heads up");
    client.execute("NOTICE", &[]).await.unwrap();
    assert_eq!(notices.try_recv().unwrap(), "NOTICE: heads up");
}

#[tokio::test]
async fn binary_results_and_parameters_of_each_type() {
    let server = start(|_| {}).await;
    let client = server.connect().await;
    macro_rules! round_trip {
        ($($ty:ident, $rust:ty, [$($value:expr),*];)*) => {$($({
            let value: $rust = $value;
            let statement = client.prepare_typed("SELECT $1 AS x", &[Type::$ty]).await.unwrap();
            assert_eq!(statement.params(), [Type::$ty]);
            let row = client.query_one(&statement, &[&value]).await.unwrap();
            assert_eq!(row.get::<_, $rust>(0), value, stringify!($ty));
        })*)*};
    }
    round_trip! {
        BOOL, Option<bool>, [Some(true), Some(false), None];
        INT2, i16, [0, i16::MIN, i16::MAX];
        INT4, Option<i32>, [Some(i32::MIN), Some(i32::MAX), None];
        INT8, i64, [i64::MIN, -1, i64::MAX];
        FLOAT4, f32, [0.0, -1.5, f32::MAX, f32::INFINITY];
        FLOAT8, f64, [0.1, f64::MIN_POSITIVE, f64::NEG_INFINITY];
        TEXT, String, [String::new(), "it's; --é\u{1F980}".to_string()];
        BYTEA, Vec<u8>, [vec![], vec![0, 255, b'\\']];
        INT8_ARRAY, Vec<Option<i64>>, [vec![], vec![Some(1), None, Some(-3)]];
        TEXT_ARRAY, Vec<String>, [vec!["a b".into(), "\"".into(), String::new()]];
        TIMESTAMP, std::time::SystemTime, [
            std::time::UNIX_EPOCH,
            std::time::UNIX_EPOCH + std::time::Duration::from_micros(1_700_000_000_000_001)
        ];
        TIMESTAMPTZ, std::time::SystemTime, [std::time::UNIX_EPOCH - std::time::Duration::from_micros(1)];
    }
}

#[tokio::test]
async fn inferred_parameters_are_described() {
    let server = start(|_| {}).await;
    let client = server.connect().await;
    let statement = client.prepare("SELECT 1::BIGINT + $1 AS a, 'x' || 'y' AS b").await.unwrap();
    assert_eq!(statement.params(), [Type::INT8]);
    let columns: Vec<_> = statement.columns().iter().map(|c| (c.name(), c.type_().clone())).collect();
    assert_eq!(columns, [("a", Type::INT8), ("b", Type::TEXT)]);
    for n in [1i64, -5] {
        let row = client.query_one(&statement, &[&n]).await.unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, String>(1)), (n + 1, "xy".into()));
    }
    assert_eq!(client.execute("SET x", &[]).await.unwrap(), 0);
    assert!(client.query("", &[]).await.unwrap().is_empty());
    let error = client.prepare("SELECT 1; SELECT 2").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42601");
}

#[tokio::test]
async fn a_portal_gives_rows_in_steps() {
    let server = start(|_| {}).await;
    let mut client = server.connect().await;
    let transaction = client.transaction().await.unwrap();
    let statement = transaction.prepare("COUNT 2500").await.unwrap();
    let portal = transaction.bind(&statement, &[]).await.unwrap();
    let mut next = 0i64;
    for step in [1, 999, 1000, 400] {
        let rows = transaction.query_portal(&portal, step).await.unwrap();
        assert_eq!(rows.len(), step as usize);
        for row in rows {
            assert_eq!(row.get::<_, i64>(0), next);
            next += 1;
        }
    }
    assert_eq!(transaction.query_portal(&portal, 1000).await.unwrap().len(), 100);
    assert_eq!(transaction.query_portal(&portal, 1000).await.unwrap().len(), 0);
    drop(portal);
    transaction.commit().await.unwrap();

    // A portal that is closed half way frees its stream.
    let transaction = client.transaction().await.unwrap();
    let statement = transaction.prepare("COUNT").await.unwrap();
    let portal = transaction.bind(&statement, &[]).await.unwrap();
    assert_eq!(transaction.query_portal(&portal, 10).await.unwrap().len(), 10);
    drop(portal);
    transaction.commit().await.unwrap();
    super::fake::eventually("the endless stream ends with its portal", || {
        server.backend.streams.load(std::sync::atomic::Ordering::SeqCst) == 0
    })
    .await;
}

#[tokio::test]
async fn rows_are_not_made_faster_than_they_are_read() {
    let server = start(|_| {}).await;
    let client = server.connect().await;
    let none: [&(dyn ToSql + Sync); 0] = [];
    let rows = client.query_raw("COUNT", none).await.unwrap();
    pin_mut!(rows);
    assert_eq!(rows.try_next().await.unwrap().unwrap().get::<_, i64>(0), 0);
    // The client reads on by itself into a bounded queue at most; the server must come to a stand.
    let made = || server.backend.batches.load(std::sync::atomic::Ordering::SeqCst);
    let (mut last, mut still) = (0, 0);
    super::fake::eventually("production stops", || {
        let now = made();
        still = if now == last { still + 1 } else { 0 };
        last = now;
        still == 20
    })
    .await;
    assert!(last > 0);
    assert!(rows.next().await.is_some());
}
