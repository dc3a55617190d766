//! Tables of Changelog.

use std::sync::Arc;

use arrow::datatypes::{Field, Fields, Schema, SchemaRef};

use super::check::{self, Bench, check};
use crate::plan::{Changelog, Node, Operator};
use crate::types::{TableId, pretty};

fn columns() -> SchemaRef {
    pretty::schema("k:bigint v:varchar hidden:bigint").unwrap()
}

fn node(key: Vec<usize>, append_only: bool) -> Node {
    let own = Changelog::COLUMNS.map(|(name, data_type)| Arc::new(Field::new(name, data_type, false)));
    let fields = columns().fields().iter().take(2).cloned().chain(own).collect::<Fields>();
    let output = Arc::new(Schema::new(fields));
    let operator = Operator::Changelog(Changelog { visible: 2, key, append_only, state: TableId(7) });
    check::node(operator, &[columns()], output)
}

#[test]
fn each_change_is_a_row() {
    let cases = [
        ("inserts", "+ 1 a 0\n+ 2 b 0", "+ 1 a 1 0\n+ 2 b 1 256\nbarrier"),
        ("a delete waits for the barrier", "- 1 a 0\n+ 2 b 0", "+ 2 b 1 0\n+ 1 a 2 256\nbarrier"),
        ("an update", "- 1 a 0\n+ 1 b 0", "+ 1 a 4 0\n+ 1 b 3 256\nbarrier"),
        ("with another between", "- 1 a 0\n+ 2 x 0\n+ 1 b 0", "+ 2 x 1 0\n+ 1 a 4 256\n+ 1 b 3 512\nbarrier"),
        ("across chunks", "- 1 a 0\nwatermark 0 5\n+ 1 b 0", "+ 1 a 4 0\n+ 1 b 3 256\nbarrier"),
        ("twice", "- 1 a 0\n+ 1 b 0\n- 1 b 0\n+ 1 c 0", "+ 1 a 4 0\n+ 1 b 3 256\n+ 1 b 4 512\n+ 1 c 3 768\nbarrier"),
        ("of a hidden column", "- 1 a 0\n+ 1 a 1", "+ 1 a 4 0\n+ 1 a 3 256\nbarrier"),
        ("comes and goes", "+ 1 a 0\n- 1 a 0", "+ 1 a 1 0\n+ 1 a 2 256\nbarrier"),
        ("goes twice", "- 1 a 0\n- 1 b 0", "+ 1 a 2 0\n+ 1 b 2 256\nbarrier"),
        ("nulls are one key", "- . a 0\n+ . b 0", "+ . a 4 0\n+ . b 3 256\nbarrier"),
        ("nothing", "", "barrier"),
    ];
    for (what, script, expected) in cases {
        println!("{what}");
        check(node(vec![0], false), &format!("{script}\nbarrier"), expected);
    }
    // One row at a time.
    check(node(Vec::new(), false), "- 1 a 0\n+ 2 b 0\nbarrier", "+ 1 a 4 0\n+ 2 b 3 256\nbarrier");
}

#[test]
fn watermarks_hold_where_nothing_changes() {
    check(node(vec![0], true), "+ 1 a 0\nwatermark 0 5\nbarrier", "+ 1 a 1 0\nwatermark 0 5\nbarrier");
    check(node(vec![0], true), "watermark 2 5\nbarrier", "barrier");
}

#[test]
fn ids_go_on_after_a_restart() {
    let mut bench = Bench::new(node(vec![0], false));
    bench.run("+ 1 a 0\n- 2 b 0\nbarrier");
    let mut two = bench.restart_as(2);
    let got: Vec<_> = two.iter_mut().map(|b| b.run("+ 5 x 0\nbarrier").remove(0)).collect();
    assert_eq!(got, ["+ 5 x 1 512", "+ 5 x 1 640"]);
}
