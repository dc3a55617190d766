//! COPY over the wire: what is acknowledged outlives a kill, what fails leaves nothing, and lines come back as they went.

use bytes::Bytes;
use futures::{SinkExt, TryStreamExt};
use tokio_postgres::NoTls;

use crate::client::Client;
use crate::server::{Folder, Options, Server};

async fn connect(port: u16) -> tokio_postgres::Client {
    let config = format!("host=127.0.0.1 port={port} user=root dbname=dev");
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Sends the lines in messages of odd sizes; the rows that were taken.
async fn copy_in(client: &tokio_postgres::Client, sql: &str, data: &str) -> Result<u64, tokio_postgres::Error> {
    let sink = client.copy_in::<_, Bytes>(sql).await?;
    tokio::pin!(sink);
    for part in data.as_bytes().chunks(70_001) {
        sink.send(Bytes::copy_from_slice(part)).await?;
    }
    sink.finish().await
}

async fn copy_out(client: &tokio_postgres::Client, sql: &str) -> String {
    let parts: Vec<Bytes> = client.copy_out(sql).await.unwrap().try_collect().await.unwrap();
    String::from_utf8(parts.concat()).unwrap()
}

/// More than one piece, so that it goes through a side file.
fn large() -> String {
    (0..100_000).map(|id| format!("{id},\"name \"\"{id}\"\" of some length\"\n")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_outlives_a_kill_and_what_fails_leaves_nothing() {
    let folder = Folder::new();
    let mut server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = connect(server.port()).await;
    let setup = "CREATE TABLE t (id BIGINT, name VARCHAR); \
                 CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, sum(id) AS total FROM t";
    client.batch_execute(setup).await.unwrap();
    let data = large();
    let bad = format!("{data}x,bad\n");
    let refused = copy_in(&client, "COPY t FROM STDIN CSV", &bad).await.unwrap_err();
    let error = refused.as_db_error().unwrap();
    assert_eq!(error.code().code(), "22P02");
    assert_eq!(error.where_(), Some("COPY t, line 100001, column id: \"x\""));
    assert_eq!(copy_in(&client, "COPY t FROM STDIN CSV", &data).await.unwrap(), 100_000);
    server.kill();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    client.execute("FLUSH").await;
    assert_eq!(client.value("SELECT n || ' ' || total FROM v").await, "100000 4999950000");
    assert_eq!(client.value("SELECT count(DISTINCT id) || '' FROM t").await, "100000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_lines_become_dead_letters_when_asked() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = connect(server.port()).await;
    client.batch_execute("CREATE TABLE t (id INT NOT NULL, at TIMESTAMP, n INT DEFAULT 7)").await.unwrap();
    let data = "1\t2024-01-02 03:04:05\nx\t\\N\n2\t\\N\n3\tsoon\n\\N\t\\N\n";
    let taken = copy_in(&client, "COPY t (id, at) FROM STDIN (ON_ERROR ignore)", data).await.unwrap();
    assert_eq!(taken, 2);
    let rows = copy_out(&client, "COPY (SELECT id, at, n FROM t ORDER BY id) TO STDOUT").await;
    assert_eq!(rows, "1\t2024-01-02 03:04:05\t7\n2\t\\N\t7\n");
    let letters =
        copy_out(&client, "COPY (SELECT source, error FROM weir.dead_letters ORDER BY \"offset\") TO STDOUT CSV").await;
    let letters: Vec<&str> = letters.lines().collect();
    assert_eq!(letters.len(), 3, "{letters:?}");
    assert!(letters[0].contains("COPY t, line 2, column id"), "{letters:?}");
    assert!(letters[2].contains("violates not-null constraint"), "{letters:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_come_back_as_they_went() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = connect(server.port()).await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR, raw BYTEA)").await.unwrap();
    let text = "1\ta\\tb\\\\c\\nd\t\\\\x00ff\n2\t\\N\t\\N\n3\t\t\\\\x\n";
    assert_eq!(copy_in(&client, "COPY t FROM STDIN", text).await.unwrap(), 3);
    assert_eq!(copy_out(&client, "COPY (SELECT * FROM t ORDER BY id) TO STDOUT").await, text);
    let csv =
        copy_out(&client, "COPY (SELECT * FROM t ORDER BY id) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE (id))").await;
    assert_eq!(csv, "id,name,raw\n\"1\",\"a\tb\\c\nd\",\\x00ff\n\"2\",,\n\"3\",\"\",\\x\n");
    client.batch_execute("CREATE TABLE u (id INT, name VARCHAR, raw BYTEA)").await.unwrap();
    assert_eq!(copy_in(&client, "COPY u FROM STDIN CSV HEADER", &csv).await.unwrap(), 3);
    assert_eq!(copy_out(&client, "COPY (SELECT * FROM u ORDER BY id) TO STDOUT").await, text);
}
