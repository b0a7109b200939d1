use super::{PathView, Pick, RoundRobin, Scheduler, Time, Want};
use crate::sched::tests::view;

fn picks(scheduler: &mut RoundRobin, views: &[PathView], times: usize) -> Vec<Pick> {
    let want = Want { bytes: 1, retransmit: false };
    (0..times).map(|_| scheduler.pick(Time::ZERO, views, &want)).collect()
}

#[test]
fn every_path_gets_its_turn() {
    let mut scheduler = RoundRobin { last: None };
    let mut views = [view(0), view(3), view(7)];
    let expected = [0, 1, 2, 0, 1].map(Pick::Send);
    assert_eq!(picks(&mut scheduler, &views, 5), expected);
    views[2].can_send = false;
    assert_eq!(picks(&mut scheduler, &views, 3), [0, 1, 0].map(Pick::Send), "a full path is skipped");
}

#[test]
fn the_turn_goes_on_when_the_last_path_has_gone() {
    let mut scheduler = RoundRobin { last: None };
    let views = [view(0), view(3), view(7)];
    assert_eq!(picks(&mut scheduler, &views, 2), [0, 1].map(Pick::Send));
    let left = [view(0), view(7)];
    assert_eq!(picks(&mut scheduler, &left, 2), [1, 0].map(Pick::Send));
}

#[test]
fn backups_take_turns_only_among_themselves() {
    let mut scheduler = RoundRobin { last: None };
    let backup = |id| PathView { backup: true, ..view(id) };
    let mut views = [view(0), backup(1), backup(2)];
    assert_eq!(picks(&mut scheduler, &views, 2), [0, 0].map(Pick::Send));
    views[0].can_send = false;
    assert_eq!(picks(&mut scheduler, &views, 1), [Pick::Wait]);
    assert_eq!(picks(&mut scheduler, &views[1..], 3), [0, 1, 0].map(Pick::Send));
}
