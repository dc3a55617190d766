//! The store's side of change logs: following a table, what a commit adds to its log, reading it.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::backend::Change;
use super::change_log::{self, Frozen, KEPT_BYTES, Next, Position, Revised};
use super::store::StateStore;
use super::table::Table;
use crate::common::clock::Clock;
use crate::common::{Error, ErrorKind, Result};
use crate::types::{Epoch, TableId};

impl StateStore {
    /// What the commit of `epoch` makes of the logs of followed tables, and what that writes.
    pub(super) fn log_changes(&self, tables: &[Arc<Table>], epoch: Epoch) -> Result<Vec<(Revised, Vec<Change>)>> {
        let followed = self.change_logs.followed();
        let base = self.pins.folded();
        let now = Clock::system().now_micros();
        let mut logged = Vec::new();
        for table in tables.iter().filter(|t| followed.contains(&t.id()) && t.has_runs(epoch)) {
            let pieces = change_log::changes(table, base, epoch, KEPT_BYTES)?;
            let sizes: Option<Vec<u64>> = pieces.as_ref().map(|all| all.iter().map(|p| p.len() as u64).collect());
            if let Some(revised) = self.change_logs.revise(table.id(), (base, epoch), sizes.as_deref(), now) {
                let changes = revised.changes(&pieces.unwrap_or_default())?;
                logged.push((revised, changes));
            }
        }
        Ok(logged)
    }

    /// Keeps the table's changes from the last commit on, on disk when this returns, and shows its rows as of that commit;
    /// the log is to be read after those, or after `since`. Blocking: waits for a running commit.
    ///
    /// # Errors
    /// `ObjectNotReady` for an epoch whose later changes are not kept, or that no commit ended with.
    pub fn follow(&self, table: &Arc<Table>, since: Option<Epoch>) -> Result<(Frozen, Position)> {
        let _committing = self.committing.lock();
        let epoch = self.committed_epoch();
        if epoch != self.pins.folded() {
            return Err(Error::new(ErrorKind::ObjectNotReady, "the last checkpoint is not on disk yet")
                .with_hint("try again; weir.checkpoints tells what failed"));
        }
        let view = table.view()?;
        if let Some(new) = self.change_logs.follow(table.id(), epoch, Clock::system().now_micros())?
            && let Err(e) = self.backend.apply(vec![new]).and_then(|()| self.backend.flush())
        {
            self.change_logs.remove(table.id());
            return Err(e);
        }
        let position = self.change_logs.after(table.id(), since.unwrap_or(epoch), epoch)?;
        Ok((Frozen::new(table.clone(), view, epoch), position))
    }

    /// The next rows of a snapshot in key order; none at its end.
    ///
    /// # Errors
    /// `ObjectNotReady` when the table was dropped meanwhile.
    pub fn next_rows(&self, frozen: &mut Frozen) -> Result<Vec<RecordBatch>> {
        frozen.step().map_err(|e| if self.change_logs.is_followed(frozen.table()) { e } else { change_log::gone() })
    }

    /// What comes next in the table's log of what is on disk; moves the position on.
    ///
    /// # Errors
    /// `ObjectNotReady` when it is not kept any more.
    pub fn next_changes(&self, table: TableId, position: &mut Position) -> Result<Next> {
        let committed = self.committed_epoch();
        let Some((number, epoch)) = self.change_logs.place(table, position, committed, Clock::system().now_micros())?
        else {
            return Ok(Next::UpTo(committed));
        };
        // It may go between the look and the reading, and another may take its name.
        let stored = self.backend.get(&change_log::piece_name(table, number))?.ok_or_else(change_log::behind)?;
        let changes = change_log::decode(&stored)?;
        if changes.epoch != epoch {
            return Err(change_log::behind());
        }
        position.next += 1;
        Ok(Next::Changes(changes))
    }
}
