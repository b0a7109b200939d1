//! What a congestion controller is told, and the two numbers that it answers.
//!
//! One controller serves one path. It is called once per packet sent and once per ACK frame, loss event or ECN
//! report, never per byte; the path caches [`Controller::window`] and [`Controller::pacing`].

use mpquic_base::{Duration, Rate, Time};

/// No controller opens its window further, in bytes: 100 Gbit/s over 86 ms.
pub const MAX_WINDOW: u64 = 1 << 30;

/// A packet that counts towards bytes in flight has been handed to the wheel.
#[derive(Clone, Copy, Debug)]
pub struct SentPacket {
    /// When it departs; with pacing this may lie a little ahead of the clock.
    pub departs: Time,
    pub bytes: u64,
    /// Bytes in flight on this path, this packet included.
    pub in_flight: u64,
}

/// All that one ACK frame newly acknowledged on this path.
#[derive(Clone, Copy, Debug)]
pub struct AckBatch {
    pub now: Time,
    /// Newly acknowledged bytes that were in flight.
    pub bytes: u64,
    /// Departure time of the newest packet among them.
    pub newest_sent_at: Time,
    /// The RTT sample this ACK gave, if it gave one.
    pub rtt: Option<Duration>,
    pub srtt: Duration,
    /// Lowest RTT seen on the path (or since its last reset).
    pub min_rtt: Duration,
    /// Bytes in flight before and after this ACK.
    pub in_flight_before: u64,
    pub in_flight: u64,
    /// The newest acknowledged packet was sent while the window was not the limit: no growth from this.
    /// Being held back by the pacer alone does not count as application-limited.
    pub app_limited: bool,
    /// A round trip has passed since the last batch that said so (per-path round counting for slow start and BBR).
    pub round_start: bool,
    pub rate: Option<RateSample>,
}

/// Delivery rate over the flight of the newest acknowledged packet (draft-ietf-ccwg-bbr-06 §4.1).
#[derive(Clone, Copy, Debug)]
pub struct RateSample {
    pub rate: Rate,
    /// Bytes delivered over the sample, and the interval they took.
    pub delivered: u64,
    pub interval: Duration,
    /// Total delivered on the path when the packet departed, and now.
    pub prior_delivered: u64,
    pub total_delivered: u64,
    /// Bytes lost over the sample.
    pub lost: u64,
    /// Bytes in flight when the packet departed, itself included.
    pub tx_in_flight: u64,
    pub app_limited: bool,
}

/// Packets that were declared lost together.
#[derive(Clone, Copy, Debug)]
pub struct LossBatch {
    pub now: Time,
    pub bytes: u64,
    pub packets: u32,
    /// Departure time of the newest lost packet: at most one reduction per recovery period hangs on it.
    pub newest_sent_at: Time,
    /// Bytes in flight when that packet departed, itself included, and the bytes lost on the path since then, this
    /// batch included: what share of a flight was lost.
    pub tx_in_flight: u64,
    pub lost_since: u64,
    /// RFC 9002 §7.6: the losses span the persistent congestion duration.
    pub persistent: bool,
    /// Bytes in flight before and after the loss was taken out.
    pub in_flight_before: u64,
    pub in_flight: u64,
    pub srtt: Duration,
    pub min_rtt: Duration,
    /// Bytes lost and delivered on the path in total, for controllers that weigh the loss rate.
    pub total_lost: u64,
    pub total_delivered: u64,
}

/// The peer reported newly CE-marked packets.
#[derive(Clone, Copy, Debug)]
pub struct EcnBatch {
    pub now: Time,
    /// Departure time of the newest packet acknowledged with the report.
    pub newest_sent_at: Time,
    /// How many packets were newly marked, of how many newly acknowledged.
    pub marked: u64,
    pub acked: u64,
    pub in_flight: u64,
}

/// A congestion controller of one path.
pub trait Controller: core::fmt::Debug + Send {
    fn on_sent(&mut self, _packet: &SentPacket) {}
    fn on_ack(&mut self, batch: &AckBatch);
    fn on_loss(&mut self, batch: &LossBatch);
    fn on_ecn(&mut self, batch: &EcnBatch);
    /// Everything that was declared lost since the last reduction turned out to have arrived: undo it.
    fn on_spurious_loss(&mut self, _now: Time) {}
    /// The path's largest UDP payload changed.
    fn on_mtu(&mut self, mtu: u16);
    /// Bytes that may be in flight.
    fn window(&self) -> u64;
    /// The rate to pace at; `None` leaves it to the path (1.25 x window / srtt).
    fn pacing(&self) -> Option<Rate> {
        None
    }
    /// Whether the controller is still looking for the path's capacity; for statistics.
    fn in_slow_start(&self) -> bool;
}
