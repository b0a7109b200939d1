//! The other stacks, each as a client and as a server of the [`exchange`](crate::exchange).

pub mod noq;
pub mod quinn;

use core::fmt;
use mpquic_proto::PathStats;

/// UDP payload bytes that one end counted on one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    pub path: u32,
    pub sent: u64,
    pub received: u64,
}

impl Moved {
    #[must_use]
    pub fn ours(paths: &[PathStats]) -> Vec<Self> {
        let moved = |p: &PathStats| Self { path: p.id.0, sent: p.bytes_sent, received: p.bytes_received };
        paths.iter().map(moved).collect()
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "path {}: {:>11} bytes sent, {:>11} received", self.path, self.sent, self.received)
    }
}
