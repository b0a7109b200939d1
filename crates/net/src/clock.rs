//! The one place that reads the monotonic clock.
//!
//! Owns the origin that a process's [`Time`] counts from. Everyone else is told the time.

use core::num::NonZeroU64;
use core::time::Duration;
use mpquic_base::Time;
use std::io;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A monotonic clock. Copies share the origin, so shards can compare times.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// Begins to count: this moment is [`Time::ZERO`].
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the origin of the time that everyone else is told")]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    #[must_use]
    pub fn now(&self) -> Time {
        Time::ZERO + self.elapsed()
    }

    /// The time since 1970 at [`Time::ZERO`], by the system's clock as it is set now.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn epoch(&self) -> Duration {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since_1970.saturating_sub(self.elapsed())
    }

    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(self.origin)
    }
}

/// Asks the kernel to fire the calling thread's timers within 1 ns of their time.
///
/// Linux delays a normal thread's timers by up to 50 us to merge wake-ups: several packets at a paced 1 Gbit/s.
///
/// # Errors
/// What `prctl` reports; pacing then works with the kernel's slack.
pub fn sharpen_timers() -> io::Result<()> {
    Ok(rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN))?)
}

#[cfg(test)]
mod tests {
    use super::{Clock, sharpen_timers};

    #[test]
    fn the_clock_never_goes_back_and_copies_agree() {
        let clock = Clock::start();
        let copy = clock;
        let mut last = clock.now();
        for _ in 0..1000 {
            let now = copy.now();
            assert!(now >= last);
            last = clock.now();
            assert!(last >= now);
        }
    }

    #[test]
    fn a_threads_timer_slack_becomes_one_nanosecond() {
        sharpen_timers().unwrap();
        assert_eq!(rustix::thread::current_timer_slack().unwrap(), 1);
    }
}
