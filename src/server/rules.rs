//! The rules of who may connect, which can be read again while the server runs.

use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::RwLock;

use super::check_safe;
use crate::common::Result;
use crate::common::access::{Method, Rule};
use crate::common::config::Config;

#[derive(Clone)]
pub struct Rules {
    rules: Arc<RwLock<Vec<Rule>>>,
    started: Arc<Config>,
}

impl Rules {
    pub(super) fn new(config: &Config) -> Self {
        Self { rules: Arc::new(RwLock::new(config.rules.clone())), started: Arc::new(config.clone()) }
    }

    /// Takes the rules of `config`, for who connects from now on. Other settings stay as they were at the start.
    ///
    /// # Errors
    /// `InvalidParameterValue` for rules with which the server would not have started; then the old ones stay.
    pub fn reload(&self, config: &Config) -> Result<()> {
        let rules = config.rules.clone();
        check_safe(&Config { rules: rules.clone(), ..self.started.as_ref().clone() })?;
        *self.rules.write() = rules;
        Ok(())
    }

    /// The method of the first rule that fits; `None` where none does. Without any rules `otherwise`.
    pub(super) fn method(
        &self,
        address: IpAddr,
        encrypted: bool,
        database: &str,
        user: &str,
        otherwise: impl FnOnce() -> Method,
    ) -> Option<Method> {
        let rules = self.rules.read();
        match rules.is_empty() {
            true => Some(otherwise()),
            false => rules.iter().find(|r| r.matches(address, encrypted, database, user)).map(|r| r.method),
        }
    }
}
