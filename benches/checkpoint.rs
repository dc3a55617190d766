//! (b): what checkpoints and the disk cost the view `hot` over CSV: checkpoints each second against none, sled against
//! memory. The file is read several times over in one stream, so that there are several checkpoints, all but the first of
//! groups that are there already.

use serde_json::json;

use crate::events::Events;
use crate::hot::{self, Run};
use crate::report::{Figure, Report};
use crate::server::Options;
use crate::{Bench, Outcome, batch, median};

const ROUNDS: usize = 5;
const COPIES: usize = 4;

pub async fn measure(bench: &Bench, events: &Events, report: &mut Report) -> Outcome<()> {
    let mut answer = batch::hot(bench, events, "csv").await?;
    answer.bids *= COPIES as u64;
    let files = events.times(COPIES)?;
    let sled = Options::default();
    let kinds = [
        ("sled, each second", sled),
        ("sled, none", Options { checkpoint_interval: "24h", ..sled }),
        ("memory, each second", Options { backend: "memory", ..sled }),
    ];
    let mut runs: [Vec<Run>; 3] = Default::default();
    for round in 1..=ROUNDS {
        for ((name, options), runs) in kinds.iter().zip(&mut runs) {
            let run = hot::view(bench, (&files, "csv"), &answer, *options).await?;
            let (wall, cpu) = (run.seconds, run.cpu_seconds);
            report.progress(&format!("checkpoints, {name}, round {round}: {wall:.2} s, {cpu:.2} s of CPU"));
            runs.push(run);
        }
    }
    let [with, without, memory] = &runs;
    for (name, base, aim) in
        [("(b) checkpoints each second, over none", without, 10.0), ("(b) sled over memory", memory, 15.0)]
    {
        let over = |of: fn(&Run) -> f64| -> f64 {
            let ratios: Vec<f64> = with.iter().zip(base).map(|(a, b)| of(a) / of(b)).collect();
            (median(&ratios) - 1.0) * 100.0
        };
        let middle = |runs: &[Run]| median(&runs.iter().map(|run| run.seconds).collect::<Vec<_>>());
        let cpu = over(|run| run.cpu_seconds);
        report.add(Figure {
            name: name.into(),
            value: over(|run| run.seconds),
            unit: "%",
            aim: Some(aim),
            of: format!("{:.2} s over {:.2} s; {cpu:.1} % of CPU", middle(with), middle(base)),
            details: json!({
                "seconds": with.iter().map(|run| run.seconds).collect::<Vec<_>>(),
                "base_seconds": base.iter().map(|run| run.seconds).collect::<Vec<_>>(),
                "cpu_percent": cpu,
            }),
        });
    }
    Ok(())
}
