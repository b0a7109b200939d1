//! The thread of the emulator: one loop over epoll and one timer, with bounded work per turn.
//!
//! It only carries datagrams between sockets and the link model and sleeps until one of them has something.

use super::relay::Relay;
use super::waiter::{self, NAP, Waiter};
use super::{Datagram, Orders, PACKET_OVERHEAD, Rebinding, Shared};
use crate::link::{Delivery, Links, Way};
use core::sync::atomic::Ordering;
use mpquic_base::Ecn;
use rustix::event::epoll;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// Datagrams read from one socket per turn, and handed out per turn: no socket starves another.
const BATCH: usize = 64;
const SENDS: usize = 256;
/// Buffers kept for reuse; what a burst needs beyond them goes back to the allocator.
const SPARE_BUFFERS: usize = 4096;
/// Fits every UDP datagram.
const LARGEST: usize = 65_536;

/// What an epoll event is about: the kind in the low bits, then link and slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Wake,
    Timer,
    Clients { link: usize },
    Server { link: usize, slot: usize },
}

pub(super) fn spawn(
    shared: Arc<Shared<Datagram>>,
    orders: Arc<Orders>,
    relays: Vec<Relay>,
) -> io::Result<JoinHandle<()>> {
    let waiter = Waiter::new(shared.clock, Source::Timer.to_u64())?;
    waiter.watch(&shared.wake, Source::Wake.to_u64())?;
    for (link, relay) in relays.iter().enumerate() {
        waiter.watch(&relay.towards_clients, Source::Clients { link }.to_u64())?;
    }
    let mut worker = Worker { shared, orders, relays, waiter, spare: Vec::new(), scratch: vec![0; LARGEST] };
    Builder::new().name("link-emulator".into()).spawn(move || worker.run())
}

struct Worker {
    shared: Arc<Shared<Datagram>>,
    orders: Arc<Orders>,
    relays: Vec<Relay>,
    waiter: Waiter,
    spare: Vec<Vec<u8>>,
    scratch: Vec<u8>,
}

impl Worker {
    /// Ends when told to, or when the host takes epoll or the timer away.
    fn run(&mut self) {
        waiter::be_punctual();
        let mut events = Waiter::events();
        let mut busy = false;
        while !self.shared.stop.load(Ordering::Acquire) {
            if self.waiter.wait(&mut events, busy).is_err() {
                return;
            }
            let Ok(moving) = self.turn(&events) else { return };
            busy = moving;
        }
    }

    /// One step: read what came and hand out what is due. True if there is more to do soon; otherwise the timer is set.
    fn turn(&mut self, events: &[epoll::Event]) -> io::Result<bool> {
        let shared = Arc::clone(&self.shared);
        let mut links = shared.lock();
        self.rebind(&mut links);
        let mut moving = false;
        for event in events {
            match Source::from_u64(event.data.u64()) {
                Source::Timer => {}
                Source::Wake => {
                    // Orders wait, or the end; read, so that it does not wake again.
                    rustix::io::read(&shared.wake, &mut [0; 8]).ok();
                }
                Source::Clients { link } => {
                    moving = true;
                    self.read_clients(link, &mut links);
                }
                Source::Server { link, slot } => {
                    moving = true;
                    self.read_server(link, slot, &mut links);
                }
            }
        }
        let now = shared.clock.now();
        for _ in 0..SENDS {
            let Some(delivery) = links.pop(now) else { break };
            moving = true;
            self.deliver(delivery);
        }
        let next = links.next();
        drop(links);
        moving |= next.is_some_and(|next| next <= now + NAP);
        if let Some(next) = next.filter(|_| !moving) {
            self.waiter.arm(next)?;
        }
        Ok(moving)
    }

    fn read_clients(&mut self, link: usize, links: &mut Links<Datagram>) {
        for _ in 0..BATCH {
            let Ok((n, client)) = self.relays[link].towards_clients.recv_from(&mut self.scratch) else {
                return;
            };
            if let Some((flow, tenant)) = self.flow_of(link, client) {
                self.send_over(links, link, Way::Up, n, flow, tenant);
            }
        }
    }

    fn read_server(&mut self, link: usize, slot: usize, links: &mut Links<Datagram>) {
        for _ in 0..BATCH {
            let Some(flow) = self.relays[link].flow(slot) else { return };
            let tenant = flow.tenant;
            match flow.towards_server.recv(&mut self.scratch) {
                Ok(n) => self.send_over(links, link, Way::Down, n, slot, tenant),
                // A server that is not up yet, said by ICMP. Reading the error cleared it.
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => return,
            }
        }
    }

    fn flow_of(&mut self, link: usize, client: SocketAddr) -> Option<(usize, u64)> {
        let known = self.relays[link].flow_of(client);
        let Ok((slot, is_new)) = known else {
            self.shared.refuse(link);
            return None;
        };
        if is_new {
            self.watch_flow(link, slot);
        }
        Some((slot, self.relays[link].flow(slot)?.tenant))
    }

    /// Gives the first `n` bytes of the scratch buffer to the link model.
    fn send_over(
        &mut self,
        links: &mut Links<Datagram>,
        link: usize,
        way: Way,
        n: usize,
        flow: usize,
        tenant: u64,
    ) {
        let mut payload = self.spare.pop().unwrap_or_default();
        payload.clear();
        payload.extend_from_slice(&self.scratch[..n]);
        let now = self.shared.clock.now();
        // A drop is in the link's statistics, and the sender is not told on a real link either.
        links.push(link, way, now, Datagram { payload, flow, tenant }, n + PACKET_OVERHEAD, Ecn::NotEct);
    }

    fn deliver(&mut self, delivery: Delivery<Datagram>) {
        let Delivery { link, way, arrival } = delivery;
        let mut datagram = arrival.item;
        if let Some(corruption) = arrival.corrupted {
            corruption.apply(&mut datagram.payload);
        }
        let relay = &self.relays[link];
        if let Some(flow) = relay.flow(datagram.flow).filter(|f| f.tenant == datagram.tenant) {
            let sent = match way {
                Way::Up => send_up(&flow.towards_server, &datagram.payload),
                Way::Down => relay.towards_clients.send_to(&datagram.payload, flow.client),
            };
            if sent.is_err() {
                self.shared.refuse(link);
            }
        }
        if self.spare.len() < SPARE_BUFFERS {
            self.spare.push(datagram.payload);
        }
    }

    fn rebind(&mut self, links: &mut Links<Datagram>) {
        let now = self.shared.clock.now();
        for link in 0..self.relays.len() {
            if links.rebinds_due(link, now) == 0 {
                continue;
            }
            self.rebind_link(link);
        }
        for (link, rebinding) in self.orders.take() {
            let Some(relay) = self.relays.get_mut(link) else { continue };
            if rebinding == Rebinding::Address {
                relay.change_address();
            }
            self.rebind_link(link);
        }
    }

    fn rebind_link(&mut self, link: usize) {
        for slot in 0..self.relays[link].slots() {
            // Closing the old socket took it out of the epoll set.
            match self.relays[link].rebind(slot) {
                Ok(()) => self.watch_flow(link, slot),
                Err(_) => self.shared.refuse(link),
            }
        }
    }

    fn watch_flow(&self, link: usize, slot: usize) {
        let Some(flow) = self.relays[link].flow(slot) else { return };
        if self.waiter.watch(&flow.towards_server, Source::Server { link, slot }.to_u64()).is_err() {
            self.shared.refuse(link);
        }
    }
}

/// Sends to the server. An ICMP error of an earlier datagram is reported here once and says nothing about this one.
fn send_up(socket: &UdpSocket, payload: &[u8]) -> io::Result<usize> {
    match socket.send(payload) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => socket.send(payload),
        sent => sent,
    }
}

impl Source {
    const fn to_u64(self) -> u64 {
        match self {
            Self::Wake => 0,
            Self::Timer => 1,
            Self::Clients { link } => 2 | (link as u64) << 2,
            Self::Server { link, slot } => 3 | (link as u64) << 2 | (slot as u64) << 32,
        }
    }

    fn from_u64(value: u64) -> Self {
        let link = usize::try_from((value & 0xffff_ffff) >> 2).unwrap_or(usize::MAX);
        match value & 3 {
            0 => Self::Wake,
            1 => Self::Timer,
            2 => Self::Clients { link },
            _ => Self::Server { link, slot: usize::try_from(value >> 32).unwrap_or(usize::MAX) },
        }
    }
}
