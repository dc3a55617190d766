//! Views while they are filled: made in the background, cancelled, replaced, and through kills. Each step of a backfill is
//! slowed down, so that there is time to do something meanwhile.

use tokio_postgres::NoTls;

use crate::client::Client;
use crate::server::{Folder, Options, Server};

const SLOW: &str = "backfill.step=sleep(400)";
const ROWS: &str = "CREATE TABLE t (id INT PRIMARY KEY, v INT); \
                    INSERT INTO t SELECT i, i % 10 FROM generate_series(1, 40000) AS g(i)";

async fn start(folder: &Folder) -> (Server, Client) {
    let options = Options { failpoints: SLOW.to_string(), ..Options::default() };
    let server = Server::start(folder.path(), &options).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    (server, client)
}

async fn filled(folder: &Folder) -> (Server, Client) {
    let (server, client) = start(folder).await;
    for statement in ROWS.split(';') {
        client.execute(statement).await;
    }
    client.execute("FLUSH").await;
    (server, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_is_filled_in_the_background_and_through_a_kill() {
    let folder = Folder::new();
    let (mut server, client) = filled(&folder).await;
    client.execute("SET background_ddl = true").await;
    client.execute("CREATE MATERIALIZED VIEW m AS SELECT v, count(*) AS n FROM t GROUP BY v").await;
    assert_ne!(client.value("SELECT backfilling FROM weir.jobs WHERE name = 'm'").await, "0", "it is still read");
    assert_eq!(client.value("SELECT backfill_total FROM weir.jobs WHERE name = 'm'").await, "40000");
    server.kill();
    let (_server, client) = start(&folder).await;
    client.execute("WAIT").await;
    assert_eq!(client.value("SELECT count(*) || ' ' || min(n) || ' ' || max(n) FROM m").await, "10 4000 4000");
    assert_eq!(client.run("CANCEL JOBS 999").await.err().map(|e| e.sqlstate).as_deref(), Some("42704"));
    let id = client.value("SELECT id FROM weir.jobs WHERE name = 'm'").await;
    assert_eq!(client.run(&format!("CANCEL JOB {id}")).await.err().map(|e| e.sqlstate).as_deref(), Some("55000"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cancelled_leaves_nothing() {
    let folder = Folder::new();
    let (server, client) = filled(&folder).await;
    client.execute("SET background_ddl = true").await;
    client.execute("CREATE MATERIALIZED VIEW m AS SELECT id FROM t").await;
    let id = client.value("SELECT id FROM weir.jobs WHERE name = 'm'").await;
    client.execute(&format!("CANCEL JOBS {id}")).await;
    assert_eq!(client.value("SELECT count(*) FROM weir.jobs").await, "1");
    // A cancel request of the client's does the same to a CREATE that waits.
    let (other, connection) =
        tokio_postgres::connect(&format!("host=127.0.0.1 port={} user=root dbname=dev", server.port()), NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    let token = other.cancel_token();
    let create =
        tokio::spawn(async move { other.batch_execute("CREATE MATERIALIZED VIEW m AS SELECT id FROM t").await });
    client.wait_for("SELECT count(*) FROM weir.jobs WHERE backfilling > 0", "1").await;
    token.cancel_query(NoTls).await.unwrap();
    let e = create.await.unwrap().unwrap_err();
    assert_eq!(e.code().map(|c| c.code()), Some("57014"), "{e}");
    client.wait_for("SELECT count(*) FROM pg_class WHERE relname = 'm'", "0").await;
    assert_eq!(client.run("SELECT * FROM m").await.err().map(|e| e.sqlstate).as_deref(), Some("42P01"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_view_answers_until_the_new_one_is_filled() {
    let folder = Folder::new();
    let (mut server, client) = filled(&folder).await;
    client.execute("CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM t").await;
    let replace = "CREATE OR REPLACE MATERIALIZED VIEW m AS SELECT count(*) * 2 AS n FROM t";
    let other = Client::connect(server.port()).await.unwrap();
    let replacing = tokio::spawn(async move { other.run(replace).await.is_ok() });
    client.wait_for("SELECT count(*) FROM weir.jobs WHERE backfilling > 0", "1").await;
    assert_eq!(client.value("SELECT n FROM m").await, "40000");
    server.kill();
    assert!(!replacing.await.unwrap(), "it was not done yet");
    let (_server, client) = start(&folder).await;
    client.execute("FLUSH").await;
    assert_eq!(client.value("SELECT n FROM m").await, "40000");
    assert_eq!(client.value("SELECT count(*) FROM weir.jobs").await, "2");
    client.execute(replace).await;
    assert_eq!(client.value("SELECT n FROM m").await, "80000");
    assert_eq!(client.value("SELECT count(*) FROM weir.jobs").await, "2");
}
