//! SQL cursors: DECLARE, FETCH, MOVE and CLOSE over a query or a subscription.
//!
//! ```text
//! DECLARE --> Slot [ OpenCursor ] --FETCH takes it out--> Fetch, a stream of rows --its last row--> back into the slot
//! ```
//!
//! Rows go to the client as they are read: nothing is collected but what a cursor with SCROLL has read, in its spool. A FETCH that is cancelled or fails half way takes its
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
use super::spool::Spool;
use super::{Session, TransactionStatus, subscribe};
use crate::common::clock::instant;
use crate::common::{Error, ErrorKind, Result};
use crate::sql;
use crate::sql::statement::Direction;

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
    /// What was read and not fetched, of one that goes forward only.
    rest: Option<RecordBatch>,
    /// What was read, of one that goes back, too.
    spool: Option<Spool>,
    /// The row that it is on, from 1: 0 before the first, one more than there are behind the last.
    position: u64,
    /// The source has no more.
    ended: bool,
}

/// How a cursor is declared.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Outlives its transaction.
    pub hold: bool,
    /// Goes back, too.
    pub scroll: bool,
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
    /// Whether it may go there.
    ///
    /// # Errors
    /// `ObjectNotReady` for going back without SCROLL.
    fn check(&self, direction: Direction) -> Result<()> {
        let nowhere = self.position == 0 || self.ended;
        let forward = match direction {
            Direction::Forward(Some(0)) | Direction::Relative(0) => nowhere,
            Direction::Forward(_) => true,
            Direction::Backward(_) => false,
            Direction::Absolute(0) => self.position == 0,
            Direction::Absolute(row) => u64::try_from(row).is_ok_and(|row| row > self.position),
            Direction::Relative(rows) => rows > 0,
        };
        match forward || self.spool.is_some() {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::ObjectNotReady, "cursor can only scan forward")
                .with_hint("DECLARE it with SCROLL to go back")),
        }
    }

    /// Where to start reading, and how; `None` when there is nothing to read, the cursor being where it should then.
    async fn aim(&mut self, direction: Direction) -> Result<Option<Aim>> {
        let row = match direction {
            Direction::Forward(Some(0)) | Direction::Backward(Some(0)) | Direction::Relative(0) => {
                if self.position == 0 || self.position > self.known() {
                    return Ok(None);
                }
                self.position
            }
            Direction::Forward(many) => {
                return Ok(Some(Aim { next: self.position, left: many.unwrap_or(usize::MAX), back: false }));
            }
            Direction::Backward(many) => {
                let Some(next) = self.position.checked_sub(2) else {
                    self.position = 0;
                    return Ok(None);
                };
                return Ok(Some(Aim { next, left: many.unwrap_or(usize::MAX), back: true }));
            }
            Direction::Absolute(row) if row < 0 => {
                self.fill(u64::MAX).await?;
                (self.known() + 1).saturating_sub(row.unsigned_abs())
            }
            Direction::Absolute(row) => row.unsigned_abs(),
            Direction::Relative(rows) => self.position.saturating_add_signed(rows),
        };
        match row.checked_sub(1) {
            Some(next) => Ok(Some(Aim { next, left: 1, back: false })),
            None => {
                self.position = 0;
                Ok(None)
            }
        }
    }

    /// How many rows it is known to have.
    fn known(&self) -> u64 {
        match &self.spool {
            Some(spool) => spool.rows(),
            None if self.ended => self.position.saturating_sub(1),
            None => self.position,
        }
    }

    /// Reads until the spool has so many rows, or all.
    async fn fill(&mut self, rows: u64) -> Result<()> {
        while self.known() < rows && !self.ended {
            match self.next(None).await? {
                Some(batch) => match &mut self.spool {
                    Some(spool) => spool.push(batch).await?,
                    None => return Err(Error::internal("a cursor without a spool")),
                },
                None => self.ended = true,
            }
        }
        Ok(())
    }

    /// The next rows of a cursor that goes back, too.
    async fn scroll(&mut self, aim: &mut Aim) -> Result<Option<RecordBatch>> {
        if !aim.back {
            self.fill(aim.next + 1).await?;
        }
        let Some(spool) = &mut self.spool else { return Err(Error::internal("a cursor without a spool")) };
        let rows = spool.read(aim.next, aim.left, aim.back).await?;
        let Some(batch) = &rows else {
            self.position = self.known() + 1;
            return Ok(None);
        };
        let many = batch.num_rows() as u64;
        aim.left -= batch.num_rows();
        if !aim.back {
            aim.next += many;
            self.position = aim.next;
        } else if aim.next + 1 > many {
            aim.next -= many;
            self.position = aim.next + 2;
        } else {
            // The first row was among them.
            self.position = u64::from(aim.left == 0);
            aim.left = 0;
        }
        Ok(rows)
    }

    /// The next rows of a cursor that goes forward only.
    async fn forward(&mut self, aim: &mut Aim, wait_until: Option<Instant>) -> Result<Option<RecordBatch>> {
        let mut wait_until = wait_until;
        loop {
            let Some(batch) = self.next(wait_until.take()).await? else {
                // A subscription may have more later.
                if matches!(self.source, Source::Query(_)) && !self.ended {
                    self.ended = true;
                    self.position += 1;
                }
                return Ok(None);
            };
            let passed = aim.next.saturating_sub(self.position).min(batch.num_rows() as u64) as usize;
            let taken = aim.left.min(batch.num_rows() - passed);
            self.position += (passed + taken) as u64;
            aim.next += taken as u64;
            aim.left -= taken;
            let rest = batch.num_rows() - passed - taken;
            if rest > 0 {
                self.rest = Some(batch.slice(passed + taken, rest));
            }
            if taken > 0 {
                return Ok(Some(batch.slice(passed, taken)));
            }
        }
    }

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

/// Rows that are still wanted: from row `next`, counted from 0, or from it back.
#[derive(Clone, Copy)]
struct Aim {
    next: u64,
    left: usize,
    back: bool,
}

/// A FETCH that is under way.
struct Fetch {
    /// `None` when it is back in its slot.
    cursor: Option<OpenCursor>,
    slot: Arc<Mutex<Option<OpenCursor>>>,
    /// Where to, until that is known as rows.
    direction: Option<Direction>,
    aim: Aim,
    /// How long to wait for the first row.
    wait_until: Option<Instant>,
    limits: Limits,
}

impl Fetch {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(cursor) = &mut self.cursor else { return Ok(None) };
        let read = async {
            if let Some(direction) = self.direction.take() {
                match cursor.aim(direction).await? {
                    Some(aim) => self.aim = aim,
                    None => return Ok(None),
                }
            }
            match (self.aim.left, &cursor.spool) {
                (0, _) => Ok(None),
                (_, Some(_)) => cursor.scroll(&mut self.aim).await,
                (_, None) => cursor.forward(&mut self.aim, self.wait_until.take()).await,
            }
        };
        let next = tokio::select! {
            e = self.limits.reached() => return Err(e),
            next = read => next?,
        };
        if next.is_none() || self.aim.left == 0 {
            *self.slot.lock() = self.cursor.take();
        }
        Ok(next)
    }
}

impl Session {
    pub(super) async fn declare(
        &mut self,
        name: &str,
        Kind { hold, scroll }: Kind,
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
        let spool = scroll.then(|| Spool::new(self.services.batch.clone()));
        let open = OpenCursor { source, rest: None, spool, position: 0, ended: false };
        let open = Arc::new(Mutex::new(Some(open)));
        self.cursors.insert(name.to_string(), Slot { schema, hold, open });
        Ok(())
    }

    pub(super) fn cursor(&self, name: &str) -> Result<&Slot> {
        let missing = || Error::new(ErrorKind::UndefinedCursor, format!("cursor \"{name}\" does not exist"));
        self.cursors.get(name).ok_or_else(missing)
    }

    /// Rows of a cursor.
    ///
    /// # Errors
    /// `InvalidCursorState` while another FETCH is under way, or after one that did not come to its end; `ObjectNotReady`
    /// for going back in a cursor without SCROLL.
    pub(super) fn fetch(
        &mut self,
        name: &str,
        direction: Direction,
        timeout: Option<&str>,
        limits: &Limits,
    ) -> Result<SendableRecordBatchStream> {
        let timeout = timeout.map_or(Ok(Duration::ZERO), |text| duration("timeout", text))?;
        let slot = self.cursor(name)?;
        let mut open = slot.open.lock();
        if let Some(cursor) = open.as_ref() {
            cursor.check(direction)?;
        }
        let Some(cursor) = open.take() else {
            let message = format!("the last FETCH from cursor \"{name}\" has not come to its end");
            return Err(Error::new(ErrorKind::InvalidCursorState, message).with_hint(
                "read it to its end; if it failed or was cancelled, CLOSE the cursor and declare it again",
            ));
        };
        let fetch = Fetch {
            cursor: Some(cursor),
            slot: slot.open.clone(),
            direction: Some(direction),
            aim: Aim { next: 0, left: 0, back: false },
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
    pub(super) async fn move_cursor(&mut self, name: &str, direction: Direction, limits: &Limits) -> Result<usize> {
        let mut passed = self.fetch(name, direction, None, limits)?;
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
