//! Tests of the file source.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::*;
use crate::common::ErrorKind;
use crate::common::clock::Clock;
use crate::connector::{DeadLetter, Fetch, Unit};
use crate::types::pretty;

fn context(dir: &Path) -> Context {
    Context {
        base_dir: dir.to_path_buf(),
        data_dir: dir.to_path_buf(),
        clock: Clock::manual(0),
        secrets: Arc::new(|_| unreachable!("no option is a secret")),
        logs: Arc::new(|_| unreachable!("a file needs no log")),
    }
}

fn open(dir: &Path, pairs: &[(&str, &str)], unit_bytes: usize) -> Result<FileSource> {
    let options: Options = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let mut source = FileSource::new(Given { object: "source \"s\"", options: &options }, &context(dir))?;
    source.unit_bytes = unit_bytes;
    Ok(source)
}

/// What the reader has until it ends or waits.
fn units(reader: &mut dyn SplitReader) -> Vec<Unit> {
    let mut units = Vec::new();
    while let Fetch::Unit(unit) = reader.fetch().unwrap() {
        units.push(unit);
    }
    units
}

#[derive(Debug, Default, PartialEq)]
struct Read {
    /// Without row ids.
    rows: Vec<String>,
    letters: Vec<DeadLetter>,
}

/// Decodes all that `reader` has for now; `ids` gets the row ids, which must be new and rise.
fn drain(source: &FileSource, columns: &str, reader: &mut dyn SplitReader, ids: &mut BTreeSet<i64>) -> Read {
    let schema = pretty::schema(columns).unwrap();
    let projection = (0..schema.fields().len()).collect();
    let mut decoder = source.decoder(schema, projection).unwrap();
    let mut read = Read::default();
    for unit in units(reader) {
        let decoded = decoder.decode(unit).unwrap();
        for row in decoded.chunks.iter().flat_map(|chunk| pretty::rows(chunk).unwrap()) {
            let (row, id) = row.rsplit_once(' ').unwrap();
            let id = id.parse().unwrap();
            assert!(ids.last().is_none_or(|last| *last < id), "row id {id} does not rise");
            ids.insert(id);
            read.rows.push(row[2..].to_string());
        }
        read.letters.extend(decoded.dead_letters);
    }
    read
}

fn read_all(source: &FileSource, columns: &str) -> Read {
    drain(source, columns, source.reader(None).unwrap().as_mut(), &mut BTreeSet::new())
}

const NASTY: &[u8] = b"1,a\r\n2,\"x\n,\"\"y\"\"\"\n\nbad,z\n3,5\" p\n4,\"\"\n\"5\",\"\n\n\"\"\"\n,\n1\n6,\"z\"\n7,b";
const NASTY_JSON: &[u8] = b"{\"n\":1}\n\n{\"n\":2,\"s\":\"x\\ny\"}\r\nnull\n{\"n\":\n{\"s\":\"q\"}\n{\"n\":7}";

fn gzip(data: &[u8]) -> Vec<u8> {
    // Two members, as `cat a.gz b.gz` makes them.
    let mut out = Vec::new();
    for part in data.chunks(data.len() / 2 + 1) {
        let mut encoder = flate2::write::GzEncoder::new(&mut out, flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    out
}

#[test]
fn every_unit_size_and_every_restart_reads_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, data: &[u8]| std::fs::write(dir.path().join(name), data).unwrap();
    write("a.csv", NASTY);
    write("a.json", NASTY_JSON);
    write("a.csv.gz", &gzip(NASTY));
    write("a.csv.zst", &zstd::encode_all(NASTY, 1).unwrap());
    for (name, encode, rows, letters) in
        [("a.csv", "csv", 8, 2), ("a.json", "json", 4, 2), ("a.csv.gz", "csv", 8, 2), ("a.csv.zst", "csv", 8, 2)]
    {
        let options = [("path", name), ("encode", encode)];
        let columns = "n:bigint s:varchar";
        let expected = read_all(&open(dir.path(), &options, UNIT_BYTES).unwrap(), columns);
        assert_eq!((expected.rows.len(), expected.letters.len()), (rows, letters), "{name}");
        for unit_bytes in 1..=NASTY.len() + 2 {
            let source = open(dir.path(), &options, unit_bytes).unwrap();
            assert_eq!(read_all(&source, columns), expected, "{name} in units of {unit_bytes}");
        }
        let source = open(dir.path(), &options, 7).unwrap();
        let whole = units(source.reader(None).unwrap().as_mut());
        for taken in 0..=whole.len() {
            let mut ids = BTreeSet::new();
            let mut reader = source.reader(None).unwrap();
            let mut first = Vec::new();
            for _ in 0..taken {
                let Fetch::Unit(unit) = reader.fetch().unwrap() else { panic!("{name} ends early") };
                first.push(unit);
            }
            let mut again = source.reader(Some(&reader.position())).unwrap();
            let rest = units(again.as_mut());
            let key = |unit: &Unit| (unit.offset, unit.first_row_id);
            let all: Vec<_> = first.iter().chain(&rest).map(key).collect();
            assert_eq!(all, whole.iter().map(key).collect::<Vec<_>>(), "{name} restarted after {taken}");
            drain(&source, columns, source.reader(Some(&reader.position())).unwrap().as_mut(), &mut ids);
            let status = &again.splits()[0];
            assert!(status.finished && status.end == Some(status.offset), "{status:?}");
        }
    }
}

#[test]
fn files_are_read_in_name_order_with_their_headers() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("b.csv", "n\n3\n4"), ("a.csv", "n\n1\n2"), ("c.csv", ""), ("d.csv", "5\n")] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let source = open(dir.path(), &[("path", "*.csv"), ("encode", "csv")], UNIT_BYTES).unwrap();
    assert_eq!(read_all(&source, "n:bigint").rows, ["1", "2", "3", "4", "5"]);
    let mut reader = source.reader(None).unwrap();
    let position = reader.position();
    // The set of files of a bounded source is fixed when it is opened.
    std::fs::write(dir.path().join("bb.csv"), "9").unwrap();
    assert_eq!(units(source.reader(Some(&position)).unwrap().as_mut()).len(), 3);
    std::fs::remove_file(dir.path().join("b.csv")).unwrap();
    assert!(matches!(reader.fetch(), Ok(Fetch::Unit(_))));
    assert!(reader.fetch().is_err_and(|e| e.message().contains("b.csv")));
}

#[test]
fn a_missing_file_is_told_at_create_and_not_after_it_was_read() {
    let dir = tempfile::tempdir().unwrap();
    let source = open(dir.path(), &[("path", "x.csv"), ("encode", "csv")], UNIT_BYTES).unwrap();
    assert!(source.default_schema().is_err() && source.reader(None).is_err());
    std::fs::write(dir.path().join("x.csv"), "1\n").unwrap();
    let mut reader = source.reader(None).unwrap();
    assert_eq!(units(reader.as_mut()).len(), 1);
    std::fs::remove_file(dir.path().join("x.csv")).unwrap();
    assert!(matches!(source.reader(Some(&reader.position())).unwrap().fetch(), Ok(Fetch::End)));
    let waiting = open(dir.path(), &[("path", "x.csv"), ("encode", "csv"), ("follow", "true")], UNIT_BYTES).unwrap();
    assert!(waiting.default_schema().unwrap().is_none());
    assert!(matches!(waiting.reader(None).unwrap().fetch(), Ok(Fetch::Wait { .. })));
    assert!(source.reader(Some("{")).is_err_and(|e| e.kind() == ErrorKind::DataCorrupted));
}

#[test]
fn followed_files_grow_and_new_ones_come() {
    let dir = tempfile::tempdir().unwrap();
    let source = open(dir.path(), &[("path", "in"), ("encode", "csv"), ("follow", "true")], 16).unwrap();
    let append = |name: &str, text: &str| {
        let path = dir.path().join("in").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::options().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    };
    let mut reader = source.reader(None).unwrap();
    let mut ids = BTreeSet::new();
    // What is written, and what is read after it.
    let steps: &[(&str, &str, &[&str])] = &[
        ("b", "1\n2\n3", &["1", "2"]),
        ("b", "3\n", &["33"]),
        ("c", "\"4\n", &[]),
        ("c", "\"\n5\n", &["4", "5"]),
        ("a", "6\n7\n8\n9\n10\n11\n12\n", &["6", "7", "8", "9", "10", "11", "12"]),
        ("b", "13\n", &["13"]),
        ("c.gz", "", &[]),
    ];
    for (index, (name, text, rows)) in steps.iter().enumerate() {
        append(name, text);
        if index == 6 {
            std::fs::write(dir.path().join("in/c.gz"), gzip(b"14\n15\n")).unwrap();
        }
        let expected: &[&str] = if index == 6 { &["14", "15"] } else { rows };
        let read = drain(&source, "n:bigint", reader.as_mut(), &mut ids);
        assert_eq!(read.rows, expected, "step {index}");
        assert_eq!(read.letters, [], "step {index}");
        // From here on as well after a restart.
        reader = source.reader(Some(&reader.position())).unwrap();
        assert!(matches!(reader.fetch().unwrap(), Fetch::Wait { .. }), "step {index}");
    }
    assert!(reader.splits().iter().all(|split| !split.finished));
}

#[test]
fn a_followed_file_that_shrinks_or_is_replaced_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.csv");
    let source = open(dir.path(), &[("path", "f.csv"), ("encode", "csv"), ("follow", "true")], UNIT_BYTES).unwrap();
    let cases: &[(&str, Option<&str>, &str)] = &[
        ("truncated", Some("1\n"), "has shrunk to 2 bytes, 6 were read"),
        ("replaced", Some("4\n5\n6\n7\n"), "is not the one that was read up to 6"),
    ];
    for (what, text, message) in cases {
        for restarted in [false, true] {
            std::fs::write(&path, "1\n2\n3\n").unwrap();
            let mut reader = source.reader(None).unwrap();
            assert_eq!(units(reader.as_mut()).len(), 1);
            std::fs::remove_file(&path).unwrap();
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            if restarted {
                reader = source.reader(Some(&reader.position())).unwrap();
            }
            let e = reader.fetch().err().unwrap_or_else(|| panic!("{what}, restarted {restarted}: no error"));
            assert!(e.message().contains(message), "{what}: {e}");
        }
    }
}

#[test]
fn a_record_that_never_ends_costs_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(50);
    /// Offset and length at most of a dead letter.
    type Letters<'a> = &'a [(u64, usize)];
    let cases: &[(&str, String, &[&str], Letters)] = &[
        ("a line too long", format!("1,{long}\n2,b\n"), &["2 b"], &[(0, 52)]),
        ("at the end of the file", format!("1,a\n2,{long}"), &["1 a"], &[(4, 52)]),
        ("a quote that never closes", format!("1,\"a\n2,b\n3,{}\n", "c".repeat(9)), &["2 b", "3 ccccccccc"], &[(0, 4)]),
        (
            "a quote that never closes within the limit",
            format!("1,\"a\n{}", "2,b\n".repeat(20)),
            &["2 b"; 20],
            &[(0, 4)],
        ),
    ];
    for (what, text, rows, letters) in cases {
        std::fs::write(dir.path().join("f.csv"), text).unwrap();
        for unit_bytes in [1, 5, 16, 1000] {
            let options = [("path", "f.csv"), ("encode", "csv"), ("max_record_bytes", "20")];
            let read = read_all(&open(dir.path(), &options, unit_bytes).unwrap(), "n:bigint s:varchar");
            assert_eq!(read.rows, *rows, "{what}, units of {unit_bytes}");
            let offsets: Vec<u64> = read.letters.iter().map(|letter| letter.offset).collect();
            assert_eq!(offsets, letters.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), "{what}");
            for (letter, (_, length)) in read.letters.iter().zip(*letters) {
                assert!(letter.raw.len() <= *length && letter.raw.len() > 3, "{what}: {letter:?}");
            }
        }
    }
}

#[test]
fn broken_archives_and_wrong_options_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.gz"), b"not gzip").unwrap();
    let torn = gzip(NASTY);
    std::fs::write(dir.path().join("b.gz"), &torn[..torn.len() - 9]).unwrap();
    for name in ["a.gz", "b.gz"] {
        let source = open(dir.path(), &[("path", name), ("encode", "csv")], UNIT_BYTES).unwrap();
        let e = source.reader(None).unwrap().fetch().err().unwrap();
        assert!(e.message().contains(name), "{e}");
    }
    let wrong: &[&[(&str, &str)]] = &[
        &[("path", "x")],
        &[("encode", "csv")],
        &[("path", "x"), ("encode", "avro")],
        &[("path", "x"), ("encode", "json"), ("delimiter", ";")],
        &[("path", "x"), ("encode", "parquet"), ("compression", "gzip")],
        &[("path", "x"), ("encode", "csv"), ("follow", "1")],
    ];
    for options in wrong {
        assert!(open(dir.path(), options, UNIT_BYTES).is_err(), "{options:?}");
    }
}

fn write_parquet(path: &Path, rows: i64, group_rows: usize, indexed: bool) {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("a", Arc::new(Int32Array::from_iter_values((0..rows).map(|n| n as i32)))),
        ("S", Arc::new(StringArray::from_iter((0..rows).map(|n| (n % 3 != 0).then(|| format!("{n}")))))),
        ("u", Arc::new(UInt64Array::from_iter_values((0..rows).map(|n| n as u64)))),
        (
            "bad",
            Arc::new(StringArray::from_iter_values((0..rows).map(|n| if n == 5 { "x".into() } else { n.to_string() }))),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows));
    if !indexed {
        properties = properties.set_offset_index_disabled(true).set_statistics_enabled(EnabledStatistics::None);
    }
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn parquet_row_groups() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        // rows, rows of a group, with an index, units
        (0, 10, true, 0),
        (10, 10, true, 1),
        (25, 10, false, 3),
        (150_000, 140_000, true, 4),
        (150_000, 140_000, false, 2),
    ];
    for (rows, group_rows, indexed, count) in cases {
        write_parquet(&dir.path().join("f.parquet"), rows, group_rows, indexed);
        let source = open(dir.path(), &[("path", "f.parquet"), ("encode", "parquet")], UNIT_BYTES).unwrap();
        let mut reader = source.reader(None).unwrap();
        let mut rest = units(reader.as_mut());
        assert_eq!(rest.len(), count, "{rows} rows, {indexed}");
        assert_eq!((reader.splits()[0].offset, reader.splits()[0].finished), (rows as u64, true));
        // The last unit first: decoders meet them in any order.
        rest.reverse();
        let schema = Arc::new(Schema::new(vec![
            Field::new("s", DataType::Utf8, true),
            Field::new("a", DataType::Int64, true),
            Field::new("missing", DataType::Float64, true),
        ]));
        let mut decoder = source.decoder(schema, vec![2, 0, 1]).unwrap();
        let mut seen = vec![false; rows as usize];
        for unit in rest {
            for chunk in decoder.decode(unit).unwrap().chunks {
                assert!(chunk.num_rows() <= 8192);
                let [missing, s, a, id] = chunk.batch().columns() else { panic!("{:?}", chunk.schema()) };
                assert_eq!(missing.null_count(), chunk.num_rows());
                let a = a.as_any().downcast_ref::<Int64Array>().unwrap();
                let id = id.as_any().downcast_ref::<Int64Array>().unwrap();
                assert_eq!(a, id);
                for (row, n) in a.values().iter().enumerate() {
                    assert_eq!(s.is_null(row), n % 3 == 0);
                    seen[*n as usize] = true;
                }
            }
        }
        assert!(seen.into_iter().all(|seen| seen), "{rows} rows, {indexed}");
    }
}

#[test]
fn parquet_types() {
    let dir = tempfile::tempdir().unwrap();
    write_parquet(&dir.path().join("f.parquet"), 12, 7, true);
    let source = open(dir.path(), &[("path", "*.parquet"), ("encode", "parquet")], UNIT_BYTES).unwrap();
    let types: Vec<_> =
        source.default_schema().unwrap().unwrap().fields().iter().map(|f| f.data_type().clone()).collect();
    assert_eq!(types, [DataType::Int32, DataType::Utf8, DataType::Decimal128(20, 0), DataType::Utf8]);
    let read = |name: &str, data_type: DataType, nullable: bool| {
        let schema = Arc::new(Schema::new(vec![Field::new(name, data_type, nullable)]));
        let mut decoder = source.decoder(schema, vec![0]).unwrap();
        let mut letters = Vec::new();
        for unit in units(source.reader(None).unwrap().as_mut()) {
            letters.extend(decoder.decode(unit)?.dead_letters);
        }
        Ok::<_, crate::common::Error>(letters)
    };
    let letters = read("bad", DataType::Int64, true).unwrap();
    assert_eq!((letters.len(), letters[0].offset, letters[0].raw.as_slice()), (1, 5, &b"x"[..]));
    let letters = read("s", DataType::Utf8, false).unwrap();
    assert_eq!(letters.iter().map(|letter| letter.offset).collect::<Vec<_>>(), [0, 3, 6, 9]);
    let e = read("u", crate::types::time::timestamp(), true).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::DatatypeMismatch);
    assert!(e.message().contains("\"u\"") && e.hint().unwrap().contains("DECIMAL(20, 0)"), "{e}");
    std::fs::write(dir.path().join("g.parquet"), "no").unwrap();
    let mut reader = source.reader(None).unwrap();
    assert!(
        std::iter::repeat_with(|| reader.fetch())
            .find_map(std::result::Result::err)
            .unwrap()
            .message()
            .contains("g.parquet")
    );
}
