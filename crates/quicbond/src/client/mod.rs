//! The client: what runs on the router or laptop.
//!
//! Owns the ways in (proxy, redirected TCP, tunnel device) and the one way out, through the tunnel. Refuses to know how
//! the transport bonds its paths.

pub(crate) mod dial;
pub(crate) mod socks;
