//! What a session sees: its temporary tables before all others of their names, and none of those of other sessions.
//!
//! The catalog's own snapshot holds the temporary objects of all sessions by their ids, and has none of them by name.

use std::sync::Arc;

use super::{Object, Snapshot};
use crate::common::{Error, ErrorKind, Result};
use crate::types::SessionId;

impl Snapshot {
    /// Whether any session has temporary objects.
    pub fn has_temporary(&self) -> bool {
        self.temporary > 0
    }

    /// The temporary objects of a session, in the order of creation.
    pub fn temporary_of(&self, session: SessionId) -> impl Iterator<Item = &Arc<Object>> {
        self.objects().filter(move |o| o.temporary.is_some_and(|t| t.session == session))
    }

    /// What `session` sees of the catalog's snapshot; the same while there are no temporary objects.
    pub fn seen_by(self: &Arc<Self>, session: SessionId) -> Arc<Self> {
        if self.temporary == 0 {
            return self.clone();
        }
        let mut seen = Self::clone(self);
        seen.by_id.retain(|_, o| o.temporary.is_none_or(|t| t.session == session));
        let own: Vec<_> = self.temporary_of(session).map(|o| (o.name.clone(), o.id)).collect();
        seen.by_name.extend(own);
        seen.plain = Some(self.clone());
        Arc::new(seen)
    }

    /// Without names of temporary objects: what stored queries are read with.
    pub fn plain(self: &Arc<Self>) -> Arc<Self> {
        self.plain.clone().unwrap_or_else(|| self.clone())
    }

    /// # Errors
    /// `DuplicateTable`.
    pub(super) fn check_free(&self, object: &Object) -> Result<()> {
        let other = match object.temporary {
            Some(t) => self.temporary_of(t.session).find(|o| o.name == object.name),
            None => self.get(&object.name),
        };
        if object.temporary.is_none() && self.sequence(&object.name).is_some() {
            let message = format!("relation \"{}\" already exists", object.name);
            return Err(
                Error::new(ErrorKind::DuplicateTable, message).with_hint("a sequence has the name: choose another")
            );
        }
        match other {
            None => Ok(()),
            Some(other) => Err(Error::new(
                ErrorKind::DuplicateTable,
                format!("{} \"{}\" already exists", other.definition.kind(), other.name),
            )
            .with_hint("choose another name, write IF NOT EXISTS, or DROP it first")),
        }
    }
}
