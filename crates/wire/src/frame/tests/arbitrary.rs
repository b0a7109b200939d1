//! Arbitrary valid frames: numbers and bytes from which a frame of every kind can be made.

use super::super::*;
use crate::cursor::{VARINT_MAX, Writer};
use proptest::prelude::*;

/// Kinds that [`Raw::frame`] knows.
pub(super) const KINDS: usize = 41;

#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub(super) a: u64,
    pub(super) b: u64,
    pub(super) c: u64,
    pub(super) path: u32,
    pub(super) flag: bool,
    pub(super) data: Vec<u8>,
    cid: Vec<u8>,
    token: [u8; 16],
    ack: RawAck,
}

/// The largest packet number, and the fields behind the delay.
#[derive(Clone, Debug)]
struct RawAck {
    largest: u64,
    encoded: Vec<u8>,
}

/// A varint of any size.
pub(super) fn varint() -> impl Strategy<Value = u64> {
    (0..=VARINT_MAX, 0u32..62).prop_map(|(value, shift)| value >> shift)
}

impl Raw {
    pub(super) fn any() -> impl Strategy<Value = Self> {
        let bytes = prop::collection::vec(any::<u8>(), 1..60);
        let cid = prop::collection::vec(any::<u8>(), 1..=20);
        (
            varint(),
            varint(),
            varint(),
            any::<u32>(),
            any::<bool>(),
            bytes,
            cid,
            any::<[u8; 16]>(),
            RawAck::any(),
        )
            .prop_map(|(a, b, c, path, flag, data, cid, token, ack)| Self {
                a,
                b,
                c,
                path,
                flag,
                data,
                cid,
                token,
                ack,
            })
    }

    pub(super) fn sample() -> Self {
        Self {
            a: 5,
            b: 9000,
            c: 77,
            path: 3,
            flag: true,
            data: vec![1, 2, 3],
            cid: vec![4; 8],
            token: [9; 16],
            ack: RawAck { largest: 10, encoded: vec![1, 2, 0, 0] },
        }
    }

    pub(super) fn frame(&self, kind: usize) -> Frame<'_> {
        let Self { a, b, c, flag, ref data, token, .. } = *self;
        let (path, stream, data) = (PathId(self.path), StreamId(a), data.as_slice());
        let dir = if flag { Dir::Bi } else { Dir::Uni };
        let other = if flag { Dir::Uni } else { Dir::Bi };
        let challenge = a.to_be_bytes();
        match kind {
            0 => Frame::Padding(data.len()),
            1 => Frame::Ping,
            2..=5 => Frame::Ack(Ack {
                path: if kind % 2 == 1 { path } else { PathId::ZERO },
                multipath: kind % 2 == 1,
                largest: self.ack.largest,
                delay: a,
                ecn: (kind > 3).then_some(EcnCounts { ect0: a, ect1: b, ce: c }),
                ranges: &self.ack.encoded,
            }),
            6 => Frame::ResetStream { stream, code: b, final_size: c },
            7 => Frame::StopSending { stream, code: b },
            8 => Frame::Crypto { offset: b.min(VARINT_MAX - data.len() as u64), data },
            9 => Frame::NewToken { token: data },
            10 => Frame::Stream { stream, offset: b.min(VARINT_MAX - data.len() as u64), data, fin: flag },
            11 => Frame::Stream { stream, offset: 0, data: &[], fin: flag },
            12 => Frame::MaxData(a),
            13 => Frame::MaxStreamData { stream, max: b },
            14 => Frame::MaxStreams { dir, max: a >> 2 },
            15 => Frame::MaxStreams { dir: other, max: 1 << 60 },
            16 => Frame::DataBlocked(a),
            17 => Frame::StreamDataBlocked { stream, limit: b },
            18 => Frame::StreamsBlocked { dir, limit: a >> 2 },
            19 => Frame::StreamsBlocked { dir: other, limit: 1 << 60 },
            20 | 21 => Frame::NewConnectionId(NewConnectionId {
                path: if kind == 21 { path } else { PathId::ZERO },
                multipath: kind == 21,
                seq: a.max(b),
                retire_prior_to: a.min(b),
                cid: Cid::new(&self.cid).unwrap(),
                reset_token: token,
            }),
            22 => Frame::RetireConnectionId { path: PathId::ZERO, multipath: false, seq: a },
            23 => Frame::RetireConnectionId { path, multipath: true, seq: a },
            24 => Frame::PathChallenge(challenge),
            25 => Frame::PathResponse(challenge),
            26 => Frame::ConnectionClose { code: a, frame_type: Some(b), reason: data },
            27 => Frame::ConnectionClose { code: a, frame_type: None, reason: &[] },
            28 => Frame::HandshakeDone,
            29 => Frame::Datagram { data },
            30 => Frame::PathAbandon { path, code: a },
            31 | 32 => Frame::PathStatus { path, seq: a, backup: kind == 31 },
            33 => Frame::MaxPathId(path),
            34 => Frame::PathsBlocked(path),
            35 => Frame::PathCidsBlocked { path, next_seq: a },
            36 => Frame::ImmediateAck,
            38 => Frame::ResetStreamAt { stream, code: b, final_size: a.max(c), reliable_size: a.min(c) },
            37 => Frame::AckFrequency(AckFrequency {
                seq: a,
                eliciting_threshold: b,
                max_ack_delay: c,
                reordering_threshold: a ^ b,
            }),
            kind => {
                let (host, port) = (self.token, u16::from_be_bytes([self.token[0], self.token[1]]));
                let v4: [u8; 4] = [host[2], host[3], host[4], host[5]];
                let ip: std::net::IpAddr = if kind == 39 { v4.into() } else { host.into() };
                Frame::ObservedAddress { seq: a, address: (ip, port).into() }
            }
        }
    }
}

impl RawAck {
    fn any() -> impl Strategy<Value = Self> {
        let pairs = prop::collection::vec((0u64..1 << 20, 0u64..1 << 20), 0..20);
        (varint(), 0u64..1 << 20, pairs).prop_map(|(spare, first, pairs)| {
            let spent: u64 = first + pairs.iter().map(|(gap, length)| gap + 2 + length).sum::<u64>();
            let mut encoded = vec![0; 400];
            let mut out = Writer::new(&mut encoded);
            out.put_varint(pairs.len() as u64);
            out.put_varint(first);
            for (gap, length) in pairs {
                out.put_varint(gap);
                out.put_varint(length);
            }
            let len = out.len();
            encoded.truncate(len);
            Self { largest: spent + spare.min(VARINT_MAX - spent), encoded }
        })
    }
}
