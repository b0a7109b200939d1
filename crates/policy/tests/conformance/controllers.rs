//! Congestion controllers under plain circumstances.

use crate::path::{PACKET, Path, RTT};
use crate::{collapsed_packets, is_loss_based, with_defaults};
use mpquic_policy::{Entry, cc};
use std::collections::HashSet;

#[test]
fn names_are_unique_and_every_tunable_is_described_and_has_its_default_in_range() {
    let mut names = HashSet::new();
    for entry in cc::ALL {
        assert!(names.insert(entry.name), "{} is listed twice", entry.name);
        assert!(!entry.about.is_empty() && !entry.about.contains('\n'), "{}: one line about it", entry.name);
        let mut tunables = HashSet::new();
        for t in entry.tunables {
            assert!(tunables.insert(t.name), "{}.{} is listed twice", entry.name, t.name);
            assert!(!t.about.is_empty(), "{}.{} says nothing about itself", entry.name, t.name);
            assert!(t.min <= t.default && t.default <= t.max, "{}.{}: {t:?}", entry.name, t.name);
        }
    }
    assert_eq!(cc::ALL[0].name, "bbr", "the default");
    assert!(Entry::find(cc::ALL, "newreno").is_some());
    assert!(Entry::find(cc::ALL, "no such controller").is_none());
}

#[test]
fn every_tunable_works_at_both_ends_and_is_refused_beyond_them() {
    for entry in cc::ALL {
        for t in entry.tunables {
            for value in [t.min, t.max] {
                let settings = entry.settings(&[(t.name, value)]).unwrap();
                let mut path = Path::grown((entry.build)(&settings));
                let (sent_at, packets) = path.send(path.cc.window() / PACKET);
                path.now += RTT;
                path.lose(sent_at, false);
                path.ack(sent_at, packets - 1, false);
                assert!(path.cc.window() >= 2 * PACKET, "{}.{} = {value}", entry.name, t.name);
            }
            let over = entry.settings(&[(t.name, t.max + 1.0)]).unwrap_err();
            assert!(over.message.contains(t.name), "{over}");
        }
        assert!(entry.settings(&[("no such setting", 1.0)]).is_err());
    }
}

#[test]
fn the_initial_window_is_at_most_that_of_rfc_9002_and_follows_the_packet_size() {
    for entry in cc::ALL {
        let mut cc = with_defaults(entry);
        assert!((2 * PACKET..=14_720).contains(&cc.window()), "{}: {}", entry.name, cc.window());
        assert!(cc.in_slow_start(), "{}", entry.name);
        cc.on_mtu(9000);
        assert!(cc.window() >= 18_000, "{}: {}", entry.name, cc.window());
    }
}

#[test]
fn the_window_grows_while_nothing_is_lost_and_grows_again_after_a_loss() {
    for entry in cc::ALL {
        let mut path = Path::grown(with_defaults(entry));
        let (sent_at, _) = path.send(2);
        path.now += RTT;
        path.lose(sent_at, false);
        path.ack(sent_at, 1, false);
        let reduced = path.cc.window();
        // The largest, not the last: a rate-based window also falls, to measure the RTT.
        let windows = (0..100).map(|_| {
            path.round();
            path.cc.window()
        });
        let grown = windows.max().unwrap();
        assert!(grown > reduced + 5 * PACKET, "{}: {reduced} -> {grown}", entry.name);
    }
}

#[test]
fn a_sender_limited_by_its_application_does_not_grow_the_window() {
    for entry in cc::ALL {
        for lossy in [false, true] {
            let mut path = Path::grown(with_defaults(entry));
            if lossy {
                path.lose(path.now, false);
                path.now += RTT;
            }
            let before = path.cc.window();
            for _ in 0..200 {
                path.app_limited_round();
            }
            let after = path.cc.window();
            // A rate-based window follows the rate that was measured before, and that stays bounded.
            let most = if is_loss_based(entry) { before } else { 4 * before };
            assert!(after <= most, "{}, lossy {lossy}: {before} -> {after}", entry.name);
        }
    }
}

#[test]
fn a_loss_based_controller_reduces_once_for_all_losses_of_a_flight() {
    for entry in cc::ALL.iter().filter(|e| is_loss_based(e)) {
        let mut path = Path::grown(with_defaults(entry));
        for flight in 0..3 {
            let before = path.cc.window();
            let (sent_at, packets) = path.send(before / PACKET);
            path.now += RTT;
            path.lose(sent_at, false);
            let reduced = path.cc.window();
            assert!(reduced < before, "{}, flight {flight}: {before} -> {reduced}", entry.name);
            assert!(reduced >= before / 2, "{}, flight {flight}: {before} -> {reduced}", entry.name);
            for _ in 0..3 {
                path.lose(sent_at, false);
            }
            path.ack(sent_at, packets - 4, false);
            path.mark(sent_at);
            assert_eq!(path.cc.window(), reduced, "{}, flight {flight}", entry.name);
        }
    }
}

#[test]
fn a_loss_based_controller_takes_a_mark_for_congestion() {
    for entry in cc::ALL.iter().filter(|e| is_loss_based(e)) {
        let mut path = Path::grown(with_defaults(entry));
        let before = path.cc.window();
        let (sent_at, packets) = path.send(before / PACKET);
        path.now += RTT;
        path.mark(sent_at);
        let reduced = path.cc.window();
        assert!(reduced < before && reduced >= before / 2, "{}: {before} -> {reduced}", entry.name);
        assert!(!path.cc.in_slow_start(), "{}", entry.name);
        path.ack(sent_at, packets, false);
        path.mark(sent_at);
        path.lose(sent_at, false);
        assert_eq!(path.cc.window(), reduced, "{}: once per flight", entry.name);
    }
}

#[test]
fn persistent_congestion_collapses_the_window_and_it_recovers() {
    for entry in cc::ALL {
        let mut path = Path::grown(with_defaults(entry));
        let (sent_at, _) = path.send(10);
        path.now += 10 * RTT;
        path.lose(sent_at, true);
        let collapsed = path.cc.window();
        let most = collapsed_packets(entry) * PACKET;
        assert!((2 * PACKET..=most).contains(&collapsed), "{}: {collapsed}", entry.name);
        for _ in 0..20 {
            path.round();
        }
        assert!(path.cc.window() >= 10 * PACKET, "{}: {}", entry.name, path.cc.window());
    }
}

#[test]
fn undoing_a_spurious_loss_never_costs_window() {
    for entry in cc::ALL {
        let mut path = Path::grown(with_defaults(entry));
        let full = path.cc.window();
        let (sent_at, _) = path.send(full / PACKET);
        path.now += RTT;
        path.lose(sent_at, false);
        let reduced = path.cc.window();
        path.cc.on_spurious_loss(path.now);
        assert!((reduced..=full).contains(&path.cc.window()), "{}", entry.name);
        path.cc.on_spurious_loss(path.now);
        assert!((reduced..=full).contains(&path.cc.window()), "{}: a second time", entry.name);
    }
}

#[test]
fn the_window_holds_two_packets_of_any_size() {
    for entry in cc::ALL {
        let mut path = Path::grown(with_defaults(entry));
        let (sent_at, _) = path.send(10);
        path.now += 10 * RTT;
        path.lose(sent_at, true);
        for mtu in [1200, 1452, 9000, u16::MAX, 1280, 1500] {
            path.cc.on_mtu(mtu);
            let window = path.cc.window();
            assert!(window >= 2 * u64::from(mtu), "{} at {mtu}: {window}", entry.name);
        }
    }
}
