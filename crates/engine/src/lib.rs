//! One shard: an endpoint, its pool of packet blocks, its wheel and its application, moved on by one pure step.
//!
//! [`Shard::turn`] is that step. It is driven over sockets by a thread ([`run`]) and over simulated links by the
//! simulator, and cannot tell which: [`Io`] is all it sees of the world, the time included. An [`App`] lives inside the
//! shard and acts on connections directly, with no queue between.
//!
//! Refuses to know frames, keys and congestion (that is proto's) and system calls (that is net's).

#![forbid(unsafe_code)]

mod app;
mod io;
mod shard;
mod sockets;
mod thread;

pub use app::{App, Cx, SocketChange};
pub use io::{Io, SendOutcome, Traffic};
pub use shard::{Budget, Next, Shard, ShardCounters};
pub use sockets::SocketIo;
pub use thread::run;
