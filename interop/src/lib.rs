//! mpquic against other QUIC stacks over loopback.
//!
//! `exchange` is the application that both ends speak, `trust` makes the certificate that both sides believe. `stack` says what
//! a stack offers to a test, `stacks` brings every stack, ours included, into that shape, `relay` stands between two of them,
//! `cases` is what is tried with every pair, and `multipath` what only noq can. `h3` lets programs meet over HTTP/3: aioquic
//! and Chromium. `matrix` runs all that and `table` prints it.

#![forbid(unsafe_code)]

pub mod cases;
pub mod exchange;
pub mod h3;
pub mod matrix;
pub mod multipath;
pub mod relay;
pub mod stack;
pub mod stacks;
pub mod table;
pub mod trust;
