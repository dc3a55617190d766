//! CSV: where records and fields begin and end (RFC 4180, plus a choice of delimiter, quote and escape).
//!
//! A quote opens a field only as its first character; elsewhere it is text. [`Csv::complete`] (where may a unit end?)
//! and [`Csv::tokenize`] (what are its fields?) follow that one rule, so a unit always begins outside quotes.

use memchr::{memchr, memchr2, memchr3, memrchr};

use super::records::{Cell, Faults, Records};
use crate::common::Result;
use crate::connector::options::Given;

/// Options that only CSV takes.
pub(super) const OPTIONS: &[&str] = &["delimiter", "quote", "escape", "header", "without_header", "null"];

/// Whether the first record of a split holds column names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    Yes,
    No,
    /// If it equals the names of the columns.
    Detect,
}

#[derive(Debug, Clone)]
pub(crate) struct Csv {
    delimiter: u8,
    quote: Option<u8>,
    /// Makes a quote after it text; the quote itself when quotes are doubled.
    escape: Option<u8>,
    pub(super) header: Header,
    /// The unquoted text that means NULL.
    null: Vec<u8>,
}

/// How far records reach in some bytes that begin with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Complete {
    /// After the last newline that ends a record; 0 if there is none.
    pub end: usize,
    /// The bytes end inside quotes.
    pub open: bool,
}

/// Where a quoted field's content ends.
enum Close {
    At { quote: usize, escaped: bool },
    Never,
}

impl Csv {
    pub(super) fn new(given: Given<'_>) -> Result<Self> {
        let header = match (given.flag("header")?, given.flag("without_header")?) {
            (Some(header), Some(without)) if header == without => {
                return Err(given.wrong("options \"header\" and \"without_header\" contradict each other"));
            }
            (Some(true), _) | (_, Some(false)) => Header::Yes,
            (Some(false), _) | (_, Some(true)) => Header::No,
            (None, None) => Header::Detect,
        };
        let quote = match given.text("quote") {
            Some("") => None,
            _ => Some(given.byte("quote")?.unwrap_or(b'"')),
        };
        let delimiter = given.byte("delimiter")?.unwrap_or(b',');
        if quote == Some(delimiter) {
            return Err(given.wrong("options \"delimiter\" and \"quote\" are the same character"));
        }
        let escape = given.byte("escape")?.or(quote);
        Ok(Self { delimiter, quote, escape, header, null: given.text("null").unwrap_or_default().as_bytes().to_vec() })
    }

    /// How far `data`, which begins with a record, holds complete ones. One pass at memory speed where there are no
    /// quotes.
    pub fn complete(&self, data: &[u8]) -> Complete {
        let Some(quote) = self.quote else {
            return Complete { end: memrchr(b'\n', data).map_or(0, |at| at + 1), open: false };
        };
        let mut end = 0;
        let mut outside = if data.starts_with(super::BOM) { super::BOM.len() } else { 0 };
        let mut from = outside;
        while let Some(at) = memchr(quote, &data[from..]).map(|i| from + i) {
            from = at + 1;
            let opens = at == outside || matches!(data[at - 1], b if b == self.delimiter || b == b'\n');
            if !opens {
                continue;
            }
            if let Some(newline) = memrchr(b'\n', &data[outside..at]) {
                end = outside + newline + 1;
            }
            match self.close(data, at + 1, quote) {
                Close::Never => return Complete { end, open: true },
                Close::At { quote, .. } => {
                    outside = quote + 1;
                    from = outside;
                }
            }
        }
        if let Some(newline) = memrchr(b'\n', &data[outside..]) {
            end = outside + newline + 1;
        }
        Complete { end, open: false }
    }

    /// Finds the quote that ends the field whose content begins at `from`.
    fn close(&self, data: &[u8], mut from: usize, quote: u8) -> Close {
        let escape = self.escape.unwrap_or(quote);
        let mut escaped = false;
        loop {
            let found =
                if escape == quote { memchr(quote, &data[from..]) } else { memchr2(quote, escape, &data[from..]) };
            let Some(at) = found.map(|i| from + i) else { return Close::Never };
            let doubled = escape == quote && data.get(at + 1) == Some(&quote);
            if doubled || data[at] != quote {
                escaped = true;
                from = (at + 2).min(data.len());
            } else {
                return Close::At { quote: at, escaped };
            }
        }
    }

    /// The fields of the first record of `data`, and where the next record begins: for headers.
    pub(super) fn first_record(&self, data: &[u8]) -> (Vec<Vec<u8>>, usize) {
        let complete = self.complete(data);
        let data = if complete.end > 0 { &data[..complete.end] } else { data };
        let width = data.split(|b| *b == b'\n').next().map_or(0, <[u8]>::len) + 1;
        let slots = (0..width).map(Some).collect::<Vec<_>>();
        let mut records = Records::default();
        records.clear(width);
        let mut scan = Scan { csv: self, data, slots: &slots, records: &mut records, fields: 0, fault: None };
        let next = scan.record(0);
        let fields = scan.fields;
        if scan.records.len() == 0 {
            return (Vec::new(), next);
        }
        let names = (0..fields.min(width))
            .map(|slot| records.column(data, slot, 0..1).iter().next().flatten().unwrap_or_default().to_vec())
            .collect();
        (names, next)
    }

    /// Finds the records of `data` from `from` on. `slots` has one entry a column of the source: its place among the
    /// projected ones.
    pub(super) fn tokenize(
        &self,
        data: &[u8],
        from: usize,
        slots: &[Option<usize>],
        records: &mut Records,
        faults: &mut Faults,
    ) {
        let mut scan = Scan { csv: self, data, slots, records, fields: 0, fault: None };
        let mut at = from;
        while at < data.len() {
            let record = scan.records.len();
            at = scan.record(at);
            if scan.records.len() == record {
                continue;
            }
            if scan.fault.is_none() && scan.fields != slots.len() {
                scan.fault = Some(Fault::Fields(scan.fields));
            }
            if let Some(fault) = scan.fault.take() {
                scan.records.open().fill(Cell::NULL);
                faults.add(record, || fault.message(slots.len()));
            }
        }
    }
}

enum Fault {
    Fields(usize),
    Unterminated,
    AfterQuote,
}

impl Fault {
    fn message(&self, columns: usize) -> String {
        match self {
            Self::Fields(n) => format!("the record has {n} fields, the source has {columns} columns"),
            Self::Unterminated => "a quoted field never ends".to_string(),
            Self::AfterQuote => "there is text between a closing quote and the next delimiter".to_string(),
        }
    }
}

struct Scan<'a> {
    csv: &'a Csv,
    data: &'a [u8],
    slots: &'a [Option<usize>],
    records: &'a mut Records,
    /// Fields of the record read last.
    fields: usize,
    fault: Option<Fault>,
}

impl Scan<'_> {
    /// Reads the record at `start` and returns where the next begins. A blank line makes no record.
    #[inline]
    fn record(&mut self, start: usize) -> usize {
        let Csv { delimiter, quote, .. } = *self.csv;
        let data = self.data;
        self.records.begin();
        self.fields = 0;
        let mut field = start;
        let mut from = start;
        loop {
            let rest = &data[from..];
            let hit = match quote {
                Some(quote) => memchr3(delimiter, b'\n', quote, rest),
                None => memchr2(delimiter, b'\n', rest),
            };
            let at = hit.map_or(data.len(), |i| from + i);
            let byte = data.get(at).copied();
            if byte == Some(delimiter) {
                self.plain(field, at);
                field = at + 1;
                from = field;
            } else if byte.is_none() || byte == Some(b'\n') {
                let end = if at > field && data[at - 1] == b'\r' { at - 1 } else { at };
                if self.fields == 0 && end == field {
                    self.records.cancel();
                } else {
                    self.plain(field, end);
                    self.records.end(start, end);
                }
                return (at + 1).min(data.len());
            } else if at > field {
                from = at + 1; // a quote inside an unquoted field
            } else {
                match self.quoted(start, at) {
                    Ok(Next::Field(next)) => {
                        field = next;
                        from = next;
                    }
                    Ok(Next::Record(next)) | Err(next) => return next,
                }
            }
        }
    }

    #[inline]
    fn plain(&mut self, start: usize, end: usize) {
        if let Some(Some(slot)) = self.slots.get(self.fields) {
            let null = &self.csv.null;
            let is_null = end - start == null.len() && self.data[start..end] == null[..];
            if !is_null {
                self.records.open()[*slot] = Cell::at(start, end);
            }
        }
        self.fields += 1;
    }

    /// Reads the quoted field that opens at `at`. `Err` is where to go on after a field that never ends: at the next
    /// line, so that one stray quote costs one line.
    fn quoted(&mut self, start: usize, at: usize) -> Result<Next, usize> {
        let data = self.data;
        let quote = data[at];
        let Close::At { quote: close, escaped } = self.csv.close(data, at + 1, quote) else {
            self.fault = Some(Fault::Unterminated);
            let end = memchr(b'\n', &data[at..]).map_or(data.len(), |i| at + i);
            self.records.end(start, end);
            return Err((end + 1).min(data.len()));
        };
        if let Some(Some(slot)) = self.slots.get(self.fields) {
            self.records.open()[*slot] =
                if escaped { self.unescape(at + 1, close, quote) } else { Cell::at(at + 1, close) };
        }
        self.fields += 1;
        let after = close + 1;
        let stop = memchr2(self.csv.delimiter, b'\n', &data[after..]).map_or(data.len(), |i| after + i);
        if !matches!(&data[after..stop], b"" | b"\r") {
            self.fault = Some(Fault::AfterQuote);
        }
        if data.get(stop) == Some(&self.csv.delimiter) {
            return Ok(Next::Field(stop + 1));
        }
        self.records.end(start, if data[stop - 1] == b'\r' { stop - 1 } else { stop });
        Ok(Next::Record((stop + 1).min(data.len())))
    }

    fn unescape(&mut self, start: usize, end: usize, quote: u8) -> Cell {
        let escape = self.csv.escape.unwrap_or(quote);
        let scratch = &mut self.records.scratch;
        let begin = self.data.len() + scratch.len();
        let mut bytes = self.data[start..end].iter();
        while let Some(byte) = bytes.next() {
            let byte = if *byte == escape { bytes.next().unwrap_or(byte) } else { byte };
            scratch.push(*byte);
        }
        Cell::at(begin, self.data.len() + scratch.len())
    }
}

enum Next {
    Field(usize),
    Record(usize),
}
