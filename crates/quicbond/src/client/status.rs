//! What `quicbond status` learns from a client.

use super::Base;
use super::paths::Lane as PathLane;
use super::session::{Shared, Trouble};
use super::tunnel::Counters;
use crate::control::{
    Datagrams, Flows, Link, LinkState, Memory, Request, Response, Role, State, Status, Totals,
};
use crate::daemon::Stop;
use crate::ip::Lane;
use crate::lock::lock;
use crate::meter::{Moved, Rates};
use crate::relay;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// Measures how fast each link goes.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<Rates<SocketAddr>>);

impl Meter {
    pub(crate) fn start(view: &Shared) -> Arc<Self> {
        let meter = Arc::new(Self::default());
        let (measured, view) = (Arc::downgrade(&meter), Arc::downgrade(view));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SECOND).await;
                let (Some(meter), Some(view)) = (measured.upgrade(), view.upgrade()) else { return };
                let connection = lock(&view).connection.clone();
                let paths = connection.map(|connection| connection.paths()).unwrap_or_default();
                let moved = paths.iter().map(|path| {
                    let moved = Moved { up: path.bytes_sent as f64, down: path.bytes_received as f64 };
                    (path.tuple.local, moved)
                });
                lock(&meter.0).measure(moved.collect());
            }
        });
        meter
    }
}

/// Which way TCP comes in.
#[derive(Debug)]
pub(crate) enum Traffic {
    Lane(Arc<relay::Counters>),
    Socks(Arc<super::socks::Counters>),
}

impl Traffic {
    fn relays(&self) -> &relay::Counters {
        match self {
            Self::Lane(counters) => counters,
            Self::Socks(counters) => &counters.relays,
        }
    }
}

/// Where the numbers come from.
pub(crate) struct Facts {
    server: String,
    view: Shared,
    interface: Option<String>,
    counters: Arc<Counters>,
    traffic: Traffic,
    meter: Arc<Meter>,
    lane: Arc<Mutex<Option<Arc<Lane>>>>,
    began: Instant,
}

impl Facts {
    pub(crate) fn new(base: &Base, interface: Option<String>, traffic: Traffic, meter: Arc<Meter>) -> Self {
        Self {
            server: base.token.server.to_string(),
            view: Arc::clone(&base.view),
            interface,
            counters: Arc::clone(&base.tunnel.counters),
            traffic,
            meter,
            lane: Arc::default(),
            began: Instant::now(),
        }
    }

    /// Where the datagram lane of the current session is to be put.
    pub(crate) fn lane(&self) -> Arc<Mutex<Option<Arc<Lane>>>> {
        Arc::clone(&self.lane)
    }

    fn status(&self) -> Status {
        let view = lock(&self.view).clone();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let open = |counter: &AtomicU64| u32::try_from(load(counter)).unwrap_or(u32::MAX);
        let condition = match (&view.connection, &view.trouble) {
            (Some(_), _) => State::Connected,
            (None, _) if view.links.is_empty() => State::WaitingForALink,
            (None, _) => State::Connecting,
        };
        let mut status = Status::new(Role::Client, condition);
        status.uptime_s = self.began.elapsed().as_secs();
        status.server = Some(self.server.clone());
        status.interface.clone_from(&self.interface);
        let paths = view.connection.as_ref().map(|connection| connection.paths()).unwrap_or_default();
        status.links = view
            .links
            .iter()
            .map(|seen| {
                let path = paths.iter().rfind(|path| path.tuple.local == seen.local);
                let rates = lock(&self.meter.0).of(&seen.local);
                let base = path.map_or_else(
                    || Link { state: absent(seen.lane), peer: seen.server.to_string(), ..Link::default() },
                    Link::of,
                );
                Link {
                    name: seen.name.clone(),
                    local: seen.local.to_string(),
                    rate_mbps_up: rates.up * 8.0 / 1e6,
                    rate_mbps_down: rates.down * 8.0 / 1e6,
                    bytes_up: path.map_or(0, |path| path.bytes_sent),
                    bytes_down: path.map_or(0, |path| path.bytes_received),
                    ..base
                }
            })
            .collect();
        let stats = view.connection.as_ref().map(|connection| connection.stats()).unwrap_or_default();
        let (tcp, udp) = (&self.counters.tcp_flows, &self.counters.udp_flows);
        status.flows = Flows {
            tcp: open(&self.counters.tcp_open),
            udp: open(&self.counters.udp_open),
            total: load(tcp) + load(udp),
        };
        let relays = self.traffic.relays();
        status.totals = Totals {
            bytes_up: load(&relays.up),
            bytes_down: load(&relays.down),
            rate_mbps_up: status.links.iter().map(|l| l.rate_mbps_up).sum(),
            rate_mbps_down: status.links.iter().map(|l| l.rate_mbps_down).sum(),
        };
        if let Some(lane) = lock(&self.lane).as_ref() {
            status.addresses = lane.addresses().iter().map(ToString::to_string).collect();
            status.totals.bytes_up += load(&lane.counters.bytes_out);
            status.totals.bytes_down += load(&lane.counters.bytes_in);
            status.datagrams = Datagrams {
                sent: load(&lane.counters.packets_out),
                received: load(&lane.counters.packets_in),
                dropped: load(&lane.counters.dropped_full),
                lost: stats.datagrams.lost,
                reordered: load(&lane.counters.reordered),
            };
        }
        status.memory = Memory::of_this_process(stats.streams.held_bytes);
        status.notes = match &view.trouble {
            Some(Trouble::Lasting(why) | Trouble::Passing(why)) => vec![why.clone()],
            None => Vec::new(),
        };
        status
    }
}

/// What a link without a path is doing.
const fn absent(lane: PathLane) -> LinkState {
    match lane {
        PathLane::Opening { .. } | PathLane::Open(_) => LinkState::Validating,
        PathLane::Waiting { .. } => LinkState::Gone,
    }
}

/// Answers on the control socket.
pub(crate) fn handler(facts: Facts, stop: Stop) -> impl Fn(Request) -> Response + Send + Sync + 'static {
    move |request| match request {
        Request::Status => Response::Status(Box::new(facts.status())),
        Request::Reload => Response::Failed { why: "a client has nothing to read again".to_owned() },
        Request::Stop => {
            stop.now();
            Response::Done { message: "stopping".to_owned() }
        }
    }
}
