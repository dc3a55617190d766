//! Temporal filters by script: value `t`, stream key `id`.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};

use crate::plan::{self, Node, Operator};
use crate::stream::operator::check::{Bench, check, expr, node};
use crate::types::{TableId, pretty, time};

/// `t > now() - lag` when it leaves and is reached, and the three others.
fn filter(leaves: bool, reached: bool, now: &str) -> Node {
    let input = pretty::schema("id:bigint t:timestamptz").unwrap();
    let clock = Arc::new(Schema::new(vec![Field::new("now", time::timestamptz(), false)]));
    let operator = plan::TemporalFilter {
        value: expr("t", &input),
        now: expr(now, &clock),
        leaves,
        reached,
        key: vec![0],
        watermark: Some(1),
        state: TableId(1),
        clock: TableId(2),
    };
    node(Operator::TemporalFilter(operator), std::slice::from_ref(&input), input.clone())
}

#[test]
fn rows_leave_when_their_time_is_reached() {
    check(
        filter(true, true, "now - INTERVAL '10' SECOND"),
        "now 100
         barrier
         + 1 1970-01-01T00:01:30Z
         + 2 1970-01-01T00:01:31Z
         + 3 1970-01-01T00:01:35Z
         + 4 .
         - 1 1970-01-01T00:01:30Z
         barrier
         - 3 1970-01-01T00:01:35Z
         + 3 1970-01-01T00:01:36Z
         now 101
         barrier
         - 2 1970-01-01T00:01:31Z
         now 105
         barrier
         - 3 1970-01-01T00:01:36Z
         now 200
         barrier",
        "barrier
         + 2 1970-01-01T00:01:31Z
         + 3 1970-01-01T00:01:35Z
         due 101
         barrier
         - 3 1970-01-01T00:01:35Z
         + 3 1970-01-01T00:01:36Z
         - 2 1970-01-01T00:01:31Z
         due 106
         barrier
         due 106
         barrier
         - 3 1970-01-01T00:01:36Z
         barrier",
    );
}

#[test]
fn rows_enter_and_their_retractions_follow() {
    check(
        filter(false, false, "now"),
        "now 10
         barrier
         + 1 1970-01-01T00:00:09Z
         + 2 1970-01-01T00:00:10Z
         + 3 1970-01-01T00:00:20Z
         + 4 1970-01-01T00:00:20Z
         watermark 1 30
         - 4 1970-01-01T00:00:20Z
         barrier
         now 11
         barrier
         - 2 1970-01-01T00:00:10Z
         now 9
         barrier
         now 21
         barrier",
        // Strictly below: the next microsecond. Time never goes back.
        "barrier
         + 1 1970-01-01T00:00:09Z
         watermark 1 10
         due 10.000001
         barrier
         + 2 1970-01-01T00:00:10Z
         watermark 1 20
         due 20.000001
         barrier
         - 2 1970-01-01T00:00:10Z
         due 20.000001
         barrier
         + 3 1970-01-01T00:00:20Z
         watermark 1 30
         barrier",
    );
}

#[test]
fn a_restart_goes_on_from_the_last_time() {
    check(
        filter(true, true, "now"),
        "now 10
         barrier
         + 1 1970-01-01T00:00:12Z
         + 2 1970-01-01T00:00:20Z
         barrier
         restart
         now 15
         - 2 1970-01-01T00:00:20Z
         barrier
         barrier
         restart
         now 11
         - 1 1970-01-01T00:00:12Z
         + 3 1970-01-01T00:00:14Z
         barrier
         barrier",
        // The first barrier after a restart changes nothing. A clock that was set back does not bring row 1 back.
        "barrier
         + 1 1970-01-01T00:00:12Z
         + 2 1970-01-01T00:00:20Z
         due 12
         barrier
         - 2 1970-01-01T00:00:20Z
         barrier
         - 1 1970-01-01T00:00:12Z
         barrier
         barrier
         barrier",
    );
}

#[test]
fn steps_of_the_limit_are_found() {
    check(
        filter(false, true, "date_trunc('minute', now)"),
        "now 61
         barrier
         + 1 1970-01-01T00:01:00Z
         + 2 1970-01-01T00:01:01Z
         barrier
         now 120
         barrier",
        "barrier
         + 1 1970-01-01T00:01:00Z
         due 120
         barrier
         + 2 1970-01-01T00:01:01Z
         barrier",
    );
}

#[test]
fn other_actors_take_over_what_waits() {
    let mut one = Bench::new(filter(true, true, "now"));
    let rows: String = (0..40).map(|id| format!("+ {id} 1970-01-01T00:00:20Z\n")).collect();
    one.run(&format!("barrier\n{rows}barrier"));
    let mut left = 0;
    for mut actor in one.restart_as(3) {
        actor.run("barrier\nnow 20");
        left += actor.run("barrier").iter().filter(|line| line.starts_with("- ")).count();
    }
    assert_eq!(left, 40);
}
