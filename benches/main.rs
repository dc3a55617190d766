//! The benchmark: `cargo bench`, or `cargo bench -- hot insert` for some of its parts. Drives real servers over the
//! wire; every figure stands beside one of the same machine in the same run, as a ratio where that has a meaning.
//!
//! ```text
//! events --> bench-data/<events>/bid.csv, .json, .parquet --+--> weir serve, over tokio-postgres --+
//!                                                           +--> one DataFusion batch -------------+--> report
//! ```
//!
//! `WEIR_BENCH_EVENTS` (5000000) sets the size, `WEIR_BENCH_QUERIES` (all) the Nexmark queries, as in `5,9`; all else follows from it. Prints a table and writes
//! `bench-data/results.json`. Knows of the engine only what a client can see, but for `state`, which drives the state
//! store itself.

mod batch;
mod checkpoint;
mod copy;
mod events;
mod hot;
mod insert;
mod large;
mod nexmark;
mod postgres;
mod recovery;
mod report;
mod server;
mod serving;
mod state;

use std::path::{Path, PathBuf};

use self::events::Events;
use self::report::Report;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Whatever goes wrong ends the benchmark.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What the parts share.
struct Bench {
    /// Inputs, data folders of servers, results.
    dir: PathBuf,
    /// Nexmark events of all types.
    events: u64,
    /// Of the servers and of the batch.
    parallelism: usize,
}

const PARTS: &[&str] = &["hot", "checkpoint", "state", "insert", "recovery", "nexmark", "large", "serving", "copy"];

fn main() -> Outcome<()> {
    let parallelism = std::thread::available_parallelism()?.get();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(parallelism).enable_all().build()?;
    runtime.block_on(run(parallelism))
}

async fn run(parallelism: usize) -> Outcome<()> {
    // Cargo adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let Some(unknown) = wanted.iter().find(|part| !PARTS.contains(&part.as_str())) {
        return Err(format!("there is no part {unknown:?}; write some of: {}", PARTS.join(", ")).into());
    }
    let does = |part: &str| wanted.is_empty() || wanted.iter().any(|name| name == part);
    let events = match std::env::var("WEIR_BENCH_EVENTS") {
        Ok(text) => text.parse().map_err(|_| format!("WEIR_BENCH_EVENTS: {text:?} is no number"))?,
        Err(_) => 5_000_000,
    };
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench-data");
    let bench = Bench { dir, events, parallelism };
    let mut report = Report::new(&bench);
    if ["hot", "checkpoint", "copy"].into_iter().any(does) {
        let events = Events::prepare(&bench)?;
        if does("hot") {
            hot::measure(&bench, &events, &mut report).await?;
        }
        if does("checkpoint") {
            checkpoint::measure(&bench, &events, &mut report).await?;
        }
        if does("copy") {
            copy::measure(&bench, &events, &mut report).await?;
        }
    }
    if does("state") {
        state::measure(&bench, &mut report)?;
    }
    if does("insert") {
        insert::measure(&bench, &mut report).await?;
    }
    if does("recovery") {
        recovery::measure(&bench, &mut report).await?;
    }
    if does("nexmark") {
        nexmark::measure(&bench, &mut report).await?;
    }
    if does("large") {
        large::measure(&bench, &mut report).await?;
    }
    if does("serving") {
        serving::measure(&bench, &mut report).await?;
    }
    report.finish(&bench)
}

/// The value in the middle; 0 of none.
fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// The value that `part` of the others do not exceed; 0 of none.
fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1) as f64;
    sorted.get((last * part).round() as usize).copied().unwrap_or_default()
}
