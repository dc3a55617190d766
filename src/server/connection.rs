//! One client after start-up: takes its messages one by one, answers each, and watches that the client is still there.

use std::io;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use pgwire::messages::response::{ReadyForQuery, TransactionStatus as WireStatus};
use pgwire::messages::startup::ParameterStatus;
use tokio_util::sync::CancellationToken;

use super::backend::BackendSession;
use super::cancel::Handle;
use super::copy::CopyingIn;
use super::error::{self, Fault};
use super::extended::Named;
use super::frontend::{self, Message};
use super::wire::{Reader, Writer};
use crate::common::{Error, ErrorKind, Result};
use crate::session::TransactionStatus;

/// How long a cancelled statement may take to stop before it is dropped where it stands.
const GRACE: Duration = Duration::from_secs(5);

/// A client's session and what it has prepared.
pub struct Connection<S> {
    pub(super) session: S,
    pub(super) writer: Writer,
    pub(super) named: Named,
    handle: Handle,
    /// A COPY that takes data.
    pub(super) copying: Option<CopyingIn>,
    /// The COPY that just failed was begun by Execute.
    pub(super) failed_in_extended: bool,
    /// After an error in an extended message, until the next Sync.
    skipping: bool,
    /// Everything is answered, and the client is to speak.
    resting: bool,
}

/// Whether the connection takes another message.
#[derive(PartialEq)]
enum Next {
    Message,
    End,
}

impl<S: BackendSession> Connection<S> {
    pub fn new(session: S, writer: Writer, handle: Handle) -> Self {
        Self {
            session,
            writer,
            named: Named::default(),
            handle,
            copying: None,
            failed_in_extended: false,
            skipping: false,
            resting: true,
        }
    }

    /// Serves the client until it leaves, breaks the protocol, or the server stops.
    pub async fn run(mut self, mut reader: Reader, stop: &CancellationToken) -> io::Result<()> {
        self.writer.flush().await?;
        let terminated = self.session.terminated();
        loop {
            let idle_limit = if self.resting { self.session.idle_limit() } else { None };
            let frame = match reader.read_ahead().transpose() {
                Some(frame) => frame.map(Some),
                None => tokio::select! {
                    biased;
                    () = stop.cancelled() => return self.bye(&shutting_down()).await,
                    () = terminated.cancelled() => return self.bye(&shutting_down()).await,
                    frame = reader.message() => frame,
                    e = rested(idle_limit) => return self.bye(&e).await,
                },
            };
            self.resting = false;
            let (tag, body) = match frame {
                Ok(Some(frame)) => frame,
                Ok(None) | Err(Fault::Gone(_)) => return Ok(()),
                Err(Fault::Sql(e)) => return self.bye(&e).await,
            };
            if !frontend::is_known(tag) {
                return self.bye(&error::violation(format!("invalid frontend message type {tag}"))).await;
            }
            let cancel = self.handle.canceller();
            let finished = {
                let work = AssertUnwindSafe(self.handle(tag, body)).catch_unwind();
                tokio::pin!(work);
                tokio::select! {
                    // Most is done at once, and nothing else is asked then.
                    biased;
                    outcome = &mut work => Some(outcome),
                    () = reader.gone() => {
                        cancel();
                        let _ = tokio::time::timeout(GRACE, work).await;
                        return Ok(());
                    }
                    () = ended(stop, &terminated) => {
                        cancel();
                        let _ = tokio::time::timeout(GRACE, work).await;
                        None
                    }
                }
            };
            let Some(outcome) = finished else { return self.bye(&shutting_down()).await };
            if self.copying.is_none() {
                self.handle.running(None);
            }
            let answered = match outcome {
                Ok(Ok(next)) => Ok(next),
                Ok(Err(Fault::Sql(e))) => self.answer_error(tag, &e).await,
                Ok(Err(Fault::Gone(e))) => Err(e),
                Err(panic) => self.answer_error(tag, &panicked(panic.as_ref())).await,
            };
            match answered {
                Ok(Next::Message) => {}
                Ok(Next::End) => return Ok(()),
                // Nobody is left to be told.
                Err(_) => return Ok(()),
            }
        }
    }

    async fn handle(&mut self, tag: u8, body: Bytes) -> Result<Next, Fault> {
        if self.skipping && !matches!(tag, b'S' | b'X') {
            return Ok(Next::Message);
        }
        let message = frontend::decode(tag, body)?;
        if let Some(copy) = self.copying.take() {
            return self
                .copying(copy, tag, message)
                .await
                .map(|goes_on| if goes_on { Next::Message } else { Next::End });
        }
        match message {
            Message::Query(sql) => {
                if self.query(&sql).await? {
                    self.ready().await?;
                }
            }
            Message::Parse { name, sql, types } => self.parse(name, &sql, &types).await?,
            Message::Bind(bind) => self.bind(bind)?,
            Message::Describe { target, name } => self.describe(target, &name)?,
            Message::Execute { portal, max_rows } => self.execute(&portal, max_rows).await?,
            Message::Close { target, name } => self.close(target, &name)?,
            Message::Flush => self.writer.flush().await?,
            Message::Sync => {
                self.skipping = false;
                self.end_portals();
                self.ready().await?;
            }
            Message::Terminate => return Ok(Next::End),
            Message::FunctionCall => {
                return Err(Error::not_supported("the function call message is not supported")
                    .with_hint("use SELECT function(…)")
                    .into());
            }
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => {}
        }
        if self.writer.is_full() {
            self.writer.flush().await?;
        }
        Ok(Next::Message)
    }

    /// Makes the next statement reachable for CancelRequest.
    pub(super) fn begin(&mut self) -> CancellationToken {
        let token = self.session.cancel_token();
        self.handle.running(Some(token.clone()));
        token
    }

    /// Queues what the client is told beside the result.
    pub(super) fn tell_news(&mut self) -> Result<()> {
        for notice in self.session.take_notices() {
            self.writer.send(&error::notice(&notice))?;
        }
        for (name, value) in self.session.take_parameter_changes() {
            self.writer.send(&ParameterStatus::new(name, value))?;
        }
        Ok(())
    }

    pub(super) async fn ready(&mut self) -> Result<(), Fault> {
        self.tell_news()?;
        let status = match self.session.transaction_status() {
            TransactionStatus::Idle => WireStatus::Idle,
            TransactionStatus::InBlock => WireStatus::Transaction,
            TransactionStatus::Failed => WireStatus::Error,
        };
        self.writer.send(&ReadyForQuery::new(status))?;
        self.writer.flush().await?;
        self.session.rest();
        self.resting = true;
        Ok(())
    }

    async fn answer_error(&mut self, tag: u8, e: &Error) -> io::Result<Next> {
        self.session.fail_transaction();
        self.session.copy_abort();
        let in_extended = self.copying.take().map_or(self.failed_in_extended, |copy| copy.is_extended());
        self.failed_in_extended = false;
        self.drop_portals();
        let told = self.tell_news().and_then(|()| self.writer.send(&error::error(e)));
        if let Err(e) = told {
            tracing::warn!(error = %e, "an error could not be sent");
            return Ok(Next::End);
        }
        if frontend::is_extended(tag) || in_extended {
            self.skipping = true;
            // An error is seen at once, even by a client that waits before it sends Sync.
            self.writer.flush().await?;
            return Ok(Next::Message);
        }
        match self.ready().await {
            Ok(()) => Ok(Next::Message),
            Err(Fault::Gone(e)) => Err(e),
            Err(Fault::Sql(e)) => {
                tracing::warn!(error = %e, "a connection cannot go on");
                Ok(Next::End)
            }
        }
    }

    async fn bye(mut self, e: &Error) -> io::Result<()> {
        if let Err(e) = self.writer.send(&error::fatal(e)) {
            tracing::warn!(error = %e, "an error could not be sent");
        }
        self.writer.close().await
    }
}

/// The server stops, or another session ends this one.
async fn ended(stop: &CancellationToken, terminated: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = terminated.cancelled() => {}
    }
}

async fn rested(limit: Option<(Duration, Error)>) -> Error {
    match limit {
        Some((limit, e)) => {
            tokio::time::sleep(limit).await;
            e
        }
        None => std::future::pending().await,
    }
}

fn shutting_down() -> Error {
    Error::new(ErrorKind::AdminShutdown, "terminating connection due to administrator command")
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let what = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(panic = what, "a statement panicked");
    Error::internal(format!("the statement hit a bug in Weir: {what}"))
        .with_hint("the server runs on; please report the statement with the log")
}
