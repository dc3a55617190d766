//! Tests of the formats.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

use super::*;
use crate::types::{StreamChunk, pretty};

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn options(pairs: Pairs) -> Options {
    pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

fn unit(split: &str, offset: u64, first_row_id: i64, data: &[u8]) -> Unit {
    Unit { split: split.into(), offset, first_row_id, payload: Payload::Bytes(data.to_vec().into()) }
}

/// Rows as `values id`, then dead letters as `! offset raw: error`.
fn lines(decoded: &Decoded) -> Vec<String> {
    let mut lines = Vec::new();
    for chunk in &decoded.chunks {
        lines.extend(pretty::rows(chunk).unwrap().iter().map(|row| row[2..].to_string()));
    }
    for letter in &decoded.dead_letters {
        lines.push(format!("! {} {}: {}", letter.offset, String::from_utf8_lossy(&letter.raw), letter.error));
    }
    lines
}

fn decode(opts: &[(&str, &str)], columns: &str, data: &[u8]) -> Vec<String> {
    let schema = pretty::schema(columns).unwrap();
    let projection = (0..schema.fields().len()).collect();
    let mut decoder = line_decoder(&options(opts), schema, projection).unwrap();
    lines(&decoder.decode(unit("f", 0, 0, data)).unwrap())
}

const CSV: Pairs = &[("encode", "csv")];
const JSON: Pairs = &[("encode", "json")];

#[test]
fn csv_records() {
    let cases: &[(&str, &[u8], &[&str])] = &[
        ("nothing", b"", &[]),
        ("plain, with and without a last newline", b"1,a\n2,b", &["1 a 0", "2 b 1"]),
        ("windows newlines and blank lines", b"1,a\r\n\r\n\n2,b\r\n", &["1 a 0", "2 b 1"]),
        ("empty is null, quoted empty is not", b",\n1,\"\"\n,\"x\"\n", &[". . 0", "1  1", ". x 2"]),
        ("quotes, doubled and around newlines", b"1,\"a,\"\"b\"\"\n\"\n2,c\n", &["1 a,\"b\"\n 0", "2 c 1"]),
        ("a quote inside a plain field is text", b"1,5\" pipe\n2,b\n", &["1 5\"_pipe 0", "2 b 1"]),
        (
            "a stray opening quote costs its own line",
            b"1,\"a\n2,b\n3,c\n",
            &["2 b 1", "3 c 2", "! 0 1,\"a: a quoted field never ends"],
        ),
        (
            "text after a closing quote",
            b"1,\"a\"b\n2,b\n",
            &["2 b 1", "! 0 1,\"a\"b: there is text between a closing quote and the next delimiter"],
        ),
        (
            "too few and too many fields",
            b"1\n2,b\n3,c,\n",
            &[
                "2 b 1",
                "! 0 1: the record has 1 fields, the source has 2 columns",
                "! 6 3,c,: the record has 3 fields, the source has 2 columns",
            ],
        ),
        (
            "values of the wrong type",
            b"x,a\n99999999999999999999,b\n3,c\n",
            &[
                "3 c 2",
                "! 0 x,a: column \"n\": \"x\" is not a value of type BIGINT",
                "! 4 99999999999999999999,b: column \"n\": \"99999999999999999999\" is out of range for BIGINT",
            ],
        ),
        (
            "invalid UTF-8",
            b"1,\xff\n2,\xc3\xa9\n",
            &["2 \u{e9} 1", "! 0 1,\u{fffd}: column \"s\": \"\u{fffd}\" is not valid UTF-8"],
        ),
        ("a byte order mark", b"\xef\xbb\xbf\"1\",a\n", &["1 a 0"]),
        ("a header that equals the columns", b"N, S\n1,a\n", &["1 a 0"]),
        ("a header in quotes", b"\"n\",\"s\"\r\n1,a\n", &["1 a 0"]),
        ("a record that is no header", b"1,s\n", &["1 s 0"]),
    ];
    for (what, data, expected) in cases {
        assert_eq!(decode(CSV, "n:bigint s:varchar", data), *expected, "{what}");
    }
}

#[test]
fn csv_options() {
    let cases: &[(Pairs, &[u8], &[&str])] = &[
        (&[("delimiter", "\\t")], b"1\ta,b\n", &["1 a,b 0"]),
        (&[("delimiter", ";"), ("quote", "'")], b"1;'a;\"'\n", &["1 a;\" 0"]),
        (&[("quote", "")], b"1,\"a\n2,b\"\n", &["1 \"a 0", "2 b\" 1"]),
        (&[("escape", "\\")], b"1,\"a\\\"b\\\\\"\n2,c\n", &["1 a\"b\\ 0", "2 c 1"]),
        (&[("header", "true")], b"x,y\n1,a\n", &["1 a 0"]),
        (&[("without_header", "true")], b"1,a\n", &["1 a 0"]),
        (&[("null", "\\N")], b"\\N,\\N\n1,\n", &[". . 0", "1  1"]),
        (
            &[("max_record_bytes", "5")],
            b"1,abcdef\n2,b\n",
            &["2 b 1", "! 0 1,abcdef: the record is longer than max_record_bytes = 5"],
        ),
    ];
    for (opts, data, expected) in cases {
        let opts = [CSV, opts].concat();
        assert_eq!(decode(&opts, "n:bigint s:varchar", data), *expected, "{opts:?}");
    }
    let wrong: &[Pairs] = &[
        &[("header", "true"), ("without_header", "true")],
        &[("header", "maybe")],
        &[("delimiter", "ab")],
        &[("delimiter", "\"")],
        &[("timestamp_unit", "minutes")],
        &[("format", "debezium")],
    ];
    for opts in wrong {
        let opts = options(&[CSV, opts].concat());
        assert!(line_decoder(&opts, pretty::schema("n:bigint").unwrap(), vec![0]).is_err(), "{opts:?}");
    }
    assert!(line_decoder(&options(&[("encode", "xml")]), pretty::schema("n:bigint").unwrap(), vec![0]).is_err());
}

#[test]
fn json_lines() {
    let cases: &[(&str, &[u8], &[&str])] = &[
        ("nothing", b"\n \n", &[]),
        ("objects", b"{\"n\":1,\"s\":\"a\"}\n {\"s\" : \"b\" , \"n\" : 2 } \r\n", &["1 a 0", "2 b 1"]),
        ("missing and null", b"{}\n{\"n\":null}\n{\"s\":\"\"}\n", &[". . 0", ". . 1", ".  2"]),
        ("other keys are skipped", b"{\"x\":{\"n\":[9,\"}\"]},\"n\":1,\"y\":[]}\n", &["1 . 0"]),
        (
            "case: the exact key wins",
            b"{\"N\":1}\n{\"n\":2,\"N\":3}\n{\"N\":3,\"n\":2}\n",
            &["1 . 0", "2 . 1", "2 . 2"],
        ),
        ("the last of equal keys", b"{\"n\":1,\"n\":2}\n", &["2 . 0"]),
        ("a number in quotes, a value as text", b"{\"n\":\"7\",\"s\":[1, {\"a\":null}]}\n", &["7 [1,_{\"a\":null}] 0"]),
        ("escapes", br#"{"s":"\"\\\/\n\u00e9\ud83d\ude00","\u006e":1}"#, &["1 \"\\/\n\u{e9}\u{1f600} 0"]),
        ("whole numbers in other forms", b"{\"n\":1.0}\n{\"n\":1e3}\n", &["1 . 0", "1000 . 1"]),
        (
            "numbers that are not whole, or too large",
            b"{\"n\":1.5}\n{\"n\":9223372036854775808}\n{\"n\":true}\n",
            &[
                "! 0 {\"n\":1.5}: column \"n\": \"1.5\" is not a value of type BIGINT",
                "! 10 {\"n\":9223372036854775808}: column \"n\": \"9223372036854775808\" is out of range for BIGINT",
                "! 36 {\"n\":true}: column \"n\": \"true\" is not a value of type BIGINT",
            ],
        ),
        (
            "lines that are no objects",
            b"null\n[1]\n{\"n\":1\n{\"n\":1}x\n{\"n\":01}\n{\"n\" 1}\n{\"n\":1,}\n{\"s\":\"a\n{\"n\":{]}\n{\"n\":5}\n",
            &[
                "5 . 9",
                "! 0 null: not a JSON object: expected { at byte 0",
                "! 5 [1]: not a JSON object: expected { at byte 0",
                "! 9 {\"n\":1: not a JSON object: expected , or } at byte 6",
                "! 16 {\"n\":1}x: not a JSON object: text after the object at byte 7",
                "! 25 {\"n\":01}: not a JSON object: expected a value at byte 5",
                "! 34 {\"n\" 1}: not a JSON object: expected : at byte 5",
                "! 42 {\"n\":1,}: not a JSON object: expected a key in quotes at byte 7",
                "! 51 {\"s\":\"a: not a JSON object: a string never ends at byte 6",
                "! 59 {\"n\":{]}: not a JSON object: a broken array or object at byte 5",
            ],
        ),
        (
            "half of a surrogate pair",
            br#"{"s":"\ud83d"}"#,
            &["! 0 {\"s\":\"\\ud83d\"}: not a JSON object: a broken \\u escape at byte 8"],
        ),
    ];
    for (what, data, expected) in cases {
        assert_eq!(decode(JSON, "n:bigint s:varchar", data), *expected, "{what}");
    }
}

#[test]
fn every_type_reads_from_both_formats() {
    let cases = [
        // type, text, value
        (DataType::Boolean, "t", Some("true")),
        (DataType::Int16, "32768", None),
        (DataType::Int32, "-2147483648", Some("-2147483648")),
        (DataType::Float32, "1.5", Some("1.5")),
        (DataType::Float64, "1e300", Some("1e300")),
        (DataType::Decimal128(10, 2), "-12.345", Some("-12.35")),
        (DataType::Decimal128(4, 2), "100", None),
        (DataType::Utf8View, "x", Some("x")),
        (DataType::LargeUtf8, "x", Some("x")),
        (DataType::Binary, "hi", Some("6869")),
        (DataType::Date32, "2024-02-29", Some("2024-02-29")),
        (DataType::Date32, "2023-02-29", None),
        (DataType::Time64(arrow::datatypes::TimeUnit::Microsecond), "12:00:00.5", Some("12:00:00.500")),
        (crate::types::time::timestamp(), "2024-01-02 03:04:05.123", Some("2024-01-02T03:04:05.123")),
        (crate::types::time::timestamptz(), "2024-01-02T03:04:05+01:00", Some("2024-01-02T02:04:05Z")),
        (DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano), "1 day", Some("1_days")),
        (DataType::new_list(DataType::Int64, true), "[1,null]", Some("[1,_.]")),
        (DataType::new_list(DataType::Int64, true), "[1", None),
        (DataType::new_list(DataType::Int64, true), "[[1]]", None),
    ];
    for (data_type, text, expected) in cases {
        let schema = Arc::new(Schema::new(vec![Field::new("c", data_type.clone(), true)]));
        let csv = format!("\"{text}\"\n");
        let json = format!("{{\"c\":{}}}\n", if text.starts_with('[') { text.into() } else { format!("\"{text}\"") });
        for (opts, data) in [(CSV, csv), (JSON, json)] {
            let mut decoder = line_decoder(&options(opts), schema.clone(), vec![0]).unwrap();
            let decoded = decoder.decode(unit("f", 0, 0, data.as_bytes())).unwrap();
            let got = lines(&decoded);
            match expected {
                Some(value) => assert_eq!(got, [format!("{value} 0")], "{data_type} from {data}"),
                None => assert!(got.len() == 1 && got[0].starts_with('!'), "{data_type} from {data}: {got:?}"),
            }
        }
    }
    let map = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let schema = Arc::new(Schema::new(vec![Field::new("c", map, true)]));
    assert!(line_decoder(&options(JSON), schema, vec![0]).is_err());
}

#[test]
fn unix_times_need_their_unit() {
    let data = b"{\"t\":1500}\n";
    assert!(decode(JSON, "t:timestamp", data)[0].starts_with('!'));
    let ms = [("encode", "json"), ("timestamp_unit", "ms")];
    assert_eq!(decode(&ms, "t:timestamp", data), ["1970-01-01T00:00:01.500 0"]);
}

#[test]
fn a_null_in_a_not_null_column_is_a_dead_letter() {
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
    for (opts, data) in [(JSON, &b"{}\n{\"a\":1}\n{\"a\":\"x\"}\n"[..]), (CSV, b"\"\"\n1\nx\n")] {
        let mut decoder = line_decoder(&options(opts), schema.clone(), vec![0]).unwrap();
        let decoded = decoder.decode(unit("f", 0, 0, data)).unwrap();
        assert!(!decoded.chunks[0].schema().field(0).is_nullable());
        assert_eq!(lines(&decoded)[0], "1 1", "{opts:?}");
        assert_eq!(decoded.dead_letters.len(), 2);
    }
    let mut decoder = line_decoder(&options(JSON), schema, vec![0]).unwrap();
    let decoded = decoder.decode(unit("f", 0, 0, b"{}\n")).unwrap();
    assert_eq!(decoded.dead_letters[0].error, "column \"a\" is NOT NULL, the record has no value");
}

#[test]
fn only_the_projection_is_decoded_in_its_order() {
    let schema = pretty::schema("a:bigint b:bigint c:varchar").unwrap();
    let decoded = |projection: Vec<usize>| {
        let mut decoder = line_decoder(&options(CSV), schema.clone(), projection).unwrap();
        lines(&decoder.decode(unit("f", 7, 100, b"1,x,c\n2,y,d\n")).unwrap())
    };
    assert_eq!(decoded(vec![2, 0]), ["c 1 100", "d 2 101"]);
    assert_eq!(decoded(vec![]), ["100", "101"]);
    assert_eq!(decoded(vec![1])[1], "! 13 2,y,d: column \"b\": \"y\" is not a value of type BIGINT");
    assert!(line_decoder(&options(CSV), schema.clone(), vec![0, 0]).is_err());
    assert!(line_decoder(&options(CSV), schema.clone(), vec![3]).is_err());
}

#[test]
fn letters_from_a_log_are_numbered_by_row() {
    let schema = pretty::schema("a:bigint").unwrap();
    let mut decoder = line_decoder(&options(CSV), schema, vec![0]).unwrap();
    let decoded = decoder.decode(unit("log", 3, 40, b"1\nx\n")).unwrap();
    assert_eq!((decoded.dead_letters[0].offset, lines(&decoded)[0].as_str()), (41, "1 40"));
}

#[test]
fn large_units_come_as_chunks() {
    let data = "1\n".repeat(2 * CHUNK_ROWS + 1);
    let schema = pretty::schema("a:bigint").unwrap();
    let mut decoder = line_decoder(&options(CSV), schema, vec![0]).unwrap();
    let decoded = decoder.decode(unit("f", 1, 0, data.as_bytes())).unwrap();
    let sizes: Vec<_> = decoded.chunks.iter().map(StreamChunk::num_rows).collect();
    assert_eq!(sizes, [CHUNK_ROWS, CHUNK_ROWS, 1]);
    assert!(pretty::rows(&decoded.chunks[2]).unwrap()[0].ends_with(&format!(" {}", 2 * CHUNK_ROWS)));
}

#[test]
fn a_cut_is_always_between_records() {
    let data = b"1,a\r\n2,\"x\n,\"\"y\"\"\"\n\n3,5\" p\"\n4,\"\"\n\"5\",\"\n\n\"\"\"\n6,\"z\"\n7,b";
    let given = options(CSV);
    let csv = Csv::new(Given { object: "test", options: &given }).unwrap();
    let mut records = Records::default();
    records.clear(0);
    csv.tokenize(data, 0, &[None, None], &mut records, &mut Faults::default());
    let starts: Vec<usize> = (0..records.len()).map(|record| records.bounds(record).0).collect();
    assert_eq!(starts.len(), 7);
    for end in 0..=data.len() {
        let cut = csv.complete(&data[..end]).end;
        // After the cut come only blank lines and then a record.
        let next = cut + data[cut..].iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        assert!(starts.contains(&next), "cut at {cut} of {end}");
        // No later cut would have been possible.
        let is_whole = |record: &usize| {
            let end_of_record = records.bounds(*record).1;
            end_of_record < end && data[end_of_record..end].contains(&b'\n')
        };
        let mut whole = (0..records.len()).filter(is_whole);
        assert!(whole.next_back().is_none_or(|record| cut > records.bounds(record).0), "cut at {cut} of {end}");
    }
}

#[test]
fn no_bytes_make_the_decoders_panic() {
    use rand::{Rng, SeedableRng};
    let seed = 7;
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let alphabet = b"\"\"\\,,\n\n\r{}[]:1-.eunt\xff x";
    let schema = pretty::schema("n:bigint x:varchar").unwrap();
    for opts in [CSV, JSON, &[("encode", "csv"), ("escape", "\\")]] {
        let mut decoder = line_decoder(&options(opts), schema.clone(), vec![1, 0]).unwrap();
        for _ in 0..3000 {
            let length = random.random_range(0..60);
            let data: Vec<u8> = (0..length).map(|_| alphabet[random.random_range(0..alphabet.len())]).collect();
            let decoded = decoder.decode(unit("f", random.random_range(0..2), 0, &data)).unwrap();
            let given = options(opts);
            if opts[0].1 == "csv" {
                let csv = Csv::new(Given { object: "test", options: &given }).unwrap();
                assert!(csv.complete(&data).end <= data.len());
            }
            let rows: usize = decoded.chunks.iter().map(StreamChunk::num_rows).sum();
            assert!(rows + decoded.dead_letters.len() <= data.len(), "seed {seed}");
        }
    }
}
