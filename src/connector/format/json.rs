//! JSON lines: one object a line. Finds the values of the wanted keys and checks the shape of the rest; knows no types.

use std::collections::HashMap;

use memchr::{memchr, memchr2};
use serde::de::IgnoredAny;

use super::records::{Cell, Faults, Records};

/// Finds the values of the projected columns in lines. Objects of one stream tend to have the same keys in the same
/// order: the expected key is compared first, without a search.
pub(super) struct Json {
    /// Of the projected columns, in their order.
    columns: Vec<String>,
    /// Which of them are JSON themselves: their strings keep the quotes.
    verbatim: Vec<bool>,
    /// The keys of the last object, in order.
    expected: Vec<Key>,
    known: HashMap<Vec<u8>, Match>,
}

struct Key {
    /// With the closing quote.
    text: Vec<u8>,
    found: Match,
}

/// What a key means: an exact name wins over one in another case.
#[derive(Debug, Clone, Copy)]
enum Match {
    Exact(usize),
    OtherCase(usize),
    Unknown,
}

/// A broken line: what is wrong, and at which byte of the line.
type Broken = (usize, &'static str);

impl Json {
    pub fn new(columns: Vec<String>, verbatim: Vec<bool>) -> Self {
        Self { columns, verbatim, expected: Vec::new(), known: HashMap::new() }
    }

    /// Finds the records of `data` from `from` on, one a line; blank lines are none.
    pub fn tokenize(&mut self, data: &[u8], from: usize, records: &mut Records, faults: &mut Faults) {
        let mut at = from;
        while at < data.len() {
            let end = memchr(b'\n', &data[at..]).map_or(data.len(), |i| at + i);
            let start = skip_space(data, at, end);
            if start < end {
                let record = records.len();
                records.begin();
                if let Err((at, what)) = self.object(data, start, end, records) {
                    records.open().fill(Cell::NULL);
                    faults.add(record, || format!("not a JSON object: {what} at byte {}", at - start));
                }
                records.end(start, if data[end - 1] == b'\r' { end - 1 } else { end });
            }
            at = end + 1;
        }
    }

    /// Reads the object at `at`, which ends before `end`.
    fn object(&mut self, data: &[u8], mut at: usize, end: usize, records: &mut Records) -> Result<(), Broken> {
        let line = &data[..end];
        if line[at] != b'{' {
            return Err((at, "expected {"));
        }
        at = skip_space(line, at + 1, end);
        if line.get(at) == Some(&b'}') {
            return only_space(line, at + 1);
        }
        for index in 0.. {
            if line.get(at) != Some(&b'"') {
                return Err((at, "expected a key in quotes"));
            }
            let found;
            (found, at) = self.key(line, at + 1, index)?;
            at = skip_space(line, at, end);
            if line.get(at) != Some(&b':') {
                return Err((at, "expected :"));
            }
            at = skip_space(line, at + 1, end);
            let value;
            (value, at) = read_value(line, at)?;
            match found {
                Match::Exact(column) => set(records, column, self.kept(column, value), data)?,
                Match::OtherCase(column) if records.open().get(column).is_some_and(|cell| cell.is_null()) => {
                    set(records, column, self.kept(column, value), data)?;
                }
                Match::OtherCase(_) | Match::Unknown => {}
            }
            at = skip_space(line, at, end);
            match line.get(at) {
                Some(b',') => at = skip_space(line, at + 1, end),
                Some(b'}') => return only_space(line, at + 1),
                _ => return Err((at, "expected , or }")),
            }
        }
        Ok(())
    }

    fn kept(&self, column: usize, value: Value) -> Value {
        match value {
            Value::Text(start, end, _) if self.verbatim.get(column) == Some(&true) => Value::Raw(start - 1, end + 1),
            value => value,
        }
    }

    /// Reads the key whose text begins at `at`, the `index`-th of its object.
    #[inline]
    fn key(&mut self, line: &[u8], at: usize, index: usize) -> Result<(Match, usize), Broken> {
        if let Some(key) = self.expected.get(index)
            && line[at..].starts_with(&key.text)
        {
            return Ok((key.found, at + key.text.len()));
        }
        let (end, escaped) = string_end(line, at)?;
        let mut name = Vec::new();
        if escaped {
            unescape(line, at, end, &mut name)?;
        } else {
            name.extend_from_slice(&line[at..end]);
        }
        let found = match self.known.get(&name) {
            Some(found) => *found,
            None => {
                let found = self.lookup(&name);
                // Keys that are data (a map written as an object) must not fill the memory.
                if self.known.len() < 1000 {
                    self.known.insert(name, found);
                }
                found
            }
        };
        let key = Key { text: line[at..=end].to_vec(), found };
        if let Some(expected) = self.expected.get_mut(index) {
            *expected = key;
        } else if index == self.expected.len() && index < 1000 {
            self.expected.push(key);
        }
        Ok((found, end + 1))
    }

    fn lookup(&self, name: &[u8]) -> Match {
        if let Some(column) = self.columns.iter().position(|column| column.as_bytes() == name) {
            return Match::Exact(column);
        }
        match self.columns.iter().position(|column| column.as_bytes().eq_ignore_ascii_case(name)) {
            Some(column) => Match::OtherCase(column),
            None => Match::Unknown,
        }
    }
}

/// A value as it stands in the line.
enum Value {
    Null,
    /// A number, `true`, `false`, an array or an object.
    Raw(usize, usize),
    /// The inside of a string.
    Text(usize, usize, bool),
}

fn set(records: &mut Records, column: usize, value: Value, data: &[u8]) -> Result<(), Broken> {
    let cell = match value {
        Value::Null => Cell::NULL,
        Value::Raw(start, end) | Value::Text(start, end, false) => Cell::at(start, end),
        Value::Text(start, end, true) => {
            let begin = data.len() + records.scratch.len();
            unescape(data, start, end, &mut records.scratch)?;
            Cell::at(begin, data.len() + records.scratch.len())
        }
    };
    if let Some(place) = records.open().get_mut(column) {
        *place = cell;
    }
    Ok(())
}

#[inline]
fn skip_space(line: &[u8], mut at: usize, end: usize) -> usize {
    while at < end && matches!(line[at], b' ' | b'\t' | b'\r') {
        at += 1;
    }
    at
}

fn only_space(line: &[u8], at: usize) -> Result<(), Broken> {
    match skip_space(line, at, line.len()) {
        rest if rest == line.len() => Ok(()),
        rest => Err((rest, "text after the object")),
    }
}

#[inline]
fn read_value(line: &[u8], at: usize) -> Result<(Value, usize), Broken> {
    match line.get(at) {
        Some(b'"') => {
            let (end, escaped) = string_end(line, at + 1)?;
            Ok((Value::Text(at + 1, end, escaped), end + 1))
        }
        Some(b'{' | b'[') => {
            let end = nested_end(line, at)?;
            match serde_json::from_slice::<IgnoredAny>(&line[at..end]) {
                Ok(_) => Ok((Value::Raw(at, end), end)),
                Err(_) => Err((at, "a broken array or object")),
            }
        }
        Some(_) => {
            let length = line[at..].iter().position(|b| matches!(b, b',' | b'}' | b' ' | b'\t' | b'\r'));
            let end = length.map_or(line.len(), |length| at + length);
            match &line[at..end] {
                b"null" => Ok((Value::Null, end)),
                b"true" | b"false" => Ok((Value::Raw(at, end), end)),
                number if is_number(number) => Ok((Value::Raw(at, end), end)),
                _ => Err((at, "expected a value")),
            }
        }
        None => Err((at, "the line ends where a value should be")),
    }
}

/// JSON's grammar of numbers.
fn is_number(text: &[u8]) -> bool {
    fn digits(text: &[u8]) -> &[u8] {
        let count = text.iter().take_while(|b| b.is_ascii_digit()).count();
        &text[count..]
    }
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let mut rest = match text {
        [b'0', rest @ ..] => rest,
        [b'1'..=b'9', rest @ ..] => digits(rest),
        _ => return false,
    };
    if let [b'.', b'0'..=b'9', fraction @ ..] = rest {
        rest = digits(fraction);
    }
    match rest {
        [b'e' | b'E', b'+' | b'-', b'0'..=b'9', exponent @ ..] | [b'e' | b'E', b'0'..=b'9', exponent @ ..] => {
            digits(exponent).is_empty()
        }
        rest => rest.is_empty(),
    }
}

/// The closing quote of the string whose text begins at `at`, and whether it holds escapes.
#[inline]
fn string_end(line: &[u8], at: usize) -> Result<(usize, bool), Broken> {
    let mut from = at;
    let mut escaped = false;
    while let Some(found) = line.get(from..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        if line[from + found] == b'"' {
            return Ok((from + found, escaped));
        }
        escaped = true;
        from += found + 2;
    }
    Err((at, "a string never ends"))
}

/// The end of the array or object at `at`, by its brackets.
fn nested_end(line: &[u8], mut at: usize) -> Result<usize, Broken> {
    let start = at;
    let mut depth = 0usize;
    while let Some(byte) = line.get(at) {
        match byte {
            b'"' => at = string_end(line, at + 1)?.0,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Ok(at);
        }
    }
    Err((start, "an array or object never ends"))
}

/// Appends the text of a JSON string to `out`.
fn unescape(data: &[u8], start: usize, end: usize, out: &mut Vec<u8>) -> Result<(), Broken> {
    let mut at = start;
    while let Some(found) = memchr(b'\\', &data[at..end]) {
        out.extend_from_slice(&data[at..at + found]);
        at += found + 2;
        let plain = match data[at - 1] {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (symbol, next) = unicode(data, at, end).ok_or((at, "a broken \\u escape"))?;
                out.extend_from_slice(symbol.encode_utf8(&mut [0; 4]).as_bytes());
                at = next;
                continue;
            }
            _ => return Err((at - 1, "an unknown escape")),
        };
        out.push(plain);
    }
    out.extend_from_slice(&data[at..end]);
    Ok(())
}

/// The character of the four hex digits at `at`, of two such escapes for one beyond the first 65536.
fn unicode(data: &[u8], at: usize, end: usize) -> Option<(char, usize)> {
    let hex = |from: usize| {
        let digits = data.get(from..from + 4).filter(|_| from + 4 <= end)?;
        digits.iter().try_fold(0u32, |value, digit| Some(value * 16 + (*digit as char).to_digit(16)?))
    };
    let high = hex(at)?;
    if !(0xD800..0xDC00).contains(&high) {
        return Some((char::from_u32(high)?, at + 4));
    }
    let low = hex(at + 6).filter(|low| data[at + 4..].starts_with(b"\\u") && (0xDC00..0xE000).contains(low))?;
    Some((char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))?, at + 10))
}
