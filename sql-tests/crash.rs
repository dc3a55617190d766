//! The crash test: a server that reads a file and takes INSERTs from four connections is killed again and again, at random
//! instants or inside a commit, a log append or recovery itself. After every kill: each acknowledged row is there
//! exactly once, a statement that was not acknowledged is there whole or not at all, views agree with their tables, and
//! the file has been counted as a prefix without a gap, and a closed window that was seen has not changed, though rows come
//! too late for it. At the end every window is exact, and a sink's files hold each row
//! once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

use crate::client::{Client, Rows, lines};
use crate::seed;
use crate::server::{Folder, Options, Server};

/// Kills on one data folder.
const KILLS: usize = 5;
const FILE: &str = "ev.csv";
/// Enough to be read through all the lives.
const FILE_ROWS: u64 = 800_000;
const WORKERS: u64 = 4;
/// Longest life in milliseconds.
const LIFE: u64 = 600;
/// Where a server may kill itself, and up to how many times the point is passed before.
const POINTS: &[(&str, usize)] = &[
    ("log.append.write", 40),
    ("log.append.sync", 40),
    ("state.commit.fold", 3),
    ("state.commit.stage", 3),
    ("state.commit.apply", 3),
    ("state.commit.flush", 3),
    ("state.snapshot.rename", 3),
    ("sink.seal", 3),
    ("sink.commit", 3),
    ("recovery.begin", 0),
    ("recovery.end", 0),
];

const SETUP: &str = "
CREATE SOURCE ev (id BIGINT, k INT, v BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
  WITH (connector = 'file', path = 'ev.csv') FORMAT PLAIN ENCODE CSV;
CREATE SOURCE hasty (id BIGINT, k INT, v BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '0.1' SECOND)
  WITH (connector = 'file', path = 'ev.csv') FORMAT PLAIN ENCODE CSV;
CREATE TABLE w (id BIGINT, worker BIGINT, v BIGINT) APPEND ONLY;
CREATE SINK copied FROM w WITH (connector = 'file', path = 'copied') FORMAT PLAIN ENCODE JSON;
CREATE MATERIALIZED VIEW by_worker AS
  SELECT worker, count(*) AS n, sum(v) AS s, count(DISTINCT id) AS d FROM w GROUP BY worker;
";

/// Views of the file: made while the server is being killed, each with its own reader.
fn file_views(life: usize) -> [(String, String); 4] {
    let windows = "SELECT k, window_start, count(*) AS n, sum(v) AS s FROM TUMBLE(ev, ts, INTERVAL '10' SECOND)
        GROUP BY k, window_start";
    let view = |name: &str, query: &str| {
        (name.to_string(), format!("CREATE MATERIALIZED VIEW IF NOT EXISTS {name} AS {query}"))
    };
    [
        view(&format!("prefix_{life}"), "SELECT count(*) AS n, sum(id) AS s, max(id) AS hi FROM ev"),
        view("closed", &format!("{windows} EMIT ON WINDOW CLOSE")),
        view("windows", windows),
        view("hasty_windows", &format!("{} EMIT ON WINDOW CLOSE", windows.replace("TUMBLE(ev", "TUMBLE(hasty"))),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_is_lost_or_doubled() {
    let seed = seed::seed("crash");
    let kills = seed::number("WEIR_RUNS", 25);
    let rounds = kills.div_ceil(KILLS);
    let file = Folder::new();
    let windows = write_file(&file, &mut seed::rng(seed));
    for round in 0..rounds {
        let backend = if round % 3 == 2 { "memory" } else { "sled" };
        let kills = KILLS.min(kills - round * KILLS);
        run(&mut seed::rng(seed + round as u64), backend, kills, &file, &windows).await;
        println!("crash: round {} of {rounds} on {backend}: {kills} kills survived", round + 1);
    }
}

/// What the statements of all lives have come to.
#[derive(Default)]
struct Written {
    acknowledged: Vec<u64>,
    /// Sent, and the connection broke: one statement a list.
    unknown: Vec<Vec<u64>>,
    /// Views whose CREATE was acknowledged.
    views: Vec<String>,
    /// Rows of closed windows that a client has read.
    seen: BTreeSet<String>,
}

const HASTY: &str = "SELECT k, window_start, n, s FROM hasty_windows";

async fn run(random: &mut StdRng, backend: &'static str, kills: usize, file: &Folder, windows: &[String]) {
    let folder = Folder::new();
    std::os::unix::fs::symlink(file.file(FILE), folder.file(FILE)).unwrap();
    // With little memory a commit writes pages ahead.
    let memory = if random.random() { "16MiB" } else { "256MiB" };
    let mut options = Options { backend, memory, parallelism: random.random_range(1..=3), ..Options::default() };
    let mut server = Server::start(folder.path(), &options).unwrap();
    Client::connect(server.port()).await.unwrap().execute(SETUP).await;
    let mut written = Written::default();
    let next_id = Arc::new(AtomicU64::new(0));
    for life in 0..kills {
        live(&mut server, random, &options, life, &next_id, &mut written).await;
        options.parallelism = random.random_range(1..=3);
        options.failpoints = match POINTS[random.random_range(0..POINTS.len())] {
            _ if random.random() => String::new(),
            (name, most) => format!("{name}={}*off->return(kill)", random.random_range(0..=most)),
        };
        server = match Server::start(folder.path(), &options) {
            Ok(server) => server,
            // Killed in recovery: the next start has to make do with what that left.
            Err(_) if !options.failpoints.is_empty() => {
                options.failpoints.clear();
                Server::start(folder.path(), &options).unwrap()
            }
            Err(e) => panic!("{e}"),
        };
        let at = format!("after a kill, {backend}, next failpoint {:?}", options.failpoints);
        // A server that is to kill itself may do so while it is asked: then the next one is.
        let armed = !options.failpoints.is_empty();
        if let Err(e) = verify(&server, &written).await {
            assert!(armed && server.wait(Duration::from_secs(5)).is_some(), "{at}: {e}");
        }
    }
    server.kill();
    options.failpoints.clear();
    let server = Server::start(folder.path(), &options).unwrap();
    if let Err(e) = verify(&server, &written).await {
        panic!("{backend}, at the end: {e}");
    }
    let client = Client::connect(server.port()).await.unwrap();
    for (_, create) in file_views(0) {
        client.execute(&create).await;
    }
    client.wait_for("SELECT bool_and(finished) FROM weir.sources WHERE source = 'ev'", "t").await;
    for view in ["windows", "closed"] {
        client.wait_for(&format!("SELECT sum(n) FROM {view}"), &FILE_ROWS.to_string()).await;
        let rows = client.query(&format!("SELECT k, window_start, n, s FROM {view} ORDER BY k, window_start")).await;
        assert_eq!(lines(&rows), windows, "{view} is not exact");
    }
    let table = verify(&server, &written).await.unwrap_or_else(|e| panic!("{backend}, when all was read: {e}"));
    // A definition waits for a checkpoint, and sinks publish before the next one.
    client.execute("CREATE VIEW one AS SELECT * FROM w").await;
    client.execute("CREATE VIEW two AS SELECT * FROM w").await;
    drop(server);
    assert_eq!(copied(&folder), table, "the sink's files do not hold the table's rows");
}

/// The ids in the sink's files, sorted.
fn copied(folder: &Folder) -> Vec<u64> {
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(folder.file("copied")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "json") {
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                let row: serde_json::Value = serde_json::from_str(line).unwrap();
                ids.push(row["id"].as_u64().unwrap());
            }
        }
    }
    ids.sort_unstable();
    ids
}

/// Four connections insert and one makes views until the server is dead: killed from here, or by its own failpoint.
async fn live(
    server: &mut Server,
    random: &mut StdRng,
    options: &Options,
    life: usize,
    next_id: &Arc<AtomicU64>,
    written: &mut Written,
) {
    let port = server.port();
    let workers: Vec<_> =
        (0..WORKERS).map(|worker| tokio::spawn(insert(port, worker, random.random(), next_id.clone()))).collect();
    let definer = tokio::spawn(define(port, file_views(life)));
    let reader = tokio::spawn(read(port));
    let life = Duration::from_millis(random.random_range(0..LIFE));
    if options.failpoints.is_empty() {
        tokio::time::sleep(life).await;
    } else {
        server.wait(Duration::from_millis(2 * LIFE));
    }
    server.kill();
    written.views.extend(definer.await.unwrap());
    written.seen.extend(reader.await.unwrap());
    for worker in workers {
        let (acknowledged, unknown) = worker.await.unwrap();
        written.acknowledged.extend(acknowledged);
        written.unknown.extend(unknown);
    }
}

/// Makes views until the connection breaks; returns those that were acknowledged.
async fn define(port: u16, views: [(String, String); 4]) -> Vec<String> {
    let mut made = Vec::new();
    let Ok(client) = Client::connect(port).await else { return made };
    for (name, create) in views {
        match client.run(&create).await {
            Ok(_) => made.push(name),
            Err(e) => {
                assert!(e.is_broken(), "{create}: {e}");
                break;
            }
        }
    }
    made
}

/// Reads the closed windows until the connection breaks; returns all that were seen.
async fn read(port: u16) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let Ok(client) = Client::connect(port).await else { return seen };
    let mut latest = stamp(0);
    loop {
        match client.run(&format!("{HASTY} WHERE window_start >= '{latest}'")).await {
            Ok(answer) => {
                latest = answer.rows.iter().filter_map(|row| row[1].clone()).max().unwrap_or(latest);
                seen.extend(lines(&answer.rows));
            }
            Err(e) if e.is_broken() => return seen,
            // Not made yet.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// Inserts statement after statement until one fails: what was acknowledged, and what was not.
async fn insert(port: u16, worker: u64, seed: u64, next_id: Arc<AtomicU64>) -> (Vec<u64>, Option<Vec<u64>>) {
    let mut random = seed::rng(seed);
    let mut acknowledged = Vec::new();
    let Ok(client) = Client::connect(port).await else { return (acknowledged, None) };
    loop {
        let count = random.random_range(1..=5);
        let first = next_id.fetch_add(count, Ordering::SeqCst);
        let ids: Vec<u64> = (first..first + count).collect();
        let rows: Vec<String> = ids.iter().map(|id| format!("({id}, {worker}, {})", value(*id))).collect();
        match client.run(&format!("INSERT INTO w VALUES {}", rows.join(", "))).await {
            Ok(_) => acknowledged.extend(ids),
            Err(e) => {
                assert!(e.is_broken(), "an INSERT was refused: {e}");
                return (acknowledged, Some(ids));
            }
        }
    }
}

fn value(id: u64) -> u64 {
    id * 7 % 1000
}

/// Everything that must hold at any epoch after a start. Returns the ids in the table, sorted; an error tells what does not, or that the server went away.
async fn verify(server: &Server, written: &Written) -> Result<Vec<u64>, String> {
    let client = Client::connect(server.port()).await.map_err(|e| e.to_string())?;
    let ask = async |sql: &str| client.run(sql).await.map(|a| a.rows).map_err(|e| format!("{sql}: {e}"));
    ask("FLUSH").await?;
    let mut found = HashMap::new();
    for row in ask("SELECT id, count(*), min(v) FROM w GROUP BY id").await? {
        let cell = |i: usize| row[i].as_ref().and_then(|c| c.parse::<u64>().ok()).unwrap_or(u64::MAX);
        if (cell(1), cell(2)) != (1, value(cell(0))) {
            return Err(format!("row {row:?} (id, times, v) is not there once with v = {}", value(cell(0))));
        }
        found.insert(cell(0), ());
    }
    let lost: Vec<_> = written.acknowledged.iter().filter(|id| !found.contains_key(*id)).collect();
    if !lost.is_empty() {
        return Err(format!("{} acknowledged rows are lost: {:?}", lost.len(), &lost[..lost.len().min(20)]));
    }
    let mut known = written.acknowledged.len();
    for ids in &written.unknown {
        let there = ids.iter().filter(|id| found.contains_key(*id)).count();
        if there != 0 && there != ids.len() {
            return Err(format!("a statement is torn: {there} of {ids:?} are there"));
        }
        known += there;
    }
    if known != found.len() {
        return Err(format!("{} rows are there, {known} were written", found.len()));
    }
    let of_table = "SELECT worker, count(*) AS n, sum(v) AS s, count(DISTINCT id) AS d FROM w GROUP BY worker";
    let both: Rows = ask(&format!(
        "SELECT 'view' AS side, * FROM by_worker UNION ALL SELECT 'table' AS side, q.* FROM ({of_table}) q"
    ))
    .await?;
    let side = |name: &str| {
        let mut rows: Vec<_> = both.iter().filter(|r| r[0].as_deref() == Some(name)).map(|r| r[1..].to_vec()).collect();
        rows.sort();
        rows
    };
    if side("view") != side("table") {
        return Err(format!("by_worker has {:?}, its table {:?}", side("view"), side("table")));
    }
    let views: Vec<String> = ask("SHOW MATERIALIZED VIEWS").await?.into_iter().flatten().flatten().collect();
    if let Some(lost) = written.views.iter().find(|v| !views.contains(v)) {
        return Err(format!("the view {lost} was made, and is lost"));
    }
    if !written.seen.is_empty() {
        let windows = lines(&ask(HASTY).await?).into_iter().collect();
        if let Some(lost) = written.seen.difference(&windows).next() {
            return Err(format!("the closed window {lost} was seen, and is gone or another"));
        }
    }
    for view in views.iter().filter(|v| v.starts_with("prefix")) {
        let prefix = ask(&format!("SELECT n, coalesce(s, 0), coalesce(hi, -1) FROM {view}")).await?;
        let cells: Vec<i64> = prefix.iter().flatten().filter_map(|c| c.as_ref().and_then(|c| c.parse().ok())).collect();
        match cells[..] {
            [n, s, hi] if s == n * (n - 1) / 2 && hi == n - 1 => {}
            // Not one barrier has passed it yet.
            [] if prefix.is_empty() => {}
            _ => return Err(format!("the file was not counted as a prefix: n, sum, max of {view} are {prefix:?}")),
        }
    }
    let mut ids: Vec<u64> = found.into_keys().collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Writes the file; returns the lines that the window views must end with.
fn write_file(folder: &Folder, random: &mut StdRng) -> Vec<String> {
    let mut text = String::new();
    let mut windows: BTreeMap<(u64, u64), (u64, u64)> = BTreeMap::new();
    for id in 0..FILE_ROWS {
        let (k, v) = (random.random_range(0..20u64), random.random_range(0..1000u64));
        // Up to a second out of order, two are allowed.
        let millis = id * 3 + random.random_range(0..1000);
        let second = millis / 1000;
        let _ = writeln!(text, "{id},{k},{v},{}.{:03}", stamp(second), millis % 1000);
        let window = windows.entry((k, second / 10 * 10)).or_default();
        *window = (window.0 + 1, window.1 + v);
    }
    std::fs::write(folder.file(FILE), text).unwrap();
    windows.iter().map(|((k, start), (n, s))| format!("{k} {} {n} {s}", stamp(*start))).collect()
}

/// A second of 2024-01-01.
fn stamp(second: u64) -> String {
    format!("2024-01-01 {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}
