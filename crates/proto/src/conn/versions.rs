//! Going on in another version of QUIC than the client began with (RFC 9368 §2.3, RFC 9369 §4): the server decides, the
//! client learns it from the server's first Initial packet. Whether anybody interfered, the transport parameters tell.

use super::Connection;
use super::packet::unprotect;
use crate::crypto::{DirectionKeys, LevelKeys};
use crate::error::Violation;
use crate::handshake::LevelId;
use crate::space::Space;
use mpquic_base::{PathId, Role};
use mpquic_wire::header::Long;
use mpquic_wire::{Code, TransportParameters};

/// The version of a client's first packets.
pub(super) struct Begun {
    pub(super) version: u32,
    /// A server that went on in another: for what the client sends before it knows.
    keys: Option<DirectionKeys>,
    /// A client knows that the version will not change any more.
    settled: bool,
}

impl Begun {
    pub(super) const fn new(version: u32) -> Self {
        Self { version, keys: None, settled: false }
    }

    /// RFC 9369 §4.1: the server has said something in CRYPTO frames, and it does so in the version that it chose.
    pub(super) const fn settle(&mut self) {
        self.settled = true;
    }

    /// The Initial keys are discarded.
    pub(super) fn forget_keys(&mut self) {
        self.keys = None;
    }
}

impl Connection {
    /// All handshake packets have this version from now on.
    pub(super) fn go_on_in(&mut self, version: u32, keys: LevelKeys) {
        if let Some(level) = self.handshake.level(LevelId::Initial) {
            let before = core::mem::replace(&mut level.keys, keys);
            // RFC 9369 §4.1: a server keeps them until the client shows that it knows.
            self.begun.keys = Some(before.peer).filter(|_| !self.role.is_client());
        }
        self.version = version;
        self.begun.settled = true;
    }

    /// Where packets of a level and version are counted, and what opens them.
    pub(super) fn opening(&mut self, level: LevelId, version: u32) -> Option<(&mut Space, &DirectionKeys)> {
        let changed = version != self.version;
        let level = self.handshake.level(level)?;
        let keys = if changed { self.begun.keys.as_ref()? } else { &level.keys.peer };
        Some((&mut level.space, keys))
    }

    /// Whether a long-header packet of this version is worth a closer look.
    pub(super) fn may_come_in(&self, level: LevelId, version: u32) -> bool {
        let late = level == LevelId::Initial && version == self.begun.version && self.begun.keys.is_some();
        version == self.version || late || self.may_go_on_in(version)
    }

    /// A client that has heard nothing yet that would settle the version, and offered this one.
    pub(super) fn may_go_on_in(&self, version: u32) -> bool {
        self.attempt.is_some()
            && !self.begun.settled
            && version != self.version
            && self.config.versions.contains(&version)
    }

    /// A client's: follows the server into the version of a genuine Initial packet.
    pub(super) fn follow_version(&mut self, long: &Long, packet: &[u8]) {
        let Some(attempt) = self.attempt.as_ref().filter(|_| self.may_go_on_in(long.version)) else { return };
        let dcid = self.retry_scid.unwrap_or(self.first_dcid);
        let keys = attempt.crypto.initial_keys(long.version, &dcid, Role::Client);
        let Some(level) = self.handshake.level(LevelId::Initial) else { return };
        let mut copy = packet.to_vec();
        let largest = level.space.acks.largest();
        let Some((_, pn, payload_at)) = unprotect(&*keys.peer.header, &mut copy, long.pn_offset, largest)
        else {
            return;
        };
        let (header, payload) = copy.split_at_mut(payload_at);
        let genuine = keys.peer.packet.open(PathId::ZERO, pn, header, payload).is_ok();
        if genuine && self.handshake.session.change_version(long.version) {
            self.go_on_in(long.version, keys);
        }
    }

    /// RFC 9368 §4: nobody between us may have talked either end out of a version.
    pub(super) fn authenticate_version(&self, parameters: &TransportParameters) -> Result<(), Violation> {
        let wrong = |why| Err(Violation::new(Code::VERSION_NEGOTIATION_ERROR, why));
        let negotiated = self.attempt.as_ref().is_some_and(|a| a.negotiated);
        let changed = self.role.is_client() && self.version != self.begun.version;
        let Some(info) = &parameters.version_information else {
            let unsigned = negotiated || changed;
            return if unsigned { wrong("a negotiated version that was not signed") } else { Ok(()) };
        };
        // A client signs what it began with, a server what it went on in.
        let seen = if self.role.is_client() { self.version } else { self.begun.version };
        if info.chosen != seen {
            return wrong("the version is not the one that was signed");
        }
        if !self.role.is_client() && !info.available.contains(&info.chosen) {
            return Err(Violation::new(
                Code::TRANSPORT_PARAMETER_ERROR,
                "a chosen version that is not available",
            ));
        }
        let best = self.config.versions.iter().find(|v| info.available.contains(v));
        if negotiated && best != Some(&self.begun.version) {
            return wrong("the server speaks a version that we would rather have spoken");
        }
        Ok(())
    }
}
