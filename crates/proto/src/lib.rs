//! The sans-I/O QUIC + multipath machine: no clock, no I/O, no threads, no global randomness.

#![forbid(unsafe_code)]

pub mod crypto;
mod error;
mod frames;
#[cfg_attr(not(test), expect(dead_code, reason = "the connection that calls these verbs is being written"))]
mod stream;

pub use error::{Refused, Violation};
pub use stream::{Chunk, Read, StreamConfig, StreamEvent, StreamLimits, StreamStats, Streams};
