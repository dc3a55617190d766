//! One state of the catalog, immutable: what a statement sees from its beginning to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::def::Definition;
use super::role::{self, Acl, Role};
use super::{Function, Object, Secret, Sequence};
use crate::common::{Error, ErrorKind, Result};
use crate::types::JobId;

/// All objects by id and by name. Cheap to clone; ids rise in the order of creation.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(super) by_id: BTreeMap<JobId, Arc<Object>>,
    /// Without temporary objects, but those of the session that sees this.
    pub(super) by_name: BTreeMap<String, JobId>,
    /// How many temporary objects there are.
    pub(super) temporary: usize,
    /// The catalog's own snapshot that this is a session's view of.
    pub(super) plain: Option<Arc<Snapshot>>,
    pub(super) roles: BTreeMap<String, Arc<Role>>,
    pub(super) functions: BTreeMap<String, Arc<Function>>,
    pub(super) secrets: BTreeMap<String, Arc<Secret>>,
    pub(super) sequences: BTreeMap<String, Arc<Sequence>>,
    pub(super) schema_acl: Acl,
    pub(super) version: u64,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            by_id: BTreeMap::new(),
            by_name: BTreeMap::new(),
            temporary: 0,
            plain: None,
            roles: Role::built_in(),
            functions: BTreeMap::new(),
            secrets: BTreeMap::new(),
            sequences: BTreeMap::new(),
            schema_acl: role::schema_acl(),
            version: 0,
        }
    }
}

impl Snapshot {
    pub(super) fn new(objects: Vec<Arc<Object>>, version: u64) -> Result<Self> {
        let mut snapshot = Self { version, ..Self::default() };
        for object in objects {
            snapshot.insert(object)?;
        }
        Ok(snapshot)
    }

    /// Rises with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The object of this name (as the catalog keeps it: folded, without its schema).
    pub fn get(&self, name: &str) -> Option<&Arc<Object>> {
        self.by_id.get(self.by_name.get(name)?)
    }

    /// Like [`Snapshot::get`].
    ///
    /// # Errors
    /// `UndefinedTable`, with the nearest name as a hint.
    pub fn find(&self, name: &str) -> Result<&Arc<Object>> {
        self.get(name).ok_or_else(|| {
            let error = Error::new(ErrorKind::UndefinedTable, format!("relation \"{name}\" does not exist"));
            match self.nearest(name) {
                Some(near) => error.with_hint(format!("did you mean \"{near}\"?")),
                None => error.with_hint("SHOW TABLES, SHOW SOURCES and SHOW MATERIALIZED VIEWS list what exists"),
            }
        })
    }

    pub fn by_id(&self, id: JobId) -> Option<&Arc<Object>> {
        self.by_id.get(&id)
    }

    /// In the order of creation: an object comes after those that it reads.
    pub fn objects(&self) -> impl DoubleEndedIterator<Item = &Arc<Object>> {
        self.by_id.values()
    }

    /// Objects that read `id` directly, in the order of creation.
    pub fn dependants_of(&self, id: JobId) -> Vec<JobId> {
        self.objects().filter(|o| o.depends_on.contains(&id)).map(|o| o.id).collect()
    }

    /// The indexes of `id`, in the order of creation.
    pub fn indexes_of(&self, id: JobId) -> impl Iterator<Item = &Arc<Object>> {
        self.objects().filter(move |o| matches!(&o.definition, Definition::Index(index) if index.on == id))
    }

    /// The sinks into the table `id`, in the order of creation.
    pub fn sinks_into(&self, id: JobId) -> impl Iterator<Item = &Arc<Object>> {
        self.objects().filter(move |o| matches!(&o.definition, Definition::Sink(sink) if sink.into == Some(id)))
    }

    /// All that changes when `id` does, and `id`: what needs it, and the tables that sinks among that fill.
    pub fn downstream_of(&self, id: JobId) -> BTreeSet<JobId> {
        let mut all = BTreeSet::from([id]);
        let mut next = vec![id];
        while let Some(id) = next.pop() {
            let filled = self.by_id(id).and_then(|o| match &o.definition {
                Definition::Sink(sink) => sink.into,
                _ => None,
            });
            next.extend(self.dependants_of(id).into_iter().chain(filled).filter(|id| all.insert(*id)));
        }
        all
    }

    /// `ids` and everything that needs them, dependants first: what DROP … CASCADE removes.
    pub fn with_dependants(&self, ids: &[JobId]) -> Vec<JobId> {
        let mut all = ids.to_vec();
        let mut next = 0;
        while let Some(id) = all.get(next).copied() {
            for dependant in self.dependants_of(id) {
                if !all.contains(&dependant) {
                    all.push(dependant);
                }
            }
            next += 1;
        }
        all.sort_unstable();
        all.dedup();
        all.reverse();
        all
    }

    pub(super) fn with(&self, object: Object) -> Result<Self> {
        let mut next = self.clone();
        next.version += 1;
        next.insert(Arc::new(object))?;
        Ok(next)
    }

    /// What it would be without `dropped`, and with `objects` in the place of those with their ids.
    ///
    /// # Errors
    /// As [`Snapshot::replacing`]; `DependentObjects` when an object that stays needs one that goes.
    pub fn altered(&self, objects: Vec<Object>, dropped: &[JobId]) -> Result<Self> {
        let mut next = self.clone();
        for id in dropped {
            next.remove(*id);
        }
        next.forget_sequences_of(dropped);
        let next = next.replacing(objects)?;
        let needs = next.objects().any(|o| o.depends_on.iter().any(|id| dropped.contains(id)));
        if needs { self.without(dropped) } else { Ok(next) }
    }

    /// What it would be with these in the place of those with their ids.
    ///
    /// # Errors
    /// `UndefinedObject`; `DuplicateTable` when a new name is another object's.
    pub fn replacing(&self, objects: Vec<Object>) -> Result<Self> {
        let mut next = self.clone();
        next.version += 1;
        for object in &objects {
            next.remove(object.id).ok_or_else(|| {
                Error::new(ErrorKind::UndefinedObject, format!("there is no object {} to replace", object.id))
            })?;
        }
        for object in objects {
            next.insert(Arc::new(object))?;
        }
        Ok(next)
    }

    pub(super) fn with_role(&self, role: Role) -> Self {
        let mut next = self.clone();
        next.version += 1;
        next.roles.insert(role.name.clone(), Arc::new(role));
        next
    }

    /// Without the role, and without the memberships in it.
    pub(super) fn without_role(&self, name: &str) -> Self {
        let mut next = self.clone();
        next.version += 1;
        next.roles.remove(name);
        for role in next.roles.values_mut().filter(|r| r.member_of.contains(name)) {
            Arc::make_mut(role).member_of.remove(name);
        }
        next
    }

    pub fn schema_acl(&self) -> &Acl {
        &self.schema_acl
    }

    pub(super) fn with_schema_acl(&self, acl: Acl) -> Self {
        Self { version: self.version + 1, schema_acl: acl, ..self.clone() }
    }

    pub(super) fn without(&self, ids: &[JobId]) -> Result<Self> {
        let needed: Vec<_> = ids
            .iter()
            .flat_map(|id| self.dependants_of(*id).into_iter().map(|dependant| (dependant, *id)))
            .filter(|(dependant, _)| !ids.contains(dependant))
            .collect();
        if let Some((_, first)) = needed.first() {
            let detail: Vec<_> = needed
                .iter()
                .map(|(dependant, id)| format!("{} depends on {}", self.describe(*dependant), self.describe(*id)))
                .collect();
            return Err(Error::new(
                ErrorKind::DependentObjects,
                format!("cannot drop {} because other objects depend on it", self.describe(*first)),
            )
            .with_detail(detail.join("; "))
            .with_hint("DROP … CASCADE drops the dependent objects too"));
        }
        let mut next = self.clone();
        next.version += 1;
        for id in ids {
            next.remove(*id);
        }
        next.forget_sequences_of(ids);
        Ok(next)
    }

    fn insert(&mut self, object: Arc<Object>) -> Result<()> {
        self.check_free(&object)?;
        match object.temporary {
            None => drop(self.by_name.insert(object.name.clone(), object.id)),
            Some(_) => self.temporary += 1,
        }
        self.by_id.insert(object.id, object);
        Ok(())
    }

    fn remove(&mut self, id: JobId) -> Option<Arc<Object>> {
        let object = self.by_id.remove(&id)?;
        match object.temporary {
            None => drop(self.by_name.remove(&object.name)),
            Some(_) => self.temporary -= 1,
        }
        Some(object)
    }

    fn describe(&self, id: JobId) -> String {
        match self.by_id(id) {
            Some(object) => format!("{} \"{}\"", object.definition.kind(), object.name),
            None => format!("object {id}"),
        }
    }

    /// The name that differs least, if it is near enough to be a slip.
    fn nearest(&self, name: &str) -> Option<&str> {
        let near = |other: &String| (edit_distance(name, other), other.clone());
        let (distance, nearest) = self.by_name.keys().map(near).min()?;
        let limit = (name.chars().count() / 3).max(1);
        self.by_name.get_key_value(&nearest).filter(|_| distance <= limit).map(|(name, _)| name.as_str())
    }
}

/// Insertions, deletions and replacements of characters between two names (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::edit_distance;

    #[test]
    fn edit_distances() {
        for (a, b, distance) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("bid", "bids", 1), ("ab", "ba", 2)]
        {
            assert_eq!(edit_distance(a, b), distance, "{a:?} {b:?}");
        }
    }
}
