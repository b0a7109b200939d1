//! Whose address is believed, and what a forged one can bring about (RFC 9000 §8, §9.3).

use crate::rig::{Duo, Packet, client_address, ms, server_address};
use mpquic_base::{Dir, FourTuple};
use mpquic_proto::{Admission, Event, Fate, PathEvent, TransportConfig};
use std::net::SocketAddr;

fn elsewhere() -> SocketAddr {
    "203.0.113.66:6666".parse().unwrap()
}

/// The same datagram, as if `from` had sent it.
fn copy(packet: &Packet, from: SocketAddr) -> Packet {
    Packet { tuple: FourTuple { local: from, ..packet.tuple }, ..packet.clone() }
}

fn bytes(packets: &[Packet]) -> usize {
    packets.iter().map(|p| p.bytes.len()).sum()
}

fn to(packets: Vec<Packet>, address: SocketAddr) -> Vec<Packet> {
    packets.into_iter().filter(|p| p.tuple.peer == address).collect()
}

/// The client is silent for a while, and the server sends no more than that many bytes elsewhere; then they go on.
fn draws_no_more_than(duo: &mut Duo, limit: usize) {
    let mut lured = 0;
    for _ in 0..40 {
        lured += bytes(&to(duo.server_says(), elsewhere()));
        duo.wait_alone(ms(100));
    }
    assert!(lured <= limit, "{lured} where {limit} are allowed");
    duo.wait(ms(3000));
    assert!(duo.is_connected(), "{:?} {:?}", duo.client_ended(), duo.server_ended());
}

/// A connected pair, and the client's next datagrams.
fn talking() -> (Duo, Vec<Packet>) {
    let mut duo = Duo::new();
    duo.wait(ms(300));
    let id = duo.connection().open(Dir::Bi).unwrap();
    duo.connection().write(id, b"hello").unwrap();
    let said = duo.client_says();
    assert!(!said.is_empty());
    (duo, said)
}

#[test]
fn bytes_from_elsewhere_earn_no_credit_for_an_address_that_is_not_proven() {
    let mut duo = Duo::new();
    let first = duo.client_says();
    let received = bytes(&first);
    duo.tell_server(first.clone());
    let mut sent = bytes(&duo.server_says());
    for n in 0..10 {
        // Behind the connection ID that the client chose nothing genuine follows.
        let mut garbage = copy(&first[0], elsewhere());
        garbage.bytes[100 + n] ^= 1;
        garbage.tuple.local = client_address();
        garbage.tuple.local.set_port(7);
        duo.tell_server([garbage]);
        duo.wait_alone(ms(900));
        sent += bytes(&duo.server_says());
    }
    assert!(sent <= 3 * received, "{sent} for {received}");
}

#[test]
fn a_copy_of_a_handshake_packet_from_elsewhere_draws_at_most_three_times_its_bytes() {
    let mut duo = Duo::new();
    for _ in 0..2 {
        let up = duo.client_says();
        duo.tell_server(up);
        let down = duo.server_says();
        duo.tell_client(down);
    }
    let up = duo.client_says();
    let copies: Vec<_> = up.iter().map(|p| copy(p, elsewhere())).collect();
    let received = bytes(&copies);
    // The copies overtake the originals, and those never arrive.
    duo.tell_server(copies);
    draws_no_more_than(&mut duo, 3 * received);
}

#[test]
fn a_copied_datagram_earns_its_address_something_only_once_even_if_a_part_of_it_waits_for_keys() {
    let mut duo = Duo::new();
    let up = duo.client_says();
    duo.tell_server(up);
    let down = duo.server_says();
    duo.tell_client(down);
    // The end of the client's handshake is lost, so it says that again and again, and a little under both kinds of keys.
    duo.client_says();
    duo.wait_alone(ms(900));
    let early = duo.client_says();
    duo.wait_alone(ms(900));
    let late = duo.client_says();
    let app = early.iter().position(|p| p.bytes[0] & 0x80 == 0).expect("a probe under 1-RTT keys");
    let mut joined = copy(&early[app - 1], elsewhere());
    joined.bytes.extend(&early[app].bytes);
    let received = joined.bytes.len();
    duo.tell_server([joined]);
    let answered = bytes(&to(duo.server_says(), elsewhere()));
    assert!(answered > 0, "its handshake packet can be read");
    // What completes the handshake comes from where the client is, and then the rest of the copy can be read, too.
    duo.tell_server(late.into_iter().take(1));
    draws_no_more_than(&mut duo, 3 * received - answered);
}

#[test]
fn a_copy_from_elsewhere_that_overtakes_the_original_moves_the_path_only_until_the_next_packet() {
    let (mut duo, said) = talking();
    let copies: Vec<_> = said.iter().map(|p| copy(p, elsewhere())).collect();
    let received = bytes(&copies);
    duo.tell_server(copies.into_iter().chain(said));
    let lured = bytes(&to(duo.server_says(), elsewhere()));
    assert!(lured <= 3 * received, "{lured} for {received}");
    let id = duo.connection().open(Dir::Bi).unwrap();
    duo.connection().write(id, b"and again").unwrap();
    duo.wait(ms(10));
    let path = duo.server_connection().path_stats().next().unwrap();
    assert_eq!((path.tuple.peer, path.validated), (client_address(), true), "proven before, so proven now");
}

#[test]
fn a_spoofed_address_that_never_answers_is_left_again() {
    let (mut duo, said) = talking();
    duo.tell_server(said.iter().map(|p| copy(p, elsewhere())));
    let moved = |duo: &Duo| duo.server_events.iter().any(|e| matches!(e, Event::Path(PathEvent::Moved(_))));
    assert!(moved(&duo));
    let mut lured = 0;
    for _ in 0..60 {
        let down = duo.server_says();
        lured += bytes(&to(down, elsewhere()));
        duo.wait_alone(ms(100));
    }
    assert!(lured <= 3 * bytes(&said), "{lured}");
    let path = duo.server_connection().path_stats().next().unwrap();
    assert_eq!((path.tuple.peer, path.validated), (client_address(), true));
    duo.wait(ms(2000));
    assert_eq!((duo.client_ended(), duo.server_ended()), (None, None));
}

#[test]
fn garbage_with_a_known_connection_id_is_no_sign_of_life() {
    let config = TransportConfig {
        keep_alive: Some(ms(1000)),
        max_idle_timeout: ms(4000),
        ..TransportConfig::default()
    };
    let mut duo = Duo::with(config, Admission::default());
    duo.wait(ms(300));
    let id = duo.connection().open(Dir::Uni).unwrap();
    duo.connection().write(id, b"hello").unwrap();
    let id = duo.server_connection().open(Dir::Uni).unwrap();
    duo.server_connection().write(id, b"hello").unwrap();
    let (like, reply) = (duo.client_says().pop().unwrap(), duo.server_says().pop().unwrap());
    duo.tell_server([like.clone()]);
    duo.tell_client([reply.clone()]);
    let bent = |packet: &Packet| {
        let mut bent = packet.clone();
        let last = bent.bytes.len() - 1;
        bent.bytes[last] ^= 1;
        bent
    };
    for _ in 0..60 {
        duo.tell_server([bent(&like)]);
        duo.tell_client([bent(&reply)]);
        duo.wait(ms(200));
    }
    assert_eq!((duo.client_ended(), duo.server_ended()), (None, None), "kept alive all the same");
}

/// What the server tries to send while its host cannot send anything.
fn tries(duo: &mut Duo) -> usize {
    let (now, mut out, mut tries) = (duo.now, vec![0; 65_536], 0);
    while let Some((id, transmit)) = duo.server.transmit(now, &mut out) {
        tries += 1;
        assert!(tries < 50, "again and again: {transmit:?}");
        duo.server.settle(now, id.unwrap(), transmit.tag, Fate::Unreachable);
    }
    tries
}

#[test]
fn a_host_without_a_way_out_is_not_asked_in_a_loop() {
    let mut duo = Duo::new();
    duo.wait(ms(300));
    let (now, local) = (duo.now, "203.0.113.5:4000".parse().unwrap());
    duo.connection().open_path(now, FourTuple { local, peer: server_address() }, false).unwrap();
    let challenge = duo.client_says();
    duo.tell_server(challenge);
    assert!(tries(&mut duo) > 0, "a new path, challenged and told its address");
    duo.wait(ms(2000));
    assert!(duo.server_connection().path_stats().all(|p| p.validated), "the host can send again");
    // A path that works, whose client moves: there is news for it, and again no way to tell.
    let id = duo.connection().open(Dir::Uni).unwrap();
    duo.connection().write(id, b"hello").unwrap();
    let said = duo.client_says();
    let moved = said.iter().map(|p| copy(p, SocketAddr::new(p.tuple.local.ip(), 7))).collect::<Vec<_>>();
    duo.tell_server(moved);
    assert!(tries(&mut duo) > 0);
    for _ in 0..50 {
        duo.wait_alone(ms(20));
        tries(&mut duo);
    }
}

#[test]
fn an_address_that_was_never_proven_is_none_to_fall_back_to() {
    let mut duo = Duo::new();
    let first: Vec<_> = duo.client_says().iter().map(|p| copy(p, elsewhere())).collect();
    let received = bytes(&first);
    duo.tell_server(first);
    let flight = duo.server_says();
    let mut lured = bytes(&flight);
    // Somebody carries the server's flight to the client, whose next packets come from its own address; and no more.
    duo.tell_client(flight);
    let up = duo.client_says();
    duo.tell_server(up);
    for _ in 0..100 {
        lured += bytes(&to(duo.server_says(), elsewhere()));
        duo.wait_alone(ms(100));
    }
    assert!(lured <= 3 * received, "{lured} for {received}");
}

#[test]
fn a_keep_alive_that_may_not_be_sent_waits_without_a_clock() {
    let config = TransportConfig { keep_alive: Some(ms(300)), ..TransportConfig::default() };
    let mut duo = Duo::with(config, Admission::default());
    let first = duo.client_says();
    duo.tell_server(first);
    let flight = duo.server_says();
    duo.tell_client(flight);
    // The end of the handshake comes by way of somebody else, and nothing after it: the server goes back to an address
    // that was never proven.
    let up: Vec<_> = duo.client_says().iter().map(|p| copy(p, elsewhere())).collect();
    duo.tell_server(up);
    let id = duo.server_connection().open(Dir::Uni).unwrap();
    duo.server_connection().write(id, &[1; 100_000]).unwrap();
    for _ in 0..500 {
        duo.wait_alone(ms(10));
        let rests = (0..5).any(|_| {
            duo.server_says();
            let rests = duo.server.deadline().is_none_or(|at| at > duo.now);
            duo.wait_alone(ms(0));
            rests
        });
        assert!(rests, "busy at {:?}", duo.now);
    }
}
