//! Reading `WITH (…)` options: every connector asks through [`Given`], so that all complain in the same words.

use std::fmt::Display;
use std::str::FromStr;

use super::Options;
use crate::common::{Error, ErrorKind, Result};

/// Options that every connector takes; the registry and the formats read them.
const COMMON: &[&str] = &["connector", "format", "encode"];

/// The options of one source or sink, with what to call it in errors.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    /// As in `source "bid"`.
    pub object: &'a str,
    pub options: &'a Options,
}

impl<'a> Given<'a> {
    /// Fails on the first option that is none of `known` nor common to all connectors, and lists them.
    pub fn only(&self, known: &[&[&str]]) -> Result<()> {
        self.only_of(&[&[COMMON], known].concat())
    }

    /// Fails on the first option that is none of `known`, and lists them.
    pub fn only_of(&self, known: &[&[&str]]) -> Result<()> {
        let names = || known.iter().copied().flatten().copied();
        match self.options.keys().find(|key| !names().any(|name| name == key.as_str())) {
            None => Ok(()),
            Some(unknown) => Err(self
                .wrong(format!("unknown option \"{unknown}\""))
                .with_hint(format!("known options: {}", names().collect::<Vec<_>>().join(", ")))),
        }
    }

    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.options.get(key).map(String::as_str)
    }

    pub fn required(&self, key: &str, example: &str) -> Result<&'a str> {
        self.text(key).filter(|value| !value.is_empty()).ok_or_else(|| {
            self.wrong(format!("option \"{key}\" is missing")).with_hint(format!("write {key} = '{example}'"))
        })
    }

    /// `true` or `false`; `None` when absent.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        Ok(self.choice(key, &["true", "false"])?.map(|value| value == "true"))
    }

    /// One of `values`, in any case; `None` when absent.
    pub fn choice(&self, key: &str, values: &[&'static str]) -> Result<Option<&'static str>> {
        let Some(text) = self.text(key) else { return Ok(None) };
        match values.iter().find(|value| value.eq_ignore_ascii_case(text)) {
            Some(value) => Ok(Some(value)),
            None => {
                Err(self.bad_value(key, text).with_hint(format!("write one of: {}", quoted(values.iter().copied()))))
            }
        }
    }

    /// A number in `min..=max`; `None` when absent.
    pub fn number<T: FromStr + PartialOrd + Display>(&self, key: &str, min: T, max: T) -> Result<Option<T>> {
        let Some(text) = self.text(key) else { return Ok(None) };
        match text.trim().parse::<T>() {
            Ok(value) if value >= min && value <= max => Ok(Some(value)),
            _ => Err(self.bad_value(key, text).with_hint(format!("write a number from {min} to {max}"))),
        }
    }

    /// A single ASCII character, where `\t` stands for a tab; `None` when absent.
    pub fn byte(&self, key: &str) -> Result<Option<u8>> {
        let Some(text) = self.text(key) else { return Ok(None) };
        match text.as_bytes() {
            b"\\t" => Ok(Some(b'\t')),
            [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Ok(Some(*byte)),
            _ => Err(self.bad_value(key, text).with_hint("write one ASCII character, or \\t for a tab")),
        }
    }

    pub fn bad_value(&self, key: &str, value: &str) -> Error {
        self.wrong(format!("option \"{key}\" cannot be '{value}'"))
    }

    pub fn wrong(&self, message: impl Display) -> Error {
        Error::new(ErrorKind::InvalidParameterValue, format!("{}: {message}", self.object))
    }
}

/// `'a', 'b'`, for hints.
pub(super) fn quoted<'a>(values: impl Iterator<Item = &'a str>) -> String {
    values.map(|value| format!("'{value}'")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn a_wrong_option_is_named_and_the_known_ones_are_listed() {
        let given = options(&[("connector", "file"), ("pth", "x")]);
        let e = Given { object: "source \"s\"", options: &given }.only(&[&["path", "follow"]]).unwrap_err();
        assert_eq!(e.message(), "source \"s\": unknown option \"pth\"");
        assert_eq!(e.hint(), Some("known options: connector, format, encode, path, follow"));
    }

    #[test]
    fn values_are_checked() {
        let given = options(&[("f", "yes"), ("n", "12"), ("big", "101"), ("b", ";;"), ("t", "\\t"), ("c", "GZIP")]);
        let given = Given { object: "source \"s\"", options: &given };
        assert!(given.flag("f").unwrap_err().hint().unwrap().contains("'true', 'false'"));
        assert_eq!(given.number("n", 0u64, 100).unwrap(), Some(12));
        assert!(given.number("big", 0u64, 100).is_err());
        assert!(given.byte("b").is_err());
        assert_eq!(given.byte("t").unwrap(), Some(b'\t'));
        assert_eq!(given.choice("c", &["none", "gzip"]).unwrap(), Some("gzip"));
        assert_eq!(given.flag("absent").unwrap(), None);
        assert!(given.required("absent", "x").is_err());
    }
}
