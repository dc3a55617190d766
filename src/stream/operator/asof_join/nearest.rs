//! Finds the first stored row from a place on, for places that come in rising order: one scan serves many of them.

use std::collections::VecDeque;
use std::ops::Bound;

use arrow::array::Array;

use crate::common::Result;
use crate::state::{KeyRange, StateWriter};
use crate::types::key;

/// Rows that the first scan of a key reads; each further one reads twice as many.
const FIRST_ROWS: usize = 16;

/// From where on, among the rows of one key.
#[derive(Debug, Clone)]
pub(in crate::stream::operator) struct Place {
    /// Of stored keys, up to and including the key.
    prefix: Box<[u8]>,
    /// Inclusive; empty where nothing follows.
    start: Box<[u8]>,
}

impl Place {
    /// The rows of the key `prefix` from `order` on, behind all that equal it where `strict`.
    pub fn new(prefix: &[u8], order: &[u8], strict: bool) -> Self {
        let at = [prefix, order].concat();
        let start = if strict { key::prefix_end(&at).unwrap_or_default() } else { at };
        Self { prefix: prefix.into(), start: start.into() }
    }

    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// Every row of the key from here on.
    pub fn range(&self) -> KeyRange {
        let start = match self.start.is_empty() {
            true => Bound::Excluded(vec![u8::MAX; self.prefix.len() + 1]),
            false => Bound::Included(self.start.to_vec()),
        };
        KeyRange { start, end: KeyRange::prefix(&self.prefix).end }
    }
}

pub(in crate::stream::operator) struct Nearest<'s> {
    state: &'s StateWriter,
    prefix: Box<[u8]>,
    /// Stored keys of the prefix, in order, from the last place on.
    read: VecDeque<Box<[u8]>>,
    /// Where the next scan begins; `None` when all of the key is read.
    next: Option<Bound<Vec<u8>>>,
    wanted: usize,
}

impl<'s> Nearest<'s> {
    pub fn new(state: &'s StateWriter) -> Self {
        Self { state, prefix: Box::default(), read: VecDeque::new(), next: None, wanted: FIRST_ROWS }
    }

    /// The stored key of the first row from `place` on, without its prefix. Of one key, places come in rising order.
    pub fn find(&mut self, place: &Place) -> Result<Option<&[u8]>> {
        if place.start.is_empty() {
            return Ok(None);
        }
        if self.prefix != place.prefix {
            self.prefix = place.prefix.clone();
            self.read.clear();
            self.next = Some(Bound::Included(place.start.to_vec()));
            self.wanted = FIRST_ROWS;
        }
        loop {
            while self.read.front().is_some_and(|key| **key < *place.start) {
                self.read.pop_front();
            }
            if !self.read.is_empty() {
                break;
            }
            let Some(next) = self.next.take() else { return Ok(None) };
            self.scan(next, place)?;
        }
        let prefix = self.prefix.len();
        Ok(self.read.front().and_then(|key| key.get(prefix..)))
    }

    fn scan(&mut self, next: Bound<Vec<u8>>, place: &Place) -> Result<()> {
        let start = match next {
            Bound::Excluded(key) if *key >= *place.start => Bound::Excluded(key),
            _ => Bound::Included(place.start.to_vec()),
        };
        let range = KeyRange { start, end: KeyRange::prefix(&self.prefix).end };
        let mut rows = 0;
        for (keys, _) in self.state.scan(&range, Some(self.wanted))? {
            rows += keys.len();
            self.read.extend(keys.iter().flatten().map(Box::from));
        }
        self.next = match self.read.back() {
            Some(last) if rows == self.wanted => Some(Bound::Excluded(last.to_vec())),
            _ => None,
        };
        self.wanted = self.wanted.saturating_mul(2);
        Ok(())
    }
}
