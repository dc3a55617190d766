//! A result on its way to the client: pulled from its stream as fast as the socket takes it, never collected.

use datafusion::execution::SendableRecordBatchStream;
use futures::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;

use super::encode::{self, RowEncoder};
use super::error::Fault;
use super::wire::Writer;
use crate::common::{Error, ErrorKind};

/// A result that is partly sent.
pub struct Rows {
    tag: &'static str,
    stream: SendableRecordBatchStream,
    encoder: RowEncoder,
    batch: Option<encode::Rows>,
}

/// How a call of [`Rows::send`] ended, with the number of rows it sent.
pub enum Sent {
    /// The command tag of the whole.
    All(String),
    /// The limit was reached.
    Some,
}

impl Rows {
    pub fn new(tag: &'static str, stream: SendableRecordBatchStream, encoder: RowEncoder) -> Self {
        Self { tag, stream, encoder, batch: None }
    }

    /// Sends up to `limit` rows. At most one batch and one buffer are held.
    ///
    /// # Errors
    /// What the stream fails with; `QueryCanceled` once the token is cancelled.
    pub async fn send(
        &mut self,
        writer: &mut Writer,
        token: &CancellationToken,
        limit: Option<usize>,
    ) -> Result<Sent, Fault> {
        let mut sent = 0usize;
        loop {
            if let Some(batch) = &mut self.batch {
                while !batch.is_done() {
                    if limit == Some(sent) {
                        return Ok(Sent::Some);
                    }
                    batch.write_next(writer)?;
                    sent += 1;
                    if writer.is_full() {
                        writer.flush().await?;
                        if token.is_cancelled() {
                            return Err(canceled().into());
                        }
                    }
                }
                self.batch = None;
            }
            if limit == Some(sent) {
                return Ok(Sent::Some);
            }
            match self.next(writer, token).await? {
                Some(batch) => self.batch = Some(batch),
                None => return Ok(Sent::All(format!("{} {sent}", self.tag))),
            }
        }
    }

    async fn next(&mut self, writer: &mut Writer, token: &CancellationToken) -> Result<Option<encode::Rows>, Fault> {
        if token.is_cancelled() {
            return Err(canceled().into());
        }
        let ready = self.stream.next().now_or_never();
        let next = match ready {
            Some(next) => next,
            None => {
                // The next rows take a while: the client sees those that are there.
                writer.flush().await?;
                tokio::select! {
                    biased;
                    () = token.cancelled() => return Err(canceled().into()),
                    next = self.stream.next() => next,
                }
            }
        };
        match next {
            None => Ok(None),
            Some(batch) => Ok(Some(self.encoder.batch(&batch.map_err(Error::from)?)?)),
        }
    }
}

pub fn canceled() -> Error {
    Error::new(ErrorKind::QueryCanceled, "canceling statement due to user request")
}
