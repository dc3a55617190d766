//! Windows that overlap: which of them hold a time, and the panes that they are made of.
//!
//! ```text
//! Hop, slide 2, size 5        Cumulate, step 2, size 6
//! [-----)                     [--)
//!   [-----)                   [----)
//!     [-----)                 [------)
//!                                    [--)
//! ```

use serde::{Deserialize, Serialize};

use super::time::tumble_start;

/// Lengths and offset in microseconds, lengths above zero. A window is known by its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TimeWindows {
    /// A window of `size` begins every `slide`. `slide` may be above `size`: then some times are in no window.
    Hop { slide: i64, size: i64, offset: i64 },
    /// Windows of `step`, two steps, ... up to `size` begin together every `size`, which is a multiple of `step`.
    Cumulate { step: i64, size: i64, offset: i64 },
}

/// A run of instants `every` apart, from `next` to `last`.
#[derive(Debug, Clone)]
pub struct Ends {
    next: Option<i64>,
    last: i64,
    every: i64,
}

impl Iterator for Ends {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        let end = self.next.filter(|end| *end <= self.last)?;
        self.next = end.checked_add(self.every);
        Some(end)
    }
}

impl TimeWindows {
    /// The ends of the windows that hold `time`, rising; `None` when they are out of the range of times.
    pub fn ends(&self, time: i64) -> Option<Ends> {
        let (last, every) = match *self {
            Self::Hop { slide, size, offset } => (tumble_start(time, slide, offset)?.checked_add(size)?, slide),
            Self::Cumulate { step, size, offset } => (tumble_start(time, size, offset)?.checked_add(size)?, step),
        };
        Some(Ends { next: Some(self.first_end(time)?), last, every })
    }

    /// The end of the first window that ends above `time`: no window that holds `time` or a later instant ends before.
    pub fn first_end(&self, time: i64) -> Option<i64> {
        match *self {
            Self::Hop { slide, size, offset } => {
                // Ends are whole slides from offset + size.
                tumble_start(time, slide, offset.checked_add(size)?.rem_euclid(slide))?.checked_add(slide)
            }
            Self::Cumulate { step, offset, .. } => tumble_start(time, step, offset)?.checked_add(step),
        }
    }

    /// The length of the longest of them.
    pub fn size(&self) -> i64 {
        match *self {
            Self::Hop { size, .. } | Self::Cumulate { size, .. } => size,
        }
    }

    /// Length and offset of the panes: every window is a whole number of them, so it holds all of a pane or nothing.
    pub fn panes(&self) -> (i64, i64) {
        let (length, offset) = match *self {
            Self::Hop { slide, size, offset } => (greatest_common_divisor(slide, size), offset),
            Self::Cumulate { step, offset, .. } => (step, offset),
        };
        (length, offset.rem_euclid(length))
    }
}

fn greatest_common_divisor(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(slide: i64, size: i64, offset: i64) -> TimeWindows {
        TimeWindows::Hop { slide, size, offset }
    }

    fn cumulate(step: i64, size: i64, offset: i64) -> TimeWindows {
        TimeWindows::Cumulate { step, size, offset }
    }

    #[test]
    fn the_windows_that_hold_a_time() {
        let cases: [(TimeWindows, i64, &[i64]); 14] = [
            (hop(2, 6, 0), 0, &[2, 4, 6]),
            (hop(2, 6, 0), 1, &[2, 4, 6]),
            (hop(2, 6, 0), -1, &[0, 2, 4]),
            (hop(2, 6, 1), 0, &[1, 3, 5]),
            (hop(2, 6, 3), 0, &[1, 3, 5]),
            // Windows of 5 every 2.
            (hop(2, 5, 0), 0, &[1, 3, 5]),
            (hop(2, 5, 0), 1, &[3, 5]),
            (hop(10, 10, 0), 7, &[10]),
            // Between windows of 3 every 5.
            (hop(5, 3, 0), 2, &[3]),
            (hop(5, 3, 0), 3, &[]),
            (cumulate(2, 6, 0), 0, &[2, 4, 6]),
            (cumulate(2, 6, 0), 5, &[6]),
            (cumulate(2, 6, 1), 0, &[1]),
            (cumulate(2, 6, 0), -6, &[-4, -2, 0]),
        ];
        for (windows, time, ends) in cases {
            assert_eq!(windows.ends(time).unwrap().collect::<Vec<_>>(), ends, "{windows:?} {time}");
        }
        assert!(hop(2, 6, 0).ends(i64::MAX).is_none());
        assert!(cumulate(2, 6, 0).ends(i64::MIN).is_none());
    }

    #[test]
    fn panes_and_watermarks_agree_with_the_windows() {
        let windows = [hop(2, 6, 0), hop(6, 4, 1), hop(4, 6, 3), hop(5, 3, 0), hop(3, 3, 2), cumulate(3, 9, 4)];
        for w in windows {
            let (length, offset) = w.panes();
            for time in -30..30 {
                let ends: Vec<i64> = w.ends(time).unwrap().collect();
                let pane = tumble_start(time, length, offset).unwrap();
                assert_eq!(ends, w.ends(pane).unwrap().collect::<Vec<_>>(), "{w:?} {time}");
                let later = (time..time + 30).filter_map(|t| w.ends(t).unwrap().next()).min();
                let first = w.first_end(time).unwrap();
                assert!(first > time && later.is_some_and(|l| first <= l), "{w:?} {time}");
            }
        }
    }
}
