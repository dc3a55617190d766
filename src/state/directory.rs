//! Which pages a table has: their first keys, numbers and sizes. Knows no page's content.
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

/// The pages of one table, in key order.
#[derive(Debug)]
pub(super) struct Directory {
    firsts: Keys,
    pages: Vec<PageRef>,
}

impl Directory {
    /// `firsts` ascend, one for each page.
    pub(super) fn new(firsts: Keys, pages: Vec<PageRef>) -> Self {
        debug_assert_eq!(firsts.len(), pages.len());
        Self { firsts, pages }
    }

    pub(super) fn empty() -> Self {
        Self::new(super::changes::no_keys(), Vec::new())
    }

    pub(super) fn pages(&self) -> &[PageRef] {
        &self.pages
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
        let mut entries: Vec<(&[u8], PageRef)> = Vec::new();
        for chunk in chunks {
            let mut rest = chunk;
            while !rest.is_empty() {
                entries.push(take_entry(&mut rest).ok_or_else(|| Error::corrupted("a page directory is damaged"))?);
            }
        }
        entries.sort_unstable_by_key(|(first, _)| *first);
        if entries.windows(2).any(|pair| matches!(pair, [a, b] if a.0 == b.0)) {
            return Err(Error::corrupted("two pages of a table begin with the same key"));
        }
        let firsts = Keys::from_iter_values(entries.iter().map(|(first, _)| *first));
        Ok(Self::new(firsts, entries.into_iter().map(|(_, page)| page).collect()))
    }

    /// The stored form of the chunks that hold one of `numbers`: chunk number and content, `None` for an empty one.
    pub(super) fn encode(&self, numbers: impl Iterator<Item = u32>) -> Vec<(u32, Option<Bytes>)> {
        let mut chunks: Vec<(u32, Vec<u8>)> =
            numbers.map(|n| n / CHUNK).collect::<BTreeSet<_>>().into_iter().map(|c| (c, Vec::new())).collect();
        for (at, page) in self.pages.iter().enumerate() {
            let wanted = chunks.binary_search_by_key(&(page.number / CHUNK), |(c, _)| *c);
            if let Some((_, out)) = wanted.ok().and_then(|i| chunks.get_mut(i)) {
                put_entry(out, self.firsts.value(at), *page);
            }
        }
        chunks.into_iter().map(|(c, bytes)| (c, (!bytes.is_empty()).then(|| Bytes::from(bytes)))).collect()
    }
}

fn put_entry(out: &mut Vec<u8>, first: &[u8], page: PageRef) {
    for word in [page.number, page.rows, page.bytes, first.len() as u32] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(first);
}

fn take_entry<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], PageRef)> {
    let mut word = || {
        let (word, after) = rest.split_first_chunk::<4>()?;
        *rest = after;
        Some(u32::from_le_bytes(*word))
    };
    let page = PageRef { number: word()?, rows: word()?, bytes: word()? };
    let length = word()? as usize;
    let (first, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some((first, page))
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
        let used: BTreeSet<u32> = directory.pages.iter().map(|p| p.number).collect();
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
        Directory::new(Keys::from_iter_values(pages.iter().map(|(first, _)| first)), refs)
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
        assert_eq!(again.pages(), d.pages());
        assert_eq!(again.firsts, d.firsts);
        let chunk = chunks[0].1.clone().unwrap();
        assert!(Directory::decode([&chunk[..chunk.len() - 1]].into_iter()).is_err());
        assert!(Directory::decode([&chunk[..], &chunk[..]].into_iter()).is_err());
    }

    #[test]
    fn numbers_are_used_again() {
        let mut numbers = Numbers::of(&directory(&[("b", 4), ("d", 0)]), 2);
        assert_eq!((0..4).map(|_| numbers.take().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 5]);
        numbers.give_back([0, 3]);
        assert_eq!(numbers.take().unwrap(), 0);
        assert_eq!(numbers.end(), 6);
    }
}
