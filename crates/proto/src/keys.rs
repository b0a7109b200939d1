//! The 1-RTT keys of a connection: all paths share them (RFC 9001 §6, draft-ietf-quic-multipath-21 §2.4).

use crate::crypto::{Forged, HeaderKey, LevelKeys, NextPhase, PacketKey, PhaseKeys};
use crate::error::Violation;
use mpquic_base::{Duration, PathId, Time};
use mpquic_wire::Code;
use std::collections::BTreeMap;

/// RFC 9001 §6.5 has both ends wait for three PTO. Theirs may be longer than ours: this many times ours.
const CALM_FACTOR: u32 = 3;
/// Packets sealed under a key before the next one is derived. A connection that comes and goes never needs it.
const NEXT_AFTER: u64 = 64;

pub(crate) struct OneRttKeys {
    pub(crate) header_local: Box<dyn HeaderKey>,
    pub(crate) header_peer: Box<dyn HeaderKey>,
    current: PhaseKeys,
    /// RFC 9001 §6.3: derived in advance and away from what is received, so that an update costs no time that an
    /// observer could measure; only an update within the first packets finds none.
    next: Option<PhaseKeys>,
    source: Box<dyn NextPhase>,
    /// The peer's key of the phase before, for packets that were under way; `None` as its end means that the peer
    /// has not yet followed into the current phase.
    previous: Option<(Box<dyn PacketKey>, Option<Time>)>,
    phase: bool,
    sealed: u64,
    forged: u64,
    /// The application asked for an update.
    wanted: bool,
    /// Our own update waits until a packet of the current phase was acknowledged.
    acked_in_phase: bool,
    /// The lowest number that the peer used under the current key, by path.
    lowest: BTreeMap<PathId, u64>,
    disordered: bool,
    /// No further update of our own before this time.
    calm_at: Time,
    pub(crate) updates: u64,
}

impl OneRttKeys {
    pub(crate) fn new(keys: LevelKeys, source: Box<dyn NextPhase>) -> Self {
        Self {
            header_local: keys.local.header,
            header_peer: keys.peer.header,
            current: PhaseKeys { local: keys.local.packet, peer: keys.peer.packet },
            next: None,
            source,
            previous: None,
            phase: false,
            sealed: 0,
            forged: 0,
            wanted: false,
            acked_in_phase: false,
            lowest: BTreeMap::new(),
            disordered: false,
            calm_at: Time::ZERO,
            updates: 0,
        }
    }

    pub(crate) fn tag_len(&self) -> usize {
        self.current.local.tag_len()
    }

    pub(crate) const fn phase(&self) -> bool {
        self.phase
    }

    /// See [`PacketKey::seal_with`].
    pub(crate) fn seal(&mut self, path: PathId, pn: u64, header: &[u8], payload: &mut [u8], rest: &[u8]) {
        self.sealed += 1;
        if self.sealed == NEXT_AFTER {
            self.next_keys();
        }
        if rest.is_empty() {
            self.current.local.seal(path, pn, header, payload);
        } else {
            self.current.local.seal_with(path, pn, header, payload, rest);
        }
    }

    /// RFC 9001 §6.3: once derived the next keys stay, whatever became of the packet that asked for them.
    fn next_keys(&mut self) -> &PhaseKeys {
        self.next.get_or_insert_with(|| self.source.next())
    }

    /// RFC 9001 §6.6: an update is due well before the limit, which counts over all paths; and after `packets`, if
    /// nothing under the old key is awaited any more (§6.5).
    pub(crate) fn wants_update(&self, now: Time, packets: u64) -> bool {
        let followed = self.previous.as_ref().is_none_or(|(_, until)| until.is_some());
        let settled = followed && self.calm_at <= now;
        let urgent = self.sealed >= self.current.local.confidentiality_limit() / 8 * 7;
        self.acked_in_phase && (urgent || (settled && (self.wanted || self.sealed >= packets)))
    }

    pub(crate) const fn want_update(&mut self) {
        self.wanted = true;
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        self.sealed >= self.current.local.confidentiality_limit()
    }

    pub(crate) const fn on_ack(&mut self) {
        self.acked_in_phase = true;
    }

    /// Opens a packet whose header says `phase`; a packet of the next phase moves us along.
    ///
    /// `keep` says how long the old key stays for late packets: 3 x the largest PTO of all paths.
    pub(crate) fn open(
        &mut self,
        now: Time,
        keep: impl Fn() -> Duration,
        packet: (PathId, u64, bool),
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<usize, Forged> {
        let (path, pn, phase) = packet;
        if phase == self.phase {
            let len = self.count(|keys| keys.current.peer.open(path, pn, header, payload))?;
            // Nothing is compared once the old key is gone, nor before there was one.
            if self.previous.is_some() {
                self.on_followed(now, keep());
                self.note(path, pn);
            }
            return Ok(len);
        }
        if self.previous.as_ref().is_some_and(|(_, until)| until.is_some_and(|at| at <= now)) {
            self.previous = None;
        }
        if self.previous.is_none() {
            let len = self.count(|keys| keys.next_keys().peer.open(path, pn, header, payload))?;
            self.on_new_phase(now, keep(), path, pn);
            return Ok(len);
        }
        // Numbers of different paths cannot be compared: while the old key lives, the other phase is the old one, unless
        // the path itself has seen the current phase at a lower number.
        if self.lowest.get(&path).is_none_or(|low| pn <= *low) {
            return self.count(|keys| keys.open_previous(path, pn, header, payload));
        }
        let mut copy = payload.to_vec();
        self.count(|keys| {
            if let Ok(len) = keys.next_keys().peer.open(path, pn, header, payload) {
                keys.on_new_phase(now, keep(), path, pn);
                return Ok(len);
            }
            keys.disordered |= keys.open_previous(path, pn, header, &mut copy).is_ok();
            Err(Forged)
        })
    }

    fn open_previous(
        &self,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<usize, Forged> {
        self.previous.as_ref().map_or(Err(Forged), |(key, _)| key.open(path, pn, header, payload))
    }

    /// The peer moved on, and we follow.
    fn on_new_phase(&mut self, now: Time, keep: Duration, path: PathId, pn: u64) {
        self.update();
        self.on_followed(now, keep);
        self.note(path, pn);
    }

    fn note(&mut self, path: PathId, pn: u64) {
        let lowest = self.lowest.entry(path).or_insert(pn);
        *lowest = pn.min(*lowest);
    }

    /// RFC 9001 §6.4: the old key is not used again after the new one.
    pub(crate) const fn check_order(&self) -> Result<(), Violation> {
        if self.disordered {
            return Err(Violation::new(
                Code::KEY_UPDATE_ERROR,
                "an old key under a number above the new one's",
            ));
        }
        Ok(())
    }

    /// RFC 9001 §6.1: the old key's time runs only from the first packet that the peer sent in the current phase.
    fn on_followed(&mut self, now: Time, keep: Duration) {
        if let Some((_, until @ None)) = &mut self.previous {
            *until = Some(now + keep);
            self.calm_at = now + keep * CALM_FACTOR;
        }
    }

    fn count(&mut self, open: impl FnOnce(&mut Self) -> Result<usize, Forged>) -> Result<usize, Forged> {
        let opened = open(self);
        self.forged += u64::from(opened.is_err());
        opened
    }

    /// RFC 9001 §6.6: too many forgeries under one key end the connection.
    pub(crate) fn check_forgeries(&self) -> Result<(), Violation> {
        if self.forged > self.current.peer.integrity_limit() {
            return Err(Violation::new(Code::AEAD_LIMIT_REACHED, "too many packets failed to decrypt"));
        }
        Ok(())
    }

    /// Moves both directions to the next phase.
    pub(crate) fn update(&mut self) {
        let current = self.next.take().unwrap_or_else(|| self.source.next());
        let old = core::mem::replace(&mut self.current, current);
        self.previous = Some((old.peer, None));
        self.phase = !self.phase;
        self.sealed = 0;
        self.wanted = false;
        self.acked_in_phase = false;
        self.lowest.clear();
        self.updates += 1;
    }
}

#[cfg(test)]
mod tests;
