//! Which pieces the log of each followed table has, in memory and as a record on disk; and what of it is kept.

use std::collections::{HashMap, HashSet, VecDeque};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{KEPT_BYTES, KEPT_UNREAD_MICROS, Position};
use crate::common::{Error, ErrorKind, Result};
use crate::types::{Epoch, TableId};

/// What is known of one piece without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::state) struct Piece {
    pub(in crate::state) number: u64,
    base: u64,
    epoch: u64,
    bytes: u64,
}

/// The log of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::state) struct Log {
    /// Changes after this epoch are in it.
    since: u64,
    next: u64,
    pieces: VecDeque<Piece>,
    /// When it was last read, in microseconds since 1970.
    read_at: i64,
}

/// What a commit does to one log.
pub(in crate::state) struct Revised {
    pub(in crate::state) table: TableId,
    /// `None` when nobody has read it for long.
    pub(in crate::state) log: Option<Log>,
    /// Numbers of the pieces that go.
    pub(in crate::state) gone: Vec<u64>,
    /// Number of the first piece that comes.
    pub(in crate::state) first: u64,
}

/// The logs of all followed tables.
#[derive(Default)]
pub(in crate::state) struct Logs(Mutex<HashMap<TableId, Log>>);

impl Log {
    fn bytes(&self) -> u64 {
        self.pieces.iter().map(|p| p.bytes).sum()
    }

    /// Takes out the oldest commit.
    fn forget_oldest(&mut self, gone: &mut Vec<u64>) {
        let Some(oldest) = self.pieces.front().map(|p| p.epoch) else { return };
        while let Some(piece) = self.pieces.pop_front_if(|p| p.epoch == oldest) {
            gone.push(piece.number);
        }
        self.since = oldest;
    }
}

impl Logs {
    pub(in crate::state) fn load(&self, table: TableId, record: &[u8]) -> Result<()> {
        let log = serde_json::from_slice(record)
            .map_err(|e| Error::corrupted(format!("the change log of state table {table} is damaged: {e}")))?;
        self.0.lock().insert(table, log);
        Ok(())
    }

    pub(in crate::state) fn followed(&self) -> HashSet<TableId> {
        self.0.lock().keys().copied().collect()
    }

    /// Keeps changes from the commit of `epoch` on, if that is not done already.
    pub(in crate::state) fn follow(&self, table: TableId, epoch: Epoch, now: i64) {
        let new = || Log { since: epoch.0, next: 0, pieces: VecDeque::new(), read_at: now };
        self.0.lock().entry(table).or_insert_with(new).read_at = now;
    }

    /// What a commit that adds pieces of `sizes` makes of the log; `None` when there is none. `overflown` says that
    /// the commit changed more than a log may hold.
    pub(in crate::state) fn revise(
        &self,
        table: TableId,
        (base, epoch): (Epoch, Epoch),
        sizes: &[u64],
        overflown: bool,
        now: i64,
    ) -> Option<Revised> {
        let mut log = self.0.lock().get(&table)?.clone();
        let first = log.next;
        let mut gone = Vec::new();
        if now.saturating_sub(log.read_at) > KEPT_UNREAD_MICROS {
            gone.extend(log.pieces.iter().map(|p| p.number));
            return Some(Revised { table, log: None, gone, first });
        }
        for bytes in sizes {
            log.pieces.push_back(Piece { number: log.next, base: base.0, epoch: epoch.0, bytes: *bytes });
            log.next += 1;
        }
        while log.bytes() > KEPT_BYTES {
            log.forget_oldest(&mut gone);
        }
        if overflown {
            gone.extend(log.pieces.drain(..).map(|p| p.number));
            // Readers who expect this number learn that it is gone.
            log.next += 1;
            log.since = epoch.0;
        }
        Some(Revised { table, log: Some(log), gone, first })
    }

    /// The commit was applied.
    pub(in crate::state) fn revised(&self, revised: Revised) {
        let mut logs = self.0.lock();
        match (revised.log, logs.get_mut(&revised.table)) {
            (Some(mut log), Some(now)) => {
                log.read_at = log.read_at.max(now.read_at);
                *now = log;
            }
            _ => drop(logs.remove(&revised.table)),
        }
    }

    /// Forgets a dropped table.
    pub(in crate::state) fn remove(&self, table: TableId) {
        self.0.lock().remove(&table);
    }

    pub(in crate::state) fn pieces(&self, table: TableId) -> Option<Vec<u64>> {
        Some(self.0.lock().get(&table)?.pieces.iter().map(|p| p.number).collect())
    }

    /// Where to read on after having seen all changes up to `epoch`.
    ///
    /// # Errors
    /// `ObjectNotReady` for an epoch whose later changes are not kept, or that did not end with a commit of the table.
    pub(in crate::state) fn after(&self, table: TableId, epoch: Epoch, committed: Epoch) -> Result<Position> {
        let refused = |message: String| Error::new(ErrorKind::ObjectNotReady, message);
        let again = "subscribe again with a snapshot";
        if epoch > committed {
            return Err(refused(format!("epoch {epoch} is still to come: the last one on disk is {committed}"))
                .with_hint("resume from an epoch that a subscription has given out"));
        }
        let logs = self.0.lock();
        let Some(log) = logs.get(&table) else { return Err(gone()) };
        if epoch.0 < log.since {
            return Err(refused(format!("changes after epoch {epoch} are not kept any more"))
                .with_detail(format!("The oldest epoch to resume from is {}.", log.since))
                .with_hint(again));
        }
        let next = log.pieces.iter().find(|p| p.epoch > epoch.0);
        if let Some(piece) = next.filter(|p| p.base < epoch.0) {
            return Err(refused(format!("epoch {epoch} was not given out by a subscription"))
                .with_detail(format!("It lies between the commits of {} and {}.", piece.base, piece.epoch))
                .with_hint(again));
        }
        Ok(Position(next.map_or(log.next, |p| p.number)))
    }

    /// The number of the piece at `position`; `None` when none of a commit up to `committed` is left.
    ///
    /// # Errors
    /// `ObjectNotReady` when it is not kept any more.
    pub(in crate::state) fn place(
        &self,
        table: TableId,
        position: Position,
        committed: Epoch,
        now: i64,
    ) -> Result<Option<u64>> {
        let mut logs = self.0.lock();
        let Some(log) = logs.get_mut(&table) else { return Err(gone()) };
        log.read_at = now;
        let piece = log.pieces.iter().find(|p| p.number >= position.0).copied();
        match piece {
            Some(piece) if piece.number == position.0 => {
                Ok((piece.epoch <= committed.0).then_some(piece.number))
            }
            None if position.0 == log.next => Ok(None),
            _ => Err(behind()),
        }
    }
}

/// A reader has lost its place.
pub(in crate::state) fn behind() -> Error {
    Error::new(ErrorKind::ObjectNotReady, "the subscription fell behind: the changes that it needs are not kept any more")
        .with_detail(format!("Of each table and view, {} MiB of changes are kept.", KEPT_BYTES >> 20))
        .with_hint("subscribe again with a snapshot, and read faster")
}

fn gone() -> Error {
    Error::new(ErrorKind::ObjectNotReady, "the table or view was dropped, or its changes are not kept any more")
}
