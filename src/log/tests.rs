//! The log as its users see it, and its files under every damage that the promises speak of.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::format::{ENTRY_HEADER, SEGMENT_HEADER, find_magic};
use super::*;

fn open(dir: &TempDir, segment_bytes: u64) -> Arc<Log> {
    open_when_free(LogConfig { segment_bytes, ..LogConfig::new(dir.path()) })
}

/// A child that another test starts at this moment holds every lock of the process until it is a program of its own.
fn open_when_free(config: LogConfig) -> Arc<Log> {
    let begun = crate::common::clock::instant();
    loop {
        match Log::open(config.clone()) {
            Err(e) if e.kind() == ErrorKind::ObjectInUse && begun.elapsed() < Duration::from_secs(10) => {
                std::thread::yield_now();
            }
            opened => return opened.unwrap(),
        }
    }
}

fn try_open(dir: &TempDir, segment_bytes: u64) -> Result<Arc<Log>> {
    Log::open(LogConfig { segment_bytes, ..LogConfig::new(dir.path()) })
}

fn payload(n: u64) -> Bytes {
    Bytes::from(format!("entry {n} ").repeat(n as usize % 5 + 1))
}

async fn fill(log: &Arc<Log>, entries: std::ops::Range<u64>) {
    for n in entries {
        assert_eq!(log.append(payload(n), n as u32 % 3).await.unwrap(), n);
    }
}

/// Reads to the end and checks every field.
fn check(log: &Arc<Log>, entries: std::ops::Range<u64>) {
    let mut reader = log.reader(entries.start).unwrap();
    let mut row = None;
    for n in entries.clone() {
        let record = reader.next().unwrap().unwrap_or_else(|| panic!("entry {n} is missing"));
        assert_eq!((record.offset, record.rows), (n, n as u32 % 3));
        assert_eq!(record.payload, payload(n));
        assert!(row.is_none_or(|row| row == record.first_row), "rows are numbered without gaps");
        row = Some(record.first_row + u64::from(record.rows));
    }
    assert!(reader.next().unwrap().is_none());
    assert_eq!(reader.offset(), entries.end);
    assert_eq!(log.end(), entries.end);
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "log"));
    files.sort();
    files
}

#[tokio::test]
async fn entries_come_back_in_order_also_after_a_restart_and_from_any_offset() {
    for segment_bytes in [1, 200, 1 << 20] {
        let dir = TempDir::new().unwrap();
        let log = open(&dir, segment_bytes);
        assert_eq!((log.start(), log.end()), (0, 0));
        assert!(log.reader(0).unwrap().next().unwrap().is_none());
        fill(&log, 0..20).await;
        check(&log, 0..20);
        drop(log);
        let log = open(&dir, segment_bytes);
        fill(&log, 20..40).await;
        for from in 0..=40 {
            check(&log, from..40);
        }
        let on_disk: u64 = files(dir.path()).iter().map(|f| fs::metadata(f).unwrap().len()).sum();
        assert_eq!(log.bytes(), on_disk);
        assert_eq!(files(dir.path()).len() > 1, segment_bytes < 1 << 20);
        drop(log);
        check(&open(&dir, segment_bytes), 0..40);
    }
}

#[tokio::test]
async fn empty_and_large_entries_are_entries() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, 1 << 20);
    let large = Bytes::from(vec![0xf1; 3 << 20]);
    for payload in [Bytes::new(), large.clone(), Bytes::new()] {
        log.append(payload, 0).await.unwrap();
    }
    drop(log);
    let log = open(&dir, 1 << 20);
    let mut reader = log.reader(0).unwrap();
    for expected in [Bytes::new(), large, Bytes::new()] {
        assert_eq!(reader.next().unwrap().unwrap().payload, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_appends_get_their_own_offsets_and_readers_see_them_once_durable() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, 4096);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..32u64 {
        let log = Arc::clone(&log);
        tasks.spawn(async move {
            let mut offsets = Vec::new();
            for n in 0..20 {
                let payload = format!("{task}/{n}");
                let offset = log.append(Bytes::from(payload.clone()), 2).await.unwrap();
                assert!(log.end() > offset, "visible once acknowledged");
                offsets.push((offset, payload));
            }
            offsets
        });
    }
    let following = tokio::task::spawn_blocking({
        let log = Arc::clone(&log);
        let runtime = tokio::runtime::Handle::current();
        move || {
            let appended = log.appended();
            let mut reader = log.reader(0).unwrap();
            let mut seen = Vec::new();
            while seen.len() < 640 {
                match reader.next().unwrap() {
                    Some(record) => {
                        assert_eq!(record.first_row, record.offset * 2);
                        seen.push((record.offset, String::from_utf8(record.payload.to_vec()).unwrap()));
                    }
                    None => runtime.block_on(appended.notified()),
                }
            }
            seen
        }
    });
    let mut acknowledged: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    acknowledged.sort();
    assert_eq!(following.await.unwrap(), acknowledged);
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_is_cut_and_the_log_goes_on() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, 1 << 20);
    fill(&log, 0..5).await;
    let whole = log.bytes();
    fill(&log, 5..6).await;
    drop(log);
    let file = files(dir.path()).remove(0);
    let bytes = fs::read(&file).unwrap();
    for length in whole as usize..bytes.len() {
        // Cut short, and as long as it should be with zeros instead of the rest.
        for padded in [length, bytes.len()] {
            let mut torn = bytes[..length].to_vec();
            torn.resize(padded, 0);
            fs::write(&file, torn).unwrap();
            let log = open(&dir, 1 << 20);
            check(&log, 0..5);
            assert_eq!(fs::metadata(&file).unwrap().len(), whole);
            fill(&log, 5..7).await;
            check(&log, 0..7);
        }
    }
}

/// Begins of the entries in a segment's bytes.
fn entries(bytes: &[u8]) -> Vec<usize> {
    let (mut found, mut at) = (Vec::new(), SEGMENT_HEADER);
    while let Some(next) = find_magic(&bytes[at..]) {
        found.push(at + next);
        at += next + 1;
    }
    found
}

#[tokio::test]
async fn a_corrupt_middle_is_an_error_that_names_segment_and_entry() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, 1 << 20);
    fill(&log, 0..4).await;
    drop(log);
    let file = files(dir.path()).remove(0);
    let bytes = fs::read(&file).unwrap();
    let starts = entries(&bytes);
    for flipped in starts[1]..starts[2] {
        let mut bad = bytes.clone();
        bad[flipped] ^= 0x40;
        fs::write(&file, bad).unwrap();
        let error = try_open(&dir, 1 << 20).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::DataCorrupted, "byte {flipped}");
        assert!(error.message().contains("00000000000000000000.log"), "{error}");
        assert!(error.message().contains(&format!("byte {}, entry 1", starts[1])), "{error}");
        assert_eq!(fs::read(&file).unwrap().len(), bytes.len(), "nothing is touched");
    }
}

#[tokio::test]
async fn a_corrupt_entry_of_an_earlier_segment_is_found_when_it_is_read() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, 1);
    fill(&log, 0..4).await;
    drop(log);
    let all = files(dir.path());
    assert_eq!(all.len(), 4);
    let whole = fs::read(&all[1]).unwrap();
    let flipped = {
        let mut bytes = whole.clone();
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    let damages: [(&str, &[u8]); 4] = [
        ("flipped", &flipped),
        ("short", &whole[..whole.len() - 1]),
        ("no entry", &whole[..SEGMENT_HEADER]),
        ("no header", &whole[..SEGMENT_HEADER - 1]),
    ];
    for (damage, bytes) in damages {
        fs::write(&all[1], bytes).unwrap();
        let log = open(&dir, 1);
        let mut reader = log.reader(0).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().offset, 0);
        let error = reader.next().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataCorrupted, "{damage}");
        assert!(error.message().contains("00000000000000000001.log"), "{damage}: {error}");
        assert!(reader.next().is_err(), "{damage}: it stays an error");
        check(&log, 2..4);
    }
}

#[tokio::test]
async fn a_torn_group_is_cut_though_a_later_entry_of_it_reached_the_disk() {
    // Three entries of one write; the page with the second was lost in a power cut.
    let dir = TempDir::new().unwrap();
    let log = open(&dir, 1 << 20);
    fill(&log, 0..1).await;
    drop(log);
    let file = files(dir.path()).remove(0);
    let mut bytes = fs::read(&file).unwrap();
    let salt = super::format::SegmentHeader::decode(&bytes).unwrap().salt;
    let mut group = Vec::new();
    let mut begins = Vec::new();
    let mut row = 0;
    for n in 1..4u64 {
        begins.push(group.len());
        super::format::push_entry(&mut group, salt, n, row, n as u32 % 3, &payload(n));
        row += n % 3;
    }
    group[begins[1]..begins[2]].fill(0);
    bytes.extend_from_slice(&group);
    fs::write(&file, bytes).unwrap();
    let log = open(&dir, 1 << 20);
    check(&log, 0..2);
    fill(&log, 2..4).await;
    check(&log, 0..4);
}

#[tokio::test]
async fn what_is_no_segment_is_refused_untouched() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, 1 << 20);
    fill(&log, 0..2).await;
    drop(log);
    let file = files(dir.path()).remove(0);
    let whole = fs::read(&file).unwrap();
    let mut newer = whole.clone();
    newer[7] = 2;
    let mut foreign = whole.clone();
    foreign[0] = b'X';
    for (bytes, kind) in [
        (newer, ErrorKind::NotSupported),
        (foreign, ErrorKind::DataCorrupted),
        (whole[..10].to_vec(), ErrorKind::DataCorrupted),
        (Vec::new(), ErrorKind::DataCorrupted),
    ] {
        fs::write(&file, &bytes).unwrap();
        assert_eq!(try_open(&dir, 1 << 20).err().unwrap().kind(), kind);
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }
    fs::write(&file, &whole).unwrap();
    let moved = file.with_file_name("00000000000000000005.log");
    fs::rename(&file, &moved).unwrap();
    assert_eq!(try_open(&dir, 1 << 20).err().unwrap().kind(), ErrorKind::DataCorrupted);
}

#[tokio::test]
async fn a_segment_half_begun_is_forgotten() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("00000000000000000000.tmp"), b"WEIR").unwrap();
    let log = open(&dir, 1);
    fill(&log, 0..2).await;
    drop(log);
    fs::write(dir.path().join("00000000000000000002.tmp"), b"").unwrap();
    let log = open(&dir, 1);
    fill(&log, 2..4).await;
    check(&log, 0..4);
}

#[tokio::test]
async fn truncation_deletes_passed_segments_as_retention_allows() {
    let hour = Duration::from_secs(3600);
    // (retention bytes, retention, age of the segments, begin after a truncation below entry 7 of 10)
    let cases = [
        (0, Duration::ZERO, Duration::ZERO, 7),
        (u64::MAX, Duration::ZERO, Duration::ZERO, 7),
        (u64::MAX, hour, Duration::ZERO, 0),
        (u64::MAX, hour, 2 * hour, 7),
        (0, hour, Duration::ZERO, 7),
    ];
    for (case, (bytes, time, age, start)) in cases.into_iter().enumerate() {
        let dir = TempDir::new().unwrap();
        let config = LogConfig { segment_bytes: 1, retention: Retention { bytes, time }, dir: dir.path().into() };
        let log = open_when_free(config.clone());
        fill(&log, 0..10).await;
        for file in files(dir.path()) {
            let file = fs::File::options().write(true).open(file).unwrap();
            let modified = file.metadata().unwrap().modified().unwrap() - age;
            file.set_modified(modified).unwrap();
        }
        log.truncate(0).unwrap();
        assert_eq!(log.start(), 0, "case {case}");
        log.truncate(7).unwrap();
        assert_eq!(log.start(), start, "case {case}");
        check(&log, start..10);
        if start > 0 {
            let error = log.reader(start - 1).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::ObjectNotReady, "case {case}");
        }
        drop(log);
        let log = open_when_free(config);
        assert_eq!(log.start(), start, "case {case}, reopened");
        check(&log, start..10);
    }
}

#[tokio::test]
async fn retention_by_size_keeps_about_that_size() {
    let dir = TempDir::new().unwrap();
    let mut config = LogConfig::new(dir.path());
    (config.segment_bytes, config.retention) = (1, Retention { bytes: 500, ..Retention::ALL });
    let log = open_when_free(config);
    fill(&log, 0..20).await;
    log.truncate(20).unwrap();
    assert!(log.bytes() <= 500 && log.bytes() > 300, "{}", log.bytes());
    check(&log, log.start()..20);
}

#[tokio::test]
async fn all_may_be_truncated_and_numbers_go_on_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, 1);
    fill(&log, 0..5).await;
    let row = log.reader(4).unwrap().next().unwrap().unwrap().first_row;
    log.truncate(u64::MAX).unwrap();
    assert_eq!((log.start(), log.end()), (4, 5), "the segment that is written to stays");
    drop(log);
    let log = open(&dir, 1);
    assert_eq!(log.reader(4).unwrap().next().unwrap().unwrap().first_row, row);
    fill(&log, 5..7).await;
    check(&log, 4..7);
}

#[tokio::test]
async fn readers_meet_truncation_with_a_clear_error_or_not_at_all() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, 1);
    fill(&log, 0..6).await;
    let mut ahead = log.reader(4).unwrap();
    let mut behind = log.reader(0).unwrap();
    let mut unopened = log.reader(1).unwrap();
    assert_eq!(behind.next().unwrap().unwrap().offset, 0);
    log.truncate(4).unwrap();
    assert_eq!(ahead.next().unwrap().unwrap().offset, 4);
    for reader in [&mut behind, &mut unopened] {
        let error = reader.next().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ObjectNotReady);
        assert!(error.message().contains("it begins at 4"), "{error}");
    }
    fill(&log, 6..8).await;
    for n in 5..8 {
        assert_eq!(ahead.next().unwrap().unwrap().offset, n);
    }
}

#[tokio::test]
async fn a_reader_beyond_the_end_is_an_error() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, 1);
    fill(&log, 0..3).await;
    assert!(log.reader(3).is_ok());
    assert_eq!(log.reader(4).err().unwrap().kind(), ErrorKind::DataCorrupted);
}

#[tokio::test]
async fn a_log_is_open_once() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, 1);
    assert_eq!(try_open(&dir, 1).err().unwrap().kind(), ErrorKind::ObjectInUse);
    let reader = log.reader(0).unwrap();
    drop(log);
    let _again = open(&dir, 1);
    drop(reader);
}

#[tokio::test]
async fn an_oversized_entry_is_refused() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, 1);
    let zeros = Bytes::from(vec![0; format::MAX_PAYLOAD + 1]);
    assert_eq!(log.append(zeros, 1).await.unwrap_err().kind(), ErrorKind::InvalidParameterValue);
    fill(&log, 0..1).await;
}

#[tokio::test]
async fn a_corrupt_length_does_not_ask_for_memory() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, 1 << 20);
    fill(&log, 0..1).await;
    drop(log);
    let file = files(dir.path()).remove(0);
    let mut bytes = fs::read(&file).unwrap();
    bytes[SEGMENT_HEADER + 8..SEGMENT_HEADER + 12].fill(0xff);
    fs::write(&file, &bytes).unwrap();
    let log = open(&dir, 1 << 20);
    assert_eq!((log.end(), log.bytes()), (0, SEGMENT_HEADER as u64));
    assert!(bytes.len() > SEGMENT_HEADER + ENTRY_HEADER);
}

#[cfg(feature = "failpoints")]
mod faults {
    use super::*;

    /// Set in the process that may arm failpoints: a fault must not meet the tests that run beside.
    const ALONE: &str = "WEIR_LOG_FAULTS";

    fn is_alone() -> bool {
        std::env::var_os(ALONE).is_some()
    }

    #[test]
    fn in_a_process_of_their_own() {
        if is_alone() {
            return;
        }
        let tests = std::env::current_exe().unwrap();
        let run = std::process::Command::new(tests)
            .args(["--test-threads=1", "log::tests::faults::"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && said.contains("4 passed"), "{said}");
    }

    #[tokio::test]
    async fn a_failed_append_never_appears_and_the_next_one_works() {
        if !is_alone() {
            return;
        }
        for (fault, kind) in [("enospc", ErrorKind::DiskFull), ("eio", ErrorKind::Io)] {
            for point in ["log.append.write", "log.append.sync", "log.roll"] {
                for before in [0, 3] {
                    for segment_bytes in [1, 1 << 20] {
                        one_fault(point, fault, kind, before, segment_bytes).await;
                    }
                }
            }
        }
    }

    async fn one_fault(point: &str, fault: &str, kind: ErrorKind, before: u64, segment_bytes: u64) {
        let case = format!("{point} {fault} after {before} entries, segments of {segment_bytes}");
        let dir = TempDir::new().unwrap();
        let log = open(&dir, segment_bytes);
        fill(&log, 0..before).await;
        let reader = log.reader(before).unwrap();
        if point == "log.roll" && (before == 0 || segment_bytes > 1) {
            return; // no segment is begun
        }
        fail::cfg(point, &format!("2*return({fault})->off")).unwrap();
        for _ in 0..2 {
            let error = log.append(Bytes::from_static(b"must never appear"), 1).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{case}: {error}");
            assert_eq!(log.end(), before, "{case}");
        }
        // As the disk stands now, another process must see none of it.
        let copy = TempDir::new().unwrap();
        for file in files(dir.path()) {
            fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
        }
        check(&open(&copy, segment_bytes), 0..before);
        fill(&log, before..before + 3).await;
        fail::remove(point);
        check(&log, 0..before + 3);
        let mut reader = reader;
        assert_eq!(reader.next().unwrap().unwrap().payload, payload(before), "{case}");
        drop(log);
        check(&open(&dir, segment_bytes), 0..before + 3);
    }

    #[tokio::test]
    async fn a_failure_that_cannot_roll_either_is_mended_by_the_next_append() {
        if !is_alone() {
            return;
        }
        let dir = TempDir::new().unwrap();
        let log = open(&dir, 1 << 20);
        fill(&log, 0..3).await;
        fail::cfg("log.append.sync", "1*return(enospc)->off").unwrap();
        fail::cfg("log.roll", "3*return(enospc)->off").unwrap();
        for _ in 0..3 {
            assert!(log.append(Bytes::from_static(b"must never appear"), 1).await.is_err());
        }
        fill(&log, 3..6).await;
        fail::remove("log.append.sync");
        fail::remove("log.roll");
        check(&log, 0..6);
        drop(log);
        check(&open(&dir, 1 << 20), 0..6);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn under_random_faults_the_log_holds_what_was_acknowledged_and_no_more() {
        if !is_alone() {
            return;
        }
        let dir = TempDir::new().unwrap();
        let mut acknowledged = Vec::new();
        for round in 0..5 {
            let log = open(&dir, 700);
            for point in ["log.append.write", "log.append.sync", "log.roll"] {
                fail::cfg(point, "15%return(eio)").unwrap();
            }
            let mut tasks = tokio::task::JoinSet::new();
            for task in 0..8 {
                let log = Arc::clone(&log);
                tasks.spawn(async move {
                    let mut kept = Vec::new();
                    for n in 0..20 {
                        let payload = format!("{round}/{task}/{n}");
                        if let Ok(offset) = log.append(Bytes::from(payload.clone()), 1).await {
                            kept.push((offset, payload));
                        }
                    }
                    kept
                });
            }
            acknowledged.extend(tasks.join_all().await.into_iter().flatten());
            for point in ["log.append.write", "log.append.sync", "log.roll"] {
                fail::remove(point);
            }
        }
        acknowledged.sort();
        let log = open(&dir, 700);
        let mut reader = log.reader(0).unwrap();
        let mut held = Vec::new();
        while let Some(record) = reader.next().unwrap() {
            held.push((record.offset, String::from_utf8(record.payload.to_vec()).unwrap()));
        }
        assert_eq!(held, acknowledged);
        assert!(!held.is_empty() && held.len() < 800, "both outcomes happened: {}", held.len());
    }
}

#[tokio::test]
async fn what_a_sender_writes_is_never_taken_for_a_side_file() {
    let dir = TempDir::new().unwrap();
    let sent = Bytes::from_static(b"WEIRSIDE12345678");
    let log = open(&dir, 1 << 20);
    let mut side = log.side().unwrap();
    side.push(2, b"piece").unwrap();
    let side = side.finish().unwrap();
    log.append(sent.clone(), 1).await.unwrap();
    log.append_side(side).await.unwrap();
    let check = |log: &Arc<Log>| {
        let mut reader = log.reader(0).unwrap();
        let record = reader.next().unwrap().unwrap();
        assert_eq!(record.payload, sent);
        assert!(!log.is_side(&record) && log.side_of(&record, 0).unwrap().is_none());
        let record = reader.next().unwrap().unwrap();
        let mut pieces = log.side_of(&record, 0).unwrap().unwrap();
        assert_eq!(pieces.piece().unwrap().unwrap(), (Bytes::from_static(b"piece"), 2));
        assert!(log.is_side(&record) && pieces.piece().unwrap().is_none());
    };
    check(&log);
    drop(log);
    check(&open(&dir, 1 << 20));
}
