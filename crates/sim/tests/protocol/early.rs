//! 0-RTT between two endpoints (RFC 9001 §4.6, RFC 9000 §7.4.1, §12.5).

use crate::rig::{Duo, Packet, ms};
use mpquic_base::{Dir, PathId, Role, StreamId};
use mpquic_proto::crypto::RESET_TOKEN_LEN;
use mpquic_proto::{Admission, CloseReason, Event, Read, Refused, RetryPolicy, TransportConfig};
use mpquic_sim::crypto::{PlainCrypto, PlainTickets};
use mpquic_wire::header::{LongHeader, LongKind, PartialHeader, VERSION_1, VERSION_2};
use mpquic_wire::{Code, Frame, TransportParameters, Writer};
use std::sync::Arc;

const SAID: &[u8] = &[0x42; 3000];

/// What the server said at the last visit.
fn remembered() -> TransportParameters {
    TransportParameters {
        initial_max_data: 100_000,
        initial_max_stream_data_bidi_remote: 50_000,
        initial_max_stream_data_uni: 50_000,
        initial_max_streams_bidi: 4,
        initial_max_streams_uni: 4,
        stateless_reset_token: Some([1; RESET_TOKEN_LEN]),
        ..TransportParameters::default()
    }
}

/// A client that was here before and has said something, and whether the server wants to hear it.
fn returning(accepts: bool) -> (Duo, StreamId) {
    with_server(TransportConfig::default(), accepts)
}

fn with_server(server: TransportConfig, accepts: bool) -> (Duo, StreamId) {
    with_ticket(remembered(), server, accepts)
}

fn with_ticket(remembered: TransportParameters, server: TransportConfig, accepts: bool) -> (Duo, StreamId) {
    let ticket = PlainTickets { remembered: Some(remembered.encode(Role::Server, None)), accepts: false };
    let client = (TransportConfig::default(), Arc::new(ticket) as _);
    let server = (server, Arc::new(PlainTickets { remembered: None, accepts }) as _);
    let mut duo = Duo::with_crypto(client, server);
    assert!(duo.connection().can_send_early());
    let id = duo.connection().open(Dir::Uni).unwrap();
    assert_eq!(duo.connection().write(id, SAID), Ok(SAID.len()));
    duo.connection().finish(id).unwrap();
    (duo, id)
}

fn is_early(packet: &Packet) -> bool {
    packet.bytes[0] & 0xb0 == 0x90
}

/// What the server's application reads until there is nothing more.
fn heard(duo: &mut Duo) -> Vec<u8> {
    let (mut all, mut chunk) = (Vec::new(), [0; 4096]);
    duo.server_connection().accept(Dir::Uni);
    let id = StreamId::new(Role::Client, Dir::Uni, 0);
    while let Ok(Read::Data(n)) = duo.server_connection().read(id, &mut chunk) {
        all.extend(&chunk[..n]);
    }
    all
}

fn outcome(duo: &Duo) -> Vec<bool> {
    let told = |e: &Event| if let Event::EarlyData { accepted } = e { Some(*accepted) } else { None };
    duo.client_events.iter().filter_map(told).collect()
}

#[test]
fn what_was_written_early_arrives_with_the_first_flight() {
    let (mut duo, _) = returning(true);
    let first = duo.client_says();
    assert!(first.iter().filter(|p| is_early(p)).count() >= 3);
    duo.tell_server(first);
    assert_eq!(heard(&mut duo), SAID);
    duo.wait(ms(200));
    assert!(duo.is_connected());
    assert_eq!(outcome(&duo), [true]);
    assert_eq!(duo.connection().stream_stats().send_held, 0, "acknowledged as well");
}

#[test]
fn with_the_keys_of_1_rtt_nothing_is_said_early_any_more() {
    let (mut duo, _) = returning(true);
    let first = duo.client_says();
    assert!(first.iter().any(is_early));
    duo.tell_server(first);
    let flight = duo.server_says();
    duo.tell_client(flight);
    let id = duo.connection().open(Dir::Uni).unwrap();
    duo.connection().write(id, b"and more").unwrap();
    let said = duo.client_says();
    assert!(said.iter().any(Packet::is_short) && !said.iter().any(is_early));
    // What is lost of the first flight is not said early again either.
    duo.wait_alone(ms(2000));
    assert!(!duo.client_says().iter().any(is_early));
}

#[test]
fn a_server_answers_early_data_before_it_has_heard_the_end_of_the_handshake() {
    let (mut duo, _) = returning(true);
    let asked = duo.connection().open(Dir::Bi).unwrap();
    duo.connection().write(asked, b"question").unwrap();
    let first = duo.client_says();
    duo.tell_server(first);
    assert_eq!(duo.server_connection().accept(Dir::Bi), Some(asked));
    duo.server_connection().write(asked, b"answer").unwrap();
    let answer = duo.server_says();
    assert!(answer.iter().any(Packet::is_short) && !duo.server_connection().is_established());
    // One round trip after it was asked, the client knows.
    duo.tell_client(answer);
    let mut read = [0; 100];
    assert_eq!(duo.connection().read(asked, &mut read), Ok(Read::Data(6)));
    assert_eq!(&read[..6], b"answer");
    duo.wait(ms(200));
    assert!(duo.is_connected());
}

#[test]
fn an_answer_to_early_data_keeps_to_three_times_what_the_client_sent() {
    let (mut duo, _) = returning(true);
    let asked = duo.connection().open(Dir::Bi).unwrap();
    duo.connection().write(asked, b"question").unwrap();
    let first = duo.client_says();
    let received: usize = first.iter().map(|p| p.bytes.len()).sum();
    duo.tell_server(first);
    duo.server_connection().accept(Dir::Bi).unwrap();
    duo.server_connection().write(asked, &[7; 100_000]).unwrap();
    let mut sent = 0;
    for _ in 0..20 {
        sent += duo.server_says().iter().map(|p| p.bytes.len()).sum::<usize>();
        duo.wait_alone(ms(100));
    }
    assert!(sent > 2 * received && sent <= 3 * received, "{sent} for {received}");
}

#[test]
fn refused_early_data_is_sent_again_and_arrives_once() {
    let (mut duo, _) = returning(false);
    let first = duo.client_says();
    duo.tell_server(first);
    duo.wait(ms(200));
    assert!(duo.is_connected(), "{:?}", duo.client_ended());
    assert_eq!(outcome(&duo), [false]);
    assert_eq!(heard(&mut duo), SAID);
    assert_eq!(duo.server_connection().counters().early_packets, 0);
    assert_eq!(duo.connection().stream_stats().send_held, 0);
}

#[test]
fn early_packets_that_are_lost_are_sent_again_under_the_new_keys() {
    let (mut duo, _) = returning(true);
    let first = duo.client_says().into_iter().filter(|p| !is_early(p));
    duo.tell_server(first);
    duo.wait(ms(3000));
    assert_eq!(heard(&mut duo), SAID);
}

#[test]
fn early_packets_that_overtake_the_hello_wait_for_it() {
    let (mut duo, _) = returning(true);
    let first = duo.client_says();
    let (early, hello): (Vec<_>, Vec<_>) = first.into_iter().partition(is_early);
    // A server knows nothing of the connection before its Initial; a second copy of it brings what waited.
    duo.tell_server(early.iter().cloned());
    assert!(duo.server.is_empty() && duo.server_says().is_empty(), "0-RTT alone opens nothing");
    duo.tell_server(hello.into_iter().chain(early));
    assert_eq!(heard(&mut duo), SAID);
}

#[test]
fn without_a_ticket_nothing_can_be_said_early() {
    let mut duo = Duo::new();
    assert!(!duo.connection().can_send_early());
    assert_eq!(duo.connection().open(Dir::Bi), Err(Refused::StreamLimit));
}

#[test]
fn early_data_keeps_to_the_limits_of_the_last_visit() {
    let (mut duo, _) = returning(true);
    for _ in 1..4 {
        duo.connection().open(Dir::Uni).unwrap();
    }
    assert_eq!(duo.connection().open(Dir::Uni), Err(Refused::StreamLimit));
    let id = StreamId::new(Role::Client, Dir::Uni, 1);
    duo.connection().write(id, &[7; 60_000]).unwrap();
    let early: usize = (0..100)
        .map(|_| {
            duo.wait_alone(ms(1));
            duo.client_says().iter().filter(|p| is_early(p)).map(|p| p.bytes.len()).sum::<usize>()
        })
        .sum();
    assert!(early < 50_000 + 3000 + 5000, "{early}");
}

#[test]
fn early_data_survives_a_retry() {
    let (mut duo, _) = returning(true);
    duo.server.set_admission(Admission { retry: RetryPolicy::Always, ..Admission::default() });
    let first = duo.client_says();
    duo.tell_server(first);
    let retry = duo.server_says();
    duo.tell_client(retry);
    let second = duo.client_says();
    assert!(second.iter().any(is_early), "said again");
    duo.tell_server(second);
    assert_eq!(heard(&mut duo), SAID);
    duo.wait(ms(200));
    assert!(duo.is_connected());
}

#[test]
fn early_data_survives_a_change_of_version() {
    let server = TransportConfig { versions: vec![VERSION_2], ..TransportConfig::default() };
    let (mut duo, _) = with_server(server, true);
    duo.wait(ms(500));
    assert!(duo.is_connected(), "{:?}", duo.client_ended());
    assert_eq!(heard(&mut duo), SAID);
}

/// Limits far below those that the client remembers.
fn stingy() -> TransportConfig {
    TransportConfig {
        max_streams_uni: 1,
        initial_stream_window: 1000,
        stream_window_max: 1000,
        initial_connection_window: 1500,
        connection_window_max: 1500,
        max_datagram_frame: 100,
        ..TransportConfig::default()
    }
}

/// What the server's application reads of each stream while time passes, in the order of the streams.
fn heard_in_time(duo: &mut Duo, streams: usize) -> Vec<Vec<u8>> {
    let (mut all, mut chunk) = (vec![Vec::new(); streams], [0; 4096]);
    for _ in 0..400 {
        duo.wait(ms(10));
        while duo.server_connection().accept(Dir::Uni).is_some() {}
        for (index, heard) in (0..).zip(&mut all) {
            let id = StreamId::new(Role::Client, Dir::Uni, index);
            while let Ok(Read::Data(n)) = duo.server_connection().read(id, &mut chunk) {
                heard.extend(&chunk[..n]);
            }
        }
    }
    all
}

#[test]
fn a_server_that_refuses_early_data_may_lower_its_limits() {
    let (mut duo, _) = with_server(stingy(), false);
    for _ in 1..4 {
        let id = duo.connection().open(Dir::Uni).unwrap();
        assert_eq!(duo.connection().write(id, SAID), Ok(SAID.len()));
        duo.connection().finish(id).unwrap();
    }
    let all = heard_in_time(&mut duo, 4);
    assert!(duo.is_connected(), "{:?} {:?}", duo.client_ended(), duo.server_ended());
    assert_eq!(outcome(&duo), [false]);
    assert!(all.iter().all(|heard| heard == SAID), "{:?}", all.iter().map(Vec::len).collect::<Vec<_>>());
    assert_eq!(duo.connection().stream_stats().send_held, 0);
    assert_eq!(duo.connection().stream_stats().open, 0);
}

#[test]
fn a_stream_that_waits_until_the_server_allows_one_more_keeps_the_connection_open() {
    let (mut duo, _) =
        with_server(TransportConfig { max_streams_uni: 1, ..TransportConfig::default() }, false);
    let id = duo.connection().open(Dir::Uni).unwrap();
    assert_eq!(duo.connection().write(id, SAID), Ok(SAID.len()));
    duo.connection().finish(id).unwrap();
    // The first one is not read, so that there is no room for a second.
    duo.wait(ms(120_000));
    assert_eq!((duo.client_ended(), duo.server_ended()), (None, None));
    let all = heard_in_time(&mut duo, 2);
    assert!(all.iter().all(|heard| heard == SAID), "{:?}", all.iter().map(Vec::len).collect::<Vec<_>>());
}

#[test]
fn streams_that_were_reset_or_left_empty_begin_anew_under_lower_limits_as_well() {
    let (mut duo, first) = with_server(stingy(), false);
    let early = duo.client_says();
    let [second, third] = [(); 2].map(|()| duo.connection().open(Dir::Uni).unwrap());
    duo.connection().reset(first, 7).unwrap();
    duo.connection().write(second, SAID).unwrap();
    duo.connection().reset(second, 8).unwrap();
    duo.connection().finish(third).unwrap();
    duo.tell_server(early);
    for _ in 0..200 {
        duo.wait(ms(10));
        while let Some(id) = duo.server_connection().accept(Dir::Uni) {
            let read = duo.server_connection().read(id, &mut [0; 10]);
            let expected = [Err(Refused::Reset(7)), Err(Refused::Reset(8)), Ok(Read::End)];
            assert_eq!(read, expected[usize::try_from(id.index()).unwrap()]);
        }
    }
    assert!(duo.is_connected(), "{:?} {:?}", duo.client_ended(), duo.server_ended());
    assert_eq!(duo.connection().stream_stats().open, 0);
    assert_eq!(duo.server_connection().stream_stats().open, 0);
}

#[test]
fn datagrams_too_large_for_a_server_that_refused_them_early_are_dropped() {
    let mut before = remembered();
    before.max_datagram_frame_size = 1000;
    let (mut duo, _) = with_ticket(before, stingy(), false);
    let first = duo.client_says();
    duo.tell_server(first);
    let answer = duo.server_says();
    for len in [600, 50] {
        duo.connection().send_datagram(&vec![50; len]).unwrap();
    }
    duo.tell_client(answer);
    duo.wait(ms(300));
    assert!(duo.is_connected(), "{:?} {:?}", duo.client_ended(), duo.server_ended());
    assert_eq!(duo.connection().datagram_stats().dropped, 1);
    assert_eq!(duo.server_connection().read_datagram(), Some(vec![50; 50]));
}

#[test]
fn an_ack_of_early_data_that_was_refused_closes_the_connection() {
    let (mut duo, _) = returning(false);
    let first = duo.client_says();
    assert!(first.iter().any(is_early));
    let (PartialHeader::Long(hello), _) = PartialHeader::read(&first[0].bytes, 8).unwrap() else { panic!() };
    duo.tell_server(first);
    let answer = duo.server_says();
    let like = Packet { bytes: [&[0x40][..], hello.scid.as_slice()].concat(), ..answer[0].clone() };
    duo.tell_client(answer);
    assert_eq!(outcome(&duo), [false]);
    // Number 0 of path 0 was a 0-RTT packet.
    let ack = [2, 0, 0, 0, 0];
    duo.tell_client([Duo::forge_bytes(&like, Role::Server, PathId::ZERO, 5000, &ack)]);
    assert!(matches!(
        duo.client_ended(),
        Some(CloseReason::Violation { code: Code::PROTOCOL_VIOLATION, .. })
    ));
}

#[test]
fn a_server_that_accepts_early_data_must_not_lower_its_limits() {
    let stingy = TransportConfig { max_streams_uni: 3, ..TransportConfig::default() };
    let (mut duo, _) = with_server(stingy, true);
    duo.wait(ms(200));
    assert!(matches!(
        duo.client_ended(),
        Some(CloseReason::Violation { code: Code::PROTOCOL_VIOLATION, .. })
    ));
}

#[test]
fn a_reliable_reset_is_remembered_for_early_data() {
    let (mut duo, id) = returning(true);
    assert_eq!(duo.connection().reset_at(id, 7, 1000), Err(Refused::NoResetAt));
    let knows = TransportParameters { reset_stream_at: true, ..remembered() };
    let (mut duo, id) = with_ticket(knows, TransportConfig::default(), true);
    duo.connection().reset_at(id, 7, 1000).unwrap();
    let first = duo.client_says();
    assert!(first.iter().any(is_early));
    duo.tell_server(first);
    assert_eq!(duo.server_connection().accept(Dir::Uni), Some(id));
    assert_eq!(duo.server_connection().read(id, &mut [0; 4096]), Ok(Read::Data(1000)));
    assert_eq!(duo.server_connection().read(id, &mut [0; 10]), Err(Refused::Reset(7)));
}

#[test]
fn a_reliable_reset_in_refused_early_data_is_said_again() {
    let knows = TransportParameters { reset_stream_at: true, ..remembered() };
    let (mut duo, id) = with_ticket(knows, TransportConfig::default(), false);
    duo.connection().reset_at(id, 7, 1000).unwrap();
    let first = duo.client_says();
    assert!(first.iter().any(is_early));
    duo.tell_server(first);
    duo.wait(ms(200));
    assert_eq!(outcome(&duo), [false]);
    assert_eq!(duo.server_connection().accept(Dir::Uni), Some(id));
    assert_eq!(duo.server_connection().read(id, &mut [0; 4096]), Ok(Read::Data(1000)));
    assert_eq!(duo.server_connection().read(id, &mut [0; 10]), Err(Refused::Reset(7)));
    assert_eq!(duo.connection().stream_stats().open, 0, "acknowledged as well");
}

/// A 0-RTT packet of a client that follows no rule; `like` shows where it goes.
fn forged(like: &Packet, pn: u64, frame: &Frame<'_>) -> Packet {
    let (PartialHeader::Long(long), _) = PartialHeader::read(&like.bytes, 8).unwrap() else { panic!() };
    let (kind, version, dcid, scid) = (LongKind::ZeroRtt, VERSION_1, long.dcid, long.scid);
    let header = LongHeader { kind, version, dcid, scid, token: &[], pn, pn_len: 4 };
    let mut bytes = vec![0; header.len() + frame.len() + 16];
    let (end, body_at) = (bytes.len(), header.len());
    let mut out = Writer::new(&mut bytes);
    let offsets = header.write(&mut out);
    frame.write(&mut out);
    offsets.patch_length(&mut bytes, end);
    let keys = PlainCrypto::early(Role::Client).local;
    let (head, payload) = bytes.split_at_mut(body_at);
    keys.packet.seal(PathId::ZERO, pn, head, payload);
    let sample = bytes[offsets.pn_at + 4..offsets.pn_at + 20].to_vec();
    let (first, rest) = bytes.split_first_mut().unwrap();
    keys.header.protect(&sample, first, &mut rest[offsets.pn_at - 1..offsets.pn_at + 3]);
    Packet { bytes, ..like.clone() }
}

#[test]
fn frames_that_answer_something_are_not_allowed_early() {
    for frame in [
        Frame::Crypto { offset: 0, data: b"x" },
        Frame::PathResponse([1; 8]),
        Frame::RetireConnectionId { path: PathId::ZERO, multipath: false, seq: 0 },
        Frame::HandshakeDone,
        Frame::PathAbandon { path: PathId(1), code: 0 },
        Frame::ImmediateAck,
    ] {
        let (mut duo, _) = returning(true);
        let first = duo.client_says();
        let like = first[0].clone();
        duo.tell_server(first);
        duo.tell_server([forged(&like, 900, &frame)]);
        assert!(
            matches!(duo.server_ended(), Some(CloseReason::Violation { code: Code::PROTOCOL_VIOLATION, .. })),
            "{frame:?}"
        );
    }
}

#[test]
fn late_early_packets_are_taken_for_three_ptos_and_not_twice() {
    let (mut duo, _) = returning(true);
    let first = duo.client_says();
    let like = first[0].clone();
    let late = forged(&like, 900, &Frame::Ping);
    duo.tell_server(first.clone());
    duo.wait(ms(20));
    let before = duo.server_connection().counters().early_packets;
    duo.tell_server(first.into_iter().filter(is_early));
    assert_eq!(duo.server_connection().counters().early_packets, before, "repeated");
    duo.tell_server([late]);
    assert_eq!(duo.server_connection().counters().early_packets, before + 1);
    duo.wait(ms(5000));
    duo.tell_server([forged(&like, 901, &Frame::Ping)]);
    assert_eq!(duo.server_connection().counters().early_packets, before + 1);
}
