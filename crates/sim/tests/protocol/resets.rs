//! Stateless resets (RFC 9000 §10.3).

use crate::rig::{Duo, Packet, ms, server_address};
use mpquic_base::{Dir, FourTuple, PathId};
use mpquic_proto::CloseReason;
use mpquic_proto::crypto::ResetTokens;
use mpquic_sim::crypto::PlainCrypto;

/// Connected, with a packet of the client's that the server has not seen.
fn connected() -> (Duo, Packet) {
    let mut duo = Duo::new();
    duo.wait(ms(200));
    let packet = spoken(&mut duo, &[7; 200]);
    (duo, packet)
}

fn spoken(duo: &mut Duo, data: &[u8]) -> Packet {
    let id = duo.connection().open(Dir::Uni).unwrap();
    duo.connection().write(id, data).unwrap();
    duo.client_says().into_iter().rfind(Packet::is_short).unwrap()
}

/// What the server answers to a packet of an unknown connection.
fn answer(duo: &mut Duo, packet: Packet) -> Vec<Packet> {
    duo.tell_server([packet]);
    duo.server_says()
}

#[test]
fn a_server_that_forgot_a_connection_ends_it_with_a_reset() {
    let (mut duo, packet) = connected();
    duo.restart_server(77);
    let reset = answer(&mut duo, packet);
    assert_eq!((reset.len(), duo.server.counters().resets_sent), (1, 1));
    duo.tell_client(reset);
    assert_eq!(duo.client_ended(), Some(&CloseReason::StatelessReset));
    assert_eq!(duo.client.counters().resets_received, 1);
    assert!(duo.client_says().is_empty(), "draining says nothing");
}

#[test]
fn a_client_that_forgot_a_connection_ends_it_with_a_reset() {
    let (mut duo, _) = connected();
    // The client's first ID has no token; those of a second path do.
    let (now, local) = (duo.now, "203.0.113.5:4000".parse().unwrap());
    duo.connection().open_path(now, FourTuple { local, peer: server_address() }, false).unwrap();
    duo.wait(ms(300));
    let id = duo.server_connection().open(Dir::Uni).unwrap();
    duo.server_connection().write(id, &[7; 20_000]).unwrap();
    let packet = duo.server_says();
    let other = Duo::new();
    duo.client = other.client;
    duo.tell_client(packet);
    let reset: Vec<_> = duo.client_says().into_iter().filter(Packet::is_short).collect();
    duo.tell_server(reset);
    assert_eq!(duo.server_ended(), Some(&CloseReason::StatelessReset));
}

#[test]
fn a_reset_is_at_least_21_bytes_and_always_shorter_than_what_it_answers() {
    let (mut duo, packet) = connected();
    duo.restart_server(77);
    for len in 9..=100 {
        let mut cut = packet.clone();
        cut.bytes.truncate(len);
        let answer = answer(&mut duo, cut);
        let lens: Vec<_> = answer.iter().map(|p| p.bytes.len()).collect();
        assert_eq!(lens, if len < 22 { vec![] } else { vec![(len - 1).min(43)] }, "for {len} bytes");
    }
}

#[test]
fn two_endpoints_that_know_nothing_fall_silent_soon() {
    let (mut duo, packet) = connected();
    duo.restart_server(77);
    let (mut up, mut turns) = (vec![packet], 0);
    let other = Duo::new();
    duo.client = other.client;
    duo.client_says();
    while !up.is_empty() {
        turns += 1;
        duo.tell_server(up);
        let down = duo.server_says();
        duo.tell_client(down);
        up = duo.client_says();
    }
    assert!(turns <= 12, "{turns} turns");
}

#[test]
fn resets_are_limited_in_number() {
    let (mut duo, packet) = connected();
    duo.restart_server(77);
    let sent: usize = (0..5000).map(|_| answer(&mut duo, packet.clone()).len()).sum();
    assert!((100..=300).contains(&sent), "{sent} at once");
    duo.now += ms(1000);
    assert!((0..5000).map(|_| answer(&mut duo, packet.clone()).len()).sum::<usize>() <= 300);
}

#[test]
fn long_headers_draw_no_reset() {
    let mut duo = Duo::new();
    let mut first = duo.client_says();
    first[0].bytes[0] = 0xe3;
    duo.tell_server(first);
    assert!(duo.server_says().is_empty());
}

/// Whoever got its token from us could end a connection that is none of its business.
#[test]
fn nothing_that_names_a_living_or_closing_connection_draws_its_reset() {
    let (mut duo, packet) = connected();
    let token = PlainCrypto.reset_token(&packet.bytes[1..9]);
    for len in 21..packet.bytes.len() {
        for (first, peer) in [(0x40, packet.tuple.local), (0x7f, "203.0.113.66:6".parse().unwrap())] {
            let mut bytes = packet.bytes[..len].to_vec();
            bytes[0] = first;
            bytes[len - 1] ^= 1;
            let forged = Packet { bytes, tuple: FourTuple { local: peer, ..packet.tuple }, ..packet.clone() };
            let said = answer(&mut duo, forged);
            assert!(!said.iter().any(|p| p.bytes.ends_with(&token)), "{len} bytes");
        }
    }
    assert_eq!(duo.server.counters().resets_sent, 0);
    let now = duo.now;
    duo.server_connection().close(now, 1, b"no");
    duo.server_says();
    let said = answer(&mut duo, packet);
    assert!(!said.iter().any(|p| p.bytes.ends_with(&token)));
    assert_eq!(duo.server.counters().resets_sent, 0);
}

fn reset_for(tuple: FourTuple, token: [u8; 16]) -> Packet {
    let mut bytes = vec![0x5a; 25];
    bytes.extend(token);
    Packet { tuple: FourTuple { local: tuple.peer, peer: tuple.local }, ecn: mpquic_base::Ecn::NotEct, bytes }
}

#[test]
fn a_reset_with_any_other_token_changes_nothing() {
    let (mut duo, packet) = connected();
    let token = PlainCrypto.reset_token(&packet.bytes[1..9]);
    for at in 0..16 {
        let mut wrong = token;
        wrong[at] ^= 1;
        duo.tell_client([reset_for(packet.tuple, wrong)]);
    }
    assert_eq!(duo.client_ended(), None);
    let mut short = reset_for(packet.tuple, token);
    short.bytes.drain(..21);
    duo.tell_client([short]);
    assert_eq!(duo.client_ended(), None, "20 bytes are too short for a reset");
    duo.tell_client([reset_for(packet.tuple, token)]);
    assert_eq!(duo.client_ended(), Some(&CloseReason::StatelessReset));
}

#[test]
fn a_reset_on_any_path_ends_the_connection() {
    let mut duo = Duo::new();
    duo.wait(ms(200));
    let (now, local) = (duo.now, "203.0.113.5:4000".parse().unwrap());
    duo.connection().open_path(now, FourTuple { local, peer: server_address() }, false).unwrap();
    let first = duo.client_says();
    let token = PlainCrypto.reset_token(&first[0].bytes[1..9]);
    let tuple = first[0].tuple;
    duo.tell_server(first);
    duo.wait(ms(200));
    assert_eq!(duo.connection().path_stats().count(), 2);
    duo.tell_client([reset_for(tuple, token)]);
    assert_eq!(duo.client_ended(), Some(&CloseReason::StatelessReset));
}

#[test]
fn the_token_of_an_abandoned_path_means_nothing() {
    let mut duo = Duo::new();
    duo.wait(ms(200));
    let first = spoken(&mut duo, b"hello");
    let token = PlainCrypto.reset_token(&first.bytes[1..9]);
    let (now, local) = (duo.now, "203.0.113.5:4000".parse().unwrap());
    duo.connection().open_path(now, FourTuple { local, peer: server_address() }, false).unwrap();
    duo.wait(ms(300));
    duo.connection().abandon_path(now, PathId::ZERO).unwrap();
    duo.tell_client([reset_for(first.tuple, token)]);
    assert_eq!(duo.client_ended(), None);
}

#[test]
fn a_path_given_up_is_not_forgotten_before_the_peer_knows() {
    let mut duo = Duo::new();
    duo.wait(ms(200));
    let (now, local) = (duo.now, "203.0.113.5:4000".parse().unwrap());
    duo.connection().open_path(now, FourTuple { local, peer: server_address() }, false).unwrap();
    duo.wait(ms(300));
    let now = duo.now;
    duo.server_connection().abandon_path(now, PathId::ZERO).unwrap();
    // Nothing of the server's arrives; the client goes on sending on the path.
    for _ in 0..8 {
        duo.wait_alone(ms(700));
        duo.server_says();
        let packet = duo.client_says();
        duo.tell_server(packet);
    }
    assert_eq!(duo.server.counters().resets_sent, 0);
    duo.wait(ms(3000));
    assert_eq!((duo.client_ended(), duo.server_ended()), (None, None));
}

#[test]
fn endings_of_connections_leave_no_token_behind() {
    let (mut duo, packet) = connected();
    let token = PlainCrypto.reset_token(&packet.bytes[1..9]);
    let now = duo.now;
    duo.connection().close(now, 0, b"");
    duo.wait(ms(20_000));
    assert!(duo.client.is_empty());
    duo.tell_client([reset_for(packet.tuple, token)]);
    assert_eq!(duo.client.counters().resets_received, 0);
}
