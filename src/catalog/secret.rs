//! Values that `WITH (option = SECRET name)` stands for: beside the objects, under names of their own. Who uses one is
//! known from the options of sources, tables and sinks, which keep the name alone.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::role::{Privilege, denied};
use super::{Acl, Definition, Object, Snapshot};
use crate::common::{Error, ErrorKind, Result};
use crate::types::options::{WithOptions, secrets};

/// How many former values of a secret are kept.
const FORMER: usize = 64;

#[derive(Clone, Serialize, Deserialize)]
pub struct Secret {
    pub name: String,
    pub owner: String,
    /// As it was written: whoever reads the data folder reads it.
    pub value: String,
    /// What it was while it was used, the latest last: positions of readers may still hold it, and it stays hidden.
    pub former: Vec<String>,
    pub comment: Option<String>,
    /// USAGE of others than the owner.
    pub acl: Acl,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({})", self.name)
    }
}

impl Secret {
    pub fn new(name: &str, owner: &str, value: &str) -> Self {
        Self {
            name: name.into(),
            owner: owner.into(),
            value: value.into(),
            former: Vec::new(),
            comment: None,
            acl: Acl::default(),
        }
    }

    /// The same secret with another value.
    pub fn with_value(&self, value: &str) -> Self {
        let mut next = self.clone();
        let before = std::mem::replace(&mut next.value, value.into());
        next.former.retain(|other| *other != before && other != value);
        next.former.push(before);
        let many = next.former.len().saturating_sub(FORMER);
        next.former.drain(..many);
        next
    }
}

impl Snapshot {
    pub fn secret(&self, name: &str) -> Option<&Arc<Secret>> {
        self.secrets.get(name)
    }

    /// # Errors
    /// `UndefinedObject`.
    pub fn find_secret(&self, name: &str) -> Result<&Arc<Secret>> {
        self.secret(name).ok_or_else(|| {
            Error::new(ErrorKind::UndefinedObject, format!("secret \"{name}\" does not exist"))
                .with_hint("SHOW SECRETS lists the secrets")
        })
    }

    /// In the order of names.
    pub fn secrets(&self) -> impl Iterator<Item = &Arc<Secret>> {
        self.secrets.values()
    }

    /// Sources, tables and sinks with an option that is the secret, in the order of creation.
    pub fn users_of_secret<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Arc<Object>> {
        self.objects().filter(move |o| o.definition.options().is_some_and(|given| secrets(given).any(|s| s == name)))
    }

    /// # Errors
    /// `InsufficientPrivilege`.
    pub fn check_secret_owner(&self, role: &str, secret: &Secret) -> Result<()> {
        match self.has_role(role, &secret.owner) {
            true => Ok(()),
            false => Err(denied(format!("must be owner of secret {}", secret.name))),
        }
    }

    /// Whether `role` may make something with these options: with each secret in them.
    ///
    /// # Errors
    /// `UndefinedObject`, `InsufficientPrivilege`.
    pub fn check_secrets(&self, role: &str, options: &WithOptions) -> Result<()> {
        for name in secrets(options) {
            let secret = self.find_secret(name)?;
            if !self.has_role(role, &secret.owner) && !self.granted(role, &secret.acl, Privilege::Usage) {
                return Err(denied(format!("permission denied for secret {name}"))
                    .with_hint(format!("its owner may GRANT USAGE ON SECRET {name} TO {role}")));
            }
        }
        Ok(())
    }

    pub(super) fn with_secret(&self, secret: Secret) -> Self {
        let mut next = self.clone();
        next.version += 1;
        next.secrets.insert(secret.name.clone(), Arc::new(secret));
        next
    }

    /// # Errors
    /// `DependentObjects` when one of them is used.
    pub(super) fn without_secrets(&self, names: &[String]) -> Result<Self> {
        for name in names {
            let users: Vec<_> =
                self.users_of_secret(name).map(|o| format!("{} \"{}\"", o.definition.kind(), o.name)).collect();
            if !users.is_empty() {
                let message = format!("cannot drop secret \"{name}\" because other objects depend on it");
                let uses = |user: &String| format!("{user} depends on secret \"{name}\"");
                return Err(Error::new(ErrorKind::DependentObjects, message)
                    .with_detail(users.iter().map(uses).collect::<Vec<_>>().join("; "))
                    .with_hint(format!("DROP them first, or give it another value: ALTER SECRET {name} AS '…'")));
            }
        }
        let mut next = self.clone();
        next.version += 1;
        next.secrets.retain(|name, _| !names.contains(name));
        Ok(next)
    }
}

impl Definition {
    /// What WITH said, of those that have it.
    pub fn options(&self) -> Option<&WithOptions> {
        match self {
            Self::Source(s) => Some(&s.options),
            Self::Table(t) => Some(&t.options),
            Self::Sink(s) => Some(&s.options),
            Self::MaterializedView(_) | Self::View(_) | Self::Index(_) => None,
        }
    }
}
