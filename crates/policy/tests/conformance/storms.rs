//! Congestion controllers under events in any order, with any values that a path could report.

use crate::{collapsed_packets, with_defaults};
use mpquic_base::{Duration, Rate, Rng, Time};
use mpquic_policy::cc::{
    self, AckBatch, Controller, EcnBatch, LossBatch, MAX_WINDOW, RateSample, SentPacket,
};

const SEEDS: u64 = 200;
const EVENTS: u32 = 600;
/// 100 Gbit/s: with RTTs of up to a second, many times what fits into MAX_WINDOW.
const FASTEST: u64 = 12_500_000_000;

struct Storm {
    rng: Rng,
    now: Time,
    mtu: u16,
    delivered: u64,
    lost: u64,
    /// The event at hand was persistent congestion.
    collapse: bool,
}

impl Storm {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::from_number(seed),
            now: Time::ZERO,
            mtu: 1200,
            delivered: 0,
            lost: 0,
            collapse: false,
        }
    }

    fn duration(&mut self, most: Duration) -> Duration {
        match self.rng.below(10) {
            0 => Duration::ZERO,
            1 => most,
            _ => most.mul_f64(self.rng.unit().powi(3)),
        }
    }

    fn bytes(&mut self) -> u64 {
        match self.rng.below(10) {
            0 => 0,
            1 => self.rng.below(10_000_000),
            _ => self.rng.below(64) * u64::from(self.mtu),
        }
    }

    fn event(&mut self, cc: &mut dyn Controller) {
        let pause = self.duration(Duration::from_millis(300));
        self.now += pause;
        self.collapse = false;
        match self.rng.below(20) {
            0..6 => self.sent(cc),
            6..14 => self.ack(cc),
            14..17 => self.loss(cc),
            17 => cc.on_spurious_loss(self.now),
            18 => self.ecn(cc),
            _ => {
                self.mtu = 1200 + u16::try_from(self.rng.below(8000)).expect("below 8000");
                cc.on_mtu(self.mtu);
            }
        }
    }

    fn sent(&mut self, cc: &mut dyn Controller) {
        let departs = self.now + self.duration(Duration::from_millis(5));
        let bytes = 1 + self.rng.below(u64::from(self.mtu));
        let in_flight = bytes + self.bytes();
        cc.on_sent(&SentPacket { departs, bytes, in_flight });
    }

    fn ack(&mut self, cc: &mut dyn Controller) {
        let bytes = self.bytes();
        self.delivered += bytes;
        let srtt = self.duration(Duration::from_secs(1));
        let min_rtt = srtt.mul_f64(self.rng.unit());
        let rtt = self.rng.chance(0.8).then(|| min_rtt + srtt / 4);
        let newest_sent_at = self.now - self.duration(Duration::from_secs(1));
        let in_flight = self.bytes();
        cc.on_ack(&AckBatch {
            now: self.now,
            bytes,
            newest_sent_at,
            rtt,
            srtt,
            min_rtt,
            in_flight_before: in_flight + bytes,
            in_flight,
            app_limited: self.rng.chance(0.2),
            round_start: self.rng.chance(0.2),
            rate: self.rng.chance(0.9).then(|| self.rate_sample()),
        });
    }

    fn rate_sample(&mut self) -> RateSample {
        let delivered = self.bytes().min(self.delivered);
        RateSample {
            rate: Rate::from_bytes_per_second(self.rng.below(FASTEST)),
            delivered,
            interval: self.duration(Duration::from_secs(1)),
            prior_delivered: self.delivered - delivered,
            total_delivered: self.delivered,
            lost: self.bytes().min(self.lost),
            tx_in_flight: self.bytes(),
            app_limited: self.rng.chance(0.3),
        }
    }

    fn loss(&mut self, cc: &mut dyn Controller) {
        let bytes = self.bytes();
        self.lost += bytes;
        let in_flight = self.bytes();
        let srtt = self.duration(Duration::from_secs(1));
        self.collapse = self.rng.chance(0.1);
        cc.on_loss(&LossBatch {
            now: self.now,
            bytes,
            packets: u32::try_from(bytes / 1200).unwrap_or(u32::MAX),
            newest_sent_at: self.now - self.duration(Duration::from_secs(1)),
            persistent: self.collapse,
            tx_in_flight: self.bytes(),
            lost_since: bytes,
            in_flight_before: in_flight + bytes,
            in_flight,
            srtt,
            min_rtt: srtt.mul_f64(self.rng.unit()),
            total_lost: self.lost,
            total_delivered: self.delivered,
        });
    }

    fn ecn(&mut self, cc: &mut dyn Controller) {
        let acked = self.rng.below(100);
        cc.on_ecn(&EcnBatch {
            now: self.now,
            newest_sent_at: self.now - self.duration(Duration::from_secs(1)),
            marked: self.rng.below(acked + 1),
            acked,
            in_flight: self.bytes(),
        });
    }
}

/// Drives `cc` through a storm and checks it after each event.
fn weather(name: &str, cc: &mut dyn Controller, collapsed: u64, seed: u64) {
    let mut storm = Storm::new(seed);
    for event in 0..EVENTS {
        storm.event(cc);
        let (window, mtu) = (cc.window(), u64::from(storm.mtu));
        let (floor, most) = (2 * mtu, if storm.collapse { collapsed * mtu } else { MAX_WINDOW });
        assert!(
            (floor..=most).contains(&window),
            "{name}, seed {seed}, event {event}: window {window} outside {floor}..={most}: {cc:?}"
        );
        if let Some(rate) = cc.pacing() {
            assert!(rate != Rate::ZERO, "{name}, seed {seed}, event {event}: paced at no rate: {cc:?}");
        }
    }
}

#[test]
fn no_order_of_events_breaks_a_controller() {
    for entry in cc::ALL {
        for seed in 0..SEEDS {
            weather(entry.name, with_defaults(entry).as_mut(), collapsed_packets(entry), seed);
        }
    }
}

#[test]
fn no_order_of_events_breaks_a_controller_with_extreme_settings() {
    for entry in cc::ALL {
        for seed in 0..SEEDS {
            let mut rng = Rng::from_number(seed ^ 0x7e57);
            let pick = |t: &mpquic_policy::Tunable| (t.name, if rng.chance(0.5) { t.min } else { t.max });
            let changes: Vec<_> = entry.tunables.iter().map(pick).collect();
            let settings = entry.settings(&changes).expect("both ends are in range");
            let name = format!("{} {changes:?}", entry.name);
            weather(&name, (entry.build)(&settings).as_mut(), collapsed_packets(entry), seed);
        }
    }
}

#[test]
fn the_largest_values_do_not_break_a_controller() {
    let huge = 1 << 60;
    let long = Duration::from_secs(1 << 30);
    for (entry, sampled) in cc::ALL.iter().flat_map(|entry| [(entry, false), (entry, true)]) {
        let mut cc = with_defaults(entry);
        for round in 0..50_u64 {
            let now = Time::from_nanos(round << 56);
            cc.on_sent(&SentPacket { departs: now, bytes: huge, in_flight: huge });
            let rate = RateSample {
                rate: Rate::from_bytes_per_second(u64::MAX),
                delivered: huge,
                interval: long,
                prior_delivered: huge.saturating_mul(round),
                total_delivered: huge.saturating_mul(round + 1),
                lost: huge,
                tx_in_flight: huge,
                app_limited: false,
            };
            cc.on_ack(&AckBatch {
                now,
                bytes: huge,
                newest_sent_at: now,
                rtt: Some(long),
                srtt: long,
                min_rtt: long,
                in_flight_before: huge,
                in_flight: 0,
                app_limited: false,
                round_start: true,
                rate: sampled.then_some(rate),
            });
            let window = cc.window();
            assert!(window <= MAX_WINDOW, "{}, sampled {sampled}, round {round}: {window}", entry.name);
        }
    }
}
