//! Schedulers: what none of them may do, whatever it prefers.

use mpquic_base::{Duration, PathId, Rate, Rng, Time};
use mpquic_policy::sched::{self, PathView, Pick, Scheduler, Want};
use std::collections::HashSet;

const WANT: Want = Want { bytes: 100_000, retransmit: false };

fn view(id: u32) -> PathView {
    PathView {
        id: PathId(id),
        srtt: Duration::from_millis(30),
        rttvar: Duration::from_millis(3),
        min_rtt: Duration::from_millis(25),
        window: 60_000,
        in_flight: 6_000,
        window_left: 54_000,
        rate: Rate::from_bits_per_second(16_000_000),
        loss: 0.0,
        mtu: 1400,
        backup: false,
        ready_at: Time::ZERO,
        can_send: true,
    }
}

fn full(view: PathView) -> PathView {
    PathView { in_flight: view.window, window_left: 0, can_send: false, ..view }
}

fn backup(view: PathView) -> PathView {
    PathView { backup: true, ..view }
}

fn for_each(mut property: impl FnMut(&str, &mut dyn Scheduler)) {
    for entry in sched::ALL {
        property(entry.name, (entry.build)(&entry.defaults()).as_mut());
    }
}

fn random_views(rng: &mut Rng) -> Vec<PathView> {
    let count = 1 + rng.below(8);
    let mut id = 0;
    (0..count)
        .map(|_| {
            id += 1 + u32::try_from(rng.below(3)).expect("below 3");
            let window = 2400 + rng.below(1_000_000);
            let open = rng.chance(0.6);
            let in_flight = if open { rng.below(window - 2000) } else { window };
            PathView {
                id: PathId(id),
                srtt: Duration::from_micros(rng.below(500_000)),
                rttvar: Duration::from_micros(rng.below(100_000)),
                min_rtt: Duration::from_micros(rng.below(500_000)),
                window,
                in_flight,
                window_left: window - in_flight,
                rate: Rate::from_bytes_per_second(rng.below(100_000_000)),
                loss: rng.unit(),
                mtu: 1200 + u16::try_from(rng.below(300)).expect("below 300"),
                backup: rng.chance(0.3),
                ready_at: Time::from_nanos(rng.below(2_000_000_000)),
                can_send: open,
            }
        })
        .collect()
}

#[test]
fn the_default_is_soonest_and_names_are_unique() {
    let mut names = HashSet::new();
    for entry in sched::ALL {
        assert!(names.insert(entry.name), "{} is listed twice", entry.name);
        assert!(!entry.about.is_empty() && !entry.about.contains('\n'), "{}: one line about it", entry.name);
        for t in entry.tunables {
            assert!(t.min <= t.default && t.default <= t.max, "{}.{}: {t:?}", entry.name, t.name);
            for value in [t.min, t.max] {
                let settings = entry.settings(&[(t.name, value)]).unwrap();
                let pick = (entry.build)(&settings).pick(Time::ZERO, &[view(0)], &WANT);
                assert_eq!(pick, Pick::Send(0), "{}.{} = {value}", entry.name, t.name);
            }
        }
    }
    assert_eq!(sched::ALL[0].name, "soonest");
}

#[test]
fn random_paths_are_never_picked_when_full_nor_backups_while_others_exist() {
    for seed in 0..300 {
        let mut rng = Rng::from_number(seed);
        let rounds: Vec<_> = (0..50).map(|_| random_views(&mut rng)).collect();
        for_each(|name, scheduler| {
            for (round, views) in rounds.iter().filter(|v| v.iter().any(|v| v.can_send)).enumerate() {
                let now = Time::from_millis(round as u64);
                let want = Want { bytes: 1 << (round % 24), retransmit: round % 7 == 0 };
                let Pick::Send(index) = scheduler.pick(now, views, &want) else { continue };
                let at = format!("{name}, seed {seed}, round {round}: picked {index} of {views:?}");
                assert!(views.get(index).is_some_and(|v| v.can_send), "{at}");
                assert!(!views[index].backup || views.iter().all(|v| v.backup), "{at}");
            }
        });
    }
}

#[test]
fn the_only_path_is_used_whenever_it_can_send() {
    for_each(|name, scheduler| {
        for only in [view(0), view(5), backup(view(9))] {
            for ms in 0..50 {
                let pick = scheduler.pick(Time::from_millis(ms), &[only], &WANT);
                assert_eq!(pick, Pick::Send(0), "{name}: {only:?}");
            }
        }
    });
}

#[test]
fn nobody_waits_while_every_path_can_send() {
    for seed in 0..300 {
        let mut views = random_views(&mut Rng::from_number(seed));
        for view in &mut views {
            *view = PathView { can_send: true, window_left: 20_000, backup: false, ..*view };
        }
        for_each(|name, scheduler| {
            for ms in 0..50 {
                let pick = scheduler.pick(Time::from_millis(ms), &views, &WANT);
                assert!(matches!(pick, Pick::Send(_)), "{name}, seed {seed}: waits although all can send");
            }
        });
    }
}

#[test]
fn nobody_waits_for_a_full_path_that_is_no_better() {
    for_each(|name, scheduler| {
        let slow = PathView { srtt: Duration::from_secs(2), min_rtt: Duration::from_secs(2), ..view(1) };
        let views = [view(0), full(slow)];
        for ms in 0..50 {
            let pick = scheduler.pick(Time::from_millis(ms), &views, &WANT);
            assert_eq!(pick, Pick::Send(0), "{name}: waits for a path that is slower and full");
        }
    });
}

#[test]
fn a_backup_is_kept_for_when_no_other_path_is_left() {
    for_each(|name, scheduler| {
        let spare = PathView { srtt: Duration::from_millis(1), ..backup(view(1)) };
        for ms in 0..20 {
            let now = Time::from_millis(ms);
            assert_eq!(scheduler.pick(now, &[view(0), spare], &WANT), Pick::Send(0), "{name}");
            assert_eq!(scheduler.pick(now, &[full(view(0)), spare], &WANT), Pick::Wait, "{name}");
            assert_eq!(scheduler.pick(now, &[spare], &WANT), Pick::Send(0), "{name}");
        }
        let mut used = HashSet::new();
        for ms in 0..20 {
            let views = [full(spare), backup(view(2)), backup(view(3))];
            if let Pick::Send(index) = scheduler.pick(Time::from_millis(ms), &views, &WANT) {
                used.insert(index);
            }
        }
        assert!(!used.is_empty() && !used.contains(&0), "{name}: among backups the rules are the usual ones");
    });
}
