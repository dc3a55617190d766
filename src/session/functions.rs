//! CREATE and DROP FUNCTION.

use super::ddl::Ddl;
use crate::catalog::Function;
use crate::common::{Error, ErrorKind, Result};
use crate::planner;
use crate::sql::statement::CreateFunction;

impl Ddl<'_> {
    pub(super) async fn create_function(&mut self, create: &CreateFunction) -> Result<&'static str> {
        let _guard = self.services.ddl.lock().await;
        let snapshot = self.services.catalog.snapshot();
        self.may_create(&snapshot, None)?;
        let old = snapshot.function(&create.function.name);
        let mut owner = self.owner.to_string();
        match old {
            Some(old) if create.or_replace => {
                snapshot.check_function_owner(self.owner, old)?;
                if old.function.returns != create.function.returns {
                    return Err(Error::new(
                        ErrorKind::InvalidDefinition,
                        "cannot change return type of existing function",
                    )
                    .with_hint(format!("write DROP FUNCTION {} first", create.function.name)));
                }
                owner.clone_from(&old.owner);
            }
            Some(old) => {
                return Err(Error::new(
                    ErrorKind::DuplicateFunction,
                    format!("function {} already exists", old.function),
                )
                .with_hint("write CREATE OR REPLACE FUNCTION, or choose another name: there is one function a name"));
            }
            None => {}
        }
        let function = planner::define_function(&snapshot, &create.function)?;
        let sql = self.text.trim().trim_end_matches(';').to_string();
        let change = self.services.catalog.put_function(Function { owner, sql, function })?;
        self.services.jobs.write_meta(change.writes, Vec::new()).await?;
        self.services.catalog.publish(change.snapshot);
        Ok("CREATE FUNCTION")
    }

    pub(super) async fn drop_functions(&mut self, if_exists: bool, names: &[String]) -> Result<&'static str> {
        let _guard = self.services.ddl.lock().await;
        let snapshot = self.services.catalog.snapshot();
        let mut gone = Vec::new();
        for name in names {
            match snapshot.function(name) {
                Some(function) => {
                    snapshot.check_function_owner(self.owner, function)?;
                    gone.push(name.clone());
                }
                None if if_exists => self.notices.push(format!("function {name} does not exist, skipping")),
                None => {
                    return Err(Error::new(ErrorKind::UndefinedFunction, format!("function {name} does not exist"))
                        .with_hint("SHOW FUNCTIONS lists those that can be dropped"));
                }
            }
        }
        if !gone.is_empty() {
            let change = self.services.catalog.drop_functions(&gone)?;
            self.services.jobs.write_meta(change.writes, Vec::new()).await?;
            self.services.catalog.publish(change.snapshot);
        }
        Ok("DROP FUNCTION")
    }
}
