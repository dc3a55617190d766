//! One bad job hurts only itself: it is marked failed with its error, what shares no table with it goes on, and what it
//! shares a table with comes back without it.

use crate::client::Client;
use crate::server::{Folder, Options, Server};

const TRAFFIC: &str = "CREATE TABLE good (id INT PRIMARY KEY); INSERT INTO good VALUES (1), (2), (3);
     CREATE MATERIALIZED VIEW goods AS SELECT count(*) AS n FROM good";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_keeps_failing_is_marked_and_the_others_run_on() {
    let folder = Folder::new();
    let mut server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    client.execute(TRAFFIC).await;
    let parquet = folder.file("parquet");
    let path = parquet.display();
    client
        .execute(&format!(
            "CREATE SINK files AS SELECT id FROM good
             WITH (connector = 'file', path = '{path}') FORMAT PLAIN ENCODE PARQUET"
        ))
        .await;
    client.wait_for("SELECT count(*) >= 1 FROM weir.checkpoints", "t").await;
    client.execute("FLUSH").await;
    client
        .execute(&format!(
            "CREATE SOURCE back (id INT) WITH (connector = 'file', path = '{path}/*.parquet', follow = 'true')
                 FORMAT PLAIN ENCODE PARQUET;
             CREATE MATERIALIZED VIEW bad AS SELECT count(*) AS n FROM back;
             CREATE MATERIALIZED VIEW worse AS SELECT n + 1 AS n FROM bad"
        ))
        .await;
    client.wait_for("SELECT n FROM worse", "4").await;
    std::fs::write(parquet.join("zz.parquet"), b"not Parquet at all").unwrap();
    client.wait_for("SELECT state FROM weir.jobs WHERE name = 'bad'", "failed").await;
    client.wait_for("SELECT state FROM weir.jobs WHERE name = 'worse'", "failed").await;
    assert!(client.value("SELECT error FROM weir.jobs WHERE name = 'bad'").await.contains("zz.parquet"));
    // What was computed stays readable; the others take part in further epochs.
    assert_eq!(client.value("SELECT n FROM worse").await, "4");
    client.execute("INSERT INTO good VALUES (4)").await;
    assert_eq!(client.value("SELECT n FROM goods").await, "4");
    let refused = client.run("CREATE MATERIALIZED VIEW more AS SELECT n FROM bad").await.err().map(|e| e.sqlstate);
    assert_eq!(refused.as_deref(), Some("55000"));
    // Mended, a restart brings it back where it was: nothing is lost and nothing read twice.
    std::fs::remove_file(parquet.join("zz.parquet")).unwrap();
    client.execute("FLUSH").await;
    server.kill();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    client.wait_for("SELECT n FROM worse", "5").await;
    assert_eq!(client.value("SELECT n FROM goods").await, "4");
    client.execute("DROP MATERIALIZED VIEW bad CASCADE").await;
    assert_eq!(client.value("SELECT count(*) FROM weir.jobs WHERE state <> 'running'").await, "0");
    drop(server);
}

/// Its table goes on without it, so a restart cannot take it up where it stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_its_table_left_behind_stays_failed_until_it_is_made_again() {
    let folder = Folder::new();
    let mut server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    const STRICT: &str = "CREATE MATERIALIZED VIEW strict WITH (on_error = 'fail') AS SELECT a, 10 / b AS c FROM t";
    client
        .execute(&format!(
            "CREATE TABLE t (a INT PRIMARY KEY, b INT); {STRICT};
             CREATE MATERIALIZED VIEW reader AS SELECT count(*) AS n FROM strict;
             CREATE MATERIALIZED VIEW other AS SELECT count(*) AS n FROM t;
             INSERT INTO t VALUES (1, 1), (2, 2)"
        ))
        .await;
    assert_eq!(client.value("SELECT n FROM reader").await, "2");
    client.execute("INSERT INTO t VALUES (3, 0)").await;
    client.wait_for("SELECT state FROM weir.jobs WHERE name = 'strict'", "failed").await;
    client.wait_for("SELECT n FROM other", "3").await;
    client.execute("DELETE FROM t WHERE a IN (1, 3); INSERT INTO t VALUES (4, 5); FLUSH").await;
    for stop in [Server::kill, Server::stop] {
        stop(&mut server);
        server = Server::start(folder.path(), &Options::default()).unwrap();
        let client = Client::connect(server.port()).await.unwrap();
        let failed = "SELECT name FROM weir.jobs WHERE state = 'failed' AND error LIKE '%division by zero%' ORDER BY 1";
        let failed: Vec<_> = client.query(failed).await.into_iter().flatten().flatten().collect();
        assert_eq!(failed, ["reader", "strict"]);
        assert_eq!(client.value("SELECT n FROM other").await, "2");
    }
    let client = Client::connect(server.port()).await.unwrap();
    client.execute(&format!("DROP MATERIALIZED VIEW strict CASCADE; {STRICT}; INSERT INTO t VALUES (9, 2)")).await;
    assert_eq!(client.value("SELECT string_agg(a || ':' || c, ' ' ORDER BY a) FROM strict").await, "2:5 4:2 9:5");
    server.kill();
    server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    client.wait_for("SELECT count(*) FROM strict", "3").await;
    drop(server);
}
