//! COPY on the wire: the client's data on its way to the session, and a result as lines.
//!
//! ```text
//! Query / Execute --> CopyInResponse;  CopyData* (CopyDone | CopyFail) --> CommandComplete, then the statements left
//! Query / Execute --> CopyOutResponse, CopyData a row, CopyDone, CommandComplete
//! ```

use arrow::datatypes::FieldRef;
use bytes::{BufMut, Bytes, BytesMut};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use pgwire::messages::copy::{CopyDone, CopyInResponse, CopyOutResponse};
use pgwire::messages::response::CommandComplete;
use tokio_util::sync::CancellationToken;

use super::backend::BackendSession;
use super::connection::Connection;
use super::copy_binary::{self, BinaryIn};
use super::encode::RowEncoder;
use super::error::{Fault, violation};
use super::frontend::Message;
use super::rows::canceled;
use crate::common::{Error, ErrorKind, Result};
use crate::session::Statement;
use crate::types::copy::{CopyHeader, CopyOptions};

/// A COPY that takes data.
pub struct CopyingIn {
    token: CancellationToken,
    /// What is left of the Query message; `None` when Execute began it.
    rest: Option<Rest>,
    binary: Option<BinaryIn>,
}

pub struct Rest {
    pub sql: String,
    pub from: usize,
    pub statements: Vec<Statement>,
}

impl CopyingIn {
    pub fn new(token: CancellationToken, rest: Option<Rest>, binary: Option<BinaryIn>) -> Self {
        Self { token, rest, binary }
    }

    pub fn is_extended(&self) -> bool {
        self.rest.is_none()
    }
}

impl<S: BackendSession> Connection<S> {
    /// Asks the client for its data; gives what reads them if they are binary.
    pub(super) async fn begin_copy(&mut self, columns: &[FieldRef], binary: bool) -> Result<Option<BinaryIn>, Fault> {
        self.tell_news()?;
        let count = columns_of_copy(columns.len())?;
        let reader = binary.then(|| BinaryIn::new(columns)).transpose()?;
        self.writer.send(&CopyInResponse::new(i8::from(binary), count, vec![i16::from(binary); columns.len()]))?;
        self.writer.flush().await?;
        Ok(reader)
    }

    /// One message while data is taken. False when the client leaves.
    pub(super) async fn copying(&mut self, mut copy: CopyingIn, tag: u8, message: Message) -> Result<bool, Fault> {
        self.failed_in_extended = copy.is_extended();
        if copy.token.is_cancelled() {
            return Err(canceled().into());
        }
        match message {
            Message::CopyData(bytes) => {
                let bytes = match &mut copy.binary {
                    Some(binary) => lines(binary, &bytes)?,
                    None => bytes,
                };
                self.session.copy_data(bytes).await?;
                self.copying = Some(copy);
            }
            // Clients may send them behind the statement.
            Message::Flush | Message::Sync => self.copying = Some(copy),
            Message::CopyDone => {
                if let Some(binary) = &copy.binary {
                    binary.finish()?;
                }
                let tag = tokio::select! {
                    biased;
                    () = copy.token.cancelled() => return Err(canceled().into()),
                    done = self.session.copy_done() => done?,
                };
                self.tell_news()?;
                self.writer.send(&CommandComplete::new(tag))?;
                if let Some(Rest { sql, from, statements }) = copy.rest
                    && self.statements(&sql, from, statements).await?
                {
                    self.ready().await?;
                }
            }
            Message::CopyFail(why) => {
                let message = format!("COPY from stdin failed: {why}");
                return Err(Error::new(ErrorKind::QueryCanceled, message).into());
            }
            Message::Terminate => return Ok(false),
            _ => return Err(violation(format!("unexpected message type 0x{tag:02X} during COPY from stdin")).into()),
        }
        self.failed_in_extended = false;
        Ok(true)
    }

    /// Sends a result as lines; gives the command tag.
    pub(super) async fn copy_out(
        &mut self,
        mut stream: SendableRecordBatchStream,
        options: &CopyOptions,
        token: &CancellationToken,
    ) -> Result<String, Fault> {
        let format = i16::from(options.binary);
        let encoder = RowEncoder::new(&stream.schema(), &[format])?.in_styles(self.session.styles());
        let names: Vec<&str> = encoder.names().collect();
        let count = columns_of_copy(names.len())?;
        self.writer.send(&CopyOutResponse::new(i8::from(options.binary), count, vec![format; names.len()]))?;
        // Clients want it in one message with the first row.
        let mut header = if options.binary { copy_binary::HEADER } else { &[] };
        let lines = Lines { options, forced: names.iter().map(|name| options.force_quote.has(name)).collect() };
        if options.header != CopyHeader::No {
            self.writer.copy_data(|out| {
                for (number, name) in names.iter().enumerate() {
                    lines.header(number, name.as_bytes(), out);
                }
                out.put_u8(b'\n');
                Ok(())
            })?;
        }
        let mut sent = 0u64;
        loop {
            let next = tokio::select! {
                biased;
                () = token.cancelled() => return Err(canceled().into()),
                next = stream.next() => next,
            };
            let Some(batch) = next else { break };
            let mut rows = encoder.batch(&batch.map_err(Error::from)?)?;
            while !rows.is_done() {
                self.writer.copy_data(|out| {
                    if options.binary {
                        out.put_slice(std::mem::take(&mut header));
                        out.put_i16(count);
                        return rows.values(out);
                    }
                    rows.texts(|number, value| lines.value(number, value, out))?;
                    out.put_u8(b'\n');
                    Ok(())
                })?;
                sent += 1;
                if self.writer.is_full() {
                    self.writer.flush().await?;
                    if token.is_cancelled() {
                        return Err(canceled().into());
                    }
                }
            }
        }
        if options.binary {
            self.writer.copy_data(|out| {
                out.put_slice(header);
                out.put_i16(-1);
                Ok(())
            })?;
        }
        self.writer.send(&CopyDone::new())?;
        Ok(format!("COPY {sent}"))
    }
}

fn columns_of_copy(count: usize) -> Result<i16> {
    i16::try_from(count).map_err(|_| Error::not_supported("a COPY has at most 32767 columns"))
}

/// Binary rows as lines of the text format.
fn lines(binary: &mut BinaryIn, bytes: &[u8]) -> Result<Bytes> {
    let mut out = BytesMut::new();
    let Some(batch) = binary.push(bytes)? else { return Ok(out.freeze()) };
    let mut rows = binary.encoder().batch(&batch)?;
    while !rows.is_done() {
        rows.texts(|number, value| {
            if number > 0 {
                out.put_u8(b'\t');
            }
            match value {
                None => out.put_slice(b"\\N"),
                Some(value) => escaped(value, b'\t', &mut out),
            }
        })?;
        out.put_u8(b'\n');
    }
    Ok(out.freeze())
}

/// How values become a line.
struct Lines<'a> {
    options: &'a CopyOptions,
    /// By column: always quoted.
    forced: Vec<bool>,
}

impl Lines<'_> {
    fn delimit(&self, number: usize, out: &mut BytesMut) {
        if number > 0 {
            out.put_u8(self.options.delimiter);
        }
    }

    fn header(&self, number: usize, name: &[u8], out: &mut BytesMut) {
        self.delimit(number, out);
        match self.options.csv {
            true => self.csv(name, false, out),
            false => escaped(name, self.options.delimiter, out),
        }
    }

    fn value(&self, number: usize, value: Option<&[u8]>, out: &mut BytesMut) {
        self.delimit(number, out);
        match value {
            None => out.put_slice(self.options.null.as_bytes()),
            Some(value) if self.options.csv => {
                let forced = self.forced.get(number).copied().unwrap_or(false);
                // A lone `\.` would end the data.
                let ends = self.forced.len() == 1 && value == b"\\.";
                self.csv(value, forced || ends || value == self.options.null.as_bytes(), out);
            }
            Some(value) => escaped(value, self.options.delimiter, out),
        }
    }

    fn csv(&self, value: &[u8], forced: bool, out: &mut BytesMut) {
        let CopyOptions { delimiter, quote, escape, .. } = *self.options;
        let special = |b: &u8| *b == delimiter || *b == quote || matches!(b, b'\n' | b'\r');
        if !forced && !value.iter().any(special) {
            return out.put_slice(value);
        }
        out.put_u8(quote);
        for byte in value {
            if *byte == quote || *byte == escape {
                out.put_u8(escape);
            }
            out.put_u8(*byte);
        }
        out.put_u8(quote);
    }
}

/// A value of the text format.
fn escaped(value: &[u8], delimiter: u8, out: &mut BytesMut) {
    for byte in value {
        let code = match byte {
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            11 => b'v',
            b'\\' => b'\\',
            other if *other == delimiter => *other,
            other => {
                out.put_u8(*other);
                continue;
            }
        };
        out.put_u8(b'\\');
        out.put_u8(code);
    }
}
