//! The endpoint's handle: sockets in, connections out, a thread behind it.

use crate::bind::Bind;
use crate::bridge::door::{Answer, Bound, ConnectRequest, Door, Request};
use crate::bridge::shared::EndpointStats;
use crate::bridge::{Accepting, Bridge};
use crate::config::{ClientConfig, ServerConfig};
use crate::connecting::Connecting;
use crate::connection::Connection;
use crate::error::ConnectError;
use crate::locked;
use crate::tokens;
use core::fmt;
use core::sync::atomic::AtomicBool;
use mpquic_base::{FourTuple, Rng};
use mpquic_engine::{Shard, SocketIo};
use mpquic_net::{Clock, PoolConfig};
use mpquic_proto::Admission;
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

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
    shard: Arc<ShardHandle>,
}

struct ShardHandle {
    door: Arc<Door>,
    accepting: Arc<Accepting>,
    thread: Mutex<Option<JoinHandle<()>>>,
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
        Self::start(None, binds)
    }

    /// As [`Endpoint::client_on`], and accepts connections.
    ///
    /// # Errors
    /// As [`Endpoint::client_on`].
    pub fn server_on(config: ServerConfig, binds: &[Bind]) -> io::Result<Self> {
        Self::start(Some(config), binds)
    }

    fn start(server: Option<ServerConfig>, binds: &[Bind]) -> io::Result<Self> {
        let sockets = binds.iter().map(Bind::open).collect::<io::Result<Vec<_>>>()?;
        let locals = sockets.iter().map(mpquic_net::Socket::local_addr);
        let bound = locals.zip(binds).map(|(local, bind)| Bound { local, bind: bind.clone() }).collect();
        let clock = Clock::start();
        let mut io = SocketIo::new(clock, sockets)?;
        let mut seed = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut seed)?;
        let door = Arc::new(Door::new(io.waker(), bound));
        let accepting = Arc::new(Accepting::default());
        let stop = Arc::new(AtomicBool::new(false));
        let bridge = Bridge::new(Arc::clone(&door), Arc::clone(&accepting), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("mpquic".into()).spawn(move || {
            let (server, admission) = server.map(|s| (s.proto, s.admission)).unzip();
            let mut endpoint = mpquic_proto::Endpoint::new(server, Rng::from_seed(seed));
            // Tokens outlive the process if the server's secret does, so their times are told by the calendar.
            endpoint.set_admission(Admission { epoch: clock.epoch(), ..admission.unwrap_or_default() });
            let mut shard = Shard::new(endpoint, PoolConfig::default(), bridge);
            // If the poller itself fails, the shard ends like after a shutdown: dropping it tells everybody.
            mpquic_engine::run(&mut shard, &mut io, &stop).ok();
        })?;
        let shard = ShardHandle { door, accepting, thread: Mutex::new(Some(thread)) };
        Ok(Self { shard: Arc::new(shard) })
    }

    /// Where the sockets are bound, in the order in which they were asked for.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.shard.door.addresses()
    }

    /// Binds one more socket, for connections that exist and such as are to come, and returns where it is bound. Given
    /// up, it leaves no socket behind.
    ///
    /// # Errors
    /// What the system reports about the socket; [`io::ErrorKind::NotConnected`] if the endpoint was shut down.
    pub async fn add_socket(&self, bind: &Bind) -> io::Result<SocketAddr> {
        let door = &self.shard.door;
        let socket = bind.open()?;
        // Nobody waiting any more: it goes as it came.
        let unwanted = |local| door.send(Request::RemoveSocket { local, reply: Answer::channel(drop).0 });
        let (reply, answer) = Answer::channel(unwanted);
        door.send(Request::AddSocket { socket: Box::new(socket), bind: bind.clone(), reply });
        let gone = || Err(io::Error::new(io::ErrorKind::NotConnected, "the endpoint was shut down"));
        answer.arrived().await.unwrap_or_else(gone)
    }

    /// Closes the socket bound to `local`, one of [`Endpoint::local_addrs`]; false if there is none.
    ///
    /// Paths over it are given up at once, and what they had in flight goes to the others. A connection that has no
    /// other path lives on without one, until a path is opened over another socket or the idle timeout has passed.
    pub async fn remove_socket(&self, local: SocketAddr) -> bool {
        let (reply, answer) = Answer::channel(drop);
        self.shard.door.send(Request::RemoveSocket { local, reply });
        matches!(answer.arrived().await, Some(Ok(true)))
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
        let door = &self.shard.door;
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
        let (reply, answer) = Answer::channel(drop);
        self.shard.door.send(Request::Tokens { reply });
        tokens::encode(&answer.arrived().await.and_then(Result::ok).unwrap_or_default())
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
        self.shard.door.send(Request::RememberTokens(tokens));
        Ok(count)
    }

    /// The next connection of a peer whose handshake is complete; `None` once the endpoint was shut down.
    ///
    /// If [`ServerConfig::early_data`] allows 0-RTT, a connection that brings some is handed out as soon as that has
    /// arrived: [`Connection::is_established`] tells.
    pub async fn accept(&self) -> Option<Connection> {
        let ShardHandle { door, accepting, .. } = &*self.shard;
        loop {
            let rung = accepting.changed.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            if let Some(entrance) = locked(&accepting.queue).pop_front() {
                return Some(Connection::new(door, entrance));
            }
            if door.is_closed() {
                return None;
            }
            rung.await;
        }
    }

    /// Counters of all connections and sockets; `None` once the endpoint was shut down.
    pub async fn stats(&self) -> Option<EndpointStats> {
        let (reply, answer) = Answer::channel(drop);
        self.shard.door.send(Request::Stats { reply });
        answer.arrived().await?.ok()
    }

    /// Closes every connection with code 0, waits until the peers have been told (not for longer than 0.7 s), and ends
    /// the thread. What was written and not yet delivered is lost: see [`crate::SendStream::finished`].
    pub async fn shutdown(&self) {
        self.shard.door.send(Request::Shutdown);
        self.shard.door.closed().await;
    }
}

fn some(addresses: &[SocketAddr]) -> io::Result<Vec<Bind>> {
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an endpoint needs at least one address"));
    }
    Ok(addresses.iter().copied().map(Bind::from).collect())
}

impl Drop for ShardHandle {
    fn drop(&mut self) {
        self.door.send(Request::Shutdown);
        let thread = locked(&self.thread).take();
        // A panic of the thread was reported when it happened.
        thread.into_iter().for_each(|thread| drop(thread.join()));
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("local_addrs", &self.local_addrs()).finish_non_exhaustive()
    }
}
