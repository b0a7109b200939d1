//! Writing frames into one packet, and the tokens that remember them.
//!
//! A part writes a frame only if it fits and only then takes it out of its queue; the token left behind comes home
//! as `acked` or `lost`. Nothing here knows which part made a frame.

use mpquic_base::{Dir, PathId, StreamId};
use mpquic_wire::{Frame, Writer, frame::StreamHeader};

/// What one frame in a sent packet was, for the part that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// Bytes `offset..offset + len` of a stream, and whether they end it.
    Stream {
        id: StreamId,
        offset: u64,
        len: u16,
        fin: bool,
    },
    Crypto {
        offset: u64,
        len: u16,
    },
    /// An ACK of `path` that reported everything up to `largest`.
    Ack {
        path: PathId,
        largest: u64,
    },
    ResetStream(StreamId),
    ResetStreamAt {
        id: StreamId,
        reliable: u64,
    },
    StopSending(StreamId),
    MaxData,
    MaxStreamData(StreamId),
    MaxStreams(Dir),
    DataBlocked,
    StreamDataBlocked(StreamId),
    StreamsBlocked(Dir),
    NewCid {
        path: PathId,
        seq: u64,
    },
    RetireCid {
        path: PathId,
        seq: u64,
    },
    HandshakeDone,
    Grant,
    PathAbandon(PathId),
    PathStatus {
        path: PathId,
        seq: u64,
    },
    MaxPathId,
    PathsBlocked,
    PathCidsBlocked(PathId),
    ObservedAddress {
        path: PathId,
        seq: u64,
    },
    AckFrequency(u64),
    /// Not sent again, but somebody wants to know.
    Datagram {
        len: u16,
    },
    /// A path MTU probe of this UDP payload size.
    MtuProbe(u16),
}

impl Token {
    /// Bytes of stream `stream` from `at` on.
    pub(crate) fn continues(&self, stream: StreamId, at: u64) -> bool {
        matches!(self, Self::Stream { id, offset, .. } if *id == stream && *offset == at)
    }
}

/// Bytes of a stream that a packet ends with, and that whoever seals it fetches from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Apart {
    pub(crate) id: StreamId,
    pub(crate) offset: u64,
    pub(crate) len: usize,
}

/// A cursor into the payload of one packet, with the exact capacity that is left.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    out: Writer<'a>,
    tokens: &'a mut Vec<Token>,
    ack_eliciting: bool,
    /// The end may stay where it is.
    fetches: bool,
    apart: Option<Apart>,
}

impl<'a> Frames<'a> {
    /// `payload` is exactly as long as the frames may get.
    pub(crate) fn new(payload: &'a mut [u8], tokens: &'a mut Vec<Token>) -> Self {
        Self { out: Writer::new(payload), tokens, ack_eliciting: false, fetches: false, apart: None }
    }

    /// For somebody who asks for [`Frames::apart`] in the end.
    pub(crate) const fn fetching(mut self) -> Self {
        self.fetches = true;
        self
    }

    /// What is missing at the end of a full packet.
    pub(crate) const fn apart(&self) -> Option<Apart> {
        self.apart
    }

    pub(crate) fn remaining(&self) -> usize {
        self.out.remaining()
    }

    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    pub(crate) const fn ack_eliciting(&self) -> bool {
        self.ack_eliciting
    }

    /// Writes an ack-eliciting frame and leaves `token`; false, with nothing changed, if it does not fit.
    #[must_use]
    pub(crate) fn push(&mut self, frame: &Frame<'_>, token: Token) -> bool {
        let fits = self.push_untracked(frame);
        if fits {
            self.tokens.push(token);
        }
        fits
    }

    /// Like [`Frames::push`] for an ack-eliciting frame whose fate nobody asks for.
    #[must_use]
    pub(crate) fn push_untracked(&mut self, frame: &Frame<'_>) -> bool {
        if frame.len() > self.out.remaining() {
            return false;
        }
        frame.write(&mut self.out);
        self.ack_eliciting |=
            !matches!(frame, Frame::Padding(_) | Frame::ConnectionClose { .. } | Frame::Ack(_));
        true
    }

    /// For frames that are written piecewise (ACK): the closure writes into what is left and says what it wrote.
    pub(crate) fn push_with<R>(&mut self, write: impl FnOnce(&mut Writer<'a>) -> R) -> R {
        write(&mut self.out)
    }

    /// Remembers a frame that [`Frames::push_with`] wrote.
    pub(crate) fn leave(&mut self, token: Token) {
        self.tokens.push(token);
    }

    /// Writes as much of `offset..offset + available` as fits, copied in place by `fill`, and leaves its token.
    ///
    /// `fill` says how many bytes it left out at the end, which it may if it is told so.
    /// `fin` says that the stream ends at `offset + available`; it is set on the frame that reaches that end.
    /// Returns how many bytes went out and whether the FIN did; `None` if no useful frame fits.
    #[must_use]
    pub(crate) fn stream(
        &mut self,
        id: StreamId,
        offset: u64,
        available: u64,
        fin: bool,
        fill: impl FnOnce(&mut [u8], bool) -> usize,
    ) -> Option<(u16, bool)> {
        let open_ended = StreamHeader { stream: id, offset, len: None, fin: false };
        let room = self.out.remaining().checked_sub(open_ended.len())?;
        let wanted = usize::try_from(available).unwrap_or(usize::MAX);
        // A frame that runs to the end of the packet needs no length; a shorter one does, and takes it from its data.
        let (len, explicit) = if wanted >= room {
            (room, false)
        } else {
            let with_len = StreamHeader { len: Some(wanted), ..open_ended };
            (wanted.min(self.out.remaining().checked_sub(with_len.len())?), true)
        };
        let fin = fin && len as u64 == available;
        if len == 0 && !fin {
            return None;
        }
        StreamHeader { len: explicit.then_some(len), fin, ..open_ended }.write(&mut self.out);
        let left = fill(self.out.space(len), self.fetches && !explicit);
        if left > 0 {
            self.apart = Some(Apart { id, offset: offset + (len - left) as u64, len: left });
        }
        self.ack_eliciting = true;
        let len = u16::try_from(len).expect("a UDP payload is below 64 KiB");
        self.tokens.push(Token::Stream { id, offset, len, fin });
        Some((len, fin))
    }
}
