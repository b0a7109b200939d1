//! The sans-I/O QUIC + multipath machine: no clock, no I/O, no threads, no global randomness.

#![forbid(unsafe_code)]

pub mod crypto;
mod error;
mod frames;
mod stream;

pub use error::{Refused, Violation};
