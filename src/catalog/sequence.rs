//! Sequences: beside the objects, under names of their own. One that a SERIAL or IDENTITY column made goes with its table.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::role::{Privilege, denied};
use super::{Definition, Snapshot};
use crate::common::{Error, ErrorKind, Result};
use crate::types::JobId;
use crate::types::sequence::SequenceRange;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// Of its file: never used again.
    pub id: u32,
    pub name: String,
    pub owner: String,
    pub range: SequenceRange,
    /// The column that takes its values.
    pub owned_by: Option<OwnedBy>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedBy {
    pub table: JobId,
    pub column: String,
    /// GENERATED ALWAYS: INSERT gives no value of its own.
    pub always: bool,
}

impl Sequence {
    /// The default of a column that takes its values.
    pub fn default_text(&self) -> String {
        format!("nextval('{}')", self.name.replace('\'', "''"))
    }
}

impl Snapshot {
    pub fn sequence(&self, name: &str) -> Option<&Arc<Sequence>> {
        self.sequences.get(name)
    }

    /// # Errors
    /// `UndefinedTable`.
    pub fn find_sequence(&self, name: &str) -> Result<&Arc<Sequence>> {
        self.sequence(name).ok_or_else(|| {
            Error::new(ErrorKind::UndefinedTable, format!("relation \"{name}\" does not exist"))
                .with_hint("SHOW SEQUENCES lists the sequences")
        })
    }

    /// In the order of names.
    pub fn sequences(&self) -> impl Iterator<Item = &Arc<Sequence>> {
        self.sequences.values()
    }

    /// Those of the columns of a table.
    pub fn sequences_of(&self, table: JobId) -> impl Iterator<Item = &Arc<Sequence>> {
        self.sequences().filter(move |s| s.owned_by.as_ref().is_some_and(|by| by.table == table))
    }

    /// A name for the sequence of a column that nobody has, as PostgreSQL makes them.
    pub fn free_sequence_name(&self, table: &str, column: &str) -> String {
        let name = format!("{table}_{column}_seq");
        let free = |name: &String| self.sequence(name).is_none() && self.get(name).is_none();
        let numbered = (1u32..).map(|n| format!("{name}{n}"));
        std::iter::once(name.clone()).chain(numbered).find(free).unwrap_or(name)
    }

    /// Whether `role` may take values: its owner, and for a column's sequence who may insert into the table.
    ///
    /// # Errors
    /// `InsufficientPrivilege`.
    pub fn check_sequence(&self, role: &str, sequence: &Sequence) -> Result<()> {
        let table = sequence.owned_by.as_ref().and_then(|by| self.by_id(by.table));
        let inserts = table.is_some_and(|table| self.may(role, Privilege::Insert, table));
        match inserts || self.has_role(role, &sequence.owner) {
            true => Ok(()),
            false => Err(denied(format!("permission denied for sequence {}", sequence.name))),
        }
    }

    /// # Errors
    /// `InsufficientPrivilege`.
    pub fn check_sequence_owner(&self, role: &str, sequence: &Sequence) -> Result<()> {
        match self.has_role(role, &sequence.owner) {
            true => Ok(()),
            false => Err(denied(format!("must be owner of sequence {}", sequence.name))),
        }
    }

    pub(super) fn forget_sequences_of(&mut self, tables: &[JobId]) {
        self.sequences.retain(|_, s| s.owned_by.as_ref().is_none_or(|by| !tables.contains(&by.table)));
    }

    pub(super) fn with_sequences(&self, sequences: impl IntoIterator<Item = Sequence>) -> Self {
        let mut next = self.clone();
        next.version += 1;
        next.sequences.extend(sequences.into_iter().map(|s| (s.name.clone(), Arc::new(s))));
        next
    }

    /// # Errors
    /// `DependentObjects` when a column's default is one of them.
    pub(super) fn without_sequences(&self, names: &[String]) -> Result<Self> {
        for name in names {
            let Some(sequence) = self.sequence(name) else { continue };
            let text = sequence.default_text();
            let uses = |definition: &Definition| {
                definition.columns().iter().any(|c| c.default.as_ref().is_some_and(|d| d.contains(&text)))
            };
            let users: Vec<_> = self.objects().filter(|o| uses(&o.definition)).map(|o| o.name.as_str()).collect();
            if !users.is_empty() {
                let message = format!("cannot drop sequence {name} because other objects depend on it");
                return Err(Error::new(ErrorKind::DependentObjects, message)
                    .with_detail(format!("a default takes its values in: {}", users.join(", ")))
                    .with_hint("DROP the table: the sequence of a SERIAL or IDENTITY column goes with it"));
            }
        }
        let mut next = self.clone();
        next.version += 1;
        next.sequences.retain(|name, _| !names.contains(name));
        Ok(next)
    }
}
