//! What came of a transfer: the table for people and the JSON for scripts.

use super::payload::Digest;
use super::plan::Direction;
use crate::text;
use core::fmt::Write as _;
use mpquic_base::{Duration, Rate};
use serde::Serialize;

/// What packet headers leave of a link, in percent: 1415 of 1480 bytes, where 1452 bytes are the UDP payload, 28 bytes the headers
/// around it, and 37 bytes go to QUIC's header, frame header and authentication tag.
const HEADER_CEILING: f64 = 95.6;

/// One transfer over all links.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) direction: Direction,
    /// Delivered to the receiving application.
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
    pub(crate) capacity: Rate,
    pub(crate) longest_gap: Duration,
    pub(crate) verdict: Verdict,
    pub(crate) links: Vec<LinkReport>,
    pub(crate) best: Option<Alone>,
    /// What else the reader should know.
    pub(crate) notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Verified(Digest),
    /// Everything arrived, but it is not what was sent.
    Wrong {
        sent: Digest,
        received: Digest,
    },
    /// Somebody pressed Ctrl-C, or the time was up.
    Stopped,
    Failed(String),
}

#[derive(Clone, Debug)]
pub(crate) struct LinkReport {
    pub(crate) name: String,
    pub(crate) rate: Rate,
    /// Sent, headers and repetitions included.
    pub(crate) bytes: u64,
    /// Of the bytes that arrived.
    pub(crate) share: f64,
    pub(crate) srtt: Duration,
    pub(crate) lost: u64,
    pub(crate) packets: u64,
    pub(crate) mtu: u16,
    pub(crate) state: &'static str,
}

/// The same transfer over one link.
#[derive(Clone, Debug)]
pub(crate) struct Alone {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// What all links together carried; more than this one was given if that would have taken too long.
    pub(crate) whole: u64,
    pub(crate) time: Duration,
    /// The time was up before the data was through.
    pub(crate) stopped: bool,
}

impl Report {
    pub(crate) fn goodput(&self) -> f64 {
        text::mbps_of(self.bytes, self.time)
    }

    pub(crate) fn efficiency(&self) -> f64 {
        let capacity = text::mbps_of_rate(self.capacity);
        if capacity > 0.0 { self.goodput() / capacity } else { 0.0 }
    }

    pub(crate) fn table(&self) -> String {
        let mut out = format!(
            "\n{}: {} in {:.2} s\n\n{}\n{}",
            self.direction.name(),
            text::bytes(self.bytes),
            self.time.as_secs_f64(),
            self.link_rows(),
            self.sums()
        );
        for note in &self.notes {
            // Writing to a String cannot fail.
            writeln!(out, "  note: {note}").ok();
        }
        out
    }

    fn link_rows(&self) -> String {
        let head = ["link", "capacity", "sent", "share", "RTT", "lost", "MTU", "state"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.links.iter().map(|link| {
            let lost = if link.packets == 0 { 0.0 } else { link.lost as f64 / link.packets as f64 };
            vec![
                link.name.clone(),
                text::mbps(text::mbps_of_rate(link.rate)),
                text::bytes(link.bytes),
                text::percent(link.share),
                format!("{:.1} ms", text::millis(link.srtt)),
                format!("{} ({})", link.lost, text::percent(lost)),
                link.mtu.to_string(),
                link.state.to_owned(),
            ]
        }));
        text::columns(&rows, &[false, true, true, true, true, true, true, false], "  ")
    }

    fn sums(&self) -> String {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let mut rows = vec![
            row("goodput", text::mbps(self.goodput())),
            row("sum of capacities", text::mbps(text::mbps_of_rate(self.capacity))),
            row(
                "efficiency",
                format!(
                    "{}   (packet headers leave at most {HEADER_CEILING} % at 1452-byte packets)",
                    text::percent(self.efficiency())
                ),
            ),
            row(
                "longest gap",
                format!("{:.0} ms without a byte for the receiver", text::millis(self.longest_gap)),
            ),
            row("SHA-256", self.verdict.to_string()),
        ];
        if let Some(best) = &self.best {
            rows.push(row("best link alone", best.describe(self.goodput())));
        }
        text::columns(&rows, &[], "  ")
    }
}

impl Alone {
    pub(crate) fn goodput(&self) -> f64 {
        text::mbps_of(self.bytes, self.time)
    }

    fn describe(&self, bonded: f64) -> String {
        let end = if self.stopped { ", then stopped" } else { "" };
        let of =
            if self.bytes < self.whole { format!(" of {}", text::bytes(self.whole)) } else { String::new() };
        let times = if self.goodput() > 0.0 { bonded / self.goodput() } else { f64::INFINITY };
        format!(
            "{}   ({}, undisturbed, {}{of} in {:.1} s{end}): together {times:.2} times that",
            text::mbps(self.goodput()),
            self.name,
            text::bytes(self.bytes),
            self.time.as_secs_f64(),
        )
    }
}

impl core::fmt::Display for Verdict {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Verified(digest) => write!(f, "verified, {}...", &digest.hex()[..16]),
            Self::Wrong { sent, received } => {
                write!(f, "WRONG: sent {}, received {}", sent.hex(), received.hex())
            }
            Self::Stopped => f.write_str("not checked: stopped before the end"),
            Self::Failed(why) => write!(f, "not checked: {why}"),
        }
    }
}

/// The whole of `--json`, in one line.
pub(crate) fn json(profile: &str, reports: &[Report]) -> String {
    let whole = Json { profile, runs: reports.iter().map(JsonRun::new).collect() };
    // Numbers, strings and lists: nothing in there that JSON could not say.
    let mut line = serde_json::to_string(&whole).unwrap_or_default();
    line.push('\n');
    line
}

#[derive(Serialize)]
struct Json<'a> {
    profile: &'a str,
    runs: Vec<JsonRun<'a>>,
}

#[derive(Serialize)]
struct JsonRun<'a> {
    direction: &'static str,
    bytes: u64,
    seconds: f64,
    goodput_mbps: f64,
    capacity_mbps: f64,
    efficiency: f64,
    best_link_mbps: Option<f64>,
    longest_gap_ms: f64,
    sha256_ok: bool,
    links: Vec<JsonLink<'a>>,
}

#[derive(Serialize)]
struct JsonLink<'a> {
    name: &'a str,
    bytes: u64,
    share: f64,
    srtt_ms: f64,
    lost_packets: u64,
    mtu: u16,
    state: &'static str,
}

impl<'a> JsonRun<'a> {
    fn new(report: &'a Report) -> Self {
        Self {
            direction: report.direction.name(),
            bytes: report.bytes,
            seconds: thousandths(report.time.as_secs_f64()),
            goodput_mbps: thousandths(report.goodput()),
            capacity_mbps: thousandths(text::mbps_of_rate(report.capacity)),
            efficiency: thousandths(report.efficiency()),
            best_link_mbps: report.best.as_ref().map(|best| thousandths(best.goodput())),
            longest_gap_ms: thousandths(text::millis(report.longest_gap)),
            sha256_ok: matches!(report.verdict, Verdict::Verified(_)),
            links: report.links.iter().map(JsonLink::new).collect(),
        }
    }
}

impl<'a> JsonLink<'a> {
    fn new(link: &'a LinkReport) -> Self {
        Self {
            name: &link.name,
            bytes: link.bytes,
            share: thousandths(link.share),
            srtt_ms: thousandths(text::millis(link.srtt)),
            lost_packets: link.lost,
            mtu: link.mtu,
            state: link.state,
        }
    }
}

fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests;
