//! SQL cursors: DECLARE, FETCH, MOVE and CLOSE over a query or a subscription.
//!
//! ```text
//! DECLARE --> Slot [ OpenCursor ] --FETCH takes it out--> Fetch, a stream of rows --its last row--> back into the slot
//! ```
//!
//! Rows go to the client as they are read: nothing is collected. A FETCH that is cancelled or fails half way takes its
//! cursor with it, as nobody knows what the client got.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::query::{self, Limits};
use super::settings::duration;
use super::{Session, TransactionStatus, subscribe};
use crate::common::clock::instant;
use crate::common::{Error, ErrorKind, Result};
use crate::sql;

/// A declared cursor.
pub struct Slot {
    schema: SchemaRef,
    /// Outlives its transaction.
    hold: bool,
    /// Empty while a FETCH is under way.
    open: Arc<Mutex<Option<OpenCursor>>>,
}

struct OpenCursor {
    source: Source,
    /// What was read and not fetched.
    rest: Option<RecordBatch>,
}

enum Source {
    Query(SendableRecordBatchStream),
    Subscription(Box<subscribe::Subscription>),
}

impl Slot {
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

impl OpenCursor {
    /// The next rows; `None` when there are none, of a subscription none until `wait_until`.
    async fn next(&mut self, wait_until: Option<Instant>) -> Result<Option<RecordBatch>> {
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

/// A FETCH that is under way.
struct Fetch {
    /// `None` when it is back in its slot.
    cursor: Option<OpenCursor>,
    slot: Arc<Mutex<Option<OpenCursor>>>,
    /// Rows that are still wanted.
    left: usize,
    /// How long to wait for the first row.
    wait_until: Option<Instant>,
    limits: Limits,
}

impl Fetch {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(cursor) = &mut self.cursor else { return Ok(None) };
        let next = match self.left {
            0 => None,
            _ => tokio::select! {
                e = self.limits.reached() => return Err(e),
                next = cursor.next(self.wait_until.take()) => next?,
            },
        };
        let next = next.map(|batch| {
            let taken = batch.num_rows().min(self.left);
            self.left -= taken;
            if taken < batch.num_rows() {
                cursor.rest = Some(batch.slice(taken, batch.num_rows() - taken));
            }
            batch.slice(0, taken)
        });
        if next.is_none() || self.left == 0 {
            *self.slot.lock() = self.cursor.take();
        }
        Ok(next)
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
        self.see_inherited().await;
        let (source, schema) = match inner {
            sql::Statement::Subscribe(subscribe) => {
                let subscription = subscribe::start(&self.services, &self.client, subscribe).await?;
                let schema = subscription.schema();
                (Source::Subscription(Box::new(subscription)), schema)
            }
            sql::Statement::Query(query) => {
                if !hold && self.transaction == TransactionStatus::Idle {
                    let message = "DECLARE CURSOR can only be used in transaction blocks";
                    return Err(Error::new(ErrorKind::NoActiveTransaction, message)
                        .with_hint("write BEGIN first, or DECLARE … CURSOR WITH HOLD"));
                }
                // The statement that declares it may end long before it does.
                let limits = Limits { cancel: CancellationToken::new(), deadline: None };
                let rows = query::run(&self.services, &self.client, query, parameters, limits).await?;
                let schema = rows.schema();
                (Source::Query(rows), schema)
            }
            _ => return Err(Error::internal("a cursor for neither a query nor SUBSCRIBE")),
        };
        // A subscription is not part of any transaction.
        let hold = hold || matches!(source, Source::Subscription(_));
        let open = Arc::new(Mutex::new(Some(OpenCursor { source, rest: None })));
        self.cursors.insert(name.to_string(), Slot { schema, hold, open });
        Ok(())
    }

    pub(super) fn cursor(&self, name: &str) -> Result<&Slot> {
        let missing = || Error::new(ErrorKind::UndefinedCursor, format!("cursor \"{name}\" does not exist"));
        self.cursors.get(name).ok_or_else(missing)
    }

    /// Rows of a cursor; `rows` of `None` is all that there are.
    ///
    /// # Errors
    /// `InvalidCursorState` while another FETCH is under way, or after one that did not come to its end.
    pub(super) fn fetch(
        &mut self,
        name: &str,
        rows: Option<usize>,
        timeout: Option<&str>,
        limits: &Limits,
    ) -> Result<SendableRecordBatchStream> {
        let timeout = timeout.map_or(Ok(Duration::ZERO), |text| duration("timeout", text))?;
        let slot = self.cursor(name)?;
        let Some(cursor) = slot.open.lock().take() else {
            let message = format!("the last FETCH from cursor \"{name}\" has not come to its end");
            return Err(Error::new(ErrorKind::InvalidCursorState, message).with_hint(
                "read it to its end; if it failed or was cancelled, CLOSE the cursor and declare it again",
            ));
        };
        let fetch = Fetch {
            cursor: Some(cursor),
            slot: slot.open.clone(),
            left: rows.unwrap_or(usize::MAX),
            wait_until: Some(instant() + timeout),
            limits: limits.clone(),
        };
        let rows = stream::try_unfold(fetch, async |mut fetch| {
            let next = fetch.next().await.map_err(DataFusionError::from)?;
            Ok(next.map(|batch| (batch, fetch)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(slot.schema(), rows)))
    }

    /// Passes over rows; returns how many.
    pub(super) async fn move_cursor(&mut self, name: &str, rows: Option<usize>, limits: &Limits) -> Result<usize> {
        let mut passed = self.fetch(name, rows, None, limits)?;
        let mut count = 0;
        while let Some(batch) = passed.next().await {
            count += batch?.num_rows();
        }
        Ok(count)
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
        self.cursors.retain(|_, cursor| cursor.hold);
    }
}
