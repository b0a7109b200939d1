//! Rules of the protocol between two endpoints, one story per test: packets are carried, kept back, bent and forged by hand.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod acks;
mod address;
mod credit;
mod datagrams;
mod departures;
mod early;
mod ecn;
mod grease;
mod handshake;
mod hostile;
mod initials;
mod moves;
mod mtu;
mod multipath;
mod resets;
mod retry;
mod rig;
mod rules;
mod shards;
mod upgrade;
mod versions;
