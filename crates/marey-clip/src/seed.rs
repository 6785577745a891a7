//! Randomness that depends on what is drawn, never on when or by which thread.

use rand::SeedableRng;

/// The house's random generator: the same numbers on every platform and in every release of its crate.
pub type SeededRng = rand_chacha::ChaCha8Rng;

/// The generator for one item in one epoch of a run.
///
/// `purpose` keeps draws for different ends (shuffling, sampling, initial weights) apart.
pub fn rng_for(seed: u64, epoch: u64, item: u64, purpose: u64) -> SeededRng {
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([seed, epoch, item, purpose]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    SeededRng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn each_coordinate_changes_the_stream_and_nothing_else_does() {
        let first =
            |seed, epoch, item, purpose| rng_for(seed, epoch, item, purpose).random::<u64>();
        let base = first(1, 2, 3, 4);
        assert_eq!(base, first(1, 2, 3, 4));
        for other in [
            first(0, 2, 3, 4),
            first(1, 0, 3, 4),
            first(1, 2, 0, 4),
            first(1, 2, 3, 0),
        ] {
            assert_ne!(base, other);
        }
    }
}
