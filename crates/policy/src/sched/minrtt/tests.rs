use super::{MinRtt, PathView, Pick, Scheduler, Time, Want};
use crate::sched::tests::view;
use mpquic_base::Duration;

fn pick(views: &[PathView]) -> Pick {
    MinRtt.pick(Time::ZERO, views, &Want { bytes: 1, retransmit: false })
}

fn with_rtt(id: u32, ms: u64) -> PathView {
    PathView { srtt: Duration::from_millis(ms), ..view(id) }
}

#[test]
fn the_fastest_path_with_room_is_picked() {
    let mut views = [with_rtt(0, 50), with_rtt(1, 20), with_rtt(2, 30)];
    assert_eq!(pick(&views), Pick::Send(1));
    views[1].can_send = false;
    assert_eq!(pick(&views), Pick::Send(2));
}

#[test]
fn a_backup_waits_while_another_path_is_only_full() {
    let mut views = [with_rtt(0, 50), PathView { backup: true, ..with_rtt(1, 5) }];
    assert_eq!(pick(&views), Pick::Send(0));
    views[0].can_send = false;
    assert_eq!(pick(&views), Pick::Wait);
    assert_eq!(pick(&views[1..]), Pick::Send(0));
}
