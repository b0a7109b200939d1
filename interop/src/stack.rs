//! What every stack offers to every case. Nothing here knows a stack or a case.
//!
//! Streams are tokio's byte streams, which all stacks with I/O of their own have. Futures are boxed and stay on their thread.

use crate::cases::Want;
use crate::trust::Trust;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};

pub type Failure = Box<dyn Error + Send + Sync>;
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + 'a>>;
pub type Streams = (Box<dyn AsyncWrite + Unpin>, Box<dyn AsyncRead + Unpin>);

/// Binds to a free port of the loopback address.
pub type Start = fn(&Trust, &Terms) -> Result<Box<dyn Endpoint>, Failure>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// One entry of the list.
#[derive(Debug)]
pub struct Stack {
    pub name: &'static str,
    pub server: Start,
    pub client: Start,
    /// What it cannot do in a role, or what stands in the way, in a few words.
    pub lacks: fn(Want, Role) -> Option<&'static str>,
}

/// What a case asks of both ends. The default is an ordinary connection.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The largest UDP payload to send, in bytes.
    pub payload: u16,
    /// Bidirectional streams that the other end may have open at once.
    pub streams: u32,
    /// A server sends every client around once by a Retry.
    pub retry: bool,
    /// Ends that can choose take ChaCha20-Poly1305 and nothing else.
    pub chacha: bool,
    /// Servers hand out tickets, clients keep them.
    pub tickets: bool,
    /// And 0-RTT is allowed.
    pub early: bool,
    pub datagrams: bool,
    /// Our end changes its keys after so many packets.
    pub key_update_after: Option<u64>,
    /// The client's port is going to change: a peer that depends on it keeps the way open, or grants all credit at once. Ours
    /// does nothing of the kind.
    pub moves: bool,
    /// What a server's tokens and stateless resets are made of.
    pub secret: Option<[u8; 32]>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            payload: 1452,
            streams: 100,
            retry: false,
            chacha: false,
            tickets: false,
            early: false,
            datagrams: false,
            key_update_after: None,
            moves: false,
            secret: None,
        }
    }
}

/// How a connection ended, as the end sees it that did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The peer's application closed it with this code.
    Closed(u64),
    StatelessReset,
    Other(String),
}

pub trait Endpoint {
    fn address(&self) -> Result<SocketAddr, Failure>;

    /// The next connection whose handshake is complete.
    fn accept(&self) -> Later<'_, Box<dyn Connection>>;

    fn connect(&self, server: SocketAddr) -> Later<'_, Box<dyn Connection>>;

    /// Resumes an earlier connection and does not wait for the handshake.
    fn connect_early(&self, _server: SocketAddr) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async { Err("it knows no 0-RTT".into()) })
    }

    /// Waits until what the connections had to say is sent.
    fn shutdown(self: Box<Self>) -> Later<'static, ()>;
}

pub trait Connection {
    /// Opens a bidirectional stream.
    fn open(&self) -> Later<'_, Streams>;

    /// The next stream of the peer. Several calls may wait at once.
    fn accept(&self) -> Later<'_, Streams>;

    fn close(&self, code: u32);

    /// Until the peer closes, or the connection is lost.
    fn closed(&self) -> Later<'_, Ending>;

    fn send_datagram(&self, _data: &[u8]) -> Result<(), Failure> {
        Err("it knows no datagrams".into())
    }

    fn read_datagram(&self) -> Later<'_, Vec<u8>> {
        Box::pin(async { Err("it knows no datagrams".into()) })
    }

    /// Changes the keys now.
    fn update_keys(&self) -> Result<(), Failure> {
        Err("it offers no key update".into())
    }

    /// Changes of keys so far, by either end, if it counts them.
    fn key_updates(&self) -> Option<u64> {
        None
    }

    /// Whether the handshake rested on a ticket, if it says so.
    fn resumed(&self) -> Option<bool> {
        None
    }

    /// Whether 0-RTT data was taken, once that is known, if it says so.
    fn early_taken(&self) -> Later<'_, Option<bool>> {
        Box::pin(async { Ok(None) })
    }
}
