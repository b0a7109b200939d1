//! Connection IDs of both ends, per path id (RFC 9000 §5.1, draft-ietf-quic-multipath-21 §3.2).
//!
//! Owns which IDs exist, which one each path uses and which are to be announced or retired. The endpoint is told of
//! every change to ours, so that it can route.

use crate::crypto::ResetTokens;
use crate::error::Violation;
use crate::frames::{Frames, Token};
use crate::steering::CidSource;
use mpquic_base::{Cid, PathId, Rng};
use mpquic_wire::frame::{NewConnectionId, RESET_TOKEN_LEN};
use mpquic_wire::{Code, Frame};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Length of the connection IDs that we choose.
pub const LOCAL_CID_LEN: usize = 8;
/// IDs that we keep issued per path id: one in use and one spare.
const ISSUED_PER_PATH: u64 = 2;
/// IDs that the peer may have issued to us per path id: our active_connection_id_limit.
pub(crate) const PEER_CIDS_PER_PATH: u64 = 4;
/// RFC 9000 §5.1.2: unacknowledged retirements that may pile up per path id before the peer is cut off.
const RETIREMENTS_MAX: usize = 16;

type ResetToken = [u8; RESET_TOKEN_LEN];

/// A change to the IDs that lead to this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteChange {
    Add { cid: Cid, path: PathId, seq: u64 },
    Remove(Cid),
}

#[derive(Debug, Default)]
pub(crate) struct Cids {
    local: BTreeMap<PathId, LocalCids>,
    peer: BTreeMap<PathId, PeerCids>,
    changes: Vec<RouteChange>,
    /// The peer negotiated multipath: frames carry path ids.
    multipath: bool,
    peer_limit: u64,
    wants: bool,
    resets: Option<ResetSource>,
    source: CidSource,
    /// Reset tokens of the peer that the endpoint knows of, and whether they may have changed.
    listed: Vec<ResetToken>,
    listed_stale: bool,
    over: bool,
}

/// What our reset tokens are made of; without it, as in tests, they are random.
#[derive(Clone)]
struct ResetSource(Arc<dyn ResetTokens>);

impl core::fmt::Debug for ResetSource {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ResetSource")
    }
}

/// A change to the peer's tokens that would end this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResetChange {
    Add(ResetToken),
    Remove(ResetToken),
}

#[derive(Debug, Default)]
struct LocalCids {
    next_seq: u64,
    active: Vec<LocalCid>,
}

#[derive(Clone, Copy, Debug)]
struct LocalCid {
    seq: u64,
    cid: Cid,
    token: ResetToken,
    announce: bool,
}

#[derive(Debug, Default)]
struct PeerCids {
    known: Vec<PeerCid>,
    current: Option<u64>,
    retire_prior_to: u64,
    /// Sequence numbers to send in RETIRE_CONNECTION_ID, and those sent but not acknowledged.
    to_retire: Vec<u64>,
    retiring: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PeerCid {
    seq: u64,
    cid: Cid,
    token: Option<ResetToken>,
}

impl Cids {
    /// The IDs that the handshake itself established, sequence 0 of path 0 on both sides.
    pub(crate) fn new(local: Cid, token: ResetToken, peer: Cid) -> Self {
        let mut cids = Self { peer_limit: 2, ..Self::default() };
        let first = LocalCid { seq: 0, cid: local, token, announce: false };
        cids.local.insert(PathId::ZERO, LocalCids { next_seq: 1, active: vec![first] });
        cids.changes.push(RouteChange::Add { cid: local, path: PathId::ZERO, seq: 0 });
        let known = vec![PeerCid { seq: 0, cid: peer, token: None }];
        cids.peer.insert(PathId::ZERO, PeerCids { known, current: Some(0), ..PeerCids::default() });
        cids
    }

    /// What tokens are made of, and what IDs.
    pub(crate) fn with(mut self, resets: Arc<dyn ResetTokens>, source: CidSource) -> Self {
        self.resets = Some(ResetSource(resets));
        self.source = source;
        self
    }

    /// RFC 9000 §7.2: the client learns the server's choice from its first packet.
    pub(crate) fn set_first_peer_cid(&mut self, cid: Cid) {
        if let Some(first) = self.first_peer() {
            first.cid = cid;
        }
    }

    pub(crate) fn set_first_peer_token(&mut self, token: ResetToken) {
        if let Some(first) = self.first_peer() {
            first.token = Some(token);
        }
        self.listed_stale = true;
    }

    fn first_peer(&mut self) -> Option<&mut PeerCid> {
        self.peer.get_mut(&PathId::ZERO)?.known.iter_mut().find(|c| c.seq == 0)
    }

    pub(crate) fn on_parameters(&mut self, multipath: bool, peer_limit: u64) {
        self.multipath = multipath;
        self.peer_limit = peer_limit;
    }

    /// Routes or reset tokens changed since they were last taken.
    pub(crate) const fn has_changes(&self) -> bool {
        !self.changes.is_empty() || self.listed_stale
    }

    pub(crate) fn take_changes(&mut self, out: &mut Vec<RouteChange>) {
        out.append(&mut self.changes);
    }

    /// RFC 9000 §10.3.1: only tokens of IDs in use count.
    pub(crate) fn take_reset_changes(&mut self, out: &mut Vec<ResetChange>) {
        if !core::mem::take(&mut self.listed_stale) {
            return;
        }
        let now: Vec<ResetToken> = if self.over { Vec::new() } else { self.tokens_in_use().collect() };
        out.extend(self.listed.iter().filter(|t| !now.contains(t)).map(|t| ResetChange::Remove(*t)));
        out.extend(now.iter().filter(|t| !self.listed.contains(t)).map(|t| ResetChange::Add(*t)));
        self.listed = now;
    }

    fn tokens_in_use(&self) -> impl Iterator<Item = ResetToken> + '_ {
        let current = |p: &PeerCids| p.known.iter().find(|c| Some(c.seq) == p.current).and_then(|c| c.token);
        self.peer.values().filter_map(current)
    }

    /// Every ID of ours becomes unroutable: the connection is over.
    pub(crate) fn remove_all(&mut self) {
        self.over = true;
        self.listed_stale = true;
        let all: Vec<Cid> = self.local.values().flat_map(|l| &l.active).map(|c| c.cid).collect();
        self.local.clear();
        self.changes.extend(all.into_iter().map(RouteChange::Remove));
    }

    /// Tops up our IDs of one path id, as far as the peer's limit allows.
    pub(crate) fn issue(&mut self, path: PathId, rng: &mut Rng) {
        let want = ISSUED_PER_PATH.min(self.peer_limit) as usize;
        let local = self.local.entry(path).or_default();
        while local.active.len() < want {
            let (cid, mut token) = (self.source.draw(rng), [0; RESET_TOKEN_LEN]);
            match &self.resets {
                Some(source) => token = source.0.reset_token(cid.as_slice()),
                None => rng.fill(&mut token),
            }
            let seq = local.next_seq;
            local.next_seq += 1;
            local.active.push(LocalCid { seq, cid, token, announce: true });
            self.changes.push(RouteChange::Add { cid, path, seq });
            self.wants = true;
        }
    }

    pub(crate) fn has_local(&self, path: PathId) -> bool {
        self.local.get(&path).is_some_and(|l| !l.active.is_empty())
    }

    /// The sequence number that the peer would expect next for `path`.
    pub(crate) fn next_local_seq(&self, path: PathId) -> u64 {
        self.local.get(&path).map_or(0, |l| l.next_seq)
    }

    /// The sequence number of the ID that the peer would issue next for `path`.
    pub(crate) fn next_peer_seq(&self, path: PathId) -> u64 {
        self.peer
            .get(&path)
            .map_or(0, |p| p.known.iter().map(|c| c.seq + 1).max().unwrap_or(p.retire_prior_to))
    }

    /// The ID to put on packets of `path`.
    pub(crate) fn peer_cid(&self, path: PathId) -> Option<Cid> {
        let peer = self.peer.get(&path)?;
        peer.known.iter().find(|c| Some(c.seq) == peer.current).map(|c| c.cid)
    }

    /// The ID that [`Cids::rotate`] would put on packets of `path`.
    pub(crate) fn spare_peer_cid(&self, path: PathId) -> Option<Cid> {
        let peer = self.peer.get(&path)?;
        let spare = peer.known.iter().filter(|c| Some(c.seq) > peer.current);
        spare.min_by_key(|c| c.seq).map(|c| c.cid)
    }

    /// RFC 9000 §5.1.1: the ID that came, or went, with the preferred address has sequence number 1.
    pub(crate) fn issue_preferred(&mut self, cid: Cid, token: ResetToken) {
        if let Some(local) = self.local.get_mut(&PathId::ZERO) {
            local.active.push(LocalCid { seq: 1, cid, token, announce: false });
            local.next_seq = 2;
            self.changes.push(RouteChange::Add { cid, path: PathId::ZERO, seq: 1 });
        }
    }

    pub(crate) fn on_preferred(&mut self, cid: Cid, reset_token: ResetToken) -> Result<(), Violation> {
        let (path, retire_prior_to) = (PathId::ZERO, 0);
        self.on_new_cid(&NewConnectionId {
            path,
            multipath: false,
            seq: 1,
            retire_prior_to,
            cid,
            reset_token,
        })
    }

    /// Puts the first known ID of `path` to use; false if there is none.
    pub(crate) fn activate(&mut self, path: PathId) -> bool {
        self.listed_stale = true;
        let Some(peer) = self.peer.get_mut(&path) else { return false };
        if peer.current.is_none() {
            peer.current = peer.known.iter().map(|c| c.seq).min();
        }
        peer.current.is_some()
    }

    pub(crate) fn has_peer(&self, path: PathId) -> bool {
        self.peer.get(&path).is_some_and(|p| !p.known.is_empty())
    }

    /// RFC 9000 §9.5: packets from a new address carry a new ID, if the peer gave us a spare one.
    pub(crate) fn rotate(&mut self, path: PathId) {
        self.listed_stale = true;
        let Some(peer) = self.peer.get_mut(&path) else { return };
        let Some(current) = peer.current else { return };
        let next = peer.known.iter().map(|c| c.seq).filter(|seq| *seq > current).min();
        if next.is_some() {
            peer.known.retain(|c| c.seq != current);
            peer.to_retire.push(current);
            peer.current = next;
            self.wants = true;
        }
    }

    pub(crate) fn on_new_cid(&mut self, new: &NewConnectionId) -> Result<(), Violation> {
        self.listed_stale = true;
        let taken = |c: &PeerCid| c.cid == new.cid;
        let elsewhere = self.peer.iter().any(|(id, p)| *id != new.path && p.known.iter().any(taken));
        if elsewhere {
            return Err(Violation::protocol("one connection ID for two paths"));
        }
        let peer = self.peer.entry(new.path).or_default();
        let given = PeerCid { seq: new.seq, cid: new.cid, token: Some(new.reset_token) };
        for known in &peer.known {
            let (same_seq, same_cid) = (known.seq == given.seq, known.cid == given.cid);
            if same_seq != same_cid || (same_seq && known.token.is_some_and(|t| Some(t) != given.token)) {
                return Err(Violation::protocol("a connection ID was issued in two ways"));
            }
        }
        // RFC 9000 §19.15: retire first, then count.
        peer.retire_below(new.retire_prior_to);
        let repeated = peer.known.iter().any(|c| c.seq == given.seq)
            || peer.to_retire.contains(&given.seq)
            || peer.retiring.contains(&given.seq);
        if !repeated {
            // IDs are used in order: one below that in use is a late copy of one given up, or came too late itself.
            if given.seq < peer.retire_prior_to.max(peer.current.unwrap_or(0)) {
                peer.to_retire.push(given.seq);
            } else {
                peer.known.push(given);
            }
        }
        peer.replace_current();
        self.wants |= !peer.to_retire.is_empty();
        if peer.known.len() as u64 > PEER_CIDS_PER_PATH {
            return Err(Violation::new(
                Code::CONNECTION_ID_LIMIT_ERROR,
                "more connection IDs than we allowed",
            ));
        }
        if peer.to_retire.len() + peer.retiring.len() > RETIREMENTS_MAX {
            return Err(Violation::new(Code::CONNECTION_ID_LIMIT_ERROR, "too many retirements at once"));
        }
        Ok(())
    }

    /// `carried_by` is the sequence number of the ID on the packet that brought the frame, if of the same path.
    pub(crate) fn on_retire_cid(
        &mut self,
        path: PathId,
        seq: u64,
        carried_by: Option<u64>,
        rng: &mut Rng,
    ) -> Result<(), Violation> {
        let Some(local) = self.local.get_mut(&path).filter(|l| seq < l.next_seq) else {
            return Err(Violation::protocol("retired a connection ID that was never issued"));
        };
        if carried_by == Some(seq) {
            return Err(Violation::protocol("retired the connection ID that carried the frame"));
        }
        if let Some(at) = local.active.iter().position(|c| c.seq == seq) {
            let gone = local.active.remove(at);
            self.changes.push(RouteChange::Remove(gone.cid));
            self.issue(path, rng);
        }
        Ok(())
    }

    /// The path is given up: the peer's IDs for it are dead at once and need no retirement frames.
    pub(crate) fn abandon_peer(&mut self, path: PathId) {
        self.peer.remove(&path);
        self.listed_stale = true;
    }

    /// The path is forgotten: ours no longer lead here.
    pub(crate) fn forget_local(&mut self, path: PathId) {
        let gone = self.local.remove(&path).unwrap_or_default();
        self.changes.extend(gone.active.iter().map(|c| RouteChange::Remove(c.cid)));
    }

    /// RFC 9000 §10.3.1: compares against the tokens of IDs in use, without an early exit.
    pub(crate) fn is_reset_token(&self, tail: &ResetToken) -> bool {
        self.tokens_in_use().fold(false, |found, token| {
            let differing = token.iter().zip(tail).fold(0, |acc, (a, b)| acc | (a ^ b));
            found | (differing == 0)
        })
    }

    /// IDs of ours and of the peer, and retirements that it has not acknowledged.
    pub(crate) fn held(&self) -> (usize, usize, usize) {
        let local = self.local.values().map(|l| l.active.len()).sum();
        let peer = self.peer.values().map(|p| p.known.len()).sum();
        let retired = self.peer.values().map(|p| p.to_retire.len() + p.retiring.len()).sum();
        (local, peer, retired)
    }

    pub(crate) const fn wants(&self) -> bool {
        self.wants
    }

    pub(crate) fn write(&mut self, frames: &mut Frames<'_>) {
        if !self.wants {
            return;
        }
        for (&path, local) in &mut self.local {
            for cid in local.active.iter_mut().filter(|c| c.announce) {
                let frame = NewConnectionId {
                    path,
                    multipath: self.multipath,
                    seq: cid.seq,
                    retire_prior_to: 0,
                    cid: cid.cid,
                    reset_token: cid.token,
                };
                if !frames.push(&Frame::NewConnectionId(frame), Token::NewCid { path, seq: cid.seq }) {
                    return;
                }
                cid.announce = false;
            }
        }
        for (&path, peer) in &mut self.peer {
            while let Some(&seq) = peer.to_retire.last() {
                let frame = Frame::RetireConnectionId { path, multipath: self.multipath, seq };
                if !frames.push(&frame, Token::RetireCid { path, seq }) {
                    return;
                }
                peer.to_retire.pop();
                peer.retiring.push(seq);
            }
        }
        self.wants = false;
    }

    pub(crate) fn retire_acked(&mut self, path: PathId, seq: u64) {
        if let Some(peer) = self.peer.get_mut(&path) {
            peer.retiring.retain(|s| *s != seq);
        }
    }

    pub(crate) fn retire_lost(&mut self, path: PathId, seq: u64) {
        let Some(peer) = self.peer.get_mut(&path) else { return };
        if let Some(at) = peer.retiring.iter().position(|s| *s == seq) {
            peer.retiring.swap_remove(at);
            peer.to_retire.push(seq);
            self.wants = true;
        }
    }

    pub(crate) fn new_lost(&mut self, path: PathId, seq: u64) {
        let Some(local) = self.local.get_mut(&path) else { return };
        for cid in local.active.iter_mut().filter(|c| c.seq == seq) {
            cid.announce = true;
            self.wants = true;
        }
    }
}

impl PeerCids {
    fn retire_below(&mut self, floor: u64) {
        if floor <= self.retire_prior_to {
            return;
        }
        self.retire_prior_to = floor;
        let to_retire = &mut self.to_retire;
        self.known.retain(|c| {
            if c.seq < floor {
                to_retire.push(c.seq);
            }
            c.seq >= floor
        });
    }

    /// A path in use whose ID was retired goes on with the lowest one left, which may be the one just given.
    fn replace_current(&mut self) {
        if self.current.is_some_and(|seq| seq < self.retire_prior_to) {
            self.current = self.known.iter().map(|c| c.seq).min();
        }
    }
}

#[cfg(test)]
mod tests;
