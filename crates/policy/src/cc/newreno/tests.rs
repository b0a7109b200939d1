use super::{AckBatch, Controller, EcnBatch, LossBatch, NewReno, Time};
use mpquic_base::Duration;

const PACKET: u64 = 1200;

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

fn ack(now: u64, sent: u64, bytes: u64) -> AckBatch {
    AckBatch {
        now: at(now),
        bytes,
        newest_sent_at: at(sent),
        rtt: None,
        srtt: Duration::from_millis(100),
        min_rtt: Duration::from_millis(100),
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

fn newreno() -> NewReno {
    NewReno::new(&super::ENTRY.defaults())
}

#[test]
fn slow_start_adds_what_was_acknowledged() {
    let mut cc = newreno();
    cc.on_ack(&ack(100, 0, 10 * PACKET));
    assert_eq!(cc.window(), 20 * PACKET);
    assert!(cc.in_slow_start());
}

#[test]
fn congestion_avoidance_adds_a_packet_per_window_however_it_is_acknowledged() {
    let mut cc = newreno();
    cc.on_ack(&ack(100, 0, 90 * PACKET));
    cc.on_loss(&loss(110, 100, false));
    assert_eq!(cc.window(), 50 * PACKET);
    // 70000 tiny acknowledgements: an integer window would drop every one of their increments.
    for _ in 0..50 * PACKET {
        cc.on_ack(&ack(200, 150, 1));
    }
    let grown = cc.window() - 50 * PACKET;
    assert!((PACKET * 98 / 100..=PACKET).contains(&grown), "grew by {grown}");
}

#[test]
fn slow_start_after_persistent_congestion_ends_at_the_threshold() {
    let mut cc = newreno();
    cc.on_ack(&ack(100, 0, 30 * PACKET));
    cc.on_loss(&loss(110, 100, true));
    assert_eq!(cc.window(), 2 * PACKET);
    assert!(cc.in_slow_start());
    // The threshold is 20 packets: 18 packets double, the other 20 are one more window.
    cc.on_ack(&ack(120, 101, 38 * PACKET));
    assert_eq!(cc.window(), 21 * PACKET);
    assert!(!cc.in_slow_start());
}

#[test]
fn a_mark_halves_like_a_loss_and_shares_its_recovery_period() {
    let mut cc = newreno();
    let mark =
        |now, sent| EcnBatch { now: at(now), newest_sent_at: at(sent), marked: 1, acked: 2, in_flight: 0 };
    cc.on_ecn(&mark(100, 50));
    assert_eq!(cc.window(), 5 * PACKET);
    cc.on_loss(&loss(120, 99, false));
    cc.on_ecn(&mark(130, 100));
    assert_eq!(cc.window(), 5 * PACKET, "sent before the reduction");
    cc.on_ack(&ack(140, 100, 5 * PACKET));
    assert_eq!(cc.window(), 5 * PACKET, "no growth from packets sent before the reduction");
    cc.on_ecn(&EcnBatch { marked: 0, ..mark(150, 140) });
    assert_eq!(cc.window(), 5 * PACKET, "no new mark, no reaction");
    cc.on_loss(&loss(210, 101, false));
    assert_eq!(cc.window(), 5 * PACKET / 2);
}

#[test]
fn larger_packets_enlarge_the_initial_window_but_not_a_learned_one() {
    let mut cc = newreno();
    cc.on_mtu(1400);
    assert_eq!(cc.window(), 14_000);
    cc.on_ack(&ack(100, 0, 1400));
    cc.on_mtu(1200);
    assert_eq!(cc.window(), 15_400);
    cc.on_mtu(9000);
    assert_eq!(cc.window(), 18_000, "room for two packets");
}
