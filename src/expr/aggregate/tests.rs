//! Sums at the edges of their types, and which calls are linear. All functions against DataFusion: see the operator.

use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::*;
use crate::expr::eval::tests::physical;
use crate::types::{StreamChunk, pretty};

fn call(function: &str, arg: &str, method: AggMethod, rows: &SchemaRef) -> Call {
    Call {
        function: function.into(),
        args: vec![physical(arg, rows)],
        rows: Arc::clone(rows),
        distinct: false,
        ignore_nulls: false,
        order_by: Vec::new(),
        method,
        name: format!("{function}({arg})"),
    }
}

fn arguments(aggregate: &Aggregate, batch: &RecordBatch) -> Vec<ArrayRef> {
    let args = aggregate.arguments().iter();
    args.map(|a| a.evaluate(batch).unwrap().into_array(batch.num_rows()).unwrap()).collect()
}

/// The state of one group after the chunk.
fn state(aggregate: &Aggregate, chunk: &StreamChunk) -> Vec<ArrayRef> {
    let mut accumulator = aggregate.accumulator().unwrap();
    let groups = vec![0; chunk.num_rows()];
    accumulator.update(&arguments(aggregate, chunk.batch()), chunk.weights(), &groups, None, 1).unwrap();
    accumulator.state().unwrap()
}

fn show(results: &Results) -> String {
    match results.failed.first() {
        Some((_, error)) => format!("{:?}", error.kind()),
        None => {
            let options = FormatOptions::default().with_null(".");
            ArrayFormatter::try_new(&results.values, &options).unwrap().value(0).to_string()
        }
    }
}

#[test]
fn linear_results() {
    let max = i64::MAX;
    let nines = "9".repeat(28);
    let cases = [
        ("sum", "a", "a:bigint".to_string(), "."),
        ("sum", "a", "a:bigint\n+ 1\n+ 2\n- 1".into(), "2"),
        ("sum", "a", "a:bigint\n+ 1\n- 1".into(), "."),
        ("sum", "a", "a:bigint\n+ 1\n+ -1\n+ .".into(), "0"),
        ("sum", "a", format!("a:bigint\n+ {max}\n+ 1"), "NumericValueOutOfRange"),
        ("sum", "a", format!("a:bigint\n+ {max}\n+ 1\n- 1"), "9223372036854775807"),
        ("sum", "a", format!("a:bigint\n+1000000 {max}\n-999999 {max}"), "9223372036854775807"),
        ("sum", "a", "a:decimal\n+ 1.5\n+2 2.25".into(), "6.0000000000"),
        ("sum", "a", format!("a:decimal\n+ {nines}\n+9 {nines}"), "NumericValueOutOfRange"),
        (
            "sum",
            "a",
            format!("a:decimal\n+ {nines}\n+99 {nines}\n-99 {nines}"),
            "9999999999999999999999999999.0000000000",
        ),
        ("count", "a", "a:bigint\n+ 1\n+ .\n- 1\n+5 7".into(), "5"),
        ("count", "a", "a:bigint".into(), "0"),
        ("avg", "CAST(a AS DOUBLE)", "a:bigint\n+ 1\n+ 2\n+ 7\n- 7\n+ .".into(), "1.5"),
        ("avg", "CAST(a AS DOUBLE)", "a:bigint\n+ .".into(), "."),
        ("avg", "a", "a:decimal\n+ 1\n+ 2\n+ 2".into(), "1.66666666666666"),
    ];
    for (function, arg, text, expected) in cases {
        let chunk = pretty::chunk(&text).unwrap();
        let aggregate = Aggregate::new(&call(function, arg, AggMethod::Linear, &chunk.schema())).unwrap();
        let states = state(&aggregate, &chunk);
        for (field, column) in aggregate.state_fields().iter().zip(&states) {
            assert_eq!(field.data_type(), column.data_type(), "{function}");
        }
        let results = aggregate.results(&states, 1).unwrap();
        assert_eq!(results.values.data_type(), &aggregate.result_type(), "{function}");
        assert_eq!(show(&results), expected, "{function}({arg}) over {text}");
        // The state of two halves merged is the state of the whole.
        let half = chunk.num_rows() / 2;
        let mut merged = aggregate.accumulator().unwrap();
        for part in [chunk.slice(0, half), chunk.slice(half, chunk.num_rows() - half)] {
            merged.merge(&state(&aggregate, &part), &[0], 1).unwrap();
        }
        assert_eq!(&merged.state().unwrap(), &states, "{function}({arg}) over {text}");
    }
}

#[test]
fn what_is_linear() {
    let rows = pretty::schema("a:bigint x:double n:decimal s:varchar").unwrap();
    let cases = [
        ("count", "s", true),
        ("sum", "a", true),
        ("sum", "n", true),
        ("sum", "x", false),
        ("avg", "CAST(a AS DOUBLE)", true),
        ("avg", "x", false),
        ("min", "a", false),
        ("stddev", "x", false),
    ];
    for (function, arg, expected) in cases {
        let linear = call(function, arg, AggMethod::Linear, &rows);
        assert_eq!(is_linear(&linear), expected, "{function}({arg})");
        assert_eq!(Aggregate::new(&linear).is_ok(), expected, "{function}({arg})");
    }
}

#[test]
fn a_sum_of_insertions_does_not_wrap_either() {
    let chunk = pretty::chunk(&format!("a:bigint\n+ {}\n+ 1", i64::MAX)).unwrap();
    let aggregate = Aggregate::new(&call("sum", "a", AggMethod::Merge, &chunk.schema())).unwrap();
    let results = aggregate.results(&state(&aggregate, &chunk), 1).unwrap();
    assert_eq!(show(&results), "NumericValueOutOfRange");
    assert!(results.values.is_null(0));
}

#[test]
fn unknown_functions_and_wrong_methods_are_errors() {
    let rows = pretty::schema("a:bigint").unwrap();
    let unknown = Aggregate::new(&call("no_such", "a", AggMethod::Merge, &rows));
    assert_eq!(unknown.err().unwrap().kind(), ErrorKind::UndefinedFunction);
    let distinct = Call { distinct: true, ..call("count", "a", AggMethod::Merge, &rows) };
    assert!(Aggregate::new(&distinct).is_err());
}
