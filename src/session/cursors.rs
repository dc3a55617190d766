//! SQL cursors: DECLARE, FETCH, MOVE and CLOSE over a query or a subscription.
//!
//! A query runs only as far ahead as its channel holds. What FETCH takes of a batch is gone; the rest waits here.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::query::{self, Limits};
use super::settings::duration;
use super::{Session, TransactionStatus, subscribe};
use crate::common::clock::instant;
use crate::common::{Error, ErrorKind, Result};
use crate::sql;

/// An open cursor.
pub struct OpenCursor {
    source: Source,
    /// Outlives its transaction.
    hold: bool,
    /// What was read and not fetched.
    rest: Option<RecordBatch>,
}

enum Source {
    Query(SendableRecordBatchStream),
    Subscription(Box<subscribe::Subscription>),
}

impl OpenCursor {
    pub fn schema(&self) -> SchemaRef {
        match &self.source {
            Source::Query(rows) => rows.schema(),
            Source::Subscription(subscription) => subscription.schema(),
        }
    }

    /// Up to `limit` rows. Of a subscription those that are there; for the first of them it waits up to `timeout`.
    async fn fetch(&mut self, limit: usize, timeout: Duration) -> Result<Vec<RecordBatch>> {
        let deadline = instant() + timeout;
        let (mut fetched, mut left) = (Vec::new(), limit);
        while left > 0 {
            let Some(batch) = self.next(fetched.is_empty().then_some(deadline)).await? else { break };
            let taken = batch.num_rows().min(left);
            left -= taken;
            fetched.push(batch.slice(0, taken));
            if taken < batch.num_rows() {
                self.rest = Some(batch.slice(taken, batch.num_rows() - taken));
            }
        }
        Ok(fetched)
    }

    async fn next(&mut self, wait_until: Option<std::time::Instant>) -> Result<Option<RecordBatch>> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        match &mut self.source {
            Source::Query(rows) => Ok(rows.next().await.transpose()?),
            Source::Subscription(subscription) => loop {
                if let Some(batch) = subscription.next().await? {
                    return Ok(Some(batch));
                }
                let Some(deadline) = wait_until else { return Ok(None) };
                match tokio::time::timeout_at(deadline.into(), subscription.changed()).await {
                    Ok(changed) => changed?,
                    Err(_) => return Ok(None),
                }
            },
        }
    }
}

impl Session {
    pub(super) async fn declare(
        &mut self,
        name: &str,
        hold: bool,
        inner: &sql::Statement,
        parameters: &[ScalarValue],
    ) -> Result<()> {
        if self.cursors.contains_key(name) {
            return Err(Error::new(ErrorKind::DuplicateCursor, format!("cursor \"{name}\" already exists")));
        }
        self.see_own_writes().await?;
        let source = match inner {
            sql::Statement::Subscribe(subscribe) => {
                Source::Subscription(Box::new(subscribe::start(&self.services, &self.client, subscribe).await?))
            }
            sql::Statement::Query(query) => {
                if !hold && self.transaction == TransactionStatus::Idle {
                    let message = "DECLARE CURSOR can only be used in transaction blocks";
                    return Err(Error::new(ErrorKind::NoActiveTransaction, message)
                        .with_hint("write BEGIN first, or DECLARE … CURSOR WITH HOLD"));
                }
                // The statement that declares it may end long before it does.
                let limits = Limits { cancel: CancellationToken::new(), deadline: None };
                Source::Query(query::run(&self.services, &self.client, query, parameters, limits).await?)
            }
            _ => return Err(Error::internal("a cursor for neither a query nor SUBSCRIBE")),
        };
        // A subscription is not part of any transaction.
        let hold = hold || matches!(source, Source::Subscription(_));
        self.cursors.insert(name.to_string(), Mutex::new(OpenCursor { source, hold, rest: None }));
        Ok(())
    }

    pub(super) fn cursor(&mut self, name: &str) -> Result<&mut OpenCursor> {
        let missing = || Error::new(ErrorKind::UndefinedCursor, format!("cursor \"{name}\" does not exist"));
        self.cursors.get_mut(name).map(Mutex::get_mut).ok_or_else(missing)
    }

    /// Rows of a cursor, with their schema; `rows` of `None` is all that are left.
    pub(super) async fn fetch(
        &mut self,
        name: &str,
        rows: Option<usize>,
        timeout: Option<&str>,
    ) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let timeout = timeout.map_or(Ok(Duration::ZERO), |text| duration("timeout", text))?;
        let cursor = self.cursor(name)?;
        let fetched = cursor.fetch(rows.unwrap_or(usize::MAX), timeout).await?;
        Ok((cursor.schema(), fetched))
    }

    /// `None` closes all.
    pub(super) fn close(&mut self, name: Option<&str>) -> Result<()> {
        match name {
            None => self.cursors.clear(),
            Some(name) => {
                self.cursor(name)?;
                self.cursors.remove(name);
            }
        }
        Ok(())
    }

    /// Closes those that do not outlive their transaction.
    pub(super) fn end_cursors(&mut self) {
        self.cursors.retain(|_, cursor| cursor.get_mut().hold);
    }
}
