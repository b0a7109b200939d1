//! mpquic against other QUIC stacks over loopback.
//!
//! `exchange` is the application that both ends speak, `trust` makes the certificate that both sides believe, and `stacks`
//! brings every stack, ours included, into the same shape: a server and a client of the exchange that count what they
//! moved on each path. The tests themselves are in `tests/`, one file per peer.

#![forbid(unsafe_code)]

pub mod exchange;
pub mod stacks;
pub mod trust;
