//! What a daemon says about itself.
//!
//! "Up" is from the client to the server and "down" the other way, at both ends alike. Every field that may be missing
//! has a default, so that the `status` of one version understands the daemon of another.

use core::time::Duration;
use mpquic::PathStats;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    /// A client with at least one usable path.
    #[serde(rename = "connected")]
    Connected,
    #[default]
    #[serde(rename = "connecting")]
    Connecting,
    #[serde(rename = "waiting for a link")]
    WaitingForALink,
    /// A server that accepts clients.
    #[serde(rename = "serving")]
    Serving,
    #[serde(rename = "stopping")]
    Stopping,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) role: Role,
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) pid: u32,
    #[serde(default)]
    pub(crate) uptime_s: u64,
    #[serde(default)]
    pub(crate) state: State,
    /// Of a client: the server it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    /// Of a server: where it listens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) listen: Vec<String>,
    /// The TUN interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interface: Option<String>,
    /// Addresses of this end inside the tunnel.
    #[serde(default)]
    pub(crate) addresses: Vec<String>,
    /// Of a client: its links. Of a server: the paths of all clients.
    #[serde(default)]
    pub(crate) links: Vec<Link>,
    /// Of a server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tenants: Vec<TenantStatus>,
    #[serde(default)]
    pub(crate) flows: Flows,
    #[serde(default)]
    pub(crate) totals: Totals,
    #[serde(default)]
    pub(crate) datagrams: Datagrams,
    #[serde(default)]
    pub(crate) memory: Memory,
    /// What somebody should know or mend, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
}

impl Status {
    /// Of this process; everything else is empty.
    pub(crate) fn new(role: Role, state: State) -> Self {
        Self {
            role,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: 0,
            state,
            server: None,
            listen: Vec::new(),
            interface: None,
            addresses: Vec::new(),
            links: Vec::new(),
            tenants: Vec::new(),
            flows: Flows::default(),
            totals: Totals::default(),
            datagrams: Datagrams::default(),
            memory: Memory::default(),
            notes: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LinkState {
    Up,
    /// Nothing has been heard on it lately; data avoids it.
    Silent,
    #[default]
    Validating,
    /// Good, and used when nothing else is.
    Backup,
    Gone,
}

/// One path over one link.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// The interface at a client.
    pub(crate) name: String,
    /// Of a server: whose path it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
    #[serde(default)]
    pub(crate) local: String,
    #[serde(default)]
    pub(crate) peer: String,
    #[serde(default)]
    pub(crate) state: LinkState,
    #[serde(default)]
    pub(crate) rtt_ms: f64,
    #[serde(default)]
    pub(crate) min_rtt_ms: f64,
    /// Over the last second.
    #[serde(default)]
    pub(crate) rate_mbps_down: f64,
    /// Over the last second.
    #[serde(default)]
    pub(crate) rate_mbps_up: f64,
    #[serde(default)]
    pub(crate) loss_percent: f64,
    #[serde(default)]
    pub(crate) mtu: u32,
    #[serde(default)]
    pub(crate) bytes_down: u64,
    #[serde(default)]
    pub(crate) bytes_up: u64,
}

impl Link {
    /// What both roles say of a path alike; names and directions are the caller's.
    pub(crate) fn of(path: &PathStats) -> Self {
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        let percent =
            |part: u64, whole: u64| if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 };
        Self {
            local: path.tuple.local.to_string(),
            peer: path.tuple.peer.to_string(),
            state: match path {
                path if path.closing => LinkState::Gone,
                path if !path.validated => LinkState::Validating,
                path if path.silent => LinkState::Silent,
                path if path.backup => LinkState::Backup,
                _ => LinkState::Up,
            },
            rtt_ms: ms(path.srtt),
            min_rtt_ms: ms(path.min_rtt),
            loss_percent: percent(path.packets_lost.saturating_sub(path.spurious_losses), path.packets_sent),
            mtu: u32::from(path.mtu),
            ..Self::default()
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TenantStatus {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) clients: u32,
    #[serde(default)]
    pub(crate) flows: u32,
    #[serde(default)]
    pub(crate) bytes_up: u64,
    #[serde(default)]
    pub(crate) bytes_down: u64,
    /// Of its clients inside the tunnel.
    #[serde(default)]
    pub(crate) addresses: Vec<String>,
}

/// Open now, and ever since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flows {
    #[serde(default)]
    pub(crate) tcp: u32,
    #[serde(default)]
    pub(crate) udp: u32,
    #[serde(default)]
    pub(crate) total: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Totals {
    #[serde(default)]
    pub(crate) bytes_up: u64,
    #[serde(default)]
    pub(crate) bytes_down: u64,
    /// Over the last second.
    #[serde(default)]
    pub(crate) rate_mbps_up: f64,
    /// Over the last second.
    #[serde(default)]
    pub(crate) rate_mbps_down: f64,
}

/// IP packets that travelled as datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Datagrams {
    #[serde(default)]
    pub(crate) sent: u64,
    #[serde(default)]
    pub(crate) received: u64,
    /// Dropped here, because a queue was full or too old.
    #[serde(default)]
    pub(crate) dropped: u64,
    /// Sent and never acknowledged.
    #[serde(default)]
    pub(crate) lost: u64,
    /// Arrived out of order and put right.
    #[serde(default)]
    pub(crate) reordered: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Of the process, as the kernel counts it.
    #[serde(default)]
    pub(crate) resident_bytes: u64,
    /// Waiting in flows and reorder buffers.
    #[serde(default)]
    pub(crate) buffered_bytes: u64,
}

impl Memory {
    /// What this process uses now.
    pub(crate) fn of_this_process(buffered_bytes: u64) -> Self {
        // proc(5): VmRSS is in kB, whatever the size of a page.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: Option<u64> = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        Self { resident_bytes: kib.unwrap_or(0) * 1024, buffered_bytes }
    }
}
