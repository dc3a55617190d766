//! Filters as text, and what they leave of a key.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::logical_expr::{Expr, cast, col, lit};
use datafusion::scalar::ScalarValue;

use super::constraint::{Constraints, exact};
use super::range::{KeyColumn, Keyed, narrow};
use crate::state::KeyRange;
use crate::types::key;

fn schema() -> Schema {
    Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Utf8, true),
        Field::new("f", DataType::Float64, true),
    ])
}

fn asc(column: usize) -> KeyColumn {
    KeyColumn { column, options: SortOptions { descending: false, nulls_first: false } }
}

fn desc(column: usize) -> KeyColumn {
    KeyColumn { column, options: SortOptions { descending: true, nulls_first: true } }
}

/// Which of the values of `a` (NULL is `n`), with `b` = 'x' and 'y' each, lie in what the filters leave of the key.
fn left(key_columns: &[KeyColumn], filters: &[Expr]) -> String {
    let constraints = Constraints::of(filters, &schema());
    let Some(narrowed) = narrow(key_columns, &constraints).unwrap() else { return "all".into() };
    let mut names = Vec::new();
    for a in [Some(-1i64), Some(0), Some(1), Some(2), Some(3), None] {
        for b in ["x", "y"] {
            let columns: Vec<_> = key_columns
                .iter()
                .map(|k| {
                    let value = match k.column {
                        0 => ScalarValue::Int64(a),
                        1 => ScalarValue::from(b),
                        _ => ScalarValue::Float64(a.map(|a| a as f64)),
                    };
                    (value.to_array().unwrap(), k.options)
                })
                .collect();
            let keys = key::encode_ordered(&columns, 1).unwrap();
            let found = match &narrowed.keyed {
                Keyed::Points(points) => points.iter().flatten().filter(|p| *p == keys.value(0)).count(),
                Keyed::Ranges(ranges) => ranges.iter().filter(|r| contains(r, keys.value(0))).count(),
            };
            assert!(found < 2, "read twice");
            if found == 1 {
                names.push(format!("{}{b}", a.map_or("n".into(), |a| a.to_string())));
            }
        }
    }
    names.join(" ")
}

fn contains(range: &KeyRange, key: &[u8]) -> bool {
    use std::ops::{Bound, RangeBounds};
    let borrow = |b: &Bound<Vec<u8>>| b.clone();
    (borrow(&range.start), borrow(&range.end)).contains(&key.to_vec())
}

#[test]
fn filters_narrow_a_key() {
    let (a, b) = (|| col("a"), || col("b"));
    let ab = || vec![asc(0), asc(1)];
    let cases: Vec<(Vec<KeyColumn>, Vec<Expr>, &str)> = vec![
        (ab(), vec![], "all"),
        (ab(), vec![a().eq(lit(1i64))], "1x 1y"),
        (ab(), vec![lit(1i64).eq(a()).and(b().eq(lit("y")))], "1y"),
        (ab(), vec![b().eq(lit("y"))], "all"),
        (
            ab(),
            vec![a().in_list(vec![lit(2i64), lit(0i64), lit(2i64), lit(ScalarValue::Int64(None))], false)],
            "0x 0y 2x 2y",
        ),
        (ab(), vec![a().in_list(vec![lit(2i64)], true)], "all"),
        (ab(), vec![a().eq(lit(2i64)).or(a().eq(lit(0i64))), b().eq(lit("x"))], "0x 2x"),
        (ab(), vec![a().eq(lit(2i64)).or(b().eq(lit("x")))], "all"),
        (ab(), vec![a().eq(lit(2i64)).and(b().eq(lit("x"))).or(a().eq(lit(1i64)))], "all"),
        (ab(), vec![a().gt(lit(1i64))], "2x 2y 3x 3y"),
        (ab(), vec![a().gt_eq(lit(1i64)), a().lt(lit(2i64))], "1x 1y"),
        (ab(), vec![lit(0i64).gt_eq(a())], "-1x -1y 0x 0y"),
        (ab(), vec![a().between(lit(1i64), lit(2i64)), a().gt(lit(1i64))], "2x 2y"),
        (ab(), vec![a().gt(lit(2i64)), a().lt(lit(1i64))], ""),
        (ab(), vec![a().eq(lit(1i64)), b().gt(lit("x"))], "1y"),
        (ab(), vec![a().is_null()], "nx ny"),
        (ab(), vec![a().is_null().or(a().eq(lit(3i64)))], "3x 3y nx ny"),
        (ab(), vec![a().eq(lit(ScalarValue::Int64(None)))], "all"),
        (ab(), vec![a().not_eq(lit(1i64))], "all"),
        (ab(), vec![a().eq(lit(1i32))], "1x 1y"),
        (ab(), vec![cast(a(), DataType::Float64).eq(lit(2.0))], "2x 2y"),
        (ab(), vec![cast(a(), DataType::Float64).eq(lit(2.5))], "all"),
        (ab(), vec![cast(a(), DataType::Float64).gt(lit(2.0))], "all"),
        (vec![desc(0), asc(1)], vec![a().gt(lit(1i64))], "2x 2y 3x 3y"),
        (vec![desc(0), asc(1)], vec![a().lt_eq(lit(0i64))], "-1x -1y 0x 0y"),
        (vec![desc(0), asc(1)], vec![a().gt(lit(0i64)), a().lt(lit(3i64)), b().eq(lit("x"))], "1x 1y 2x 2y"),
        (vec![desc(0), desc(1)], vec![a().eq(lit(3i64)), b().lt(lit("y"))], "3x"),
        (vec![desc(0)], vec![a().is_null()], "nx ny"),
        // Of floats an open end stays in: the filter above decides.
        (vec![asc(2), asc(1)], vec![col("f").gt(lit(1.0)), col("f").lt(lit(2.0))], "1x 1y 2x 2y"),
    ];
    for (key, filters, expected) in cases {
        assert_eq!(left(&key, &filters), expected, "{filters:?} by {key:?}");
    }
}

#[test]
fn a_value_in_the_type_of_its_column() {
    let zone = |zone: &str, micros| ScalarValue::TimestampMicrosecond(Some(micros), Some(Arc::from(zone)));
    let cases = [
        (ScalarValue::Int64(Some(7)), ScalarValue::Int32(Some(7)), true),
        (ScalarValue::Int64(Some(1 << 40)), ScalarValue::Int32(None), false),
        (ScalarValue::Int32(Some(-7)), ScalarValue::Int64(Some(-7)), true),
        (ScalarValue::from("7"), ScalarValue::Int64(None), false),
        (ScalarValue::Float64(Some(7.0)), ScalarValue::Int64(None), false),
        (zone("UTC", 5), zone("Europe/Berlin", 5), true),
        (ScalarValue::TimestampMicrosecond(Some(5), None), zone("UTC", 5), false),
    ];
    for (value, to, is) in cases {
        assert_eq!(exact(&value, &to.data_type()), is.then_some(to), "{value:?}");
    }
}
