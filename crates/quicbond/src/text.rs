//! Amounts and tables in words for people.

use mpquic_base::{Duration, Rate};
use mpquic_sim::link::{LinkSpec, Loss};

/// `141.2 MB`, in the units that rates are given in: powers of ten.
pub(crate) fn bytes(n: u64) -> String {
    let n = n as f64;
    match n {
        _ if n >= 1e9 => format!("{:.2} GB", n / 1e9),
        _ if n >= 1e6 => format!("{:.1} MB", n / 1e6),
        _ if n >= 1e3 => format!("{:.1} kB", n / 1e3),
        _ => format!("{n} B"),
    }
}

pub(crate) fn mbps(mbps: f64) -> String {
    format!("{mbps:.1} Mbit/s")
}

/// Megabits per second that `bytes` in `time` are; 0 for no time.
pub(crate) fn mbps_of(bytes: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { bytes as f64 * 8.0 / time.as_secs_f64() / 1e6 }
}

pub(crate) fn mbps_of_rate(rate: Rate) -> f64 {
    rate.bits_per_second() as f64 / 1e6
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A link as `--links` takes it. Both directions of a link that a text or profile describes are alike.
pub(crate) fn link(spec: &LinkSpec) -> String {
    let way = &spec.down;
    let mbit = mbps_of_rate(way.rate);
    let rate = if mbit >= 1000.0 { format!("{}gbit", mbit / 1000.0) } else { format!("{mbit}mbit") };
    let jitter = if way.jitter.deviation.is_zero() {
        String::new()
    } else {
        format!("±{}", millis(way.jitter.deviation))
    };
    let loss = match way.loss {
        Loss::None => String::new(),
        Loss::Bernoulli(p) => format!("/{}%", p * 100.0),
        Loss::GilbertElliott { .. } => "/bursts of loss".to_owned(),
    };
    format!("{rate}/{}{jitter}ms{loss}", millis(way.delay))
}

/// Rows with their columns aligned: the first column to the left, the others as `right` says.
pub(crate) fn columns(rows: &[Vec<String>], right: &[bool], indent: &str) -> String {
    let width = |column: usize| {
        rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(i, cell)| {
            if right.get(i).copied().unwrap_or(false) {
                format!("{cell:>0$}", width(i))
            } else {
                format!("{cell:<0$}", width(i))
            }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(indent);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
