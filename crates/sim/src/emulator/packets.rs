//! The link model in real time between pairs of TUN devices: each link carries IP packets from one host to another.
//!
//! Links come and go while it runs, as modems do. One thread serves all of them. It owns descriptors and a clock; what a
//! link does to a packet is the model's affair alone, and who made the devices is the caller's. In a packet it touches
//! no more than what a real link would: the ECN bits that a queue sets, and the ports of a NAT that forgets.

mod ip;
mod nat;
mod thread;

use super::{LinkStats, Shared};
use crate::link::{Schedule, Stats, Ways};
use crate::profile::{NamedLink, Profile};
use core::fmt;
use mpquic_base::Time;
use rustix::fd::OwnedFd;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

/// The two devices that a link joins; an open TUN descriptor without packet information each.
#[derive(Debug)]
pub struct Ends {
    /// On the client's side: what is read here goes up.
    pub near: OwnedFd,
    /// On the server's side.
    pub far: OwnedFd,
}

/// Running links between TUN devices; they stop, and the devices are closed, when this is dropped.
pub struct PacketEmulator {
    shared: Arc<Shared<Vec<u8>>>,
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

/// What the owner asked for and the thread has not done yet.
#[derive(Debug, Default)]
struct Orders(Mutex<Vec<Order>>);

#[derive(Debug)]
enum Order {
    Plug(usize, Ends),
    /// The descriptors go back, because closing a device takes its time.
    Unplug(usize, mpsc::Sender<Ends>),
}

impl PacketEmulator {
    /// Starts with no link plugged in. The schedule's times count from now.
    ///
    /// # Errors
    /// When a timer or thread cannot be had.
    pub fn start(profile: Profile, seed: u64) -> io::Result<Self> {
        let links: Vec<NamedLink> = profile.links;
        let shared = Arc::new(Shared::new(links, profile.neck.as_ref(), &profile.schedule, seed)?);
        let orders = Arc::new(Orders::default());
        let thread = thread::spawn(Arc::clone(&shared), Arc::clone(&orders))?;
        Ok(Self { shared, orders, thread: Some(thread) })
    }

    /// Joins two devices by link `i`, in the place of those it joined before.
    ///
    /// # Errors
    /// When a descriptor cannot be made non-blocking, or there is no such link.
    pub fn plug(&self, i: usize, ends: Ends) -> io::Result<()> {
        if i >= self.shared.names.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no link {i}")));
        }
        rustix::io::ioctl_fionbio(&ends.near, true)?;
        rustix::io::ioctl_fionbio(&ends.far, true)?;
        self.order(Order::Plug(i, ends));
        Ok(())
    }

    /// Takes the devices of link `i` back; dropping them deletes the devices. `None` if there are none.
    #[must_use]
    pub fn unplug(&self, i: usize) -> Option<Ends> {
        let (give, take) = mpsc::channel();
        self.order(Order::Unplug(i, give));
        take.recv().ok()
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

    fn order(&self, order: Order) {
        self.orders.lock().push(order);
        self.shared.nudge();
    }
}

impl Orders {
    fn lock(&self) -> MutexGuard<'_, Vec<Order>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PacketEmulator {
    fn drop(&mut self) {
        self.shared.end(self.thread.take());
    }
}

impl fmt::Debug for PacketEmulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketEmulator").field("names", &self.shared.names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
