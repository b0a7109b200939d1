//! How fast a path really delivers (draft-ietf-ccwg-bbr-06 §4.1, delivery rate samples).

use crate::space::Sent;
use mpquic_base::{Duration, Rate, Time};
use mpquic_policy::cc::RateSample;

/// The rate estimate forgets its maximum after this many round trips.
const RATE_ROUNDS: u64 = 10;

#[derive(Debug, Default)]
pub(crate) struct Delivery {
    delivered: u64,
    delivered_at: Time,
    first_sent_at: Time,
    lost: u64,
    /// While `delivered` is below this, samples are application-limited.
    app_limited_until: u64,
    next_round_at: u64,
    rounds: u64,
    /// Largest sample of late and the round it is from.
    best: (Rate, u64),
    /// The newest packet of the ACK being taken in.
    newest: Option<Sent>,
}

impl Delivery {
    /// The rate seen so far belongs to another path.
    pub(crate) const fn restart(&mut self) {
        self.best = (Rate::ZERO, self.rounds);
    }

    /// Writes the path's state into a packet that departs.
    pub(crate) fn stamp(&mut self, packet: &mut Sent, in_flight_before: u64) {
        if in_flight_before == 0 {
            self.first_sent_at = packet.sent_at;
            self.delivered_at = packet.sent_at;
        }
        packet.delivered = self.delivered;
        packet.delivered_at = self.delivered_at;
        packet.first_sent_at = self.first_sent_at;
        packet.lost = self.lost;
        packet.tx_in_flight = in_flight_before + packet.flight_bytes();
        packet.app_limited = self.app_limited_until > self.delivered;
    }

    pub(crate) fn on_app_limited(&mut self, in_flight: u64) {
        self.app_limited_until = (self.delivered + in_flight).max(self.delivered + 1);
    }

    pub(crate) fn on_acked(&mut self, now: Time, packet: &Sent) {
        if !packet.in_flight {
            return;
        }
        self.delivered += packet.flight_bytes();
        self.delivered_at = now;
        let newer = |n: &Sent| (packet.delivered, packet.sent_at) >= (n.delivered, n.sent_at);
        if self.newest.as_ref().is_none_or(newer) {
            self.newest = Some(*packet);
        }
    }

    pub(crate) const fn on_lost(&mut self, bytes: u64) {
        self.lost += bytes;
    }

    /// Total bytes (lost, delivered).
    pub(crate) const fn totals(&self) -> (u64, u64) {
        (self.lost, self.delivered)
    }

    pub(crate) const fn rate(&self) -> Rate {
        self.best.0
    }

    /// Closes the ACK: its rate sample, and whether it starts a new round.
    pub(crate) fn sample(&mut self, min_rtt: Duration) -> (Option<RateSample>, bool) {
        let Some(newest) = self.newest.take() else { return (None, false) };
        let round_start = newest.delivered >= self.next_round_at;
        if round_start {
            self.next_round_at = self.delivered;
            self.rounds += 1;
        }
        let sending = newest.sent_at.since(newest.first_sent_at);
        let acking = self.delivered_at.since(newest.delivered_at);
        self.first_sent_at = newest.sent_at;
        let interval = sending.max(acking);
        let delivered = self.delivered - newest.delivered;
        if interval < min_rtt || interval.is_zero() {
            return (None, round_start);
        }
        let rate = Rate::from_delivery(delivered, interval);
        let stale = self.rounds > self.best.1 + RATE_ROUNDS;
        if rate >= self.best.0 || (stale && !newest.app_limited) {
            self.best = (rate, self.rounds);
        }
        let sample = RateSample {
            rate,
            delivered,
            interval,
            prior_delivered: newest.delivered,
            total_delivered: self.delivered,
            lost: self.lost - newest.lost,
            tx_in_flight: newest.tx_in_flight,
            app_limited: newest.app_limited,
        };
        (Some(sample), round_start)
    }
}
