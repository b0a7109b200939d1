//! Writes `corpus/*/seed-*`: one file for each thing a target can meet, so that the fuzzer starts from valid input.

#[path = "steps/connection.rs"]
mod connection;
#[path = "steps/h3.rs"]
mod h3;

use mpquic_base::{Cid, Dir, PathId, Role, StreamId};
use mpquic_wire::{
    Frame, Writer,
    frame::{AckFrequency, AckHeader, EcnCounts, NewConnectionId},
    header::{
        LongHeader, LongKind, RetryHeader, SUPPORTED_VERSIONS, ShortHeader, VERSION_1, VERSION_2,
        VersionNegotiationHeader,
    },
    parameters::{AddressDiscovery, PreferredAddress, TransportParameters, VersionInformation},
};
use std::{fs, io, path::Path, time::Duration};

const CID_LEN: u8 = 8;

fn main() -> io::Result<()> {
    save("frames", frames())?;
    save("packet", packets())?;
    save("parameters", parameters())?;
    save("connection", connection::plays())?;
    save("h3", h3::seeds())
}

fn save(target: &str, seeds: Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    seeds.into_iter().try_for_each(|(name, bytes)| fs::write(folder.join(format!("seed-{name}")), bytes))
}

fn cid(byte: u8) -> Cid {
    Cid::new(&[byte; CID_LEN as usize]).unwrap_or_default()
}

fn frames() -> Vec<(String, Vec<u8>)> {
    let (path, stream, data) = (PathId(2), StreamId(8), b"some data".as_slice());
    let new = NewConnectionId {
        path,
        multipath: true,
        seq: 3,
        retire_prior_to: 1,
        cid: cid(7),
        reset_token: [9; 16],
    };
    let values = [
        Frame::Padding(20),
        Frame::Ping,
        Frame::ResetStream { stream, code: 1, final_size: 9000 },
        Frame::StopSending { stream, code: 2 },
        Frame::Crypto { offset: 1200, data },
        Frame::NewToken { token: data },
        Frame::Stream { stream, offset: 0, data, fin: false },
        Frame::Stream { stream, offset: 1 << 40, data, fin: true },
        Frame::MaxData(1 << 30),
        Frame::MaxStreamData { stream, max: 1 << 20 },
        Frame::MaxStreams { dir: Dir::Bi, max: 100 },
        Frame::MaxStreams { dir: Dir::Uni, max: 1 << 60 },
        Frame::DataBlocked(70_000),
        Frame::StreamDataBlocked { stream, limit: 60_000 },
        Frame::StreamsBlocked { dir: Dir::Uni, limit: 3 },
        Frame::NewConnectionId(NewConnectionId { path: PathId::ZERO, multipath: false, ..new }),
        Frame::NewConnectionId(new),
        Frame::RetireConnectionId { path: PathId::ZERO, multipath: false, seq: 1 },
        Frame::RetireConnectionId { path, multipath: true, seq: 1 },
        Frame::PathChallenge([1; 8]),
        Frame::PathResponse([2; 8]),
        Frame::ConnectionClose { code: 7, frame_type: Some(0x3e7a), reason: b"no" },
        Frame::ConnectionClose { code: 700, frame_type: None, reason: b"" },
        Frame::HandshakeDone,
        Frame::Datagram { data },
        Frame::PathAbandon { path, code: 0x3e },
        Frame::PathStatus { path, seq: 1, backup: true },
        Frame::MaxPathId(PathId(u32::MAX)),
        Frame::PathsBlocked(path),
        Frame::PathCidsBlocked { path, next_seq: 4 },
        Frame::ResetStreamAt { stream, code: 1, final_size: 9000, reliable_size: 70 },
        Frame::ImmediateAck,
        Frame::AckFrequency(AckFrequency {
            seq: 2,
            eliciting_threshold: 20,
            max_ack_delay: 5000,
            reordering_threshold: 3,
        }),
    ];
    let mut seeds: Vec<_> = values
        .iter()
        .map(|frame| {
            (format!("{:04x}-{}", frame.type_of(), frame.len()), written(frame.len(), |out| frame.write(out)))
        })
        .collect();
    seeds.extend(acks(path));
    let all: Vec<u8> = seeds.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    seeds.push(("all".to_owned(), all));
    seeds.push(("stream-to-the-end".to_owned(), b"\x0d\x08\x41\x00all the rest".to_vec()));
    seeds.push(("datagram-to-the-end".to_owned(), b"\x01\x30all the rest".to_vec()));
    seeds.push(("long-type".to_owned(), vec![0x40, 0x01]));
    seeds.push(("ack-below-zero".to_owned(), vec![0x02, 10, 0, 1, 1, 2, 6]));
    seeds.push(("ack-count-too-high".to_owned(), [&[0x02, 10, 0][..], &[0xff; 8], &[0, 1, 1]].concat()));
    seeds
}

fn acks(path: PathId) -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (name, multipath, ecn) in
        [("ack", false, false), ("path-ack", true, false), ("path-ack-ecn", true, true)]
    {
        let path = if multipath { path } else { PathId::ZERO };
        let ecn = ecn.then_some(EcnCounts { ect0: 70, ect1: 0, ce: 3 });
        let ranges = (0..12u64).rev().map(|n| n * 1000..n * 1000 + 1 + n * n);
        let mut bytes = [0; 200];
        let mut out = Writer::new(&mut bytes);
        AckHeader { path, multipath, delay: 250, ecn }.write(ranges, &mut out);
        seeds.push((name.to_owned(), out.written().to_vec()));
    }
    seeds
}

fn long(kind: LongKind, version: u32, payload: usize) -> Vec<u8> {
    let header =
        LongHeader { kind, version, dcid: cid(1), scid: cid(2), token: b"a token", pn: 0x01_0203, pn_len: 3 };
    let mut bytes = vec![0xaa; header.len() + payload];
    let offsets = header.write(&mut Writer::new(&mut bytes));
    let end = bytes.len();
    offsets.patch_length(&mut bytes, end);
    bytes
}

fn short(pn_len: usize) -> Vec<u8> {
    let header =
        ShortHeader { dcid: cid(1), pn: 0x0102_0304, pn_len, key_phase: pn_len > 2, spin: pn_len == 2 };
    let mut bytes = vec![0xbb; header.len() + 30];
    header.write(&mut Writer::new(&mut bytes));
    bytes
}

fn packets() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for version in SUPPORTED_VERSIONS {
        for kind in [LongKind::Initial, LongKind::ZeroRtt, LongKind::Handshake] {
            let bytes = long(kind, version, 40);
            seeds.push((format!("{version:x}-{kind:?}"), bytes.clone()));
            seeds.push((format!("{version:x}-{kind:?}-cut"), bytes[..bytes.len() - 1].to_vec()));
            seeds.push((format!("{version:x}-{kind:?}-empty"), long(kind, version, 0)));
            seeds.push((format!("{version:x}-{kind:?}-then-short"), [bytes, short(2)].concat()));
        }
        let retry = RetryHeader { version, dcid: cid(1), scid: cid(2), token: b"retry", unused: 5 };
        let mut bytes = written(retry.len(), |out| retry.write(out));
        bytes.extend([0xcc; 16]);
        seeds.push((format!("{version:x}-retry"), bytes));
    }
    seeds.extend((1..=4).map(|pn_len| (format!("short-{pn_len}"), short(pn_len))));
    let versions = [VERSION_1, VERSION_2, 0x1a2a_3a4a];
    let offer = VersionNegotiationHeader { unused: 3, dcid: &[1; 8], scid: &[2; 30], versions: &versions };
    let mut bytes = written(offer.len(), |out| offer.write(out));
    seeds.push(("versions".to_owned(), bytes.clone()));
    bytes[4] = 9;
    seeds.push(("unknown-version".to_owned(), bytes));
    let all = [
        long(LongKind::Initial, VERSION_1, 50),
        long(LongKind::ZeroRtt, VERSION_1, 50),
        long(LongKind::Handshake, VERSION_1, 50),
        short(1),
    ];
    seeds.push(("coalesced".to_owned(), all.concat()));
    seeds.into_iter().map(|(name, bytes)| (name, [&[CID_LEN], &bytes[..]].concat())).collect()
}

fn parameters() -> Vec<(String, Vec<u8>)> {
    let none = TransportParameters::default;
    let full = TransportParameters {
        original_dcid: Some(cid(1)),
        max_idle_timeout: Duration::from_secs(30),
        stateless_reset_token: Some([3; 16]),
        max_udp_payload_size: 1472,
        initial_max_data: 1 << 24,
        initial_max_stream_data_bidi_local: 1 << 20,
        initial_max_stream_data_bidi_remote: 1 << 20,
        initial_max_stream_data_uni: 1 << 20,
        initial_max_streams_bidi: 100,
        initial_max_streams_uni: 100,
        ack_delay_exponent: 4,
        max_ack_delay: Duration::from_millis(20),
        disable_active_migration: true,
        preferred_address: Some(PreferredAddress {
            v4: Some(std::net::SocketAddrV4::new([192, 0, 2, 1].into(), 443)),
            v6: None,
            cid: cid(4),
            reset_token: [5; 16],
        }),
        active_connection_id_limit: 8,
        initial_scid: Some(cid(6)),
        retry_scid: Some(cid(7)),
        version_information: Some(VersionInformation { chosen: 1, available: SUPPORTED_VERSIONS.to_vec() }),
        max_datagram_frame_size: 65_535,
        grease_quic_bit: true,
        initial_max_path_id: Some(PathId(7)),
        min_ack_delay: Some(Duration::from_millis(1)),
        reset_stream_at: true,
        address_discovery: Some(AddressDiscovery::Both),
    };
    let client = full.encode(Role::Client, Some(0x1234_5678_9abc_def0));
    let server = full.encode(Role::Server, None);
    let mut seeds = vec![
        ("client-none".to_owned(), vec![0]),
        ("client".to_owned(), [&[0], &client[..]].concat()),
        ("server".to_owned(), [&[1], &server[..]].concat()),
        ("client-sends-the-servers".to_owned(), [&[0], &server[..]].concat()),
        ("server-cut".to_owned(), [&[1], &server[..server.len() - 1]].concat()),
        ("server-twice".to_owned(), [&[1], &server[..], &server[..]].concat()),
        ("paths-zero".to_owned(), {
            let offer = TransportParameters { initial_max_path_id: Some(PathId(0)), ..none() };
            [&[0], &offer.encode(Role::Client, None)[..]].concat()
        }),
    ];
    for (name, bytes) in EDGES {
        for (sender, role) in [(0, "client"), (1, "server")] {
            seeds.push((format!("{role}-{name}"), [&[sender], bytes].concat()));
        }
    }
    seeds
}

/// Each known parameter alone with a value at or over its edge.
const EDGES: [(&str, &[u8]); 16] = [
    ("idle-max", &[0x01, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ("reset-token-15", &[0x02, 15, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    ("payload-1199", &[0x03, 2, 0x44, 0xaf]),
    ("payload-1200", &[0x03, 2, 0x44, 0xb0]),
    ("streams-2-60", &[0x08, 8, 0xd0, 0, 0, 0, 0, 0, 0, 0]),
    ("streams-over", &[0x09, 8, 0xd0, 0, 0, 0, 0, 0, 0, 1]),
    ("exponent-20", &[0x0a, 1, 20]),
    ("exponent-21", &[0x0a, 1, 21]),
    ("ack-delay-over", &[0x0b, 4, 0x80, 0, 0x40, 0]),
    ("migration-not-empty", &[0x0c, 1, 0]),
    ("cid-limit-1", &[0x0e, 1, 1]),
    ("scid-empty", &[0x0f, 0]),
    ("versions-half", &[0x11, 5, 0, 0, 0, 1, 0]),
    ("path-id-over", &[0x3e, 8, 0xc0, 0, 0, 1, 0, 0, 0, 0]),
    ("number-too-long", &[0x04, 2, 1, 1]),
    ("unknown-twice", &[0x3a, 1, 5, 0x3a, 0]),
];

fn written(len: usize, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = vec![0; len];
    write(&mut Writer::new(&mut bytes));
    bytes
}
