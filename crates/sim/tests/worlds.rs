//! Two thousand worlds that nobody thought of, with every checker on; in every other one somebody on the way forges,
//! cuts and repeats datagrams. A failing one names the command that replays it.

use mpquic_sim::random::run_all;

fn all_deliver(seeds: core::ops::Range<u64>) {
    let failed = run_all(seeds);
    assert!(failed.is_empty(), "replay with:\n{}", failed.join("\n"));
}

// In four tests, so that the harness spreads them over the processors.

#[test]
fn worlds_0_to_500_deliver_everything() {
    all_deliver(0..500);
}

#[test]
fn worlds_500_to_1000_deliver_everything() {
    all_deliver(500..1000);
}

#[test]
fn worlds_1000_to_1500_deliver_everything() {
    all_deliver(1000..1500);
}

#[test]
fn worlds_1500_to_2000_deliver_everything() {
    all_deliver(1500..2000);
}
