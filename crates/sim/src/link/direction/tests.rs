use super::{Conditions, Direction};
use crate::link::{
    Cause, CodelSpec, DirectionSpec, Discipline, Limit, Loss, MIN_QUEUE_BYTES, Queue, Reorder,
};
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

/// A 10 Mbit/s direction (1 ms per packet of SIZE) with a queue that never fills.
fn spec(delay: Duration) -> DirectionSpec {
    let queue = Queue { limit: Limit::Bytes(u64::MAX), discipline: Discipline::TailDrop };
    DirectionSpec { queue, ..DirectionSpec::new(mbit(10), delay) }
}

fn build(spec: DirectionSpec, seed: u64) -> Direction<u64> {
    Direction::new(spec, Rng::from_number(seed))
}

/// Pushes packet `i` at `i * gap` and returns (number, arrival time) in the order of arrival.
fn run(direction: &mut Direction<u64>, packets: u64, gap: Duration) -> Vec<(u64, Time)> {
    let mut arrivals = Vec::new();
    for i in 0..packets {
        let now = Time::ZERO + gap * u32::try_from(i).unwrap();
        direction.push(now, i, SIZE, Ecn::Ect0);
        arrivals.extend(core::iter::from_fn(|| direction.pop(now)).map(|a| (a.item, a.at)));
    }
    arrivals.extend(drain(direction));
    balance(direction);
    arrivals
}

/// Follows `next` until nothing is left, the way a driver does.
fn drain(direction: &mut Direction<u64>) -> Vec<(u64, Time)> {
    let mut arrivals = Vec::new();
    while let Some(next) = direction.next() {
        while let Some(arrival) = direction.pop(next) {
            assert!(arrival.at <= next, "handed out before it arrived");
            arrivals.push((arrival.item, arrival.at));
        }
    }
    arrivals
}

fn balance(direction: &Direction<u64>) {
    let s = direction.stats();
    assert_eq!(
        s.packets + s.duplicated,
        s.delivered + s.drops.total() + s.queue_packets + s.in_flight,
        "{s:?}"
    );
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
}

#[test]
fn packets_take_exactly_their_size_over_the_rate_plus_the_delay() {
    // 7 Mbit/s does not divide: one packet takes 1,428,571.43 ns, and a thousand must not gather 430 ns of error.
    let rate = mbit(7);
    let mut direction = build(DirectionSpec { rate, ..spec(ms(20)) }, 1);
    let arrivals = run(&mut direction, 1000, Duration::ZERO);
    assert_eq!(arrivals.len(), 1000);
    for (i, at) in arrivals {
        let bits = u128::from(i + 1) * SIZE as u128 * 1_000_000_000;
        let sent = u64::try_from(bits.div_ceil(u128::from(rate.bytes_per_second()))).unwrap();
        assert_eq!(at, Time::from_nanos(sent + 20_000_000), "packet {i}");
    }
}

#[test]
fn an_idle_direction_forgets_what_it_sent() {
    let mut direction = build(spec(ms(20)), 1);
    let arrivals = run(&mut direction, 5, ms(7));
    let expected: Vec<_> = (0..5).map(|i| (i, at(i * 7 + 1 + 20))).collect();
    assert_eq!(arrivals, expected);
}

#[test]
fn a_direction_without_a_rate_only_delays() {
    let mut direction = build(DirectionSpec { rate: Rate::ZERO, ..spec(ms(5)) }, 1);
    assert_eq!(run(&mut direction, 3, Duration::ZERO), [(0, at(5)), (1, at(5)), (2, at(5))]);
}

#[test]
fn a_rate_change_takes_effect_in_the_middle_of_a_packet() {
    let mut direction = build(spec(Duration::ZERO), 1);
    for i in 0..2 {
        direction.push(Time::ZERO, i, SIZE, Ecn::NotEct);
    }
    // Half of the first packet has left; the other half and the second packet go at a tenth of the rate.
    let change = Time::from_nanos(500_000);
    direction.set(change, Conditions { rate: mbit(1), ..direction.conditions() });
    assert_eq!(drain(&mut direction), [(0, Time::from_nanos(5_500_000)), (1, Time::from_nanos(15_500_000))]);
}

#[test]
fn jitter_keeps_the_order_the_mean_and_the_deviation() {
    for seed in 0..4 {
        let mut s = DirectionSpec { rate: Rate::ZERO, ..spec(ms(50)) };
        s.jitter.deviation = ms(8);
        let mut direction = build(s, seed);
        let arrivals = run(&mut direction, 200_000, ms(1));
        assert!(arrivals.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1), "seed {seed}");
        let delays: Vec<f64> = arrivals.iter().map(|(i, t)| t.since(at(*i)).as_secs_f64() * 1e3).collect();
        let (mean, deviation) = mean_and_deviation(&delays);
        assert!((49.0..52.0).contains(&mean), "seed {seed}: mean {mean} ms");
        assert!((7.0..9.0).contains(&deviation), "seed {seed}: deviation {deviation} ms");
    }
}

#[test]
fn jitter_that_may_reorder_reorders_and_is_normal() {
    let mut s = DirectionSpec { rate: Rate::ZERO, ..spec(ms(50)) };
    (s.jitter.deviation, s.jitter.reorders) = (ms(8), true);
    let mut direction = build(s, 5);
    let arrivals = run(&mut direction, 50_000, ms(1));
    let overtaken = arrivals.windows(2).filter(|w| w[0].0 > w[1].0).count();
    assert!(overtaken > 10_000, "{overtaken} of 50000");
    let delays: Vec<f64> = arrivals.iter().map(|(i, t)| t.since(at(*i)).as_secs_f64() * 1e3).collect();
    let (mean, deviation) = mean_and_deviation(&delays);
    assert!((mean - 50.0).abs() < 0.2 && (deviation - 8.0).abs() < 0.2, "{mean} ± {deviation} ms");
    let within = delays.iter().filter(|d| (*d - mean).abs() < deviation).count() as f64 / 50_000.0;
    assert!((within - 0.683).abs() < 0.02, "{within} within one deviation");
}

#[test]
fn the_reorder_rule_holds_back_its_share_by_its_time() {
    let reorder = Some(Reorder { p: 0.1, extra: ms(30) });
    let mut direction = build(DirectionSpec { reorder, ..spec(ms(20)) }, 3);
    let arrivals = run(&mut direction, 10_000, ms(1));
    let late = arrivals.iter().filter(|(i, t)| *t == at(i + 1 + 20 + 30)).count();
    let on_time = arrivals.iter().filter(|(i, t)| *t == at(i + 1 + 20)).count();
    assert_eq!(late + on_time, 10_000);
    // 10000 draws at 0.1: three standard deviations are 90.
    assert!((910..=1090).contains(&late), "{late} held back");
    assert_eq!(direction.stats().reordered, late as u64);
}

#[test]
fn bernoulli_loss_is_within_three_standard_deviations() {
    for (seed, p) in [(1, 0.005), (2, 0.02), (3, 0.5)] {
        let mut direction =
            build(DirectionSpec { loss: Loss::Bernoulli(p), rate: Rate::ZERO, ..spec(ms(1)) }, seed);
        let arrived = run(&mut direction, 100_000, Duration::ZERO).len();
        let lost = direction.stats().drops.loss;
        assert_eq!(arrived as u64 + lost, 100_000);
        let sigma = (100_000.0 * p * (1.0 - p)).sqrt();
        assert!((lost as f64 - 100_000.0 * p).abs() < 3.0 * sigma, "seed {seed}: {lost} lost at {p}");
    }
}

#[test]
fn gilbert_elliott_loses_in_bursts() {
    // Bad for 1 / 0.25 = 4 packets on average, 0.01 / (0.01 + 0.25) = 3.85 % of the time.
    let loss = Loss::GilbertElliott { enter: 0.01, leave: 0.25, good: 0.0, bad: 1.0 };
    let mut direction = build(DirectionSpec { loss, rate: Rate::ZERO, ..spec(ms(1)) }, 4);
    let arrived: Vec<u64> =
        run(&mut direction, 200_000, Duration::ZERO).into_iter().map(|(i, _)| i).collect();
    let lost = direction.stats().drops.loss as f64;
    let bursts = arrived.windows(2).filter(|w| w[1] > w[0] + 1).count() as f64;
    assert!((0.034..0.043).contains(&(lost / 200_000.0)), "{lost} lost");
    assert!((3.7..4.3).contains(&(lost / bursts)), "bursts of {}", lost / bursts);
}

#[test]
fn duplicates_and_flipped_bits_come_at_their_rate() {
    let s = DirectionSpec { duplicate: 0.1, corrupt: 0.1, rate: Rate::ZERO, ..spec(ms(1)) };
    let mut direction = build(s, 6);
    for i in 0..10_000 {
        direction.push(Time::ZERO, i, SIZE, Ecn::NotEct);
    }
    let arrivals: Vec<_> = core::iter::from_fn(|| direction.pop(at(1))).collect();
    let stats = direction.stats();
    assert_eq!(arrivals.len() as u64, 10_000 + stats.duplicated);
    assert!((910..=1090).contains(&stats.duplicated), "{stats:?}");
    assert!((910..=1090).contains(&stats.corrupted), "{stats:?}");
    let twice = arrivals.windows(2).filter(|w| w[0].item == w[1].item).count();
    assert_eq!(twice as u64, stats.duplicated, "a duplicate follows its original");
    let corruption = arrivals.iter().find_map(|a| a.corrupted).unwrap();
    let mut packet = [0u8; 40];
    corruption.apply(&mut packet);
    assert_eq!(packet.iter().map(|b| b.count_ones()).sum::<u32>(), 1);
    corruption.apply(&mut []);
    balance(&direction);
}

#[test]
fn each_kind_of_queue_limit_holds() {
    // One packet is being sent, the rest waits. 10 Mbit/s carries one packet per ms.
    let rule = DirectionSpec::new(mbit(10), ms(40)).queue_bytes_by_rule();
    assert_eq!(rule, 150_000, "1.5 x 1.25 MB/s x 80 ms");
    assert_eq!(DirectionSpec::new(mbit(10), ms(4)).queue_bytes_by_rule(), MIN_QUEUE_BYTES);
    for (limit, admitted) in [
        (Limit::Rule, 1 + rule / SIZE as u64),
        (Limit::Bytes(10 * SIZE as u64 + 1), 11),
        (Limit::Bytes(0), 1),
        (Limit::Time(ms(30)), 31),
        (Limit::Packets(8), 9),
        (Limit::PacketsInAll(8), 8),
    ] {
        let queue = Queue { limit, discipline: Discipline::TailDrop };
        let mut direction = build(DirectionSpec { queue, ..DirectionSpec::new(mbit(10), ms(40)) }, 1);
        let taken =
            (0..1000).filter(|&i| direction.push(Time::ZERO, i, SIZE, Ecn::NotEct).is_none()).count() as u64;
        assert_eq!(taken, admitted, "{limit:?}");
        let stats = direction.stats();
        assert_eq!(stats.drops.queue, 1000 - admitted, "{limit:?}");
        assert_eq!(stats.max_queue_bytes, (admitted - 1) * SIZE as u64, "{limit:?}");
        assert_eq!(drain(&mut direction).len() as u64, admitted);
        balance(&direction);
    }
}

#[test]
fn netems_limit_counts_what_is_in_flight() {
    // 100 ms of delay hold 100 packets at one per ms: with room for 50, half of a full-rate stream is dropped.
    let queue = Queue { limit: Limit::PacketsInAll(50), discipline: Discipline::TailDrop };
    let mut direction = build(DirectionSpec { queue, ..spec(ms(100)) }, 1);
    let arrived = run(&mut direction, 2_000, ms(1)).len();
    assert!((950..1100).contains(&arrived), "{arrived} of 2000");
}

#[test]
fn codel_keeps_the_standing_delay_low_where_tail_drop_does_not() {
    let standing = |discipline| {
        let queue = Queue { limit: Limit::Bytes(1 << 20), discipline };
        let mut direction = build(DirectionSpec { queue, ..spec(ms(20)) }, 1);
        // A sender that backs off to 95 % of the rate for 200 ms after each loss, and else sends at 110 %.
        let (mut now, mut sent, mut easy_until, mut seen) = (Time::ZERO, 0, Time::ZERO, 0);
        let mut waits = Vec::new();
        while now < at(20_000) {
            direction.push(now, now.nanos(), SIZE, Ecn::NotEct);
            sent += 1;
            while let Some(a) = direction.pop(now) {
                waits.push((a.at, a.at.since(Time::from_nanos(a.item)).saturating_sub(ms(21))));
            }
            let drops = direction.stats().drops.total();
            if drops > seen {
                (seen, easy_until) = (drops, now + ms(200));
            }
            now += Duration::from_micros(if now < easy_until { 1053 } else { 909 });
        }
        balance(&direction);
        assert!(waits.len() * 100 > sent * 80, "{} of {sent} arrived", waits.len());
        let late: Vec<f64> =
            waits.iter().filter(|(t, _)| *t > at(5_000)).map(|(_, w)| w.as_secs_f64() * 1e3).collect();
        mean_and_deviation(&late).0
    };
    let codel = standing(Discipline::Codel(CodelSpec::default()));
    let tail = standing(Discipline::TailDrop);
    assert!(codel < 25.0, "CoDel's standing delay is {codel} ms");
    assert!(tail > 300.0, "tail-drop's standing delay is {tail} ms");
}

#[test]
fn codel_marks_those_that_understand_it_and_drops_the_others() {
    for (ecn, marks) in [(Ecn::Ect0, true), (Ecn::NotEct, false)] {
        let codel = CodelSpec { ecn: true, ..CodelSpec::default() };
        let queue = Queue { limit: Limit::Bytes(1 << 20), discipline: Discipline::Codel(codel) };
        let mut direction = build(DirectionSpec { queue, ..spec(ms(20)) }, 1);
        for i in 0..500 {
            direction.push(Time::ZERO, i, SIZE, ecn);
        }
        let marked = core::iter::from_fn(|| direction.pop(at(2_000))).filter(|a| a.ecn == Ecn::Ce).count();
        let stats = direction.stats();
        assert_eq!(marked as u64, stats.marked);
        assert_eq!(stats.marked > 0, marks, "{stats:?}");
        assert_eq!(stats.drops.aqm == 0, marks, "{stats:?}");
        balance(&direction);
    }
}

#[test]
fn one_seed_gives_one_sequence_of_arrivals() {
    let noisy = |seed| {
        let mut s = DirectionSpec {
            loss: Loss::GilbertElliott { enter: 0.01, leave: 0.3, good: 0.001, bad: 0.8 },
            duplicate: 0.01,
            reorder: Some(Reorder { p: 0.01, extra: ms(9) }),
            corrupt: 0.01,
            ..spec(ms(30))
        };
        s.jitter.deviation = ms(5);
        run(&mut build(s, seed), 5_000, ms(1))
    };
    assert_eq!(noisy(11), noisy(11));
    assert_ne!(noisy(11), noisy(12));
}

#[test]
fn how_often_the_driver_asks_changes_nothing() {
    let arrivals = |step: Option<Duration>| {
        let mut s = spec(ms(30));
        s.jitter.deviation = ms(5);
        s.queue.discipline = Discipline::Codel(CodelSpec::default());
        let mut direction = build(s, 2);
        let mut now = Time::ZERO;
        for i in 0..2_000 {
            let push_at = Time::from_nanos(i * 950_000);
            while let Some(step) = step.filter(|_| now < push_at) {
                now = (now + step).min(push_at);
                direction.due(now);
            }
            direction.push(push_at, i, SIZE, Ecn::NotEct);
        }
        core::iter::from_fn(|| direction.pop(Time::NEVER)).map(|a| (a.item, a.at)).collect::<Vec<_>>()
    };
    assert_eq!(arrivals(None), arrivals(Some(Duration::from_micros(37))));
}

#[test]
fn a_cut_loses_what_is_inside_and_what_comes_while_it_lasts() {
    let mut direction = build(spec(ms(20)), 1);
    for i in 0..30 {
        direction.push(Time::ZERO, i, SIZE, Ecn::NotEct);
    }
    // At 24.5 ms the first four have arrived, 20 are on the wire, the rest waits.
    direction.cut(Time::from_nanos(24_500_000));
    assert_eq!(direction.push(at(25), 100, SIZE, Ecn::NotEct), Some(Cause::Cut));
    direction.restore(at(40));
    assert_eq!(direction.push(at(40), 200, SIZE, Ecn::NotEct), None);
    let arrived = core::iter::from_fn(|| direction.pop(at(100))).map(|a| (a.item, a.at)).collect::<Vec<_>>();
    assert_eq!(arrived, [(0, at(21)), (1, at(22)), (2, at(23)), (3, at(24)), (200, at(61))]);
    assert_eq!(direction.stats().drops.cut, 27);
    assert!(direction.is_empty());
    balance(&direction);
}

#[test]
fn packets_over_the_mtu_vanish() {
    let mut direction = build(DirectionSpec { mtu: 1280, ..spec(ms(1)) }, 1);
    assert_eq!(direction.push(Time::ZERO, 1, 1281, Ecn::NotEct), Some(Cause::Mtu));
    assert_eq!(direction.push(Time::ZERO, 2, 1280, Ecn::NotEct), None);
    assert_eq!(drain(&mut direction).len(), 1);
    assert_eq!(direction.stats().drops.mtu, 1);
}

#[test]
fn a_calmed_direction_harms_nothing_more() {
    let s = DirectionSpec { duplicate: 0.5, corrupt: 0.5, loss: Loss::Bernoulli(0.5), ..spec(ms(1)) };
    let mut direction = build(s, 9);
    direction.calm(Time::ZERO);
    let arrivals = run(&mut direction, 1000, ms(1));
    assert_eq!(arrivals.len(), 1000);
    assert_eq!(direction.stats().corrupted, 0);
}
