//! RTT samples, by the path that an ACK took and by what it acknowledged; loss and probe timers by the numbers of RFC 9002.

use super::{AckMeta, Fates, Recovery, Space, Verdict};
use crate::space::{Departure, State};
use mpquic_base::{Duration, Rng, Time};
use mpquic_policy::cc;

struct Bench {
    recovery: Recovery,
    space: Space,
    now: Time,
}

impl Bench {
    fn new() -> Self {
        let controller = (cc::ALL[0].build)(&cc::ALL[0].defaults());
        let recovery = Recovery::new(Duration::from_millis(333), controller, true);
        Self { recovery, space: Space::new(&mut Rng::from_number(1)), now: Time::from_millis(1) }
    }

    /// One packet goes out and is acknowledged after `rtt`.
    fn round(&mut self, rtt: u64, same_path: bool) {
        let pn = self.space.sent.next_pn();
        self.recovery.on_sent(&mut self.space, Departure::new(self.now, 1200, true, true), &[]);
        self.now += Duration::from_millis(rtt);
        let meta = AckMeta {
            now: self.now,
            largest: pn,
            delay: Duration::ZERO,
            same_path,
            max_ack_delay: Duration::ZERO,
        };
        let acked = core::iter::once(pn..pn + 1);
        self.recovery.on_ack(&mut self.space, meta, acked, &mut Fates::default()).unwrap();
    }

    fn rtt(&self) -> (u64, u64) {
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap();
        (millis(self.recovery.rtt.smoothed()), millis(self.recovery.rtt.min()))
    }
}

#[test]
fn a_peer_that_acknowledges_over_another_path_alone_still_yields_an_rtt() {
    let mut bench = Bench::new();
    bench.round(80, false);
    assert_eq!(bench.rtt(), (80, 80));
}

#[test]
fn acks_over_another_path_do_not_disturb_samples_that_come_straight_back() {
    let mut bench = Bench::new();
    bench.round(20, true);
    bench.round(300, false);
    assert_eq!(bench.rtt(), (20, 20));
}

#[test]
fn a_new_way_back_has_a_new_minimum() {
    let mut bench = Bench::new();
    bench.round(20, true);
    bench.now += Duration::from_secs(2);
    bench.round(300, false);
    assert_eq!(bench.rtt().1, 300, "the peer changed its way of acknowledging");
    bench.round(20, true);
    assert_eq!(bench.rtt().1, 20);
}

impl Bench {
    fn send(&mut self, eliciting: bool) -> u64 {
        let pn = self.space.sent.next_pn();
        self.recovery.on_sent(&mut self.space, Departure::new(self.now, 1200, eliciting, eliciting), &[]);
        pn
    }

    /// The peer acknowledges `range` at `at` ms, having waited for `delay` ms.
    fn ack(&mut self, at: u64, range: core::ops::Range<u64>, delay: u64) -> Verdict {
        self.now = Time::from_millis(at);
        let meta = AckMeta {
            now: self.now,
            largest: range.end - 1,
            delay: Duration::from_millis(delay),
            same_path: true,
            max_ack_delay: Duration::from_millis(25),
        };
        let ranges = core::iter::once(range);
        self.recovery.on_ack(&mut self.space, meta, ranges, &mut Fates::default()).unwrap()
    }

    fn state(&self, pn: u64) -> State {
        self.space.sent.get(pn).map_or(State::Acked, |p| p.state)
    }
}

#[test]
fn the_first_sample_is_taken_as_it_is_and_later_ones_are_smoothed() {
    let mut bench = Bench::new();
    assert_eq!(bench.recovery.pto_interval(Duration::ZERO), Duration::from_millis(999));
    bench.send(true);
    bench.ack(101, 0..1, 80);
    assert_eq!(bench.rtt(), (100, 100), "the delay of the peer is no part of the first");
    assert_eq!(bench.recovery.rtt.variance(), Duration::from_millis(50));
    bench.now = Time::from_millis(200);
    bench.send(true);
    bench.ack(380, 1..2, 20);
    // 180 less 20 of delay: srtt 7/8 of 100 and 1/8 of 160, variance 3/4 of 50 and 1/4 of 60.
    assert_eq!(bench.recovery.rtt.smoothed(), Duration::from_micros(107_500));
    assert_eq!(bench.recovery.rtt.variance(), Duration::from_micros(52_500));
    bench.now = Time::from_millis(400);
    bench.send(true);
    bench.ack(510, 2..3, 25);
    // Taking the delay off would leave less than the minimum.
    assert_eq!(bench.rtt().1, 100);
    assert_eq!(bench.recovery.rtt.smoothed(), Duration::from_nanos(107_812_500));
}

#[test]
fn an_ack_is_a_sample_only_if_its_largest_is_new_and_something_elicited_it() {
    let mut bench = Bench::new();
    bench.round(100, true);
    bench.send(true);
    bench.send(false);
    bench.send(false);
    let (at, before) = (500, bench.rtt());
    bench.ack(at, 2..3, 0);
    assert_eq!(bench.rtt(), before, "nothing eliciting");
    bench.ack(at + 100, 1..3, 0);
    assert_eq!(bench.rtt(), before, "the largest is not new");
    bench.send(true);
    bench.ack(at + 300, 4..5, 0).progress.then_some(()).unwrap();
    assert!(bench.rtt().0 > before.0);
}

#[test]
fn three_packets_or_an_eighth_of_a_round_trip_make_a_loss() {
    let mut bench = Bench::new();
    bench.round(100, true);
    for _ in 0..6 {
        bench.send(true);
    }
    let verdict = bench.ack(201, 4..5, 0);
    assert_eq!(verdict.lost.len(), 1, "three below the largest: packet 1");
    assert_eq!(
        (bench.state(1), bench.state(2), bench.state(5)),
        (State::Lost, State::Outstanding, State::Outstanding)
    );
    // 9/8 of the round trip after they were sent: 112.5 ms.
    let at = bench.space.loss_at.unwrap();
    assert_eq!(at.since(Time::from_millis(101)), Duration::from_micros(112_500));
    let mut fates = Fates::default();
    let verdict = bench.recovery.on_loss_timer(&mut bench.space, at, Duration::ZERO, &mut fates);
    assert_eq!(verdict.lost.len(), 2);
    assert_eq!((bench.state(3), bench.state(5)), (State::Lost, State::Outstanding), "none above the largest");
}

#[test]
fn a_probe_timeout_declares_nothing_lost_doubles_and_starts_over_with_an_ack() {
    let mut bench = Bench::new();
    bench.round(100, true);
    bench.send(true);
    let pto = Duration::from_millis(100 + 4 * 50 + 25);
    let delay = Duration::from_millis(25);
    let at = |bench: &mut Bench| bench.recovery.pto_at(&mut bench.space, delay).unwrap().since(bench.now);
    assert_eq!(at(&mut bench), pto);
    bench.recovery.on_pto();
    assert_eq!(at(&mut bench), pto * 2);
    assert_eq!((bench.state(1), bench.recovery.in_flight()), (State::Outstanding, 1200));
    bench.ack(300, 1..2, 0);
    bench.send(true);
    assert!(at(&mut bench) < pto * 2);
}

#[test]
fn a_round_of_losses_longer_than_three_probe_timeouts_is_persistent_congestion() {
    for (span, broken, collapses) in [(3000, false, true), (500, false, false), (3000, true, false)] {
        let mut bench = Bench::new();
        let cubic = mpquic_policy::Entry::find(cc::ALL, "cubic").unwrap();
        let controller = (cubic.build)(&cubic.defaults());
        bench.recovery = Recovery::new(Duration::from_millis(333), controller, true);
        bench.round(100, true);
        bench.send(true);
        bench.now += Duration::from_millis(span / 2);
        bench.send(true);
        bench.now += Duration::from_millis(span / 2);
        bench.send(true);
        for _ in 0..4 {
            bench.send(true);
        }
        let at = bench.now.nanos() / 1_000_000 + 100;
        if broken {
            bench.ack(at, 2..3, 0);
        }
        bench.ack(at + 1, 4..8, 0);
        // The least window, two packets, and what slow start adds for the four that arrived.
        let window = bench.recovery.window();
        assert_eq!(window <= 6 * 1200, collapses, "{span} {broken}: {window}");
    }
}

#[test]
fn a_packet_thought_lost_that_arrives_widens_the_thresholds() {
    let mut bench = Bench::new();
    bench.round(100, true);
    for _ in 0..6 {
        bench.send(true);
    }
    bench.ack(201, 4..5, 0);
    assert_eq!(bench.state(1), State::Lost);
    bench.ack(203, 1..2, 0);
    assert_eq!((bench.recovery.spurious_losses, bench.recovery.packet_threshold), (1, 4));
}
