//! Paths that go to other addresses while they live (RFC 9000 §9).

use crate::rig::{Duo, Packet, client_address, ms, server_address};
use mpquic_base::{Dir, FourTuple, PathId, Role};
use mpquic_proto::{Admission, Event, PathEvent, PreferredAddresses, Refused, TransportConfig};
use mpquic_sim::crypto::PlainCrypto;
use mpquic_wire::{Frame, Reader};
use std::net::SocketAddr;

const MOVED: Event = Event::Path(PathEvent::Moved(PathId::ZERO));
const STAYED: Event = Event::Path(PathEvent::Stayed(PathId::ZERO));

fn preferred() -> SocketAddr {
    "192.0.2.1:444".parse().unwrap()
}

fn elsewhere() -> SocketAddr {
    "198.51.100.8:5000".parse().unwrap()
}

fn to(local: SocketAddr, peer: SocketAddr) -> FourTuple {
    FourTuple { local, peer }
}

/// Connected over one path, to a server that would rather be reached elsewhere.
fn connected() -> Duo {
    let plain = TransportConfig { multipath: false, ..TransportConfig::default() };
    let SocketAddr::V4(v4) = preferred() else { unreachable!("as written above") };
    let preferred_address = Some(PreferredAddresses { v4: Some(v4), v6: None });
    let server = TransportConfig { preferred_address, ..plain.clone() };
    let mut duo = Duo::unlike(plain, server, Admission::default());
    duo.wait(ms(500));
    assert!(duo.is_connected());
    duo
}

fn go(duo: &mut Duo, tuple: FourTuple) -> Result<(), Refused> {
    let now = duo.now;
    duo.connection().move_path(now, PathId::ZERO, tuple)
}

/// What the client's only path, and the server's, lead to.
fn tuples(duo: &mut Duo) -> (FourTuple, FourTuple) {
    let near = duo.connection().path_stats().next().unwrap().tuple;
    (near, duo.server_connection().path_stats().next().unwrap().tuple)
}

fn dcid(packet: &Packet) -> &[u8] {
    &packet.bytes[1..9]
}

/// How many challenges and answers a 1-RTT packet carries, and how much else that is more than padding.
fn contents(packet: &Packet, sender: Role) -> (usize, usize, usize) {
    let keys = PlainCrypto::one_rtt(sender).local;
    let (mut first, mut pn) = (packet.bytes[0], packet.bytes[9..13].to_vec());
    keys.header.unprotect(&packet.bytes[13..29], &mut first, &mut pn);
    let from = 9 + usize::from(first & 3) + 1;
    let mut reader = Reader::new(&packet.bytes[from..packet.bytes.len() - 16]);
    let mut counts = (0, 0, 0);
    while !reader.is_empty() {
        match Frame::read(&mut reader).unwrap() {
            Frame::PathChallenge(_) => counts.0 += 1,
            Frame::PathResponse(_) => counts.1 += 1,
            Frame::Padding(_) => {}
            _ => counts.2 += 1,
        }
    }
    counts
}

#[test]
fn a_client_goes_to_the_address_that_its_server_prefers_and_the_server_with_it() {
    let mut duo = connected();
    assert_eq!(duo.connection().preferred_addresses().collect::<Vec<_>>(), [preferred()]);
    go(&mut duo, to(client_address(), preferred())).unwrap();
    duo.wait(ms(100));
    assert!(duo.client_events.contains(&MOVED) && duo.server_events.contains(&MOVED));
    let there = (to(client_address(), preferred()), to(preferred(), client_address()));
    assert_eq!(tuples(&mut duo), there);
    // And data flows between the two, both ways.
    let id = duo.connection().open(Dir::Bi).unwrap();
    duo.connection().write(id, &[7; 3000]).unwrap();
    let up = duo.client_says();
    assert!(!up.is_empty() && up.iter().all(|p| p.tuple == there.0), "{up:?}");
    duo.tell_server(up);
    let down = duo.server_says();
    assert!(!down.is_empty() && down.iter().all(|p| p.tuple == there.1), "{down:?}");
}

#[test]
fn other_addresses_are_probed_first_under_another_connection_id() {
    for tuple in [to(client_address(), preferred()), to(elsewhere(), server_address())] {
        let mut duo = connected();
        let id = duo.connection().open(Dir::Uni).unwrap();
        duo.connection().write(id, b"before").unwrap();
        let before = duo.client_says();
        go(&mut duo, tuple).unwrap();
        let probe = duo.client_says();
        assert_eq!(probe.len(), 1);
        assert_eq!((probe[0].tuple, probe[0].bytes.len()), (tuple, 1200));
        assert_eq!(contents(&probe[0], Role::Client), (1, 0, 0));
        assert_ne!(dcid(&probe[0]), dcid(&before[0]));
        // The server answers from there to there, asks back, and follows nothing but more than a probe.
        duo.tell_server(before);
        duo.server_says();
        duo.tell_server(probe);
        let answer = duo.server_says();
        let there = answer.iter().find(|p| p.tuple == to(tuple.peer, tuple.local)).unwrap();
        assert_eq!(contents(there, Role::Server), (1, 1, 0));
        assert!(there.bytes.len() <= 1200);
        assert!(!duo.server_events.contains(&MOVED));
        duo.tell_client(answer);
        assert!(duo.client_events.contains(&MOVED));
        duo.wait(ms(100));
        assert!(duo.server_events.contains(&MOVED));
        assert!(duo.server_connection().path_stats().all(|p| p.validated));
    }
}

#[test]
fn a_path_stays_where_it_is_if_the_other_addresses_do_not_answer() {
    let mut duo = connected();
    let before = tuples(&mut duo);
    go(&mut duo, to(client_address(), preferred())).unwrap();
    for _ in 0..600 {
        let up = duo.client_says();
        duo.tell_server(up.into_iter().filter(|p| p.tuple.peer == server_address()));
        let down = duo.server_says();
        duo.tell_client(down);
        duo.wait_alone(ms(10));
    }
    assert!(duo.client_events.contains(&STAYED) && !duo.client_events.contains(&MOVED));
    assert_eq!(tuples(&mut duo), before);
    let id = duo.connection().open(Dir::Uni).unwrap();
    duo.connection().write(id, b"still here").unwrap();
    duo.flow();
    assert!(duo.server_events.iter().any(|event| matches!(event, Event::Stream(_))));
}

#[test]
fn a_path_moves_only_where_it_may() {
    let mut duo = connected();
    assert_eq!(go(&mut duo, to(client_address(), elsewhere())), Err(Refused::NotAllowed));
    let now = duo.now;
    let refused = duo.server_connection().move_path(now, PathId::ZERO, to(preferred(), client_address()));
    assert_eq!(refused, Err(Refused::NotAllowed));
    let unknown = duo.connection().move_path(now, PathId(3), to(client_address(), preferred()));
    assert_eq!(unknown, Err(Refused::UnknownPath));
    // RFC 9000 §18.2: this forbids a client to leave its address, not to go where the server prefers to be.
    let plain = TransportConfig { multipath: false, ..TransportConfig::default() };
    let mut strict = Duo::meddling(plain.clone(), plain, Role::Server, |p| p.disable_active_migration = true);
    strict.wait(ms(500));
    assert_eq!(go(&mut strict, to(elsewhere(), server_address())), Err(Refused::NotAllowed));
}

#[test]
fn a_path_moves_only_after_the_handshake_and_with_an_id_to_spare() {
    let mut duo = connected();
    go(&mut duo, to(client_address(), preferred())).unwrap();
    duo.wait(ms(100));
    // The ID for that was the last; the server's next one comes as soon as the old one is retired.
    go(&mut duo, to(elsewhere(), preferred())).unwrap();
    let mut early = Duo::new();
    let up = early.client_says();
    early.tell_server(up);
    assert_eq!(go(&mut early, to(elsewhere(), server_address())), Err(Refused::Closed));
}

#[test]
fn a_probe_from_an_unproven_address_draws_at_most_three_times_its_bytes() {
    let mut duo = connected();
    let id = duo.connection().open(Dir::Uni).unwrap();
    duo.connection().write(id, b"like this").unwrap();
    let like = duo.client_says().into_iter().rfind(Packet::is_short).unwrap();
    let stranger = Packet { tuple: to(elsewhere(), server_address()), ..like };
    let challenge = [Frame::PathChallenge([7; 8]), Frame::Padding(400)];
    let probe = Duo::forge(&stranger, Role::Client, PathId::ZERO, 5000, &challenge);
    let (spent, mut drawn) = (probe.bytes.len(), 0);
    duo.tell_server([probe]);
    for _ in 0..300 {
        let there = duo.server_says().into_iter().filter(|p| p.tuple.peer == elsewhere());
        drawn += there.map(|p| p.bytes.len()).sum::<usize>();
        duo.wait_alone(ms(10));
    }
    assert!(drawn > spent && drawn <= 3 * spent, "{drawn} bytes for {spent}");
}
