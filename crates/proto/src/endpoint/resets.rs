//! Stateless resets (RFC 9000 §10.3): sent for connections that are forgotten here, understood from peers that forgot ours.

use super::{ConnectionId, Endpoint, REPLIES_MAX};
use crate::cids::ResetChange;
use crate::conn::{Connection, RESET_LEN_MIN};
use crate::crypto::ResetTokens;
use mpquic_base::{FourTuple, Time};
use mpquic_wire::frame::RESET_TOKEN_LEN;
use mpquic_wire::header::{FIXED_BIT, Short};
use std::collections::BTreeMap;
use std::sync::Arc;

/// RFC 9000 §10.3: no longer than this, so that it looks like a small packet.
const RESET_LEN_MAX: usize = 43;

type ResetToken = [u8; RESET_TOKEN_LEN];

/// The secret behind our tokens, and which connections the tokens of peers would end.
pub(super) struct Resets {
    source: Option<Arc<dyn ResetTokens>>,
    /// Keyed by a function of the token that only we can compute, so that the time of a search tells nothing about it
    /// (RFC 9000 §10.3.1).
    routes: BTreeMap<ResetToken, ConnectionId>,
    changes: Vec<ResetChange>,
}

impl Resets {
    pub(super) const fn new(source: Option<Arc<dyn ResetTokens>>) -> Self {
        Self { source, routes: BTreeMap::new(), changes: Vec::new() }
    }

    /// The endpoint's secret; a client's endpoint takes it from its first connection.
    pub(super) fn source(&mut self, first: impl FnOnce() -> Arc<dyn ResetTokens>) -> Arc<dyn ResetTokens> {
        Arc::clone(self.source.get_or_insert_with(first))
    }

    pub(super) fn apply(&mut self, id: ConnectionId, connection: &mut Connection) {
        let Some(source) = &self.source else { return };
        connection.take_reset_changes(&mut self.changes);
        for change in self.changes.drain(..) {
            match change {
                ResetChange::Add(token) => {
                    self.routes.insert(source.reset_token(&token), id);
                }
                ResetChange::Remove(token) => {
                    self.routes.remove(&source.reset_token(&token));
                }
            }
        }
    }

    fn find(&self, tail: &ResetToken) -> Option<ConnectionId> {
        self.routes.get(&self.source.as_ref()?.reset_token(tail)).copied()
    }
}

impl Endpoint {
    /// A 1-RTT packet for nobody: the peer's way of saying that it forgot a connection, or ours to say so.
    pub(super) fn on_unknown_short(&mut self, now: Time, tuple: FourTuple, short: &Short, datagram: &[u8]) {
        let Some(tail) = datagram.last_chunk().filter(|_| datagram.len() >= RESET_LEN_MIN) else { return };
        if let Some(id) = self.resets.find(tail)
            && let Some(entry) = self.connections.get_mut(id)
            && entry.connection.on_stateless_reset(now, tail)
        {
            self.counters.resets_received += 1;
            self.touch(id);
            return;
        }
        // RFC 9000 §10.3.3: always shorter than what it answers, so that two endpoints fall silent soon.
        let len = RESET_LEN_MAX.min(datagram.len() - 1);
        let Some(source) = self.resets.source.as_ref().filter(|_| len >= RESET_LEN_MIN) else {
            return;
        };
        if self.replies.len() >= REPLIES_MAX || !self.gate.resets.take(now) {
            return;
        }
        let token = source.reset_token(short.dcid.as_slice());
        let mut packet = vec![0; len];
        self.rng.fill(&mut packet);
        packet[0] = FIXED_BIT | packet[0] & 0x3f;
        packet[len - RESET_TOKEN_LEN..].copy_from_slice(&token);
        self.replies.push_back((tuple, packet));
        self.counters.resets_sent += 1;
    }
}
