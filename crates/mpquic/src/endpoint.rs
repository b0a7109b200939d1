//! The endpoint's handle: sockets in, connections out, a thread behind it.

mod start;

use crate::bind::Bind;
use crate::bridge::Accepting;
use crate::bridge::door::{Answer, ConnectRequest, Door, Request};
use crate::bridge::shared::EndpointStats;
use crate::config::{ClientConfig, ServerConfig};
use crate::connecting::Connecting;
use crate::connection::Connection;
use crate::error::ConnectError;
use crate::locked;
use crate::threads::Threads;
use crate::tokens;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use mpquic_base::{FourTuple, Rate};
use mpquic_engine::ShardStats;
use mpquic_net::{Instruction, Socket, Throttle};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// One UDP socket per link, and the thread that serves all connections over them.
///
/// Clones are handles on the same endpoint. Dropping the last one closes every connection and waits until the thread
/// has ended, which takes well under a second; [`Endpoint::shutdown`] does the same without blocking.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use mpquic::{ClientConfig, Endpoint, Identity, Pin, ServerConfig};
///
/// let identity = Identity::self_signed(&["example.org"])?;
/// let pin = Pin::Certificate(identity.fingerprint());
/// let server = Endpoint::server(ServerConfig::new(identity, &[b"echo"])?, &["0.0.0.0:4433".parse()?])?;
/// tokio::spawn(async move {
///     while let Some(connection) = server.accept().await {
///         tokio::spawn(async move {
///             while let Ok((mut send, mut recv)) = connection.accept_bi().await {
///                 let request = recv.read_to_end(1 << 20).await?;
///                 send.write_all(&request).await?;
///                 send.finish()?;
///             }
///             Ok::<(), std::io::Error>(())
///         });
///     }
/// });
///
/// // Two links: one socket on each.
/// let client = Endpoint::client(&["192.0.2.1:0".parse()?, "198.51.100.1:0".parse()?])?;
/// let (first, second) = (client.local_addrs()[0], client.local_addrs()[1]);
/// let peer = "203.0.113.1:4433".parse()?;
/// let config = ClientConfig::pinned(&[pin], &[b"echo"])?;
/// let connection = client.connect(&config, "example.org", first, peer).await?;
/// connection.open_path(second, peer, false).await?;
///
/// let (mut send, mut recv) = connection.open_bi().await?;
/// send.write_all(b"over both links").await?;
/// send.finish()?;
/// assert_eq!(recv.read_to_end(1 << 20).await?, b"over both links");
/// connection.close(0, b"done");
/// client.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Endpoint {
    shards: Arc<Shards>,
}

/// All threads of an endpoint, and what they serve together.
struct Shards {
    handles: Vec<ShardHandle>,
    accepting: Arc<Accepting>,
    /// How the kernel is told which shard's socket takes a datagram; `None` with one shard.
    program: Option<Vec<Instruction>>,
    busy_poll: Duration,
    /// The kernel took the program on every socket.
    steered: AtomicBool,
    /// Whose turn it is to begin a connection.
    turn: AtomicUsize,
}

struct ShardHandle {
    door: Arc<Door>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A link's sockets, one per shard, and what becomes their entries in the doors.
struct Opened {
    sockets: Vec<Socket>,
    bind: Bind,
    throttle: Arc<Throttle>,
}

impl Endpoint {
    /// Binds one UDP socket to each address; port 0 picks a free one.
    ///
    /// # Errors
    /// What the system reports about sockets or the thread; [`io::ErrorKind::InvalidInput`] without any address.
    pub fn client(binds: &[SocketAddr]) -> io::Result<Self> {
        Self::client_on(&some(binds)?)
    }

    /// As [`Endpoint::client`], and accepts connections.
    ///
    /// # Errors
    /// As [`Endpoint::client`].
    pub fn server(config: ServerConfig, binds: &[SocketAddr]) -> io::Result<Self> {
        Self::server_on(config, &some(binds)?)
    }

    /// As [`Endpoint::client`], with devices and marks. Without any socket nothing can be reached before the first
    /// [`Endpoint::add_socket`].
    ///
    /// # Errors
    /// What the system reports about sockets or the thread.
    pub fn client_on(binds: &[Bind]) -> io::Result<Self> {
        Self::client_with(binds, &Threads::default())
    }

    /// As [`Endpoint::client_on`], served by as many threads as it says. Connections go to them in turn.
    ///
    /// # Errors
    /// As [`Endpoint::client_on`].
    pub fn client_with(binds: &[Bind], threads: &Threads) -> io::Result<Self> {
        start::start(None, binds, threads)
    }

    /// As [`Endpoint::client_on`], and accepts connections.
    ///
    /// # Errors
    /// As [`Endpoint::client_on`].
    pub fn server_on(config: ServerConfig, binds: &[Bind]) -> io::Result<Self> {
        start::start(Some((config.proto, config.admission)), binds, &config.threads)
    }

    /// Where the sockets are bound, in the order in which they were asked for.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.shards.handles.first().map_or_else(Vec::new, |shard| shard.door.addresses())
    }

    /// Binds one more socket, for connections that exist and such as are to come, and returns where it is bound. Given
    /// up, it leaves no socket behind.
    ///
    /// # Errors
    /// What the system reports about the socket; [`io::ErrorKind::NotConnected`] if the endpoint was shut down.
    pub async fn add_socket(&self, bind: &Bind) -> io::Result<SocketAddr> {
        let Opened { sockets, bind, throttle } = self.shards.open(bind)?;
        let Some(local) = sockets.first().map(Socket::local_addr) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut added = Added { shards: &self.shards, local, kept: false };
        for (shard, socket) in self.shards.handles.iter().zip(sockets) {
            // Nobody waiting any more: it goes as it came.
            let unwanted =
                |local| shard.door.send(Request::RemoveSocket { local, reply: Answer::channel(drop).0 });
            let (reply, answer) = Answer::channel(unwanted);
            let (socket, throttle) = (Box::new(socket), Arc::clone(&throttle));
            shard.door.send(Request::AddSocket { socket, bind: bind.clone(), throttle, reply });
            let gone = || Err(io::Error::new(io::ErrorKind::NotConnected, "the endpoint was shut down"));
            answer.arrived().await.unwrap_or_else(gone)?;
        }
        added.kept = true;
        Ok(local)
    }

    /// Closes the socket bound to `local`, one of [`Endpoint::local_addrs`]; false if there is none.
    ///
    /// Paths over it are given up at once, and what they had in flight goes to the others. A connection that has no
    /// other path lives on without one, until a path is opened over another socket or the idle timeout has passed.
    pub async fn remove_socket(&self, local: SocketAddr) -> bool {
        let mut found = false;
        for shard in &self.shards.handles {
            let (reply, answer) = Answer::channel(drop);
            shard.door.send(Request::RemoveSocket { local, reply });
            found |= matches!(answer.arrived().await, Some(Ok(true)));
        }
        found
    }

    /// Bounds what leaves through the socket bound to `local`, one of [`Endpoint::local_addrs`], from now on; `None` lifts
    /// the limit. False if there is no such socket.
    pub fn set_max_rate(&self, local: SocketAddr, rate: Option<Rate>) -> bool {
        let throttle = self.shards.handles.first().and_then(|shard| shard.door.throttle(local));
        throttle.is_some_and(|throttle| {
            throttle.set_rate(rate);
            true
        })
    }

    /// What each thread has done so far and holds now; a thread that is gone is left out.
    pub async fn shard_stats(&self) -> Vec<ShardStats> {
        let mut all = Vec::new();
        for shard in &self.shards.handles {
            let (reply, answer) = Answer::channel(drop);
            shard.door.send(Request::Stats(reply));
            all.extend(answer.arrived().await.and_then(Result::ok));
        }
        all
    }

    /// Whether the kernel hands each datagram to the right one of several threads. Otherwise, with more than one, they
    /// pass datagrams on to each other.
    #[must_use]
    pub fn is_steered(&self) -> bool {
        self.shards.steered.load(Ordering::Relaxed)
    }

    /// Connects from one of the endpoint's addresses to `peer`; begins at once. To be awaited, or to be asked for
    /// [`Connecting::into_early`]. Given up, it leaves no connection behind.
    pub fn connect(
        &self,
        config: &ClientConfig,
        server_name: &str,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> Connecting {
        let turn = self.shards.turn.fetch_add(1, Ordering::Relaxed) % self.shards.handles.len();
        let door = &self.shards.handles[turn].door;
        let Some(source) = door.source(local, peer) else {
            return Connecting::failed(ConnectError::NoSuchAddress(local));
        };
        let (connecting, reply) = Connecting::new(door, config.pinned);
        door.send(Request::Connect(Box::new(ConnectRequest {
            config: config.proto.clone(),
            server_name: server_name.to_owned(),
            tuple: FourTuple { local: source, peer },
            reply,
        })));
        connecting
    }

    /// The address tokens that servers gave and that were not used yet, as opaque bytes for
    /// [`Endpoint::import_tokens`] of a later process: with one, a connection is spared the round trip of a Retry. Each is
    /// of use once, so they are to be exported when the endpoint is done. Empty if the endpoint was shut down.
    ///
    /// Tickets of [`ClientConfig::resumption`] cannot be exported: they end with the process.
    pub async fn export_tokens(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for shard in &self.shards.handles {
            let (reply, answer) = Answer::channel(drop);
            shard.door.send(Request::Tokens { reply });
            all.extend(answer.arrived().await.and_then(Result::ok).unwrap_or_default());
        }
        tokens::encode(&all)
    }

    /// Takes over what [`Endpoint::export_tokens`] gave, and returns how many tokens that is. Of more than four of one
    /// server, or of more than 256 servers, the oldest are dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if it is something else; nothing is taken over then.
    pub fn import_tokens(&self, exported: &[u8]) -> io::Result<usize> {
        let tokens = tokens::decode(exported)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "these are no exported tokens"))?;
        let count = tokens.len();
        // Each is good once, so only one shard has it; clients of many shards are rare and lose a round trip at most.
        if let Some(first) = self.shards.handles.first() {
            first.door.send(Request::RememberTokens(tokens));
        }
        Ok(count)
    }

    /// The next connection of a peer whose handshake is complete; `None` once the endpoint was shut down.
    ///
    /// If [`ServerConfig::early_data`] allows 0-RTT, a connection that brings some is handed out as soon as that has
    /// arrived: [`Connection::is_established`] tells.
    pub async fn accept(&self) -> Option<Connection> {
        let Shards { handles, accepting, .. } = &*self.shards;
        loop {
            let rung = accepting.changed.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            if let Some((door, entrance)) = locked(&accepting.queue).pop_front() {
                return Some(Connection::new(&door, entrance));
            }
            if handles.iter().all(|shard| shard.door.is_closed()) {
                return None;
            }
            rung.await;
        }
    }

    /// Counters of all connections and sockets; `None` once the endpoint was shut down.
    pub async fn stats(&self) -> Option<EndpointStats> {
        let all = self.shard_stats().await;
        let sum = |sum: EndpointStats, shard: &ShardStats| sum.with(shard);
        (!all.is_empty()).then(|| all.iter().fold(EndpointStats::default(), sum))
    }

    /// Closes every connection with code 0, waits until the peers have been told (not for longer than 0.7 s), and ends
    /// the thread. What was written and not yet delivered is lost: see [`crate::SendStream::finished`].
    pub async fn shutdown(&self) {
        self.shards.handles.iter().for_each(|shard| shard.door.send(Request::Shutdown));
        for shard in &self.shards.handles {
            shard.door.closed().await;
        }
    }
}

fn some(addresses: &[SocketAddr]) -> io::Result<Vec<Bind>> {
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an endpoint needs at least one address"));
    }
    Ok(addresses.iter().copied().map(Bind::from).collect())
}

/// Takes a socket back that not every shard got.
struct Added<'a> {
    shards: &'a Shards,
    local: SocketAddr,
    kept: bool,
}

impl Drop for Added<'_> {
    fn drop(&mut self) {
        for shard in self.shards.handles.iter().filter(|_| !self.kept) {
            let reply = Answer::channel(drop).0;
            shard.door.send(Request::RemoveSocket { local: self.local, reply });
        }
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        self.handles.iter().for_each(|shard| shard.door.send(Request::Shutdown));
        for shard in &self.handles {
            let thread = locked(&shard.thread).take();
            // A panic of the thread was reported when it happened.
            thread.into_iter().for_each(|thread| drop(thread.join()));
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("local_addrs", &self.local_addrs()).finish_non_exhaustive()
    }
}
