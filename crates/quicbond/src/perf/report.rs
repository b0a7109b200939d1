//! What is printed: lines while a test runs, the result for people and for scripts.

use super::request::{Amount, Path, Request, Tally};
use super::traffic::Meter;
use crate::text;
use core::time::Duration;
use mpquic::{Connection, Fingerprint};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// How far a test has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Interval {
    at: Duration,
    /// What the server has acknowledged.
    up: u64,
    /// What arrived here.
    down: u64,
    paths: Vec<Path>,
}

impl Interval {
    pub(super) fn now(at: Duration, meter: &Meter, connection: &Connection) -> Self {
        let moved = meter.moved();
        let waiting = connection.stats().streams.send_held;
        let paths = connection.paths().iter().map(Path::of).collect();
        Self { at, up: moved.written.saturating_sub(waiting), down: moved.received, paths }
    }

    /// What happened since `before`.
    pub(super) fn line(&self, before: &Self) -> String {
        let time = self.at.saturating_sub(before.at);
        let rate = |now: u64, before: u64| text::mbps(text::mbps_of(now.saturating_sub(before), time));
        let mut line = format!("{:7.1} s", self.at.as_secs_f64());
        if self.up > 0 {
            line.push_str(&format!("   up {:>15}", rate(self.up, before.up)));
        }
        if self.down > 0 {
            line.push_str(&format!("   down {:>15}", rate(self.down, before.down)));
        }
        let moved = |path: &Path| {
            let before = before.paths.iter().find(|other| other.id == path.id);
            let old = before.map_or(0, |path| path.bytes_sent + path.bytes_received);
            (path.bytes_sent + path.bytes_received).saturating_sub(old)
        };
        let all: u64 = self.paths.iter().map(moved).sum();
        for path in &self.paths {
            let share = if all == 0 { 0.0 } else { moved(path) as f64 / all as f64 };
            let share =
                if self.paths.len() > 1 { format!(" {:3.0} %", share * 100.0) } else { String::new() };
            line.push_str(&format!("   {}{share} rtt {:.1} ms", path.local, path.rtt_ms));
        }
        line.push('\n');
        line
    }
}

/// A test as both ends saw it.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) request: Request,
    pub(super) seconds: f64,
    pub(super) client: Tally,
    pub(super) server: Tally,
    pub(super) intervals: Vec<Interval>,
}

impl Report {
    pub(super) fn table(&self) -> String {
        let mut text = String::from("\n");
        if self.request.up {
            text.push_str(&way("up", &self.server));
        }
        if self.request.down {
            text.push_str(&way("down", &self.client));
        }
        for (end, tally) in [("client", &self.client), ("server", &self.server)] {
            let per_gb = self.per_gb(tally).map_or_else(String::new, |cost| format!(", {cost:.2} s per GB"));
            text.push_str(&format!("{end:<7} {:.2} s of CPU{per_gb}\n", tally.cpu_seconds));
        }
        text.push('\n');
        text.push_str(&paths(&self.client.paths));
        text
    }

    pub(super) fn json(&self) -> String {
        let Request { streams, up, down, amount, .. } = self.request;
        let (asked_bytes, asked_seconds) = match amount {
            Amount::Bytes(bytes) => (Some(bytes), None),
            Amount::Seconds(seconds) => (None, Some(seconds)),
        };
        let way = |is: bool, tally: &Tally| {
            is.then(|| json!({ "bytes": tally.received_bytes, "seconds": tally.received_seconds, "mbps": mbps(tally) }))
        };
        let intervals: Vec<Value> = self
            .intervals
            .iter()
            .map(|at| json!({ "at_s": at.at.as_secs_f64(), "bytes_up": at.up, "bytes_down": at.down }))
            .collect();
        let object = json!({
            "streams": streams,
            "asked_bytes": asked_bytes,
            "asked_seconds": asked_seconds,
            "seconds": self.seconds,
            "up": way(up, &self.server),
            "down": way(down, &self.client),
            "cpu_client_s": self.client.cpu_seconds,
            "cpu_server_s": self.server.cpu_seconds,
            "cpu_client_s_per_gb": self.per_gb(&self.client),
            "cpu_server_s_per_gb": self.per_gb(&self.server),
            "paths": self.client.paths,
            "server_paths": self.server.paths,
            "intervals": intervals,
        });
        format!("{object}\n")
    }

    /// CPU seconds of one end for each 10^9 bytes that arrived at either.
    fn per_gb(&self, tally: &Tally) -> Option<f64> {
        let bytes = self.client.received_bytes + self.server.received_bytes;
        (bytes > 0).then(|| tally.cpu_seconds * 1e9 / bytes as f64)
    }
}

/// Megabits per second of what arrived.
fn mbps(tally: &Tally) -> f64 {
    if tally.received_seconds > 0.0 {
        tally.received_bytes as f64 * 8.0 / tally.received_seconds / 1e6
    } else {
        0.0
    }
}

fn way(name: &str, tally: &Tally) -> String {
    let (bytes, rate) = (text::bytes(tally.received_bytes), text::mbps(mbps(tally)));
    format!("{name:<7} {bytes} arrived in {:.2} s: {rate}\n", tally.received_seconds)
}

fn paths(paths: &[Path]) -> String {
    let header = ["path", "peer", "sent", "received", "lost", "rtt", "mtu"].map(str::to_owned).into();
    let rows = paths.iter().map(|path| {
        vec![
            path.local.clone(),
            path.peer.clone(),
            text::bytes(path.bytes_sent),
            text::bytes(path.bytes_received),
            path.packets_lost.to_string(),
            format!("{:.1} ms", path.rtt_ms),
            path.mtu.to_string(),
        ]
    });
    let rows: Vec<Vec<String>> = core::iter::once(header).chain(rows).collect();
    text::columns(&rows, &[false, false, true, true, true, true, true], "")
}

pub(super) fn listening(addresses: &[SocketAddr], pin: &Fingerprint) -> String {
    let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let port = addresses.first().map_or(0, SocketAddr::port);
    format!(
        "waiting on {}; on the other machine:\n\n  quicbond perf client HOST:{port} --pin {pin}\n\n",
        all.join(" and ")
    )
}

pub(super) fn listening_json(addresses: &[SocketAddr], pin: &Fingerprint) -> String {
    let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    format!("{}\n", json!({ "listening": all, "pin": pin.to_string() }))
}

/// A test as the server prints it.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) request: Request,
    pub(super) written: u64,
    pub(super) tally: Tally,
}

impl Served {
    pub(super) fn line(&self, peer: &str) -> String {
        let mut parts = Vec::new();
        if self.request.up {
            let (bytes, rate) = (text::bytes(self.tally.received_bytes), text::mbps(mbps(&self.tally)));
            parts.push(format!("received {bytes} at {rate}"));
        }
        if self.request.down {
            parts.push(format!("sent {}", text::bytes(self.written)));
        }
        format!("{peer}: {}, {:.2} s of CPU\n", parts.join(", "), self.tally.cpu_seconds)
    }

    pub(super) fn json(&self, peer: &str) -> String {
        let Self { request, written, tally } = self;
        format!("{}\n", json!({ "peer": peer, "request": request, "written_bytes": written, "tally": tally }))
    }
}
