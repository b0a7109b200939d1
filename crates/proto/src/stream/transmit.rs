//! What goes out, and what became of it.
//!
//! A frame leaves its queue only when it was written. A token comes home as acked or lost, perhaps first the one and
//! then the other, perhaps for bytes that went out twice; each report is taken for what it still means.

use super::send::{Send, Wrote};
use super::{Sendable, Stream, StreamEvent, Streams};
use crate::frames::{Apart, Frames, Token};
use core::ops::Range;
use mpquic_base::{Dir, StreamId};
use mpquic_wire::Frame;

const DIRS: [Dir; 2] = [Dir::Bi, Dir::Uni];

impl Streams {
    pub(crate) fn sendable(&self) -> Sendable {
        let fresh = self.sums.fresh.min(self.shared.send.left()) + self.sums.bare_fins;
        Sendable { fresh, again: self.sums.again }
    }

    /// Whether `write_control` would write something into an empty packet.
    pub(crate) fn has_control(&self) -> bool {
        self.sums.control > 0
            || self.shared.receive.due()
            || self.data_blocked().is_some()
            || DIRS
                .iter()
                .any(|dir| self.theirs.get(*dir).window.due() || self.streams_blocked(*dir).is_some())
    }

    /// With nothing in flight: whether there are bytes to send that wait for credit, and the peer was told so.
    pub(crate) fn wants_credit(&self) -> bool {
        self.sums.held > 0 && self.sendable() == Sendable::default() && !self.has_control()
    }

    /// Says of everything that is blocked once more that it is.
    pub(crate) fn repeat_blocked(&mut self) {
        self.shared.send.report_lost();
        DIRS.iter().for_each(|dir| self.ours.get_mut(*dir).credit.report_lost());
        for id in self.table.keys().copied().collect::<Vec<_>>() {
            self.touch_send(id, |send, _, _| send.credit().report_lost());
        }
    }

    fn data_blocked(&self) -> Option<u64> {
        self.shared.send.blocked(self.sums.fresh > 0)
    }

    fn streams_blocked(&self, dir: Dir) -> Option<u64> {
        let ours = self.ours.get(dir);
        ours.credit.blocked(ours.refused || ours.withheld.is_some())
    }

    /// Writes every frame but STREAM, as far as they fit.
    pub(crate) fn write_control(&mut self, frames: &mut Frames<'_>) {
        if !self.write_connection_control(frames) {
            return;
        }
        while let Some(id) = self.queues.control.front().copied() {
            let written = self.touch(id, |stream, _| {
                let all = stream.write_control(id, frames);
                stream.listed.control = !all;
                all
            });
            if written == Some(false) {
                return;
            }
            // `touch` saw a stream that is listed no more and wants nothing: it did not queue it again.
            self.queues.control.pop_front();
        }
    }

    /// Frames that speak of no stream; false if one did not fit.
    fn write_connection_control(&mut self, frames: &mut Frames<'_>) -> bool {
        if self.shared.receive.due() {
            if !frames.push(&Frame::MaxData(self.shared.receive.offer()), Token::MaxData) {
                return false;
            }
            self.shared.receive.announced();
        }
        if let Some(limit) = self.data_blocked() {
            if !frames.push(&Frame::DataBlocked(limit), Token::DataBlocked) {
                return false;
            }
            self.shared.send.reported();
        }
        DIRS.iter().all(|dir| self.write_count_control(*dir, frames))
    }

    fn write_count_control(&mut self, dir: Dir, frames: &mut Frames<'_>) -> bool {
        let window = &mut self.theirs.get_mut(dir).window;
        if window.due() {
            if !frames.push(&Frame::MaxStreams { dir, max: window.offer() }, Token::MaxStreams(dir)) {
                return false;
            }
            window.announced();
        }
        if let Some(limit) = self.streams_blocked(dir) {
            if !frames.push(&Frame::StreamsBlocked { dir, limit }, Token::StreamsBlocked(dir)) {
                return false;
            }
            self.ours.get_mut(dir).credit.reported();
        }
        true
    }

    /// Fills the packet: first what was lost, then what was never sent.
    pub(crate) fn write_data(&mut self, frames: &mut Frames<'_>) {
        while frames.remaining() > 0
            && let Some(id) = self.queues.again.front()
        {
            let wrote = self.touch_send(id, |send, listed, shared| {
                let wrote = send.write_again(id, frames);
                shared.copied_out += wrote.bytes();
                listed.again = send.wants_again();
                (wrote, listed.again)
            });
            match wrote {
                Some((Wrote::Full, _)) => return,
                Some((Wrote::Bytes(n), true)) => self.queues.again.charge(n, self.send_hints.turn),
                _ => self.queues.again.pop(),
            }
        }
        // One stream's bytes are in the cache still, those of many have left it since they were written.
        let crowd = self.queues.fresh.is_crowd();
        while frames.remaining() > 0
            && self.shared.send.left() > 0
            && let Some(id) = self.queues.fresh.front()
        {
            let wrote = self.touch_send_sums(id, Send::unsent, |send, listed, shared| {
                let wrote = send.write_fresh(id, shared, frames);
                shared.copied_out += wrote.bytes();
                listed.fresh = send.fresh() > 0;
                if crowd {
                    send.expect_fresh();
                }
                (wrote, listed.fresh)
            });
            match wrote {
                Some((Wrote::Full, _)) => return,
                Some((Wrote::Bytes(n), true)) => self.queues.fresh.charge(n, self.send_hints.turn),
                _ => self.queues.fresh.pop(),
            }
        }
    }

    /// What [`Streams::write_data`] left where it is.
    pub(crate) fn fetch(&self, apart: Apart) -> &[u8] {
        let send = self.table.get(&apart.id).and_then(|stream| stream.send.as_ref());
        send.expect("what was just written is kept until it is acknowledged").bytes(apart.offset, apart.len)
    }

    pub(crate) fn acked(&mut self, token: Token) {
        match token {
            Token::Stream { id, offset, len, fin } => {
                self.data_acked(id, offset..offset + u64::from(len), fin);
            }
            Token::ResetStream(id) => self.reset_acked(id, None),
            Token::ResetStreamAt { id, reliable } => self.reset_acked(id, Some(reliable)),
            _ => {} // the value has arrived, and nothing waited for that
        }
    }

    /// Data of one or of several frames has arrived.
    pub(crate) fn data_acked(&mut self, id: StreamId, range: Range<u64>, fin: bool) {
        self.touch_send(id, |send, _, shared| {
            if send.acked(&mut shared.store, range, fin) {
                shared.events.push_back(StreamEvent::Finished(id));
            }
        });
    }

    fn reset_acked(&mut self, id: StreamId, reliable: Option<u64>) {
        self.touch_send(id, |send, _, shared| {
            if send.reset_acked(reliable) {
                shared.events.push_back(StreamEvent::Finished(id));
            }
        });
    }

    pub(crate) fn lost(&mut self, token: Token) {
        match token {
            Token::Stream { id, .. }
            | Token::ResetStream(id)
            | Token::ResetStreamAt { id, .. }
            | Token::StopSending(id)
            | Token::MaxStreamData(id)
            | Token::StreamDataBlocked(id) => {
                self.touch(id, |stream, _| stream.lost(token));
            }
            Token::MaxData => self.shared.receive.lost(),
            Token::MaxStreams(dir) => self.theirs.get_mut(dir).window.lost(),
            Token::DataBlocked => self.shared.send.report_lost(),
            Token::StreamsBlocked(dir) => self.ours.get_mut(dir).credit.report_lost(),
            _ => {} // not ours
        }
    }
}

impl Stream {
    fn lost(&mut self, token: Token) {
        match (token, &mut self.send, &mut self.recv) {
            (Token::Stream { offset, len, fin, .. }, Some(send), _) => {
                send.lost(offset..offset + u64::from(len), fin);
            }
            (Token::ResetStream(_), Some(send), _) => send.reset_lost(None),
            (Token::ResetStreamAt { reliable, .. }, Some(send), _) => send.reset_lost(Some(reliable)),
            (Token::StreamDataBlocked(_), Some(send), _) => send.credit().report_lost(),
            (Token::StopSending(_), _, Some(recv)) => recv.set_stop_due(true),
            (Token::MaxStreamData(_), _, Some(recv)) => {
                if let Some(window) = recv.window() {
                    window.lost();
                }
            }
            _ => {}
        }
    }

    /// Writes what this stream has to say besides its data; false if something did not fit.
    fn write_control(&mut self, id: StreamId, frames: &mut Frames<'_>) -> bool {
        if let Some(send) = &mut self.send {
            if let Some((code, final_size, reliable)) = send.reset_due() {
                let (frame, token) = match reliable {
                    None => (Frame::ResetStream { stream: id, code, final_size }, Token::ResetStream(id)),
                    Some(reliable) => (
                        Frame::ResetStreamAt { stream: id, code, final_size, reliable_size: reliable },
                        Token::ResetStreamAt { id, reliable },
                    ),
                };
                if !frames.push(&frame, token) {
                    return false;
                }
                send.reset_written();
            }
            if let Some(limit) = send.blocked() {
                let frame = Frame::StreamDataBlocked { stream: id, limit };
                if !frames.push(&frame, Token::StreamDataBlocked(id)) {
                    return false;
                }
                send.credit().reported();
            }
        }
        let Some(recv) = &mut self.recv else { return true };
        if let Some(code) = recv.stop_due() {
            if !frames.push(&Frame::StopSending { stream: id, code }, Token::StopSending(id)) {
                return false;
            }
            recv.set_stop_due(false);
        }
        if recv.credit_due()
            && let Some(window) = recv.window()
        {
            let frame = Frame::MaxStreamData { stream: id, max: window.offer() };
            if !frames.push(&frame, Token::MaxStreamData(id)) {
                return false;
            }
            window.announced();
        }
        true
    }
}
