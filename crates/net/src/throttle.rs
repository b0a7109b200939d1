//! A bound on what leaves over one link, whoever sends it: a token bucket kept as a time.
//!
//! Owns when the link will be free of what was booked on it. Shared by all sockets of a link, from any thread. It waits
//! for nobody: it says when a packet may leave, and the wheel does the waiting.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use mpquic_base::{Duration, Rate, Time};

/// A link that was idle may send this much of its rate at once, and at least two full packets.
const BURST: Duration = Duration::from_millis(1);
const BURST_BYTES_MIN: u64 = 3000;
/// IPv4 or IPv6 and UDP headers: a rate is what the link carries.
const OVERHEAD_V4: u64 = 28;
const OVERHEAD_V6: u64 = 48;

/// A link's limit; it can be changed at any time.
pub struct Throttle {
    /// Bytes per second; 0 bounds nothing.
    rate: AtomicU64,
    /// When all that was booked will have left, in nanoseconds.
    free_at: AtomicU64,
}

impl Throttle {
    #[must_use]
    pub const fn new(rate: Option<Rate>) -> Self {
        let rate = match rate {
            Some(rate) => rate.bytes_per_second(),
            None => 0,
        };
        Self { rate: AtomicU64::new(rate), free_at: AtomicU64::new(0) }
    }

    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        Some(Rate::from_bytes_per_second(self.rate.load(Ordering::Relaxed))).filter(|r| *r != Rate::ZERO)
    }

    /// `None` lifts the limit. What was booked keeps its time.
    pub fn set_rate(&self, rate: Option<Rate>) {
        self.rate.store(rate.map_or(0, Rate::bytes_per_second), Ordering::Relaxed);
    }

    /// Books `datagrams` with `bytes` in all, meant to leave at `at`, and says when they may.
    pub fn book(&self, at: Time, bytes: u64, datagrams: u64, v6: bool) -> Time {
        let Some(rate) = self.rate() else { return at };
        let overhead = if v6 { OVERHEAD_V6 } else { OVERHEAD_V4 };
        let cost = nanos(rate.delay(bytes + datagrams * overhead));
        let burst = nanos(BURST).max(nanos(rate.delay(BURST_BYTES_MIN)));
        // One that is not late starts a burst before its own time, so that an idle link owes at most that much.
        let earliest = at.nanos().saturating_sub(burst);
        let booked = |free_at: u64| Some(free_at.max(earliest).saturating_add(cost));
        let before = self.free_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, booked);
        at.max(Time::from_nanos(before.unwrap_or_else(|now| now)))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Throttle({:?})", self.rate())
    }
}

#[cfg(test)]
mod tests {
    use super::{BURST, Throttle};
    use mpquic_base::{Duration, Rate, Rng, Time};
    use std::sync::Arc;

    #[test]
    fn without_a_rate_everything_leaves_when_it_wants() {
        let throttle = Throttle::new(None);
        let at = Time::from_millis(5);
        assert!((0..100).all(|_| throttle.book(at, 60_000, 50, false) == at));
        throttle.set_rate(Some(Rate::from_bits_per_second(1_000_000)));
        assert_eq!(throttle.book(at, 60_000, 50, false), at);
        assert!(throttle.book(at, 60_000, 50, false) > at + Duration::from_millis(400));
    }

    #[test]
    fn an_idle_link_may_burst_for_a_millisecond_and_then_keeps_its_rate() {
        let throttle = Throttle::new(Some(Rate::from_bits_per_second(100_000_000)));
        let at = Time::from_millis(50);
        // 1250 bytes with their headers are 100 us; the burst holds ten of them, and the eleventh leaves as the last.
        let left: Vec<Duration> = (0..14).map(|_| throttle.book(at, 1222, 1, false).since(at)).collect();
        assert!(left[..11].iter().all(Duration::is_zero), "{left:?}");
        assert_eq!(left[11..], [100, 200, 300].map(Duration::from_micros));
    }

    #[test]
    fn whatever_is_booked_the_rate_holds_over_any_span() {
        for seed in 0..100 {
            let mut rng = Rng::from_number(seed);
            let rate = Rate::from_bits_per_second(1_000_000 + rng.below(200_000_000));
            let throttle = Throttle::new(Some(rate));
            let (mut now, mut left) = (Time::from_millis(1), Vec::new());
            for _ in 0..300 {
                now += Duration::from_nanos(rng.below(400_000));
                let bytes = 100 + rng.below(5_000);
                left.push((throttle.book(now, bytes, 1, true), bytes + 48));
            }
            for from in (0..left.len()).step_by(17) {
                let total: u64 = left[from..].iter().map(|(_, bytes)| bytes).sum();
                let last = left[left.len() - 1];
                let span = last.0.since(left[from].0) + BURST.max(rate.delay(3000));
                // What leaves last has only begun, and each cost is cut to nanoseconds.
                assert!(rate.bytes_in(span) + last.1 + 16 >= total, "seed {seed}: {total} in {span:?}");
            }
        }
    }

    #[test]
    fn threads_that_share_a_link_share_its_rate() {
        let throttle = Arc::new(Throttle::new(Some(Rate::from_bits_per_second(80_000_000))));
        let at = Time::from_millis(10);
        let book =
            |throttle: Arc<Throttle>| move || (0..1000).map(|_| throttle.book(at, 972, 1, false)).max();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(book(Arc::clone(&throttle)))).collect();
        let last = threads.into_iter().filter_map(|t| t.join().unwrap()).max().unwrap();
        // 4000 x 1000 bytes at 10 MB/s, less the burst and the last one, which has only begun.
        assert_eq!(last.since(at), Duration::from_millis(400) - BURST - Duration::from_micros(100));
    }
}
