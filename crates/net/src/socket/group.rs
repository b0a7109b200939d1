//! Several sockets on one address, each for a thread of its own.
//!
//! Owns how such a group comes into being and how the kernel is told which of them takes a datagram. Refuses to know by
//! what a datagram is judged: that is the program's business.

use super::{Socket, SocketOptions};
use crate::filter::Instruction;
use crate::sys;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;

impl Socket {
    /// Opens `count` sockets at one address, numbered in this order for [`Socket::steer_group`]. Until that is called
    /// the kernel chooses by a hash of the addresses.
    ///
    /// # Errors
    /// As [`Socket::bind`]; then none stays open.
    pub fn bind_group(address: SocketAddr, options: &SocketOptions, count: usize) -> io::Result<Vec<Self>> {
        // The first binds alone: an address that somebody else serves is an error, and a free port is really free.
        let first = Self::bind(address, options)?;
        let local = first.local_addr();
        if count > 1 {
            first.io.set_reuse_port(true)?;
        }
        let mut group = vec![first];
        for _ in 1..count {
            group.push(Self::open(local, options, true)?);
        }
        Ok(group)
    }

    /// Has `program` name the socket, by its number in the group, for each datagram that arrives at any of them. The
    /// program sees the payload only. A number that there is not leaves the choice to the kernel.
    ///
    /// # Errors
    /// If the kernel does not know such programs, forbids them or refuses this one.
    pub fn steer_group(&self, program: &[Instruction]) -> io::Result<()> {
        sys::attach_group_filter(self.as_fd(), program)
    }
}
