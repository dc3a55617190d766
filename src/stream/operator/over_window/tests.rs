//! OverWindow by script.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::{WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion::scalar::ScalarValue;

use crate::plan::{self, Expr, Frame, Node, Operator, RowOrder, SortColumn, WindowCall};
use crate::stream::operator::check::{check, expr, node};
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
