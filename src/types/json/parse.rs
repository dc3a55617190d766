//! Text to a value.

use super::{Object, Value, number};
use crate::common::{Error, ErrorKind, Result};

/// Nesting beyond this is refused, so that no value overflows the stack.
const DEEPEST: usize = 512;

/// # Errors
/// `InvalidTextRepresentation` for what is not JSON, `NumericValueOutOfRange` for a number that NUMERIC cannot hold.
pub fn parse(text: &str) -> Result<Value> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let value = parser.value()?;
    parser.space();
    match parser.peek() {
        None => Ok(value),
        Some(_) => Err(parser.wrong("expected the end")),
    }
}

struct Parser<'t> {
    text: &'t str,
    /// A byte, always at a character's start.
    at: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn wrong(&self, what: &str) -> Error {
        let near: String = self.text.get(self.at..).unwrap_or_default().chars().take(20).collect();
        let near = if near.is_empty() { "the input's end".into() } else { format!("\"{near}\"") };
        Error::new(ErrorKind::InvalidTextRepresentation, "invalid input syntax for type json")
            .with_detail(format!("{what} at {near}"))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self) -> Result<Value> {
        self.space();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => Err(self.wrong("expected a JSON value")),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value>) -> Result<Value> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Error::new(
                ErrorKind::InvalidParameterValue,
                format!("JSON is nested more than {DEEPEST} levels deep"),
            ));
        }
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Value> {
        let mut members = Vec::new();
        if self.take(b'}') {
            return Ok(Value::Object(Object::default()));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("expected a key in quotes"));
            }
            let key = self.string()?;
            if !self.take(b':') {
                return Err(self.wrong("expected \":\""));
            }
            members.push((key, self.value()?));
            if self.take(b'}') {
                return Ok(Value::Object(Object::new(members)));
            }
            if !self.take(b',') {
                return Err(self.wrong("expected \",\" or \"}\""));
            }
        }
    }

    fn array(&mut self) -> Result<Value> {
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value()?);
            if self.take(b']') {
                return Ok(Value::Array(items));
            }
            if !self.take(b',') {
                return Err(self.wrong("expected \",\" or \"]\""));
            }
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let follows = |c: char| c.is_alphanumeric() || c == '_';
        match rest.strip_prefix(word) {
            Some(rest) if !rest.starts_with(follows) => {
                self.at += word.len();
                Ok(value)
            }
            _ => Err(self.wrong("expected a JSON value")),
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Value> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        let leading_zero = self.peek() == Some(b'0');
        let whole = self.digits();
        let mut right = whole == 1 || (whole > 1 && !leading_zero);
        if self.peek() == Some(b'.') {
            self.at += 1;
            right &= self.digits() > 0;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            right &= self.digits() > 0;
        }
        right &= !self.peek().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
        let text = self.text.get(start..self.at).unwrap_or_default();
        if !right {
            self.at = start;
            return Err(self.wrong("expected a number"));
        }
        number::canonical(text).map(Value::Number).ok_or_else(|| {
            Error::new(ErrorKind::NumericValueOutOfRange, "value overflows numeric format").with_detail(text)
        })
    }

    /// The string whose quote is next.
    fn string(&mut self) -> Result<String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let plain = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)).unwrap_or(rest.len());
            out.push_str(self.text.get(self.at..self.at + plain).unwrap_or_default());
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                Some(_) => return Err(self.wrong("a control character must be escaped")),
                None => return Err(self.wrong("a string never ends")),
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let escaped = self.peek();
        self.at += usize::from(escaped.is_some_and(|b| b.is_ascii()));
        Ok(match escaped {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte.into(),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => self.unicode().ok_or_else(|| self.wrong("a broken \\u escape"))?,
            _ => return Err(self.wrong("an unknown escape")),
        })
    }

    /// The character of four hexadecimal digits, of two escapes for one beyond the first 65536. None is `\u0000`.
    fn unicode(&mut self) -> Option<char> {
        let high = self.hex()?;
        if !(0xD800..0xDC00).contains(&high) {
            return char::from_u32(high).filter(|c| *c != '\0');
        }
        if !self.text.get(self.at..)?.starts_with("\\u") {
            return None;
        }
        self.at += 2;
        let low = self.hex().filter(|low| (0xDC00..0xE000).contains(low))?;
        char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        let value = digits.chars().try_fold(0, |value, c| Some(value * 16 + c.to_digit(16)?))?;
        self.at += 4;
        Some(value)
    }
}
