//! One entry of a table's log, of one piece or of many: what is too large to be held goes to a file beside the log first.
//!
//! ```text
//! pieces --the first waits--> EntryWriter --finish--> Entry::Whole | Entry::Side --append--> the table's log
//!                                 |                                ^
//!                                 +---- the second and later ---> side file
//! ```
//! Nothing is in the log before `append`, and all of it after.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedRwLockReadGuard;

use super::dml::{self, Written};
use super::services::Services;
use crate::common::Result;
use crate::log::{Log, Side, SideWriter};
use crate::types::JobId;

pub struct EntryWriter {
    log: Arc<Log>,
    /// The first piece, its rows and bytes: perhaps all there is.
    first: Option<(u32, Bytes)>,
    side: Option<SideWriter>,
}

/// Rows that are ready to be made visible.
pub enum Entry {
    Empty,
    /// Rows and bytes.
    Whole(u32, Bytes),
    Side(Side),
}

impl EntryWriter {
    pub fn new(log: Arc<Log>) -> Self {
        Self { log, first: None, side: None }
    }

    /// Blocking file work from the second piece on.
    pub fn push(&mut self, rows: u32, payload: Bytes) -> Result<()> {
        if self.side.is_none() && self.first.is_none() {
            self.first = Some((rows, payload));
            return Ok(());
        }
        let side = match &mut self.side {
            Some(side) => side,
            none => none.insert(self.log.side()?),
        };
        if let Some((rows, first)) = self.first.take() {
            side.push(rows, &first)?;
        }
        side.push(rows, &payload)
    }

    /// Blocking file work after more than one piece.
    pub fn finish(self) -> Result<Entry> {
        Ok(match (self.side, self.first) {
            (Some(side), _) => Entry::Side(side.finish()?),
            (None, Some((rows, payload))) => Entry::Whole(rows, payload),
            (None, None) => Entry::Empty,
        })
    }
}

impl Entry {
    /// Makes the rows durable. `shared` is the table's lock.
    pub async fn append(
        self,
        services: &Arc<Services>,
        table: JobId,
        shared: OwnedRwLockReadGuard<()>,
    ) -> Result<Option<Written>> {
        dml::settle_sinks(services, table, false).await?;
        let log = services.logs.get(table)?;
        let offset = match self {
            Self::Empty => return Ok(None),
            Self::Whole(rows, payload) => log.append(payload, rows).await?,
            // It is not to be cut off half way.
            Self::Side(side) => {
                let append = |_| async move {
                    let _shared = shared;
                    log.append_side(side).await
                };
                services.finish(append).await?
            }
        };
        Ok(Some(Written { table, end: offset + 1 }))
    }
}
