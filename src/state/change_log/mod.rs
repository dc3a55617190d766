//! Change logs: what each commit has changed in a table that someone follows, on disk with that commit.
//!
//! ```text
//! follow ------> snapshot at the last commit
//! commit(n): rows before it, rows after it --> pieces (base, n, weight and row) --one batch with the pages--> backend
//! next --------> piece after piece; what is not committed is not given out
//! ```
//!
//! A piece belongs to one commit, and none is read before its commit is on disk: a reader who remembers the last epoch
//! that it has seen whole misses nothing and sees nothing twice, whatever crashes in between. A log is bounded: its oldest
//! commits go, whole, when it is full, and all of it when nobody has followed the table for long. A reader who comes too late
//! is told so; the commit waits for none. Knows no sessions.

mod delta;
mod index;
mod piece;
#[cfg(test)]
mod tests;

pub(super) use delta::changes;
pub(super) use index::{Logs, Revised, behind, gone, piece_name};
pub(super) use piece::decode;

use std::ops::Bound;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};

use super::table::{Table, View};
use super::{KeyRange, scan};
use crate::common::Result;
use crate::types::{Epoch, TableId};

/// Bytes of changes that are kept of one table.
pub const KEPT_BYTES: u64 = 64 << 20;
/// Pieces that are kept of one table.
const KEPT_PIECES: usize = 1 << 15;
/// So long a log is kept up after its last reader, in microseconds.
pub const KEPT_UNREAD_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// Rows that one step of a snapshot's scan reads.
const SCAN_ROWS: usize = 8192;

/// Some changes of one commit.
#[derive(Debug, Clone)]
pub struct Changes {
    pub epoch: Epoch,
    pub rows: RecordBatch,
    /// One a row, +1 or -1.
    pub weights: Int64Array,
}

/// What a reader of a log gets next.
#[derive(Debug)]
pub enum Next {
    Changes(Changes),
    /// Everything up to this epoch was given out.
    UpTo(Epoch),
}

/// Where a reader of a log is. While it lives the log is kept up.
#[derive(Debug, Clone)]
pub struct Position {
    /// The number of the next piece.
    pub(super) next: u64,
    _reader: Arc<()>,
}

/// A table's rows as a commit left them, for as long as this lives. Holds up no commit.
pub struct Frozen {
    table: Arc<Table>,
    view: View,
    epoch: Epoch,
    after: Option<Vec<u8>>,
}

impl Frozen {
    pub(super) fn new(table: Arc<Table>, view: View, epoch: Epoch) -> Self {
        Self { table, view: view.up_to(epoch), epoch, after: None }
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn table(&self) -> TableId {
        self.table.id()
    }

    /// The next rows in key order; none at the end.
    pub(super) fn step(&mut self) -> Result<Vec<RecordBatch>> {
        let start = self.after.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let range = KeyRange { start, end: Bound::Unbounded };
        let batches = scan::scan(&self.table, &self.view, self.view.runs(self.epoch), None, &range, Some(SCAN_ROWS))?;
        if let Some((keys, _)) = batches.last()
            && let Some(last) = keys.iter().flatten().last()
        {
            self.after = Some(last.to_vec());
        }
        Ok(batches.into_iter().map(|(_, rows)| rows).collect())
    }
}
