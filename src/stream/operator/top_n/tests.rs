//! TopN by script, and against a plain model of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use rand::{Rng, SeedableRng};

use super::leading::{Leading, Limit, RowKey};
use crate::plan::over::rank_type;
use crate::plan::{self, Node, Operator, Rank, RowOrder, SortColumn};
use crate::stream::operator::check::{Bench, check, node};
use crate::types::{TableId, pretty};

struct Case<'a> {
    rank: Rank,
    offset: u64,
    last: u64,
    shown: &'a [Rank],
    append_only: bool,
    sifts: bool,
}

/// By `v` descending in each `k`; `id` is the stream key.
fn top(case: &Case<'_>) -> Node {
    let input = pretty::schema("k:varchar v:bigint id:bigint").unwrap();
    let ranks = case.shown.iter().map(|r| Arc::new(Field::new(r.to_string(), rank_type(), false)));
    let output: SchemaRef = Arc::new(Schema::new(input.fields().iter().cloned().chain(ranks).collect::<Vec<_>>()));
    let rows = RowOrder {
        partition: vec![0],
        order: vec![SortColumn { column: 1, descending: true, nulls_first: false }],
        key: vec![2],
        window: None,
        frees: false,
    };
    let top = plan::TopN {
        rows,
        rank: case.rank,
        offset: case.offset,
        last: case.last,
        shown: case.shown.to_vec(),
        append_only: case.append_only,
        state: (!case.sifts).then_some(TableId(1)),
    };
    node(Operator::TopN(top), &[input], output)
}

const TWO: Case<'static> =
    Case { rank: Rank::RowNumber, offset: 0, last: 2, shown: &[], append_only: false, sifts: false };

#[test]
fn the_next_row_moves_up_when_one_goes() {
    let script = "+ a 5 1
         + a 7 2
         + a 3 3
         + b . 4
         barrier
         + a 6 5
         - a 7 2
         barrier
         restart
         - a 6 5
         + a 4 6
         barrier
         - a 5 1
         + a 5 1
         + a 9 7
         - a 9 7
         barrier
         watermark 1 5
         watermark 0 7
         barrier";
    check(
        top(&TWO),
        script,
        "+ a 7 2
         + a 5 1
         + b . 4
         barrier
         - a 7 2
         + a 6 5
         barrier
         - a 6 5
         + a 4 6
         barrier
         - a 5 1
         + a 5 1
         barrier
         watermark 0 7
         barrier",
    );
}

#[test]
fn ranks_that_are_shown_change_with_the_rows_before() {
    check(
        top(&Case { rank: Rank::Rank, last: 2, shown: &[Rank::Rank, Rank::DenseRank], ..TWO }),
        "+ a 5 1
         + a 5 2
         + a 3 3
         barrier
         + a 8 4
         barrier
         - a 8 4
         - a 5 1
         barrier",
        "+ a 5 1 1 1
         + a 5 2 1 1
         barrier
         - a 5 1 1 1
         - a 5 2 1 1
         + a 8 4 1 1
         + a 5 1 2 2
         + a 5 2 2 2
         barrier
         - a 8 4 1 1
         - a 5 1 2 2
         - a 5 2 2 2
         + a 5 2 1 1
         + a 3 3 2 2
         barrier",
    );
}

#[test]
fn an_offset_hides_the_first() {
    check(
        top(&Case { offset: 1, ..TWO }),
        "+ a 5 1
         barrier
         + a 7 2
         barrier
         + a 6 3
         barrier
         - a 7 2
         barrier",
        "barrier
         + a 5 1
         barrier
         - a 5 1
         + a 6 3
         barrier
         - a 6 3
         + a 5 1
         barrier",
    );
}

#[test]
fn input_that_grows_keeps_only_what_counts() {
    let case = Case { append_only: true, ..TWO };
    let mut bench = Bench::new(top(&case));
    assert_eq!(bench.run("+ a 5 1\n+ a 1 2\n+ a 4 3\n+ a 0 4\nbarrier"), ["+ a 5 1", "+ a 4 3", "barrier"]);
    assert_eq!(bench.run("restart\n+ a 3 5\n+ a 9 6\n+ b 1 7\nbarrier"), ["- a 4 3", "+ a 9 6", "+ b 1 7", "barrier"]);
    assert_eq!(bench.run("+ a 9 8\nbarrier\nrestart\n+ a 8 9\nbarrier"), ["- a 5 1", "+ a 9 8", "barrier", "barrier"]);
}

#[test]
fn deduplication_keeps_one_row() {
    let case = Case { last: 1, append_only: true, shown: &[Rank::RowNumber], ..TWO };
    check(
        top(&case),
        "+ a 5 1
         + a 7 2
         + . 1 3
         barrier
         restart
         + a 6 4
         + . 2 5
         + . 1 6
         + b . 7
         barrier
         + b . 8
         + b 0 9
         barrier",
        "+ a 7 2 1
         + . 1 3 1
         barrier
         - . 1 3 1
         + . 2 5 1
         + b . 7 1
         barrier
         - b . 7 1
         + b 0 9 1
         barrier",
    );
}

#[test]
fn sifting_only_ever_adds() {
    check(
        top(&Case { append_only: true, sifts: true, ..TWO }),
        "+ a 5 1
         + a 1 2
         + a 4 3
         barrier
         + a 3 4
         + a 9 5
         barrier
         restart
         + a 0 6
         barrier",
        "+ a 5 1
         + a 4 3
         barrier
         + a 9 5
         barrier
         + a 0 6
         barrier",
    );
}

#[test]
fn closed_windows_are_forgotten() {
    let input = pretty::schema("w:timestamp v:bigint id:bigint").unwrap();
    for (last, append_only) in [(2, true), (2, false), (1, true)] {
        let rows = RowOrder {
            partition: vec![0],
            order: vec![SortColumn { column: 1, descending: true, nulls_first: false }],
            key: vec![2],
            window: Some(0),
            frees: true,
        };
        let top = plan::TopN {
            rows,
            rank: Rank::RowNumber,
            offset: 0,
            last,
            shown: Vec::new(),
            append_only,
            state: Some(TableId(1)),
        };
        let mut bench = Bench::new(node(Operator::TopN(top), std::slice::from_ref(&input), input.clone()));
        let ten = "1970-01-01T00:00:10";
        let twenty = "1970-01-01T00:00:20";
        let first = bench.run(&format!("+ {ten} 5 1\n+ {twenty} 6 2\nwatermark 0 20\nbarrier"));
        assert_eq!(
            first,
            [format!("+ {ten} 5 1"), format!("+ {twenty} 6 2"), "watermark 0 20".into(), "barrier".into()]
        );
        // Whatever would come for the closed window finds nothing there; the open one is as it was.
        let then = bench.run(&format!("restart\n+ {ten} 9 3\n+ {twenty} 7 4\nbarrier"));
        let moved = format!("- {twenty} 6 2");
        assert!(then.contains(&format!("+ {ten} 9 3")) && !then.contains(&format!("- {ten} 5 1")), "{then:?}");
        assert_eq!(then.contains(&moved), last == 1, "{then:?}");
        assert_eq!(bench.run("watermark 0 end\nbarrier").len(), 2);
        assert_eq!(bench.rows_of(TableId(1)), 0);
    }
}

/// Random changes, with restarts: after each epoch what came out adds up to the first rows of what is there.
#[test]
fn random_changes_add_up() {
    for seed in 0..60u64 {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let rank = [Rank::RowNumber, Rank::Rank, Rank::DenseRank][random.random_range(0..3)];
        let case = Case {
            rank,
            offset: random.random_range(0..3),
            last: random.random_range(0..6),
            shown: [&[][..], &[Rank::RowNumber], &[Rank::Rank, Rank::DenseRank]][random.random_range(0..3)],
            append_only: random.random(),
            sifts: false,
        };
        let mut bench = Bench::new(top(&case));
        let mut there: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        let mut view: BTreeMap<String, i64> = BTreeMap::new();
        let mut id = 0;
        for _ in 0..25 {
            let mut script = String::new();
            for _ in 0..random.random_range(0..80) {
                if !case.append_only && !there.is_empty() && random.random_range(0..2) == 0 {
                    let at = random.random_range(0..there.len());
                    let (id, (k, v)) = there.iter().nth(at).map(|(id, row)| (*id, *row)).unwrap();
                    there.remove(&id);
                    script.push_str(&format!("- {k} {v} {id}\n"));
                } else {
                    id += 1;
                    let (k, v) = (random.random_range(0..2), random.random_range(0..8));
                    there.insert(id, (k, v));
                    script.push_str(&format!("+ {k} {v} {id}\n"));
                }
                if random.random_range(0..30) == 0 {
                    script.push_str("watermark 1 0\n");
                }
            }
            script.push_str("barrier\n");
            if random.random_range(0..4) == 0 {
                script.push_str("restart\n");
            }
            for line in bench.run(&script).iter().filter(|l| *l != "barrier") {
                let (sign, row) = line.split_at(1);
                let weight = view.entry(row.trim().to_string()).or_default();
                *weight += if sign == "+" { 1 } else { -1 };
                assert!((0..=1).contains(weight), "seed {seed}: {line}");
            }
            view.retain(|_, weight| *weight != 0);
            let shown: Vec<&String> = view.keys().collect();
            let expected = expected(&case, &there);
            assert_eq!(shown, expected.iter().collect::<Vec<_>>(), "seed {seed}");
        }
    }
}

fn expected(case: &Case<'_>, there: &BTreeMap<i64, (i64, i64)>) -> Vec<String> {
    let mut lines = Vec::new();
    for k in 0..2 {
        let mut rows: Vec<(i64, i64)> =
            there.iter().filter(|(_, row)| row.0 == k).map(|(id, row)| (row.1, *id)).collect();
        rows.sort_by_key(|(v, id)| (-v, *id));
        for (i, (v, id)) in rows.iter().enumerate() {
            let rank = rows.iter().filter(|r| r.0 > *v).count() as u64 + 1;
            let mut before: Vec<i64> = rows.iter().map(|r| r.0).filter(|w| w > v).collect();
            before.dedup();
            let of = |r: Rank| match r {
                Rank::RowNumber => i as u64 + 1,
                Rank::Rank => rank,
                Rank::DenseRank => before.len() as u64 + 1,
            };
            if of(case.rank) <= case.last && i as u64 + 1 > case.offset {
                let ranks: Vec<String> = case.shown.iter().map(|r| format!(" {}", of(*r))).collect();
                lines.push(format!("{k} {v} {id}{}", ranks.concat()));
            }
        }
    }
    lines.sort();
    lines
}

/// Keys of one letter for the order and one for the tie.
fn keys(text: &str) -> Vec<RowKey> {
    text.split_whitespace().map(|k| RowKey::new(k.as_bytes(), 1)).collect()
}

fn shown(leading: &Leading, limit: Limit) -> String {
    let keys: Vec<String> =
        leading.counting(limit).map(|(k, _, _)| String::from_utf8_lossy(&k.bytes).into_owned()).collect();
    keys.join(" ")
}

#[test]
fn ties_are_read_whole_or_not_at_all() {
    let cases = [
        // rank, last, read, all, taken, what counts, from where on more is unread
        (Rank::RowNumber, 2, "a1 a2 b1", false, true, "a1 a2", Some("b1\0")),
        (Rank::Rank, 2, "a1 a2 b1", false, true, "a1 a2", Some("b")),
        (Rank::Rank, 2, "a1 a2", false, false, "", Some("")),
        (Rank::DenseRank, 1, "a1 b1 b2", false, true, "a1", Some("b")),
        (Rank::DenseRank, 2, "a1 b1 b2", true, true, "a1 b1 b2", None),
        (Rank::Rank, 2, "", true, true, "", None),
    ];
    for (rank, last, read, all, taken, counts, unread) in cases {
        let limit = Limit { rank, last };
        let mut leading = Leading::unread(b"");
        assert_eq!(leading.read(keys(read), all, limit), taken, "{rank} {read}");
        assert_eq!(shown(&leading, limit), counts, "{rank} {read}");
        assert_eq!(leading.unread_from(), unread.map(str::as_bytes), "{rank} {read}");
    }
}

#[test]
fn what_cannot_count_is_not_admitted() {
    let cases = [
        (Rank::RowNumber, 2, "a1 b1 c1", "a1 b1", "b0", "b2"),
        (Rank::Rank, 2, "a1 b1 b2 c1", "a1 b1 b2", "b9", "c0"),
        (Rank::Rank, 1, "a1 a2 b1", "a1 a2", "a9", "b0"),
        (Rank::DenseRank, 2, "a1 a2 b1 c1", "a1 a2 b1", "b9", "c0"),
    ];
    for (rank, last, inserted, counts, yes, no) in cases {
        let limit = Limit { rank, last };
        let mut leading = Leading::empty();
        keys(inserted).into_iter().for_each(|key| leading.insert(key, (0, 0)));
        leading.trim(limit, true);
        assert_eq!(shown(&leading, limit), counts);
        assert!(leading.admits(yes.as_bytes(), 1, limit), "{rank} {yes}");
        assert!(!leading.admits(no.as_bytes(), 1, limit), "{rank} {no}");
    }
}
