//! Round-trip time of one path (RFC 9002 §5).

use mpquic_base::Duration;

/// RFC 9002 §6.1.2.
pub(crate) const GRANULARITY: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rtt {
    latest: Duration,
    min: Duration,
    smoothed: Duration,
    variance: Duration,
    sampled: bool,
}

impl Rtt {
    /// `initial` stands in until the first sample.
    pub(crate) fn new(initial: Duration) -> Self {
        Self { latest: initial, min: initial, smoothed: initial, variance: initial / 2, sampled: false }
    }

    pub(crate) fn on_sample(&mut self, latest: Duration, ack_delay: Duration) {
        self.latest = latest;
        if !self.sampled {
            *self = Self { latest, min: latest, smoothed: latest, variance: latest / 2, sampled: true };
            return;
        }
        // RFC 9002 §5.2: the minimum ignores the peer's ack delay.
        self.min = self.min.min(latest);
        // RFC 9002 §5.3: the delay is taken off only if that leaves at least the minimum.
        let adjusted = if latest >= self.min + ack_delay { latest - ack_delay } else { latest };
        let deviation = self.smoothed.abs_diff(adjusted);
        self.variance = (self.variance * 3 + deviation) / 4;
        self.smoothed = (self.smoothed * 7 + adjusted) / 8;
    }

    pub(crate) const fn latest(&self) -> Duration {
        self.latest
    }

    pub(crate) const fn min(&self) -> Duration {
        self.min
    }

    pub(crate) const fn smoothed(&self) -> Duration {
        self.smoothed
    }

    pub(crate) const fn variance(&self) -> Duration {
        self.variance
    }

    pub(crate) const fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// RFC 9002 §7.6.1: persistent congestion forgets the minimum.
    pub(crate) const fn reset_min(&mut self) {
        self.min = self.latest;
    }

    /// RFC 9002 §6.2.1, without the peer's ack delay and back-off.
    pub(crate) fn pto_base(&self) -> Duration {
        self.smoothed + (self.variance * 4).max(GRANULARITY)
    }
}
