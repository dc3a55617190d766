//! (d): how long an INSERT of one row takes until it is acknowledged, that is until it is on disk: one connection and
//! many, beside an fsync of the same disk.

use std::fs::File;
use std::io::Write;

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
    let synced = fsyncs(bench, inserts)?;
    let mut written = 0;
    for (connections, aim) in [(1, Some(20.0)), (CONNECTIONS, None)] {
        let each = inserts / connections.min(8);
        let mut tasks = Vec::new();
        let begun = instant();
        for _ in 0..connections {
            let client = server.connect().await?;
            let first = written as i64;
            written += each;
            tasks.push(tokio::spawn(async move { insert(&client, first, each).await }));
        }
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await??);
        }
        let per_second = times.len() as f64 / begun.elapsed().as_secs_f64();
        let part = |of: &[f64], p: f64| percentile(of, p) * 1e3;
        let (p50, p99) = (part(&times, 0.5), part(&times, 0.99));
        let (s50, s99) = (part(&synced, 0.5), part(&synced, 0.99));
        report.add(Figure {
            name: format!("(d) INSERT acknowledged, p99, connections: {connections}"),
            value: p99,
            unit: "ms",
            aim,
            of: format!("p50 {p50:.2} ms, {per_second:.0} a second; a bare fsync: p50 {s50:.2} ms, p99 {s99:.2} ms"),
            details: json!({
                "p50_ms": p50, "p99_ms": p99, "per_second": per_second, "fsync_p50_ms": s50, "fsync_p99_ms": s99,
                "p50_over_fsync": p50 / s50,
            }),
        });
    }
    // This session wrote none of it, so it must wait for a barrier.
    client.simple_query("FLUSH").await?;
    let counts = server::row(&client, "SELECT count(*), (SELECT sum(readings) FROM by_sensor) FROM reading").await?;
    if counts.iter().any(|count| *count != written.to_string()) {
        return Err(format!("{written} rows were acknowledged, but the table and the view have {counts:?}").into());
    }
    Ok(())
}

/// Inserts rows one by one; the seconds that each took.
async fn insert(client: &Client, first: i64, rows: usize) -> Outcome<Vec<f64>> {
    let statement = client.prepare("INSERT INTO reading VALUES ($1, $2, $3)").await?;
    let mut times = Vec::with_capacity(rows);
    for id in first..first + rows as i64 {
        let begun = instant();
        client.execute(&statement, &[&id, &(id % 100), &(id as f64)]).await?;
        times.push(begun.elapsed().as_secs_f64());
    }
    Ok(times)
}

/// The seconds that the disk takes to make a short write durable.
fn fsyncs(bench: &Bench, writes: usize) -> Outcome<Vec<f64>> {
    let path = bench.dir.join("fsync");
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(writes);
    for _ in 0..writes {
        let begun = instant();
        file.write_all(&[7; 512])?;
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64());
    }
    std::fs::remove_file(path)?;
    Ok(times)
}
