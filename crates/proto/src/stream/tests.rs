//! Two tables, packets between them, and a reader of frames that shares no code with the writer.

mod model;
mod receiving;
mod reliable;
mod sending;
mod table;

use super::{Absorbed, StreamConfig, StreamEvent, StreamLimits, Streams, Tally};
use crate::error::Violation;
use crate::frames::{Frames, Token};
use mpquic_base::{Dir, Role, StreamId};
use mpquic_wire::Reader;

const KIB: u64 = 1024;

/// Client- and server-opened streams by index.
const fn client(dir: Dir, index: u64) -> StreamId {
    StreamId::new(Role::Client, dir, index)
}

const fn server(dir: Dir, index: u64) -> StreamId {
    StreamId::new(Role::Server, dir, index)
}

const fn limits(data: u64, stream: u64, count: u64) -> StreamLimits {
    StreamLimits {
        max_data: data,
        max_stream_data_bidi_local: stream,
        max_stream_data_bidi_remote: stream,
        max_stream_data_uni: stream,
        max_streams_bidi: count,
        max_streams_uni: count,
    }
}

const fn config(initial: StreamLimits) -> StreamConfig {
    StreamConfig {
        initial,
        receive_window_max: 16 * KIB * KIB,
        stream_window_max: 4 * KIB * KIB,
        send_buffer_max: 16 * KIB * KIB,
    }
}

/// A table that knows its peer's limits, which are the same as its own.
fn streams(role: Role, initial: StreamLimits) -> Streams {
    let mut streams = Streams::new(role, config(initial));
    streams.on_peer_limits(&initial);
    streams.allow_reset_at(true);
    streams
}

/// A frame as the peer reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Reset { id: StreamId, code: u64, size: u64 },
    ResetAt { id: StreamId, code: u64, size: u64, reliable: u64 },
    Stop { id: StreamId, code: u64 },
    Stream { id: StreamId, offset: u64, data: Vec<u8>, fin: bool },
    MaxData(u64),
    MaxStreamData(StreamId, u64),
    MaxStreams(Dir, u64),
    DataBlocked(u64),
    StreamDataBlocked(StreamId, u64),
    StreamsBlocked(Dir, u64),
}

/// Reads a payload by the numbers of RFC 9000 §19.
fn parse(payload: &[u8]) -> Vec<Seen> {
    let mut r = Reader::new(payload);
    let mut seen = Vec::new();
    while !r.is_empty() {
        let kind = r.varint().unwrap();
        let mut next = || r.varint().unwrap();
        seen.push(match kind {
            0x04 => Seen::Reset { id: StreamId(next()), code: next(), size: next() },
            0x24 => Seen::ResetAt { id: StreamId(next()), code: next(), size: next(), reliable: next() },
            0x05 => Seen::Stop { id: StreamId(next()), code: next() },
            0x08..=0x0f => {
                let id = StreamId(next());
                let offset = if kind & 4 > 0 { next() } else { 0 };
                let data = if kind & 2 > 0 {
                    let len = r.length().unwrap();
                    r.bytes(len).unwrap()
                } else {
                    r.rest()
                };
                Seen::Stream { id, offset, data: data.to_vec(), fin: kind & 1 > 0 }
            }
            0x10 => Seen::MaxData(next()),
            0x11 => Seen::MaxStreamData(StreamId(next()), next()),
            0x12 => Seen::MaxStreams(Dir::Bi, next()),
            0x13 => Seen::MaxStreams(Dir::Uni, next()),
            0x14 => Seen::DataBlocked(next()),
            0x15 => Seen::StreamDataBlocked(StreamId(next()), next()),
            0x16 => Seen::StreamsBlocked(Dir::Bi, next()),
            0x17 => Seen::StreamsBlocked(Dir::Uni, next()),
            _ => panic!("frame type {kind:#x}"),
        });
    }
    seen
}

fn absorb(to: &mut Streams, frame: &Seen) -> Result<Absorbed, Violation> {
    let () = match *frame {
        Seen::Stream { id, offset, ref data, fin } => return to.on_stream(id, offset, data, fin),
        Seen::Reset { id, code, size } => to.on_reset_stream(id, code, size)?,
        Seen::ResetAt { id, code, size, reliable } => to.on_reset_stream_at(id, code, size, reliable)?,
        Seen::Stop { id, code } => to.on_stop_sending(id, code)?,
        Seen::MaxData(max) => to.on_max_data(max)?,
        Seen::MaxStreamData(id, max) => to.on_max_stream_data(id, max)?,
        Seen::MaxStreams(dir, max) => to.on_max_streams(dir, max)?,
        Seen::DataBlocked(limit) => to.on_data_blocked(limit)?,
        Seen::StreamDataBlocked(id, limit) => to.on_stream_data_blocked(id, limit)?,
        Seen::StreamsBlocked(dir, limit) => to.on_streams_blocked(dir, limit)?,
    };
    Ok(Absorbed::Yes)
}

/// One packet and what it left behind.
#[derive(Clone, Debug, Default)]
struct Packet {
    frames: Vec<Seen>,
    tokens: Vec<Token>,
}

fn pack(capacity: usize, write: impl FnOnce(&mut Frames<'_>)) -> Packet {
    let mut payload = vec![0; capacity];
    let mut tokens = Vec::new();
    let mut frames = Frames::new(&mut payload, &mut tokens);
    write(&mut frames);
    let len = frames.len();
    Packet { frames: parse(&payload[..len]), tokens }
}

fn control(from: &mut Streams) -> Packet {
    pack(1200, |frames| from.write_control(frames))
}

fn data(from: &mut Streams) -> Packet {
    pack(1200, |frames| from.write_data(frames))
}

/// Control and data packets until there are no more.
fn flush(from: &mut Streams) -> Vec<Packet> {
    let mut packets = Vec::new();
    loop {
        let packet = pack(1200, |frames| {
            from.write_control(frames);
            from.write_data(frames);
        });
        if packet.frames.is_empty() {
            return packets;
        }
        packets.push(packet);
    }
}

fn acked(to: &mut Streams, packets: &[Packet]) {
    packets.iter().flat_map(|p| &p.tokens).for_each(|token| to.acked(*token));
}

fn lost(to: &mut Streams, packets: &[Packet]) {
    packets.iter().flat_map(|p| &p.tokens).for_each(|token| to.lost(*token));
}

/// Sends all there is, both ways, until it is quiet; nothing gets lost.
fn converse(a: &mut Streams, b: &mut Streams) {
    loop {
        let (from_a, from_b) = (flush(a), flush(b));
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
        carry(a, b, &from_a);
        carry(b, a, &from_b);
    }
}

fn carry(sender: &mut Streams, receiver: &mut Streams, packets: &[Packet]) {
    for frame in packets.iter().flat_map(|p| &p.frames) {
        assert_eq!(absorb(receiver, frame), Ok(Absorbed::Yes), "{frame:?}");
    }
    acked(sender, packets);
}

fn events(of: &mut Streams) -> Vec<StreamEvent> {
    core::iter::from_fn(|| of.next_event()).collect()
}

/// Bytes on the wire of each stream, in the order of the packets.
fn stream_bytes(packets: &[Packet], of: StreamId) -> u64 {
    let lens = packets.iter().flat_map(|p| &p.frames).map(|frame| match frame {
        Seen::Stream { id, data, .. } if *id == of => data.len() as u64,
        _ => 0,
    });
    lens.sum()
}

/// The incremental sums against sums over the whole table.
fn audit(of: &Streams, context: &str) {
    let (sums, fragments) = of.table.values().fold((Tally::default(), 0), |(mut sums, fragments), stream| {
        sums.exchange(&Tally::default(), &stream.tally());
        (sums, fragments + stream.recv.as_ref().map_or(0, |r| r.fragments()))
    });
    assert_eq!(of.sums, sums, "{context}");
    assert_eq!(of.shared.fragments, fragments, "{context}");
}
