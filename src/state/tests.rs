//! The module as its users see it: against a model, through faults, and over reopening.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::common::ErrorKind;
use crate::types::{Epoch, Keys};

pub(super) const BACKENDS: [StateBackend; 2] = [StateBackend::Memory, StateBackend::Sled];
pub(super) const TABLE: TableId = TableId(7);

/// What a row is made of: a number, and a text and a list derived from it. `None` is a row of nulls.
pub(super) type Value = Option<i64>;
type Model = BTreeMap<Vec<u8>, Value>;

pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("t", DataType::Utf8, true),
        Field::new("l", DataType::List(Arc::new(Field::new("item", DataType::Int64, true))), true),
    ]))
}

fn rows(values: &[Value]) -> RecordBatch {
    let text = |n: i64| "x".repeat((n.unsigned_abs() % 90) as usize);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(values.to_vec())),
        Arc::new(values.iter().map(|v| v.map(text)).collect::<StringArray>()),
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(
            values.iter().map(|v| v.map(|n| vec![Some(n); (n.unsigned_abs() % 3) as usize])),
        )),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

pub(super) fn values(rows: &RecordBatch) -> Vec<Value> {
    let numbers: Vec<Value> = rows.column(0).as_primitive::<Int64Type>().iter().collect();
    assert_eq!(rows, &self::rows(&numbers), "columns of one row stay together");
    numbers
}

fn keys(keys: &[Vec<u8>]) -> Keys {
    Keys::from_iter_values(keys)
}

fn flat(batches: Batches) -> Vec<(Vec<u8>, Value)> {
    batches
        .iter()
        .flat_map(|(k, r)| {
            assert_eq!(k.len(), r.num_rows());
            k.iter().map(|k| k.unwrap().to_vec()).zip(values(r)).collect::<Vec<_>>()
        })
        .collect()
}

fn found(lookup: &Lookup) -> Vec<Option<Value>> {
    let rows = values(&lookup.rows);
    lookup.index.iter().map(|at| at.map(|at| rows[at as usize])).collect()
}

pub(super) fn open(dir: &Path, backend: StateBackend) -> Arc<StateStore> {
    StateStore::open(StateConfig { dir: dir.into(), backend, cache_bytes: 1 << 20 }).unwrap()
}

pub(super) fn put(writer: &mut StateWriter, changes: &[(&str, Option<i64>)]) {
    let k: Vec<Vec<u8>> = changes.iter().map(|(k, _)| k.as_bytes().to_vec()).collect();
    let v: Vec<Value> = changes.iter().map(|(_, v)| *v).collect();
    let puts = BooleanArray::from(v.iter().map(Option::is_some).collect::<Vec<_>>());
    writer.write(keys(&k), rows(&v), Some(puts)).unwrap();
}

fn text(batches: Batches) -> String {
    let each = flat(batches).into_iter().map(|(k, v)| format!("{}{}", String::from_utf8(k).unwrap(), v.unwrap()));
    each.collect::<Vec<_>>().join(" ")
}

fn all(table: &Table, epoch: u64) -> String {
    text(table.scan(Epoch(epoch), &KeyRange::all(), None).unwrap())
}

#[test]
fn reads_see_the_open_epoch_then_runs_then_pages() {
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), backend);
        let table = store.table(TABLE, schema()).unwrap();
        let mut writer = table.writer();
        put(&mut writer, &[("a", Some(1)), ("b", Some(1)), ("c", Some(1))]);
        writer.seal(Epoch(1));
        assert_eq!(store.commit(Epoch(1), &[]).unwrap().rows, 3);
        assert_eq!(table.stats().rows, 3);
        put(&mut writer, &[("b", None), ("d", Some(2))]);
        writer.seal(Epoch(2));
        put(&mut writer, &[("a", Some(3)), ("c", None), ("b", Some(3)), ("b", Some(4))]);
        assert!(writer.open_bytes() > 0);
        assert_eq!(all(&table, 1), "a1 b1 c1");
        assert_eq!(all(&table, 2), "a1 c1 d2");
        assert_eq!(text(writer.scan(&KeyRange::all(), None).unwrap()), "a3 b4 d2");
        let wanted = ["d", "c", "a", "x", "b", "a"].map(|k| k.as_bytes().to_vec());
        let got = found(&writer.get(&keys(&wanted)).unwrap());
        assert_eq!(got, [Some(Some(2)), None, Some(Some(3)), None, Some(Some(4)), Some(Some(3))]);
        let got = found(&table.get(Epoch(2), &keys(&wanted)).unwrap());
        assert_eq!(got, [Some(Some(2)), Some(Some(1)), Some(Some(1)), None, None, Some(Some(1))]);
        writer.clear();
        assert_eq!(text(writer.scan(&KeyRange::all(), None).unwrap()), "a1 c1 d2");
        assert_eq!(writer.open_bytes(), 0);

        drop((writer, table, store));
        let store = open(dir.path(), backend);
        assert_eq!(store.committed_epoch(), Epoch(1));
        let table = store.table(TABLE, schema()).unwrap();
        assert_eq!(table.stats().rows, 3, "known without reading");
        assert_eq!(all(&table, 1), "a1 b1 c1");
        let mut writer = table.writer();
        writer.delete_range(&KeyRange::all()).unwrap();
        writer.seal(Epoch(2));
        store.commit(Epoch(2), &[]).unwrap();
        assert_eq!(all(&table, 2), "");
        assert_eq!(table.stats(), TableStats::default());
    }
}

#[test]
fn a_write_that_does_not_fit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), StateBackend::Memory);
    let strict = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    let mut writer = store.table(TABLE, strict.clone()).unwrap().writer();
    let batch = |values: Vec<Value>| {
        let nullable = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        RecordBatch::try_new(nullable, vec![Arc::new(Int64Array::from(values))]).unwrap()
    };
    let k = Keys::from_iter_values(["a", "b"]);
    assert!(writer.write(k.clone(), batch(vec![Some(1)]), None).is_err());
    assert!(writer.write(k.clone(), batch(vec![Some(1), None]), None).is_err());
    assert!(writer.write(k.clone(), batch(vec![None, None]), Some(vec![true, false].into())).is_err());
    assert!(writer.write(k.clone(), rows(&[None, None]), None).is_err());
    assert!(writer.write(k.clone(), batch(vec![Some(1), Some(2)]), Some(vec![true].into())).is_err());
    assert!(writer.write(Keys::from_iter([Some("a"), None]), batch(vec![Some(1), Some(2)]), None).is_err());
    assert_eq!(writer.open_bytes(), 0);
    writer.write(k.clone(), batch(vec![Some(1), None]), Some(vec![true, false].into())).unwrap();
    let lookup = writer.get(&k).unwrap();
    assert_eq!(lookup.index, [Some(0), None]);
    assert_eq!(lookup.rows.schema(), strict);
}

#[test]
fn a_table_without_rows_leaves_nothing_behind() {
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), backend);
        let table = store.table(TABLE, schema()).unwrap();
        store.commit(Epoch(1), &[]).unwrap();
        drop((table, store));
        // Its job was never committed: the id goes to another.
        let other = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        assert!(open(dir.path(), backend).table(TABLE, other).is_ok());
    }
}

#[test]
fn a_table_keeps_its_schema_until_it_is_dropped() {
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        let other = Arc::new(Schema::new(vec![Field::new("m", DataType::Int64, true)]));
        let store = open(dir.path(), backend);
        let table = store.table(TABLE, schema()).unwrap();
        assert!(Arc::ptr_eq(&table, &store.table(TABLE, schema()).unwrap()));
        assert!(store.table(TABLE, other.clone()).is_err());
        let mut writer = table.writer();
        put(&mut writer, &[("a", Some(1))]);
        writer.seal(Epoch(1));
        store.commit(Epoch(1), &[]).unwrap();
        drop((writer, table, store));

        let store = open(dir.path(), backend);
        assert_eq!(store.table(TABLE, other.clone()).err().unwrap().kind(), ErrorKind::DatatypeMismatch);
        store.drop_table(TABLE);
        assert!(store.table(TABLE, schema()).is_err());
        store.commit(Epoch(2), &[]).unwrap();
        drop(store);

        let store = open(dir.path(), backend);
        let table = store.table(TABLE, other).unwrap();
        assert!(table.scan(Epoch(2), &KeyRange::all(), None).unwrap().is_empty());
    }
}

#[test]
fn meta_is_there_after_its_commit() {
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), backend);
        let entry = |k: &str, v: &str| (k.as_bytes().to_vec(), Some(v.as_bytes().to_vec()));
        store.commit(Epoch(1), &[entry("job/1", "x"), entry("job/2", "y"), entry("sink", "z")]).unwrap();
        store.commit(Epoch(2), &[entry("job/1", "new"), (b"sink".to_vec(), None)]).unwrap();
        drop(store);
        let store = open(dir.path(), backend);
        assert_eq!(store.committed_epoch(), Epoch(2));
        assert_eq!(store.meta(b"job/1").unwrap(), Some(b"new".to_vec()));
        assert_eq!(store.meta(b"sink").unwrap(), None);
        let jobs = store.meta_scan(b"job/").unwrap();
        assert_eq!(jobs, [(b"job/1".to_vec(), b"new".to_vec()), (b"job/2".to_vec(), b"y".to_vec())]);
    }
}

#[test]
fn a_later_commit_waits_for_a_pin() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), StateBackend::Memory);
    let table = store.table(TABLE, schema()).unwrap();
    let mut writer = table.writer();
    for epoch in 1..=2 {
        put(&mut writer, &[("a", Some(epoch))]);
        writer.seal(Epoch(epoch as u64));
    }
    let first = store.pin(Epoch(1)).unwrap();
    let _second = store.pin(Epoch(2)).unwrap();
    store.commit(Epoch(1), &[]).unwrap();
    std::thread::scope(|s| {
        let commit = s.spawn(|| store.commit(Epoch(2), &[]).unwrap());
        assert_eq!(all(&table, 1), "a1");
        assert_eq!(store.committed_epoch(), Epoch(1));
        // A writer is not held up.
        put(&mut writer, &[("a", Some(3))]);
        writer.seal(Epoch(3));
        assert_eq!(all(&table, 1), "a1");
        drop(first);
        assert_eq!(commit.join().unwrap().rows, 1);
    });
    assert_eq!(store.committed_epoch(), Epoch(2));
    assert_eq!((all(&table, 2), all(&table, 3)), ("a2".into(), "a3".into()));
    assert_eq!(store.pin(Epoch(1)).err().unwrap().kind(), ErrorKind::ObjectNotReady);
    assert!(store.commit(Epoch(1), &[]).is_err());
}

#[test]
fn a_discarded_table_is_at_the_last_commit() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), StateBackend::Memory);
    let tables: Vec<_> = (1..=2).map(|id| store.table(TableId(id), schema()).unwrap()).collect();
    let mut writers: Vec<_> = tables.iter().map(|t| t.writer()).collect();
    for epoch in 1..=3 {
        for writer in &mut writers {
            put(writer, &[("a", Some(epoch))]);
            writer.seal(Epoch(epoch as u64));
        }
    }
    store.commit(Epoch(2), &[]).unwrap();
    store.discard(&[TableId(1), TableId(99)]);
    assert_eq!(tables.iter().map(|t| all(t, 9)).collect::<Vec<_>>(), ["a2", "a3"]);
}

#[test]
fn a_reader_keeps_its_pages_through_commits() {
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), backend);
        let table = store.table(TABLE, schema()).unwrap();
        let mut writer = table.writer();
        let k: Vec<Vec<u8>> = (0..20_000u32).map(|i| i.to_be_bytes().to_vec()).collect();
        let write = |writer: &mut StateWriter, epoch: u64| {
            writer.write(keys(&k), rows(&vec![Some(epoch as i64); k.len()]), None).unwrap();
            writer.seal(Epoch(epoch));
            store.commit(Epoch(epoch), &[]).unwrap();
        };
        write(&mut writer, 1);
        let view = table.view().unwrap();
        assert!(view.directory.len() > 5, "{} pages", view.directory.len());
        for epoch in 2..6 {
            write(&mut writer, epoch);
        }
        let old = scan::scan(&table, &view, &[], None, &KeyRange::all(), None).unwrap();
        assert!(flat(old).iter().all(|(_, v)| *v == Some(1)));
        drop(view);
        let now = table.view().unwrap().directory.len();
        for epoch in 6..10 {
            write(&mut writer, epoch);
        }
        let stored = table.view().unwrap().directory.pages().iter().map(|p| p.number).max().unwrap();
        assert!((stored as usize) < now * 6, "page numbers are used again: {stored}");
        let start = Bound::Included(k[100].clone());
        writer.delete_range(&KeyRange { start, end: Bound::Unbounded }).unwrap();
        writer.seal(Epoch(10));
        store.commit(Epoch(10), &[]).unwrap();
        assert_eq!(table.view().unwrap().directory.len(), 1, "empty pages are gone");
        assert_eq!(table.stats().rows, 100);
    }
}

#[test]
fn few_changes_over_many_pages_become_deltas_until_they_are_many() {
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path(), backend);
        let mut table = store.table(TABLE, schema()).unwrap();
        let mut writer = table.writer();
        let n = 20_000u32;
        let k: Vec<Vec<u8>> = (0..n).map(|i| i.to_be_bytes().to_vec()).collect();
        let mut model: Vec<Value> = vec![Some(89); k.len()];
        writer.write(keys(&k), rows(&model), None).unwrap();
        writer.seal(Epoch(1));
        let all = store.commit(Epoch(1), &[]).unwrap().pages;
        let (mut written, mut most) = (0, 0);
        for epoch in 2..40u64 {
            // A prime step: every commit meets all pages.
            let some: Vec<usize> = (0..400).map(|i| (epoch as usize * 31 + i * 53) % k.len()).collect();
            let v: Vec<Value> = some.iter().map(|i| (i % 7 != 0).then_some(80 + epoch as i64 % 10)).collect();
            let puts: BooleanArray = v.iter().map(|v| Some(v.is_some())).collect();
            some.iter().zip(&v).for_each(|(i, v)| model[*i] = v.or(Some(-1)));
            writer.write(keys(&some.iter().map(|i| k[*i].clone()).collect::<Vec<_>>()), rows(&v), Some(puts)).unwrap();
            writer.seal(Epoch(epoch));
            written += store.commit(Epoch(epoch), &[]).unwrap().pages;
            most = most.max(table.view().unwrap().directory.deltas().len());
            if epoch % 13 == 0 {
                drop((writer, table, store));
                store = open(dir.path(), backend);
                table = store.table(TABLE, schema()).unwrap();
                writer = table.writer();
            }
            let there: Vec<_> = k.iter().cloned().zip(model.clone()).filter(|(_, v)| *v != Some(-1)).collect();
            assert_eq!(flat(table.scan(Epoch(epoch), &KeyRange::all(), None).unwrap()), there, "epoch {epoch}");
            let got = found(&table.get(Epoch(epoch), &keys(&k[..2000])).unwrap());
            let there: Vec<Option<Value>> = model[..2000].iter().map(|v| (*v != Some(-1)).then_some(*v)).collect();
            assert_eq!(got, there);
        }
        assert!(most > 0, "deltas were made");
        assert!(written < all * 38 / 3, "{written} pages written, a table has {all}");
    }
}

/// Epochs that readers may still ask for, with what they must see.
struct World {
    store: Arc<StateStore>,
    table: Arc<Table>,
    /// Two writers, of the keys with even and with odd first byte.
    writers: [StateWriter; 2],
    open: Model,
    sealed: BTreeMap<u64, Model>,
    committed: u64,
}

impl World {
    fn new(dir: &Path, backend: StateBackend, committed: u64, model: Model) -> Self {
        let store = open(dir, backend);
        assert_eq!(store.committed_epoch(), Epoch(committed));
        let table = store.table(TABLE, schema()).unwrap();
        let writers = [table.writer(), table.writer()];
        Self { store, table, writers, open: model.clone(), sealed: BTreeMap::from([(committed, model)]), committed }
    }

    fn last(&self) -> u64 {
        *self.sealed.last_key_value().unwrap().0
    }

    fn write(&mut self, rng: &mut StdRng, n: usize) {
        let put = rng.random_bool(0.8);
        let changes: Vec<(Vec<u8>, Option<Value>)> = (0..n)
            .map(|_| {
                let value = rng.random_bool(if put { 0.9 } else { 0.1 });
                (random_key(rng), value.then(|| rng.random_bool(0.9).then(|| rng.random())))
            })
            .collect();
        for (w, writer) in self.writers.iter_mut().enumerate() {
            let mine: Vec<_> = changes.iter().filter(|(k, _)| (k[0] % 2) as usize == w).collect();
            let k: Vec<Vec<u8>> = mine.iter().map(|(k, _)| k.clone()).collect();
            let v: Vec<Value> = mine.iter().map(|(_, v)| v.unwrap_or_default()).collect();
            let puts: BooleanArray = mine.iter().map(|(_, v)| Some(v.is_some())).collect();
            writer.write(keys(&k), rows(&v), Some(puts)).unwrap();
        }
        for (k, v) in changes {
            match v {
                Some(v) => self.open.insert(k, v),
                None => self.open.remove(&k),
            };
        }
    }

    fn seal(&mut self) {
        let epoch = self.last() + 1;
        self.writers.iter_mut().for_each(|w| w.seal(Epoch(epoch)));
        self.sealed.insert(epoch, self.open.clone());
    }

    fn check(&self, rng: &mut StdRng) {
        let range = random_range(rng);
        let limit = rng.random_bool(0.3).then(|| rng.random_range(0..50));
        let expected = |model: &Model| -> Vec<(Vec<u8>, Value)> {
            let inside = model.iter().filter(|(k, _)| contains(&range, k));
            inside.take(limit.unwrap_or(usize::MAX)).map(|(k, v)| (k.clone(), *v)).collect()
        };
        let (epoch, model) = self.sealed.iter().collect::<Vec<_>>().choose(rng).copied().unwrap();
        let pin = self.store.pin(Epoch(*epoch)).unwrap();
        assert_eq!(flat(self.table.scan(Epoch(*epoch), &range, limit).unwrap()), expected(model), "{range:?}");
        let k: Vec<Vec<u8>> = (0..20).map(|_| random_key(rng)).collect();
        let got = found(&self.table.get(Epoch(*epoch), &keys(&k)).unwrap());
        assert_eq!(got, k.iter().map(|k| model.get(k).copied()).collect::<Vec<_>>());
        drop(pin);

        let w = rng.random_range(0..2);
        let mine = |k: &[u8]| (k[0] % 2) as usize == w;
        let sealed = self.sealed.last_key_value().unwrap().1;
        let mut seen: Model = sealed.iter().filter(|(k, _)| !mine(k)).map(|(k, v)| (k.clone(), *v)).collect();
        seen.extend(self.open.iter().filter(|(k, _)| mine(k)).map(|(k, v)| (k.clone(), *v)));
        assert_eq!(flat(self.writers[w].scan(&range, limit).unwrap()), expected(&seen), "{range:?}");
        let got = found(&self.writers[w].get(&keys(&k)).unwrap());
        assert_eq!(got, k.iter().map(|k| seen.get(k).copied()).collect::<Vec<_>>());
    }

    fn commit(&mut self, rng: &mut StdRng) {
        let epoch = rng.random_range(self.committed..=self.last());
        self.store.commit(Epoch(epoch), &[]).unwrap();
        self.committed = epoch;
        self.sealed.retain(|e, _| *e >= epoch);
        if epoch == self.last() && self.table.view().unwrap().directory.deltas().is_empty() {
            assert_eq!(self.table.stats().rows as usize, self.sealed[&epoch].len());
        }
    }

    /// Back to the last commit, as a failed domain goes.
    fn discard(&mut self) {
        self.writers = [self.table.writer(), self.table.writer()];
        self.store.discard(&[TABLE]);
        self.sealed.retain(|e, _| *e == self.committed);
        self.open = self.sealed[&self.committed].clone();
    }

    fn reopen(self, dir: &Path, backend: StateBackend) -> Self {
        let Self { store, table, writers, mut sealed, committed, .. } = self;
        drop((store, table, writers));
        Self::new(dir, backend, committed, sealed.remove(&committed).unwrap())
    }
}

fn random_key(rng: &mut StdRng) -> Vec<u8> {
    let n = rng.random_range(1..5);
    (0..n).map(|i| if i < 2 { rng.random_range(0..40) } else { rng.random_range(0..2) }).collect()
}

fn random_range(rng: &mut StdRng) -> KeyRange {
    let bound = |rng: &mut StdRng| match rng.random_range(0..4) {
        0 => Bound::Unbounded,
        1 => Bound::Excluded(random_key(rng)),
        _ => Bound::Included(random_key(rng)),
    };
    match rng.random_range(0..3) {
        0 => KeyRange::all(),
        1 => KeyRange::prefix(&random_key(rng)),
        _ => KeyRange { start: bound(rng), end: bound(rng) },
    }
}

fn contains(range: &KeyRange, key: &[u8]) -> bool {
    let above = match &range.start {
        Bound::Unbounded => true,
        Bound::Included(start) => key >= start.as_slice(),
        Bound::Excluded(start) => key > start.as_slice(),
    };
    let below = match &range.end {
        Bound::Unbounded => true,
        Bound::Included(end) => key <= end.as_slice(),
        Bound::Excluded(end) => key < end.as_slice(),
    };
    above && below
}

#[test]
fn any_sequence_of_operations_equals_a_model() {
    for backend in BACKENDS {
        let mut deltas = 0;
        for seed in 0..6u64 {
            println!("backend {} seed {seed}", backend.name());
            let mut rng = StdRng::seed_from_u64(seed);
            let dir = tempfile::tempdir().unwrap();
            let mut world = World::new(dir.path(), backend, 0, Model::new());
            for _ in 0..4 {
                world.write(&mut rng, 8000);
            }
            world.seal();
            for _ in 0..150 {
                match rng.random_range(0..100) {
                    0..30 => world.write(&mut rng, 20),
                    30..32 => world.write(&mut rng, 5000),
                    32..50 => world.seal(),
                    50..85 => world.check(&mut rng),
                    85..95 => {
                        world.commit(&mut rng);
                        deltas += world.table.view().unwrap().directory.deltas().len();
                    }
                    95..97 => world.discard(),
                    _ => world = world.reopen(dir.path(), backend),
                }
            }
            world.check(&mut rng);
        }
        assert!(deltas > 0, "the model must meet deltas too");
    }
}

/// Failpoints are the process's own, so the test that arms them has a process of its own.
#[cfg(feature = "failpoints")]
mod faults {
    use super::*;

    const POINTS: [&str; 4] =
        ["state.commit.fold", "state.commit.apply", "state.commit.flush", "state.snapshot.rename"];

    const ALONE: &str = "WEIR_STATE_FAULTS";

    #[test]
    fn a_failed_commit_can_be_tried_again() {
        let name = "state::tests::faults::in_a_process_of_its_own";
        let test = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&test.stdout);
        assert!(test.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&test.stderr));
    }

    /// Started by the test above, with faults; on its own it arms none.
    #[test]
    fn in_a_process_of_its_own() {
        if std::env::var_os(ALONE).is_none() {
            return;
        }
        for backend in BACKENDS {
            for point in POINTS {
                if backend == StateBackend::Sled && point == "state.snapshot.rename" {
                    continue;
                }
                for (fault, kind) in [("enospc", ErrorKind::DiskFull), ("eio", ErrorKind::Io)] {
                    for retry in [Some(2), Some(3), None] {
                        println!("{} {point} {fault} {retry:?}", backend.name());
                        fail_once(backend, point, fault, kind, retry);
                    }
                }
            }
        }
        a_commit_fails_after_it_has_written_ahead();
    }

    /// Pages of a commit that there is no room to hold are on disk before it: they mean nothing until it succeeds.
    fn a_commit_fails_after_it_has_written_ahead() {
        const ROWS: i64 = 60_000;
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let store = open(dir.path(), StateBackend::Sled);
            let table = store.table(TABLE, schema()).unwrap();
            (store, table)
        };
        let write = |table: &Arc<Table>, epoch: u64| {
            let mut writer = table.writer();
            let rows: Vec<String> = (0..ROWS).map(|row| format!("{row:08}")).collect();
            let changes: Vec<_> = rows.iter().map(|row| (row.as_str(), Some(epoch as i64))).collect();
            put(&mut writer, &changes);
            writer.seal(Epoch(epoch));
        };
        let check = |table: &Table, epoch: u64, value: i64| {
            let rows = flat(table.scan(Epoch(epoch), &KeyRange::all(), None).unwrap());
            assert_eq!(rows.len() as i64, ROWS);
            assert!(rows.iter().all(|(_, v)| *v == Some(value)));
        };
        let (store, table) = open();
        for epoch in 1..4 {
            write(&table, epoch);
            fail::cfg("state.commit.stage", &format!("{epoch}*off->1*return(eio)")).unwrap();
            assert_eq!(store.commit(Epoch(epoch), &[]).unwrap_err().kind(), ErrorKind::Io);
            check(&table, epoch, epoch as i64);
            store.commit(Epoch(epoch), &[]).unwrap();
            check(&table, epoch, epoch as i64);
        }
        write(&table, 4);
        fail::cfg("state.commit.stage", "2*off->1*return(eio)").unwrap();
        store.commit(Epoch(4), &[]).unwrap_err();
        fail::remove("state.commit.stage");
        drop((table, store));
        let (store, table) = open();
        check(&table, 3, 3);
        write(&table, 4);
        store.commit(Epoch(4), &[]).unwrap();
        drop((table, store));
        let (store, table) = open();
        check(&table, 4, 4);
        drop(table);
        store.drop_table(TABLE);
        store.commit(Epoch(5), &[]).unwrap();
        let pages = layout::page(TABLE, 0);
        assert_eq!(store.backend.scan(&pages[..5]).unwrap().len(), 0, "what failed commits wrote is gone too");
    }

    /// Commit 2 fails; it is tried again as `retry`, or the process ends.
    fn fail_once(backend: StateBackend, point: &str, fault: &str, kind: ErrorKind, retry: Option<u64>) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), backend);
        let table = store.table(TABLE, schema()).unwrap();
        let mut writer = table.writer();
        let meta = |epoch: u64| [(b"offset".to_vec(), Some(vec![epoch as u8]))];
        let expected = ["", "a1 b1", "a2 b1", "a2 b3"];
        for (epoch, key) in [(1, "a"), (1, "b"), (2, "a"), (3, "b")] {
            put(&mut writer, &[(key, Some(epoch))]);
            writer.seal(Epoch(epoch as u64));
        }
        store.commit(Epoch(1), &meta(1)).unwrap();
        fail::cfg(point, &format!("2*return({fault})")).unwrap();
        for _ in 0..2 {
            let e = store.commit(Epoch(2), &meta(2)).unwrap_err();
            assert_eq!(e.kind(), kind, "{e}");
            assert_eq!(store.committed_epoch(), Epoch(1));
            let _pin = store.pin(Epoch(2)).unwrap();
            assert_eq!((all(&table, 2), all(&table, 3)), (expected[2].into(), expected[3].into()));
        }
        fail::remove(point);
        if let Some(epoch) = retry {
            store.commit(Epoch(epoch), &meta(epoch)).unwrap();
            assert_eq!(store.committed_epoch(), Epoch(epoch));
            assert_eq!((all(&table, epoch), all(&table, 3)), (expected[epoch as usize].into(), expected[3].into()));
        }
        drop((writer, table, store));
        let store = open(dir.path(), backend);
        let epoch = store.committed_epoch().0;
        match retry {
            Some(retry) => assert_eq!(epoch, retry),
            // An orderly end may still flush what was applied.
            None => assert!(epoch == 1 || epoch == 2),
        }
        let table = store.table(TABLE, schema()).unwrap();
        assert_eq!(all(&table, epoch), expected[epoch as usize]);
        assert_eq!(store.meta(b"offset").unwrap(), Some(vec![epoch as u8]));
    }
}
