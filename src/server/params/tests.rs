//! Parameters from text and bytes, good and bad.

use super::*;

fn text(oid: u32, value: &str, expected: &DataType) -> Result<ScalarValue> {
    super::value(Some(&Bytes::copy_from_slice(value.as_bytes())), oid, Format::Text, expected, &Styles::default())
}

fn binary(ty: &Type, value: &[u8]) -> Result<ScalarValue> {
    let expected = declared(ty.oid())?.unwrap_or(DataType::Utf8);
    super::value(Some(&Bytes::copy_from_slice(value)), ty.oid(), Format::Binary, &expected, &Styles::default())
}

#[test]
fn text_values() {
    let cases = [
        (Type::BOOL, "yes", "true"),
        (Type::INT2, " 7 ", "7"),
        (Type::INT4, "-7", "-7"),
        (Type::INT8, "9223372036854775807", "9223372036854775807"),
        (Type::FLOAT8, "-Infinity", "-inf"),
        (Type::FLOAT8, "1e3", "1000"),
        (Type::TEXT, " a ", " a "),
        (Type::VARCHAR, "", ""),
        (Type::BYTEA, "\\x00ff", "00FF"),
        (Type::BYTEA, "a\\\\\\001", "615C01"),
        (Type::NUMERIC, "1.5", "1.5000000000"),
        (Type::DATE, "2024-02-29", "2024-02-29"),
        (Type::TIMESTAMP, "2024-02-29 12:00:00.5", "1709208000500000"),
        (Type::TIMESTAMP, "infinity", "9223372036854775807"),
        (Type::TIMESTAMPTZ, "2024-02-29 12:00:00+02", "1709200800000000"),
        (Type::UUID, "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000001"),
        (Type::INT4_ARRAY, "{1,NULL,-3}", "[1, , -3]"),
        (Type::TEXT_ARRAY, r#"{"a b", "NULL", "x\"y"}"#, "[a b, NULL, x\"y]"),
        (Type::TEXT_ARRAY, "{}", "[]"),
    ];
    for (ty, input, want) in cases {
        let expected = declared(ty.oid()).unwrap().unwrap();
        let got = text(ty.oid(), input, &expected).unwrap_or_else(|e| panic!("{ty} {input}: {e}"));
        assert_eq!(got.data_type(), expected, "{ty}");
        let shown = match &got {
            ScalarValue::Binary(Some(b)) => b.iter().map(|b| format!("{b:02X}")).collect(),
            ScalarValue::TimestampMicrosecond(Some(t), _) => t.to_string(),
            other => other.to_string(),
        };
        assert_eq!(shown, want, "{ty} {input}");
    }
    assert!(super::value(None, 20, Format::Text, &DataType::Int64, &Styles::default()).unwrap().is_null());
}

#[test]
fn bad_text_is_told() {
    let cases = [
        (Type::BOOL, "maybe", "22P02"),
        (Type::INT4, "", "22P02"),
        (Type::INT4, "1x", "22P02"),
        (Type::INT2, "70000", "22003"),
        (Type::FLOAT8, "one", "22P02"),
        (Type::NUMERIC, "1.2.3", "22P02"),
        (Type::DATE, "2024-02-30", "22008"),
        (Type::TIMESTAMP, "noon", "22007"),
        (Type::INTERVAL, "a while", "22007"),
        (Type::BYTEA, "\\x0", "22023"),
        (Type::BYTEA, "\\xzz", "22023"),
        (Type::BYTEA, "\\9", "22P02"),
        (Type::INT4_ARRAY, "1,2", "22P02"),
        (Type::INT4_ARRAY, "{1,,2}", "22P02"),
        (Type::INT4_ARRAY, "{1,x}", "22P02"),
        (Type::TEXT_ARRAY, "{\"a}", "22P02"),
    ];
    for (ty, input, code) in cases {
        let expected = declared(ty.oid()).unwrap().unwrap();
        let got = text(ty.oid(), input, &expected);
        assert_eq!(got.map_err(|e| e.kind().sqlstate()), Err(code), "{ty} {input}");
    }
}

#[test]
fn binary_values() {
    let numeric = |words: &[i16]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<_>>();
    let cases: Vec<(Type, Vec<u8>, &str)> = vec![
        (Type::BOOL, vec![1], "true"),
        (Type::INT8, 5i64.to_be_bytes().to_vec(), "5"),
        (Type::NUMERIC, numeric(&[2, 0, 0, 2, 1, 5000]), "1.5000000000"),
        (Type::NUMERIC, numeric(&[1, -1, 0x4000, 2, 500]), "-0.0500000000"),
        (Type::NUMERIC, numeric(&[1, 1, 0, 0, 1]), "10000.0000000000"),
        (Type::NUMERIC, numeric(&[0, 0, 0, 0]), "0.0000000000"),
        (Type::NUMERIC, numeric(&[1, -3, 0, 10, 500]), "0.0000000005"),
        (Type::DATE, 0i32.to_be_bytes().to_vec(), "2000-01-01"),
        (Type::UUID, 1u128.to_be_bytes().to_vec(), "00000000-0000-0000-0000-000000000001"),
        (Type::JSONB, b"\x01{}".to_vec(), "{}"),
        (Type::TEXT, b"hi".to_vec(), "hi"),
    ];
    for (ty, bytes, want) in cases {
        assert_eq!(binary(&ty, &bytes).unwrap_or_else(|e| panic!("{ty}: {e}")).to_string(), want, "{ty}");
    }
}

#[test]
fn bad_binary_is_told() {
    let cases: Vec<(Type, &[u8])> = vec![
        (Type::INT4, b"\0\0\0"),
        (Type::INT4, b"\0\0\0\0\0"),
        (Type::BOOL, b""),
        (Type::TEXT, b"\xff"),
        (Type::NUMERIC, b"\0\x05\0\0\0\0\0\0"),
        (Type::NUMERIC, b"\0\0\0\0\xc0\0\0\0"),
        (Type::NUMERIC, b"\0\0\x7f\xff\0\0\0\0"),
        (Type::TIMESTAMP, b"\x7f\xff\xff\xff\xff\xff\xff\xf0"),
        (Type::INTERVAL, b"\x7f\xff\xff\xff\xff\xff\xff\xf0\0\0\0\0\0\0\0\0"),
        (Type::INT4_ARRAY, b"\0\0\0\x01\0\0\0\0\0\0\0\x17\x7f\xff\xff\xff\0\0\0\x01"),
        (Type::INT4_ARRAY, b"\0\0\0\x02\0\0\0\0\0\0\0\x17"),
        (Type::JSONB, b"\x02{}"),
    ];
    for (ty, bytes) in cases {
        assert!(binary(&ty, bytes).is_err(), "{ty} {bytes:?}");
    }
    assert_eq!(declared(999_999).unwrap_err().kind().sqlstate(), "0A000");
    assert_eq!(declared(Type::POINT.oid()).unwrap_err().kind().sqlstate(), "0A000");
    assert_eq!(declared(0).unwrap(), None);
}
