//! Random numbers that can be had again: `WEIR_SEED` sets the seed, every test prints its own.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The seed of a run, printed; the same for every test of it.
pub fn seed(test: &str) -> u64 {
    let given = std::env::var("WEIR_SEED").ok().filter(|s| !s.is_empty());
    let seed = match given {
        Some(text) => text.parse().unwrap_or_else(|_| panic!("WEIR_SEED={text:?} is not a number")),
        None => rand::rng().random_range(0..1_000_000_000),
    };
    println!("{test}: WEIR_SEED={seed}");
    seed
}

pub fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// The number in an environment variable, or a default.
pub fn number(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) if !text.is_empty() => text.parse().unwrap_or_else(|_| panic!("{variable}={text:?} is not a number")),
        _ => default,
    }
}
