//! (g): every Nexmark query as a view over CSV files, against the same query as one DataFusion batch: time, memory and
//! state, and how the time grows with the events.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use datafusion::prelude::{CsvReadOptions, SessionConfig, SessionContext};
use serde_json::{Value, json};
use weir::common::clock::instant;
use weir::connector::nexmark::Kind;

use crate::events::{Events, STREAMS};
use crate::report::{Figure, Report};
use crate::server::{self, Options, Server};
use crate::{Bench, Outcome};

/// Queries of which DataFusion lacks something, in its own words.
const IN_DATAFUSION: &[(u32, &str)] = &[
    (
        5,
        "WITH pane AS (
             SELECT auction, date_bin(INTERVAL '2' SECOND, date_time) AS pane, count(*) AS n FROM bid GROUP BY 1, 2
         ), counted AS (
             SELECT auction, pane - back AS window_start, sum(n) AS bids
             FROM pane CROSS JOIN (
                 VALUES (INTERVAL '0' SECOND), (INTERVAL '2' SECOND), (INTERVAL '4' SECOND), (INTERVAL '6' SECOND),
                     (INTERVAL '8' SECOND)
             ) AS v(back) GROUP BY 1, 2
         )
         SELECT c.auction, c.window_start, c.bids
         FROM counted AS c
         JOIN (SELECT window_start, max(bids) AS most FROM counted GROUP BY window_start) AS top
         ON c.window_start = top.window_start AND c.bids >= top.most",
    ),
    (
        7,
        "SELECT b.auction, b.price, b.bidder, b.date_time
         FROM bid AS b
         JOIN (
             SELECT date_bin(INTERVAL '10' SECOND, date_time) AS window_start, max(price) AS top FROM bid GROUP BY 1
         ) AS w
         ON b.price = w.top AND b.date_time >= w.window_start AND b.date_time < w.window_start + INTERVAL '10' SECOND",
    ),
    (
        8,
        "SELECT p.id, p.name, p.window_start
         FROM (
             SELECT id, name, date_bin(INTERVAL '10' SECOND, date_time) AS window_start FROM person GROUP BY 1, 2, 3
         ) AS p
         JOIN (
             SELECT seller, date_bin(INTERVAL '10' SECOND, date_time) AS window_start FROM auction GROUP BY 1, 2
         ) AS a
         ON p.id = a.seller AND p.window_start = a.window_start",
    ),
    (
        11,
        "SELECT bidder, session, min(date_time) AS window_start, count(*) AS bids
         FROM (
             SELECT bidder, date_time, sum(fresh) OVER (PARTITION BY bidder ORDER BY date_time) AS session
             FROM (
                 SELECT bidder, date_time, CASE
                     WHEN date_time - lag(date_time) OVER (PARTITION BY bidder ORDER BY date_time)
                         < INTERVAL '10' SECOND THEN 0 ELSE 1 END AS fresh
                 FROM bid
             ) AS marked
         ) AS numbered
         GROUP BY bidder, session",
    ),
    (
        12,
        "SELECT bidder, date_bin(INTERVAL '10' SECOND, date_time) AS window_start, count(*) AS bids
         FROM bid GROUP BY 1, 2",
    ),
    (
        13,
        "SELECT b.auction, b.bidder, b.price, b.date_time, s.value
         FROM bid AS b JOIN side_input AS s ON b.auction % 10000 = s.key",
    ),
];

/// Most a view's time may be of the batch's.
const AIM: f64 = 4.0;
const SIDE_INPUT: &str = "SELECT value AS key, 'side ' || value AS value FROM generate_series(0, 9999, 7) AS s(value)";

/// The queries by number, as they stand in the examples.
fn queries() -> Outcome<BTreeMap<u32, String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/nexmark/queries");
    let mut queries = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).ok_or("a query without a name")?;
        let text = fs::read_to_string(&path)?;
        let query: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
        queries.insert(name.trim_start_matches('q').parse()?, query.join("\n").trim_end_matches([';', '\n']).into());
    }
    Ok(queries)
}

/// One run of a view.
pub struct Run {
    pub seconds: f64,
    pub cpu_seconds: f64,
    pub peak_megabytes: f64,
    pub state_megabytes: f64,
}

pub async fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    // The slope: from the time of a fifth and of two fifths of the events.
    let parts = [bench.events / 5, bench.events / 5 * 2, bench.events];
    let inputs = parts.iter().map(|events| Events::streams(bench, *events)).collect::<Outcome<Vec<_>>>()?;
    let only = std::env::var("WEIR_BENCH_QUERIES").unwrap_or_default();
    let only: Vec<u32> = only.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    for (number, query) in queries()?.into_iter().filter(|(n, _)| only.is_empty() || only.contains(n)) {
        let whole = inputs.last().ok_or("no input")?;
        let (rows, batch_seconds) = batch(bench, whole, number, &query).await?;
        let mut runs = Vec::new();
        for input in &inputs {
            runs.push(view(bench, input, &query, Options::default()).await.map_err(|e| format!("q{number}: {e:?}"))?);
        }
        let (run, got) = runs.last().ok_or("no run")?;
        if *got != rows {
            return Err(format!("q{number} has {got} rows, the batch {rows}").into());
        }
        let seconds: Vec<f64> = runs.iter().map(|(run, _)| run.seconds).collect();
        let slope = match seconds[..] {
            [first, .., last] => (last / first).ln() / 5f64.ln(),
            _ => 0.0,
        };
        let per_second = bench.events as f64 / run.seconds / 1e3;
        report.add(Figure {
            name: format!("(g) q{number} / batch"),
            value: run.seconds / batch_seconds,
            unit: "x",
            aim: Some(AIM),
            of: format!(
                "{:.2} s / {batch_seconds:.2} s, {per_second:.0} thousand events/s, CPU {:.2} s, memory {:.0} MB, \
                 state {:.0} MB, grows as events^{slope:.2}",
                run.seconds, run.cpu_seconds, run.peak_megabytes, run.state_megabytes
            ),
            details: json!({
                "rows": rows, "view_seconds": seconds, "events": parts, "batch_seconds": batch_seconds, "slope": slope,
                "cpu_seconds": run.cpu_seconds, "peak_megabytes": run.peak_megabytes,
                "state_megabytes": run.state_megabytes,
            }) as Value,
        });
    }
    Ok(())
}

/// Rows and seconds of the batch.
async fn batch(bench: &Bench, events: &Events, number: u32, query: &str) -> Outcome<(u64, f64)> {
    let own = IN_DATAFUSION.iter().find(|(n, _)| *n == number).map(|(_, text)| *text);
    let begun = instant();
    let config = SessionConfig::new().with_target_partitions(bench.parallelism);
    let context = SessionContext::new_with_config(config);
    for kind in STREAMS {
        let path = events.stream(kind);
        let path = path.to_str().ok_or("the path is not UTF-8")?;
        context.register_csv(kind.name(), path, CsvReadOptions::new().has_header(false).schema(&kind.schema())).await?;
    }
    let side = context.sql(SIDE_INPUT).await?;
    context.register_table("side_input", side.into_view())?;
    let batches = context.sql(own.unwrap_or(query)).await?.collect().await?;
    Ok((batches.iter().map(|batch| batch.num_rows() as u64).sum(), begun.elapsed().as_secs_f64()))
}

/// The view's run and its rows.
pub async fn view(bench: &Bench, events: &Events, query: &str, options: Options) -> Outcome<(Run, u64)> {
    let mut server = Server::fresh(bench, options).await?;
    let client = server.connect().await?;
    client.simple_query("CREATE TABLE side_input (key BIGINT PRIMARY KEY, value VARCHAR)").await?;
    client.simple_query(&format!("INSERT INTO side_input {SIDE_INPUT}")).await?;
    for kind in STREAMS {
        client.simple_query(&source(kind, events)).await?;
    }
    let (begun, cpu) = (instant(), server.cpu()?);
    client.simple_query(&format!("CREATE MATERIALIZED VIEW answer AS {query}")).await?;
    server::wait_finished(&client, "answer").await?;
    let rows = server::row(&client, "SELECT count(*) FROM answer").await?;
    let (seconds, cpu_seconds) = (begun.elapsed().as_secs_f64(), server.cpu()? - cpu);
    // A definition waits for a checkpoint, which is what the bytes are of.
    client.simple_query("CREATE VIEW done AS SELECT * FROM answer").await?;
    let state = server::row(&client, "SELECT coalesce(sum(state_bytes), 0) FROM weir.operators").await?;
    let state_megabytes = state.first().ok_or("no state")?.parse::<f64>()? / 1e6;
    let run = Run { seconds, cpu_seconds, peak_megabytes: server.peak_megabytes()?, state_megabytes };
    Ok((run, rows.first().ok_or("no rows")?.parse()?))
}

fn source(kind: Kind, events: &Events) -> String {
    let schema = kind.schema();
    let columns = schema.fields().iter().map(|field| {
        let data_type = match field.data_type() {
            arrow::datatypes::DataType::Int64 => "BIGINT",
            arrow::datatypes::DataType::Utf8 => "VARCHAR",
            _ => "TIMESTAMP",
        };
        format!("{} {data_type}", field.name())
    });
    format!(
        "CREATE SOURCE {} ({}, WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND) \
         WITH (connector = 'file', path = '{}') FORMAT PLAIN ENCODE CSV",
        kind.name(),
        columns.collect::<Vec<_>>().join(", "),
        events.stream(kind).display()
    )
}
