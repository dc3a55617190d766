//! What a commit changes in a table: for each touched key the row before it, -1, and the row after it, +1; nothing where
//! both are the same. Writes nothing.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::row::{RowConverter, SortField};
use bytes::Bytes;

use super::{KEPT_PIECES, piece};
use crate::common::Result;
use crate::state::changes::Position;
use crate::state::merge::{Overlay, Sources};
use crate::state::run::Run;
use crate::state::table::{Table, View};
use crate::state::{KeyRange, lookup};
use crate::types::Epoch;

/// Keys that one piece is made of.
const PIECE_KEYS: usize = 4096;

/// The changes of a table from the commit of `base` to that of `epoch`, encoded; `None` when they are more than
/// `limit` bytes or than a log may have pieces.
pub(in crate::state) fn changes(table: &Table, base: Epoch, epoch: Epoch, limit: u64) -> Result<Option<Vec<Bytes>>> {
    let view = table.view()?;
    let all: Vec<Arc<Run>> = view.runs(epoch).iter().filter(|r| !r.is_durable()).cloned().collect();
    let overlay = Overlay::new(&all, None, &KeyRange::all());
    let mut pieces = Vec::new();
    let mut bytes = 0;
    for positions in overlay.sorted().chunks(PIECE_KEYS) {
        let Some((rows, weights)) = between(table, &view, base, &overlay, positions)? else { continue };
        let piece = piece::encode(base, epoch, &rows, &weights)?;
        bytes += piece.len() as u64;
        if bytes > limit || pieces.len() == KEPT_PIECES {
            return Ok(None);
        }
        pieces.push(piece);
    }
    Ok(Some(pieces))
}

fn between(
    table: &Table,
    view: &View,
    base: Epoch,
    overlay: &Overlay<'_>,
    positions: &[Position],
) -> Result<Option<(RecordBatch, Int64Array)>> {
    let picks: Vec<(usize, usize)> = positions.iter().map(|p| (p.batch as usize, p.row as usize)).collect();
    let (keys, _) = Sources::bare(overlay).gather(&picks)?;
    let before = lookup::lookup(table, view, view.runs(base), None, &keys, lookup::Find::Indexed)?;
    let puts: Vec<bool> = positions.iter().map(|p| overlay.is_put(*p)).collect();
    let put: Vec<(usize, usize)> = picks.iter().zip(&puts).filter(|(_, put)| **put).map(|(pick, _)| *pick).collect();
    let after = Sources::new(table.schema(), &[], overlay).gather_rows(&put)?;

    let fields = table.schema().fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let (old, new) = (converter.convert_columns(before.rows.columns())?, converter.convert_columns(after.columns())?);
    let mut places = Vec::with_capacity(positions.len() * 2);
    let mut weights = Vec::with_capacity(positions.len() * 2);
    let mut at = 0;
    for (put, found) in puts.into_iter().zip(before.index) {
        let new_at = put.then_some(at);
        at += usize::from(put);
        let old_at = found.map(|row| row as usize);
        if let (Some(o), Some(n)) = (old_at, new_at)
            && old.row(o) == new.row(n)
        {
            continue;
        }
        let gone = old_at.map(|row| ((0, row), -1));
        let come = new_at.map(|row| ((1, row), 1));
        for (place, weight) in gone.into_iter().chain(come) {
            places.push(place);
            weights.push(weight);
        }
    }
    if places.is_empty() {
        return Ok(None);
    }
    Ok(Some((interleave_record_batch(&[&before.rows, &after], &places)?, weights.into())))
}
