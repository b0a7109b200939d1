//! Packets from a session to the device: in the order of their flow, if they are stamped.

use super::{Lane, PLAIN, STAMPED};
use crate::host::{Outgoing, Tun};
use bytes::{Buf, Bytes};
use core::sync::atomic::Ordering;
use core::time::Duration;
use mpquic::{Connection, PathStats};
use mpquic_base::Time;
use mpquic_bond::mss;
use mpquic_bond::order::{Limits, Reorder, Stamp};
use mpquic_bond::packet::Packet;
use mpquic_h3::Datagrams;
use std::time::Instant;
use tokio::sync::mpsc;

/// Packets that are gathered before they are written to the device, which joins what belongs together.
const BATCH: usize = 256;
/// How often the gap between the paths' delays is measured anew.
const MEASURE_EVERY: Duration = Duration::from_millis(100);
/// Nothing is held back for longer, whatever the paths do: later is worse than out of order.
const HOLD_MAX: Duration = Duration::from_millis(150);

/// Whether a packet from the session may go to the device.
pub(crate) type Admits = Box<dyn Fn(&Packet<'_>) -> bool + Send>;

/// The receiving side of a session's packets.
pub(crate) struct Inward {
    datagrams: Datagrams,
    /// Whole packets that came as capsules.
    capsules: mpsc::Receiver<Bytes>,
    connection: Connection,
    admits: Admits,
    reorder: Reorder,
    began: Instant,
    measured: Option<Instant>,
    /// As they came, and ready for the device; both kept for their allocations.
    arrived: Vec<(u64, Bytes)>,
    ready: Vec<Vec<u8>>,
}

impl Inward {
    pub(crate) fn new(
        datagrams: Datagrams,
        capsules: mpsc::Receiver<Bytes>,
        connection: Connection,
        admits: Admits,
    ) -> Self {
        Self {
            datagrams,
            capsules,
            connection,
            admits,
            reorder: Reorder::new(Limits::default()),
            began: Instant::now(),
            measured: None,
            arrived: Vec::with_capacity(BATCH),
            ready: Vec::with_capacity(BATCH),
        }
    }

    /// Writes what arrives to the device until the session ends.
    ///
    /// # Errors
    /// What the device reports.
    pub(crate) async fn run(mut self, device: &Tun, lane: &Lane) -> std::io::Result<()> {
        let counters = &lane.counters;
        let mut outgoing = Outgoing::new();
        while self.gather().await {
            counters.reordered.store(self.reorder.counters().filled, Ordering::Relaxed);
            let mtu = lane.mtu();
            let mut ready = core::mem::take(&mut self.ready);
            for mut packet in ready.drain(..) {
                if !self.may_pass(&packet) {
                    counters.dropped_foreign.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                // TCP that is not in the TCP lane: its answers have to fit into the tunnel.
                mss::clamp(&mut packet, mtu);
                counters.packets_in.fetch_add(1, Ordering::Relaxed);
                counters.bytes_in.fetch_add(packet.len() as u64, Ordering::Relaxed);
                if outgoing.is_full() {
                    device.send_batch(&mut outgoing).await?;
                }
                outgoing.push(&packet);
            }
            self.ready = ready;
            if !outgoing.is_empty() {
                device.send_batch(&mut outgoing).await?;
            }
        }
        Ok(())
    }

    /// Waits for packets that may go to the device now. False once the session is over.
    async fn gather(&mut self) -> bool {
        self.measure();
        let now = self.now();
        let due = self.reorder.deadline().map(|at| at.since(now));
        tokio::select! {
            goes_on = self.datagrams.recv_batch(&mut self.arrived, BATCH) => {
                let now = self.now();
                let mut arrived = core::mem::take(&mut self.arrived);
                arrived.drain(..).for_each(|(context, payload)| self.on_datagram(now, context, payload));
                self.arrived = arrived;
                return goes_on;
            }
            Some(packet) = self.capsules.recv() => self.ready.push(packet.to_vec()),
            () = after(due) => {
                let now = self.now();
                self.reorder.expire(now, &mut self.ready);
            }
        }
        true
    }

    fn on_datagram(&mut self, now: Time, context: u64, mut payload: Bytes) {
        // Nobody else holds these bytes, so that a packet becomes a vector without an allocation.
        match context {
            PLAIN => self.ready.push(payload.into()),
            STAMPED => {
                if let Some((stamp, _)) = Stamp::split(&payload) {
                    payload.advance(Stamp::LEN);
                    self.reorder.on_packet(now, stamp, payload.into(), &mut self.ready);
                }
            }
            // RFC 9484 §6: a context that was not agreed on is dropped.
            _ => {}
        }
    }

    fn may_pass(&self, packet: &[u8]) -> bool {
        Packet::read(packet).is_ok_and(|packet| (self.admits)(&packet))
    }

    /// A packet of the slowest path arrives that much later than one of the fastest.
    fn measure(&mut self) {
        if self.measured.is_some_and(|at| at.elapsed() < MEASURE_EVERY) {
            return;
        }
        self.measured = Some(Instant::now());
        let paths = self.connection.paths();
        let used = || paths.iter().filter(|p| p.validated && !p.closing && !p.silent && !p.backup);
        let one_way = |path: &PathStats| path.srtt / 2 + path.rttvar * 2;
        let slowest = used().map(one_way).max().unwrap_or_default();
        let fastest = used().map(|path| path.min_rtt / 2).min().unwrap_or_default();
        let hold = if used().count() < 2 { Duration::ZERO } else { slowest.saturating_sub(fastest) };
        self.reorder.set_hold(hold.min(HOLD_MAX));
    }

    fn now(&self) -> Time {
        Time::ZERO + self.began.elapsed()
    }
}

async fn after(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => core::future::pending().await,
    }
}
