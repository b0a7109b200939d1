//! What the loss-based controllers share: the limits of a window and the recovery period.
//!
//! Owns the rules of RFC 9002 §7 that do not depend on how a window grows. Refuses to know the window itself:
//! each controller keeps its own.

use mpquic_base::Time;

use super::controller::{MAX_WINDOW, SentPacket};
use crate::Tunable;

/// RFC 9000 §14: no QUIC path carries less, in bytes of UDP payload.
const SMALLEST_PACKET: u16 = 1200;

/// RFC 9002 §7.2: ten packets, but no more than 14720 bytes however large the packets are: 1472 bytes for each.
const INITIAL_BYTES_PER_PACKET: u64 = 1472;

/// RFC 9002 §7.2: the window never falls below this many packets.
const FLOOR_PACKETS: u64 = 2;

pub(super) const INITIAL_WINDOW: Tunable = Tunable {
    name: "initial_window_packets",
    about: "packets that may be in flight before the first acknowledgement",
    default: 10.0,
    min: 2.0,
    max: 100.0,
};

/// The bounds of one path's window, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    packet: u64,
    initial_packets: u64,
}

impl Limits {
    pub(super) fn new(initial_packets: f64) -> Self {
        Self { packet: u64::from(SMALLEST_PACKET), initial_packets: initial_packets as u64 }
    }

    /// Whether that was a change.
    pub(super) fn on_mtu(&mut self, mtu: u16) -> bool {
        let packet = u64::from(mtu.max(SMALLEST_PACKET));
        core::mem::replace(&mut self.packet, packet) != packet
    }

    /// The largest packet.
    pub(super) const fn packet(&self) -> f64 {
        self.packet as f64
    }

    pub(super) const fn floor(&self) -> f64 {
        (FLOOR_PACKETS * self.packet) as f64
    }

    pub(super) fn initial(&self) -> f64 {
        let cap = (self.initial_packets * INITIAL_BYTES_PER_PACKET).max(FLOOR_PACKETS * self.packet);
        (self.initial_packets * self.packet).min(cap) as f64
    }

    /// The nearest window that is allowed.
    pub(super) const fn bound(&self, window: f64) -> f64 {
        window.clamp(self.floor(), MAX_WINDOW as f64)
    }
}

/// RFC 9002 §7.3.2: one reduction for all that was sent before the reduction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recovery {
    /// Packets that departed no later than this belong to the last reduction.
    until: Option<Time>,
    newest_departure: Time,
}

impl Recovery {
    pub(super) fn on_sent(&mut self, packet: &SentPacket) {
        self.newest_departure = self.newest_departure.max(packet.departs);
    }

    pub(super) fn covers(&self, sent_at: Time) -> bool {
        self.until.is_some_and(|until| sent_at <= until)
    }

    /// Packets that wait in the wheel were made under the old window, so they belong to the period too.
    pub(super) fn begin(&mut self, now: Time) {
        self.until = Some(now.max(self.newest_departure));
    }

    /// RFC 9002 App. B.8: persistent congestion starts from a clean slate.
    pub(super) const fn end(&mut self) {
        self.until = None;
    }

    /// Takes back every period begun since `earlier` was copied.
    pub(super) const fn undo_to(&mut self, earlier: Self) {
        self.until = earlier.until;
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, Recovery, SentPacket, Time};

    #[test]
    fn the_initial_window_is_that_of_rfc_9002() {
        let mut limits = Limits::new(10.0);
        assert_eq!(limits.initial(), 12_000.0);
        assert!(limits.on_mtu(1472));
        assert_eq!(limits.initial(), 14_720.0);
        assert!(limits.on_mtu(1500));
        assert_eq!(limits.initial(), 14_720.0);
        assert!(limits.on_mtu(9000));
        assert_eq!(limits.initial(), 18_000.0, "at least two packets of any size");
        assert!(!limits.on_mtu(9000));
        limits.on_mtu(0);
        assert_eq!(limits.packet(), 1200.0, "QUIC has no smaller path");
    }

    #[test]
    fn a_packet_that_waits_in_the_wheel_belongs_to_the_recovery_period() {
        let at = Time::from_millis;
        let mut recovery = Recovery::default();
        assert!(!recovery.covers(Time::ZERO));
        recovery.on_sent(&SentPacket { departs: at(12), bytes: 1200, in_flight: 1200 });
        recovery.begin(at(10));
        assert!(recovery.covers(at(12)));
        assert!(!recovery.covers(at(13)));
        recovery.end();
        assert!(!recovery.covers(at(5)));
    }
}
