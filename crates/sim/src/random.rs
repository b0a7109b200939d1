//! Worlds that nobody thought of: links, faults, policies and workload drawn from one seed.
//!
//! In every other world somebody on the way forges, cuts and repeats datagrams as well. A world first runs with its
//! faults (safety: the checkers must stay silent), then the faults stop and everything must be delivered within bounded
//! time (liveness).

use crate::link::{Effect, Fault, Jitter, LinkSpec, Loss, Reorder, Way, Ways, When};
use crate::world::{Malice, Side, World};
use mpquic_base::{Duration, Rate, Rng};
use mpquic_policy::{cc, sched};

/// How long faults may go on.
const FAULTY: Duration = Duration::from_secs(8);
/// Virtual time after which a world without faults must have delivered all it was given.
const LIVENESS: Duration = Duration::from_secs(120);
const BYTES_MAX: u64 = 400_000;
/// Keeps the draws of malice apart from those of the world.
const MALICE: u64 = 0x6d61_6c69_6365;

/// What became of a world.
#[derive(Clone, Debug)]
pub struct Report {
    pub links: usize,
    pub transfers: usize,
    pub bytes: u64,
    pub took: Duration,
    pub controller: &'static str,
    pub scheduler: &'static str,
    pub hostile: bool,
}

/// Runs the worlds of all `seeds` and collects those that failed, each with the command that replays it.
#[must_use]
pub fn run_all(seeds: core::ops::Range<u64>) -> Vec<String> {
    let failed = seeds.filter(|seed| std::panic::catch_unwind(|| run(*seed)).is_err());
    failed.map(|seed| format!("cargo run -p mpquic-sim --example worlds -- --seed {seed}")).collect()
}

/// Runs the world of `seed` to its end.
///
/// # Panics
/// If a checker objects, a connection ends or something is never delivered; the message names the seed.
#[must_use]
pub fn run(seed: u64) -> Report {
    let mut rng = Rng::from_number(seed);
    let controller = cc::ALL[pick(&mut rng, cc::ALL.len())];
    let scheduler = sched::ALL[pick(&mut rng, sched::ALL.len())];
    let links = 2 + pick(&mut rng, 3);
    let mut builder = World::seeded(seed).config(|c| {
        c.set_controller(controller);
        c.set_scheduler(scheduler);
        c.keep_alive = Some(Duration::from_secs(2));
        c.handshake_timeout = Duration::from_secs(60);
        c.max_idle_timeout = Duration::from_secs(60);
    });
    for i in 0..links {
        builder = builder.link_spec(&format!("link{i}"), link(&mut rng));
        for _ in 0..rng.below(3) {
            builder = builder.fault(fault(&mut rng, i));
        }
    }
    let hostile = !seed.is_multiple_of(2);
    if hostile {
        builder = builder.malice(malice(&mut Rng::from_number(seed ^ MALICE)));
    }
    let mut world = builder.build();
    world.open_all_paths();
    let mut transfers = vec![world.send(Side::Client, 1 + rng.below(BYTES_MAX))];
    world.run_for(Duration::from_millis(rng.below(2000)));
    let more = rng.below(4);
    for _ in 0..more {
        let side = if rng.chance(0.5) { Side::Server } else { Side::Client };
        transfers.push(world.send(side, rng.below(BYTES_MAX)));
        world.run_for(Duration::from_millis(rng.below(500)));
    }
    if let Some(left) = FAULTY.checked_sub(Duration::from_nanos(world.now().nanos())) {
        world.run_for(left);
    }
    world.heal();
    let took = world.deliver(&transfers, LIVENESS);
    let bytes = transfers.iter().map(|id| world.transfer(*id).delivered_bytes()).sum();
    Report {
        links,
        transfers: transfers.len(),
        bytes,
        took,
        controller: controller.name,
        scheduler: scheduler.name,
        hostile,
    }
}

fn pick(rng: &mut Rng, n: usize) -> usize {
    usize::try_from(rng.below(n as u64)).unwrap_or(0)
}

/// A link of any kind that one meets: from a tired DSL line to fibre, with its own defects.
fn link(rng: &mut Rng) -> LinkSpec {
    let mbit = [1, 4, 10, 40, 100, 300][pick(rng, 6)];
    let delay = Duration::from_micros([200, 5_000, 20_000, 60_000, 150_000, 300_000][pick(rng, 6)]);
    let mut spec = LinkSpec::new(Rate::from_bits_per_second(mbit * 1_000_000), delay);
    for direction in [&mut spec.up, &mut spec.down] {
        direction.loss = match rng.below(5) {
            0 | 1 => Loss::None,
            2 => Loss::Bernoulli(0.005),
            3 => Loss::Bernoulli(0.05),
            _ => Loss::GilbertElliott { enter: 0.005, leave: 0.2, good: 0.0, bad: 0.5 },
        };
        if rng.chance(0.5) {
            let deviation = delay / 4;
            direction.jitter = Jitter { deviation, reorders: rng.chance(0.3) };
        }
        if rng.chance(0.2) {
            direction.reorder = Some(Reorder { p: 0.02, extra: delay / 2 + Duration::from_millis(1) });
        }
        direction.duplicate = if rng.chance(0.2) { 0.02 } else { 0.0 };
        direction.corrupt = if rng.chance(0.2) { 0.01 } else { 0.0 };
        direction.mtu = [1500, 1500, 1500, 1400, 1300, 1228][pick(rng, 6)];
    }
    spec
}

/// Per datagram; each kind is missing in some worlds and frequent in others.
fn malice(rng: &mut Rng) -> Malice {
    let mut share = || [0.0, 0.005, 0.02, 0.1][pick(rng, 4)];
    Malice { truncate: share() / 4.0, replay: share(), spoof: share(), garbage: share() }
}

fn fault(rng: &mut Rng, link: usize) -> Fault {
    let ways = match rng.below(4) {
        0 => Ways::Only(Way::Up),
        1 => Ways::Only(Way::Down),
        _ => Ways::Both,
    };
    let from = Duration::from_millis(rng.below(6000));
    let lasts = Duration::from_millis(50 + rng.below(3000));
    let between = When::Between(from, from + lasts);
    let (when, effect, ways) = match rng.below(6) {
        0 | 1 => (between, Effect::Cut, ways),
        2 => (
            When::Every { first: from, period: Duration::from_secs(2), lasts: Duration::from_millis(300) },
            Effect::Cut,
            Ways::Both,
        ),
        3 => {
            let rate = Some(Rate::from_bits_per_second(500_000));
            let delay = Some(Duration::from_millis(200));
            (between, Effect::Brownout { rate, delay, loss: Some(Loss::Bernoulli(0.05)) }, ways)
        }
        4 => (When::From(from), Effect::Mtu(1280), ways),
        _ => {
            let period = Duration::from_millis(1500 + rng.below(3000));
            (When::Every { first: from, period, lasts: Duration::ZERO }, Effect::Rebind, Ways::Both)
        }
    };
    Fault { link, ways, when, effect }
}
