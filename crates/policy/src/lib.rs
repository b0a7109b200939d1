//! Everything that is a choice: congestion control ([`cc`]), path scheduling ([`sched`]), and how often the peer should
//! acknowledge ([`acks`]).
//!
//! A policy sees small values and returns small values. It cannot reach a stream, a packet or a path, so the
//! worst policy is slow, never wrong. Each one is a file and an entry in its folder's list; the command line, the
//! docs, the simulator and the conformance tests iterate the lists.

#![forbid(unsafe_code)]

pub mod acks;
pub mod cc;
mod entry;
pub mod sched;

pub use entry::{Entry, Settings, SettingsError, Tunable};
