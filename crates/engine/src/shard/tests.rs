//! Two shards over links in memory: a queue per direction and link, a fixed delay, virtual time.

use super::{Budget, Next, Shard, larger_than};
use crate::{App, Cx, Io, SendOutcome};
use mpquic_base::{Dir, Duration, Ecn, FourTuple, PathId, Rate, Rng, StreamId, Time};
use mpquic_net::{Batch, PoolConfig, Throttle};
use mpquic_proto::{
    ClientConfig, ConnectionId, Endpoint, Event, PathEvent, Read, ServerConfig, StreamEvent, TransportConfig,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

const DELAY: Duration = Duration::from_millis(5);

/// What is on its way to each address, in order of arrival.
#[derive(Default)]
struct Net {
    now: Time,
    arriving: BTreeMap<SocketAddr, VecDeque<(Time, SocketAddr, Vec<u8>)>>,
}

/// One end's sockets.
struct Link {
    net: Rc<RefCell<Net>>,
    locals: Vec<SocketAddr>,
    /// What sends from this end meet, socket by socket.
    mood: Vec<Mood>,
    sends: Vec<(u16, usize)>,
    /// The limits of sockets, as far as they have one.
    throttles: Vec<Option<Throttle>>,
    /// Holds packets until their time, if it is to; when it got each, and its time.
    holds: bool,
    held: Vec<(Time, Time)>,
    woken: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Fine,
    /// Takes that many datagrams of a batch, then is full.
    Full(usize),
    Broken,
    /// The device is gone.
    Gone,
    /// Takes no datagram larger than this.
    Narrow(u16),
}

impl Io for Link {
    fn now(&self) -> Time {
        self.net.borrow().now
    }

    fn socket(&self, local: SocketAddr) -> Option<u16> {
        self.locals.iter().position(|l| *l == local).map(|i| u16::try_from(i).unwrap())
    }

    fn receive(&mut self, on: &mut dyn FnMut(FourTuple, Ecn, &mut [u8])) -> bool {
        for &local in &self.locals {
            let arrived = {
                let net = &mut *self.net.borrow_mut();
                let queue = net.arriving.entry(local).or_default();
                let due = queue.front().is_some_and(|(at, ..)| *at <= net.now);
                due.then(|| queue.pop_front()).flatten()
            };
            if let Some((_, peer, mut bytes)) = arrived {
                on(FourTuple { local, peer }, Ecn::NotEct, &mut bytes);
                return true;
            }
        }
        false
    }

    fn send(&mut self, socket: u16, batch: &Batch<'_>) -> SendOutcome {
        let local = self.locals[usize::from(socket)];
        let datagrams = batch.bytes.chunks(usize::from(batch.segment));
        let (take, outcome) = match self.mood[usize::from(socket)] {
            Mood::Fine => (datagrams.len(), SendOutcome::Sent),
            Mood::Full(n) if n < datagrams.len() => (n, SendOutcome::Blocked { sent: n }),
            Mood::Full(_) => (0, SendOutcome::Blocked { sent: 0 }),
            Mood::Broken => (0, SendOutcome::Failed),
            Mood::Gone => (0, SendOutcome::Unreachable),
            Mood::Narrow(mtu) if batch.segment > mtu => (0, SendOutcome::TooLarge),
            Mood::Narrow(_) => (datagrams.len(), SendOutcome::Sent),
        };
        let net = &mut *self.net.borrow_mut();
        for datagram in datagrams.take(take) {
            let arrives = (net.now + DELAY, local, datagram.to_vec());
            net.arriving.entry(batch.peer).or_default().push_back(arrives);
        }
        self.sends.push((socket, take));
        outcome
    }

    fn send_at(&mut self, socket: u16, batch: &Batch<'_>, at: Time) -> SendOutcome {
        let now = self.net.borrow().now;
        self.held.push((now, at));
        self.send(socket, batch)
    }

    fn holds_until_due(&self, _socket: u16) -> bool {
        self.holds
    }

    fn book(&self, socket: u16, batch: &Batch<'_>, at: Time) -> Option<(Time, Rate)> {
        let throttle = self.throttles.get(usize::from(socket))?.as_ref()?;
        Some((throttle.book(at, batch.bytes.len() as u64, 0, false), throttle.rate()?))
    }

    fn take_woken(&mut self) -> bool {
        core::mem::take(&mut self.woken)
    }
}

/// Sends `total` patterned bytes on one stream, or checks and counts what arrives.
#[derive(Debug, Default)]
struct Copier {
    connection: Option<ConnectionId>,
    stream: Option<StreamId>,
    /// The second path, to be opened when it may be.
    extra: Option<FourTuple>,
    opened: Vec<PathId>,
    total: u64,
    written: u64,
    received: u64,
    ended: bool,
    wakes: u32,
    events: u32,
}

fn pattern(offset: u64) -> u8 {
    (offset % 251).to_le_bytes()[0]
}

impl Copier {
    fn write(&mut self, cx: &mut Cx<'_>) {
        let (Some(connection), Some(stream)) = (self.connection, self.stream) else { return };
        let Some(connection) = cx.connection(connection) else { return };
        while self.written < self.total {
            let end = self.total.min(self.written + 8192);
            let bytes: Vec<u8> = (self.written..end).map(pattern).collect();
            let n = connection.write(stream, &bytes).unwrap();
            self.written += n as u64;
            if n < bytes.len() {
                return;
            }
        }
        connection.finish(stream).unwrap();
        self.stream = None;
    }

    fn read(&mut self, cx: &mut Cx<'_>, id: ConnectionId, stream: StreamId) {
        let mut out = [0; 4096];
        loop {
            match cx.connection(id).unwrap().read(stream, &mut out).unwrap() {
                Read::Data(n) => {
                    for byte in &out[..n] {
                        assert_eq!(*byte, pattern(self.received), "byte {}", self.received);
                        self.received += 1;
                    }
                }
                Read::End => {
                    self.ended = true;
                    return;
                }
                Read::Blocked => return,
            }
        }
    }
}

impl App for Copier {
    fn on_event(&mut self, cx: &mut Cx<'_>, id: ConnectionId, event: Event) {
        self.events += 1;
        match event {
            Event::Connected => {
                self.connection = Some(id);
                if self.total > 0 {
                    self.stream = Some(cx.connection(id).unwrap().open(Dir::Uni).unwrap());
                    self.write(cx);
                }
            }
            Event::Stream(StreamEvent::Writable(_)) => self.write(cx),
            Event::Stream(StreamEvent::Opened(dir)) => {
                while let Some(stream) = cx.connection(id).unwrap().accept(dir) {
                    self.read(cx, id, stream);
                }
            }
            Event::Stream(StreamEvent::Readable(stream)) => self.read(cx, id, stream),
            Event::Path(PathEvent::Opened(path)) => self.opened.push(path),
            Event::Closed(reason) => panic!("closed: {reason}"),
            _ => {}
        }
        let now = cx.now();
        if let (Some(tuple), Some(connection)) = (self.extra, cx.connection(id))
            && connection.open_path(now, tuple, false).is_ok()
        {
            self.extra = None;
        }
    }

    fn on_wake(&mut self, _cx: &mut Cx<'_>) {
        self.wakes += 1;
    }
}

struct World {
    net: Rc<RefCell<Net>>,
    ends: [(Shard<Copier>, Link); 2],
    budget: Budget,
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

impl World {
    /// A client with two links that sends `total` bytes to a server with one address.
    fn new(total: u64, pool: PoolConfig) -> Self {
        let net = Rc::new(RefCell::new(Net::default()));
        let identity = mpquic_tls::Identity::self_signed(&["localhost"]).unwrap();
        let pin = mpquic_tls::Pin::Certificate(identity.fingerprint());
        let server = ServerConfig {
            crypto: Arc::new(mpquic_tls::ServerConfig::with_identity(identity).build(&[b"t"]).unwrap()),
            transport: Arc::new(TransportConfig::default()),
            max_connections: 4,
        };
        let client = ClientConfig {
            crypto: Arc::new(mpquic_tls::ClientConfig::pinned(&[pin]).unwrap().build(&[b"t"]).unwrap()),
            transport: Arc::new(TransportConfig::default()),
        };
        let (home, peer) = (["10.0.0.1:1", "10.0.1.1:1"].map(address), address("10.9.0.1:4433"));
        let link = |locals: &[SocketAddr]| Link {
            net: Rc::clone(&net),
            locals: locals.to_vec(),
            mood: vec![Mood::Fine; locals.len()],
            sends: Vec::new(),
            throttles: Vec::new(),
            holds: false,
            held: Vec::new(),
            woken: false,
        };
        let app = Copier { total, extra: Some(FourTuple { local: home[1], peer }), ..Copier::default() };
        let mut near = Shard::new(Endpoint::new(None, Rng::from_number(1)), pool, app);
        let far = Endpoint::new(Some(server), Rng::from_number(2));
        let far = Shard::new(far, PoolConfig::default(), Copier::default());
        let tuple = FourTuple { local: home[0], peer };
        near.with_app(Time::ZERO, |_, cx| cx.connect(&client, "localhost", tuple).unwrap());
        let ends = [(near, link(&home)), (far, link(&[peer]))];
        Self { net: Rc::clone(&net), ends, budget: Budget::default() }
    }

    fn turn(&mut self, end: usize) -> Next {
        let (shard, io) = &mut self.ends[end];
        shard.turn(io, self.budget)
    }

    /// Moves time to the next thing that happens, until `done` or `limit`.
    fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.net.borrow().now + limit;
        while !done(self) {
            let now = self.net.borrow().now;
            assert!(now < end, "not done in time: {:?}", self.ends[CLIENT].0);
            let mut next = [self.turn(CLIENT), self.turn(SERVER)].map(|next| match next {
                Next::Now => now,
                Next::At(at) => at,
                Next::Idle => Time::NEVER,
            });
            let net = &mut *self.net.borrow_mut();
            let arrivals = net.arriving.values().filter_map(|queue| Some(queue.front()?.0)).min();
            next.sort();
            net.now = next[0].min(arrivals.unwrap_or(Time::NEVER)).min(end).max(now);
        }
    }

    fn client(&mut self) -> &mut Shard<Copier> {
        &mut self.ends[CLIENT].0
    }

    fn received(&self) -> u64 {
        self.ends[SERVER].0.app.received
    }

    fn is_complete(&self) -> bool {
        self.ends[SERVER].0.app.ended
    }

    /// Everything is delivered, counted once, and every block is home.
    fn finish(&mut self, total: u64) {
        self.run_until(Duration::from_secs(30), Self::is_complete);
        assert_eq!(self.received(), total);
        self.run_until(Duration::from_secs(1), |w| w.ends.iter().all(|(shard, _)| shard.is_flushed()));
        for (shard, _) in &mut self.ends {
            shard.spare = None;
            let stats = shard.pool_stats();
            assert_eq!(stats.free, stats.allocated, "every block is home");
        }
    }
}

#[test]
fn a_transfer_over_two_links_completes_and_uses_both() {
    let mut world = World::new(4 << 20, PoolConfig::default());
    world.finish(4 << 20);
    assert_eq!(world.client().app.opened, [PathId(1)]);
    for socket in 0..2 {
        let sent: usize = world.ends[CLIENT].1.sends.iter().filter(|s| s.0 == socket).map(|s| s.1).sum();
        assert!(sent > 100, "socket {socket} sent {sent} datagrams");
    }
    let counters = world.client().counters();
    assert_eq!((counters.failed, counters.cancelled, counters.blocked), (0, 0, 0));
}

#[test]
fn an_empty_pool_makes_the_sender_wait_and_loses_nothing() {
    let pool = PoolConfig { initial: 1, max: 2, ..PoolConfig::default() };
    let mut world = World::new(2 << 20, pool);
    world.finish(2 << 20);
    assert!(world.client().counters().pool_exhausted > 0);
    assert_eq!(world.client().pool_stats().allocated, 2);
}

#[test]
fn a_full_socket_keeps_its_packets_in_order_and_the_other_link_goes_on() {
    let mut world = World::new(4 << 20, PoolConfig::default());
    world.run_until(Duration::from_secs(2), |w| w.received() > 500_000);
    world.ends[CLIENT].1.mood[0] = Mood::Full(1);
    let before = world.ends[CLIENT].1.sends.len();
    let progress = world.received();
    world.run_until(Duration::from_secs(2), |w| w.received() > progress + 500_000);
    assert!(world.client().counters().blocked > 0);
    let other = world.ends[CLIENT].1.sends[before..].iter().filter(|s| s.0 == 1).count();
    assert!(other > 10, "the other link went on: {other}");
    assert!(!world.client().is_flushed(), "the refused batch is kept");
    world.ends[CLIENT].1.mood[0] = Mood::Fine;
    world.finish(4 << 20);
    let counters = world.client().counters();
    assert_eq!((counters.failed, counters.cancelled), (0, 0));
}

#[test]
fn a_refused_batch_fails_and_its_data_takes_the_other_link() {
    let mut world = World::new(4 << 20, PoolConfig::default());
    world.run_until(Duration::from_secs(2), |w| w.received() > 500_000);
    world.ends[CLIENT].1.mood[1] = Mood::Broken;
    world.finish(4 << 20);
    let counters = world.client().counters();
    assert!(counters.failed > 0);
    assert!(counters.failed < 1000, "a dead link is not hammered: {}", counters.failed);
}

#[test]
fn with_every_device_gone_sends_are_rare_and_all_goes_on_when_one_is_back() {
    let mut world = World::new(4 << 20, PoolConfig::default());
    world.run_until(Duration::from_secs(2), |w| w.received() > 500_000);
    world.ends[CLIENT].1.mood = vec![Mood::Gone; 2];
    let until = world.net.borrow().now + Duration::from_secs(6);
    world.run_until(Duration::from_secs(7), |w| w.net.borrow().now >= until);
    let failed = world.client().counters().failed;
    assert!((10..120).contains(&failed), "{failed} batches in six seconds");
    world.ends[CLIENT].1.mood[1] = Mood::Fine;
    world.run_until(Duration::from_millis(1500), |w| w.received() > 1_500_000);
    world.finish(4 << 20);
}

#[test]
fn a_link_whose_mtu_shrinks_goes_on_with_smaller_packets() {
    let mut world = World::new(4 << 20, PoolConfig::default());
    world.run_until(Duration::from_secs(2), |w| w.received() > 500_000);
    world.ends[CLIENT].1.mood = vec![Mood::Narrow(1300); 2];
    world.finish(4 << 20);
    let id = world.client().app.connection.unwrap();
    let paths: Vec<_> = world.client().endpoint().peek(id).unwrap().path_stats().collect();
    assert!(paths.iter().all(|p| !p.silent && (1200..=1300).contains(&p.mtu)), "{paths:?}");
}

#[test]
fn packets_of_a_vanished_link_come_back_cancelled() {
    let mut world = World::new(4 << 20, PoolConfig::default());
    let waiting = |w: &World| w.received() > 500_000 && !w.ends[CLIENT].0.wheel.is_empty();
    world.run_until(Duration::from_secs(2), waiting);
    let now = world.net.borrow().now;
    for socket in 0..2 {
        world.client().cancel_link(now, socket);
    }
    assert!(world.client().is_flushed(), "nothing is left of either link");
    assert!(world.client().counters().cancelled > 0);
    world.finish(4 << 20);
}

#[test]
fn a_turn_stays_within_its_budget() {
    let mut world = World::new(4 << 20, PoolConfig::default());
    world.budget = Budget { datagrams: 3, events: 2, batches: 2 };
    world.run_until(Duration::from_secs(2), |w| w.received() > 300_000);
    let mut cut = 0;
    for _ in 0..2000 {
        for end in [CLIENT, SERVER] {
            let before = (world.ends[end].0.counters(), world.ends[end].0.app.events);
            let next = world.turn(end);
            let after = (world.ends[end].0.counters(), world.ends[end].0.app.events);
            let received = after.0.datagrams_received - before.0.datagrams_received;
            assert!(received <= 3 && after.1 - before.1 <= 4 && after.0.sent - before.0.sent <= 4);
            cut += u32::from(next == Next::Now);
        }
        world.net.borrow_mut().now += Duration::from_micros(50);
    }
    assert!(cut > 0, "a turn that was cut short asks for the next one");
    world.finish(4 << 20);
}

#[test]
fn the_application_is_called_when_somebody_wakes_it() {
    let mut world = World::new(0, PoolConfig::default());
    world.turn(CLIENT);
    assert_eq!(world.client().app.wakes, 0);
    world.ends[CLIENT].1.woken = true;
    world.turn(CLIENT);
    world.turn(CLIENT);
    assert_eq!(world.client().app.wakes, 1);
}

#[test]
fn a_links_limit_holds_and_little_waits_for_it_while_the_other_link_goes_on() {
    let mut world = World::new(8 << 20, PoolConfig::default());
    world.ends[CLIENT].1.throttles =
        vec![Some(Throttle::new(Some(Rate::from_bits_per_second(4_000_000)))), None];
    let until = |at: u64| move |w: &World| w.net.borrow().now >= Time::from_millis(at) || w.is_complete();
    let mut waiting = 0;
    for at in (50..1000).step_by(5) {
        world.run_until(Duration::from_secs(2), until(at));
        waiting = waiting.max(world.client().wheel.len());
    }
    let took = world.net.borrow().now.since(Time::ZERO);
    let over =
        |socket| world.ends[CLIENT].1.sends.iter().filter(|s| s.0 == socket).map(|s| s.1).sum::<usize>();
    let (limited, free) = (over(0), over(1));
    let allowed = Rate::from_bits_per_second(4_000_000).bytes_in(took) / 1000;
    assert!(limited as u64 <= allowed + 20, "{limited} datagrams of {allowed} in {took:?}");
    assert!(free > 10 * limited, "{free} over the free link, {limited} over the other");
    assert!(waiting <= 8, "{waiting} batches waited at once");
    assert!(world.client().counters().throttled > 0);
    world.finish(8 << 20);
}

#[test]
fn a_world_that_holds_packets_gets_them_a_little_before_their_time_and_the_wheel_has_nothing_to_do() {
    let mut world = World::new(4 << 20, PoolConfig::default());
    world.ends[CLIENT].1.holds = true;
    // A pacer plans no further ahead than that; on a link with a limit, batches may be due later.
    let slow = Throttle::new(Some(Rate::from_bits_per_second(4_000_000)));
    world.ends[CLIENT].1.throttles = vec![Some(slow), None];
    world.run_until(Duration::from_secs(5), |w| w.received() > 2_000_000);
    let held = core::mem::take(&mut world.ends[CLIENT].1.held);
    let ahead: Vec<Duration> = held.iter().map(|(got, due)| due.since(*got)).collect();
    assert!(ahead.iter().any(|a| *a > Duration::from_micros(500)), "some came before their time");
    let most = ahead.iter().max().unwrap();
    assert!(*most <= super::HAND_OVER_BEFORE + Duration::from_micros(1), "{most:?} before");
    world.finish(4 << 20);
    let counters = world.client().counters();
    assert_eq!((counters.failed, counters.cancelled), (0, 0));
}

#[test]
fn datagrams_over_the_limit_are_counted_one_by_one() {
    assert_eq!(larger_than(1200, 1200, 1200), 0);
    assert_eq!(larger_than(1200, 6 * 1200 + 7, 1200), 0);
    assert_eq!(larger_than(1200, 1201, 1201), 1);
    assert_eq!(larger_than(1200, 3 * 1452, 1452), 3);
    assert_eq!(larger_than(1200, 3 * 1452 + 1200, 1452), 3, "the last one is small enough");
    assert_eq!(larger_than(1200, 3 * 1452 + 1201, 1452), 4, "the last one is not");
    assert_eq!(larger_than(1200, 500, u16::MAX), 0, "one datagram, shorter than it might be");
}
