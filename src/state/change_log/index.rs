//! Which pieces the log of each followed table has, in memory and as records on disk; and what of it is kept.
//!
//! Pieces of a log are numbered without gaps, so a number says where its piece is. Their names on disk go round in a ring
//! far larger than a log, so that the backend's tree does not grow with the pieces that ever were.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{KEPT_BYTES, KEPT_PIECES, KEPT_UNREAD_MICROS, Position};
use crate::common::{Error, ErrorKind, Result};
use crate::state::backend::Change;
use crate::state::layout;
use crate::types::{Epoch, TableId};

/// Names of pieces.
const RING: u64 = KEPT_PIECES as u64 * 2;
/// Pieces that one record lists.
const LISTED: u64 = 64;

/// What is known of one piece without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Piece {
    number: u64,
    base: u64,
    epoch: u64,
    bytes: u64,
}

/// What is stored of a log beside its pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    /// Changes after this epoch are in it.
    since: u64,
    /// The number of the next piece.
    next: u64,
    /// When it was last read, in microseconds since 1970.
    read_at: i64,
}

/// The log of one table.
#[derive(Debug, Clone)]
pub(in crate::state) struct Log {
    head: Head,
    pieces: VecDeque<Piece>,
    bytes: u64,
    /// Alive while somebody reads it.
    readers: Weak<()>,
}

/// What a commit does to one log.
pub(in crate::state) struct Revised {
    table: TableId,
    log: Log,
    /// Nobody has read it for long: it goes.
    ends: bool,
    /// Numbers of the pieces that go.
    gone: Vec<u64>,
    /// Number of the first piece that comes.
    first: u64,
}

/// The logs of all followed tables.
#[derive(Default)]
pub(in crate::state) struct Logs(Mutex<HashMap<TableId, Log>>);

impl Log {
    fn new(head: Head) -> Self {
        Self { head, pieces: VecDeque::new(), bytes: 0, readers: Weak::new() }
    }

    fn push(&mut self, piece: Piece) {
        self.bytes += piece.bytes;
        self.pieces.push_back(piece);
    }

    /// Takes out the oldest commit.
    fn forget_oldest(&mut self, gone: &mut Vec<u64>) {
        let Some(oldest) = self.pieces.front().map(|p| p.epoch) else { return };
        while let Some(piece) = self.pieces.pop_front_if(|p| p.epoch == oldest) {
            self.bytes -= piece.bytes;
            gone.push(piece.number);
        }
        self.head.since = oldest;
    }

    fn is_full(&self) -> bool {
        self.bytes > KEPT_BYTES || self.pieces.len() > KEPT_PIECES
    }

    fn numbered(&self, number: u64) -> Option<&Piece> {
        let at = number.checked_sub(self.pieces.front()?.number)?;
        self.pieces.get(usize::try_from(at).ok()?)
    }

    /// The record that lists the pieces whose names are in the `list`th part of the ring.
    fn list(&self, table: TableId, list: u64) -> Result<Change> {
        let listed: Vec<&Piece> = self.pieces.iter().filter(|p| list_of(p.number) == list).collect();
        let record = if listed.is_empty() { None } else { Some(json(&listed)?) };
        Ok((layout::log_list(table, list), record))
    }
}

fn list_of(number: u64) -> u64 {
    number % RING / LISTED
}

fn json(value: &impl Serialize) -> Result<Bytes> {
    let json =
        serde_json::to_vec(value).map_err(|e| Error::internal(format!("a change log cannot be written: {e}")))?;
    Ok(Bytes::from(json))
}

/// The name of a piece on disk.
pub(in crate::state) fn piece_name(table: TableId, number: u64) -> Vec<u8> {
    layout::piece(table, number % RING)
}

impl Revised {
    /// The changes on disk, with the contents of the pieces that come.
    pub(in crate::state) fn changes(&self, pieces: &[Bytes]) -> Result<Vec<Change>> {
        let table = self.table;
        let new = (self.first..).zip(pieces);
        let lists: BTreeSet<u64> = self.gone.iter().copied().chain(new.clone().map(|(n, _)| n)).map(list_of).collect();
        let head = if self.ends { None } else { Some(json(&self.log.head)?) };
        let mut changes = vec![(layout::log(table), head)];
        for list in lists {
            changes.push(self.log.list(table, list)?);
        }
        changes.extend(self.gone.iter().map(|number| (piece_name(table, *number), None)));
        let kept = new.filter(|(number, _)| self.log.numbered(*number).is_some());
        changes.extend(kept.map(|(number, piece)| (piece_name(table, number), Some(piece.clone()))));
        Ok(changes)
    }
}

impl Logs {
    /// Reads the records of all logs, which come in order of name.
    pub(in crate::state) fn load(records: Vec<(Vec<u8>, Bytes)>) -> Result<Self> {
        let damaged = |what: &dyn std::fmt::Display| Error::corrupted(format!("a change log is damaged: {what}"));
        let mut logs: HashMap<TableId, Log> = HashMap::new();
        for (name, record) in records {
            let (table, is_list) = layout::parse_log(&name).ok_or_else(|| damaged(&"a record without a table"))?;
            if !is_list {
                let head = serde_json::from_slice(&record).map_err(|e| damaged(&e))?;
                logs.insert(table, Log::new(head));
                continue;
            }
            let pieces: Vec<Piece> = serde_json::from_slice(&record).map_err(|e| damaged(&e))?;
            let log = logs.get_mut(&table).ok_or_else(|| damaged(&"pieces without a head"))?;
            pieces.into_iter().for_each(|piece| log.push(piece));
        }
        for log in logs.values_mut() {
            log.pieces.make_contiguous().sort_unstable_by_key(|p| p.number);
            let numbers = log.pieces.iter().map(|p| p.number).rev();
            if numbers.zip((0..log.head.next).rev()).any(|(is, should)| is != should) {
                return Err(damaged(&"pieces are missing"));
            }
        }
        Ok(Self(Mutex::new(logs)))
    }

    pub(in crate::state) fn followed(&self) -> HashSet<TableId> {
        self.0.lock().keys().copied().collect()
    }

    pub(in crate::state) fn is_followed(&self, table: TableId) -> bool {
        self.0.lock().contains_key(&table)
    }

    /// Keeps changes from the commit of `epoch` on. Returns what must be stored if that is new.
    pub(in crate::state) fn follow(&self, table: TableId, epoch: Epoch, now: i64) -> Result<Option<Change>> {
        let mut logs = self.0.lock();
        if let Some(log) = logs.get_mut(&table) {
            log.head.read_at = now;
            return Ok(None);
        }
        let head = Head { since: epoch.0, next: 0, read_at: now };
        let stored = (layout::log(table), Some(json(&head)?));
        logs.insert(table, Log::new(head));
        Ok(Some(stored))
    }

    /// What a commit that adds pieces of `sizes` makes of the log; `None` when there is none. `sizes` of `None` says that
    /// the commit changed more than a log may hold.
    pub(in crate::state) fn revise(
        &self,
        table: TableId,
        (base, epoch): (Epoch, Epoch),
        sizes: Option<&[u64]>,
        now: i64,
    ) -> Option<Revised> {
        let mut log = self.0.lock().get(&table)?.clone();
        let first = log.head.next;
        let unread = log.readers.strong_count() == 0;
        let ends = unread && now.saturating_sub(log.head.read_at) > KEPT_UNREAD_MICROS;
        let mut gone = Vec::new();
        if ends || sizes.is_none() {
            gone.extend(log.pieces.drain(..).map(|p| p.number));
            log.bytes = 0;
            // Readers who expect this number learn that it is gone.
            log.head.next += 1;
            log.head.since = epoch.0;
            return Some(Revised { table, log, ends, gone, first });
        }
        for bytes in sizes.unwrap_or_default() {
            log.push(Piece { number: log.head.next, base: base.0, epoch: epoch.0, bytes: *bytes });
            log.head.next += 1;
        }
        while log.is_full() {
            log.forget_oldest(&mut gone);
        }
        Some(Revised { table, log, ends, gone, first })
    }

    /// The commit was applied.
    pub(in crate::state) fn revised(&self, revised: Revised) {
        let mut logs = self.0.lock();
        if revised.ends {
            logs.remove(&revised.table);
        } else if let Some(log) = logs.get_mut(&revised.table) {
            let read_at = log.head.read_at;
            *log = revised.log;
            log.head.read_at = log.head.read_at.max(read_at);
        }
    }

    /// Forgets a dropped table.
    pub(in crate::state) fn remove(&self, table: TableId) {
        self.0.lock().remove(&table);
    }

    /// The removal of everything that the table's log has on disk.
    pub(in crate::state) fn removal(&self, table: TableId) -> Vec<Change> {
        let logs = self.0.lock();
        let Some(log) = logs.get(&table) else { return Vec::new() };
        let lists: BTreeSet<u64> = log.pieces.iter().map(|p| list_of(p.number)).collect();
        let lists = lists.into_iter().map(|list| layout::log_list(table, list));
        let pieces = log.pieces.iter().map(|p| piece_name(table, p.number));
        std::iter::once(layout::log(table)).chain(lists).chain(pieces).map(|name| (name, None)).collect()
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
        let mut logs = self.0.lock();
        let Some(log) = logs.get_mut(&table) else { return Err(gone()) };
        if epoch.0 < log.head.since {
            return Err(refused(format!("changes after epoch {epoch} are not kept any more"))
                .with_detail(format!("The oldest epoch to resume from is {}.", log.head.since))
                .with_hint(again));
        }
        let next = log.pieces.get(log.pieces.partition_point(|p| p.epoch <= epoch.0));
        if let Some(piece) = next.filter(|p| p.base < epoch.0) {
            return Err(refused(format!("epoch {epoch} was not given out by a subscription"))
                .with_detail(format!("It lies between the commits of {} and {}.", piece.base, piece.epoch))
                .with_hint(again));
        }
        let next = next.map_or(log.head.next, |p| p.number);
        let reader = log.readers.upgrade().unwrap_or_default();
        log.readers = Arc::downgrade(&reader);
        Ok(Position { next, _reader: reader })
    }

    /// The number and epoch of the piece at `position`; `None` when none of a commit up to `committed` is left.
    ///
    /// # Errors
    /// `ObjectNotReady` when it is not kept any more.
    pub(in crate::state) fn place(
        &self,
        table: TableId,
        position: &Position,
        committed: Epoch,
        now: i64,
    ) -> Result<Option<(u64, Epoch)>> {
        let mut logs = self.0.lock();
        let Some(log) = logs.get_mut(&table) else { return Err(gone()) };
        log.head.read_at = now;
        match log.numbered(position.next) {
            Some(piece) if piece.epoch <= committed.0 => Ok(Some((piece.number, Epoch(piece.epoch)))),
            Some(_) => Ok(None),
            None if position.next == log.head.next => Ok(None),
            None => Err(behind()),
        }
    }
}

/// A reader has lost its place.
pub(in crate::state) fn behind() -> Error {
    let message = "the subscription fell behind: the changes that it needs are not kept any more";
    Error::new(ErrorKind::ObjectNotReady, message)
        .with_detail(format!("Of each table and view, {} MiB of changes are kept.", KEPT_BYTES >> 20))
        .with_hint("subscribe again with a snapshot, and read faster")
}

pub(in crate::state) fn gone() -> Error {
    Error::new(ErrorKind::ObjectNotReady, "the table or view was dropped, or its changes are not kept any more")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: TableId = TableId(3);

    /// The commit of `epoch` after that of the epoch before, with pieces of these sizes, applied.
    fn commit(logs: &Logs, epoch: u64, sizes: Option<&[u64]>, now: i64) -> Option<Vec<Change>> {
        let revised = logs.revise(TABLE, (Epoch(epoch - 1), Epoch(epoch)), sizes, now)?;
        let pieces = vec![Bytes::from_static(b"x"); sizes.unwrap_or_default().len()];
        let changes = revised.changes(&pieces).unwrap();
        logs.revised(revised);
        Some(changes)
    }

    /// The epochs of the pieces after `since`, or why there are none.
    fn read(logs: &Logs, since: u64) -> std::result::Result<Vec<u64>, String> {
        let committed = Epoch(u64::MAX);
        let mut position = logs.after(TABLE, Epoch(since), committed).map_err(|e| e.message().to_string())?;
        let mut epochs = Vec::new();
        while let Some((_, epoch)) = logs.place(TABLE, &position, committed, 0).map_err(|e| e.message().to_string())? {
            epochs.push(epoch.0);
            position.next += 1;
        }
        Ok(epochs)
    }

    fn followed() -> Logs {
        let logs = Logs::default();
        assert!(logs.follow(TABLE, Epoch(1), 0).unwrap().is_some());
        assert!(logs.follow(TABLE, Epoch(1), 0).unwrap().is_none(), "it is stored once");
        logs
    }

    #[test]
    fn the_oldest_commits_go_whole() {
        let logs = followed();
        let third = KEPT_BYTES / 3;
        commit(&logs, 2, Some(&[third / 2, third / 2]), 0);
        commit(&logs, 3, Some(&[third]), 0);
        let slow = logs.after(TABLE, Epoch(1), Epoch(3)).unwrap();
        assert_eq!(read(&logs, 1).unwrap(), [2, 2, 3]);
        commit(&logs, 4, Some(&[third]), 0);
        commit(&logs, 5, Some(&[third]), 0);
        assert_eq!(read(&logs, 2).unwrap(), [3, 4, 5]);
        assert!(read(&logs, 1).unwrap_err().contains("not kept any more"));
        assert!(logs.place(TABLE, &slow, Epoch(5), 0).unwrap_err().message().contains("fell behind"));
    }

    #[test]
    fn a_commit_that_is_too_large_empties_the_log() {
        for sizes in [None, Some(&[KEPT_BYTES / 2, KEPT_BYTES / 2, 1][..])] {
            let logs = followed();
            commit(&logs, 2, Some(&[7]), 0);
            let slow = logs.after(TABLE, Epoch(2), Epoch(2)).unwrap();
            let changes = commit(&logs, 3, sizes, 0).unwrap();
            let kept = changes.iter().filter(|(_, content)| content.is_some()).count();
            assert_eq!(kept, 1, "nothing but the head is written: {changes:?}");
            assert!(logs.place(TABLE, &slow, Epoch(3), 0).unwrap_err().message().contains("fell behind"));
            assert!(read(&logs, 2).unwrap_err().contains("not kept any more"));
            assert_eq!(read(&logs, 3).unwrap(), [0; 0]);
            commit(&logs, 4, Some(&[7]), 0);
            assert_eq!(read(&logs, 3).unwrap(), [4]);
        }
    }

    #[test]
    fn a_log_ends_when_nobody_reads_it_for_long() {
        let logs = followed();
        commit(&logs, 2, Some(&[7]), 0);
        let reader = logs.after(TABLE, Epoch(2), Epoch(2)).unwrap();
        let late = KEPT_UNREAD_MICROS + 1;
        commit(&logs, 3, Some(&[7]), late);
        assert_eq!(read(&logs, 1).unwrap(), [2, 3], "somebody waits for it");
        drop(reader);
        let changes = commit(&logs, 4, Some(&[7]), late).unwrap();
        assert!(changes.iter().all(|(_, content)| content.is_none()), "{changes:?}");
        assert!(!logs.is_followed(TABLE));
        assert!(commit(&logs, 5, Some(&[7]), late).is_none());
    }

    #[test]
    fn names_go_round_and_what_is_stored_is_read_again() {
        // One commit before the ring's end.
        let start = RING * 3 - 1;
        let head = format!(r#"{{"since":1,"next":{start},"read_at":0}}"#);
        let logs = Logs::load(vec![(layout::log(TABLE), Bytes::from(head))]).unwrap();
        let mut disk = std::collections::BTreeMap::new();
        for epoch in 2..300 {
            // The first ones make place for the last.
            let bytes = if epoch < 100 { KEPT_BYTES / 150 } else { KEPT_BYTES / 250 };
            for (name, content) in commit(&logs, epoch, Some(&[bytes]), 0).unwrap() {
                match content {
                    Some(content) => disk.insert(name, content),
                    None => disk.remove(&name),
                };
            }
        }
        let since = logs.0.lock()[&TABLE].head.since;
        let kept: Vec<u64> = (since + 1..300).collect();
        assert!(since > 1 && kept.len() > 200, "{since}");
        assert_eq!(read(&logs, since).unwrap(), kept);
        let pieces = disk.keys().filter(|name| name.starts_with(&layout::piece(TABLE, 0)[..5])).count();
        assert_eq!(pieces, kept.len(), "what went is gone from the disk");
        let records = disk.into_iter().filter(|(name, _)| name.starts_with(layout::LOGS)).collect();
        assert_eq!(read(&Logs::load(records).unwrap(), since).unwrap(), kept);
        let removed = logs.removal(TABLE);
        assert_eq!(removed.iter().filter(|(name, _)| !name.starts_with(layout::LOGS)).count(), kept.len());
    }
}
