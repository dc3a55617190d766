//! The first rows of one partition, by key: what they are, and up to where they are known. Knows no rows and no state.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::plan::Rank;
use crate::types::key::prefix_end;

/// The key of a row; ties share its first `order_end` bytes.
#[derive(Debug, Clone)]
pub(super) struct RowKey {
    pub bytes: Arc<[u8]>,
    pub order_end: u32,
}

impl RowKey {
    pub(super) fn new(bytes: &[u8], order_end: u32) -> Self {
        Self { bytes: bytes.into(), order_end }
    }

    fn order(&self) -> &[u8] {
        order(&self.bytes, self.order_end)
    }
}

fn order(key: &[u8], order_end: u32) -> &[u8] {
    key.get(..order_end as usize).unwrap_or(key)
}

impl PartialEq for RowKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for RowKey {}

impl PartialOrd for RowKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RowKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

impl Borrow<[u8]> for RowKey {
    fn borrow(&self) -> &[u8] {
        &self.bytes
    }
}

/// A row of the open epoch: batch and row.
pub(super) type Fresh = (u32, u32);

/// Which rows count: those whose rank is at most `last`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub rank: Rank,
    pub last: u64,
}

/// All three ranks of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ranks {
    pub row_number: u64,
    pub rank: u64,
    pub dense_rank: u64,
}

impl Ranks {
    pub(super) fn of(&self, rank: Rank) -> u64 {
        match rank {
            Rank::RowNumber => self.row_number,
            Rank::Rank => self.rank,
            Rank::DenseRank => self.dense_rank,
        }
    }
}

/// Numbers keys that come in their order.
#[derive(Default)]
pub(super) struct Numbering<'a> {
    last: Option<&'a RowKey>,
    ranks: Ranks,
}

impl<'a> Numbering<'a> {
    pub(super) fn next(&mut self, key: &'a RowKey) -> Ranks {
        self.ranks.row_number += 1;
        if self.last.is_none_or(|last| last.order() != key.order()) {
            self.ranks.rank = self.ranks.row_number;
            self.ranks.dense_rank += 1;
        }
        self.last = Some(key);
        self.ranks
    }
}

/// Rows kept beyond the last that counts, so that a few retractions need no scan.
const SPARE: u64 = 16;

pub(super) struct Leading {
    /// The first rows, each with its place when it came in this epoch.
    rows: BTreeMap<RowKey, Option<Fresh>>,
    /// Rows of the state with this key or a later one are not here; `None`: all are.
    unread: Option<Box<[u8]>>,
    /// No row with a later order than the last one's can count: only known where input never retracts.
    full: bool,
    /// What counted when the epoch began; `None` until the first change.
    pub before: Option<Vec<RowKey>>,
}

impl Leading {
    /// A partition without any rows.
    pub(super) fn empty() -> Self {
        Self { rows: BTreeMap::new(), unread: None, full: false, before: None }
    }

    /// A partition of whose rows none is known.
    pub(super) fn unread(partition: &[u8]) -> Self {
        Self { unread: Some(partition.into()), ..Self::empty() }
    }

    /// Bytes held, roughly.
    pub(super) fn memory_bytes(&self) -> usize {
        let key = self.rows.first_key_value().map_or(0, |(k, _)| k.bytes.len() + 16);
        let before = self.before.as_ref().map_or(0, |b| b.len() * 24);
        160 + self.rows.len() * (key + 48) + before
    }

    /// Where the state has more, if it may.
    pub(super) fn unread_from(&self) -> Option<&[u8]> {
        self.unread.as_deref()
    }

    /// Whether a row with this key would be here.
    pub(super) fn covers(&self, key: &[u8]) -> bool {
        self.unread.as_deref().is_none_or(|unread| key < unread)
    }

    /// Whether a new row with this key may count; for input that never retracts.
    pub(super) fn admits(&self, key: &[u8], order_end: u32, limit: Limit) -> bool {
        if !self.full {
            return true;
        }
        let Some((last, _)) = self.rows.last_key_value() else { return true };
        match limit.rank {
            Rank::RowNumber => key < &*last.bytes,
            Rank::Rank | Rank::DenseRank => order(key, order_end) <= last.order(),
        }
    }

    pub(super) fn insert(&mut self, key: RowKey, fresh: Fresh) {
        self.rows.insert(key, Some(fresh));
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.rows.remove(key);
    }

    /// Remembers what counts now, if that is not done yet. True when it was not.
    pub(super) fn touch(&mut self, limit: Limit) -> bool {
        if self.before.is_some() {
            return false;
        }
        self.before = Some(self.counting(limit).map(|(key, _, _)| key.clone()).collect());
        true
    }

    /// Whether `key` counted when the epoch began.
    pub(super) fn counted(&self, key: &[u8]) -> bool {
        self.before.as_ref().is_some_and(|b| b.binary_search_by(|k| k.bytes.as_ref().cmp(key)).is_ok())
    }

    /// The rows that count, in order.
    pub(super) fn counting(&self, limit: Limit) -> impl Iterator<Item = (&RowKey, Option<Fresh>, Ranks)> {
        let mut numbering = Numbering::default();
        self.rows
            .iter()
            .map(move |(key, fresh)| (key, *fresh, numbering.next(key)))
            .take_while(move |(_, _, ranks)| ranks.of(limit.rank) <= limit.last)
    }

    /// Forgets rows that are not needed: `exactly` all that do not count, else only when they are many.
    pub(super) fn trim(&mut self, limit: Limit, exactly: bool) {
        if exactly {
            match limit.rank {
                Rank::RowNumber => while self.rows.len() as u64 > limit.last && self.rows.pop_last().is_some() {},
                Rank::Rank | Rank::DenseRank => self.cut(limit),
            }
            self.full = self.count(limit) >= limit.last;
            return;
        }
        if self.rows.len() as u64 > limit.last.saturating_mul(2).saturating_add(2 * SPARE) {
            let spare = if limit.rank == Rank::RowNumber { SPARE } else { 0 };
            let rows = self.rows.len();
            self.cut(Limit { last: limit.last.saturating_add(spare), ..limit });
            if self.rows.len() < rows {
                self.unread = Some(self.after_last(limit));
            }
        }
    }

    /// Leaves the rows that count for `limit`.
    fn cut(&mut self, limit: Limit) {
        let mut numbering = Numbering::default();
        let first = self.rows.keys().find(|key| numbering.next(key).of(limit.rank) > limit.last).cloned();
        if let Some(first) = first {
            drop(self.rows.split_off(&first));
        }
    }

    /// Whether all rows that count are known.
    pub(super) fn is_enough(&self, limit: Limit) -> bool {
        self.unread.is_none() || self.count(limit) >= limit.last
    }

    /// The rank that the next row would exceed.
    fn count(&self, limit: Limit) -> u64 {
        match limit.rank {
            Rank::RowNumber | Rank::Rank => self.rows.len() as u64,
            Rank::DenseRank => {
                let mut numbering = Numbering::default();
                self.rows.keys().map(|k| numbering.next(k).dense_rank).last().unwrap_or(0)
            }
        }
    }

    /// The least key that no row here can have. Of ties all are here or none.
    fn after_last(&self, limit: Limit) -> Box<[u8]> {
        let Some((last, _)) = self.rows.last_key_value() else { return Box::default() };
        let next = || [&last.bytes, &[0][..]].concat();
        match limit.rank {
            Rank::RowNumber => next().into(),
            Rank::Rank | Rank::DenseRank => prefix_end(last.order()).unwrap_or_else(next).into(),
        }
    }

    /// Takes in the rows that the state has from [`Self::unread_from`] on, in order; `all`: it has no others. False when
    /// more at once are needed.
    pub(super) fn read(&mut self, keys: Vec<RowKey>, all: bool, limit: Limit) -> bool {
        if all {
            self.rows.extend(keys.into_iter().map(|key| (key, None)));
            self.unread = None;
            return true;
        }
        let ties = match limit.rank {
            Rank::RowNumber => keys.len(),
            // The last ties may go on.
            Rank::Rank | Rank::DenseRank => match keys.last() {
                Some(last) => keys.partition_point(|k| k.order() < last.order()),
                None => 0,
            },
        };
        if ties == 0 {
            return false;
        }
        self.rows.extend(keys.into_iter().take(ties).map(|key| (key, None)));
        self.unread = Some(self.after_last(limit));
        true
    }

    /// Ends the epoch: what is here counts as kept.
    pub(super) fn settle(&mut self) {
        self.before = None;
        self.rows.values_mut().for_each(|fresh| *fresh = None);
    }
}
