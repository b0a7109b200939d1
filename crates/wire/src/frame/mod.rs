//! Frames as borrowed values. Which frames may ride in which packet is not decided here.

mod ack;
mod decode;
mod encode;
mod types;

pub use ack::AckRanges;
pub use decode::FrameError;
pub use encode::{AckHeader, StreamHeader};

use mpquic_base::{Cid, Dir, PathId, StreamId};
use std::net::SocketAddr;

pub const RESET_TOKEN_LEN: usize = 16;

/// Every frame of RFC 9000, RFC 9221, draft-ietf-quic-multipath-21, draft-ietf-quic-address-discovery,
/// draft-ietf-quic-ack-frequency and draft-ietf-quic-reliable-stream-reset.
///
/// RFC 9000's ACK, NEW_CONNECTION_ID and RETIRE_CONNECTION_ID speak of path 0; their multipath forms parse into the
/// same variants with `multipath: true`, because the machine treats them alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A run of padding bytes.
    Padding(usize),
    Ping,
    Ack(Ack<'a>),
    ResetStream {
        stream: StreamId,
        code: u64,
        final_size: u64,
    },
    /// draft-ietf-quic-reliable-stream-reset: a reset that comes after the first `reliable_size` bytes.
    ResetStreamAt {
        stream: StreamId,
        code: u64,
        final_size: u64,
        reliable_size: u64,
    },
    StopSending {
        stream: StreamId,
        code: u64,
    },
    Crypto {
        offset: u64,
        data: &'a [u8],
    },
    NewToken {
        token: &'a [u8],
    },
    Stream {
        stream: StreamId,
        offset: u64,
        data: &'a [u8],
        fin: bool,
    },
    MaxData(u64),
    MaxStreamData {
        stream: StreamId,
        max: u64,
    },
    MaxStreams {
        dir: Dir,
        max: u64,
    },
    DataBlocked(u64),
    StreamDataBlocked {
        stream: StreamId,
        limit: u64,
    },
    StreamsBlocked {
        dir: Dir,
        limit: u64,
    },
    NewConnectionId(NewConnectionId),
    RetireConnectionId {
        path: PathId,
        multipath: bool,
        seq: u64,
    },
    PathChallenge([u8; 8]),
    PathResponse([u8; 8]),
    /// `frame_type` is `None` for an application close (0x1d).
    ConnectionClose {
        code: u64,
        frame_type: Option<u64>,
        reason: &'a [u8],
    },
    HandshakeDone,
    Datagram {
        data: &'a [u8],
    },
    PathAbandon {
        path: PathId,
        code: u64,
    },
    /// PATH_STATUS_BACKUP or PATH_STATUS_AVAILABLE.
    PathStatus {
        path: PathId,
        seq: u64,
        backup: bool,
    },
    MaxPathId(PathId),
    PathsBlocked(PathId),
    PathCidsBlocked {
        path: PathId,
        next_seq: u64,
    },
    /// draft-ietf-quic-address-discovery: where the packets of the path that carries it come from.
    ObservedAddress {
        seq: u64,
        address: SocketAddr,
    },
    AckFrequency(AckFrequency),
    /// draft-ietf-quic-ack-frequency §5: the packet that carries it wants its ACK at once.
    ImmediateAck,
}

impl Frame<'_> {
    /// The type it is written with, as CONNECTION_CLOSE reports it.
    #[must_use]
    pub fn type_of(&self) -> u64 {
        use types as t;
        let either = |which: bool, yes: u64, no: u64| if which { yes } else { no };
        match *self {
            Self::Padding(_) => t::PADDING,
            Self::Ping => t::PING,
            Self::Ack(Ack { multipath, ecn, .. }) => {
                either(multipath, t::PATH_ACK, t::ACK) | u64::from(ecn.is_some())
            }
            Self::ResetStream { .. } => t::RESET_STREAM,
            Self::ResetStreamAt { .. } => t::RESET_STREAM_AT,
            Self::StopSending { .. } => t::STOP_SENDING,
            Self::Crypto { .. } => t::CRYPTO,
            Self::NewToken { .. } => t::NEW_TOKEN,
            Self::Stream { offset, fin, .. } => {
                t::STREAM | t::STREAM_LEN | either(offset > 0, t::STREAM_OFF, 0) | u64::from(fin)
            }
            Self::MaxData(_) => t::MAX_DATA,
            Self::MaxStreamData { .. } => t::MAX_STREAM_DATA,
            Self::MaxStreams { dir, .. } => either(dir == Dir::Bi, t::MAX_STREAMS_BI, t::MAX_STREAMS_UNI),
            Self::DataBlocked(_) => t::DATA_BLOCKED,
            Self::StreamDataBlocked { .. } => t::STREAM_DATA_BLOCKED,
            Self::StreamsBlocked { dir, .. } => {
                either(dir == Dir::Bi, t::STREAMS_BLOCKED_BI, t::STREAMS_BLOCKED_UNI)
            }
            Self::NewConnectionId(NewConnectionId { multipath, .. }) => {
                either(multipath, t::PATH_NEW_CONNECTION_ID, t::NEW_CONNECTION_ID)
            }
            Self::RetireConnectionId { multipath, .. } => {
                either(multipath, t::PATH_RETIRE_CONNECTION_ID, t::RETIRE_CONNECTION_ID)
            }
            Self::PathChallenge(_) => t::PATH_CHALLENGE,
            Self::PathResponse(_) => t::PATH_RESPONSE,
            Self::ConnectionClose { frame_type, .. } => {
                either(frame_type.is_some(), t::CONNECTION_CLOSE, t::CONNECTION_CLOSE_APP)
            }
            Self::HandshakeDone => t::HANDSHAKE_DONE,
            Self::Datagram { .. } => t::DATAGRAM_LEN,
            Self::PathAbandon { .. } => t::PATH_ABANDON,
            Self::PathStatus { backup, .. } => {
                either(backup, t::PATH_STATUS_BACKUP, t::PATH_STATUS_AVAILABLE)
            }
            Self::MaxPathId(_) => t::MAX_PATH_ID,
            Self::PathsBlocked(_) => t::PATHS_BLOCKED,
            Self::PathCidsBlocked { .. } => t::PATH_CIDS_BLOCKED,
            Self::ObservedAddress { address, .. } => {
                either(address.is_ipv4(), t::OBSERVED_ADDRESS_V4, t::OBSERVED_ADDRESS_V6)
            }
            Self::AckFrequency(_) => t::ACK_FREQUENCY,
            Self::ImmediateAck => t::IMMEDIATE_ACK,
        }
    }

    /// RFC 9002 §2: all but ACK, PADDING and CONNECTION_CLOSE oblige the peer to acknowledge.
    #[must_use]
    pub const fn is_ack_eliciting(&self) -> bool {
        !matches!(self, Self::Padding(_) | Self::Ack(_) | Self::ConnectionClose { .. })
    }
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

/// draft-ietf-quic-ack-frequency §4: when the peer would like to be sent ACKs, as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckFrequency {
    pub seq: u64,
    /// Ack-eliciting packets that may arrive without an ACK.
    pub eliciting_threshold: u64,
    /// In microseconds.
    pub max_ack_delay: u64,
    /// How far a packet may come behind before it is reported at once; 0 for never.
    pub reordering_threshold: u64,
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

#[cfg(test)]
mod tests;
