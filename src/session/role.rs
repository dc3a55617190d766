//! Roles, GRANT and REVOKE, and who the session acts as. Durable when they return, like every change of the catalog.
//!
//! A password is turned into its verifier here, at once; nothing below ever sees it.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;

use super::client::SessionClient;
use super::services::Services;
use crate::catalog::role::{EVERYONE, READ_ALL, ROOT, denied};
use crate::catalog::{Acl, Change, Object, Privilege, Role, Snapshot};
use crate::common::{Error, ErrorKind, Result};
use crate::sql::Statement;
use crate::sql::statement::{AlterRole, Comment, Commented, Grant, Granted, Password};
use crate::types::Verifier;

/// Who acts: the role whose privileges count, and the one that logged in.
pub struct Actor<'a> {
    pub current: &'a str,
    pub session: &'a str,
}

/// Runs a statement on roles, privileges or comments; gives its tag and notices.
pub async fn run(
    services: &Arc<Services>,
    client: &SessionClient,
    actor: Actor<'_>,
    statement: &Statement,
) -> Result<(&'static str, Vec<String>)> {
    let _guard = services.ddl.lock().await;
    let snapshot = services.snapshot(client);
    let mut roles = Roles { services, client, snapshot, actor, notices: Vec::new() };
    let tag = match statement {
        Statement::CreateRole(role) => roles.create(role).await?,
        Statement::AlterRole(role) => roles.alter(role).await?,
        Statement::DropRole { if_exists, names } => roles.drop(names, *if_exists).await?,
        Statement::Grant(grant) => roles.grant(grant, true).await?,
        Statement::Revoke(grant) => roles.grant(grant, false).await?,
        Statement::Comment(comment) => roles.comment(comment).await?,
        _ => return Err(Error::internal("not a statement on roles")),
    };
    Ok((tag, roles.notices))
}

impl Actor<'_> {
    /// The role that a statement means by this name.
    pub fn named(&self, name: &str) -> String {
        match name {
            "CURRENT_USER" => self.current.to_string(),
            "SESSION_USER" => self.session.to_string(),
            name => name.to_string(),
        }
    }
}

struct Roles<'a> {
    services: &'a Arc<Services>,
    client: &'a SessionClient,
    snapshot: Arc<Snapshot>,
    actor: Actor<'a>,
    notices: Vec<String>,
}

impl Roles<'_> {
    /// Makes a change durable, then visible; to its end even if the client goes away.
    async fn commit(&mut self, change: Change) -> Result<()> {
        self.services.commit(change).await?;
        self.snapshot = self.services.snapshot(self.client);
        Ok(())
    }

    fn name(&self, name: &str) -> String {
        self.actor.named(name)
    }

    fn may_make_roles(&self) -> bool {
        self.snapshot.role(self.actor.current).is_some_and(|r| r.superuser || r.create_role)
    }

    async fn create(&mut self, spec: &AlterRole) -> Result<&'static str> {
        const TAG: &str = "CREATE ROLE";
        if !self.may_make_roles() || spec.superuser == Some(true) && !self.snapshot.is_superuser(self.actor.current) {
            return Err(denied("permission denied to create role"));
        }
        let name = &spec.name;
        if name == EVERYONE || name == "none" || name.starts_with("pg_") || name.contains("_USER") || name.is_empty() {
            return Err(Error::new(ErrorKind::ReservedName, format!("role name \"{name}\" is reserved"))
                .with_hint("choose another name; public, none and names that begin with pg_ are taken"));
        }
        if self.snapshot.role(name).is_some() {
            if spec.if_not_exists {
                self.notices.push(format!("role \"{name}\" already exists, skipping"));
                return Ok(TAG);
            }
            return Err(Error::new(ErrorKind::DuplicateObject, format!("role \"{name}\" already exists")));
        }
        let mut role = Role::new(self.services.catalog.next_role_id(), name);
        apply(&mut role, spec).await?;
        for of in &spec.in_roles {
            let of = self.name(of);
            self.may_add_to(&of)?;
            role.member_of.insert(of);
        }
        self.commit(self.services.catalog.put_role(role)?).await?;
        Ok(TAG)
    }

    async fn alter(&mut self, spec: &AlterRole) -> Result<&'static str> {
        let name = self.name(&spec.name);
        let old = self.snapshot.find_role(&name)?.clone();
        let only_password =
            AlterRole { password: spec.password.clone(), name: spec.name.clone(), ..AlterRole::default() };
        let own_password = name == self.actor.current && *spec == only_password;
        let superuser = self.snapshot.is_superuser(self.actor.current);
        // As in PostgreSQL: a superuser is changed by superusers only, and so is who is one.
        if !superuser && (old.superuser || spec.superuser.is_some()) && !own_password {
            return Err(denied("must be superuser to alter superuser roles or change superuser attribute"));
        }
        if !self.may_make_roles() && !own_password {
            return Err(denied("permission denied to alter role"));
        }
        if name == READ_ALL {
            return Err(Error::new(ErrorKind::ReservedName, format!("role \"{name}\" cannot be altered"))
                .with_hint(format!("GRANT {READ_ALL} TO a role of yours")));
        }
        if name == ROOT && (spec.superuser == Some(false) || spec.login == Some(false)) {
            return Err(Error::new(ErrorKind::ReservedName, format!("{ROOT} stays a superuser that may log in")));
        }
        let mut role = old.as_ref().clone();
        apply(&mut role, spec).await?;
        self.commit(self.services.catalog.put_role(role)?).await?;
        Ok("ALTER ROLE")
    }

    async fn drop(&mut self, names: &[String], if_exists: bool) -> Result<&'static str> {
        if !self.may_make_roles() {
            return Err(denied("permission denied to drop role"));
        }
        for name in names {
            let name = self.name(name);
            let role = match self.snapshot.role(&name) {
                Some(role) => role.clone(),
                None if if_exists => {
                    self.notices.push(format!("role \"{name}\" does not exist, skipping"));
                    continue;
                }
                None => return Err(self.snapshot.find_role(&name).err().unwrap_or_else(|| Error::internal("lost"))),
            };
            if role.is_built_in() {
                return Err(Error::new(ErrorKind::DependentObjects, format!("cannot drop role {name}"))
                    .with_detail("it is required by the database"));
            }
            if role.superuser && !self.snapshot.is_superuser(self.actor.current) {
                return Err(denied("must be superuser to drop superusers"));
            }
            if name == self.actor.current || name == self.actor.session {
                return Err(Error::new(ErrorKind::ObjectInUse, "current user cannot be dropped"));
            }
            let needs = |o: &Object| match (o.owner == name, o.acl.contains_key(&name)) {
                (true, _) => Some(format!("owner of {} {}", o.definition.kind(), o.name)),
                (_, true) => Some(format!("privileges for {} {}", o.definition.kind(), o.name)),
                _ => None,
            };
            let mut needed: Vec<String> = self.snapshot.objects().filter_map(|o| needs(o)).collect();
            needed.extend(self.snapshot.secrets().filter_map(|s| match (s.owner == name, s.acl.contains_key(&name)) {
                (true, _) => Some(format!("owner of secret {}", s.name)),
                (_, true) => Some(format!("privileges for secret {}", s.name)),
                _ => None,
            }));
            needed.extend(self.snapshot.sequences().filter_map(|s| {
                match (self.snapshot.sequence_owner(s) == name, s.acl.contains_key(&name)) {
                    (true, _) => Some(format!("owner of sequence {}", s.name)),
                    (_, true) => Some(format!("privileges for sequence {}", s.name)),
                    _ => None,
                }
            }));
            needed
                .extend(self.snapshot.schema_acl().contains_key(&name).then(|| "privileges for schema public".into()));
            if !needed.is_empty() {
                let message = format!("role \"{name}\" cannot be dropped because some objects depend on it");
                return Err(Error::new(ErrorKind::DependentObjects, message)
                    .with_detail(needed.join("\n"))
                    .with_hint("DROP its objects and REVOKE its privileges first"));
            }
            self.commit(self.services.catalog.drop_role(&name)?).await?;
        }
        Ok("DROP ROLE")
    }

    fn may_add_to(&self, role: &str) -> Result<()> {
        let of = self.snapshot.find_role(role)?;
        let superuser = self.snapshot.is_superuser(self.actor.current);
        match superuser || (self.may_make_roles() && !of.superuser && !of.is_built_in()) {
            true => Ok(()),
            false => Err(denied(format!("must have admin option on role \"{role}\""))),
        }
    }

    async fn grant(&mut self, grant: &Grant, give: bool) -> Result<&'static str> {
        let grantees: Vec<String> = grant.roles.iter().map(|r| self.name(r)).collect();
        for grantee in grantees.iter().filter(|g| *g != EVERYONE) {
            self.snapshot.find_role(grantee)?;
        }
        match &grant.what {
            Granted::Roles(roles) => {
                for of in roles {
                    for member in &grantees {
                        self.membership(&self.name(of), member, give).await?;
                    }
                }
                return Ok(if give { "GRANT ROLE" } else { "REVOKE ROLE" });
            }
            Granted::OnSchema { privileges } => {
                self.snapshot
                    .check_superuser(self.actor.current, "grant on schema public")
                    .map_err(|_| denied("permission denied for schema public"))?;
                let privileges = named(privileges, &Privilege::ON_SCHEMA, "schema")?;
                let mut acl = self.snapshot.schema_acl().clone();
                change(&mut acl, &grantees, &privileges, grant.option, give);
                self.commit(self.services.catalog.put_schema_acl(acl)?).await?;
            }
            Granted::OnSecrets { privileges, names } => {
                let privileges = named(privileges, &Privilege::ON_SECRET, "secret")?;
                for name in names {
                    let secret = self.snapshot.find_secret(name)?.clone();
                    self.snapshot.check_secret_owner(self.actor.current, &secret)?;
                    let mut next = secret.as_ref().clone();
                    change(&mut next.acl, &grantees, &privileges, grant.option, give);
                    // What the owner has by itself is not written down.
                    next.acl.remove(&secret.owner);
                    self.commit(self.services.catalog.put_secret(next)?).await?;
                }
            }
            Granted::OnSequences { privileges, names } => {
                for name in names {
                    self.on_sequence(name, &grantees, privileges, grant.option, give).await?;
                }
            }
            Granted::OnAllSequences { privileges } => {
                let names: Vec<_> = self.snapshot.sequences().map(|s| s.name.clone()).collect();
                for name in names {
                    self.on_sequence(&name, &grantees, privileges, grant.option, give).await?;
                }
            }
            Granted::OnObjects { privileges, names } => {
                let words = privileges;
                for name in names {
                    // PostgreSQL's GRANT ON TABLE takes a sequence as well.
                    if self.snapshot.get(name).is_none() && self.snapshot.sequence(name).is_some() {
                        self.on_sequence(name, &grantees, words, grant.option, give).await?;
                        continue;
                    }
                    let privileges = named(words, &Privilege::ON_RELATION, "relation")?;
                    let object = self.snapshot.find(name)?.clone();
                    self.on_object(&object, &grantees, &privileges, grant.option, give).await?;
                }
            }
            Granted::OnAllObjects { privileges } => {
                let privileges = named(privileges, &Privilege::ON_RELATION, "relation")?;
                let objects: Vec<_> = self.snapshot.objects().cloned().collect();
                for object in objects {
                    self.on_object(&object, &grantees, &privileges, grant.option, give).await?;
                }
            }
        }
        Ok(if give { "GRANT" } else { "REVOKE" })
    }

    async fn on_sequence(
        &mut self,
        name: &str,
        grantees: &[String],
        words: &[String],
        option: bool,
        give: bool,
    ) -> Result<()> {
        let privileges = named(words, &Privilege::ON_SEQUENCE, "sequence")?;
        let sequence = self.snapshot.find_sequence(name)?.clone();
        let owner = self.snapshot.sequence_owner(&sequence).to_string();
        let role = self.actor.current;
        let passes = |p: &Privilege| {
            sequence.acl.iter().any(|(to, held)| held.get(p) == Some(&true) && self.snapshot.is_member(role, to))
        };
        let owns = self.snapshot.has_role(role, &owner);
        let held: Vec<_> = privileges.into_iter().filter(|p| owns || passes(p)).collect();
        if held.is_empty() {
            return Err(denied(format!("permission denied for sequence {name}")));
        }
        let mut next = sequence.as_ref().clone();
        change(&mut next.acl, grantees, &held, option, give);
        // What the owner has by itself is not written down.
        next.acl.remove(&owner);
        self.commit(self.services.catalog.put_sequences(vec![next])?).await
    }

    async fn on_object(
        &mut self,
        object: &Object,
        grantees: &[String],
        privileges: &[Privilege],
        option: bool,
        give: bool,
    ) -> Result<()> {
        let role = self.actor.current;
        let held: Vec<_> = privileges.iter().copied().filter(|p| self.snapshot.may_grant(role, *p, object)).collect();
        if held.is_empty() {
            return Err(denied(format!("permission denied for {} {}", object.definition.kind(), object.name)));
        }
        let mut next = object.clone();
        change(&mut next.acl, grantees, &held, option, give);
        // What the owner has by itself is not written down.
        next.acl.remove(&object.owner);
        self.commit(self.services.catalog.replace(next)?).await
    }

    async fn membership(&mut self, of: &str, member: &str, give: bool) -> Result<()> {
        self.may_add_to(of)?;
        if give && self.snapshot.is_member(of, member) {
            return Err(Error::new(ErrorKind::InvalidGrant, format!("role \"{of}\" is a member of role \"{member}\"")));
        }
        let mut role = self.snapshot.find_role(member)?.as_ref().clone();
        let changed = if give { role.member_of.insert(of.to_string()) } else { role.member_of.remove(of) };
        if !changed {
            let state = if give { "already a" } else { "not a" };
            self.notices.push(format!("role \"{member}\" is {state} member of role \"{of}\""));
            return Ok(());
        }
        self.commit(self.services.catalog.put_role(role)?).await
    }

    async fn comment(&mut self, comment: &Comment) -> Result<&'static str> {
        if comment.on == Commented::Secret {
            return self.comment_on_secret(comment).await;
        }
        if comment.on == Commented::Sequence {
            let mut sequence = self.snapshot.find_sequence(&comment.name)?.as_ref().clone();
            self.snapshot.check_sequence_owner(self.actor.current, &sequence)?;
            sequence.comment = comment.text.clone().filter(|text| !text.is_empty());
            self.commit(self.services.catalog.put_sequences(vec![sequence])?).await?;
            return Ok("COMMENT");
        }
        let mut object = self.snapshot.find(&comment.name)?.as_ref().clone();
        let is = object.definition.kind();
        if let Commented::Object(kind) = comment.on
            && kind.name() != is
        {
            let message = format!("\"{}\" is not a {}", comment.name, kind.name());
            return Err(Error::new(ErrorKind::WrongObjectType, message).with_hint(format!(
                "write COMMENT ON {} {}",
                is.to_uppercase(),
                comment.name
            )));
        }
        self.snapshot.check_owner(self.actor.current, &object)?;
        let number = match &comment.column {
            None => 0,
            Some(column) => {
                let index = object.definition.columns().iter().position(|c| !c.hidden && c.name == *column);
                1 + index.ok_or_else(|| {
                    let message = format!("column \"{column}\" of relation \"{}\" does not exist", comment.name);
                    Error::new(ErrorKind::UndefinedColumn, message)
                })?
            }
        };
        match comment.text.as_ref().filter(|text| !text.is_empty()) {
            Some(text) => drop(object.comments.insert(number, text.clone())),
            None => drop(object.comments.remove(&number)),
        }
        self.commit(self.services.catalog.replace(object)?).await?;
        Ok("COMMENT")
    }

    async fn comment_on_secret(&mut self, comment: &Comment) -> Result<&'static str> {
        let mut secret = self.snapshot.find_secret(&comment.name)?.as_ref().clone();
        self.snapshot.check_secret_owner(self.actor.current, &secret)?;
        secret.comment = comment.text.clone().filter(|text| !text.is_empty());
        self.commit(self.services.catalog.put_secret(secret)?).await?;
        Ok("COMMENT")
    }
}

/// What the statement says, put into the role.
async fn apply(role: &mut Role, spec: &AlterRole) -> Result<()> {
    role.superuser = spec.superuser.unwrap_or(role.superuser);
    role.login = spec.login.unwrap_or(role.login);
    role.create_role = spec.create_role.unwrap_or(role.create_role);
    if let Some(limit) = spec.connection_limit {
        role.connection_limit = u32::try_from(limit).ok();
    }
    match &spec.password {
        Some(Some(password)) => role.verifier = Some(verifier(password).await?),
        Some(None) => role.verifier = None,
        None => {}
    }
    match spec.valid_until.as_deref() {
        Some("infinity") => role.valid_until = None,
        Some(text) => {
            let nanos = string_to_timestamp_nanos(text).map_err(|e| {
                Error::new(ErrorKind::InvalidTextRepresentation, format!("invalid time {text:?} in VALID UNTIL: {e}"))
                    .with_hint("write '2030-01-31 12:00:00' or 'infinity'")
            })?;
            role.valid_until = Some(nanos.div_euclid(1000));
        }
        None => {}
    }
    Ok(())
}

/// As PostgreSQL takes it: a password, or the verifier that a client has made of one.
async fn verifier(password: &Password) -> Result<Verifier> {
    let Password(password) = password.clone();
    if password.starts_with("SCRAM-SHA-256$") {
        return password.parse();
    }
    if password.is_empty() {
        return Err(Error::new(ErrorKind::InvalidParameterValue, "an empty password would prove nothing")
            .with_hint("PASSWORD NULL takes the password away"));
    }
    // It is slow by design.
    let made = tokio::task::spawn_blocking(move || Verifier::of(&password)).await;
    made.map_err(|e| Error::internal(format!("a verifier could not be made: {e}")))?
}

/// Words to privileges; none is all of `possible`.
fn named(words: &[String], possible: &[Privilege], on: &str) -> Result<Vec<Privilege>> {
    if words.is_empty() {
        return Ok(possible.to_vec());
    }
    let one = |word: &String| {
        possible.iter().copied().find(|p| p.name() == word).ok_or_else(|| {
            let names: Vec<_> = possible.iter().map(|p| p.name()).collect();
            Error::new(ErrorKind::InvalidGrant, format!("invalid privilege type {word} for {on}"))
                .with_hint(format!("what can be granted there: {}", names.join(", ")))
        })
    };
    words.iter().map(one).collect()
}

/// Gives or takes; `option` alone is taken with GRANT OPTION FOR.
fn change(acl: &mut Acl, grantees: &[String], privileges: &[Privilege], option: bool, give: bool) {
    let grantees: BTreeSet<&String> = grantees.iter().collect();
    for grantee in grantees {
        let held = acl.entry(grantee.clone()).or_default();
        for privilege in privileges {
            match (give, option) {
                (true, option) => *held.entry(*privilege).or_default() |= option,
                (false, false) => drop(held.remove(privilege)),
                (false, true) => drop(held.get_mut(privilege).map(|on| *on = false)),
            }
        }
        if held.is_empty() {
            acl.remove(grantee);
        }
    }
}
