//! Frames to bytes. [`Frame::write`] and [`Frame::len`] walk the same fields, so a length is never a guess.

use super::{AckFrequency, Frame, NewConnectionId, types};
use crate::cursor::{Writer, varint_len};
use mpquic_base::{Dir, PathId, StreamId};
use std::net::{IpAddr, SocketAddr};

/// Where the fields of a frame go: into a packet, or into a count.
trait Sink {
    fn varint(&mut self, v: u64);
    fn bytes(&mut self, b: &[u8]);
}

impl Sink for Writer<'_> {
    fn varint(&mut self, v: u64) {
        self.put_varint(v);
    }
    fn bytes(&mut self, b: &[u8]) {
        self.put(b);
    }
}

struct Count(usize);

impl Sink for Count {
    fn varint(&mut self, v: u64) {
        self.0 += varint_len(v);
    }
    fn bytes(&mut self, b: &[u8]) {
        self.0 += b.len();
    }
}

fn varints(out: &mut impl Sink, values: &[u64]) {
    values.iter().for_each(|v| out.varint(*v));
}

fn observed(out: &mut impl Sink, frame_type: u64, seq: u64, address: SocketAddr) {
    varints(out, &[frame_type, seq]);
    match address.ip() {
        IpAddr::V4(ip) => out.bytes(&ip.octets()),
        IpAddr::V6(ip) => out.bytes(&ip.octets()),
    }
    out.bytes(&address.port().to_be_bytes());
}

fn close(out: &mut impl Sink, code: u64, frame_type: Option<u64>, reason: &[u8]) {
    match frame_type {
        Some(frame_type) => varints(out, &[types::CONNECTION_CLOSE, code, frame_type]),
        None => varints(out, &[types::CONNECTION_CLOSE_APP, code]),
    }
    prefixed(out, reason);
}

fn prefixed(out: &mut impl Sink, bytes: &[u8]) {
    out.varint(bytes.len() as u64);
    out.bytes(bytes);
}

impl Frame<'_> {
    /// Encoded size in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "no frame is empty")]
    pub fn len(&self) -> usize {
        let mut count = Count(0);
        self.emit(&mut count);
        count.0
    }

    /// Appends the frame. STREAM and DATAGRAM frames carry an explicit length.
    ///
    /// # Panics
    /// If it does not fit: ask [`Frame::len`] first.
    pub fn write(&self, out: &mut Writer<'_>) {
        self.emit(out);
    }

    fn emit(&self, out: &mut impl Sink) {
        use types as t;
        match *self {
            Frame::Padding(n) => (0..n).for_each(|_| out.varint(t::PADDING)),
            Frame::Ping => out.varint(t::PING),
            Frame::Ack(ref ack) => ack.emit(out),
            Frame::ResetStream { stream, code, final_size } => {
                varints(out, &[t::RESET_STREAM, stream.0, code, final_size]);
            }
            Frame::ResetStreamAt { stream, code, final_size, reliable_size } => {
                varints(out, &[t::RESET_STREAM_AT, stream.0, code, final_size, reliable_size]);
            }
            Frame::StopSending { stream, code } => varints(out, &[t::STOP_SENDING, stream.0, code]),
            Frame::Crypto { offset, data } => {
                varints(out, &[t::CRYPTO, offset]);
                prefixed(out, data);
            }
            Frame::NewToken { token } => {
                out.varint(t::NEW_TOKEN);
                prefixed(out, token);
            }
            Frame::Stream { stream, offset, data, fin } => {
                StreamHeader { stream, offset, len: Some(data.len()), fin }.emit(out);
                out.bytes(data);
            }
            Frame::MaxData(max) => varints(out, &[t::MAX_DATA, max]),
            Frame::MaxStreamData { stream, max } => varints(out, &[t::MAX_STREAM_DATA, stream.0, max]),
            Frame::MaxStreams { dir, max } => {
                varints(out, &[by_dir(dir, t::MAX_STREAMS_BI, t::MAX_STREAMS_UNI), max]);
            }
            Frame::DataBlocked(limit) => varints(out, &[t::DATA_BLOCKED, limit]),
            Frame::StreamDataBlocked { stream, limit } => {
                varints(out, &[t::STREAM_DATA_BLOCKED, stream.0, limit]);
            }
            Frame::StreamsBlocked { dir, limit } => {
                varints(out, &[by_dir(dir, t::STREAMS_BLOCKED_BI, t::STREAMS_BLOCKED_UNI), limit]);
            }
            Frame::NewConnectionId(ref new) => new.emit(out),
            Frame::RetireConnectionId { path, multipath, seq } => {
                typed_for_path(out, path, multipath, t::RETIRE_CONNECTION_ID, t::PATH_RETIRE_CONNECTION_ID);
                out.varint(seq);
            }
            Frame::PathChallenge(data) => path_data(out, t::PATH_CHALLENGE, &data),
            Frame::PathResponse(data) => path_data(out, t::PATH_RESPONSE, &data),
            Frame::ConnectionClose { code, frame_type, reason } => {
                close(out, code, frame_type, reason);
            }
            Frame::HandshakeDone => out.varint(t::HANDSHAKE_DONE),
            Frame::Datagram { data } => {
                out.varint(t::DATAGRAM_LEN);
                prefixed(out, data);
            }
            Frame::PathAbandon { path, code } => {
                varints(out, &[t::PATH_ABANDON, u64::from(path.0), code]);
            }
            Frame::PathStatus { path, seq, backup } => {
                let kind = if backup { t::PATH_STATUS_BACKUP } else { t::PATH_STATUS_AVAILABLE };
                varints(out, &[kind, u64::from(path.0), seq]);
            }
            Frame::MaxPathId(max) => varints(out, &[t::MAX_PATH_ID, u64::from(max.0)]),
            Frame::PathsBlocked(max) => varints(out, &[t::PATHS_BLOCKED, u64::from(max.0)]),
            Frame::ObservedAddress { seq, address } => observed(out, self.type_of(), seq, address),
            Frame::PathCidsBlocked { path, next_seq } => {
                varints(out, &[t::PATH_CIDS_BLOCKED, u64::from(path.0), next_seq]);
            }
            Frame::AckFrequency(ref wish) => wish.emit(out),
            Frame::ImmediateAck => out.varint(t::IMMEDIATE_ACK),
        }
    }
}

fn by_dir(dir: Dir, bi: u64, uni: u64) -> u64 {
    match dir {
        Dir::Bi => bi,
        Dir::Uni => uni,
    }
}

/// The type of a frame that has a single-path and a multipath form, with the path id if it is the latter.
fn typed_for_path(out: &mut impl Sink, path: PathId, multipath: bool, single: u64, multi: u64) {
    if multipath {
        varints(out, &[multi, u64::from(path.0)]);
    } else {
        out.varint(single);
    }
}

fn path_data(out: &mut impl Sink, kind: u64, data: &[u8]) {
    out.varint(kind);
    out.bytes(data);
}

impl super::Ack<'_> {
    fn emit(&self, out: &mut impl Sink) {
        use types as t;
        let (single, multi) = match self.ecn {
            None => (t::ACK, t::PATH_ACK),
            Some(_) => (t::ACK_ECN, t::PATH_ACK_ECN),
        };
        typed_for_path(out, self.path, self.multipath, single, multi);
        varints(out, &[self.largest, self.delay]);
        out.bytes(self.ranges);
        if let Some(ecn) = self.ecn {
            varints(out, &[ecn.ect0, ecn.ect1, ecn.ce]);
        }
    }
}

impl AckFrequency {
    fn emit(&self, out: &mut impl Sink) {
        let Self { seq, eliciting_threshold, max_ack_delay, reordering_threshold } = *self;
        varints(out, &[types::ACK_FREQUENCY, seq, eliciting_threshold, max_ack_delay, reordering_threshold]);
    }
}

impl NewConnectionId {
    fn emit(&self, out: &mut impl Sink) {
        let (single, multi) = (types::NEW_CONNECTION_ID, types::PATH_NEW_CONNECTION_ID);
        typed_for_path(out, self.path, self.multipath, single, multi);
        varints(out, &[self.seq, self.retire_prior_to]);
        prefixed_short(out, self.cid.as_slice());
        out.bytes(&self.reset_token);
    }
}

fn prefixed_short(out: &mut impl Sink, cid: &[u8]) {
    #[allow(clippy::cast_possible_truncation, reason = "a connection ID has at most 20 bytes")]
    out.bytes(&[cid.len() as u8]);
    out.bytes(cid);
}

/// A STREAM frame up to its data, so that the data can be copied straight into the packet.
#[derive(Clone, Copy, Debug)]
pub struct StreamHeader {
    pub stream: StreamId,
    pub offset: u64,
    /// `None` lets the frame run to the end of the packet.
    pub len: Option<usize>,
    pub fin: bool,
}

impl StreamHeader {
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "no header is empty")]
    pub fn len(&self) -> usize {
        let mut count = Count(0);
        self.emit(&mut count);
        count.0
    }

    /// # Panics
    /// If it does not fit.
    pub fn write(&self, out: &mut Writer<'_>) {
        self.emit(out);
    }

    fn emit(&self, out: &mut impl Sink) {
        let mut kind = types::STREAM;
        if self.offset > 0 {
            kind |= types::STREAM_OFF;
        }
        if self.len.is_some() {
            kind |= types::STREAM_LEN;
        }
        if self.fin {
            kind |= types::STREAM_FIN;
        }
        varints(out, &[kind, self.stream.0]);
        if self.offset > 0 {
            out.varint(self.offset);
        }
        if let Some(len) = self.len {
            out.varint(len as u64);
        }
    }
}

/// Writes an ACK or PATH_ACK of the newest ranges that fit.
#[derive(Clone, Copy, Debug)]
pub struct AckHeader {
    pub path: PathId,
    pub multipath: bool,
    /// Already divided by 2^ack_delay_exponent microseconds.
    pub delay: u64,
    pub ecn: Option<super::EcnCounts>,
}

impl AckHeader {
    /// Appends the frame and returns how many ranges it holds; 0 if not even one fits, and then nothing is written.
    ///
    /// `ranges` are half-open, descending, disjoint and apart from each other by at least one packet.
    pub fn write(&self, ranges: impl Iterator<Item = core::ops::Range<u64>>, out: &mut Writer<'_>) -> usize {
        let mut ranges = ranges.peekable();
        let Some(first) = ranges.peek().cloned() else { return 0 };
        let empty = super::Ack {
            path: self.path,
            multipath: self.multipath,
            largest: first.end - 1,
            delay: self.delay,
            ecn: self.ecn,
            ranges: &[],
        };
        // The count is written before the ranges are: reserve two bytes for it.
        let mut fixed = Count(2);
        empty.emit(&mut fixed);
        let needed = fixed.0 + varint_len(first.end - 1 - first.start);
        let Some(mut room) = out.remaining().checked_sub(needed) else { return 0 };
        let kind = if self.ecn.is_some() { 1 } else { 0 };
        typed_for_path(out, self.path, self.multipath, types::ACK + kind, types::PATH_ACK + kind);
        varints(out, &[first.end - 1, self.delay]);
        let count_at = out.len();
        out.put_varint2(0);
        out.put_varint(first.end - 1 - first.start);
        ranges.next();
        let (mut written, mut smallest) = (1, first.start);
        for range in ranges {
            let (gap, length) = (smallest - range.end - 1, range.end - 1 - range.start);
            let size = varint_len(gap) + varint_len(length);
            if size > room || written >= 0x3fff {
                break;
            }
            room -= size;
            varints(out, &[gap, length]);
            smallest = range.start;
            written += 1;
        }
        let mut count = Writer::new(&mut out.written()[count_at..]);
        count.put_varint2(written - 1);
        if let Some(ecn) = self.ecn {
            varints(out, &[ecn.ect0, ecn.ect1, ecn.ce]);
        }
        written
    }
}
