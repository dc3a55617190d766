//! Which pages a table has: their first keys, numbers and sizes. Knows no page's content.
//!
//! Beside the pages stand deltas: changes that were made durable without rewriting the pages under them (see `fold`).
//!
//! A page holds the keys from its first key up to the next page's; the first page holds everything below, too. In
//! memory the directory is in key order; stored, it lies in chunks by page number, so that a commit writes only the
//! chunks of the pages that it touched.

use std::collections::BTreeSet;

use arrow::array::Array;
use bytes::Bytes;

use crate::common::{Error, Result};
use crate::types::Keys;

/// Page numbers in one stored chunk.
const CHUNK: u32 = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageRef {
    pub(super) number: u32,
    pub(super) rows: u32,
    /// Bytes of the raw form.
    pub(super) bytes: u32,
}

/// A page of changes that lies over the table's pages: keys with their new rows, or keys that are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeltaRef {
    /// Higher ones are newer; from 1. Pages of one commit share one.
    pub(super) sequence: u32,
    pub(super) removes: bool,
    pub(super) page: PageRef,
}

/// The pages of one table in key order, and the deltas over them from the oldest to the newest.
#[derive(Debug)]
pub(super) struct Directory {
    firsts: Keys,
    pages: Vec<PageRef>,
    deltas: Vec<DeltaRef>,
}

impl Directory {
    /// `firsts` ascend, one for each page.
    pub(super) fn new(firsts: Keys, pages: Vec<PageRef>, deltas: Vec<DeltaRef>) -> Self {
        debug_assert_eq!(firsts.len(), pages.len());
        Self { firsts, pages, deltas }
    }

    pub(super) fn empty() -> Self {
        Self::new(super::changes::no_keys(), Vec::new(), Vec::new())
    }

    pub(super) fn pages(&self) -> &[PageRef] {
        &self.pages
    }

    pub(super) fn deltas(&self) -> &[DeltaRef] {
        &self.deltas
    }

    pub(super) fn rows(&self) -> u64 {
        self.pages.iter().map(|p| u64::from(p.rows)).sum()
    }

    pub(super) fn len(&self) -> usize {
        self.pages.len()
    }

    /// The first key of page `at`; `None` past the last page.
    pub(super) fn first(&self, at: usize) -> Option<&[u8]> {
        (at < self.firsts.len()).then(|| self.firsts.value(at))
    }

    /// The first keys of some pages.
    pub(super) fn firsts(&self, pages: std::ops::Range<usize>) -> Keys {
        let end = pages.end.min(self.firsts.len());
        self.firsts.slice(pages.start.min(end), end.saturating_sub(pages.start))
    }

    /// The position of the page that holds `key`; 0 where there are no pages.
    pub(super) fn find(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.firsts.len());
        while low < high {
            let middle = (low + high) / 2;
            if self.firsts.value(middle) <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.saturating_sub(1)
    }

    /// Reads the stored chunks of a table, in any order.
    pub(super) fn decode<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Result<Self> {
        let mut pages: Vec<(&[u8], PageRef)> = Vec::new();
        let mut deltas = Vec::new();
        for chunk in chunks {
            let mut rest = chunk;
            while !rest.is_empty() {
                match take_entry(&mut rest) {
                    Some((first, page, 0)) => pages.push((first, page)),
                    Some((_, page, tag)) => {
                        deltas.push(DeltaRef { sequence: tag >> 1, removes: tag & 1 == 1, page });
                    }
                    None => return Err(Error::corrupted("a page directory is damaged")),
                }
            }
        }
        pages.sort_unstable_by_key(|(first, _)| *first);
        if pages.windows(2).any(|pair| matches!(pair, [a, b] if a.0 == b.0)) {
            return Err(Error::corrupted("two pages of a table begin with the same key"));
        }
        deltas.sort_unstable_by_key(|d| (d.sequence, d.removes, d.page.number));
        let firsts = Keys::from_iter_values(pages.iter().map(|(first, _)| *first));
        Ok(Self::new(firsts, pages.into_iter().map(|(_, page)| page).collect(), deltas))
    }

    /// The stored form of the chunks that hold one of `numbers`: chunk number and content, `None` for an empty one.
    pub(super) fn encode(&self, numbers: impl Iterator<Item = u32>) -> Vec<(u32, Option<Bytes>)> {
        let mut chunks: Vec<(u32, Vec<u8>)> =
            numbers.map(|n| n / CHUNK).collect::<BTreeSet<_>>().into_iter().map(|c| (c, Vec::new())).collect();
        let pages = self.pages.iter().enumerate().map(|(at, page)| (self.firsts.value(at), *page, 0));
        let deltas = self.deltas.iter().map(|d| (&[][..], d.page, d.sequence << 1 | u32::from(d.removes)));
        for (first, page, tag) in pages.chain(deltas) {
            let wanted = chunks.binary_search_by_key(&(page.number / CHUNK), |(c, _)| *c);
            if let Some((_, out)) = wanted.ok().and_then(|i| chunks.get_mut(i)) {
                put_entry(out, first, page, tag);
            }
        }
        chunks.into_iter().map(|(c, bytes)| (c, (!bytes.is_empty()).then(|| Bytes::from(bytes)))).collect()
    }
}

/// `tag` is 0 for a page, and tells a delta's sequence and whether it removes.
fn put_entry(out: &mut Vec<u8>, first: &[u8], page: PageRef, tag: u32) {
    for word in [page.number, page.rows, page.bytes, tag, first.len() as u32] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(first);
}

fn take_entry<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], PageRef, u32)> {
    let mut word = || {
        let (word, after) = rest.split_first_chunk::<4>()?;
        *rest = after;
        Some(u32::from_le_bytes(*word))
    };
    let page = PageRef { number: word()?, rows: word()?, bytes: word()? };
    let (tag, length) = (word()?, word()? as usize);
    let (first, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some((first, page, tag))
}

/// Hands out page numbers, the lowest free one first.
#[derive(Debug)]
pub(super) struct Numbers {
    free: BTreeSet<u32>,
    next: u32,
}

impl Numbers {
    /// All numbers below `next` that no page of `directory` has are free.
    pub(super) fn of(directory: &Directory, next: u32) -> Self {
        let deltas = directory.deltas.iter().map(|d| d.page.number);
        let used: BTreeSet<u32> = directory.pages.iter().map(|p| p.number).chain(deltas).collect();
        let next = used.last().map_or(next, |last| next.max(last + 1));
        Self { free: (0..next).filter(|n| !used.contains(n)).collect(), next }
    }

    /// # Errors
    /// `NotSupported` when all four billion are in use.
    pub(super) fn take(&mut self) -> Result<u32> {
        if let Some(number) = self.free.pop_first() {
            return Ok(number);
        }
        let number = self.next;
        self.next = number.checked_add(1).ok_or_else(|| Error::not_supported("a table of more than 2^32 pages"))?;
        Ok(number)
    }

    pub(super) fn give_back(&mut self, numbers: impl IntoIterator<Item = u32>) {
        self.free.extend(numbers);
    }

    /// Every number that was ever handed out is below this.
    pub(super) fn end(&self) -> u32 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(pages: &[(&str, u32)]) -> Directory {
        let refs = pages.iter().map(|(_, number)| PageRef { number: *number, rows: 1, bytes: 2 }).collect();
        let page = PageRef { number: 9, rows: 5, bytes: 6 };
        let deltas = vec![
            DeltaRef { sequence: 1, removes: false, page },
            DeltaRef { sequence: 1, removes: true, page: PageRef { number: 8, ..page } },
        ];
        Directory::new(Keys::from_iter_values(pages.iter().map(|(first, _)| first)), refs, deltas)
    }

    #[test]
    fn a_key_belongs_to_the_last_page_that_begins_at_or_below_it() {
        let d = directory(&[("b", 7), ("d", 0), ("f", 3)]);
        for (key, at) in [("", 0), ("a", 0), ("b", 0), ("c", 0), ("d", 1), ("e", 1), ("f", 2), ("z", 2)] {
            assert_eq!(d.find(key.as_bytes()), at, "{key}");
        }
        assert_eq!(Directory::empty().find(b"x"), 0);
    }

    #[test]
    fn stored_by_number_and_read_by_key() {
        let d = directory(&[("b", 700), ("d", 0), ("f", 3)]);
        let chunks = d.encode([700, 0, 512, 300].into_iter());
        assert_eq!(
            chunks.iter().map(|(c, b)| (*c, b.is_some())).collect::<Vec<_>>(),
            [(0, true), (1, false), (2, true)]
        );
        let again = Directory::decode(chunks.iter().filter_map(|(_, b)| b.as_deref())).unwrap();
        assert_eq!((again.pages(), again.deltas()), (d.pages(), d.deltas()));
        assert_eq!(again.firsts, d.firsts);
        let chunk = chunks[0].1.clone().unwrap();
        assert!(Directory::decode([&chunk[..chunk.len() - 1]].into_iter()).is_err());
        assert!(Directory::decode([&chunk[..], &chunk[..]].into_iter()).is_err());
    }

    #[test]
    fn numbers_are_used_again() {
        let mut numbers = Numbers::of(&directory(&[("b", 4), ("d", 0)]), 2);
        assert_eq!((0..4).map(|_| numbers.take().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 5]);
        assert_eq!((0..3).map(|_| numbers.take().unwrap()).collect::<Vec<_>>(), [6, 7, 10]);
        numbers.give_back([0, 3]);
        assert_eq!(numbers.take().unwrap(), 0);
        assert_eq!(numbers.end(), 11);
    }
}
