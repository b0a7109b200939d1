use super::{Delivery, Effect, Link, LinkSpec, Links, Loss, Neck, Schedule, Trace, Way, Ways, When};
use mpquic_base::{Duration, Ecn, Rate, Rng, Time};

const SIZE: usize = 1250;

fn mbit(n: u64) -> Rate {
    Rate::from_bits_per_second(n * 1_000_000)
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

fn link(spec: &LinkSpec, schedule: Schedule) -> Link<u64> {
    Link::new(spec, schedule.faults, Time::ZERO, &mut Rng::from_number(1))
}

/// Sends one packet per millisecond over `way` for `time`, then returns the numbers and times of what arrived.
fn stream(link: &mut Link<u64>, way: Way, time: u64) -> Vec<(u64, Time)> {
    for i in 0..time {
        link.push(way, at(i), i, SIZE, Ecn::NotEct);
    }
    let mut arrived = Vec::new();
    while let Some(next) = link.next() {
        arrived.extend(core::iter::from_fn(|| link.pop(way, next)).map(|a| (a.item, a.at)));
    }
    arrived
}

#[test]
fn a_scheduled_cut_acts_at_its_instant_even_when_nobody_asks() {
    let spec = LinkSpec::new(mbit(100), ms(10));
    let mut l = link(&spec, Schedule::new().cut(0, Ways::Both, ms(100), ms(150)));
    let arrived: Vec<u64> = stream(&mut l, Way::Down, 300).into_iter().map(|(i, _)| i).collect();
    // 0.1 ms on the wire and 10 ms of delay: number 89 arrives at 99.1 ms, number 90 would at 100.1 ms.
    let expected: Vec<u64> = (0..90).chain(150..300).collect();
    assert_eq!(arrived, expected);
    assert_eq!(l.stats().down.drops.cut, 60);
    assert_eq!(l.stats().up.packets, 0);
}

#[test]
fn a_trace_of_the_spec_sets_the_rate() {
    let trace = Trace { steps: vec![(ms(0), mbit(100)), (ms(50), mbit(1))], repeat: None };
    let spec = LinkSpec::new(mbit(5), ms(0)).both(|d| d.trace = Some(trace.clone()));
    let mut l = link(&spec, Schedule::new());
    assert_eq!(l.conditions(Way::Up, at(10)).rate, mbit(100));
    let arrived = stream(&mut l, Way::Up, 60);
    assert_eq!(arrived[49], (49, Time::from_nanos(49_100_000)));
    assert_eq!(arrived[51].1.since(arrived[50].1), ms(10), "1250 bytes at 1 Mbit/s");
}

#[test]
fn a_rate_that_returns_brings_the_next_look_forward() {
    let slow = Effect::Brownout { rate: Some(Rate::from_bytes_per_second(1)), delay: None, loss: None };
    let schedule = Schedule::new().with(0, Ways::Both, When::Between(ms(0), ms(30)), slow);
    let mut l = link(&LinkSpec::new(mbit(10), ms(0)), schedule);
    l.push(Way::Up, at(0), 1, SIZE, Ecn::NotEct);
    assert_eq!(l.next(), Some(at(30)));
    assert!(l.pop(Way::Up, at(30)).is_none());
    let due = l.next().unwrap();
    assert!((at(30)..=at(31)).contains(&due), "{due:?}");
    assert_eq!(l.pop(Way::Up, due).unwrap().item, 1);
    assert_eq!(l.next(), None, "an empty link asks for nothing");
}

#[test]
fn a_cut_by_hand_and_one_by_schedule_end_each_on_their_own() {
    let spec = LinkSpec::new(mbit(10), ms(1));
    let mut l = link(&spec, Schedule::new().cut(0, Ways::Both, ms(10), ms(20)));
    l.cut(at(5), Ways::Only(Way::Up));
    let mut is_cut = |t| (l.conditions(Way::Up, at(t)).cut, l.conditions(Way::Down, at(t)).cut);
    assert_eq!([is_cut(6), is_cut(12), is_cut(20)], [(true, false), (true, true), (true, false)]);
    l.restore(at(21), Ways::Both);
    assert!(!l.conditions(Way::Up, at(21)).cut);
}

#[test]
fn a_healed_link_has_no_faults_left() {
    let spec = LinkSpec::new(mbit(100), ms(1)).loss(Loss::Bernoulli(0.5));
    let mut l = link(&spec, Schedule::new().flap(0, ms(50), ms(100)).rebind(0, ms(10)));
    l.cut(at(0), Ways::Both);
    l.heal(at(0));
    assert_eq!(stream(&mut l, Way::Up, 1000).len(), 1000);
    assert_eq!(l.rebinds_due(at(1000)), 0);
}

#[test]
fn rebindings_are_told_once() {
    let mut l = link(&LinkSpec::new(mbit(10), ms(1)), Schedule::new().rebind(0, ms(5_000)));
    let told: Vec<u64> = [4_999, 5_000, 5_001, 21_000, 21_000].map(|t| l.rebinds_due(at(t))).to_vec();
    assert_eq!(told, [0, 1, 0, 3, 0]);
}

/// Fills every link in `way` for one second and returns how many bytes per second came out of each in the second half.
fn flood(links: &mut Links<u64>, way: Way, rate: Rate) -> Vec<u64> {
    let mut out = vec![0; links.len()];
    let gap = rate.delay(SIZE as u64);
    let mut now = Time::ZERO;
    let mut last = Time::ZERO;
    while now < at(1_000) {
        for i in 0..links.len() {
            links.push(i, way, now, 0, SIZE, Ecn::NotEct);
        }
        while let Some(Delivery { link, way: arrived, arrival }) = links.pop(now) {
            assert_eq!(arrived, way);
            assert!(arrival.at >= last, "deliveries come in order of time");
            last = arrival.at;
            out[link] += if arrival.at >= at(500) { 2 * arrival.bytes as u64 } else { 0 };
        }
        now += gap;
    }
    out
}

#[test]
fn a_shared_neck_caps_the_sum_of_its_links() {
    let twins = [LinkSpec::new(mbit(50), ms(20)), LinkSpec::new(mbit(50), ms(20))];
    let neck = Neck { spec: LinkSpec::new(mbit(60), ms(0)), links: vec![0, 1] };
    for way in Way::BOTH {
        let mut alone = Links::new(&twins, None, &Schedule::new(), Time::ZERO, 1);
        let free: u64 = flood(&mut alone, way, mbit(50)).iter().sum();
        let mut links = Links::new(&twins, Some(&neck), &Schedule::new(), Time::ZERO, 1);
        let out = flood(&mut links, way, mbit(50));
        let (mbit_free, mbit_shared) = (free * 8 / 1_000_000, out.iter().sum::<u64>() * 8 / 1_000_000);
        assert!((99..=100).contains(&mbit_free), "{mbit_free}");
        assert!((59..=60).contains(&mbit_shared), "{mbit_shared}");
        assert!(out.iter().all(|&bytes| bytes > 0), "{out:?}");
        let stats = links.neck_stats().unwrap();
        assert!(stats.up.drops.queue + stats.down.drops.queue > 0);
    }
}

#[test]
fn a_cut_of_one_link_leaves_what_has_reached_the_neck() {
    let spec = [LinkSpec::new(Rate::ZERO, ms(10))];
    let neck = Neck { spec: LinkSpec::new(Rate::ZERO, ms(30)), links: vec![0] };
    let mut links = Links::new(&spec, Some(&neck), &Schedule::new(), Time::ZERO, 1);
    for (i, t) in [(1, 0), (2, 15)] {
        links.push(0, Way::Up, at(t), i, SIZE, Ecn::NotEct);
    }
    links.cut(0, at(20), Ways::Both);
    let first = links.pop(at(100)).unwrap();
    assert_eq!((first.arrival.item, first.arrival.at), (1, at(40)));
    assert_eq!(links.pop(at(100)), None);
}

#[test]
fn links_of_one_set_do_not_share_their_luck() {
    let lossy = LinkSpec::new(Rate::ZERO, ms(1)).loss(Loss::Bernoulli(0.5));
    let outcome = |seed: u64| {
        let mut links = Links::new(&[lossy.clone(), lossy.clone()], None, &Schedule::new(), Time::ZERO, seed);
        for i in 0..200 {
            for l in 0..2 {
                links.push(l, Way::Up, Time::ZERO, i, SIZE, Ecn::NotEct);
            }
        }
        let all: Vec<_> =
            core::iter::from_fn(|| links.pop(at(1))).map(|d| (d.link, d.arrival.item)).collect();
        let of = |l| all.iter().filter(|(link, _)| *link == l).map(|(_, i)| *i).collect::<Vec<u64>>();
        (of(0), of(1))
    };
    let (a, b) = outcome(7);
    assert_ne!(a, b);
    assert_eq!((a, b), outcome(7));
}

#[test]
fn a_link_that_does_not_exist_takes_nothing() {
    let mut links: Links<u64> = Links::new(&[], None, &Schedule::new(), Time::ZERO, 1);
    assert!(links.push(3, Way::Up, at(0), 1, SIZE, Ecn::NotEct).is_some());
    links.cut(3, at(0), Ways::Both);
    assert_eq!((links.next(), links.rebinds_due(3, at(9))), (None, 0));
}

#[test]
fn a_new_schedule_counts_from_when_it_is_given_and_replaces_the_old_one() {
    let trace = Trace { steps: vec![(ms(0), mbit(100)), (ms(50), mbit(1))], repeat: None };
    let spec = LinkSpec::new(mbit(5), ms(0)).both(|d| d.trace = Some(trace.clone()));
    let mut links: Links<u64> =
        Links::new(&[spec], None, &Schedule::new().cut(0, Ways::Both, ms(10), ms(900)), Time::ZERO, 1);
    let seen = |links: &mut Links<u64>, t| {
        let now = links.link(0).unwrap().conditions(Way::Up, at(t));
        (now.cut, now.rate)
    };
    assert_eq!(seen(&mut links, 20), (true, mbit(100)));
    let schedule = Schedule::new().cut(0, Ways::Both, ms(30), ms(60)).cut(1, Ways::Both, ms(0), ms(900));
    links.reschedule(at(100), &schedule);
    // The trace of the spec begins again; only what is meant for link 0 concerns it.
    for (t, expected) in [
        (100, (false, mbit(100))),
        (129, (false, mbit(100))),
        (130, (true, mbit(100))),
        (150, (true, mbit(1))),
        (160, (false, mbit(1))),
    ] {
        assert_eq!(seen(&mut links, t), expected, "at {t} ms");
    }
}
