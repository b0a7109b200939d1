//! What was measured, in a table for people or one line for scripts.

use super::measure::Measured;
use crate::text;
use mpquic_base::Duration;
use mpquic_sim::emulator::LinkStats;
use mpquic_sim::link::{DirectionStats, Drops};
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) links: Vec<LinkReport>,
    pub(super) goodput_mbps: f64,
    pub(super) longest_gap_ms: f64,
    /// Of the command.
    pub(super) seconds: f64,
    pub(super) exit_code: u8,
    pub(super) set_up_ms: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct LinkReport {
    pub(super) name: String,
    pub(super) up_bytes: u64,
    pub(super) down_bytes: u64,
    pub(super) up_mbps: f64,
    pub(super) down_mbps: f64,
    pub(super) dropped: u64,
    pub(super) drops: DropReport,
}

/// Packets, both directions together.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct DropReport {
    loss: u64,
    queue: u64,
    aqm: u64,
    mtu: u64,
    cut: u64,
    /// Not taken by the device at the far end.
    device: u64,
}

/// What a link had carried when the command started.
pub(super) type Before = (DirectionStats, DirectionStats);

impl Report {
    pub(super) fn new(
        measured: &Measured,
        links: Vec<LinkReport>,
        time: Duration,
        exit_code: u8,
        set_up: Duration,
    ) -> Self {
        Self {
            links,
            goodput_mbps: text::mbps_of(measured.payload, measured.busy),
            longest_gap_ms: text::millis(measured.longest_gap),
            seconds: time.as_secs_f64(),
            exit_code,
            set_up_ms: u64::try_from(set_up.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn json(&self) -> String {
        // Numbers and names always have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn table(&self) -> String {
        let head = ["link", "down", "up", "dropped"].map(str::to_owned).to_vec();
        let rows = self.links.iter().map(|link| {
            let way = |bytes, mbps| format!("{} ({})", text::bytes(bytes), text::mbps(mbps));
            vec![
                link.name.clone(),
                way(link.down_bytes, link.down_mbps),
                way(link.up_bytes, link.up_mbps),
                format!("{} packets", link.dropped),
            ]
        });
        let rows: Vec<Vec<String>> = core::iter::once(head).chain(rows).collect();
        format!(
            "{}goodput {}, longest gap {:.0} ms, {:.2} s, exit code {}\n",
            text::columns(&rows, &[false, true, true, true], ""),
            text::mbps(self.goodput_mbps),
            self.longest_gap_ms,
            self.seconds,
            self.exit_code
        )
    }
}

impl LinkReport {
    pub(super) fn emulated(now: &LinkStats, before: &LinkStats, time: Duration) -> Self {
        let [up, down] = [(now.link.up, before.link.up), (now.link.down, before.link.down)];
        let bytes =
            |(now, before): (DirectionStats, DirectionStats)| now.delivered_bytes - before.delivered_bytes;
        let drops = DropReport::since(&[up, down], now.refused - before.refused);
        Self { drops, dropped: drops.total(), ..Self::plain(&now.name, bytes(up), bytes(down), time) }
    }

    pub(super) fn plain(name: &str, up_bytes: u64, down_bytes: u64, time: Duration) -> Self {
        Self {
            name: name.to_owned(),
            up_bytes,
            down_bytes,
            up_mbps: text::mbps_of(up_bytes, time),
            down_mbps: text::mbps_of(down_bytes, time),
            dropped: 0,
            drops: DropReport::default(),
        }
    }
}

impl DropReport {
    fn since(ways: &[Before], device: u64) -> Self {
        let sum = |part: fn(&Drops) -> u64| {
            ways.iter().map(|(now, before)| part(&now.drops) - part(&before.drops)).sum()
        };
        Self {
            loss: sum(|d| d.loss),
            queue: sum(|d| d.queue),
            aqm: sum(|d| d.aqm),
            mtu: sum(|d| d.mtu),
            cut: sum(|d| d.cut),
            device,
        }
    }

    const fn total(&self) -> u64 {
        self.loss + self.queue + self.aqm + self.mtu + self.cut + self.device
    }
}
