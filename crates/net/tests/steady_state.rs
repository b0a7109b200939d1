//! A packet's whole way through this crate, counted by the allocator: once warm, it must not be asked for anything.

#![allow(clippy::unwrap_used, reason = "a test; its world is built outside the test function")]

mod counting;

use counting::allocations;
use mpquic_base::{Ecn, Time};
use mpquic_net::{
    Clock, Fate, Lane, Packet, Poller, Pool, PoolConfig, ReceiveBatch, Socket, SocketOptions, Wheel,
};
use std::time::Duration;

struct World {
    clock: Clock,
    poller: Poller,
    pool: Pool,
    wheel: Wheel<Packet<u32>>,
    tx: Socket,
    rx: Socket,
    batch: ReceiveBatch,
}

impl World {
    fn new(options: &SocketOptions) -> Self {
        let bind = || Socket::bind("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let world = Self {
            clock: Clock::start(),
            poller: Poller::new().unwrap(),
            pool: Pool::new(PoolConfig { initial: 0, max: 4, ..PoolConfig::default() }),
            wheel: Wheel::new(0),
            tx: bind(),
            rx: bind(),
            batch: ReceiveBatch::new(),
        };
        world.poller.add(&world.rx, 3).unwrap();
        world
    }

    /// Four batches of five datagrams: written, paced, sent, waited for, received. Returns the datagrams received.
    fn round(&mut self) -> usize {
        let start = self.clock.now();
        for n in 0..4 {
            let mut slot = self.pool.take().unwrap();
            slot[..6000].fill(7);
            let depart_at = start + Duration::from_micros(20 * u64::from(n));
            let packet = Packet {
                slot,
                len: 6000,
                segment: 1200,
                socket: 0,
                local: self.tx.local_addr(),
                peer: self.rx.local_addr(),
                ecn: Ecn::Ect0,
                depart_at,
                lane: Lane::Data,
                tag: n,
            };
            self.wheel.insert(depart_at, packet.lane, packet);
        }
        let mut received = 0;
        while received < 20 {
            let now = self.clock.now();
            while let Some(packet) = self.wheel.pop_due(now) {
                self.tx.send(&packet.batch(0)).unwrap();
                assert_eq!(packet.done(Fate::Sent(now)).fate, Fate::Sent(now));
            }
            let ready = self.poller.wait(self.wheel.next(), &self.clock).unwrap();
            if ready.events.iter().any(|e| e.readable) {
                received += self.rx.receive(&mut self.batch).unwrap();
                for (train, mut datagrams) in self.batch.trains() {
                    assert!(datagrams.all(|bytes| bytes.len() == 1200) && train.ecn == Ecn::Ect0);
                }
            }
        }
        received
    }
}

#[test]
fn a_warm_packet_path_never_calls_the_allocator() {
    for disabled in [false, true] {
        let options =
            SocketOptions { disable_gso: disabled, disable_gro: disabled, ..SocketOptions::default() };
        let mut world = World::new(&options);
        world.round();
        assert_ne!(allocations(), 0, "the counter counts");
        let before = allocations();
        let received: usize = (0..100).map(|_| world.round()).sum();
        assert_eq!(allocations() - before, 0);
        assert_eq!(received, 2000);
        assert_eq!(world.pool.stats().free, world.pool.stats().allocated);
        assert!(world.wheel.next().is_none() && world.clock.now() > Time::ZERO);
    }
}
