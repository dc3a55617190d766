//! Temporal joins by script: the table stays as it is within a script, and is changed between two.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use crate::plan::{Node, Operator, RowOrder, Sent, TemporalJoin};
use crate::stream::operator::check::{Bench, node};
use crate::types::{Conflict, TableId, pretty};

fn left() -> SchemaRef {
    pretty::schema("id:bigint k:bigint").unwrap()
}

fn table() -> SchemaRef {
    pretty::schema("k:bigint n:bigint name:varchar").unwrap()
}

/// `l JOIN t FOR SYSTEM_TIME AS OF PROCTIME() ON l.k = t.k`; `t` has the key `k`, or `k, n`.
fn join(outer: bool, one_row: bool, retracts: bool) -> Node {
    let key = if one_row { vec![0] } else { vec![0, 1] };
    let stream_key = if one_row { vec![0] } else { vec![0, 3, 4] };
    let join = TemporalJoin {
        outer,
        on: vec![1],
        one_row,
        name: "t".into(),
        table: TableId(7),
        full_schema: table(),
        key,
        right: vec![2, 0, 1],
        output: vec![0, 1, 2, 3, 4],
        sent: retracts.then(|| Sent {
            left_key: vec![0],
            rows: RowOrder { partition: vec![0], order: Vec::new(), key: stream_key, window: None, frees: false },
            state: TableId(8),
        }),
    };
    let output = pretty::schema("id:bigint k:bigint name:varchar tk:bigint tn:bigint").unwrap();
    let output = output.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>();
    let none: SchemaRef = Arc::new(Schema::empty());
    node(Operator::TemporalJoin(join), &[left(), none], Arc::new(Schema::new(output)))
}

fn materialize(key: &[usize]) -> Node {
    let op = crate::plan::Materialize { table: TableId(7), key: key.to_vec(), conflict: Conflict::Overwrite };
    node(Operator::Materialize(op), &[table()], table())
}

fn check(join: Node, key: &[usize], steps: &[(&str, &str, &str)]) {
    let mut bench = Bench::new(join);
    let mut table = bench.beside(materialize(key));
    for (changes, rows, expected) in steps {
        table.run(&format!("{changes}\nbarrier"));
        let got = bench.run(rows);
        let expected: Vec<&str> = expected.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        assert_eq!(got, expected, "\ngot:\n{}", got.join("\n"));
    }
}

#[test]
fn a_row_keeps_what_it_found() {
    check(
        join(false, true, false),
        &[0],
        &[
            ("+ 1 0 one\n+ 2 0 two", "+ 10 1\n+ 11 3\n+ 12 .\nbarrier", "+ 10 1 one 1 0\nbarrier"),
            ("+ 1 0 uno\n+ 3 0 tre", "+ 13 1\n+ 14 3\nbarrier", "+ 13 1 uno 1 0\n+ 14 3 tre 3 0\nbarrier"),
        ],
    );
}

#[test]
fn what_goes_takes_what_it_found_with_it() {
    check(
        join(true, true, true),
        &[0],
        &[
            ("+ 1 0 one", "+ 10 1\n+ 11 3\n+ 12 .\nbarrier", "+ 10 1 one 1 0\n+ 11 3 . . .\n+ 12 . . . .\nbarrier"),
            (
                "+ 1 0 uno\n+ 3 0 tre",
                "restart\n- 10 1\n- 11 3\n+ 11 3\n+ 13 1\n- 13 1\nbarrier",
                "- 10 1 one 1 0\n- 11 3 . . .\n+ 11 3 tre 3 0\nbarrier",
            ),
            ("- 3 0 tre", "- 11 3\n- 12 .\nbarrier", "- 11 3 tre 3 0\n- 12 . . . .\nbarrier"),
        ],
    );
}

#[test]
fn the_first_columns_of_a_key_find_many() {
    check(
        join(false, false, true),
        &[0, 1],
        &[
            (
                "+ 1 1 a\n+ 1 2 b\n+ 2 1 c",
                "+ 10 1\n+ 11 1\nbarrier",
                "+ 10 1 a 1 1\n+ 10 1 b 1 2\n+ 11 1 a 1 1\n+ 11 1 b 1 2\nbarrier",
            ),
            ("- 1 2 b", "restart\n- 10 1\n+ 12 1\nbarrier", "- 10 1 a 1 1\n- 10 1 b 1 2\n+ 12 1 a 1 1\nbarrier"),
        ],
    );
}
