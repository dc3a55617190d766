//! The store's side of change logs: following a table, what a commit adds to its log, reading it.

use std::sync::Arc;

use bytes::Bytes;

use super::backend::Change;
use super::change_log::{self, Frozen, KEPT_BYTES, Next, Position};
use super::layout;
use super::store::StateStore;
use super::table::Table;
use crate::common::clock::Clock;
use crate::common::{Error, Result};
use crate::types::{Epoch, TableId};

/// What a commit adds to one table's log.
pub(super) struct Logged {
    pub(super) revised: change_log::Revised,
    pieces: Vec<Bytes>,
}

impl Logged {
    pub(super) fn changes(&self) -> Result<Vec<Change>> {
        let table = self.revised.table;
        let record = self.revised.log.as_ref().map(serde_json::to_vec).transpose();
        let record = record.map_err(|e| Error::internal(format!("a change log cannot be written: {e}")))?;
        let mut changes: Vec<Change> = vec![(layout::log(table), record.map(Bytes::from))];
        let gone = &self.revised.gone;
        changes.extend(gone.iter().map(|number| (layout::piece(table, *number), None)));
        let numbered = (self.revised.first..).zip(&self.pieces).filter(|(number, _)| !gone.contains(number));
        changes.extend(numbered.map(|(number, piece)| (layout::piece(table, number), Some(piece.clone()))));
        Ok(changes)
    }
}

impl StateStore {
    /// What the commit of `epoch` changes in followed tables.
    pub(super) fn log_changes(&self, tables: &[Arc<Table>], epoch: Epoch) -> Result<Vec<Logged>> {
        let followed = self.change_logs.followed();
        let base = self.pins.folded();
        let now = Clock::system().now_micros();
        let mut logged = Vec::new();
        for table in tables.iter().filter(|t| followed.contains(&t.id()) && t.has_runs(epoch)) {
            let pieces = change_log::changes(table, base, epoch, KEPT_BYTES)?;
            let overflown = pieces.is_none();
            let pieces = pieces.unwrap_or_default();
            let sizes: Vec<u64> = pieces.iter().map(|p| p.len() as u64).collect();
            if let Some(revised) = self.change_logs.revise(table.id(), (base, epoch), &sizes, overflown, now) {
                logged.push(Logged { revised, pieces });
            }
        }
        Ok(logged)
    }

    /// Keeps the table's changes from the last commit on, and shows its rows as of that. Waits for a running commit.
    pub fn follow(&self, table: &Arc<Table>) -> Result<Frozen> {
        let _committing = self.committing.lock();
        let epoch = self.pins.folded();
        self.change_logs.follow(table.id(), epoch, Clock::system().now_micros());
        Ok(Frozen::new(table.clone(), table.view()?, epoch))
    }

    /// Where to read the table's log after having seen everything up to `epoch`.
    ///
    /// # Errors
    /// `ObjectNotReady` for an epoch whose later changes are not kept, or that no commit ended with.
    pub fn log_position(&self, table: TableId, epoch: Epoch) -> Result<Position> {
        self.change_logs.after(table, epoch, self.committed_epoch())
    }

    /// What comes next in the table's log of what is on disk; moves the position on.
    ///
    /// # Errors
    /// `ObjectNotReady` when it is not kept any more.
    pub fn next_changes(&self, table: TableId, position: &mut Position) -> Result<Next> {
        let committed = self.committed_epoch();
        match self.change_logs.place(table, *position, committed, Clock::system().now_micros())? {
            None => Ok(Next::UpTo(committed)),
            Some(number) => {
                // It may go between the look and the reading.
                let stored = self.backend.get(&layout::piece(table, number))?.ok_or_else(change_log::behind)?;
                position.0 += 1;
                Ok(Next::Changes(change_log::decode(&stored)?))
            }
        }
    }
}
