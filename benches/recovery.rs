//! (e): from the start of a server that was killed with a million groups in its state, to the first answer of a query
//! over all of them; beside the start of a server that holds nothing.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::time::Duration;

use serde_json::json;
use weir::common::clock::instant;

use crate::report::{Figure, Report};
use crate::server::{self, Options, Server};
use crate::{Bench, Outcome, median};

const ROUNDS: usize = 3;

pub async fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let groups = (bench.events / 5).max(1000);
    let empty = start(bench, "SELECT 1", "1", true).await?.1;
    let path = bench.dir.join("groups.csv");
    let mut file = BufWriter::new(File::create(&path)?);
    for id in 0..groups {
        writeln!(file, "{id},{}", id % 1000)?;
    }
    file.flush()?;
    let mut server = Server::fresh(bench, Options::default()).await?;
    let client = server.connect().await?;
    let source = format!(
        "CREATE SOURCE groups (id BIGINT, amount BIGINT) WITH (connector = 'file', path = '{}') FORMAT PLAIN ENCODE CSV",
        path.display()
    );
    client.simple_query(&source).await?;
    client
        .simple_query(
            "CREATE MATERIALIZED VIEW per_id AS SELECT id, count(*) AS n, sum(amount) AS total FROM groups GROUP BY id",
        )
        .await?;
    server::wait_finished(&client, "per_id").await?;
    durable(&client).await?;
    let mut times = Vec::new();
    for round in 1..=ROUNDS {
        server.kill()?;
        let (started, seconds) = start(bench, "SELECT count(*) FROM per_id", &groups.to_string(), false).await?;
        server = started;
        report.progress(&format!("recovery, round {round}: {seconds:.3} s"));
        times.push(seconds);
    }
    fs::remove_file(path)?;
    report.add(Figure {
        name: "(e) restart after kill -9, to the first answer".into(),
        value: median(&times),
        unit: "s",
        aim: Some(1.0),
        of: format!("{groups} groups; with nothing to recover {empty:.2} s"),
        details: json!({"groups": groups, "seconds": times, "empty_seconds": empty}),
    });
    Ok(())
}

/// Starts a server; the seconds until `sql` is answered with `want`.
async fn start(bench: &Bench, sql: &str, want: &str, fresh: bool) -> Outcome<(Server, f64)> {
    let begun = instant();
    let mut server = match fresh {
        true => Server::fresh(bench, Options::default()).await?,
        false => Server::start(bench, Options::default())?,
    };
    let client = server.connect().await?;
    let got = server::row(&client, sql).await?;
    let seconds = begun.elapsed().as_secs_f64();
    match got.first() {
        Some(value) if value == want => Ok((server, seconds)),
        _ => Err(format!("{sql}: {got:?} instead of {want}").into()),
    }
}

/// Waits until what can be read is on disk too.
async fn durable(client: &tokio_postgres::Client) -> Outcome<()> {
    let epoch = "SELECT max(value) FILTER (WHERE name = 'complete_epoch'), \
                 max(value) FILTER (WHERE name = 'committed_epoch') FROM weir.status";
    let complete: u64 = server::row(client, epoch).await?[0].parse()?;
    let begun = instant();
    while server::row(client, epoch).await?[1].parse::<u64>()? < complete {
        if begun.elapsed() > Duration::from_secs(60) {
            return Err("no checkpoint comes".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
