//! The way to a shard from any thread: requests, and a bell.
//!
//! Refuses to know the handles: answers are plain values, from which the asking side makes its handles.

use super::bells::Others;
use super::shared::{Begun, Opened};
use crate::bind::Bind;
use crate::error::{ConnectError, Error};
use crate::locked;
use core::sync::atomic::{AtomicBool, Ordering};
use mpquic_base::{Dir, FourTuple, PathId, StreamId};
use mpquic_engine::ShardStats;
use mpquic_net::{Socket, Throttle, Waker, serves};
use mpquic_proto::{ConnectionId, PathStats};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, oneshot};

pub(crate) type Reply<T, E = Error> = oneshot::Sender<Result<T, E>>;

/// Where a [`Reply`] arrives. If the wait for it is given up, `unwanted` gets what was already on its way.
pub(crate) struct Answer<T, E, F: FnMut(T)> {
    receiver: oneshot::Receiver<Result<T, E>>,
    unwanted: F,
}

impl<T, E, F: FnMut(T)> Answer<T, E, F> {
    pub(crate) fn channel(unwanted: F) -> (Reply<T, E>, Self) {
        let (reply, receiver) = oneshot::channel();
        (reply, Self { receiver, unwanted })
    }

    /// `None` if the request was dropped without a reply.
    pub(crate) async fn arrived(mut self) -> Option<Result<T, E>> {
        (&mut self.receiver).await.ok()
    }
}

impl<T, E, F: FnMut(T)> Drop for Answer<T, E, F> {
    fn drop(&mut self) {
        // From here on a reply fails, and its sender knows that nobody has it.
        self.receiver.close();
        if let Ok(Ok(answer)) = self.receiver.try_recv() {
            (self.unwanted)(answer);
        }
    }
}

/// What a handle wants from its shard. At most one is under way per stream and purpose, or per waiting caller.
#[derive(Debug)]
pub(crate) enum Request {
    Connect(Box<ConnectRequest>),
    AddSocket {
        socket: Box<Socket>,
        bind: Bind,
        throttle: Arc<Throttle>,
        reply: Reply<SocketAddr, io::Error>,
    },
    RemoveSocket {
        local: SocketAddr,
        reply: Reply<bool>,
    },
    Open {
        connection: ConnectionId,
        dir: Dir,
        reply: Reply<Opened>,
    },
    OpenPath {
        connection: ConnectionId,
        tuple: FourTuple,
        backup: bool,
        reply: Reply<PathId>,
    },
    AbandonPath {
        connection: ConnectionId,
        path: PathId,
        reply: Reply<()>,
    },
    MovePath {
        connection: ConnectionId,
        path: PathId,
        tuple: FourTuple,
        reply: Reply<()>,
    },
    SetPathBackup {
        connection: ConnectionId,
        path: PathId,
        backup: bool,
        reply: Reply<()>,
    },
    Paths {
        connection: ConnectionId,
        reply: Reply<Vec<PathStats>>,
    },
    Export {
        connection: ConnectionId,
        len: usize,
        label: Vec<u8>,
        context: Vec<u8>,
        reply: Reply<Vec<u8>>,
    },
    UpdateKeys {
        connection: ConnectionId,
        reply: Reply<()>,
    },
    /// All address tokens: server, QUIC version, token.
    Tokens {
        reply: Reply<Vec<(String, u32, Vec<u8>)>>,
    },
    RememberTokens(Vec<(String, u32, Vec<u8>)>),
    /// There is something in the stream's outbox.
    Write(ConnectionId, StreamId),
    /// There is room in the stream's inbox again.
    Read(ConnectionId, StreamId),
    Reset(ConnectionId, StreamId, u64),
    /// With the reliable size.
    ResetAt(ConnectionId, StreamId, u64, u64),
    Stop(ConnectionId, StreamId, u64),
    /// There is room for incoming streams again.
    Accept(ConnectionId, Dir),
    /// There are datagrams to be sent.
    Datagrams(ConnectionId),
    Close(ConnectionId, u64, Vec<u8>),
    /// The last handle is gone.
    Released(ConnectionId),
    Stats(Reply<ShardStats>),
    Shutdown,
}

#[derive(Debug)]
pub(crate) struct ConnectRequest {
    pub(crate) config: mpquic_proto::ClientConfig,
    pub(crate) server_name: String,
    pub(crate) tuple: FourTuple,
    /// As soon as the connection was begun.
    pub(crate) reply: Reply<Begun, ConnectError>,
}

/// A socket of the shard.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) local: SocketAddr,
    pub(crate) bind: Bind,
    /// Shared with the other shards' sockets of the same link.
    pub(crate) throttle: Arc<Throttle>,
}

#[derive(Debug)]
pub(crate) struct Door {
    requests: Mutex<Vec<Request>>,
    waker: Waker,
    closed: AtomicBool,
    closing: Notify,
    sockets: Mutex<Vec<Bound>>,
    others: Others,
}

impl Door {
    pub(crate) fn new(waker: Waker, sockets: Vec<Bound>) -> Self {
        Self {
            requests: Mutex::default(),
            waker,
            closed: AtomicBool::new(false),
            closing: Notify::new(),
            sockets: Mutex::new(sockets),
            others: Others::default(),
        }
    }

    /// The tasks that are woken by whichever comes to its stream first.
    pub(crate) const fn others(&self) -> &Others {
        &self.others
    }

    /// A request to a shard that is gone is dropped, and with it its reply.
    pub(crate) fn send(&self, request: Request) {
        let mut requests = locked(&self.requests);
        if self.is_closed() {
            drop(requests);
            drop(request);
            return;
        }
        let first = requests.is_empty();
        requests.push(request);
        drop(requests);
        if first {
            self.waker.wake();
        }
    }

    /// The shard takes all requests; `into` has to be empty.
    pub(crate) fn take(&self, into: &mut Vec<Request>) {
        core::mem::swap(&mut *locked(&self.requests), into);
    }

    /// The shard ends.
    pub(crate) fn close(&self) {
        let mut requests = locked(&self.requests);
        self.closed.store(true, Ordering::Release);
        let left = core::mem::take(&mut *requests);
        drop(requests);
        // Outside the lock: a dropped reply wakes its caller, who may want to send requests.
        drop(left);
        self.closing.notify_waiters();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Waits for the shard's end.
    pub(crate) async fn closed(&self) {
        let closing = self.closing.notified();
        tokio::pin!(closing);
        closing.as_mut().enable();
        if !self.is_closed() {
            closing.await;
        }
    }

    /// The sockets' addresses.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        locked(&self.sockets).iter().map(|bound| bound.local).collect()
    }

    pub(crate) fn on_added(&self, bound: Bound) {
        locked(&self.sockets).push(bound);
    }

    pub(crate) fn on_removed(&self, local: SocketAddr) {
        locked(&self.sockets).retain(|bound| bound.local != local);
    }

    /// What bounds the socket bound to this very address.
    pub(crate) fn throttle(&self, local: SocketAddr) -> Option<Arc<Throttle>> {
        let sockets = locked(&self.sockets);
        sockets.iter().find(|bound| bound.local == local).map(|bound| Arc::clone(&bound.throttle))
    }

    /// Some socket sends packets from this very address.
    pub(crate) fn serves(&self, local: SocketAddr) -> bool {
        locked(&self.sockets).iter().any(|bound| serves(bound.local, local))
    }

    /// The full address that packets from `local` to `peer` will carry; `None` if no socket is bound there.
    pub(crate) fn source(&self, local: SocketAddr, peer: SocketAddr) -> Option<SocketAddr> {
        let fits = |bound: &&Bound| {
            let port = if local.port() == 0 { bound.local.port() } else { local.port() };
            let ip = bound.local.ip() == local.ip() && bound.local.port() == port;
            ip || serves(bound.local, SocketAddr::new(local.ip(), port))
        };
        let (port, bind) = {
            let sockets = locked(&self.sockets);
            let exact = sockets.iter().find(|bound| bound.local == local);
            let bound = exact.or_else(|| sockets.iter().find(fits))?;
            (bound.local.port(), bound.bind.clone())
        };
        if !local.ip().is_unspecified() {
            return Some(SocketAddr::new(local.ip(), port));
        }
        // Arrivals name the address they were sent to, so the path has to as well: the one that the routing table
        // picks for this peer.
        Some(SocketAddr::new(bind.source_towards(peer).unwrap_or(local.ip()), port))
    }
}
