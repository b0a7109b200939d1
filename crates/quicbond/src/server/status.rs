//! What `quicbond status` learns from a server.

use super::state::{Member, State, Usage};
use crate::control::{Flows, Link, Memory, Role, State as Condition, Status, TenantStatus, Totals};
use crate::lock::lock;
use crate::meter::{Moved, Rates};
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use mpquic::PathStats;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

/// Rates are over the last of these.
const SECOND: Duration = Duration::from_secs(1);

/// Measures how fast each path of each session goes.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<Rates<(u64, u32)>>);

impl Meter {
    /// Measures for as long as somebody holds the state.
    pub(crate) fn start(state: &Arc<State>) -> Arc<Self> {
        let meter = Arc::new(Self::default());
        let (weak, measured): (Weak<State>, _) = (Arc::downgrade(state), Arc::clone(&meter));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SECOND).await;
                let Some(state) = weak.upgrade() else { return };
                let moved = state.members().into_iter().flat_map(|member| {
                    let number = member.number;
                    member.connection.paths().into_iter().map(move |path| ((number, path.id.0), moved(&path)))
                });
                lock(&measured.0).measure(moved.collect());
            }
        });
        meter
    }

    fn of(&self, member: &Member, path: &PathStats) -> Moved {
        lock(&self.0).of(&(member.number, path.id.0))
    }
}

/// What the server receives goes up, what it sends goes down.
const fn moved(path: &PathStats) -> Moved {
    Moved { up: path.bytes_received as f64, down: path.bytes_sent as f64 }
}

pub(crate) fn status(state: &State, meter: &Meter) -> Status {
    let load = |counter: &core::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let mut status = Status::new(Role::Server, Condition::Serving);
    let members = state.members();
    status.uptime_s = state.started.elapsed().as_secs();
    status.listen = state.config.listen.iter().map(ToString::to_string).collect();
    status.interface = Some(state.config.network.interface.clone());
    let network = &state.config.network;
    status.addresses = vec![network.server_v4().to_string(), network.server_v6().to_string()];
    status.links = members.iter().flat_map(|member| links(member, meter)).collect();
    status.tenants = tenants(state, &members);
    let usages = usages(&members);
    let open = |count: fn(&Usage) -> &AtomicUsize| {
        let all: usize = usages.iter().map(|usage| count(usage).load(Ordering::Relaxed)).sum();
        u32::try_from(all).unwrap_or(u32::MAX)
    };
    status.flows = Flows {
        tcp: open(|usage| &usage.tcp),
        udp: open(|usage| &usage.udp),
        total: load(&state.totals.tcp_flows) + load(&state.totals.udp_flows),
    };
    status.totals = Totals {
        bytes_up: status.tenants.iter().map(|t| t.bytes_up).sum(),
        bytes_down: status.tenants.iter().map(|t| t.bytes_down).sum(),
        rate_mbps_up: status.links.iter().map(|l| l.rate_mbps_up).sum(),
        rate_mbps_down: status.links.iter().map(|l| l.rate_mbps_down).sum(),
    };
    let mut refused_packets = load(&state.totals.refused_packets);
    for lane in state.lanes() {
        refused_packets += load(&lane.counters.dropped_foreign);
        status.datagrams.sent += load(&lane.counters.packets_out);
        status.datagrams.received += load(&lane.counters.packets_in);
        status.datagrams.dropped += load(&lane.counters.dropped_full);
        status.datagrams.reordered += load(&lane.counters.reordered);
    }
    let held = members.iter().map(|member| member.connection.stats());
    let (buffered, lost) = held
        .fold((0, 0), |(held, lost), stats| (held + stats.streams.held_bytes, lost + stats.datagrams.lost));
    status.datagrams.lost = lost;
    status.memory = Memory::of_this_process(buffered);
    let refusals = [
        (load(&state.totals.refused_auth), "connections or requests with a wrong proof were refused"),
        (load(&state.totals.refused_targets), "flows to targets that are not allowed were refused"),
        (refused_packets, "packets with a foreign source or target were dropped"),
    ];
    status.notes = refusals
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    status
}

/// What the tenants use: sessions of one tenant share a count.
fn usages(members: &[Arc<Member>]) -> Vec<&Arc<Usage>> {
    let mut all: Vec<&Arc<Usage>> = Vec::new();
    for member in members {
        if !all.iter().any(|known| Arc::ptr_eq(known, &member.usage)) {
            all.push(&member.usage);
        }
    }
    all
}

fn links(member: &Member, meter: &Meter) -> Vec<Link> {
    let one = |path: PathStats| {
        let rates = meter.of(member, &path);
        Link {
            name: format!("#{} path {}", member.number, path.id.0),
            tenant: Some(member.tenant.to_string()),
            rate_mbps_up: rates.up * 8.0 / 1e6,
            rate_mbps_down: rates.down * 8.0 / 1e6,
            bytes_up: path.bytes_received,
            bytes_down: path.bytes_sent,
            ..Link::of(&path)
        }
    };
    member.connection.paths().into_iter().map(one).collect()
}

fn tenants(state: &State, members: &[Arc<Member>]) -> Vec<TenantStatus> {
    let mut all: BTreeMap<String, TenantStatus> = state
        .tenants()
        .iter()
        .map(|tenant| tenant.name.to_string())
        .map(|name| (name.clone(), TenantStatus { name, ..TenantStatus::default() }))
        .collect();
    for member in members {
        let Some(tenant) = all.get_mut(member.tenant.as_str()) else { continue };
        let usage = &member.usage;
        let load = |counter: &core::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let lanes: Vec<_> = member.addresses().iter().filter_map(|ip| state.lane(*ip)).take(1).collect();
        let packets = |count: fn(&crate::ip::Counters) -> &core::sync::atomic::AtomicU64| {
            lanes.iter().map(|lane| load(count(&lane.counters))).sum::<u64>()
        };
        tenant.clients += 1;
        let flows = usage.open();
        tenant.flows = u32::try_from(flows).unwrap_or(u32::MAX);
        // What a tenant's sessions share counts once.
        if tenant.clients == 1 {
            tenant.bytes_up += load(&usage.relayed.down) + load(&usage.udp_up);
            tenant.bytes_down += load(&usage.relayed.up) + load(&usage.udp_down);
        }
        tenant.bytes_up += packets(|c| &c.bytes_in);
        tenant.bytes_down += packets(|c| &c.bytes_out);
        tenant.addresses.extend(member.addresses().iter().map(ToString::to_string));
    }
    all.into_values().collect()
}
