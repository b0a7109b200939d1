//! Bytes to frames. Accepts exactly what the specifications allow in any state; whether this peer may send the frame
//! now, here and with these numbers is the machine's question.

use super::{Ack, AckFrequency, Frame, NewConnectionId, types as t};
use crate::{
    cursor::{Malformed, Reader, VARINT_MAX, varint_len},
    error::Code,
};
use mpquic_base::{Dir, PathId, StreamId};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// RFC 9000 §4.6: a stream count above this could not be numbered.
const MAX_STREAM_COUNT: u64 = 1 << 60;

/// Why a packet's payload cannot be read; ready to become a CONNECTION_CLOSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameError {
    pub code: Code,
    /// The type of the offending frame, 0 if it could not be read.
    pub frame_type: u64,
    pub why: &'static str,
}

impl core::fmt::Display for FrameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} in frame {:#x}: {}", self.code, self.frame_type, self.why)
    }
}

impl core::error::Error for FrameError {}

impl<'a> Frame<'a> {
    /// Reads one frame. After an error the rest of the packet is unreadable.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, FrameError> {
        let before = reader.remaining();
        let frame_type = reader.varint().map_err(|Malformed| FrameError {
            code: Code::FRAME_ENCODING_ERROR,
            frame_type: 0,
            why: "truncated frame type",
        })?;
        // RFC 9000 §12.4: only the shortest encoding of a type is allowed, and PROTOCOL_VIOLATION names the breach.
        let fault = if before - reader.remaining() == varint_len(frame_type) {
            // Most frames by far are of these: they are put together where they are wanted.
            let body = match frame_type {
                t::STREAM..0x10 => read_stream(frame_type, reader),
                _ => Self::read_body(frame_type, reader),
            };
            match body {
                Ok(frame) => return Ok(frame),
                Err(fault) => fault,
            }
        } else {
            Fault { code: Code::PROTOCOL_VIOLATION, why: "frame type is not in its shortest form" }
        };
        Err(FrameError { code: fault.code, frame_type, why: fault.why })
    }

    fn read_body(frame_type: u64, r: &mut Reader<'a>) -> Result<Self, Fault> {
        Ok(match frame_type {
            t::PADDING => Frame::Padding(1 + r.zeros()),
            t::PING => Frame::Ping,
            t::ACK | t::ACK_ECN => {
                Frame::Ack(Ack::read_body(r, PathId::ZERO, false, frame_type == t::ACK_ECN)?)
            }
            t::CRYPTO => {
                let offset = r.varint()?;
                Frame::Crypto { offset, data: within_limit(offset, prefixed(r)?)? }
            }
            t::NEW_TOKEN => match prefixed(r)? {
                [] => return Err("empty token".into()),
                token => Frame::NewToken { token },
            },
            t::RESET_STREAM..=t::STOP_SENDING | 0x10..=t::STREAMS_BLOCKED_UNI => {
                read_stream_control(frame_type, r)?
            }
            t::NEW_CONNECTION_ID => Frame::NewConnectionId(read_new_cid(r, PathId::ZERO, false)?),
            t::RETIRE_CONNECTION_ID => {
                Frame::RetireConnectionId { path: PathId::ZERO, multipath: false, seq: r.varint()? }
            }
            t::PATH_CHALLENGE => Frame::PathChallenge(r.array()?),
            t::PATH_RESPONSE => Frame::PathResponse(r.array()?),
            t::CONNECTION_CLOSE | t::CONNECTION_CLOSE_APP => Frame::ConnectionClose {
                code: r.varint()?,
                frame_type: if frame_type == t::CONNECTION_CLOSE { Some(r.varint()?) } else { None },
                reason: prefixed(r)?,
            },
            t::HANDSHAKE_DONE => Frame::HandshakeDone,
            t::IMMEDIATE_ACK => Frame::ImmediateAck,
            t::DATAGRAM => Frame::Datagram { data: r.rest() },
            t::DATAGRAM_LEN => Frame::Datagram { data: prefixed(r)? },
            _ => return read_multipath(frame_type, r),
        })
    }
}

/// A [`FrameError`] that does not know its frame yet.
struct Fault {
    code: Code,
    why: &'static str,
}

impl From<&'static str> for Fault {
    fn from(why: &'static str) -> Self {
        Self { code: Code::FRAME_ENCODING_ERROR, why }
    }
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Self {
        "truncated".into()
    }
}

/// The frames of draft-ietf-quic-multipath-21 §4 and other extensions; all others are unknown.
fn read_multipath<'a>(frame_type: u64, r: &mut Reader<'a>) -> Result<Frame<'a>, Fault> {
    Ok(match frame_type {
        t::PATH_ACK | t::PATH_ACK_ECN => {
            let path = path_id(r)?;
            Frame::Ack(Ack::read_body(r, path, true, frame_type == t::PATH_ACK_ECN)?)
        }
        t::PATH_ABANDON => Frame::PathAbandon { path: path_id(r)?, code: r.varint()? },
        t::PATH_STATUS_BACKUP | t::PATH_STATUS_AVAILABLE => Frame::PathStatus {
            path: path_id(r)?,
            seq: r.varint()?,
            backup: frame_type == t::PATH_STATUS_BACKUP,
        },
        t::PATH_NEW_CONNECTION_ID => {
            let path = path_id(r)?;
            Frame::NewConnectionId(read_new_cid(r, path, true)?)
        }
        t::PATH_RETIRE_CONNECTION_ID => {
            Frame::RetireConnectionId { path: path_id(r)?, multipath: true, seq: r.varint()? }
        }
        // draft-ietf-quic-multipath-21 §4.6: an impossible limit is PROTOCOL_VIOLATION, not an encoding error.
        t::MAX_PATH_ID => match u32::try_from(r.varint()?) {
            Ok(max) => Frame::MaxPathId(PathId(max)),
            Err(_) => {
                let why = "maximum path identifier above 2^32-1";
                return Err(Fault { code: Code::PROTOCOL_VIOLATION, why });
            }
        },
        t::PATHS_BLOCKED => Frame::PathsBlocked(path_id(r)?),
        t::OBSERVED_ADDRESS_V4 => {
            let (seq, ip) = (r.varint()?, Ipv4Addr::from(r.array::<4>()?));
            Frame::ObservedAddress { seq, address: SocketAddr::from((ip, r.u16()?)) }
        }
        t::OBSERVED_ADDRESS_V6 => {
            let (seq, ip) = (r.varint()?, Ipv6Addr::from(r.array::<16>()?));
            Frame::ObservedAddress { seq, address: SocketAddr::from((ip, r.u16()?)) }
        }
        t::PATH_CIDS_BLOCKED => Frame::PathCidsBlocked { path: path_id(r)?, next_seq: r.varint()? },
        t::RESET_STREAM_AT => read_reset_at(r)?,
        t::ACK_FREQUENCY => Frame::AckFrequency(AckFrequency {
            seq: r.varint()?,
            eliciting_threshold: r.varint()?,
            max_ack_delay: r.varint()?,
            reordering_threshold: r.varint()?,
        }),
        _ => return Err("unknown frame type".into()),
    })
}

#[inline(always)]
fn read_stream<'a>(frame_type: u64, r: &mut Reader<'a>) -> Result<Frame<'a>, Fault> {
    let stream = StreamId(r.varint()?);
    let offset = if frame_type & t::STREAM_OFF == 0 { 0 } else { r.varint()? };
    let data = if frame_type & t::STREAM_LEN == 0 { r.rest() } else { prefixed(r)? };
    let fin = frame_type & t::STREAM_FIN != 0;
    Ok(Frame::Stream { stream, offset, data: within_limit(offset, data)?, fin })
}

/// Everything about streams and flow control that carries no data.
fn read_stream_control<'a>(frame_type: u64, r: &mut Reader<'a>) -> Result<Frame<'a>, Fault> {
    Ok(match frame_type {
        t::RESET_STREAM => {
            Frame::ResetStream { stream: StreamId(r.varint()?), code: r.varint()?, final_size: r.varint()? }
        }
        t::STOP_SENDING => Frame::StopSending { stream: StreamId(r.varint()?), code: r.varint()? },
        t::MAX_DATA => Frame::MaxData(r.varint()?),
        t::MAX_STREAM_DATA => Frame::MaxStreamData { stream: StreamId(r.varint()?), max: r.varint()? },
        t::MAX_STREAMS_BI => Frame::MaxStreams { dir: Dir::Bi, max: stream_count(r)? },
        t::MAX_STREAMS_UNI => Frame::MaxStreams { dir: Dir::Uni, max: stream_count(r)? },
        t::DATA_BLOCKED => Frame::DataBlocked(r.varint()?),
        t::STREAM_DATA_BLOCKED => {
            Frame::StreamDataBlocked { stream: StreamId(r.varint()?), limit: r.varint()? }
        }
        t::STREAMS_BLOCKED_BI => Frame::StreamsBlocked { dir: Dir::Bi, limit: stream_count(r)? },
        t::STREAMS_BLOCKED_UNI => Frame::StreamsBlocked { dir: Dir::Uni, limit: stream_count(r)? },
        _ => return Err("unknown frame type".into()),
    })
}

fn read_reset_at<'a>(r: &mut Reader<'a>) -> Result<Frame<'a>, Fault> {
    let (stream, code) = (StreamId(r.varint()?), r.varint()?);
    let (final_size, reliable_size) = (r.varint()?, r.varint()?);
    // draft-ietf-quic-reliable-stream-reset-10 §4.
    if reliable_size > final_size {
        return Err("more bytes are reliable than the stream has".into());
    }
    Ok(Frame::ResetStreamAt { stream, code, final_size, reliable_size })
}

fn read_new_cid(r: &mut Reader<'_>, path: PathId, multipath: bool) -> Result<NewConnectionId, Fault> {
    let (seq, retire_prior_to) = (r.varint()?, r.varint()?);
    if retire_prior_to > seq {
        return Err("retires itself".into());
    }
    let cid = match r.as_slice().first() {
        Some(1..=20) => r.cid()?,
        Some(_) => return Err("connection ID length outside 1..=20".into()),
        None => return Err(Malformed.into()),
    };
    Ok(NewConnectionId { path, multipath, seq, retire_prior_to, cid, reset_token: r.array()? })
}

fn prefixed<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let len = r.length()?;
    r.bytes(len)
}

/// RFC 9000 §19.6, §19.8: no byte of a stream lies beyond 2^62-1.
fn within_limit(offset: u64, data: &[u8]) -> Result<&[u8], &'static str> {
    if data.len() as u64 <= VARINT_MAX - offset { Ok(data) } else { Err("data ends beyond 2^62-1") }
}

fn stream_count(r: &mut Reader<'_>) -> Result<u64, Fault> {
    let count = r.varint()?;
    if count <= MAX_STREAM_COUNT { Ok(count) } else { Err("stream count above 2^60".into()) }
}

fn path_id(r: &mut Reader<'_>) -> Result<PathId, Fault> {
    u32::try_from(r.varint()?).map(PathId).map_err(|_| "path identifier above 2^32-1".into())
}
