//! What the catalogs tell of indexes that users made; a key's own index is told beside its table.

use super::oid;
use super::row::Row;
use crate::catalog::def::{Column, Index, PUBLIC};
use crate::catalog::{Definition, Object, Snapshot};
use crate::planner::index_columns;
use crate::sql::name::quote;

/// An index and the table or view that it is on.
pub struct UserIndex<'a> {
    pub object: &'a Object,
    pub index: &'a Index,
    pub base: &'a Object,
}

/// All of them.
pub fn user_indexes(snapshot: &Snapshot) -> impl Iterator<Item = UserIndex<'_>> {
    snapshot.objects().filter_map(|object| match &object.definition {
        Definition::Index(index) => Some(UserIndex { object, index, base: snapshot.by_id(index.on)? }),
        _ => None,
    })
}

impl UserIndex<'_> {
    pub fn oid(&self) -> i32 {
        oid::relation(self.object)
    }

    /// Positions of its columns among the stored ones: its own, then those of INCLUDE.
    pub fn columns(&self) -> Vec<usize> {
        let own = self.index.key.iter().take(self.index.width).map(|k| k.column);
        own.chain(self.index.include.iter().copied()).collect()
    }

    /// The base's column that is stored at `at`.
    pub fn column(&self, at: usize) -> Option<&Column> {
        self.base.definition.columns().get(*self.index.stored.get(at)?)
    }

    pub fn class(&self, owner: i32) -> Row {
        vec![
            ("oid", self.oid().into()),
            ("relname", self.object.name.as_str().into()),
            ("relkind", "i".into()),
            ("relnatts", (self.columns().len() as i16).into()),
            ("relam", oid::BTREE.into()),
            ("relnamespace", oid::PUBLIC.into()),
            ("relowner", owner.into()),
            ("relpersistence", "p".into()),
            ("relispopulated", true.into()),
            ("relreplident", "n".into()),
            ("reltuples", (-1.0).into()),
            ("reloftype", 0.into()),
            ("relhasindex", false.into()),
        ]
    }

    /// Of `pg_index`.
    pub fn row(&self) -> Row {
        let list = |numbers: Vec<usize>| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let columns = self.columns();
        let number = |column: &usize| self.index.stored.get(*column).map_or(0, |base| base + 1);
        let own = self.index.key.iter().take(self.index.width);
        let options = own.map(|k| usize::from(k.descending) + 2 * usize::from(k.nulls_first));
        vec![
            ("indexrelid", self.oid().into()),
            ("indrelid", oid::relation(self.base).into()),
            ("indnatts", (columns.len() as i16).into()),
            ("indnkeyatts", (self.index.width as i16).into()),
            ("indisunique", false.into()),
            ("indisprimary", false.into()),
            ("indimmediate", true.into()),
            ("indisvalid", self.index.ready.into()),
            ("indisready", true.into()),
            ("indislive", true.into()),
            ("indkey", list(columns.iter().map(number).collect()).into()),
            ("indcollation", list(vec![0; self.index.width]).into()),
            ("indclass", list(vec![0; self.index.width]).into()),
            ("indoption", list(options.collect()).into()),
        ]
    }

    /// Of `pg_indexes`.
    pub fn definition_row(&self) -> Row {
        vec![
            ("schemaname", PUBLIC.into()),
            ("tablename", self.base.name.as_str().into()),
            ("indexname", self.object.name.as_str().into()),
            ("indexdef", self.definition().into()),
        ]
    }

    /// As `pg_get_indexdef` tells it.
    pub fn definition(&self) -> String {
        let (name, base) = (quote(&self.object.name), quote(&self.base.name));
        let columns = index_columns(self.index, self.base).join(", ");
        let mut text = format!("CREATE INDEX {name} ON {PUBLIC}.{base} USING btree ({columns})");
        let columns = self.columns();
        let included = columns.get(self.index.width..).unwrap_or_default();
        let included: Vec<_> = included.iter().filter_map(|c| self.column(*c)).map(|c| quote(&c.name)).collect();
        if !included.is_empty() {
            text += &format!(" INCLUDE ({})", included.join(", "));
        }
        text
    }
}
