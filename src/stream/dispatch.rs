//! The way out of an actor: rows to the actors of the next fragment, barriers and watermarks to all of them.

use arrow::array::UInt64Array;

use super::exchange::{Disconnected, EdgeSender};
use super::message::{Barrier, Message, Watermark};
use crate::common::{Error, Result};
use crate::plan::Distribution;
use crate::types::{JobId, StreamChunk, VNODES, key, vnode};

/// The virtual nodes of actor `actor` of `actors`.
pub fn vnodes_of(actor: usize, actors: usize) -> std::ops::Range<usize> {
    actor * VNODES / actors..(actor + 1) * VNODES / actors
}

/// The actor that owns a virtual node.
pub fn owner_of(vnode: u8, actors: usize) -> usize {
    ((usize::from(vnode) + 1) * actors).div_ceil(VNODES) - 1
}

/// One edge out of an actor: to all actors of one fragment.
#[derive(Debug, Clone)]
pub struct Outlet {
    /// The job that reads.
    pub job: JobId,
    pub distribution: Distribution,
    /// One a receiving actor.
    pub senders: Vec<EdgeSender>,
    /// The sending actor's number: rows that may go anywhere go to its peer.
    pub peer: usize,
}

impl Outlet {
    async fn chunk(&self, chunk: &StreamChunk) -> Result<()> {
        let actors = self.senders.len();
        match &self.distribution {
            Distribution::Single => self.send(0, Message::Chunk(chunk.clone())).await,
            Distribution::Any => self.send(self.peer % actors, Message::Chunk(chunk.clone())).await,
            Distribution::Hash(_) if actors == 1 => self.send(0, Message::Chunk(chunk.clone())).await,
            Distribution::Hash(columns) => {
                for (actor, rows) in split(chunk, columns, actors)?.into_iter().enumerate() {
                    if rows.len() == chunk.num_rows() {
                        return self.send(actor, Message::Chunk(chunk.clone())).await;
                    }
                    if !rows.is_empty() {
                        self.send(actor, Message::Chunk(chunk.take(&UInt64Array::from(rows))?)).await?;
                    }
                }
                Ok(())
            }
        }
    }

    async fn all(&self, message: Message) -> Result<()> {
        for actor in 0..self.senders.len() {
            self.send(actor, message.clone()).await?;
        }
        Ok(())
    }

    async fn send(&self, actor: usize, message: Message) -> Result<()> {
        self.senders[actor]
            .send(message)
            .await
            .map_err(|Disconnected| Error::internal(format!("actor {actor} of job {} is gone", self.job)))
    }
}

/// Row numbers by owning actor.
fn split(chunk: &StreamChunk, columns: &[usize], actors: usize) -> Result<Vec<Vec<u64>>> {
    let columns: Vec<_> = columns.iter().map(|c| chunk.column(*c).clone()).collect();
    let keys = key::encode(&columns, chunk.num_rows())?;
    let mut rows = vec![Vec::with_capacity(chunk.num_rows() / actors + 16); actors];
    for row in 0..chunk.num_rows() {
        rows[owner_of(vnode(keys.value(row)), actors)].push(row as u64);
    }
    Ok(rows)
}

/// All edges out of an actor.
pub struct Dispatcher {
    job: JobId,
    actor: usize,
    outlets: Vec<Outlet>,
    /// The last watermark of each column: a reader that attaches later gets them.
    watermarks: Vec<Watermark>,
}

impl Dispatcher {
    /// `actor` is the actor's number within its fragment; `materializes` tells that readers may attach.
    pub fn new(job: JobId, actor: usize, outlets: Vec<Outlet>) -> Self {
        Self { job, actor, outlets, watermarks: Vec::new() }
    }

    pub async fn chunk(&self, chunk: StreamChunk) -> Result<()> {
        for outlet in &self.outlets {
            outlet.chunk(&chunk).await?;
        }
        Ok(())
    }

    pub async fn watermark(&mut self, watermark: Watermark) -> Result<()> {
        self.watermarks.retain(|w| w.column != watermark.column);
        self.watermarks.push(watermark);
        for outlet in &self.outlets {
            outlet.all(Message::Watermark(watermark)).await?;
        }
        Ok(())
    }

    /// Forwards the barrier. Readers that attach here get it first, with the watermarks so far behind it; readers that
    /// stop get it as their last message.
    pub async fn barrier(&mut self, barrier: &Barrier, materializes: bool) -> Result<()> {
        let mut attached = Vec::new();
        if let Some(mutation) = &barrier.mutation
            && materializes
            && let Some(new) = mutation.attach.get(&(self.job, self.actor))
        {
            attached = new.clone();
        }
        for outlet in self.outlets.iter().chain(&attached) {
            outlet.all(Message::Barrier(barrier.clone())).await?;
        }
        for outlet in &attached {
            for watermark in &self.watermarks {
                outlet.all(Message::Watermark(*watermark)).await?;
            }
        }
        self.outlets.extend(attached);
        if let Some(mutation) = &barrier.mutation {
            self.outlets.retain(|o| !mutation.stop.contains(&o.job));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vnode_has_the_owner_whose_range_holds_it() {
        for actors in [1, 2, 3, 7, 256] {
            for v in 0..=255u8 {
                assert!(vnodes_of(owner_of(v, actors), actors).contains(&usize::from(v)), "{v} of {actors}");
            }
        }
    }
}
