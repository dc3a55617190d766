//! Values against what PostgreSQL 15 prints for them.

use crate::types::styles::Styles;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::*;
use bytes::BytesMut;

use super::column::Column;
use super::{Format, binary, pg_type};
use crate::types::text;

fn printed(array: ArrayRef) -> Vec<String> {
    let column = Column::new(&array).unwrap();
    (0..array.len())
        .map(|row| {
            let mut out = BytesMut::new();
            match column.write_item(row, &Styles::default(), &mut out).unwrap() {
                true => String::from_utf8(out.to_vec()).unwrap(),
                false => "null".to_string(),
            }
        })
        .collect()
}

fn check(array: impl Array + 'static, want: &[&str]) {
    let array: ArrayRef = Arc::new(array);
    assert_eq!(printed(array.clone()), want, "{:?}", array.data_type());
    let sliced = array.slice(1, array.len() - 1);
    assert_eq!(printed(sliced), want[1..], "sliced {:?}", array.data_type());
}

#[test]
fn scalars() {
    check(BooleanArray::from(vec![Some(true), Some(false), None]), &["t", "f", "null"]);
    check(Int8Array::from(vec![-128, 127]), &["-128", "127"]);
    check(UInt8Array::from(vec![0, 255]), &["0", "255"]);
    check(UInt16Array::from(vec![0, 65535]), &["0", "65535"]);
    check(UInt32Array::from(vec![0, u32::MAX]), &["0", "4294967295"]);
    check(UInt64Array::from(vec![0, u64::MAX]), &["0", "18446744073709551615"]);
    check(Int64Array::from(vec![i64::MIN, i64::MAX]), &["-9223372036854775808", "9223372036854775807"]);
    check(NullArray::new(2), &["null", "null"]);
    check(StringArray::from(vec![Some(""), Some("é"), None]), &["", "é", "null"]);
    check(LargeStringArray::from(vec!["a", "b"]), &["a", "b"]);
    check(StringViewArray::from(vec!["a", "a string longer than twelve"]), &["a", "a string longer than twelve"]);
    check(BinaryArray::from(vec![&b""[..], b"\x00\xffA"]), &["\\x", "\\x00ff41"]);
    check(LargeBinaryArray::from(vec![&b"a"[..], b"b"]), &["\\x61", "\\x62"]);
    check(FixedSizeBinaryArray::try_from_iter([[1u8, 2], [3, 4]].iter()).unwrap(), &["\\x0102", "\\x0304"]);
    let dictionary: DictionaryArray<Int32Type> = vec![Some("x"), None, Some("x")].into_iter().collect();
    check(dictionary, &["x", "null", "x"]);
}

#[test]
fn floats() {
    let cases = [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (0.1, "0.1"),
        (1e14, "100000000000000"),
        (123456789012345.0, "123456789012345"),
        (1e15, "1e+15"),
        (1234567890123456.0, "1.234567890123456e+15"),
        (0.0001, "0.0001"),
        (0.00012345, "0.00012345"),
        (0.00001, "1e-05"),
        (1e100, "1e+100"),
        (-1.7976931348623157e308, "-1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
    ];
    check(Float64Array::from_iter_values(cases.map(|c| c.0)), &cases.map(|c| c.1));
    let cases = [
        (0.1f32, "0.1"),
        (123456.0, "123456"),
        (1e6, "1e+06"),
        (1234567.0, "1.234567e+06"),
        (16777216.0, "1.6777216e+07"),
        (f32::MIN_POSITIVE, "1.1754944e-38"),
    ];
    check(Float32Array::from_iter_values(cases.map(|c| c.0)), &cases.map(|c| c.1));
}

/// (unscaled, scale, text, binary groups, weight)
#[test]
fn decimals() {
    let cases: &[(i128, i8, &str, &[i16], i16)] = &[
        (0, 0, "0", &[], 0),
        (0, 2, "0.00", &[], 0),
        (150, 2, "1.50", &[1, 5000], 0),
        (-5, 2, "-0.05", &[500], -1),
        (5, 10, "0.0000000005", &[500], -3),
        (12345678, 0, "12345678", &[1234, 5678], 1),
        (10000, 0, "10000", &[1], 1),
        (7, -3, "7000", &[7000], 0),
        (99999999999999999999999999999999999999, 2, "999999999999999999999999999999999999.99", &[9999; 9], 8),
    ];
    for (unscaled, scale, want, groups, weight) in cases {
        let mut out = BytesMut::new();
        text::decimal(*unscaled, *scale, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), *want);
        let mut out = BytesMut::new();
        binary::decimal(*unscaled, *scale, &mut out);
        let words: Vec<i16> = out.chunks(2).map(|c| i16::from_be_bytes([c[0], c[1]])).collect();
        assert_eq!(words[1], *weight, "weight of {want}");
        assert_eq!(words[2], if *unscaled < 0 { 0x4000 } else { 0 }, "sign of {want}");
        assert_eq!(words[3], (*scale).max(0) as i16, "scale of {want}");
        let mut expected = groups.to_vec();
        if want.ends_with(".99") {
            expected.push(9900);
        }
        while expected.last() == Some(&0) {
            expected.pop();
        }
        assert_eq!(words[4..], expected, "groups of {want}");
        assert_eq!(words[0] as usize, expected.len());
    }
    let wide = Decimal256Array::from(vec![i256::MAX, i256::from(-1)]).with_precision_and_scale(76, 3).unwrap();
    check(wide, &["57896044618658097711785492504343953926634992332820282019728792003956564819.967", "-0.001"]);
}

#[test]
fn dates_and_times() {
    check(
        Date32Array::from(vec![0, 19_700, -1, -719_163, -719_529, 2_932_897, i32::MAX, i32::MIN]),
        &[
            "1970-01-01",
            "2023-12-09",
            "1969-12-31",
            "0001-12-31 BC",
            "0002-12-31 BC",
            "10000-01-01",
            "infinity",
            "-infinity",
        ],
    );
    check(
        TimestampMicrosecondArray::from(vec![0, 1_500_000, -1, 1_700_000_000_123_456, i64::MAX, i64::MIN]),
        &[
            "1970-01-01 00:00:00",
            "1970-01-01 00:00:01.5",
            "1969-12-31 23:59:59.999999",
            "2023-11-14 22:13:20.123456",
            "infinity",
            "-infinity",
        ],
    );
    check(
        TimestampMicrosecondArray::from(vec![0, -62_135_596_800_000_001]).with_timezone("UTC"),
        &["1970-01-01 00:00:00+00", "0001-12-31 23:59:59.999999+00 BC"],
    );
    check(
        TimestampMicrosecondArray::from(vec![0, 1]).with_timezone("+05:30"),
        &["1970-01-01 05:30:00+05:30", "1970-01-01 05:30:00.000001+05:30"],
    );
    check(TimestampSecondArray::from(vec![0, 1]), &["1970-01-01 00:00:00", "1970-01-01 00:00:01"]);
    check(TimestampNanosecondArray::from(vec![0, 1_999]), &["1970-01-01 00:00:00", "1970-01-01 00:00:00.000001"]);
    check(Time64MicrosecondArray::from(vec![0, 86_399_999_999]), &["00:00:00", "23:59:59.999999"]);
    check(Time32SecondArray::from(vec![1, 3_600]), &["00:00:01", "01:00:00"]);
    check(DurationSecondArray::from(vec![90_061, -90_061]), &["1 day 01:01:01", "-1 days -01:01:01"]);
}

#[test]
fn intervals() {
    let cases = [
        ((0, 0, 0), "00:00:00"),
        ((14, 3, 0), "1 year 2 mons 3 days"),
        ((-14, 0, 0), "-1 years -2 mons"),
        ((1, 0, 0), "1 mon"),
        ((0, 1, 1_500_000_000), "1 day 00:00:01.5"),
        ((0, -1, 3_600_000_000_000), "-1 days +01:00:00"),
        ((0, 1, -3_600_000_000_000), "1 day -01:00:00"),
        ((-1, 2, 0), "-1 mons +2 days"),
        ((0, 0, 360_000_000_000_000), "100:00:00"),
        ((0, 0, -1_000), "-00:00:00.000001"),
    ];
    check(
        IntervalMonthDayNanoArray::from_iter_values(cases.map(|((m, d, n), _)| IntervalMonthDayNano::new(m, d, n))),
        &cases.map(|c| c.1),
    );
    check(IntervalYearMonthArray::from(vec![13, -1]), &["1 year 1 mon", "-1 mons"]);
}

#[test]
fn arrays_and_records() {
    let mut list = ListBuilder::new(StringBuilder::new());
    for item in [Some("a"), None, Some("NULL"), Some(""), Some("b c"), Some("x,y"), Some("\"\\"), Some("{}")] {
        list.values().append_option(item);
    }
    list.append(true);
    list.append(true);
    list.append(false);
    let list = list.finish();
    check(list.clone(), &[r#"{a,NULL,"NULL","","b c","x,y","\"\\","{}"}"#, "{}", "null"]);

    let ints = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), Some(vec![])]);
    check(ints.clone(), &["{1,NULL}", "{}"]);
    let field = Arc::new(Field::new("l", ints.data_type().clone(), true));
    let nested = ListArray::new(field.clone(), OffsetBuffer::new(vec![0, 2, 2].into()), Arc::new(ints), None);
    check(nested.clone(), &["{{1,NULL},{}}", "{}"]);
    assert_eq!(pg_type(&Arc::new(Field::new("n", nested.data_type().clone(), true))).unwrap().oid, 1007);
    let nested: ArrayRef = Arc::new(nested);
    let mut out = BytesMut::new();
    assert!(Column::new(&nested).unwrap().write(0, Format::Binary, &Styles::default(), &mut out).is_err());

    let fixed = FixedSizeListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), Some(2)]), None], 2);
    check(fixed, &["{1,2}", "null"]);

    let record = StructArray::from(vec![
        (Arc::new(Field::new("a", DataType::Int64, true)), Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef),
        (Arc::new(Field::new("b", DataType::Utf8, true)), Arc::new(StringArray::from(vec!["x \"y\"", ""])) as ArrayRef),
    ]);
    check(record, &[r#"(1,"x ""y""")"#, r#"(,"")"#]);
}

#[test]
fn types_have_their_ids() {
    let cases = [
        (DataType::Boolean, 16, 1),
        (DataType::Int64, 20, 8),
        (DataType::UInt64, 1700, -1),
        (DataType::Decimal256(76, 3), 1700, -1),
        (DataType::Utf8View, 25, -1),
        (DataType::Null, 25, -1),
        (DataType::Timestamp(TimeUnit::Nanosecond, None), 1114, 8),
        (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), 1184, 8),
        (DataType::Interval(IntervalUnit::MonthDayNano), 1186, 16),
        (DataType::Duration(TimeUnit::Second), 1186, 16),
        (DataType::new_list(DataType::Decimal128(10, 2), true), 1231, -1),
        (DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), 25, -1),
    ];
    for (data_type, oid, size) in cases {
        let got = pg_type(&Arc::new(Field::new("c", data_type.clone(), true))).unwrap();
        assert_eq!((got.oid, got.size), (oid, size), "{data_type}");
    }
    let entries = Field::new("entries", DataType::Struct(Fields::empty()), false);
    let map = Field::new("m", DataType::Map(Arc::new(entries), false), true);
    assert_eq!(pg_type(&Arc::new(map)).unwrap_err().kind().sqlstate(), "0A000");
}
