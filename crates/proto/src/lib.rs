//! The sans-I/O QUIC + multipath machine: no clock, no I/O, no threads, no global randomness.
//!
//! An [`Endpoint`] takes datagrams in ([`Endpoint::receive`]) and hands batches of datagrams out
//! ([`Endpoint::transmit`]), each with the time at which it may depart; it is told the fate of every batch
//! ([`Endpoint::settle`]) and the passing of time ([`Endpoint::expire`]), and reports events. Everything it decides by
//! taste (congestion control, scheduling) comes from `mpquic-policy`; everything secret comes through [`crypto`].

#![forbid(unsafe_code)]

mod ack_frequency;
mod cids;
mod close;
mod config;
mod conn;
pub mod crypto;
mod datagrams;
mod endpoint;
mod error;
mod event;
mod frames;
mod handshake;
mod keys;
mod path;
mod path_ids;
mod space;
mod stream;
mod tokens;

pub use cids::LOCAL_CID_LEN;
pub use config::TransportConfig;
pub use conn::{Connection, ConnectionCounters, Fate, Tag, Transmit};
pub use datagrams::DatagramStats;
pub use endpoint::{
    Admission, ClientConfig, ConnectError, ConnectionId, Endpoint, EndpointCounters, Received, RetryPolicy,
    ServerConfig,
};
pub use error::{Refused, Violation};
pub use event::{CloseReason, Event, PathEvent, PathStats};
pub use stream::{Chunk, Read, StreamEvent, StreamStats};
