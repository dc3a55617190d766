//! `ALTER TABLE … ADD COLUMN` and `DROP COLUMN`. No row is written again.
//!
//! ```text
//! stored rows   a  b  _row_id        c             columns are only ever added behind the others,
//!                  |                 |             and keep their place: plans of readers stay as they are
//!                  dropped: hidden,  added: rows from before hold what
//!                  null from now on  its DEFAULT was, or null
//! ```
//!
//! The table's job, and all that share its failure domain, stop at a barrier and start again as the new columns need it.
//! Texts of readers that would mean something else (`*`, a name that the new column has too) are pinned to the columns that they have read.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::Array;

use super::super::text;
use super::dependants::Rewording;
use super::{Altering, column, rebuild};
use crate::catalog::{Added, Column, Definition, Object, Table};
use crate::common::{Error, ErrorKind, Result};
use crate::planner;
use crate::session::copy::{check_default, default_value};
use crate::session::dml::{self, Written, wait_visible};
use crate::session::inflow;
use crate::sql::relation::Place;
use crate::sql::statement::ColumnDef;
use crate::state::KeyRange;
use crate::types::{JobId, missing};

impl Altering<'_> {
    pub(super) async fn add_column(
        &mut self,
        object: &Arc<Object>,
        def: &ColumnDef,
        if_not_exists: bool,
    ) -> Result<()> {
        let name = &object.name;
        dml::writable(object)?;
        if if_not_exists && column(object, &def.name).is_ok() {
            self.notices.push(format!("column \"{}\" of relation \"{name}\" already exists, skipping", def.name));
            return Ok(());
        }
        self.check_new_column(object, &def.name)?;
        inflow::check_no_sinks(&self.snapshot, object)?;
        if def.sequence.is_some() {
            return Err(Error::not_supported("SERIAL and IDENTITY are for the columns that a table is made with")
                .with_hint("CREATE SEQUENCE s, ADD COLUMN c BIGINT, then UPDATE t SET c = nextval('s')"));
        }
        let mut added = Column::new(&def.name, def.data_type.clone(), def.nullable);
        added.mark = def.mark;
        added.default.clone_from(&def.default);
        let value = match &def.default {
            Some(text) => Some(default_value(self.services, self.client, text, &added.field()).await?),
            None => None,
        };
        let value = value.filter(|v| v.null_count() == 0);
        added.added = Some(Added { value: value.as_ref().map(missing::encode).transpose()? });
        let all = object.definition.columns();
        if all.iter().any(|c| c.stored_name() == def.name) {
            // The stored name of a dropped column is not used again.
            added.stored = Some(format!("{}_{}", def.name, all.len()));
        }
        let alone = self.alone(object).await?;
        if !def.nullable && value.is_none() && self.has_rows(object)? {
            let message = format!("column \"{}\" of relation \"{name}\" contains null values", def.name);
            return Err(Error::new(ErrorKind::NotNullViolation, message)
                .with_hint("give it a DEFAULT: the rows that are there take it"));
        }
        let mut next = object.as_ref().clone();
        self.with_columns(&mut next, |columns| columns.push(added))?;
        let rewording = self.pinned(next, object)?;
        let changed = rewording.checked()?;
        self.altered(object, changed, Vec::new()).await?;
        drop(alone);
        Ok(())
    }

    pub(super) async fn drop_column(
        &mut self,
        object: &Arc<Object>,
        name: &str,
        if_exists: bool,
        cascade: bool,
    ) -> Result<()> {
        let table = dml::writable(object)?;
        if if_exists && column(object, name).is_err() {
            self.notices.push(format!("column \"{name}\" of relation \"{}\" does not exist, skipping", object.name));
            return Ok(());
        }
        let index = column(object, name)?;
        inflow::check_no_sinks(&self.snapshot, object)?;
        let refused = |what: &str| {
            let message = format!("cannot drop column \"{name}\" of table {}: it is {what}", object.name);
            Err(Error::new(ErrorKind::DependentObjects, message).with_hint("CREATE TABLE anew, and INSERT the rows"))
        };
        if table.primary_key.contains(&index) {
            return refused("of the primary key");
        }
        if table.watermark.as_ref().is_some_and(|w| w.column == index) {
            return refused("the column of the watermark");
        }
        if table.columns.iter().filter(|c| !c.hidden).count() == 1 {
            return refused("the only one");
        }
        let mut next = object.as_ref().clone();
        next.comments.remove(&(index + 1));
        self.with_columns(&mut next, |columns| {
            if let Some(column) = columns.get_mut(index) {
                column.rename(&format!("_dropped_{index}"));
                (column.hidden, column.nullable, column.default) = (true, true, None);
                column.added.get_or_insert_default();
            }
        })?;
        let shown = next.clone();
        let mut rewording = self.pinned(next, &shown)?;
        // Whose query cannot be said without the column.
        let users: Vec<JobId> = rewording.refusals()?.into_iter().map(|(id, _)| id).collect();
        if let (Some(first), false) = (users.first(), cascade) {
            let of = |id: &JobId| self.snapshot.by_id(*id).map_or(("", ""), |o| (o.definition.kind(), o.name.as_str()));
            let say = |id: &JobId| format!("{} {}", of(id).0, of(id).1);
            let message =
                format!("cannot drop column {name} of table {} because other objects depend on it", object.name);
            let detail =
                users.iter().map(|id| format!("{} depends on column {name} of table {}", say(id), object.name));
            return Err(Error::new(ErrorKind::DependentObjects, message)
                .with_detail(detail.collect::<Vec<_>>().join("\n"))
                .with_hint(format!("DROP {} {} first, or write CASCADE", of(first).0.to_uppercase(), of(first).1)));
        }
        let mut dropped = self.snapshot.with_dependants(&users);
        for id in &dropped {
            if let Some(o) = self.snapshot.by_id(*id) {
                self.notices.push(format!("drop cascades to {} {}", o.definition.kind(), o.name));
            }
        }
        // As in PostgreSQL, its indexes go with a column.
        let of_column = |o: &&Arc<Object>| matches!(&o.definition, Definition::Index(i) if i.is_by(index));
        let indexes = self.snapshot.indexes_of(object.id).filter(of_column).map(|o| o.id);
        dropped.extend(indexes);
        rewording.without(&dropped);
        let changed = rewording.checked()?;
        let alone = self.alone(object).await?;
        let sequence = self.snapshot.sequence_of(object, index).map(|s| s.name.clone());
        self.altered(object, changed, dropped).await?;
        if let Some(sequence) = sequence {
            self.services.commit(self.services.catalog.drop_sequences(&[sequence])?).await?;
        }
        drop(alone);
        Ok(())
    }

    /// What INSERT takes from now on; rows that are there stay as they are.
    pub(super) async fn set_default(&mut self, object: &Arc<Object>, name: &str, default: Option<&str>) -> Result<()> {
        dml::writable(object)?;
        let index = column(object, name)?;
        inflow::check_no_sinks(&self.snapshot, object)?;
        let owned = self.snapshot.sequence_of(object, index).and_then(|s| s.owned_by.as_ref());
        if owned.is_some_and(|by| by.identity) {
            let message = format!("column \"{name}\" of relation \"{}\" is an identity column", object.name);
            return Err(Error::new(ErrorKind::Syntax, message).with_hint("its values come from its sequence"));
        }
        let mut next = object.as_ref().clone();
        let Definition::Table(table) = &mut next.definition else { return Err(Error::internal("not a table")) };
        if let Some(column) = table.columns.get_mut(index) {
            if let Some(text) = default {
                check_default(self.services, self.client, text, &column.field()).await?;
            }
            column.default = default.map(str::to_string);
        }
        next.sql = text::create_table(&next.name, table);
        self.services.commit(self.services.catalog.replace(next)?).await
    }

    /// The table with other columns: its text and its plan.
    fn with_columns(&self, next: &mut Object, change: impl FnOnce(&mut Vec<Column>)) -> Result<()> {
        let (id, name) = (next.id, next.name.clone());
        let Definition::Table(table) = &mut next.definition else { return Err(Error::internal("not a table")) };
        change(&mut table.columns);
        planner::replan_table(table, id, &name)?;
        next.sql = text::create_table(&name, table);
        Ok(())
    }

    /// The table as `next`; readers that would read other columns read those of `shown`.
    fn pinned(&self, next: Object, shown: &Object) -> Result<Rewording> {
        let id = next.id;
        let places = BTreeMap::from([(next.name.clone(), Place::Query(pin(shown)))]);
        let mut rewording = Rewording::new(&self.snapshot);
        rewording.put(next);
        rewording.pin(&[id], &places)?;
        Ok(rewording)
    }

    /// Nobody writes the table while this is held, and all that was written is in it.
    async fn alone(&self, object: &Object) -> Result<tokio::sync::OwnedRwLockWriteGuard<()>> {
        let alone = self.services.table_lock(object.id).write_owned().await;
        let end = self.services.logs.get(object.id)?.end();
        wait_visible(self.services, Written { table: object.id, end }).await?;
        Ok(alone)
    }

    fn has_rows(&self, object: &Object) -> Result<bool> {
        let Definition::Table(Table { table, .. }) = &object.definition else { return Ok(false) };
        let (_, epoch, _pin) = self.services.pin(self.client)?;
        let rows = self.services.store.table(*table, object.stored_schema())?.scan(epoch, &KeyRange::all(), Some(1))?;
        Ok(rows.iter().any(|(keys, _)| !keys.is_empty()))
    }

    /// Stops, writes, starts again.
    async fn altered(&self, object: &Object, changed: Vec<Object>, dropped: Vec<JobId>) -> Result<()> {
        let Some(next) = changed.iter().find(|o| o.id == object.id).cloned() else {
            return Err(Error::internal("the table is not among what changes"));
        };
        let others = changed.into_iter().filter(|o| o.id != object.id).collect();
        rebuild(self.services, next, others, dropped).await
    }
}

/// The query of the table's columns, as they are.
fn pin(object: &Object) -> String {
    let names = super::visible(&object.definition);
    text::select(&object.name, names.iter().map(|n| (*n, *n)))
}
