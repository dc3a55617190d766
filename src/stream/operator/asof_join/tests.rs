//! ASOF joins by script, and against a nested loop: after each barrier the sum of all changes is the join of what is
//! there.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::plan::{AsofJoin, Node, Operator, RowOrder, SortColumn};
use crate::stream::operator::Emitted;
use crate::stream::operator::Output;
use crate::stream::operator::check::{Bench, check, node, parse};
use crate::types::{TableId, pretty};

fn input() -> SchemaRef {
    pretty::schema("id:bigint k:varchar v:bigint").unwrap()
}

#[derive(Clone, Copy)]
enum Op {
    GtEq,
    Gt,
    LtEq,
    Lt,
}

/// `l ASOF [LEFT] JOIN r ON l.k = r.k AND l.v op r.v`, both with the key `id`.
fn join(op: Op, outer: bool) -> Node {
    let backward = matches!(op, Op::GtEq | Op::Gt);
    let side = |descending| RowOrder {
        partition: vec![1],
        order: vec![SortColumn { column: 2, descending, nulls_first: false }],
        key: vec![0],
        window: None,
        frees: false,
    };
    let join = AsofJoin {
        outer,
        left: side(!backward),
        right: side(backward),
        strict: matches!(op, Op::Gt | Op::Lt),
        left_state: TableId(1),
        right_state: TableId(2),
        output: vec![0, 1, 2, 3, 5],
    };
    let output = pretty::schema("id:bigint k:varchar v:bigint rid:bigint rv:bigint").unwrap();
    let nullable = output.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
    node(Operator::AsofJoin(join), &[input(), input()], Arc::new(Schema::new(nullable.collect::<Vec<_>>())))
}

#[test]
fn a_new_right_row_takes_over_up_to_its_successor() {
    check(
        join(Op::GtEq, false),
        "+ 1 a 10
         + 2 a 20
         + 3 a 30
         + 4 b 20
         + 5 . 20
         + 6 a .
         port 1
         + 1 a 10
         + 2 a 25
         + 9 . 1
         + 8 a .
         barrier
         + 3 a 15
         barrier
         restart
         - 3 a 15
         + 3 a 20
         barrier
         - 3 a 20
         - 1 a 10
         + 1 a 9
         barrier
         - 1 a 9
         barrier",
        "+ 1 a 10 1 10
         + 2 a 20 1 10
         + 3 a 30 2 25
         barrier
         - 2 a 20 1 10
         + 2 a 20 3 15
         barrier
         - 2 a 20 3 15
         + 2 a 20 3 20
         barrier
         - 1 a 10 1 10
         - 2 a 20 3 20
         + 1 a 10 1 9
         + 2 a 20 1 9
         barrier
         - 1 a 10 1 9
         - 2 a 20 1 9
         barrier",
    );
}

#[test]
fn an_outer_join_pads_what_meets_nothing() {
    check(
        join(Op::Lt, true),
        "+ 1 a 10
         + 2 a .
         + 3 . 10
         barrier
         port 1
         + 1 a 10
         + 2 a 11
         + 3 a 12
         barrier
         port 0
         - 1 a 10
         + 1 a 11
         - 2 a .
         barrier
         restart
         - 1 a 11
         - 3 . 10
         barrier",
        "+ 1 a 10 . .
         + 2 a . . .
         + 3 . 10 . .
         barrier
         - 1 a 10 . .
         + 1 a 10 2 11
         barrier
         - 1 a 10 2 11
         - 2 a . . .
         + 1 a 11 3 12
         barrier
         - 1 a 11 3 12
         - 3 . 10 . .
         barrier",
    );
}

#[test]
fn what_changes_and_changes_back_is_silent() {
    check(
        join(Op::GtEq, false),
        "+ 1 a 10
         port 1
         + 1 a 5
         barrier
         - 1 a 5
         + 1 a 5
         + 2 a 7
         - 2 a 7
         port 0
         - 1 a 10
         + 1 a 10
         barrier",
        "+ 1 a 10 1 5
         barrier
         barrier",
    );
}

type Row = (i64, Option<&'static str>, Option<i64>);

/// What the join of these rows is, as text.
fn expected(op: Op, outer: bool, left: &[Row], right: &[Row]) -> Vec<String> {
    let meets = |l: i64, r: i64| match op {
        Op::GtEq => l >= r,
        Op::Gt => l > r,
        Op::LtEq => l <= r,
        Op::Lt => l < r,
    };
    let text = |v: Option<i64>| v.map_or(".".to_string(), |v| v.to_string());
    let mut rows = Vec::new();
    for (id, k, v) in left {
        let candidates = right.iter().filter(|r| k.is_some() && r.1 == *k);
        let candidates = candidates.filter(|r| v.zip(r.2).is_some_and(|(l, r)| meets(l, r)));
        // Of ties the first by id.
        let nearest = candidates.min_by_key(|r| ((v.unwrap() - r.2.unwrap()).abs(), r.0));
        if nearest.is_none() && !outer {
            continue;
        }
        let (rid, rv) = (text(nearest.map(|r| r.0)), text(nearest.and_then(|r| r.2)));
        rows.push(format!("{id} {} {} {rid} {rv}", k.unwrap_or("."), text(*v)));
    }
    rows.sort();
    rows
}

#[test]
fn any_changes_keep_it_the_join() {
    for (seed, op, outer) in
        [(1, Op::GtEq, false), (2, Op::GtEq, true), (3, Op::Gt, true), (4, Op::LtEq, false), (5, Op::Lt, true)]
    {
        let mut random = StdRng::seed_from_u64(seed);
        let mut bench = Bench::new(join(op, outer));
        let mut sides: [Vec<Row>; 2] = Default::default();
        let mut sum: BTreeMap<String, i64> = BTreeMap::new();
        for step in 0..150 {
            for _ in 0..random.random_range(1..4) {
                let port = random.random_range(0..2usize);
                let mut lines = Vec::new();
                for _ in 0..random.random_range(1..12) {
                    let rows = &mut sides[port];
                    let text = |(id, k, v): &Row| {
                        format!("{id} {} {}", k.unwrap_or("."), v.map_or(".".into(), |v: i64| v.to_string()))
                    };
                    if rows.len() > 40 || !rows.is_empty() && random.random_bool(0.4) {
                        let row = rows.swap_remove(random.random_range(0..rows.len()));
                        lines.push(format!("- {}", text(&row)));
                    } else {
                        let k = [Some("a"), Some("b"), None][random.random_range(0..20usize) / 9];
                        let v = (!random.random_bool(0.05)).then(|| random.random_range(-20..20));
                        let id = (0..).find(|id| rows.iter().all(|r| r.0 != *id)).unwrap();
                        rows.push((id, k, v));
                        lines.push(format!("+ {}", text(&rows[rows.len() - 1])));
                    }
                }
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                bench.operator.on_chunk(port, parse(&input(), &lines), &mut Output::default()).unwrap();
            }
            let mut out = Output::default();
            bench.barrier(&mut out);
            for emitted in &out.emitted {
                let Emitted::Chunk(chunk) = emitted else { continue };
                for (row, text) in pretty::rows(chunk).unwrap().into_iter().enumerate() {
                    let count = sum.entry(text[2..].to_string()).or_default();
                    *count += chunk.weight(row);
                    assert!(*count >= 0, "seed {seed} step {step}: {text}");
                }
            }
            sum.retain(|_, count| *count != 0);
            let got: Vec<String> =
                sum.iter().flat_map(|(row, n)| std::iter::repeat_n(row.clone(), *n as usize)).collect();
            assert_eq!(got, expected(op, outer, &sides[0], &sides[1]), "seed {seed} step {step}");
            if step % 40 == 39 {
                bench.restart();
            }
        }
    }
}
