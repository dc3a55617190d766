//! Changes of keys in memory: batches as they were written, an index by key, and their order by key. Knows neither
//! pages nor epochs.

use std::hash::BuildHasher;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat, concat_batches};
use arrow::datatypes::SchemaRef;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::common::Result;
use crate::types::Keys;

/// Batches below this are put together when an epoch is sealed.
const SMALL_ROWS: usize = 1024;
const COALESCED_ROWS: usize = 16 << 10;

/// Changes in order of arrival: key *i* is set to row *i*, or removed.
#[derive(Debug, Clone)]
pub(super) struct ChangeBatch {
    pub(super) keys: Keys,
    /// One for each key; none at all where every change is a removal.
    pub(super) rows: RecordBatch,
    /// `None` where every change is a put.
    pub(super) puts: Option<BooleanArray>,
    pub(super) bytes: usize,
}

impl ChangeBatch {
    pub(super) fn is_put(&self, row: u32) -> bool {
        self.puts.as_ref().is_none_or(|puts| puts.value(row as usize))
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Removes all `keys`.
    pub(super) fn removals(keys: Keys, schema: SchemaRef) -> Self {
        let puts = Some(BooleanArray::new(BooleanBuffer::new_unset(keys.len()), None));
        let bytes = keys.get_buffer_memory_size();
        Self { rows: RecordBatch::new_empty(schema), keys, puts, bytes }
    }

    fn removes_only(&self) -> bool {
        self.rows.num_rows() < self.keys.len()
    }
}

/// One change: a row of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) batch: u32,
    pub(super) row: u32,
}

/// Puts runs of small batches together, so that later work is by large batches. Keeps the order of changes.
pub(super) fn coalesce(batches: Vec<ChangeBatch>) -> Result<Vec<ChangeBatch>> {
    if batches.len() < 2 || batches.iter().all(|b| b.len() >= SMALL_ROWS) {
        return Ok(batches);
    }
    let mut done = Vec::new();
    let mut group: Vec<ChangeBatch> = Vec::new();
    let mut rows = 0;
    for batch in batches {
        let fits = rows + batch.len() <= COALESCED_ROWS;
        let alike = group.last().is_none_or(|last| last.removes_only() == batch.removes_only());
        if !(fits && alike) {
            done.extend(together(std::mem::take(&mut group))?);
            rows = 0;
        }
        rows += batch.len();
        group.push(batch);
    }
    done.extend(together(group)?);
    Ok(done)
}

fn together(group: Vec<ChangeBatch>) -> Result<Option<ChangeBatch>> {
    if group.len() < 2 {
        return Ok(group.into_iter().next());
    }
    let Some(first) = group.first() else { return Ok(None) };
    let rows = concat_batches(&first.rows.schema(), group.iter().map(|b| &b.rows))?;
    let keys = concat_keys(group.iter().map(|b| &b.keys))?;
    let puts = group.iter().any(|b| b.puts.is_some()).then(|| {
        let each = group.iter().flat_map(|b| (0..b.len() as u32).map(|row| Some(b.is_put(row))));
        each.collect()
    });
    Ok(Some(ChangeBatch { keys, rows, puts, bytes: group.iter().map(|b| b.bytes).sum() }))
}

pub(super) fn no_keys() -> Keys {
    Keys::from_iter_values(std::iter::empty::<&[u8]>())
}

pub(super) fn concat_keys<'a>(keys: impl Iterator<Item = &'a Keys>) -> Result<Keys> {
    let keys: Vec<&dyn Array> = keys.map(|k| k as &dyn Array).collect();
    if keys.is_empty() {
        return Ok(no_keys());
    }
    Ok(concat(&keys)?.as_binary::<i32>().clone())
}

/// Finds the last change of a key.
#[derive(Debug, Default)]
pub(super) struct Index {
    table: HashTable<Position>,
    hasher: DefaultHashBuilder,
    /// Batches that are in the table.
    indexed: usize,
}

impl Index {
    /// Takes in the batches that came since the last call. `batches` only ever grow at the end.
    pub(super) fn extend(&mut self, batches: &[ChangeBatch]) {
        let Self { table, hasher, indexed } = self;
        let fresh = batches.get(*indexed..).unwrap_or_default();
        let rows = fresh.iter().map(ChangeBatch::len).sum();
        let hash = |p: &Position| hasher.hash_one(key(batches, *p));
        table.reserve(rows, hash);
        for (batch, changes) in fresh.iter().enumerate() {
            for row in 0..changes.len() {
                let position = Position { batch: (*indexed + batch) as u32, row: row as u32 };
                let bytes = changes.keys.value(row);
                let entry = table.entry(hasher.hash_one(bytes), |p| key(batches, *p) == bytes, hash);
                *entry.or_insert(position).into_mut() = position;
            }
        }
        *indexed = batches.len();
    }

    /// The last change of `bytes` in the batches that [`Index::extend`] saw.
    pub(super) fn find(&self, batches: &[ChangeBatch], bytes: &[u8]) -> Option<Position> {
        self.table.find(self.hasher.hash_one(bytes), |p| key(batches, *p) == bytes).copied()
    }
}

/// The key of a change.
#[inline]
pub(super) fn key(batches: &[ChangeBatch], at: Position) -> &[u8] {
    match batches.get(at.batch as usize) {
        Some(batch) => batch.keys.value(at.row as usize),
        None => &[],
    }
}

/// The last change of each key, in key order.
pub(super) fn sort(batches: &[ChangeBatch]) -> Vec<Position> {
    let all = || {
        batches.iter().enumerate().flat_map(|(batch, changes)| {
            (0..changes.len()).map(move |row| Position { batch: batch as u32, row: row as u32 })
        })
    };
    if is_ascending(batches) {
        return all().collect();
    }
    let mut keys = batches.iter().flat_map(|b| b.keys.iter().flatten());
    let first = keys.next().unwrap_or_default();
    let skip = keys.try_fold(first.len(), |n, k| match common(first.get(..n)?, k) {
        0 => None,
        n => Some(n),
    });
    order(all(), skip.unwrap_or(0), |p| key(batches, p))
}

/// Merges lists of positions, each in key order, into one; of equal keys the one from the last list stays.
pub(super) fn merge<'a>(lists: &[&[Position]], key_of: impl Fn(Position) -> &'a [u8]) -> Vec<Position> {
    if let [only] = lists {
        return only.to_vec();
    }
    let ends = lists.iter().flat_map(|l| l.first().into_iter().chain(l.last())).map(|p| key_of(*p));
    let (low, high) = ends.fold((None, None), |(low, high), k| {
        (Some(low.map_or(k, |low: &[u8]| low.min(k))), Some(high.map_or(k, |high: &[u8]| high.max(k))))
    });
    let skip = low.zip(high).map_or(0, |(low, high)| common(low, high));
    order(lists.iter().flat_map(|l| l.iter().copied()), skip, key_of)
}

/// Sorts by key, keeping the last of equal ones. All keys share their first `skip` bytes: the eight after them decide
/// most comparisons without a look at the key.
fn order<'a>(
    positions: impl Iterator<Item = Position>,
    skip: usize,
    key_of: impl Fn(Position) -> &'a [u8],
) -> Vec<Position> {
    let mut entries: Vec<(u64, Position)> = positions.map(|p| (head(key_of(p), skip), p)).collect();
    entries.sort_by(|(a, p), (b, q)| a.cmp(b).then_with(|| key_of(*p).cmp(key_of(*q))));
    let mut sorted: Vec<Position> = Vec::with_capacity(entries.len());
    let mut last = None;
    for (head, position) in entries {
        match sorted.last_mut() {
            Some(same) if last == Some(head) && key_of(*same) == key_of(position) => *same = position,
            _ => sorted.push(position),
        }
        last = Some(head);
    }
    sorted
}

fn is_ascending(batches: &[ChangeBatch]) -> bool {
    let mut last: Option<&[u8]> = None;
    batches.iter().flat_map(|b| b.keys.iter().flatten()).all(|k| last.replace(k).is_none_or(|last| last < k))
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The eight bytes after `skip` as a number that orders as they do; a shorter key counts as filled with zeros.
fn head(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or_default();
    match rest.first_chunk::<8>() {
        Some(eight) => u64::from_be_bytes(*eight),
        None => {
            let mut eight = [0; 8];
            eight.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            u64::from_be_bytes(eight)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    /// `a1` puts 1 at `a`; `a-` removes it.
    fn batch(text: &str) -> ChangeBatch {
        let words: Vec<&str> = text.split_whitespace().collect();
        let values = words.iter().map(|w| w[w.len() - 1..].parse::<i64>().ok());
        let column: ArrayRef = Arc::new(values.clone().map(Option::unwrap_or_default).collect::<Int64Array>());
        ChangeBatch {
            keys: Keys::from_iter_values(words.iter().map(|w| &w[..w.len() - 1])),
            rows: RecordBatch::try_from_iter([("v", column)]).unwrap(),
            puts: words.iter().any(|w| w.ends_with('-')).then(|| values.map(|v| Some(v.is_some())).collect()),
            bytes: 1,
        }
    }

    fn text(batches: &[ChangeBatch], sorted: &[Position]) -> String {
        let each = sorted.iter().map(|p| {
            let key = String::from_utf8_lossy(key(batches, *p)).into_owned();
            let batch = &batches[p.batch as usize];

            let value = batch.rows.column(0).as_primitive::<arrow::datatypes::Int64Type>();
            if batch.is_put(p.row) { format!("{key}{}", value.value(p.row as usize)) } else { format!("{key}-") }
        });
        each.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_last_change_of_a_key_stays() {
        let cases: &[(&[&str], &str)] = &[
            (&[], ""),
            (&["a1 b2 c3"], "a1 b2 c3"),
            (&["a1 b2", "c3"], "a1 b2 c3"),
            (&["b2 a1 b3 b-"], "a1 b-"),
            (&["b2", "a1", "b-", "b4 a5"], "a5 b4"),
            (&["prefix_of_many_bytes_b1 prefix_of_many_bytes2 prefix_of_many_bytes_a_longer3"], {
                "prefix_of_many_bytes2 prefix_of_many_bytes_a_longer3 prefix_of_many_bytes_b1"
            }),
            (&["x\u{0}1 x2 x\u{0}\u{0}3"], "x2 x\u{0}1 x\u{0}\u{0}3"),
        ];
        for (texts, expected) in cases {
            let batches: Vec<_> = texts.iter().map(|t| batch(t)).collect();
            assert_eq!(text(&batches, &sort(&batches)), *expected);
            let together = coalesce(batches.clone()).unwrap();
            assert!(together.len() < 2);
            assert_eq!(text(&together, &sort(&together)), *expected);
            let mut index = Index::default();
            for n in 0..=batches.len() {
                index.extend(&batches[..n]);
            }
            for position in sort(&batches) {
                assert_eq!(index.find(&batches, key(&batches, position)), Some(position));
            }
            assert_eq!(index.find(&batches, b"absent"), None);
        }
    }

    #[test]
    fn later_lists_win() {
        let batches = [batch("a1 c2 d3"), batch("b4 c-"), batch("a5 e6")];
        let lists: Vec<Vec<Position>> = (0..3)
            .map(|i| sort(&batches[i..=i]).iter().map(|p| Position { batch: i as u32, ..*p }).collect())
            .collect();
        let lists: Vec<&[Position]> = lists.iter().map(Vec::as_slice).collect();
        assert_eq!(text(&batches, &merge(&lists, |p| key(&batches, p))), "a5 b4 c- d3 e6");
        assert_eq!(merge(&[], |p| key(&batches, p)), []);
    }

    #[test]
    fn removals_without_rows_stay_apart() {
        let mut gone = batch("c1");
        gone.rows = gone.rows.slice(0, 0);
        gone.puts = Some(vec![false].into());
        let batches = vec![batch("a1"), batch("b2"), gone.clone(), gone, batch("d4")];
        let together = coalesce(batches).unwrap();
        assert_eq!(together.iter().map(ChangeBatch::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(text(&together, &sort(&together)), "a1 b2 c- d4");
    }
}
