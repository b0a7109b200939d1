//! What the peer's frames do to the table (RFC 9000 §19.4, §19.5, §19.8 to §19.14).

use super::recv::Look;
use super::{Absorbed, STREAMS_MAX, StreamEvent, StreamLimits, Streams, stream_limit};
use crate::error::Violation;
use mpquic_base::{Dir, StreamId};
use mpquic_wire::Code;

/// Which half of our stream a frame speaks to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Send,
    Recv,
}

impl Streams {
    /// The peer's transport parameters. Streams that were opened and written before get their credit now.
    pub(crate) fn on_peer_limits(&mut self, limits: &StreamLimits) {
        self.peer = Some(*limits);
        self.shared.send.raise(limits.max_data);
        for (dir, max) in [(Dir::Bi, limits.max_streams_bidi), (Dir::Uni, limits.max_streams_uni)] {
            self.raise_streams(dir, max.min(STREAMS_MAX));
            for index in 0..self.ours.get(dir).credit.used() {
                self.raise_stream(StreamId::new(self.role, dir, index), stream_limit(limits, false, dir));
            }
        }
        for index in 0..self.theirs.bi.opened {
            let id = StreamId::new(self.role.peer(), Dir::Bi, index);
            self.raise_stream(id, stream_limit(limits, true, Dir::Bi));
        }
    }

    fn raise_stream(&mut self, id: StreamId, limit: u64) {
        self.touch(id, |stream, _| {
            if let Some(send) = &mut stream.send {
                send.raise(limit);
            }
        });
    }

    fn raise_streams(&mut self, dir: Dir, max: u64) {
        let ours = self.ours.get_mut(dir);
        if ours.credit.raise(max) && ours.refused && ours.credit.left() > 0 {
            ours.refused = false;
            if !ours.available_pending {
                ours.available_pending = true;
                self.shared.events.push_back(StreamEvent::Available(dir));
            }
        }
        self.release(dir);
    }

    /// Checks that the peer may speak of this half of the stream, and opens the stream if the frame does so.
    fn admit(&mut self, id: StreamId, half: Half) -> Result<(), Violation> {
        let state = |why| Err(Violation::new(Code::STREAM_STATE_ERROR, why));
        let local = id.opener() == self.role;
        if id.dir() == Dir::Uni && local != (half == Half::Send) {
            return state(match half {
                Half::Recv => "a frame for the receiver of a send-only stream",
                Half::Send => "a frame for the sender of a receive-only stream",
            });
        }
        if local {
            if id.index() >= self.ours.get(id.dir()).credit.used() {
                return state("a frame for a stream that we have not opened");
            }
            return Ok(());
        }
        let theirs = self.theirs.get_mut(id.dir());
        if id.index() < theirs.opened {
            return Ok(());
        }
        if id.index() >= theirs.window.granted() {
            return Err(Violation::new(Code::STREAM_LIMIT_ERROR, "more streams than MAX_STREAMS"));
        }
        // RFC 9000 §3.2: a stream opens all lower ones of its type.
        let opened = core::mem::replace(&mut theirs.opened, id.index() + 1);
        if !theirs.opened_pending {
            theirs.opened_pending = true;
            self.shared.events.push_back(StreamEvent::Opened(id.dir()));
        }
        for index in opened..=id.index() {
            self.insert(StreamId::new(id.opener(), id.dir(), index));
        }
        Ok(())
    }

    pub(crate) fn on_stream(
        &mut self,
        id: StreamId,
        offset: u64,
        data: &[u8],
        fin: bool,
    ) -> Result<Absorbed, Violation> {
        self.admit(id, Half::Recv)?;
        let absorbed = self.touch_recv(id, |recv, news, shared| {
            let before = recv.horizon();
            let absorbed = recv.on_data(shared, offset, data, fin)?;
            if recv.horizon() != before {
                news.tell_readable(&mut shared.events);
            }
            Ok(absorbed)
        });
        absorbed.unwrap_or(Ok(Absorbed::Yes)) // late news of a stream that is over
    }

    pub(crate) fn on_reset_stream(
        &mut self,
        id: StreamId,
        code: u64,
        final_size: u64,
    ) -> Result<(), Violation> {
        self.admit(id, Half::Recv)?;
        let known = self.touch(id, |stream, shared| {
            let Some(recv) = &mut stream.recv else { return Ok(()) };
            if recv.on_reset(shared, code, final_size)? && stream.known {
                shared.events.push_back(StreamEvent::Reset(id, code));
            }
            Ok(())
        });
        known.unwrap_or(Ok(()))
    }

    pub(crate) fn on_reset_stream_at(
        &mut self,
        id: StreamId,
        code: u64,
        final_size: u64,
        reliable_size: u64,
    ) -> Result<(), Violation> {
        self.admit(id, Half::Recv)?;
        let known = self.touch_recv(id, |recv, news, shared| {
            if !recv.on_reset_at(shared, code, final_size, reliable_size)? || !news.known {
                return Ok(());
            }
            match recv.look() {
                Look::Reset(code) => shared.events.push_back(StreamEvent::Reset(id, code)),
                Look::Bytes(_) => news.tell_readable(&mut shared.events),
                Look::Blocked | Look::End | Look::Stopped => {}
            }
            Ok(())
        });
        known.unwrap_or(Ok(()))
    }

    pub(crate) fn on_stop_sending(&mut self, id: StreamId, code: u64) -> Result<(), Violation> {
        self.admit(id, Half::Send)?;
        self.touch(id, |stream, shared| {
            if let Some(send) = &mut stream.send
                && send.on_stop(&mut shared.store, code)
                && stream.known
            {
                shared.events.push_back(StreamEvent::Stopped(id, code));
            }
        });
        Ok(())
    }

    pub(crate) fn on_max_data(&mut self, max: u64) -> Result<(), Violation> {
        self.shared.send.raise(max);
        Ok(())
    }

    pub(crate) fn on_max_stream_data(&mut self, id: StreamId, max: u64) -> Result<(), Violation> {
        self.admit(id, Half::Send)?;
        self.raise_stream(id, max);
        Ok(())
    }

    pub(crate) fn on_max_streams(&mut self, dir: Dir, max: u64) -> Result<(), Violation> {
        check_count(max)?;
        self.raise_streams(dir, max);
        Ok(())
    }

    /// Credit is offered early; a peer that is blocked learns nothing new by asking.
    pub(crate) fn on_data_blocked(&mut self, _limit: u64) -> Result<(), Violation> {
        Ok(())
    }

    pub(crate) fn on_stream_data_blocked(&mut self, id: StreamId, _limit: u64) -> Result<(), Violation> {
        self.admit(id, Half::Recv)
    }

    pub(crate) fn on_streams_blocked(&mut self, _dir: Dir, limit: u64) -> Result<(), Violation> {
        check_count(limit)
    }
}

/// RFC 9000 §19.11 and §19.14: a count that no stream id could express is malformed.
fn check_count(count: u64) -> Result<(), Violation> {
    if count > STREAMS_MAX {
        return Err(Violation::new(Code::FRAME_ENCODING_ERROR, "a stream count above 2^60"));
    }
    Ok(())
}
