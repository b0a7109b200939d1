//! The control socket: how `quicbond status`, `client down` and `server tenant` talk to a running daemon.
//!
//! A Unix socket for root and the daemon's own user. One JSON object per line in each direction; what it says is in
//! [`Request`] and [`Response`]. Owns the socket and the words; knows nothing of what a daemon does with them.

mod ask;
mod command;
mod serve;
mod status;
mod view;

pub(crate) use ask::{AskError, ask};
pub(crate) use command::run;
pub(crate) use serve::Socket;
pub(crate) use status::{
    Datagrams, Flows, Link, LinkState, Memory, Role, State, Status, TenantStatus, Totals,
};

use serde::{Deserialize, Serialize};

/// What a daemon can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub(crate) enum Request {
    Status,
    /// Read the tenants again.
    Reload,
    /// End as if by Ctrl-C.
    Stop,
}

/// What a daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "snake_case")]
pub(crate) enum Response {
    Status(Box<Status>),
    /// It is done, or under way.
    Done {
        message: String,
    },
    Failed {
        why: String,
    },
}

/// A line that asks for more than this asks for nothing we know.
const REQUEST_MAX: usize = 1024;
/// A status of 65,536 clients is about half of it.
const RESPONSE_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests;
