//! Scripts for operator tests: input as text, output as text.
//!
//! ```text
//! + 1 x              -- rows gather to a chunk, sent before the next other line
//! port 1             -- the next rows go to this port
//! watermark 0 12     -- column and seconds, or `end`
//! now 12             -- what the next barriers carry, in seconds
//! barrier
//! commit             -- of all epochs so far; the next barrier knows
//! restart            -- commit, then rebuild the operator from its state
//! ```
//! The output shows rows, watermarks, `dead` and `late` rows, with barriers between them.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::{BuildContext, Emitted, Output, SourceWatermarks, StreamOperator, build};
use crate::common::clock::Clock;
use crate::common::config::StateBackend;
use crate::plan::{Distribution, Expr, Node, Operator, Properties};
use crate::state::{KeyRange, StateConfig, StateStore};
use crate::stream::message::{Barrier, Watermark};
use crate::types::time::END_OF_TIME;
use crate::types::{Epoch, OperatorId, StreamChunk, TableId, pretty};

/// An operator with its state, driven as the actor loop drives it.
pub(super) struct Bench {
    node: Node,
    store: Arc<StateStore>,
    dir: Arc<tempfile::TempDir>,
    pub operator: Box<dyn StreamOperator>,
    epoch: Epoch,
    committed: Epoch,
    now: i64,
    /// What all operators of a job have in common.
    shared: (Clock, Arc<SourceWatermarks>),
    /// This actor and how many there are.
    actor: (usize, usize),
}

impl Bench {
    pub(super) fn new(node: Node) -> Self {
        Self::with_memory(node, 16 << 20)
    }

    /// State may cache no more than `cache_bytes`.
    pub(super) fn with_memory(node: Node, cache_bytes: u64) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let config = StateConfig { dir: dir.path().to_path_buf(), backend: StateBackend::Memory, cache_bytes };
        let store = StateStore::open(config).unwrap();
        let shared = (Clock::manual(0), Arc::default());
        let operator = make(&node, &store, (0, 1), &shared);
        Self { node, store, dir, operator, epoch: Epoch(0), committed: Epoch(0), now: 0, shared, actor: (0, 1) }
    }

    /// Commits, then rebuilds the operator as `actors` actors over the same state.
    pub(super) fn restart_as(self, actors: usize) -> Vec<Self> {
        self.store.commit(self.epoch, &[]).unwrap();
        (0..actors)
            .map(|actor| Self {
                node: self.node.clone(),
                store: Arc::clone(&self.store),
                dir: Arc::clone(&self.dir),
                operator: make(&self.node, &self.store, (actor, actors), &self.shared),
                epoch: self.epoch,
                committed: self.epoch,
                now: self.now,
                shared: self.shared.clone(),
                actor: (actor, actors),
            })
            .collect()
    }

    pub(super) fn barrier(&mut self, out: &mut Output) {
        self.epoch = self.epoch.next();
        let barrier = Barrier::new(self.epoch, self.committed, self.now);
        self.operator.on_barrier(&barrier, out).unwrap();
        self.operator.seal(self.epoch).unwrap();
    }

    /// Another operator of the same job.
    pub(super) fn beside(&self, node: Node) -> Self {
        let operator = make(&node, &self.store, (0, 1), &self.shared);
        let (store, dir, shared) = (Arc::clone(&self.store), Arc::clone(&self.dir), self.shared.clone());
        let (epoch, committed, now) = (self.epoch, self.committed, self.now);
        Self { node, store, dir, operator, epoch, committed, now, shared, actor: (0, 1) }
    }

    /// How many rows one of its tables has.
    pub(super) fn rows(&self, table: TableId, schema: &SchemaRef) -> usize {
        let table = self.store.table(table, Arc::clone(schema)).unwrap();
        table.scan(self.epoch, &KeyRange::all(), None).unwrap().iter().map(|(_, rows)| rows.num_rows()).sum()
    }

    pub(super) fn commit(&mut self) {
        self.store.commit(self.epoch, &[]).unwrap();
        self.committed = self.epoch;
    }

    /// How many rows a state table of the node has.
    pub(super) fn rows_of(&self, table: TableId) -> usize {
        let table = self.store.table(table, Arc::clone(&self.node.inputs[0].schema)).unwrap();
        let batches = table.scan(self.epoch, &crate::state::KeyRange::all(), None).unwrap();
        batches.iter().map(|(keys, _)| arrow::array::Array::len(keys)).sum()
    }

    pub(super) fn restart(&mut self) {
        self.commit();
        self.operator = make(&self.node, &self.store, self.actor, &self.shared);
    }

    /// Runs the script and returns what came out.
    pub(super) fn run(&mut self, script: &str) -> Vec<String> {
        let mut shown = Vec::new();
        let mut port = 0;
        let mut rows: Vec<&str> = Vec::new();
        for line in script.lines().map(str::trim).filter(|l| !l.is_empty()).chain([""]) {
            if line.starts_with(['+', '-']) {
                rows.push(line);
                continue;
            }
            let mut out = Output::default();
            if !rows.is_empty() {
                let chunk = parse(&self.node.inputs[port].schema, &std::mem::take(&mut rows));
                self.operator.on_chunk(port, chunk, &mut out).unwrap();
                show(&out, &mut shown);
                out = Output::default();
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [] => {}
                ["port", n] => port = n.parse().unwrap(),
                ["watermark", column, time] => {
                    let micros = if *time == "end" { END_OF_TIME } else { time.parse::<i64>().unwrap() * 1_000_000 };
                    let watermark = Watermark { column: column.parse().unwrap(), micros };
                    self.operator.on_watermark(port, watermark, &mut out).unwrap();
                }
                ["now", time] => {
                    self.now = time.parse::<i64>().unwrap() * 1_000_000;
                    self.shared.0.set(self.now);
                }
                ["barrier"] => self.barrier(&mut out),
                ["commit"] => self.commit(),
                ["restart"] => self.restart(),
                other => panic!("script: {other:?}"),
            }
            show(&out, &mut shown);
            if line == "barrier" {
                shown.push("barrier".into());
            }
        }
        shown
    }
}

/// Runs `script` through the operator and compares the output line by line.
pub(super) fn check(node: Node, script: &str, expected: &str) {
    let got = Bench::new(node).run(script);
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    assert_eq!(got, expected, "\ngot:\n{}", got.join("\n"));
}

/// A node with one input of each header's columns.
pub(super) fn node(operator: Operator, inputs: &[SchemaRef], output: SchemaRef) -> Node {
    let leaf = |schema: &SchemaRef| Node {
        id: OperatorId(0),
        operator: Operator::Exchange { distribution: Distribution::Any },
        inputs: Vec::new(),
        schema: Arc::clone(schema),
        properties: properties(),
    };
    Node {
        id: OperatorId(1),
        operator,
        inputs: inputs.iter().map(leaf).collect(),
        schema: output,
        properties: properties(),
    }
}

/// SQL text as an expression over `input`.
pub(super) fn expr(sql: &str, input: &SchemaRef) -> Expr {
    Expr::new(crate::expr::eval::tests::physical(sql, input), Arc::clone(input))
}

pub(super) fn parse(schema: &SchemaRef, rows: &[&str]) -> StreamChunk {
    let header: Vec<String> =
        schema.fields().iter().map(|f| format!("{}:{}", f.name(), type_name(f.data_type()))).collect();
    let chunk = pretty::chunk(&format!("{}\n{}", header.join(" "), rows.join("\n"))).unwrap();
    let columns = chunk.batch().columns().iter().zip(schema.fields());
    let columns = columns.map(|(c, f)| arrow::compute::cast(c, f.data_type()).unwrap()).collect();
    let batch = arrow::array::RecordBatch::try_new(Arc::clone(schema), columns).unwrap();
    chunk.with_batch(batch)
}

fn type_name(data_type: &arrow::datatypes::DataType) -> &'static str {
    let names = ["bigint", "int", "double", "boolean", "varchar", "decimal", "timestamp", "timestamptz", "date"];
    // The sum of a partial state.
    if matches!(data_type, arrow::datatypes::DataType::Decimal128(38, 0)) {
        return "decimal";
    }
    let is = |name: &&&str| pretty::schema(&format!("x:{name}")).unwrap().field(0).data_type() == data_type;
    names.iter().find(is).unwrap_or_else(|| panic!("no pretty name for {data_type}"))
}

fn properties() -> Properties {
    Properties {
        stream_key: Vec::new(),
        distribution: Distribution::Single,
        append_only: false,
        watermark_columns: Vec::new(),
    }
}

fn make(
    node: &Node,
    store: &Arc<StateStore>,
    (actor, actors): (usize, usize),
    (clock, sources): &(Clock, Arc<SourceWatermarks>),
) -> Box<dyn StreamOperator> {
    let size = 256 / actors;
    let context = BuildContext {
        store,
        input: node.inputs.first().map_or_else(|| Arc::clone(&node.schema), |i| Arc::clone(&i.schema)),
        vnodes: actor * size..(actor + 1) * size,
        actor,
        actors,
        clock,
        sources,
    };
    build(node, &context).unwrap()
}

pub(super) fn show(out: &Output, shown: &mut Vec<String>) {
    for letter in &out.dead_letters {
        shown.push(format!("dead {}: {}", letter.row, letter.error));
    }
    for late in &out.late_rows {
        shown.extend(pretty::rows(&late.rows).unwrap().into_iter().map(|r| format!("late {r}")));
    }
    for emitted in &out.emitted {
        match emitted {
            Emitted::Chunk(chunk) => shown.extend(pretty::rows(chunk).unwrap()),
            Emitted::Watermark(w) if w.micros == END_OF_TIME => shown.push(format!("watermark {} end", w.column)),
            Emitted::Watermark(w) => shown.push(format!("watermark {} {}", w.column, w.micros as f64 / 1e6)),
        }
    }
    shown.extend(out.due.map(|due| format!("due {}", due as f64 / 1e6)));
}
