use super::{
    AckBatch, Controller, Cubic, Duration, EcnBatch, Epoch, LossBatch, SentPacket, Time, reno_alpha,
};

const PACKET: u64 = 1200;
const BYTES: f64 = 1200.0;

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

fn ack(now: u64, rtt: u64, bytes: u64) -> AckBatch {
    AckBatch {
        now: at(now),
        bytes,
        newest_sent_at: at(now - rtt),
        rtt: Some(Duration::from_millis(rtt)),
        srtt: Duration::from_millis(rtt),
        min_rtt: Duration::from_millis(rtt),
        in_flight_before: bytes,
        in_flight: 0,
        app_limited: false,
        round_start: true,
        rate: None,
    }
}

fn loss(now: u64, sent: u64, persistent: bool) -> LossBatch {
    LossBatch {
        now: at(now),
        bytes: PACKET,
        packets: 1,
        newest_sent_at: at(sent),
        persistent,
        tx_in_flight: PACKET,
        lost_since: PACKET,
        in_flight_before: PACKET,
        in_flight: 0,
        srtt: Duration::from_millis(100),
        min_rtt: Duration::from_millis(100),
        total_lost: PACKET,
        total_delivered: 0,
    }
}

/// A controller whose window of 100 packets met a loss at 1 s: 70 packets are left.
fn reduced_from_100_packets() -> Cubic {
    let mut cc = Cubic::new(&super::ENTRY.defaults());
    cc.on_ack(&ack(500, 100, 90 * PACKET));
    assert_eq!(cc.window(), 100 * PACKET);
    cc.on_loss(&loss(1000, 900, false));
    assert_eq!(cc.window(), 70 * PACKET);
    cc
}

/// One acknowledgement of the whole window per RTT, `from` exclusive to `to` inclusive.
fn rounds(cc: &mut Cubic, rtt: u64, from: u64, to: u64) {
    let mut now = from + rtt;
    while now <= to {
        cc.on_ack(&ack(now, rtt, cc.window()));
        now += rtt;
    }
}

fn packets(cc: &Cubic) -> f64 {
    cc.state.window / BYTES
}

#[test]
fn the_curve_passes_through_the_points_of_rfc_9438() {
    let epoch = Epoch::begin(Time::ZERO, 70.0 * BYTES, 100.0 * BYTES, BYTES);
    // K = cbrt((100 - 70) / 0.4) = cbrt(75)
    assert!((epoch.k - 4.217_163).abs() < 1e-6, "K = {}", epoch.k);
    let w = |seconds| epoch.curve(Duration::from_secs_f64(seconds)) / BYTES;
    assert!((w(0.0) - 70.0).abs() < 1e-6);
    assert!((w(1.0) - 86.680_7).abs() < 1e-3, "W(1) = {}", w(1.0)); // 100 - 0.4 * 3.217163^3
    assert!((w(epoch.k) - 100.0).abs() < 1e-6);
    assert!((w(2.0 * epoch.k) - 130.0).abs() < 1e-6);
    assert!((w(epoch.k + 5.0) - 150.0).abs() < 1e-6, "0.4 * 5^3 above the plateau");
}

#[test]
fn the_window_follows_the_curve_to_the_plateau_and_beyond() {
    let mut cc = reduced_from_100_packets();
    rounds(&mut cc, 100, 1100, 5400);
    // The stage began with the first acknowledgement at 1.2 s; the target lies one RTT ahead.
    assert!((packets(&cc) - 100.0).abs() < 0.1, "{} packets after K", packets(&cc));
    rounds(&mut cc, 100, 5400, 1200 + 2 * 4217);
    assert!((packets(&cc) - 130.0).abs() < 2.5, "{} packets after 2 K", packets(&cc));
}

#[test]
fn the_window_grows_by_at_most_half_per_round_trip() {
    let mut cc = reduced_from_100_packets();
    rounds(&mut cc, 100, 1100, 1300);
    // A minute in which only the ACKs were missing: the curve runs far ahead.
    let before = packets(&cc);
    cc.on_ack(&ack(61_000, 100, cc.window()));
    assert!((packets(&cc) / before - 1.5).abs() < 1e-4);
}

#[test]
fn on_a_short_path_the_window_follows_reno() {
    assert!((reno_alpha(0.7) - 0.529_411).abs() < 1e-6);
    let mut cc = reduced_from_100_packets();
    rounds(&mut cc, 1, 1001, 1011);
    assert!((packets(&cc) - 70.0 - 10.0 * 0.529_4).abs() < 0.1, "{}", packets(&cc));
    rounds(&mut cc, 1, 1011, 1100);
    // 10 rounds were there, 47 more reach 100 packets at 0.53 each, the last 42 add one packet each.
    assert!((packets(&cc) - 142.0).abs() < 1.0, "{}", packets(&cc));
    let epoch = cc.state.epoch.unwrap();
    assert!(epoch.reno > 100.0 * BYTES, "the old window is passed");
    let before = epoch.reno;
    rounds(&mut cc, 1, 1100, 1110);
    let slope = (cc.state.epoch.unwrap().reno - before) / BYTES / 10.0;
    assert!((0.98..=1.01).contains(&slope), "then a full packet per round trip, not {slope}");
}

#[test]
fn single_byte_acknowledgements_grow_the_window_as_much_as_one_large_one() {
    let (mut whole, mut split) = (reduced_from_100_packets(), reduced_from_100_packets());
    for cc in [&mut whole, &mut split] {
        rounds(cc, 100, 1100, 1500);
    }
    let bytes = whole.window();
    whole.on_ack(&ack(1600, 100, bytes));
    for _ in 0..bytes {
        split.on_ack(&ack(1600, 100, 1));
    }
    let start = 70.0;
    let ratio = (packets(&split) - start) / (packets(&whole) - start);
    assert!((0.8..=1.2).contains(&ratio), "{} against {}", packets(&split), packets(&whole));
}

#[test]
fn fast_convergence_lowers_the_plateau_once_and_only_below_the_old_one() {
    let mut cc = reduced_from_100_packets();
    assert_eq!(cc.state.plateau, 100.0 * BYTES);
    cc.on_loss(&loss(1100, 1050, false));
    assert!((cc.state.plateau - 70.0 * 0.85 * BYTES).abs() < 1e-6);
    assert!((packets(&cc) - 49.0).abs() < 1e-6, "the reduction itself is not doubled");
}

#[test]
fn time_limited_by_the_application_does_not_advance_the_curve() {
    let (mut busy, mut paused) = (reduced_from_100_packets(), reduced_from_100_packets());
    for cc in [&mut busy, &mut paused] {
        rounds(cc, 100, 1100, 2000);
    }
    for now in (2100..=60_000).step_by(100) {
        paused.on_ack(&AckBatch { app_limited: true, ..ack(now, 100, 2 * PACKET) });
    }
    rounds(&mut busy, 100, 2000, 3000);
    rounds(&mut paused, 100, 60_000, 61_000);
    assert_eq!(packets(&busy), packets(&paused));
}

#[test]
fn an_idle_path_does_not_advance_the_curve() {
    let mut cc = reduced_from_100_packets();
    rounds(&mut cc, 100, 1100, 2000);
    cc.on_sent(&SentPacket { departs: at(60_000), bytes: PACKET, in_flight: PACKET });
    cc.on_sent(&SentPacket { departs: at(60_050), bytes: PACKET, in_flight: 2 * PACKET });
    cc.on_ack(&ack(60_100, 100, cc.window()));
    assert_eq!(cc.state.epoch.unwrap().elapsed, Duration::from_millis(800 + 100));
}

#[test]
fn a_spurious_loss_restores_window_curve_and_recovery_period() {
    let mut cc = reduced_from_100_packets();
    rounds(&mut cc, 100, 1100, 3000);
    let before = cc.state;
    cc.on_loss(&loss(3050, 3000, false));
    cc.on_loss(&loss(3060, 3010, false));
    assert!(cc.window() < 70 * PACKET);
    cc.on_spurious_loss(at(3100));
    assert_eq!(cc.state.window, before.window);
    assert_eq!(cc.state.threshold, before.threshold);
    assert_eq!(cc.state.plateau, before.plateau);
    assert_eq!(cc.state.epoch.unwrap().elapsed, before.epoch.unwrap().elapsed);
    assert!(!cc.recovery.covers(at(3010)), "a later real loss of that flight counts");
    cc.on_spurious_loss(at(3200));
    assert_eq!(cc.state.window, before.window, "there is nothing more to undo");
}

#[test]
fn a_spurious_loss_in_slow_start_resumes_it() {
    let mut cc = Cubic::new(&super::ENTRY.defaults());
    cc.on_loss(&loss(100, 50, true));
    assert_eq!(cc.window(), 2 * PACKET);
    cc.on_spurious_loss(at(150));
    assert_eq!(cc.window(), 10 * PACKET);
    assert!(cc.in_slow_start());
}

#[test]
fn a_mark_reduces_less_than_a_loss_and_is_never_undone() {
    let mut cc = reduced_from_100_packets();
    let mark = EcnBatch { now: at(1200), newest_sent_at: at(1100), marked: 1, acked: 10, in_flight: 0 };
    cc.on_ecn(&mark);
    assert_eq!(cc.window(), 56 * PACKET);
    cc.on_spurious_loss(at(1210));
    assert_eq!(cc.window(), 56 * PACKET);

    let mut cc = reduced_from_100_packets();
    cc.on_ecn(&EcnBatch { newest_sent_at: at(950), ..mark });
    assert_eq!(cc.window(), 70 * PACKET, "one reduction for one flight");
    cc.on_spurious_loss(at(1210));
    assert_eq!(cc.window(), 70 * PACKET, "the mark stands");
}

#[test]
fn persistent_congestion_forgets_the_plateau() {
    let mut cc = reduced_from_100_packets();
    cc.on_loss(&loss(5000, 4900, true));
    assert_eq!(cc.window(), 2 * PACKET);
    assert!(cc.in_slow_start());
    cc.on_ack(&ack(5200, 100, 100 * PACKET));
    assert!((packets(&cc) - 49.0).abs() < 1e-6, "slow start to 0.7 x 70 packets, not {}", packets(&cc));
    cc.on_ack(&ack(5300, 100, PACKET));
    assert_eq!(cc.state.epoch.unwrap().k, 0.0);
}

#[test]
fn rising_delay_ends_slow_start_without_a_loss() {
    let grow = |hystart| {
        let mut cc = Cubic::new(&super::ENTRY.settings(&[("hystart", hystart)]).unwrap());
        let mut now = 1000;
        for round in 0..9 {
            let rtt = 40 + 10 * round;
            now += rtt;
            for i in 0..10 {
                cc.on_ack(&AckBatch { round_start: i == 0, ..ack(now, rtt, 2 * PACKET) });
            }
        }
        cc
    };
    let with = grow(1.0);
    assert!(!with.in_slow_start());
    assert_eq!(with.state.epoch.unwrap().k, 0.0, "the plateau is where slow start ended");
    let without = grow(0.0);
    assert!(without.in_slow_start());
    assert_eq!(without.window(), (10 + 9 * 20) * PACKET);
}

#[test]
fn a_new_packet_size_redraws_the_curve_from_the_same_window() {
    let mut cc = reduced_from_100_packets();
    rounds(&mut cc, 100, 1100, 2000);
    let before = cc.window();
    cc.on_mtu(1400);
    assert_eq!(cc.window(), before);
    cc.on_ack(&ack(2100, 100, 1400));
    let epoch = cc.state.epoch.unwrap();
    assert_eq!((epoch.packet, epoch.plateau), (1400.0, 100.0 * BYTES));
    assert!(cc.window() < before + 1400);
}
