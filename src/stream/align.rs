//! Barrier alignment over any number of inputs (Chandy-Lamport as in Flink's aligned checkpoints), and the minimum of
//! their watermarks. Pure: facts in, decision out.
//!
//! ```text
//! input 0: a b |n| c      after |n| input 0 is not read
//! input 1: d e f |n|      until input 1 has delivered it too
//! ```

use super::message::{Barrier, Watermark};
use crate::common::{Error, Result};

/// Aligns the inputs of one actor.
#[derive(Debug)]
pub struct Aligner {
    /// Barrier that each input has delivered and that waits for the others.
    waiting: Vec<Option<Barrier>>,
}

impl Aligner {
    pub fn new(inputs: usize) -> Self {
        Self { waiting: vec![None; inputs] }
    }

    /// Whether the input may be read now.
    pub fn is_open(&self, input: usize) -> bool {
        self.waiting[input].is_none()
    }

    /// Takes a barrier of one input. Returns it when it was the last one that was missing; all inputs are then open
    /// again.
    ///
    /// # Errors
    /// `Internal` when the inputs' epochs differ or an input that waits delivers another barrier.
    pub fn barrier(&mut self, input: usize, barrier: Barrier) -> Result<Option<Barrier>> {
        if let Some(held) = &self.waiting[input] {
            return Err(Error::internal(format!(
                "input {input} delivered barrier {} while barrier {} waits",
                barrier.epoch, held.epoch
            )));
        }
        if let Some(other) = self.waiting.iter().flatten().find(|b| b.epoch != barrier.epoch) {
            return Err(Error::internal(format!(
                "input {input} delivered barrier {} where the others are at {}",
                barrier.epoch, other.epoch
            )));
        }
        self.waiting[input] = Some(barrier);
        if self.waiting.iter().all(Option::is_some) {
            let last = self.waiting[input].take();
            self.waiting.fill(None);
            return Ok(last);
        }
        Ok(None)
    }
}

/// The minimum of the watermarks of the channels that feed one port, by column.
#[derive(Debug)]
pub struct WatermarkMerge {
    channels: usize,
    columns: Vec<Merged>,
}

#[derive(Debug)]
struct Merged {
    column: usize,
    by_channel: Vec<Option<i64>>,
    sent: Option<i64>,
}

impl WatermarkMerge {
    pub fn new(channels: usize) -> Self {
        Self { channels, columns: Vec::new() }
    }

    /// Takes the watermark of one channel; returns the port's when it has risen.
    pub fn merge(&mut self, channel: usize, watermark: Watermark) -> Option<Watermark> {
        let at = match self.columns.iter().position(|m| m.column == watermark.column) {
            Some(at) => at,
            None => {
                let by_channel = vec![None; self.channels];
                self.columns.push(Merged { column: watermark.column, by_channel, sent: None });
                self.columns.len() - 1
            }
        };
        let merged = &mut self.columns[at];
        let held = &mut merged.by_channel[channel];
        *held = (*held).max(Some(watermark.micros));
        // A channel that has sent none yet holds the port back.
        let lowest = merged.by_channel.iter().copied().min().flatten()?;
        if merged.sent.is_some_and(|sent| lowest <= sent) {
            return None;
        }
        merged.sent = Some(lowest);
        Some(Watermark { column: watermark.column, micros: lowest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Epoch;

    #[test]
    fn a_barrier_passes_when_all_inputs_have_it() {
        let mut aligner = Aligner::new(3);
        for input in [2, 0] {
            assert!(aligner.barrier(input, Barrier::new(Epoch(1), Epoch(0), 0)).unwrap().is_none());
            assert!(!aligner.is_open(input));
        }
        assert!(aligner.is_open(1));
        let passed = aligner.barrier(1, Barrier::new(Epoch(1), Epoch(0), 0)).unwrap();
        assert_eq!(passed.map(|b| b.epoch), Some(Epoch(1)));
        assert!((0..3).all(|i| aligner.is_open(i)));
    }

    #[test]
    fn unequal_epochs_are_an_error() {
        let mut aligner = Aligner::new(2);
        aligner.barrier(0, Barrier::new(Epoch(1), Epoch(0), 0)).unwrap();
        assert!(aligner.barrier(1, Barrier::new(Epoch(2), Epoch(0), 0)).is_err());
        assert!(aligner.barrier(0, Barrier::new(Epoch(2), Epoch(0), 0)).is_err());
    }

    #[test]
    fn the_slowest_channel_holds_the_watermark() {
        let cases = [
            // channel, micros, what comes out
            (0, 10, None),
            (1, 5, Some(5)),
            (1, 4, None),
            (1, 8, Some(8)),
            (1, 20, Some(10)),
            (0, 15, Some(15)),
        ];
        let mut merge = WatermarkMerge::new(2);
        for (channel, micros, expected) in cases {
            let out = merge.merge(channel, Watermark { column: 3, micros });
            assert_eq!(out.map(|w| w.micros), expected, "channel {channel} at {micros}");
        }
    }
}
