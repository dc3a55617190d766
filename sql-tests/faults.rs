//! Disks that are full or broken: a write is refused with the right error, nothing is corrupted, and work goes on by
//! itself when the disk does.

use crate::client::Client;
use crate::server::{Folder, Options, Server};

async fn start(folder: &Folder, backend: &'static str, failpoints: &str) -> (Server, Client) {
    let options = Options { backend, failpoints: failpoints.to_string(), ..Options::default() };
    let server = Server::start(folder.path(), &options).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    (server, client)
}

/// Inserts ten rows, one a statement, each until it is taken; returns the SQLSTATEs of those that were refused.
async fn insert_all(client: &Client) -> Vec<String> {
    let mut refused = Vec::new();
    for id in 0..10 {
        while let Err(e) = client.run(&format!("INSERT INTO t VALUES ({id}, 1)")).await {
            refused.push(e.sqlstate);
            assert!(refused.len() < 100, "no INSERT is taken any longer");
        }
    }
    refused
}

/// All rows once, in the table and in the view, now and after a kill.
async fn whole(folder: &Folder, backend: &'static str, mut server: Server, client: Client) {
    const WHOLE: &str = "SELECT (SELECT count(*) || ' ' || count(DISTINCT id) FROM t) || ' ' || (SELECT n FROM v)";
    client.wait_for(WHOLE, "10 10 10").await;
    server.kill();
    let (server, client) = start(folder, backend, "").await;
    client.execute("FLUSH").await;
    assert_eq!(client.value(WHOLE).await, "10 10 10");
    drop(server);
}

const SETUP: &str = "CREATE TABLE t (id INT, x INT); CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_append_is_told_and_leaves_nothing() {
    for (point, fault, state) in [
        ("log.append.write", "enospc", "53100"),
        ("log.append.write", "eio", "58030"),
        ("log.append.sync", "enospc", "53100"),
        ("log.append.sync", "eio", "58030"),
    ] {
        let folder = Folder::new();
        let (server, client) = start(&folder, "sled", &format!("{point}=3*off->2*return({fault})->off")).await;
        client.execute(SETUP).await;
        let refused = insert_all(&client).await;
        assert_eq!(refused, [state, state], "{point} {fault}\n{}", server.log());
        whole(&folder, "sled", server, client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_checkpoint_is_tried_again() {
    for (backend, point) in [
        ("sled", "state.commit.fold"),
        ("sled", "state.commit.apply"),
        ("sled", "state.commit.flush"),
        ("memory", "state.commit.apply"),
        ("memory", "state.snapshot.rename"),
    ] {
        for fault in ["enospc", "eio"] {
            let folder = Folder::new();
            // The definitions commit first.
            let (server, client) = start(&folder, backend, &format!("{point}=4*off->3*return({fault})->off")).await;
            client.execute(SETUP).await;
            let refused = insert_all(&client).await;
            assert!(refused.is_empty(), "{backend} {point}: an INSERT needs no checkpoint, got {refused:?}");
            client.wait_for("SELECT count(*) >= 1 FROM weir.checkpoints WHERE status = 'failed'", "t").await;
            let ok_after = "SELECT max(epoch) FILTER (WHERE status = 'succeeded') >
                            max(epoch) FILTER (WHERE status = 'failed') FROM weir.checkpoints";
            for _ in 0..100 {
                client.execute("UPDATE t SET x = x + 1").await;
                if let Err(e) = client.run("FLUSH").await {
                    assert!(["53100", "58030"].contains(&e.sqlstate.as_str()), "{backend} {point}: {e}");
                }
                if client.value(ok_after).await == "t" {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            assert_eq!(client.value(ok_after).await, "t", "{backend} {point} {fault}\n{}", server.log());
            assert_eq!(client.value("SELECT count(*) FROM weir.jobs WHERE state = 'running'").await, "2");
            whole(&folder, backend, server, client).await;
        }
    }
}

/// A definition that cannot be made durable is refused, and can be made when the disk is well again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_that_is_not_durable_is_told() {
    let folder = Folder::new();
    let (_server, client) = start(&folder, "sled", "state.commit.apply=1*return(enospc)->off").await;
    let e = client.run("CREATE TABLE t (id INT, x INT)").await.unwrap_err();
    assert_eq!(e.sqlstate, "53100", "{e}");
}
