//! The records of a unit after the tokeniser and before the columns: where each value stands, and which records are
//! bad. Knows neither CSV nor JSON nor types.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::BooleanArray;

/// The place of one value: in the unit, or behind its end in the scratch area where unescaped values go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    start: u32,
    len: u32,
}

impl Cell {
    pub const NULL: Cell = Cell { start: 0, len: u32::MAX };

    pub fn at(start: usize, end: usize) -> Self {
        Self { start: start as u32, len: (end - start) as u32 }
    }

    pub fn is_null(self) -> bool {
        self.len == u32::MAX
    }
}

/// Why records cannot be read, by record: the first reason that was found.
#[derive(Debug, Default)]
pub(super) struct Faults(BTreeMap<u32, String>);

impl Faults {
    pub fn add(&mut self, record: usize, message: impl FnOnce() -> String) {
        self.0.entry(record as u32).or_insert_with(message);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Which of `records` have no fault; `None` if that is all of them.
    pub fn good(&self, records: Range<usize>) -> Option<BooleanArray> {
        let bad = self.0.range(records.start as u32..records.end as u32);
        let mut good = None;
        for (record, _) in bad {
            let good = good.get_or_insert_with(|| vec![true; records.len()]);
            if let Some(place) = good.get_mut(*record as usize - records.start) {
                *place = false;
            }
        }
        good.map(BooleanArray::from)
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn iter(&self) -> impl Iterator<Item = (usize, &str)> {
        self.0.iter().map(|(record, message)| (*record as usize, message.as_str()))
    }
}

/// Row-major cells of the projected columns, `width` a record. A faulty record has only null cells.
#[derive(Debug, Default)]
pub(super) struct Records {
    width: usize,
    cells: Vec<Cell>,
    /// Begin and end of each record in the unit, without its newline.
    bounds: Vec<(u32, u32)>,
    /// Unescaped values.
    pub scratch: Vec<u8>,
}

impl Records {
    pub fn clear(&mut self, width: usize) {
        self.width = width;
        self.cells.clear();
        self.bounds.clear();
        self.scratch.clear();
    }

    pub fn len(&self) -> usize {
        self.bounds.len()
    }

    pub fn bounds(&self, record: usize) -> (usize, usize) {
        self.bounds.get(record).map_or((0, 0), |(start, end)| (*start as usize, *end as usize))
    }

    /// Begins a record whose cells are all null until set.
    #[inline]
    pub fn begin(&mut self) {
        self.cells.resize(self.cells.len() + self.width, Cell::NULL);
    }

    /// The open record's cells.
    #[inline]
    pub fn open(&mut self) -> &mut [Cell] {
        let start = self.cells.len() - self.width;
        &mut self.cells[start..]
    }

    #[inline]
    pub fn end(&mut self, start: usize, end: usize) {
        self.bounds.push((start as u32, end as u32));
    }

    /// Takes the open record back: it was blank.
    pub fn cancel(&mut self) {
        self.cells.truncate(self.cells.len() - self.width);
    }

    /// The values of column `slot` in `rows`, in a unit of `data`.
    pub fn column<'a>(&'a self, data: &'a [u8], slot: usize, rows: Range<usize>) -> Column<'a> {
        let cells = &self.cells[rows.start * self.width..rows.end * self.width];
        Column { data, scratch: &self.scratch, cells, width: self.width, slot, first: rows.start, rows: rows.len() }
    }
}

/// One column of some records.
pub(super) struct Column<'a> {
    data: &'a [u8],
    scratch: &'a [u8],
    cells: &'a [Cell],
    width: usize,
    slot: usize,
    /// The record of the first row.
    pub first: usize,
    pub rows: usize,
}

impl<'a> Column<'a> {
    /// The values in order; `None` is null.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Option<&'a [u8]>> + use<'a> {
        let (data, scratch) = (self.data, self.scratch);
        self.cells.iter().skip(self.slot).step_by(self.width.max(1)).map(move |cell| {
            if cell.is_null() {
                return None;
            }
            let (start, len) = (cell.start as usize, cell.len as usize);
            match start.checked_sub(data.len()) {
                None => data.get(start..start + len),
                Some(start) => scratch.get(start..start + len),
            }
        })
    }
}
