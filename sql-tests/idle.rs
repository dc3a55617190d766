//! An idle server costs next to nothing.

use std::time::Duration;

use weir::common::clock::instant;

use crate::client::Client;
use crate::server::{Folder, Options, Server};

/// Clock ticks a second, as /proc counts them on Linux.
const TICKS: f64 = 100.0;
const WATCHED: Duration = Duration::from_secs(5);

/// CPU seconds that a process has used.
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name in parentheses may hold spaces; user and system time are the 12th and 13th field after it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_views_use_less_than_a_hundredth_of_a_core() {
    if !std::path::Path::new("/proc/self/stat").exists() {
        println!("skipped: no /proc here");
        return;
    }
    let folder = Folder::new();
    let options = Options { barrier: "1s", checkpoint: "1s", ..Options::default() };
    let server = Server::start(folder.path(), &options).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    client.execute("CREATE TABLE t (k INT, v INT)").await;
    for view in 0..10 {
        let query =
            format!("SELECT k % {} AS g, count(*) AS n, sum(v) AS s FROM t GROUP BY k % {}", view + 2, view + 2);
        client.execute(&format!("CREATE MATERIALIZED VIEW v{view} AS {query}")).await;
    }
    client.execute("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)").await;
    assert_eq!(client.value("SELECT sum(s) FROM v3").await, "6");
    // The last checkpoint, then quiet.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (before, started) = (cpu(server.pid()), instant());
    tokio::time::sleep(WATCHED).await;
    let share = (cpu(server.pid()) - before) / started.elapsed().as_secs_f64();
    println!("idle: {:.2} % of a core", share * 100.0);
    assert!(share < 0.01, "an idle server used {:.2} % of a core", share * 100.0);
}
