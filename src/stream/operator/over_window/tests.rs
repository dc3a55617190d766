//! OverWindow by script.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::{WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion::scalar::ScalarValue;
use rand::{Rng, SeedableRng};

use crate::plan::{self, Expr, Frame, Node, Operator, RowOrder, SortColumn, WindowCall};
use crate::stream::operator::check::{Bench, check, expr, node};
use crate::types::{TableId, pretty};

/// The calls over `v`, ordered by `v` in each `k`; `id` is the stream key.
fn over(calls: &[(&str, DataType, WindowFrame)]) -> Node {
    let input = pretty::schema("k:varchar v:bigint id:bigint").unwrap();
    let call = |(sql, data_type, frame): &(&str, DataType, WindowFrame)| {
        let (function, args) = sql.trim_end_matches(')').split_once('(').unwrap();
        let args: Vec<Expr> = args.split(',').filter(|a| !a.is_empty()).map(|a| expr(a, &input)).collect();
        WindowCall {
            function: function.into(),
            aggregate: crate::expr::functions::window(function).is_none(),
            args,
            filter: None,
            distinct: false,
            ignore_nulls: false,
            frame: Frame::new(frame),
            field: Arc::new(Field::new(function, data_type.clone(), true)),
        }
    };
    let operator = plan::OverWindow {
        rows: RowOrder {
            partition: vec![0],
            order: vec![SortColumn { column: 1, descending: false, nulls_first: false }],
            key: vec![2],
            window: None,
        },
        calls: calls.iter().map(call).collect(),
        append_only: false,
        state: TableId(1),
    };
    let output = operator.output(&input);
    node(Operator::OverWindow(operator), &[input], output)
}

fn rows(before: u64) -> WindowFrame {
    let start = WindowFrameBound::Preceding(ScalarValue::UInt64(Some(before)));
    WindowFrame::new_bounds(WindowFrameUnits::Rows, start, WindowFrameBound::CurrentRow)
}

#[test]
fn only_rows_whose_results_differ_go_on() {
    check(
        over(&[("lag(v)", DataType::Int64, rows(0)), ("sum(v)", DataType::Int64, rows(1))]),
        "+ a 1 1
         + a 5 2
         + b . 3
         barrier
         + a 3 4
         barrier
         restart
         - a 1 1
         + a 9 5
         - a 9 5
         barrier
         - a 5 2
         + a 5 2
         - b . 3
         barrier
         watermark 1 5
         watermark 0 6
         barrier",
        "+ a 1 1 . 1
         + a 5 2 1 6
         + b . 3 . .
         barrier
         - a 5 2 1 6
         + a 3 4 1 4
         + a 5 2 3 8
         barrier
         - a 1 1 . 1
         - a 3 4 1 4
         + a 3 4 . 3
         barrier
         - a 5 2 3 8
         - b . 3 . .
         + a 5 2 3 8
         barrier
         watermark 0 6
         barrier",
    );
}

#[test]
fn a_row_that_moves_goes_before_it_comes() {
    check(
        over(&[("row_number()", DataType::UInt64, rows(0))]),
        "+ a 4 1
         + a 6 2
         barrier
         - a 6 2
         + a 1 2
         barrier",
        "+ a 4 1 1
         + a 6 2 2
         barrier
         - a 6 2 2
         - a 4 1 1
         + a 1 2 1
         + a 4 1 2
         barrier",
    );
}

fn rows_around(before: u64, after: u64) -> WindowFrame {
    let bound = |n| ScalarValue::UInt64(Some(n));
    let (start, end) = (WindowFrameBound::Preceding(bound(before)), WindowFrameBound::Following(bound(after)));
    WindowFrame::new_bounds(WindowFrameUnits::Rows, start, end)
}

/// Random changes, with restarts: what came out adds up to what comes out of the rows that are there, put in at once.
#[test]
fn random_changes_add_up() {
    let int = DataType::Int64;
    let windows: [&[(&str, DataType, WindowFrame)]; 4] = [
        &[("lag(v)", int.clone(), rows(0)), ("sum(v)", int.clone(), rows_around(2, 1))],
        &[("lead(v,2)", int.clone(), rows(0)), ("max(v)", int.clone(), rows(1))],
        &[("sum(v)", int.clone(), WindowFrame::new(Some(false)))],
        &[("lag(v,-1)", int, rows(0)), ("row_number()", DataType::UInt64, rows(0))],
    ];
    let reaches = windows.map(|w| match &over(w).operator {
        Operator::OverWindow(operator) => operator.reach(),
        _ => None,
    });
    assert_eq!(reaches, [Some((2, 1)), Some((1, 2)), None, None]);
    for seed in 0..40u64 {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let calls = windows[random.random_range(0..windows.len())];
        let mut bench = Bench::new(over(calls));
        let mut there: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        let mut view: BTreeMap<String, i64> = BTreeMap::new();
        let mut id = 0;
        for _ in 0..15 {
            let mut script = String::new();
            for _ in 0..random.random_range(0..12) {
                if !there.is_empty() && random.random_range(0..5) < 2 {
                    let at = random.random_range(0..there.len());
                    let (id, (k, v)) = there.iter().nth(at).map(|(id, row)| (*id, *row)).unwrap();
                    there.remove(&id);
                    script.push_str(&format!("- {k} {v} {id}\n"));
                } else {
                    id += 1;
                    let (k, v) = (random.random_range(0..2), random.random_range(0..50));
                    there.insert(id, (k, v));
                    script.push_str(&format!("+ {k} {v} {id}\n"));
                }
            }
            script.push_str("barrier\n");
            if random.random_range(0..4) == 0 {
                script.push_str("restart\n");
            }
            add(&mut view, &bench.run(&script), seed);
            let all: Vec<String> = there.iter().map(|(id, (k, v))| format!("+ {k} {v} {id}")).collect();
            let mut expected = BTreeMap::new();
            add(&mut expected, &Bench::new(over(calls)).run(&format!("{}\nbarrier", all.join("\n"))), seed);
            assert_eq!(view, expected, "seed {seed}");
        }
    }
}

fn add(view: &mut BTreeMap<String, i64>, lines: &[String], seed: u64) {
    for line in lines.iter().filter(|l| *l != "barrier") {
        let (sign, row) = line.split_at(1);
        let weight = view.entry(row.trim().to_string()).or_default();
        *weight += if sign == "+" { 1 } else { -1 };
        assert!((0..=1).contains(weight), "seed {seed}: {line}");
    }
    view.retain(|_, weight| *weight != 0);
}
