//! The thread between the TUN devices: reads what there is, hands out what is due, sleeps.

use super::nat::Nat;
use super::{Ends, Order, Orders, Shared, ip};
use crate::emulator::waiter::{self, NAP, Waiter};
use crate::link::{Delivery, Links, Way};
use core::sync::atomic::Ordering;
use mpquic_base::Ecn;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// Packets read from one device per turn, and handed out per turn: no device starves another.
const BATCH: usize = 128;
const WRITES: usize = 512;
/// Buffers kept for reuse; what a burst needs beyond them goes back to the allocator.
const SPARE_BUFFERS: usize = 8192;
/// Above the MTU of any device that is made for a link; a longer packet would be cut off here.
const BUFFER: usize = 2048;

const WAKE: u64 = 0;
const TIMER: u64 = 1;
/// Events of devices are numbered from here: link by link, near before far.
const DEVICES: u64 = 2;

pub(super) fn spawn(shared: Arc<Shared<Vec<u8>>>, orders: Arc<Orders>) -> io::Result<JoinHandle<()>> {
    let waiter = Waiter::new(shared.clock, TIMER)?;
    waiter.watch(&shared.wake, WAKE)?;
    let links = shared.names.len();
    let mut worker = Worker {
        ends: (0..links).map(|_| None).collect(),
        nats: (0..links).map(|_| Nat::default()).collect(),
        shared,
        orders,
        waiter,
        spare: Vec::new(),
    };
    Builder::new().name("link-emulator".into()).spawn(move || worker.run())
}

struct Worker {
    shared: Arc<Shared<Vec<u8>>>,
    orders: Arc<Orders>,
    ends: Vec<Option<Ends>>,
    nats: Vec<Nat>,
    waiter: Waiter,
    spare: Vec<Vec<u8>>,
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
            match event.data.u64() {
                WAKE => self.obey()?,
                TIMER => {}
                device => {
                    moving = true;
                    let way = if (device - DEVICES).is_multiple_of(2) { Way::Up } else { Way::Down };
                    let link = usize::try_from((device - DEVICES) / 2).unwrap_or(usize::MAX);
                    self.read(link, way, &mut links);
                }
            }
        }
        let now = shared.clock.now();
        for _ in 0..WRITES {
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

    fn obey(&mut self) -> io::Result<()> {
        // Makes it unreadable again; that it was readable is all that it says.
        rustix::io::read(&self.shared.wake, &mut [0; 8]).ok();
        let orders = core::mem::take(&mut *self.orders.lock());
        for order in orders {
            match order {
                Order::Plug(link, ends) => {
                    drop(self.take(link));
                    let number = DEVICES + 2 * link as u64;
                    self.waiter.watch(&ends.near, number)?;
                    self.waiter.watch(&ends.far, number + 1)?;
                    self.ends[link] = Some(ends);
                }
                Order::Unplug(link, give) => {
                    if let Some(ends) = self.take(link) {
                        // Whoever asked and went away gets the devices closed here.
                        give.send(ends).ok();
                    }
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, link: usize) -> Option<Ends> {
        let ends = self.ends.get_mut(link)?.take()?;
        // A device that is gone already has left the set by itself.
        self.waiter.forget(&ends.near).ok();
        self.waiter.forget(&ends.far).ok();
        Some(ends)
    }

    /// Gives what has come at one device to the link model.
    fn read(&mut self, link: usize, way: Way, links: &mut Links<Vec<u8>>) {
        for _ in 0..BATCH {
            let Some(Some(ends)) = self.ends.get(link) else { return };
            let mut packet = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER));
            packet.clear();
            match rustix::io::read(entry(ends, way), rustix::buffer::spare_capacity(&mut packet)) {
                Ok(n) if n > 0 => {
                    let now = self.shared.clock.now();
                    if self.nats[link].admits(way, &mut packet) {
                        // A drop is in the link's statistics, and the sender is not told on a real link either.
                        let ecn = ip::ecn(&packet);
                        links.push(link, way, now, packet, n, ecn);
                    } else {
                        self.recycle(packet);
                    }
                }
                answer => {
                    self.recycle(packet);
                    if answer == Err(Errno::BADFD) {
                        // Somebody deleted the device: a link with one end is none.
                        drop(self.take(link));
                    }
                    return;
                }
            }
        }
    }

    fn deliver(&mut self, delivery: Delivery<Vec<u8>>) {
        let Delivery { link, way, arrival } = delivery;
        let mut packet = arrival.item;
        if let Some(corruption) = arrival.corrupted {
            corruption.apply(&mut packet);
        }
        if arrival.ecn == Ecn::Ce {
            ip::mark(&mut packet);
        }
        if let Some(Some(ends)) = self.ends.get(link)
            && rustix::io::write(exit(ends, way), &packet).is_err()
        {
            self.shared.refuse(link);
        }
        self.recycle(packet);
    }

    fn recycle(&mut self, packet: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS {
            self.spare.push(packet);
        }
    }

    fn rebind(&mut self, links: &mut Links<Vec<u8>>) {
        let now = self.shared.clock.now();
        for (link, nat) in self.nats.iter_mut().enumerate() {
            for _ in 0..links.rebinds_due(link, now) {
                nat.forget();
            }
        }
    }
}

const fn entry(ends: &Ends, way: Way) -> &OwnedFd {
    match way {
        Way::Up => &ends.near,
        Way::Down => &ends.far,
    }
}

const fn exit(ends: &Ends, way: Way) -> &OwnedFd {
    match way {
        Way::Up => &ends.far,
        Way::Down => &ends.near,
    }
}
