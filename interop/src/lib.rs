//! mpquic against other QUIC stacks over loopback.
//!
//! `host` drives the protocol machine with plain blocking sockets, `exchange` is the application that both ends speak,
//! `peers` brings the other stacks into the same shape, `trust` makes the certificate that both sides believe.
//! The tests themselves are in `tests/`, one file per stack.

#![forbid(unsafe_code)]

pub mod exchange;
pub mod host;
pub mod peers;
pub mod trust;
