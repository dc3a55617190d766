//! What is known of columns, laid over one stored order: the encoded keys or key ranges that can hold the rows.

use std::ops::Bound;

use arrow::compute::SortOptions;
use datafusion::scalar::ScalarValue;

use super::constraint::{Constraints, Edge};
use crate::common::Result;
use crate::state::KeyRange;
use crate::types::{Keys, key};

/// Keys or ranges that a read is split into at most; a longer list of values narrows nothing.
const MAX_KEYS: usize = 16_384;

/// A column of a stored key, with its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyColumn {
    pub column: usize,
    pub options: SortOptions,
}

/// Where rows can be: disjoint, in key order.
#[derive(Debug, Clone)]
pub enum Keyed {
    Points(Keys),
    Ranges(Vec<KeyRange>),
}

/// A part of a stored order.
#[derive(Debug, Clone)]
pub struct Narrowed {
    pub keyed: Keyed,
    /// Leading key columns whose values are listed.
    pub equal: usize,
    /// The next one has a range.
    pub ranged: bool,
}

/// The part of the order `key` that `constraints` leave; `None` when that is all of it.
///
/// # Errors
/// `NotSupported` for a key that cannot be encoded.
pub fn narrow(key: &[KeyColumn], constraints: &Constraints) -> Result<Option<Narrowed>> {
    let mut prefixes: Vec<Vec<u8>> = vec![Vec::new()];
    let mut equal = 0;
    for column in key {
        let Some(values) = constraints.values(column.column) else { break };
        if prefixes.len().saturating_mul(values.len()) > MAX_KEYS {
            break;
        }
        let values = encode(values, column.options)?;
        let longer = |prefix: &Vec<u8>| values.iter().flatten().map(|v| [prefix, v].concat()).collect::<Vec<_>>();
        prefixes = prefixes.iter().flat_map(longer).collect();
        equal += 1;
    }
    prefixes.sort_unstable();
    prefixes.dedup();
    if equal == key.len() {
        let keyed = Keyed::Points(Keys::from_iter_values(&prefixes));
        return Ok(Some(Narrowed { keyed, equal, ranged: false }));
    }
    let next = key.get(equal).map(|column| ends(column, constraints)).transpose()?.flatten();
    let ranged = next.is_some();
    let ranges: Vec<KeyRange> = match next {
        Some((start, end)) => prefixes.iter().map(|p| within(p, &start, &end)).collect(),
        None if equal == 0 => return Ok(None),
        None => prefixes.iter().map(|p| KeyRange::prefix(p)).collect(),
    };
    Ok(Some(Narrowed { keyed: Keyed::Ranges(ranges), equal, ranged }))
}

fn encode(values: &[ScalarValue], options: SortOptions) -> Result<Keys> {
    if values.is_empty() {
        return Ok(Keys::from_iter_values(std::iter::empty::<&[u8]>()));
    }
    let array = ScalarValue::iter_to_array(values.iter().cloned())?;
    key::encode_ordered(&[(array, options)], values.len())
}

/// The encoded values from which, and before which, the column's rows lie; nulls lie outside of every range.
fn ends(column: &KeyColumn, constraints: &Constraints) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    // The markers of values and nulls change places with the nulls.
    let marker = u8::from(column.options.nulls_first);
    let (mut start, mut end) = (vec![marker], vec![marker + 1]);
    let mut bounded = false;
    // Turned round, the upper end comes first.
    let descending = column.options.descending;
    let lower = constraints.from(column.column).map(|edge| (edge, !descending));
    let upper = constraints.to(column.column).map(|edge| (edge, descending));
    for (Edge { value, inclusive }, is_start) in lower.chain(upper) {
        bounded = true;
        let keys = encode(std::slice::from_ref(value), column.options)?;
        let at = keys.value(0);
        // What begins with the value is behind a start that leaves it out, and before an end that takes it in.
        let at = if is_start == *inclusive { Some(at.to_vec()) } else { key::prefix_end(at) };
        let Some(at) = at else { continue };
        if is_start {
            start = start.max(at);
        } else {
            end = end.min(at);
        }
    }
    Ok(bounded.then_some((start, end)))
}

fn within(prefix: &[u8], start: &[u8], end: &[u8]) -> KeyRange {
    KeyRange { start: Bound::Included([prefix, start].concat()), end: Bound::Excluded([prefix, end].concat()) }
}
