//! What happened on a direction, in numbers.

/// Why a packet never arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Lost on the wire.
    Loss,
    /// The queue was full.
    Queue,
    /// The queue discipline wanted senders to slow down.
    Aqm,
    /// Larger than the link carries.
    Mtu,
    /// The link was cut, or was cut while the packet was on it.
    Cut,
}

/// Dropped packets by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    pub loss: u64,
    pub queue: u64,
    pub aqm: u64,
    pub mtu: u64,
    pub cut: u64,
}

/// One direction since it was made, and what is inside it at present.
///
/// `packets + duplicated = delivered + drops.total() + queue_packets + in_flight`, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectionStats {
    /// Pushed, whatever became of them.
    pub packets: u64,
    pub bytes: u64,
    /// Handed out at the far end.
    pub delivered: u64,
    pub delivered_bytes: u64,
    pub drops: Drops,
    /// Congestion experienced, said by the queue discipline.
    pub marked: u64,
    pub duplicated: u64,
    pub corrupted: u64,
    /// Held back by the spec's reorder rule. Overtaking by jitter is not counted.
    pub reordered: u64,
    pub max_queue_bytes: u64,
    pub queue_bytes: u64,
    pub queue_packets: u64,
    /// Being sent, on the wire, or arrived and not yet asked for.
    pub in_flight: u64,
}

impl Drops {
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.loss + self.queue + self.aqm + self.mtu + self.cut
    }

    pub(super) fn count(&mut self, cause: Cause, packets: u64) {
        *match cause {
            Cause::Loss => &mut self.loss,
            Cause::Queue => &mut self.queue,
            Cause::Aqm => &mut self.aqm,
            Cause::Mtu => &mut self.mtu,
            Cause::Cut => &mut self.cut,
        } += packets;
    }
}
