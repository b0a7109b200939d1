use super::{LEVELS, TICK_NS, Wheel};
use crate::packet::Lane;
use mpquic_base::{Rng, Time};

fn us(n: u64) -> Time {
    Time::from_nanos(n * TICK_NS)
}

fn drain(wheel: &mut Wheel<u64>, now: Time) -> Vec<u64> {
    core::iter::from_fn(|| wheel.pop_due(now)).collect()
}

#[test]
fn control_leaves_before_data_of_the_same_tick_and_each_lane_is_first_in_first_out() {
    let mut wheel = Wheel::new(8);
    for (id, lane) in [(1, Lane::Data), (2, Lane::Control), (3, Lane::Data), (4, Lane::Control)] {
        wheel.insert(us(70_000), lane, id);
    }
    wheel.insert(us(69_999), Lane::Data, 0);
    assert_eq!(wheel.next(), Some(us(69_999)));
    assert_eq!(drain(&mut wheel, us(69_998)), []);
    assert_eq!(drain(&mut wheel, us(70_000)), [0, 2, 4, 1, 3]);
    assert_eq!(wheel.next(), None);
}

#[test]
fn an_entry_of_the_past_is_due_at_once_behind_those_that_already_wait() {
    let mut wheel = Wheel::new(8);
    assert_eq!(drain(&mut wheel, us(5000)), []);
    wheel.insert(us(5000), Lane::Data, 1);
    wheel.insert(us(10), Lane::Data, 2);
    wheel.insert(Time::ZERO, Lane::Data, 3);
    assert_eq!(wheel.next(), Some(us(5000)));
    assert_eq!(drain(&mut wheel, us(5000)), [1, 2, 3]);
}

#[test]
fn order_survives_the_way_down_through_every_level() {
    let mut wheel = Wheel::new(8);
    let at = (3 << 24) + (5 << 16) + (7 << 8) + 9;
    // Each is inserted when the same tick lies one level further down.
    for (id, now) in
        [0, 3 << 24, (3 << 24) + (5 << 16), (3 << 24) + (5 << 16) + (7 << 8)].into_iter().enumerate()
    {
        assert_eq!(drain(&mut wheel, us(now)), []);
        wheel.insert(us(at), Lane::Data, id as u64);
        assert_eq!(wheel.next(), Some(us(at)), "exact on every level");
    }
    assert_eq!(drain(&mut wheel, us(at - 1)), []);
    assert_eq!(drain(&mut wheel, us(at)), [0, 1, 2, 3]);
}

#[test]
fn what_lies_beyond_the_horizon_waits_in_the_overflow_and_keeps_its_order() {
    let mut wheel = Wheel::new(8);
    let span = 1 << 32;
    wheel.insert(us(span * 5 + 3), Lane::Data, 2);
    wheel.insert(us(span + 1), Lane::Data, 1);
    wheel.insert(us(span * 5 + 3), Lane::Data, 3);
    wheel.insert(Time::NEVER, Lane::Data, 4);
    assert_eq!(wheel.next(), Some(us(span + 1)));
    assert_eq!(drain(&mut wheel, us(span)), []);
    assert_eq!(drain(&mut wheel, us(span + 1)), [1]);
    assert_eq!(wheel.next(), Some(us(span * 5 + 3)));
    assert_eq!(drain(&mut wheel, us(span * 5 + 2)), []);
    wheel.insert(us(span * 5 + 3), Lane::Control, 0);
    assert_eq!(drain(&mut wheel, us(span * 9)), [0, 2, 3]);
    assert_eq!(wheel.len(), 1);
    assert_eq!(drain(&mut wheel, Time::NEVER), [4]);
}

#[test]
fn a_stall_of_ten_seconds_leaves_no_backlog_of_steps() {
    let mut wheel = Wheel::new(1);
    wheel.insert(us(1), Lane::Data, 1);
    wheel.insert(us(10_000_000), Lane::Data, 2);
    assert_eq!(drain(&mut wheel, us(10_000_001)), [1, 2]);
    // From a stall into new work: the clock has jumped by hours and the next microsecond is still exact.
    wheel.insert(us(40_000_000_000), Lane::Data, 3);
    assert_eq!(drain(&mut wheel, us(39_999_999_999)), []);
    assert_eq!(drain(&mut wheel, us(40_000_000_000)), [3]);
}

#[test]
fn cancelling_returns_the_matches_and_moves_the_next_time_forward() {
    let mut wheel = Wheel::new(8);
    for (id, at) in [5, 300, 70_000, 20_000_000, 1 << 33].into_iter().enumerate() {
        wheel.insert(us(at), Lane::Data, id as u64);
        wheel.insert(us(at), Lane::Control, 10 + id as u64);
    }
    let mut out = Vec::new();
    wheel.cancel(|id| *id < 10, &mut out);
    assert_eq!(out, [0, 1, 2, 3, 4]);
    assert_eq!(wheel.len(), 5);
    out.clear();
    wheel.cancel(|id| *id == 10 || *id == 11, &mut out);
    assert_eq!(out, [10, 11]);
    assert_eq!(wheel.next(), Some(us(70_000)));
    assert_eq!(drain(&mut wheel, Time::NEVER), [12, 13, 14]);
}

#[test]
fn an_entry_is_filed_a_bounded_number_of_times_however_many_others_wait() {
    let mut costs = Vec::new();
    for waiting in [10, 1_000, 100_000] {
        let mut wheel = Wheel::new(waiting);
        let mut rng = Rng::from_number(waiting as u64);
        let mut now = 0;
        for id in 0..waiting as u64 {
            wheel.insert(us(rng.below(10_000_000)), Lane::Data, id);
        }
        let mut popped = 0u64;
        while popped < 200_000 {
            now = wheel.next().map_or(now, |at| at.nanos() / TICK_NS).max(now);
            while let Some(id) = wheel.pop_due(us(now)) {
                wheel.insert(us(now + 1 + rng.below(10_000_000)), Lane::Data, id);
                popped += 1;
            }
        }
        assert_eq!(wheel.len(), waiting);
        // Once when it comes and once on each level that it falls through: never in proportion to what waits.
        let inserted = popped + waiting as u64;
        assert!(
            wheel.filed <= inserted * LEVELS as u64,
            "{} for {inserted} with {waiting} waiting",
            wheel.filed
        );
        costs.push(wheel.filed as f64 / inserted as f64);
    }
    assert!(costs.iter().all(|cost| (1.0..=4.0).contains(cost)), "{costs:?}");
}

#[test]
fn cancelling_one_path_returns_exactly_its_entries_and_leaves_the_others_on_time() {
    for seed in 0..50 {
        let mut rng = Rng::from_number(seed);
        let mut wheel = Wheel::new(0);
        // A path is a number modulo 4; what waits lies on all levels and in the overflow.
        let ends: Vec<Time> = (0..2000).map(|_| Time::from_nanos(span(&mut rng))).collect();
        for (id, at) in (0..).zip(&ends) {
            wheel.insert(*at, if id % 3 == 0 { Lane::Control } else { Lane::Data }, id);
        }
        let mut gone = Vec::new();
        wheel.cancel(|id| id % 4 == 1, &mut gone);
        gone.sort_unstable();
        assert_eq!(gone, (0..2000).filter(|id| id % 4 == 1).collect::<Vec<u64>>(), "seed {seed}");
        let mut rest: Vec<(u64, u64)> = (0..).zip(&ends).map(|(id, at)| (at.nanos() / TICK_NS, id)).collect();
        rest.retain(|(_, id)| id % 4 != 1);
        rest.sort_by_key(|(tick, id)| (*tick, id % 3 != 0, *id));
        for (tick, id) in rest {
            assert_eq!(wheel.next(), Some(us(tick)), "seed {seed}");
            assert_eq!(wheel.pop_due(us(tick)), Some(id), "seed {seed}");
        }
        assert!(wheel.is_empty());
    }
}

#[test]
fn places_are_used_again() {
    let mut wheel = Wheel::new(4);
    for round in 0..1000 {
        for id in 0..4 {
            wheel.insert(us(round * 777 + id * 300), Lane::Data, id);
        }
        assert_eq!(drain(&mut wheel, us(round * 777 + 900)).len(), 4);
        assert!(wheel.entries.capacity() <= 4);
    }
}

/// The wheel's contract as a list that is searched.
#[derive(Default)]
struct Model {
    current: u64,
    inserted: u64,
    entries: Vec<(u64, Lane, u64)>,
}

impl Model {
    fn insert(&mut self, at: Time, lane: Lane) -> u64 {
        self.inserted += 1;
        self.entries.push(((at.nanos() / TICK_NS).max(self.current), lane, self.inserted));
        self.inserted
    }

    fn pop_due(&mut self, now: Time) -> Option<u64> {
        let now = (now.nanos() / TICK_NS).max(self.current);
        let first = self.entries.iter().enumerate().min_by_key(|(_, e)| **e).map(|(i, e)| (i, e.0));
        let Some((index, tick)) = first.filter(|(_, tick)| *tick <= now) else {
            self.current = now;
            return None;
        };
        self.current = tick;
        Some(self.entries.remove(index).2)
    }

    fn next(&self) -> Option<Time> {
        self.entries.iter().min().map(|e| us(e.0))
    }

    fn cancel(&mut self, matches: impl Fn(u64) -> bool) -> Vec<u64> {
        let gone = self.entries.iter().filter(|e| matches(e.2)).map(|e| e.2).collect();
        self.entries.retain(|e| !matches(e.2));
        gone
    }
}

/// A span of nanoseconds from below a tick to days, each scale equally likely.
fn span(rng: &mut Rng) -> u64 {
    let scales =
        [1_500, 40_000, 600_000, 200_000_000, 50_000_000_000, 10_000_000_000_000, 600_000_000_000_000];
    let scale = scales[usize::try_from(rng.below(scales.len() as u64)).unwrap()];
    rng.below(scale)
}

fn pop_both(wheel: &mut Wheel<u64>, model: &mut Model, now: Time, why: &str) -> Option<u64> {
    let (popped, expected) = (wheel.pop_due(now), model.pop_due(now));
    assert_eq!(popped, expected, "{why}");
    popped
}

fn run_against_model(seed: u64) {
    let mut rng = Rng::from_number(seed);
    let (mut wheel, mut model) = (Wheel::new(0), Model::default());
    let mut now = Time::from_nanos(span(&mut rng));
    for step in 0..400 {
        let why = format!("seed {seed} step {step}");
        match rng.below(10) {
            0..5 => {
                let ahead = span(&mut rng);
                let past = if rng.chance(0.1) { span(&mut rng) } else { 0 };
                let at = Time::from_nanos((now.nanos() + ahead).saturating_sub(past));
                // Bursts: several entries for one tick, which is where order shows.
                for _ in 0..=rng.below(3) {
                    let lane = if rng.chance(0.3) { Lane::Control } else { Lane::Data };
                    wheel.insert(at, lane, model.insert(at, lane));
                }
            }
            5..7 => {
                if rng.chance(0.1) {
                    // The thread was stopped for ten seconds.
                    now = Time::from_nanos(now.nanos() + 10_000_000_000);
                }
                now = Time::from_nanos(now.nanos() + span(&mut rng));
                while pop_both(&mut wheel, &mut model, now, &why).is_some() {}
            }
            7 => {
                // To exactly the next deadline, then only some of what is due.
                now = model.next().unwrap_or(now).max(now);
                for _ in 0..rng.below(3) {
                    pop_both(&mut wheel, &mut model, now, &why);
                }
            }
            8 => drop(pop_both(&mut wheel, &mut model, now, &why)),
            _ => {
                let (modulus, rest) = (2 + rng.below(20), rng.below(2));
                let mut gone = Vec::new();
                wheel.cancel(|id| id % modulus == rest, &mut gone);
                gone.sort_unstable();
                assert_eq!(gone, model.cancel(|id| id % modulus == rest), "{why}");
            }
        }
        assert_eq!(wheel.len(), model.entries.len(), "{why}");
        assert_eq!(wheel.next(), model.next(), "{why}");
    }
    while pop_both(&mut wheel, &mut model, Time::NEVER, &format!("seed {seed} at the end")).is_some() {}
    assert!(wheel.is_empty(), "seed {seed}");
}

#[test]
fn the_wheel_agrees_with_a_sorted_list_whatever_happens() {
    for seed in 0..400 {
        run_against_model(seed);
    }
}
