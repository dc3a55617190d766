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
