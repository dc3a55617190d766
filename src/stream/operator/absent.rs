//! Which keys may be in state that is not in memory: a Bloom filter that grows (scalable Bloom filters, Almeida et al.
//! 2007, with one rate for all). It may say yes for a key that is not there; that costs a read in vain.

use fastbloom::BloomFilter;

/// Wrong answers of one filter.
const FALSE_POSITIVES: f64 = 0.01;
/// Keys of the first filter; each further one takes twice as many as the last.
const FIRST_KEYS: usize = 1 << 16;

#[derive(Default)]
pub(super) struct AbsentKeys {
    filters: Vec<BloomFilter>,
    /// Keys that the last filter still takes.
    room: usize,
}

impl AbsentKeys {
    pub(super) fn insert(&mut self, hash: u64) {
        if self.may_have(hash) {
            return;
        }
        if self.room == 0 {
            self.room = FIRST_KEYS << self.filters.len().min(12);
            self.filters.push(BloomFilter::with_false_pos(FALSE_POSITIVES).expected_items(self.room));
        }
        self.room -= 1;
        if let Some(last) = self.filters.last_mut() {
            last.insert_hash(hash);
        }
    }

    pub(super) fn may_have(&self, hash: u64) -> bool {
        self.filters.iter().rev().any(|f| f.contains_hash(hash))
    }

    pub(super) fn bytes(&self) -> usize {
        self.filters.iter().map(|f| f.num_bits() / 8).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_and_little_else() {
        // Spread as a good hash is.
        let hash = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xd6e8_feb8_6659_fd93);
        let mut keys = AbsentKeys::default();
        assert!(!keys.may_have(hash(1)));
        let many = 3 * FIRST_KEYS as u64;
        (0..many).for_each(|n| keys.insert(hash(n)));
        assert!((0..many).all(|n| keys.may_have(hash(n))));
        let wrong = (many..2 * many).filter(|n| keys.may_have(hash(*n))).count();
        assert!(wrong < many as usize / 25, "{wrong} of {many}");
        assert!(keys.bytes() < many as usize * 3);
    }
}
