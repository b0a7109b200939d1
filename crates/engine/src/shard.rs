//! The shard and its one step.
//!
//! ```text
//! receive -> expire -> release what is due -> events -> application -> transmit (out or into the wheel) -> events
//! ```
//!
//! Owns every packet between the connection that wrote it and its fate: in the wheel until its time has come, parked
//! behind a full socket, gone. Each ends in exactly one fate, which goes back to its connection at once.

use crate::app::{App, Cx, Holds, SocketChange, SocketWish};
use crate::io::{Io, SendOutcome, Traffic};
use crate::post::{Mail, Post};
use core::time::Duration;
use mpquic_base::{Rate, Time};
use mpquic_net::{Lane, Packet, Pool, PoolConfig, PoolStats, Slot, Wheel};
use mpquic_proto::{ConnectionId, Endpoint, EndpointCounters, Fate, Received, Tag, Transmit};
use std::collections::VecDeque;

/// How much one turn may do, so that no part of it starves the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Datagrams to take in. A batch of the [`Io`] that has begun is finished.
    pub datagrams: usize,
    /// Events to hand to the application.
    pub events: usize,
    /// Batches to release, and again as many to write.
    pub batches: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { datagrams: 512, events: 512, batches: 64 }
    }
}

/// When the next turn is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// There is more to do.
    Now,
    /// At this time, or as soon as something arrives.
    At(Time),
    /// As soon as something arrives.
    Idle,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardCounters {
    pub turns: u64,
    pub datagrams_received: u64,
    pub datagrams_sent: u64,
    /// Batches by their fate.
    pub sent: u64,
    pub failed: u64,
    pub cancelled: u64,
    /// Times that a socket was full.
    pub blocked: u64,
    /// Times that packets waited for a block of the pool.
    pub pool_exhausted: u64,
    pub system_calls: u64,
    /// Batches that waited longer because of their link's limit.
    pub throttled: u64,
    /// Datagrams that came here and belonged to another shard, and those that another shard sent on to here.
    pub forwarded: u64,
    pub taken_over: u64,
    /// Of the forwarded ones, those that were lost because the other shard's box was full.
    pub forward_dropped: u64,
    /// Datagrams that left although they were larger than their connection may send.
    pub over_limit: u64,
    /// What the sockets counted themselves.
    pub traffic: Traffic,
}

/// What a shard has done so far and what it holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShardStats {
    pub counters: ShardCounters,
    pub endpoint: EndpointCounters,
    pub pool: PoolStats,
    /// Batches in the wheel, and behind full sockets.
    pub waiting: usize,
    pub connections: usize,
}

/// A world that holds packets until their time gets them this long before: what it has cannot be taken back when the
/// link dies. As far as pacers plan ahead.
const HAND_OVER_BEFORE: Duration = Duration::from_millis(2);

/// Whose packet it is.
#[derive(Clone, Copy, Debug)]
struct Ticket {
    /// `None`: an answer to a stranger, whose fate nobody asks for.
    connection: Option<ConnectionId>,
    tag: Tag,
}

/// A packet that a full socket keeps, without its first `sent` datagrams.
#[derive(Debug)]
struct Parked {
    packet: Packet<Ticket>,
    sent: usize,
}

/// One endpoint with everything it needs, for one thread.
#[derive(Debug)]
pub struct Shard<A> {
    endpoint: Endpoint,
    pool: Pool,
    wheel: Wheel<Packet<Ticket>>,
    /// By socket; each in order.
    parked: Vec<VecDeque<Parked>>,
    /// The block that the next packets are written into.
    spare: Option<Slot>,
    /// Kept for its allocation.
    cancelled: Vec<Packet<Ticket>>,
    /// Sockets that the application wants to come or go.
    wishes: Vec<SocketWish>,
    /// The way to the other shards of this endpoint, if there are any.
    post: Option<Post>,
    /// Kept for its allocation.
    mail: Mail,
    app: A,
    counters: ShardCounters,
}

impl<A: App> Shard<A> {
    #[must_use]
    pub fn new(endpoint: Endpoint, pool: PoolConfig, app: A) -> Self {
        Self {
            endpoint,
            pool: Pool::new(pool),
            wheel: Wheel::new(pool.initial),
            parked: Vec::new(),
            spare: None,
            cancelled: Vec::new(),
            wishes: Vec::new(),
            post: None,
            mail: Mail::default(),
            app,
            counters: ShardCounters::default(),
        }
    }

    /// One of several shards: its endpoint is [seated](Endpoint::seated), and this is its side of their post.
    #[must_use]
    pub fn with_post(mut self, post: Post) -> Self {
        self.post = Some(post);
        self
    }

    /// One step: takes in what arrived, lets time pass, and sends what may be sent, all within `budget`.
    pub fn turn(&mut self, io: &mut impl Io, budget: Budget) -> Next {
        self.counters.turns += 1;
        let now = io.now();
        let mut more = self.receive(io, now, budget.datagrams);
        self.endpoint.expire(now);
        // Fates before new packets: they free blocks and credit, and lost data goes out first.
        more |= self.release(io, now, budget.batches);
        self.tell(now, budget.events);
        if io.take_woken() | self.app.deadline().is_some_and(|at| at <= now) {
            self.with_app(now, App::on_wake);
        }
        self.change_sockets(io, now);
        more |= self.transmit(io, now, budget.batches);
        // What the application and the transmissions brought about; the answers are for the next turn.
        more |= self.tell(now, budget.events) > 0;
        self.app.on_turn_end(now);
        self.counters.system_calls = io.calls();
        self.counters.traffic = io.traffic();
        if more { Next::Now } else { self.next(io.now()) }
    }

    #[must_use]
    pub const fn app(&self) -> &A {
        &self.app
    }

    pub const fn app_mut(&mut self) -> &mut A {
        &mut self.app
    }

    /// The application with its view of the shard, for a driver that calls it between turns.
    pub fn with_app<R>(&mut self, now: Time, act: impl FnOnce(&mut A, &mut Cx<'_>) -> R) -> R {
        let Self { app, endpoint, wishes, counters, pool, wheel, parked, .. } = self;
        let waiting = || wheel.len() + parked.iter().map(VecDeque::len).sum::<usize>();
        let holds = || Holds { counters: *counters, pool: pool.stats(), waiting: waiting() };
        act(app, &mut Cx { now, endpoint, wishes, holds: &holds })
    }

    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    #[must_use]
    pub const fn counters(&self) -> ShardCounters {
        self.counters
    }

    #[must_use]
    pub fn pool_stats(&self) -> PoolStats {
        self.pool.stats()
    }

    /// Nothing waits to leave.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.wheel.is_empty() && self.parked.iter().all(VecDeque::is_empty)
    }

    /// Sockets come and go as the application asked for. Before this turn's packets, so that data of a link that is gone
    /// takes the others at once.
    fn change_sockets(&mut self, io: &mut impl Io, now: Time) {
        while !self.wishes.is_empty() {
            let change = match self.wishes.remove(0) {
                SocketWish::Add(socket) => {
                    SocketChange::Added { local: socket.local_addr(), result: io.add_socket(socket) }
                }
                SocketWish::Remove(local) => {
                    let socket = io.remove_socket(local);
                    socket.into_iter().for_each(|socket| self.cancel_link(now, socket));
                    SocketChange::Removed { local, found: socket.is_some() }
                }
            };
            self.with_app(now, |app, cx| app.on_socket(cx, change));
        }
    }

    /// A socket is gone: everything that was to leave through it comes back, so that its data takes other paths.
    fn cancel_link(&mut self, now: Time, socket: u16) {
        let mut packets = core::mem::take(&mut self.cancelled);
        if let Some(queue) = self.parked.get_mut(usize::from(socket)) {
            packets.extend(queue.drain(..).map(|parked| parked.packet));
        }
        self.wheel.cancel(|packet| packet.socket == socket, &mut packets);
        for packet in packets.drain(..) {
            self.settle(now, packet, Fate::Cancelled);
        }
        self.cancelled = packets;
    }

    fn receive(&mut self, io: &mut impl Io, now: Time, budget: usize) -> bool {
        let mut count = self.receive_forwarded(now);
        let mut more = true;
        while more && count < budget {
            more = io.receive(&mut |tuple, ecn, datagram| {
                count += 1;
                match self.endpoint.stray(datagram) {
                    None => self.endpoint.receive(now, Received { tuple, ecn }, datagram),
                    Some(shard) => self.forward(shard, Received { tuple, ecn }, datagram),
                }
            });
        }
        while let Some((shard, received, datagram)) = self.endpoint.foreign() {
            self.forward(shard, received, &datagram);
        }
        self.counters.datagrams_received += count as u64;
        more
    }

    /// Takes in what came to other shards. They judged it, so it is not judged again.
    fn receive_forwarded(&mut self, now: Time) -> usize {
        let Some(post) = &self.post else { return 0 };
        let mut count = 0;
        post.collect(&mut self.mail);
        self.mail.read(|tuple, ecn, datagram| {
            count += 1;
            self.endpoint.receive(now, Received { tuple, ecn }, datagram);
        });
        self.counters.taken_over += count as u64;
        count
    }

    fn forward(&mut self, shard: u16, Received { tuple, ecn }: Received, datagram: &[u8]) {
        self.counters.forwarded += 1;
        if !self.post.as_ref().is_some_and(|post| post.send(shard, tuple, ecn, datagram)) {
            self.counters.forward_dropped += 1;
        }
    }

    /// Hands events to the application and returns how many.
    fn tell(&mut self, now: Time, budget: usize) -> usize {
        for told in 0..budget {
            let Some((id, event)) = self.endpoint.event() else { return told };
            self.with_app(now, |app, cx| app.on_event(cx, id, event));
        }
        budget
    }

    /// Offers parked packets to their sockets again, then sends what is due. Returns whether due packets are left.
    fn release(&mut self, io: &mut impl Io, now: Time, budget: usize) -> bool {
        for socket in 0..self.parked.len() {
            self.unpark(io, socket);
        }
        for _ in 0..budget {
            let Some(packet) = self.wheel.pop_due(now) else { return false };
            self.send(io, packet);
        }
        self.wheel.next().is_some_and(|at| at <= now)
    }

    fn unpark(&mut self, io: &mut impl Io, socket: usize) {
        while let Some(Parked { packet, sent }) = self.parked[socket].pop_front() {
            if let Some(parked) = self.offer(io, packet, sent) {
                self.parked[socket].push_front(parked);
                return;
            }
        }
    }

    fn send(&mut self, io: &mut impl Io, packet: Packet<Ticket>) {
        let socket = usize::from(packet.socket);
        if self.parked.len() <= socket {
            self.parked.resize_with(socket + 1, VecDeque::new);
        }
        // Never past one that waits.
        let parked = if self.parked[socket].is_empty() {
            self.offer(io, packet, 0)
        } else {
            Some(Parked { packet, sent: 0 })
        };
        self.parked[socket].extend(parked);
    }

    /// Gives a packet to its socket and brings its fate home; returns it if the socket is full.
    fn offer(&mut self, io: &mut impl Io, packet: Packet<Ticket>, sent: usize) -> Option<Parked> {
        match io.send_at(packet.socket, &packet.batch(sent), packet.depart_at) {
            SendOutcome::Sent => {
                let now = io.now();
                // What the world holds leaves when it was meant to.
                let at = packet.depart_at.max(now);
                self.settle(now, packet, Fate::Sent(at));
            }
            SendOutcome::Failed => self.settle(io.now(), packet, Fate::Failed),
            SendOutcome::Unreachable => self.settle(io.now(), packet, Fate::Unreachable),
            SendOutcome::TooLarge => self.settle(io.now(), packet, Fate::TooLarge),
            SendOutcome::Blocked { sent: further } => {
                self.counters.blocked += u64::from(sent == 0 || further > 0);
                return Some(Parked { packet, sent: sent + further });
            }
        }
        None
    }

    fn settle(&mut self, now: Time, packet: Packet<Ticket>, fate: Fate) {
        match fate {
            Fate::Sent(_) => {
                self.counters.sent += 1;
                let datagrams = packet.len.div_ceil(usize::from(packet.segment.max(1)));
                self.counters.datagrams_sent += datagrams as u64;
                self.counters.over_limit += self.over_limit(&packet);
            }
            Fate::Failed | Fate::Unreachable | Fate::TooLarge => self.counters.failed += 1,
            Fate::Cancelled => self.counters.cancelled += 1,
        }
        let Ticket { connection, tag } = packet.tag;
        drop(packet.slot);
        if let Some(id) = connection {
            self.endpoint.settle(now, id, tag, fate);
        }
    }

    /// How many datagrams of a packet are larger than what its connection may send: none, unless something is wrong.
    fn over_limit(&self, packet: &Packet<Ticket>) -> u64 {
        let connection = packet.tag.connection.and_then(|id| self.endpoint.peek(id));
        let limit = connection.map_or(u16::MAX, mpquic_proto::Connection::max_udp_payload);
        larger_than(limit, packet.len, packet.segment) as u64
    }

    /// Has connections write packets until they have nothing to say, the pool is empty or the budget is spent. Returns
    /// whether there may be more to write now.
    fn transmit(&mut self, io: &mut impl Io, now: Time, budget: usize) -> bool {
        for _ in 0..budget {
            let Some(mut slot) = self.spare.take().or_else(|| self.pool.take()) else {
                self.counters.pool_exhausted += 1;
                // A block comes back with a fate, and every fate comes from the wheel or a socket with room.
                return false;
            };
            let Some((connection, transmit)) = self.endpoint.transmit(now, &mut slot) else {
                self.spare = Some(slot);
                return false;
            };
            self.submit(io, now, slot, Ticket { connection, tag: transmit.tag }, &transmit);
        }
        true
    }

    fn submit(&mut self, io: &mut impl Io, now: Time, slot: Slot, tag: Ticket, transmit: &Transmit) {
        let socket = io.socket(transmit.tuple.local);
        let mut packet = Packet {
            slot,
            len: transmit.len,
            segment: u16::try_from(transmit.segment).unwrap_or(u16::MAX),
            socket: socket.unwrap_or(0),
            local: transmit.tuple.local,
            peer: transmit.tuple.peer,
            ecn: transmit.ecn,
            depart_at: transmit.departs_at,
            lane: if transmit.urgent { Lane::Control } else { Lane::Data },
            tag,
        };
        if socket.is_none() {
            return self.settle(now, packet, Fate::Unreachable);
        }
        if let Some((free_at, limit)) = io.book(packet.socket, &packet.batch(0), packet.depart_at)
            && free_at > packet.depart_at
            && !transmit.urgent
        {
            self.hold_back(&mut packet, free_at, limit);
        }
        // A world that holds packets itself gets them ahead of their time, the wheel's tick included.
        let ahead = if io.holds_until_due(packet.socket) { HAND_OVER_BEFORE } else { Duration::ZERO };
        let release_at = packet.depart_at - ahead;
        // What is due goes straight out, unless others that were due before it are still in the wheel.
        let overtakes = !transmit.urgent && self.wheel.next().is_some_and(|at| at <= now);
        if release_at <= now && !overtakes {
            self.send(io, packet);
        } else {
            self.wheel.insert(release_at, packet.lane, packet);
        }
    }

    /// The link's limit has the packet wait. Its path's pacer is told, so that what it would send next is not written
    /// before its time: it may take another path, and waits in no queue of ours.
    fn hold_back(&mut self, packet: &mut Packet<Ticket>, until: Time, limit: Rate) {
        self.counters.throttled += 1;
        packet.depart_at = until;
        if let Ticket { connection: Some(id), tag } = packet.tag {
            self.endpoint.hold_back(id, tag, until, limit);
        }
    }

    fn next(&self, now: Time) -> Next {
        let next = Time::soonest(self.wheel.next(), self.endpoint.deadline());
        match Time::soonest(next, self.app.deadline()) {
            Some(at) if at <= now => Next::Now,
            Some(at) => Next::At(at),
            None => Next::Idle,
        }
    }
}

/// How many of the datagrams that `len` bytes are cut into are larger than `limit`.
fn larger_than(limit: u16, len: usize, segment: u16) -> usize {
    let (limit, segment) = (usize::from(limit), usize::from(segment.max(1)));
    let whole = if segment > limit { len / segment } else { 0 };
    whole + usize::from(len % segment > limit)
}

#[cfg(test)]
mod tests;
