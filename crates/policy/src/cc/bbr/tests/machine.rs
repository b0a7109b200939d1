//! The state machine, event by event: the cases of the draft's own list that need no link, and what we added.

use super::super::{Bbr, ENTRY, State, UNBOUNDED};
use super::feed::{BDP, Feed, RTT, STEADY};
use crate::cc::{AckBatch, Controller, EcnBatch};
use mpquic_base::{Duration, Rate, Time};

#[test]
fn a_plateau_of_three_rounds_ends_startup() {
    let mut feed = Feed::new();
    for mbit in [5, 10, 20, 40] {
        feed.rate = Rate::from_bits_per_second(mbit * 1_000_000);
        feed.round();
        assert!(feed.cc.in_slow_start());
    }
    // 24 % more is still a plateau.
    feed.rate = Rate::from_bits_per_second(49_500_000);
    feed.round();
    feed.round();
    assert_eq!((feed.cc.full_pipe.plateaus, feed.cc.state), (2, State::Startup));
    feed.in_flight = 2 * BDP;
    feed.round();
    assert!(feed.cc.full_pipe.now && feed.cc.full_pipe.once);
    assert_eq!(feed.cc.state, State::Drain);
    assert_eq!(feed.cc.max_rate.get(), feed.rate);
    assert_eq!(feed.cc.pacing, feed.rate.scaled(0.5 * 0.99));
}

#[test]
fn loss_in_six_places_of_a_round_ends_startup_even_when_application_limited() {
    let mut feed = Feed::new();
    feed.rate = Rate::from_bits_per_second(20_000_000);
    feed.round();
    feed.app_limited = true;
    for _ in 0..6 {
        feed.lose(2);
    }
    feed.in_flight = 2 * BDP;
    feed.lose(10);
    feed.round();
    assert_eq!(feed.cc.state, State::Drain);
    assert!(feed.cc.full_pipe.once);
    assert_eq!(feed.cc.long_term.inflight, feed.cc.bdp(feed.rate).max(feed.rate.bytes_in(RTT)));
}

#[test]
fn a_single_burst_of_loss_does_not_end_startup() {
    let mut feed = Feed::new();
    feed.rate = Rate::from_bits_per_second(20_000_000);
    feed.round();
    feed.lose(40);
    feed.rate = STEADY;
    feed.round();
    assert_eq!(feed.cc.state, State::Startup);
    assert_eq!(feed.cc.long_term.inflight, UNBOUNDED);
}

#[test]
fn an_application_limited_flow_stays_in_startup_and_keeps_its_pacing_rate() {
    let mut feed = Feed::new();
    feed.round();
    let pacing = feed.cc.pacing;
    feed.app_limited = true;
    feed.rate = Rate::from_bits_per_second(1_000_000);
    for _ in 0..50 {
        feed.round();
    }
    assert_eq!(feed.cc.state, State::Startup);
    assert_eq!(feed.cc.pacing, pacing);
}

#[test]
fn drain_ends_when_the_queue_is_gone() {
    let mut feed = Feed::new();
    feed.in_flight = 2 * BDP;
    feed.reach(State::Drain);
    feed.round();
    assert_eq!(feed.cc.state, State::Drain);
    feed.in_flight = BDP;
    feed.round();
    // With no queue left there is nothing to do for Down either.
    assert_eq!(feed.cc.state, State::Cruise);
    assert_eq!(feed.cc.pacing, STEADY.scaled(0.99));
}

#[test]
fn drain_ends_after_three_rounds_even_if_a_queue_stays() {
    let mut feed = Feed::new();
    feed.in_flight = 2 * BDP;
    feed.reach(State::Drain);
    for _ in 0..3 {
        feed.round();
        assert_eq!(feed.cc.state, State::Drain);
    }
    feed.round();
    assert_eq!(feed.cc.state, State::Down);
}

#[test]
fn down_ends_when_no_queue_is_left() {
    let mut feed = Feed::at(State::Down);
    feed.in_flight = BDP + BDP / 2;
    feed.round();
    assert_eq!(feed.cc.state, State::Down);
    assert_eq!(feed.cc.pacing, STEADY.scaled(0.9 * 0.99));
    feed.in_flight = BDP;
    feed.round();
    assert_eq!(feed.cc.state, State::Cruise);
}

#[test]
fn down_waits_for_headroom_below_the_long_term_bound() {
    let mut feed = Feed::at(State::Down);
    feed.cc.long_term.inflight = BDP;
    feed.in_flight = BDP * 9 / 10;
    feed.round();
    assert_eq!(feed.cc.state, State::Down);
    feed.in_flight = BDP * 84 / 100;
    feed.cc.long_term.inflight = BDP;
    feed.round();
    assert_eq!(feed.cc.state, State::Cruise);
    assert!(feed.cc.window() <= BDP * 85 / 100);
}

#[test]
fn down_goes_straight_to_refill_when_the_wait_is_over() {
    let mut feed = Feed::at(State::Down);
    let start = feed.now;
    feed.in_flight = BDP + BDP / 2;
    feed.reach(State::Refill);
    let waited = feed.now.since(start);
    assert!(waited > Duration::from_secs(2) && waited <= Duration::from_millis(3100), "{waited:?}");
}

#[test]
fn the_wait_for_a_probe_is_random_and_replays() {
    let waits = |seed: u64| {
        let mut cc = Bbr::new(&ENTRY.defaults());
        let waits = (0..20).map(|n| {
            cc.start_down(Time::from_millis(seed + 2000 * n));
            cc.cycle.wait
        });
        waits.collect::<Vec<_>>()
    };
    assert_eq!(waits(1), waits(1));
    assert_ne!(waits(1), waits(2));
    let (low, high) = (waits(1).into_iter().min().unwrap(), waits(1).into_iter().max().unwrap());
    assert!(low >= Duration::from_secs(2) && high <= Duration::from_secs(3));
    assert!(high - low > Duration::from_millis(500));
}

#[test]
fn a_thin_path_probes_as_often_as_reno_would() {
    let mut feed = Feed::new();
    feed.rate = Rate::from_bits_per_second(2_000_000);
    feed.in_flight = 10_000;
    feed.reach(State::Cruise);
    let start = feed.now;
    feed.reach(State::Refill);
    // About ten packets in flight: ten rounds.
    assert!(feed.now.since(start) <= RTT * 12, "{:?}", feed.now.since(start));
}

#[test]
fn refill_lasts_one_round_and_up_until_a_plateau() {
    let mut feed = Feed::at(State::Refill);
    assert_eq!(feed.cc.pacing, STEADY.scaled(0.99));
    feed.round();
    assert_eq!(feed.cc.state, State::Up);
    assert_eq!(feed.cc.pacing, STEADY.scaled(1.25 * 0.99));
    feed.rate = STEADY.scaled(1.3);
    feed.round();
    assert_eq!(feed.cc.full_pipe.plateaus, 0, "the rate still grows");
    for _ in 0..2 {
        feed.round();
        assert_eq!(feed.cc.state, State::Up);
    }
    feed.round();
    assert_eq!(feed.cc.state, State::Down);
    assert!(feed.cc.max_rate.get() == feed.rate && !feed.cc.cycle.too_high);
}

#[test]
fn an_application_limited_flow_stays_in_up() {
    let mut feed = Feed::at(State::Up);
    feed.app_limited = true;
    feed.rate = Rate::from_bits_per_second(1_000_000);
    for _ in 0..100 {
        feed.round();
    }
    assert_eq!(feed.cc.state, State::Up);
    assert_eq!(feed.cc.max_rate.get(), STEADY);
}

#[test]
fn loss_during_up_sets_the_bound_and_ends_the_probe() {
    let mut feed = Feed::at(State::Up);
    feed.in_flight = BDP + BDP / 4;
    feed.round();
    feed.lose(20);
    assert_eq!(feed.cc.state, State::Down);
    let bound = feed.cc.long_term.inflight;
    assert!(bound > BDP && bound < BDP + BDP / 4, "{bound}");
    assert!(feed.cc.cycle.too_high);
}

#[test]
fn loss_during_up_lowers_the_bound_by_thirty_percent_at_most() {
    let mut feed = Feed::at(State::Up);
    feed.cc.long_term.inflight = 2 * BDP;
    feed.in_flight = BDP / 4;
    feed.lose(20);
    assert_eq!(feed.cc.state, State::Down);
    let bound = feed.cc.long_term.inflight;
    assert!((BDP * 69 / 100..=BDP * 7 / 10).contains(&bound), "{bound}");
}

#[test]
fn loss_during_up_ends_the_probe_of_an_application_limited_flow_but_bounds_nothing() {
    let mut feed = Feed::at(State::Up);
    feed.app_limited = true;
    feed.round();
    feed.lose(20);
    assert_eq!(feed.cc.state, State::Down);
    assert_eq!(feed.cc.long_term.inflight, UNBOUNDED);
}

#[test]
fn a_probe_after_one_that_lost_stops_at_the_bound_and_the_next_goes_on() {
    let mut feed = Feed::at(State::Up);
    feed.in_flight = BDP + BDP / 4;
    feed.round();
    feed.lose(20);
    let bound = feed.cc.long_term.inflight;
    feed.in_flight = BDP * 8 / 10;
    feed.reach(State::Up);
    feed.in_flight = bound;
    feed.round();
    assert_eq!(feed.cc.state, State::Down, "only touched the bound");
    assert!(feed.cc.cycle.precautionary);
    feed.in_flight = BDP * 8 / 10;
    feed.round();
    assert_eq!(feed.cc.state, State::Refill, "no loss came of it: probe again at once");
    feed.round();
    feed.in_flight = bound + 5000;
    feed.round();
    assert_eq!(feed.cc.state, State::Up);
    assert_eq!(feed.cc.long_term.inflight, bound + 5000);
}

#[test]
fn the_bound_rises_faster_with_every_round_of_a_probe() {
    let mut feed = Feed::at(State::Up);
    feed.cc.long_term.inflight = 300_000;
    feed.cc.cwnd = 300_000;
    let mut steps = Vec::new();
    for _ in 0..6 {
        let before = feed.cc.long_term.inflight;
        // Of a real round's many ACKs, those that lift nothing keep the search for a plateau from its end.
        feed.cc.full_pipe.search_from(STEADY);
        feed.in_flight = feed.cc.window() - 1200;
        feed.send();
        feed.in_flight = BDP;
        feed.round();
        steps.push(feed.cc.long_term.inflight - before);
    }
    assert_eq!(feed.cc.state, State::Up);
    assert!(steps.windows(2).all(|w| w[0] <= w[1]), "{steps:?}");
    assert!(steps[5] >= 8 * steps[1].max(1200), "{steps:?}");
}

#[test]
fn random_loss_changes_no_bound() {
    let mut feed = Feed::at(State::Cruise);
    let window = feed.cc.window();
    for _ in 0..20 {
        // 208 packets in flight; 1 % of them.
        feed.lose(2);
        feed.round();
        if feed.cc.state != State::Cruise {
            break;
        }
        assert_eq!(feed.cc.short_term.inflight, UNBOUNDED);
        assert_eq!((feed.cc.bw(), feed.cc.window()), (STEADY, window));
    }
    feed.reach(State::Up);
    feed.lose(2);
    assert_eq!((feed.cc.state, feed.cc.long_term.inflight), (State::Up, UNBOUNDED));
}

#[test]
fn heavy_loss_while_cruising_follows_the_delivery_by_thirty_percent_a_round() {
    let mut feed = Feed::at(State::Cruise);
    feed.rate = STEADY.scaled(0.5);
    // The best sample of the last round still counts, so the first lossy round lowers nothing yet.
    feed.round();
    feed.lose(40);
    feed.round();
    assert_eq!(feed.cc.bw(), STEADY.scaled(0.7));
    feed.lose(40);
    feed.round();
    assert_eq!(feed.cc.bw(), feed.rate);
    assert_eq!(feed.cc.max_rate.get(), STEADY);
    feed.reach(State::Refill);
    assert_eq!(feed.cc.bw(), STEADY, "a new probe forgets the short term");
}

#[test]
fn a_ce_mark_while_cruising_counts_as_loss_and_during_up_ends_the_probe() {
    let mark = |feed: &Feed| EcnBatch {
        now: feed.now,
        newest_sent_at: feed.now,
        marked: 1,
        acked: 10,
        in_flight: feed.in_flight,
    };
    let mut feed = Feed::at(State::Cruise);
    feed.rate = STEADY.scaled(0.8);
    feed.round();
    feed.cc.on_ecn(&mark(&feed));
    feed.round();
    assert_eq!(feed.cc.bw(), feed.rate);
    let mut feed = Feed::at(State::Up);
    feed.cc.on_ecn(&mark(&feed));
    assert_eq!(feed.cc.state, State::Down);
    assert_eq!(feed.cc.long_term.inflight, BDP);
}

#[test]
fn probe_rtt_halves_the_flight_for_200_ms_and_a_round_every_five_seconds() {
    let mut feed = Feed::at(State::Cruise);
    let start = feed.now;
    let window = feed.cc.window();
    feed.rtt_is_fresh = false;
    feed.reach(State::ProbeRtt);
    assert!(feed.now.since(start) <= Duration::from_millis(5100));
    assert_eq!(feed.cc.window(), BDP / 2);
    feed.round();
    assert_eq!(feed.cc.state, State::ProbeRtt, "the flight is not low yet");
    feed.in_flight = BDP / 2;
    let low = feed.now;
    feed.round();
    feed.rate = STEADY.scaled(0.5);
    feed.reach(State::Cruise);
    assert!(feed.now.since(low) >= Duration::from_millis(200));
    assert_eq!(feed.cc.window(), window, "the window is back at once");
    assert_eq!(feed.cc.max_rate.get(), STEADY, "our own low flight says nothing about the path");
}

#[test]
fn probe_rtt_during_startup_leads_back_to_startup() {
    let mut feed = Feed::new();
    feed.round();
    feed.app_limited = true;
    feed.rtt_is_fresh = false;
    feed.reach(State::ProbeRtt);
    feed.in_flight = 0;
    for _ in 0..8 {
        feed.round();
    }
    assert_eq!(feed.cc.state, State::Startup);
    assert!(!feed.cc.full_pipe.once);
}

#[test]
fn a_flow_that_was_idle_needs_no_probe_rtt() {
    let mut feed = Feed::at(State::Cruise);
    feed.in_flight = 0;
    feed.app_limited = true;
    feed.round();
    feed.rtt_is_fresh = false;
    feed.now += Duration::from_secs(6);
    feed.send();
    assert!(feed.cc.idle_restart);
    assert_eq!(feed.cc.pacing, STEADY.scaled(0.99));
    feed.round();
    assert_ne!(feed.cc.state, State::ProbeRtt);
    assert!(feed.cc.min_rtt.stale && !feed.cc.idle_restart);
}

#[test]
fn loss_that_was_none_brings_back_bounds_window_and_probe() {
    let mut feed = Feed::at(State::Up);
    let window = feed.cc.window();
    feed.in_flight = BDP + BDP / 4;
    feed.lose(20);
    feed.round();
    assert_eq!(feed.cc.state, State::Down);
    assert_ne!(feed.cc.long_term.inflight, UNBOUNDED);
    feed.cc.on_spurious_loss(feed.now);
    assert_eq!(feed.cc.state, State::Refill);
    assert_eq!(feed.cc.long_term.inflight, UNBOUNDED);
    assert!(feed.cc.window() >= window);
}

#[test]
fn loss_that_was_none_brings_back_the_short_term_rate() {
    let mut feed = Feed::at(State::Cruise);
    feed.rate = STEADY.scaled(0.9);
    feed.round();
    feed.lose(40);
    feed.round();
    assert_eq!(feed.cc.bw(), feed.rate);
    feed.cc.on_spurious_loss(feed.now);
    assert_eq!(feed.cc.bw(), STEADY);
    assert_eq!(feed.cc.state, State::Cruise);
}

#[test]
fn loss_that_was_none_leads_back_to_startup() {
    let mut feed = Feed::new();
    feed.round();
    for _ in 0..6 {
        feed.lose(4);
    }
    feed.in_flight = 2 * BDP;
    feed.round();
    assert_eq!(feed.cc.state, State::Drain);
    feed.cc.on_spurious_loss(feed.now);
    assert!(feed.cc.in_slow_start() && !feed.cc.full_pipe.once);
}

#[test]
fn persistent_congestion_leaves_the_least_window_until_an_ack_comes() {
    let mut feed = Feed::at(State::Cruise);
    let window = feed.cc.window();
    feed.lose_for_long(10, true);
    assert!(feed.in_flight - 12_000 > 4800, "much is in flight that may still arrive");
    assert_eq!(feed.cc.window(), 4800);
    feed.now += Duration::from_millis(1);
    feed.round();
    assert!(feed.cc.window() >= window / 2, "the path lives: the model is still good");
}

#[test]
fn a_rate_that_fell_far_is_measured_anew() {
    let mut feed = Feed::at(State::Cruise);
    feed.rate = STEADY.scaled(0.2);
    feed.rtt = RTT * 4;
    for _ in 0..6 {
        feed.full_round();
    }
    assert_eq!(feed.cc.state, State::ProbeRtt);
    assert_eq!(feed.cc.max_rate.get(), feed.rate);
    feed.in_flight = 0;
    feed.rtt = RTT + RTT / 5;
    feed.reach(State::Cruise);
    assert_eq!(feed.cc.min_rtt.get(), Some(RTT + RTT / 5), "a longer path is believed, too");
}

#[test]
fn a_path_that_is_far_longer_than_believed_is_measured_and_searched_anew() {
    let mut feed = Feed::at(State::Cruise);
    feed.rtt = RTT * 4;
    for _ in 0..4 {
        feed.full_round();
    }
    assert_eq!(feed.cc.state, State::ProbeRtt);
    feed.in_flight = 0;
    feed.reach(State::Startup);
    assert_eq!(feed.cc.min_rtt.get(), Some(RTT * 4));
    assert!(!feed.cc.full_pipe.once);
}

#[test]
fn one_slow_round_is_no_shortfall() {
    let mut feed = Feed::at(State::Cruise);
    for n in 0..20 {
        feed.rate = if n % 4 == 3 { STEADY } else { STEADY.scaled(0.2) };
        feed.full_round();
        assert_ne!(feed.cc.state, State::ProbeRtt);
    }
    assert_eq!(feed.cc.max_rate.get(), STEADY);
}

#[test]
fn what_a_host_adds_on_a_short_path_calls_nothing_in_question() {
    let short = Duration::from_micros(100);
    let mut feed = Feed::at(State::Cruise);
    for (rate, rtt) in [(STEADY.scaled(0.2), short), (STEADY, 40 * short)] {
        feed.rtt = short;
        feed.rate = STEADY;
        feed.round();
        (feed.rate, feed.rtt) = (rate, rtt);
        for _ in 0..10 {
            feed.full_round();
            assert_ne!(feed.cc.state, State::ProbeRtt, "{rate:?} {rtt:?}");
        }
    }
}

#[test]
fn a_wandering_delay_widens_the_window() {
    let mut feed = Feed::at(State::Cruise);
    let calm = feed.cc.bdp(STEADY);
    for n in 0..80 {
        feed.rtt = if n % 2 == 0 { RTT } else { RTT * 3 };
        feed.round();
    }
    let spread = feed.cc.spread.get();
    assert!(spread >= RTT * 2 / 3 && spread <= RTT * 3 / 2, "{spread:?}");
    assert!(feed.cc.bdp(STEADY) > calm * 3 / 2);
}

#[test]
fn a_path_without_rate_samples_still_counts_rounds_and_ends_nothing() {
    let mut feed = Feed::new();
    feed.cc.on_ack(&AckBatch {
        now: feed.now,
        bytes: 1200,
        newest_sent_at: feed.now - RTT,
        rtt: None,
        srtt: Duration::ZERO,
        min_rtt: Duration::MAX,
        in_flight_before: 2400,
        in_flight: 1200,
        app_limited: false,
        round_start: true,
        rate: None,
    });
    assert_eq!((feed.cc.rounds.count, feed.cc.state), (1, State::Startup));
    assert_eq!(feed.cc.window(), 13_200);
    assert!(feed.cc.pacing().unwrap() > Rate::ZERO);
}

#[test]
fn a_larger_datagram_enlarges_the_first_window_and_the_floor() {
    let mut cc = Bbr::new(&ENTRY.defaults());
    assert_eq!(cc.window(), 12_000);
    cc.on_mtu(1452);
    assert_eq!(cc.window(), 14_520);
    assert_eq!(cc.min_window(), 4 * 1452);
    cc.on_mtu(9000);
    assert_eq!(cc.window(), 36_000, "ten datagrams pass RFC 9002's limit, four must fit");
    let mut feed = Feed::at(State::Cruise);
    feed.cc.cwnd = 4800;
    feed.cc.on_mtu(1500);
    assert_eq!(feed.cc.window(), 6000);
}

#[test]
fn the_list_offers_bbr_with_both_tunables() {
    let entry = crate::Entry::find(crate::cc::ALL, "bbr").unwrap();
    let settings = entry.settings(&[("loss_threshold", 0.05), ("headroom", 0.0)]).unwrap();
    let controller = (entry.build)(&settings);
    assert!(controller.in_slow_start() && controller.window() == 12_000);
    assert!(entry.settings(&[("loss_threshold", 0.9)]).is_err());
}

#[test]
fn a_flow_held_back_by_the_bound_has_not_seen_the_plateau() {
    let mut feed = Feed::at(State::Up);
    feed.cc.full_pipe.plateaus = 2;
    feed.cc.long_term.inflight = feed.cc.window();
    feed.in_flight = feed.cc.window() - 1200;
    feed.send();
    // Too little was acknowledged for the bound to rise with this ACK.
    feed.in_flight = BDP;
    feed.rate = STEADY.scaled(0.1);
    feed.round();
    assert_eq!((feed.cc.state, feed.cc.full_pipe.plateaus), (State::Up, 0));
}
