//! JSON as PostgreSQL's `jsonb` has it: what it accepts, in which order it keeps keys, how it writes values.
//!
//! ```text
//! text --parse--> Value --to_string--> canonical text: {"b": 1, "aa": [true, null]}
//! ```
//!
//! A column keeps the canonical text, so values that are equal are equal texts. Numbers are kept digit by digit, as
//! NUMERIC writes them. Knows nothing of columns.

mod number;
mod parse;
mod write;

pub use number::canonical;
pub use parse::parse;
pub use write::{pretty, quote};

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    /// Canonical digits, without exponent.
    Number(String),
    String(String),
    Array(Vec<Value>),
    Object(Object),
}

/// Members in `jsonb`'s order: shorter keys first, then by bytes; no key twice.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object(Vec<(String, Value)>);

impl Object {
    /// Of two members with one key the later stays.
    pub fn new(mut members: Vec<(String, Value)>) -> Self {
        members.reverse();
        members.sort_by(|(a, _), (b, _)| order(a, b));
        members.dedup_by(|next, kept| next.0 == kept.0);
        Self(members)
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.find(key).ok().and_then(|at| self.0.get(at)).map(|(_, value)| value)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        let at = self.find(key).ok()?;
        self.0.get_mut(at).map(|(_, value)| value)
    }

    pub fn insert(&mut self, key: String, value: Value) {
        match self.find(&key) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (key, value)),
        }
    }

    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.find(key).ok().map(|at| self.0.remove(at).1)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(String, Value)> {
        self.0.iter()
    }

    pub fn into_members(self) -> Vec<(String, Value)> {
        self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(k, _)| order(k, key))
    }
}

fn order(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

impl Value {
    /// As `jsonb_typeof` names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// As `->>` gives it: strings without quotes, null as none.
    pub fn into_text(self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }

    /// Element `index`, from the end when negative.
    pub fn element(&self, index: i64) -> Option<&Value> {
        match self {
            Self::Array(items) => items.get(place(index, items.len())?),
            _ => None,
        }
    }

    pub fn member(&self, key: &str) -> Option<&Value> {
        match self {
            Self::Object(object) => object.get(key),
            _ => None,
        }
    }

    /// What a path leads to: keys of objects, numbers of elements.
    pub fn at<'s>(&self, mut path: impl Iterator<Item = &'s str>) -> Option<&Value> {
        path.try_fold(self, |value, step| match value {
            Self::Array(_) => value.element(step.trim().parse().ok()?),
            value => value.member(step),
        })
    }

    /// `@>`: whether all of `other` is in this value.
    pub fn contains(&self, other: &Value) -> bool {
        match (self, other) {
            (Self::Array(items), Self::Array(_) | Self::Object(_)) => items_contain(items, other),
            // An array holds a plain value as if it were an array of it.
            (Self::Array(items), plain) => items.contains(plain),
            (whole, part) => whole.holds(part),
        }
    }

    fn holds(&self, part: &Value) -> bool {
        match (self, part) {
            (Self::Array(items), Self::Array(_)) => items_contain(items, part),
            (Self::Object(whole), Self::Object(part)) => {
                part.iter().all(|(key, value)| whole.get(key).is_some_and(|own| own.holds(value)))
            }
            (Self::Number(a), Self::Number(b)) => number::equal(a, b),
            (a, b) => a == b,
        }
    }
}

fn items_contain(items: &[Value], part: &Value) -> bool {
    match part {
        Value::Array(parts) => parts.iter().all(|p| items.iter().any(|own| own.holds(p))),
        _ => false,
    }
}

/// The place of element `index` of `length`, from the end when negative.
pub fn place(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    let at = if index < 0 { index.checked_add(length)? } else { index };
    usize::try_from(at).ok().filter(|at| (*at as i64) < length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        parse(text).map_or_else(|e| e.to_string(), |v| v.to_string())
    }

    /// As PostgreSQL 15 writes `text::jsonb`.
    #[test]
    fn canonical_text() {
        for (text, expected) in [
            ("{\"bb\":1,\"a\":2,\"c\":3,\"a\":4}", "{\"a\": 4, \"c\": 3, \"bb\": 1}"),
            (" [1, 2.50,-0, 1e2,1.5E1,12e-3, true,false,null] ", "[1, 2.50, 0, 100, 15, 0.012, true, false, null]"),
            ("\"a\\u00e9\\n\\/\\\"\\ud83d\\ude00\\u0001\"", "\"aé\\n/\\\"😀\\u0001\""),
            ("{}", "{}"),
            ("[]", "[]"),
            ("{\"a\":{\"b\":[]}}", "{\"a\": {\"b\": []}}"),
            ("-0.00", "0.00"),
            ("123456789012345678901234567890.10", "123456789012345678901234567890.10"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_json() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\":}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "+1",
            "nul",
            "\"\n\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "1 2",
            "'a'",
            "\"\\u0000\"",
            "[1 2]",
            "{\"a\" 1}",
            "1e999999999",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(parse(&deep).is_err());
    }

    #[test]
    fn containment() {
        for (whole, part, expected) in [
            ("{\"a\":1,\"b\":{\"c\":2}}", "{\"b\":{}}", true),
            ("{\"a\":1}", "{\"a\":1.0}", true),
            ("[1,2,[3]]", "[3]", false),
            ("[1,2,[3,4]]", "[[3]]", true),
            ("[1,2]", "1", true),
            ("1", "[1]", false),
            ("[{\"a\":1,\"b\":2}]", "[{\"a\":1}]", true),
            ("\"a\"", "\"a\"", true),
            ("[1]", "[1,1]", true),
        ] {
            assert_eq!(parse(whole).unwrap().contains(&parse(part).unwrap()), expected, "{whole} @> {part}");
        }
    }
}
