//! The link model in real time: UDP relays on this host that delay, drop and pace like real links.
//!
//! Each link is an address that a client sends to; what crosses the link leaves towards the server from a port of
//! its own per client address, as behind a NAT, and the answers come back the same way. One thread serves all
//! links. It owns sockets and a clock; what a link does to a packet is the model's affair alone.
//!
//! ECN bits are not carried: without `unsafe`, the control messages that hold them cannot be read. Every packet enters
//! the model as Not-ECT.

mod packets;
mod relay;
mod thread;
mod waiter;

pub use packets::{Ends, PacketEmulator};

use crate::link::{LinkSpec, Links, Neck, Schedule, Stats, Way, Ways};
use crate::profile::{NamedLink, Profile};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use mpquic_base::Time;
use relay::Relay;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// What IPv4 and UDP headers add to a datagram: links carry packets, not payloads.
pub const PACKET_OVERHEAD: usize = 28;

/// A datagram on its way.
#[derive(Clone, Debug)]
struct Datagram {
    payload: Vec<u8>,
    /// Which client it belongs to: a slot of the link's flows, and the how-manieth tenant of that slot.
    flow: usize,
    tenant: u64,
}

/// What one link did so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStats {
    pub name: String,
    pub link: Stats,
    /// Datagrams that this host's sockets refused to send.
    pub refused: u64,
}

/// What a NAT forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebinding {
    /// Every client gets a new port.
    Port,
    /// Every client gets a new address too; only towards a server on 127.0.0.0/8, where this host has more than one.
    Address,
}

/// Running link relays; they stop when this is dropped.
pub struct Emulator {
    shared: Arc<Shared<Datagram>>,
    orders: Arc<Orders>,
    clients: Vec<SocketAddr>,
    thread: Option<JoinHandle<()>>,
}

/// What the owner asked for and the thread has not done yet: links whose NAT forgets.
#[derive(Debug, Default)]
struct Orders(Mutex<Vec<(usize, Rebinding)>>);

/// What an emulator's thread and its owner both touch.
struct Shared<T> {
    links: Mutex<Links<T>>,
    names: Vec<String>,
    clock: Clock,
    stop: AtomicBool,
    wake: OwnedFd,
    refused: Vec<AtomicU64>,
}

#[derive(Clone, Copy)]
struct Clock {
    origin: Instant,
}

impl Emulator {
    /// Starts relays to `server`. The schedule's times count from now.
    ///
    /// # Errors
    /// When a socket, timer or thread cannot be had.
    pub fn start(
        links: Vec<NamedLink>,
        server: SocketAddr,
        schedule: &Schedule,
        seed: u64,
    ) -> io::Result<Self> {
        Self::start_with(links, None, server, schedule, seed)
    }

    /// Starts the links of a profile, the bottleneck they share included.
    ///
    /// # Errors
    /// When a socket, timer or thread cannot be had.
    pub fn start_profile(profile: Profile, server: SocketAddr, seed: u64) -> io::Result<Self> {
        Self::start_with(profile.links, profile.neck.as_ref(), server, &profile.schedule, seed)
    }

    fn start_with(
        links: Vec<NamedLink>,
        neck: Option<&Neck>,
        server: SocketAddr,
        schedule: &Schedule,
        seed: u64,
    ) -> io::Result<Self> {
        let count = links.len();
        let relays = (0..count).map(|_| Relay::bind(server)).collect::<io::Result<Vec<_>>>()?;
        let clients = relays.iter().map(Relay::client_addr).collect::<io::Result<Vec<_>>>()?;
        let shared = Arc::new(Shared::new(links, neck, schedule, seed)?);
        let orders = Arc::new(Orders::default());
        let thread = thread::spawn(Arc::clone(&shared), Arc::clone(&orders), relays)?;
        Ok(Self { shared, orders, clients, thread: Some(thread) })
    }

    /// Where the client sends to reach the server over link `i`.
    #[must_use]
    pub fn client_addr(&self, i: usize) -> Option<SocketAddr> {
        self.clients.get(i).copied()
    }

    /// Time since the start, which the schedule counts in.
    #[must_use]
    pub fn now(&self) -> Time {
        self.shared.clock.now()
    }

    /// Cuts a link at once: nothing enters, and what is on the way is lost.
    pub fn cut(&self, i: usize, ways: Ways) {
        self.shared.lock().cut(i, self.now(), ways);
    }

    /// Takes back a `cut`; what the schedule cuts stays cut.
    pub fn restore(&self, i: usize, ways: Ways) {
        self.shared.lock().restore(i, self.now(), ways);
    }

    /// Puts `schedule` in the place of the one before; its times count from now. What `cut` cut stays cut.
    pub fn reschedule(&self, schedule: &Schedule) {
        self.shared.lock().reschedule(self.now(), schedule);
    }

    /// The NAT of link `i` forgets its clients at once: what the server sends to where they were is lost.
    pub fn rebind(&self, i: usize, rebinding: Rebinding) {
        self.orders.lock().push((i, rebinding));
        self.shared.nudge();
    }

    /// Whether link `i` is cut at present, in one direction at least.
    #[must_use]
    pub fn is_cut(&self, i: usize) -> bool {
        let now = self.now();
        let mut links = self.shared.lock();
        links.link(i).is_some_and(|link| Way::BOTH.into_iter().any(|way| link.conditions(way, now).cut))
    }

    /// Per link, in order, as of now.
    #[must_use]
    pub fn stats(&self) -> Vec<LinkStats> {
        self.shared.stats()
    }

    /// The shared bottleneck, if the profile has one.
    #[must_use]
    pub fn neck_stats(&self) -> Option<Stats> {
        self.shared.lock().neck_stats()
    }
}

impl Orders {
    fn lock(&self) -> MutexGuard<'_, Vec<(usize, Rebinding)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<(usize, Rebinding)> {
        core::mem::take(&mut *self.lock())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.shared.end(self.thread.take());
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator").field("names", &self.shared.names).field("clients", &self.clients).finish()
    }
}

impl<T: Clone> Shared<T> {
    fn new(links: Vec<NamedLink>, neck: Option<&Neck>, schedule: &Schedule, seed: u64) -> io::Result<Self> {
        let (names, specs): (Vec<String>, Vec<LinkSpec>) =
            links.into_iter().map(|l| (l.name, l.spec)).unzip();
        Ok(Self {
            links: Mutex::new(Links::new(&specs, neck, schedule, Time::ZERO, seed)),
            clock: Clock::start(),
            stop: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            refused: specs.iter().map(|_| AtomicU64::new(0)).collect(),
            names,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Links<T>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, link: usize) {
        self.refused[link].fetch_add(1, Ordering::Relaxed);
    }

    fn stats(&self) -> Vec<LinkStats> {
        let links = self.lock().stats();
        let named = self.names.iter().zip(links).zip(&self.refused);
        named
            .map(|((name, link), refused)| LinkStats {
                name: name.clone(),
                link,
                refused: refused.load(Ordering::Relaxed),
            })
            .collect()
    }

    /// Makes the thread look up from its sleep.
    fn nudge(&self) {
        // An eventfd whose counter is full is readable, which is all that is asked of it.
        rustix::io::write(&self.wake, &1u64.to_ne_bytes()).ok();
    }

    fn end(&self, thread: Option<JoinHandle<()>>) {
        self.stop.store(true, Ordering::Release);
        self.nudge();
        if let Some(thread) = thread {
            // A panic of the thread has been printed by then, and a second one helps nobody.
            thread.join().ok();
        }
    }
}

impl Clock {
    #[allow(clippy::disallowed_methods, reason = "the emulator is the link model's real-time driver")]
    fn start() -> Self {
        Self { origin: Instant::now() }
    }

    fn now(self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }
}

#[cfg(test)]
mod tests;
