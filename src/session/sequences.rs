//! CREATE, ALTER and DROP SEQUENCE, and the sequences of SERIAL and IDENTITY columns.

use super::ddl::Ddl;
use super::text;
use crate::batch::client::Client;
use crate::catalog::def::PUBLIC;
use crate::catalog::role::denied;
use crate::catalog::{Acl, Definition, Object, OwnedBy, Privilege, Sequence, Snapshot};
use crate::common::{Error, ErrorKind, Result};
use crate::sql::statement::{CreateSequence, CreateTable, SequenceAction};
use crate::types::JobId;

impl Ddl<'_> {
    pub(super) async fn create_sequence(&mut self, create: &CreateSequence) -> Result<&'static str> {
        const TAG: &str = "CREATE SEQUENCE";
        let _guard = self.services.ddl.lock().await;
        let snapshot = self.services.catalog.snapshot();
        self.may_create(&snapshot, None)?;
        let name = &create.name;
        if snapshot.sequence(name).is_some() || snapshot.get(name).is_some() {
            if create.if_not_exists {
                self.notices.push(format!("relation \"{name}\" already exists, skipping"));
                return Ok(TAG);
            }
            let message = format!("relation \"{name}\" already exists");
            return Err(
                Error::new(ErrorKind::DuplicateTable, message).with_hint("write IF NOT EXISTS, or choose another name")
            );
        }
        let id = self.services.catalog.next_sequence_id();
        let sequence = Sequence {
            id,
            name: name.clone(),
            owner: self.owner.into(),
            range: create.range,
            owned_by: None,
            comment: None,
            acl: Acl::new(),
        };
        let change = self.services.catalog.put_sequences(vec![sequence])?;
        self.services.commit(change).await?;
        Ok(TAG)
    }

    pub(super) async fn alter_sequence(
        &mut self,
        name: &str,
        if_exists: bool,
        action: &SequenceAction,
    ) -> Result<&'static str> {
        const TAG: &str = "ALTER SEQUENCE";
        let _guard = self.services.ddl.lock().await;
        let snapshot = self.services.catalog.snapshot();
        let sequence = match snapshot.sequence(name) {
            None if if_exists => {
                self.notices.push(format!("relation \"{name}\" does not exist, skipping"));
                return Ok(TAG);
            }
            _ => snapshot.find_sequence(name)?.as_ref().clone(),
        };
        snapshot.check_sequence_owner(self.owner, &sequence)?;
        match action {
            SequenceAction::Change { given, restart } => {
                let range = sequence.range.changed(*given)?;
                self.restart(&Sequence { range, ..sequence.clone() }, *restart)?;
                if range != sequence.range {
                    let changed = Sequence { range, ..sequence };
                    self.services.commit(self.services.catalog.put_sequences(vec![changed])?).await?;
                }
            }
            SequenceAction::RenameTo(to) => self.rename_sequence(&snapshot, sequence, to).await?,
            SequenceAction::OwnerTo(role) => self.give_sequence(&snapshot, sequence, role).await?,
            SequenceAction::SetSchema(schema) if schema == PUBLIC => {}
            SequenceAction::SetSchema(schema) => {
                return Err(Error::new(ErrorKind::UndefinedSchema, format!("schema \"{schema}\" does not exist"))
                    .with_hint(format!("all objects live in schema {PUBLIC}")));
            }
        }
        Ok(TAG)
    }

    /// Where the sequence is must be in its range, as it is to be.
    fn restart(&self, sequence: &Sequence, restart: Option<Option<i64>>) -> Result<()> {
        let (sequences, range) = (&self.services.store.sequences, &sequence.range);
        let value = match restart {
            Some(value) => value.unwrap_or(range.start),
            None => sequences.get(sequence.id, range)?.last,
        };
        if !(range.min..=range.max).contains(&value) {
            let message = format!("RESTART value ({value}) is not between {} and {}", range.min, range.max);
            return Err(Error::new(ErrorKind::InvalidParameterValue, message));
        }
        if restart.is_some() { sequences.set(sequence.id, value, false) } else { Ok(()) }
    }

    /// Defaults of columns hold its name: they are written anew.
    async fn rename_sequence(&self, snapshot: &Snapshot, sequence: Sequence, to: &str) -> Result<()> {
        if snapshot.sequence(to).is_some() || snapshot.get(to).is_some() {
            let message = format!("relation \"{to}\" already exists");
            return Err(Error::new(ErrorKind::DuplicateTable, message).with_hint("choose another name"));
        }
        let renamed = Sequence { name: to.into(), ..sequence.clone() };
        let (before, after) = (sequence.default_text(), renamed.default_text());
        let (before, after) = (before.trim_end_matches(')'), after.trim_end_matches(')'));
        let changed = |object: &Object| -> Result<Option<Object>> {
            let mut next = object.clone();
            let mut found = false;
            for default in next.definition.columns_mut().iter_mut().filter_map(|c| c.default.as_mut()) {
                found |= default.contains(before);
                *default = default.replace(before, after);
            }
            if let (Definition::Table(table), true) =
                (&next.definition, found && next.definition.options().is_some_and(|o| o.is_empty()))
            {
                next.sql = text::create_table(&next.name, table);
            }
            Ok(found.then_some(next))
        };
        let tables = snapshot.objects().filter_map(|o| changed(o).transpose()).collect::<Result<Vec<_>>>()?;
        let change = self.services.catalog.rename_sequence(&sequence.name, renamed, tables)?;
        self.services.commit(change).await
    }

    /// As in PostgreSQL: a column's sequence has the owner of its table.
    async fn give_sequence(&self, snapshot: &Snapshot, sequence: Sequence, role: &str) -> Result<()> {
        let role = match role {
            "CURRENT_USER" => self.owner.to_string(),
            "SESSION_USER" => self.client.session_user(),
            role => role.to_string(),
        };
        snapshot.find_role(&role)?;
        if let Some(table) = sequence.owned_by.as_ref().and_then(|by| snapshot.by_id(by.table)) {
            let message = format!("cannot change owner of sequence \"{}\"", sequence.name);
            return Err(Error::not_supported(message)
                .with_detail(format!("Sequence \"{}\" is linked to table \"{}\".", sequence.name, table.name))
                .with_hint(format!("write ALTER TABLE {} OWNER TO {role}", table.name)));
        }
        if !snapshot.has_role(self.owner, &role) {
            return Err(denied(format!("must be able to SET ROLE \"{role}\"")));
        }
        if !snapshot.is_superuser(self.owner) {
            snapshot.check_schema(&role, Privilege::Create)?;
        }
        let mut next = sequence;
        // What the owner has by itself is not written down.
        next.acl.remove(&role);
        next.owner = role;
        self.services.commit(self.services.catalog.put_sequences(vec![next])?).await
    }

    pub(super) async fn drop_sequences(&mut self, if_exists: bool, names: &[String]) -> Result<&'static str> {
        let _guard = self.services.ddl.lock().await;
        let snapshot = self.services.catalog.snapshot();
        let mut gone = Vec::new();
        for name in names {
            match snapshot.sequence(name) {
                Some(sequence) => {
                    snapshot.check_sequence_owner(self.owner, sequence)?;
                    gone.push(name.clone());
                }
                None if if_exists => self.notices.push(format!("sequence \"{name}\" does not exist, skipping")),
                None => drop(snapshot.find_sequence(name)?),
            }
        }
        if !gone.is_empty() {
            let change = self.services.catalog.drop_sequences(&gone)?;
            self.services.commit(change).await?;
        }
        Ok("DROP SEQUENCE")
    }

    /// Makes the sequences of a new table's columns, and the statement one whose columns take their defaults from them.
    pub(super) async fn own_sequences(&mut self, create: &CreateTable, table: JobId) -> Result<CreateTable> {
        let mut create = create.clone();
        let catalog = &self.services.catalog;
        let snapshot = catalog.snapshot();
        let mut sequences = Vec::new();
        for column in &mut create.columns {
            let Some(wanted) = &column.sequence else { continue };
            if !create.options.is_empty() {
                let message = format!("column \"{}\" takes its values from the connector", column.name);
                return Err(Error::new(ErrorKind::InvalidDefinition, message)
                    .with_hint("SERIAL and IDENTITY are for tables without a connector"));
            }
            let sequence = Sequence {
                id: catalog.next_sequence_id(),
                name: snapshot.free_sequence_name(&create.name, &column.name),
                owner: self.owner.into(),
                range: wanted.range,
                owned_by: Some(OwnedBy {
                    table,
                    column: column.name.clone(),
                    always: wanted.always,
                    identity: wanted.identity,
                }),
                comment: None,
                acl: Acl::new(),
            };
            column.default = Some(sequence.default_text());
            sequences.push(sequence);
        }
        if !sequences.is_empty() {
            self.services.commit(catalog.put_sequences(sequences)?).await?;
        }
        Ok(create)
    }

    /// The table was not made.
    pub(super) async fn disown_sequences(&self, table: JobId) -> Result<()> {
        let catalog = &self.services.catalog;
        let names: Vec<_> = catalog.snapshot().sequences_of(table).map(|s| s.name.clone()).collect();
        match names.is_empty() {
            true => Ok(()),
            false => self.services.commit(catalog.drop_sequences(&names)?).await,
        }
    }
}
