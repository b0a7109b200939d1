//! What a connection's handles and its shard both see: snapshots, and bounded queues in both directions.

use super::mailbox::{Inbox, Outbox};
use crate::locked;
use mpquic_base::{Dir, StreamId};
use mpquic_engine::ShardStats;
use mpquic_proto::{
    CloseReason, ConnectionCounters, ConnectionId, DatagramStats, PathEvent, PathStats, StreamStats,
};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use tokio::sync::Notify;

/// Streams of the peer, per direction, that may wait to be accepted; more stay in the connection.
pub(crate) const INCOMING_MAX: usize = 64;
/// Datagrams per direction; of received ones the oldest give way.
pub(crate) const DATAGRAMS_MAX: usize = 1024;
/// Path events that may wait; the oldest give way.
const PATH_EVENTS_MAX: usize = 256;

/// What a connection has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectionStats {
    pub counters: ConnectionCounters,
    pub streams: StreamStats,
    pub datagrams: DatagramStats,
}

/// What an endpoint has done so far, over all its connections and sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointStats {
    pub datagrams_sent: u64,
    pub datagrams_received: u64,
    /// System calls that sent datagrams or tried to, and such that received.
    pub send_calls: u64,
    pub receive_calls: u64,
    /// Bytes of the largest datagram sent (UDP payload).
    pub largest_sent: u64,
    /// Datagrams sent although they were larger than [`TransportConfig::mtu_ceiling`](mpquic_proto::TransportConfig) or
    /// the peer's limit allow.
    pub over_limit: u64,
    /// Connections of peers that were begun, and such that were not because a limit was reached.
    pub accepted: u64,
    pub refused: u64,
    /// Clients that were asked to prove their address first.
    pub retries: u64,
    /// Datagrams that led to no connection and opened none.
    pub unroutable: u64,
}

impl EndpointStats {
    /// Together with what one shard has done.
    pub(crate) fn with(self, shard: &ShardStats) -> Self {
        let ShardStats { counters, endpoint, .. } = shard;
        let traffic = counters.traffic;
        Self {
            datagrams_sent: self.datagrams_sent + traffic.datagrams_sent,
            datagrams_received: self.datagrams_received + traffic.datagrams_received,
            send_calls: self.send_calls + traffic.send_calls,
            receive_calls: self.receive_calls + traffic.receive_calls,
            largest_sent: self.largest_sent.max(traffic.largest_sent),
            over_limit: self.over_limit + counters.over_limit,
            accepted: self.accepted + endpoint.accepted,
            refused: self.refused + endpoint.refused,
            retries: self.retries + endpoint.retries,
            unroutable: self.unroutable + endpoint.unroutable,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    /// Once the handshake is complete.
    pub(crate) agreed: OnceLock<Agreed>,
    state: Mutex<State>,
    /// Rung at every change but datagrams.
    pub(crate) changed: Notify,
    pub(crate) datagram_arrived: Notify,
    /// Rung when `outgoing` has room again after it was full.
    pub(crate) datagram_room: Notify,
}

/// What the handshake came to.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) peer_certificate: Option<Vec<u8>>,
    pub(crate) version: u32,
    pub(crate) cipher: Option<&'static str>,
    pub(crate) resumed: bool,
    pub(crate) retried: bool,
    pub(crate) early_data: Option<bool>,
    pub(crate) preferred: Vec<SocketAddr>,
    pub(crate) can_reset_at: bool,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) closed: Option<CloseReason>,
    pub(crate) paths: Vec<PathStats>,
    pub(crate) stats: ConnectionStats,
    pub(crate) path_events: VecDeque<PathEvent>,
    pub(crate) bi: Queue,
    pub(crate) uni: Queue,
    pub(crate) outgoing: VecDeque<Vec<u8>>,
    /// The shard is going to look at `outgoing`.
    pub(crate) outgoing_attended: bool,
    /// Somebody found no room in `outgoing`.
    pub(crate) outgoing_full: bool,
    pub(crate) arrived: VecDeque<Vec<u8>>,
    /// Datagrams that gave way in `arrived`.
    pub(crate) overrun: u64,
    pub(crate) max_datagram: Option<usize>,
}

/// Streams that the peer opened.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) streams: VecDeque<Incoming>,
    /// More wait in the connection for room here.
    pub(crate) starving: bool,
}

#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) id: StreamId,
    /// Handed out before the handshake was complete.
    pub(crate) early: bool,
    pub(crate) outbox: Option<Arc<Outbox>>,
    pub(crate) inbox: Arc<Inbox>,
}

/// A stream that we opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) id: StreamId,
    /// Opened before the handshake was complete.
    pub(crate) early: bool,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) inbox: Option<Arc<Inbox>>,
}

/// A connection, as a rule with its handshake complete. Whoever takes it has to say [`super::door::Request::Released`] one
/// day.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) id: ConnectionId,
    pub(crate) shared: Arc<Shared>,
}

/// A connection that was begun.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) entrance: Entrance,
    /// A ticket of the last visit allows to send at once.
    pub(crate) early: bool,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            agreed: OnceLock::new(),
            state: Mutex::default(),
            changed: Notify::new(),
            datagram_arrived: Notify::new(),
            datagram_room: Notify::new(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    pub(crate) fn close(&self, reason: CloseReason) {
        self.state().closed.get_or_insert(reason);
        self.changed.notify_waiters();
        self.datagram_arrived.notify_waiters();
        self.datagram_room.notify_waiters();
    }

    pub(crate) fn on_path_event(&self, event: PathEvent) {
        let events = &mut self.state().path_events;
        if event == PathEvent::Available && events.back() == Some(&event) {
            return;
        }
        if events.len() >= PATH_EVENTS_MAX {
            events.pop_front();
        }
        events.push_back(event);
        self.changed.notify_waiters();
    }

    pub(crate) fn on_datagrams(&self, datagrams: impl Iterator<Item = Vec<u8>>) {
        let mut state = self.state();
        for datagram in datagrams {
            if state.arrived.len() >= DATAGRAMS_MAX {
                state.arrived.pop_front();
                state.overrun += 1;
            }
            state.arrived.push_back(datagram);
        }
        drop(state);
        self.datagram_arrived.notify_waiters();
    }

    /// Waits until `look` finds something. Nothing is taken by a wait that is given up.
    pub(crate) async fn find<T>(&self, bell: &Notify, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        if let Some(found) = look(&mut self.state()) {
            return found;
        }
        loop {
            let rung = bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            if let Some(found) = look(&mut self.state()) {
                return found;
            }
            rung.await;
        }
    }
}

impl State {
    pub(crate) const fn queue(&mut self, dir: Dir) -> &mut Queue {
        match dir {
            Dir::Bi => &mut self.bi,
            Dir::Uni => &mut self.uni,
        }
    }
}
