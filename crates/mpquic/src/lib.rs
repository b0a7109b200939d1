//! Multipath QUIC for Rust: an async API over a paced, batched send path.
//!
//! An [`Endpoint`] owns one UDP socket per link and a thread that does all the protocol work, or several of both ([`Threads`]). Its [`Connection`]s carry
//! streams and datagrams over every path that was opened with [`Connection::open_path`]; what is written to one stream
//! travels over all of them. Handles may be used from any tokio task; they talk to the thread through bounded mailboxes.
//!
//! See [`Endpoint`] for a complete example.

#![forbid(unsafe_code)]

mod bind;
mod bridge;
mod config;
mod connecting;
mod connection;
mod endpoint;
mod error;
mod guard;
mod stream;
mod threads;
mod tokens;

pub use bind::Bind;
pub use bridge::shared::{ConnectionStats, EndpointStats};
pub use bytes::Bytes;
pub use config::{ClientConfig, ServerConfig};
pub use connecting::Connecting;
pub use connection::Connection;
pub use endpoint::Endpoint;
pub use error::{ConnectError, Error, ReadError, WriteError};
pub use mpquic_base::{Dir, FourTuple, PathId, Rate, StreamId};
pub use mpquic_engine::{ShardCounters, ShardStats};
pub use mpquic_net::KernelPacing;
pub use mpquic_policy as policy;
pub use mpquic_proto::{
    Admission, CloseReason, PathEvent, PathStats, PreferredAddresses, Refused, RetryPolicy, TransportConfig,
};
pub use mpquic_tls::{ConfigError, Fingerprint, Identity, Pin};
pub use mpquic_wire::Code;
pub use stream::{RecvStream, SendStream};
pub use threads::Threads;

/// What TLS may be told beyond the constructors of [`ClientConfig`] and [`ServerConfig`]: ciphers, tickets, key logs.
pub mod tls {
    pub use mpquic_tls::{Ciphers, ClientBuilder, ClientConfig, KeyLog, ServerBuilder, ServerConfig};
}

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, whatever became of a thread that held the lock before: every change under our locks is complete in itself.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
