use super::{PathView, Pick, Scheduler, Soonest, Time, Want};
use crate::sched::tests::view;
use mpquic_base::{Duration, Rate};

fn pick(views: &[PathView], bytes: u64) -> Pick {
    Soonest.pick(Time::ZERO, views, &Want { bytes, retransmit: false })
}

/// 100 Mbit/s: 12,500 bytes in a millisecond.
fn path(id: u32, rtt_ms: u64) -> PathView {
    let rate = Rate::from_bits_per_second(100_000_000);
    let rtt = Duration::from_millis(rtt_ms);
    PathView { srtt: rtt, min_rtt: rtt, rate, ..view(id) }
}

const fn full(view: PathView) -> PathView {
    PathView { can_send: false, window_left: 0, ..view }
}

#[test]
fn the_quickest_path_with_room_is_taken() {
    assert_eq!(pick(&[path(0, 50), path(1, 20), path(2, 30)], 1), Pick::Send(1));
}

#[test]
fn little_data_waits_for_the_quick_path_and_much_data_does_not() {
    let views = [full(path(0, 20)), path(1, 200)];
    // One way: 10 ms and 100 ms. In between the quick path carries 90 ms of its rate.
    assert_eq!(pick(&views, 12_500 * 89), Pick::Wait);
    assert_eq!(pick(&views, 12_500 * 91), Pick::Send(1));
}

#[test]
fn the_time_until_the_quick_path_opens_counts() {
    let mut views = [full(path(0, 20)), path(1, 200)];
    views[0].ready_at = Time::from_millis(50);
    assert_eq!(pick(&views, 12_500 * 39), Pick::Wait);
    assert_eq!(pick(&views, 12_500 * 41), Pick::Send(1));
}

#[test]
fn several_quick_paths_are_worth_their_sum() {
    let views = [full(path(0, 20)), full(path(1, 20)), path(2, 200)];
    assert_eq!(pick(&views, 12_500 * 179), Pick::Wait);
    assert_eq!(pick(&views, 12_500 * 181), Pick::Send(2));
}

#[test]
fn a_quick_path_that_never_carried_anything_is_not_waited_for() {
    let views = [PathView { rate: Rate::ZERO, ..full(path(0, 20)) }, path(1, 200)];
    assert_eq!(pick(&views, 1), Pick::Send(1));
}
