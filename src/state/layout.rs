//! Names of the entries that a backend holds. Everything lives in one ordered space, so that one batch is one commit.
//!
//! ```text
//! 0                          epoch record (u64)
//! 1 | key                    meta
//! 2 | table                  schema of a table, as Arrow writes it
//! 3 | table                  rows, bytes and page numbers used by a table
//! 4 | table | chunk          directory: first key and size of each of 256 pages
//! 5 | table | page           a page
//! 6 | table                  a table's change log
//! 6 | table | list           which pieces it has: a part of them
//! 7 | table | piece          a piece of it
//! ```
//! Numbers are big-endian. Pages have numbers and not keys: a number is used again when its page is gone, so the
//! backend's tree does not grow with the keys that ever were.

use crate::types::TableId;

const META: u8 = 1;
const SCHEMA: u8 = 2;
const TABLE: u8 = 3;
const DIRECTORY: u8 = 4;
const PAGE: u8 = 5;
const LOG: u8 = 6;
const PIECE: u8 = 7;

pub(super) const EPOCH: &[u8] = &[0];

pub(super) fn meta(key: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(1 + key.len());
    name.push(META);
    name.extend_from_slice(key);
    name
}

pub(super) fn schema(table: TableId) -> Vec<u8> {
    of_table(SCHEMA, table).to_vec()
}

pub(super) fn table(table: TableId) -> Vec<u8> {
    of_table(TABLE, table).to_vec()
}

/// Prefix of all directory chunks of `table`.
pub(super) fn directory(table: TableId) -> Vec<u8> {
    of_table(DIRECTORY, table).to_vec()
}

pub(super) fn chunk(table: TableId, chunk: u32) -> Vec<u8> {
    numbered(DIRECTORY, table, chunk)
}

pub(super) fn page(table: TableId, page: u32) -> Vec<u8> {
    numbered(PAGE, table, page)
}

/// Prefix of the records of all change logs.
pub(super) const LOGS: &[u8] = &[LOG];

pub(super) fn log(table: TableId) -> Vec<u8> {
    of_table(LOG, table).to_vec()
}

pub(super) fn log_list(table: TableId, list: u64) -> Vec<u8> {
    [&of_table(LOG, table)[..], &list.to_be_bytes()].concat()
}

/// The table that a record of a change log is of, and whether it lists pieces.
pub(super) fn parse_log(name: &[u8]) -> Option<(TableId, bool)> {
    let (id, list) = name.strip_prefix(LOGS)?.split_first_chunk::<4>()?;
    Some((TableId(u32::from_be_bytes(*id)), !list.is_empty()))
}

pub(super) fn piece(table: TableId, number: u64) -> Vec<u8> {
    [&of_table(PIECE, table)[..], &number.to_be_bytes()].concat()
}

fn of_table(kind: u8, table: TableId) -> [u8; 5] {
    let [a, b, c, d] = table.0.to_be_bytes();
    [kind, a, b, c, d]
}

fn numbered(kind: u8, table: TableId, number: u32) -> Vec<u8> {
    let mut name = Vec::with_capacity(9);
    name.extend_from_slice(&of_table(kind, table));
    name.extend_from_slice(&number.to_be_bytes());
    name
}
