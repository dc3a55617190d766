//! Keys of rows that are kept in order: `[window] | virtual node | rest of the partition | order | stream key`.
//!
//! All rows of a partition stand together, in their order, so that the first of them and those that follow any of them
//! are one range. The window comes first so that what a watermark has closed is a range too. Shared by `TopN` and
//! `OverWindow`.

use arrow::array::{ArrayRef, BinaryBuilder, RecordBatch};
use arrow::compute::SortOptions;

use crate::common::Result;
use crate::plan::{self, Distribution, Node};
use crate::types::{Keys, key, vnode};

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
    pub fn new(rows: &plan::RowOrder, node: &Node) -> Self {
        let window = rows.window.and_then(|w| rows.partition.get(w)).copied();
        let placed = match node.inputs.first().map(|i| &i.properties.distribution) {
            Some(Distribution::Hash(placed)) if placed.iter().all(|c| rows.partition.contains(c)) => placed.clone(),
            _ => rows.partition.clone(),
        };
        let in_order = |c: &usize| rows.order.iter().any(|o| o.column == *c);
        Self {
            window,
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
        let bytes = windows.value_data().len() + rest.value_data().len() + rows;
        let mut keys = BinaryBuilder::with_capacity(rows, bytes);
        let mut key = Vec::with_capacity(64);
        for row in 0..rows {
            key.clear();
            key.extend_from_slice(windows.value(row));
            key.push(vnode(placed.value(row)));
            key.extend_from_slice(rest.value(row));
            keys.append_value(&key);
        }
        Ok(keys.finish())
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

    fn orders(&self, batch: &RecordBatch) -> Result<Keys> {
        let columns: Vec<_> = self.order.iter().map(|(c, options)| (batch.column(*c).clone(), *options)).collect();
        key::encode_ordered(&columns, batch.num_rows())
    }
}

fn pick(batch: &RecordBatch, columns: &[usize]) -> Vec<ArrayRef> {
    columns.iter().map(|c| batch.column(*c).clone()).collect()
}
