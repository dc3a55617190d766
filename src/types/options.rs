//! What `WITH (…)` and `FORMAT … ENCODE … (…)` say, as statements, the catalog and plans keep it: a secret is named there,
//! and its value is not. What a connector is opened with has the values in their places.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// By the option's name in lower case, perhaps dotted; `format` and `encode` hold the words, in lower case.
pub type WithOptions = BTreeMap<String, OptionValue>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OptionValue {
    Text(String),
    /// The value of the secret of this name, looked up when the connector is opened.
    Secret {
        secret: String,
    },
}

impl OptionValue {
    /// What is written there; nothing of a secret.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Secret { .. } => None,
        }
    }

    /// The secret that it names.
    pub fn secret(&self) -> Option<&str> {
        match self {
            Self::Text(_) => None,
            Self::Secret { secret } => Some(secret),
        }
    }
}

impl<T: Into<String>> From<T> for OptionValue {
    fn from(text: T) -> Self {
        Self::Text(text.into())
    }
}

/// The names of the secrets in `options`.
pub fn secrets(options: &WithOptions) -> impl Iterator<Item = &str> {
    options.values().filter_map(OptionValue::secret)
}
