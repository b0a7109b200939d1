//! A peer that keeps to no rule. It took over an honest one after the handshake, so it has the keys of the stand-in for
//! TLS and the other side's connection IDs: whatever it says is authentic.
//!
//! Owns what such a peer must know to be heard (IDs, packet numbers, key phase) and what it heard. What it says is for
//! tests and fuzzers to decide.

use crate::crypto::PlainCrypto;
use mpquic_base::{Cid, Dir, PathId, RangeSet, Role};
use mpquic_proto::LOCAL_CID_LEN;
use mpquic_proto::crypto::DirectionKeys;
use mpquic_wire::frame::AckHeader;
use mpquic_wire::header::{FirstByte, PartialHeader, Short, ShortHeader};
use mpquic_wire::{Frame, Reader, Writer, packet_number};
use std::collections::BTreeMap;

/// Bytes from the start of a packet number to the sample for its protection.
const SAMPLE_AT: usize = 4;
const SAMPLE_LEN: usize = 16;
/// Path ids that packets are tried under.
const PATHS: u32 = 8;
/// Far above what the honest peer used.
const FIRST_PN: u64 = 10_000;

/// What is known of one path of the other side.
#[derive(Debug, Default)]
struct Way {
    /// Connection IDs that lead there, the newest last.
    cids: Vec<Cid>,
    /// Numbers sent so far, and those that were heard.
    sent: u64,
    heard: RangeSet,
}

#[derive(Debug)]
pub struct Hostile {
    role: Role,
    ways: BTreeMap<PathId, Way>,
    /// Length of the connection IDs that the other side puts on its packets now.
    pub cid_len: usize,
    /// Key updates that the other side has made.
    phase: u64,
    /// Challenges that were heard and may be answered.
    pub challenges: Vec<(PathId, [u8; 8])>,
    /// Streams of each kind, two-way and one-way, that the other side allows in all.
    pub max_streams: [u64; 2],
    /// Frames of the other side that close the connection: their codes.
    pub closed_with: Vec<u64>,
    /// Types of the frames that were heard last, in a packet that could be opened.
    pub frames: Vec<u64>,
    pub largest_acked: Option<u64>,
}

/// A 1-RTT packet that was opened.
struct Heard {
    path: PathId,
    pn: u64,
    dcid: Cid,
    payload: Vec<u8>,
}

impl Hostile {
    /// The peer that plays `role`.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self {
            role,
            ways: BTreeMap::new(),
            cid_len: LOCAL_CID_LEN,
            phase: 0,
            challenges: Vec::new(),
            max_streams: [0; 2],
            closed_with: Vec::new(),
            frames: Vec::new(),
            largest_acked: None,
        }
    }

    /// A datagram that the honest peer sent before it was taken over: shows IDs of the other side.
    pub fn on_own(&mut self, datagram: &[u8]) {
        if let Some(heard) = short_of(datagram).and_then(|short| self.open(short, self.role)) {
            self.ways.entry(heard.path).or_default().learn(heard.dcid);
        }
    }

    /// A datagram of the other side.
    pub fn on_heard(&mut self, datagram: &[u8]) {
        let Some(heard) = short_of(datagram).and_then(|short| self.open(short, self.role.peer())) else {
            return;
        };
        self.ways.entry(heard.path).or_default().heard.insert(heard.pn..heard.pn + 1);
        let mut reader = Reader::new(&heard.payload);
        self.frames.clear();
        while !reader.is_empty()
            && let Ok(frame) = Frame::read(&mut reader)
        {
            self.frames.push(frame.type_of());
            if let Frame::Ack(ack) = &frame {
                self.largest_acked = self.largest_acked.max(Some(ack.largest));
            }
            match frame {
                Frame::NewConnectionId(new) => self.ways.entry(new.path).or_default().learn(new.cid),
                Frame::PathChallenge(data) => self.challenges.push((heard.path, data)),
                Frame::MaxStreams { dir, max } => {
                    let most = &mut self.max_streams[usize::from(dir == Dir::Uni)];
                    *most = max.max(*most);
                }
                Frame::ConnectionClose { code, .. } => self.closed_with.push(code),
                _ => {}
            }
        }
        let excess = self.challenges.len().saturating_sub(16);
        self.challenges.drain(..excess);
    }

    /// A packet of `path` with `payload`, leaving out `gap` numbers; `update` seals it under the next key. `None` if no
    /// connection ID for the path is known.
    pub fn packet(&mut self, path: PathId, gap: u64, update: bool, payload: &[u8]) -> Option<Vec<u8>> {
        let phase = self.phase + u64::from(update);
        let keys = PlainCrypto::one_rtt_phase(self.role, phase);
        let way = self.ways.get_mut(&path)?;
        let dcid = *way.cids.last()?;
        let pn = FIRST_PN + way.sent + gap;
        way.sent += gap + 1;
        let header = ShortHeader { dcid, pn, pn_len: 4, key_phase: phase % 2 == 1, spin: false };
        Some(seal_short(&header, &keys, path, payload))
    }

    /// The frames that acknowledge everything heard on `path`.
    #[must_use]
    pub fn acks(&self, path: PathId, multipath: bool) -> Vec<u8> {
        let Some(way) = self.ways.get(&path).filter(|way| !way.heard.is_empty()) else { return Vec::new() };
        let mut bytes = [0; 1000];
        let mut out = Writer::new(&mut bytes);
        let header = AckHeader { path, multipath, delay: 0, ecn: None };
        header.write(way.heard.iter().rev(), &mut out);
        out.written().to_vec()
    }

    /// Uses connection IDs of the other side in turn.
    pub fn change_cid(&mut self, path: PathId) {
        if let Some(way) = self.ways.get_mut(&path)
            && !way.cids.is_empty()
        {
            way.cids.rotate_left(1);
        }
    }

    fn open(&mut self, packet: &[u8], sender: Role) -> Option<Heard> {
        let cid_len = if sender == self.role { LOCAL_CID_LEN } else { self.cid_len };
        let Ok((PartialHeader::Short(Short { dcid, pn_offset, .. }), _)) =
            PartialHeader::read(packet, cid_len)
        else {
            return None;
        };
        let sample = packet.get(pn_offset + SAMPLE_AT..pn_offset + SAMPLE_AT + SAMPLE_LEN)?.to_vec();
        let mut bytes = packet.to_vec();
        let keys = PlainCrypto::one_rtt_phase(sender, 0);
        let (first, rest) = bytes.split_first_mut()?;
        keys.header.unprotect(&sample, first, &mut rest[pn_offset - 1..pn_offset + 3]);
        let pn_len = FirstByte(bytes[0]).pn_len();
        let (header, payload) = bytes.split_at(pn_offset + pn_len);
        let truncated = packet_number::read(&header[pn_offset..]);
        for phase in [self.phase, self.phase + 1] {
            let keys = PlainCrypto::one_rtt_phase(sender, phase);
            for path in (0..PATHS).map(PathId) {
                let largest = self.ways.get(&path).and_then(|way| way.heard.max());
                let pn = packet_number::expand(largest, truncated, pn_len);
                if let Ok(len) = keys.packet.open(path, pn, header, &mut payload.to_vec()) {
                    if sender != self.role {
                        self.phase = phase;
                    }
                    return Some(Heard { path, pn, dcid, payload: payload[..len].to_vec() });
                }
            }
        }
        None
    }
}

impl Way {
    fn learn(&mut self, cid: Cid) {
        self.cids.retain(|known| *known != cid);
        self.cids.push(cid);
        let excess = self.cids.len().saturating_sub(8);
        self.cids.drain(..excess);
    }
}

/// The short-header packet of a datagram: the last one, or none.
fn short_of(datagram: &[u8]) -> Option<&[u8]> {
    let mut rest = datagram;
    while let Ok((header, len)) = PartialHeader::read(rest, LOCAL_CID_LEN) {
        if matches!(header, PartialHeader::Short(_)) {
            return Some(rest);
        }
        rest = &rest[len..];
    }
    None
}

/// A short-header packet under `keys`, its payload at least as long as header protection needs.
#[must_use]
pub fn seal_short(header: &ShortHeader, keys: &DirectionKeys, path: PathId, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; header.len()];
    let pn_at = header.write(&mut Writer::new(&mut bytes));
    let mut body = payload.to_vec();
    body.resize(payload.len().max(SAMPLE_AT) + keys.packet.tag_len(), 0);
    keys.packet.seal(path, header.pn, &bytes, &mut body);
    bytes.extend(&body);
    protect(&mut bytes, keys, pn_at, header.pn_len);
    bytes
}

fn protect(packet: &mut [u8], keys: &DirectionKeys, pn_at: usize, pn_len: usize) {
    let sample = packet[pn_at + SAMPLE_AT..pn_at + SAMPLE_AT + SAMPLE_LEN].to_vec();
    if let Some((first, rest)) = packet.split_first_mut() {
        keys.header.protect(&sample, first, &mut rest[pn_at - 1..pn_at - 1 + pn_len]);
    }
}

/// A long-header packet under `keys`: `header` says everything but its length.
#[must_use]
pub fn seal_long(
    header: &mpquic_wire::header::LongHeader<'_>,
    keys: &DirectionKeys,
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![0; header.len()];
    let offsets = header.write(&mut Writer::new(&mut bytes));
    let mut body = payload.to_vec();
    body.resize(payload.len().max(SAMPLE_AT) + keys.packet.tag_len(), 0);
    let end = bytes.len() + body.len();
    bytes.resize(end, 0);
    offsets.patch_length(&mut bytes, end);
    let (head, _) = bytes.split_at(end - body.len());
    keys.packet.seal(PathId::ZERO, header.pn, head, &mut body);
    let at = end - body.len();
    bytes[at..].copy_from_slice(&body);
    protect(&mut bytes, keys, offsets.pn_at, header.pn_len);
    bytes
}
