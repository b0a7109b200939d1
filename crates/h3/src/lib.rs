//! HTTP/3 and MASQUE over multipath QUIC.
//!
//! Owns HTTP/3 (RFC 9114), QPACK without a dynamic table (RFC 9204), extended CONNECT (RFC 9220), HTTP datagrams and
//! capsules (RFC 9297), and the encodings of CONNECT-UDP (RFC 9298) and CONNECT-IP (RFC 9484). Refuses to know what is
//! tunnelled, who may use it, and how packets travel.

#![forbid(unsafe_code)]

mod body;
pub mod capsule;
mod client;
pub mod code;
mod conn;
pub mod connect_ip;
pub mod connect_udp;
mod control;
mod datagrams;
mod error;
mod frames;
mod head;
mod message;
mod percent;
mod qpack;
mod server;
pub mod untrusted;
mod wire;

pub use body::{BodyReceiver, BodySender};
pub use client::{Client, RequestStream};
pub use datagrams::{Batch, Datagrams};
pub use error::{Error, Fault, SendDatagramError};
pub use head::Protocol;
pub use mpquic::StreamId;
pub use server::{Request, Server};
pub use wire::settings::Settings;

/// The application protocol to offer in the handshake (RFC 9114 §3.1).
pub const ALPN: &[u8] = b"h3";
