//! A client, a server and the links between them, in virtual time.
//!
//! One seed decides a whole world. The world drives `proto` endpoints directly: each link has one address at the
//! client, the server has one address in all. After every step the checkers of [`crate::check`] look; whatever they
//! find ends the world with a message that names the seed.

mod adversary;
mod node;
mod transfer;

pub use adversary::Malice;
pub use node::{Node, Side};
pub use transfer::{Transfer, TransferId};

use crate::check;
use crate::link::{Delivery, Fault, LinkSpec, Links, Schedule, Stats, Way, Ways};
use crate::profile::Profile;
use adversary::{Adversary, Seen, is_foreign};
use mpquic_base::{Duration, Ecn, FourTuple, PathId, Rng, Time};
use mpquic_proto::{ConnectionId, Event, PathStats, StreamEvent, TransportConfig};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

/// IP and UDP headers: what a datagram adds on the wire.
const PACKET_OVERHEAD: usize = 28;
/// Steps without progress of the clock that are taken for a livelock.
const STEPS_AT_ONCE_MAX: u32 = 100_000;

pub(crate) const SERVER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 255, 0, 1)), 443);

/// The client's address on a link, as the client sees it.
#[must_use]
pub fn client_address(link: usize) -> SocketAddr {
    let link = u8::try_from(link).expect("a world has few links");
    SocketAddr::from((Ipv4Addr::new(10, 0, link, 1), 4000))
}

/// Collects what a world is made of.
#[derive(Clone, Debug)]
pub struct Builder {
    seed: u64,
    names: Vec<String>,
    specs: Vec<LinkSpec>,
    schedule: Schedule,
    neck: Option<crate::link::Neck>,
    config: TransportConfig,
    malice: Option<Malice>,
    told_after: Duration,
}

impl Builder {
    /// Adds a link by its description, such as `"50mbit/20ms/0.5%"`.
    ///
    /// # Panics
    /// If the description makes no sense.
    #[must_use]
    pub fn link(self, name: &str, spec: &str) -> Self {
        let spec = LinkSpec::parse(spec).expect("a link description that parses");
        self.link_spec(name, spec)
    }

    #[must_use]
    pub fn link_spec(mut self, name: &str, spec: LinkSpec) -> Self {
        self.names.push(name.into());
        self.specs.push(spec);
        self
    }

    /// Takes the links, faults and bottleneck of a profile.
    #[must_use]
    pub fn profile(mut self, profile: &Profile) -> Self {
        for link in &profile.links {
            self = self.link_spec(&link.name, link.spec.clone());
        }
        self.schedule.faults.extend(profile.schedule.faults.iter().cloned());
        self.neck = profile.neck.clone();
        self
    }

    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.schedule.faults.push(fault);
        self
    }

    /// Puts somebody on the way who forges, cuts and repeats.
    #[must_use]
    pub const fn malice(mut self, malice: Malice) -> Self {
        self.malice = Some(malice);
        self
    }

    /// Has both hosts say that late what has left them, as those do that learn it from their network card.
    #[must_use]
    pub const fn told_after(mut self, delay: Duration) -> Self {
        self.told_after = delay;
        self
    }

    /// Changes both ends' configuration.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(&mut TransportConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// The world with its client's handshake about to begin.
    #[must_use]
    pub fn build(self) -> World {
        let mut rng = Rng::from_number(self.seed);
        let links = Links::new(&self.specs, self.neck.as_ref(), &self.schedule, Time::ZERO, rng.u64());
        let mut client = Node::client(&self.config, rng.fork());
        let mut server = Node::server(&self.config, rng.fork());
        client.tell_after(self.told_after);
        server.tell_after(self.told_after);
        let tuple = FourTuple { local: client_address(0), peer: SERVER };
        let id = client.connect(Time::ZERO, &self.config, tuple);
        let adversary = self.malice.map(|malice| Adversary::new(malice, rng.fork()));
        World {
            adversary,
            seed: self.seed,
            now: Time::ZERO,
            names: self.names,
            rebinds: vec![0; self.specs.len()],
            links,
            client,
            server,
            client_id: id,
            server_id: None,
            transfers: BTreeMap::new(),
            wanted: Vec::new(),
            events: Vec::new(),
            audits: check::Audits::default(),
            steps: 0,
        }
    }

    /// The world with the handshake done and every link's path open.
    ///
    /// # Panics
    /// If that takes more than a minute of virtual time.
    #[must_use]
    pub fn connect(self) -> World {
        let mut world = self.build();
        world.open_all_paths();
        let links = world.names.len();
        world.run_until(Duration::from_secs(60), "every path open", |w| {
            [&w.client, &w.server].iter().all(|n| n.paths(0).iter().filter(|p| p.validated).count() == links)
        });
        world
    }
}

/// A datagram on its way.
type Wire = (SocketAddr, SocketAddr, Vec<u8>);

pub struct World {
    seed: u64,
    now: Time,
    names: Vec<String>,
    links: Links<Wire>,
    adversary: Option<Adversary>,
    client: Node,
    server: Node,
    client_id: ConnectionId,
    server_id: Option<ConnectionId>,
    /// Port shifts that a NAT on each link has made.
    rebinds: Vec<u64>,
    transfers: BTreeMap<TransferId, Transfer>,
    /// Links whose path is still to be opened.
    wanted: Vec<usize>,
    events: Vec<(Side, Event)>,
    audits: check::Audits,
    steps: u64,
}

impl World {
    /// Starts the description of a world that `seed` decides.
    #[must_use]
    pub fn seeded(seed: u64) -> Builder {
        Builder {
            seed,
            names: Vec::new(),
            specs: Vec::new(),
            schedule: Schedule::default(),
            neck: None,
            config: TransportConfig::default(),
            malice: None,
            told_after: Duration::ZERO,
        }
    }

    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Has the client open a path over every link but the first, as soon as the connection allows.
    pub fn open_all_paths(&mut self) {
        self.wanted = (1..self.names.len()).collect();
    }

    /// Sends `bytes` on a new stream; the other side reads and compares them.
    pub fn send(&mut self, from: Side, bytes: u64) -> TransferId {
        let index = self.transfers.keys().filter(|id| id.is_from(from)).count();
        let transfer = Transfer::new(from, index as u64, bytes, self.now);
        let id = transfer.id();
        self.transfers.insert(id, transfer);
        self.node(from).wake();
        id
    }

    #[must_use]
    pub fn transfer(&self, id: TransferId) -> &Transfer {
        &self.transfers[&id]
    }

    pub fn node(&mut self, side: Side) -> &mut Node {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// The paths of one side's connection, in order of their ids.
    #[must_use]
    pub fn paths(&self, side: Side) -> Vec<PathStats> {
        match side {
            Side::Client => self.client.paths(0),
            Side::Server => self.server.paths(0),
        }
    }

    /// The client's path over the link called `name`.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn path(&self, name: &str) -> PathStats {
        let local = client_address(self.index(name));
        let found = self.paths(Side::Client).into_iter().find(|p| p.tuple.local == local && !p.closing);
        found.unwrap_or_else(|| panic!("no path over {name:?}, seed {}", self.seed))
    }

    /// The server's path over the link called `name`.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn server_path(&self, name: &str) -> PathStats {
        let id = self.path(name).id;
        let found = self.paths(Side::Server).into_iter().find(|p| p.id == id);
        found.unwrap_or_else(|| panic!("no path over {name:?} at the server, seed {}", self.seed))
    }

    fn index(&self, name: &str) -> usize {
        let found = self.names.iter().position(|n| n == name);
        found.unwrap_or_else(|| panic!("no link is called {name:?}"))
    }

    #[must_use]
    pub fn link_stats(&self) -> Vec<Stats> {
        self.links.stats()
    }

    /// All that happened so far, and to whom.
    #[must_use]
    pub fn events(&self) -> &[(Side, Event)] {
        &self.events
    }

    pub fn cut(&mut self, name: &str) {
        self.links.cut(self.index(name), self.now, Ways::Both);
    }

    /// Cuts a link for good, and the client's host knows it.
    ///
    /// # Panics
    /// If there is no path over it.
    pub fn remove_link(&mut self, name: &str) {
        self.cut(name);
        let (path, id, now) = (self.path(name).id, self.client_id, self.now);
        let connection = self.client.connection(id).expect("the client's connection");
        connection.path_down(now, path).expect("an open path");
    }

    pub fn cut_one_way(&mut self, name: &str, way: Way) {
        self.links.cut(self.index(name), self.now, Ways::Only(way));
    }

    pub fn restore(&mut self, name: &str) {
        self.links.restore(self.index(name), self.now, Ways::Both);
    }

    /// Ends every fault: from here on the world must come to its goal.
    pub fn heal(&mut self) {
        self.links.heal(self.now);
        self.adversary.iter_mut().for_each(Adversary::rest);
    }

    pub fn run_for(&mut self, span: Duration) {
        let until = self.now + span;
        while self.next().is_some_and(|at| at <= until) {
            self.step();
        }
        self.now = until;
    }

    /// Runs until all of `transfers` were delivered; returns the time that the last one took.
    ///
    /// # Panics
    /// If they are not delivered within `limit` of virtual time.
    pub fn deliver(&mut self, transfers: &[TransferId], limit: Duration) -> Duration {
        let started = self.now;
        let ids = transfers.to_vec();
        self.run_until(limit, "everything delivered", move |w| {
            ids.iter().all(|id| w.transfers[id].is_delivered())
        });
        self.now.since(started)
    }

    /// Runs until `goal` holds.
    ///
    /// # Panics
    /// If it does not hold within `limit` of virtual time.
    pub fn run_until(&mut self, limit: Duration, what: &str, goal: impl Fn(&Self) -> bool) {
        let until = self.now + limit;
        while !goal(self) {
            match self.next() {
                Some(at) if at <= until => self.step(),
                next => self.fail(&format!("not reached within {limit:?}: {what} (next event {next:?})")),
            }
        }
    }

    pub(crate) fn fail(&self, what: &str) -> ! {
        let transfers: Vec<_> = self.transfers.values().map(Transfer::describe).collect();
        let ended: Vec<_> = self.events.iter().filter(|(_, e)| matches!(e, Event::Closed(_))).collect();
        panic!(
            "seed {}: at {:?}: {what}\n transfers: {transfers:?}\n ended: {ended:?}\n links: {:?}\n NAT shifts: {:?}\n client: {:?}\n server: {:?}\n client paths: {:#?}\n server paths: {:#?}",
            self.seed,
            self.now,
            self.links.stats(),
            self.rebinds,
            self.client.counters(),
            self.server.counters(),
            self.paths(Side::Client),
            self.paths(Side::Server),
        );
    }

    /// The next instant at which something happens.
    fn next(&self) -> Option<Time> {
        let nodes = Time::soonest(self.client.next(), self.server.next());
        let forged = self.adversary.as_ref().and_then(Adversary::next);
        Time::soonest(Time::soonest(self.links.next(), forged), nodes)
    }

    fn step(&mut self) {
        let Some(at) = self.next() else { self.fail("nothing will ever happen again") };
        if at > self.now {
            self.now = at;
            self.steps = 0;
        }
        self.steps += 1;
        if u64::from(STEPS_AT_ONCE_MAX) < self.steps {
            let next = (self.client.next(), self.server.next(), self.links.next());
            self.fail(&format!("the clock stands still; next: {next:?}"));
        }
        while let Some(delivery) = self.links.pop(self.now) {
            self.deliver_datagram(delivery);
        }
        self.deliver_forged();
        self.turn(Side::Client);
        self.turn(Side::Server);
        self.open_wanted_paths();
        if let Err(what) =
            self.audits.check(self.now, || self.client.audit().and_then(|()| self.server.audit()))
        {
            self.fail(&what);
        }
    }

    fn deliver_datagram(&mut self, delivery: Delivery<Wire>) {
        let (from, to, mut bytes) = delivery.arrival.item;
        if let Some(corruption) = delivery.arrival.corrupted {
            corruption.apply(&mut bytes);
        }
        let tuple = FourTuple { local: to, peer: from };
        let (now, ecn) = (self.now, delivery.arrival.ecn);
        match delivery.way {
            Way::Up => self.server.receive(now, tuple, ecn, &mut bytes),
            Way::Down => self.client.receive(now, tuple, ecn, &mut bytes),
        }
    }

    fn deliver_forged(&mut self) {
        let now = self.now;
        while let Some(seen) = self.adversary.as_mut().and_then(|adversary| adversary.pop(now)) {
            let Seen { to, from_address, to_address, mut bytes } = seen;
            let tuple = FourTuple { local: to_address, peer: from_address };
            self.node(to).receive(now, tuple, Ecn::NotEct, &mut bytes);
        }
    }

    /// One node's turn: timers, events, application, packets.
    fn turn(&mut self, side: Side) {
        let now = self.now;
        self.node(side).expire(now);
        let mut events = Vec::new();
        while let Some((id, event)) = self.node(side).event() {
            if side == Side::Server && self.server_id.is_none() && event == Event::Connected {
                self.server_id = Some(id);
            }
            if let Event::Stream(StreamEvent::Opened(dir)) = event {
                // The transfers know their streams; accepting is all that is left to do.
                while self.node(side).connection(id).and_then(|c| c.accept(dir)).is_some() {}
            }
            // Attempts that somebody else began with copies of our client's packets come to nothing.
            let theirs = self.adversary.is_some() && side == Side::Server && self.server_id != Some(id);
            if !theirs {
                events.push(event);
            }
        }
        for event in events {
            self.on_event(side, event);
        }
        let mut transfers = core::mem::take(&mut self.transfers);
        for transfer in transfers.values_mut() {
            let connection = match side {
                Side::Client => Some(self.client_id),
                Side::Server => self.server_id,
            };
            let Some(connection) = connection else { continue };
            if let Err(what) = transfer.go_on(now, self.node(side), connection, side) {
                self.transfers = transfers;
                self.fail(&what);
            }
        }
        self.transfers = transfers;
        let mut departed = Vec::new();
        self.node(side).transmit(now, &mut departed);
        for (tuple, ecn, bytes) in departed {
            self.push_datagram(side, tuple, ecn, bytes);
        }
    }

    fn on_event(&mut self, side: Side, event: Event) {
        if let Event::Closed(reason) = &event {
            let reason = reason.to_string();
            self.events.push((side, event));
            self.fail(&format!("{side:?}'s connection ended: {reason}"));
        }
        self.events.push((side, event));
    }

    /// Every address leads over exactly one link; a NAT on it may have moved the client's port.
    fn push_datagram(&mut self, side: Side, tuple: FourTuple, ecn: Ecn, bytes: Vec<u8>) {
        let now = self.now;
        if is_foreign(tuple.peer) {
            let lured = self.adversary.as_mut().map(|a| a.on_lured(tuple.peer, bytes.len()));
            if let Some(Err(what)) = lured {
                self.fail(&format!("{side:?} sent {what}"));
            }
            return;
        }
        let Some(link) = (0..self.names.len()).find(|&l| {
            let client = if side == Side::Client { tuple.local } else { tuple.peer };
            client.ip() == client_address(l).ip()
        }) else {
            self.fail(&format!("{side:?} sent to an address that leads nowhere: {tuple:?}"))
        };
        self.rebinds[link] += self.links.rebinds_due(link, now);
        let mut outside = client_address(link);
        outside.set_port(outside.port() + u16::try_from(self.rebinds[link] % 10_000).unwrap_or(0));
        let (from, to) = match side {
            Side::Client => (outside, SERVER),
            Side::Server => (SERVER, client_address(link)),
        };
        let mut bytes = bytes;
        if let Some(adversary) = &mut self.adversary {
            let seen = Seen { to: side.peer(), from_address: from, to_address: to, bytes: bytes.clone() };
            if let Some(len) = adversary.on_datagram(now, &seen) {
                bytes.truncate(len);
                // The stand-in for TLS encrypts nothing: a cut must not lay a reset token bare that was inside.
                bytes.iter_mut().last().into_iter().for_each(|last| *last ^= 0x80);
            }
        }
        let size = bytes.len() + PACKET_OVERHEAD;
        match side {
            Side::Client => {
                self.links.push(link, Way::Up, now, (from, to, bytes), size, ecn);
            }
            // An address that the NAT has forgotten leads nowhere.
            Side::Server if tuple.peer == outside => {
                self.links.push(link, Way::Down, now, (from, to, bytes), size, ecn);
            }
            Side::Server => {}
        }
    }

    fn open_wanted_paths(&mut self) {
        let (now, id) = (self.now, self.client_id);
        let client = &mut self.client;
        self.wanted.retain(|&link| {
            let tuple = FourTuple { local: client_address(link), peer: SERVER };
            let ready = client.is_confirmed(id);
            !(ready && client.open_path(now, id, tuple).is_ok())
        });
    }

    /// Has the client ask for the path over `name` to be kept in reserve.
    ///
    /// # Panics
    /// If the connection refuses.
    pub fn set_backup(&mut self, name: &str, backup: bool) {
        let (path, id) = (self.path(name).id, self.client_id);
        let connection = self.client.connection(id).expect("the client's connection");
        connection.set_path_backup(path, backup).expect("an open path of a multipath connection");
    }

    /// Has the client give up the path over `name`; returns its id.
    ///
    /// # Panics
    /// If the connection refuses.
    pub fn abandon(&mut self, name: &str) -> PathId {
        let (path, id, now) = (self.path(name).id, self.client_id, self.now);
        let connection = self.client.connection(id).expect("the client's connection");
        connection.abandon_path(now, path).expect("another path is open");
        path
    }

    /// Has the client open a path over `name`, again if an earlier one was given up.
    pub fn open_path(&mut self, name: &str) {
        let link = self.index(name);
        self.wanted.push(link);
        self.open_wanted_paths();
    }
}

impl core::fmt::Debug for World {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("World").field("seed", &self.seed).field("now", &self.now).finish_non_exhaustive()
    }
}
