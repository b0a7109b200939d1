//! Everything between a packet and the wire that is not QUIC.
//!
//! Owns the bounded pool of packet blocks, the timing wheel that paces, batched UDP sockets alone and in groups, the
//! clock, the poller and what ties a thread to a processor. Refuses to know connections, paths and packet formats: a packet is bytes with addresses, an ECN mark
//! and a departure time, and an opaque tag tells its owner what became of it.
//!
//! Linux only for now (GSO, GRO, epoll, eventfd); every system call that needs `unsafe` is in `sys.rs`.

#![deny(unsafe_code)]

mod address;
mod clock;
mod cmsg;
mod filter;
mod netlink;
mod packet;
mod poller;
mod pool;
mod qdisc;
mod socket;
mod sys;
mod throttle;
mod wheel;

pub use clock::{Clock, pin_thread, sharpen_timers};
pub use filter::Instruction;
pub use packet::{Done, Fate, Lane, Packet};
pub use poller::{Event, Poller, Ready, Waker};
pub use pool::{Pool, PoolConfig, PoolStats, Slot};
pub use qdisc::queueing_disciplines;
pub use socket::{
    Batch, KernelPacing, ReceiveBatch, Socket, SocketOptions, SocketStats, Stopped, Train, serves,
};
pub use sys::heap_in_use;
pub use throttle::Throttle;
pub use wheel::Wheel;
