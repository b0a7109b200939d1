//! A path that goes to other addresses while it lives (RFC 9000 §9): ours because we want it to, the peer's because its
//! packets come from elsewhere.

use super::Connection;
use super::receive::Arrival;
use super::transmit::{Tag, Transmit};
use crate::error::Refused;
use crate::event::{Event, PathEvent};
use crate::path::{MTU_BASE, Path, Probe};
use crate::space::Departure;
use mpquic_base::{Ecn, FourTuple, PathId, Time};
use mpquic_wire::parameters::PreferredAddress;
use std::net::SocketAddr;

impl Connection {
    /// Moves a path to other addresses, once they have proven to work: [`PathEvent::Moved`] follows, or
    /// [`PathEvent::Stayed`] if they did not. Until then everything stays where it is. The peer's address may change only to
    /// one of [`Connection::preferred_addresses`].
    ///
    /// # Errors
    /// [`Refused::NotAllowed`] on a server, if the peer forbids it or has not named the address;
    /// [`Refused::NoPathAvailable`] as long as the handshake is not confirmed or the peer has given no ID for the new
    /// addresses; [`Refused::UnknownPath`].
    pub fn move_path(&mut self, now: Time, id: PathId, tuple: FourTuple) -> Result<(), Refused> {
        if !self.is_established() {
            return Err(Refused::Closed);
        }
        let slot = self.open_slot(id)?;
        let named = tuple.peer != self.paths[slot].tuple.peer;
        let forbidden = self.peer.as_ref().is_some_and(|peer| peer.parameters.disable_active_migration);
        // RFC 9000 §18.2: who forbids migration still means its own preferred address; §9: no other one is to be tried.
        let allowed = if named { self.preferred_addresses().any(|a| a == tuple.peer) } else { !forbidden };
        if !self.role.is_client() || !allowed {
            return Err(Refused::NotAllowed);
        }
        // RFC 9000 §9 and §9.5.
        if !self.handshake.is_confirmed() || self.cids.spare_peer_cid(id).is_none() {
            return Err(Refused::NoPathAvailable);
        }
        let pto = self.validation_pto();
        self.paths[slot].probe = Some(Probe::ours(now, tuple, pto));
        Ok(())
    }

    /// Where a server would rather be reached (RFC 9000 §9.6); known to clients once the handshake is complete.
    pub fn preferred_addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let preferred = self.peer.as_ref().and_then(|peer| peer.parameters.preferred_address.as_ref());
        preferred.into_iter().flat_map(|PreferredAddress { v4, v6, .. }| {
            v4.map(SocketAddr::V4).into_iter().chain(v6.map(SocketAddr::V6))
        })
    }

    pub(super) fn on_path_challenge(&mut self, now: Time, arrival: &Arrival, data: [u8; 8]) {
        let Some(slot) = self.slot(arrival.path) else { return };
        let pto = self.validation_pto();
        let (server, path) = (!self.role.is_client(), &mut self.paths[slot]);
        // RFC 9000 §8.2.2: answered on the path it came by.
        let elsewhere = path.tuple != arrival.tuple && path.closing.is_none();
        let known = path.probe.as_ref().is_some_and(|probe| probe.tuple == arrival.tuple);
        if elsewhere && server && !known {
            path.probe = Some(Probe::theirs(now, arrival.tuple, pto));
        }
        match path.probe.as_mut().filter(|_| elsewhere && (server || known)) {
            Some(probe) => probe.validation.on_challenge(data),
            None => path.validation.on_challenge(data),
        }
    }

    /// True if `data` answers a challenge of a probe.
    pub(super) fn on_probe_response(&mut self, data: [u8; 8]) -> bool {
        let answered = |path: &mut Path| path.probe.as_mut().is_some_and(|p| p.validation.on_response(data));
        let Some(slot) = self.paths.iter_mut().position(answered) else { return false };
        if let Some(probe) = self.paths[slot].probe.take_if(|probe| probe.ours) {
            self.commit_move(slot, probe);
        }
        true
    }

    /// The new addresses work: everything goes there from now on.
    fn commit_move(&mut self, slot: usize, probe: Probe) {
        let path = &mut self.paths[slot];
        let (old, new, id) = (path.tuple, probe.tuple, path.id);
        let same_hosts = old.local.ip() == new.local.ip() && old.peer.ip() == new.peer.ip();
        path.on_proven_move(probe);
        if !same_hosts {
            // RFC 9000 §9.4: what was learned of the old path says nothing of the new one.
            path.recovery.restart(self.config.initial_rtt, self.config.new_controller());
            self.orphan_all(slot);
        }
        self.cids.rotate(id);
        let path = &mut self.paths[slot];
        path.spin.reset();
        // RFC 9000 §9.2: the peer follows packets that are more than probing.
        path.space.probes = path.space.probes.max(1);
        self.grants.on_validated(new.peer.ip());
        self.push_event(Event::Path(PathEvent::Moved(id)));
    }

    /// RFC 9000 §9.3: a server follows its client to a new address and has it proven.
    pub(super) fn follow_peer(&mut self, now: Time, slot: usize, &Arrival { tuple, len, .. }: &Arrival) {
        let path = &self.paths[slot];
        // A client that goes to the address that we named may well stay where it is.
        let moved = path.tuple.peer != tuple.peer
            || (self.config.preferred_address.is_some() && path.tuple.local != tuple.local);
        if !moved || self.role.is_client() || path.closing.is_some() {
            return;
        }
        // RFC 9000 §9.4: a mere change of port is most likely a NAT's; the path behind it is the same.
        let same_host = path.tuple.peer.ip() == tuple.peer.ip();
        let pto = self.validation_pto();
        let path = &mut self.paths[slot];
        // RFC 9000 §8.1: the whole datagram earns its sender an answer, not only what it says.
        path.on_address_change(now, tuple, pto, len);
        if path.is_usable() {
            self.grants.on_validated(tuple.peer.ip());
        }
        let path = &mut self.paths[slot];
        if !same_host {
            path.recovery.restart(self.config.initial_rtt, self.config.new_controller());
            // What went to the old address would fill the new one's window.
            self.orphan_all(slot);
        }
        let id = self.paths[slot].id;
        self.cids.rotate(id);
        if let Some(slot) = self.slot(id) {
            self.paths[slot].spin.reset();
        }
        self.push_event(Event::Path(PathEvent::Moved(id)));
    }

    /// A datagram to addresses that some path may move to.
    pub(super) fn transmit_probe(&mut self, now: Time, out: &mut [u8]) -> Option<Transmit> {
        self.keys.as_ref().filter(|_| self.handshake.is_complete())?;
        let wants = |p: &Path| p.closing.is_none() && p.probe.as_ref().is_some_and(|probe| probe.wants(now));
        let slot = self.paths.iter().position(wants)?;
        let path = &self.paths[slot];
        let (id, probe) = (path.id, path.probe.as_ref()?);
        let (tuple, allowance) = (probe.tuple, usize::try_from(probe.allowance()).unwrap_or(usize::MAX));
        let limit = allowance.min(usize::from(MTU_BASE)).min(out.len());
        // RFC 9000 §9.5: another pair of addresses, another ID, if the peer has given one.
        let dcid = self.cids.spare_peer_cid(id).or_else(|| self.cids.peer_cid(id))?;
        let mut tokens = Vec::new();
        let written = self.write_short(slot, dcid, &mut out[..limit], &mut tokens, |conn, frames| {
            if let Some(probe) = &mut conn.paths[slot].probe {
                probe.write(now, &mut conn.rng, frames);
            }
            // RFC 9000 §8.2.1: padded to prove that the path carries it, as far as the allowance goes.
            limit
        });
        let (len, _) = written?;
        let path = &mut self.paths[slot];
        let bytes = u16::try_from(len).expect("a UDP payload is below 64 KiB");
        // Its loss and its RTT say nothing of the path that the packet number belongs to.
        path.recovery.on_sent(&mut path.space, Departure::new(now, bytes, false, false), &tokens);
        path.probe.iter_mut().for_each(|probe| probe.on_sent(len as u64));
        self.mark_eliciting_sent(now);
        let tag = Tag { path: id, first: 0, count: 0, credit: false };
        Some(Transmit { tuple, len, segment: len, ecn: Ecn::NotEct, departs_at: now, urgent: true, tag })
    }

    pub(super) fn expire_probe(&mut self, now: Time, slot: usize) {
        let path = &mut self.paths[slot];
        let Some(probe) = path.probe.take_if(|probe| probe.forget_at <= now) else { return };
        if probe.ours {
            let id = path.id;
            self.push_event(Event::Path(PathEvent::Stayed(id)));
        }
    }
}
