//! What a query may ask of the session that runs it: `current_user`, `current_setting`, `set_config`.

use std::fmt;

use super::context::PlanningCache;
use crate::common::Result;
use crate::types::SessionId;

pub trait Client: fmt::Debug + Send + Sync {
    fn id(&self) -> SessionId;

    /// Whose privileges count: `current_user`.
    fn user(&self) -> String;

    /// Who the session acts for: `session_user`.
    fn session_user(&self) -> String;

    /// A variable's value; `None` for a name that nobody knows.
    fn setting(&self, name: &str) -> Option<String>;

    /// Every variable with its value, by name.
    fn settings(&self) -> Vec<(String, String)>;

    /// Sets a variable and returns its value then.
    ///
    /// # Errors
    /// `InvalidParameterValue`.
    fn set(&self, name: &str, value: &str) -> Result<String>;

    fn planning(&self) -> &PlanningCache;
}
