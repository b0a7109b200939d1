//! A path as one controller sees it, told flight by flight: what is sent passes a bottleneck and is acknowledged one
//! RTT later, or is not.
//!
//! The sender ignores pacing and waits for its whole flight before it sends the next. That suffices for what a
//! controller does in principle; what it achieves on a link is the matter of [`crate::flows`].

use mpquic_base::{Duration, Rate, Time};
use mpquic_policy::cc::{AckBatch, Controller, EcnBatch, LossBatch, RateSample, SentPacket};

pub(crate) const PACKET: u64 = 1200;
/// Without queueing.
pub(crate) const RTT: Duration = Duration::from_millis(50);
/// Without a bottleneck each rate sample would exceed the last, and a rate-based window would double for ever.
const BOTTLENECK: Rate = Rate::from_bits_per_second(100_000_000);
/// Packets leave at 480 Mbit/s.
const GAP: Duration = Duration::from_micros(20);
/// Nearly forty times what the path holds: no property here needs a flight of this size.
const MOST_PACKETS: u64 = 20_000;

pub(crate) struct Path {
    pub(crate) cc: Box<dyn Controller>,
    pub(crate) now: Time,
    in_flight: u64,
    /// Of the flight sent last: its size, when it began, and the totals then.
    flight: u64,
    flight_began: Time,
    delivered_before: u64,
    lost_before: u64,
    /// When the bottleneck has passed on all that reached it.
    idle_at: Time,
    delivered: u64,
    lost: u64,
    srtt: Duration,
    min_rtt: Duration,
}

impl Path {
    pub(crate) fn new(cc: Box<dyn Controller>) -> Self {
        Self {
            cc,
            now: Time::from_millis(1000),
            in_flight: 0,
            flight: 0,
            flight_began: Time::ZERO,
            delivered_before: 0,
            lost_before: 0,
            idle_at: Time::ZERO,
            delivered: 0,
            lost: 0,
            srtt: RTT,
            min_rtt: Duration::MAX,
        }
    }

    /// A path whose window has grown to 40 packets or more.
    pub(crate) fn grown(cc: Box<dyn Controller>) -> Self {
        let mut path = Self::new(cc);
        for _ in 0..100 {
            if path.cc.window() >= 40 * PACKET {
                return path;
            }
            path.round();
        }
        panic!("{:?} did not grow in 100 rounds", path.cc);
    }

    /// Sends a window, all of which arrives.
    pub(crate) fn round(&mut self) {
        let (sent_at, packets) = self.send(self.cc.window() / PACKET);
        self.ack(sent_at, packets, false);
    }

    /// Sends two packets although there is room for more.
    pub(crate) fn app_limited_round(&mut self) {
        let (sent_at, packets) = self.send(2);
        self.ack(sent_at, packets, true);
    }

    /// The answer is when the last packet left. What was in flight before is forgotten.
    pub(crate) fn send(&mut self, packets: u64) -> (Time, u64) {
        assert!(packets <= MOST_PACKETS, "a flight of {packets} packets: {:?}", self.cc);
        self.in_flight = 0;
        self.flight_began = self.now + GAP;
        (self.delivered_before, self.lost_before) = (self.delivered, self.lost);
        for _ in 0..packets {
            self.now += GAP;
            self.in_flight += PACKET;
            self.cc.on_sent(&SentPacket { departs: self.now, bytes: PACKET, in_flight: self.in_flight });
        }
        self.flight = self.in_flight;
        (self.now, packets)
    }

    /// The last `packets` of the flight that left by `sent_at` arrive; every second packet is acknowledged.
    pub(crate) fn ack(&mut self, sent_at: Time, packets: u64, app_limited: bool) {
        let mut left = packets;
        while left > 0 {
            let pair = left.min(2);
            let round_start = left == packets;
            left -= pair;
            let departed = sent_at - GAP.mul_f64(left as f64);
            let bytes = pair * PACKET;
            self.idle_at = self.idle_at.max(departed) + BOTTLENECK.delay(bytes);
            self.now = self.now.max(self.idle_at + RTT);
            self.ack_pair(departed, bytes, left * PACKET, round_start, app_limited);
        }
    }

    fn ack_pair(&mut self, departed: Time, bytes: u64, behind: u64, round_start: bool, app_limited: bool) {
        let rtt = self.now.since(departed);
        self.srtt = (7 * self.srtt + rtt) / 8;
        self.min_rtt = self.min_rtt.min(rtt);
        self.delivered += bytes;
        let in_flight_before = self.in_flight;
        self.in_flight = self.in_flight.saturating_sub(bytes);
        // draft-ietf-ccwg-bbr-06 §4.1: nothing was in flight when this flight began, so all its samples begin there.
        let interval = self.now.since(self.flight_began);
        let delivered = self.delivered - self.delivered_before;
        self.cc.on_ack(&AckBatch {
            now: self.now,
            bytes,
            newest_sent_at: departed,
            rtt: Some(rtt),
            srtt: self.srtt,
            min_rtt: self.min_rtt,
            in_flight_before,
            in_flight: self.in_flight,
            app_limited,
            round_start,
            rate: Some(RateSample {
                rate: Rate::from_delivery(delivered, interval),
                delivered,
                interval,
                prior_delivered: self.delivered_before,
                total_delivered: self.delivered,
                lost: self.lost - self.lost_before,
                tx_in_flight: self.flight - behind,
                app_limited,
            }),
        });
    }

    /// One packet that left at `sent_at` is declared lost. What else is in flight stays so.
    pub(crate) fn lose(&mut self, sent_at: Time, persistent: bool) {
        self.lost += PACKET;
        let in_flight_before = self.in_flight.max(PACKET);
        self.in_flight = in_flight_before - PACKET;
        self.cc.on_loss(&LossBatch {
            now: self.now,
            bytes: PACKET,
            packets: 1,
            newest_sent_at: sent_at,
            persistent,
            tx_in_flight: self.flight.max(PACKET),
            lost_since: self.lost - self.lost_before,
            in_flight_before,
            in_flight: self.in_flight,
            srtt: self.srtt,
            min_rtt: self.min_rtt,
            total_lost: self.lost,
            total_delivered: self.delivered,
        });
    }

    /// One packet of ten came with a mark.
    pub(crate) fn mark(&mut self, sent_at: Time) {
        let in_flight = self.in_flight;
        self.cc.on_ecn(&EcnBatch { now: self.now, newest_sent_at: sent_at, marked: 1, acked: 10, in_flight });
    }
}
