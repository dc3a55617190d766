//! A function that is written in SQL, as the parser makes it, the catalog keeps it and the planner puts it in where it is
//! called.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `CREATE FUNCTION name(parameters) RETURNS returns LANGUAGE sql AS 'SELECT body'`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlFunction {
    /// Folded.
    pub name: String,
    pub parameters: Vec<Parameter>,
    /// A type, as SQL writes it.
    pub returns: String,
    /// Null when any argument is.
    pub strict: bool,
    /// One expression over the parameters, as SQL text.
    pub body: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Folded; one without a name is `$n` in the body.
    pub name: Option<String>,
    /// As SQL writes it.
    pub data_type: String,
    /// An expression, as SQL text. Parameters with one come last.
    pub default: Option<String>,
}

impl SqlFunction {
    /// How many arguments a call must have.
    pub fn required(&self) -> usize {
        self.parameters.iter().take_while(|p| p.default.is_none()).count()
    }

    /// `a INT, b INT DEFAULT 1`.
    pub fn arguments(&self) -> String {
        self.parameters.iter().map(Parameter::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name} ")?;
        }
        f.write_str(&self.data_type)?;
        match &self.default {
            Some(default) => write!(f, " DEFAULT {default}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for SqlFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types: Vec<&str> = self.parameters.iter().map(|p| p.data_type.as_str()).collect();
        write!(f, "{}({})", self.name, types.join(", "))
    }
}
