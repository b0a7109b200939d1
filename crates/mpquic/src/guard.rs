//! What keeps a connection alive while anybody holds a handle of it.

use crate::bridge::door::{Door, Request};
use core::fmt;
use mpquic_proto::ConnectionId;
use std::sync::Arc;

/// Held by every handle of a connection and its streams: the last one to go tells the shard.
pub(crate) struct Guard {
    pub(crate) id: ConnectionId,
    pub(crate) door: Arc<Door>,
}

impl Guard {
    pub(crate) const fn new(id: ConnectionId, door: Arc<Door>) -> Self {
        Self { id, door }
    }

    /// To be called whenever a task comes to its stream: those that wait for it are woken.
    pub(crate) fn wake_others(&self) {
        self.door.others().wake();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.door.send(Request::Released(self.id));
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.id)
    }
}
