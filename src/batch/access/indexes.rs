//! The indexes of an object that a reader may use: complete, and followed by a job that has not failed.

use std::fmt;
use std::sync::Arc;

use arrow::compute::SortOptions;

use super::path::{IndexRows, Path};
use super::range::KeyColumn;
use crate::catalog::def::Index;
use crate::catalog::{Definition, Object, Snapshot};
use crate::common::Result;
use crate::state::StateStore;
use crate::types::JobId;

/// Whether the job of this id is marked failed: what it keeps is no longer followed.
pub type Failed = Arc<dyn Fn(JobId) -> bool + Send + Sync>;

pub struct Indexes {
    store: Arc<StateStore>,
    failed: Failed,
}

impl fmt::Debug for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Indexes")
    }
}

impl Indexes {
    pub fn new(store: Arc<StateStore>, failed: Failed) -> Self {
        Self { store, failed }
    }

    /// The orders that an object's rows can be read in at an epoch that is pinned; its own key first.
    ///
    /// # Errors
    /// Of the state store.
    pub fn paths(&self, snapshot: &Snapshot, object: &Object) -> Result<Vec<Path>> {
        let mut paths: Vec<Path> = object.definition.rows().map(|(_, key)| Path::own(key)).into_iter().collect();
        for index in snapshot.indexes_of(object.id) {
            if let Definition::Index(definition) = &index.definition
                && definition.ready
                && self.serves(index.id)
            {
                paths.push(self.path(index, definition)?);
            }
        }
        Ok(paths)
    }

    pub fn serves(&self, index: JobId) -> bool {
        !(self.failed)(index)
    }

    fn path(&self, object: &Object, index: &Index) -> Result<Path> {
        let table = self.store.table(index.table, object.stored_schema())?;
        let key = index.key.iter().filter_map(|k| {
            let options = SortOptions { descending: k.descending, nulls_first: k.nulls_first };
            Some(KeyColumn { column: *index.stored.get(k.column)?, options })
        });
        let key = key.collect();
        let rows = IndexRows { job: object.id, name: object.name.clone(), table, columns: index.stored.clone() };
        Ok(Path { key, index: Some(Arc::new(rows)) })
    }
}
