//! Goodput over every link profile in virtual time, against each link alone:
//! `cargo run --release -p mpquic-sim --example profiles -- [PROFILE...] [--cc NAME] [--scheduler NAME] [--mb N]`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a command line tool talks to its user")]

use mpquic_base::Duration;
use mpquic_policy::{Entry, cc, sched};
use mpquic_sim::profile::Profile;
use mpquic_sim::{Side, World};

/// Virtual time after which a transfer is given up.
const LIMIT: Duration = Duration::from_secs(400);

struct Options {
    profiles: Vec<String>,
    controller: &'static Entry<dyn cc::Controller>,
    scheduler: &'static Entry<dyn sched::Scheduler>,
    bytes: u64,
}

fn main() {
    let options = options();
    println!("{:14} {:>8} {:>8} {:>8}  {:>5}  gap", "profile", "Mbit/s", "best 1", "sum", "eff");
    let chosen = |p: &Profile| options.profiles.is_empty() || options.profiles.iter().any(|n| n == p.name);
    for profile in Profile::all().into_iter().filter(chosen) {
        let sum: u64 = profile.links.iter().map(|l| l.spec.down.rate.bits_per_second() / 1_000_000).sum();
        let alone = (0..profile.links.len()).map(|i| goodput(&options, &only(&profile, i)).0);
        let best = alone.fold(0.0, f64::max);
        let (all, gap) = goodput(&options, &profile);
        let efficiency = 100.0 * all / f64::from(u32::try_from(sum).unwrap_or(u32::MAX));
        println!("{:14} {all:8.1} {best:8.1} {sum:8}  {efficiency:4.0}%  {gap:?}", profile.name);
    }
}

fn only(profile: &Profile, link: usize) -> Profile {
    let mut one = profile.clone();
    one.links = vec![profile.links[link].clone()];
    one.neck = None;
    one.schedule.faults.retain(|f| f.link == link);
    one.schedule.faults.iter_mut().for_each(|f| f.link = 0);
    one
}

/// Mbit/s and the longest gap between reads of one download.
fn goodput(options: &Options, profile: &Profile) -> (f64, Duration) {
    let world = World::seeded(1).profile(profile).config(|c| {
        c.set_controller(options.controller);
        c.set_scheduler(options.scheduler);
    });
    let Ok(measured) = std::panic::catch_unwind(move || {
        let mut world = world.connect();
        let sent = world.send(Side::Server, options.bytes);
        let took = world.deliver(&[sent], LIMIT);
        (took, world.transfer(sent).longest_gap())
    }) else {
        return (0.0, LIMIT);
    };
    let bits = 8.0 * f64::from(u32::try_from(options.bytes).unwrap_or(u32::MAX));
    (bits / measured.0.as_secs_f64() / 1e6, measured.1)
}

fn options() -> Options {
    let mut options =
        Options { profiles: Vec::new(), controller: cc::ALL[0], scheduler: sched::ALL[0], bytes: 20_000_000 };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().expect("the option needs a value");
        match arg.as_str() {
            "--cc" => options.controller = Entry::find(cc::ALL, &value()).expect("a known controller"),
            "--scheduler" => {
                options.scheduler = Entry::find(sched::ALL, &value()).expect("a known scheduler");
            }
            "--mb" => options.bytes = value().parse::<u64>().expect("a number of megabytes") * 1_000_000,
            _ => options.profiles.push(arg),
        }
    }
    options
}
