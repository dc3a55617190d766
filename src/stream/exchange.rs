//! The edge between two actors: a channel that holds back data but never a barrier.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::message::Message;

/// Chunks that may wait in one edge.
const CHUNKS_IN_FLIGHT: usize = 8;

/// A bounded edge. Chunks need a permit; barriers and watermarks pass without one, so that data cannot starve them.
pub fn edge() -> (EdgeSender, EdgeReceiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (EdgeSender { sender, permits: Arc::new(Semaphore::new(CHUNKS_IN_FLIGHT)) }, EdgeReceiver { receiver })
}

#[derive(Debug, Clone)]
pub struct EdgeSender {
    sender: mpsc::UnboundedSender<Envelope>,
    permits: Arc<Semaphore>,
}

pub struct EdgeReceiver {
    receiver: mpsc::UnboundedReceiver<Envelope>,
}

#[derive(Debug)]
struct Envelope {
    message: Message,
    /// Given back when the message is received.
    _permit: Option<OwnedSemaphorePermit>,
}

/// The other end is gone: its actor failed or was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnected;

impl EdgeSender {
    pub async fn send(&self, message: Message) -> Result<(), Disconnected> {
        let permit = match &message {
            Message::Chunk(_) => Some(self.permits.clone().acquire_owned().await.map_err(|_| Disconnected)?),
            Message::Watermark(_) | Message::Barrier(_) => None,
        };
        self.sender.send(Envelope { message, _permit: permit }).map_err(|_| Disconnected)
    }
}

impl EdgeReceiver {
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Disconnected>> {
        self.receiver.poll_recv(cx).map(|received| received.map(|e| e.message).ok_or(Disconnected))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::stream::message::Barrier;
    use crate::types::{Epoch, pretty};

    #[tokio::test]
    async fn a_full_edge_holds_chunks_back_but_not_barriers() {
        let (sender, mut receiver) = edge();
        let chunk = || Message::Chunk(pretty::chunk("a:bigint\n+ 1").unwrap());
        for _ in 0..CHUNKS_IN_FLIGHT {
            sender.send(chunk()).await.unwrap();
        }
        let held = tokio::spawn({
            let sender = sender.clone();
            async move { sender.send(chunk()).await }
        });
        sender.send(Message::Barrier(Barrier::new(Epoch(1), Epoch(0), 0))).await.unwrap();
        assert!(!held.is_finished());
        let mut barriers = 0;
        for _ in 0..CHUNKS_IN_FLIGHT + 2 {
            let message = poll_fn(|cx| receiver.poll_recv(cx)).await.unwrap();
            barriers += matches!(message, Message::Barrier(_)) as usize;
        }
        held.await.unwrap().unwrap();
        assert_eq!(barriers, 1);
    }

    #[tokio::test]
    async fn a_lost_receiver_is_an_error() {
        let (sender, receiver) = edge();
        drop(receiver);
        assert_eq!(sender.send(Message::Barrier(Barrier::new(Epoch(1), Epoch(0), 0))).await, Err(Disconnected));
    }
}
