//! Congestion controllers at work on a simulated link.

use crate::link::{Link, World};
use crate::{is_loss_based, with_defaults};
use mpquic_base::{Duration, Rate};
use mpquic_policy::cc;

const WIRED: Link = Link {
    rate: Rate::from_bits_per_second(50_000_000),
    rtt: Duration::from_millis(40),
    queue: Duration::from_millis(30),
    loss: 0.0,
};
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

#[test]
fn two_flows_share_a_link_fairly() {
    for entry in cc::ALL.iter().filter(|e| is_loss_based(e)) {
        for seed in SEED..SEED + 3 {
            let pair = vec![with_defaults(entry), with_defaults(entry)];
            let got = World::new(WIRED, pair, seconds(10), seed).run(seconds(60));
            let x: Vec<_> = got.iter().map(|o| o.delivered as f64).collect();
            let jain = (x[0] + x[1]).powi(2) / (2.0 * (x[0] * x[0] + x[1] * x[1]));
            assert!(jain > 0.9, "{}: Jain {jain:.3} of {got:?}, seed {seed}", entry.name);
            let used = (x[0] + x[1]) / WIRED.rate.bytes_in(seconds(50)) as f64;
            assert!(used >= 0.85, "{}: both use {used:.3} of the link, seed {seed}", entry.name);
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
