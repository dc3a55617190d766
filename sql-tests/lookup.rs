//! Lookups by a key and by an index over the extended protocol: parameters of other types than the column's, nulls,
//! what changes between two executions, and reads beside writes.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls};

use crate::server::{Folder, Options, Server};

async fn connect(server: &Server) -> Client {
    let address = format!("host=127.0.0.1 port={} user=root dbname=dev", server.port());
    let (client, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn prepared_lookups() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = connect(&server).await;
    let setup = "CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR, n BIGINT, at TIMESTAMP);
        INSERT INTO t SELECT i::int, 'name ' || i, i % 10, TIMESTAMP '2024-01-01' FROM generate_series(1, 500) AS s(i);
        INSERT INTO t VALUES (1000, NULL, NULL, NULL);
        CREATE INDEX by_n ON t (n);
        CREATE INDEX by_name ON t (name) INCLUDE (n);
        CREATE INDEX by_at ON t (at, id)";
    client.batch_execute(setup).await.unwrap();

    let by_id = client.prepare("SELECT name, n FROM t WHERE id = $1").await.unwrap();
    assert_eq!(by_id.params(), [Type::INT4]);
    for id in [5, 500] {
        let row = client.query_one(&by_id, &[&id]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), format!("name {id}"));
        assert_eq!(row.get::<_, i64>(1), i64::from(id % 10));
    }
    assert!(client.query(&by_id, &[&None::<i32>]).await.unwrap().is_empty());
    assert!(client.query(&by_id, &[&-1]).await.unwrap().is_empty());

    // Parameters that the client declares with a type of its own.
    let sql = "SELECT name FROM t WHERE id = $1";
    let wide = client.prepare_typed(sql, &[Type::INT8]).await.unwrap();
    assert_eq!(client.query_one(&wide, &[&7i64]).await.unwrap().get::<_, String>(0), "name 7");
    assert!(client.query(&wide, &[&(1i64 << 40)]).await.unwrap().is_empty());
    let narrow = client.prepare_typed(sql, &[Type::INT2]).await.unwrap();
    assert_eq!(client.query_one(&narrow, &[&7i16]).await.unwrap().get::<_, String>(0), "name 7");
    let real = client.prepare_typed(sql, &[Type::FLOAT8]).await.unwrap();
    assert_eq!(client.query_one(&real, &[&7.0f64]).await.unwrap().get::<_, String>(0), "name 7");
    assert!(client.query(&real, &[&7.5f64]).await.unwrap().is_empty());

    // By indexes: one that has all that is asked for, one that has not, one of a part of its key.
    let by_n = client.prepare("SELECT id FROM t WHERE n = $1").await.unwrap();
    assert_eq!(client.query(&by_n, &[&3i64]).await.unwrap().len(), 50);
    assert!(client.query(&by_n, &[&None::<i64>]).await.unwrap().is_empty());
    let by_name = client.prepare("SELECT n, at::varchar FROM t WHERE name = $1").await.unwrap();
    assert_eq!(client.query_one(&by_name, &[&"name 77"]).await.unwrap().get::<_, i64>(0), 7);
    let whole = client.prepare("SELECT * FROM t WHERE name = $1").await.unwrap();
    assert_eq!(client.query_one(&whole, &[&"name 77"]).await.unwrap().get::<_, i32>("id"), 77);
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_704_067_200);
    let by_both = client.prepare("SELECT name FROM t WHERE id = $2 AND at = $1").await.unwrap();
    assert_eq!(client.query_one(&by_both, &[&at, &9]).await.unwrap().get::<_, String>(0), "name 9");

    // What was prepared sees later writes, and outlives an index and a change of role.
    client
        .batch_execute("UPDATE t SET n = 77 WHERE id = 5; DELETE FROM t WHERE id = 6; DROP INDEX by_n")
        .await
        .unwrap();
    assert_eq!(client.query_one(&by_id, &[&5]).await.unwrap().get::<_, i64>(1), 77);
    assert!(client.query(&by_id, &[&6]).await.unwrap().is_empty());
    assert_eq!(client.query(&by_n, &[&77i64]).await.unwrap().len(), 1);
    client.batch_execute("CREATE ROLE other; SET ROLE other").await.unwrap();
    let refused = client.query(&by_id, &[&5]).await.unwrap_err();
    assert_eq!(refused.code().map(|c| c.code()), Some("42501"), "{refused}");
    client.batch_execute("RESET ROLE").await.ok();
    client.batch_execute("SET ROLE NONE; DROP ROLE other; DROP TABLE t").await.unwrap();
    let gone = client.query(&by_id, &[&5]).await.unwrap_err();
    assert_eq!(gone.code().map(|c| c.code()), Some("42P01"), "{gone}");
}

/// A row moves between two places of an index: whoever looks finds it in exactly one.
#[tokio::test]
async fn an_index_and_its_table_are_of_one_epoch() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options { barrier: "5ms", ..Options::default() }).unwrap();
    let (writer, reader) = (connect(&server).await, connect(&server).await);
    let setup = "CREATE TABLE t (id INT PRIMARY KEY, place INT, moves INT, note VARCHAR);
        INSERT INTO t SELECT i::int, 0, 0, 'n' FROM generate_series(1, 50) AS s(i);
        CREATE INDEX by_place ON t (place) INCLUDE (moves)";
    writer.batch_execute(setup).await.unwrap();
    let writes = tokio::spawn(async move {
        for moves in 1..=60 {
            let sql = format!("UPDATE t SET place = {}, moves = {moves}", moves % 2);
            writer.batch_execute(&sql).await.unwrap();
        }
    });
    let covered = reader.prepare("SELECT moves FROM t WHERE place IN (0, 1)").await.unwrap();
    let fetched = reader.prepare("SELECT moves, note FROM t WHERE place >= 0 AND place < 2").await.unwrap();
    let mut last = 0;
    while !writes.is_finished() {
        for statement in [&covered, &fetched] {
            let rows = reader.query(statement, &[]).await.unwrap();
            let moves: Vec<i32> = rows.iter().map(|r| r.get(0)).collect();
            assert_eq!(moves.len(), 50);
            assert!(moves.iter().all(|m| *m == moves[0] && *m >= last), "{moves:?} after {last}");
            last = moves[0];
        }
    }
    writes.await.unwrap();
}
