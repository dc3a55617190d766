//! Sessions by script: partition `k`, time `t`, stream key `id`, gap 10 s.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};

use crate::plan::{self, Node, Operator};
use crate::stream::operator::check::{Bench, check, node};
use crate::types::{TableId, pretty};

fn session(emit_on_close: bool) -> Node {
    late_session(emit_on_close, 0)
}

/// Closed sessions take rows for so many seconds.
fn late_session(emit_on_close: bool, lateness: i64) -> Node {
    let input = pretty::schema("id:bigint k:varchar t:timestamp").unwrap();
    let bounds = ["window_start", "window_end"].map(|n| Field::new(n, input.field(2).data_type().clone(), true));
    let fields: Vec<Field> = input.fields().iter().map(|f| f.as_ref().clone()).chain(bounds).collect();
    let operator = plan::SessionWindow {
        time: 2,
        partition: vec![1],
        gap_micros: 10_000_000,
        key: vec![0],
        emit_on_close,
        lateness_micros: lateness * 1_000_000,
        rows: TableId(1),
        sessions: TableId(2),
        open: emit_on_close.then_some(TableId(3)),
    };
    node(Operator::SessionWindow(operator), &[input], Arc::new(Schema::new(fields)))
}

/// `@12` is twelve seconds after midnight.
fn at(text: &str) -> String {
    let word = |w: &str| match w.strip_prefix('@') {
        Some(seconds) => {
            let seconds: u32 = seconds.parse().unwrap();
            format!("1970-01-01T00:{:02}:{:02}", seconds / 60, seconds % 60)
        }
        None => w.to_string(),
    };
    text.lines().map(|l| l.split_whitespace().map(word).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn sessions_grow_join_and_part() {
    check(
        session(false),
        &at("+ 1 a @0
             + 2 a @20
             + 3 b @5
             + 4 a .
             barrier
             restart
             + 5 a @10
             barrier
             + 6 a @15
             barrier
             restart
             - 5 a @10
             barrier
             - 2 a @20
             + 2 a @8
             barrier
             - 4 a .
             + 4 a @25
             - 3 b @5
             + 3 b .
             barrier"),
        &at("+ 1 a @0 @0 @10
             + 2 a @20 @20 @30
             + 3 b @5 @5 @15
             + 4 a . . .
             barrier
             + 5 a @10 @10 @20
             barrier
             - 5 a @10 @10 @20
             - 2 a @20 @20 @30
             + 5 a @10 @10 @30
             + 6 a @15 @10 @30
             + 2 a @20 @10 @30
             barrier
             - 5 a @10 @10 @30
             - 6 a @15 @10 @30
             - 2 a @20 @10 @30
             + 6 a @15 @15 @30
             + 2 a @20 @15 @30
             barrier
             - 1 a @0 @0 @10
             - 6 a @15 @15 @30
             - 2 a @20 @15 @30
             + 1 a @0 @0 @25
             + 2 a @8 @0 @25
             + 6 a @15 @0 @25
             barrier
             - 4 a . . .
             + 4 a @25 @25 @35
             - 3 b @5 @5 @15
             + 3 b . . .
             barrier"),
    );
}

#[test]
fn what_comes_and_goes_within_an_epoch_is_nothing() {
    check(
        session(false),
        &at("+ 1 a @0
             - 1 a @0
             + 2 b .
             - 2 b .
             barrier
             + 3 a @3
             barrier
             - 3 a @3
             + 3 a @3
             - 3 a @3
             barrier
             + 4 a @3
             barrier"),
        &at("barrier
             + 3 a @3 @3 @13
             barrier
             - 3 a @3 @3 @13
             barrier
             + 4 a @3 @3 @13
             barrier"),
    );
}

#[test]
fn a_session_is_sent_once_when_it_closes() {
    check(
        session(true),
        &at("+ 1 a @0
             + 2 a @9
             + 3 b @3
             watermark 2 13
             + 4 b @12
             barrier
             + 5 a @14
             commit
             barrier
             restart
             + 6 a @12
             + 7 c @40
             watermark 2 24
             barrier
             commit
             barrier
             watermark 2 end
             barrier
             commit
             barrier"),
        &at("late + 4 b @12
             barrier
             + 3 b @3 @3 @13
             watermark 4 13.000001
             barrier
             late + 6 a @12
             barrier
             + 1 a @0 @0 @24
             + 2 a @9 @0 @24
             + 5 a @14 @0 @24
             watermark 4 24.000001
             barrier
             barrier
             + 7 c @40 @40 @50
             watermark 4 end
             barrier"),
    );
}

#[test]
fn a_late_row_replaces_what_was_sent() {
    check(
        late_session(true, 20),
        &at("+ 1 a @0
             + 2 a @20
             + 3 b @5
             watermark 2 30
             barrier
             commit
             barrier
             restart
             + 4 a @12
             + 5 a @9
             barrier
             + 6 a @25
             - 6 a @25
             + 7 c @11
             barrier
             + 8 a @29
             barrier
             - 7 c @11
             barrier
             restart
             watermark 2 40
             barrier
             commit
             barrier
             + 9 a @21
             barrier
             watermark 2 end
             barrier
             commit
             barrier
             + 10 a @50"),
        &at("barrier
             + 1 a @0 @0 @10
             + 3 b @5 @5 @15
             + 2 a @20 @20 @30
             watermark 4 10.000001
             barrier
             late + 4 a @12
             late + 5 a @9
             - 2 a @20 @20 @30
             + 4 a @12 @12 @30
             + 2 a @20 @12 @30
             barrier
             late + 6 a @25
             late - 6 a @25
             late + 7 c @11
             + 7 c @11 @11 @21
             barrier
             late + 8 a @29
             - 4 a @12 @12 @30
             - 2 a @20 @12 @30
             barrier
             late - 7 c @11
             - 7 c @11 @11 @21
             barrier
             barrier
             + 4 a @12 @12 @39
             + 2 a @20 @12 @39
             + 8 a @29 @12 @39
             watermark 4 20.000001
             barrier
             late + 9 a @21
             + 9 a @21 @12 @39
             barrier
             barrier
             watermark 4 end
             barrier
             late + 10 a @50"),
    );
}

#[test]
fn each_session_is_closed_by_the_one_actor_that_owns_it() {
    let mut bench = Bench::new(session(true));
    let rows: Vec<String> = (0..40).map(|k| format!("+ {k} k{k} @1")).collect();
    assert_eq!(bench.run(&at(&format!("{}\nbarrier", rows.join("\n")))), ["barrier"]);
    let mut four = bench.restart_as(4);
    let mut sent = 0;
    for actor in &mut four {
        let of_actor = actor.run("watermark 2 11\nbarrier\ncommit\nbarrier");
        assert!(of_actor.len() < 43, "one actor of four closed all");
        sent += of_actor.iter().filter(|line| line.starts_with('+')).count();
    }
    assert_eq!(sent, 40);
    let mut one = four.remove(0).restart_as(1).remove(0);
    assert_eq!(one.run(&at("+ 1 k1 @5\nbarrier")).first().map(String::as_str), Some("late + 1 k1 1970-01-01T00:00:05"));
}
