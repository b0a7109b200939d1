//! The one place that reads the monotonic clock.
//!
//! Owns the origin that a process's [`Time`] counts from. Everyone else is told the time.

use core::num::NonZeroU64;
use core::time::Duration;
use mpquic_base::Time;
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A monotonic clock. Copies share the origin, so shards can compare times.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    /// The same moment as the kernel counts, in nanoseconds of `CLOCK_MONOTONIC`.
    kernel_origin: u64,
}

impl Clock {
    /// Begins to count: this moment is [`Time::ZERO`].
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the origin of the time that everyone else is told")]
    pub fn start() -> Self {
        let kernel = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(kernel.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(kernel.tv_nsec).unwrap_or(0);
        Self { origin: Instant::now(), kernel_origin: seconds * 1_000_000_000 + nanos }
    }

    /// A time as the kernel says it: nanoseconds of `CLOCK_MONOTONIC`.
    #[must_use]
    pub const fn kernel_ns(&self, at: Time) -> u64 {
        self.kernel_origin.saturating_add(at.nanos())
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

/// Keeps the calling thread on one processor, counted from 0.
///
/// # Errors
/// What the system reports, as a rule that there is no such processor or that it is not ours to use.
pub fn pin_thread(processor: usize) -> io::Result<()> {
    if processor >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut only = CpuSet::new();
    only.set(processor);
    Ok(sched_setaffinity(None, &only)?)
}

#[cfg(test)]
mod tests {
    use super::{Clock, pin_thread, sharpen_timers};
    use mpquic_base::Time;
    use rustix::thread::sched_getaffinity;
    use rustix::time::{ClockId, clock_gettime};

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

    #[test]
    fn our_time_and_the_kernels_are_the_same() {
        let clock = Clock::start();
        let kernel = |t: rustix::time::Timespec| t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64;
        let before = kernel(clock_gettime(ClockId::Monotonic));
        let ours = clock.kernel_ns(clock.now());
        let after = kernel(clock_gettime(ClockId::Monotonic));
        // The two origins are read one after the other; the thread may be interrupted between them.
        assert!(ours >= before.saturating_sub(50_000_000) && ours <= after, "{before} {ours} {after}");
        assert_eq!(clock.kernel_ns(Time::NEVER), u64::MAX);
    }

    #[test]
    fn a_thread_stays_on_the_processor_it_was_given() {
        std::thread::spawn(|| {
            let allowed = sched_getaffinity(None).unwrap();
            let one = (0..1024).rfind(|cpu| allowed.is_set(*cpu)).unwrap();
            pin_thread(one).unwrap();
            let now = sched_getaffinity(None).unwrap();
            assert_eq!((0..1024).filter(|cpu| now.is_set(*cpu)).collect::<Vec<_>>(), [one]);
            assert!(pin_thread(1023).is_err() && pin_thread(usize::MAX).is_err(), "no such processor");
        })
        .join()
        .unwrap();
    }
}
