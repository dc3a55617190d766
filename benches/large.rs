//! (h): state beyond memory: a join and an aggregation that keep about a gigabyte at a limit of 64 MiB, against the same
//! with room for all of it.

use serde_json::json;

use crate::events::Events;
use crate::nexmark;
use crate::report::{Figure, Report};
use crate::server::Options;
use crate::{Bench, Outcome};

const QUERIES: [(&str, &str); 2] = [
    (
        "join",
        "SELECT a.id, a.seller, b.bidder, b.price, b.date_time, b.url, b.extra
         FROM auction AS a JOIN bid AS b ON a.id = b.auction",
    ),
    (
        "aggregation",
        "SELECT auction, bidder, count(*) AS bids, max(price) AS top, min(date_time) AS first, max(url) AS url,
             max(extra) AS extra
         FROM bid GROUP BY auction, bidder",
    ),
];
const TIGHT: &str = "64MiB";
const ROOMY: &str = "8GiB";

pub async fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let events = Events::streams(bench, bench.events)?;
    for (name, query) in QUERIES {
        let (roomy, rows) = nexmark::view(bench, &events, query, options(ROOMY)).await?;
        let (tight, got) = nexmark::view(bench, &events, query, options(TIGHT)).await?;
        if got != rows {
            return Err(format!("the {name} has {got} rows at {TIGHT}, {rows} at {ROOMY}").into());
        }
        report.add(Figure {
            name: format!("(h) {name} at a limit of {TIGHT} / {ROOMY}"),
            value: tight.seconds / roomy.seconds,
            unit: "x",
            aim: None,
            of: format!(
                "{:.1} s / {:.1} s, memory {:.0} MB / {:.0} MB, state {:.0} MB",
                tight.seconds, roomy.seconds, tight.peak_megabytes, roomy.peak_megabytes, tight.state_megabytes
            ),
            details: json!({
                "rows": rows, "seconds": [tight.seconds, roomy.seconds],
                "peak_megabytes": [tight.peak_megabytes, roomy.peak_megabytes], "state_megabytes": tight.state_megabytes,
            }),
        });
    }
    Ok(())
}

fn options(memory_limit: &'static str) -> Options {
    Options { memory_limit, ..Options::default() }
}
