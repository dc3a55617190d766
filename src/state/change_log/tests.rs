//! Change logs over a real store: what commits put in, who may read on from where, over reopening and dropping.

use super::*;
use crate::common::ErrorKind;
use crate::state::tests::{BACKENDS, TABLE, open, put, schema, values};
use crate::state::{StateBackend, StateStore, StateWriter, layout};

/// A store with one followed table, committed up to epoch 1 with a1 and b1.
struct World {
    dir: tempfile::TempDir,
    backend: StateBackend,
    store: Arc<StateStore>,
    table: Arc<Table>,
    writer: StateWriter,
}

impl World {
    fn new(backend: StateBackend) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), backend);
        let table = store.table(TABLE, schema()).unwrap();
        let writer = table.writer();
        let mut world = Self { dir, backend, store, table, writer };
        world.commit(1, &[("a", Some(1)), ("b", Some(1))]);
        world
    }

    fn seal(&mut self, epoch: u64, changes: &[(&str, Option<i64>)]) {
        put(&mut self.writer, changes);
        self.writer.seal(Epoch(epoch));
    }

    fn commit(&mut self, epoch: u64, changes: &[(&str, Option<i64>)]) {
        self.seal(epoch, changes);
        self.store.commit(Epoch(epoch), &[]).unwrap();
    }

    fn reopen(self) -> Self {
        let Self { dir, backend, store, table, writer } = self;
        drop((store, table, writer));
        let store = open(dir.path(), backend);
        let table = store.table(TABLE, schema()).unwrap();
        let writer = table.writer();
        Self { dir, backend, store, table, writer }
    }

    fn follow(&self, since: Option<u64>) -> Result<(Frozen, Position)> {
        self.store.follow(&self.table, since.map(Epoch))
    }

    /// What is left of a snapshot.
    fn rows(&self, frozen: &mut Frozen) -> Vec<Option<i64>> {
        let mut all = Vec::new();
        loop {
            match self.store.next_rows(frozen).unwrap() {
                batches if batches.is_empty() => return all,
                batches => all.extend(batches.iter().flat_map(values)),
            }
        }
    }

    /// All that the log has after `position`: `epoch: weight value`, and up to which epoch that is all.
    fn changes(&self, position: &mut Position) -> (Vec<String>, u64) {
        let mut seen = Vec::new();
        loop {
            match self.store.next_changes(TABLE, position).unwrap() {
                Next::UpTo(epoch) => return (seen, epoch.0),
                Next::Changes(changes) => {
                    let rows = values(&changes.rows);
                    let each = changes.weights.values().iter().zip(rows);
                    seen.extend(each.map(|(w, v)| format!("{}: {w:+} {}", changes.epoch, v.unwrap())));
                }
            }
        }
    }

    fn refused(&self, since: u64) -> String {
        let e = self.follow(Some(since)).err().unwrap();
        assert_eq!(e.kind(), ErrorKind::ObjectNotReady);
        e.message().to_string()
    }
}

#[test]
fn a_commit_gives_out_its_changes_once_it_is_on_disk() {
    for backend in BACKENDS {
        let mut world = World::new(backend);
        let (mut frozen, mut position) = world.follow(None).unwrap();
        assert_eq!(frozen.epoch(), Epoch(1));
        world.seal(2, &[("a", Some(2)), ("b", None), ("c", Some(3)), ("x", None)]);
        assert_eq!(world.changes(&mut position), (vec![], 1), "sealed is not committed");
        world.store.commit(Epoch(2), &[]).unwrap();
        let second = ["2: -1 1", "2: +1 2", "2: -1 1", "2: +1 3"].map(String::from).to_vec();
        assert_eq!(world.changes(&mut position), (second.clone(), 2));
        assert_eq!(world.rows(&mut frozen), [Some(1), Some(1)], "a snapshot stays as it was");
        // Two epochs in one commit, and a row that ends as it was.
        world.seal(3, &[("a", Some(9)), ("c", Some(4))]);
        world.commit(4, &[("a", Some(2)), ("c", Some(5))]);
        let fourth = ["4: -1 3", "4: +1 5"].map(String::from).to_vec();
        assert_eq!(world.changes(&mut position), (fourth.clone(), 4));
        assert_eq!(world.refused(3), "epoch 3 was not given out by a subscription");

        drop(frozen);
        let world = world.reopen();
        let (mut frozen, mut position) = world.follow(Some(1)).unwrap();
        assert_eq!(world.changes(&mut position), ([second, fourth.clone()].concat(), 4));
        assert_eq!(world.rows(&mut frozen), [Some(2), Some(5)]);
        assert_eq!(world.changes(&mut world.follow(Some(2)).unwrap().1), (fourth, 4));
        assert_eq!(world.changes(&mut world.follow(Some(4)).unwrap().1), (vec![], 4));
        assert_eq!(world.refused(0), "changes after epoch 0 are not kept any more");
        assert_eq!(world.refused(5), "epoch 5 is still to come: the last one on disk is 4");
        assert_eq!(world.refused(3), "epoch 3 was not given out by a subscription");
    }
}

#[test]
fn a_log_is_on_disk_from_its_first_reader_on() {
    for backend in BACKENDS {
        let world = World::new(backend);
        drop(world.follow(None).unwrap());
        let mut world = world.reopen();
        world.store.commit(Epoch(2), &[]).unwrap();
        world.commit(3, &[("a", None)]);
        let world = world.reopen();
        for since in [1, 2] {
            let (_, mut position) = world.follow(Some(since)).unwrap();
            assert_eq!(world.changes(&mut position), (vec!["3: -1 1".to_string()], 3), "since {since}");
        }
    }
}

#[test]
fn a_large_commit_is_several_pieces() {
    let mut world = World::new(StateBackend::Memory);
    let (_, mut position) = world.follow(None).unwrap();
    let names: Vec<String> = (0..10_000).map(|i| format!("k{i:05}")).collect();
    let changes: Vec<_> = (0..).zip(&names).map(|(i, name)| (name.as_str(), Some(i))).collect();
    world.commit(2, &changes);
    let pieces = world.store.backend.scan(&[7]).unwrap().len();
    assert_eq!(pieces, 3);
    let (seen, epoch) = world.changes(&mut position);
    let expected: Vec<_> = (0..10_000).map(|i| format!("2: +1 {i}")).collect();
    assert_eq!((seen, epoch), (expected, 2));
    // More than a log may hold.
    assert!(changes_of(&world.table, Epoch(1), Epoch(2)).is_some_and(|none| none.is_empty()), "all is folded");
    world.seal(3, &changes.iter().map(|(name, _)| (*name, Some(-1))).collect::<Vec<_>>());
    assert!(super::changes(&world.table, Epoch(2), Epoch(3), 1000).unwrap().is_none());
}

fn changes_of(table: &Table, base: Epoch, epoch: Epoch) -> Option<Vec<bytes::Bytes>> {
    super::changes(table, base, epoch, KEPT_BYTES).unwrap()
}

#[test]
fn a_dropped_table_takes_its_log_along() {
    for backend in BACKENDS {
        let mut world = World::new(backend);
        let (mut frozen, mut position) = world.follow(None).unwrap();
        world.commit(2, &[("a", Some(2))]);
        world.store.drop_table(TABLE);
        world.store.commit(Epoch(3), &[]).unwrap();
        let e = world.store.next_changes(TABLE, &mut position).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::ObjectNotReady, "{e}");
        // What the cache still has may be read.
        if let Err(e) = world.store.next_rows(&mut frozen) {
            assert_eq!(e.kind(), ErrorKind::ObjectNotReady, "{e}");
        }
        for kind in [&layout::LOGS[0], &7] {
            assert!(world.store.backend.scan(&[*kind]).unwrap().is_empty());
        }
    }
}

#[test]
fn a_damaged_piece_or_record_is_an_error() {
    let mut world = World::new(StateBackend::Memory);
    let (_, mut position) = world.follow(None).unwrap();
    world.commit(2, &[("a", Some(2))]);
    let name = layout::piece(TABLE, 0);
    let piece = world.store.backend.get(&name).unwrap().unwrap();
    for damaged in [&piece[..0], &piece[..10], &piece[..16], &piece[..40]] {
        let damaged = bytes::Bytes::copy_from_slice(damaged);
        world.store.backend.apply(vec![(name.clone(), Some(damaged))]).unwrap();
        let e = world.store.next_changes(TABLE, &mut position).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::DataCorrupted, "{e}");
    }
    let record = |name: Vec<u8>, text: &str| vec![(name, bytes::Bytes::copy_from_slice(text.as_bytes()))];
    for records in [
        record(layout::log(TABLE), "{"),
        record(layout::log_list(TABLE, 0), "[]"),
        record(vec![6, 1], "{}"),
        [
            record(layout::log(TABLE), r#"{"since":1,"next":5,"read_at":0}"#),
            record(layout::log_list(TABLE, 0), r#"[{"number":3,"base":1,"epoch":2,"bytes":9}]"#),
        ]
        .concat(),
    ] {
        assert_eq!(Logs::load(records.clone()).err().unwrap().kind(), ErrorKind::DataCorrupted, "{records:?}");
    }
}
