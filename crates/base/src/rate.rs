//! A data rate and the delays that follow from it.

use core::fmt;
use core::time::Duration;

/// Bytes per second. Zero means "no limit known", never "stopped".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rate(u64);

impl Rate {
    pub const ZERO: Self = Self(0);

    #[must_use]
    pub const fn from_bytes_per_second(bytes: u64) -> Self {
        Self(bytes)
    }

    /// `bits` per second, rounded down to whole bytes.
    #[must_use]
    pub const fn from_bits_per_second(bits: u64) -> Self {
        Self(bits / 8)
    }

    /// `bytes` delivered over `interval`; zero for an empty interval.
    #[must_use]
    pub fn from_delivery(bytes: u64, interval: Duration) -> Self {
        let ns = interval.as_nanos();
        if ns == 0 {
            return Self::ZERO;
        }
        Self(u64::try_from(u128::from(bytes) * 1_000_000_000 / ns).unwrap_or(u64::MAX))
    }

    #[must_use]
    pub const fn bytes_per_second(self) -> u64 {
        self.0
    }

    #[must_use]
    pub const fn bits_per_second(self) -> u64 {
        self.0.saturating_mul(8)
    }

    /// How long `bytes` take at this rate. A zero rate delays nothing.
    #[must_use]
    pub fn delay(self, bytes: u64) -> Duration {
        if self.0 == 0 {
            return Duration::ZERO;
        }
        let ns = u128::from(bytes) * 1_000_000_000 / u128::from(self.0);
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// How many bytes fit into `interval` at this rate.
    #[must_use]
    pub fn bytes_in(self, interval: Duration) -> u64 {
        let bytes = u128::from(self.0) * interval.as_nanos() / 1_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// This rate times `factor`; negative factors count as zero.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rate keeps 52 significant bits, and float-to-integer casts saturate"
    )]
    pub fn scaled(self, factor: f64) -> Self {
        Self((self.0 as f64 * factor.max(0.0)) as u64)
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}Mbit/s", self.bits_per_second() / 1_000_000, self.bits_per_second() / 1000 % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::Rate;
    use core::time::Duration;

    #[test]
    fn delays_are_exact() {
        let delay = |rate: Rate, bytes| rate.delay(bytes);
        assert_eq!(delay(Rate::from_bytes_per_second(1_200_000), 1200), Duration::from_millis(1));
        assert_eq!(delay(Rate::from_bits_per_second(100_000_000), 1500), Duration::from_micros(120));
        assert_eq!(delay(Rate::ZERO, u64::MAX), Duration::ZERO, "no rate, no delay");
        assert_eq!(delay(Rate::from_bytes_per_second(1), u64::MAX), Duration::from_nanos(u64::MAX));
    }
}
