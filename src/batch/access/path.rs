//! The stored orders of one table, and the one that leaves a query the fewest rows to read.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{SortOptions, concat_batches, take_record_batch};

use super::constraint::Constraints;
use super::range::{KeyColumn, Keyed, Narrowed, narrow};
use crate::common::{Error, Result};
use crate::state::{KeyRange, Table};
use crate::types::{Epoch, JobId, Keys, key};

/// An order in which a table's rows are stored.
#[derive(Clone)]
pub struct Path {
    /// In the numbers of the table's columns.
    pub key: Vec<KeyColumn>,
    /// `None` for the table's own key.
    pub index: Option<Arc<IndexRows>>,
}

impl Path {
    /// A table's own key.
    pub fn own(key: &[usize]) -> Self {
        let options = SortOptions { descending: false, nulls_first: false };
        Self { key: key.iter().map(|column| KeyColumn { column: *column, options }).collect(), index: None }
    }
}

/// The rows of an index.
pub struct IndexRows {
    pub job: JobId,
    pub name: String,
    pub table: Arc<Table>,
    /// The column of the base table that each stored column is.
    pub columns: Vec<usize>,
}

/// A part of a path, chosen for a query; without one, all rows by the table's own key.
pub struct Reach {
    pub part: Option<(Path, Narrowed)>,
}

/// The path that the constraints narrow most: all of a key before a part of one, more columns before fewer, a range before
/// none, and the table's own key before an index.
///
/// # Errors
/// As [`narrow`].
pub fn choose(paths: &[Path], constraints: &Constraints) -> Result<Reach> {
    let (mut best, mut part) = (None, None);
    if !constraints.is_empty() {
        for path in paths {
            let Some(narrowed) = narrow(&path.key, constraints)? else { continue };
            let is_point = matches!(narrowed.keyed, Keyed::Points(_));
            let rank = (is_point, narrowed.equal, narrowed.ranged);
            if best.is_none_or(|best| rank > best) {
                best = Some(rank);
                part = Some((path.clone(), narrowed));
            }
        }
    }
    Ok(Reach { part })
}

/// What the constraints leave of one path.
///
/// # Errors
/// As [`narrow`].
pub fn follow(path: &Path, constraints: &Constraints) -> Result<Reach> {
    Ok(Reach { part: narrow(&path.key, constraints)?.map(|narrowed| (path.clone(), narrowed)) })
}

/// The table that a reach is of.
pub struct Base<'t> {
    pub name: &'t str,
    pub table: &'t Table,
    /// Its own key, in key order.
    pub key: &'t [usize],
}

impl Reach {
    /// The columns `wanted` of the rows. An index that has them all is enough; else the rows are looked up by the keys
    /// that it has. `limit` counts where nothing is narrowed.
    ///
    /// # Errors
    /// What reading state fails with.
    pub fn read(
        &self,
        base: &Base<'_>,
        epoch: Epoch,
        wanted: &[usize],
        limit: Option<usize>,
    ) -> Result<Vec<RecordBatch>> {
        let rows = match &self.part {
            None => base.table.scan(epoch, &KeyRange::all(), limit)?.into_iter().map(|(_, rows)| rows).collect(),
            Some((Path { index: None, .. }, narrowed)) => read(base.table, epoch, &narrowed.keyed)?,
            Some((Path { index: Some(index), .. }, narrowed)) => {
                let rows = read(&index.table, epoch, &narrowed.keyed)?;
                if let Some(places) = index.places(wanted) {
                    return project(&rows, &places);
                }
                let look_up = |rows: &RecordBatch| present(base.table, epoch, &index.base_keys(rows, base.key)?);
                rows.iter().map(look_up).collect::<Result<Vec<_>>>()?
            }
        };
        project(&rows, wanted)
    }

    /// Whether [`Reach::read`] of the columns takes some ten microseconds: few rows, all in memory.
    pub fn is_near(&self, base: &Base<'_>, wanted: &[usize]) -> bool {
        let Some((path, narrowed)) = &self.part else { return false };
        let table = match &path.index {
            None => base.table,
            Some(index) if index.places(wanted).is_some() => &index.table,
            Some(_) => return false,
        };
        match &narrowed.keyed {
            Keyed::Points(keys) => table.holds(keys),
            Keyed::Ranges(ranges) => matches!(ranges.as_slice(), [range] if table.holds_range(range)),
        }
    }

    /// As EXPLAIN shows it; `name` gives the names of the columns of `base`, of which `wanted` are asked for.
    pub fn describe<'n>(&self, base: &Base<'_>, wanted: &[usize], name: &dyn Fn(usize) -> &'n str) -> String {
        let Some((path, narrowed)) = &self.part else { return "full scan".into() };
        let mut text = String::new();
        if let Some(index) = &path.index {
            text = format!("index {}: ", index.name);
        }
        let known = narrowed.equal + usize::from(narrowed.ranged);
        let names = path.key.iter().take(known).map(|k| {
            if k.options.descending { format!("{} DESC", name(k.column)) } else { name(k.column).to_string() }
        });
        let names = names.collect::<Vec<_>>().join(", ");
        let (what, count) = match &narrowed.keyed {
            Keyed::Points(keys) => ("point lookup", keys.len()),
            Keyed::Ranges(ranges) if narrowed.ranged => ("range scan", ranges.len()),
            Keyed::Ranges(ranges) => ("prefix scan", ranges.len()),
        };
        text += &format!("{what} by ({names})");
        if count > 1 {
            text += &format!(", {count} keys");
        }
        if path.index.as_ref().is_some_and(|index| index.places(wanted).is_none()) {
            let key: Vec<&str> = base.key.iter().map(|column| name(*column)).collect();
            text += &format!(", then {} by ({})", base.name, key.join(", "));
        }
        text
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = self.part.as_ref().and_then(|(path, _)| path.index.as_ref()).map(|i| i.name.as_str());
        f.debug_struct("Reach").field("narrowed", &self.part.is_some()).field("index", &index).finish()
    }
}

impl IndexRows {
    /// Where the index keeps these columns of the base table, if it has them all.
    pub fn places(&self, wanted: &[usize]) -> Option<Vec<usize>> {
        wanted.iter().map(|column| self.columns.iter().position(|c| c == column)).collect()
    }

    /// The keys of the base table's rows.
    fn base_keys(&self, rows: &RecordBatch, key: &[usize]) -> Result<Keys> {
        let places = self.places(key).ok_or_else(|| Error::internal(format!("index {} has no keys", self.name)))?;
        let columns: Vec<ArrayRef> = places.into_iter().map(|at| rows.column(at).clone()).collect();
        key::encode(&columns, rows.num_rows())
    }
}

fn project(rows: &[RecordBatch], columns: &[usize]) -> Result<Vec<RecordBatch>> {
    rows.iter().map(|rows| Ok(rows.project(columns)?)).collect()
}

fn read(table: &Table, epoch: Epoch, keyed: &Keyed) -> Result<Vec<RecordBatch>> {
    match keyed {
        Keyed::Points(keys) => Ok(vec![present(table, epoch, keys)?]),
        Keyed::Ranges(ranges) => {
            let mut found = Vec::new();
            for range in ranges {
                found.extend(table.scan(epoch, range, None)?.into_iter().map(|(_, rows)| rows));
            }
            // Many small ones, of a list of values.
            if found.len() > 1 && found.iter().map(RecordBatch::num_rows).sum::<usize>() <= 8 * found.len() {
                found = vec![concat_batches(&table.schema(), &found)?];
            }
            Ok(found)
        }
    }
}

/// The rows that are there, in the order of `keys`.
fn present(table: &Table, epoch: Epoch, keys: &Keys) -> Result<RecordBatch> {
    let found = table.get(epoch, keys)?;
    if keys.len() == 1 {
        return Ok(found.rows);
    }
    let order: UInt32Array = found.index.iter().flatten().copied().collect();
    Ok(take_record_batch(&found.rows, &order)?)
}
