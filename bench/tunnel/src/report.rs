//! Medians, as tables for people and as one line of JSON for machines.

use crate::load::{Direction, Measured};
use crate::ways::Way;
use core::fmt;
use serde_json::json;

#[derive(Debug)]
pub(crate) struct Report {
    rows: Vec<Row>,
    /// Load average of the machine before and after.
    pub(crate) loads: Vec<String>,
}

/// All rounds of one measurement.
#[derive(Debug)]
struct Row {
    way: &'static Way,
    direction: Direction,
    offered: Option<u32>,
    rounds: Vec<Measured>,
}

impl Row {
    fn median(&self, figure: impl Fn(&Measured) -> f64) -> f64 {
        let mut values: Vec<f64> = self.rounds.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = values.get(middle).copied().unwrap_or(f64::NAN);
        if values.len().is_multiple_of(2) && middle > 0 {
            f64::midpoint(values[middle - 1], upper)
        } else {
            upper
        }
    }

    fn cpu(&self, end: usize) -> Option<f64> {
        self.way.is_tunnel.then(|| self.median(|one| one.cpu.map_or(f64::NAN, |cpu| cpu[end])))
    }
}

impl Report {
    pub(crate) fn new(load: String) -> Self {
        Self { rows: Vec::new(), loads: vec![load] }
    }

    pub(crate) fn add(&mut self, way: &'static Way, direction: Direction, measured: Measured) {
        let offered = measured.offered;
        let same =
            |row: &&mut Row| (row.way.name, row.direction, row.offered) == (way.name, direction, offered);
        match self.rows.iter_mut().find(same) {
            Some(row) => row.rounds.push(measured),
            None => self.rows.push(Row { way, direction, offered, rounds: vec![measured] }),
        }
    }

    pub(crate) fn json(&self) -> String {
        let row = |row: &Row| {
            json!({
                "way": row.way.name,
                "direction": row.direction.name(),
                "protocol": if row.offered.is_some() { "udp" } else { "tcp" },
                "offered_mbps": row.offered,
                "mbps": rounded(row.median(|one| one.mbps)),
                "client_cpu_s_per_gb": row.cpu(0).map(rounded),
                "server_cpu_s_per_gb": row.cpu(1).map(rounded),
                "lost_percent": rounded(row.median(|one| one.lost)),
                "retransmits": rounded(row.median(|one| one.retransmits)),
                "rounds_mbps": row.rounds.iter().map(|one| rounded(one.mbps)).collect::<Vec<_>>(),
            })
        };
        json!({ "load_average": self.loads, "results": self.rows.iter().map(row).collect::<Vec<_>>() })
            .to_string()
    }
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// A measurement of a bare link has no tunnel to look at.
fn or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.2}"))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "load average {}", self.loads.join(" to "))?;
        for direction in [Direction::Up, Direction::Down] {
            let rows = |udp: bool| {
                self.rows.iter().filter(move |row| row.direction == direction && row.offered.is_some() == udp)
            };
            writeln!(f, "\n{}, one TCP connection:\n", direction.name())?;
            writeln!(
                f,
                "| way | Gbit/s | range | client CPU s/GB | server CPU s/GB | retransmits |\n|---|---|---|---|---|---|"
            )?;
            for row in rows(false) {
                let all = || row.rounds.iter().map(|one| one.mbps / 1000.0);
                let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
                let (gbps, again) = (row.median(|one| one.mbps) / 1000.0, row.median(|one| one.retransmits));
                let (client, server) = (or_dash(row.cpu(0)), or_dash(row.cpu(1)));
                let what = row.way.what;
                writeln!(
                    f,
                    "| {what} | {gbps:.2} | {least:.2}-{most:.2} | {client} | {server} | {again:.0} |"
                )?;
            }
            if rows(true).next().is_none() {
                continue;
            }
            writeln!(f, "\n{}, UDP:\n", direction.name())?;
            writeln!(
                f,
                "| way | offered Mbit/s | arrived | lost % | client CPU s/GB | server CPU s/GB |\n|---|---|---|---|---|---|"
            )?;
            for row in rows(true) {
                let (mbps, lost) = (row.median(|one| one.mbps), row.median(|one| one.lost));
                let (client, server) = (or_dash(row.cpu(0)), or_dash(row.cpu(1)));
                let (what, offered) = (row.way.what, row.offered.unwrap_or_default());
                writeln!(f, "| {what} | {offered} | {mbps:.0} | {lost:.1} | {client} | {server} |")?;
            }
        }
        Ok(())
    }
}
