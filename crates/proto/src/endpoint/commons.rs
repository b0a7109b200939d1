//! What the shards of one endpoint have in common, and each shard's seat.
//!
//! Owns all that a stranger could otherwise have once per shard: handshakes in progress, tokens spent, answers given,
//! places for connections, and the reset tokens of peers. Locked when a connection begins or ends and for packets of
//! strangers, never for a packet that finds its connection. An endpoint of one shard has it to itself.

use super::ConnectionId;
use super::admission::Gate;
use crate::crypto::ResetTokens;
use crate::steering::{CidSource, Steering};
use core::sync::atomic::{AtomicUsize, Ordering};
use mpquic_base::Rng;
use mpquic_wire::frame::RESET_TOKEN_LEN;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

type ResetToken = [u8; RESET_TOKEN_LEN];

/// One shard's place among those of its endpoint: for [`super::Endpoint::seated`].
#[derive(Clone, Debug)]
pub struct Seat {
    steering: Option<Steering>,
    shard: u16,
    pub(super) commons: Arc<Commons>,
}

impl Seat {
    /// The seats of an endpoint with so many shards (1 to [`crate::SHARDS_MAX`]).
    #[must_use]
    pub fn row(shards: u16, rng: &mut Rng) -> Vec<Self> {
        let steering = Some(Steering::new(shards, rng)).filter(|s| s.shards() > 1);
        let commons = Arc::new(Commons::default());
        let count = steering.map_or(1, |s| s.shards());
        (0..count).map(|shard| Self { steering, shard, commons: Arc::clone(&commons) }).collect()
    }

    pub(super) fn alone() -> Self {
        Self { steering: None, shard: 0, commons: Arc::default() }
    }

    #[must_use]
    pub const fn shard(&self) -> u16 {
        self.shard
    }

    /// How datagrams find their shard; `None` if there is only one.
    #[must_use]
    pub const fn steering(&self) -> Option<&Steering> {
        self.steering.as_ref()
    }

    pub(super) fn cids(&self) -> CidSource {
        CidSource(self.steering.map(|steering| (steering, self.shard)))
    }
}

/// Which connection a reset token of its peer would end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) shard: u16,
    pub(super) id: ConnectionId,
}

#[derive(Default)]
pub(super) struct Commons {
    gate: Mutex<Gate>,
    connections: AtomicUsize,
    reset_source: OnceLock<Arc<dyn ResetTokens>>,
    /// Keyed by a function of the token that only we can compute, so that the time of a search tells nothing about it
    /// (RFC 9000 §10.3.1).
    resets: Mutex<BTreeMap<ResetToken, Owner>>,
}

impl Commons {
    /// Each change of the gate is complete in itself, so a lock that a panic left behind is as good as any.
    pub(super) fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn resets(&self) -> MutexGuard<'_, BTreeMap<ResetToken, Owner>> {
        self.resets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn reset_source(&self) -> &OnceLock<Arc<dyn ResetTokens>> {
        &self.reset_source
    }

    /// Connections of all shards.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn on_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn on_gone(&self, connections: usize) {
        self.connections.fetch_sub(connections, Ordering::Relaxed);
    }
}

impl core::fmt::Debug for Commons {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Commons").field("connections", &self.connections()).finish_non_exhaustive()
    }
}
