//! Congestion controllers at work on a simulated link.

use crate::link::{Link, Outcome, World};
use crate::{is_loss_based, with_defaults};
use mpquic_base::{Duration, Rate};
use mpquic_policy::{Entry, cc};

const WIRED: Link = Link {
    rate: Rate::from_bits_per_second(50_000_000),
    rtt: Duration::from_millis(40),
    queue: Duration::from_millis(30),
    loss: 0.0,
};
/// With a queue of 1.5 BDP.
const DEEP: Link = Link { queue: Duration::from_millis(60), ..WIRED };
const SEED: u64 = 7;

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

#[test]
fn one_flow_fills_50_megabits_over_40_milliseconds_from_its_first_second_on() {
    for entry in cc::ALL {
        let (from, to) = (seconds(0), seconds(20));
        let outcome = World::new(WIRED, vec![with_defaults(entry)], from, SEED).run(to)[0];
        let share = outcome.delivered as f64 / WIRED.rate.bytes_in(to - from) as f64;
        assert!(share >= 0.85, "{}: {share:.3} of the link, seed {SEED}", entry.name);
    }
}

/// What each of two flows delivers between 10 s and 60 s, as shares of the link.
fn shares(link: Link, names: [&str; 2], seed: u64) -> [f64; 2] {
    let pair = names.map(|name| with_defaults(Entry::find(cc::ALL, name).expect("a listed name")));
    let (from, to) = (seconds(10), seconds(60));
    let got = World::new(link, pair.into(), from, seed).run(to);
    let share = |o: Outcome| o.delivered as f64 / link.rate.bytes_in(to - from) as f64;
    [share(got[0]), share(got[1])]
}

#[test]
fn two_flows_of_a_kind_share_a_link_fairly() {
    for entry in cc::ALL {
        // Rates converge only as fast as probes come, so less is asked of a rate-based pair.
        let (link, least) = if is_loss_based(entry) { (WIRED, 0.9) } else { (DEEP, 0.8) };
        for seed in SEED..SEED + 3 {
            let [a, b] = shares(link, [entry.name; 2], seed);
            let jain = (a + b).powi(2) / (2.0 * (a * a + b * b));
            assert!(jain > least, "{}: Jain {jain:.3} of {a:.3} and {b:.3}, seed {seed}", entry.name);
            assert!(a + b >= 0.85, "{}: both use {:.3} of the link, seed {seed}", entry.name, a + b);
        }
    }
}

#[test]
fn flows_of_two_kinds_do_not_starve_each_other() {
    for rate_based in cc::ALL.iter().filter(|e| !is_loss_based(e)) {
        for seed in SEED..SEED + 3 {
            for names in [[rate_based.name, "cubic"], ["cubic", rate_based.name]] {
                let got = shares(DEEP, names, seed);
                assert!(
                    got.iter().all(|share| *share >= 0.1),
                    "{names:?}: {got:.3?} of the link, seed {seed}"
                );
            }
        }
    }
}

#[test]
fn heavy_loss_neither_inflates_the_window_nor_stops_the_flow() {
    for entry in cc::ALL {
        for loss in [0.1, 0.3] {
            let link = Link { loss, ..WIRED };
            let outcome = World::new(link, vec![with_defaults(entry)], seconds(0), SEED).run(seconds(20))[0];
            let at = format!("{} at {loss}: {outcome:?}, seed {SEED}", entry.name);
            assert!(outcome.largest_window <= 4 * link.holds(), "{at}");
            assert!(outcome.delivered >= 200 * 1200, "{at}");
        }
    }
}
