//! Temporary tables of the real binary: seen by their session alone, gone with it, and after a kill.

use tokio_postgres::NoTls;

use crate::client::Client;
use crate::server::{Folder, Options, Server};

#[tokio::test]
async fn a_temporary_table_is_its_sessions_own() {
    let folder = Folder::new();
    let mut server = Server::start(folder.path(), &Options::default()).unwrap();
    let one = Client::connect(server.port()).await.unwrap();
    let other = Client::connect(server.port()).await.unwrap();
    for (client, value) in [(&one, 1), (&other, 2)] {
        client.execute("CREATE TEMP TABLE t (a INT); CREATE INDEX ta ON t (a)").await;
        client.execute(&format!("INSERT INTO t VALUES ({value})")).await;
    }
    assert_eq!(one.value("SELECT a FROM t").await, "1");
    assert_eq!(other.value("SELECT a FROM t WHERE a = 2").await, "2");
    assert_eq!(one.value("SELECT count(*) FROM pg_class WHERE relname = 't'").await, "1");
    let third = Client::connect(server.port()).await.unwrap();
    assert_eq!(third.run("SELECT * FROM t").await.unwrap_err().sqlstate, "42P01");
    assert_eq!(third.value("SELECT count(*) FROM pg_class WHERE relname = 't'").await, "0");
    // A table of the same name for all, and a view on it, are no concern of theirs.
    third.execute("CREATE TABLE t (a INT); INSERT INTO t VALUES (3); CREATE VIEW w AS SELECT a FROM t").await;
    assert_eq!(other.value("SELECT a FROM t").await, "2");
    other.wait_for("SELECT a FROM w", "3").await;
    assert_eq!(third.value("SELECT a FROM t").await, "3");

    // COPY in, through the wire.
    let config = format!("host=127.0.0.1 port={} user=root dbname=dev", server.port());
    let (driver, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    driver.batch_execute("CREATE TEMP TABLE c (a INT, b TEXT) ON COMMIT PRESERVE ROWS").await.unwrap();
    let sink = driver.copy_in("COPY c FROM STDIN").await.unwrap();
    let mut sink = std::pin::pin!(sink);
    futures::SinkExt::send(&mut sink, bytes::Bytes::from("1\tx\n2\ty\n")).await.unwrap();
    sink.finish().await.unwrap();
    let rows = driver.query("SELECT b FROM c WHERE a > $1", &[&1_i32]).await.unwrap();
    assert_eq!(rows[0].get::<_, &str>(0), "y");

    // A session that ends takes its tables along.
    let jobs = "SELECT count(*) FROM weir.jobs";
    assert_eq!(third.value(jobs).await, "6");
    drop(driver);
    connection.await.unwrap().unwrap();
    third.wait_for(jobs, "5").await;
    drop(one);
    third.wait_for(jobs, "3").await;
    assert_eq!(other.value("SELECT a FROM t").await, "2");

    // So does a kill.
    server.kill();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    assert_eq!(client.value(jobs).await, "1");
    assert_eq!(client.value("SELECT a FROM t").await, "3");
    assert_eq!(std::fs::read_dir(folder.file("data/log")).unwrap().count(), 1);
}
