use super::{AckWish, wish};
use crate::sched::PathView;
use mpquic_base::{Duration, PathId, Rate, Time};

const MTU: u16 = 1250;
const PEER_MIN: Duration = Duration::from_millis(1);
const PEER_MAX: Duration = Duration::from_millis(25);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A path in full use, whose window is twice what it carries in a round trip.
fn busy(mbit: u64, srtt: Duration) -> PathView {
    let rate = Rate::from_bytes_per_second(mbit * 125_000);
    let carried = rate.bytes_in(srtt);
    PathView {
        id: PathId::ZERO,
        srtt,
        rttvar: Duration::ZERO,
        min_rtt: srtt,
        window: carried * 2,
        in_flight: carried,
        window_left: carried,
        rate,
        loss: 0.0,
        mtu: MTU,
        backup: false,
        ready_at: Time::ZERO,
        can_send: true,
    }
}

fn asked(paths: &[PathView]) -> AckWish {
    wish(paths, PEER_MIN, PEER_MAX).unwrap()
}

#[test]
fn a_fast_path_gets_about_eight_acks_per_round_trip() {
    // 1200 packets per round trip.
    assert_eq!(asked(&[busy(1000, ms(12))]).threshold, 63, "and no more than 64 packets each");
    // 400 packets per round trip.
    assert_eq!(asked(&[busy(100, ms(40))]), AckWish { threshold: 49, max_delay: ms(10) });
    assert_eq!(asked(&[busy(100, ms(20))]), AckWish { threshold: 24, max_delay: ms(5) });
}

#[test]
fn a_transfer_of_more_than_100_mbit_has_fewer_than_one_ack_in_ten_packets() {
    for (mbit, srtt) in [(100, 10), (150, 8), (500, 5), (1000, 2)] {
        let wish = asked(&[busy(mbit, ms(srtt))]);
        assert!(wish.threshold >= 10, "{mbit} Mbit/s at {srtt} ms: {wish:?}");
    }
}

#[test]
fn a_window_smaller_than_a_round_trip_is_what_counts() {
    let path = PathView { window: 100 * u64::from(MTU), ..busy(1000, ms(50)) };
    assert_eq!(asked(&[path]).threshold, 11);
}

#[test]
fn a_slow_path_is_left_at_what_every_receiver_does_unasked() {
    for path in [busy(1, ms(50)), busy(10, ms(20)), busy(100, ms(1))] {
        assert_eq!(asked(&[path]), AckWish { threshold: 1, max_delay: PEER_MAX });
    }
}

#[test]
fn beside_a_fast_path_the_timer_serves_a_slow_one_four_times_a_round_trip() {
    let wish = asked(&[busy(1000, ms(40)), busy(5, ms(24))]);
    assert_eq!(wish, AckWish { threshold: 63, max_delay: ms(6) });
}

#[test]
fn beside_a_fast_path_a_short_one_is_counted_because_no_timer_is_that_quick() {
    let wish = asked(&[busy(1000, ms(40)), busy(100, ms(4))]);
    assert_eq!(wish, AckWish { threshold: 4, max_delay: ms(5) });
}

#[test]
fn idle_paths_have_no_say() {
    let idle = PathView { in_flight: 0, ..busy(1, ms(2)) };
    assert_eq!(asked(&[busy(100, ms(40)), idle]).threshold, 49);
    assert_eq!(wish(&[idle], PEER_MIN, PEER_MAX), None);
    assert_eq!(wish(&[], PEER_MIN, PEER_MAX), None);
}

#[test]
fn the_delay_keeps_to_what_the_peer_allows() {
    assert_eq!(wish(&[busy(100, ms(20))], ms(8), PEER_MAX).unwrap().max_delay, ms(8));
    assert_eq!(asked(&[busy(100, ms(600))]).max_delay, PEER_MAX);
    assert_eq!(wish(&[busy(100, ms(40))], ms(1), ms(3)).unwrap().max_delay, ms(3));
}
