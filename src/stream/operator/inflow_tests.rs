//! Tables of NetChanges and RowId.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::check::{self, Bench, check};
use crate::plan::{NetChanges, Operator, RowId};
use crate::types::{ROW_ID, TableId, pretty};

fn columns() -> SchemaRef {
    pretty::schema("k:bigint v:varchar").unwrap()
}

#[test]
fn what_an_epoch_leaves() {
    let operator = Operator::NetChanges(NetChanges { key: vec![0] });
    let cases = [
        ("comes", "+ 1 a", "+ 1 a\nbarrier"),
        ("goes", "- 1 a", "- 1 a\nbarrier"),
        ("changes", "- 1 a\n+ 1 b", "+ 1 b\nbarrier"),
        ("changes, the new row first", "+ 1 b\n- 1 a", "+ 1 b\nbarrier"),
        ("comes and goes", "+ 1 a\n- 1 a", "barrier"),
        ("goes and comes", "- 1 a\n+ 1 a", "barrier"),
        ("passes through", "- 1 a\n+ 1 b\n- 1 b\n+ 1 c", "+ 1 c\nbarrier"),
        ("passes through another's key", "+ 1 x\n+ 1 b\n- 1 b\n- 1 a", "+ 1 x\nbarrier"),
        ("two change places", "- 1 a\n+ 2 a\n- 2 b\n+ 1 b", "+ 2 a\n+ 1 b\nbarrier"),
        ("of two the last", "+ 1 a\n+ 1 b", "+ 1 b\nbarrier"),
        ("nulls", "+ . .\n- . a", "+ . .\nbarrier"),
        ("nothing", "", "barrier"),
    ];
    for (what, script, expected) in cases {
        println!("{what}");
        let node = check::node(operator.clone(), &[columns()], columns());
        check(node, &format!("{script}\nbarrier"), expected);
    }
    let node = check::node(operator, &[columns()], columns());
    check(node, "+ 1 a\nbarrier\n- 1 a\nwatermark 0 9\nbarrier", "+ 1 a\nbarrier\n- 1 a\nbarrier");
}

fn numbering() -> crate::plan::Node {
    let mut fields = vec![Field::new("k", DataType::Int64, false), Field::new(ROW_ID, DataType::Int64, false)];
    fields.push(Field::new("v", DataType::Utf8, true));
    let operator = Operator::RowId(RowId { at: 1, sink: 1, state: TableId(7) });
    check::node(operator, &[columns()], Arc::new(Schema::new(fields)))
}

/// The id of row `number` of sink 1 in virtual node `node`.
fn id(number: i64, node: i64) -> i64 {
    -1 - (((1i64 << 40) | number) << 8 | node)
}

#[test]
fn ids_go_on_after_a_restart() {
    let mut bench = Bench::new(numbering());
    let got = bench.run("+ 1 a\n+ . b\n+ 1 a\nbarrier\nrestart\n+ 2 .\nbarrier");
    let error = "null value in column k violates its not-null constraint";
    let expected = [
        format!("dead k=NULL, v=b: {error}"),
        format!("+ 1 {} a", id(0, 0)),
        format!("+ 1 {} a", id(1, 0)),
        "barrier".into(),
        format!("+ 2 {} .", id(2, 0)),
        "barrier".into(),
    ];
    assert_eq!(got, expected);
}

#[test]
fn actors_have_ids_of_their_own() {
    let mut bench = Bench::new(numbering());
    bench.run("+ 1 a\nbarrier");
    let mut two = bench.restart_as(2);
    let got: Vec<_> = two.iter_mut().map(|b| b.run("+ 5 x\nbarrier").remove(0)).collect();
    assert_eq!(got, [format!("+ 5 {} x", id(1, 0)), format!("+ 5 {} x", id(1, 128))]);
}
