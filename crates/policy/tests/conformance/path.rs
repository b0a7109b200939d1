//! A path as one controller sees it, told round by round: what is sent arrives one RTT later, or does not.

use mpquic_base::{Duration, Rate, Time};
use mpquic_policy::cc::{AckBatch, Controller, EcnBatch, LossBatch, RateSample, SentPacket};

pub(crate) const PACKET: u64 = 1200;
pub(crate) const RTT: Duration = Duration::from_millis(50);

pub(crate) struct Path {
    pub(crate) cc: Box<dyn Controller>,
    pub(crate) now: Time,
    delivered: u64,
    lost: u64,
}

impl Path {
    pub(crate) fn new(cc: Box<dyn Controller>) -> Self {
        Self { cc, now: Time::from_millis(1000), delivered: 0, lost: 0 }
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
        self.now += RTT;
        self.ack(sent_at, packets, false);
    }

    /// Sends two packets although there is room for more.
    pub(crate) fn app_limited_round(&mut self) {
        let (sent_at, packets) = self.send(2);
        self.now += RTT;
        self.ack(sent_at, packets, true);
    }

    /// The packets depart 20 us apart; the answer is when the last one did.
    pub(crate) fn send(&mut self, packets: u64) -> (Time, u64) {
        for i in 1..=packets {
            self.now += Duration::from_micros(20);
            self.cc.on_sent(&SentPacket { departs: self.now, bytes: PACKET, in_flight: i * PACKET });
        }
        (self.now, packets)
    }

    /// A flight that left by `sent_at` arrives; every second packet is acknowledged.
    pub(crate) fn ack(&mut self, sent_at: Time, packets: u64, app_limited: bool) {
        let flight = packets * PACKET;
        let prior = self.delivered;
        let mut in_flight = flight;
        while in_flight > 0 {
            let bytes = in_flight.min(2 * PACKET);
            self.delivered += bytes;
            self.cc.on_ack(&AckBatch {
                now: self.now,
                bytes,
                newest_sent_at: sent_at,
                rtt: Some(RTT),
                srtt: RTT,
                min_rtt: RTT,
                in_flight_before: in_flight,
                in_flight: in_flight - bytes,
                app_limited,
                round_start: in_flight == flight,
                rate: Some(RateSample {
                    rate: Rate::from_delivery(flight, RTT),
                    delivered: flight,
                    interval: RTT,
                    prior_delivered: prior,
                    total_delivered: self.delivered,
                    lost: 0,
                    tx_in_flight: flight,
                    app_limited,
                }),
            });
            in_flight -= bytes;
        }
    }

    /// One packet that left at `sent_at` is declared lost.
    pub(crate) fn lose(&mut self, sent_at: Time, persistent: bool) {
        self.lost += PACKET;
        let in_flight = self.cc.window() / 2;
        self.cc.on_loss(&LossBatch {
            now: self.now,
            bytes: PACKET,
            packets: 1,
            newest_sent_at: sent_at,
            persistent,
            tx_in_flight: in_flight + PACKET,
            lost_since: PACKET,
            in_flight_before: in_flight + PACKET,
            in_flight,
            srtt: RTT,
            min_rtt: RTT,
            total_lost: self.lost,
            total_delivered: self.delivered,
        });
    }

    /// One packet of ten came with a mark.
    pub(crate) fn mark(&mut self, sent_at: Time) {
        let in_flight = self.cc.window() / 2;
        self.cc.on_ecn(&EcnBatch { now: self.now, newest_sent_at: sent_at, marked: 1, acked: 10, in_flight });
    }
}
