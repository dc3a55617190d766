//! Values as PostgreSQL prints them, in the [styles](super::styles) of a session: what the wire sends and what a cast to
//! text gives. Types and columns are not known here.

mod datetime;
mod interval;
mod number;

use std::fmt::{Display, Write};
use std::ops::Range;

use bytes::{BufMut, BytesMut};

use super::styles::BytesStyle;
use crate::common::Result;

pub use self::datetime::{date, offset, time, timestamp, timetz};
pub use self::interval::{interval, whole_days};
pub use self::number::{FLOAT4, FLOAT8, decimal, float};

/// Text of a number, without an allocation.
struct Scratch {
    bytes: [u8; 96],
    len: usize,
}

impl Scratch {
    fn of(value: impl Display) -> Self {
        let mut scratch = Self { bytes: [0; 96], len: 0 };
        // The longest, a 256-bit integer, has 78 digits.
        let _ = write!(scratch, "{value}");
        scratch
    }

    fn text(&self) -> &str {
        self.bytes.get(..self.len).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl Write for Scratch {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

pub fn display(value: impl Display, out: &mut BytesMut) {
    // A BytesMut grows: writing to it does not fail.
    let _ = write!(out, "{value}");
}

pub fn bytea(value: &[u8], style: BytesStyle, out: &mut BytesMut) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    if style == BytesStyle::Escape {
        return escaped(value, out);
    }
    out.put_slice(b"\\x");
    out.reserve(value.len() * 2);
    for byte in value {
        out.put_u8(HEX[usize::from(byte >> 4)]);
        out.put_u8(HEX[usize::from(byte & 15)]);
    }
}

/// Letters as they are, other bytes as three octal digits: `a\\b\000`.
fn escaped(value: &[u8], out: &mut BytesMut) {
    for byte in value {
        match byte {
            b'\\' => out.put_slice(b"\\\\"),
            0x20..=0x7e => out.put_u8(*byte),
            _ => {
                let _ = write!(out, "\\{byte:03o}");
            }
        }
    }
}

/// `{1,NULL,"a b"}`; `write` appends an item, `false` for null, and `nested` ones stand as they are.
pub fn array(
    rows: Range<usize>,
    nested: bool,
    write: impl Fn(usize, &mut BytesMut) -> Result<bool>,
    out: &mut BytesMut,
) -> Result<()> {
    out.put_u8(b'{');
    let mut item = BytesMut::new();
    for (i, row) in rows.enumerate() {
        if i > 0 {
            out.put_u8(b',');
        }
        item.clear();
        if !write(row, &mut item)? {
            out.put_slice(b"NULL");
        } else if nested || !quoted_in_array(&item) {
            out.put_slice(&item);
        } else {
            out.put_u8(b'"');
            for byte in &item {
                if matches!(byte, b'"' | b'\\') {
                    out.put_u8(b'\\');
                }
                out.put_u8(*byte);
            }
            out.put_u8(b'"');
        }
    }
    out.put_u8(b'}');
    Ok(())
}

fn quoted_in_array(item: &[u8]) -> bool {
    item.is_empty()
        || item.eq_ignore_ascii_case(b"NULL")
        || item.iter().any(|b| matches!(b, b'{' | b'}' | b',' | b'"' | b'\\') || is_space(*b))
}

/// `(1,,"a b")`: a null is nothing at all; `write` appends a column's item, `false` for null.
pub fn record<C>(
    columns: impl Iterator<Item = C>,
    write: impl Fn(C, &mut BytesMut) -> Result<bool>,
    out: &mut BytesMut,
) -> Result<()> {
    out.put_u8(b'(');
    let mut item = BytesMut::new();
    for (i, column) in columns.enumerate() {
        if i > 0 {
            out.put_u8(b',');
        }
        item.clear();
        if !write(column, &mut item)? {
            continue;
        }
        let quoted =
            item.is_empty() || item.iter().any(|b| matches!(b, b'(' | b')' | b',' | b'"' | b'\\') || is_space(*b));
        if !quoted {
            out.put_slice(&item);
            continue;
        }
        out.put_u8(b'"');
        for byte in &item {
            if matches!(byte, b'"' | b'\\') {
                out.put_u8(*byte);
            }
            out.put_u8(*byte);
        }
        out.put_u8(b'"');
    }
    out.put_u8(b')');
    Ok(())
}

/// As C's isspace.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}
