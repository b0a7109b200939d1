//! The handshake between two endpoints: sizes, limits and what both ends sign (RFC 9000 §7, §8.1, §14.1).

use crate::rig::{Duo, Packet, ms};
use mpquic_base::{PathId, Role};
use mpquic_proto::{CloseReason, TransportConfig};
use mpquic_wire::{Code, Frame, TransportParameters};

fn code(reason: Option<&CloseReason>) -> Option<Code> {
    match reason {
        Some(CloseReason::Violation { code, .. }) => Some(*code),
        _ => None,
    }
}

fn meddled(who: Role, how: fn(&mut TransportParameters)) -> Duo {
    let mut duo = Duo::meddling(TransportConfig::default(), TransportConfig::default(), who, how);
    duo.wait(ms(200));
    duo
}

/// A connected pair, where the client has just sent a packet with `frame` that it may not send.
fn after_forgery(server: TransportConfig, frame: &Frame<'_>) -> Duo {
    let mut duo = Duo::unlike(TransportConfig::default(), server, mpquic_proto::Admission::default());
    duo.wait(ms(100));
    let id = duo.connection().open(mpquic_base::Dir::Bi).unwrap();
    duo.connection().write(id, b"x").unwrap();
    let like = duo.client_says().pop().unwrap();
    duo.tell_server([
        like.clone(),
        Duo::forge(&like, Role::Client, PathId::ZERO, 5000, std::slice::from_ref(frame)),
    ]);
    duo
}

#[test]
fn every_datagram_with_an_initial_packet_is_full_in_both_directions() {
    let mut duo = Duo::new();
    let mut seen = 0;
    for _ in 0..6 {
        let (up, down) = (duo.client_says(), duo.server_says());
        for packet in up.iter().chain(&down).filter(|p| p.bytes[0] & 0xb0 == 0x80) {
            assert!(packet.bytes.len() >= 1200, "{} bytes", packet.bytes.len());
            seen += 1;
        }
        duo.tell_server(up);
        duo.tell_client(down);
    }
    assert!(seen >= 3 && duo.is_connected());
}

#[test]
fn a_client_initial_in_a_small_datagram_is_ignored() {
    let mut duo = Duo::new();
    let mut first = duo.client_says();
    first[0].bytes.truncate(1199);
    duo.tell_server(first);
    assert!(duo.server.is_empty() && duo.server_says().is_empty());
}

#[test]
fn an_unvalidated_client_gets_at_most_three_bytes_for_one() {
    let mut duo = Duo::new();
    let first = duo.client_says();
    let received: usize = first.iter().map(|p| p.bytes.len()).sum();
    duo.tell_server(first);
    let mut sent = 0;
    for _ in 0..9 {
        sent += duo.server_says().iter().map(|p| p.bytes.len()).sum::<usize>();
        duo.wait_alone(ms(900));
    }
    assert!(sent > 0 && sent <= 3 * received, "{sent} for {received}");
}

#[test]
fn garbage_behind_a_packet_is_ignored() {
    let mut duo = Duo::new();
    let mut first = duo.client_says();
    first[0].bytes.extend([0x00, 0xff, 0x13]);
    duo.tell_server(first);
    duo.wait(ms(200));
    assert!(duo.is_connected());
}

#[test]
fn a_client_whose_packets_are_all_acknowledged_still_keeps_the_handshake_alive() {
    let mut duo = Duo::new();
    let first = duo.client_says();
    duo.tell_server(first);
    // Of the server's flight only the first datagram arrives; its limit keeps it from sending more.
    let flight = duo.server_says();
    duo.tell_client(flight.into_iter().take(1));
    duo.client_says();
    let mut spoke = false;
    for _ in 0..20 {
        duo.wait_alone(ms(200));
        let up = duo.client_says();
        spoke |= !up.is_empty();
        duo.tell_server(up);
        let down = duo.server_says();
        duo.tell_client(down);
    }
    assert!(spoke && duo.is_connected());
}

/// A client that has finished the handshake, has not heard that the server has too, and closes with 7: what it said last
/// before, and the close. The server has heard neither.
fn closed_before_confirmed() -> (Duo, Vec<Packet>, Vec<Packet>) {
    let mut duo = Duo::new();
    let hello = duo.client_says();
    duo.tell_server(hello);
    let flight = duo.server_says();
    duo.tell_client(flight);
    let finished = duo.client_says();
    assert!(!duo.is_connected());
    let now = duo.now;
    duo.connection().close(now, 7, b"");
    let close = duo.client_says();
    (duo, finished, close)
}

#[test]
fn a_close_before_the_handshake_is_confirmed_reaches_a_server_that_reads_nothing_behind_a_handshake_packet() {
    let (mut duo, finished, close) = closed_before_confirmed();
    duo.tell_server(finished);
    // Handshake keys go with the client's Finished; such a server is left with what begins with a 1-RTT packet.
    duo.tell_server(close.into_iter().filter(Packet::is_short));
    let told = duo.server_ended();
    assert!(matches!(told, Some(CloseReason::PeerApplication { code: 7, .. })), "{told:?}");
}

#[test]
fn a_close_before_the_handshake_is_confirmed_is_heard_by_a_server_that_missed_the_end_of_the_handshake() {
    let (mut duo, _, close) = closed_before_confirmed();
    duo.tell_server(close);
    let told = duo.server_ended();
    assert!(
        matches!(told, Some(CloseReason::PeerTransport { code: Code::APPLICATION_ERROR, .. })),
        "{told:?}"
    );
}

#[test]
fn connection_ids_that_were_not_seen_on_the_wire_are_an_error() {
    let other = || mpquic_base::Cid::new(&[9; 8]);
    assert!(other().is_some());
    let servers: [fn(&mut TransportParameters); 5] = [
        |p| p.original_dcid = mpquic_base::Cid::new(&[9; 8]),
        |p| p.original_dcid = None,
        |p| p.initial_scid = mpquic_base::Cid::new(&[9; 8]),
        |p| p.initial_scid = None,
        |p| p.retry_scid = mpquic_base::Cid::new(&[9; 8]),
    ];
    for how in servers {
        let duo = meddled(Role::Server, how);
        assert_eq!(code(duo.client_ended()), Some(Code::TRANSPORT_PARAMETER_ERROR));
    }
    let clients: [fn(&mut TransportParameters); 2] =
        [|p| p.initial_scid = mpquic_base::Cid::new(&[9; 8]), |p| p.initial_scid = None];
    for how in clients {
        let duo = meddled(Role::Client, how);
        assert_eq!(code(duo.server_ended()), Some(Code::TRANSPORT_PARAMETER_ERROR));
    }
}

#[test]
fn handshake_done_from_a_client_is_a_violation() {
    let duo = after_forgery(TransportConfig::default(), &Frame::HandshakeDone);
    assert_eq!(code(duo.server_ended()), Some(Code::PROTOCOL_VIOLATION));
}

#[test]
fn a_datagram_larger_than_was_announced_is_a_violation() {
    let small = TransportConfig { max_datagram_frame: 100, ..TransportConfig::default() };
    let fits = after_forgery(small.clone(), &Frame::Datagram { data: &[1; 97] });
    assert_eq!(fits.server_ended(), None);
    let duo = after_forgery(small, &Frame::Datagram { data: &[1; 98] });
    assert_eq!(code(duo.server_ended()), Some(Code::PROTOCOL_VIOLATION));
}

#[test]
fn the_shorter_idle_timeout_counts_for_both() {
    let short = TransportConfig { max_idle_timeout: ms(2000), ..TransportConfig::default() };
    let mut duo = Duo::unlike(short, TransportConfig::default(), mpquic_proto::Admission::default());
    duo.wait(ms(100));
    duo.wait(ms(1800));
    assert_eq!((duo.client_ended(), duo.server_ended()), (None, None));
    duo.wait(ms(400));
    assert_eq!(duo.client_ended(), Some(&CloseReason::IdleTimeout));
    assert_eq!(duo.server_ended(), Some(&CloseReason::IdleTimeout));
}

#[test]
fn the_mtu_is_searched_once_there_is_something_to_carry() {
    let mut duo = Duo::new();
    duo.wait(ms(1000));
    let mtu = |duo: &mut Duo| duo.connection().path_stats().next().unwrap().mtu;
    assert_eq!(mtu(&mut duo), 1200);
    let id = duo.connection().open(mpquic_base::Dir::Bi).unwrap();
    duo.connection().write(id, b"x").unwrap();
    duo.wait(ms(1000));
    assert_eq!(mtu(&mut duo), 1452);
}
