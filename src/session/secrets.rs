//! CREATE, ALTER and DROP SECRET. A source, table or sink that uses one is opened with the value that there is when it starts.

use super::ddl::Ddl;
use crate::catalog::Secret;
use crate::common::{Error, ErrorKind, Result};
use crate::sql::statement::Password;

impl Ddl<'_> {
    pub(super) async fn create_secret(
        &mut self,
        name: &str,
        if_not_exists: bool,
        Password(value): &Password,
    ) -> Result<&'static str> {
        const TAG: &str = "CREATE SECRET";
        let _guard = self.services.ddl.lock().await;
        let snapshot = self.services.catalog.snapshot();
        self.may_create(&snapshot, None)?;
        if snapshot.secret(name).is_some() {
            if if_not_exists {
                self.notices.push(format!("secret \"{name}\" already exists, skipping"));
                return Ok(TAG);
            }
            return Err(Error::new(ErrorKind::DuplicateObject, format!("secret \"{name}\" already exists"))
                .with_hint(format!("write ALTER SECRET {name} AS '…' for another value, or IF NOT EXISTS")));
        }
        check(value)?;
        let change = self.services.catalog.put_secret(Secret::new(name, self.owner, value))?;
        self.services.commit(change).await?;
        Ok(TAG)
    }

    pub(super) async fn alter_secret(&mut self, name: &str, Password(value): &Password) -> Result<&'static str> {
        let _guard = self.services.ddl.lock().await;
        let snapshot = self.services.catalog.snapshot();
        let secret = snapshot.find_secret(name)?;
        snapshot.check_secret_owner(self.owner, secret)?;
        check(value)?;
        let change = self.services.catalog.put_secret(secret.with_value(value))?;
        self.services.commit(change).await?;
        let users: Vec<_> = snapshot.users_of_secret(name).map(|o| o.name.as_str()).collect();
        if !users.is_empty() {
            self.notices.push(format!("the old value stays in use until the next start of: {}", users.join(", ")));
        }
        Ok("ALTER SECRET")
    }

    pub(super) async fn drop_secrets(&mut self, if_exists: bool, names: &[String]) -> Result<&'static str> {
        let _guard = self.services.ddl.lock().await;
        let snapshot = self.services.catalog.snapshot();
        let mut gone = Vec::new();
        for name in names {
            match snapshot.secret(name) {
                Some(secret) => {
                    snapshot.check_secret_owner(self.owner, secret)?;
                    gone.push(name.clone());
                }
                None if if_exists => self.notices.push(format!("secret \"{name}\" does not exist, skipping")),
                None => drop(snapshot.find_secret(name)?),
            }
        }
        if !gone.is_empty() {
            let change = self.services.catalog.drop_secrets(&gone)?;
            self.services.commit(change).await?;
        }
        Ok("DROP SECRET")
    }
}

/// Nothing could be told from an error in which every empty text is hidden.
fn check(value: &str) -> Result<()> {
    match value.is_empty() {
        true => Err(Error::new(ErrorKind::InvalidParameterValue, "a secret's value cannot be empty")),
        false => Ok(()),
    }
}
