//! Bonding without I/O: what the tunnel does to packets and flows.
//!
//! Owns reading IP packets, the order of a flow's datagrams, segment-size clamping and ICMP answers. Refuses to know
//! sockets, devices, clocks and the transport: packets, flows and times are values.

#![forbid(unsafe_code)]

mod checksum;
pub mod icmp;
pub mod mss;
pub mod order;
pub mod packet;
pub mod sources;

#[cfg(test)]
mod samples;
