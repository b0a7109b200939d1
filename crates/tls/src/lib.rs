//! TLS 1.3 for the protocol machine: rustls behind the traits of `mpquic_proto::crypto`.
//!
//! The only crate that knows rustls, aws-lc-rs and certificates; the machine above sees bytes, keys as trait
//! objects, and alerts. The provider is always named explicitly, so a process-wide default is never consulted, and
//! there is no way to switch the verification of the server off.
//!
//! Resumption and 0-RTT are off until they are asked for, on both sides.

#![forbid(unsafe_code)]

mod after;
mod client;
mod derive;
mod error;
mod hello;
mod identity;
mod key_log;
mod keys;
mod pin;
mod provider;
#[cfg(test)]
mod rig;
mod secrets;
mod server;
mod session;
mod tap;
mod tickets;
#[cfg(target_arch = "x86_64")]
mod vaes;

pub use client::{ClientBuilder, ClientConfig};
pub use error::ConfigError;
pub use identity::{Identity, KeyKind};
pub use key_log::KeyLog;
pub use pin::{Fingerprint, Pin};
pub use provider::Ciphers;
pub use rustls::RootCertStore;
pub use secrets::MASTER_SECRET_LEN;
pub use server::{ServerBuilder, ServerConfig};
pub use session::TlsSession;
