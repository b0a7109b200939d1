//! Random loss, reordering and duplication against a model that is too simple to be wrong.

use super::{Limits, Reorder, Stamp};
use mpquic_base::{Duration, Rng, Time};
use std::collections::{BTreeMap, HashMap, HashSet};

type Id = (u16, u64);

/// What the window should do without limits: keeps everything, searches everything.
#[derive(Default)]
struct Naive {
    next: Option<u64>,
    waiting: BTreeMap<u64, Time>,
    seen: HashSet<u64>,
}

impl Naive {
    fn on_packet(&mut self, now: Time, hold: Duration, sequence: u64) -> Vec<u64> {
        let mut out = self.expire(now, hold);
        if !self.seen.insert(sequence) {
            return out;
        }
        let next = *self.next.get_or_insert(sequence);
        if sequence < next {
            out.push(sequence);
        } else {
            self.waiting.insert(sequence, now);
            self.run(&mut out);
        }
        out
    }

    fn expire(&mut self, now: Time, hold: Duration) -> Vec<u64> {
        let mut out = Vec::new();
        while self.waiting.values().min().is_some_and(|arrived| *arrived + hold <= now) {
            self.next = self.waiting.keys().next().copied();
            self.run(&mut out);
        }
        out
    }

    fn run(&mut self, out: &mut Vec<u64>) {
        while let Some(next) = self.next
            && self.waiting.remove(&next).is_some()
        {
            out.push(next);
            self.next = Some(next + 1);
        }
    }
}

struct World {
    hold: Duration,
    arrivals: Vec<(Time, Id)>,
    flows: u16,
}

/// Some flows over two paths of different delay, with jitter, loss and duplicates.
fn world(rng: &mut Rng) -> World {
    let flows = 1 + u16::try_from(rng.below(4)).unwrap();
    let [gap, jitter, interval] = [60, 20, 4].map(|max| 1 + rng.below(max));
    let (loss, duplication) = (rng.unit() * 0.3, rng.unit() * 0.2);
    let mut arrivals = Vec::new();
    for flow in 0..flows {
        let first = u64::from(u32::MAX) - rng.below(200);
        for n in 0..rng.below(400) {
            let copies = if rng.chance(loss) { 0 } else { 1 + u32::from(rng.chance(duplication)) };
            for _ in 0..copies {
                let delay = rng.below(2) * gap + rng.below(jitter);
                let at = Duration::from_micros(n * interval * 1000 + delay * 1000 + rng.below(1000));
                arrivals.push((Time::ZERO + at, (flow, first + n)));
            }
        }
    }
    arrivals.sort_unstable();
    World { hold: Duration::from_millis(1 + rng.below(100)), arrivals, flows }
}

fn encode((flow, sequence): Id) -> Vec<u8> {
    let mut bytes = flow.to_be_bytes().to_vec();
    bytes.extend(sequence.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Id {
    let (flow, sequence) = bytes.split_at(2);
    (u16::from_be_bytes(flow.try_into().unwrap()), u64::from_be_bytes(sequence.try_into().unwrap()))
}

/// Runs a world, with each deadline met exactly. `each` sees every call: when, whether for a packet, and what came out.
fn play(world: &World, reorder: &mut Reorder, mut each: impl FnMut(Time, Option<Id>, Vec<Id>, &Reorder)) {
    reorder.set_hold(world.hold);
    let mut out = Vec::new();
    let end = world.arrivals.last().map_or(Time::ZERO, |(at, _)| *at) + Duration::from_secs(1);
    for (at, id) in world.arrivals.iter().map(|(at, id)| (*at, Some(*id))).chain([(end, None)]) {
        while let Some(due) = reorder.deadline().filter(|due| *due <= at) {
            reorder.expire(due, &mut out);
            each(due, None, out.drain(..).map(|p| decode(&p)).collect(), reorder);
        }
        if let Some((flow, sequence)) = id {
            let low = u32::try_from(sequence & 0xffff_ffff).unwrap();
            reorder.on_packet(at, Stamp { flow, sequence: low }, encode((flow, sequence)), &mut out);
            each(at, id, out.drain(..).map(|p| decode(&p)).collect(), reorder);
        }
    }
    assert_eq!(reorder.held(), (0, 0));
}

fn of_flow(ids: &[Id], flow: u16) -> Vec<u64> {
    ids.iter().filter(|id| id.0 == flow).map(|id| id.1).collect()
}

#[test]
fn without_limits_it_does_exactly_what_the_model_does() {
    for seed in 0..400 {
        let world = world(&mut Rng::from_number(seed));
        let mut naive: Vec<Naive> = (0..world.flows).map(|_| Naive::default()).collect();
        let mut reorder = Reorder::new(Limits { tries: u32::MAX, ..Limits::default() });
        play(&world, &mut reorder, |now, id, out, _| {
            for flow in 0..world.flows {
                let model = &mut naive[usize::from(flow)];
                let expected = match id {
                    Some((of, sequence)) if of == flow => model.on_packet(now, world.hold, sequence),
                    Some(_) => Vec::new(),
                    None => model.expire(now, world.hold),
                };
                assert_eq!(of_flow(&out, flow), expected, "seed {seed}, {now:?}, {id:?}");
            }
        });
    }
}

/// When each packet first came, and the packets in the order in which they left.
struct Journal {
    arrived: HashMap<Id, Time>,
    left: Vec<Id>,
}

/// Plays a world and checks what holds under any limits.
fn journal(seed: u64, world: &World, limits: Limits) -> Journal {
    let mut reorder = Reorder::new(limits);
    let (mut arrived, mut left) = (HashMap::new(), Vec::new());
    play(world, &mut reorder, |now, id, out, reorder| {
        if let Some(id) = id {
            arrived.entry(id).or_insert(now);
        }
        for id in &out {
            let waited = now.since(arrived[id]);
            assert!(waited <= world.hold, "seed {seed}: {id:?} waited for {waited:?}");
        }
        left.extend(out);
        let (packets, bytes) = reorder.held();
        assert!(packets <= limits.packets && bytes <= limits.bytes, "seed {seed}: {reorder:?}");
    });
    let unique: HashSet<Id> = left.iter().copied().collect();
    assert_eq!(unique.len(), left.len(), "seed {seed}: a packet left twice");
    assert_eq!(unique.len(), arrived.len(), "seed {seed}: a packet never left");
    let c = reorder.counters();
    assert_eq!(c.in_order + c.filled + c.held + c.late + c.passed, left.len() as u64, "seed {seed}: {c:?}");
    Journal { arrived, left }
}

#[test]
fn a_packet_is_overtaken_only_if_it_came_later_than_the_hold_after_a_younger_one() {
    for seed in 1000..1200 {
        let world = world(&mut Rng::from_number(seed));
        let Journal { arrived, left } =
            journal(seed, &world, Limits { tries: u32::MAX, ..Limits::default() });
        for flow in 0..world.flows {
            let order = of_flow(&left, flow);
            let first = world.arrivals.iter().find(|(_, id)| id.0 == flow).map(|(_, id)| id.1);
            for (at, number) in order.iter().enumerate() {
                let overtaken = order[..at].iter().any(|before| before > number);
                let due = |younger: &u64| arrived[&(flow, *younger)] + world.hold;
                let too_late = order.iter().any(|n| n > number && arrived[&(flow, *number)] >= due(n));
                let before_the_start = Some(*number) < first;
                assert_eq!(overtaken, too_late || before_the_start, "seed {seed}: flow {flow}, {number}");
            }
        }
    }
}

#[test]
fn tight_limits_and_resting_flows_lose_nothing_repeat_nothing_and_keep_the_bounds() {
    for seed in 2000..2400 {
        let mut rng = Rng::from_number(seed);
        let limits = Limits {
            window: 1 + u32::try_from(rng.below(40)).unwrap(),
            flow_bytes: usize::try_from(rng.below(400)).unwrap(),
            packets: usize::try_from(rng.below(30)).unwrap(),
            bytes: usize::try_from(rng.below(600)).unwrap(),
            tries: 1 + u32::try_from(rng.below(5)).unwrap(),
        };
        let world = world(&mut rng);
        journal(seed, &world, limits);
    }
}
