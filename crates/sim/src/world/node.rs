//! One end of the world: an endpoint with the real pool and the real wheel, and no sockets.

use crate::crypto::{Elsewhere, PlainCrypto};
use mpquic_base::{Duration, Ecn, FourTuple, Rng, Time};
use mpquic_net::{Lane, Pool, PoolConfig, Slot, Wheel};
use mpquic_proto::{
    ClientConfig, Connection, ConnectionCounters, ConnectionId, Endpoint, EndpointCounters, Event, Fate,
    PathStats, Received, Refused, ServerConfig, Tag, Transmit, TransportConfig,
};
use std::collections::VecDeque;
use std::sync::Arc;

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Client,
    Server,
}

impl Side {
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// Blocks that may wait at once: the credits of a few connections.
const POOL_MAX: usize = 128;

/// Attempts to connect that copies of old packets may begin are among them.
const CONNECTIONS_MAX: usize = 4096;

struct Waiting {
    id: Option<ConnectionId>,
    tag: Tag,
    tuple: FourTuple,
    segment: usize,
    ecn: Ecn,
    slot: Slot,
    len: usize,
}

/// A batch that has left, of which the connection does not know yet.
struct Left {
    at: Time,
    told_at: Time,
    batch: Waiting,
}

pub struct Node {
    endpoint: Endpoint,
    pool: Pool,
    wheel: Wheel<Waiting>,
    /// How long after a batch has left its connection is told so, and its block is free again.
    told_after: Duration,
    left: VecDeque<Left>,
    /// Something may have to be sent although no timer is due.
    awake: bool,
    ids: Vec<ConnectionId>,
    mtu_ceiling: usize,
}

impl Node {
    pub(super) fn client(config: &TransportConfig, rng: Rng) -> Self {
        Self::new(Endpoint::new(None, rng), config)
    }

    pub(super) fn server(config: &TransportConfig, rng: Rng) -> Self {
        let server = ServerConfig {
            crypto: Arc::new(PlainCrypto),
            transport: Arc::new(config.clone()),
            max_connections: CONNECTIONS_MAX,
        };
        Self::new(Endpoint::new(Some(server), rng), config)
    }

    fn new(endpoint: Endpoint, config: &TransportConfig) -> Self {
        Self {
            endpoint,
            pool: Pool::new(PoolConfig { initial: 4, max: POOL_MAX, ..PoolConfig::default() }),
            wheel: Wheel::new(POOL_MAX),
            told_after: Duration::ZERO,
            left: VecDeque::new(),
            awake: true,
            ids: Vec::new(),
            mtu_ceiling: usize::from(config.mtu_ceiling),
        }
    }

    pub(super) fn connect(&mut self, now: Time, config: &TransportConfig, tuple: FourTuple) -> ConnectionId {
        let crypto = Arc::new(Elsewhere(Arc::new(PlainCrypto)));
        let config = ClientConfig { crypto, transport: Arc::new(config.clone()) };
        let id = self.endpoint.connect(now, &config, "sim", tuple).expect("the stand-in never refuses");
        self.ids.push(id);
        id
    }

    pub(super) fn is_confirmed(&self, id: ConnectionId) -> bool {
        self.endpoint.peek(id).is_some_and(Connection::is_confirmed)
    }

    pub(super) fn open_path(&mut self, now: Time, id: ConnectionId, tuple: FourTuple) -> Result<(), Refused> {
        self.awake = true;
        self.connection(id).ok_or(Refused::Closed)?.open_path(now, tuple, false).map(|_| ())
    }

    pub(super) const fn wake(&mut self) {
        self.awake = true;
    }

    /// The connection, to act on as its application.
    pub fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.awake = true;
        self.endpoint.connection(id)
    }

    /// The node's `n`th connection.
    #[must_use]
    pub fn id(&self, n: usize) -> Option<ConnectionId> {
        self.ids.get(n).copied()
    }

    pub(super) fn paths(&self, n: usize) -> Vec<PathStats> {
        let connection = self.ids.get(n).and_then(|id| self.endpoint.peek(*id));
        connection.map_or_else(Vec::new, |c| c.path_stats().collect())
    }

    /// The endpoint's counters, and those of its first connection.
    pub(super) fn counters(&self) -> (EndpointCounters, Option<ConnectionCounters>) {
        let first = self.ids.first().and_then(|id| self.endpoint.peek(*id));
        (self.endpoint.counters(), first.map(Connection::counters))
    }

    pub(super) fn audit(&self) -> Result<(), String> {
        let pool = self.pool.stats();
        let (waiting, left) = (self.wheel.len(), self.left.len());
        if pool.allocated != pool.free + waiting + left {
            return Err(format!(
                "{pool:?}, but {waiting} batches wait in the wheel and {left} for their fate"
            ));
        }
        self.ids.iter().filter_map(|id| self.endpoint.peek(*id)).try_for_each(Connection::audit)
    }

    pub(super) fn receive(&mut self, now: Time, tuple: FourTuple, ecn: Ecn, bytes: &mut [u8]) {
        self.awake = true;
        self.endpoint.receive(now, Received { tuple, ecn }, bytes);
    }

    pub(super) fn next(&self) -> Option<Time> {
        if self.awake {
            return Some(Time::ZERO);
        }
        let told = self.left.front().map(|left| left.told_at);
        Time::soonest(told, Time::soonest(self.endpoint.deadline(), self.wheel.next()))
    }

    pub(super) const fn tell_after(&mut self, delay: Duration) {
        self.told_after = delay;
    }

    /// Tells connections what has left.
    fn tell(&mut self, now: Time) {
        while let Some(Left { at, batch, .. }) = self.left.pop_front_if(|left| left.told_at <= now) {
            if let Some(id) = batch.id {
                self.endpoint.settle(now, id, batch.tag, Fate::Sent(at));
            }
        }
    }

    pub(super) fn expire(&mut self, now: Time) {
        self.endpoint.expire(now);
    }

    pub(super) fn event(&mut self) -> Option<(ConnectionId, Event)> {
        let event = self.endpoint.event()?;
        if !self.ids.contains(&event.0) {
            self.ids.push(event.0);
        }
        Some(event)
    }

    /// One batch from the endpoint to the wheel; false if there is none, or no block to hold it.
    fn hand_over(&mut self, now: Time) -> bool {
        let Some(mut slot) = self.pool.take() else { return false };
        let Some((id, transmit)) = self.endpoint.transmit(now, &mut slot) else { return false };
        let Transmit { tag, tuple, segment, len, ecn, .. } = transmit;
        let stats = id.and_then(|id| self.endpoint.peek(id)).map(Connection::path_stats);
        let mtu = stats.and_then(|mut paths| paths.find(|p| p.id == tag.path)).map(|p| usize::from(p.mtu));
        // Only an MTU probe, alone in its datagram, may be larger than what the path is known to carry.
        let limit = if len > segment { mtu.unwrap_or(self.mtu_ceiling) } else { self.mtu_ceiling };
        assert!(segment <= limit, "a datagram above the MTU of {limit}: {transmit:?}");
        let lane = if transmit.urgent { Lane::Control } else { Lane::Data };
        self.wheel.insert(
            transmit.departs_at.max(now),
            lane,
            Waiting { id, tag, tuple, segment, ecn, slot, len },
        );
        true
    }

    /// Takes batches from the endpoint and releases those that are due, cut into datagrams.
    pub(super) fn transmit(&mut self, now: Time, departed: &mut Vec<(FourTuple, Ecn, Vec<u8>)>) {
        loop {
            self.tell(now);
            while self.hand_over(now) {}
            let mut released = false;
            while let Some(waiting) = self.wheel.pop_due(now) {
                released = true;
                for datagram in waiting.slot[..waiting.len].chunks(waiting.segment) {
                    departed.push((waiting.tuple, waiting.ecn, datagram.to_vec()));
                }
                self.left.push_back(Left { at: now, told_at: now + self.told_after, batch: waiting });
            }
            if !released {
                self.awake = false;
                return;
            }
        }
    }
}

impl core::fmt::Debug for Node {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Node").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
