use super::{Effect, Fault, Timeline, Trace, Ways, When};
use crate::link::{Conditions, Loss, Schedule, Way};
use mpquic_base::{Duration, Rate};

const NOMINAL: Conditions = Conditions {
    rate: Rate::from_bytes_per_second(1000),
    delay: Duration::from_millis(20),
    loss: Loss::None,
    mtu: 1500,
    cut: false,
};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn timeline(schedule: Schedule) -> Timeline {
    Timeline::new(schedule.faults)
}

/// Every edge up to `end`, with what holds for `way` from there on.
fn edges(timeline: &Timeline, way: Way, end: Duration) -> Vec<(u64, Conditions)> {
    let mut found = Vec::new();
    let mut t = Duration::ZERO;
    while let Some(edge) = timeline.next_edge(t).filter(|&edge| edge <= end) {
        assert!(edge > t, "edges go forward");
        found.push((u64::try_from(edge.as_millis()).unwrap(), timeline.conditions(way, NOMINAL, edge)));
        t = edge;
    }
    found
}

#[test]
fn a_cut_of_one_direction_leaves_the_other_alone() {
    let t = timeline(Schedule::new().cut(0, Ways::Only(Way::Up), ms(10), ms(20)));
    let up: Vec<_> = edges(&t, Way::Up, ms(100)).into_iter().map(|(at, c)| (at, c.cut)).collect();
    assert_eq!(up, [(10, true), (20, false)]);
    assert!(edges(&t, Way::Down, ms(100)).iter().all(|(_, c)| !c.cut));
}

#[test]
fn a_flap_is_down_for_its_time_in_every_period() {
    let t = timeline(Schedule::new().flap(0, ms(300), ms(2_000)));
    let down: Vec<_> = edges(&t, Way::Down, ms(6_500)).into_iter().map(|(at, c)| (at, c.cut)).collect();
    assert_eq!(
        down,
        [(2_000, true), (2_300, false), (4_000, true), (4_300, false), (6_000, true), (6_300, false)]
    );
}

#[test]
fn a_brownout_changes_what_it_names_and_gives_it_back() {
    let effect = Effect::Brownout { rate: None, delay: Some(ms(200)), loss: Some(Loss::Bernoulli(0.05)) };
    let t = timeline(Schedule::new().with(0, Ways::Both, When::Between(ms(3), ms(8)), effect));
    let found = edges(&t, Way::Up, ms(100));
    let worse = Conditions { delay: ms(200), loss: Loss::Bernoulli(0.05), ..NOMINAL };
    assert_eq!(found, [(3, worse), (8, NOMINAL)]);
}

#[test]
fn a_black_hole_opens_once_and_never_raises_the_mtu() {
    let t = timeline(Schedule::new().black_hole(0, 1280, ms(2)).black_hole(0, 9000, ms(4)));
    let mtus: Vec<_> = edges(&t, Way::Up, ms(100)).into_iter().map(|(at, c)| (at, c.mtu)).collect();
    assert_eq!(mtus, [(2, 1280), (4, 1280)]);
}

#[test]
fn a_trace_holds_its_last_rate_or_repeats() {
    let rate = Rate::from_bytes_per_second;
    let steps = vec![(ms(2), rate(5)), (ms(6), rate(7))];
    let once = Trace { steps: steps.clone(), repeat: None };
    let rates = |trace| -> Vec<_> {
        let t = timeline(Schedule::new().rates(0, Ways::Both, trace));
        edges(&t, Way::Up, ms(17)).into_iter().map(|(at, c)| (at, c.rate.bytes_per_second())).collect()
    };
    assert_eq!(rates(once), [(2, 5), (6, 7)]);
    let repeating = Trace { steps, repeat: Some(ms(10)) };
    assert_eq!(rates(repeating), [(2, 5), (6, 7), (10, 1000), (12, 5), (16, 7)]);
}

#[test]
fn rebindings_are_counted_and_change_no_condition() {
    let t = timeline(Schedule::new().rebind(0, ms(5)));
    assert_eq!(t.next_edge(Duration::ZERO), None);
    let counts: Vec<u64> = [0, 4, 5, 9, 10, 26].into_iter().map(|at| t.rebinds_by(ms(at))).collect();
    assert_eq!(counts, [0, 0, 1, 1, 2, 5]);
}

#[test]
fn a_period_of_zero_does_not_stop_the_clock() {
    let when = When::Every { first: ms(1), period: Duration::ZERO, lasts: ms(1) };
    let t = Timeline::new(vec![Fault { link: 0, ways: Ways::Both, when, effect: Effect::Cut }]);
    let edge = t.next_edge(ms(1)).unwrap();
    assert!(edge > ms(1));
    let trace = Trace { steps: vec![(ms(1), Rate::ZERO)], repeat: Some(Duration::ZERO) };
    assert_eq!(trace.next_edge(ms(1)), None);
}
