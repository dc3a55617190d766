//! An index: the columns of a table or view, kept by other columns than its key.

use super::{Lowered, Lowerer};
use crate::catalog::Object;
use crate::catalog::def::IndexKey;
use crate::common::{Error, Result};
use crate::plan::{Materialize, Node, Operator, SortColumn};
use crate::types::{Conflict, TableId, key};

/// An index's job.
pub(crate) struct IndexPlan {
    pub root: Node,
    pub table: TableId,
    /// Of the stored rows: the index's columns, then those of the base's key.
    pub key: Vec<IndexKey>,
}

impl Lowerer<'_> {
    /// Keeps the columns `stored` of `object`, among them all of its key, by `by` (columns of it, with directions) and
    /// its key. Changes of one row always come by the same actor: none moves.
    ///
    /// # Errors
    /// `NotSupported` for a column that cannot be part of a key.
    pub fn index(&mut self, object: &Object, stored: &[usize], by: &[IndexKey]) -> Result<IndexPlan> {
        let Lowered { node: scan, .. } = self.table(object, stored.to_vec(), &[], false)?;
        let place = |column: usize| {
            let place = stored.iter().position(|c| *c == column);
            place.ok_or_else(|| Error::internal(format!("column {column} is not in the index")))
        };
        let mut keys =
            by.iter().map(|k| Ok(IndexKey { column: place(k.column)?, ..*k })).collect::<Result<Vec<_>>>()?;
        for column in &scan.properties.stream_key {
            if !keys.iter().any(|k| k.column == *column) {
                keys.push(IndexKey { column: *column, descending: false, nulls_first: false });
            }
        }
        for k in &keys {
            let field = scan.schema.field(k.column);
            if !key::is_encodable(field.data_type()) {
                let message = format!("column \"{}\" of type {} cannot be indexed", field.name(), field.data_type());
                return Err(Error::not_supported(message).with_hint("index columns of plain types"));
            }
        }
        let turned = keys.iter().filter(|k| k.descending || k.nulls_first);
        let direction =
            |k: &IndexKey| SortColumn { column: k.column, descending: k.descending, nulls_first: k.nulls_first };
        let table = self.table_id();
        let operator = Operator::Materialize(Materialize {
            table,
            key: keys.iter().map(|k| k.column).collect(),
            directions: turned.map(direction).collect(),
            conflict: Conflict::Unchecked,
        });
        let (schema, properties) = (scan.schema.clone(), scan.properties.clone());
        let root = self.node(operator, vec![scan], schema, properties);
        Ok(IndexPlan { root, table, key: keys })
    }
}
