//! (c): CPU of a checkpoint per row that it makes durable, over a million groups of 64 bytes: the state store itself,
//! without the operators above it.

use std::fs;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;
use weir::common::clock::instant;
use weir::common::config::StateBackend;
use weir::state::{KeyRange, StateConfig, StateStore, StateWriter};
use weir::types::{Epoch, TableId, key};

use crate::report::{Figure, Report};
use crate::server::cpu_seconds;
use crate::{Bench, Outcome};

/// Checkpoints of a measurement: enough that what is put off is paid for.
const ROUNDS: u64 = 20;
/// 8-byte columns of a row.
const COLUMNS: usize = 8;

/// Which rows are dirty at a checkpoint.
#[derive(Clone, Copy)]
enum Touch {
    /// All groups, written in random order.
    All,
    /// A tenth of the groups, drawn at random.
    Tenth,
    /// As many rows as a tenth of the groups, of a new window; the oldest window is removed.
    Window,
}

pub fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let groups = (bench.events / 5).max(1000) as i64;
    for (name, touch) in
        [("random, all groups", Touch::All), ("random, a tenth", Touch::Tenth), ("windows", Touch::Window)]
    {
        let cost = checkpoints(bench, groups, touch)?;
        report.add(Figure {
            name: format!("(c) CPU a dirty row and checkpoint, {name}"),
            value: cost.cpu * 1e6 / cost.rows as f64,
            unit: "us",
            aim: Some(1.0),
            of: format!("{} rows in {ROUNDS} checkpoints, {:.0} ms each", cost.rows, cost.wall * 1e3 / ROUNDS as f64),
            details: json!({"groups": groups, "rows": cost.rows, "cpu_seconds": cost.cpu, "seconds": cost.wall}),
        });
    }
    Ok(())
}

/// What the checkpoints took together.
struct Cost {
    rows: u64,
    cpu: f64,
    wall: f64,
}

fn checkpoints(bench: &Bench, groups: i64, touch: Touch) -> Outcome<Cost> {
    let dir = bench.dir.join("state");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    let config = StateConfig { dir: dir.clone(), backend: StateBackend::Sled, cache_bytes: 256 << 20 };
    let store = StateStore::open(config)?;
    let mut writer = store.table(TableId(1), schema())?.writer();
    let mut random = StdRng::seed_from_u64(1);
    let tenth = groups / 10;
    match touch {
        Touch::All | Touch::Tenth => put(&mut writer, 0, (0..groups).collect(), &mut random)?,
        Touch::Window => {
            for window in 0..10 {
                put(&mut writer, window, (0..tenth).collect(), &mut random)?;
            }
        }
    }
    writer.seal(Epoch(1));
    store.commit(Epoch(1), &[])?;
    let mut cost = Cost { rows: 0, cpu: 0.0, wall: 0.0 };
    for round in 0..ROUNDS {
        let mut ids: Vec<i64> = (0..groups).collect();
        match touch {
            Touch::All => {
                ids.shuffle(&mut random);
                put(&mut writer, 0, ids, &mut random)?;
            }
            Touch::Tenth => {
                ids.shuffle(&mut random);
                ids.truncate(tenth as usize);
                put(&mut writer, 0, ids, &mut random)?;
            }
            Touch::Window => {
                put(&mut writer, 10 + round as i64, (0..tenth).collect(), &mut random)?;
                writer.delete_range(&window(round as i64)?)?;
            }
        }
        let epoch = Epoch(round + 2);
        writer.seal(epoch);
        let (begun, cpu) = (instant(), cpu_seconds("/proc/self/stat")?);
        store.commit(epoch, &[])?;
        cost.cpu += cpu_seconds("/proc/self/stat")? - cpu;
        cost.wall += begun.elapsed().as_secs_f64();
        cost.rows += match touch {
            Touch::All => groups as u64,
            Touch::Tenth | Touch::Window => tenth as u64,
        };
    }
    drop((writer, store));
    fs::remove_dir_all(&dir)?;
    Ok(cost)
}

fn schema() -> SchemaRef {
    let fields: Vec<Field> = (0..COLUMNS).map(|i| Field::new(format!("c{i}"), DataType::Int64, true)).collect();
    Arc::new(Schema::new(fields))
}

/// Writes a row of `window` for each id, as an aggregation by window and id would.
fn put(writer: &mut StateWriter, window: i64, ids: Vec<i64>, random: &mut StdRng) -> Outcome<()> {
    const CHUNK: usize = 8192;
    for ids in ids.chunks(CHUNK) {
        let numbers = |range: Range<i64>, random: &mut StdRng| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(ids.iter().map(|_| random.random_range(range.clone()))))
        };
        let windows: ArrayRef = Arc::new(Int64Array::from(vec![window; ids.len()]));
        let id: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
        let keys = key::encode(&[windows.clone(), id.clone()], ids.len())?;
        let mut columns = vec![windows, id];
        while columns.len() < COLUMNS {
            columns.push(numbers(0..1_000_000, random));
        }
        writer.write(keys, RecordBatch::try_new(schema(), columns)?, None)?;
    }
    Ok(())
}

/// The keys of a window.
fn window(window: i64) -> Outcome<KeyRange> {
    let windows: ArrayRef = Arc::new(Int64Array::from(vec![window]));
    Ok(KeyRange::prefix(key::encode(&[windows], 1)?.value(0)))
}
