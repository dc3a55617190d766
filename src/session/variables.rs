//! A session's variables: what clients set and ask for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use super::settings::duration;
use crate::common::{Error, ErrorKind, Result};
use crate::types::styles::{self, BYTEA_OUTPUT, DATE_STYLE, EXTRA_FLOAT_DIGITS, INTERVAL_STYLE, Styles};

/// Variables that the client is told of when they change.
const REPORTED: &[&str] = &["application_name", "client_encoding", DATE_STYLE, INTERVAL_STYLE, TIME_ZONE];

/// Every variable that has a default: its name, that, and what it is for. Others may be set and are kept.
const DEFAULTS: &[(&str, &str, &str)] = &[
    ("application_name", "", "The client's name, for the log."),
    (BYTEA_OUTPUT, "hex", "How BYTEA is written."),
    ("client_encoding", "UTF8", "The encoding of what clients send and get."),
    ("client_min_messages", "notice", "Which messages are sent to the client."),
    (DATE_STYLE, "ISO, MDY", "How dates are written."),
    ("default_transaction_isolation", "serializable", "The isolation of new transactions."),
    ("background_ddl", "off", "Whether CREATE MATERIALIZED VIEW returns before the view is filled."),
    ("default_transaction_read_only", "off", "Whether new transactions only read."),
    (EXTRA_FLOAT_DIGITS, "1", "How many digits floating point numbers are written with."),
    ("idle_in_transaction_session_timeout", "0", "How long a client may rest in a transaction; 0 is without end."),
    ("idle_session_timeout", "0", "How long a client may rest outside of one; 0 is without end."),
    ("implicit_flush", "on", "Whether a SELECT waits until it sees the session's own writes."),
    ("integer_datetimes", "on", "Times are whole microseconds."),
    (INTERVAL_STYLE, "postgres", "How intervals are written."),
    ("lock_timeout", "0", "How long a statement waits for a lock."),
    ("max_index_keys", "32", "How many columns an index may have."),
    ("search_path", "public", "Where names without a schema are looked up."),
    ("server_encoding", "UTF8", "The encoding of what is stored."),
    ("server_version", SERVER_VERSION, "The PostgreSQL version that is spoken."),
    ("server_version_num", "150000", "The PostgreSQL version that is spoken, as a number."),
    ("standard_conforming_strings", "on", "A backslash in a string is a backslash."),
    ("statement_timeout", "0", "How long a statement may take; 0 is without end."),
    (TIME_ZONE, "UTC", "The zone in which times are written and read."),
    ("transaction_isolation", "serializable", "The isolation of this transaction."),
];

const TIME_ZONE: &str = "TimeZone";

/// Variables that are lengths of time.
const TIMEOUTS: &[&str] =
    &["idle_in_transaction_session_timeout", "idle_session_timeout", "lock_timeout", "statement_timeout"];

/// Begins with the PostgreSQL version whose protocol and catalogs are spoken.
pub const SERVER_VERSION: &str = "15.0";

/// Variables that tell what is and cannot be set.
const READ_ONLY: &[&str] =
    &["integer_datetimes", "max_index_keys", "server_encoding", "server_version", "server_version_num"];

#[derive(Debug, Default)]
pub struct Variables {
    set: BTreeMap<String, String>,
    /// What the variables of the text forms say.
    styles: Styles,
    changed: Vec<(String, String)>,
    /// What SET LOCAL has changed, with the value before, in the order of the changes.
    local: Vec<(String, Option<String>)>,
}

impl Variables {
    /// The value of a variable, `None` if nobody knows it.
    pub fn get(&self, name: &str) -> Option<&str> {
        let name = canonical(name);
        self.set.get(name.as_ref()).map(String::as_str).or_else(|| default(&name))
    }

    /// Sets a variable; `None` sets it back.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let name = canonical(name).into_owned();
        if READ_ONLY.contains(&name.as_str()) {
            let message = format!("parameter {name:?} cannot be changed");
            return Err(Error::new(ErrorKind::InvalidParameterValue, message));
        }
        let styled = styles::NAMES.contains(&name.as_str());
        if styled {
            self.styles = self.styles.with(&name, value)?;
        }
        match value {
            Some(_) if styled => {
                self.set.insert(name.clone(), self.styles.shown(&name));
            }
            Some(value) => {
                let value = check(&name, value)?;
                self.set.insert(name.clone(), value);
            }
            None => {
                self.set.remove(&name);
            }
        }
        if REPORTED.contains(&name.as_str()) {
            let value = self.get(&name).unwrap_or_default().to_string();
            self.changed.push((name, value));
        }
        Ok(())
    }

    /// Sets a variable until the transaction ends.
    pub fn set_local(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let before = self.set.get(canonical(name).as_ref()).cloned();
        self.set(name, value)?;
        self.local.push((name.to_string(), before));
        Ok(())
    }

    /// The transaction has ended: what SET LOCAL changed is as before.
    pub fn end_local(&mut self) {
        for (name, before) in std::mem::take(&mut self.local).into_iter().rev() {
            // Its value was allowed before.
            let _ = self.set(&name, before.as_deref());
        }
    }

    pub fn reset_all(&mut self) {
        for name in std::mem::take(&mut self.set).into_keys() {
            // Nothing read-only was ever set.
            let _ = self.set(&name, None);
        }
    }

    pub fn take_changes(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.changed)
    }

    /// Every variable with its value, by name.
    pub fn all(&self) -> Vec<(String, String)> {
        let mut all: BTreeMap<String, String> =
            DEFAULTS.iter().map(|(name, value, _)| (name.to_string(), value.to_string())).collect();
        all.extend(self.set.clone());
        all.into_iter().collect()
    }

    /// How values are written as text.
    pub fn styles(&self) -> Styles {
        self.styles
    }

    /// Whether a CREATE returns before what it made is filled.
    pub fn background_ddl(&self) -> bool {
        self.get("background_ddl").is_some_and(is_on)
    }

    /// The length that one of the [`TIMEOUTS`] has; `None` without end.
    pub fn timeout(&self, name: &str) -> Option<Duration> {
        self.get(name).and_then(|value| timeout(name, value).ok().flatten())
    }

    /// Whether a SELECT waits until the session's own writes are visible.
    pub fn implicit_flush(&self) -> bool {
        self.get("implicit_flush").is_none_or(is_on)
    }
}

/// PostgreSQL's durations: 0 is none, a bare number counts milliseconds.
fn timeout(name: &str, value: &str) -> Result<Option<Duration>> {
    match value.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim() {
        "0" => Ok(None),
        _ => duration(name, value).map(Some),
    }
}

fn is_on(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "on" | "true" | "1" | "yes")
}

/// The value as it is kept.
fn check(name: &str, value: &str) -> Result<String> {
    let bad = |hint: &str| {
        let message = format!("invalid value for parameter {name:?}: {value:?}");
        Err(Error::new(ErrorKind::InvalidParameterValue, message).with_hint(hint))
    };
    match name {
        "implicit_flush" if !is_on(value) && !matches!(&*value.to_ascii_lowercase(), "off" | "false" | "0" | "no") => {
            return bad("write on or off");
        }
        _ if TIMEOUTS.contains(&name) => drop(timeout(name, value)?),
        "client_encoding" if !matches!(&*value.to_ascii_uppercase().replace('-', ""), "UTF8" | "UNICODE") => {
            return bad("Weir speaks UTF8 only");
        }
        TIME_ZONE => match zone(value) {
            Some(zone) => return Ok(zone.to_string()),
            None => return bad("write a zone of the IANA database, such as 'Europe/Berlin' or 'UTC'"),
        },
        _ => {}
    }
    Ok(value.to_string())
}

/// A zone's own spelling.
fn zone(name: &str) -> Option<&'static str> {
    if ["default", "local"].iter().any(|word| name.eq_ignore_ascii_case(word)) {
        return default(TIME_ZONE);
    }
    chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()).find(|known| known.eq_ignore_ascii_case(name.trim()))
}

/// What a variable is for; empty for one that only clients know.
pub fn description(name: &str) -> &'static str {
    DEFAULTS.iter().find(|(known, ..)| *known == name).map_or("", |(.., description)| description)
}

fn default(name: &str) -> Option<&'static str> {
    DEFAULTS.iter().find(|(known, ..)| *known == name).map(|(_, value, _)| *value)
}

/// The spelling under which a variable is kept: names are compared without case.
pub fn canonical(name: &str) -> Cow<'_, str> {
    // Every statement asks for some.
    if default(name).is_some() {
        return Cow::Borrowed(name);
    }
    let aliases = [("rw_implicit_flush", "implicit_flush"), ("names", "client_encoding"), ("time zone", TIME_ZONE)];
    let alias = aliases.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name)).map(|(_, known)| *known);
    let known = || DEFAULTS.iter().map(|(known, ..)| *known).find(|known| known.eq_ignore_ascii_case(name));
    match alias.or_else(known) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(name.to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::styles::DateStyle;

    #[test]
    fn names_have_no_case_and_changes_are_reported() {
        let mut v = Variables::default();
        v.set("TIMEZONE", Some("europe/berlin")).unwrap();
        v.set("rw_implicit_flush", Some("false")).unwrap();
        assert_eq!(v.get("timezone"), Some("Europe/Berlin"));
        assert!(!v.implicit_flush());
        assert_eq!(v.take_changes(), [("TimeZone".to_string(), "Europe/Berlin".to_string())]);
        v.reset_all();
        assert!(v.implicit_flush());
        assert_eq!(v.get("no_such"), None);
    }

    #[test]
    fn local_values_end_with_the_transaction() {
        let mut v = Variables::default();
        v.set("application_name", Some("a")).unwrap();
        for value in ["b", "c"] {
            v.set_local("application_name", Some(value)).unwrap();
        }
        v.set_local("extra_float_digits", Some("3")).unwrap();
        assert_eq!((v.get("application_name"), v.get("extra_float_digits")), (Some("c"), Some("3")));
        v.end_local();
        assert_eq!((v.get("application_name"), v.get("extra_float_digits")), (Some("a"), Some("1")));
    }

    #[test]
    fn styles_follow_the_variables() {
        let mut v = Variables::default();
        v.set("datestyle", Some("german")).unwrap();
        v.set_local("DateStyle", Some("SQL")).unwrap();
        assert_eq!((v.get("DateStyle"), v.styles().dates), (Some("SQL, DMY"), DateStyle::Sql));
        v.end_local();
        assert_eq!((v.get("DateStyle"), v.styles().dates), (Some("German, DMY"), DateStyle::German));
        assert!(v.set("DateStyle", Some("Martian")).is_err());
        assert_eq!(v.take_changes().len(), 3);
        v.set("bytea_output", Some("ESCAPE")).unwrap();
        assert_eq!(v.get("bytea_output"), Some("escape"));
        v.reset_all();
        assert_eq!((v.get("DateStyle"), v.styles()), (Some("ISO, MDY"), Styles::default()));
    }

    #[test]
    fn timeouts() {
        let mut v = Variables::default();
        for (value, millis) in
            [("0", None), ("0s", None), ("250", Some(250)), ("2s", Some(2000)), ("1min", Some(60_000))]
        {
            v.set("statement_timeout", Some(value)).unwrap();
            assert_eq!(v.timeout("statement_timeout").map(|t| t.as_millis()), millis, "{value}");
        }
        assert!(v.set("statement_timeout", Some("soon")).is_err());
    }

    #[test]
    fn wrong_values_are_refused() {
        let mut v = Variables::default();
        for (name, value) in [
            ("implicit_flush", "perhaps"),
            ("client_encoding", "LATIN1"),
            ("TimeZone", "Europe/Nowhere"),
            ("server_version", "1"),
        ] {
            assert!(v.set(name, Some(value)).is_err(), "{name} = {value}");
        }
    }
}
