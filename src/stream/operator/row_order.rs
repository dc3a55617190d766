//! Keys of rows that are kept in order: `[window] | virtual node | rest of the partition | order | stream key`.
//!
//! All rows of a partition stand together, in their order, so that the first of them and those that follow any of them
//! are one range. The window comes first so that what a watermark has closed is a range too. Shared by `TopN` and
//! `OverWindow`.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};

use arrow::array::{Array, ArrayRef, BinaryBuilder, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;

use super::{BuildContext, Output, event_time};
use crate::common::Result;
use crate::plan::{self, Distribution, Node};
use crate::state::{KeyRange, StateWriter};
use crate::stream::message::Watermark;
use crate::types::time::END_OF_TIME;
use crate::types::{Keys, key};

pub(super) struct RowOrder {
    /// The column of the window.
    window: Option<usize>,
    /// What the exchange before hashes; a part of the partition.
    placed: Vec<usize>,
    /// Partition columns that are no window.
    rest: Vec<usize>,
    order: Vec<(usize, SortOptions)>,
    /// Key columns that neither partition nor order hold.
    tail: Vec<usize>,
    /// The window's type, where closed windows are forgotten.
    frees: Option<DataType>,
    /// The virtual nodes of this actor.
    vnodes: Range<usize>,
}

/// Watermarks of partition columns, held until the rows before them are out.
pub(super) struct HeldWatermarks {
    columns: Vec<usize>,
    micros: BTreeMap<usize, i64>,
}

impl HeldWatermarks {
    pub fn new(columns: &[usize]) -> Self {
        Self { columns: columns.to_vec(), micros: BTreeMap::new() }
    }

    pub fn hear(&mut self, watermark: Watermark) {
        if self.columns.contains(&watermark.column) {
            self.micros.insert(watermark.column, watermark.micros);
        }
    }

    pub fn send(&mut self, out: &mut Output) {
        for (column, micros) in std::mem::take(&mut self.micros) {
            out.watermark(Watermark { column, micros });
        }
    }
}

/// The encoded keys of some rows.
pub(super) struct RowKeys {
    pub keys: Keys,
    /// By row: where its partition ends, and where its order ends.
    ends: Vec<(u32, u32)>,
}

impl RowKeys {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn key(&self, row: usize) -> &[u8] {
        self.keys.value(row)
    }

    pub fn partition(&self, row: usize) -> &[u8] {
        let key = self.keys.value(row);
        key.get(..self.ends[row].0 as usize).unwrap_or(key)
    }

    /// The length of the part of the key that ties share.
    pub fn order_end(&self, row: usize) -> u32 {
        self.ends[row].1
    }
}

impl RowOrder {
    pub fn new(rows: &plan::RowOrder, node: &Node, context: &BuildContext<'_>) -> Self {
        let placed = match node.inputs.first().map(|i| &i.properties.distribution) {
            Some(Distribution::Hash(placed)) if placed.iter().all(|c| rows.partition.contains(c)) => placed.clone(),
            _ => rows.partition.clone(),
        };
        Self::placed_by(rows, placed, context)
    }

    /// Rows that are placed by the columns `placed`.
    pub fn placed_by(rows: &plan::RowOrder, placed: Vec<usize>, context: &BuildContext<'_>) -> Self {
        let window = rows.window.and_then(|w| rows.partition.get(w)).copied();
        let in_order = |c: &usize| rows.order.iter().any(|o| o.column == *c);
        Self {
            window,
            frees: window.filter(|_| rows.frees).map(|w| context.input.field(w).data_type().clone()),
            vnodes: context.vnodes.clone(),
            placed,
            rest: rows.partition.iter().copied().filter(|c| Some(*c) != window).collect(),
            order: rows.order.iter().map(|o| (o.column, o.options())).collect(),
            tail: rows.key.iter().copied().filter(|c| !rows.partition.contains(c) && !in_order(c)).collect(),
        }
    }

    /// The keys of the rows of `batch`, whose first columns are those of the input.
    pub fn keys(&self, batch: &RecordBatch) -> Result<RowKeys> {
        let rows = batch.num_rows();
        let prefix = self.partitions(batch)?;
        let order = self.orders(batch)?;
        let tail = key::encode(&pick(batch, &self.tail), rows)?;
        let bytes = prefix.value_data().len() + order.value_data().len() + tail.value_data().len();
        let mut keys = BinaryBuilder::with_capacity(rows, bytes);
        let mut ends = Vec::with_capacity(rows);
        let mut key = Vec::with_capacity(64);
        for row in 0..rows {
            key.clear();
            key.extend_from_slice(prefix.value(row));
            let partition = key.len() as u32;
            key.extend_from_slice(order.value(row));
            ends.push((partition, key.len() as u32));
            key.extend_from_slice(tail.value(row));
            keys.append_value(&key);
        }
        Ok(RowKeys { keys: keys.finish(), ends })
    }

    /// The keys' first part: which partition.
    pub fn partitions(&self, batch: &RecordBatch) -> Result<Keys> {
        let rows = batch.num_rows();
        let window: Vec<usize> = self.window.iter().copied().collect();
        let windows = key::encode(&pick(batch, &window), rows)?;
        let rest = key::encode(&pick(batch, &self.rest), rows)?;
        let placed = match self.placed == self.rest {
            true => rest.clone(),
            false => key::encode(&pick(batch, &self.placed), rows)?,
        };
        Ok(key::placed(&windows, &placed, &rest))
    }

    /// The keys' last parts, order and stream key: which row comes first.
    pub fn within(&self, batch: &RecordBatch) -> Result<Keys> {
        let rows = batch.num_rows();
        let order = self.orders(batch)?;
        if self.tail.is_empty() {
            return Ok(order);
        }
        let tail = key::encode(&pick(batch, &self.tail), rows)?;
        let mut keys = BinaryBuilder::with_capacity(rows, order.value_data().len() + tail.value_data().len());
        let mut key = Vec::with_capacity(64);
        for row in 0..rows {
            key.clear();
            key.extend_from_slice(order.value(row));
            key.extend_from_slice(tail.value(row));
            keys.append_value(&key);
        }
        Ok(keys.finish())
    }

    /// Removes this actor's rows of windows below the watermark, one of `watermarks` by column. What is left begins with
    /// the key that comes back; `None` when nothing can have closed.
    pub fn free(&self, state: &mut StateWriter, watermarks: &HeldWatermarks) -> Result<Option<Vec<u8>>> {
        let watermark = self.window.and_then(|w| watermarks.micros.get(&w));
        let (Some(data_type), Some(watermark)) = (&self.frees, watermark) else { return Ok(None) };
        let first_open = match *watermark {
            END_OF_TIME => vec![u8::MAX],
            micros => key::encode(&[event_time::instant(micros, data_type)?], 1)?.value(0).to_vec(),
        };
        let closed = KeyRange { start: Bound::Unbounded, end: Bound::Excluded(first_open.clone()) };
        for (keys, rows) in state.scan(&closed, None)? {
            let windows = key::encode(&pick(&rows, &self.window.into_iter().collect::<Vec<_>>()), rows.num_rows())?;
            let mine = (0..keys.len()).filter(|row| {
                let vnode = keys.value(*row).get(windows.value(*row).len());
                vnode.is_some_and(|vnode| self.vnodes.contains(&usize::from(*vnode)))
            });
            state.remove(Keys::from_iter_values(mine.map(|row| keys.value(row))));
        }
        Ok(Some(first_open))
    }

    fn orders(&self, batch: &RecordBatch) -> Result<Keys> {
        let columns: Vec<_> = self.order.iter().map(|(c, options)| (batch.column(*c).clone(), *options)).collect();
        key::encode_ordered(&columns, batch.num_rows())
    }
}

fn pick(batch: &RecordBatch, columns: &[usize]) -> Vec<ArrayRef> {
    columns.iter().map(|c| batch.column(*c).clone()).collect()
}
