//! Names to ids and definitions: immutable snapshots, persisted through the state store's commit.
//!
//! ```text
//! create, drop --> new Snapshot + meta writes --(caller commits them)--> publish
//! ```
//!
//! A change is made in two steps, so that nothing is visible before it is durable. Knows no SQL and no plans.

pub mod def;
mod function;
pub mod role;
mod secret;
mod sequence;
mod snapshot;
mod temporary;

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

pub use def::{Added, Column, Definition, Index, MaterializedView, Object, Sink, Source, Table, View, Watermark};
pub use function::Function;
pub use role::{Acl, Privilege, Role};
pub use secret::Secret;
pub use sequence::{OwnedBy, Sequence};
pub use snapshot::Snapshot;

use crate::common::{Error, Result};
use crate::types::{JobId, TableId};

const OBJECT: &str = "catalog/object/";
const ROLE: &str = "catalog/role/";
const FUNCTION: &str = "catalog/function/";
const SECRET: &str = "catalog/secret/";
const SEQUENCE: &str = "catalog/sequence/";
const SCHEMA_ACL: &str = "catalog/schema_acl";
const NEXT_ID: &str = "catalog/next_id";
/// Ids below are left to tables that are not the catalog's.
const FIRST_ID: u32 = 1;

/// Meta entries to put (`Some`) or remove (`None`), all in one commit.
pub type MetaWrites = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// The current snapshot and the id counter. Changes are made by one caller at a time (the database's DDL lock).
pub struct Catalog {
    current: RwLock<Arc<Snapshot>>,
    next_id: Mutex<u32>,
}

/// A change that is ready: commit `writes`, then [`Catalog::publish`] it.
pub struct Change {
    pub snapshot: Arc<Snapshot>,
    pub writes: MetaWrites,
}

impl Default for Catalog {
    fn default() -> Self {
        Self { current: RwLock::default(), next_id: Mutex::new(FIRST_ID) }
    }
}

impl Catalog {
    /// Rebuilds the catalog from its meta entries; others are ignored.
    ///
    /// # Errors
    /// `DataCorrupted` for an entry that cannot be read.
    pub fn load(entries: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Self> {
        let mut objects = Vec::new();
        let mut next_id = FIRST_ID;
        let mut roles = Role::built_in();
        let mut functions = Vec::new();
        let mut secrets = Vec::new();
        let mut sequences = Vec::new();
        let mut schema_acl = None;
        for (key, value) in entries {
            let key = String::from_utf8_lossy(&key);
            if key == NEXT_ID {
                next_id = read(&key, &value)?;
            } else if key.starts_with(OBJECT) {
                objects.push(Arc::new(read::<Object>(&key, &value)?));
            } else if key.starts_with(ROLE) {
                let role: Role = read(&key, &value)?;
                roles.insert(role.name.clone(), Arc::new(role));
            } else if key.starts_with(FUNCTION) {
                functions.push(read::<Function>(&key, &value)?);
            } else if key.starts_with(SECRET) {
                secrets.push(read::<Secret>(&key, &value)?);
            } else if key.starts_with(SEQUENCE) {
                sequences.push(read::<Sequence>(&key, &value)?);
            } else if key == SCHEMA_ACL {
                schema_acl = Some(read::<Acl>(&key, &value)?);
            }
        }
        objects.sort_by_key(|o| o.id);
        let mut snapshot = Snapshot::new(objects, 1)?;
        snapshot.roles = roles;
        for function in functions {
            snapshot = snapshot.with_function(function);
        }
        for secret in secrets {
            snapshot = snapshot.with_secret(secret);
        }
        // The table of one that was made for it may not have come to be.
        sequences.retain(|s| s.owned_by.as_ref().is_none_or(|by| snapshot.by_id(by.table).is_some()));
        snapshot = snapshot.with_sequences(sequences);
        if let Some(acl) = schema_acl {
            snapshot.schema_acl = acl;
        }
        let snapshot = Arc::new(snapshot);
        Ok(Self { current: RwLock::new(snapshot), next_id: Mutex::new(next_id) })
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.read().clone()
    }

    /// A new object's id. Ids of objects and of state tables come from one counter, persisted by the next change.
    pub fn next_job_id(&self) -> JobId {
        JobId(self.next())
    }

    pub fn next_table_id(&self) -> TableId {
        TableId(self.next())
    }

    fn next(&self) -> u32 {
        let mut next = self.next_id.lock();
        *next += 1;
        *next - 1
    }

    /// Prepares the snapshot with `object` in it.
    ///
    /// # Errors
    /// `DuplicateTable` when the name is taken.
    pub fn create(&self, object: Object) -> Result<Change> {
        let value = write(&object)?;
        let key = object_key(object.id);
        let snapshot = self.snapshot().with(object)?;
        self.change(snapshot, vec![(key, Some(value))])
    }

    /// Prepares the snapshot with the new `object`, and `changed` in the place of the object with its id.
    ///
    /// # Errors
    /// As [`Catalog::create`] and [`Catalog::replace`].
    pub fn create_beside(&self, object: Object, changed: Object) -> Result<Change> {
        let writes = [&object, &changed].map(|o| Ok((object_key(o.id), Some(write(o)?))));
        let writes = writes.into_iter().collect::<Result<MetaWrites>>()?;
        let snapshot = self.snapshot().replacing(vec![changed])?.with(object)?;
        self.change(snapshot, writes)
    }

    /// Prepares the snapshot where `object` takes the place of the object with the same id (CREATE OR REPLACE VIEW).
    ///
    /// # Errors
    /// `UndefinedObject` when there is none.
    pub fn replace(&self, object: Object) -> Result<Change> {
        self.replace_all(vec![object])
    }

    /// Prepares the snapshot where each of `objects` takes the place of the one with its id; their names may be swapped.
    ///
    /// # Errors
    /// `UndefinedObject` when there is none; `DuplicateTable` when a new name is another object's.
    pub fn replace_all(&self, objects: Vec<Object>) -> Result<Change> {
        self.alter(objects, &[])
    }

    /// As [`Catalog::replace_all`], without the objects `dropped`.
    ///
    /// # Errors
    /// As [`Catalog::replace_all`] and [`Catalog::drop`].
    pub fn alter(&self, objects: Vec<Object>, dropped: &[JobId]) -> Result<Change> {
        let mut writes = objects.iter().map(|o| Ok((object_key(o.id), Some(write(o)?)))).collect::<Result<Vec<_>>>()?;
        writes.extend(self.without_objects(dropped));
        let snapshot = self.snapshot().altered(objects, dropped)?;
        self.change(snapshot, writes)
    }

    /// Prepares the snapshot without the objects `ids`.
    ///
    /// # Errors
    /// `DependentObjects` when an object that stays needs one of them.
    pub fn drop(&self, ids: &[JobId]) -> Result<Change> {
        let snapshot = self.snapshot().without(ids)?;
        self.change(snapshot, self.without_objects(ids))
    }

    /// With the sequences of their columns.
    fn without_objects(&self, ids: &[JobId]) -> MetaWrites {
        let snapshot = self.snapshot();
        let objects = ids.iter().map(|id| (object_key(*id), None));
        let sequences = ids.iter().flat_map(|id| snapshot.sequences_of(*id)).map(|s| (sequence_key(&s.name), None));
        objects.chain(sequences).collect()
    }

    /// Prepares the snapshot where `role` is new, or takes the place of the one of its name.
    ///
    /// # Errors
    /// `Internal` when it cannot be written.
    pub fn put_role(&self, role: Role) -> Result<Change> {
        let write = (role_key(&role.name), Some(write(&role)?));
        self.change(self.snapshot().with_role(role), vec![write])
    }

    /// Prepares the snapshot without the role and the memberships in it.
    ///
    /// # Errors
    /// `Internal` when it cannot be written.
    pub fn drop_role(&self, name: &str) -> Result<Change> {
        let before = self.snapshot();
        let after = before.without_role(name);
        let mut writes = vec![(role_key(name), None)];
        for member in before.roles().filter(|r| r.member_of.contains(name)) {
            if let Some(role) = after.role(&member.name) {
                writes.push((role_key(&role.name), Some(write(role.as_ref())?)));
            }
        }
        self.change(after, writes)
    }

    /// Prepares the snapshot where `function` is new, or takes the place of the one of its name.
    ///
    /// # Errors
    /// `Internal` when it cannot be written.
    pub fn put_function(&self, function: Function) -> Result<Change> {
        let write = (function_key(&function.function.name), Some(write(&function)?));
        self.change(self.snapshot().with_function(function), vec![write])
    }

    /// Prepares the snapshot without the functions of these names.
    ///
    /// # Errors
    /// `Internal` when it cannot be written.
    pub fn drop_functions(&self, names: &[String]) -> Result<Change> {
        let writes = names.iter().map(|name| (function_key(name), None)).collect();
        self.change(self.snapshot().without_functions(names), writes)
    }

    /// Prepares the snapshot where `secret` is new, or takes the place of the one of its name.
    ///
    /// # Errors
    /// `Internal` when it cannot be written.
    pub fn put_secret(&self, secret: Secret) -> Result<Change> {
        let write = (secret_key(&secret.name), Some(write(&secret)?));
        self.change(self.snapshot().with_secret(secret), vec![write])
    }

    /// Prepares the snapshot without the secrets of these names.
    ///
    /// # Errors
    /// `DependentObjects` when one of them is used.
    pub fn drop_secrets(&self, names: &[String]) -> Result<Change> {
        let snapshot = self.snapshot().without_secrets(names)?;
        self.change(snapshot, names.iter().map(|name| (secret_key(name), None)).collect())
    }

    /// A new sequence's id, of the same counter as those of objects.
    pub fn next_sequence_id(&self) -> u32 {
        self.next()
    }

    /// Prepares the snapshot where these sequences are new, or take the places of those of their names.
    ///
    /// # Errors
    /// `Internal` when one cannot be written.
    pub fn put_sequences(&self, sequences: Vec<Sequence>) -> Result<Change> {
        let writes = sequences.iter().map(|s| Ok((sequence_key(&s.name), Some(write(s)?))));
        let writes = writes.collect::<Result<MetaWrites>>()?;
        self.change(self.snapshot().with_sequences(sequences), writes)
    }

    /// Prepares the snapshot where `sequence` takes the place of the one named `before`, and `table` that of the table whose
    /// default it is.
    ///
    /// # Errors
    /// As [`Catalog::replace_all`].
    pub fn rename_sequence(&self, before: &str, sequence: Sequence, tables: Vec<Object>) -> Result<Change> {
        let mut writes = tables.iter().map(|o| Ok((object_key(o.id), Some(write(o)?)))).collect::<Result<Vec<_>>>()?;
        writes.push((sequence_key(before), None));
        writes.push((sequence_key(&sequence.name), Some(write(&sequence)?)));
        let mut snapshot = self.snapshot().replacing(tables)?;
        snapshot.sequences.remove(before);
        self.change(snapshot.with_sequences([sequence]), writes)
    }

    /// Prepares the snapshot without the sequences of these names.
    ///
    /// # Errors
    /// `DependentObjects` when one of them is used.
    pub fn drop_sequences(&self, names: &[String]) -> Result<Change> {
        let snapshot = self.snapshot().without_sequences(names)?;
        self.change(snapshot, names.iter().map(|name| (sequence_key(name), None)).collect())
    }

    /// Prepares the snapshot where the schema grants `acl`.
    ///
    /// # Errors
    /// `Internal` when it cannot be written.
    pub fn put_schema_acl(&self, acl: Acl) -> Result<Change> {
        let write = (SCHEMA_ACL.into(), Some(write(&acl)?));
        self.change(self.snapshot().with_schema_acl(acl), vec![write])
    }

    /// A new role's id, of the same counter as those of objects.
    pub fn next_role_id(&self) -> u32 {
        // The first two are those of the built-in roles.
        self.next() + 1
    }

    fn change(&self, snapshot: Snapshot, mut writes: MetaWrites) -> Result<Change> {
        writes.push((NEXT_ID.into(), Some(write(&*self.next_id.lock())?)));
        Ok(Change { snapshot: Arc::new(snapshot), writes })
    }

    /// Makes a committed change visible.
    pub fn publish(&self, change: Arc<Snapshot>) {
        *self.current.write() = change;
    }
}

/// `id` in ten digits, so that the order of keys is the order of ids.
fn object_key(id: JobId) -> Vec<u8> {
    format!("{OBJECT}{:010}", id.0).into_bytes()
}

fn role_key(name: &str) -> Vec<u8> {
    format!("{ROLE}{name}").into_bytes()
}

fn function_key(name: &str) -> Vec<u8> {
    format!("{FUNCTION}{name}").into_bytes()
}

fn sequence_key(name: &str) -> Vec<u8> {
    format!("{SEQUENCE}{name}").into_bytes()
}

fn secret_key(name: &str) -> Vec<u8> {
    format!("{SECRET}{name}").into_bytes()
}

fn read<T: serde::de::DeserializeOwned>(key: &str, value: &[u8]) -> Result<T> {
    serde_json::from_slice(value).map_err(|e| Error::corrupted(format!("the catalog entry {key}: {e}")))
}

fn write<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::internal(format!("a catalog entry cannot be written: {e}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::datatypes::DataType;

    use super::*;

    fn object(catalog: &Catalog, name: &str, depends_on: &[JobId]) -> Object {
        let columns = vec![Column::new("a", DataType::Int64, true)];
        let definition = match depends_on {
            [] => Definition::Source(Source { columns, watermark: None, options: BTreeMap::new() }),
            _ => Definition::View(View { columns, query: "SELECT 1 AS a".into() }),
        };
        Object {
            id: catalog.next_job_id(),
            name: name.into(),
            owner: "root".into(),
            sql: String::new(),
            created_at: 0,
            depends_on: depends_on.to_vec(),
            acl: Acl::default(),
            temporary: None,
            comments: BTreeMap::new(),
            definition,
        }
    }

    /// Applies writes as a store would.
    fn apply(store: &mut BTreeMap<Vec<u8>, Vec<u8>>, writes: MetaWrites) {
        for (key, value) in writes {
            match value {
                Some(value) => drop(store.insert(key, value)),
                None => drop(store.remove(&key)),
            }
        }
    }

    #[test]
    fn what_was_committed_is_loaded_again() {
        let catalog = Catalog::default();
        let mut store = BTreeMap::new();
        let mut ids = Vec::new();
        for name in ["a", "b", "c"] {
            let object = object(&catalog, name, &ids);
            ids.push(object.id);
            let change = catalog.create(object).unwrap();
            assert!(catalog.snapshot().get(name).is_none(), "visible before it is durable");
            apply(&mut store, change.writes);
            catalog.publish(change.snapshot);
        }
        let change = catalog.drop(&[ids[2]]).unwrap();
        apply(&mut store, change.writes);
        let loaded = Catalog::load(store.into_iter().collect()).unwrap();
        let names: Vec<_> = loaded.snapshot().objects().map(|o| o.name.clone()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(loaded.next_table_id(), TableId(4), "ids are not used again");
    }

    #[test]
    fn a_torn_entry_is_named() {
        let e = Catalog::load(vec![(object_key(JobId(7)), b"{".to_vec())]).map(|_| ()).unwrap_err();
        assert_eq!(e.kind().sqlstate(), "XX001");
        assert!(e.message().contains("catalog/object/0000000007"), "{e}");
    }

    #[test]
    fn errors() {
        let catalog = Catalog::default();
        let bid = object(&catalog, "bid", &[]);
        let id = bid.id;
        catalog.publish(catalog.create(bid).unwrap().snapshot);
        let hot = object(&catalog, "hot", &[id]);
        let hot_id = hot.id;
        catalog.publish(catalog.create(hot).unwrap().snapshot);

        let e = catalog.create(object(&catalog, "bid", &[])).map(|_| ()).unwrap_err();
        assert_eq!((e.kind().sqlstate(), e.message()), ("42P07", "source \"bid\" already exists"));
        let e = catalog.drop(&[id]).map(|_| ()).unwrap_err();
        assert_eq!(e.kind().sqlstate(), "2BP01");
        assert_eq!(e.detail(), Some("view \"hot\" depends on source \"bid\""));
        assert!(e.hint().unwrap_or_default().contains("CASCADE"));
        assert!(catalog.drop(&[hot_id, id]).is_ok());
        assert_eq!(catalog.snapshot().dependants_of(id), [hot_id]);
        let e = catalog.snapshot().find("bidd").map(|_| ()).unwrap_err();
        assert_eq!((e.kind().sqlstate(), e.hint()), ("42P01", Some("did you mean \"bid\"?")));
        let e = catalog.snapshot().find("zzzzzz").map(|_| ()).unwrap_err();
        assert!(e.hint().unwrap_or_default().contains("SHOW"), "{e}");
    }
}
