//! What flows between operators.

use crate::types::{Epoch, StreamChunk};

/// The end of an epoch; flows in-band behind the epoch's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barrier {
    /// The epoch that ends here.
    pub epoch: Epoch,
    /// The epoch is to be made durable.
    pub checkpoint: bool,
    /// Actors leave after it: a job is dropped or the database closes.
    pub stop: bool,
}

/// No later row of the stream has a value below `micros` in `column`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    pub column: usize,
    pub micros: i64,
}

/// Everything that an edge carries.
#[derive(Debug, Clone)]
pub enum Message {
    Chunk(StreamChunk),
    Watermark(Watermark),
    Barrier(Barrier),
}
