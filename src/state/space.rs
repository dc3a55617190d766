//! Page numbers of one table over time: which are free, and which wait for readers of older directories.
//! Used by the commit alone.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Weak};

use super::directory::{Directory, Numbers};
use crate::common::Result;

pub(super) struct Space {
    numbers: Numbers,
    /// Numbers that a directory was the last to know, the oldest directory first.
    retired: VecDeque<(Weak<Directory>, Vec<u32>)>,
    /// Free numbers whose pages the backend still has.
    garbage: BTreeSet<u32>,
    /// Handed out for the commit at work.
    taken: BTreeSet<u32>,
    /// What the commit at work removes of the garbage.
    removed: Vec<u32>,
}

impl Space {
    /// `end` is above every number that was ever handed out.
    pub(super) fn new(directory: &Directory, end: u32) -> Self {
        let numbers = Numbers::of(directory, end);
        Self {
            numbers,
            retired: VecDeque::new(),
            garbage: BTreeSet::new(),
            taken: BTreeSet::new(),
            removed: Vec::new(),
        }
    }

    /// Frees the numbers that no reader can know any more, and returns them.
    pub(super) fn reclaim(&mut self) -> Vec<u32> {
        let mut freed = Vec::new();
        // In order: a page may be known to every directory older than the one that retired it.
        while let Some((_, numbers)) = self.retired.pop_front_if(|(directory, _)| directory.strong_count() == 0) {
            freed.extend(numbers);
        }
        self.garbage.extend(freed.iter().copied());
        self.numbers.give_back(freed.iter().copied());
        freed
    }

    pub(super) fn take(&mut self) -> Result<u32> {
        let number = self.numbers.take()?;
        self.taken.insert(number);
        Ok(number)
    }

    pub(super) fn end(&self) -> u32 {
        self.numbers.end()
    }

    /// Numbers whose pages this commit is to remove, `most` of them: the others wait for a later one.
    pub(super) fn sweep(&mut self, most: usize) -> &[u32] {
        let unused = self.garbage.iter().filter(|n| !self.taken.contains(n));
        self.removed = unused.take(most).copied().collect();
        &self.removed
    }

    /// The commit was applied: `retired` were in `old` and are not in its successor.
    pub(super) fn applied(&mut self, old: &Arc<Directory>, retired: Vec<u32>) {
        let gone = std::mem::take(&mut self.taken).into_iter().chain(self.removed.drain(..));
        gone.for_each(|number| {
            self.garbage.remove(&number);
        });
        self.retired.push_back((Arc::downgrade(old), retired));
    }

    /// The commit came to nothing. Pages may have been written ahead of it.
    pub(super) fn abandoned(&mut self) {
        self.removed.clear();
        let taken = std::mem::take(&mut self.taken);
        self.garbage.extend(taken.iter().copied());
        self.numbers.give_back(taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_waits_for_all_older_directories() {
        let (first, second) = (Arc::new(Directory::empty()), Arc::new(Directory::empty()));
        let mut space = Space::new(&first, 0);
        assert_eq!((space.take().unwrap(), space.take().unwrap()), (0, 1));
        space.applied(&first, vec![]);
        space.applied(&second, vec![0]);
        drop(second);
        assert!(space.reclaim().is_empty(), "a reader of the first directory may know page 0");
        drop(first);
        assert_eq!(space.reclaim(), [0]);
        assert_eq!(space.sweep(9), [0]);
        assert_eq!(space.take().unwrap(), 0);
        assert!(space.sweep(9).is_empty(), "it is overwritten");
        space.abandoned();
        assert_eq!(space.sweep(9), [0]);
        assert_eq!(space.end(), 2);
    }

    #[test]
    fn what_is_not_swept_waits() {
        let directory = Arc::new(Directory::empty());
        let mut space = Space::new(&directory, 0);
        (0..3).for_each(|_| drop(space.take()));
        space.applied(&directory, vec![0, 1, 2]);
        drop(directory);
        let next = Arc::new(Directory::empty());
        space.reclaim();
        assert_eq!(space.sweep(2), [0, 1]);
        space.applied(&next, vec![]);
        assert_eq!(space.sweep(2), [2]);
        assert_eq!(space.take().unwrap(), 0);
    }
}
