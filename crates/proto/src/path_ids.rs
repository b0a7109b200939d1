//! Which path ids may be used, are used and are used up (draft-ietf-quic-multipath-21 §3, §4.6, §4.7).

use crate::error::Violation;
use crate::frames::{Frames, Token};
use mpquic_base::{PathId, RangeSet};
use mpquic_wire::{Code, Frame};

/// PATH_ABANDON frames that may wait for the peer's acknowledgement before its limit stops rising.
const ABANDONS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct PathIds {
    /// Both ends sent the transport parameter: its presence counts, not its value.
    negotiated: bool,
    /// Ids that the peer may use, and that we may use.
    local_max: u32,
    peer_initial_max: u32,
    peer_max: u32,
    /// How many ids beyond the used-up ones we keep open for the peer.
    width: u32,
    /// Ids that were used, are used or were abandoned: never to be used again (nonce reuse).
    consumed: RangeSet,
    abandoned: RangeSet,
    announce_max: bool,
    abandons: Vec<Abandon>,
    blocked: Option<PathId>,
    cids_blocked: Option<(PathId, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Abandon {
    path: PathId,
    code: Code,
    wanted: bool,
}

impl PathIds {
    pub(crate) fn new(width: u32) -> Self {
        let mut ids = Self { width, local_max: width.saturating_sub(1), ..Self::default() };
        ids.consumed.insert(0..1);
        ids
    }

    /// What we advertise as initial_max_path_id.
    pub(crate) const fn local_max(&self) -> PathId {
        PathId(self.local_max)
    }

    pub(crate) const fn is_negotiated(&self) -> bool {
        self.negotiated
    }

    pub(crate) const fn on_negotiated(&mut self, peer_max: PathId) {
        self.negotiated = true;
        self.peer_initial_max = peer_max.0;
        self.peer_max = peer_max.0;
    }

    /// The largest id that both ends allow.
    pub(crate) fn usable_max(&self) -> PathId {
        if self.negotiated { PathId(self.local_max.min(self.peer_max)) } else { PathId::ZERO }
    }

    /// Ids that want connection IDs of ours: allowed and not abandoned.
    pub(crate) fn wanting_cids(&self) -> impl Iterator<Item = PathId> + '_ {
        (0..=self.usable_max().0).filter(|id| !self.abandoned.contains(u64::from(*id))).map(PathId)
    }

    /// The lowest id that was never used.
    pub(crate) fn next_unused(&self) -> Option<PathId> {
        (0..=self.usable_max().0).find(|id| !self.consumed.contains(u64::from(*id))).map(PathId)
    }

    pub(crate) fn consume(&mut self, path: PathId) {
        self.consumed.insert(u64::from(path.0)..u64::from(path.0) + 1);
    }

    pub(crate) fn is_abandoned(&self, path: PathId) -> bool {
        self.abandoned.contains(u64::from(path.0))
    }

    pub(crate) fn is_consumed(&self, path: PathId) -> bool {
        self.consumed.contains(u64::from(path.0))
    }

    /// For a frame that names `path`: an id above what we advertised is an error, an abandoned one is ignored.
    pub(crate) fn check(&self, path: PathId) -> Result<Known, Violation> {
        if !self.negotiated && path != PathId::ZERO {
            return Err(Violation::protocol("a multipath frame without multipath"));
        }
        if path.0 > self.local_max {
            return Err(Violation::protocol("a path id above our limit"));
        }
        Ok(if self.is_abandoned(path) { Known::Abandoned } else { Known::Open })
    }

    pub(crate) fn require_negotiated(&self) -> Result<(), Violation> {
        if self.negotiated { Ok(()) } else { Err(Violation::protocol("a multipath frame without multipath")) }
    }

    /// True if the limit was raised. RFC 10069: a lower value is ignored, one below the first announcement is wrong.
    pub(crate) fn on_max_path_id(&mut self, max: PathId) -> Result<bool, Violation> {
        self.require_negotiated()?;
        if max.0 < self.peer_initial_max {
            return Err(Violation::protocol("MAX_PATH_ID below the initial limit"));
        }
        let raised = max.0 > self.peer_max;
        self.peer_max = self.peer_max.max(max.0);
        if raised {
            self.blocked = None;
        }
        Ok(raised)
    }

    pub(crate) fn on_paths_blocked(&self, max: PathId) -> Result<(), Violation> {
        self.require_negotiated()?;
        if max.0 > self.local_max { Err(Violation::protocol("blocked above our limit")) } else { Ok(()) }
    }

    /// Gives a path id up and has the peer told; repeated calls change nothing.
    pub(crate) fn abandon(&mut self, path: PathId, code: Code) {
        if self.is_abandoned(path) {
            return;
        }
        self.abandoned.insert(u64::from(path.0)..u64::from(path.0) + 1);
        self.consume(path);
        self.abandons.push(Abandon { path, code, wanted: true });
    }

    /// A path is forgotten: the peer may use one more id, unless it leaves too many abandons unacknowledged.
    pub(crate) fn on_forgotten(&mut self) {
        if self.abandons.len() > ABANDONS_MAX {
            return;
        }
        let used_up = u32::try_from(self.abandoned.iter().map(|r| r.end - r.start).sum::<u64>()).unwrap_or(0);
        let max = used_up.saturating_add(self.width).saturating_sub(1);
        if self.negotiated && max > self.local_max {
            self.local_max = max;
            self.announce_max = true;
        }
    }

    /// We wanted to open a path and the peer's limit forbids it.
    pub(crate) fn on_blocked(&mut self) {
        if self.negotiated && self.local_max >= self.peer_max {
            self.blocked = Some(PathId(self.peer_max));
        }
    }

    /// We wanted to open `path` and hold no connection ID of the peer for it; `next_seq` is the one we wait for.
    pub(crate) const fn on_cids_blocked(&mut self, path: PathId, next_seq: u64) {
        self.cids_blocked = Some((path, next_seq));
    }

    /// PATH_ABANDON frames that the peer has not acknowledged.
    pub(crate) const fn unacknowledged(&self) -> usize {
        self.abandons.len()
    }

    pub(crate) fn wants(&self) -> bool {
        self.cids_blocked.is_some()
            || self.announce_max
            || self.blocked.is_some()
            || self.abandons.iter().any(|a| a.wanted)
    }

    pub(crate) fn write(&mut self, frames: &mut Frames<'_>) {
        for abandon in self.abandons.iter_mut().filter(|a| a.wanted) {
            let frame = Frame::PathAbandon { path: abandon.path, code: abandon.code.0 };
            if !frames.push(&frame, Token::PathAbandon(abandon.path)) {
                return;
            }
            abandon.wanted = false;
        }
        if self.announce_max && frames.push(&Frame::MaxPathId(self.local_max()), Token::MaxPathId) {
            self.announce_max = false;
        }
        if let Some((path, next_seq)) = self.cids_blocked
            && frames.push(&Frame::PathCidsBlocked { path, next_seq }, Token::PathCidsBlocked(path))
        {
            self.cids_blocked = None;
        }
        if let Some(at) = self.blocked
            && frames.push(&Frame::PathsBlocked(at), Token::PathsBlocked)
        {
            self.blocked = None;
        }
    }

    /// The peer may not know yet that we gave the path up.
    pub(crate) fn is_announcing(&self, path: PathId) -> bool {
        self.abandons.iter().any(|a| a.path == path)
    }

    pub(crate) fn abandon_acked(&mut self, path: PathId) {
        self.abandons.retain(|a| a.path != path);
    }

    pub(crate) fn abandon_lost(&mut self, path: PathId) {
        self.abandons.iter_mut().filter(|a| a.path == path).for_each(|a| a.wanted = true);
    }

    pub(crate) const fn max_lost(&mut self) {
        self.announce_max = true;
    }
}

/// Whether a path id that the peer named still means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Open,
    Abandoned,
}

#[cfg(test)]
mod tests;
