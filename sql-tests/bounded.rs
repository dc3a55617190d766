//! What the server takes is bounded: an idle one costs next to nothing, and a busy one keeps nothing of statements that
//! are done.

use std::io::Write;
use std::time::Duration;

use rand::Rng;
use rand::distr::Alphanumeric;
use weir::common::clock::instant;

use crate::client::Client;
use crate::seed::rng;
use crate::server::{Folder, MOST, NOW, Options, Server};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_and_connections_leave_nothing_behind() {
    const STATEMENTS: i64 = 2000;
    const CONNECTIONS: i64 = 200;
    if !std::path::Path::new("/proc/self/status").exists() {
        println!("skipped: no /proc here");
        return;
    }
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    client.execute("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
    client.execute("CREATE VIEW w AS SELECT sum(v) AS s FROM t").await;
    let work = async |statements: i64, connections: i64| {
        for i in 0..statements / 2 {
            client.execute(&format!("INSERT INTO t VALUES ({}, {i})", i % 10)).await;
            client.query("SELECT s FROM w").await;
        }
        for _ in 0..connections {
            Client::connect(server.port()).await.unwrap().query("SELECT 1").await;
        }
    };
    // Caches and the allocator's arenas fill first.
    work(STATEMENTS / 2, CONNECTIONS).await;
    let before = server.memory(NOW).unwrap();
    work(STATEMENTS, CONNECTIONS).await;
    let (grown, each) = (server.memory(NOW).unwrap() - before, STATEMENTS + CONNECTIONS);
    println!("{grown} bytes more after {each} statements");
    assert!(grown < each * 10_000, "{} bytes are kept of each statement", grown / each);
}

/// Neither interval ever ends: only the memory that uncommitted rows take calls for barriers and checkpoints.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_committed_is_bounded() {
    const ROWS: i64 = 200_000;
    // The limit, and what readers and exchanges hold whatever the limit is.
    const GROWTH: i64 = 200 << 20;
    if !std::path::Path::new("/proc/self/status").exists() {
        println!("skipped: no /proc here");
        return;
    }
    let folder = Folder::new();
    let mut file = std::io::BufWriter::new(std::fs::File::create(folder.path().join("wide.csv")).unwrap());
    // What gets hardly smaller on disk: pieces of a long text that seldom overlap.
    let mut random = rng(1);
    let text: String = (&mut random).sample_iter(Alphanumeric).take(1 << 21).map(char::from).collect();
    for row in 0..ROWS {
        let from = random.random_range(0..text.len() - 1000);
        writeln!(file, "{row},{}", &text[from..from + 1000]).unwrap();
    }
    file.flush().unwrap();
    let options = Options { barrier: "1h", checkpoint: "1h", memory: "64MiB", ..Options::default() };
    let server = Server::start(folder.path(), &options).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    client
        .execute("CREATE SOURCE wide (id BIGINT, text VARCHAR) WITH (connector = 'file', path = 'wide.csv') FORMAT PLAIN ENCODE CSV")
        .await;
    let before = server.memory(NOW).unwrap();
    client.execute("CREATE MATERIALIZED VIEW every AS SELECT id, text FROM wide").await;
    client.wait_for("SELECT bool_and(finished) FROM weir.sources", "t").await;
    client.execute("FLUSH").await;
    let grown = server.memory(MOST).unwrap() - before;
    println!("{grown} bytes at the most for {ROWS} rows of 1 kB");
    assert_eq!(client.value("SELECT count(*) FROM every").await, ROWS.to_string());
    assert_ne!(client.value("SELECT count(*) FROM weir.checkpoints WHERE trigger = 'memory'").await, "0");
    assert!(grown < GROWTH, "memory grew by {grown} bytes");
}
