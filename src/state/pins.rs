//! Which epochs readers hold, and how far tables are folded: the one place where readers and the commit wait for
//! each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::common::{Error, ErrorKind, Result};
use crate::types::Epoch;

#[derive(Default)]
pub(super) struct Pins {
    state: Mutex<State>,
    dropped: Condvar,
}

#[derive(Default)]
struct State {
    /// Readers by epoch.
    readers: BTreeMap<Epoch, usize>,
    /// Runs up to this epoch may be folded.
    folded: Epoch,
}

impl Pins {
    pub(super) fn at(folded: Epoch) -> Self {
        Self { state: Mutex::new(State { folded, ..State::default() }), dropped: Condvar::new() }
    }

    pub(super) fn pin(self: &Arc<Self>, epoch: Epoch) -> Result<EpochPin> {
        let mut state = self.state.lock();
        if epoch < state.folded {
            return Err(Error::new(
                ErrorKind::ObjectNotReady,
                format!("epoch {epoch} cannot be read any more: {} is folded", state.folded),
            )
            .with_hint("read at the latest complete epoch"));
        }
        *state.readers.entry(epoch).or_default() += 1;
        Ok(EpochPin { pins: self.clone(), epoch })
    }

    /// Waits until no reader needs an epoch below `epoch`, and lets none come after.
    pub(super) fn fold_to(&self, epoch: Epoch) -> Epoch {
        let mut state = self.state.lock();
        while state.readers.first_key_value().is_some_and(|(pinned, _)| *pinned < epoch) {
            self.dropped.wait(&mut state);
        }
        std::mem::replace(&mut state.folded, epoch)
    }

    /// Takes [`Pins::fold_to`] back: the fold was not applied.
    pub(super) fn back_to(&self, epoch: Epoch) {
        self.state.lock().folded = epoch;
    }

    pub(super) fn folded(&self) -> Epoch {
        self.state.lock().folded
    }
}

/// Holds an epoch readable; see [`super::StateStore::pin`].
pub struct EpochPin {
    pins: Arc<Pins>,
    epoch: Epoch,
}

impl EpochPin {
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl Drop for EpochPin {
    fn drop(&mut self) {
        let mut state = self.pins.state.lock();
        if let Some(readers) = state.readers.get_mut(&self.epoch) {
            *readers -= 1;
            if *readers == 0 {
                state.readers.remove(&self.epoch);
                self.pins.dropped.notify_all();
            }
        }
    }
}
