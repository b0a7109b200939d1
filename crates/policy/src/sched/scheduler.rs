//! What a scheduler sees of the paths and what it answers.

use mpquic_base::{Duration, PathId, Rate, Time};

/// One usable path at the moment of the decision: validated, not closing, not suspected dead.
#[derive(Clone, Copy, Debug)]
pub struct PathView {
    pub id: PathId,
    pub srtt: Duration,
    pub rttvar: Duration,
    pub min_rtt: Duration,
    /// Congestion window, bytes in flight (queued in the wheel included) and what is left between them.
    pub window: u64,
    pub in_flight: u64,
    pub window_left: u64,
    /// The path's own estimate of what it can carry.
    pub rate: Rate,
    /// Share of packets lost lately, 0.0 to 1.0.
    pub loss: f64,
    /// Largest UDP payload of the path, in bytes.
    pub mtu: u16,
    /// The peer or we asked to keep it for when nothing else works.
    pub backup: bool,
    /// Earliest time at which the pacer lets the next packet depart.
    pub ready_at: Time,
    /// The window has room for a packet and the pacer's horizon is not full: picking it sends at once.
    pub can_send: bool,
}

/// What is waiting to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    /// Stream and datagram bytes that wait, as far as flow control lets them go.
    pub bytes: u64,
    /// Among them, bytes that were sent before and are overdue at the receiver.
    pub retransmit: bool,
}

/// The answer, good for one batch of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// Send on this path, by its index in the slice of views.
    Send(usize),
    /// Send nothing now: a path that is full at the moment is worth waiting for.
    Wait,
}

/// Chooses the path of each batch of application data.
///
/// Asked once per batch, only while at least one view has `can_send`. `views` is in order of path id.
pub trait Scheduler: core::fmt::Debug + Send {
    fn pick(&mut self, now: Time, views: &[PathView], want: &Want) -> Pick;
}
