//! The join keys that are in memory, each with the list of its rows on either side. Knows no rows, only their numbers.

use std::hash::BuildHasher;

use arrow::array::Array;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::types::Keys;

/// No row, no group.
pub(super) const NONE: u32 = u32::MAX;

/// Rows of one key on one side: the first, from which each leads to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    pub first: u32,
    pub len: u32,
}

pub(super) const EMPTY: List = List { first: NONE, len: 0 };

#[derive(Debug)]
pub(super) struct Group {
    pub hash: u64,
    /// Of the left side and of the right.
    pub lists: [List; 2],
    /// Whether the list of a side has all rows of the key; else only those of the open epoch.
    pub held: [bool; 2],
    /// The last epoch, as the join counts them, that asked for it.
    pub used: u32,
}

/// Groups, numbered from 0 in the order of their coming.
#[derive(Default)]
pub(super) struct Groups {
    table: HashTable<u32>,
    pub groups: Vec<Group>,
    /// Sides of which all rows are in memory: a key that is not there has none.
    pub whole: [bool; 2],
    /// Where each key ends in `keys`; the next begins there.
    ends: Vec<usize>,
    keys: Vec<u8>,
    hasher: DefaultHashBuilder,
}

impl Groups {
    /// The group of each key, made where there is none. Rows for which `skip` is true get [`NONE`].
    pub(super) fn resolve(&mut self, keys: &Keys, skip: impl Fn(usize) -> bool, now: u32) -> Vec<u32> {
        let mut ids = Vec::with_capacity(keys.len());
        for (row, key) in keys.iter().enumerate() {
            if skip(row) {
                ids.push(NONE);
                continue;
            }
            let key = key.unwrap_or_default();
            let id = self.get_or_insert(key);
            self.groups[id as usize].used = now;
            ids.push(id);
        }
        ids
    }

    pub(super) fn get_or_insert(&mut self, key: &[u8]) -> u32 {
        let Self { table, groups, whole, ends, keys, hasher } = self;
        let hash = hasher.hash_one(key);
        let eq = |id: &u32| groups[*id as usize].hash == hash && key_of(ends, keys, *id) == key;
        if let Some(id) = table.find(hash, eq) {
            return *id;
        }
        let id = groups.len() as u32;
        groups.push(Group { hash, lists: [EMPTY; 2], held: *whole, used: 0 });
        keys.extend_from_slice(key);
        ends.push(keys.len());
        table.insert_unique(hash, id, |id| groups[*id as usize].hash);
        id
    }

    /// None of them; a key keeps its hash.
    pub(super) fn emptied(&self) -> Self {
        Self { hasher: self.hasher.clone(), whole: self.whole, ..Self::default() }
    }

    pub(super) fn hash(&self, id: u32) -> u64 {
        self.groups[id as usize].hash
    }

    pub(super) fn key(&self, id: u32) -> &[u8] {
        key_of(&self.ends, &self.keys, id)
    }

    pub(super) fn list(&self, id: u32, side: usize) -> List {
        self.groups[id as usize].lists[side]
    }

    pub(super) fn list_mut(&mut self, id: u32, side: usize) -> &mut List {
        &mut self.groups[id as usize].lists[side]
    }

    /// Numbers of the groups that have rows.
    pub(super) fn with_rows(&self) -> impl Iterator<Item = u32> + '_ {
        let groups = self.groups.iter().zip(0..);
        groups.filter(|(g, _)| g.lists.iter().any(|l| l.len > 0)).map(|(_, id)| id)
    }

    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.table.capacity() * 5
            + self.groups.capacity() * size_of::<Group>()
            + self.ends.capacity() * 8
            + self.keys.capacity()
    }
}

fn key_of<'k>(ends: &[usize], keys: &'k [u8], id: u32) -> &'k [u8] {
    let id = id as usize;
    let start = if id == 0 { 0 } else { ends[id - 1] };
    &keys[start..ends[id]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_group() {
        let mut groups = Groups::default();
        let keys = Keys::from_iter_values(["a", "", "b", "a", "skipped", "b"]);
        let ids = groups.resolve(&keys, |row| row == 4, 1);
        assert_eq!(ids, [0, 1, 2, 0, NONE, 2]);
        assert_eq!(groups.resolve(&Keys::from_iter_values(["c", "a"]), |_| false, 2), [3, 0]);
        assert_eq!((groups.key(3), groups.key(1)), (&b"c"[..], &b""[..]));
        assert_eq!(groups.groups.iter().map(|g| g.used).collect::<Vec<_>>(), [2, 1, 1, 2]);
    }
}
