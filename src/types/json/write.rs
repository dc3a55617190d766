//! A value to text.

use std::fmt::{self, Write};

use super::Value;

/// With a space behind `,` and `:`, as `jsonb` is written.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(digits) => f.write_str(digits),
            Self::String(text) => quote(f, text),
            Self::Array(items) => {
                f.write_char('[')?;
                for (i, item) in items.iter().enumerate() {
                    f.write_str(if i > 0 { ", " } else { "" })?;
                    write!(f, "{item}")?;
                }
                f.write_char(']')
            }
            Self::Object(object) => {
                f.write_char('{')?;
                for (i, (key, value)) in object.iter().enumerate() {
                    f.write_str(if i > 0 { ", " } else { "" })?;
                    quote(f, key)?;
                    write!(f, ": {value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

/// A string with its quotes and escapes.
pub fn quote(f: &mut impl Write, text: &str) -> fmt::Result {
    f.write_char('"')?;
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        f.write_str(text.get(plain..at).unwrap_or_default())?;
        plain = at + 1;
        match byte {
            b'"' => f.write_str("\\\"")?,
            b'\\' => f.write_str("\\\\")?,
            8 => f.write_str("\\b")?,
            12 => f.write_str("\\f")?,
            b'\n' => f.write_str("\\n")?,
            b'\r' => f.write_str("\\r")?,
            b'\t' => f.write_str("\\t")?,
            other => write!(f, "\\u{other:04x}")?,
        }
    }
    f.write_str(text.get(plain..).unwrap_or_default())?;
    f.write_char('"')
}

/// Over several lines, as `jsonb_pretty` does.
pub fn pretty(value: &Value) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = pretty_into(&mut out, value, 0);
    out
}

fn pretty_into(out: &mut String, value: &Value, depth: usize) -> fmt::Result {
    let indent = |out: &mut String, depth: usize| out.push_str(&" ".repeat(4 * depth));
    match value {
        Value::Array(items) => {
            out.push_str("[\n");
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { ",\n" } else { "" });
                indent(out, depth + 1);
                pretty_into(out, item, depth + 1)?;
            }
            out.push_str(if items.is_empty() { "" } else { "\n" });
            indent(out, depth);
            out.push(']');
        }
        Value::Object(object) => {
            out.push_str("{\n");
            for (i, (key, item)) in object.iter().enumerate() {
                out.push_str(if i > 0 { ",\n" } else { "" });
                indent(out, depth + 1);
                quote(out, key)?;
                out.push_str(": ");
                pretty_into(out, item, depth + 1)?;
            }
            out.push_str(if object.is_empty() { "" } else { "\n" });
            indent(out, depth);
            out.push('}');
        }
        plain => write!(out, "{plain}")?,
    }
    Ok(())
}
