//! The order of a flow's datagrams across links of different delay.
//!
//! Owns the number that each packet of a flow gets on its way in, and the small window per flow that puts packets
//! back in order on the way out. Refuses to know packets, paths and clocks: it sees flow keys, numbers and times.
//! Numbers are per flow, never per tunnel, so that one flow's loss holds back nobody else.

mod flow;
mod history;
mod reorder;
mod stamp;

pub use reorder::{Counters, Limits, Reorder};
pub use stamp::{Stamp, Stamper};

/// Flows that keep a number of their own, at both ends.
pub const FLOWS: usize = 1 << 12;
