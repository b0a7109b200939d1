//! Frames as borrowed values. Which frames may ride in which packet is not decided here.

mod encode;
mod types;

pub use encode::{AckHeader, StreamHeader};

use mpquic_base::{Cid, Dir, PathId, StreamId};

pub const RESET_TOKEN_LEN: usize = 16;

/// Every frame of RFC 9000, RFC 9221 and draft-ietf-quic-multipath-21.
///
/// RFC 9000's ACK, NEW_CONNECTION_ID and RETIRE_CONNECTION_ID speak of path 0; their multipath forms parse into the
/// same variants with `multipath: true`, because the machine treats them alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A run of padding bytes.
    Padding(usize),
    Ping,
    Ack(Ack<'a>),
    ResetStream { stream: StreamId, code: u64, final_size: u64 },
    StopSending { stream: StreamId, code: u64 },
    Crypto { offset: u64, data: &'a [u8] },
    NewToken { token: &'a [u8] },
    Stream { stream: StreamId, offset: u64, data: &'a [u8], fin: bool },
    MaxData(u64),
    MaxStreamData { stream: StreamId, max: u64 },
    MaxStreams { dir: Dir, max: u64 },
    DataBlocked(u64),
    StreamDataBlocked { stream: StreamId, limit: u64 },
    StreamsBlocked { dir: Dir, limit: u64 },
    NewConnectionId(NewConnectionId),
    RetireConnectionId { path: PathId, multipath: bool, seq: u64 },
    PathChallenge([u8; 8]),
    PathResponse([u8; 8]),
    /// `frame_type` is `None` for an application close (0x1d).
    ConnectionClose { code: u64, frame_type: Option<u64>, reason: &'a [u8] },
    HandshakeDone,
    Datagram { data: &'a [u8] },
    PathAbandon { path: PathId, code: u64 },
    /// PATH_STATUS_BACKUP or PATH_STATUS_AVAILABLE.
    PathStatus { path: PathId, seq: u64, backup: bool },
    MaxPathId(PathId),
    PathsBlocked(PathId),
    PathCidsBlocked { path: PathId, next_seq: u64 },
}

/// An ACK or PATH_ACK frame. The ranges were checked when it was parsed, so iterating cannot fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    pub path: PathId,
    pub multipath: bool,
    pub largest: u64,
    /// As sent: to be multiplied by 2^ack_delay_exponent microseconds.
    pub delay: u64,
    pub ecn: Option<EcnCounts>,
    /// Range count, first range, then gap/length pairs, still encoded.
    pub(crate) ranges: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct EcnCounts {
    pub ect0: u64,
    pub ect1: u64,
    pub ce: u64,
}

/// NEW_CONNECTION_ID or PATH_NEW_CONNECTION_ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewConnectionId {
    pub path: PathId,
    pub multipath: bool,
    pub seq: u64,
    pub retire_prior_to: u64,
    pub cid: Cid,
    pub reset_token: [u8; RESET_TOKEN_LEN],
}
