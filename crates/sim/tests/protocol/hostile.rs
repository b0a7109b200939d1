//! Peers that mean no good: each gets the right error code, or nothing at all, and what it makes us keep has a bound.

use crate::rig::{Duo, Packet, client_address, ms};
use mpquic_base::{Cid, Dir, FourTuple, PathId, Rng, Role, StreamId};
use mpquic_proto::{Admission, CloseReason, Read, RetryPolicy, TransportConfig};
use mpquic_sim::hostile::Hostile;
use mpquic_wire::frame::NewConnectionId;
use mpquic_wire::{Code, Frame, Writer};

/// A server and its client, which from now on keeps to no rule.
struct Siege {
    duo: Duo,
    hostile: Hostile,
    like: Packet,
}

impl Siege {
    fn new(config: TransportConfig) -> Self {
        let mut duo = Duo::with(config, Admission::default());
        duo.wait(ms(300));
        let id = duo.connection().open(Dir::Bi).unwrap();
        duo.connection().write(id, b"x").unwrap();
        let said = duo.client_says();
        let mut hostile = Hostile::new(Role::Client);
        said.iter().for_each(|p| hostile.on_own(&p.bytes));
        let like = said[0].clone();
        duo.tell_server(said);
        duo.server_connection().accept(Dir::Bi).unwrap();
        Self { duo, hostile, like }
    }

    /// The client says `frames`; what the server answers is heard, and counted.
    fn say(&mut self, frames: &[Frame<'_>]) -> usize {
        let mut payload = vec![0; frames.iter().map(Frame::len).sum()];
        let mut out = Writer::new(&mut payload);
        frames.iter().for_each(|f| f.write(&mut out));
        self.say_bytes(&payload)
    }

    fn say_bytes(&mut self, payload: &[u8]) -> usize {
        let bytes = self.hostile.packet(PathId::ZERO, 0, false, payload).unwrap();
        self.duo.tell_server([Packet { bytes, ..self.like.clone() }]);
        self.hear()
    }

    fn hear(&mut self) -> usize {
        let said = self.duo.server_says();
        said.iter().for_each(|p| self.hostile.on_heard(&p.bytes));
        said.len()
    }

    fn acknowledge(&mut self) {
        let acks = self.hostile.acks(PathId::ZERO, true);
        if !acks.is_empty() {
            self.say_bytes(&acks);
        }
    }

    fn held(&mut self) -> mpquic_proto::Holdings {
        self.duo.server_connection().holdings()
    }

    fn code(&self) -> Option<Code> {
        match self.duo.server_ended() {
            Some(CloseReason::Violation { code, .. }) => Some(*code),
            _ => None,
        }
    }
}

#[test]
fn a_peer_that_acknowledges_nothing_cannot_make_us_remember_every_packet() {
    let mut siege = Siege::new(TransportConfig::default());
    for n in 0..50_000u64 {
        siege.say(&[Frame::Ping]);
        if n % 1000 == 0 {
            siege.duo.now += ms(1);
        }
    }
    let held = siege.held();
    assert!(held.sent_packets <= 25_000, "{held:?}");
    assert_eq!(siege.duo.server_ended(), None);
    siege.acknowledge();
    assert_eq!(siege.duo.server_ended(), None, "late acknowledgements are no error");
}

#[test]
fn a_flood_of_garbage_ends_nothing_and_draws_nothing() {
    let mut rng = Rng::from_number(7);
    let mut duo = Duo::new();
    duo.wait(ms(300));
    let mut garbage = |duo: &mut Duo, start: &[u8], len: usize| {
        let mut bytes = vec![0; len];
        rng.fill(&mut bytes);
        bytes[..start.len()].copy_from_slice(start);
        let tuple = FourTuple { local: client_address(), peer: crate::rig::server_address() };
        duo.tell_server([Packet { tuple, ecn: mpquic_base::Ecn::NotEct, bytes }]);
        duo.server_says().iter().map(|p| p.bytes.len()).sum::<usize>()
    };
    let id = duo.connection().open(Dir::Bi).unwrap();
    duo.connection().write(id, b"x").unwrap();
    let known = duo.client_says().pop().unwrap();
    duo.tell_server([known.clone()]);
    duo.server_says();
    for n in 0..200 {
        // Of every kind: nothing of ours, a known ID, an Initial, a Handshake packet, a version of nobody's.
        let starts: [&[u8]; 5] =
            [&[], &known.bytes[..9], &[0xc0, 0, 0, 0, 1, 8], &[0xe0, 0, 0, 0, 1, 8], &[0xc0, 1, 2, 3, 4, 8]];
        let len = [65_000, 1200, 40, 21][n % 4];
        let drawn = garbage(&mut duo, starts[n % 5], len);
        assert!(drawn <= 3 * len, "{drawn} bytes for {len}");
    }
    assert!(duo.server.len() == 1, "none of it became a connection");
    let held = duo.server_connection().holdings();
    assert!(held.stashed <= 10 && held.paths == 1, "{held:?}");
    duo.wait(ms(300));
    assert_eq!((duo.client_ended(), duo.server_ended()), (None, None));
}

#[test]
fn handshake_data_too_far_ahead_is_refused_with_its_code() {
    let mut siege = Siege::new(TransportConfig::default());
    for n in 0..40u64 {
        siege.say(&[Frame::Crypto { offset: 10_000 + 1100 * n, data: &[1; 1000] }]);
    }
    let held = siege.held();
    assert!(held.crypto_bytes < 200_000 && siege.code().is_none(), "{held:?}");
    siege.say(&[Frame::Crypto { offset: 65_000, data: &[1; 1000] }]);
    assert_eq!(siege.code(), Some(Code::CRYPTO_BUFFER_EXCEEDED));
}

#[test]
fn a_peer_that_never_reads_stops_the_sender_within_its_buffers() {
    let config = TransportConfig {
        initial_stream_window: 100_000,
        initial_connection_window: 200_000,
        send_buffer_max: 1 << 20,
        ..TransportConfig::default()
    };
    let mut duo = Duo::with(config, Admission::default());
    duo.wait(ms(300));
    let mut written = 0;
    let ids: Vec<StreamId> = (0..10).map(|_| duo.connection().open(Dir::Uni).unwrap()).collect();
    for round in 0..200usize {
        let id = ids[round % ids.len()];
        written += duo.connection().write(id, &[1; 20_000]).unwrap();
        duo.wait(ms(20));
    }
    let (near, far) = (duo.connection().holdings(), duo.server_connection().holdings());
    assert!(far.stream_bytes <= 200_000, "the receiver holds its window at the most: {far:?}");
    assert!(near.stream_bytes <= (1 << 20) + 20_000, "the sender holds its buffer at the most: {near:?}");
    assert!(written as u64 <= near.stream_bytes + far.stream_bytes, "{written} bytes went somewhere");
    assert_eq!((duo.client_ended(), duo.server_ended()), (None, None));
}

#[test]
fn a_peer_that_opens_and_resets_streams_for_ever_holds_no_more_than_its_limit() {
    let config = TransportConfig { max_streams_bidi: 16, ..TransportConfig::default() };
    let mut siege = Siege::new(config);
    for index in 1..3000u64 {
        assert!(index < siege.hostile.max_streams[0].max(16), "credit comes back: {index}");
        let stream = StreamId::new(Role::Client, Dir::Bi, index);
        siege.say(&[
            Frame::ResetStream { stream, code: 1, final_size: 0 },
            Frame::StopSending { stream, code: 1 },
        ]);
        // The application takes each, hears of the reset and forgets it.
        while let Some(id) = siege.duo.server_connection().accept(Dir::Bi) {
            assert!(siege.duo.server_connection().read(id, &mut [0; 10]).is_err());
        }
        siege.duo.now += ms(1);
        siege.hear();
        siege.acknowledge();
        let held = siege.held();
        assert!(held.streams <= 17, "{held:?}");
    }
    assert_eq!(siege.duo.server_ended(), None);
    // Without an application that takes them, the limit ends it.
    for index in 3000..3100u64 {
        let stream = StreamId::new(Role::Client, Dir::Bi, index);
        siege.say(&[Frame::ResetStream { stream, code: 1, final_size: 0 }]);
        assert!(siege.held().streams <= 17);
    }
    assert_eq!(siege.code(), Some(Code::STREAM_LIMIT_ERROR));
}

#[test]
fn datagrams_that_nobody_reads_are_dropped_oldest_first() {
    let config = TransportConfig { datagram_queue: 20, ..TransportConfig::default() };
    let mut siege = Siege::new(config);
    for n in 0..500u64 {
        siege.say(&[Frame::Datagram { data: &n.to_be_bytes() }]);
        siege.acknowledge();
    }
    let held = siege.held();
    assert!(held.datagrams == 20 && held.datagram_bytes == 160, "{held:?}");
    assert_eq!(siege.duo.server_connection().datagram_stats().dropped, 480);
    assert_eq!(siege.duo.server_connection().read_datagram(), Some(480u64.to_be_bytes().to_vec()));
}

#[test]
fn floods_of_path_frames_leave_little_behind() {
    let mut siege = Siege::new(TransportConfig::default());
    for n in 0..2000u64 {
        let new = NewConnectionId {
            path: PathId::ZERO,
            multipath: true,
            seq: 2 + n,
            retire_prior_to: 1 + n,
            cid: Cid::new(&(1 << 32 | n).to_be_bytes()).unwrap(),
            reset_token: [3; 16],
        };
        siege.say(&[
            Frame::PathChallenge(n.to_be_bytes()),
            Frame::PathStatus { path: PathId(u32::try_from(n % 8).unwrap()), seq: n, backup: n % 2 == 0 },
            Frame::NewConnectionId(new),
            Frame::PathsBlocked(PathId(3)),
        ]);
        siege.acknowledge();
        let held = siege.held();
        assert!(held.responses <= 4 && held.peer_cids <= 40 && held.retirements <= 16, "{held:?}");
        assert!(held.paths == 1 && held.events <= 4096 && held.local_cids <= 16, "{held:?}");
    }
    assert_eq!(siege.duo.server_ended(), None);
    // The same without ever acknowledging what it makes the server say.
    for n in 2000..2100u64 {
        let cid = Cid::new(&(1 << 32 | n).to_be_bytes()).unwrap();
        let (seq, retire_prior_to) = (2 + n, 1 + n);
        let new = NewConnectionId {
            path: PathId::ZERO,
            multipath: true,
            seq,
            retire_prior_to,
            cid,
            reset_token: [3; 16],
        };
        siege.say(&[Frame::NewConnectionId(new)]);
        assert!(siege.held().retirements <= 17);
    }
    assert_eq!(siege.code(), Some(Code::CONNECTION_ID_LIMIT_ERROR));
}

#[test]
fn a_flood_of_handshakes_is_bounded_in_total_and_draws_retries_before_that() {
    let admission = Admission {
        retry: RetryPolicy::UnderLoad { handshakes: 20 },
        handshakes_max: 30,
        ..Admission::default()
    };
    let mut duo = Duo::with(TransportConfig::default(), admission);
    for n in 0..200u16 {
        let [high, low] = n.to_be_bytes();
        duo.connect_from((std::net::Ipv4Addr::new(198, 51, 100 + high, low), 4000).into());
        let first = duo.client_says();
        let received: usize = first.iter().map(|p| p.bytes.len()).sum();
        duo.tell_server(first);
        let answered: usize = duo.server_says().iter().map(|p| p.bytes.len()).sum();
        assert!(answered <= 3 * received, "{answered} for {received}");
        assert!(duo.server.len() <= 20, "beyond that nothing is kept: {}", duo.server.len());
    }
    assert!(duo.server.counters().retries >= 150, "{:?}", duo.server.counters());
    // Who answers its Retry gets in, until the places are taken.
    duo.server.set_admission(Admission {
        retry: RetryPolicy::Never,
        handshakes_max: 30,
        ..Admission::default()
    });
    for n in 0..40u16 {
        duo.connect_from((std::net::Ipv4Addr::new(192, 0, 2, n.to_be_bytes()[1]), 9).into());
        let first = duo.client_says();
        duo.tell_server(first);
    }
    assert_eq!(duo.server.len(), 30);
    assert!(duo.server.counters().refused >= 30);
}

#[test]
fn a_stream_read_to_its_end_under_siege_says_what_was_written() {
    let mut siege = Siege::new(TransportConfig::default());
    let stream = StreamId::new(Role::Client, Dir::Uni, 0);
    // Overlapping, repeated, backwards, one byte at a time.
    for at in (0..200u64).rev().chain(0..200) {
        let data: Vec<u8> = (at..at + 3).map(|n| n.to_be_bytes()[7]).collect();
        siege.say(&[Frame::Stream { stream, offset: at, data: &data, fin: at == 199 }]);
    }
    let connection = siege.duo.server_connection();
    assert_eq!(connection.accept(Dir::Uni), Some(stream));
    let mut read = [0; 300];
    assert_eq!(connection.read(stream, &mut read), Ok(Read::Data(202)));
    assert!(read[..202].iter().zip(0u64..).all(|(byte, n)| *byte == n.to_be_bytes()[7]));
    assert_eq!(connection.read(stream, &mut read), Ok(Read::End));
}

#[test]
fn packets_keep_to_the_path_whatever_the_length_of_the_connection_id() {
    for len in 1..=20usize {
        let config = TransportConfig { mtu_ceiling: 1200, ..TransportConfig::default() };
        let mut siege = Siege::new(config);
        siege.acknowledge();
        let cid = Cid::new(&vec![0x40 + u8::try_from(len).unwrap(); len]).unwrap();
        let (seq, retire_prior_to, reset_token) = (2, 2, [3; 16]);
        let new =
            NewConnectionId { path: PathId::ZERO, multipath: true, seq, retire_prior_to, cid, reset_token };
        siege.hostile.cid_len = len;
        siege.say(&[Frame::NewConnectionId(new)]);
        let connection = siege.duo.server_connection();
        let most = connection.max_datagram_size().unwrap();
        connection.send_datagram(&vec![1; most]).unwrap();
        let id = connection.open(Dir::Uni).unwrap();
        connection.write(id, &[2; 5000]).unwrap();
        let said = siege.duo.server_says();
        let mut kinds = Vec::new();
        for packet in &said {
            assert!(packet.bytes.len() <= 1200 && packet.bytes[1..].starts_with(cid.as_slice()), "{len}");
            siege.hostile.on_heard(&packet.bytes);
            kinds.extend(siege.hostile.frames.iter().copied());
        }
        assert!(
            kinds.contains(&0x30) || kinds.contains(&0x31),
            "{len}: the largest datagram fits: {kinds:x?}"
        );
        assert_eq!(siege.duo.server_connection().datagram_stats().dropped, 0, "{len}");
        assert!(said.iter().any(|p| p.bytes.len() >= 1190), "{len}: and packets are full");
    }
}

#[test]
fn an_ack_of_scattered_numbers_is_cut_to_fit_and_keeps_the_newest() {
    let mut siege = Siege::new(TransportConfig { mtu_ceiling: 1200, ..TransportConfig::default() });
    let mut largest = 0;
    for n in 0..400u64 {
        let gap = 70_000 + n;
        let bytes = siege.hostile.packet(PathId::ZERO, gap, false, &[1]).unwrap();
        siege.duo.tell_server([Packet { bytes, ..siege.like.clone() }]);
        largest += gap + 1;
    }
    let said = siege.duo.server_says();
    assert!(!said.is_empty() && said.iter().all(|p| p.bytes.len() <= 1200));
    siege.hostile.frames.clear();
    siege.hostile.on_heard(&said[0].bytes);
    assert!(matches!(siege.hostile.frames[..], [0x3e | 0x3f, ..]), "{:x?}", siege.hostile.frames);
    assert!(siege.hostile.largest_acked >= Some(largest + 9_000), "{:?}", siege.hostile.largest_acked);
    assert!(siege.held().ack_ranges <= 256 * 2);
}
