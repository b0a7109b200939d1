//! Paths come and go.

use super::Connection;
use crate::close::CloseFrame;
use crate::error::{Refused, Violation};
use crate::event::{Event, PathEvent, PathStats};
use crate::handshake::LevelId;
use crate::path::{Closing, Path, Validation};
use crate::path_ids::Known;
use mpquic_base::{Duration, FourTuple, PathId, Time};
use mpquic_wire::Code;

impl Connection {
    /// Opens a path between two addresses; [`PathEvent::Opened`] follows once the peer answers there.
    ///
    /// # Errors
    /// [`Refused::NotAllowed`] on a server, [`Refused::NoMultipath`] without the peer's consent,
    /// [`Refused::NoPathAvailable`] while its limits forbid a further path ([`PathEvent::Available`] says when to retry).
    pub fn open_path(&mut self, now: Time, tuple: FourTuple, backup: bool) -> Result<PathId, Refused> {
        if !self.is_established() {
            return Err(Refused::Closed);
        }
        if !self.role.is_client() {
            return Err(Refused::NotAllowed);
        }
        if !self.path_ids.is_negotiated() {
            return Err(Refused::NoMultipath);
        }
        // draft-ietf-quic-multipath-21 §3.1: the handshake must be confirmed first.
        if !self.handshake.is_confirmed() {
            return Err(Refused::NoPathAvailable);
        }
        if self.paths.len() >= usize::from(self.config.max_paths) {
            return self.move_dead_path(now, tuple, backup);
        }
        let Some(id) = self.path_ids.next_unused() else {
            self.path_ids.on_blocked();
            return self.move_dead_path(now, tuple, backup);
        };
        if !self.cids.has_local(id) || !self.cids.activate(id) {
            self.path_ids.on_cids_blocked(id, self.cids.next_peer_seq(id));
            return self.move_dead_path(now, tuple, backup);
        }
        self.path_ids.consume(id);
        let validation = Validation::pending(now, self.validation_pto());
        self.insert_path(now, id, tuple, validation, false);
        if let Some(slot) = self.slot(id) {
            self.paths[slot].status.set_local(backup);
        }
        Ok(id)
    }

    /// With every path dead the peer cannot be asked for more ids, so an id is used again by moving its path
    /// (RFC 9000 §9.2); its packet numbers go on, so no nonce is used twice. If a path lives, ids will come.
    fn move_dead_path(&mut self, now: Time, tuple: FourTuple, backup: bool) -> Result<PathId, Refused> {
        if (0..self.paths.len()).any(|slot| self.answers(now, slot)) {
            return Err(Refused::NoPathAvailable);
        }
        let open = self.paths.iter().enumerate().filter(|(_, p)| p.closing.is_none());
        let dead = open.min_by_key(|(_, p)| (!p.validation.is_validated(), p.id));
        let Some(slot) = dead.map(|(slot, _)| slot) else { return Err(Refused::NoPathAvailable) };
        if self.paths[slot].silent {
            self.orphan_all(slot);
        } else {
            self.on_silence(slot);
        }
        let pto = self.validation_pto();
        let controller = self.config.new_controller();
        let path = &mut self.paths[slot];
        path.on_own_move(now, tuple, pto);
        path.recovery.restart(self.config.initial_rtt, controller);
        path.status.set_local(backup);
        let id = path.id;
        self.cids.rotate(id);
        Ok(id)
    }

    /// The shortest round trip that any of the paths has had, or the guess that stands in for it: the peer answers nothing
    /// sooner.
    #[must_use]
    pub fn shortest_rtt(&self) -> Option<Duration> {
        self.paths.iter().map(|p| p.recovery.rtt.min()).min()
    }

    /// Gives a path up; its data goes to the others at once.
    ///
    /// # Errors
    /// [`Refused::UnknownPath`], or [`Refused::LastPath`] if no other path could carry on.
    pub fn abandon_path(&mut self, now: Time, id: PathId) -> Result<(), Refused> {
        let slot = self.open_slot(id)?;
        let others = self.paths.iter().any(|p| p.id != id && p.is_usable());
        if !others {
            return Err(Refused::LastPath);
        }
        if !self.path_ids.is_negotiated() {
            return Err(Refused::NoMultipath);
        }
        self.give_up_path(now, slot, Code::APPLICATION_ABANDON_PATH);
        Ok(())
    }

    /// Asks the peer to keep a path in reserve, or to use it again.
    ///
    /// # Errors
    /// [`Refused::UnknownPath`] or [`Refused::NoMultipath`].
    pub fn set_path_backup(&mut self, id: PathId, backup: bool) -> Result<(), Refused> {
        let slot = self.open_slot(id)?;
        if !self.path_ids.is_negotiated() {
            return Err(Refused::NoMultipath);
        }
        self.paths[slot].status.set_local(backup);
        Ok(())
    }

    /// The host knows that a path's link is down: as if it had fallen silent, but at once, even if there is no other.
    /// It is probed, at most once a second, and comes back when the peer answers.
    ///
    /// # Errors
    /// [`Refused::UnknownPath`].
    pub fn path_down(&mut self, now: Time, id: PathId) -> Result<(), Refused> {
        let slot = self.open_slot(id)?;
        self.on_down(now, slot);
        Ok(())
    }

    pub(super) fn on_down(&mut self, now: Time, slot: usize) {
        // A path that nobody answered on yet has a pace of its own, and so has the handshake.
        let path = &self.paths[slot];
        if !self.handshake.is_confirmed() || !path.is_usable() {
            return;
        }
        if path.silent {
            self.orphan_all(slot);
        } else {
            self.on_silence(slot);
        }
        self.paths[slot].on_down(now);
    }

    /// Takes everything in flight on a path out of flight and offers it to all.
    pub(super) fn orphan_all(&mut self, slot: usize) {
        let Path { recovery, space, mtu, .. } = &mut self.paths[slot];
        recovery.orphan_all(space, &mut self.fates);
        mtu.on_probe_taken_back();
        self.settle_tokens(LevelId::App);
    }

    pub(super) fn open_slot(&self, id: PathId) -> Result<usize, Refused> {
        self.slot(id).filter(|slot| self.paths[*slot].closing.is_none()).ok_or(Refused::UnknownPath)
    }

    /// Every path, in order of its id.
    pub fn path_stats(&self) -> impl Iterator<Item = PathStats> + '_ {
        self.paths.iter().map(Path::stats)
    }

    /// RFC 9000 §8.2.4: what a validation is timed by; the new path's RTT is unknown, the slowest one's a hint.
    pub(super) fn validation_pto(&self) -> Duration {
        self.largest_pto().max(self.config.initial_rtt * 3)
    }

    pub(super) fn give_up_path(&mut self, now: Time, slot: usize, code: Code) {
        let forget_at = now + self.largest_pto() * 3;
        let path = &mut self.paths[slot];
        let id = path.id;
        path.closing = Some(Closing { forget_at });
        self.orphan_all(slot);
        self.paths[slot].space.probes = 0;
        // draft-ietf-quic-multipath-21 §3.4: the peer's IDs for the path are retired by this alone.
        self.cids.abandon_peer(id);
        self.path_ids.abandon(id, code);
        self.push_event(Event::Path(PathEvent::Abandoned { path: id, code }));
        if !self.paths.iter().any(|p| p.closing.is_none()) {
            let frame = CloseFrame::Transport { code: Code::NO_VIABLE_PATH, why: "the last path is gone" };
            self.begin_close(now, frame);
        }
    }

    /// Late packets were acknowledged for long enough: nothing of the path remains but its id, used up for ever.
    pub(super) fn forget_path(&mut self, slot: usize) {
        let path = self.paths.remove(slot);
        self.cids.forget_local(path.id);
        self.path_ids.on_forgotten();
        self.issue_cids();
        self.push_event(Event::Path(PathEvent::Closed(path.id)));
    }

    /// RFC 9000 §8.2.3: the answer counts wherever it arrives, for the path its challenge was sent on.
    pub(super) fn on_path_response(&mut self, data: [u8; 8]) {
        let Some(slot) = self.paths.iter_mut().position(|p| p.validation.on_response(data)) else {
            self.on_probe_response(data);
            return;
        };
        let path = &mut self.paths[slot];
        path.on_validated();
        let (id, host) = (path.id, path.tuple.peer.ip());
        let recovered = core::mem::take(&mut path.silent);
        path.down = None;
        self.grants.on_validated(host);
        self.issue_cids();
        self.push_event(Event::Path(PathEvent::Opened(id)));
        if recovered {
            self.push_event(Event::Path(PathEvent::Recovered(id)));
        }
        self.relieve_silent();
    }

    /// While no path lives, data is sent on silent ones; the first that lives again takes it over.
    pub(super) fn relieve_silent(&mut self) {
        if !self.paths.iter().any(Path::is_living) {
            return;
        }
        for slot in 0..self.paths.len() {
            if self.paths[slot].silent && self.paths[slot].closing.is_none() {
                self.orphan_all(slot);
                self.paths[slot].space.probes = 1;
            }
        }
    }

    pub(super) fn on_path_abandon(&mut self, now: Time, id: PathId, code: Code) -> Result<(), Violation> {
        self.path_ids.require_negotiated()?;
        if self.path_ids.check(id)? == Known::Abandoned {
            return Ok(());
        }
        match self.slot(id) {
            Some(slot) => self.give_up_path(now, slot, code),
            // An id that was never used: it is used up all the same.
            None => {
                self.cids.abandon_peer(id);
                self.cids.forget_local(id);
                self.path_ids.abandon(id, code);
                self.path_ids.on_forgotten();
                self.issue_cids();
            }
        }
        Ok(())
    }

    pub(super) fn on_path_status(&mut self, id: PathId, seq: u64, backup: bool) -> Result<(), Violation> {
        self.path_ids.require_negotiated()?;
        if self.path_ids.check(id)? == Known::Abandoned {
            return Ok(());
        }
        if let Some(slot) = self.slot(id)
            && self.paths[slot].status.on_status(seq, backup)
        {
            self.push_event(Event::Path(PathEvent::Status { path: id, backup }));
        }
        Ok(())
    }

    pub(super) fn on_max_path_id(&mut self, max: PathId) -> Result<(), Violation> {
        if self.path_ids.on_max_path_id(max)? {
            self.issue_cids();
        }
        Ok(())
    }
}
