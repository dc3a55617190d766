//! Sequences: beside the objects, under names of their own. One that a SERIAL or IDENTITY column made goes with its table.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::role::{Privilege, READ_ALL, denied};
use super::{Acl, Definition, Object, Snapshot};
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
    #[serde(default)]
    pub comment: Option<String>,
    /// What others than the owner may.
    #[serde(default)]
    pub acl: Acl,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedBy {
    pub table: JobId,
    pub column: String,
    /// GENERATED ALWAYS: INSERT gives no value of its own.
    pub always: bool,
    /// Of an IDENTITY column, not a SERIAL one.
    #[serde(default)]
    pub identity: bool,
}

impl Sequence {
    /// The default of a column that takes its values.
    pub fn default_text(&self) -> String {
        default_text(&self.name)
    }

    /// The index of the column of `table` that it belongs to; a column may have got another name since.
    pub fn column_of(&self, table: &Object) -> Option<usize> {
        let by = self.owned_by.as_ref().filter(|by| by.table == table.id)?;
        let columns = table.definition.columns();
        let text = self.default_text();
        let takes = columns.iter().position(|c| !c.hidden && c.default.as_ref() == Some(&text));
        takes.or_else(|| columns.iter().position(|c| !c.hidden && c.name == by.column))
    }
}

/// The default of a column that takes the values of the sequence `name`.
fn default_text(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    match name.chars().all(plain) {
        true => format!("nextval('{name}')"),
        false => format!("nextval('\"{}\"')", name.replace('"', "\"\"").replace('\'', "''")),
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

    /// Who owns it: of a column's sequence the owner of the table.
    pub fn sequence_owner<'s>(&'s self, sequence: &'s Sequence) -> &'s str {
        let table = sequence.owned_by.as_ref().and_then(|by| self.by_id(by.table));
        table.map_or(&sequence.owner, |table| &table.owner)
    }

    /// The sequence of the `index`th column of `table`.
    pub fn sequence_of(&self, table: &Object, index: usize) -> Option<&Arc<Sequence>> {
        self.sequences_of(table.id).find(|s| s.column_of(table) == Some(index))
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

    /// Whether `role` has the privilege: its owner has all, and who may insert into the table of a column's sequence may
    /// use it.
    pub fn may_sequence(&self, role: &str, privilege: Privilege, sequence: &Sequence) -> bool {
        let table = sequence.owned_by.as_ref().and_then(|by| self.by_id(by.table));
        let inserts = || table.is_some_and(|table| self.may(role, Privilege::Insert, table));
        self.has_role(role, self.sequence_owner(sequence))
            || self.granted(role, &sequence.acl, privilege)
            || privilege == Privilege::Usage && inserts()
            || privilege == Privilege::Select && self.is_member(role, READ_ALL)
    }

    /// Whether `role` has one of the privileges.
    ///
    /// # Errors
    /// `InsufficientPrivilege`.
    pub fn check_sequence(&self, role: &str, one_of: &[Privilege], sequence: &Sequence) -> Result<()> {
        match one_of.iter().any(|p| self.may_sequence(role, *p, sequence)) {
            true => Ok(()),
            false => {
                let (name, first) = (&sequence.name, one_of.first().map_or("", |p| p.name()));
                Err(denied(format!("permission denied for sequence {name}"))
                    .with_hint(format!("its owner may GRANT {first} ON SEQUENCE {name} TO {role}")))
            }
        }
    }

    /// # Errors
    /// `InsufficientPrivilege`.
    pub fn check_sequence_owner(&self, role: &str, sequence: &Sequence) -> Result<()> {
        match self.has_role(role, self.sequence_owner(sequence)) {
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
            let text = text.trim_end_matches(')');
            let uses = |definition: &Definition| {
                definition.columns().iter().any(|c| c.default.as_ref().is_some_and(|d| d.contains(text)))
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
