//! Aggregations by script, and against the oracle: after each epoch the sum of all changes is what DataFusion answers
//! as a batch over the rows that are there.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{Expr as Logical, LogicalPlan};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::expr::aggregate::is_linear;
use crate::expr::eval::tests::session;
use crate::plan::{AggCall, AggMethod, AggPhase, Expr, HashAgg, Node, Operator};
use crate::stream::operator::check::{Bench, check, node, parse};
use crate::stream::operator::{Emitted, Output};
use crate::types::{StreamChunk, TableId, pretty};

/// Functions whose state of fixed size follows insertions.
const MERGED: &[&str] = &[
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "bool_and",
    "bool_or",
    "bit_and",
    "bit_or",
    "bit_xor",
    "var_samp",
    "var_pop",
    "stddev",
    "stddev_pop",
    "corr",
    "covar_samp",
    "covar_pop",
    "regr_slope",
    "regr_intercept",
    "regr_count",
    "regr_r2",
    "regr_avgx",
    "regr_avgy",
    "regr_sxx",
    "regr_syy",
    "regr_sxy",
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
];

/// Plans `SELECT ... FROM t GROUP BY columns`, as far as an aggregation goes.
async fn plan(sql: &str, rows: &SchemaRef, append_only: bool) -> HashAgg {
    let context = session();
    let table = MemTable::try_new(Arc::clone(rows), vec![vec![]]).unwrap();
    context.register_table("t", Arc::new(table)).unwrap();
    let state = context.state();
    let plan = state.create_logical_plan(sql).await.unwrap();
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).unwrap();
    let mut aggregate = &plan;
    let aggregate = loop {
        match aggregate {
            LogicalPlan::Aggregate(a) => break a,
            other => aggregate = other.inputs()[0],
        }
    };
    let physical = |e: &Logical| {
        Expr::new(context.create_physical_expr(e.clone(), aggregate.input.schema()).unwrap(), Arc::clone(rows))
    };
    let mut aggs = Vec::new();
    for (i, expr) in aggregate.aggr_expr.iter().enumerate() {
        let Logical::AggregateFunction(f) = expr.clone().unalias() else { panic!("{expr}") };
        let mut call = AggCall {
            function: f.func.name().into(),
            args: f.params.args.iter().map(physical).collect(),
            distinct: f.params.distinct,
            filter: f.params.filter.as_deref().map(physical),
            order_by: f.params.order_by.iter().map(|s| (physical(&s.expr), !s.asc, s.nulls_first)).collect(),
            ignore_nulls: f.params.null_treatment == Some(datafusion::logical_expr::expr::NullTreatment::IgnoreNulls),
            method: AggMethod::Linear,
            name: format!("c{i}"),
            values: None,
        };
        call.method = match is_linear(&call.call(rows)) {
            _ if append_only && !call.distinct && MERGED.contains(&call.function.as_str()) => AggMethod::Merge,
            true => AggMethod::Linear,
            false => AggMethod::Values,
        };
        if call.distinct || call.method == AggMethod::Values {
            let shared = aggs.iter().find(|other: &&AggCall| other.shares_values(&call)).and_then(|other| other.values);
            call.values = shared.or(Some(TableId(100 + i as u32)));
        }
        aggs.push(call);
    }
    let group = aggregate
        .group_expr
        .iter()
        .map(|e| match e {
            Logical::Column(c) => rows.index_of(&c.name).unwrap(),
            other => panic!("{other}"),
        })
        .collect();
    HashAgg {
        lateness_micros: 0,
        frees: false,
        close_timeout: None,
        phase: AggPhase::Single,
        rows: Arc::clone(rows),
        group,
        aggs,
        window: None,
        emit_on_close: false,
        append_only,
        state: Some(TableId(1)),
        totals: Vec::new(),
        lag_micros: 0,
    }
}

fn plan_now(sql: &str, rows: &SchemaRef, append_only: bool) -> HashAgg {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(plan(sql, rows, append_only))
}

fn nodes(agg: &HashAgg, phase: AggPhase) -> Node {
    let agg = HashAgg { phase, ..agg.clone() };
    let partial = agg.partial_schema().unwrap();
    let (input, output) = match phase {
        AggPhase::Single => (Arc::clone(&agg.rows), agg.result_schema().unwrap()),
        AggPhase::Partial => (Arc::clone(&agg.rows), partial),
        AggPhase::Final => (partial, agg.result_schema().unwrap()),
    };
    node(Operator::HashAgg(agg), &[input], output)
}

fn single(sql: &str, header: &str, append_only: bool) -> Node {
    nodes(&plan_now(sql, &pretty::schema(header).unwrap(), append_only), AggPhase::Single)
}

#[test]
fn changes_of_groups() {
    check(
        single("SELECT k, count(*), sum(v), max(v) FROM t GROUP BY k", "k:varchar v:bigint", false),
        "+ a 1
         + a 5
         + b 2
         barrier
         - a 5
         + a 3
         barrier
         - b 2
         + c 1
         - c 1
         barrier
         restart
         + a 9
         + a .
         barrier
         barrier",
        "+ a 2 6 5
         + b 1 2 2
         barrier
         - a 2 6 5
         + a 2 4 3
         barrier
         - b 1 2 2
         barrier
         - a 2 4 3
         + a 4 13 9
         barrier
         barrier",
    );
}

#[test]
fn without_groups_there_is_always_one_row() {
    for append_only in [true, false] {
        check(
            single("SELECT count(*), sum(v), min(v), count(DISTINCT v) FROM t", "v:bigint", append_only),
            "barrier
             barrier
             + 3
             + 3
             barrier
             restart
             barrier
             + 1
             barrier",
            "+ 0 . . 0
             barrier
             barrier
             - 0 . . 0
             + 2 6 3 1
             barrier
             barrier
             - 2 6 3 1
             + 3 7 1 2
             barrier",
        );
    }
    check(
        single("SELECT count(*), sum(v), min(v) FROM t", "v:bigint", false),
        "+ 3
         barrier
         - 3
         barrier",
        "+ 1 3 3
         barrier
         - 1 3 3
         + 0 . .
         barrier",
    );
}

#[test]
fn distinct_rows_are_groups_without_calls() {
    check(
        single("SELECT k, v FROM t GROUP BY k, v", "k:varchar v:double", false),
        "+ a 0
         + a -0.0
         + a NaN
         + . .
         barrier
         - a 0
         - . .
         barrier",
        "+ a 0.0
         + a NaN
         + . .
         barrier
         - . .
         barrier",
    );
}

#[test]
fn a_sum_out_of_range_is_a_row_error_until_it_fits_again() {
    check(
        single("SELECT k, sum(v) FROM t GROUP BY k", "k:varchar v:bigint", false),
        "+ a 9223372036854775807
         + b 1
         barrier
         + a 1
         + b 1
         barrier
         + a 1
         barrier
         - a 1
         - a 1
         barrier",
        "+ a 9223372036854775807
         + b 1
         barrier
         dead k=a, c0=NULL: c0: the result does not fit Int64. Hint: cast the argument to a wider DECIMAL
         - a 9223372036854775807
         - b 1
         + b 2
         barrier
         barrier
         + a 9223372036854775807
         barrier",
    );
}

#[test]
fn a_row_that_fails_is_left_out_of_all_calls() {
    check(
        single("SELECT k, count(*), sum(10 / v) FROM t GROUP BY k", "k:varchar v:bigint", false),
        "+ a 2
         + a 0
         barrier
         - a 0
         - a 2
         barrier",
        "dead k=a, v=0: division by zero
         + a 1 5
         barrier
         - a 1 5
         barrier",
    );
}

fn windowed(phase: AggPhase, append_only: bool) -> Node {
    let rows = pretty::schema("k:varchar w:timestamp v:bigint").unwrap();
    let sql = "SELECT k, w, count(*), sum(v), string_agg(k, '/' ORDER BY v) FROM t GROUP BY k, w";
    let sql = if phase == AggPhase::Single { sql } else { "SELECT k, w, count(*), sum(v) FROM t GROUP BY k, w" };
    let agg = HashAgg { window: Some(1), emit_on_close: true, ..plan_now(sql, &rows, append_only) };
    nodes(&agg, phase)
}

#[test]
fn a_window_is_sent_once_when_it_closes() {
    for append_only in [true, false] {
        check(
            windowed(AggPhase::Single, append_only),
            "+ b 1970-01-01T00:00:10 1
             + a 1970-01-01T00:00:00 2
             + a 1970-01-01T00:00:10 4
             watermark 1 0
             barrier
             commit
             + a 1970-01-01T00:00:00 5
             watermark 1 10
             + a 1970-01-01T00:00:00 6
             + a 1970-01-01T00:00:20 7
             barrier
             + a 1970-01-01T00:00:00 1
             barrier
             restart
             + c 1970-01-01T00:00:00 8
             + a 1970-01-01T00:00:10 9
             barrier
             watermark 1 end
             barrier
             commit
             + c 1970-01-01T00:00:30 8
             barrier",
            "barrier
             late + a 1970-01-01T00:00:00 6
             watermark 1 0
             barrier
             late + a 1970-01-01T00:00:00 1
             barrier
             late + c 1970-01-01T00:00:00 8
             barrier
             barrier
             late + c 1970-01-01T00:00:30 8
             + a 1970-01-01T00:00:00 2 7 a/a
             + b 1970-01-01T00:00:10 1 1 b
             + a 1970-01-01T00:00:10 2 13 a/a
             + a 1970-01-01T00:00:20 1 7 a
             watermark 1 end
             barrier",
        );
    }
}

#[test]
fn a_closed_window_takes_late_rows_as_long_as_is_allowed() {
    let late = |phase| match windowed(phase, true) {
        Node { operator: Operator::HashAgg(agg), inputs, id, schema, properties } => {
            let operator = Operator::HashAgg(HashAgg { lateness_micros: 10_000_000, ..agg });
            Node { operator, inputs, id, schema, properties }
        }
        other => other,
    };
    check(
        late(AggPhase::Single),
        "+ a 1970-01-01T00:00:00 2
         + b 1970-01-01T00:00:10 1
         watermark 1 10
         barrier
         commit
         + c 1970-01-01T00:00:00 5
         barrier
         + a 1970-01-01T00:00:00 3
         + b 1970-01-01T00:00:10 4
         barrier
         restart
         + a 1970-01-01T00:00:00 4
         + d 1970-01-01T00:00:00 4
         barrier
         watermark 1 20
         barrier
         commit
         + a 1970-01-01T00:00:00 9
         barrier
         watermark 1 30
         + a 1970-01-01T00:00:00 9
         + b 1970-01-01T00:00:10 9
         watermark 1 end
         barrier
         commit
         + a 1970-01-01T00:00:20 9
         barrier",
        // Watermarks go on ten seconds later.
        "barrier
         late + c 1970-01-01T00:00:00 5
         + a 1970-01-01T00:00:00 1 2 a
         + c 1970-01-01T00:00:00 1 5 c
         watermark 1 0
         barrier
         late + a 1970-01-01T00:00:00 3
         - a 1970-01-01T00:00:00 1 2 a
         + a 1970-01-01T00:00:00 2 5 a/a
         barrier
         late + a 1970-01-01T00:00:00 4
         late + d 1970-01-01T00:00:00 4
         - a 1970-01-01T00:00:00 2 5 a/a
         + a 1970-01-01T00:00:00 3 9 a/a/a
         + d 1970-01-01T00:00:00 1 4 d
         barrier
         barrier
         late + a 1970-01-01T00:00:00 9
         + b 1970-01-01T00:00:10 2 5 b/b
         watermark 1 10
         barrier
         late + a 1970-01-01T00:00:00 9
         late + b 1970-01-01T00:00:10 9
         barrier
         late + a 1970-01-01T00:00:20 9
         watermark 1 end
         barrier",
    );
}

#[test]
fn quiet_closes_what_is_open() {
    let Node { operator: Operator::HashAgg(agg), inputs, id, schema, properties } = windowed(AggPhase::Single, true)
    else {
        panic!("no aggregation")
    };
    let operator = Operator::HashAgg(HashAgg { close_timeout: Some(5_000_000), ..agg });
    check(
        Node { operator, inputs, id, schema, properties },
        "now 100
         + a 1970-01-01T00:00:00 2
         + b 1970-01-01T00:00:10 1
         barrier
         now 104
         + a 1970-01-01T00:00:10 2
         barrier
         now 108
         barrier
         now 109
         barrier
         commit
         + a 1970-01-01T00:00:10 3
         barrier
         now 120
         + a 1970-01-01T00:00:20 3
         barrier",
        "due 105
         barrier
         due 109
         barrier
         due 109
         barrier
         barrier
         late + a 1970-01-01T00:00:10 3
         + a 1970-01-01T00:00:00 1 2 a
         + b 1970-01-01T00:00:10 1 1 b
         + a 1970-01-01T00:00:10 1 2 a
         watermark 1 10.000001
         barrier
         due 125
         barrier",
    );
}

#[test]
fn a_partial_phase_holds_watermarks_behind_its_rows() {
    check(
        windowed(AggPhase::Partial, true),
        "+ b 1970-01-01T00:00:10 1
         watermark 1 10
         + b 1970-01-01T00:00:10 2
         + a 1970-01-01T00:00:00 3
         barrier",
        "late + a 1970-01-01T00:00:00 3
         + b 1970-01-01T00:00:10 2 3 2
         watermark 1 10
         barrier",
    );
}

#[test]
fn each_group_is_closed_by_the_one_actor_that_owns_it() {
    let expected: Vec<String> = (0..40).map(|k| format!("+ k{k} 1970-01-01T00:00:00 1 1")).collect();
    let script: Vec<String> = (0..40).map(|k| format!("+ k{k} 1970-01-01T00:00:00 1")).collect();
    let rows = pretty::schema("k:varchar w:timestamp v:bigint").unwrap();
    let sql = "SELECT k, w, count(*), sum(v) FROM t GROUP BY k, w";
    let agg = HashAgg { window: Some(1), emit_on_close: true, ..plan_now(sql, &rows, true) };
    let mut one = Bench::new(nodes(&agg, AggPhase::Single));
    one.run(&format!("{}\nwatermark 1 0\nbarrier", script.join("\n")));
    let mut four = one.restart_as(4);
    let mut shown = Vec::new();
    for actor in &mut four {
        let of_actor = actor.run("watermark 1 10\nbarrier\ncommit\nbarrier");
        assert!(of_actor.len() < 43, "one actor of four closed all");
        shown.extend(of_actor);
    }
    let mut one = four.remove(0).restart_as(1).remove(0);
    assert_eq!(
        one.run("+ k1 1970-01-01T00:00:00 1\nwatermark 1 20\nbarrier\ncommit\nbarrier"),
        ["late + k1 1970-01-01T00:00:00 1", "barrier", "watermark 1 20", "barrier"]
    );
    shown.retain(|line| line.starts_with('+'));
    shown.sort();
    let mut expected = expected;
    expected.sort();
    assert_eq!(shown, expected);
}

#[test]
fn a_window_goes_through_both_phases() {
    let mut partial = Bench::new(windowed(AggPhase::Partial, false));
    let mut last = Bench::new(windowed(AggPhase::Final, false));
    let mut shown = Vec::new();
    for script in [
        "+ a 1970-01-01T00:00:00 1\n+ b 1970-01-01T00:00:00 2\nwatermark 1 0\nbarrier",
        "- b 1970-01-01T00:00:00 2\n+ a 1970-01-01T00:00:00 5\nwatermark 1 10\nbarrier",
        "+ a 1970-01-01T00:00:00 7\n+ c 1970-01-01T00:00:20 7\nwatermark 1 end\nbarrier",
    ] {
        let sent = partial.run(script);
        shown.extend(sent.iter().filter(|l| l.starts_with("late")).cloned());
        let sent: Vec<String> = sent.into_iter().filter(|l| !l.starts_with("late")).collect();
        shown.extend(last.run(&format!("{}\ncommit\nbarrier", sent.join("\n"))));
        last.restart();
    }
    assert_eq!(
        shown,
        [
            "barrier",
            "watermark 1 0",
            "barrier",
            "barrier",
            "+ a 1970-01-01T00:00:00 2 6",
            "watermark 1 10",
            "barrier",
            "late + a 1970-01-01T00:00:00 7",
            "barrier",
            "+ c 1970-01-01T00:00:20 1 7",
            "watermark 1 end",
            "barrier"
        ]
    );
}

/// The current rows by their text: the sum of all changes.
#[derive(Default)]
struct View(BTreeMap<String, i64>);

impl View {
    fn apply(&mut self, out: &Output) {
        for emitted in &out.emitted {
            let Emitted::Chunk(chunk) = emitted else { continue };
            for row in 0..chunk.num_rows() {
                let text = row_text(chunk.batch(), row);
                let count = self.0.entry(text.clone()).or_default();
                *count += chunk.weight(row);
                assert!(*count >= 0, "{text} is retracted but not there");
                if *count == 0 {
                    self.0.remove(&text);
                }
            }
        }
    }
}

/// Floats to eight digits, as the order of additions may differ, and shifted a little, so that none is half way between
/// two such numbers.
fn row_text(batch: &RecordBatch, row: usize) -> String {
    let row = batch.slice(row, 1);
    let cells = row.columns().iter().map(|column| match column.data_type() {
        DataType::Float64 => {
            use arrow::array::{Array, AsArray};
            let column = column.as_primitive::<arrow::datatypes::Float64Type>();
            let zero = !column.is_null(0) && column.value(0).abs() < 1e-9;
            if column.is_null(0) {
                ".".into()
            } else if zero {
                "0".into()
            } else {
                format!("{:.7e}", column.value(0) * 1.0003729182736455 + 0.0)
            }
        }
        _ => {
            let batch = RecordBatch::try_from_iter([("c", Arc::clone(column))]).unwrap();
            pretty::rows(&StreamChunk::inserts(batch)).unwrap().remove(0)
        }
    });
    cells.collect::<Vec<_>>().join(" ")
}

async fn batch_answer(sql: &str, rows: RecordBatch) -> BTreeMap<String, i64> {
    let context = session();
    context.register_batch("t", rows).unwrap();
    let mut answer = BTreeMap::new();
    for batch in context.sql(sql).await.unwrap().collect().await.unwrap() {
        for row in 0..batch.num_rows() {
            *answer.entry(row_text(&batch, row)).or_default() += 1;
        }
    }
    answer
}

/// Random epochs through one phase, and where the calls allow it through two partial phases and a final one.
async fn against_the_oracle(sql: &str, append_only: bool, seed: u64) {
    let rows = pretty::schema("k:varchar g:int v:bigint i:int x:double n:decimal f:boolean s:varchar").unwrap();
    let agg = plan(sql, &rows, append_only).await;
    let two = agg.aggs.iter().all(|a| a.values.is_none());
    let mut random = StdRng::seed_from_u64(seed);
    let mut single = (Bench::new(nodes(&agg, AggPhase::Single)), View::default());
    let mut partials = two.then(|| [0, 1].map(|_| Bench::new(nodes(&agg, AggPhase::Partial))));
    let mut last = (Bench::new(nodes(&agg, AggPhase::Final)), View::default());
    let mut present: Vec<String> = Vec::new();
    for epoch in 0..8 {
        let mut out = Output::default();
        for _ in 0..random.random_range(0..4) {
            let mut lines = Vec::new();
            for _ in 0..random.random_range(1..20) {
                if !append_only && !present.is_empty() && random.random_range(0..100) < 45 {
                    lines.push(format!("- {}", present.swap_remove(random.random_range(0..present.len()))));
                } else {
                    let row = random_row(&mut random);
                    lines.push(format!("+ {row}"));
                    present.push(row);
                }
            }
            let chunk = parse(&rows, &lines.iter().map(String::as_str).collect::<Vec<_>>());
            single.0.operator.on_chunk(0, chunk.clone(), &mut out).unwrap();
            if let Some(partials) = &mut partials {
                let at = random.random_range(0..2);
                let mut nothing = Output::default();
                partials[at].operator.on_chunk(0, chunk, &mut nothing).unwrap();
                assert!(nothing.emitted.is_empty());
            }
        }
        single.0.barrier(&mut out);
        single.1.apply(&out);
        let lines: Vec<String> = present.iter().map(|r| format!("+ {r}")).collect();
        let all = parse(&rows, &lines.iter().map(String::as_str).collect::<Vec<_>>()).into_parts().0;
        let expected = batch_answer(sql, all).await;
        assert_eq!(single.1.0, expected, "{sql}, seed {seed}, epoch {epoch}");
        if let Some(partials) = &mut partials {
            let mut out = Output::default();
            for partial in partials {
                let mut sent = Output::default();
                partial.barrier(&mut sent);
                for emitted in sent.emitted {
                    let Emitted::Chunk(chunk) = emitted else { continue };
                    last.0.operator.on_chunk(0, chunk, &mut out).unwrap();
                }
            }
            last.0.barrier(&mut out);
            last.1.apply(&out);
            assert_eq!(last.1.0, expected, "two phases: {sql}, seed {seed}, epoch {epoch}");
        }
        if random.random_range(0..3) == 0 {
            single.0.restart();
            last.0.restart();
        }
    }
}

fn random_row(random: &mut StdRng) -> String {
    let mut cell = |values: &[&str]| values[random.random_range(0..values.len())].to_string();
    [
        cell(&["a", "b", "c", "."]),
        cell(&["1", "2", "."]),
        cell(&["-3", "0", "1", "2", "7", "100", "."]),
        cell(&["-1", "0", "5", "12", "."]),
        cell(&["-1.5", "0", "0.25", "3", "."]),
        cell(&["-1.5", "0", "0.25", "3", "."]),
        cell(&["true", "false", "."]),
        cell(&["p", "q", "rr", "."]),
    ]
    .join(" ")
}

/// Every aggregate function of DataFusion but `grouping`, which is no aggregate.
const CALLS: &[&str] = &[
    "count(*)",
    "count(v)",
    "count(v, s)",
    "sum(v)",
    "sum(i)",
    "sum(n)",
    "sum(x)",
    "avg(v)",
    "avg(x)",
    "avg(n)",
    "min(v)",
    "max(v)",
    "min(s)",
    "max(x)",
    "max(n)",
    "min(f)",
    "bool_and(f)",
    "bool_or(f)",
    "bit_and(v)",
    "bit_or(v)",
    "bit_xor(v)",
    "var_samp(x)",
    "var_pop(v)",
    "stddev(x)",
    "stddev_pop(v)",
    "corr(v, x)",
    "covar_samp(v, x)",
    "covar_pop(v, x)",
    "regr_slope(v, x)",
    "regr_intercept(v, x)",
    "regr_count(v, x)",
    "regr_r2(v, x)",
    "regr_avgx(v, x)",
    "regr_avgy(v, x)",
    "regr_sxx(v, x)",
    "regr_syy(v, x)",
    "regr_sxy(v, x)",
    "approx_distinct(v)",
    "median(v)",
    "median(x)",
    "percentile_cont(0.5) WITHIN GROUP (ORDER BY x)",
    "percentile_disc(0.5) WITHIN GROUP (ORDER BY x)",
    "percentile_disc(0.3) WITHIN GROUP (ORDER BY s DESC)",
    "percentile_disc(1) WITHIN GROUP (ORDER BY v)",
    "mode() WITHIN GROUP (ORDER BY v)",
    "mode() WITHIN GROUP (ORDER BY s DESC)",
    "percentile_disc(0.7) WITHIN GROUP (ORDER BY approx_bucket(x, 0.01))",
    "percentile_cont(0.25) WITHIN GROUP (ORDER BY x DESC)",
    "array_agg(v ORDER BY v)",
    "array_agg(v ORDER BY v DESC NULLS LAST)",
    "array_agg(v ORDER BY v NULLS FIRST, s DESC)",
    "string_agg(s, ',' ORDER BY s)",
    "first_value(v ORDER BY v)",
    "last_value(v ORDER BY v)",
    "first_value(v ORDER BY v DESC, s)",
    "nth_value(v, 2 ORDER BY v)",
    "count(DISTINCT v)",
    "sum(DISTINCT v)",
    "avg(DISTINCT v)",
    "sum(DISTINCT x)",
    "count(DISTINCT s)",
    "min(DISTINCT v)",
    "array_agg(DISTINCT s ORDER BY s)",
    "string_agg(DISTINCT s, '+' ORDER BY s)",
    "count(*) FILTER (WHERE v > 0)",
    "sum(v) FILTER (WHERE f)",
    "max(v) FILTER (WHERE x < 1)",
    "count(DISTINCT v) FILTER (WHERE s = 'p')",
    "array_agg(v ORDER BY v) FILTER (WHERE v IS NOT NULL)",
    "sum(v + i * 2)",
    "max(upper(s))",
];

/// Not the same on rows in another order, or only close to DataFusion's answer once merged.
const LOOSE: &[&str] = &[
    "approx_median(x)",
    "any_value(x)",
    "approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY x)",
    "approx_percentile_cont_with_weight(1, 0.5) WITHIN GROUP (ORDER BY x)",
];

#[tokio::test]
async fn every_aggregate_is_what_the_batch_answers() {
    let seed = rand::rng().random_range(0..1_000_000);
    println!("seed {seed}");
    for append_only in [true, false] {
        for call in CALLS {
            against_the_oracle(&format!("SELECT k, {call} FROM t GROUP BY k"), append_only, seed).await;
        }
    }
}

#[test]
fn no_aggregate_is_forgotten() {
    for function in crate::expr::functions::registry().aggregates().filter(|f| f.name() != "grouping") {
        let named = |call: &&&str| call.starts_with(&format!("{}(", function.name()));
        let alias = function.aliases().iter().any(|a| CALLS.iter().any(|c| c.starts_with(&format!("{a}("))));
        assert!(alias || CALLS.iter().chain(LOOSE).find(named).is_some(), "{}", function.name());
    }
}

#[tokio::test]
async fn approximate_aggregates_run() {
    let rows = pretty::schema("k:varchar x:double").unwrap();
    for append_only in [true, false] {
        for call in LOOSE {
            let agg = plan(&format!("SELECT k, {call} FROM t GROUP BY k"), &rows, append_only).await;
            let mut bench = Bench::new(nodes(&agg, AggPhase::Single));
            assert_eq!(bench.run("+ a 1\n+ a 1\n+ a 1\nbarrier"), ["+ a 1.0", "barrier"], "{call}");
        }
    }
}

#[tokio::test]
async fn many_calls_and_groupings_are_what_the_batch_answers() {
    let all = "count(*), sum(v), avg(x), min(s), max(v), count(DISTINCT i), array_agg(v ORDER BY v)";
    for seed in 0..2 {
        for append_only in [true, false] {
            for sql in [
                format!("SELECT {all} FROM t"),
                format!("SELECT k, g, {all} FROM t GROUP BY k, g"),
                format!("SELECT x, {all} FROM t GROUP BY x"),
                format!("SELECT n, f, {all} FROM t GROUP BY n, f"),
                "SELECT count(*), sum(v), avg(n) FROM t".to_string(),
                "SELECT k, g, s FROM t GROUP BY k, g, s".to_string(),
                "SELECT k, count(DISTINCT v), count(DISTINCT v) FILTER (WHERE s = 'p'), count(DISTINCT s), \
                 sum(DISTINCT v) FILTER (WHERE v > 0), avg(DISTINCT v) FILTER (WHERE f) FROM t GROUP BY k"
                    .to_string(),
            ] {
                against_the_oracle(&sql, append_only, seed).await;
            }
        }
    }
}
