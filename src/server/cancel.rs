//! CancelRequest: finds the session by process id and secret, and cancels what it runs now.
//!
//! The request comes on a connection of its own and is never answered, so a guess learns nothing.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::types::SessionId;

/// The open sessions that a CancelRequest can reach.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<HashMap<SessionId, Slot>>>);

struct Slot {
    secret: i32,
    /// Of the statement that runs, if one does.
    running: Option<CancellationToken>,
}

impl Registry {
    /// Makes a session reachable until the handle is dropped.
    pub fn register(&self, id: SessionId) -> Handle {
        let secret = rand::random();
        self.0.lock().insert(id, Slot { secret, running: None });
        Handle { registry: self.clone(), id, secret }
    }

    /// Does nothing when the pair is wrong or no statement runs.
    pub fn cancel(&self, id: SessionId, secret: i32) {
        if let Some(slot) = self.0.lock().get(&id)
            && slot.secret == secret
            && let Some(token) = &slot.running
        {
            token.cancel();
        }
    }
}

/// One session's place in the registry.
pub struct Handle {
    registry: Registry,
    id: SessionId,
    secret: i32,
}

impl Handle {
    pub fn secret(&self) -> i32 {
        self.secret
    }

    /// `None` between statements: a late request must not hit the next one.
    pub fn running(&self, token: Option<CancellationToken>) {
        if let Some(slot) = self.registry.0.lock().get_mut(&self.id) {
            slot.running = token;
        }
    }

    /// Cancels the running statement: the client is gone, or the server stops.
    pub fn canceller(&self) -> impl Fn() + Send + use<> {
        let (registry, id, secret) = (self.registry.clone(), self.id, self.secret);
        move || registry.cancel(id, secret)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.registry.0.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_pair_cancels_and_only_what_runs() {
        let registry = Registry::default();
        let handle = registry.register(SessionId(1));
        let secret = handle.secret();
        registry.cancel(SessionId(1), secret);

        let token = CancellationToken::new();
        handle.running(Some(token.clone()));
        registry.cancel(SessionId(1), secret.wrapping_add(1));
        registry.cancel(SessionId(2), secret);
        assert!(!token.is_cancelled());
        registry.cancel(SessionId(1), secret);
        assert!(token.is_cancelled());

        let next = CancellationToken::new();
        handle.running(Some(next.clone()));
        handle.running(None);
        registry.cancel(SessionId(1), secret);
        assert!(!next.is_cancelled());

        drop(handle);
        assert!(registry.0.lock().is_empty());
    }
}
