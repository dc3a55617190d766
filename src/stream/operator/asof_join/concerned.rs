//! Which left rows a change of right rows concerns.

use std::collections::BTreeSet;
use std::ops::Bound;

use arrow::array::{Array, AsArray};

use super::{AsofJoin, Change, Place};
use crate::common::{Error, Result};
use crate::state::KeyRange;
use crate::types::{Epoch, Keys};

/// Rows that the first scan of left rows reads; each further one reads twice as many.
const FIRST_ROWS: usize = 64;

/// Left rows to look at, of one changed right row.
struct Search<'k> {
    place: &'k Place,
    /// The right row's stored key behind the prefix.
    met: &'k [u8],
    /// It was there before: those that have met it. Else those that have met nothing nearer.
    was: bool,
    /// From here on a nearer right row is there, which has come in the same epoch or is searched for itself.
    until: Option<&'k [u8]>,
}

impl AsofJoin {
    /// The keys of all left rows whose answer may have changed; `touched` are those that changed themselves.
    pub(super) fn concerned(&self, right: &Change, touched: Keys) -> Result<Keys> {
        let before = self.left_places(&right.before.rows)?;
        let after = self.left_places(&right.after.rows)?;
        let renewed = right.renewed();
        let mut found: BTreeSet<Box<[u8]>> = BTreeSet::new();
        let mut nearer: Option<&Place> = None;
        for (at, key) in right.keys.iter().flatten().enumerate() {
            let (old, new) = (right.before.index[at], right.after.index[at]);
            let place = match (old, new) {
                (_, Some(new)) => after[new as usize].as_ref(),
                (Some(old), None) => before[old as usize].as_ref(),
                (None, None) => None,
            };
            let Some(place) = place else { continue };
            let of_key = nearer.filter(|n| n.prefix() == place.prefix());
            let same = old.is_some() && new.is_some() && renewed.binary_search(&key).is_err();
            if !same {
                let met = key.get(place.prefix().len()..).unwrap_or_default();
                let search = Search { place, met, was: old.is_some(), until: of_key.map(Place::start) };
                self.search(&search, &mut found)?;
            }
            nearer = if new.is_some() { Some(place) } else { of_key };
        }
        if found.is_empty() {
            return Ok(touched);
        }
        found.extend(touched.iter().flatten().map(Box::from));
        Ok(Keys::from_iter_values(found))
    }

    /// From where on the left rows stand that may meet each right row.
    fn left_places(&self, rows: &arrow::array::RecordBatch) -> Result<Vec<Option<Place>>> {
        self.right.places(rows, (self.right.order.0, self.left.order.1), self.strict)
    }

    fn search(&self, search: &Search<'_>, found: &mut BTreeSet<Box<[u8]>>) -> Result<()> {
        let mut range = search.place.range();
        if let Some(until) = search.until.filter(|until| !until.is_empty()) {
            range.end = Bound::Excluded(until.to_vec());
        }
        let mut wanted = FIRST_ROWS;
        loop {
            let batches = self.left.state.table().scan(Epoch(u64::MAX), &range, Some(wanted))?;
            let mut rows = 0;
            for (keys, left) in &batches {
                rows += keys.len();
                let met = left.columns().last().and_then(|c| c.as_binary_opt::<i32>());
                let met = met.ok_or_else(|| Error::corrupted("the left rows of an ASOF join"))?;
                for row in 0..keys.len() {
                    let met = met.is_valid(row).then(|| met.value(row));
                    let concerned = match (search.was, met) {
                        (true, met) => met == Some(search.met),
                        (false, met) => met.is_none_or(|met| met > search.met),
                    };
                    if !concerned {
                        return Ok(());
                    }
                    found.insert(keys.value(row).into());
                }
                if let Some(last) = keys.len().checked_sub(1) {
                    range = KeyRange { start: Bound::Excluded(keys.value(last).to_vec()), ..range };
                }
            }
            if rows < wanted {
                return Ok(());
            }
            wanted = wanted.saturating_mul(2);
        }
    }
}
