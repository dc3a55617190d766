//! The simple protocol: one message of statements, run in order, each answered before the next begins.

use super::backend::BackendSession;
use super::connection::Connection;
use super::copy::{CopyingIn, Rest};
use super::copy_binary::BinaryIn;
use super::encode::RowEncoder;
use super::error::Fault;
use super::rows::{Rows, Sent};
use crate::common::Error;
use crate::session::{Response, Statement};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse};
use tokio_util::sync::CancellationToken;

impl<S: BackendSession> Connection<S> {
    /// Runs the statements of a Query message. The first error ends the rest. False when one waits for the client's data.
    pub(super) async fn query(&mut self, sql: &str) -> Result<bool, Fault> {
        self.forget_unnamed();
        let statements = self.session.parse(sql)?;
        if statements.is_empty() {
            self.writer.send(&EmptyQueryResponse::new())?;
        }
        self.statements(sql, 0, statements).await
    }

    /// Runs what is left of a Query message, from byte `from` on.
    pub(super) async fn statements(
        &mut self,
        sql: &str,
        mut from: usize,
        statements: Vec<Statement>,
    ) -> Result<bool, Fault> {
        let mut statements = statements.into_iter();
        while let Some(statement) = statements.next() {
            let start = offset(sql, from, &statement.text);
            from = start + statement.text.len().min(sql.len() - start);
            let copying = self.statement(&statement).await.map_err(|fault| match fault {
                Fault::Sql(e) => Fault::Sql(move_position(e, sql, start)),
                gone => gone,
            })?;
            if let Some((token, binary)) = copying {
                let rest = Rest { sql: sql.to_string(), from, statements: statements.collect() };
                self.copying = Some(CopyingIn::new(token, Some(rest), binary));
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gives the token of a COPY that waits for data, and what reads its data if they are binary.
    async fn statement(
        &mut self,
        statement: &Statement,
    ) -> Result<Option<(CancellationToken, Option<BinaryIn>)>, Fault> {
        let token = self.begin();
        match self.session.execute(statement, &[]).await? {
            Response::Empty => self.writer.send(&EmptyQueryResponse::new())?,
            Response::Done(tag) => {
                self.tell_news()?;
                self.writer.send(&CommandComplete::new(tag))?;
            }
            Response::CopyIn { columns, binary } => {
                let binary = self.begin_copy(&columns, binary).await?;
                return Ok(Some((token, binary)));
            }
            Response::CopyOut { stream, options } => {
                let tag = self.copy_out(stream, &options, &token).await?;
                self.tell_news()?;
                self.writer.send(&CommandComplete::new(tag))?;
            }
            Response::Rows { tag, stream } => {
                let encoder = RowEncoder::new(&stream.schema(), &[])?.in_styles(self.session.styles());
                encoder.describe(&mut self.writer)?;
                let mut rows = Rows::new(tag, stream, encoder);
                if let Sent::All(tag) = rows.send(&mut self.writer, &token, None).await? {
                    self.tell_news()?;
                    self.writer.send(&CommandComplete::new(tag))?;
                }
            }
        }
        Ok(None)
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
