//! Keys of a group's state: `[window] | virtual node | the other group columns`.
//!
//! The window comes first so that live windows share pages and a range below the watermark is what has closed; the
//! virtual node lets an actor tell its own groups from those of others after a change of parallelism.

use std::ops::{Bound, Range};

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::common::{Error, Result};
use crate::state::KeyRange;
use crate::stream::operator::event_time;
use crate::types::time::END_OF_TIME;
use crate::types::{Keys, key};

/// Above every group key, which starts with the marker of a null or of a value.
const MARKS: u8 = 0xff;
const MARK_CLOSED: u8 = 0;
const MARK_SENT: u8 = 1;

pub(super) struct Layout {
    /// Which group column is the window, with its type.
    pub window: Option<(usize, DataType)>,
    /// Group columns that place a group: what the exchange before hashes.
    pub distribution: Vec<usize>,
    /// The virtual nodes of this actor.
    pub vnodes: Range<usize>,
}

impl Layout {
    pub(super) fn encode(&self, groups: &[ArrayRef], rows: usize) -> Result<Keys> {
        let pick = |indices: &mut dyn Iterator<Item = usize>| -> Result<Keys> {
            let columns: Vec<ArrayRef> = indices.filter_map(|i| groups.get(i).cloned()).collect();
            key::encode(&columns, rows)
        };
        let window = self.window.as_ref().map(|(w, _)| *w);
        let windows = pick(&mut window.into_iter())?;
        let rest = pick(&mut (0..groups.len()).filter(|i| Some(*i) != window))?;
        let placed = pick(&mut self.distribution.iter().copied())?;
        Ok(key::placed(&windows, &placed, &rest))
    }

    /// Whether the group under this key is this actor's; `window` is the length of the key's window part.
    pub(super) fn owns(&self, key: &[u8], window: usize) -> bool {
        key.get(window).is_some_and(|vnode| self.vnodes.contains(&usize::from(*vnode)))
    }

    /// Keys of windows from `from` (all, without it) up to the one that holds `watermark`; at the end of time also
    /// those without a window.
    pub(super) fn up_to(&self, from: Option<i64>, watermark: i64) -> Result<KeyRange> {
        let start = match from {
            Some(from) => Bound::Included(self.window_key(from)?),
            None => Bound::Unbounded,
        };
        let end = match watermark {
            END_OF_TIME => Bound::Excluded(vec![MARKS]),
            micros => key::prefix_end(&self.window_key(micros)?).map_or(Bound::Unbounded, Bound::Excluded),
        };
        Ok(KeyRange { start, end })
    }

    fn window_key(&self, micros: i64) -> Result<Vec<u8>> {
        let (_, data_type) =
            self.window.as_ref().ok_or_else(|| Error::internal("an aggregation without a window closes none"))?;
        Ok(key::encode(&[event_time::instant(micros, data_type)?], 1)?.value(0).to_vec())
    }
}

/// Where `actor` keeps the watermark up to which it has closed.
pub(super) fn closed_key(actor: usize) -> Vec<u8> {
    mark_key(MARK_CLOSED, actor)
}

/// All actors' closed watermarks.
pub(super) fn closed_keys() -> KeyRange {
    KeyRange::prefix(&[MARKS, MARK_CLOSED])
}

/// Where `actor` keeps the watermark up to which it has sent, as long as what was sent may change.
pub(super) fn sent_key(actor: usize) -> Vec<u8> {
    mark_key(MARK_SENT, actor)
}

/// The watermarks up to which all actors have sent.
pub(super) fn sent_keys() -> KeyRange {
    KeyRange::prefix(&[MARKS, MARK_SENT])
}

fn mark_key(mark: u8, actor: usize) -> Vec<u8> {
    let mut key = vec![MARKS, mark];
    key.extend_from_slice(&(actor as u32).to_be_bytes());
    key
}
