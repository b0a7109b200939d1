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
use std::sync::Arc;

/// Length of the connection IDs that we choose.
pub const LOCAL_CID_LEN: usize = 8;
/// IDs that we keep issued for a path in use: one that it uses and one spare.
const ISSUED_IN_USE: u64 = 2;
/// The same for a path id that nobody has used yet (draft-ietf-quic-multipath-21 §3.2.1): the spare follows with its use.
const ISSUED_UNUSED: u64 = 1;
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
    local: ByPath<LocalPath>,
    /// All IDs of ours, whatever their path.
    issued: Vec<LocalCid>,
    /// Paths in use, and such as have something to retire.
    peer: ByPath<PeerPath>,
    /// All IDs of the peer that we have not given up.
    known: Vec<PeerCid>,
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

/// What our reset tokens are made of; without it, as in tests, they are the ID twice.
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

/// A few path ids in ascending order.
#[derive(Debug)]
struct ByPath<T>(Vec<(PathId, T)>);

#[derive(Debug, Default)]
struct LocalPath {
    next_seq: u64,
    /// How many IDs are kept issued.
    wanted: u64,
}

#[derive(Clone, Copy, Debug)]
struct LocalCid {
    path: PathId,
    announce: bool,
    cid: [u8; LOCAL_CID_LEN],
    seq: u64,
}

#[derive(Debug, Default)]
struct PeerPath {
    current: Option<u64>,
    retire_prior_to: u64,
    retirements: Vec<Retirement>,
}

/// A RETIRE_CONNECTION_ID that the peer has not acknowledged; `due`: it is to be sent (again).
#[derive(Clone, Copy, Debug)]
struct Retirement {
    seq: u64,
    due: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PeerCid {
    path: PathId,
    seq: u64,
    cid: Cid,
    token: Option<ResetToken>,
}

impl Cids {
    /// The IDs that the handshake itself established, sequence 0 of path 0 on both sides.
    pub(crate) fn new(local: Cid, peer: Cid) -> Self {
        let mut cids = Self { peer_limit: 2, ..Self::default() };
        let path = PathId::ZERO;
        cids.issued = vec![LocalCid { path, announce: false, cid: own(&local), seq: 0 }];
        *cids.local.at(path) = LocalPath { next_seq: 1, wanted: 1 };
        cids.changes.push(RouteChange::Add { cid: local, path, seq: 0 });
        cids.known = vec![PeerCid { path, seq: 0, cid: peer, token: None }];
        *cids.peer.at(path) = PeerPath { current: Some(0), ..PeerPath::default() };
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
        self.known.iter_mut().find(|c| c.path == PathId::ZERO && c.seq == 0)
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
        out.extend(core::mem::take(&mut self.changes));
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
        let current = |c: &&PeerCid| self.peer.get(c.path).is_some_and(|p| p.current == Some(c.seq));
        self.known.iter().filter(current).filter_map(|c| c.token)
    }

    /// Every ID of ours becomes unroutable: the connection is over.
    pub(crate) fn remove_all(&mut self) {
        self.over = true;
        self.listed_stale = true;
        self.local = ByPath::default();
        let gone = core::mem::take(&mut self.issued);
        self.changes.extend(gone.iter().map(|c| RouteChange::Remove(c.cid())));
    }

    /// Tops up our IDs of a path in use, as far as the peer's limit allows.
    pub(crate) fn issue(&mut self, path: PathId, rng: &mut Rng) {
        self.local.at(path).wanted = ISSUED_IN_USE.min(self.peer_limit);
        self.top_up(path, rng);
    }

    /// The same for a path id that is open and not in use.
    pub(crate) fn offer(&mut self, path: PathId, rng: &mut Rng) {
        let local = self.local.at(path);
        local.wanted = local.wanted.max(ISSUED_UNUSED);
        self.top_up(path, rng);
    }

    fn top_up(&mut self, path: PathId, rng: &mut Rng) {
        let Some(local) = self.local.get_mut(path) else { return };
        let have = self.issued.iter().filter(|c| c.path == path).count() as u64;
        for _ in have..local.wanted {
            let cid = own(&self.source.draw(rng));
            let new = LocalCid { path, announce: true, cid, seq: local.next_seq };
            local.next_seq += 1;
            self.issued.push(new);
            self.changes.push(RouteChange::Add { cid: new.cid(), path, seq: new.seq });
            self.wants = true;
        }
    }

    pub(crate) fn has_local(&self, path: PathId) -> bool {
        self.issued.iter().any(|c| c.path == path)
    }

    /// The sequence number that the peer would expect next for `path`.
    pub(crate) fn next_local_seq(&self, path: PathId) -> u64 {
        self.local.get(path).map_or(0, |l| l.next_seq)
    }

    /// The sequence number of the ID that the peer would issue next for `path`.
    pub(crate) fn next_peer_seq(&self, path: PathId) -> u64 {
        let retired = || self.peer.get(path).map_or(0, |p| p.retire_prior_to);
        self.of(path).map(|c| c.seq + 1).max().unwrap_or_else(retired)
    }

    /// The peer's IDs for `path`.
    fn of(&self, path: PathId) -> impl Iterator<Item = &PeerCid> {
        self.known.iter().filter(move |c| c.path == path)
    }

    /// The ID to put on packets of `path`.
    pub(crate) fn peer_cid(&self, path: PathId) -> Option<Cid> {
        let current = self.peer.get(path)?.current?;
        self.known.iter().find(|c| c.path == path && c.seq == current).map(|c| c.cid)
    }

    /// The ID that [`Cids::rotate`] would put on packets of `path`.
    pub(crate) fn spare_peer_cid(&self, path: PathId) -> Option<Cid> {
        let current = self.peer.get(path)?.current;
        let spare = self.of(path).filter(|c| Some(c.seq) > current);
        spare.min_by_key(|c| c.seq).map(|c| c.cid)
    }

    /// RFC 9000 §5.1.1: the ID that came, or went, with the preferred address has sequence number 1.
    pub(crate) fn issue_preferred(&mut self, cid: Cid) {
        let path = PathId::ZERO;
        if let Some(local) = self.local.get_mut(path) {
            self.issued.push(LocalCid { path, announce: false, cid: own(&cid), seq: 1 });
            local.next_seq = 2;
            self.changes.push(RouteChange::Add { cid, path, seq: 1 });
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
        let lowest = self.of(path).map(|c| c.seq).min();
        if lowest.is_none() && self.peer.get(path).is_none() {
            return false;
        }
        let peer = self.peer.at(path);
        peer.current = peer.current.or(lowest);
        peer.current.is_some()
    }

    pub(crate) fn has_peer(&self, path: PathId) -> bool {
        self.of(path).next().is_some()
    }

    /// RFC 9000 §9.5: packets from a new address carry a new ID, if the peer gave us a spare one.
    pub(crate) fn rotate(&mut self, path: PathId) {
        self.listed_stale = true;
        let Some(current) = self.peer.get(path).and_then(|p| p.current) else { return };
        let next = self.of(path).map(|c| c.seq).filter(|seq| *seq > current).min();
        if next.is_some() {
            self.known.retain(|c| (c.path, c.seq) != (path, current));
            let peer = self.peer.at(path);
            peer.retire(current);
            peer.current = next;
            self.wants = true;
        }
    }

    pub(crate) fn on_new_cid(&mut self, new: &NewConnectionId) -> Result<(), Violation> {
        self.listed_stale = true;
        let given = PeerCid { path: new.path, seq: new.seq, cid: new.cid, token: Some(new.reset_token) };
        for known in &self.known {
            let same_cid = known.cid == given.cid;
            if known.path != given.path {
                if same_cid {
                    return Err(Violation::protocol("one connection ID for two paths"));
                }
                continue;
            }
            let same_seq = known.seq == given.seq;
            if same_seq != same_cid || (same_seq && known.token.is_some_and(|t| Some(t) != given.token)) {
                return Err(Violation::protocol("a connection ID was issued in two ways"));
            }
        }
        // RFC 9000 §19.15: retire first, then count.
        self.retire_below(new.path, new.retire_prior_to);
        self.take_in(given);
        self.replace_current(new.path);
        let retirements = self.peer.get(new.path).map_or(&[][..], |p| &p.retirements);
        self.wants |= retirements.iter().any(|r| r.due);
        let pending = retirements.len();
        if self.of(new.path).count() as u64 > PEER_CIDS_PER_PATH {
            return Err(Violation::new(
                Code::CONNECTION_ID_LIMIT_ERROR,
                "more connection IDs than we allowed",
            ));
        }
        if pending > RETIREMENTS_MAX {
            return Err(Violation::new(Code::CONNECTION_ID_LIMIT_ERROR, "too many retirements at once"));
        }
        Ok(())
    }

    fn take_in(&mut self, given: PeerCid) {
        let floor = match self.peer.get(given.path) {
            Some(peer) if peer.retirements.iter().any(|r| r.seq == given.seq) => return,
            Some(peer) => peer.retire_prior_to.max(peer.current.unwrap_or(0)),
            None => 0,
        };
        if self.of(given.path).any(|c| c.seq == given.seq) {
            return;
        }
        // IDs are used in order: one below that in use is a late copy of one given up, or came too late itself.
        if given.seq < floor {
            self.peer.at(given.path).retire(given.seq);
        } else {
            self.known.push(given);
        }
    }

    fn retire_below(&mut self, path: PathId, floor: u64) {
        if floor <= self.peer.get(path).map_or(0, |p| p.retire_prior_to) {
            return;
        }
        let peer = self.peer.at(path);
        peer.retire_prior_to = floor;
        self.known.retain(|c| {
            let gone = c.path == path && c.seq < floor;
            if gone {
                peer.retire(c.seq);
            }
            !gone
        });
    }

    /// A path in use whose ID was retired goes on with the lowest one left, which may be the one just given.
    fn replace_current(&mut self, path: PathId) {
        let lowest = self.of(path).map(|c| c.seq).min();
        let Some(peer) = self.peer.get_mut(path) else { return };
        if peer.current.is_some_and(|seq| seq < peer.retire_prior_to) {
            peer.current = lowest;
        }
    }

    /// `carried_by` is the sequence number of the ID on the packet that brought the frame, if of the same path.
    pub(crate) fn on_retire_cid(
        &mut self,
        path: PathId,
        seq: u64,
        carried_by: Option<u64>,
        rng: &mut Rng,
    ) -> Result<(), Violation> {
        if seq >= self.next_local_seq(path) {
            return Err(Violation::protocol("retired a connection ID that was never issued"));
        }
        if carried_by == Some(seq) {
            return Err(Violation::protocol("retired the connection ID that carried the frame"));
        }
        if let Some(at) = self.issued.iter().position(|c| (c.path, c.seq) == (path, seq)) {
            let gone = self.issued.remove(at);
            self.changes.push(RouteChange::Remove(gone.cid()));
            self.top_up(path, rng);
        }
        Ok(())
    }

    /// The path is given up: the peer's IDs for it are dead at once and need no retirement frames.
    pub(crate) fn abandon_peer(&mut self, path: PathId) {
        self.peer.remove(path);
        self.known.retain(|c| c.path != path);
        self.listed_stale = true;
    }

    /// The path is forgotten: ours no longer lead here.
    pub(crate) fn forget_local(&mut self, path: PathId) {
        self.local.remove(path);
        let changes = &mut self.changes;
        self.issued.retain(|c| {
            if c.path == path {
                changes.push(RouteChange::Remove(c.cid()));
            }
            c.path != path
        });
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
        let retirements = self.peer.0.iter().map(|(_, peer)| peer.retirements.len()).sum();
        (self.issued.len(), self.known.len(), retirements)
    }

    pub(crate) const fn wants(&self) -> bool {
        self.wants
    }

    pub(crate) fn write(&mut self, frames: &mut Frames<'_>) {
        if !self.wants {
            return;
        }
        for cid in self.issued.iter_mut().filter(|c| c.announce) {
            let frame = NewConnectionId {
                path: cid.path,
                multipath: self.multipath,
                seq: cid.seq,
                retire_prior_to: 0,
                cid: cid.cid(),
                reset_token: self
                    .resets
                    .as_ref()
                    .map_or_else(|| twice(cid.cid), |r| r.0.reset_token(&cid.cid)),
            };
            let token = Token::NewCid { path: cid.path, seq: cid.seq };
            if !frames.push(&Frame::NewConnectionId(frame), token) {
                return;
            }
            cid.announce = false;
        }
        for (path, peer) in &mut self.peer.0 {
            let path = *path;
            for retirement in peer.retirements.iter_mut().filter(|r| r.due) {
                let seq = retirement.seq;
                let frame = Frame::RetireConnectionId { path, multipath: self.multipath, seq };
                if !frames.push(&frame, Token::RetireCid { path, seq }) {
                    return;
                }
                retirement.due = false;
            }
        }
        self.wants = false;
    }

    /// Gives back the memory that is not in use.
    pub(crate) fn shrink(&mut self) {
        self.listed.shrink_to_fit();
        self.issued.shrink_to_fit();
        self.known.shrink_to_fit();
        self.local.0.shrink_to_fit();
        self.peer.0.shrink_to_fit();
        for (_, peer) in &mut self.peer.0 {
            peer.retirements.shrink_to_fit();
        }
    }

    pub(crate) fn retire_acked(&mut self, path: PathId, seq: u64) {
        if let Some(peer) = self.peer.get_mut(path) {
            peer.retirements.retain(|r| r.seq != seq || r.due);
        }
    }

    pub(crate) fn retire_lost(&mut self, path: PathId, seq: u64) {
        let Some(peer) = self.peer.get_mut(path) else { return };
        for retirement in peer.retirements.iter_mut().filter(|r| r.seq == seq) {
            retirement.due = true;
            self.wants = true;
        }
    }

    pub(crate) fn new_lost(&mut self, path: PathId, seq: u64) {
        for cid in self.issued.iter_mut().filter(|c| (c.path, c.seq) == (path, seq)) {
            cid.announce = true;
            self.wants = true;
        }
    }
}

impl LocalCid {
    fn cid(&self) -> Cid {
        Cid::new(&self.cid).expect("eight bytes are a connection ID")
    }
}

impl PeerPath {
    fn retire(&mut self, seq: u64) {
        self.retirements.push(Retirement { seq, due: true });
    }
}

fn own(cid: &Cid) -> [u8; LOCAL_CID_LEN] {
    cid.as_slice().try_into().expect("all IDs of ours have this length")
}

fn twice(cid: [u8; LOCAL_CID_LEN]) -> ResetToken {
    let mut token = [0; RESET_TOKEN_LEN];
    token.iter_mut().zip(cid.iter().cycle()).for_each(|(to, from)| *to = *from);
    token
}

impl<T: Default> ByPath<T> {
    /// The entry of `path`, which is made if there is none.
    fn at(&mut self, path: PathId) -> &mut T {
        let at = self.0.binary_search_by_key(&path, |(id, _)| *id).unwrap_or_else(|at| {
            self.0.insert(at, (path, T::default()));
            at
        });
        &mut self.0[at].1
    }
}

impl<T> ByPath<T> {
    fn get(&self, path: PathId) -> Option<&T> {
        self.0.iter().find(|(id, _)| *id == path).map(|(_, entry)| entry)
    }

    fn get_mut(&mut self, path: PathId) -> Option<&mut T> {
        self.0.iter_mut().find(|(id, _)| *id == path).map(|(_, entry)| entry)
    }

    fn remove(&mut self, path: PathId) -> Option<T> {
        let at = self.0.iter().position(|(id, _)| *id == path)?;
        Some(self.0.remove(at).1)
    }
}

impl<T> Default for ByPath<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

#[cfg(test)]
mod tests;
