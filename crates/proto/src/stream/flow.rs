//! The two sides of every limit: what we grant ([`Window`]) and what we were granted ([`Credit`]).
//!
//! Bytes of the connection, bytes of one stream and numbers of streams all follow the same arithmetic
//! (RFC 9000 §4.1, §4.2, §4.6), so they share it. Nothing here knows which of the three it counts.

use mpquic_base::{Duration, Time};
use mpquic_wire::VARINT_MAX;

/// What we let the peer use.
#[derive(Debug)]
pub(super) struct Window {
    /// How far beyond what was consumed the peer may go.
    size: u64,
    /// Auto-tuning stops here.
    cap: u64,
    consumed: u64,
    /// The largest limit that the peer was told.
    granted: u64,
    /// The announcement of `granted` may not have arrived.
    lost: bool,
    /// When and at which `consumed` the current measurement began.
    epoch: Option<Time>,
    epoch_consumed: u64,
}

impl Window {
    pub(super) fn new(size: u64, cap: u64) -> Self {
        let size = size.min(VARINT_MAX);
        let cap = cap.max(size);
        Self { size, cap, consumed: 0, granted: size, lost: false, epoch: None, epoch_consumed: 0 }
    }

    pub(super) const fn granted(&self) -> u64 {
        self.granted
    }

    pub(super) const fn consumed(&self) -> u64 {
        self.consumed
    }

    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    pub(super) const fn consume(&mut self, n: u64) {
        self.consumed += n;
    }

    /// Half a window early, so that the peer learns of its credit before it runs dry.
    pub(super) fn due(&self) -> bool {
        self.lost || self.offer() - self.granted >= (self.size / 2).max(1)
    }

    /// The value to announce now; never below what was granted, because nothing in it shrinks.
    pub(super) fn offer(&self) -> u64 {
        (self.consumed + self.size).min(VARINT_MAX)
    }

    /// `offer` was written into a packet: from now on the peer may use it.
    pub(super) fn announced(&mut self) {
        self.granted = self.offer();
        self.lost = false;
    }

    /// An announcement was lost; which one does not matter, the next carries the current value.
    pub(super) const fn lost(&mut self) {
        self.lost = true;
    }

    /// Enough was consumed since the last measurement that `tune` may have something to decide.
    pub(super) const fn worth_tuning(&self) -> bool {
        self.size < self.cap && self.consumed - self.epoch_consumed >= self.size / 4
    }

    /// Doubles the window if all of it was consumed within two round trips: then it is the window that
    /// limits the peer, not the network.
    pub(super) fn tune(&mut self, now: Time, slowest_rtt: Duration) {
        let span = slowest_rtt.saturating_mul(2);
        let fresh = self.epoch.is_some_and(|t| now.since(t) < span);
        let drained = self.consumed - self.epoch_consumed >= self.size;
        if fresh && drained {
            self.size = self.size.saturating_mul(2).min(self.cap);
        }
        if !fresh || drained {
            self.epoch = Some(now);
            self.epoch_consumed = self.consumed;
        }
    }
}

/// What the peer lets us use.
#[derive(Debug, Default)]
pub(super) struct Credit {
    /// `None` until the peer's transport parameters are here: nothing can be used, but nobody is to blame either.
    limit: Option<u64>,
    used: u64,
    /// The limit at which a BLOCKED frame was sent.
    reported: Option<u64>,
}

impl Credit {
    pub(super) const fn new(limit: Option<u64>) -> Self {
        Self { limit, used: 0, reported: None }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit.unwrap_or(0)
    }

    pub(super) const fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn left(&self) -> u64 {
        self.limit().saturating_sub(self.used)
    }

    pub(super) const fn take(&mut self, n: u64) {
        self.used += n;
    }

    /// The limit was another one all along, and was never reported.
    pub(super) const fn replace(&mut self, limit: Option<u64>) {
        self.limit = limit;
        self.reported = None;
    }

    /// Limits only grow; a smaller one is old news. True if this one was not.
    pub(super) fn raise(&mut self, limit: u64) -> bool {
        let grown = self.limit.is_none_or(|old| limit > old);
        if grown {
            self.limit = Some(limit);
        }
        grown
    }

    /// Whether a BLOCKED frame is due, if more is `wanted` than the limit lets go; once per limit.
    pub(super) fn blocked(&self, wanted: bool) -> Option<u64> {
        let limit = self.limit?;
        (wanted && self.used >= limit && self.reported != Some(limit)).then_some(limit)
    }

    pub(super) const fn reported(&mut self) {
        self.reported = self.limit;
    }

    /// A BLOCKED frame was lost: say it again if it is still true.
    pub(super) const fn report_lost(&mut self) {
        self.reported = None;
    }
}

#[cfg(test)]
mod tests {
    use super::{Credit, Window};
    use mpquic_base::{Duration, Time};

    const RTT: Duration = Duration::from_millis(50);

    #[test]
    fn credit_is_announced_when_half_of_the_window_was_consumed() {
        let mut window = Window::new(1000, 1000);
        window.consume(499);
        assert!(!window.due());
        window.consume(1);
        assert!(window.due());
        assert_eq!((window.offer(), window.granted()), (1500, 1000));
        window.announced();
        assert!(!window.due());
        assert_eq!(window.granted(), 1500);
    }

    #[test]
    fn a_lost_announcement_is_repeated_with_the_value_of_today() {
        let mut window = Window::new(1000, 1000);
        window.consume(500);
        window.announced();
        window.consume(3);
        window.lost();
        assert!(window.due());
        assert_eq!(window.offer(), 1503);
    }

    #[test]
    fn a_window_of_one_returns_every_single_unit_and_a_window_of_zero_none() {
        let mut one = Window::new(1, 1);
        one.consume(1);
        assert!(one.due());
        assert!(!Window::new(0, 0).due());
    }

    #[test]
    fn a_window_drained_within_two_round_trips_doubles_up_to_its_cap() {
        let mut window = Window::new(1000, 3000);
        window.tune(Time::from_millis(0), RTT);
        window.consume(1000);
        window.tune(Time::from_millis(99), RTT);
        assert_eq!(window.size(), 2000);
        assert!(window.due(), "a larger window is worth an announcement at once");
        window.consume(2000);
        window.tune(Time::from_millis(190), RTT);
        assert_eq!(window.size(), 3000);
        assert!(!window.worth_tuning());
    }

    #[test]
    fn a_slow_reader_keeps_its_window() {
        let mut window = Window::new(1000, 8000);
        for step in 0..50 {
            window.tune(Time::from_millis(step * 10), RTT);
            window.consume(95);
        }
        assert_eq!(window.size(), 1000);
    }

    #[test]
    fn an_idle_time_does_not_spoil_the_measurement_after_it() {
        let mut window = Window::new(1000, 8000);
        window.tune(Time::from_millis(0), RTT);
        window.consume(300);
        window.tune(Time::from_millis(5000), RTT);
        window.consume(1000);
        window.tune(Time::from_millis(5050), RTT);
        assert_eq!(window.size(), 2000);
    }

    #[test]
    fn blocked_is_said_once_per_limit_and_again_if_the_frame_was_lost() {
        let mut credit = Credit::new(None);
        assert_eq!(credit.blocked(true), None, "an unknown limit blocks nobody");
        credit.raise(10);
        credit.take(10);
        assert_eq!(credit.blocked(false), None);
        assert_eq!(credit.blocked(true), Some(10));
        credit.reported();
        assert_eq!(credit.blocked(true), None);
        credit.report_lost();
        assert_eq!(credit.blocked(true), Some(10));
        credit.reported();
        assert!(!credit.raise(9), "limits never shrink");
        assert!(credit.raise(11));
        assert_eq!(credit.left(), 1);
        credit.take(1);
        assert_eq!(credit.blocked(true), Some(11));
    }
}
