//! Joins by script, and against a nested loop: after each chunk the sum of all changes is the join of the rows that are
//! there.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::plan::{Expiry, HashJoin, JoinKind, JoinSide, JoinWatermark, Node, Operator};
use crate::stream::operator::check::{Bench, check, expr, node, parse};
use crate::stream::operator::{Emitted, Output};
use crate::types::{TableId, pretty};

const KINDS: [JoinKind; 8] = [
    JoinKind::Inner,
    JoinKind::Left,
    JoinKind::Right,
    JoinKind::Full,
    JoinKind::Semi,
    JoinKind::Anti,
    JoinKind::NotIn,
    JoinKind::Mark,
];

fn input() -> SchemaRef {
    pretty::schema("id:bigint k:varchar v:bigint").unwrap()
}

/// `l JOIN r ON l.k = r.k [AND condition]`, both with the key `id`.
fn join(kind: JoinKind, equal: bool, condition: Option<&str>) -> HashJoin {
    let pair = pretty::schema("lid:bigint lk:varchar lv:bigint rid:bigint rk:varchar rv:bigint").unwrap();
    let side = |table| JoinSide {
        on: if equal { vec![1] } else { vec![] },
        key: vec![0],
        append_only: false,
        state: TableId(table),
        expiry: None,
    };
    let output: Vec<usize> = if kind.emits_pairs() { (0..6).collect() } else { (0..3).collect() };
    HashJoin {
        kind,
        left: side(1),
        right: side(2),
        null_equal: false,
        condition: condition.map(|c| expr(c, &pair)),
        visible: output.len(),
        output,
        counts: (kind == JoinKind::NotIn).then_some(TableId(3)),
        watermarks: Vec::new(),
        bounds: None,
    }
}

fn plan(join: HashJoin) -> Node {
    let pair = pretty::schema("lid:bigint lk:varchar lv:bigint rid:bigint rk:varchar rv:bigint").unwrap();
    let mut fields: Vec<_> = join.output.iter().map(|c| pair.field(*c).clone()).collect();
    match join.kind {
        JoinKind::Mark => fields.push(Field::new("mark", DataType::Boolean, false)),
        JoinKind::Full => fields.push(Field::new("_side", DataType::Int16, false)),
        _ => {}
    }
    node(Operator::HashJoin(join), &[input(), input()], Arc::new(Schema::new(fields)))
}

#[test]
fn an_inner_join_pairs_rows() {
    check(
        plan(join(JoinKind::Inner, true, None)),
        "+ 1 a 10
         + 2 b 20
         + 3 . 30
         barrier
         port 1
         + 7 a 1
         + 8 a 2
         + 9 . 3
         barrier
         restart
         port 0
         - 1 a 10
         + 1 a 11
         barrier",
        "barrier
         + 1 a 10 7 a 1
         + 1 a 10 8 a 2
         barrier
         - 1 a 10 8 a 2
         - 1 a 10 7 a 1
         + 1 a 11 8 a 2
         + 1 a 11 7 a 1
         barrier",
    );
}

#[test]
fn a_full_join_pads_what_has_no_pair() {
    check(
        plan(join(JoinKind::Full, true, None)),
        "+ 1 a 10
         + 3 . 30
         port 1
         + 7 a 1
         + 9 . 3
         barrier
         restart
         port 0
         - 1 a 10
         barrier",
        "+ 1 a 10 . . . 1
         + 3 . 30 . . . 1
         - 1 a 10 . . . 1
         + 1 a 10 7 a 1 0
         + . . . 9 . 3 2
         barrier
         - 1 a 10 7 a 1 0
         + . . . 7 a 1 2
         barrier",
    );
}

#[test]
fn a_condition_decides_pair_by_pair() {
    check(
        plan(join(JoinKind::Left, true, Some("lv > rv"))),
        "+ 1 a 10
         + 2 a 20
         port 1
         + 7 a 15
         barrier
         restart
         + 8 a 5
         - 7 a 15
         barrier",
        "+ 1 a 10 . . .
         + 2 a 20 . . .
         - 2 a 20 . . .
         + 2 a 20 7 a 15
         barrier
         + 2 a 20 8 a 5
         - 1 a 10 . . .
         + 1 a 10 8 a 5
         - 2 a 20 7 a 15
         barrier",
    );
}

#[test]
fn a_pair_that_cannot_be_evaluated_is_none() {
    check(
        plan(join(JoinKind::Inner, true, Some("10 / rv > lv"))),
        "+ 1 a 1
         port 1
         + 7 a 0
         + 8 a 5
         - 7 a 0
         barrier",
        "dead lid=1: division by zero
         + 1 a 1 8 a 5
         barrier"
            .replace("lid=1", "id=1, k=a, v=1, id=7, k=a, v=0")
            .as_str(),
    );
}

#[test]
fn not_in_minds_nulls() {
    check(
        plan(join(JoinKind::NotIn, true, None)),
        "+ 1 a 10
         + 2 . 20
         port 1
         + 7 b 1
         + 8 . 1
         barrier
         restart
         - 8 . 1
         - 7 b 1
         + 9 a 1
         barrier",
        "+ 1 a 10
         + 2 . 20
         - 2 . 20
         - 1 a 10
         barrier
         + 1 a 10
         + 2 . 20
         - 1 a 10
         - 2 . 20
         barrier",
    );
}

type Row = (i64, Option<char>, i64);

fn text(row: &Row) -> String {
    format!("{} {} {}", row.0, row.1.map_or(".".into(), String::from), row.2)
}

/// What the join gives, row by row of its inputs.
fn nested_loop(join: &HashJoin, less: bool, left: &[Row], right: &[Row]) -> BTreeMap<String, i64> {
    let mut rows: BTreeMap<String, i64> = BTreeMap::new();
    let mut push = |row: String| *rows.entry(row).or_default() += 1;
    let pair = |l: &Row, r: &Row| {
        let equal = join.left.on.is_empty() || l.1 == r.1 && (l.1.is_some() || join.null_equal);
        equal && (!less || l.2 < r.2)
    };
    for l in left {
        let pairs: Vec<&Row> = right.iter().filter(|r| pair(l, r)).collect();
        let unknown = right.iter().any(|r| r.1.is_none()) || l.1.is_none() && !right.is_empty();
        match join.kind {
            JoinKind::Semi if !pairs.is_empty() => push(text(l)),
            JoinKind::Anti if pairs.is_empty() => push(text(l)),
            JoinKind::NotIn if pairs.is_empty() && !unknown => push(text(l)),
            JoinKind::Semi | JoinKind::Anti | JoinKind::NotIn => {}
            JoinKind::Mark => push(format!("{} {}", text(l), !pairs.is_empty())),
            kind => {
                let side = if kind == JoinKind::Full { " 0" } else { "" };
                pairs.iter().for_each(|r| push(format!("{} {}{side}", text(l), text(r))));
                match kind {
                    JoinKind::Left if pairs.is_empty() => push(format!("{} . . .", text(l))),
                    JoinKind::Full if pairs.is_empty() => push(format!("{} . . . 1", text(l))),
                    _ => {}
                }
            }
        }
    }
    if matches!(join.kind, JoinKind::Right | JoinKind::Full) {
        let side = if join.kind == JoinKind::Full { " 2" } else { "" };
        for r in right.iter().filter(|r| !left.iter().any(|l| pair(l, r))) {
            push(format!(". . . {}{side}", text(r)));
        }
    }
    rows
}

fn row(random: &mut StdRng, id: i64) -> Row {
    (
        id,
        (random.random_range(0..6) > 0).then(|| char::from(b'a' + random.random_range(0..4))),
        random.random_range(0..5),
    )
}

/// Random changes on both sides, only new rows on one that grows, with restarts and memory that holds only some of the keys.
fn follow(join: HashJoin, less: bool, cache_bytes: u64, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let at = format!(
        "{:?}, seed {seed}, grows {} {}, less {less}, null_equal {}, on {:?}",
        join.kind, join.left.append_only, join.right.append_only, join.null_equal, join.left.on
    );
    let mut bench = Bench::with_memory(plan(join.clone()), cache_bytes);
    let grows = [join.left.append_only, join.right.append_only];
    let mut sides: [Vec<Row>; 2] = Default::default();
    let mut sum: BTreeMap<String, i64> = BTreeMap::new();
    let mut next = 0;
    for step in 0..60 {
        let side = random.random_range(0..2);
        let mut changes = Vec::new();
        for _ in 0..random.random_range(1..8) {
            let rows = &mut sides[side];
            match random.random_range(0..3) {
                0 if !rows.is_empty() && !grows[side] => {
                    let old = rows.swap_remove(random.random_range(0..rows.len()));
                    changes.push(format!("- {}", text(&old)));
                    if random.random() {
                        let new = row(&mut random, old.0);
                        changes.push(format!("+ {}", text(&new)));
                        rows.push(new);
                    }
                }
                _ => {
                    next += 1;
                    let new = row(&mut random, next);
                    changes.push(format!("+ {}", text(&new)));
                    rows.push(new);
                }
            }
        }
        let lines: Vec<&str> = changes.iter().map(String::as_str).collect();
        let mut out = Output::default();
        bench.operator.on_chunk(side, parse(&input(), &lines), &mut out).unwrap();
        for emitted in &out.emitted {
            let Emitted::Chunk(chunk) = emitted else { continue };
            for line in pretty::rows(chunk).unwrap() {
                let (sign, row) = line.split_once(' ').unwrap();
                let count = sum.entry(row.into()).or_default();
                *count += if sign == "+" { 1 } else { -1 };
                assert!((0..=1).contains(count), "{at}: {line} at step {step}");
            }
        }
        sum.retain(|_, count| *count != 0);
        assert_eq!(sum, nested_loop(&join, less, &sides[0], &sides[1]), "{at} at step {step}: {changes:?}");
        match random.random_range(0..6) {
            0 => bench.barrier(&mut Output::default()),
            1 => {
                bench.barrier(&mut Output::default());
                bench.restart();
            }
            _ => {}
        }
    }
}

#[test]
fn every_kind_follows_its_inputs() {
    for kind in KINDS {
        for (seed, (equal, less, null_equal)) in [
            (true, false, false),
            (true, true, false),
            (true, false, true),
            (false, true, false),
            (false, false, false),
        ]
        .into_iter()
        .enumerate()
        {
            if kind == JoinKind::NotIn && (less || !equal || null_equal) {
                continue;
            }
            for round in 0..5 {
                let mut join = HashJoin { null_equal, ..join(kind, equal, less.then_some("lv < rv")) };
                (join.left.append_only, join.right.append_only) = (round & 1 > 0, round & 2 > 0);
                // Room for some of the keys, once for all.
                let cache_bytes = if round < 4 { 4 << 10 } else { 16 << 20 };
                follow(join, less, cache_bytes, seed as u64 * 100 + round);
            }
        }
    }
}

/// `l.t >= r.t - lower AND l.t <= r.t + upper`, in seconds, beside `l.k = r.k`.
fn interval_join(kind: JoinKind, lower: i64, upper: i64) -> Node {
    let input = pretty::schema("id:bigint k:varchar t:timestamp").unwrap();
    let pair = pretty::schema("lid:bigint lk:varchar lt:timestamp rid:bigint rk:varchar rt:timestamp").unwrap();
    let condition = format!("lt >= rt - INTERVAL '{lower}' SECOND AND lt <= rt + INTERVAL '{upper}' SECOND");
    let mut join = join(kind, true, None);
    let micros = 1_000_000;
    join.condition = Some(expr(&condition, &pair));
    join.left.expiry = Some(Expiry { column: 2, watermark: 2, offset_micros: -lower * micros, lateness_micros: 0 });
    join.right.expiry = Some(Expiry { column: 2, watermark: 2, offset_micros: -upper * micros, lateness_micros: 0 });
    join.bounds = Some(TableId(4));
    join.watermarks = vec![
        JoinWatermark { output: 2, left: (2, 0), right: (2, -lower * micros) },
        JoinWatermark { output: 5, left: (2, -upper * micros), right: (2, 0) },
    ];
    node(Operator::HashJoin(join), &[input.clone(), input], pair)
}

#[test]
fn time_frees_rows_and_late_ones_are_told() {
    check(
        interval_join(JoinKind::Left, 5, 1),
        "+ 1 a 1970-01-01T00:00:10
         + 2 a 1970-01-01T00:00:20
         port 1
         + 7 a 1970-01-01T00:00:14
         watermark 2 20
         port 0
         watermark 2 18
         barrier
         restart
         port 1
         + 8 a 1970-01-01T00:00:15
         + 9 a 1970-01-01T00:00:24
         port 0
         + 3 a 1970-01-01T00:00:17
         barrier
         watermark 2 end
         port 1
         watermark 2 end
         barrier",
        "+ 1 a 1970-01-01T00:00:10 . . .
         + 2 a 1970-01-01T00:00:20 . . .
         - 1 a 1970-01-01T00:00:10 . . .
         + 1 a 1970-01-01T00:00:10 7 a 1970-01-01T00:00:14
         watermark 2 15
         watermark 5 17
         barrier
         late + 8 a 1970-01-01T00:00:15
         - 2 a 1970-01-01T00:00:20 . . .
         + 2 a 1970-01-01T00:00:20 9 a 1970-01-01T00:00:24
         late + 3 a 1970-01-01T00:00:17
         barrier
         watermark 2 end
         watermark 5 end
         barrier",
    );
}

#[test]
fn what_time_frees_is_gone_from_memory_and_state() {
    for cache_bytes in [1 << 10, 16 << 20] {
        let mut bench = Bench::with_memory(interval_join(JoinKind::Inner, 5, 5), cache_bytes);
        for second in 0..200 {
            let rows: Vec<String> = (0..50)
                .map(|i| format!("+ {} k{i} 1970-01-01T00:{:02}:{:02}", second * 50 + i, second / 60, second % 60))
                .collect();
            let rows = rows.join("\n");
            let out = bench.run(&format!(
                "port 0\n{rows}\nport 1\n{rows}\nwatermark 2 {second}\nport 0\nwatermark 2 {second}\nbarrier"
            ));
            // Each row meets those of its key up to 5 seconds before.
            let pairs = out.iter().filter(|line| line.starts_with('+')).count();
            assert_eq!(pairs, 50 * (1 + 2 * 5.min(second)), "in second {second}");
            if second % 37 == 36 {
                bench.restart();
            }
        }
        let schema = pretty::schema("id:bigint k:varchar t:timestamp").unwrap();
        let rows = |bench: &Bench, table| bench.rows(TableId(table), &schema);
        assert_eq!((rows(&bench, 1), rows(&bench, 2)), (300, 300));
        bench.run("watermark 2 end\nport 1\nwatermark 2 end\nbarrier");
        assert_eq!((rows(&bench, 1), rows(&bench, 2)), (0, 0));
    }
}

#[test]
fn of_right_rows_that_stay_one_a_key_is_kept() {
    let mut join = join(JoinKind::Semi, true, None);
    join.right.append_only = true;
    let mut bench = Bench::new(plan(join));
    let out = bench.run(
        "+ 1 a 1
         port 1
         + 7 a 1
         + 8 a 1
         + 9 b 1
         + 10 . 1
         barrier
         restart
         + 11 a 1
         port 0
         + 2 b 1
         - 1 a 1
         + 3 a 1
         barrier",
    );
    assert_eq!(out, ["+ 1 a 1", "barrier", "+ 2 b 1", "- 1 a 1", "+ 3 a 1", "barrier"]);
    assert_eq!(bench.rows(TableId(2), &input()), 2);
}
