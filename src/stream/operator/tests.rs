//! The operators that are not aggregations, by script.

use super::Output;
use super::check::{Bench, check, expr, node};
use crate::plan::{self, Operator, WatermarkStep};
use crate::types::{Conflict, OperatorId, TableId, TimeWindows, WatermarkLimits, pretty};

#[test]
fn a_filter_keeps_weights_and_takes_out_bad_rows() {
    let input = pretty::schema("a:bigint b:bigint").unwrap();
    let filter = Operator::Filter { predicate: expr("10 / a > 4", &input) };
    check(
        node(filter, std::slice::from_ref(&input), input.clone()),
        "+ 1 1\n- 2 2\n+ 5 3\n+ 0 4\n- 0 4\n+ . 5\nwatermark 1 7\nbarrier",
        "dead a=0, b=4: division by zero
         + 1 1
         - 2 2
         watermark 1 7
         barrier",
    );
}

#[test]
fn a_projection_maps_watermarks_through_its_expressions() {
    let input = pretty::schema("a:bigint t:timestamp").unwrap();
    let exprs = ["a * 2", "tumble_start(t, INTERVAL '10' SECOND)", "t"].map(|e| expr(e, &input));
    let watermarks = vec![WatermarkStep { input: 1, output: 1 }, WatermarkStep { input: 1, output: 2 }];
    check(
        node(
            Operator::Project { exprs: exprs.to_vec(), watermarks },
            std::slice::from_ref(&input),
            pretty::schema("d:bigint w:timestamp t:timestamp").unwrap(),
        ),
        "- 4 1970-01-01T00:00:19
         watermark 1 27
         watermark 0 5
         watermark 1 end",
        "- 8 1970-01-01T00:00:10 1970-01-01T00:00:19
         watermark 1 20
         watermark 2 27
         watermark 1 end
         watermark 2 end",
    );
}

#[test]
fn a_union_takes_the_least_watermark() {
    let input = pretty::schema("t:timestamp").unwrap();
    check(
        node(Operator::Union, &[input.clone(), input.clone()], input),
        "watermark 0 5
         port 1
         watermark 0 3
         watermark 0 9
         + 1970-01-01T00:00:09
         port 0
         watermark 0 end
         port 1
         watermark 0 end",
        "watermark 0 3
         watermark 0 5
         + 1970-01-01T00:00:09
         watermark 0 9
         watermark 0 end",
    );
}

fn watermark() -> plan::Node {
    watermark_within(WatermarkLimits::default())
}

fn watermark_within(limits: WatermarkLimits) -> plan::Node {
    let input = pretty::schema("a:bigint t:timestamp").unwrap();
    let operator = Operator::Watermark { column: 1, delay_micros: 2_000_000, limits, state: TableId(1) };
    node(operator, std::slice::from_ref(&input), input.clone())
}

#[test]
fn a_watermark_rises_and_survives() {
    check(
        watermark(),
        "+ 1 1970-01-01T00:00:07
         + 2 1970-01-01T00:00:09
         + 3 .
         barrier
         + 4 1970-01-01T00:00:03
         barrier
         restart
         + 5 1970-01-01T00:00:04
         watermark 1 3
         watermark 1 end
         barrier",
        "dead a=3, t=NULL: the event time is null
         + 1 1970-01-01T00:00:07
         + 2 1970-01-01T00:00:09
         watermark 1 7
         barrier
         + 4 1970-01-01T00:00:03
         barrier
         watermark 1 7
         + 5 1970-01-01T00:00:04
         watermark 1 end
         barrier",
    );
}

#[test]
fn what_is_too_far_ahead_moves_no_watermark() {
    let limits = WatermarkLimits { max_future_skew: Some(5_000_000), ..Default::default() };
    check(
        watermark_within(limits),
        "now 10
         + 1 1970-01-01T00:00:09
         + 2 1970-01-01T00:00:16
         barrier
         now 11
         + 3 1970-01-01T00:00:16
         barrier",
        "+ 1 1970-01-01T00:00:09
         + 2 1970-01-01T00:00:16
         watermark 1 7
         barrier
         + 3 1970-01-01T00:00:16
         watermark 1 14
         barrier",
    );
}

#[test]
fn an_idle_source_follows_the_others() {
    let limits = WatermarkLimits { idle_timeout: Some(10_000_000), ..Default::default() };
    let mut idle = Bench::new(watermark_within(limits));
    let mut busy = watermark();
    busy.id = OperatorId(2);
    if let Operator::Watermark { state, .. } = &mut busy.operator {
        *state = TableId(2);
    }
    let mut busy = idle.beside(busy);
    assert_eq!(idle.run("now 100\n+ 1 1970-01-01T00:00:03\nbarrier")[1..], ["watermark 1 1", "due 110", "barrier"]);
    busy.run("now 105\n+ 1 1970-01-01T00:00:30\nbarrier");
    assert_eq!(idle.run("now 109\nbarrier"), ["due 110", "barrier"]);
    assert_eq!(idle.run("now 110\nbarrier"), ["watermark 1 28", "barrier"]);
    busy.run("now 111\n+ 1 1970-01-01T00:00:40\nbarrier");
    assert_eq!(idle.run("now 111\nbarrier"), ["watermark 1 38", "barrier"]);
    // It is back: its own rows count again.
    assert_eq!(
        idle.run("now 112\n+ 1 1970-01-01T00:00:42\nbarrier"),
        ["+ 1 1970-01-01T00:00:42", "watermark 1 40", "due 122", "barrier"]
    );
    busy.run("now 113\n+ 1 1970-01-01T00:01:00\nbarrier");
    assert_eq!(idle.run("now 113\nbarrier"), ["due 122", "barrier"]);
    // When none is active, none moves.
    assert_eq!(idle.run("now 150\nbarrier"), ["barrier"]);
}

#[test]
fn an_actor_catches_up_with_its_peers_at_a_barrier() {
    let mut two = Bench::new(watermark()).restart_as(2);
    assert_eq!(two[0].run("+ 1 1970-01-01T00:00:09\nbarrier").len(), 3);
    // The second has seen no row; it learns what the first has sealed.
    assert_eq!(two[1].run("barrier"), ["watermark 1 7", "barrier"]);
    assert_eq!(two[1].run("+ 2 1970-01-01T00:00:12\nbarrier")[1], "watermark 1 10");
    assert_eq!(two[0].run("+ 3 1970-01-01T00:00:11\nbarrier")[1..], ["watermark 1 9", "watermark 1 10", "barrier"]);
    let mut wants = |actor: usize| {
        let mut out = Output::default();
        two[actor].barrier(&mut out);
        out.unsettled
    };
    assert!(!wants(0) && !wants(1), "all know all");
}

#[test]
fn a_watermark_restarts_from_the_least_of_the_actors() {
    let mut two = Bench::new(watermark()).restart_as(2);
    assert_eq!(two[1].run("+ 1 1970-01-01T00:00:07\nbarrier")[1], "watermark 1 5");
    assert_eq!(two[0].run("+ 1 1970-01-01T00:00:09\nbarrier")[1], "watermark 1 7");
    let mut one = two.remove(0).restart_as(1);
    assert_eq!(one[0].run("barrier"), ["watermark 1 5", "barrier"]);
    // The second's row is gone: it holds nothing back any more.
    assert_eq!(one[0].run("+ 1 1970-01-01T00:00:20\nbarrier")[1], "watermark 1 18");
    let mut two = one.remove(0).restart_as(2);
    assert_eq!(two[1].run("barrier"), ["watermark 1 18", "barrier"]);
}

fn materialize(conflict: Conflict) -> plan::Node {
    let input = pretty::schema("k:bigint a:bigint s:varchar").unwrap();
    let mut fields: Vec<_> = input.fields().iter().map(|f| f.as_ref().clone()).collect();
    fields[0].set_nullable(false);
    fields[1].set_nullable(false);
    let output = std::sync::Arc::new(arrow::datatypes::Schema::new(fields));
    node(
        Operator::Materialize(plan::Materialize { table: TableId(1), key: vec![0], directions: vec![], conflict }),
        &[input],
        output,
    )
}

#[test]
fn a_table_follows_its_conflict_rule() {
    let script = "+ 1 10 x
        + 2 20 y
        + 1 11 z
        barrier
        + 1 . .
        + 3 . c
        + . 5 d
        - 2 0 .
        - 4 0 .
        restart
        + 2 21 .
        - 1 0 .
        + 1 12 v
        barrier";
    let dead_key = "dead k=NULL, a=5, s=d: null value in column k violates its not-null constraint";
    let dead_1 = "dead k=1, a=NULL, s=NULL: null value in column a violates its not-null constraint";
    let dead_3 = "dead k=3, a=NULL, s=c: null value in column a violates its not-null constraint";
    let cases = [
        (
            Conflict::Overwrite,
            format!(
                "+ 1 10 x\n+ 2 20 y\n- 1 10 x\n+ 1 11 z\nbarrier\n{dead_key}\n{dead_1}\n{dead_3}\n- 2 20 y
                 + 2 21 .\n- 1 11 z\n+ 1 12 v\nbarrier"
            ),
        ),
        (
            Conflict::DoNothing,
            format!(
                "+ 1 10 x\n+ 2 20 y\nbarrier\n{dead_key}\n{dead_3}\n- 2 20 y\n+ 2 21 .\n- 1 10 x\n+ 1 12 v\nbarrier"
            ),
        ),
        (
            Conflict::UpdateIfNotNull,
            format!(
                "+ 1 10 x\n+ 2 20 y\n- 1 10 x\n+ 1 11 z\nbarrier\n{dead_key}\n{dead_3}\n- 1 11 z\n+ 1 11 z\n- 2 20 y
                 + 2 21 .\n- 1 11 z\n+ 1 12 v\nbarrier"
            ),
        ),
    ];
    for (conflict, expected) in cases {
        // What was written in the open epoch is sealed before the restart.
        check(materialize(conflict), &script.replace("restart", "barrier\nrestart"), &with_barrier(&expected));
    }
}

/// The script's extra barrier comes right before row 2 is inserted again.
fn with_barrier(expected: &str) -> String {
    expected.replace("+ 2 21 .", "barrier\n+ 2 21 .")
}

#[test]
fn a_view_passes_its_changes_on() {
    check(
        materialize(Conflict::Unchecked),
        "+ 1 10 x
         - 1 10 x
         + 1 11 y
         watermark 1 4
         barrier",
        "+ 1 10 x
         - 1 10 x
         + 1 11 y
         watermark 1 4
         barrier",
    );
}

#[test]
fn a_row_comes_once_for_each_window_that_holds_it() {
    let input = pretty::schema("a:bigint t:timestamp z:timestamptz").unwrap();
    let windows = TimeWindows::Hop { slide: 5_000_000, size: 10_000_000, offset: 0 };
    check(
        node(Operator::TimeWindows { column: 1, windows }, std::slice::from_ref(&input), input.clone()),
        "+ 1 1970-01-01T00:00:07 1970-01-01T00:00:01Z
         - 2 1969-12-31T23:59:59 .
         + 3 . .
         watermark 1 7
         watermark 1 10
         watermark 2 3
         watermark 1 end",
        "+ 1 1970-01-01T00:00:10 1970-01-01T00:00:01Z
         + 1 1970-01-01T00:00:15 1970-01-01T00:00:01Z
         - 2 1970-01-01T00:00:00 .
         - 2 1970-01-01T00:00:05 .
         + 3 . .
         watermark 1 10
         watermark 1 15
         watermark 2 3
         watermark 1 end",
    );
}

#[test]
fn a_row_comes_once_for_each_grouping_set() {
    let input = pretty::schema("a:bigint b:varchar v:bigint").unwrap();
    let set = |nulls: &[usize], id| plan::GroupingSet { nulls: nulls.to_vec(), id };
    let sets = vec![set(&[], 0), set(&[1], 1), set(&[0, 1], 3)];
    check(
        node(
            Operator::GroupingSets { sets },
            &[input],
            pretty::schema("a:bigint b:varchar v:bigint g:bigint").unwrap(),
        ),
        "+ 1 x 5\n- 2 y 6\nwatermark 2 4",
        "+ 1 x 5 0
         - 2 y 6 0
         + 1 . 5 1
         - 2 . 6 1
         + . . 5 3
         - . . 6 3
         watermark 2 4",
    );
}
