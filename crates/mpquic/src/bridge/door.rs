//! The way to a shard from any thread: requests, and a bell.
//!
//! Refuses to know the handles: answers are plain values, from which the asking side makes its handles.

use super::shared::{Established, Opened};
use crate::error::{ConnectError, Error};
use crate::locked;
use core::sync::atomic::{AtomicBool, Ordering};
use mpquic_base::{Dir, FourTuple, PathId, StreamId};
use mpquic_net::Waker;
use mpquic_proto::ConnectionId;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
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
    SetPathBackup {
        connection: ConnectionId,
        path: PathId,
        backup: bool,
        reply: Reply<()>,
    },
    Export {
        connection: ConnectionId,
        len: usize,
        label: Vec<u8>,
        context: Vec<u8>,
        reply: Reply<Vec<u8>>,
    },
    /// There is something in the stream's outbox.
    Write(ConnectionId, StreamId),
    /// There is room in the stream's inbox again.
    Read(ConnectionId, StreamId),
    Reset(ConnectionId, StreamId, u64),
    Stop(ConnectionId, StreamId, u64),
    /// There is room for incoming streams again.
    Accept(ConnectionId, Dir),
    /// There are datagrams to be sent.
    Datagrams(ConnectionId),
    Close(ConnectionId, u64, Vec<u8>),
    /// The last handle is gone.
    Released(ConnectionId),
    Shutdown,
}

#[derive(Debug)]
pub(crate) struct ConnectRequest {
    pub(crate) config: mpquic_proto::ClientConfig,
    pub(crate) pinned: bool,
    pub(crate) server_name: String,
    pub(crate) tuple: FourTuple,
    pub(crate) reply: Reply<Established, ConnectError>,
}

#[derive(Debug)]
pub(crate) struct Door {
    requests: Mutex<Vec<Request>>,
    waker: Waker,
    closed: AtomicBool,
    closing: Notify,
    addresses: Vec<SocketAddr>,
}

impl Door {
    pub(crate) fn new(waker: Waker, addresses: Vec<SocketAddr>) -> Self {
        Self {
            requests: Mutex::default(),
            waker,
            closed: AtomicBool::new(false),
            closing: Notify::new(),
            addresses,
        }
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
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The full address that packets from `local` to `peer` will carry; `None` if no socket is bound there.
    pub(crate) fn source(&self, local: SocketAddr, peer: SocketAddr) -> Option<SocketAddr> {
        let serves = |bound: &&SocketAddr| {
            let ip = bound.ip() == local.ip()
                || (bound.ip().is_unspecified() && bound.is_ipv4() == local.is_ipv4());
            ip && (bound.port() == local.port() || local.port() == 0)
        };
        let exact = self.addresses.iter().find(|bound| **bound == local);
        let bound = exact.or_else(|| self.addresses.iter().find(serves))?;
        if !local.ip().is_unspecified() {
            return Some(SocketAddr::new(local.ip(), bound.port()));
        }
        // Arrivals name the address they were sent to, so the path has to as well: the one that the routing table
        // picks for this peer. Connecting a UDP socket sends nothing.
        let probe = UdpSocket::bind(SocketAddr::new(local.ip(), 0)).and_then(|socket| {
            socket.connect(peer)?;
            socket.local_addr()
        });
        Some(SocketAddr::new(probe.map_or(local.ip(), |found| found.ip()), bound.port()))
    }
}
