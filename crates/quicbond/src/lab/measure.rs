//! What reached the LAN host and when, sampled while the command runs.

use super::topology::Topology;
use mpquic_base::Duration;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle, sleep};
use std::time::Instant;

/// Time between samples, and so the resolution of gaps.
const ROUND: Duration = Duration::from_millis(5);
/// Fewer bytes in a sample are ARP, a keep-alive or a bare handshake and end no gap.
const LEAST_DATA: u64 = 128;
/// Ethernet 14, IPv4 20, TCP with timestamps 32.
const HEADERS: u64 = 66;

/// Counters of a device, which grow.
pub(super) struct Counters {
    received: [File; 2],
    sent: [File; 2],
    headers: u64,
}

/// One direction since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flow {
    before: Count,
    /// From the sample before the first data to the sample of the last.
    first: Option<Duration>,
    last: Duration,
    payload: u64,
    longest_gap: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    bytes: u64,
    packets: u64,
}

/// What was measured in the direction in which more came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) payload: u64,
    /// From the first data to the last.
    pub(super) busy: Duration,
    pub(super) longest_gap: Duration,
}

/// Samples until it is stopped.
pub(super) struct Meter {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<[Flow; 2]>,
}

impl Counters {
    /// Of the LAN host's only device.
    pub(super) fn of_lan(topology: &Topology) -> io::Result<Self> {
        topology.lan.run(|| Self::open("eth0", HEADERS))?
    }

    /// Counters count on when their file is read on another host.
    pub(super) fn open(device: &str, headers: u64) -> io::Result<Self> {
        let open = |name: &str| File::open(format!("/sys/class/net/{device}/statistics/{name}"));
        let received = [open("rx_bytes")?, open("rx_packets")?];
        Ok(Self { received, sent: [open("tx_bytes")?, open("tx_packets")?], headers })
    }

    /// Bytes received and sent.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (number(&self.received[0]), number(&self.sent[0]))
    }

    fn read(&self) -> [Count; 2] {
        [&self.received, &self.sent]
            .map(|[bytes, packets]| Count { bytes: number(bytes), packets: number(packets) })
    }
}

impl Meter {
    /// Samples a device's counters, or with none of it what `elsewhere` says was received and sent.
    pub(super) fn start(
        counters: Option<Counters>,
        elsewhere: impl Fn() -> (u64, u64) + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let headers = counters.as_ref().map_or(0, |counters| counters.headers);
        let read = move || match &counters {
            Some(counters) => counters.read(),
            None => {
                let (received, sent) = elsewhere();
                [received, sent].map(|bytes| Count { bytes, packets: 0 })
            }
        };
        let begun = Instant::now();
        let mut flows = read().map(|before| Flow { before, ..Flow::default() });
        let sample = move || {
            loop {
                // Asked first, so that there is a sample after the end.
                let last = stopped.load(Ordering::Acquire);
                let now = begun.elapsed();
                for (flow, count) in flows.iter_mut().zip(read()) {
                    flow.sample(now, count, headers);
                }
                if last {
                    return flows;
                }
                sleep(ROUND);
            }
        };
        Ok(Self { stop, thread: Builder::new().name("meter".into()).spawn(sample)? })
    }

    pub(super) fn stop(self) -> Measured {
        self.stop.store(true, Ordering::Release);
        let flows = self.thread.join().unwrap_or_default();
        let busier = flows.iter().max_by_key(|flow| flow.payload).copied().unwrap_or_default();
        Measured {
            payload: busier.payload,
            busy: busier.last.saturating_sub(busier.first.unwrap_or(busier.last)),
            longest_gap: busier.longest_gap,
        }
    }
}

impl Flow {
    fn sample(&mut self, now: Duration, count: Count, headers: u64) {
        let bytes = count.bytes.saturating_sub(self.before.bytes);
        let packets = count.packets.saturating_sub(self.before.packets);
        self.before = count;
        if bytes < LEAST_DATA {
            return;
        }
        self.payload += bytes.saturating_sub(packets * headers);
        match self.first {
            None => self.first = Some(now.saturating_sub(ROUND)),
            Some(_) => self.longest_gap = self.longest_gap.max(now - self.last),
        }
        self.last = now;
    }
}

/// What stands in a file of `/sys`, which is made anew for each reading; 0 if the device is gone.
fn number(file: &File) -> u64 {
    let mut text = [0; 24];
    let n = file.read_at(&mut text, 0).unwrap_or(0);
    core::str::from_utf8(&text[..n]).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
