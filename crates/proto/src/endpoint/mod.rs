//! All connections of one set of sockets: routing by connection ID, accepting, and whose turn it is.
//!
//! Owns the connections and the table that leads to them. Knows addresses as labels only; it opens no socket, reads
//! no clock and keeps no timer beyond the earliest deadline of each connection. One of several shards, if it is seated so:
//! then it also tells whose a datagram is.

mod accept;
mod admission;
mod answers;
mod commons;
mod resets;
mod slots;

pub use accept::{ClientConfig, ConnectError, ServerConfig};
pub use admission::{Admission, RetryPolicy};
pub(crate) use answers::pseudo_retry;
pub use commons::Seat;

use crate::cids::{LOCAL_CID_LEN, RouteChange};
use crate::conn::{Arrival, Connection, Fate, Tag, Transmit};
use crate::crypto::ResetTokens;
use crate::event::Event;
use crate::tokens::Purse;
use mpquic_base::{Cid, Duration, Ecn, FourTuple, PathId, Rate, Rng, Time};
use mpquic_wire::header::{PartialHeader, short_dcid};
use resets::Resets;
use rustc_hash::FxHashMap;
use slots::Slots;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

/// Which connection of an endpoint; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// Where a datagram came from and went to, and how it was marked.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    pub tuple: FourTuple,
    pub ecn: Ecn,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct EndpointCounters {
    pub datagrams_received: u64,
    /// Datagrams that led to no connection and opened none.
    pub unroutable: u64,
    pub accepted: u64,
    /// New connections that were not taken in because a limit was reached.
    pub refused: u64,
    pub version_negotiations: u64,
    pub retries: u64,
    /// Attempts with a Retry token that proved nothing.
    pub invalid_tokens: u64,
    /// Stateless resets sent, and connections that one has ended.
    pub resets_sent: u64,
    pub resets_received: u64,
}

/// A connection ID of ours, all of which have this length.
type RouteKey = [u8; LOCAL_CID_LEN];

#[derive(Clone, Copy, Debug)]
struct Route {
    connection: ConnectionId,
    path: PathId,
    seq: u64,
}

/// Answers to datagrams of strangers that may wait to be sent.
const REPLIES_MAX: usize = 64;

pub struct Endpoint {
    rng: Rng,
    server: Option<ServerConfig>,
    connections: Slots,
    /// Our connection IDs are random and our own, so an unkeyed hash cannot be attacked.
    routes: FxHashMap<RouteKey, Route>,
    /// Where the last datagram led to: those of a train lead to the same.
    last_route: Option<(RouteKey, Route)>,
    /// The IDs that clients chose for their first packets; theirs to choose, hence an ordered map.
    first_dcids: BTreeMap<(Cid, SocketAddr), ConnectionId>,
    ready: VecDeque<ConnectionId>,
    eventful: VecDeque<ConnectionId>,
    deadlines: BTreeSet<(Time, ConnectionId)>,
    replies: VecDeque<(FourTuple, Vec<u8>)>,
    changes: Vec<RouteChange>,
    resets: Resets,
    /// Datagrams that turned out to be another shard's business.
    foreign: VecDeque<(u16, Received, Vec<u8>)>,
    seat: Seat,
    purse: Purse,
    counters: EndpointCounters,
}

impl Endpoint {
    /// `server` makes the endpoint accept connections; `rng` is its only source of randomness.
    #[must_use]
    pub fn new(server: Option<ServerConfig>, rng: Rng) -> Self {
        Self::seated(server, rng, Seat::alone())
    }

    /// As [`Endpoint::new`], one shard of several. All shards have the same `server`, and each its own `rng` and seat.
    #[must_use]
    pub fn seated(server: Option<ServerConfig>, rng: Rng, seat: Seat) -> Self {
        let resets =
            Resets::new(&seat, server.as_ref().map(|s| Arc::clone(&s.crypto) as Arc<dyn ResetTokens>));
        Self {
            rng,
            server,
            connections: Slots::default(),
            routes: FxHashMap::default(),
            last_route: None,
            first_dcids: BTreeMap::new(),
            ready: VecDeque::new(),
            eventful: VecDeque::new(),
            deadlines: BTreeSet::new(),
            replies: VecDeque::new(),
            changes: Vec::new(),
            resets,
            foreign: VecDeque::new(),
            seat,
            purse: Purse::default(),
            counters: EndpointCounters::default(),
        }
    }

    /// What to do about strangers, from now on.
    pub fn set_admission(&mut self, admission: Admission) {
        self.seat.commons.gate().admission = admission;
    }

    /// Keeps a token of an earlier life ([`Endpoint::tokens`]) for the next connection of that version to that server.
    pub fn remember_token(&mut self, server_name: &str, version: u32, token: Vec<u8>) {
        self.purse.put(server_name, version, token);
    }

    /// The tokens that servers gave and that were not used yet: server, QUIC version, token. Oldest first.
    pub fn tokens(&self) -> impl Iterator<Item = (&str, u32, &[u8])> {
        self.purse.tokens()
    }

    #[must_use]
    pub const fn counters(&self) -> EndpointCounters {
        self.counters
    }

    /// Connections that are not yet forgotten.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A connection to act on; it will be asked for packets afterwards.
    pub fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.touch(id);
        self.connections.get_mut(id).map(|entry| &mut entry.connection)
    }

    /// A connection to look at.
    #[must_use]
    pub fn peek(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(id).map(|entry| &entry.connection)
    }

    /// The shortest round trip of the connection that was last heard from.
    #[must_use]
    pub fn shortest_rtt(&self) -> Option<Duration> {
        let (_, route) = self.last_route?;
        self.peek(route.connection)?.shortest_rtt()
    }

    /// Takes in one datagram; it is decrypted where it lies.
    pub fn receive(&mut self, now: Time, received: Received, datagram: &mut [u8]) {
        self.counters.datagrams_received += 1;
        let Received { tuple, ecn } = received;
        let len = datagram.len();
        if let Some((cid, Route { connection, path, seq })) = self.last_route
            && short_dcid(datagram, LOCAL_CID_LEN).is_some_and(|(dcid, _)| dcid == cid.as_slice())
        {
            let arrival = Arrival { tuple, ecn, path, len, cid_seq: Some(seq) };
            return self.deliver(now, connection, &arrival, datagram);
        }
        let Ok((header, _)) = PartialHeader::read(datagram, LOCAL_CID_LEN) else {
            self.counters.unroutable += 1;
            return;
        };
        match Cid::new(header.dcid()).and_then(|dcid| self.route(&dcid, tuple.peer)) {
            Some((id, path, cid_seq)) => {
                self.deliver(now, id, &Arrival { tuple, ecn, path, len, cid_seq }, datagram);
            }
            None => self.on_stranger(now, received, datagram),
        }
    }

    fn deliver(&mut self, now: Time, id: ConnectionId, arrival: &Arrival, datagram: &mut [u8]) {
        if let Some(entry) = self.connections.get_mut(id) {
            entry.connection.receive(now, arrival, datagram);
            if entry.connection.is_established()
                && let Some(host) = entry.handshaking.take()
            {
                self.seat.commons.gate().on_over(host);
            }
            self.touch(id);
            self.apply_route_changes(id);
        }
    }

    /// The shard that has to have this datagram, if it is another one.
    #[must_use]
    pub fn stray(&self, datagram: &[u8]) -> Option<u16> {
        let shard = self.seat.steering()?.shard_of(datagram);
        (shard != self.seat.shard()).then_some(shard)
    }

    /// A datagram whose connection ID led here and that another shard has to have after all: a stateless reset, whose
    /// ID means nothing.
    pub fn foreign(&mut self) -> Option<(u16, Received, Vec<u8>)> {
        self.foreign.pop_front()
    }

    fn route(&mut self, dcid: &Cid, peer: SocketAddr) -> Option<(ConnectionId, PathId, Option<u64>)> {
        let found = route_key(dcid).and_then(|key| Some((key, *self.routes.get(&key)?)));
        if let Some((_, route)) = found {
            self.last_route = found;
            return Some((route.connection, route.path, Some(route.seq)));
        }
        self.first_dcids.get(&(*dcid, peer)).map(|id| (*id, PathId::ZERO, None))
    }

    /// The next batch of datagrams to send, written into `out`. `None` for the connection means an answer to a
    /// stranger, whose fate nobody asks for.
    pub fn transmit(&mut self, now: Time, out: &mut [u8]) -> Option<(Option<ConnectionId>, Transmit)> {
        if let Some((tuple, bytes)) = self.replies.pop_front() {
            out[..bytes.len()].copy_from_slice(&bytes);
            return Some((None, accept::reply(tuple, bytes.len(), now)));
        }
        while let Some(&id) = self.ready.front() {
            let sent = self.connections.get_mut(id).and_then(|entry| entry.connection.transmit(now, out));
            self.ready.pop_front();
            if let Some(transmit) = sent {
                // Behind the others: one busy connection must not keep them waiting.
                self.ready.push_back(id);
                return Some((Some(id), transmit));
            }
            self.rest(id);
        }
        None
    }

    /// The fate of a transmission of connection `id`.
    pub fn settle(&mut self, now: Time, id: ConnectionId, tag: Tag, fate: Fate) {
        if let Some(entry) = self.connections.get_mut(id) {
            entry.connection.settle(now, tag, fate);
            self.touch(id);
        }
    }

    /// The link, bound to `limit`, lets a transmission of connection `id` leave no earlier than `until`: its path plans
    /// what follows after that.
    pub fn hold_back(&mut self, id: ConnectionId, tag: Tag, until: Time, limit: Rate) {
        if let Some(entry) = self.connections.get_mut(id) {
            entry.connection.hold_back(tag, until, limit);
        }
    }

    /// When [`Endpoint::expire`] wants to be called next. Valid once [`Endpoint::transmit`] has returned `None`.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Lets time pass for every connection with something due.
    pub fn expire(&mut self, now: Time) {
        while let Some(&(at, id)) = self.deadlines.first() {
            if at > now {
                return;
            }
            self.deadlines.pop_first();
            if let Some(entry) = self.connections.get_mut(id) {
                entry.deadline = None;
                entry.connection.expire(now);
                self.touch(id);
            }
        }
    }

    /// The next event of any connection. After [`Event::Closed`] nothing more comes from that connection.
    pub fn event(&mut self) -> Option<(ConnectionId, Event)> {
        while let Some(&id) = self.eventful.front() {
            let Some(entry) = self.connections.get_mut(id) else {
                self.eventful.pop_front();
                continue;
            };
            if let Some(event) = entry.connection.next_event() {
                let version = entry.connection.version();
                match (&event, &entry.server_name) {
                    (Event::Connected, Some(name)) => self.purse.on_spoken(name, version),
                    (Event::TokenReceived(token), Some(name)) => self.purse.put(name, version, token.clone()),
                    _ => {}
                }
                return Some((id, event));
            }
            entry.eventful = false;
            let done = entry.connection.is_done();
            self.eventful.pop_front();
            if done {
                self.remove(id);
            }
        }
        None
    }

    /// Has the connection asked for packets and events soon.
    fn touch(&mut self, id: ConnectionId) {
        let Some(entry) = self.connections.get_mut(id) else { return };
        if !entry.ready {
            entry.ready = true;
            self.ready.push_back(id);
        }
        if !entry.eventful {
            entry.eventful = true;
            self.eventful.push_back(id);
        }
    }

    /// The connection has nothing to send: note when it wants to be woken.
    fn rest(&mut self, id: ConnectionId) {
        self.apply_route_changes(id);
        let Some(entry) = self.connections.get_mut(id) else { return };
        entry.ready = false;
        let deadline = entry.connection.deadline();
        if entry.deadline != deadline {
            if let Some(old) = entry.deadline {
                self.deadlines.remove(&(old, id));
            }
            entry.deadline = deadline;
            if let Some(at) = deadline {
                self.deadlines.insert((at, id));
            }
        }
    }

    fn apply_route_changes(&mut self, id: ConnectionId) {
        if !self.connections.get_mut(id).is_some_and(|entry| entry.connection.has_route_changes()) {
            return;
        }
        self.last_route = None;
        let mut changes = core::mem::take(&mut self.changes);
        if let Some(entry) = self.connections.get_mut(id) {
            entry.connection.take_route_changes(&mut changes);
        }
        for change in changes.drain(..) {
            match change {
                RouteChange::Add { cid, path, seq } => {
                    let route = Route { connection: id, path, seq };
                    route_key(&cid).map(|key| self.routes.insert(key, route));
                }
                RouteChange::Remove(cid) => {
                    route_key(&cid).map(|key| self.routes.remove(&key));
                }
            }
        }
        self.changes = changes;
        if let Some(entry) = self.connections.get_mut(id) {
            self.resets.apply(id, &mut entry.connection);
        }
    }

    fn remove(&mut self, id: ConnectionId) {
        self.apply_route_changes(id);
        let Some(entry) = self.connections.remove(id) else { return };
        self.last_route = None;
        if let Some(at) = entry.deadline {
            self.deadlines.remove(&(at, id));
        }
        self.seat.commons.on_gone(1);
        if let Some(host) = entry.handshaking {
            self.seat.commons.gate().on_over(host);
        }
        if let Some(key) = entry.first_dcid {
            self.first_dcids.remove(&key);
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.seat.commons.on_gone(self.len());
    }
}

fn route_key(cid: &Cid) -> Option<RouteKey> {
    cid.as_slice().try_into().ok()
}

impl core::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Endpoint")
            .field("connections", &self.len())
            .field("routes", &self.routes.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
