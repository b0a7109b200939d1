//! Stateless resets (RFC 9000 §10.3): sent for connections that are forgotten here, understood from peers that forgot ours.

use super::commons::{Commons, Owner};
use super::{ConnectionId, Endpoint, REPLIES_MAX, Received, Seat};
use crate::cids::ResetChange;
use crate::conn::{Connection, RESET_LEN_MIN};
use crate::crypto::ResetTokens;
use mpquic_base::Time;
use mpquic_wire::frame::RESET_TOKEN_LEN;
use mpquic_wire::header::{FIXED_BIT, Short};
use std::sync::Arc;

/// RFC 9000 §10.3: no longer than this, so that it looks like a small packet.
const RESET_LEN_MAX: usize = 43;

type ResetToken = [u8; RESET_TOKEN_LEN];

/// The secret behind our tokens, and which connections the tokens of peers would end. Both are the same for all shards.
pub(super) struct Resets {
    commons: Arc<Commons>,
    shard: u16,
    changes: Vec<ResetChange>,
}

impl Resets {
    pub(super) fn new(seat: &Seat, source: Option<Arc<dyn ResetTokens>>) -> Self {
        if let Some(source) = source {
            seat.commons.reset_source().get_or_init(|| source);
        }
        Self { commons: Arc::clone(&seat.commons), shard: seat.shard(), changes: Vec::new() }
    }

    /// The endpoint's secret; a client's endpoint takes it from its first connection.
    pub(super) fn source(&self, first: impl FnOnce() -> Arc<dyn ResetTokens>) -> Arc<dyn ResetTokens> {
        Arc::clone(self.commons.reset_source().get_or_init(first))
    }

    pub(super) fn apply(&mut self, id: ConnectionId, connection: &mut Connection) {
        let Some(source) = self.commons.reset_source().get() else { return };
        connection.take_reset_changes(&mut self.changes);
        if self.changes.is_empty() {
            return;
        }
        let mut routes = self.commons.resets();
        for change in self.changes.drain(..) {
            match change {
                ResetChange::Add(token) => {
                    routes.insert(source.reset_token(&token), Owner { shard: self.shard, id });
                }
                ResetChange::Remove(token) => {
                    routes.remove(&source.reset_token(&token));
                }
            }
        }
    }

    fn find(&self, tail: &ResetToken) -> Option<Owner> {
        let key = self.commons.reset_source().get()?.reset_token(tail);
        self.commons.resets().get(&key).copied()
    }
}

impl Endpoint {
    /// A 1-RTT packet for nobody: the peer's way of saying that it forgot a connection, or ours to say so.
    pub(super) fn on_unknown_short(&mut self, now: Time, received: Received, short: &Short, datagram: &[u8]) {
        let Some(tail) = datagram.last_chunk().filter(|_| datagram.len() >= RESET_LEN_MIN) else { return };
        let owner = self.resets.find(tail);
        if let Some(Owner { shard, .. }) = owner.filter(|owner| owner.shard != self.seat.shard()) {
            // Its connection ID is random, so that it came to whichever shard.
            if self.foreign.len() < REPLIES_MAX {
                self.foreign.push_back((shard, received, datagram.to_vec()));
            }
            return;
        }
        if let Some(Owner { id, .. }) = owner
            && let Some(entry) = self.connections.get_mut(id)
            && entry.connection.on_stateless_reset(now, tail)
        {
            self.counters.resets_received += 1;
            self.touch(id);
            return;
        }
        // RFC 9000 §10.3.3: always shorter than what it answers, so that two endpoints fall silent soon.
        let len = RESET_LEN_MAX.min(datagram.len() - 1);
        let commons = &self.seat.commons;
        let Some(source) = commons.reset_source().get().filter(|_| len >= RESET_LEN_MIN) else {
            return;
        };
        if self.replies.len() >= REPLIES_MAX || !commons.gate().resets.take(now) {
            return;
        }
        let token = source.reset_token(short.dcid.as_slice());
        let mut packet = vec![0; len];
        self.rng.fill(&mut packet);
        packet[0] = FIXED_BIT | packet[0] & 0x3f;
        packet[len - RESET_TOKEN_LEN..].copy_from_slice(&token);
        self.replies.push_back((received.tuple, packet));
        self.counters.resets_sent += 1;
    }
}
