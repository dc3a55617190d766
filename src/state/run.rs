//! A run: what one writer changed in one epoch, sealed; or what a commit wrote as deltas. Knows no pages.
//!
//! Sealing costs the processing thread next to nothing: the index and the order are made when first asked for, which
//! for the order is in the commit's thread or a reader's.

use std::sync::{Arc, OnceLock};

use super::changes::{self, ChangeBatch, Index, Position};
use super::uncommitted::UncommittedShare;
use crate::types::Epoch;

/// So many changes are in order at once.
const FEW: usize = 1024;

pub(super) struct Run {
    epoch: Epoch,
    batches: Vec<ChangeBatch>,
    /// Whether it is on disk as deltas; it stays until it is folded.
    durable: bool,
    index: OnceLock<Index>,
    sorted: OnceLock<Vec<Position>>,
    /// Counts its bytes until it goes.
    _uncommitted: Option<UncommittedShare>,
}

impl Run {
    /// `index` may have been built while the epoch was open.
    pub(super) fn new(
        epoch: Epoch,
        batches: Vec<ChangeBatch>,
        index: Option<Index>,
        uncommitted: UncommittedShare,
    ) -> Arc<Self> {
        let index = index.map_or_else(OnceLock::new, OnceLock::from);
        Arc::new(Self {
            epoch,
            batches,
            durable: false,
            index,
            sorted: OnceLock::new(),
            _uncommitted: Some(uncommitted),
        })
    }

    /// What deltas of a commit hold. `sorted` may come from their making.
    pub(super) fn durable(epoch: Epoch, batches: Vec<ChangeBatch>, sorted: Option<Vec<Position>>) -> Arc<Self> {
        let sorted = sorted.map_or_else(OnceLock::new, OnceLock::from);
        Arc::new(Self { epoch, batches, durable: true, index: OnceLock::new(), sorted, _uncommitted: None })
    }

    pub(super) fn is_durable(&self) -> bool {
        self.durable
    }

    pub(super) fn bytes(&self) -> usize {
        self.batches.iter().map(|b| b.bytes).sum()
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn batches(&self) -> &[ChangeBatch] {
        &self.batches
    }

    /// Changes in it, those of one key counted each.
    pub(super) fn len(&self) -> usize {
        self.batches.iter().map(ChangeBatch::len).sum()
    }

    /// The last change of `key`.
    pub(super) fn find(&self, key: &[u8]) -> Option<Position> {
        let index = self.index.get_or_init(|| {
            let mut index = Index::default();
            index.extend(&self.batches);
            index
        });
        index.find(&self.batches, key)
    }

    /// As [`Run::find`], for readers of few keys: by the order, which the commit needs anyway, where there is no index.
    pub(super) fn search(&self, key: &[u8]) -> Option<Position> {
        if let Some(index) = self.index.get() {
            return index.find(&self.batches, key);
        }
        let sorted = self.sorted();
        let at = sorted.binary_search_by(|p| changes::key(&self.batches, *p).cmp(key)).ok()?;
        sorted.get(at).copied()
    }

    /// Whether a search costs no more than a look at some keys.
    pub(super) fn is_searchable(&self) -> bool {
        self.index.get().is_some() || self.sorted.get().is_some() || self.len() < FEW
    }

    /// The last change of each key, in key order.
    pub(super) fn sorted(&self) -> &[Position] {
        self.sorted.get_or_init(|| changes::sort(&self.batches))
    }
}
