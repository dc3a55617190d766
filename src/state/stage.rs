//! Pages of a large commit, written ahead of it: as they are made, so that memory need not hold them all at once.
//!
//! ```text
//! fold --pages of a group--> place --there is room--> held, part of the commit's one batch
//!                                  \--there is none--> numbered, written, forgotten but for their first keys
//! ```
//! No directory on disk knows the numbers, which were free: so what is written ahead means nothing until the commit's
//! batch, whose directories do know them. If a crash comes first, the numbers are free again; the record of each table says
//! up to where numbers were handed out, so that dropping the table removes whatever such a crash has left.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::backend::Change;
use super::changes::concat_keys;
use super::directory::{Directory, PageRef};
use super::layout;
use super::page::EncodedPage;
use super::space::Space;
use super::store::{StateStore, encode_stats};
use super::table::Table;
use crate::common::{Result, failpoint};
use crate::types::{Keys, TableId};

/// A page that a fold has made.
pub(super) enum NewPage {
    Held(EncodedPage),
    Staged(StagedPage),
}

/// A page that the backend has.
pub(super) struct StagedPage {
    pub(super) page: PageRef,
    /// Of its rows, one.
    pub(super) first: Keys,
    /// As it is stored.
    pub(super) bytes: u64,
}

/// Where the pages of one commit go.
pub(super) struct Stage<'a> {
    store: &'a StateStore,
    /// Bytes of pages that may be held.
    room: usize,
    inner: Mutex<Inner<'a>>,
}

struct Inner<'a> {
    spaces: &'a mut HashMap<TableId, Space>,
    held: usize,
    /// Bytes written since the last flush.
    unflushed: usize,
}

impl<'a> Stage<'a> {
    pub(super) fn new(store: &'a StateStore, spaces: &'a mut HashMap<TableId, Space>, room: usize) -> Self {
        Self { store, room, inner: Mutex::new(Inner { spaces, held: 0, unflushed: 0 }) }
    }

    /// Takes pages of `table`, whose directory is `old`, in their order.
    ///
    /// # Errors
    /// Of the backend; what was written ahead is then given up with the commit.
    pub(super) fn place(&self, table: &Table, old: &Arc<Directory>, pages: Vec<EncodedPage>) -> Result<Vec<NewPage>> {
        let bytes: usize = pages.iter().map(|p| p.page.bytes() + p.stored.len()).sum();
        let mut inner = self.inner.lock();
        if inner.held + bytes <= self.room {
            inner.held += bytes;
            return Ok(pages.into_iter().map(NewPage::Held).collect());
        }
        failpoint::hit("state.commit.stage")?;
        let Inner { spaces, unflushed, .. } = &mut *inner;
        let space = self.store.space(spaces, table.id(), old)?;
        let mut changes: Vec<Change> = Vec::with_capacity(pages.len() + 1);
        let mut staged = Vec::with_capacity(pages.len());
        for EncodedPage { page, stored } in pages {
            let number = space.take()?;
            staged.push(NewPage::Staged(StagedPage {
                page: PageRef { number, rows: page.len() as u32, bytes: page.bytes() as u32 },
                // A slice would hold all of the page's keys.
                first: concat_keys([page.keys().slice(0, 1)].iter())?,
                bytes: stored.len() as u64,
            }));
            *unflushed += stored.len();
            changes.push((layout::page(table.id(), number), Some(stored)));
        }
        changes.push((layout::table(table.id()), Some(encode_stats(table.stats(), space.end()))));
        self.store.backend.apply(changes)?;
        if *unflushed > self.room {
            *unflushed = 0;
            self.store.backend.flush()?;
        }
        Ok(staged)
    }
}
