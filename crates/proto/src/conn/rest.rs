//! A connection that rests gives back what it kept for speed. Most connections of a large server rest most of the time,
//! and what each of them holds then decides how many there can be.

use super::Connection;
use crate::path::Path;
use mpquic_base::{Duration, Time};

/// Quiet for this long, a connection is taken to rest. More than a round trip on almost any path, so that nothing is
/// given back and taken again in the middle of an exchange.
const REST_AFTER: Duration = Duration::from_millis(400);

impl Connection {
    /// When the connection will have rested for long enough; `None` if it is busy or its memory went back already.
    pub(super) fn rest_at(&self) -> Option<Time> {
        let busy = self.rested || !self.handshake.is_confirmed() || self.credits_used > 0;
        if busy || self.paths.iter().any(|path| path.recovery.in_flight() > 0) {
            return None;
        }
        self.paths.iter().map(Path::quiet_since).max().map(|quiet| quiet + REST_AFTER)
    }

    /// Buffers come back as they are needed.
    pub(super) fn rest(&mut self, now: Time) {
        self.rested = true;
        self.fates = crate::path::Fates::default();
        self.tokens = Vec::new();
        self.views = Vec::new();
        self.slots = Vec::new();
        self.rng.shrink();
        self.forget_early(now);
        self.stash.shrink_to_fit();
        self.events.shrink_to_fit();
        self.handshake.shrink();
        self.streams.shrink();
        self.datagrams.shrink();
        self.cids.shrink();
        for path in &mut self.paths {
            path.space.sent.shrink();
            path.space.acks.shrink();
        }
    }
}
