//! A client and a server in this process, emulated links between them, and one connection over all links.
//!
//! Knows which path runs over which link, and opens a path again when it was closed. Refuses to know what is sent.

use super::plan::{Direction, Plan};
use super::view::LinkMoment;
use crate::lock::lock;
use mpquic::{ClientConfig, Connection, Endpoint, Identity, PathEvent, PathId, PathStats, Pin, ServerConfig};
use mpquic_base::Duration;
use mpquic_sim::emulator::Emulator;
use mpquic_sim::link::Schedule;
use mpquic_sim::profile::Profile;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};

const SERVER_NAME: &str = "demo.invalid";
const ALPN: &[u8] = b"quicbond-demo";
/// For the handshake and for each path. The slowest profile's round trip is 1.2 s.
const OPENING_LIMIT: Duration = Duration::from_secs(20);
/// Pause before a closed path is opened again.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// Order of fields = order of dropping: connections, then endpoints, then the links.
pub(crate) struct Session {
    client: Connection,
    server: Connection,
    client_end: Endpoint,
    server_end: Endpoint,
    emulator: Emulator,
    /// Where each link begins and ends for the client.
    links: Vec<(SocketAddr, SocketAddr)>,
    schedule: Schedule,
    ledger: Mutex<Ledger>,
}

/// Every path there has been, with what both ends said about it last.
#[derive(Default)]
struct Ledger {
    paths: BTreeMap<PathId, Entry>,
}

struct Entry {
    link: usize,
    client: Option<PathStats>,
    server: Option<PathStats>,
    /// Both ends' tables have it still.
    alive: bool,
}

/// One link at a glance, over all paths that have run on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkState {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) packets: u64,
    pub(crate) lost: u64,
    pub(crate) srtt: Duration,
    pub(crate) mtu: u16,
    pub(crate) state: &'static str,
}

impl LinkState {
    /// A link on which there was never a path.
    pub(crate) const NOTHING: Self =
        Self { sent: 0, received: 0, packets: 0, lost: 0, srtt: Duration::ZERO, mtu: 0, state: "closed" };
}

impl Session {
    /// Starts everything and returns when there is a path over every link. Nothing happens to the links yet.
    pub(crate) async fn open(profile: &Profile, plan: &Plan) -> Result<Self, String> {
        let identity = Identity::self_signed(&[SERVER_NAME]).map_err(|e| e.to_string())?;
        let pin = Pin::Certificate(identity.fingerprint());
        let accepts = ServerConfig::new(identity, &[ALPN]).map_err(|e| e.to_string())?;
        let trusts = ClientConfig::pinned(&[pin], &[ALPN]).map_err(|e| e.to_string())?;
        let (accepts, trusts) =
            (accepts.transport(plan.transport.clone()), trusts.transport(plan.transport.clone()));

        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let no_socket = |e| format!("cannot open UDP sockets on 127.0.0.1: {e}");
        let server_end = Endpoint::server(accepts, &[any_port]).map_err(no_socket)?;
        let client_end = Endpoint::client(&vec![any_port; profile.links.len()]).map_err(no_socket)?;
        let calm = Profile { schedule: Schedule::new(), ..profile.clone() };
        let server_addr = server_end.local_addrs()[0];
        let emulator = Emulator::start_profile(calm, server_addr, plan.seed)
            .map_err(|e| format!("cannot start the emulated links: {e}"))?;
        let peers = (0..profile.links.len()).filter_map(|i| emulator.client_addr(i));
        let links: Vec<_> = client_end.local_addrs().iter().copied().zip(peers).collect();

        let nearest = |&i: &usize| profile.links[i].spec.up.delay + profile.links[i].spec.down.delay;
        let first = (0..links.len()).min_by_key(nearest).ok_or("there is no link")?;
        let (client, server) = connect(&client_end, &server_end, &trusts, links[first]).await?;
        let session = Self {
            client,
            server,
            client_end,
            server_end,
            emulator,
            links,
            schedule: profile.schedule.clone(),
            ledger: Mutex::default(),
        };
        session.enter(PathId::ZERO, first);
        for link in (0..session.links.len()).filter(|&link| link != first) {
            session
                .open_path(link)
                .await
                .map_err(|why| format!("no path over link {}: {why}", profile.links[link].name))?;
        }
        Ok(session)
    }

    /// From now on things happen to the links as planned.
    pub(crate) fn begin(&self) {
        self.emulator.reschedule(&self.schedule);
    }

    pub(crate) const fn client(&self) -> &Connection {
        &self.client
    }

    pub(crate) const fn server(&self) -> &Connection {
        &self.server
    }

    /// Opens a path over a link whose last path was closed. Never returns; to be dropped with the transfer.
    pub(crate) async fn keep_paths(&self) {
        while let Some(event) = self.client.path_event().await {
            let PathEvent::Closed(path) = event else { continue };
            let Some(link) = self.link_of(path) else { continue };
            // A link that is cut for longer than the attempt lasts is tried again for as long as the transfer runs.
            loop {
                sleep(REOPEN_PAUSE).await;
                if self.open_path(link).await.is_ok() {
                    break;
                }
            }
        }
        core::future::pending::<()>().await;
    }

    /// Every link as of now, in order.
    pub(crate) fn states(&self, direction: Direction) -> Vec<LinkState> {
        let mut ledger = self.ledger();
        ledger.observe(&self.client.paths(), &self.server.paths());
        (0..self.links.len())
            .map(|link| {
                let mut state = ledger.link(link, direction);
                if self.emulator.is_cut(link) {
                    state.state = "cut now";
                }
                state
            })
            .collect()
    }

    pub(crate) fn moments(&self, direction: Direction) -> Vec<LinkMoment> {
        let states = self.states(direction).into_iter();
        states.map(|link| LinkMoment { bytes: link.received, state: link.state }).collect()
    }

    /// Datagrams that this host's sockets refused to carry for the emulator.
    pub(crate) fn refused(&self) -> u64 {
        self.emulator.stats().iter().map(|link| link.refused).sum()
    }

    pub(crate) async fn close(self) {
        self.client.close(0, b"done");
        tokio::join!(self.client_end.shutdown(), self.server_end.shutdown());
    }

    async fn open_path(&self, link: usize) -> Result<(), String> {
        let (local, peer) = self.links[link];
        let opened = timeout(OPENING_LIMIT, self.client.open_path(local, peer, false)).await;
        let path = opened.map_err(|_| no_answer())?.map_err(|e| e.to_string())?;
        self.enter(path, link);
        Ok(())
    }

    fn enter(&self, path: PathId, link: usize) {
        self.ledger().paths.insert(path, Entry { link, client: None, server: None, alive: true });
    }

    fn link_of(&self, path: PathId) -> Option<usize> {
        self.ledger().paths.get(&path).map(|entry| entry.link)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }
}

async fn connect(
    client: &Endpoint,
    server: &Endpoint,
    config: &ClientConfig,
    (local, peer): (SocketAddr, SocketAddr),
) -> Result<(Connection, Connection), String> {
    let connecting = async {
        let connected = client.connect(config, SERVER_NAME, local, peer).await;
        connected.map_err(|e| format!("the handshake failed: {e}"))
    };
    let accepting = async { server.accept().await.ok_or_else(|| "the server stopped".to_owned()) };
    timeout(OPENING_LIMIT, async { tokio::try_join!(connecting, accepting) })
        .await
        .map_err(|_| format!("the handshake failed: {}", no_answer()))?
}

fn no_answer() -> String {
    format!("no answer within {} s; is the link too slow or too lossy?", OPENING_LIMIT.as_secs())
}

impl Ledger {
    fn observe(&mut self, client: &[PathStats], server: &[PathStats]) {
        for (id, entry) in &mut self.paths {
            let at_client = client.iter().find(|stats| stats.id == *id);
            let at_server = server.iter().find(|stats| stats.id == *id);
            entry.client = at_client.copied().or(entry.client);
            entry.server = at_server.copied().or(entry.server);
            entry.alive = at_client.is_some();
        }
    }

    /// Sums over the paths of a link; what cannot be summed is the youngest path's.
    fn link(&self, link: usize, direction: Direction) -> LinkState {
        let mut sum = LinkState::NOTHING;
        for entry in self.paths.values().filter(|entry| entry.link == link) {
            let (sender, receiver) = match direction {
                Direction::Up => (&entry.client, &entry.server),
                Direction::Down => (&entry.server, &entry.client),
            };
            sum.received += receiver.as_ref().map_or(0, |stats| stats.bytes_received);
            if let Some(stats) = sender {
                sum.sent += stats.bytes_sent;
                sum.packets += stats.packets_sent;
                sum.lost += stats.packets_lost;
                sum.srtt = stats.srtt;
                sum.mtu = stats.mtu;
            }
            sum.state = sender.as_ref().filter(|_| entry.alive).map_or("closed", state_of);
        }
        sum
    }
}

const fn state_of(stats: &PathStats) -> &'static str {
    match stats {
        PathStats { closing: true, .. } => "closing",
        PathStats { validated: false, .. } => "opening",
        PathStats { silent: true, .. } => "silent",
        PathStats { backup: true, .. } => "backup",
        _ => "up",
    }
}
