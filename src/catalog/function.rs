//! Functions that users have written in SQL: beside the objects, under names of their own. Nothing depends on one: what
//! calls it keeps its body.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Snapshot;
use crate::common::Result;
use crate::types::sql_function::SqlFunction;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Function {
    pub owner: String,
    /// The statement that made it.
    pub sql: String,
    /// The calls in its body are replaced already.
    pub function: SqlFunction,
}

impl Snapshot {
    /// The function of this name, folded and without its schema.
    pub fn function(&self, name: &str) -> Option<&Arc<Function>> {
        self.functions.get(name)
    }

    /// In the order of names.
    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.functions.values().map(Arc::as_ref)
    }

    /// # Errors
    /// `InsufficientPrivilege`.
    pub fn check_function_owner(&self, role: &str, function: &Function) -> Result<()> {
        match self.has_role(role, &function.owner) {
            true => Ok(()),
            false => Err(super::role::denied(format!("must be owner of function {}", function.function.name))),
        }
    }

    pub(super) fn with_function(&self, function: Function) -> Self {
        let mut next = self.clone();
        next.version += 1;
        next.functions.insert(function.function.name.clone(), Arc::new(function));
        next
    }

    pub(super) fn without_functions(&self, names: &[String]) -> Self {
        let mut next = self.clone();
        next.version += 1;
        next.functions.retain(|name, _| !names.contains(name));
        next
    }
}
