//! (j): COPY of the bids' CSV file into a table, beside PostgreSQL: the same file, the same client, in turns, durable
//! when the command returns. Left out where PostgreSQL is not installed.

use std::fs::{self, File};
use std::io::Read;
use std::pin::pin;

use bytes::Bytes;
use futures::SinkExt;
use serde_json::json;
use tokio_postgres::Client;
use weir::common::clock::instant;

use crate::events::Events;
use crate::postgres::Postgres;
use crate::report::{Figure, Report};
use crate::server::{Options, Server};
use crate::{Bench, Outcome, median};

const TABLE: &str = "CREATE TABLE bid (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR,
    date_time TIMESTAMP, extra VARCHAR)";
const ROUNDS: usize = 3;
/// Bytes that one message carries, as libpq sends them.
const MESSAGE: usize = 64 * 1024;

pub async fn measure(bench: &Bench, events: &Events, report: &mut Report) -> Outcome<()> {
    let Some(postgres) = Postgres::start().await? else {
        report.progress("(j) copy: PostgreSQL is not installed");
        return Ok(());
    };
    let path = events.path("csv");
    let megabytes = fs::metadata(&path)?.len() as f64 / 1e6;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        postgres.client.simple_query("DROP TABLE IF EXISTS bid").await?;
        postgres.client.simple_query(TABLE).await?;
        theirs.push(megabytes / copy(&postgres.client, &path).await?);
        let mut server = Server::fresh(bench, Options::default()).await?;
        let client = server.connect().await?;
        client.simple_query(TABLE).await?;
        ours.push(megabytes / copy(&client, &path).await?);
    }
    let (ours, theirs) = (median(&ours), median(&theirs));
    report.add(Figure {
        name: "(j) COPY of CSV, PostgreSQL over Weir".into(),
        value: theirs / ours,
        unit: "x",
        aim: Some(1.0),
        of: format!("{ours:.0} MB/s, PostgreSQL {theirs:.0} MB/s"),
        details: json!({"megabytes_per_second": ours, "postgres_megabytes_per_second": theirs, "aim": 200}),
    });
    Ok(())
}

/// Seconds that the COPY took.
async fn copy(client: &Client, path: &std::path::Path) -> Outcome<f64> {
    let mut file = File::open(path)?;
    let begun = instant();
    let mut sink = pin!(client.copy_in("COPY bid FROM STDIN (FORMAT csv)").await?);
    loop {
        let mut message = vec![0; MESSAGE];
        let read = file.read(&mut message)?;
        if read == 0 {
            break;
        }
        message.truncate(read);
        sink.send(Bytes::from(message)).await?;
    }
    sink.finish().await?;
    Ok(begun.elapsed().as_secs_f64())
}
