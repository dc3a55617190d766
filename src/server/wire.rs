//! A socket as two halves: framed messages in, buffered messages out. Knows lengths, not meanings.
//!
//! A message's length is believed only as its bytes arrive, so a lying length costs no memory.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::FutureExt;
use pgwire::messages::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::error::{Fault, violation};
use crate::common::{Error, Result};

/// Bytes of a start-up packet, as in PostgreSQL.
const MAX_STARTUP: usize = 10_000;
/// Bytes of a message that carries SQL or data.
const MAX_LARGE: usize = 256 << 20;
/// Bytes of any other message.
const MAX_SMALL: usize = 64 << 10;
/// Bytes that are read ahead while a statement runs.
const READ_AHEAD: usize = 64 << 10;
/// Bytes after which output is sent on.
const WRITE_FULL: usize = 64 << 10;
/// A larger buffer is given back once it is empty.
const KEEP: usize = 1 << 20;

/// The client's bytes, cut into messages.
pub struct Reader {
    half: Box<dyn AsyncRead + Send + Unpin>,
    buffer: BytesMut,
}

impl Reader {
    /// `begun` was read from the client before.
    pub fn new(half: impl AsyncRead + Send + Unpin + 'static, begun: &[u8]) -> Self {
        Self { half: Box::new(half), buffer: BytesMut::from(begun) }
    }

    /// The body of a start-up packet, which has a length but no tag. `None` when the client left.
    pub async fn startup(&mut self) -> Result<Option<Bytes>, Fault> {
        if !self.fill(4).await? {
            return Ok(None);
        }
        let length = length(&self.buffer[..4], MAX_STARTUP)?;
        if !self.fill(length).await? {
            return Ok(None);
        }
        let mut packet = self.buffer.split_to(length).freeze();
        packet.advance(4);
        Ok(Some(packet))
    }

    /// The next message if all of it has been read ahead.
    ///
    /// # Errors
    /// As [`Reader::message`].
    pub fn read_ahead(&mut self) -> Result<Option<(u8, Bytes)>, Fault> {
        let whole = match self.buffer.get(1..5) {
            Some(field) => self.buffer.len() > length(field, MAX_LARGE)?,
            None => false,
        };
        if whole { self.message().now_or_never().transpose().map(Option::flatten) } else { Ok(None) }
    }

    /// The next message's tag and body. `None` when the client left. Safe to drop and call again.
    pub async fn message(&mut self) -> Result<Option<(u8, Bytes)>, Fault> {
        self.frame(MAX_LARGE).await
    }

    /// The same for a client that is not known yet: nothing large is taken from it.
    pub async fn small_message(&mut self) -> Result<Option<(u8, Bytes)>, Fault> {
        self.frame(MAX_SMALL).await
    }

    async fn frame(&mut self, large: usize) -> Result<Option<(u8, Bytes)>, Fault> {
        if !self.fill(5).await? {
            return Ok(None);
        }
        let tag = self.buffer[0];
        let limit = if b"QPBd".contains(&tag) { large } else { MAX_SMALL };
        let length = length(&self.buffer[1..5], limit)?;
        if !self.fill(1 + length).await? {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(1 + length).freeze();
        frame.advance(5);
        if self.buffer.is_empty() && length > KEEP {
            self.buffer = BytesMut::new();
        }
        Ok(Some((tag, frame)))
    }

    /// Returns when the client is gone; one that only ends its own direction counts as gone, for it sends no cancel.
    /// Reads ahead meanwhile, up to a bound.
    pub async fn gone(&mut self) {
        loop {
            if self.buffer.len() >= READ_AHEAD {
                return std::future::pending().await;
            }
            match self.half.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// Reads until `length` bytes are there; false at the end of the input.
    async fn fill(&mut self, length: usize) -> io::Result<bool> {
        while self.buffer.len() < length {
            if self.half.read_buf(&mut self.buffer).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The length field counts itself.
fn length(field: &[u8], limit: usize) -> Result<usize> {
    let mut field = field;
    let length = field.try_get_i32().unwrap_or(-1);
    match usize::try_from(length) {
        Ok(length) if (4..=limit).contains(&length) => Ok(length),
        _ => Err(violation(format!("invalid message length {length}"))),
    }
}

/// The server's messages. They leave with [`Writer::flush`]; a sender of rows asks [`Writer::is_full`].
pub struct Writer {
    half: Box<dyn AsyncWrite + Send + Unpin>,
    buffer: BytesMut,
    /// Where a row began that is not finished.
    row: Option<usize>,
}

impl Writer {
    pub fn new(half: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { half: Box::new(half), buffer: BytesMut::new(), row: None }
    }

    /// Queues a message.
    ///
    /// # Errors
    /// `Internal` when it is longer than the protocol allows.
    pub fn send(&mut self, message: &impl Message) -> Result<()> {
        self.drop_row();
        let start = self.buffer.len();
        message.encode(&mut self.buffer).map_err(|e| {
            self.buffer.truncate(start);
            Error::internal(format!("a message cannot be sent: {e}"))
        })
    }

    /// Queues a DataRow whose columns `fill` appends; a row that fails half way (even by a panic) leaves nothing.
    pub fn row(&mut self, columns: u16, fill: impl FnOnce(&mut BytesMut) -> Result<()>) -> Result<()> {
        self.message(b'D', |buffer| {
            buffer.put_u16(columns);
            fill(buffer)
        })
    }

    /// Queues a RowDescription whose columns `fill` appends.
    ///
    /// # Errors
    /// Of `fill`, and `NotSupported` when it is longer than the protocol allows; nothing is queued then.
    pub fn row_description(&mut self, columns: u16, fill: impl FnOnce(&mut BytesMut)) -> Result<()> {
        self.message(b'T', |buffer| {
            buffer.put_u16(columns);
            fill(buffer);
            Ok(())
        })
    }

    /// Queues a CopyData whose bytes `fill` appends; one that fails half way leaves nothing.
    pub fn copy_data(&mut self, fill: impl FnOnce(&mut BytesMut) -> Result<()>) -> Result<()> {
        self.message(b'd', fill)
    }

    fn message(&mut self, tag: u8, fill: impl FnOnce(&mut BytesMut) -> Result<()>) -> Result<()> {
        self.drop_row();
        let start = self.buffer.len();
        self.row = Some(start);
        self.buffer.put_u8(tag);
        self.buffer.put_i32(0);
        fill(&mut self.buffer)?;
        let length = i32::try_from(self.buffer.len() - start - 1)
            .map_err(|_| Error::not_supported("a message of more than 2 GB cannot be sent"))?;
        self.buffer[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
        self.row = None;
        Ok(())
    }

    fn drop_row(&mut self) {
        if let Some(start) = self.row.take() {
            self.buffer.truncate(start);
        }
    }

    pub fn is_full(&self) -> bool {
        self.buffer.len() >= WRITE_FULL
    }

    /// Waits for the socket to take everything.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.drop_row();
        self.half.write_all_buf(&mut self.buffer).await?;
        // An encrypted half keeps what it has taken until it is told.
        self.half.flush().await?;
        if self.buffer.capacity() > KEEP {
            self.buffer = BytesMut::new();
        }
        Ok(())
    }

    /// Sends what is queued and closes the server's direction.
    pub async fn close(mut self) -> io::Result<()> {
        self.flush().await?;
        self.half.shutdown().await
    }
}
