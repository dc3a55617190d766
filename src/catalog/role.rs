//! Roles, and what they may do: plain data, and the questions that every statement asks of it.
//!
//! A role holds what is granted to it, to the roles that it is a member of, and to PUBLIC; an owner holds everything
//! on its object, a superuser everything. Knows no SQL: who may grant what is the session's to ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::def::PUBLIC;
use super::{Object, Snapshot};
use crate::common::{Error, ErrorKind, Result};
use crate::types::Verifier;

/// The superuser that is always there.
pub const ROOT: &str = "root";
/// Who is a member of it may read everything.
pub const READ_ALL: &str = "pg_read_all_data";

/// All roles at once, in access lists; no role may have the name.
pub const EVERYONE: &str = "public";

/// Who may log in, and whose objects and privileges there are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Role {
    pub id: u32,
    pub name: String,
    pub superuser: bool,
    pub login: bool,
    pub create_role: bool,
    /// `None` is no limit.
    pub connection_limit: Option<u32>,
    /// Microseconds since 1970: from then on the password is not taken.
    pub valid_until: Option<i64>,
    pub verifier: Option<Verifier>,
    /// Roles whose privileges it has.
    pub member_of: BTreeSet<String>,
}

impl Role {
    pub fn new(id: u32, name: &str) -> Self {
        Self {
            id,
            name: name.to_string(),
            superuser: false,
            login: false,
            create_role: false,
            connection_limit: None,
            valid_until: None,
            verifier: None,
            member_of: BTreeSet::new(),
        }
    }

    /// Those that need not be made, by name.
    pub(super) fn built_in() -> BTreeMap<String, Arc<Self>> {
        let root = Self { superuser: true, login: true, create_role: true, ..Self::new(0, ROOT) };
        [root, Self::new(1, READ_ALL)].map(|role| (role.name.clone(), Arc::new(role))).into()
    }

    pub fn is_built_in(&self) -> bool {
        self.id < 2
    }
}

/// What can be granted on an object or on the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Privilege {
    Select,
    Insert,
    Update,
    Delete,
    /// Of the schema: to make objects in it.
    Create,
    /// Of the schema: to name objects in it. Of a secret: to make what uses it. Of a sequence: to take its values.
    Usage,
}

impl Privilege {
    pub const ON_RELATION: [Self; 4] = [Self::Insert, Self::Select, Self::Update, Self::Delete];
    pub const ON_SCHEMA: [Self; 2] = [Self::Usage, Self::Create];
    pub const ON_SECRET: [Self; 1] = [Self::Usage];
    pub const ON_SEQUENCE: [Self; 3] = [Self::Select, Self::Update, Self::Usage];

    pub fn name(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Create => "CREATE",
            Self::Usage => "USAGE",
        }
    }
}

/// The access list of an object: grantee to its privileges, and whether it may grant them on.
pub type Acl = BTreeMap<String, BTreeMap<Privilege, bool>>;

/// What a schema grants when nobody has said otherwise: everyone may name its objects.
pub(super) fn schema_acl() -> Acl {
    Acl::from([(EVERYONE.to_string(), BTreeMap::from([(Privilege::Usage, false)]))])
}

impl Snapshot {
    pub fn role(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.get(name)
    }

    /// # Errors
    /// `UndefinedObject`.
    pub fn find_role(&self, name: &str) -> Result<&Arc<Role>> {
        self.role(name).ok_or_else(|| {
            Error::new(ErrorKind::UndefinedObject, format!("role \"{name}\" does not exist"))
                .with_hint("SELECT rolname FROM pg_roles lists the roles")
        })
    }

    /// By name.
    pub fn roles(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.values()
    }

    pub fn is_superuser(&self, role: &str) -> bool {
        self.role(role).is_some_and(|r| r.superuser)
    }

    /// Whether `role` has what `of` has, because it is it, is a member of it, or is a superuser.
    pub fn has_role(&self, role: &str, of: &str) -> bool {
        self.is_superuser(role) || self.is_member(role, of)
    }

    /// The same without the superuser's right to be anyone.
    pub fn is_member(&self, role: &str, of: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![role];
        while let Some(name) = open.pop() {
            if name == of {
                return true;
            }
            if seen.insert(name) {
                open.extend(self.role(name).iter().flat_map(|r| &r.member_of).map(String::as_str));
            }
        }
        false
    }

    pub(super) fn granted(&self, role: &str, acl: &Acl, privilege: Privilege) -> bool {
        acl.iter().any(|(grantee, privileges)| {
            privileges.contains_key(&privilege) && (grantee == EVERYONE || self.is_member(role, grantee))
        })
    }

    pub fn may(&self, role: &str, privilege: Privilege, object: &Object) -> bool {
        self.has_role(role, &object.owner)
            || self.granted(role, &object.acl, privilege)
            || privilege == Privilege::Select && self.is_member(role, READ_ALL)
    }

    pub fn may_in_schema(&self, role: &str, privilege: Privilege) -> bool {
        self.is_superuser(role)
            || self.granted(role, &self.schema_acl, privilege)
            || privilege == Privilege::Usage && self.is_member(role, READ_ALL)
    }

    /// Whether `role` may pass `privilege` on an object on.
    pub fn may_grant(&self, role: &str, privilege: Privilege, object: &Object) -> bool {
        let passed = |(grantee, privileges): (&String, &BTreeMap<Privilege, bool>)| {
            privileges.get(&privilege) == Some(&true) && self.is_member(role, grantee)
        };
        self.has_role(role, &object.owner) || object.acl.iter().any(passed)
    }

    /// # Errors
    /// `InsufficientPrivilege`, in PostgreSQL's words.
    pub fn check(&self, role: &str, privilege: Privilege, object: &Object) -> Result<()> {
        self.check_schema(role, Privilege::Usage)?;
        match self.may(role, privilege, object) {
            true => Ok(()),
            false => {
                let (kind, name) = (object.definition.kind(), &object.name);
                let hint = format!("{} or its owner may GRANT {} ON {name} TO {role}", ROOT, privilege.name());
                Err(denied(format!("permission denied for {kind} {name}")).with_hint(hint))
            }
        }
    }

    /// # Errors
    /// `InsufficientPrivilege`.
    pub fn check_schema(&self, role: &str, privilege: Privilege) -> Result<()> {
        match self.may_in_schema(role, privilege) {
            true => Ok(()),
            false => Err(denied(format!("permission denied for schema {PUBLIC}"))
                .with_hint(format!("{ROOT} may GRANT {} ON SCHEMA {PUBLIC} TO {role}", privilege.name()))),
        }
    }

    /// # Errors
    /// `InsufficientPrivilege`.
    pub fn check_owner(&self, role: &str, object: &Object) -> Result<()> {
        match self.has_role(role, &object.owner) {
            true => Ok(()),
            false => Err(denied(format!("must be owner of {} {}", object.definition.kind(), object.name))),
        }
    }

    /// # Errors
    /// `InsufficientPrivilege`.
    pub fn check_superuser(&self, role: &str, to: &str) -> Result<()> {
        match self.is_superuser(role) {
            true => Ok(()),
            false => Err(denied(format!("permission denied to {to}")).with_hint("a superuser may do that")),
        }
    }
}

pub fn denied(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InsufficientPrivilege, message)
}
