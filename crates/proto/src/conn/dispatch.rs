//! Frames to the parts whose business they are: one arm, one line.

use super::Connection;
use super::receive::Opened;
use crate::close::CloseFrame;
use crate::error::Violation;
use crate::event::{CloseReason, Event, PathEvent};
use crate::handshake::{LevelId, Progress};
use crate::keys::OneRttKeys;
use crate::path_ids::Known;
use crate::stream::Absorbed;
use crate::tokens::TOKEN_MAX;
use mpquic_base::{PathId, Role, Time};
use mpquic_wire::frame::NewConnectionId;
use mpquic_wire::{Code, Frame, Reader};
use std::net::SocketAddr;

/// What a packet's frames amounted to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) eliciting: bool,
    /// Only frames that may probe a path (RFC 9000 §9.1).
    pub(super) probing: bool,
    /// A stream had no room: the packet must not be acknowledged.
    pub(super) refused: bool,
    /// The peer wants the ACK at once.
    pub(super) immediate: bool,
}

impl Connection {
    pub(super) fn dispatch(
        &mut self,
        now: Time,
        opened: &Opened<'_>,
        payload: &[u8],
    ) -> Result<Taken, Violation> {
        if payload.is_empty() {
            return Err(Violation::protocol("a packet without frames"));
        }
        let mut reader = Reader::new(payload);
        let mut taken = Taken { eliciting: false, probing: true, refused: false, immediate: false };
        while !reader.is_empty() {
            let before = reader.remaining();
            // Looked at where it was read to: a move would wait for stores that it does not match in size.
            let read = Frame::read(&mut reader);
            let frame = read.as_ref().map_err(|e| Violation::new(e.code, e.why))?;
            if !is_allowed(frame, opened.level) || (opened.early && !is_allowed_early(frame)) {
                return Err(Violation::protocol("a frame that this packet type may not carry"));
            }
            taken.eliciting |= frame.is_ack_eliciting();
            taken.probing &= is_probing(frame);
            taken.immediate |= matches!(frame, Frame::ImmediateAck);
            if let Frame::ConnectionClose { code, frame_type, reason } = *frame {
                self.on_connection_close(now, code, frame_type, reason);
                return Ok(taken);
            }
            if self.close.is_open() {
                taken.refused |= self.on_frame(now, opened, frame, before - reader.remaining())?;
            }
        }
        Ok(taken)
    }

    /// True if the frame was refused for want of room.
    fn on_frame(
        &mut self,
        now: Time,
        opened: &Opened<'_>,
        frame: &Frame<'_>,
        frame_len: usize,
    ) -> Result<bool, Violation> {
        match *frame {
            Frame::Padding(_) | Frame::Ping | Frame::ConnectionClose { .. } => {}
            Frame::Ack(ref ack) => self.on_ack(now, opened, ack)?,
            Frame::Crypto { offset, data } => self.on_crypto(now, opened.level, offset, data)?,
            Frame::Stream { stream, offset, data, fin } => {
                return Ok(self.streams.on_stream(stream, offset, data, fin)? == Absorbed::NoRoom);
            }
            Frame::ResetStream { stream, code, final_size } => {
                self.streams.on_reset_stream(stream, code, final_size)?;
            }
            Frame::ResetStreamAt { stream, code, final_size, reliable_size } => {
                self.streams.on_reset_stream_at(stream, code, final_size, reliable_size)?;
            }
            Frame::StopSending { stream, code } => self.streams.on_stop_sending(stream, code)?,
            Frame::MaxData(max) => {
                self.asked_for_credit = 0;
                self.streams.on_max_data(max)?;
            }
            Frame::MaxStreamData { stream, max } => {
                self.asked_for_credit = 0;
                self.streams.on_max_stream_data(stream, max)?;
            }
            Frame::MaxStreams { dir, max } => self.streams.on_max_streams(dir, max)?,
            Frame::DataBlocked(limit) => self.streams.on_data_blocked(limit)?,
            Frame::StreamDataBlocked { stream, limit } => {
                self.streams.on_stream_data_blocked(stream, limit)?;
            }
            Frame::StreamsBlocked { dir, limit } => self.streams.on_streams_blocked(dir, limit)?,
            Frame::Datagram { data } => {
                if self.datagrams.on_datagram(data, frame_len)? {
                    self.push_event(Event::DatagramReadable);
                }
            }
            Frame::NewToken { token } => self.on_new_token(token)?,
            Frame::HandshakeDone => self.on_handshake_done()?,
            Frame::NewConnectionId(ref new) => self.on_new_cid(new)?,
            Frame::RetireConnectionId { path, multipath, seq } => {
                self.on_retire_cid(opened, path, multipath, seq)?;
            }
            Frame::PathChallenge(data) => self.on_path_challenge(now, opened.arrival, data),
            Frame::PathResponse(data) => self.on_path_response(data),
            Frame::PathAbandon { path, code } => self.on_path_abandon(now, path, Code(code))?,
            Frame::PathStatus { path, seq, backup } => self.on_path_status(path, seq, backup)?,
            Frame::MaxPathId(max) => self.on_max_path_id(max)?,
            Frame::PathsBlocked(max) => self.path_ids.on_paths_blocked(max)?,
            Frame::ObservedAddress { seq, address } => self.on_observed_address(opened, seq, address)?,
            Frame::PathCidsBlocked { path, next_seq } => self.on_path_cids_blocked(path, next_seq)?,
            Frame::AckFrequency(ref wish) => {
                self.ack_orders.on_ack_frequency(wish, self.config.max_ack_delay)?;
            }
            Frame::ImmediateAck => self.ack_orders.check_announced()?,
        }
        Ok(false)
    }

    fn client_only(&self, why: &'static str) -> Result<(), Violation> {
        if self.role.is_client() { Ok(()) } else { Err(Violation::protocol(why)) }
    }

    fn on_new_token(&mut self, token: &[u8]) -> Result<(), Violation> {
        self.client_only("a token from a client")?;
        self.tokens_received += 1;
        if self.tokens_received <= TOKENS_RECEIVED_MAX && token.len() <= TOKEN_MAX {
            self.push_event(Event::TokenReceived(token.to_vec()));
        }
        Ok(())
    }

    fn on_observed_address(
        &mut self,
        opened: &Opened<'_>,
        seq: u64,
        address: SocketAddr,
    ) -> Result<(), Violation> {
        // draft-ietf-quic-address-discovery-00 §3: only for those who asked.
        if !self.role.is_client() || !self.config.address_discovery {
            return Err(Violation::protocol("an address that nobody asked for"));
        }
        let path = opened.arrival.path;
        if let Some(slot) = self.slot(path)
            && self.paths[slot].observed.on_observed(seq, address)
        {
            self.push_event(Event::Path(PathEvent::Observed { path, address }));
        }
        Ok(())
    }

    fn on_crypto(&mut self, now: Time, level: LevelId, offset: u64, data: &[u8]) -> Result<(), Violation> {
        self.begun.settle();
        let mut progress = self.handshake.on_crypto(level, offset, data, &mut self.rng)?;
        if let Some((version, keys)) = progress.change.take() {
            self.go_on_in(version, keys);
        }
        self.accept_early();
        self.learn_parameters()?;
        self.on_progress(now, progress)
    }

    fn on_progress(&mut self, now: Time, progress: Progress) -> Result<(), Violation> {
        if let Some((keys, next)) = progress.one_rtt {
            self.keys = Some(OneRttKeys::new(keys, next));
        }
        if progress.completed {
            if self.peer.is_none() {
                // RFC 9001 §8.2: without transport parameters there is no QUIC connection.
                return Err(Violation::new(Code::from_alert(109), "no transport parameters"));
            }
            self.push_event(Event::Connected);
            self.settle_early(now)?;
            // Nobody will ask to begin again.
            self.attempt = None;
            if self.role == Role::Server {
                if let Some(path) = self.paths.first().filter(|p| p.is_usable()) {
                    self.grants.on_validated(path.tuple.peer.ip());
                }
                self.handshake.confirm_as_server();
                self.discard_level(LevelId::Handshake);
            }
            self.issue_cids();
            self.handshake.session.shed();
        }
        Ok(())
    }

    fn on_handshake_done(&mut self) -> Result<(), Violation> {
        self.client_only("HANDSHAKE_DONE from a client")?;
        self.handshake.on_handshake_done();
        // RFC 9001 §4.9.2: keys of the handshake end with its confirmation.
        self.discard_level(LevelId::Initial);
        self.discard_level(LevelId::Handshake);
        Ok(())
    }

    /// RFC 9000 §10.2.2.
    fn on_connection_close(&mut self, now: Time, code: u64, frame_type: Option<u64>, reason: &[u8]) {
        let reason = reason.to_vec();
        self.drain(
            now,
            match frame_type {
                Some(_) => CloseReason::PeerTransport { code: Code(code), reason },
                None => CloseReason::PeerApplication { code, reason },
            },
        );
    }

    fn on_new_cid(&mut self, new: &NewConnectionId) -> Result<(), Violation> {
        if new.multipath {
            self.path_ids.require_negotiated()?;
        }
        // Our own announcement counts: the peer's IDs for an id may overtake its MAX_PATH_ID.
        if self.path_ids.check(new.path)? == Known::Abandoned {
            return Ok(());
        }
        let had = self.cids.has_peer(new.path);
        self.cids.on_new_cid(new)?;
        if !had && !self.path_ids.is_consumed(new.path) && self.role.is_client() {
            self.push_event(Event::Path(PathEvent::Available));
        }
        Ok(())
    }

    fn on_retire_cid(
        &mut self,
        opened: &Opened<'_>,
        path: PathId,
        multipath: bool,
        seq: u64,
    ) -> Result<(), Violation> {
        if multipath {
            self.path_ids.require_negotiated()?;
        }
        if self.path_ids.check(path)? == Known::Abandoned {
            return Ok(());
        }
        let carried_by = opened.arrival.cid_seq.filter(|_| opened.arrival.path == path);
        self.cids.on_retire_cid(path, seq, carried_by, &mut self.rng)
    }

    fn on_path_cids_blocked(&mut self, path: PathId, next_seq: u64) -> Result<(), Violation> {
        self.path_ids.require_negotiated()?;
        if self.path_ids.check(path)? == Known::Open && next_seq > self.cids.next_local_seq(path) {
            return Err(Violation::protocol("blocked on a connection ID that was never issued"));
        }
        Ok(())
    }

    /// Closes with an application code, as the peer's application will see it.
    pub fn close(&mut self, now: Time, code: u64, reason: &[u8]) {
        let reason = reason[..reason.len().min(CLOSE_REASON_MAX)].to_vec();
        self.begin_close(now, CloseFrame::Application { code, reason });
    }
}

/// Tokens that a server may hand out on one connection; further ones are of no use to anybody.
const TOKENS_RECEIVED_MAX: u32 = 64;
/// Bytes of an application's reason that are sent.
const CLOSE_REASON_MAX: usize = 256;

/// RFC 9000 §12.4, table 3: Initial and Handshake packets carry only these.
const fn is_allowed(frame: &Frame<'_>, level: LevelId) -> bool {
    match level {
        LevelId::App => true,
        LevelId::Initial | LevelId::Handshake => match frame {
            Frame::Padding(_) | Frame::Ping | Frame::Crypto { .. } => true,
            Frame::Ack(ack) => !ack.multipath,
            Frame::ConnectionClose { frame_type, .. } => frame_type.is_some(),
            _ => false,
        },
    }
}

/// RFC 9000 §12.4, §12.5 and RFC 9001 §4.6: what answers to something, or belongs to the handshake, comes later.
const fn is_allowed_early(frame: &Frame<'_>) -> bool {
    matches!(
        frame,
        Frame::Padding(_)
            | Frame::Ping
            | Frame::Stream { .. }
            | Frame::ResetStream { .. }
            | Frame::ResetStreamAt { .. }
            | Frame::StopSending { .. }
            | Frame::MaxData(_)
            | Frame::MaxStreamData { .. }
            | Frame::MaxStreams { .. }
            | Frame::DataBlocked(_)
            | Frame::StreamDataBlocked { .. }
            | Frame::StreamsBlocked { .. }
            | Frame::Datagram { .. }
            | Frame::PathChallenge(_)
            | Frame::NewConnectionId(NewConnectionId { multipath: false, .. })
            | Frame::ConnectionClose { .. }
    )
}

/// RFC 9000 §9.1.
const fn is_probing(frame: &Frame<'_>) -> bool {
    matches!(
        frame,
        Frame::Padding(_)
            | Frame::PathChallenge(_)
            | Frame::PathResponse(_)
            | Frame::ObservedAddress { .. }
            | Frame::NewConnectionId(NewConnectionId { multipath: false, .. })
    )
}
