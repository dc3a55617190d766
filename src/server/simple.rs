//! The simple protocol: one message of statements, run in order, each answered before the next begins.

use super::backend::BackendSession;
use super::connection::Connection;
use super::encode::RowEncoder;
use super::error::Fault;
use super::rows::{Rows, Sent};
use crate::common::Error;
use crate::session::{Response, Statement};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse};

impl<S: BackendSession> Connection<S> {
    /// Runs the statements of a Query message. The first error ends the rest.
    pub(super) async fn query(&mut self, sql: &str) -> Result<(), Fault> {
        self.forget_unnamed();
        let statements = self.session.parse(sql)?;
        if statements.is_empty() {
            self.writer.send(&EmptyQueryResponse::new())?;
        }
        let mut from = 0;
        for statement in statements {
            let start = offset(sql, from, &statement.text);
            from = start + statement.text.len().min(sql.len() - start);
            self.statement(&statement).await.map_err(|fault| match fault {
                Fault::Sql(e) => Fault::Sql(move_position(e, sql, start)),
                gone => gone,
            })?;
        }
        Ok(())
    }

    async fn statement(&mut self, statement: &Statement) -> Result<(), Fault> {
        let token = self.begin();
        match self.session.execute(statement, &[]).await? {
            Response::Empty => self.writer.send(&EmptyQueryResponse::new())?,
            Response::Done(tag) => {
                self.tell_news()?;
                self.writer.send(&CommandComplete::new(tag))?;
            }
            Response::Rows { tag, stream } => {
                let encoder = RowEncoder::new(&stream.schema(), &[])?;
                self.writer.send(&encoder.description())?;
                let mut rows = Rows::new(tag, stream, encoder);
                if let Sent::All(tag) = rows.send(&mut self.writer, &token, None).await? {
                    self.tell_news()?;
                    self.writer.send(&CommandComplete::new(tag))?;
                }
            }
        }
        Ok(())
    }
}

/// Where a statement begins in the message, in bytes; `from` when it is not found again.
fn offset(sql: &str, from: usize, statement: &str) -> usize {
    sql.get(from..).and_then(|rest| rest.find(statement)).map_or(from, |at| from + at)
}

/// From a position in the statement to one in the message: clients point into what they sent.
fn move_position(e: Error, sql: &str, start: usize) -> Error {
    match e.position() {
        Some(position) => {
            let before = sql.get(..start).map_or(0, |before| before.chars().count());
            e.with_position(before + position)
        }
        None => e,
    }
}
