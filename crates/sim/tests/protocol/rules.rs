//! Rules of RFC 9000 and RFC 9001 about packets, levels and frames, each broken once.

use crate::rig::{Duo, Packet, client_address, ms, server_address};
use mpquic_base::{Cid, Dir, FourTuple, PathId, Role};
use mpquic_proto::crypto::{DirectionKeys, InitialCrypto};
use mpquic_proto::{Admission, CloseReason, PathEvent, TransportConfig};
use mpquic_sim::crypto::PlainCrypto;
use mpquic_sim::hostile::{Hostile, seal_long};
use mpquic_wire::frame::AckHeader;
use mpquic_wire::header::{LongHeader, LongKind, PartialHeader, VERSION_1};
use mpquic_wire::{Code, Frame, TransportParameters, Writer};

fn written(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut bytes = vec![0; frames.iter().map(Frame::len).sum()];
    let mut out = Writer::new(&mut bytes);
    frames.iter().for_each(|f| f.write(&mut out));
    bytes
}

fn code(reason: Option<&CloseReason>) -> Option<Code> {
    match reason {
        Some(CloseReason::Violation { code, .. }) => Some(*code),
        _ => None,
    }
}

/// A pair in the middle of the handshake: the server has answered, the client has not yet heard it.
struct Half {
    duo: Duo,
    first: Packet,
    flight: Vec<Packet>,
    dcid: Cid,
    scid: Cid,
}

impl Half {
    fn new() -> Self {
        let mut duo = Duo::new();
        let said = duo.client_says();
        let first = said[0].clone();
        let Ok((PartialHeader::Long(long), _)) = PartialHeader::read(&first.bytes, 8) else {
            panic!("an Initial")
        };
        duo.tell_server(said);
        let flight = duo.server_says();
        Self { duo, dcid: long.dcid, scid: long.scid, first, flight }
    }

    fn initial_keys(&self, role: Role) -> DirectionKeys {
        PlainCrypto.initial_keys(VERSION_1, &self.dcid, role).local
    }

    /// A packet of the client's, padded to a full datagram.
    fn client_packet(&self, kind: LongKind, pn: u64, payload: &[u8]) -> Packet {
        let keys = match kind {
            LongKind::Initial => self.initial_keys(Role::Client),
            _ => PlainCrypto::handshake(Role::Client).local,
        };
        let (dcid, scid) = (self.dcid, self.scid);
        let header = LongHeader { kind, version: VERSION_1, dcid, scid, token: &[], pn, pn_len: 4 };
        let mut padded = payload.to_vec();
        padded.resize(1200, 0);
        Packet { bytes: seal_long(&header, &keys, &padded), ..self.first.clone() }
    }

    /// An Initial of the server's, with what a server must not put there.
    fn server_packet(&self, scid: Cid, token: &[u8], payload: &[u8]) -> Packet {
        let keys = self.initial_keys(Role::Server);
        let (kind, dcid) = (LongKind::Initial, self.scid);
        let header = LongHeader { kind, version: VERSION_1, dcid, scid, token, pn: 40, pn_len: 4 };
        let mut padded = payload.to_vec();
        padded.resize(1200, 0);
        Packet { bytes: seal_long(&header, &keys, &padded), ..self.flight[0].clone() }
    }
}

/// A connected pair, and a client that keeps to no rule.
fn siege(config: TransportConfig) -> (Duo, Hostile, Packet) {
    let mut duo = Duo::with(config, Admission::default());
    duo.wait(ms(300));
    let id = duo.connection().open(Dir::Bi).unwrap();
    duo.connection().write(id, b"x").unwrap();
    let said = duo.client_says();
    let mut hostile = Hostile::new(Role::Client);
    said.iter().for_each(|p| hostile.on_own(&p.bytes));
    let like = said[0].clone();
    duo.tell_server(said);
    (duo, hostile, like)
}

fn tell(duo: &mut Duo, hostile: &mut Hostile, like: &Packet, payload: &[u8]) -> Vec<Packet> {
    let bytes = hostile.packet(PathId::ZERO, 0, false, payload).unwrap();
    duo.tell_server([Packet { bytes, ..like.clone() }]);
    let said = duo.server_says();
    said.iter().for_each(|p| hostile.on_heard(&p.bytes));
    said
}

#[test]
fn frames_of_1_rtt_are_violations_in_initial_and_handshake_packets() {
    let mut acks = [0; 20];
    let mut out = Writer::new(&mut acks);
    AckHeader { path: PathId::ZERO, multipath: true, delay: 0, ecn: None }
        .write(core::iter::once(0..1), &mut out);
    let path_ack = out.written().to_vec();
    let id = mpquic_base::StreamId::new(Role::Client, Dir::Bi, 0);
    let mut wrong = vec![path_ack];
    for frame in [
        Frame::Stream { stream: id, offset: 0, data: b"x", fin: false },
        Frame::MaxData(7),
        Frame::PathChallenge([1; 8]),
        Frame::PathAbandon { path: PathId(1), code: 0 },
        Frame::Datagram { data: b"x" },
        Frame::NewToken { token: b"x" },
        Frame::ConnectionClose { code: 1, frame_type: None, reason: b"" },
    ] {
        wrong.push(written(&[frame]));
    }
    for payload in wrong {
        for kind in [LongKind::Initial, LongKind::Handshake] {
            let mut half = Half::new();
            let packet = half.client_packet(kind, 40, &payload);
            half.duo.tell_server([packet]);
            // The application never saw the attempt, so nobody but the client hears of its end.
            let said = half.duo.server_says();
            half.duo.tell_client(half.flight.into_iter().chain(said));
            let told = half.duo.client_ended();
            assert!(
                matches!(told, Some(CloseReason::PeerTransport { code: Code::PROTOCOL_VIOLATION, .. })),
                "{kind:?} {payload:x?}: {told:?}"
            );
        }
    }
}

#[test]
fn a_packet_without_frames_is_a_violation() {
    let (mut duo, mut hostile, like) = siege(TransportConfig::default());
    // Header protection needs four bytes of number and payload, and the number has them all.
    let keys = PlainCrypto::one_rtt(Role::Client).local;
    let dcid = Cid::new(&like.bytes[1..9]).unwrap();
    let header =
        mpquic_wire::header::ShortHeader { dcid, pn: 9000, pn_len: 4, key_phase: false, spin: false };
    let mut bytes = vec![0; header.len()];
    let pn_at = header.write(&mut Writer::new(&mut bytes));
    let mut body = vec![0; keys.packet.tag_len()];
    keys.packet.seal(PathId::ZERO, 9000, &bytes, &mut body);
    bytes.extend(&body);
    let sample = bytes[pn_at + 4..pn_at + 20].to_vec();
    let (first, rest) = bytes.split_first_mut().unwrap();
    keys.header.protect(&sample, first, &mut rest[pn_at - 1..pn_at + 3]);
    duo.tell_server([Packet { bytes, ..like.clone() }]);
    assert_eq!(code(duo.server_ended()), Some(Code::PROTOCOL_VIOLATION));
    tell(&mut duo, &mut hostile, &like, &[1]);
}

#[test]
fn reserved_bits_count_only_once_the_packet_is_known_to_be_genuine() {
    for genuine in [false, true] {
        let (mut duo, _, like) = siege(TransportConfig::default());
        let keys = PlainCrypto::one_rtt(Role::Client).local;
        let dcid = Cid::new(&like.bytes[1..9]).unwrap();
        let header =
            mpquic_wire::header::ShortHeader { dcid, pn: 9000, pn_len: 4, key_phase: false, spin: false };
        let mut bytes = vec![0; header.len()];
        let pn_at = header.write(&mut Writer::new(&mut bytes));
        bytes[0] |= 0x08;
        let mut body = vec![0; 20 + keys.packet.tag_len()];
        body[0] = 1;
        keys.packet.seal(PathId::ZERO, 9000, &bytes, &mut body);
        if !genuine {
            body[3] ^= 1;
        }
        bytes.extend(&body);
        let sample = bytes[pn_at + 4..pn_at + 20].to_vec();
        let (first, rest) = bytes.split_first_mut().unwrap();
        keys.header.protect(&sample, first, &mut rest[pn_at - 1..pn_at + 3]);
        duo.tell_server([Packet { bytes, ..like.clone() }]);
        let expected = genuine.then_some(Code::PROTOCOL_VIOLATION);
        assert_eq!(code(duo.server_ended()), expected, "genuine: {genuine}");
    }
}

#[test]
fn packets_too_short_to_be_unmasked_are_dropped() {
    let (mut duo, mut hostile, like) = siege(TransportConfig::default());
    let whole = hostile.packet(PathId::ZERO, 0, false, &[1; 8]).unwrap();
    for len in 0..whole.len() {
        duo.tell_server([Packet { bytes: whole[..len].to_vec(), ..like.clone() }]);
    }
    assert_eq!(duo.server_ended(), None);
    duo.tell_server([Packet { bytes: whole, ..like.clone() }]);
    assert_eq!(duo.server_ended(), None);
}

#[test]
fn packets_for_another_connection_behind_the_first_are_dropped() {
    let (mut duo, mut hostile, like) = siege(TransportConfig::default());
    let half = Half::new();
    let stray = half.client_packet(LongKind::Initial, 3, &[1]).bytes;
    let last = hostile.packet(PathId::ZERO, 0, false, &written(&[Frame::HandshakeDone])).unwrap();
    // The wrong frame would end the connection if anybody looked at it.
    duo.tell_server([Packet { bytes: [stray, last].concat(), ..like.clone() }]);
    assert_eq!(duo.server_ended(), None);
}

#[test]
fn one_rtt_packets_are_not_read_before_the_handshake_is_complete() {
    let mut half = Half::new();
    let Ok((PartialHeader::Long(long), _)) = PartialHeader::read(&half.flight[0].bytes, 8) else {
        panic!("an Initial")
    };
    let like = Packet { bytes: [&[0x40][..], long.scid.as_slice()].concat(), ..half.first.clone() };
    let early = Duo::forge(&like, Role::Client, PathId::ZERO, 3, &[Frame::HandshakeDone]);
    half.duo.tell_server([early]);
    half.duo.wait_alone(ms(1));
    assert!(half.duo.server_says().iter().all(|p| p.bytes[0] & 0x80 != 0), "no close, nothing of 1-RTT");
    let flight = core::mem::take(&mut half.flight);
    half.duo.tell_client(flight);
    half.duo.wait(ms(300));
    assert_eq!(code(half.duo.server_ended()), Some(Code::PROTOCOL_VIOLATION), "it waited for its time");
}

#[test]
fn initial_packets_mean_nothing_once_the_client_was_heard_in_a_handshake_packet() {
    let mut half = Half::new();
    let flight = core::mem::take(&mut half.flight);
    half.duo.tell_client(flight);
    let up = half.duo.client_says();
    half.duo.tell_server(up);
    let wrong = half.client_packet(LongKind::Initial, 50, &written(&[Frame::HandshakeDone]));
    half.duo.tell_server([wrong]);
    half.duo.wait(ms(300));
    assert!(half.duo.is_connected() && half.duo.server_ended().is_none());
}

#[test]
fn a_close_in_the_middle_of_the_handshake_is_heard_by_who_has_the_first_keys_alone() {
    for kind in [LongKind::Initial, LongKind::Handshake] {
        let mut half = Half::new();
        let wrong = half.client_packet(kind, 40, &written(&[Frame::MaxData(7)]));
        half.duo.tell_server([wrong]);
        let said = half.duo.server_says();
        // Without the server's flight, the client knows no keys but those of Initial packets.
        half.duo.tell_client(said);
        let told = half.duo.client_ended();
        let heard = matches!(told, Some(CloseReason::PeerTransport { code: Code::PROTOCOL_VIOLATION, .. }));
        // Who sent a Handshake packet has its keys: there the server need not say it in an Initial.
        assert_eq!(heard, kind == LongKind::Initial, "{kind:?}: {told:?}");
    }
}

#[test]
fn packets_under_another_id_than_the_servers_first_mean_nothing_before_and_after_the_handshake_is_complete() {
    for complete in [false, true] {
        for another in [false, true] {
            let mut half = Half::new();
            let Ok((PartialHeader::Long(server), _)) = PartialHeader::read(&half.flight[0].bytes, 8) else {
                panic!("an Initial")
            };
            let mut flight = core::mem::take(&mut half.flight);
            let like = flight[0].clone();
            if !complete {
                // The first datagram holds the Initial and the beginning of the certificate only.
                flight.truncate(1);
            }
            half.duo.tell_client(flight);
            let scid = if another { Cid::new(&[9; 8]).unwrap() } else { server.scid };
            let (kind, version, dcid) = (LongKind::Handshake, VERSION_1, half.scid);
            let header = LongHeader { kind, version, dcid, scid, token: &[], pn: 50, pn_len: 4 };
            let keys = PlainCrypto::handshake(Role::Server).local;
            let bytes = seal_long(&header, &keys, &written(&[Frame::MaxData(7)]));
            assert_eq!(half.duo.connection().is_established(), complete);
            half.duo.tell_client([Packet { bytes, ..like }]);
            assert_eq!(half.duo.client_ended().is_none(), another, "complete: {complete}");
        }
    }
}

#[test]
fn handshake_packets_mean_nothing_once_the_handshake_is_confirmed() {
    let mut half = Half::new();
    let Ok((PartialHeader::Long(server), _)) = PartialHeader::read(&half.flight[0].bytes, 8) else {
        panic!("an Initial")
    };
    let flight = core::mem::take(&mut half.flight);
    let like = flight[0].clone();
    half.duo.tell_client(flight);
    half.duo.wait(ms(300));
    let wrong = written(&[Frame::MaxData(7)]);
    for (from, dcid, scid) in [(Role::Client, server.scid, half.scid), (Role::Server, half.scid, server.scid)]
    {
        let keys = PlainCrypto::handshake(from).local;
        let (kind, version) = (LongKind::Handshake, VERSION_1);
        let header = LongHeader { kind, version, dcid, scid, token: &[], pn: 50, pn_len: 4 };
        let bytes = seal_long(&header, &keys, &wrong);
        if from.is_client() {
            half.duo.tell_server([Packet { bytes, ..half.first.clone() }]);
        } else {
            half.duo.tell_client([Packet { bytes, ..like.clone() }]);
        }
    }
    half.duo.wait(ms(300));
    assert!(half.duo.is_connected());
    assert_eq!((half.duo.client_ended(), half.duo.server_ended()), (None, None));
}

#[test]
fn keys_that_go_take_their_bytes_out_of_flight_and_leave_the_window() {
    let mut half = Half::new();
    let path = |half: &mut Half| half.duo.connection().path_stats().next().unwrap();
    let before = path(&mut half);
    // A second Initial that nobody will ever acknowledge.
    half.duo.wait_alone(ms(1100));
    let again = half.duo.client_says();
    assert!(again[0].bytes[0] & 0xb0 == 0x80 && path(&mut half).in_flight > before.in_flight);
    let flight = core::mem::take(&mut half.flight);
    half.duo.tell_client(flight);
    half.duo.wait(ms(100));
    assert!(half.duo.is_connected());
    let after = path(&mut half);
    assert_eq!((after.in_flight, after.packets_lost), (0, 0));
    assert!(after.window >= before.window, "{} and {}", before.window, after.window);
}

#[test]
fn an_answer_that_comes_by_another_path_proves_the_path_of_its_challenge() {
    let (mut duo, mut hostile, like) = siege(TransportConfig::default());
    let now = duo.now;
    let local = "198.51.100.7:9".parse().unwrap();
    duo.connection().open_path(now, FourTuple { local, peer: server_address() }, false).unwrap();
    let opening = duo.client_says();
    opening.iter().for_each(|p| hostile.on_own(&p.bytes));
    duo.tell_server(opening);
    duo.server_says().iter().for_each(|p| hostile.on_heard(&p.bytes));
    let second = |duo: &mut Duo| duo.server_connection().path_stats().nth(1).unwrap();
    assert!(!second(&mut duo).validated);
    let (path, data) = *hostile.challenges.last().unwrap();
    assert_eq!(path, PathId(1));
    tell(&mut duo, &mut hostile, &like, &written(&[Frame::PathResponse([1; 8])]));
    assert!(!second(&mut duo).validated);
    tell(&mut duo, &mut hostile, &like, &written(&[Frame::PathResponse(data)]));
    assert!(second(&mut duo).validated);
}

#[test]
fn a_first_destination_id_of_less_than_eight_bytes_is_ignored() {
    let half = Half::new();
    for len in 0..=8usize {
        let mut duo = Duo::new();
        let dcid = Cid::new(&vec![9; len]).unwrap();
        let keys = PlainCrypto.initial_keys(VERSION_1, &dcid, Role::Client).local;
        let (kind, scid) = (LongKind::Initial, half.scid);
        let header = LongHeader { kind, version: VERSION_1, dcid, scid, token: &[], pn: 0, pn_len: 1 };
        let mut hello = written(&[Frame::Crypto { offset: 0, data: &[0, 9] }]);
        hello.resize(1200, 0);
        duo.tell_server([Packet { bytes: seal_long(&header, &keys, &hello), ..half.first.clone() }]);
        assert_eq!(duo.server.len(), usize::from(len == 8), "{len} bytes");
    }
}

#[test]
fn packets_of_a_server_that_changes_its_id_or_sends_a_token_are_dropped() {
    let close = written(&[Frame::ConnectionClose { code: 1, frame_type: Some(0), reason: b"" }]);
    let mut half = Half::new();
    let Ok((PartialHeader::Long(long), _)) = PartialHeader::read(&half.flight[0].bytes, 8) else {
        panic!("an Initial")
    };
    let with_token = half.server_packet(long.scid, b"token", &close);
    half.duo.tell_client([with_token, half.flight[0].clone()]);
    let other_id = half.server_packet(Cid::new(&[3; 8]).unwrap(), &[], &close);
    half.duo.tell_client([other_id]);
    assert_eq!(half.duo.client_ended(), None);
    // The same packet as it should be is heeded, so it was no mistake of the test.
    let right = half.server_packet(long.scid, &[], &close);
    half.duo.tell_client([right]);
    assert!(matches!(half.duo.client_ended(), Some(CloseReason::PeerTransport { code: Code(1), .. })));
}

#[test]
fn multipath_with_an_empty_connection_id_is_a_violation() {
    let half = Half::new();
    for multipath in [false, true] {
        let mut duo = Duo::new();
        let parameters = TransportParameters {
            initial_scid: Cid::new(&[]),
            initial_max_path_id: multipath.then_some(PathId(3)),
            ..TransportParameters::default()
        };
        let encoded = parameters.encode(Role::Client, None);
        let len = u16::try_from(encoded.len()).unwrap().to_be_bytes();
        let data = [&len[..], &encoded].concat();
        let (dcid, scid) = (half.dcid, Cid::new(&[]).unwrap());
        let keys = half.initial_keys(Role::Client);
        let kind = LongKind::Initial;
        let header = LongHeader { kind, version: VERSION_1, dcid, scid, token: &[], pn: 0, pn_len: 1 };
        let mut hello = written(&[Frame::Crypto { offset: 0, data: &data }]);
        hello.resize(1200, 0);
        duo.tell_server([Packet { bytes: seal_long(&header, &keys, &hello), ..half.first.clone() }]);
        let ended = code(duo.server_ended());
        assert_eq!(ended, multipath.then_some(Code::PROTOCOL_VIOLATION), "{:?}", duo.server_ended());
    }
}

#[test]
fn a_tls_alert_becomes_a_crypto_error() {
    let (mut duo, mut hostile, like) = siege(TransportConfig::default());
    tell(&mut duo, &mut hostile, &like, &written(&[Frame::Crypto { offset: 0, data: &[0, 1, 7] }]));
    assert_eq!(code(duo.server_ended()), Some(Code::from_alert(10)));
    assert_eq!(Code::from_alert(10), Code(0x010a));
}

#[test]
fn limits_never_shrink_and_the_longest_ack_delay_is_no_error() {
    let config = TransportConfig::default();
    let (mut duo, mut hostile, like) = siege(config);
    let before = duo.server_connection().stream_stats().send_credit;
    let lower = [
        Frame::MaxData(1),
        Frame::MaxStreams { dir: Dir::Uni, max: 0 },
        Frame::MaxStreamData { stream: mpquic_base::StreamId::new(Role::Client, Dir::Bi, 0), max: 1 },
    ];
    tell(&mut duo, &mut hostile, &like, &written(&lower));
    assert_eq!(duo.server_connection().stream_stats().send_credit, before);
    assert!(duo.server_connection().open(Dir::Uni).is_ok());
    let mut acks = [0; 40];
    let mut out = Writer::new(&mut acks);
    AckHeader { path: PathId::ZERO, multipath: true, delay: (1 << 62) - 1, ecn: None }
        .write(core::iter::once(0..1), &mut out);
    let ack = out.written().to_vec();
    tell(&mut duo, &mut hostile, &like, &ack);
    duo.wait_alone(ms(100));
    assert_eq!(duo.server_ended(), None);
    let srtt = duo.server_connection().path_stats().next().unwrap().srtt;
    assert!(srtt < ms(1000), "{srtt:?}");
}

#[test]
fn a_new_path_needs_no_challenge_of_the_client_and_any_frame_may_open_it() {
    let local = "203.0.113.9:4000".parse().unwrap();
    let mut honest = Duo::new();
    honest.wait(ms(300));
    let at = honest.now;
    honest.connection().open_path(at, FourTuple { local, peer: server_address() }, false).unwrap();
    let first = honest.client_says();
    let shown = first.iter().find(|p| p.tuple.local == local).unwrap();
    let id = mpquic_base::StreamId::new(Role::Client, Dir::Uni, 0);
    let frames = [Frame::Stream { stream: id, offset: 0, data: b"first words", fin: true }];
    let packet = Duo::forge(shown, Role::Client, PathId(1), 0, &frames);
    honest.tell_server([packet.clone()]);
    let answer = honest.server_says();
    let there: Vec<_> = answer.iter().filter(|p| p.tuple.peer == local).collect();
    assert!(!there.is_empty(), "the server challenges the address by itself");
    let sent: usize = there.iter().map(|p| p.bytes.len()).sum();
    assert!(sent <= 3 * packet.bytes.len(), "{sent} bytes for {}", packet.bytes.len());
    let server = honest.server_connection();
    assert_eq!(server.accept(Dir::Uni), Some(id));
    assert_eq!(server.read(id, &mut [0; 20]), Ok(mpquic_proto::Read::Data(11)));
    assert!(!server.path_stats().any(|p| p.id == PathId(1) && p.validated));
}

#[test]
fn the_last_path_given_up_by_the_peer_ends_the_connection() {
    let (mut duo, mut hostile, like) = siege(TransportConfig::default());
    let abandon = Frame::PathAbandon { path: PathId::ZERO, code: 0 };
    tell(&mut duo, &mut hostile, &like, &written(&[abandon]));
    assert_eq!(code(duo.server_ended()), Some(Code::NO_VIABLE_PATH));
}

#[test]
fn the_reason_of_a_close_may_be_anything_and_is_shown_as_harmless_text() {
    let reason = b"\xff\xfe\x1b[2J\n\0";
    for frame_type in [Some(0), None] {
        let (mut duo, mut hostile, like) = siege(TransportConfig::default());
        let close = Frame::ConnectionClose { code: 0, frame_type, reason };
        tell(&mut duo, &mut hostile, &like, &written(&[close]));
        let ended = duo.server_ended().cloned().unwrap();
        let told = match &ended {
            CloseReason::PeerApplication { reason, .. } | CloseReason::PeerTransport { reason, .. } => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(told, reason, "as it came");
        assert!(!ended.to_string().contains(char::is_control), "{:?}", ended.to_string());
    }
}

#[test]
fn a_client_reads_nothing_that_comes_from_an_address_it_does_not_know() {
    let mut duo = Duo::new();
    duo.wait(ms(300));
    let id = duo.server_connection().open(Dir::Uni).unwrap();
    duo.server_connection().write(id, b"from elsewhere").unwrap();
    let said = duo.server_says();
    let elsewhere: std::net::SocketAddr = "203.0.113.9:443".parse().unwrap();
    let shift = |p: &Packet| Packet { tuple: FourTuple { local: elsewhere, ..p.tuple }, ..p.clone() };
    duo.tell_client(said.iter().map(shift));
    assert_eq!(duo.connection().accept(Dir::Uni), None);
    duo.tell_client(said);
    assert_eq!(duo.connection().accept(Dir::Uni), Some(id), "nothing of it was used up");
}

#[test]
fn another_host_starts_afresh_and_another_port_does_not() {
    for (moved, afresh) in [("198.51.100.7:9", false), ("198.51.100.8:4000", true)] {
        let mut duo = Duo::new();
        duo.wait(ms(300));
        let id = duo.server_connection().open(Dir::Uni).unwrap();
        duo.server_connection().write(id, &[1; 40_000]).unwrap();
        duo.wait(ms(300));
        let before = duo.server_connection().path_stats().next().unwrap();
        let id = duo.connection().open(Dir::Uni).unwrap();
        duo.connection().write(id, b"from elsewhere").unwrap();
        let outside: std::net::SocketAddr = moved.parse().unwrap();
        let shift = |p: Packet| Packet { tuple: FourTuple { local: outside, ..p.tuple }, ..p };
        let said = duo.client_says();
        duo.tell_server(said.into_iter().map(shift));
        let after = duo.server_connection().path_stats().next().unwrap();
        assert_eq!(after.tuple.peer, outside);
        let default = TransportConfig::default().initial_rtt;
        assert_eq!(after.srtt == default, afresh, "{moved}: {:?} to {:?}", before.srtt, after.srtt);
        let told = mpquic_proto::Event::Path(PathEvent::Moved(PathId::ZERO));
        assert!(duo.server_events.contains(&told) && client_address() != outside);
    }
}
