//! What the wire asks of the database: a session for a connection, and what a session can do.
//!
//! It is a trait so that the wire is tested without a database; [`Session`] is the one implementation that ships.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;
use datafusion::scalar::ScalarValue;
use tokio_util::sync::CancellationToken;

use crate::common::{Error, Result};
use crate::session::{Notice, Prepared, Response, Session, Statement, TransactionStatus};
use crate::types::styles::Styles;
use crate::types::{SessionId, Verifier};

/// Opens sessions. The server keeps it for as long as it listens.
pub trait Backend: Send + Sync + 'static {
    type Session: BackendSession;

    /// Whether clients are asked for a password where no rule says otherwise.
    fn asks_passwords(&self) -> bool;

    /// What proves a user's password; `None` for one without, or that is not there.
    fn verifier(&self, user: &str) -> Option<Verifier>;

    /// A session for an authenticated user.
    ///
    /// # Errors
    /// `UndefinedDatabase`; `InvalidAuthorization` for a user that may not log in.
    fn session(&self, user: &str, database: &str) -> Result<Self::Session>;
}

/// The methods of [`Session`], one for one.
pub trait BackendSession: Send + 'static {
    fn id(&self) -> SessionId;
    fn parse(&self, sql: &str) -> Result<Vec<Statement>>;
    fn prepare(
        &mut self,
        statement: Statement,
        declared: &[Option<DataType>],
    ) -> impl Future<Output = Result<Prepared>> + Send;
    fn execute(
        &mut self,
        statement: &Statement,
        parameters: &[ScalarValue],
    ) -> impl Future<Output = Result<Response>> + Send;
    fn copy_data(&mut self, bytes: Bytes) -> impl Future<Output = Result<()>> + Send;
    fn copy_done(&mut self) -> impl Future<Output = Result<String>> + Send;
    fn copy_abort(&mut self);
    fn take_notices(&mut self) -> Vec<Notice>;
    fn take_parameter_changes(&mut self) -> Vec<(String, String)>;
    fn set_startup_parameter(&mut self, name: &str, value: &str);
    fn transaction_status(&self) -> TransactionStatus;
    fn fail_transaction(&mut self);
    /// The wire takes the token before each statement. It must be one that is not cancelled yet: when the last one
    /// was, this call renews it.
    fn cancel_token(&self) -> CancellationToken;
    fn cursor_columns(&self, name: &str) -> Result<SchemaRef>;
    fn set_address(&self, address: IpAddr);
    /// Told before the wire waits for the client.
    fn rest(&self);
    fn idle_limit(&self) -> Option<(Duration, Error)>;
    fn terminated(&self) -> CancellationToken;
    /// In which values are written, and texts are read, now.
    fn styles(&self) -> Styles;
}

impl BackendSession for Session {
    fn id(&self) -> SessionId {
        Session::id(self)
    }

    fn parse(&self, sql: &str) -> Result<Vec<Statement>> {
        Session::parse(self, sql)
    }

    async fn prepare(&mut self, statement: Statement, declared: &[Option<DataType>]) -> Result<Prepared> {
        Session::prepare(self, statement, declared).await
    }

    async fn execute(&mut self, statement: &Statement, parameters: &[ScalarValue]) -> Result<Response> {
        Session::execute(self, statement, parameters).await
    }

    async fn copy_data(&mut self, bytes: Bytes) -> Result<()> {
        Session::copy_data(self, bytes).await
    }

    async fn copy_done(&mut self) -> Result<String> {
        Session::copy_done(self).await
    }

    fn copy_abort(&mut self) {
        Session::copy_abort(self);
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        Session::take_notices(self)
    }

    fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        Session::take_parameter_changes(self)
    }

    fn set_startup_parameter(&mut self, name: &str, value: &str) {
        Session::set_startup_parameter(self, name, value);
    }

    fn transaction_status(&self) -> TransactionStatus {
        Session::transaction_status(self)
    }

    fn fail_transaction(&mut self) {
        Session::fail_transaction(self);
    }

    fn cancel_token(&self) -> CancellationToken {
        Session::cancel_token(self)
    }

    fn cursor_columns(&self, name: &str) -> Result<SchemaRef> {
        Session::cursor_columns(self, name)
    }

    fn set_address(&self, address: IpAddr) {
        Session::set_address(self, address);
    }

    fn rest(&self) {
        Session::rest(self);
    }

    fn idle_limit(&self) -> Option<(Duration, Error)> {
        Session::idle_limit(self)
    }

    fn terminated(&self) -> CancellationToken {
        Session::terminated(self)
    }

    fn styles(&self) -> Styles {
        Session::styles(self)
    }
}
