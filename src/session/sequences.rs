//! CREATE, ALTER and DROP SEQUENCE, and the sequences of SERIAL and IDENTITY columns.

use super::ddl::Ddl;
use crate::catalog::{OwnedBy, Sequence};
use crate::common::{Error, ErrorKind, Result};
use crate::sql::statement::{CreateSequence, CreateTable};
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
        let sequence =
            Sequence { id, name: name.clone(), owner: self.owner.into(), range: create.range, owned_by: None };
        let change = self.services.catalog.put_sequences(vec![sequence])?;
        self.services.commit(change).await?;
        Ok(TAG)
    }

    pub(super) async fn restart_sequence(
        &mut self,
        name: &str,
        if_exists: bool,
        value: Option<i64>,
    ) -> Result<&'static str> {
        let snapshot = self.services.catalog.snapshot();
        let sequence = match snapshot.sequence(name) {
            None if if_exists => {
                self.notices.push(format!("relation \"{name}\" does not exist, skipping"));
                return Ok("ALTER SEQUENCE");
            }
            _ => snapshot.find_sequence(name)?,
        };
        snapshot.check_sequence_owner(self.owner, sequence)?;
        let value = value.unwrap_or(sequence.range.start);
        if !(sequence.range.min..=sequence.range.max).contains(&value) {
            let message =
                format!("RESTART value ({value}) is not between {} and {}", sequence.range.min, sequence.range.max);
            return Err(Error::new(ErrorKind::InvalidParameterValue, message));
        }
        self.services.store.sequences.set(sequence.id, Some(value))?;
        Ok("ALTER SEQUENCE")
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
                owned_by: Some(OwnedBy { table, column: column.name.clone(), always: wanted.always }),
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
