//! The one source of randomness, handed down from the driver.

use core::fmt;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng};

/// A cryptographically strong generator that a seed replays exactly.
///
/// Production seeds it with 32 bytes from the operating system, the simulator with a number.
pub struct Rng {
    /// Where to begin when something is drawn next, unless the generator is at work.
    seed: [u8; 32],
    /// Ten times as large as the seed, for what it draws ahead.
    at_work: Option<Box<AtWork>>,
}

struct AtWork {
    generator: StdRng,
    /// Drawn and not yet used, from the lowest on, and how many those are.
    bits: u64,
    bits_left: u8,
}

impl Rng {
    #[must_use]
    pub const fn from_seed(seed: [u8; 32]) -> Self {
        Self { seed, at_work: None }
    }

    /// For simulations and tests: never for keys or connection IDs of a real endpoint.
    #[must_use]
    pub fn from_number(seed: u64) -> Self {
        Self { seed: [0; 32], at_work: Some(AtWork::new(StdRng::seed_from_u64(seed))) }
    }

    fn at_work(&mut self) -> &mut AtWork {
        self.at_work.get_or_insert_with(|| AtWork::new(StdRng::from_seed(self.seed)))
    }

    /// Gives back what was drawn ahead; goes on from a number drawn now.
    pub fn shrink(&mut self) {
        if let Some(mut at_work) = self.at_work.take() {
            at_work.generator.fill_bytes(&mut self.seed);
        }
    }

    /// An independent generator, so that one consumer's draws do not shift another's.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        let mut seed = [0; 32];
        self.fill(&mut seed);
        Self::from_seed(seed)
    }

    pub fn fill(&mut self, out: &mut [u8]) {
        self.at_work().generator.fill_bytes(out);
    }

    pub fn u64(&mut self) -> u64 {
        self.at_work().generator.next_u64()
    }

    /// True every other time. For what is asked of each packet: 64 of them cost one draw.
    pub fn coin(&mut self) -> bool {
        self.at_work().bit()
    }

    /// Uniform in `0..n`; 0 for `n == 0`.
    pub fn below(&mut self, n: u64) -> u64 {
        // The high word of a 64x64 product: the bias is below 2^-32 for every n used here.
        u64::try_from((u128::from(self.u64()) * u128::from(n)) >> 64).unwrap_or(0)
    }

    /// Uniform in `0.0..1.0`.
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    pub fn unit(&mut self) -> f64 {
        (self.u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }
}

impl AtWork {
    fn new(generator: StdRng) -> Box<Self> {
        Box::new(Self { generator, bits: 0, bits_left: 0 })
    }

    fn bit(&mut self) -> bool {
        if self.bits_left == 0 {
            (self.bits, self.bits_left) = (self.generator.next_u64(), 64);
        }
        let bit = self.bits & 1 == 1;
        self.bits >>= 1;
        self.bits_left -= 1;
        bit
    }
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng")
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn a_generator_that_was_shrunk_goes_on_with_numbers_that_only_its_seed_decides() {
        let draw = |seed| {
            let mut rng = Rng::from_number(seed);
            let before = rng.u64();
            rng.shrink();
            rng.shrink();
            [before, rng.u64(), rng.u64()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7)[1..], draw(8)[1..]);
        let [before, first, second] = draw(7);
        assert!(before != first && first != second && before != second);
    }

    #[test]
    fn a_coin_falls_on_either_side_about_as_often_and_not_in_turns() {
        let mut rng = Rng::from_number(7);
        let falls: Vec<bool> = (0..6400).map(|_| rng.coin()).collect();
        let heads = falls.iter().filter(|heads| **heads).count();
        let changes = falls.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((3000..3400).contains(&heads) && (3000..3400).contains(&changes), "{heads} {changes}");
    }
}
