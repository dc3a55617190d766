//! The lines of a COPY, as PostgreSQL cuts them: where records and fields begin and end. Text format unescapes
//! backslashes; CSV lets quotes open anywhere in a field, which the files' CSV does not. Knows no types.

use memchr::{memchr2, memchr3};

use super::super::records::{Cell, Records};
use crate::types::copy::CopyOptions;

/// What the lines hold.
pub struct Tokenizer {
    csv: bool,
    delimiter: u8,
    quote: u8,
    escape: u8,
    null: Vec<u8>,
    /// A field: the text of NULL is itself where it is not quoted; is NULL where it is quoted.
    force: Vec<(bool, bool)>,
}

/// Why a line is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLine {
    Extra,
    /// The first field that is not there.
    Missing(usize),
    Unterminated,
}

/// How far the lines were read.
#[derive(Debug, Default)]
pub struct Tokens {
    /// Bytes of whole records.
    pub consumed: usize,
    pub bad: Vec<(usize, BadLine)>,
    /// `\.` was met: what follows is not read.
    pub ended: bool,
}

enum Line {
    Record(usize),
    /// `\.`
    End(usize),
    Incomplete,
    /// A quoted field has no end; all the rest is in it.
    Unterminated,
}

impl Tokenizer {
    pub fn new(options: &CopyOptions, columns: &[String]) -> Self {
        let force =
            columns.iter().map(|name| (options.force_not_null.has(name), options.force_null.has(name))).collect();
        Self {
            csv: options.csv,
            delimiter: options.delimiter,
            quote: options.quote,
            escape: options.escape,
            null: options.null.as_bytes().to_vec(),
            force,
        }
    }

    /// Finds the whole records of `data`; with `last` the end of the data ends the last line.
    pub fn tokenize(&self, data: &[u8], last: bool, records: &mut Records) -> Tokens {
        let mut tokens = Tokens::default();
        while tokens.consumed < data.len() && !tokens.ended {
            let start = tokens.consumed;
            let record = records.len();
            let mark = records.scratch.len();
            records.begin();
            let mut fields = 0;
            let line = match self.csv {
                true => self.csv(data, start, last, &mut fields, records),
                false => self.text(data, start, last, &mut fields, records),
            };
            match line {
                Line::Record(next) => {
                    tokens.consumed = next;
                    let width = self.force.len();
                    if fields != width {
                        records.open().fill(Cell::NULL);
                        let bad = if fields > width { BadLine::Extra } else { BadLine::Missing(fields) };
                        tokens.bad.push((record, bad));
                    }
                }
                Line::Unterminated => {
                    records.open().fill(Cell::NULL);
                    records.end(start, data.len());
                    tokens.bad.push((record, BadLine::Unterminated));
                    tokens.consumed = data.len();
                }
                Line::End(next) => {
                    records.cancel();
                    tokens.consumed = next;
                    tokens.ended = true;
                }
                Line::Incomplete => {
                    records.cancel();
                    records.scratch.truncate(mark);
                    break;
                }
            }
        }
        tokens
    }

    #[inline]
    fn set(&self, records: &mut Records, field: usize, cell: Cell, null: bool) {
        if !null && field < self.force.len() {
            records.open()[field] = cell;
        }
    }

    /// The record at `start`, whose last line ends at `at`.
    fn end(&self, data: &[u8], start: usize, end: usize, at: usize, records: &mut Records) -> Line {
        let next = (at + 1).min(data.len());
        if &data[start..end] == b"\\." {
            return Line::End(next);
        }
        records.end(start, end);
        Line::Record(next)
    }

    fn csv(&self, data: &[u8], start: usize, last: bool, fields: &mut usize, records: &mut Records) -> Line {
        let mut field = start;
        let mut from = start;
        loop {
            let hit = memchr3(self.delimiter, b'\n', self.quote, &data[from..]);
            let at = match hit {
                Some(i) => from + i,
                None if last => data.len(),
                None => return Line::Incomplete,
            };
            let byte = data.get(at).copied();
            if byte == Some(self.quote) {
                match self.quoted(data, field, at, last, *fields, records) {
                    Quoted::Field(end) => {
                        *fields += 1;
                        if data.get(end) == Some(&self.delimiter) {
                            field = end + 1;
                            from = field;
                            continue;
                        }
                        let text_end = without_return(data, field, end);
                        return self.end(data, start, text_end, end, records);
                    }
                    Quoted::Incomplete => return Line::Incomplete,
                    Quoted::Unterminated => return Line::Unterminated,
                }
            }
            let delimits = byte == Some(self.delimiter);
            let end = if delimits { at } else { without_return(data, field, at) };
            let forced = self.force.get(*fields).is_some_and(|f| f.0);
            let null = !forced && data[field..end] == self.null[..];
            self.set(records, *fields, Cell::at(field, end), null);
            *fields += 1;
            if !delimits {
                return self.end(data, start, end, at, records);
            }
            field = at + 1;
            from = field;
        }
    }

    /// A field with quotes, the first of them at `at`; ends before its delimiter or newline.
    fn quoted(&self, data: &[u8], field: usize, at: usize, last: bool, number: usize, records: &mut Records) -> Quoted {
        let begin = data.len() + records.scratch.len();
        records.scratch.extend_from_slice(&data[field..at]);
        let mut from = at + 1;
        loop {
            // Inside quotes.
            loop {
                let Some(i) = memchr2(self.quote, self.escape, &data[from..]) else {
                    return if last { Quoted::Unterminated } else { Quoted::Incomplete };
                };
                let hit = from + i;
                let next = data.get(hit + 1).copied();
                if next.is_none() && !last {
                    return Quoted::Incomplete;
                }
                records.scratch.extend_from_slice(&data[from..hit]);
                from = hit + 1;
                match next {
                    Some(next) if data[hit] == self.escape && (next == self.quote || next == self.escape) => {
                        records.scratch.push(next);
                        from = hit + 2;
                    }
                    _ if data[hit] == self.quote => break,
                    _ => records.scratch.push(data[hit]),
                }
            }
            // Outside again.
            let end = match memchr3(self.delimiter, b'\n', self.quote, &data[from..]) {
                Some(i) => from + i,
                None if last => data.len(),
                None => return Quoted::Incomplete,
            };
            let delimits = data.get(end) == Some(&self.delimiter);
            let again = data.get(end) == Some(&self.quote);
            let text_end = if delimits || again { end } else { without_return(data, from, end) };
            records.scratch.extend_from_slice(&data[from..text_end]);
            if !again {
                let cell = Cell::at(begin, data.len() + records.scratch.len());
                let forced = self.force.get(number).is_some_and(|f| f.1);
                let null = forced && records.scratch[begin - data.len()..] == self.null[..];
                self.set(records, number, cell, null);
                return Quoted::Field(end);
            }
            from = end + 1;
        }
    }

    fn text(&self, data: &[u8], start: usize, last: bool, fields: &mut usize, records: &mut Records) -> Line {
        let mut field = start;
        let mut from = start;
        let mut escaped = false;
        loop {
            let at = match memchr3(self.delimiter, b'\n', b'\\', &data[from..]) {
                Some(i) => from + i,
                None if last => data.len(),
                None => return Line::Incomplete,
            };
            if data.get(at) == Some(&b'\\') {
                if at + 1 >= data.len() && !last {
                    return Line::Incomplete;
                }
                // `\.` ends the data even where the next byte is a newline.
                let ends = at == start && data.get(at + 1) == Some(&b'.');
                escaped = true;
                from = if ends { at + 2 } else { (at + 2).min(data.len()) };
                continue;
            }
            let delimits = data.get(at) == Some(&self.delimiter);
            let end = if delimits { at } else { without_return(data, field, at) };
            let raw = &data[field..end];
            let null = raw == &self.null[..];
            let cell = match escaped && !null {
                true => unescape(raw, data.len(), records),
                false => Cell::at(field, end),
            };
            self.set(records, *fields, cell, null);
            *fields += 1;
            escaped = false;
            if !delimits {
                return self.end(data, start, end, at, records);
            }
            field = at + 1;
            from = field;
        }
    }
}

enum Quoted {
    Field(usize),
    Incomplete,
    Unterminated,
}

/// The end of a line without the carriage return before its newline.
#[inline]
fn without_return(data: &[u8], field: usize, at: usize) -> usize {
    if at > field && at < data.len() && data[at - 1] == b'\r' { at - 1 } else { at }
}

fn unescape(raw: &[u8], base: usize, records: &mut Records) -> Cell {
    let out = &mut records.scratch;
    let begin = base + out.len();
    let mut at = 0;
    while let Some(byte) = raw.get(at).copied() {
        at += 1;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some(code) = raw.get(at).copied() else {
            out.push(b'\\');
            break;
        };
        at += 1;
        let digits = |from: usize, most: usize, radix: u32| {
            let digits = raw.get(from..).unwrap_or_default().iter().take(most);
            digits.map_while(|b| char::from(*b).to_digit(radix)).collect::<Vec<_>>()
        };
        let number = |digits: &[u32], radix: u32| digits.iter().fold(0, |n, d| n * radix + d) as u8;
        match code {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(11),
            b'0'..=b'7' => {
                let found = digits(at - 1, 3, 8);
                at += found.len() - 1;
                out.push(number(&found, 8));
            }
            b'x' => {
                let found = digits(at, 2, 16);
                at += found.len();
                out.push(if found.is_empty() { b'x' } else { number(&found, 16) });
            }
            other => out.push(other),
        }
    }
    Cell::at(begin, base + out.len())
}
