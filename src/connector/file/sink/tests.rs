//! Tests of the file sink.

use std::path::Path;

use super::*;
use crate::common::clock::Clock;
use crate::connector::Options;
use crate::types::pretty;

fn open(dir: &Path, id: u32, pairs: &[(&str, &str)]) -> Result<Arc<dyn Sink>> {
    let mut options: Options = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    options.entry("path".into()).or_insert("out".into());
    let context = Context {
        base_dir: dir.to_path_buf(),
        data_dir: dir.join("data"),
        clock: Clock::manual(0),
        secrets: Arc::new(|_| unreachable!("no option is a secret")),
        logs: Arc::new(|_| unreachable!("a file needs no log")),
    };
    sink(JobId(id), Given { object: "sink \"s\"", options: &options }, &context)
}

/// Visible files in name order, with their text.
fn parts(dir: &Path) -> Vec<(String, String)> {
    let mut parts: Vec<_> = std::fs::read_dir(dir.join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().into(), std::fs::read_to_string(path).unwrap()))
        .collect();
    parts.sort();
    parts
}

fn aside(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("out/.weir-tmp")).unwrap().count() - 1
}

fn chunk(text: &str) -> StreamChunk {
    pretty::chunk(text).unwrap()
}

const JSON: &[(&str, &str)] = &[("encode", "json")];

/// A crash after each step of two epochs by two actors: what is visible after recovery is exactly what was committed.
#[test]
fn every_crash_point_leaves_exactly_the_committed_epochs() {
    let steps = ["write 1", "seal 1", "commit 1", "write 2", "seal 2", "commit 2"];
    for crash in 0..=steps.len() {
        // The coordinator may have committed an epoch before the sink was told.
        for committed in [0, 1, 2] {
            let sealed = (1..=2).filter(|epoch| crash >= epoch * 3 - 1).count() as u64;
            let told = (1..=2).filter(|epoch| crash >= epoch * 3).count() as u64;
            if committed > sealed || committed < told {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            {
                let sink = open(dir.path(), 1, JSON).unwrap();
                sink.recover(Epoch(0)).unwrap();
                let schema = pretty::schema("n:bigint").unwrap();
                let mut writers: Vec<_> = (0..2).map(|actor| sink.writer(actor, schema.clone()).unwrap()).collect();
                for step in &steps[..crash] {
                    let (what, epoch) = step.split_once(' ').unwrap();
                    let epoch = Epoch(epoch.parse().unwrap());
                    for (actor, writer) in writers.iter_mut().enumerate() {
                        match what {
                            "write" => writer.write(&chunk(&format!("n:bigint\n+ {epoch}{actor}"))).unwrap(),
                            "seal" => writer.seal(epoch).unwrap(),
                            _ => sink.commit(epoch).unwrap(),
                        }
                    }
                }
            }
            let sink = open(dir.path(), 1, JSON).unwrap();
            sink.recover(Epoch(committed)).unwrap();
            sink.recover(Epoch(committed)).unwrap();
            sink.commit(Epoch(committed)).unwrap();
            let expected: Vec<_> = (1..=committed)
                .flat_map(|epoch| {
                    (0..2).map(move |actor| {
                        (format!("part-{epoch:012}-{actor}.json"), format!("{{\"n\":{epoch}{actor}}}\n"))
                    })
                })
                .collect();
            assert_eq!(parts(dir.path()), expected, "crash after {crash} steps, {committed} committed");
            assert_eq!(aside(dir.path()), 0);
        }
    }
}

#[test]
fn encodings() {
    let rows = "n:bigint s:varchar t:timestamp\n+ 1 a 2024-01-02T03:04:05.5\n+2 . b,c .";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            JSON,
            "{\"n\":1,\"s\":\"a\",\"t\":\"2024-01-02T03:04:05.500\"}\n{\"n\":null,\"s\":\"b,c\",\"t\":null}\n{\"n\":null,\"s\":\"b,c\",\"t\":null}\n",
        ),
        (&[("encode", "csv")], "1,a,2024-01-02T03:04:05.500\n,\"b,c\",\n,\"b,c\",\n"),
        (
            &[("encode", "csv"), ("header", "true"), ("delimiter", ";"), ("null", "\\N")],
            "n;s;t\n1;a;2024-01-02T03:04:05.500\n\\N;b,c;\\N\n\\N;b,c;\\N\n",
        ),
        (&[("encode", "csv"), ("type", "changes")], "1,a,2024-01-02T03:04:05.500,1\n,\"b,c\",,2\n"),
    ];
    for (options, text) in cases {
        let dir = tempfile::tempdir().unwrap();
        let sink = open(dir.path(), 1, options).unwrap();
        let rows = chunk(rows);
        let mut writer = sink.writer(0, rows.schema()).unwrap();
        writer.write(&rows).unwrap();
        writer.seal(Epoch(1)).unwrap();
        writer.write(&rows.slice(0, 0)).unwrap();
        writer.seal(Epoch(2)).unwrap();
        assert_eq!(parts(dir.path()), []);
        sink.commit(Epoch(2)).unwrap();
        let parts = parts(dir.path());
        assert_eq!((parts.len(), parts[0].1.as_str()), (1, *text), "{options:?}");
    }
}

#[test]
fn parquet_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let sink = open(dir.path(), 1, &[("encode", "parquet"), ("type", "changes")]).unwrap();
    let rows = chunk("n:bigint s:varchar\n+ 1 a\n- . .");
    let mut writer = sink.writer(0, rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    writer.write(&rows).unwrap();
    writer.seal(Epoch(7)).unwrap();
    sink.commit(Epoch(7)).unwrap();
    let file = std::fs::File::open(dir.path().join("out/part-000000000007-0.parquet")).unwrap();
    let reader = datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let batch = reader.build().unwrap().next().unwrap().unwrap();
    let lines = pretty::rows(&StreamChunk::inserts(batch)).unwrap();
    assert_eq!(lines, ["+ 1 a 1", "+ . . -1", "+ 1 a 1", "+ . . -1"]);
}

#[test]
fn wrong_uses_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let wrong: &[&[(&str, &str)]] = &[
        &[],
        &[("encode", "xml")],
        &[("encode", "json"), ("header", "true")],
        &[("encode", "json"), ("type", "upsert")],
        &[("encode", "json"), ("path", "")],
    ];
    for options in wrong {
        assert!(open(dir.path(), 1, options).is_err(), "{options:?}");
    }
    let sink = open(dir.path(), 1, JSON).unwrap();
    let retracted = chunk("n:bigint\n- 1");
    let e = sink.writer(0, retracted.schema()).unwrap().write(&retracted).unwrap_err();
    assert!(e.hint().unwrap().contains("type = 'changes'"), "{e}");
    let nested = Schema::new(vec![Field::new("l", DataType::new_list(DataType::Int64, true), true)]);
    let csv = open(dir.path(), 2, &[("encode", "csv"), ("path", "csv")]).unwrap();
    assert!(csv.writer(0, Arc::new(nested)).is_err());
}

#[test]
fn a_folder_has_one_sink() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), 1, JSON).unwrap();
    let e = open(dir.path(), 2, JSON).err().unwrap();
    assert_eq!(e.kind(), ErrorKind::ObjectInUse);
    // A restarting job may open its sink anew before the old handle is gone.
    let second = open(dir.path(), 1, JSON).unwrap();
    drop(first);
    second.recover(Epoch(0)).unwrap();
    assert!(open(dir.path(), 2, JSON).is_err());
    // After DROP SINK the folder is free, for sinks of this data folder.
    drop(second);
    drop(open(dir.path(), 2, JSON).unwrap());
    std::fs::write(dir.path().join("out/.weir-tmp/owner"), "/elsewhere\n1\n").unwrap();
    let e = open(dir.path(), 2, JSON).err().unwrap();
    assert!(e.message().contains("/elsewhere"), "{e}");
}

#[test]
fn files_of_others_are_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let sink = open(dir.path(), 1, JSON).unwrap();
    std::fs::write(dir.path().join("out/part-000000000001-0.json"), "mine").unwrap();
    let rows = chunk("n:bigint\n+ 1");
    let mut writer = sink.writer(0, rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    writer.seal(Epoch(1)).unwrap();
    assert!(sink.commit(Epoch(1)).is_err());
    assert_eq!(parts(dir.path())[0].1, "mine");
}

#[test]
fn a_folder_that_is_lost_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let sink = open(dir.path(), 1, JSON).unwrap();
    let rows = chunk("n:bigint\n+ 1");
    let mut writer = sink.writer(0, rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    std::fs::remove_dir_all(dir.path().join("out")).unwrap();
    for e in [writer.seal(Epoch(1)), writer.write(&rows), sink.commit(Epoch(1)), sink.recover(Epoch(1))] {
        let e = e.unwrap_err();
        assert!(e.kind() == ErrorKind::Io && e.message().contains(".weir-tmp"), "{e}");
    }
}
