//! One connection: its variables and prepared statements; routes each statement to whoever does it.
//!
//! The wire calls [`Session::parse`], then [`Session::prepare`] or [`Session::execute`], and sends what comes back.

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::scalar::ScalarValue;
use tokio_util::sync::CancellationToken;

use crate::common::{Error, Result};
use crate::types::SessionId;

/// One parsed statement with its text.
#[derive(Debug, Clone)]
pub struct Statement {
    pub text: String,
}

/// A statement whose parameters and result are described.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub statement: Statement,
    /// `$1`, `$2`, …
    pub parameters: Vec<DataType>,
    /// `None` when no rows come back.
    pub columns: Option<SchemaRef>,
}

/// What a statement gives back.
pub enum Response {
    /// Rows, streamed; the command tag is `{tag} {rows}` (`SELECT 3`).
    Rows { tag: &'static str, stream: SendableRecordBatchStream },
    /// No rows; the whole command tag, such as `CREATE_SOURCE` or `INSERT 0 3`.
    Done(String),
    /// An empty statement.
    Empty,
}

/// Transaction status as ReadyForQuery shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransactionStatus {
    #[default]
    Idle,
    InBlock,
    Failed,
}

/// The state of one connection.
pub struct Session {}

impl Session {
    pub fn id(&self) -> SessionId {
        todo!()
    }

    /// Splits a message into statements.
    ///
    /// # Errors
    /// `Syntax`, with the position.
    pub fn parse(&self, _sql: &str) -> Result<Vec<Statement>> {
        todo!()
    }

    /// Types the parameters (those the client declared stay) and the result.
    pub async fn prepare(&mut self, _statement: Statement, _declared: &[Option<DataType>]) -> Result<Prepared> {
        todo!()
    }

    /// Runs a statement; `parameters` fill `$1`, ….
    pub async fn execute(&mut self, _statement: &Statement, _parameters: &[ScalarValue]) -> Result<Response> {
        todo!()
    }

    /// Notices since the last call, to be sent before the statement's completion.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        todo!()
    }

    /// Variables whose change the client is told of (`TimeZone`, `application_name`, …) since the last call.
    pub fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        todo!()
    }

    /// Sets a variable at start-up (`application_name`, `TimeZone`, `options`), leniently.
    pub fn set_startup_parameter(&mut self, _name: &str, _value: &str) {
        todo!()
    }

    pub fn transaction_status(&self) -> TransactionStatus {
        todo!()
    }

    /// An error aborts an open transaction block.
    pub fn fail_transaction(&mut self) {
        todo!()
    }

    /// Cancelled by CancelRequest; renewed before each statement.
    pub fn cancel_token(&self) -> CancellationToken {
        todo!()
    }
}

#[derive(Debug, Clone)]
pub struct Notice {
    /// `NOTICE` or `WARNING`.
    pub severity: &'static str,
    pub message: String,
}

impl From<Error> for Notice {
    fn from(e: Error) -> Self {
        Notice { severity: "WARNING", message: e.to_string() }
    }
}
