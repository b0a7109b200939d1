//! What all sessions of a server share.
//!
//! Owns the tenants as they are now, who may try to authenticate, the sessions, their inner addresses and the counters.

use super::pool::Pool;
use super::strangers::Strangers;
use crate::auth::{Claim, Exported, Failures};
use crate::config;
use crate::ip::Lane;
use crate::lock::lock;
use crate::relay;
use crate::tenants::Tenants;
use crate::token::TenantName;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use mpquic::Connection;
use mpquic_base::Time;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

pub(crate) struct State {
    pub(crate) config: config::Server,
    tenants: Mutex<Tenants>,
    failures: Mutex<Failures>,
    pool: Mutex<Pool>,
    /// Whose packets go to which session.
    lanes: Mutex<BTreeMap<IpAddr, Arc<Lane>>>,
    sessions: Mutex<BTreeMap<u64, Arc<Member>>>,
    next_session: AtomicU64,
    pub(crate) strangers: Arc<Strangers>,
    pub(crate) totals: Totals,
    pub(crate) started: Instant,
}

/// A session whose client proved to be a tenant.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) number: u64,
    pub(crate) tenant: TenantName,
    pub(crate) connection: Connection,
    /// Flows of the whole tenant, this session's among them.
    pub(crate) usage: Arc<Usage>,
    addresses: Mutex<Vec<IpAddr>>,
    /// It has a datagram lane.
    has_lane: AtomicBool,
}

impl Member {
    /// Its addresses inside the tunnel.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        lock(&self.addresses).clone()
    }
}

/// The right of a session to its one datagram lane, and the addresses that come with it. All of it is given back on drop,
/// however the request ends.
pub(crate) struct Lease {
    state: Arc<State>,
    member: Arc<Member>,
    addresses: Vec<IpAddr>,
    lane: Option<Arc<Lane>>,
}

impl Lease {
    /// `None` if the session has a lane: each costs memory and addresses.
    pub(crate) fn claim(state: &Arc<State>, member: &Arc<Member>) -> Option<Self> {
        let first = !member.has_lane.swap(true, Ordering::AcqRel);
        first.then(|| Self {
            state: Arc::clone(state),
            member: Arc::clone(member),
            addresses: Vec::new(),
            lane: None,
        })
    }

    /// Inner addresses, those that the client wants if possible; none if none is left.
    pub(crate) fn take_addresses(&mut self, wanted: &[IpAddr]) -> &[IpAddr] {
        let (now, tenant) = (Instant::now(), self.member.tenant.as_str());
        let v4 = wanted.iter().find_map(|ip| if let IpAddr::V4(ip) = ip { Some(*ip) } else { None });
        let v6 = wanted.iter().find_map(|ip| if let IpAddr::V6(ip) = ip { Some(*ip) } else { None });
        let mut pool = lock(&self.state.pool);
        self.addresses.extend(pool.lease_v4(tenant, v4, now));
        self.addresses.extend(pool.lease_v6(tenant, v6, now));
        drop(pool);
        lock(&self.member.addresses).clone_from(&self.addresses);
        &self.addresses
    }

    /// From now on, packets for the addresses go to `lane`.
    pub(crate) fn attach(&mut self, lane: &Arc<Lane>) {
        self.lane = Some(Arc::clone(lane));
        lock(&self.state.lanes).extend(self.addresses.iter().map(|ip| (*ip, Arc::clone(lane))));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Self { state, member, addresses, lane } = self;
        let (now, mut pool, mut lanes) = (Instant::now(), lock(&state.pool), lock(&state.lanes));
        for address in addresses {
            lanes.remove(address);
            pool.release(*address, now);
        }
        drop((pool, lanes));
        lock(&member.addresses).clear();
        let dropped = lane.as_ref().map_or(0, |lane| lane.counters.dropped_foreign.load(Ordering::Relaxed));
        if dropped > 0 {
            state.totals.refused_packets.fetch_add(dropped, Ordering::Relaxed);
            tracing::warn!(tenant = %member.tenant, dropped, "packets with a foreign source or target were dropped");
        }
        member.has_lane.store(false, Ordering::Release);
    }
}

/// What a tenant uses, over all its sessions.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    pub(crate) tcp: AtomicUsize,
    pub(crate) udp: AtomicUsize,
    /// Seen from here, the local side of a relay is the target: its `up` goes down to the client.
    pub(crate) relayed: relay::Counters,
    pub(crate) udp_up: AtomicU64,
    pub(crate) udp_down: AtomicU64,
}

impl Usage {
    /// Flows of both kinds.
    pub(crate) fn open(&self) -> usize {
        self.tcp.load(Ordering::Relaxed) + self.udp.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) connections: AtomicU64,
    pub(crate) refused_auth: AtomicU64,
    pub(crate) refused_targets: AtomicU64,
    pub(crate) refused_packets: AtomicU64,
    pub(crate) tcp_flows: AtomicU64,
    pub(crate) udp_flows: AtomicU64,
}

/// How a proof was judged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Tenant(TenantName),
    Refused,
    /// Too many failures lately: not even looked at.
    Later,
}

impl State {
    pub(crate) fn new(config: config::Server, tenants: Tenants) -> Self {
        let pool = Pool::new(Some(config.network.ipv4), Some(config.network.ipv6));
        let failures = Failures::new(config.limits.auth_failures_per_minute);
        Self {
            config,
            tenants: Mutex::new(tenants),
            failures: Mutex::new(failures),
            pool: Mutex::new(pool),
            lanes: Mutex::default(),
            sessions: Mutex::default(),
            next_session: AtomicU64::new(1),
            strangers: Arc::default(),
            totals: Totals::default(),
            started: Instant::now(),
        }
    }

    pub(crate) fn tenants(&self) -> MutexGuard<'_, Tenants> {
        lock(&self.tenants)
    }

    /// Judges a claim; `exported` is keyed to the tenant that it names.
    pub(crate) fn judge(&self, from: IpAddr, claim: &Claim, exported: &Exported) -> Verdict {
        if self.is_suspicious(from) {
            return Verdict::Later;
        }
        let verified = {
            let tenants = self.tenants();
            claim.verify(tenants.get(claim.tenant()).map(|tenant| &tenant.secret), exported)
        };
        if verified.is_ok() {
            return Verdict::Tenant(claim.tenant().clone());
        }
        self.on_failure(from);
        Verdict::Refused
    }

    /// Too many proofs from there were wrong lately.
    pub(crate) fn is_suspicious(&self, from: IpAddr) -> bool {
        lock(&self.failures).refuses(from, self.now())
    }

    pub(crate) fn on_failure(&self, from: IpAddr) {
        lock(&self.failures).failed(from, self.now());
        self.totals.refused_auth.fetch_add(1, Ordering::Relaxed);
    }

    fn now(&self) -> Time {
        Time::ZERO + self.started.elapsed()
    }

    /// A session begins; `None` if the tenant or the server has too many.
    pub(crate) fn join(&self, tenant: &TenantName, connection: &Connection) -> Option<Arc<Member>> {
        let own_limit = self.tenants().get(tenant).and_then(|tenant| tenant.limits.clients);
        let mut sessions = lock(&self.sessions);
        let of_tenant = sessions.values().filter(|m| m.tenant == *tenant).count();
        let full = |count: usize, limit: u32| count >= limit as usize;
        if full(sessions.len(), self.config.limits.clients)
            || own_limit.is_some_and(|limit| full(of_tenant, limit))
        {
            return None;
        }
        let usage = sessions.values().find(|m| m.tenant == *tenant).map(|m| Arc::clone(&m.usage));
        let number = self.next_session.fetch_add(1, Ordering::Relaxed);
        let member = Arc::new(Member {
            number,
            tenant: tenant.clone(),
            connection: connection.clone(),
            usage: usage.unwrap_or_default(),
            addresses: Mutex::default(),
            has_lane: AtomicBool::new(false),
        });
        sessions.insert(number, Arc::clone(&member));
        Some(member)
    }

    pub(crate) fn leave(&self, member: &Member) {
        lock(&self.sessions).remove(&member.number);
    }

    /// Flows that this tenant may have at once.
    pub(crate) fn flows_max(&self, tenant: &TenantName) -> usize {
        let own = self.tenants().get(tenant).and_then(|tenant| tenant.limits.flows);
        own.unwrap_or(self.config.limits.flows_per_tenant) as usize
    }

    pub(crate) fn members(&self) -> Vec<Arc<Member>> {
        lock(&self.sessions).values().cloned().collect()
    }

    /// Ends the sessions of tenants that are no longer known.
    pub(crate) fn expel(&self) {
        for member in self.members() {
            let known = self.tenants().get(&member.tenant).is_some();
            if !known {
                tracing::info!(tenant = %member.tenant, "tenant removed: its session ends");
                member.connection.close(mpquic_h3::code::REQUEST_REJECTED, b"tenant removed");
            }
        }
    }

    /// Our own address inside the tunnel.
    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4 == self.config.network.server_v4(),
            IpAddr::V6(v6) => v6 == self.config.network.server_v6(),
        }
    }

    /// Whether a flow or packet of a tenant may go there. The inside of the tunnel is nobody's target.
    pub(crate) fn permits(&self, target: IpAddr) -> bool {
        let inside = match target.to_canonical() {
            IpAddr::V4(v4) => self.config.network.ipv4.contains(&v4),
            IpAddr::V6(v6) => self.config.network.ipv6.contains(&v6),
        };
        !inside && self.config.targets.permits(target)
    }

    /// All lanes, each once.
    pub(crate) fn lanes(&self) -> Vec<Arc<Lane>> {
        let mut all: Vec<Arc<Lane>> = Vec::new();
        for lane in lock(&self.lanes).values() {
            if !all.iter().any(|known| Arc::ptr_eq(known, lane)) {
                all.push(Arc::clone(lane));
            }
        }
        all
    }

    /// The session that has this inner address.
    pub(crate) fn lane(&self, address: IpAddr) -> Option<Arc<Lane>> {
        lock(&self.lanes).get(&address).cloned()
    }
}
