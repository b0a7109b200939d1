//! First packets as an attacker or a careless peer would make them (RFC 9000 §7.2, §7.5, §12.2, §17.2), and the idle
//! timeout (§10.1).

use crate::rig::{Duo, Packet, ms};
use mpquic_base::{Cid, Dir, FourTuple, PathId, Role};
use mpquic_proto::crypto::InitialCrypto;
use mpquic_proto::{Admission, CloseReason, TransportConfig};
use mpquic_sim::crypto::PlainCrypto;
use mpquic_wire::header::{Long, LongHeader, LongKind, PartialHeader, RetryHeader, VERSION_1};
use mpquic_wire::{Code, Frame, Writer};

fn long(packet: &Packet) -> Long {
    match PartialHeader::read(&packet.bytes, 8).unwrap().0 {
        PartialHeader::Long(long) => long,
        other => panic!("{other:?}"),
    }
}

/// An Initial packet of anybody who saw the client's first one, which went to `first_dcid`; full size.
struct Forgery<'a> {
    by: Role,
    first_dcid: Cid,
    dcid: Cid,
    scid: Cid,
    token: &'a [u8],
    pn: u64,
    /// RFC 9287: set, unless the server is known not to care.
    quic_bit: bool,
    frame: Frame<'a>,
}

impl<'a> Forgery<'a> {
    /// As the server of the client that sent `hello`.
    fn server(hello: &Packet, scid: Cid, frame: Frame<'a>) -> Self {
        let hello = long(hello);
        let (first_dcid, dcid) = (hello.dcid, hello.scid);
        Self { by: Role::Server, first_dcid, dcid, scid, token: &[], pn: 900, quic_bit: true, frame }
    }

    /// As a client whose first connection ID for the server is `dcid`.
    fn client(dcid: Cid, scid: Cid, frame: Frame<'a>) -> Self {
        let (by, first_dcid) = (Role::Client, dcid);
        Self { by, first_dcid, dcid, scid, token: &[], pn: 900, quic_bit: true, frame }
    }

    fn bytes(&self) -> Vec<u8> {
        let (dcid, scid, token) = (self.dcid, self.scid, self.token);
        let header = LongHeader {
            kind: LongKind::Initial,
            version: VERSION_1,
            dcid,
            scid,
            token,
            pn: self.pn,
            pn_len: 4,
        };
        let keys = PlainCrypto.initial_keys(VERSION_1, &self.first_dcid, self.by).local;
        let mut bytes = vec![0; 1200];
        let mut out = Writer::new(&mut bytes);
        let offsets = header.write(&mut out);
        self.frame.write(&mut out);
        offsets.patch_length(&mut bytes, 1200);
        bytes[0] &= if self.quic_bit { 0xff } else { 0xbf };
        let (head, payload) = bytes.split_at_mut(header.len());
        keys.packet.seal(PathId::ZERO, self.pn, head, payload);
        let sample = bytes[offsets.pn_at + 4..offsets.pn_at + 20].to_vec();
        let (first, rest) = bytes.split_first_mut().unwrap();
        keys.header.protect(&sample, first, &mut rest[offsets.pn_at - 1..offsets.pn_at + 3]);
        bytes
    }
}

const CLOSE: Frame<'static> = Frame::ConnectionClose { code: 1, frame_type: Some(0), reason: b"" };

fn cid(byte: u8) -> Cid {
    Cid::new(&[byte; 8]).unwrap()
}

/// As it comes to the client that sent `hello`.
fn back(hello: &Packet, bytes: Vec<u8>) -> Packet {
    let tuple = FourTuple { local: hello.tuple.peer, peer: hello.tuple.local };
    Packet { tuple, bytes, ..hello.clone() }
}

#[test]
fn a_first_connection_id_of_less_than_eight_bytes_opens_nothing() {
    for (len, opened) in [(7, 0), (8, 1)] {
        let mut duo = Duo::new();
        let hello = duo.client_says().remove(0);
        let dcid = Cid::new(&[3; 8][..len]).unwrap();
        let forged = Forgery::client(dcid, cid(4), Frame::Ping);
        duo.tell_server([Packet { bytes: forged.bytes(), ..hello }]);
        assert_eq!(duo.server.len(), opened, "{len} bytes");
    }
}

#[test]
fn without_the_quic_bit_a_stranger_needs_a_token_and_a_server_that_said_it_does_not_care() {
    for (quic_bit, token, greasing, opened) in [
        (true, &[][..], true, 1),
        (false, &[], true, 0),
        (false, &[1; 50], true, 1),
        (false, &[1; 50], false, 0),
        (true, &[1; 50], false, 1),
    ] {
        let server = TransportConfig { greasing, ..TransportConfig::default() };
        let mut duo = Duo::unlike(TransportConfig::default(), server, Admission::default());
        let hello = duo.client_says().remove(0);
        let forged = Forgery { token, quic_bit, ..Forgery::client(cid(3), cid(4), Frame::Ping) };
        duo.tell_server([Packet { bytes: forged.bytes(), ..hello }]);
        assert_eq!(duo.server.len(), opened, "bit {quic_bit}, token {token:?}, greasing {greasing}");
    }
}

#[test]
fn once_the_server_has_a_connection_id_initials_under_another_are_dropped() {
    for (right, ended) in [(false, false), (true, true)] {
        let mut duo = Duo::new();
        let hello = duo.client_says().remove(0);
        duo.tell_server([hello.clone()]);
        let answer = duo.server_says().remove(0);
        let scid = if right { long(&answer).scid } else { cid(9) };
        duo.tell_client([answer]);
        duo.tell_client([back(&hello, Forgery::server(&hello, scid, CLOSE).bytes())]);
        assert_eq!(duo.client_ended().is_some(), ended);
    }
}

#[test]
fn an_initial_packet_of_a_server_with_a_token_is_dropped() {
    for (token, ended) in [(&b"token"[..], false), (b"", true)] {
        let mut duo = Duo::new();
        let hello = duo.client_says().remove(0);
        let forged = Forgery { token, ..Forgery::server(&hello, cid(9), CLOSE) };
        duo.tell_client([back(&hello, forged.bytes())]);
        assert_eq!(duo.client_ended().is_some(), ended);
    }
}

#[test]
fn packets_of_one_datagram_that_are_for_another_connection_are_dropped() {
    for (same, ended) in [(false, false), (true, true)] {
        let mut duo = Duo::new();
        let hello = duo.client_says().remove(0);
        let mut bytes = Forgery::server(&hello, cid(9), Frame::Ping).bytes();
        let second = Forgery::server(&hello, cid(9), CLOSE);
        let dcid = if same { second.dcid } else { cid(1) };
        bytes.extend(Forgery { dcid, pn: 901, ..second }.bytes());
        duo.tell_client([back(&hello, bytes)]);
        assert_eq!(duo.client_ended().is_some(), ended);
    }
}

#[test]
fn a_retry_without_a_token_is_ignored() {
    for (token, followed) in [(&b""[..], 0), (b"token", 1)] {
        let mut duo = Duo::new();
        let hello = duo.client_says().remove(0);
        let Long { dcid, scid, .. } = long(&hello);
        let header = RetryHeader { version: VERSION_1, dcid: scid, scid: cid(9), token, unused: 0 };
        let mut bytes = vec![0; header.len()];
        header.write(&mut Writer::new(&mut bytes));
        let pseudo = [&[8], dcid.as_slice(), &bytes].concat();
        bytes.extend(PlainCrypto.retry_tag(VERSION_1, &pseudo));
        duo.tell_client([back(&hello, bytes)]);
        assert_eq!(duo.connection().counters().retries, followed);
    }
}

#[test]
fn packets_that_wait_for_their_keys_are_bounded() {
    let mut duo = Duo::new();
    let hello = duo.client_says();
    let Long { scid, .. } = long(&hello[0]);
    let header = LongHeader {
        kind: LongKind::Handshake,
        version: VERSION_1,
        dcid: scid,
        scid: cid(9),
        token: &[],
        pn: 0,
        pn_len: 4,
    };
    for _ in 0..50 {
        let mut bytes = vec![0x55; 200];
        let offsets = header.write(&mut Writer::new(&mut bytes));
        offsets.patch_length(&mut bytes, 200);
        let early = back(&hello[0], bytes);
        duo.tell_client([early]);
    }
    assert_eq!(duo.connection().counters().undecryptable, 40);
    duo.tell_server(hello);
    duo.wait(ms(3000));
    assert!(duo.is_connected());
}

#[test]
fn a_level_whose_successor_has_keys_says_nothing_new() {
    let mut duo = Duo::new();
    let hello = duo.client_says();
    duo.tell_server(hello.clone());
    let Long { dcid, scid, .. } = long(&hello[0]);
    let frame = Frame::Crypto { offset: 5000, data: b"more" };
    let forged = Forgery::client(dcid, scid, frame);
    duo.tell_server([Packet { bytes: forged.bytes(), ..hello[0].clone() }]);
    let ended = duo.server_ended();
    assert!(
        matches!(ended, Some(CloseReason::Violation { code: Code::PROTOCOL_VIOLATION, .. })),
        "{ended:?}"
    );
}

#[test]
fn handshake_data_too_far_ahead_is_an_error_of_its_own() {
    for (offset, ended) in [(65_532, None), (65_533, Some(Code::CRYPTO_BUFFER_EXCEEDED))] {
        let mut duo = Duo::new();
        let hello = duo.client_says().remove(0);
        let Long { dcid, scid, .. } = long(&hello);
        let frame = Frame::Crypto { offset, data: b"more" };
        let forged = Forgery::client(dcid, scid, frame);
        duo.tell_server([Packet { bytes: forged.bytes(), ..hello }]);
        let code = match duo.server_ended() {
            Some(CloseReason::Violation { code, .. }) => Some(*code),
            _ => None,
        };
        assert_eq!((code, duo.server.len()), (ended, 1), "at {offset}");
    }
}

#[test]
fn the_idle_timeout_is_never_shorter_than_three_ptos() {
    // The peer may hold ACKs back for longer than the timeout: so long is a PTO at least.
    let patient =
        TransportConfig { max_idle_timeout: ms(300), max_ack_delay: ms(400), ..TransportConfig::default() };
    let mut duo = Duo::with(patient, Admission::default());
    let (mut last_heard, mut pto) = (duo.now, ms(0));
    while duo.client_ended().is_none() {
        let (up, down) = (duo.client_says(), duo.server_says());
        if !down.is_empty() {
            last_heard = duo.now;
        }
        duo.tell_server(up);
        duo.tell_client(down);
        let path = duo.connection().path_stats().next().unwrap();
        pto = path.srtt + (path.rttvar * 4).max(ms(1)) + ms(400);
        duo.wait_alone(ms(10));
    }
    assert_eq!(duo.client_ended(), Some(&CloseReason::IdleTimeout));
    let silence = duo.now.since(last_heard);
    assert!(pto > ms(400) && (pto * 3..pto * 3 + ms(100)).contains(&silence), "{silence:?}, {pto:?}");
}

#[test]
fn an_acknowledgement_alone_neither_restarts_the_idle_timer_nor_keeps_what_follows_from_it() {
    let config = TransportConfig { max_idle_timeout: ms(2000), ..TransportConfig::default() };
    for speaks in [false, true] {
        let mut duo = Duo::with(config.clone(), Admission::default());
        duo.wait(ms(100));
        let id = duo.server_connection().open(Dir::Uni).unwrap();
        duo.server_connection().write(id, b"heard").unwrap();
        duo.wait(ms(1000));
        duo.server_connection().write(id, b"heard").unwrap();
        let down = duo.server_says();
        duo.tell_client(down);
        // From here on nothing arrives any more; the ACK is late by at most max_ack_delay.
        for _ in 0..10 {
            duo.wait_alone(ms(10));
            let _lost = duo.client_says();
        }
        duo.wait_alone(ms(1850));
        assert!(duo.client_says().is_empty());
        assert_eq!(duo.client_ended(), None);
        if speaks {
            let id = duo.connection().open(Dir::Uni).unwrap();
            duo.connection().write(id, b"lost").unwrap();
            assert!(!duo.client_says().is_empty());
            duo.wait_alone(ms(1950));
            let _probes = duo.client_says();
            assert_eq!(duo.client_ended(), None, "the timer began anew");
        }
        duo.wait_alone(ms(51));
        assert_eq!(duo.client_ended(), Some(&CloseReason::IdleTimeout), "{speaks}");
    }
}

#[test]
fn what_arrives_and_the_first_thing_said_after_it_restart_the_idle_timer_and_nothing_else() {
    let config = TransportConfig { max_idle_timeout: ms(2000), ..TransportConfig::default() };
    let mut duo = Duo::with(config, Admission::default());
    duo.wait(ms(100));
    let id = duo.connection().open(Dir::Uni).unwrap();
    for _ in 0..4 {
        duo.wait(ms(1500));
        duo.connection().write(id, b"heard").unwrap();
        duo.flow();
        assert_eq!((duo.client_ended(), duo.server_ended()), (None, None));
    }
    duo.wait(ms(1000));
    // From here on nothing arrives any more. The first packet restarts the timer, all that follow it do not.
    for _ in 0..19 {
        duo.connection().write(id, b"lost").unwrap();
        assert!(!duo.client_says().is_empty());
        duo.wait_alone(ms(100));
        assert_eq!(duo.client_ended(), None);
    }
    duo.wait_alone(ms(101));
    assert_eq!(duo.client_ended(), Some(&CloseReason::IdleTimeout));
}
