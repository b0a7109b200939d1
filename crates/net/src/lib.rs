//! Everything between a packet and the wire that is not QUIC.
//!
//! Owns the bounded pool of packet blocks, the timing wheel that paces, batched UDP sockets, the clock and the
//! poller. Refuses to know connections, paths and packet formats: a packet is bytes with addresses, an ECN mark
//! and a departure time, and an opaque tag tells its owner what became of it.
//!
//! Linux only for now (GSO, GRO, epoll, eventfd); every system call that needs `unsafe` is in `sys.rs`.

#![deny(unsafe_code)]

mod address;
mod clock;
mod cmsg;
mod packet;
mod poller;
mod pool;
mod socket;
mod sys;
mod wheel;

pub use clock::{Clock, sharpen_timers};
pub use packet::{Done, Fate, Lane, Packet};
pub use poller::{Event, Poller, Ready, Waker};
pub use pool::{Pool, PoolConfig, PoolStats, Slot};
pub use socket::{Batch, Datagram, ReceiveBatch, Socket, SocketOptions, SocketStats, Stopped, serves};
pub use sys::heap_in_use;
pub use wheel::Wheel;
