//! (a) and (f): the view `hot` over a file of each format, from CREATE to its last window, against the batch; and the
//! most memory that the server took.

use std::fs::File;
use std::io;
use std::path::Path;

use serde_json::json;
use weir::common::clock::instant;

use crate::batch::{self, Answer};
use crate::events::{Events, FORMATS};
use crate::report::{Figure, Report};
use crate::server::{self, Options, Server};
use crate::{Bench, Outcome, median};

const ROUNDS: usize = 3;

/// One run of the view.
#[derive(Clone, Copy)]
pub struct Run {
    /// From CREATE until every row of the view can be read.
    pub seconds: f64,
    pub cpu_seconds: f64,
    pub peak_megabytes: f64,
}

pub async fn measure(bench: &Bench, events: &Events, report: &mut Report) -> Outcome<()> {
    let mut peaks = Vec::new();
    for (format, aim) in FORMATS.into_iter().zip([2.5, 2.5, 5.0]) {
        // So that the first round does not pay for the disk.
        io::copy(&mut File::open(events.path(format))?, &mut io::sink())?;
        let (mut views, mut batches) = (Vec::new(), Vec::new());
        for round in 1..=ROUNDS {
            let answer = batch::hot(bench, events, format).await?;
            let run = view(bench, (&events.path(format), format), &answer, Options::default()).await?;
            let (view, batch) = (run.seconds, answer.seconds);
            report.progress(&format!("hot, {format}, round {round}: view {view:.2} s, batch {batch:.2} s"));
            views.push(run);
            batches.push(answer.seconds);
        }
        let ratios: Vec<f64> = views.iter().zip(&batches).map(|(run, batch)| run.seconds / batch).collect();
        let seconds: Vec<f64> = views.iter().map(|run| run.seconds).collect();
        let cpu: Vec<f64> = views.iter().map(|run| run.cpu_seconds).collect();
        let (view, batch) = (median(&seconds), median(&batches));
        report.add(Figure {
            name: format!("(a) view over {format} / batch"),
            value: median(&ratios),
            unit: "x",
            aim: Some(aim),
            of: format!("{view:.2} s / {batch:.2} s"),
            details: json!({"view_seconds": seconds, "view_cpu_seconds": cpu, "batch_seconds": batches}),
        });
        peaks.push(views.iter().map(|run| run.peak_megabytes).fold(0.0, f64::max));
    }
    report.add(Figure {
        name: "(f) peak resident memory".into(),
        value: peaks.iter().copied().fold(0.0, f64::max),
        unit: "MB",
        aim: Some(600.0),
        of: FORMATS.iter().zip(&peaks).map(|(f, peak)| format!("{f} {peak:.0}")).collect::<Vec<_>>().join(", "),
        details: json!({"megabytes_by_format": peaks}),
    });
    Ok(())
}

/// Runs the view over the file, or the files of the glob, on a server of its own, and compares it with the batch's
/// answer.
pub async fn view(bench: &Bench, (path, format): (&Path, &str), answer: &Answer, options: Options) -> Outcome<Run> {
    let mut server = Server::fresh(bench, options).await?;
    let client = server.connect().await?;
    let source = format!(
        "CREATE SOURCE bid (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, \
         date_time TIMESTAMP, extra VARCHAR, WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND) \
         WITH (connector = 'file', path = '{}') FORMAT PLAIN ENCODE {format}",
        path.display()
    );
    let (begun, cpu) = (instant(), server.cpu()?);
    client.simple_query(&source).await?;
    client
        .simple_query(
            "CREATE MATERIALIZED VIEW hot AS \
             SELECT auction, window_start, count(*) AS bids, max(price) AS top, sum(price) AS total \
             FROM TUMBLE(bid, date_time, INTERVAL '10' SECOND) GROUP BY auction, window_start",
        )
        .await?;
    server::wait_finished(&client, "hot").await?;
    let got = server::row(&client, "SELECT count(*), sum(bids) FROM hot").await?;
    let seconds = begun.elapsed().as_secs_f64();
    let want = [answer.rows.to_string(), answer.bids.to_string()];
    if got != want {
        return Err(format!("the view over {format} has {got:?} rows and bids, the batch {want:?}").into());
    }
    Ok(Run { seconds, cpu_seconds: server.cpu()? - cpu, peak_megabytes: server.peak_megabytes()? })
}
