//! A status as a table for people.

use super::status::{Link, LinkState, Role, State, Status};
use crate::text;
use core::fmt::Write as _;

/// Paths of a server that are shown; the JSON has them all.
const PATHS_SHOWN: usize = 40;

pub(super) fn text(status: &Status) -> String {
    let mut out = head(status);
    if !status.links.is_empty() {
        out.push('\n');
        out.push_str(&links(status));
    }
    if !status.tenants.is_empty() {
        out.push('\n');
        out.push_str(&tenants(status));
    }
    out.push('\n');
    out.push_str(&sums(status));
    for note in &status.notes {
        writeln!(out, "note: {note}").ok();
    }
    out
}

fn head(status: &Status) -> String {
    let state = match (status.state, &status.server) {
        (State::Connected, Some(server)) => format!("connected to {server}"),
        (State::Connected, None) => "connected".to_owned(),
        (State::Connecting, Some(server)) => format!("connecting to {server}"),
        (State::Connecting, None) => "connecting".to_owned(),
        (State::WaitingForALink, _) => "waiting for a link: no interface has a default route".to_owned(),
        (State::Serving, _) => format!("serving on {}", status.listen.join(", ")),
        (State::Stopping, _) => "stopping".to_owned(),
    };
    let role = role(status.role);
    let mut out = format!("quicbond {role} {}  {state}  up {}\n", status.version, time(status.uptime_s));
    if let Some(interface) = &status.interface {
        let addresses = status.addresses.join(", ");
        writeln!(out, "tunnel {interface}  {addresses}").ok();
    }
    out
}

fn links(status: &Status) -> String {
    let is_server = status.role == Role::Server;
    let mut rows = vec![header(is_server)];
    rows.extend(status.links.iter().take(PATHS_SHOWN).map(|link| row(link, is_server)));
    let right = [false, false, true, true, true, true, true, true, true, true, false];
    let mut out = text::columns(&rows, &right, "");
    if status.links.len() > PATHS_SHOWN {
        writeln!(out, "and {} more; --json shows all", status.links.len() - PATHS_SHOWN).ok();
    }
    out
}

fn header(is_server: bool) -> Vec<String> {
    let first = if is_server { "tenant" } else { "link" };
    let last = if is_server { "peer" } else { "local" };
    [first, "state", "down Mbit/s", "up Mbit/s", "rtt ms", "min ms", "loss", "mtu", "down", "up", last]
        .map(str::to_owned)
        .into()
}

fn row(link: &Link, is_server: bool) -> Vec<String> {
    let tenant = link.tenant.as_deref().unwrap_or("?");
    vec![
        if is_server { tenant.to_owned() } else { link.name.clone() },
        state(link.state).to_owned(),
        format!("{:.1}", link.rate_mbps_down),
        format!("{:.1}", link.rate_mbps_up),
        format!("{:.1}", link.rtt_ms),
        format!("{:.1}", link.min_rtt_ms),
        format!("{:.1} %", link.loss_percent),
        link.mtu.to_string(),
        text::bytes(link.bytes_down),
        text::bytes(link.bytes_up),
        if is_server { link.peer.clone() } else { link.local.clone() },
    ]
}

fn tenants(status: &Status) -> String {
    let header = ["tenant", "clients", "flows", "down", "up", "addresses"].map(str::to_owned).into();
    let rows = status.tenants.iter().map(|tenant| {
        vec![
            tenant.name.clone(),
            tenant.clients.to_string(),
            tenant.flows.to_string(),
            text::bytes(tenant.bytes_down),
            text::bytes(tenant.bytes_up),
            tenant.addresses.join(", "),
        ]
    });
    let rows: Vec<Vec<String>> = core::iter::once(header).chain(rows).collect();
    text::columns(&rows, &[false, true, true, true, true, false], "")
}

fn sums(status: &Status) -> String {
    let (totals, flows, datagrams) = (&status.totals, &status.flows, &status.datagrams);
    let rows = [
        [
            "total".to_owned(),
            format!(
                "down {} ({}), up {} ({})",
                text::mbps(totals.rate_mbps_down),
                text::bytes(totals.bytes_down),
                text::mbps(totals.rate_mbps_up),
                text::bytes(totals.bytes_up)
            ),
        ],
        [
            "flows".to_owned(),
            format!("{} TCP, {} UDP, {} since the start", flows.tcp, flows.udp, flows.total),
        ],
        [
            "datagrams".to_owned(),
            format!(
                "{} sent, {} received, {} put in order, {} lost, {} dropped",
                datagrams.sent, datagrams.received, datagrams.reordered, datagrams.lost, datagrams.dropped
            ),
        ],
        [
            "memory".to_owned(),
            format!(
                "{}, {} of it waiting data",
                text::bytes(status.memory.resident_bytes),
                text::bytes(status.memory.buffered_bytes)
            ),
        ],
    ];
    text::columns(&rows.map(Vec::from), &[], "")
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}

fn state(state: LinkState) -> &'static str {
    match state {
        LinkState::Up => "up",
        LinkState::Silent => "silent",
        LinkState::Validating => "validating",
        LinkState::Backup => "backup",
        LinkState::Gone => "gone",
    }
}

/// `3 d 4 h`, `2 h 5 min`, `7 min 3 s` or `12 s`.
fn time(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match seconds {
        86_400.. => format!("{days} d {hours} h"),
        3600.. => format!("{hours} h {minutes} min"),
        60.. => format!("{minutes} min {} s", seconds % 60),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests;
