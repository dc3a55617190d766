//! (d): how long an INSERT of one row takes until it is acknowledged, that is until it is on disk: one connection and
//! many. One connection's inserts take turns with fsyncs of a file of the same disk: a disk may sync in 0.3 ms now and
//! in 4 ms a moment later, so that one measured before would be no measure.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use serde_json::json;
use tokio_postgres::Client;
use weir::common::clock::instant;

use crate::report::{Figure, Report};
use crate::server::{self, Options, Server};
use crate::{Bench, Outcome, percentile};

const CONNECTIONS: usize = 32;

pub async fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let inserts = if bench.events < 1_000_000 { 200 } else { 2000 };
    let mut server = Server::fresh(bench, Options::default()).await?;
    let client = server.connect().await?;
    client.simple_query("CREATE TABLE reading (id BIGINT PRIMARY KEY, sensor BIGINT, value DOUBLE PRECISION)").await?;
    client
        .simple_query(
            "CREATE MATERIALIZED VIEW by_sensor AS \
             SELECT sensor, count(*) AS readings, sum(value) AS total FROM reading GROUP BY sensor",
        )
        .await?;
    let mut written = 0;
    for (connections, aim) in [(1, Some(20.0)), (CONNECTIONS, None)] {
        let each = inserts / connections.min(8);
        let mut tasks = Vec::new();
        let begun = instant();
        for _ in 0..connections {
            let client = server.connect().await?;
            let first = written as i64;
            written += each;
            let beside = (connections == 1).then(|| Disk::new(bench)).transpose()?;
            tasks.push(tokio::spawn(async move { insert(&client, first, each, beside).await }));
        }
        let (mut times, mut syncs) = (Vec::new(), Vec::new());
        for task in tasks {
            let (inserted, synced) = task.await??;
            times.extend(inserted);
            syncs.extend(synced);
        }
        // The fsyncs beside them are not the inserts' time.
        let seconds = begun.elapsed().as_secs_f64() - syncs.iter().sum::<f64>();
        let per_second = times.len() as f64 / seconds;
        let part = |of: &[f64], p: f64| percentile(of, p) * 1e3;
        let (p50, p99) = (part(&times, 0.5), part(&times, 0.99));
        let mut of = format!("p50 {p50:.2} ms, {per_second:.0} a second");
        let mut details = json!({"p50_ms": p50, "p99_ms": p99, "per_second": per_second});
        if !syncs.is_empty() {
            let (s50, s99) = (part(&syncs, 0.5), part(&syncs, 0.99));
            of.push_str(&format!("; an fsync in turns with it: p50 {s50:.2} ms, p99 {s99:.2} ms"));
            details["fsync_p50_ms"] = json!(s50);
            details["fsync_p99_ms"] = json!(s99);
        }
        let name = format!("(d) INSERT acknowledged, p99, connections: {connections}");
        report.add(Figure { name, value: p99, unit: "ms", aim, of, details });
    }
    // This session wrote none of it, so it must wait for a barrier.
    client.simple_query("FLUSH").await?;
    let counts = server::row(&client, "SELECT count(*), (SELECT sum(readings) FROM by_sensor) FROM reading").await?;
    if counts.iter().any(|count| *count != written.to_string()) {
        return Err(format!("{written} rows were acknowledged, but the table and the view have {counts:?}").into());
    }
    Ok(())
}

/// Inserts rows one by one, in turns with as many fsyncs of `beside`; the seconds that each took.
async fn insert(client: &Client, first: i64, rows: usize, mut beside: Option<Disk>) -> Outcome<(Vec<f64>, Vec<f64>)> {
    // Inserts or fsyncs in a row: each kind meets the disk's fast and slow times alike.
    const TURN: usize = 20;
    let statement = client.prepare("INSERT INTO reading VALUES ($1, $2, $3)").await?;
    let (mut times, mut syncs) = (Vec::with_capacity(rows), Vec::new());
    for (done, id) in (first..first + rows as i64).enumerate() {
        let begun = instant();
        client.execute(&statement, &[&id, &(id % 100), &(id as f64)]).await?;
        times.push(begun.elapsed().as_secs_f64());
        if let Some(disk) = &mut beside
            && done % TURN == TURN - 1
        {
            for _ in 0..TURN {
                syncs.push(disk.sync()?);
            }
        }
    }
    Ok((times, syncs))
}

/// A file whose short writes are made durable one by one, as a log's are.
struct Disk {
    file: File,
    path: PathBuf,
}

impl Disk {
    fn new(bench: &Bench) -> Outcome<Self> {
        let path = bench.dir.join("fsync");
        Ok(Self { file: File::create(&path)?, path })
    }

    /// The seconds that a write and its fsync took.
    fn sync(&mut self) -> Outcome<f64> {
        let begun = instant();
        self.file.write_all(&[7; 200])?;
        self.file.sync_data()?;
        Ok(begun.elapsed().as_secs_f64())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What is left is overwritten by the next run.
        let _ = std::fs::remove_file(&self.path);
    }
}
