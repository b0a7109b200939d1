//! One shard: an endpoint, its pool of packet blocks, its wheel and its application, moved on by one pure step.
//!
//! [`Shard::turn`] is that step. It is driven over sockets by a thread ([`run`]) and over simulated links by the
//! simulator, and cannot tell which: [`Io`] is all it sees of the world, the time included. An [`App`] lives inside the
//! shard and acts on connections directly, with no queue between. An endpoint may have several shards: each has its own
//! sockets, and a datagram that comes to the wrong one goes on by [`Post`].
//!
//! Refuses to know frames, keys and congestion (that is proto's) and system calls (that is net's).

#![forbid(unsafe_code)]

mod app;
mod io;
mod post;
mod shard;
mod sockets;
pub mod steer;
mod thread;
mod vigil;

pub use app::{App, Cx, SocketChange};
pub use io::{Io, SendOutcome, Traffic};
pub use post::Post;
pub use shard::{Budget, Next, Shard, ShardCounters, ShardStats};
pub use sockets::SocketIo;
pub use thread::{Habits, run};
