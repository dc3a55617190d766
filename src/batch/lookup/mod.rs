//! The short way for `SELECT columns FROM table WHERE key = constant`: known by its syntax, answered from state.
//!
//! ```text
//! AST --recognise--> Lookup --values--> encoded key --get--> row(s) --retype--> one batch
//! ```
//!
//! Planning and running a query costs some hundred microseconds, reading a key some ten. A lookup keeps nothing of an
//! epoch, so it is kept with its statement for as long as the catalog and the session's zone stay. Whatever it does not
//! understand to the last word is left to the planner: the two never disagree.

mod recognise;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::scalar::ScalarValue;
use parking_lot::Mutex;

use self::recognise::{Asked, Operand};
use super::access::{Base, Constraints, Path, Reach, exact, follow};
use super::context::BatchEnv;
use super::zone::{Zone, retype};
use crate::catalog::{Privilege, Snapshot};
use crate::common::Result;
use crate::sql::ast;
use crate::state::Table;
use crate::types::Epoch;

/// A query that reads by a key, ready to be run at any epoch.
pub struct Lookup {
    name: String,
    table: Arc<Table>,
    key: Vec<usize>,
    path: Path,
    /// What each key column must be.
    operands: Vec<(usize, DataType, Operand)>,
    wanted: Vec<usize>,
    /// Of the result, under the names that clients see.
    schema: SchemaRef,
}

/// What a statement keeps of its lookup, and what that holds for.
#[derive(Default)]
pub struct LookupCache(Mutex<Option<Kept>>);

struct Kept {
    snapshot: Arc<Snapshot>,
    user: String,
    zone: Zone,
    /// `None` for a statement that is none.
    lookup: Option<Arc<Lookup>>,
}

impl LookupCache {
    /// The lookup that `query` is, if it is one that `user` may make.
    pub fn lookup(
        &self,
        env: &BatchEnv,
        query: &ast::Query,
        snapshot: &Arc<Snapshot>,
        user: String,
        zone: Zone,
    ) -> Option<Arc<Lookup>> {
        let mut kept = self.0.lock();
        if let Some(kept) = kept.as_ref()
            && Arc::ptr_eq(&kept.snapshot, snapshot)
            && kept.user == user
            && kept.zone == zone
        {
            return kept.lookup.clone().filter(|lookup| lookup.serves(env));
        }
        let lookup = Lookup::of(env, query, snapshot, &user, &zone).map(Arc::new);
        *kept = Some(Kept { snapshot: snapshot.clone(), user, zone, lookup: lookup.clone() });
        lookup
    }
}

impl std::fmt::Debug for LookupCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LookupCache")
    }
}

impl Lookup {
    fn of(env: &BatchEnv, query: &ast::Query, snapshot: &Snapshot, user: &str, zone: &Zone) -> Option<Self> {
        let Asked { object, columns, equal } = recognise::recognise(query, snapshot)?;
        // The planner says what is wrong.
        snapshot.check(user, Privilege::Select, object).ok()?;
        let (table, key) = object.definition.rows()?;
        let table = env.store().table(table, object.stored_schema()).ok()?;
        let path = env.indexes().paths(snapshot, object).ok()?.into_iter().find(|path| leads(path, &equal))?;
        let schema = recognise::schema(object, &columns, zone);
        let wanted = columns.into_iter().map(|(column, _)| column).collect();
        let types = object.definition.columns();
        let operands = equal
            .into_iter()
            .map(|(column, operand)| Some((column, types.get(column)?.data_type.clone(), operand)))
            .collect::<Option<_>>()?;
        let name = object.name.clone();
        Some(Self { name, table, key: key.to_vec(), path, operands, wanted, schema })
    }

    /// Whether what it reads is still followed.
    fn serves(&self, env: &BatchEnv) -> bool {
        self.path.index.as_ref().is_none_or(|index| env.indexes().serves(index.job))
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Where the rows are; `None` when the values are not of the columns' types: that is for the planner to compare.
    ///
    /// # Errors
    /// `Internal` for a key that cannot be encoded.
    pub fn sought(&self, parameters: &[ScalarValue]) -> Result<Option<Sought>> {
        let mut constraints = Constraints::default();
        for (column, data_type, operand) in &self.operands {
            let value = match operand {
                Operand::Constant(value) => Some(value),
                Operand::Parameter(number) => parameters.get(*number),
            };
            let Some(value) = value else { return Ok(None) };
            // Nothing equals null.
            if value.is_null() {
                return Ok(Some(Sought::Nothing));
            }
            let Some(value) = exact(value, data_type) else { return Ok(None) };
            constraints.equal(*column, value);
        }
        Ok(Some(Sought::At(follow(&self.path, &constraints)?)))
    }

    fn base(&self) -> Base<'_> {
        Base { name: &self.name, table: &self.table, key: &self.key }
    }

    /// Whether [`Lookup::read`] may be called where nothing may wait.
    pub fn is_near(&self, reach: &Reach) -> bool {
        reach.is_near(&self.base(), &self.wanted)
    }

    /// The rows.
    ///
    /// # Errors
    /// What reading state fails with.
    pub fn read(&self, epoch: Epoch, reach: &Reach) -> Result<Vec<RecordBatch>> {
        let rows = reach.read(&self.base(), epoch, &self.wanted, None)?;
        rows.iter().map(|rows| Ok(retype(rows, &self.schema)?)).collect()
    }
}

/// Where the rows of a lookup are.
pub enum Sought {
    Nothing,
    At(Reach),
}

/// Whether the columns are the first ones of the path's key, in any order.
fn leads(path: &Path, equal: &[(usize, Operand)]) -> bool {
    path.key
        .get(..equal.len())
        .is_some_and(|key| key.iter().all(|k| equal.iter().any(|(column, _)| *column == k.column)))
}
