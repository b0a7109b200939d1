//! When the next packets of a path depart. A timestamp, not a timer: the wheel waits, nobody else.

use mpquic_base::{Duration, Rate, Time};

/// Packets are handed to the wheel at most this far ahead of their departure, so that little is committed to a path
/// that may die or slow down.
const HORIZON: Duration = Duration::from_millis(2);
/// A sender that was woken late may catch up by this much; more would be a burst.
const CREDIT: Duration = Duration::from_millis(1);
/// A batch is at most this long in time.
const BURST: Duration = Duration::from_millis(1);
const BURST_PACKETS_MIN: u64 = 2;
/// A link's limit that has held nothing back for this long was lifted, or is no longer the bottleneck.
const LIMIT_REMEMBERED: Duration = Duration::from_millis(100);
/// Between two batches at whatever rate: a tick of the wheel.
const GAP_MIN: Duration = Duration::from_micros(1);
/// Below this a controller's rate is not believed (features of the seeds: 120 kB/s).
const RATE_MIN: Rate = Rate::from_bytes_per_second(120_000);
/// RFC 9002 §7.7: a little above window/srtt, so that pacing alone never starves the window.
const GAIN: f64 = 1.25;

#[derive(Debug)]
pub(crate) struct Pacer {
    enabled: bool,
    next: Time,
    rate: Rate,
    /// Somebody outside bounds the link to this rate, and held a batch back until then.
    held: Option<(Rate, Time)>,
}

impl Pacer {
    pub(crate) const fn new(enabled: bool) -> Self {
        Self { enabled, next: Time::ZERO, rate: Rate::ZERO, held: None }
    }

    /// The controller's rate, or else one that sends the window in a little less than a round trip.
    pub(crate) fn set_rate(&mut self, controller: Option<Rate>, window: u64, srtt: Duration) {
        let rate = controller.unwrap_or_else(|| Rate::from_delivery(window, srtt).scaled(GAIN));
        self.rate = rate.max(RATE_MIN);
    }

    pub(crate) const fn rate(&self) -> Rate {
        self.rate
    }

    /// Departure of the next packet if it is handed over now.
    pub(crate) fn departs_at(&self, now: Time) -> Time {
        if self.enabled { now.max(self.next) } else { now }
    }

    pub(crate) fn is_open(&self, now: Time) -> bool {
        !self.enabled || self.opens_at() <= now
    }

    pub(crate) fn opens_at(&self) -> Time {
        self.next - HORIZON
    }

    /// Largest batch that goes out back to back.
    pub(crate) fn burst_bytes(&self, mtu: u16) -> u64 {
        if !self.enabled {
            return u64::MAX;
        }
        let rate = self.held.map_or(self.rate, |(limit, _)| self.rate.min(limit));
        rate.bytes_in(BURST).max(BURST_PACKETS_MIN * u64::from(mtu))
    }

    pub(crate) fn on_sent(&mut self, now: Time, bytes: u64) {
        self.held = self.held.filter(|(_, until)| now < *until + LIMIT_REMEMBERED);
        let start = self.next.max(now - CREDIT);
        self.next = start + self.rate.delay(bytes).max(GAP_MIN);
    }

    /// Whoever bounds the link to `limit` lets the last batch leave no earlier than this: what follows is planned from
    /// there, in batches that suit the limit.
    pub(crate) fn on_held_back(&mut self, until: Time, limit: Rate) {
        self.next = self.next.max(until);
        self.held = Some((limit, until));
    }

    /// Packets that were waiting will never depart: the time they had booked is free again.
    pub(crate) fn on_cancelled(&mut self, now: Time) {
        self.next = self.next.min(now);
    }
}

#[cfg(test)]
mod tests {
    use super::{Pacer, RATE_MIN};
    use mpquic_base::{Duration, Rate, Time};

    #[test]
    fn delays_are_exact_and_late_senders_catch_up_only_a_little() {
        let mut pacer = Pacer::new(true);
        pacer.set_rate(Some(Rate::from_bytes_per_second(1_200_000)), 0, Duration::ZERO);
        let start = Time::from_millis(100);
        pacer.on_sent(start, 1200);
        pacer.on_sent(start, 1200);
        // The credit of 1 ms pays the first packet; the second one is 1 ms after it.
        assert_eq!(pacer.departs_at(start), start + Duration::from_millis(1));
        let late = Time::from_millis(500);
        pacer.on_sent(late, 1200);
        assert_eq!(pacer.departs_at(late), late);
        pacer.on_sent(late, 1200);
        assert_eq!(pacer.departs_at(late), late + Duration::from_millis(1));
    }

    /// A pacer of this rate that has just spent its credit.
    fn spent(rate: Rate, now: Time) -> Pacer {
        let mut pacer = Pacer::new(true);
        pacer.set_rate(Some(rate), 0, Duration::ZERO);
        pacer.next = now;
        pacer
    }

    #[test]
    fn batches_are_as_far_apart_as_their_bytes_take_and_never_closer_than_a_microsecond() {
        let now = Time::from_millis(7);
        for (bits, bytes, gap) in [
            (9_600_000, 1200, Duration::from_millis(1)),
            (100_000_000, 1500, Duration::from_micros(120)),
            (100_000_000_000, 1, Duration::from_micros(1)),
            (100_000_000_000, 1500, Duration::from_micros(1)),
        ] {
            let mut pacer = spent(Rate::from_bits_per_second(bits), now);
            pacer.on_sent(now, bytes);
            assert_eq!(pacer.departs_at(now), now + gap, "{bytes} bytes at {bits} bit/s");
        }
    }

    #[test]
    fn a_link_that_holds_a_batch_back_moves_what_follows_and_opens_again_in_time() {
        let now = Time::from_millis(7);
        let mut pacer = spent(Rate::from_bits_per_second(100_000_000), now);
        pacer.on_sent(now, 1500);
        let limit = Rate::from_bits_per_second(40_000_000);
        pacer.on_held_back(now + Duration::from_millis(9), limit);
        assert_eq!(pacer.burst_bytes(1200), 5000, "a millisecond of the limit");
        assert_eq!(pacer.departs_at(now), now + Duration::from_millis(9));
        assert!(!pacer.is_open(now) && pacer.is_open(now + Duration::from_millis(7)));
        pacer.on_held_back(now, limit);
        assert_eq!(pacer.departs_at(now), now + Duration::from_millis(9), "never sooner");
        pacer.on_sent(now + Duration::from_millis(200), 1200);
        assert_eq!(pacer.burst_bytes(1200), 12_500, "its own rate again, once nothing is held back");
    }

    #[test]
    fn a_controller_without_a_rate_is_paced_by_its_window_and_never_below_the_floor() {
        let mut pacer = Pacer::new(true);
        pacer.set_rate(None, 100_000, Duration::from_millis(100));
        assert_eq!(pacer.rate(), Rate::from_bytes_per_second(1_250_000));
        pacer.set_rate(None, 100, Duration::from_secs(1));
        assert_eq!(pacer.rate(), RATE_MIN);
    }

    #[test]
    fn without_pacing_everything_departs_now() {
        let mut pacer = Pacer::new(false);
        pacer.set_rate(Some(RATE_MIN), 0, Duration::ZERO);
        (0..100).for_each(|_| pacer.on_sent(Time::from_millis(1), 1200));
        assert_eq!(pacer.departs_at(Time::from_millis(1)), Time::from_millis(1));
    }
}
