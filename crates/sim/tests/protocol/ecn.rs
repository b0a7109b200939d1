//! Congestion marks between two endpoints (RFC 9000 §13.4).

use crate::rig::{Duo, Packet, ms, server_address};
use mpquic_base::{Dir, Ecn, FourTuple, PathId};
use mpquic_proto::PathStats;

/// Sends some data and carries everything through `middlebox`.
fn talk(duo: &mut Duo, rounds: usize, mut middlebox: impl FnMut(&mut Packet) -> bool) {
    for _ in 0..rounds {
        let id = duo.connection().open(Dir::Uni).unwrap();
        duo.connection().write(id, &[1; 3000]).unwrap();
        for _ in 0..4 {
            let mut up = duo.client_says();
            up.retain_mut(&mut middlebox);
            duo.tell_server(up);
            let down = duo.server_says();
            duo.tell_client(down);
            duo.wait_alone(ms(30));
        }
    }
}

fn connected() -> Duo {
    let mut duo = Duo::new();
    duo.wait(ms(50));
    duo
}

fn first_path(duo: &mut Duo) -> PathStats {
    duo.connection().path_stats().next().unwrap()
}

#[test]
fn a_path_that_carries_marks_is_marked_for_good() {
    let mut duo = connected();
    talk(&mut duo, 20, |_| true);
    assert!(first_path(&mut duo).ecn);
    let mut unmarked = 0;
    talk(&mut duo, 10, |p| {
        unmarked += u32::from(p.ecn != Ecn::Ect0);
        true
    });
    assert_eq!(unmarked, 0);
}

/// ECT(1) promises a response that none of our controllers gives.
#[test]
fn no_packet_claims_to_be_scalable() {
    let mut duo = Duo::new();
    let mut marked = 0;
    for _ in 0..50 {
        let (up, down) = (duo.client_says(), duo.server_says());
        assert!(up.iter().chain(&down).all(|p| matches!(p.ecn, Ecn::NotEct | Ecn::Ect0)));
        marked += up.iter().chain(&down).filter(|p| p.ecn == Ecn::Ect0).count();
        duo.tell_server(up);
        duo.tell_client(down);
        duo.wait_alone(ms(5));
    }
    assert!(marked > 0 && first_path(&mut duo).ecn, "marking was tried");
}

#[test]
fn a_path_that_bleaches_marks_is_found_out() {
    let mut duo = connected();
    let bleach = |p: &mut Packet| {
        p.ecn = Ecn::NotEct;
        true
    };
    talk(&mut duo, 20, bleach);
    assert!(!first_path(&mut duo).ecn);
    talk(&mut duo, 5, |p| {
        assert_eq!(p.ecn, Ecn::NotEct);
        true
    });
}

#[test]
fn a_path_that_drops_what_is_marked_still_carries_the_data() {
    let mut duo = Duo::new();
    let (mut marked, mut rounds) = (0, 0);
    while rounds < 60 {
        rounds += 1;
        if rounds > 10 && rounds < 30 && duo.is_connected() {
            let id = duo.connection().open(Dir::Uni).unwrap();
            duo.connection().write(id, &[1; 3000]).unwrap();
        }
        let mut up = duo.client_says();
        up.retain(|p| p.ecn == Ecn::NotEct);
        marked += usize::from(duo.is_connected() && rounds > 50 && up.is_empty());
        duo.tell_server(up);
        let down = duo.server_says();
        duo.tell_client(down);
        duo.wait_alone(ms(100));
    }
    assert!(marked > 0, "all is said");
    assert_eq!(duo.connection().stream_stats().send_held, 0, "everything arrived");
    assert!(!first_path(&mut duo).ecn);
}

#[test]
fn a_congestion_mark_reaches_the_controller_once_per_round_trip() {
    let mut duo = Duo::new();
    duo.config.set_controller(mpquic_policy::Entry::find(mpquic_policy::cc::ALL, "cubic").unwrap());
    duo.connect_from(crate::rig::client_address());
    duo.wait(ms(50));
    talk(&mut duo, 10, |_| true);
    let before = first_path(&mut duo).window;
    let mut left = 1;
    talk(&mut duo, 1, |p| {
        if left > 0 && p.ecn == Ecn::Ect0 {
            left -= 1;
            p.ecn = Ecn::Ce;
        }
        true
    });
    let after = first_path(&mut duo);
    assert_eq!((after.congestion_marks, after.packets_lost), (1, 0));
    assert!(after.window < before, "{} and {before}", after.window);
}

#[test]
fn each_path_is_judged_by_itself() {
    let mut duo = connected();
    let (now, local) = (duo.now, "203.0.113.5:4000".parse().unwrap());
    duo.connection().open_path(now, FourTuple { local, peer: server_address() }, false).unwrap();
    let bleach = |p: &mut Packet| {
        if p.tuple.local == local {
            p.ecn = Ecn::NotEct;
        }
        true
    };
    talk(&mut duo, 10, bleach);
    duo.connection().set_path_backup(PathId::ZERO, true).unwrap();
    talk(&mut duo, 20, bleach);
    let capable: Vec<_> = duo.connection().path_stats().map(|p| (p.ecn, p.packets_sent > 20)).collect();
    assert_eq!(capable, [(true, true), (false, true)]);
}

#[test]
fn without_consent_nothing_is_marked() {
    let config = mpquic_proto::TransportConfig { ecn: false, ..Default::default() };
    let mut duo = Duo::with(config, Default::default());
    duo.wait(ms(50));
    talk(&mut duo, 5, |p| {
        assert_eq!(p.ecn, Ecn::NotEct);
        true
    });
}
