//! A controller fed by hand: one ACK per round trip, and losses when told.

use super::super::{Bbr, ENTRY, State};
use crate::cc::{AckBatch, Controller, LossBatch, RateSample, SentPacket};
use mpquic_base::{Duration, Rate, Time};

pub(super) const RTT: Duration = Duration::from_millis(50);
/// Of [`STEADY`] and [`RTT`].
pub(super) const BDP: u64 = 250_000;
pub(super) const STEADY: Rate = Rate::from_bits_per_second(40_000_000);

/// Feeds one ACK per round trip.
pub(super) struct Feed {
    pub(super) cc: Bbr,
    pub(super) now: Time,
    pub(super) rtt: Duration,
    pub(super) rate: Rate,
    pub(super) in_flight: u64,
    pub(super) app_limited: bool,
    /// The lowest RTT counts as just seen, so that no `ProbeRTT` comes in between.
    pub(super) rtt_is_fresh: bool,
    delivered: u64,
    lost: u64,
    lost_in_round: u64,
}

impl Feed {
    pub(super) fn new() -> Self {
        Self {
            cc: Bbr::new(&ENTRY.defaults()),
            now: Time::from_millis(500),
            rtt: RTT,
            rate: STEADY,
            in_flight: BDP,
            app_limited: false,
            rtt_is_fresh: true,
            delivered: 0,
            lost: 0,
            lost_in_round: 0,
        }
    }

    pub(super) fn at(state: State) -> Self {
        let mut feed = Self::new();
        feed.reach(state);
        feed
    }

    pub(super) fn reach(&mut self, state: State) {
        for _ in 0..400 {
            if self.cc.state == state {
                return;
            }
            self.round();
        }
        panic!("{state:?} never came; it is {:?}", self.cc.state);
    }

    pub(super) fn round(&mut self) {
        if self.rtt_is_fresh {
            self.cc.min_rtt.refreshed(self.now);
        }
        let prior_delivered = self.delivered;
        let bytes = self.rate.bytes_in(self.rtt);
        self.delivered += bytes;
        let newest_sent_at = self.now;
        self.now += self.rtt;
        self.cc.on_ack(&AckBatch {
            now: self.now,
            bytes,
            newest_sent_at,
            rtt: Some(self.rtt),
            srtt: self.rtt,
            min_rtt: RTT,
            in_flight_before: self.in_flight + bytes,
            in_flight: self.in_flight,
            app_limited: self.app_limited,
            round_start: true,
            rate: Some(RateSample {
                rate: self.rate,
                delivered: bytes,
                interval: self.rtt,
                prior_delivered,
                total_delivered: self.delivered,
                lost: std::mem::take(&mut self.lost_in_round),
                tx_in_flight: self.in_flight,
                app_limited: self.app_limited,
            }),
        });
    }

    /// A round in which the window holds the flight back.
    pub(super) fn full_round(&mut self) {
        self.in_flight = self.cc.window();
        self.send();
        self.round();
    }

    pub(super) fn send(&mut self) {
        let in_flight = self.in_flight + 1200;
        self.cc.on_sent(&SentPacket { departs: self.now, bytes: 1200, in_flight });
    }

    pub(super) fn lose(&mut self, packets: u32) {
        self.lose_for_long(packets, false);
    }

    pub(super) fn lose_for_long(&mut self, packets: u32, persistent: bool) {
        let bytes = u64::from(packets) * 1200;
        self.lost += bytes;
        self.lost_in_round += bytes;
        self.cc.on_loss(&LossBatch {
            now: self.now,
            bytes,
            packets,
            newest_sent_at: self.now - Duration::from_millis(1),
            tx_in_flight: self.in_flight,
            lost_since: self.lost_in_round,
            persistent,
            in_flight_before: self.in_flight,
            in_flight: self.in_flight - bytes,
            srtt: self.rtt,
            min_rtt: RTT,
            total_lost: self.lost,
            total_delivered: self.delivered,
        });
    }
}
